//! The cloud link's ledger: where every message went.
//!
//! At every moment `accepted = delivered + dropped + queued + in_flight`, and `offered = accepted + refused`. A
//! snapshot is taken under the spool's lock, so the sums hold in each one.

use serde::Serialize;

/// A snapshot of the ledger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LinkCounters {
    /// Messages taken into the spool.
    pub accepted: u64,
    /// Messages that the broker acknowledged.
    pub delivered: u64,
    /// Messages taken and given up, by reason.
    pub dropped: Dropped,
    /// Messages waiting to be sent for the first time.
    pub queued: u64,
    /// Messages sent and not acknowledged yet, whether the connection they went out on still stands or not.
    pub in_flight: u64,
    /// Bytes of the spool's limit in use by queued and in-flight messages.
    pub spool_bytes: u64,
    /// Messages never taken, by reason.
    pub refused: Refused,
    /// Sendings beyond a message's first: each may have reached subscribers a second time.
    pub resent: u64,
    /// Connections that the broker admitted.
    pub connections: u64,
}

impl LinkCounters {
    /// Whether every accepted message is accounted for.
    pub fn balance(&self) -> bool {
        self.accepted == self.delivered + self.dropped.total() + self.queued + self.in_flight
    }
}

/// Accepted messages given up, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// The spool was full: the oldest queued messages were replaced by new ones.
    pub spool_full: u64,
    /// The broker closes the connection on them, and on no others: topics (or messages) set aside.
    pub topic_refused: u64,
}

impl Dropped {
    /// All reasons together.
    pub fn total(&self) -> u64 {
        self.spool_full + self.topic_refused
    }
}

/// Messages refused at the door, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The payload was over the broker's limit.
    pub too_large: u64,
    /// The spool was full of messages in flight, which are never dropped for room.
    pub no_room: u64,
    /// The link was being drained, or had stopped.
    pub closed: u64,
}

impl Refused {
    /// All reasons together.
    pub fn total(&self) -> u64 {
        self.too_large + self.no_room + self.closed
    }
}

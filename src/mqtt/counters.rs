//! The cloud link's ledger: where every message went.
//!
//! At every moment `accepted = delivered + dropped + queued + in_flight`, and `offered = accepted + committing +
//! refused`. A snapshot is taken under the spool's lock, so the sums hold in each one.

use serde::Serialize;

/// A snapshot of the ledger. With the spool on disk `accepted`, `delivered` and `dropped` go on over restarts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LinkCounters {
    /// Messages taken into the spool, and as safe there as its storage promises.
    pub accepted: u64,
    /// Messages taken and on their way to the disk: neither accepted yet nor in any other number here.
    pub committing: u64,
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
    /// The disk was full or took nothing, and memory holds only so much: the oldest went.
    pub disk_unavailable: u64,
    /// The spool's files were damaged: what they held cannot be read.
    pub damaged: u64,
    /// `margay spool clear`.
    pub cleared: u64,
}

impl Dropped {
    /// All reasons together.
    pub fn total(&self) -> u64 {
        let parts = [self.spool_full, self.topic_refused, self.disk_unavailable, self.damaged, self.cleared];
        parts.into_iter().fold(0, u64::saturating_add)
    }
}

/// Messages refused at the door, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The payload was over the broker's limit.
    pub too_large: u64,
    /// The spool was full of messages in flight, which are never dropped for room.
    pub no_room: u64,
    /// More waits to be written to the disk than memory is meant to hold.
    pub disk_busy: u64,
    /// The link was being drained, or had stopped.
    pub closed: u64,
}

impl Refused {
    /// All reasons together.
    pub fn total(&self) -> u64 {
        self.too_large + self.no_room + self.disk_busy + self.closed
    }
}

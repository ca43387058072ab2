//! The spool (V1's `GGCloudSpooler`, A-18): the bounded FIFO queue of messages for the cloud, and its ledger.
//!
//! A message is *queued* until it is sent for the first time, then *in flight* until the broker acknowledged it, across
//! as many connections as that takes. When the limit is reached the oldest queued messages make room for new ones;
//! messages in flight never do, because they may have arrived already and the ledger would lie about them.
//!
//! It knows nothing of connections, and serves [`link`](super::link) and the publisher.

mod settings;
mod storage;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use bytes::Bytes;

use super::counters::{Dropped, LinkCounters, Refused};
use super::message::{self, Delivered, MAX_PAYLOAD_BYTES, Message, MessageId};
use crate::topic::Topic;

pub use settings::{DEFAULT_MAX_SIZE_BYTES, MIN_MAX_SIZE_BYTES, SpoolSettings, SpoolSettingsError, StorageType};
use storage::Storage;

/// Why a message was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// The payload is over [`MAX_PAYLOAD_BYTES`]: AWS IoT Core would close the connection on it.
    #[error("accepting a message on {topic}: its payload has {actual} bytes, the broker takes {limit}")]
    TooLarge {
        /// Where the message was to go.
        topic: Topic,
        /// The most bytes of a payload.
        limit: usize,
        /// The bytes it has.
        actual: usize,
    },
    /// All the room is taken by messages in flight.
    #[error(
        "accepting a message on {topic}: messages in flight fill {in_use} of the spool's {limit} bytes; make \
         GG_CONFIG_MAX_SIZE_BYTES larger or messages smaller"
    )]
    NoRoom {
        /// Where the message was to go.
        topic: Topic,
        /// The spool's limit in bytes.
        limit: usize,
        /// Bytes held by messages in flight.
        in_use: usize,
    },
    /// The link is being drained, or has stopped.
    #[error("accepting a message on {topic}: the cloud link is shutting down")]
    Closed {
        /// Where the message was to go.
        topic: Topic,
    },
}

impl AcceptError {
    /// Whether the same message may be taken later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::NoRoom { .. })
    }
}

/// A queued message's place: everything but the payload.
#[derive(Debug)]
struct Queued {
    id: MessageId,
    topic: Topic,
    cost: usize,
}

/// A sent and unacknowledged message's place.
#[derive(Debug)]
struct InFlight {
    topic: Topic,
    cost: usize,
    times_sent: u32,
}

/// What the sender thinks of the topic at the head of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Send it.
    Good,
    /// Give it up: the broker refuses it.
    Refused,
    /// Send it only alone, to see whether the broker still refuses it.
    OnParole,
}

/// The next message for a connection that has sent some already.
#[derive(Debug)]
pub enum Next {
    /// Send this one; it is in flight now.
    Send(Message),
    /// The next one is on parole: it wants to be sent alone, and is still queued.
    Parole(MessageId, Topic),
    /// There is nothing left to send.
    Nothing,
}

/// The queue, its limit and its ledger. Index in memory, bodies in the storage.
#[derive(Debug)]
pub struct Spool {
    limit_bytes: usize,
    storage: Storage,
    queued: VecDeque<Queued>,
    in_flight: BTreeMap<MessageId, InFlight>,
    queued_bytes: usize,
    in_flight_bytes: usize,
    last_id: u64,
    open: bool,
    delivered: u64,
    dropped: Dropped,
    refused: Refused,
    resent: u64,
    connections: u64,
}

impl Spool {
    /// An empty spool.
    #[must_use]
    pub fn new(settings: &SpoolSettings) -> Self {
        Self {
            limit_bytes: settings.max_size_bytes(),
            storage: Storage::open(settings.storage()),
            queued: VecDeque::new(),
            in_flight: BTreeMap::new(),
            queued_bytes: 0,
            in_flight_bytes: 0,
            last_id: 0,
            open: true,
            delivered: 0,
            dropped: Dropped::default(),
            refused: Refused::default(),
            resent: 0,
            connections: 0,
        }
    }

    /// Takes a message, replacing the oldest queued ones if there is no room.
    ///
    /// # Errors
    /// [`AcceptError`] when the message is too large, or those in flight leave it no room.
    pub fn accept(&mut self, topic: Topic, payload: Bytes, tag: u64, now: Instant) -> Result<MessageId, AcceptError> {
        self.admit(&topic, &payload)?;
        let cost = message::cost(&topic, &payload);
        self.make_room(cost);
        self.last_id += 1;
        let id = MessageId(self.last_id);
        self.storage.put(Message { id, topic: topic.clone(), payload, tag, accepted: now });
        self.queued_bytes += cost;
        self.queued.push_back(Queued { id, topic, cost });
        Ok(id)
    }

    fn admit(&mut self, topic: &Topic, payload: &Bytes) -> Result<(), AcceptError> {
        if !self.open {
            self.refused.closed += 1;
            return Err(AcceptError::Closed { topic: topic.clone() });
        }
        if payload.len() > MAX_PAYLOAD_BYTES {
            self.refused.too_large += 1;
            return Err(AcceptError::TooLarge {
                topic: topic.clone(),
                limit: MAX_PAYLOAD_BYTES,
                actual: payload.len(),
            });
        }
        if self.in_flight_bytes + message::cost(topic, payload) > self.limit_bytes {
            self.refused.no_room += 1;
            return Err(AcceptError::NoRoom {
                topic: topic.clone(),
                limit: self.limit_bytes,
                in_use: self.in_flight_bytes,
            });
        }
        Ok(())
    }

    /// Lets `bytes` wait from now on.
    pub(super) fn limit(&mut self, bytes: usize) {
        self.limit_bytes = bytes;
        self.make_room(0);
    }

    /// Drops the oldest queued messages until `cost` more bytes fit.
    fn make_room(&mut self, cost: usize) {
        while self.in_flight_bytes + self.queued_bytes + cost > self.limit_bytes {
            let Some(oldest) = self.pop_queued() else {
                break;
            };
            self.storage.remove(oldest.id);
            self.dropped.spool_full += 1;
        }
    }

    /// Takes nothing more.
    pub(super) fn close(&mut self) {
        self.open = false;
    }

    /// The next message for a connection on which those that `sent` knows have been sent: the oldest of the others in
    /// flight, else the oldest queued one, giving up those whose topic the broker refuses.
    pub fn next(&mut self, sent: impl Fn(MessageId) -> bool, standing: impl Fn(&Topic) -> Standing) -> Next {
        if let Some(id) = self.in_flight.keys().copied().find(|id| !sent(*id)) {
            return self.lend(id).map_or(Next::Nothing, Next::Send);
        }
        while let Some(head) = self.queued.front() {
            let (id, topic) = (head.id, &head.topic);
            match standing(topic) {
                Standing::Good => return self.lend(id).map_or(Next::Nothing, Next::Send),
                Standing::OnParole => return Next::Parole(id, topic.clone()),
                Standing::Refused => {
                    self.pop_queued();
                    self.storage.remove(id);
                    self.dropped.topic_refused += 1;
                }
            }
        }
        Next::Nothing
    }

    /// Gives message `id` out to be sent; from now on it is in flight.
    pub fn lend(&mut self, id: MessageId) -> Option<Message> {
        let message = self.storage.get(id)?;
        if let Some(again) = self.in_flight.get_mut(&id) {
            again.times_sent += 1;
            self.resent += 1;
            return Some(message);
        }
        let position = self.queued.binary_search_by_key(&id, |queued| queued.id).ok()?;
        let Queued { topic, cost, .. } = self.queued.remove(position)?;
        self.queued_bytes -= cost;
        self.in_flight_bytes += cost;
        self.in_flight.insert(id, InFlight { topic, cost, times_sent: 1 });
        Some(message)
    }

    /// The broker acknowledged `id`. Nothing happens if that was known.
    pub fn acknowledge(&mut self, id: MessageId, now: Instant) -> Option<Delivered> {
        let sent = self.end_flight(id)?;
        self.delivered += 1;
        let message = self.storage.remove(id)?;
        Some(Delivered {
            id,
            tag: message.tag,
            after: now.saturating_duration_since(message.accepted),
            times_sent: sent.times_sent,
        })
    }

    /// Gives up in-flight message `id` because the broker refuses it, and with it the others in flight on `topic`.
    pub(super) fn set_aside(&mut self, id: MessageId, topic: Option<&Topic>) {
        let others = self.in_flight.iter().filter(|(_, sent)| Some(&sent.topic) == topic);
        let mut refused: BTreeSet<MessageId> = others.map(|(id, _)| *id).collect();
        refused.insert(id);
        for id in refused {
            if self.end_flight(id).is_some() {
                self.storage.remove(id);
                self.dropped.topic_refused += 1;
            }
        }
    }

    /// The messages in flight, oldest first.
    pub(super) fn in_flight(&self) -> impl Iterator<Item = (MessageId, &Topic)> + Clone {
        self.in_flight.iter().map(|(id, sent)| (*id, &sent.topic))
    }

    /// The oldest message in flight, on whichever connection it was sent.
    pub(super) fn oldest_in_flight(&self) -> Option<MessageId> {
        self.in_flight.keys().next().copied()
    }

    /// The newest message in flight.
    pub fn newest_in_flight(&self) -> Option<MessageId> {
        self.in_flight.keys().next_back().copied()
    }

    /// The queued messages, oldest first.
    pub(super) fn queued(&self) -> impl Iterator<Item = (MessageId, &Topic)> + Clone {
        self.queued.iter().map(|queued| (queued.id, &queued.topic))
    }

    /// Whether every accepted message has been delivered or given up.
    pub(super) fn is_empty(&self) -> bool {
        self.queued.is_empty() && self.in_flight.is_empty()
    }

    /// The broker admitted a connection.
    pub(super) fn count_connection(&mut self) {
        self.connections += 1;
    }

    /// What became of every message.
    pub fn counters(&self) -> LinkCounters {
        LinkCounters {
            accepted: self.last_id,
            delivered: self.delivered,
            dropped: self.dropped,
            queued: self.queued.len() as u64,
            in_flight: self.in_flight.len() as u64,
            spool_bytes: (self.queued_bytes + self.in_flight_bytes) as u64,
            refused: self.refused,
            resent: self.resent,
            connections: self.connections,
        }
    }

    fn pop_queued(&mut self) -> Option<Queued> {
        let oldest = self.queued.pop_front()?;
        self.queued_bytes -= oldest.cost;
        Some(oldest)
    }

    fn end_flight(&mut self, id: MessageId) -> Option<InFlight> {
        let sent = self.in_flight.remove(&id)?;
        self.in_flight_bytes -= sent.cost;
        Some(sent)
    }
}

#[cfg(test)]
mod tests;

//! The spool (V1's `GGCloudSpooler`, A-18): the bounded queue of messages for the cloud, and its ledger.
//!
//! A message is *queued* until it is sent for the first time, then *in flight* until the broker acknowledged it, across
//! as many connections as that takes. Topics take turns, and within a topic the first comes first. When the limit is
//! reached the oldest queued messages make room for new ones; messages in flight never do, because they may have arrived
//! already and the ledger would lie about them.
//!
//! ```text
//! accept → lanes (index) ─┬→ storage: bodies in memory, or in files ──→ batch → journal → segments (own thread)
//!                         └→ next, lend → in flight → acknowledge ────→ done ─────┘
//! ```
//!
//! It knows nothing of connections, and serves [`link`](super::link) and the publisher.

mod accept_error;
mod aside;
mod commit;
mod files;
mod journal;
mod lanes;
mod listing;
mod record;
mod recovery;
mod segment;
mod segments;
mod settings;
mod storage;
mod totals;
mod worth;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use bytes::Bytes;

use super::counters::{LinkCounters, Refused};
use super::message::{self, Delivered, MAX_PAYLOAD_BYTES, Message, MessageId};
use crate::topic::Topic;

pub use accept_error::AcceptError;
pub use commit::{Accepted, Kept};
pub(super) use files::Due;
pub use journal::{Batch, COMMIT_COUNT, COMMIT_INTERVAL, CommitError, Committed, Journal, Written};
use lanes::{Lanes, Queued};
pub use listing::{AsideEntry, SpoolListing, SpoolState, TopicListing};
pub use recovery::SpoolOpenError;
pub use settings::{DEFAULT_MAX_SIZE_BYTES, MIN_MAX_SIZE_BYTES, SpoolSettings, SpoolSettingsError, StorageType};
use storage::{Removed, Storage};
use totals::{Fate, Totals};
pub use worth::{WhenFull, Worth};

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
    when_full: WhenFull,
    storage: Storage,
    queued: Lanes,
    in_flight: BTreeMap<MessageId, InFlight>,
    in_flight_bytes: usize,
    open: bool,
    totals: Totals,
    refused: Refused,
    resent: u64,
    connections: u64,
    /// Accepted since they were last asked for, where somebody asks.
    news: Option<Vec<Accepted>>,
    damaged: u64,
    notes: Vec<String>,
}

impl Spool {
    /// An empty spool in memory.
    #[must_use]
    pub fn new(settings: &SpoolSettings) -> Self {
        Self {
            limit_bytes: settings.max_size_bytes(),
            when_full: settings.makes_room(),
            storage: Storage::Memory(std::collections::HashMap::new()),
            queued: Lanes::default(),
            in_flight: BTreeMap::new(),
            in_flight_bytes: 0,
            open: true,
            totals: Totals::default(),
            refused: Refused::default(),
            resent: 0,
            connections: 0,
            news: None,
            damaged: 0,
            notes: Vec::new(),
        }
    }

    /// Takes a message, replacing queued ones if there is no room. In memory it is accepted when this returns; on disk,
    /// when the batch with it is settled.
    ///
    /// # Errors
    /// [`AcceptError`] when the message is too large, those in flight leave it no room, or the disk does not keep up.
    pub fn accept(&mut self, topic: Topic, payload: Bytes, tag: u64, now: Instant) -> Result<MessageId, AcceptError> {
        self.accept_worth(topic, payload, (tag, Worth::Ordinary), now)
    }

    /// The same with what the message is worth when room is short.
    ///
    /// # Errors
    /// As for [`accept`](Self::accept).
    pub fn accept_worth(
        &mut self,
        topic: Topic,
        payload: Bytes,
        (tag, worth): (u64, Worth),
        now: Instant,
    ) -> Result<MessageId, AcceptError> {
        let cost = message::cost(&topic, &payload);
        self.admit(&topic, &payload, cost)?;
        self.make_room(cost, now);
        self.totals.last_id += 1;
        let id = MessageId(self.totals.last_id);
        self.queued.push(id, topic.clone(), cost, worth);
        if self.storage.put(Message { id, topic, payload, tag, accepted: now }, worth) {
            self.count_accepted(id, tag, Kept::InMemory);
        }
        Ok(id)
    }

    fn makes_room(&self) -> Option<MessageId> {
        // A function that floods its topics costs its own messages before those of others.
        let of_functions = self.queued.oldest_of_functions_beyond(self.limit_bytes / 2);
        let repeat = || self.queued.oldest_repeat().filter(|_| self.when_full == WhenFull::DropRepeats);
        of_functions.or_else(repeat).or_else(|| self.queued.oldest())
    }

    fn admit(&mut self, topic: &Topic, payload: &Bytes, cost: usize) -> Result<(), AcceptError> {
        let topic = || topic.clone();
        if !self.open {
            self.refused.closed += 1;
            return Err(AcceptError::Closed { topic: topic() });
        }
        if payload.len() > MAX_PAYLOAD_BYTES {
            self.refused.too_large += 1;
            return Err(AcceptError::TooLarge { topic: topic(), limit: MAX_PAYLOAD_BYTES, actual: payload.len() });
        }
        if self.in_flight_bytes + cost > self.limit_bytes {
            self.refused.no_room += 1;
            return Err(AcceptError::NoRoom { topic: topic(), limit: self.limit_bytes, in_use: self.in_flight_bytes });
        }
        if !self.has_memory_for(cost) {
            self.refused.disk_busy += 1;
            return Err(AcceptError::DiskBusy { topic: topic() });
        }
        Ok(())
    }

    /// Lets `bytes` wait from now on.
    pub(super) fn limit(&mut self, bytes: usize, now: Instant) {
        self.limit_bytes = bytes;
        self.make_room(0, now);
    }

    /// Drops queued messages until `cost` more bytes fit.
    fn make_room(&mut self, cost: usize, now: Instant) {
        while self.in_flight_bytes + self.queued.bytes() + cost > self.limit_bytes {
            let Some(dropped) = self.makes_room() else { break };
            self.give_up(dropped, Fate::SpoolFull, now);
        }
    }

    /// Takes nothing more.
    pub(super) fn close(&mut self) {
        self.open = false;
    }

    /// The next message for a connection on which those that `sent` knows have been sent: the oldest of the others in
    /// flight, else the first of the topic whose turn it is, giving up those whose topic the broker refuses.
    pub fn next(&mut self, sent: impl Fn(MessageId) -> bool, standing: impl Fn(&Topic) -> Standing) -> Next {
        while let Some(id) = self.in_flight.keys().copied().find(|id| !sent(*id)) {
            if let Some(message) = self.lend(id) {
                return Next::Send(message);
            }
        }
        while let Some((id, topic)) = self.queued.head() {
            match standing(topic) {
                Standing::Good => {
                    self.queued.end_turn();
                    if let Some(message) = self.lend(id) {
                        return Next::Send(message);
                    }
                }
                Standing::OnParole => return Next::Parole(id, topic.clone()),
                Standing::Refused => self.give_up(id, Fate::TopicRefused, Instant::now()),
            }
        }
        Next::Nothing
    }

    /// Gives message `id` out to be sent; from now on it is in flight. `None` if it is no longer there, or its record
    /// on the disk cannot be read: then it is given up.
    pub fn lend(&mut self, id: MessageId) -> Option<Message> {
        let Ok(message) = self.storage.get(id) else {
            tracing::error!(%id, "a message cannot be read from the spool and is given up; the disk may be failing");
            self.end_flight(id);
            self.give_up(id, Fate::Damaged, Instant::now());
            return None;
        };
        let message = message?;
        if let Some(again) = self.in_flight.get_mut(&id) {
            again.times_sent += 1;
            self.resent += 1;
            return Some(message);
        }
        let Queued { topic, cost, .. } = self.queued.remove(id)?;
        self.in_flight_bytes += cost;
        self.in_flight.insert(id, InFlight { topic, cost, times_sent: 1 });
        Some(message)
    }

    /// The broker acknowledged `id`. Nothing happens if that was known.
    pub fn acknowledge(&mut self, id: MessageId, now: Instant) -> Option<Delivered> {
        let sent = self.end_flight(id)?;
        let removed = self.remove(id, Fate::Delivered, now)?;
        let after = now.saturating_duration_since(removed.accepted);
        Some(Delivered { id, tag: removed.tag, after, times_sent: sent.times_sent })
    }

    /// Gives up in-flight message `id` because the broker refuses it, and with it the others in flight on `topic`.
    pub(super) fn set_aside(&mut self, id: MessageId, topic: Option<&Topic>) {
        let others = self.in_flight.iter().filter(|(_, sent)| Some(&sent.topic) == topic);
        let mut refused: BTreeSet<MessageId> = others.map(|(id, _)| *id).collect();
        refused.insert(id);
        for id in refused {
            if self.end_flight(id).is_some() {
                if let Some(files) = self.storage.files_mut() {
                    files.set_aside(id);
                }
                self.give_up(id, Fate::TopicRefused, Instant::now());
            }
        }
    }

    /// Gives up every queued message; those in flight may have arrived and stay. Returns how many went.
    pub fn clear(&mut self) -> u64 {
        let mut cleared = 0;
        while let Some(id) = self.queued.oldest() {
            self.give_up(id, Fate::Cleared, Instant::now());
            cleared += 1;
        }
        cleared
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
        self.queued.iter().map(|(id, queued)| (id, &queued.topic))
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
        let committing = self.committing();
        let queued_committing = committing.iter().filter(|id| self.queued.contains(**id)).count();
        let in_flight_committing = committing.len() - queued_committing;
        LinkCounters {
            accepted: self.totals.accepted,
            committing: committing.len() as u64,
            delivered: self.totals.delivered,
            dropped: self.totals.dropped,
            queued: (self.queued.len() - queued_committing) as u64,
            in_flight: (self.in_flight.len() - in_flight_committing) as u64,
            spool_bytes: (self.queued.bytes() + self.in_flight_bytes) as u64,
            refused: self.refused,
            resent: self.resent,
            connections: self.connections,
        }
    }

    /// Queued message `id` meets its fate.
    fn give_up(&mut self, id: MessageId, fate: Fate, now: Instant) {
        self.queued.remove(id);
        self.remove(id, fate, now);
    }

    /// Removes the body of a message that is neither queued nor in flight any more, and counts its fate.
    fn remove(&mut self, id: MessageId, fate: Fate, now: Instant) -> Option<Removed> {
        let removed = self.storage.remove(id, fate, now)?;
        if !removed.counted {
            self.count_accepted(id, removed.tag, Kept::Delivered);
        }
        self.totals.count(fate);
        Some(removed)
    }

    fn count_accepted(&mut self, id: MessageId, tag: u64, kept: Kept) {
        self.totals.accepted += 1;
        if let Some(news) = &mut self.news {
            news.push(Accepted { id, tag, kept });
        }
    }

    fn end_flight(&mut self, id: MessageId) -> Option<InFlight> {
        let sent = self.in_flight.remove(&id)?;
        self.in_flight_bytes -= sent.cost;
        Some(sent)
    }
}

#[cfg(test)]
mod on_disk;
#[cfg(test)]
mod tests;

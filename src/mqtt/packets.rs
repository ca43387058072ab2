//! Which packet id belongs to what, on one connection.
//!
//! The library does not tell which PUBACK belongs to which publish; it gives out ids in the order of sending, one
//! [`Sent`](super::wire::WireEvent::Sent) each.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use super::message::MessageId;
use super::wire::PacketId;
use crate::topic::{Topic, TopicFilter};

/// What a PUBLISH carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cargo {
    /// A message of the spool.
    Message(MessageId),
    /// A request that is not spooled: its topic, and when it was handed over.
    Errand(Topic, Instant),
}

/// The packet ids in use, and what waits for its own.
#[derive(Debug, Default)]
pub(super) struct Packets {
    waiting: VecDeque<Cargo>,
    sent: HashMap<PacketId, Cargo>,
    filters_waiting: VecDeque<TopicFilter>,
    filters_sent: HashMap<PacketId, TopicFilter>,
}

impl Packets {
    pub(super) fn hand_over(&mut self, cargo: Cargo) {
        self.waiting.push_back(cargo);
    }

    pub(super) fn subscribe(&mut self, filter: TopicFilter) {
        self.filters_waiting.push_back(filter);
    }

    pub(super) fn sent(&mut self, packet: PacketId) {
        if let Some(cargo) = self.waiting.pop_front() {
            self.sent.insert(packet, cargo);
        }
    }

    pub(super) fn subscribing(&mut self, packet: PacketId) {
        if let Some(filter) = self.filters_waiting.pop_front() {
            self.filters_sent.insert(packet, filter);
        }
    }

    /// What `packet` carried, if it was not answered before.
    pub(super) fn answered(&mut self, packet: PacketId) -> Option<Cargo> {
        self.sent.remove(&packet)
    }

    /// The filter that `packet` asked for.
    pub(super) fn subscribed(&mut self, packet: PacketId) -> Option<TopicFilter> {
        self.filters_sent.remove(&packet)
    }

    fn errands(&self) -> impl Iterator<Item = (&Topic, Instant)> {
        self.waiting.iter().chain(self.sent.values()).filter_map(|cargo| match cargo {
            Cargo::Errand(topic, since) => Some((topic, *since)),
            Cargo::Message(_) => None,
        })
    }

    /// Requests handed over and not answered.
    pub(super) fn errand_count(&self) -> usize {
        self.errands().count()
    }

    /// The request that has been waiting for its answer the longest.
    pub(super) fn oldest_errand(&self) -> Option<(&Topic, Instant)> {
        self.errands().min_by_key(|(_, since)| *since)
    }

    /// Topics and filters of requests that were not answered.
    pub(super) fn unanswered(&self) -> Vec<String> {
        let filters = self.filters_waiting.iter().chain(self.filters_sent.values()).map(|filter| filter.to_string());
        self.errands().map(|(topic, _)| topic.to_string()).chain(filters).collect()
    }
}

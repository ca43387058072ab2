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

/// What is asked of the broker about a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FilterRequest {
    /// SUBSCRIBE, with QoS 1 or with QoS 0.
    Subscribe { filter: TopicFilter, at_least_once: bool },
    /// UNSUBSCRIBE.
    Unsubscribe(TopicFilter),
}

impl FilterRequest {
    /// The filter that it is about.
    pub(super) fn filter(&self) -> &TopicFilter {
        match self {
            Self::Subscribe { filter, .. } | Self::Unsubscribe(filter) => filter,
        }
    }
}

/// The packet ids in use, and what waits for its own.
#[derive(Debug, Default)]
pub(super) struct Packets {
    waiting: VecDeque<Cargo>,
    sent: HashMap<PacketId, Cargo>,
    requests_waiting: VecDeque<FilterRequest>,
    requests_sent: HashMap<PacketId, FilterRequest>,
}

impl Packets {
    pub(super) fn hand_over(&mut self, cargo: Cargo) {
        self.waiting.push_back(cargo);
    }

    pub(super) fn ask(&mut self, request: FilterRequest) {
        self.requests_waiting.push_back(request);
    }

    pub(super) fn sent(&mut self, packet: PacketId) {
        if let Some(cargo) = self.waiting.pop_front() {
            self.sent.insert(packet, cargo);
        }
    }

    pub(super) fn asking(&mut self, packet: PacketId) {
        if let Some(request) = self.requests_waiting.pop_front() {
            self.requests_sent.insert(packet, request);
        }
    }

    /// What `packet` carried, if it was not answered before.
    pub(super) fn answered(&mut self, packet: PacketId) -> Option<Cargo> {
        self.sent.remove(&packet)
    }

    /// What `packet` asked about a filter.
    pub(super) fn told(&mut self, packet: PacketId) -> Option<FilterRequest> {
        self.requests_sent.remove(&packet)
    }

    /// Requests about filters that were not answered.
    pub(super) fn request_count(&self) -> usize {
        self.requests_waiting.len() + self.requests_sent.len()
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
        let requests = self.requests_waiting.iter().chain(self.requests_sent.values());
        let filters = requests.map(|request| request.filter().to_string());
        self.errands().map(|(topic, _)| topic.to_string()).chain(filters).collect()
    }
}

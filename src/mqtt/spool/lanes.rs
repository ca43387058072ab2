//! The queued messages: which is next, and which is the oldest.
//!
//! Each topic has a lane, and lanes take turns, a message each. So the order within a topic is the order of acceptance,
//! as MQTT asks for (3.1.1, section 4.6), and a long backlog on one topic does not hold up a fresh message on another.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::worth::Worth;
use crate::mqtt::message::MessageId;
use crate::topic::Topic;

/// A queued message's place: everything but its body.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) topic: Topic,
    pub(super) cost: usize,
    worth: Worth,
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    all: BTreeMap<MessageId, Queued>,
    repeats: BTreeSet<MessageId>,
    of_functions: BTreeSet<MessageId>,
    bytes_of_functions: usize,
    lanes: HashMap<Topic, VecDeque<MessageId>>,
    turns: VecDeque<Topic>,
    bytes: usize,
}

impl Lanes {
    /// Adds the newest message.
    pub(super) fn push(&mut self, id: MessageId, topic: Topic, cost: usize, worth: Worth) {
        match worth {
            Worth::Ordinary => {}
            Worth::Repeat => drop(self.repeats.insert(id)),
            Worth::OfFunction => {
                self.of_functions.insert(id);
                self.bytes_of_functions += cost;
            }
        }
        let lane = self.lanes.entry(topic.clone()).or_default();
        if lane.is_empty() {
            self.turns.push_back(topic.clone());
        }
        lane.push_back(id);
        self.bytes += cost;
        self.all.insert(id, Queued { topic, cost, worth });
    }

    /// The first message of the topic whose turn it is.
    pub(super) fn head(&self) -> Option<(MessageId, &Topic)> {
        let topic = self.turns.front()?;
        Some((*self.lanes.get(topic)?.front()?, topic))
    }

    /// The next topic's turn begins.
    pub(super) fn end_turn(&mut self) {
        if self.turns.len() > 1 {
            self.turns.rotate_left(1);
        }
    }

    pub(super) fn remove(&mut self, id: MessageId) -> Option<Queued> {
        let queued = self.all.remove(&id)?;
        self.bytes -= queued.cost;
        match queued.worth {
            Worth::Ordinary => {}
            Worth::Repeat => drop(self.repeats.remove(&id)),
            Worth::OfFunction => {
                self.of_functions.remove(&id);
                self.bytes_of_functions -= queued.cost;
            }
        }
        if let Some(lane) = self.lanes.get_mut(&queued.topic) {
            match lane.front() == Some(&id) {
                true => drop(lane.pop_front()),
                false => drop(lane.binary_search(&id).ok().and_then(|position| lane.remove(position))),
            }
            if lane.is_empty() {
                self.lanes.remove(&queued.topic);
                // Its turn has just ended, as a rule.
                match self.turns.back() == Some(&queued.topic) {
                    true => drop(self.turns.pop_back()),
                    false => self.turns.retain(|topic| *topic != queued.topic),
                }
            }
        }
        Some(queued)
    }

    /// The message that was accepted first.
    pub(super) fn oldest(&self) -> Option<MessageId> {
        self.all.keys().next().copied()
    }

    /// The [`Worth::Repeat`] that was accepted first.
    pub(super) fn oldest_repeat(&self) -> Option<MessageId> {
        self.repeats.first().copied()
    }

    /// The [`Worth::OfFunction`] that was accepted first, where these together cost more than `bytes`.
    pub(super) fn oldest_of_functions_beyond(&self, bytes: usize) -> Option<MessageId> {
        self.of_functions.first().copied().filter(|_| self.bytes_of_functions > bytes)
    }

    pub(super) fn contains(&self, id: MessageId) -> bool {
        self.all.contains_key(&id)
    }

    /// Every message, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (MessageId, &Queued)> + Clone {
        self.all.iter().map(|(id, queued)| (*id, queued))
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// What the messages cost together.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

//! What is on its way on one connection, and which message goes next.
//!
//! Pure: it moves messages between the [`Spool`]'s states as the [`Suspicion`] allows, and leaves sending and waiting
//! to the session. Messages go in the spool's order; after a new connection those of the old one come first.

use std::collections::BTreeMap;
use std::time::Instant;

use super::message::{self, Delivered, Message, MessageId};
use super::spool::{Next, Spool};
use super::suspicion::{Pace, Suspicion};
use crate::topic::Topic;

/// How much may be on its way at a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Messages.
    pub(super) messages: usize,
    /// Bytes, as the spool counts them; a single message may exceed it.
    pub(super) bytes: usize,
}

#[derive(Debug)]
struct Outstanding {
    topic: Topic,
    cost: usize,
}

/// The messages sent on one connection and not acknowledged.
#[derive(Debug)]
pub(super) struct Flight {
    limits: Limits,
    outstanding: BTreeMap<MessageId, Outstanding>,
    bytes: usize,
    oldest_since: Instant,
    /// Messages under suspicion are not sent before this moment.
    settled: Instant,
}

impl Flight {
    pub(super) fn new(limits: Limits, now: Instant) -> Self {
        Self { limits, outstanding: BTreeMap::new(), bytes: 0, oldest_since: now, settled: now }
    }

    /// Narrows the window to what the broker takes at a time; `None` leaves it.
    pub(super) fn take_at_most(&mut self, messages: Option<usize>) {
        self.limits.messages = self.limits.messages.min(messages.unwrap_or(usize::MAX)).max(1);
    }

    /// Sends no message under suspicion before `moment`.
    pub(super) fn settle_until(&mut self, moment: Instant) {
        self.settled = moment;
    }

    /// From when on messages under suspicion may go.
    pub(super) fn settled(&self) -> Instant {
        self.settled
    }

    /// The oldest message on its way, and since when it has been that.
    pub(super) fn oldest(&self) -> Option<(&Topic, Instant)> {
        let (_, oldest) = self.outstanding.first_key_value()?;
        Some((&oldest.topic, self.oldest_since))
    }

    /// What was not acknowledged, oldest first.
    pub(super) fn into_outstanding(self) -> Vec<(MessageId, Topic)> {
        self.outstanding.into_iter().map(|(id, sent)| (id, sent.topic)).collect()
    }

    /// The next message to send at `now`, if one may go: it counts as sent.
    pub(super) fn next(&mut self, spool: &mut Spool, suspicion: &mut Suspicion, now: Instant) -> Option<Message> {
        let message = match suspicion.pace() {
            Pace::Window => self.next_in_order(spool, suspicion, now),
            Pace::Alone => self.next_alone(spool, suspicion, now),
        }?;
        let cost = message::cost(&message.topic, &message.payload);
        if self.outstanding.is_empty() {
            self.oldest_since = now;
        }
        self.bytes += cost;
        self.outstanding.insert(message.id, Outstanding { topic: message.topic.clone(), cost });
        Some(message)
    }

    fn next_in_order(&mut self, spool: &mut Spool, suspicion: &mut Suspicion, now: Instant) -> Option<Message> {
        let first = self.outstanding.is_empty();
        if !first && (self.outstanding.len() >= self.limits.messages || self.bytes >= self.limits.bytes) {
            return None;
        }
        // A restart would send again what it does not know to be acknowledged; the window is the most that it may be.
        let held = spool.held_acknowledgements();
        if held > 0 && self.outstanding.len() + held >= self.limits.messages {
            spool.hurry();
            return None;
        }
        let next = spool.next(|id| self.outstanding.contains_key(&id), |topic| suspicion.standing(topic, now));
        match next {
            Next::Send(message) => Some(message),
            Next::Parole(id, topic) if first => {
                suspicion.parole(id, &topic);
                self.next_alone(spool, suspicion, now)
            }
            Next::Parole(..) | Next::Nothing => None,
        }
    }

    fn next_alone(&self, spool: &mut Spool, suspicion: &mut Suspicion, now: Instant) -> Option<Message> {
        if !self.outstanding.is_empty() || now < self.settled {
            return None;
        }
        while let Some(id) = suspicion.choose(spool.in_flight(), spool.queued(), now) {
            match spool.lend(id) {
                Some(message) => return Some(message),
                None => suspicion.forget(id),
            }
        }
        suspicion.settle(spool.oldest_in_flight());
        None
    }

    /// The broker acknowledged `id`; `None` if it was not on its way here.
    pub(super) fn acknowledged(
        &mut self,
        id: MessageId,
        spool: &mut Spool,
        suspicion: &mut Suspicion,
        now: Instant,
    ) -> Option<Delivered> {
        let sent = self.remove(id, now)?;
        let delivered = spool.acknowledge(id, now);
        suspicion.acknowledged(id, &sent.topic);
        suspicion.settle(spool.oldest_in_flight());
        delivered
    }

    /// The broker refused `id` and nothing else: it is given up.
    pub(super) fn refused(&mut self, id: MessageId, spool: &mut Spool, suspicion: &mut Suspicion, now: Instant) {
        if self.remove(id, now).is_some() {
            spool.set_aside(id, None);
            suspicion.forget(id);
            suspicion.settle(spool.oldest_in_flight());
        }
    }

    fn remove(&mut self, id: MessageId, now: Instant) -> Option<Outstanding> {
        let was_oldest = self.outstanding.keys().next() == Some(&id);
        let sent = self.outstanding.remove(&id)?;
        self.bytes -= sent.cost;
        if was_oldest {
            self.oldest_since = now;
        }
        Some(sent)
    }
}

#[cfg(test)]
mod tests;

//! The queues in front of local targets: bounded by bytes each, and together by the number of messages.
//!
//! A message that finds no room is not taken (A-20: "ignored"): the older ones keep their places, because a target that
//! falls behind wants its messages in order and without holes in the middle. Room is *reserved* first and filled or
//! given back afterwards, so that a message can be given to all its targets or to none.
//!
//! Queues outlive subscriptions: a new deployment exchanges those and touches nothing that waits.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use super::counters::QueueCounters;
use super::endpoint::Endpoint;
use super::error::Missed;
use crate::mqtt::message::OVERHEAD_BYTES;
use crate::topic::Topic;

/// The most bytes that wait for one target: V1's 2.5 MB (contract C-B4). A message counts with its topic, its payload
/// and what its place in the queue takes.
pub const QUEUE_BYTES: usize = 2_621_440;

/// A message as its target receives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it was published.
    pub topic: Topic,
    /// What it says.
    pub payload: Bytes,
}

impl Message {
    /// The bytes of a queue's limit that it uses up.
    pub(super) fn cost(&self) -> usize {
        self.topic.as_str().len() + self.payload.len() + OVERHEAD_BYTES
    }
}

/// Of so many places one is every queue's, whatever waits in the others: 16 of 1024.
const PLACES_FOR_ONE_OF_EACH: usize = 64;

/// How many messages wait in all queues together (`runtime.maxWorkItemCount`).
#[derive(Debug)]
pub(super) struct WorkItems {
    limit: usize,
    waiting: AtomicUsize,
}

impl WorkItems {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, waiting: AtomicUsize::new(0) }
    }

    /// A place for a queue that has `held` already. A few it may have also where others fill all of them, so that a flood for
    /// one target keeps no message from the others.
    fn take_place(&self, held: usize) -> Result<(), Missed> {
        let spared = held < self.limit / PLACES_FOR_ONE_OF_EACH;
        let more = |waiting| (spared || waiting < self.limit).then_some(waiting + 1);
        let taken = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.map(drop).map_err(|_| Missed::TooManyWaiting { limit: self.limit })
    }

    fn give_places(&self, places: usize) {
        self.waiting.fetch_sub(places, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<Message>,
    /// Of the limit, waiting or reserved.
    in_use: usize,
    reserved: usize,
    open: bool,
    accepted: u64,
    taken: u64,
    abandoned: u64,
    full: u64,
}

/// One target's queue.
#[derive(Debug)]
pub(super) struct Queue {
    target: Endpoint,
    limit: usize,
    work_items: Arc<WorkItems>,
    state: Mutex<State>,
    arrived: Notify,
}

/// Room for one message; given back unless it is filled.
#[derive(Debug)]
pub(super) struct Reservation {
    queue: Arc<Queue>,
    cost: usize,
    filled: bool,
}

impl Queue {
    pub(super) fn new(target: Endpoint, limit: usize, work_items: Arc<WorkItems>) -> Self {
        let state = State {
            waiting: VecDeque::new(),
            in_use: 0,
            reserved: 0,
            open: true,
            accepted: 0,
            taken: 0,
            abandoned: 0,
            full: 0,
        };
        Self { target, limit, work_items, state: Mutex::new(state), arrived: Notify::new() }
    }

    /// Room for `message`.
    ///
    /// # Errors
    /// There is none, or nobody receives any more.
    pub(super) fn reserve(self: &Arc<Self>, message: &Message) -> Result<Reservation, Missed> {
        let cost = message.cost();
        let mut state = self.state();
        if !state.open {
            return Err(Missed::NotRunning);
        }
        if state.in_use + cost > self.limit {
            state.full += 1;
            return Err(Missed::QueueFull { limit: self.limit, in_use: state.in_use });
        }
        self.work_items.take_place(state.waiting.len() + state.reserved).inspect_err(|_| state.full += 1)?;
        state.in_use += cost;
        state.reserved += 1;
        Ok(Reservation { queue: self.clone(), cost, filled: false })
    }

    pub(super) fn is_open(&self) -> bool {
        self.state().open
    }

    pub(super) fn counters(&self) -> QueueCounters {
        let state = self.state();
        QueueCounters {
            target: self.target.clone(),
            accepted: state.accepted,
            taken: state.taken,
            abandoned: state.abandoned,
            waiting: state.waiting.len() as u64,
            bytes: state.in_use as u64,
            full: state.full,
        }
    }

    fn pop(&self) -> Option<Message> {
        let mut state = self.state();
        let message = state.waiting.pop_front()?;
        state.in_use -= message.cost();
        state.taken += 1;
        self.work_items.give_places(1);
        Some(message)
    }

    fn close(&self) {
        let mut state = self.state();
        state.open = false;
        let left = std::mem::take(&mut state.waiting);
        state.in_use -= left.iter().map(Message::cost).sum::<usize>();
        state.abandoned += left.len() as u64;
        self.work_items.give_places(left.len());
    }

    /// The counters balance before each release of the lock, also where the holder panicked.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation {
    /// Puts the message that the room was reserved for into the queue.
    pub(super) fn fill(mut self, message: Message) {
        debug_assert_eq!(message.cost(), self.cost, "the room was reserved for this message");
        let mut state = self.queue.state();
        self.filled = true;
        state.reserved -= 1;
        state.accepted += 1;
        if state.open {
            state.waiting.push_back(message);
            drop(state);
            self.queue.arrived.notify_one();
        } else {
            // The target went away between the two steps.
            state.in_use -= self.cost;
            state.abandoned += 1;
            self.queue.work_items.give_places(1);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.filled {
            let mut state = self.queue.state();
            state.reserved -= 1;
            state.in_use -= self.cost;
            self.queue.work_items.give_places(1);
        }
    }
}

/// The receiving side of a target's queue. Whoever starts the target keeps it while the target is restarted: what waits,
/// waits; when it is dropped, messages for the target are missed.
#[derive(Debug)]
pub struct Inbox {
    queue: Arc<Queue>,
}

impl Inbox {
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        Self { queue }
    }

    /// The next message, waiting for one if there is none. Cancel-safe: no message is lost by dropping the future.
    pub async fn next(&mut self) -> Message {
        loop {
            if let Some(message) = self.queue.pop() {
                return message;
            }
            // A message that arrived since leaves a permit behind.
            self.queue.arrived.notified().await;
        }
    }

    /// The next message, if one waits.
    pub fn try_next(&mut self) -> Option<Message> {
        self.queue.pop()
    }

    /// How the queue stands.
    pub fn counters(&self) -> QueueCounters {
        self.queue.counters()
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.queue.close();
    }
}

#[cfg(test)]
mod tests;

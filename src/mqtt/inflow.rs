//! What the group wants of the cloud: which topics, how surely, and who takes what comes. A deployment exchanges it while
//! the link goes on.
//!
//! The guide's rules are kept (A-17, A-19): QoS 0 without a session by default; QoS 1 with a session that the broker
//! keeps, for `AtLeastOncePersistent`. Then a message is acknowledged as it is handed to the intake, which puts it
//! into the queues of its targets: that is as far as V1's promise reaches.
//!
//! ```text
//! Link::exchange_inflow → Inlet ── looked at by the session → Asked → SUBSCRIBE, UNSUBSCRIBE
//!                           └ intake ◄────────── messages ◄──────────────── broker
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::link::MAX_SUBSCRIPTIONS;
use super::message::Received;
use super::packets::FilterRequest;
use crate::topic::{Topic, TopicFilter};

/// Called for each message of the inflow, on the link's task: it must return at once.
pub type Intake = Arc<dyn Fn(Received) + Send + Sync>;

/// What is wanted of the cloud.
#[derive(Clone)]
pub struct Inflow {
    /// The subjects. Those that another one covers are not asked for: brokers send a message once for each
    /// subscription that selects it.
    pub filters: Vec<TopicFilter>,
    /// QoS 1 and a session that outlives the connection, instead of QoS 0 without (`AtLeastOncePersistent`, A-19).
    pub at_least_once: bool,
    /// Takes what comes.
    pub intake: Intake,
}

impl fmt::Debug for Inflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflow")
            .field("filters", &self.filters)
            .field("at_least_once", &self.at_least_once)
            .finish_non_exhaustive()
    }
}

/// The inflow as handles and sessions share it.
#[derive(Debug, Default)]
pub(super) struct Inlet(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Counts the exchanges.
    version: u64,
    inflow: Option<Inflow>,
    /// Filters of former groups that the broker's session may still hold.
    stale: BTreeSet<TopicFilter>,
}

/// What a session is to ask for, as of one exchange.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) version: u64,
    /// Each filter with its quality: QoS 1 or not.
    pub(super) filters: BTreeMap<TopicFilter, bool>,
    pub(super) stale: BTreeSet<TopicFilter>,
}

impl Inlet {
    /// Wants `inflow` from now on, at most `limit` filters of it; gives those beyond.
    pub(super) fn exchange(&self, mut inflow: Inflow, limit: usize) -> Vec<TopicFilter> {
        inflow.filters = TopicFilter::uncovered(&inflow.filters);
        let beyond = inflow.filters.split_off(limit.min(inflow.filters.len()));
        let mut state = self.state();
        let before = state.inflow.take().map(|before| before.filters).unwrap_or_default();
        state.stale.extend(before);
        state.stale.retain(|filter| !inflow.filters.contains(filter));
        state.inflow = Some(inflow);
        state.version += 1;
        beyond
    }

    /// How often there was an exchange.
    pub(super) fn version(&self) -> u64 {
        self.state().version
    }

    /// Whether the broker is to keep the session; `None` before the first exchange.
    pub(super) fn at_least_once(&self) -> Option<bool> {
        self.state().inflow.as_ref().map(|inflow| inflow.at_least_once)
    }

    pub(super) fn wanted(&self) -> Wanted {
        let state = self.state();
        let filters = state.inflow.iter().flat_map(|inflow| {
            let quality = inflow.at_least_once;
            inflow.filters.iter().map(move |filter| (filter.clone(), quality))
        });
        Wanted { version: state.version, filters: filters.collect(), stale: state.stale.clone() }
    }

    /// The broker's session does not hold `filter` any more.
    pub(super) fn forgotten(&self, filter: &TopicFilter) {
        self.state().stale.remove(filter);
    }

    /// Hands `message` to the intake, if one of its filters selects it, or `otherwise_unwanted`: a session that the broker
    /// kept may send what a former group asked for, which the router then counts.
    pub(super) fn take_in(&self, message: &Received, topic: Option<&Topic>, otherwise_unwanted: bool) {
        let intake = {
            let state = self.state();
            let Some(inflow) = &state.inflow else { return };
            let selected = topic.is_some_and(|topic| inflow.filters.iter().any(|filter| filter.matches(topic)));
            if !selected && !otherwise_unwanted {
                return;
            }
            inflow.intake.clone()
        };
        intake(message.clone());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one connection has asked for, and what it is still to ask.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// The exchange that it follows.
    version: u64,
    standing: BTreeMap<TopicFilter, bool>,
    ahead: VecDeque<FilterRequest>,
}

impl Asked {
    /// Plans what leads from what stands to `wanted` beside the link's own filters, `fixed`.
    pub(super) fn follow(&mut self, wanted: Wanted, fixed: impl Iterator<Item = TopicFilter>) {
        let Wanted { version, filters: mut goal, stale } = wanted;
        // Answers to what the link asks for itself are wanted surely, whoever else wants them.
        goal.extend(fixed.map(|filter| (filter, true)));
        self.version = version;
        let gone = self.standing.keys().chain(&stale).filter(|filter| !goal.contains_key(*filter));
        let gone: BTreeSet<TopicFilter> = gone.cloned().collect();
        let room_for_both = goal.len() + gone.len() <= MAX_SUBSCRIPTIONS;
        let fresh = goal.into_iter().filter(|(filter, quality)| self.standing.get(filter) != Some(quality));
        let fresh = fresh.map(|(filter, at_least_once)| FilterRequest::Subscribe { filter, at_least_once });
        let gone = gone.into_iter().map(FilterRequest::Unsubscribe);
        // The new ones first, so that nothing is missed that both select.
        self.ahead = if room_for_both { fresh.chain(gone).collect() } else { gone.chain(fresh).collect() };
    }

    /// The exchange that it follows.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// The next request; it counts as made.
    pub(super) fn next(&mut self) -> Option<FilterRequest> {
        let request = self.ahead.pop_front()?;
        match &request {
            FilterRequest::Subscribe { filter, at_least_once } => {
                self.standing.insert(filter.clone(), *at_least_once);
            }
            FilterRequest::Unsubscribe(filter) => {
                self.standing.remove(filter);
            }
        }
        Some(request)
    }
}

#[cfg(test)]
mod tests;

//! What the router and its queues did, as snapshots.

use super::endpoint::Endpoint;
use super::routes::Route;

/// What went through one subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteCounters {
    /// The subscription.
    pub route: Route,
    /// Messages that it selected.
    pub messages: u64,
    /// Their payloads, in bytes.
    pub bytes: u64,
    /// Of these, messages that its target did not get: it does not run, or had no room.
    pub missed: u64,
}

/// One target's queue. `accepted = taken + abandoned + waiting` in every snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueCounters {
    /// Whose queue.
    pub target: Endpoint,
    /// Messages put into it.
    pub accepted: u64,
    /// Messages that the target has taken.
    pub taken: u64,
    /// Messages that waited when the target went away.
    pub abandoned: u64,
    /// Messages that wait.
    pub waiting: u64,
    /// Bytes that they use of the queue's limit.
    pub bytes: u64,
    /// Messages that found it full.
    pub full: u64,
}

/// What the router did since the core started. `offered = routed + no_route + refused + put_off`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouterCounters {
    /// Messages that at least one subscription selected, and that were given to what targets could take them.
    pub routed: u64,
    /// Messages that no subscription selected.
    pub no_route: u64,
    /// Messages whose topic or payload cannot be routed at all.
    pub refused: u64,
    /// Messages under `AllOrError` that went nowhere because one target could not take them.
    pub put_off: u64,
    /// Messages for a target that does not run, or that the cloud's spool did not take; counted for each target.
    pub missed: u64,
    /// Each subscription, in the order of the group document.
    pub subscriptions: Vec<RouteCounters>,
    /// Each local target that runs.
    pub queues: Vec<QueueCounters>,
}

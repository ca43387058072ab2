//! The router: subscriptions decide where a message goes, and what no subscription names goes nowhere (A-25, D8).
//!
//! A subscription is one-directional: messages from its source, on topics that its subject selects, go to its target.
//! The router refuses what AWS IoT Core would not take. It gives messages for the cloud to the spool and others to the
//! queue of their target, if that runs: delivery inside the core is one attempt (A-17).
//!
//! ```text
//! publish → check → routes of the source → cloud: the link's spool
//!                                        → function, connector, device, shadow service: its queue → Inbox
//!                                                                                   Inbox → Porter → Target
//! ```
//!
//! A deployment exchanges the routes as a whole under the queues: a message is routed by the old ones or by the new ones,
//! and what waits stays. It serves the connectors and functions, through the supervisors that receive their messages.

mod counters;
mod delivery;
mod endpoint;
mod error;
pub mod fuzz;
mod queue;
mod routes;
mod trie;

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

pub use self::counters::{QueueCounters, RouteCounters, RouterCounters};
pub use self::delivery::{Porter, Target};
pub use self::endpoint::Endpoint;
pub use self::error::{Missed, RouteError};
pub use self::queue::{Inbox, Message, QUEUE_BYTES};
use self::queue::{Queue, WorkItems};
pub use self::routes::Route;
use self::routes::{Routes, Selected};
use crate::metrics::Counter;
use crate::mqtt::spool::Worth;
use crate::topic::{Topic, TopicFilter};

/// The largest payload that is routed, in bytes: AWS IoT Core's limit of 128 KB, kept for local targets as well so
/// that a message does not depend on where it goes.
pub const MAX_PAYLOAD_BYTES: usize = 128 * 1024;

/// What is to happen when a target cannot take a message. A function says so in each publish (`queueFullPolicy` of the
/// core SDKs since 1.10; the guide names the option and not its values, which are the SDKs').
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum QueueFullPolicy {
    /// The others get it.
    #[default]
    BestEffort,
    /// Nobody gets it, and the sender is told to try again.
    AllOrError,
}

/// A policy that no SDK knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("queueFullPolicy \"{given}\" is not supported; it is BestEffort or AllOrError")]
pub struct UnknownPolicy {
    /// What was given.
    pub given: String,
}

impl FromStr for QueueFullPolicy {
    type Err = UnknownPolicy;

    /// Reads what an SDK sends; nothing at all is the default. Python calls the second one `AllOrException`.
    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        match text {
            "" | "BestEffort" => Ok(Self::BestEffort),
            "AllOrError" | "AllOrException" => Ok(Self::AllOrError),
            other => Err(UnknownPolicy { given: other.chars().take(64).collect() }),
        }
    }
}

/// A message that is to be routed.
#[derive(Debug, Clone)]
pub struct Outgoing<'a> {
    /// Who sends it.
    pub source: &'a Endpoint,
    /// Where it is published: any text.
    pub topic: &'a str,
    /// What it says.
    pub payload: Bytes,
    /// What the cloud's outlet is given with it: a number of the sender's own, and what it is worth to a full spool.
    pub mark: (u64, Worth),
    /// What happens when a target cannot take it.
    pub policy: QueueFullPolicy,
}

/// What became of a message that has a route.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The targets that have it.
    pub reached: Vec<Endpoint>,
    /// Those that do not, and why.
    pub missed: Vec<(Endpoint, Missed)>,
}

/// What takes the messages for the cloud, with their mark.
pub type CloudOutlet = Box<dyn Fn(&Message, (u64, Worth)) -> Result<(), Missed> + Send + Sync>;

/// A target has an [`Inbox`] already.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{target} receives its messages already")]
pub struct AlreadyAttached {
    /// The target.
    pub target: Endpoint,
}

/// The subscriptions of the deployed group, and the queues of those who receive.
pub struct Router {
    routes: RwLock<Arc<Routes>>,
    queues: RwLock<HashMap<Endpoint, Arc<Queue>>>,
    work_items: Arc<WorkItems>,
    cloud: CloudOutlet,
    routed: Counter,
    no_route: Counter,
    refused: Counter,
    put_off: Counter,
    missed: Counter,
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").field("routes", &self.routes).field("queues", &self.queues).finish_non_exhaustive()
    }
}

impl Router {
    /// A router for these subscriptions; without any it denies everything. `cloud` takes what goes there, and at most
    /// `work_items` messages wait in all queues together.
    pub fn new(routes: impl IntoIterator<Item = Route>, work_items: usize, cloud: CloudOutlet) -> Self {
        Self {
            routes: RwLock::new(Arc::new(Routes::new(routes, &Routes::default()))),
            queues: RwLock::default(),
            work_items: Arc::new(WorkItems::new(work_items)),
            cloud,
            routed: Counter::default(),
            no_route: Counter::default(),
            refused: Counter::default(),
            put_off: Counter::default(),
            missed: Counter::default(),
        }
    }

    /// Exchanges the subscriptions for those of a new deployment. Messages that wait stay where they are, and a
    /// subscription that is in both goes on counting.
    pub fn replace(&self, routes: impl IntoIterator<Item = Route>) {
        let mut current = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        let replaced = Routes::new(routes, &current);
        *current = Arc::new(replaced);
        drop(current);
        self.queues.write().unwrap_or_else(PoisonError::into_inner).retain(|_, queue| queue.is_open());
    }

    /// From now on, messages for `target` wait in a queue for whoever holds the inbox.
    ///
    /// # Errors
    /// Somebody holds one.
    pub fn attach(&self, target: Endpoint) -> Result<Inbox, AlreadyAttached> {
        let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        if queues.get(&target).is_some_and(|queue| queue.is_open()) {
            return Err(AlreadyAttached { target });
        }
        let queue = Arc::new(Queue::new(target.clone(), QUEUE_BYTES, self.work_items.clone()));
        queues.insert(target, queue.clone());
        Ok(Inbox::new(queue))
    }

    /// Where a message of `source` on `topic` goes: each target once, in the order of the group document. Delivers and
    /// counts nothing.
    pub fn targets(&self, source: &Endpoint, topic: &Topic) -> Vec<Endpoint> {
        let routes = self.routes();
        routes.targets(&routes.select(source, topic))
    }

    /// What has to be subscribed to for the subscriptions of `source`.
    pub fn filters_from(&self, source: &Endpoint) -> Vec<TopicFilter> {
        self.routes().filters_from(source)
    }

    /// Gives a message to every target that a subscription allows, once each.
    ///
    /// # Errors
    /// Every [`RouteError`]; the message then went nowhere.
    pub fn publish(&self, outgoing: Outgoing<'_>) -> Result<Delivery, RouteError> {
        let Outgoing { source, topic, payload, mark, policy } = outgoing;
        let topic = check(source, topic, &payload).inspect_err(|_| self.refused.count())?;
        let routes = self.routes();
        let selected = routes.select(source, &topic);
        if selected.is_empty() {
            self.no_route.count();
            tracing::debug!(%source, %topic, "Failed to get routes. Discarding message.");
            return Err(RouteError::NoRoute { source_endpoint: source.clone(), topic });
        }
        let targets = routes.targets(&selected);
        let message = Message { topic, payload };
        let delivery = match policy {
            QueueFullPolicy::BestEffort => self.give_to_each(targets, &message, mark),
            QueueFullPolicy::AllOrError => self.give_to_all(targets, &message, mark).map_err(|(target, why)| {
                self.put_off.count();
                let topic = message.topic.clone();
                RouteError::PutOff { source_endpoint: source.clone(), topic, target, why }
            })?,
        };
        self.count(&routes, &selected, &message, &delivery);
        Ok(delivery)
    }

    /// The counters at about this moment: each is exact, but they are not read all at once.
    pub fn counters(&self) -> RouterCounters {
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        let mut queues: Vec<_> = queues.values().map(|queue| queue.counters()).collect();
        queues.sort_unstable_by(|one, other| one.target.cmp(&other.target));
        RouterCounters {
            routed: self.routed.get(),
            no_route: self.no_route.get(),
            refused: self.refused.get(),
            put_off: self.put_off.get(),
            missed: self.missed.get(),
            subscriptions: self.routes().counters(),
            queues,
        }
    }

    fn routes(&self) -> Arc<Routes> {
        self.routes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn queue(&self, target: &Endpoint) -> Result<Arc<Queue>, Missed> {
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        queues.get(target).cloned().ok_or(Missed::NotRunning)
    }

    fn give_to_each(&self, targets: Vec<Endpoint>, message: &Message, mark: (u64, Worth)) -> Delivery {
        let mut delivery = Delivery { reached: Vec::with_capacity(targets.len()), missed: Vec::new() };
        for target in targets {
            let given = match &target {
                Endpoint::Cloud => (self.cloud)(message, mark),
                local => {
                    self.queue(local).and_then(|queue| queue.reserve(message)).map(|room| room.fill(message.clone()))
                }
            };
            match given {
                Ok(()) => delivery.reached.push(target),
                Err(why) => delivery.missed.push((target, why)),
            }
        }
        delivery
    }

    /// Room is reserved in every queue, then the cloud is asked, which cannot be undone, then the room is filled.
    fn give_to_all(
        &self,
        targets: Vec<Endpoint>,
        message: &Message,
        mark: (u64, Worth),
    ) -> Result<Delivery, (Endpoint, Missed)> {
        let mut rooms = Vec::new();
        for local in targets.iter().filter(|target| **target != Endpoint::Cloud) {
            let room = self.queue(local).and_then(|queue| queue.reserve(message));
            rooms.push(room.map_err(|why| (local.clone(), why))?);
        }
        if targets.contains(&Endpoint::Cloud) {
            (self.cloud)(message, mark).map_err(|why| (Endpoint::Cloud, why))?;
        }
        for room in rooms {
            room.fill(message.clone());
        }
        Ok(Delivery { reached: targets, missed: Vec::new() })
    }

    fn count(&self, routes: &Routes, selected: &Selected, message: &Message, delivery: &Delivery) {
        self.routed.count();
        self.missed.add(delivery.missed.len() as u64);
        let missed: Vec<Endpoint> = delivery.missed.iter().map(|(target, _)| target.clone()).collect();
        routes.count(selected, message.payload.len(), &missed);
    }
}

fn check(source: &Endpoint, topic: &str, payload: &[u8]) -> Result<Topic, RouteError> {
    let topic: Topic = topic.parse().map_err(|error| RouteError::Topic { source_endpoint: source.clone(), error })?;
    if payload.len() > MAX_PAYLOAD_BYTES {
        return Err(RouteError::PayloadTooLarge {
            source_endpoint: source.clone(),
            topic,
            limit: MAX_PAYLOAD_BYTES,
            actual: payload.len(),
        });
    }
    Ok(topic)
}

#[cfg(test)]
mod tests;

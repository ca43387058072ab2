//! The router: subscriptions decide where a message goes, and what no subscription names goes nowhere (A-25, D8).
//!
//! A subscription is one-directional: messages from its source, on topics that its subject selects, go to its target.
//! The router only decides and counts; whoever asked delivers. It refuses what AWS IoT Core would not take. It serves
//! the connectors and functions, through the supervisor that receives their messages.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::topic::{Topic, TopicError, TopicFilter};

/// The largest payload that is routed, in bytes: AWS IoT Core's limit of 128 KB, kept for local targets as well so
/// that a message does not depend on where it goes.
pub const MAX_PAYLOAD_BYTES: usize = 128 * 1024;

/// What can stand at either end of a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// `cloud`: AWS IoT Core, or the broker in its place.
    Cloud,
    /// `GGShadowService`: the local shadow service.
    ShadowService,
    /// A Lambda function, by its qualified ARN.
    Function(String),
    /// A connector, by its ARN.
    Connector(String),
    /// A device of the group, by its thing ARN.
    Device(String),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cloud => f.write_str("cloud"),
            Self::ShadowService => f.write_str("GGShadowService"),
            Self::Function(arn) | Self::Connector(arn) | Self::Device(arn) => f.write_str(arn),
        }
    }
}

/// One subscription of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The subscription's id in the group document.
    pub id: String,
    /// Where messages come from.
    pub source: Endpoint,
    /// Where they go.
    pub target: Endpoint,
    /// Which of them (the subscription's `Subject`).
    pub filter: TopicFilter,
}

/// Why a message goes nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The topic is none.
    #[error("routing a message from {source_endpoint}: its topic cannot be used")]
    Topic {
        /// Who sent it.
        source_endpoint: Endpoint,
        /// What is wrong with the topic.
        #[source]
        error: TopicError,
    },
    /// The payload is over [`MAX_PAYLOAD_BYTES`].
    #[error("routing a message from {source_endpoint} on {topic}: its payload has {actual} bytes, {limit} are allowed")]
    PayloadTooLarge {
        /// Who sent it.
        source_endpoint: Endpoint,
        /// Where it was published.
        topic: Topic,
        /// The most bytes allowed.
        limit: usize,
        /// The bytes it has.
        actual: usize,
    },
    /// No subscription has this source and selects this topic.
    #[error(
        "routing a message from {source_endpoint} on {topic}: no subscription of the group has this source and selects \
         this topic; add one and deploy the group"
    )]
    NoRoute {
        /// Who sent it.
        source_endpoint: Endpoint,
        /// Where it was published.
        topic: Topic,
    },
}

/// A message that may go on, and where to.
#[derive(Debug, PartialEq, Eq)]
pub struct Routed<'a> {
    /// The topic, checked.
    pub topic: Topic,
    /// Each target once, in the order of the group document. Never empty.
    pub targets: Vec<&'a Endpoint>,
}

/// What went through one subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RouteCounters {
    /// The subscription's id.
    pub id: String,
    /// Messages that it selected.
    pub messages: u64,
    /// Their payloads, in bytes.
    pub bytes: u64,
}

/// What the router did since it was made. `offered = routed + no_route + refused`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RouterCounters {
    /// Messages that at least one subscription selected.
    pub routed: u64,
    /// Messages that no subscription selected.
    pub no_route: u64,
    /// Messages whose topic or payload cannot be routed at all.
    pub refused: u64,
    /// Each subscription, in the order of the group document.
    pub subscriptions: Vec<RouteCounters>,
}

#[derive(Debug, Default)]
struct Traffic {
    messages: AtomicU64,
    bytes: AtomicU64,
}

/// The subscriptions of one deployed group. A new deployment makes a new router, with new counters.
#[derive(Debug, Default)]
pub struct Router {
    routes: Vec<(Route, Traffic)>,
    routed: AtomicU64,
    no_route: AtomicU64,
    refused: AtomicU64,
}

impl Router {
    /// A router for these subscriptions. Without any it denies everything.
    pub fn new(routes: impl IntoIterator<Item = Route>) -> Self {
        Self { routes: routes.into_iter().map(|route| (route, Traffic::default())).collect(), ..Self::default() }
    }

    /// Where a message of `source` on `topic` goes: each target once, in the order of the group document. Counts
    /// nothing.
    pub fn targets<'a>(&'a self, source: &Endpoint, topic: &Topic) -> Vec<&'a Endpoint> {
        distinct(self.selecting(source, topic).map(|(route, _)| &route.target))
    }

    /// Decides about one message and counts it.
    ///
    /// # Errors
    /// Every [`RouteError`]; the message must then go nowhere.
    pub fn route(&self, source: &Endpoint, topic: &str, payload: &[u8]) -> Result<Routed<'_>, RouteError> {
        let topic = self.check(source, topic, payload).inspect_err(|_| add(&self.refused, 1))?;
        let mut targets = Vec::new();
        for (route, traffic) in self.selecting(source, &topic) {
            add(&traffic.messages, 1);
            add(&traffic.bytes, payload.len() as u64);
            targets.push(&route.target);
        }
        if targets.is_empty() {
            add(&self.no_route, 1);
            tracing::debug!(%source, %topic, "Failed to get routes. Discarding message.");
            return Err(RouteError::NoRoute { source_endpoint: source.clone(), topic });
        }
        add(&self.routed, 1);
        Ok(Routed { topic, targets: distinct(targets.into_iter()) })
    }

    /// The counters at about this moment: each is exact, but they are not read all at once.
    pub fn counters(&self) -> RouterCounters {
        let read = |(route, traffic): &(Route, Traffic)| RouteCounters {
            id: route.id.clone(),
            messages: get(&traffic.messages),
            bytes: get(&traffic.bytes),
        };
        RouterCounters {
            routed: get(&self.routed),
            no_route: get(&self.no_route),
            refused: get(&self.refused),
            subscriptions: self.routes.iter().map(read).collect(),
        }
    }

    fn selecting<'a>(&'a self, source: &Endpoint, topic: &Topic) -> impl Iterator<Item = &'a (Route, Traffic)> {
        self.routes.iter().filter(move |(route, _)| route.source == *source && route.filter.matches(topic))
    }

    fn check(&self, source: &Endpoint, topic: &str, payload: &[u8]) -> Result<Topic, RouteError> {
        let topic: Topic =
            topic.parse().map_err(|error| RouteError::Topic { source_endpoint: source.clone(), error })?;
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
}

fn distinct<'a>(targets: impl Iterator<Item = &'a Endpoint>) -> Vec<&'a Endpoint> {
    let mut seen = Vec::new();
    for target in targets {
        if !seen.contains(&target) {
            seen.push(target);
        }
    }
    seen
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classifier() -> Endpoint {
        Endpoint::Connector("arn:aws:greengrass:eu-west-1::/connectors/MargayImageClassifier/versions/1".to_owned())
    }

    fn function() -> Endpoint {
        Endpoint::Function("arn:aws:lambda:eu-west-1:123456789012:function:alarm:3".to_owned())
    }

    fn route(id: &str, source: Endpoint, target: Endpoint, filter: &str) -> Route {
        Route { id: id.to_owned(), source, target, filter: filter.parse().unwrap() }
    }

    fn router() -> Router {
        Router::new([
            route("predictions", classifier(), Endpoint::Cloud, "margay/+/door/predictions"),
            route("everything", classifier(), Endpoint::Cloud, "margay/#"),
            route("alarm", classifier(), function(), "margay/+/door/predictions"),
            route("commands", Endpoint::Cloud, classifier(), "margay/commands"),
        ])
    }

    #[test]
    fn a_message_reaches_each_target_once_however_many_subscriptions_select_it() {
        let router = router();
        let routed = router.route(&classifier(), "margay/hall/door/predictions", b"{}").unwrap();
        assert_eq!(routed.targets, [&Endpoint::Cloud, &function()]);
        assert_eq!(router.targets(&classifier(), &routed.topic), routed.targets);
    }

    #[test]
    fn what_no_subscription_names_goes_nowhere() {
        let router = router();
        for (source, topic) in [
            (classifier(), "other/topic"),
            (function(), "margay/hall/door/predictions"),
            (Endpoint::Device("arn:aws:iot:eu-west-1:123456789012:thing/lamp".to_owned()), "margay/commands"),
        ] {
            let error = router.route(&source, topic, b"{}").unwrap_err();
            assert!(matches!(error, RouteError::NoRoute { .. }), "{error}");
        }
        assert!(Router::default().route(&Endpoint::Cloud, "a", b"").is_err());
        assert_eq!(router.counters().no_route, 3);
    }

    #[test]
    fn a_subscription_works_in_one_direction_only() {
        let router = router();
        assert!(router.route(&Endpoint::Cloud, "margay/commands", b"").is_ok());
        assert_eq!(
            router.route(&classifier(), "margay/commands", b"").unwrap().targets,
            [&Endpoint::Cloud],
            "only by the subscription that selects everything under margay"
        );
    }

    #[test]
    fn a_topic_of_257_bytes_and_a_payload_over_128_kb_are_refused_by_name() {
        let router = router();
        let long = "x".repeat(257);
        assert!(matches!(
            router.route(&classifier(), &long, b""),
            Err(RouteError::Topic { error: TopicError::TooLong { limit: 256, actual: 257 }, .. })
        ));
        assert!(matches!(
            router.route(&classifier(), "margay/+", b""),
            Err(RouteError::Topic { error: TopicError::Wildcard { .. }, .. })
        ));
        let most = vec![0; MAX_PAYLOAD_BYTES];
        assert!(router.route(&classifier(), "margay/a", &most).is_ok());
        let more = vec![0; MAX_PAYLOAD_BYTES + 1];
        assert!(matches!(
            router.route(&classifier(), "margay/a", &more),
            Err(RouteError::PayloadTooLarge { limit: 131_072, actual: 131_073, .. })
        ));
        assert_eq!(router.counters().refused, 3);
    }

    #[test]
    fn each_subscription_counts_what_it_selected() {
        let router = router();
        router.route(&classifier(), "margay/hall/door/predictions", b"12345").unwrap();
        router.route(&classifier(), "margay/hall/status", b"123").unwrap();
        let counters = router.counters();
        let seen: Vec<_> = counters.subscriptions.iter().map(|s| (s.id.as_str(), s.messages, s.bytes)).collect();
        assert_eq!(seen, [("predictions", 1, 5), ("everything", 2, 8), ("alarm", 1, 5), ("commands", 0, 0)]);
        assert_eq!(counters.routed, 2);
    }
}

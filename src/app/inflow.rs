//! Messages from the cloud for the group's local targets: what is asked for, and how they come into the router.

use std::sync::Arc;

use crate::group::{Group, Party, SubscriptionQuality};
use crate::mqtt::inflow::Inflow;
use crate::mqtt::message::Received;
use crate::mqtt::spool::Worth;
use crate::router::{Endpoint, Outgoing, QueueFullPolicy, RouteError, Router};
use crate::topic::TopicFilter;

/// What `group` wants of the cloud; `router` takes what comes, with the cloud as its source.
pub(super) fn of(group: &Group, router: &Arc<Router>) -> Inflow {
    let router = router.clone();
    Inflow {
        filters: filters(group),
        at_least_once: group.spooler.subscription_quality == SubscriptionQuality::AtLeastOncePersistent,
        intake: Arc::new(move |message| take_in(&router, message)),
    }
}

/// The subjects of the subscriptions from the cloud to somebody here, also to one that does not run: what it misses is
/// counted.
pub(super) fn filters(group: &Group) -> Vec<TopicFilter> {
    let from_cloud = group.subscriptions_from(&Party::Cloud);
    from_cloud.filter(|one| one.target != Party::Cloud).map(|one| one.subject.clone()).collect()
}

/// Gives a message to its targets as far as they have room: the cloud cannot be told to send it again.
fn take_in(router: &Router, message: Received) {
    let outgoing = Outgoing {
        source: &Endpoint::Cloud,
        topic: &message.topic,
        payload: message.payload,
        mark: (0, Worth::Ordinary),
        policy: QueueFullPolicy::BestEffort,
    };
    match router.publish(outgoing) {
        Ok(delivery) => {
            for (target, why) in delivery.missed {
                tracing::debug!(topic = message.topic, %target, %why, "a message from the cloud did not reach a target");
            }
        }
        Err(error @ RouteError::NoRoute { .. }) => tracing::debug!(%error, "a message from the cloud goes nowhere"),
        Err(error) => {
            tracing::warn!(error = crate::causes::explain(&error), "a message from the cloud cannot be routed");
        }
    }
}

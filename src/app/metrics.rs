//! The core's metrics for Prometheus: gathered from their owners when somebody asks.
//!
//! * [`catalogue`]: which there are
//! * `functions`: those of functions and of the connectors that serve them
//! * `measures`: the times, measured as they pass
//! * `process`: what the kernel knows
//! * `server`: `/metrics` on loopback

pub mod catalogue;
mod functions;
mod measures;
mod process;
mod server;

use std::sync::Arc;

use super::group_runner::Camera;
use super::report::Report;
use super::status::CoreStatus;
use crate::classifier::ledger::DropReason;
use crate::classifier::policy::Withheld;
use crate::classifier::{ClassifierStatus, Condition, Role};
use crate::metrics::Exposition;
use crate::mqtt::link::LinkState;
use crate::payload::Reason;
use crate::store::{Kept, inventory};
use catalogue as is;
pub(super) use measures::{DeliveryTimes, FrameTimes};
pub(super) use server::Endpoint;

/// Every metric at this moment, as text.
async fn gather(report: Arc<Report>) -> String {
    let models = report.config.directories.models();
    // A store that cannot be read has no numbers; `margay model list` says why.
    let kept = tokio::task::spawn_blocking(move || inventory(&models, false).unwrap_or_default()).await;
    let status = report.clone().now().await;
    let mut text = Exposition::default();
    core(&mut text, &status);
    link(&mut text, &report);
    router(&mut text, &report);
    frames(&mut text, &report.scene.cameras(), &status);
    text.family(&is::TO_ACKNOWLEDGEMENT).histogram(&[], &report.deliveries.to_acknowledgement);
    workers(&mut text, &status);
    functions::functions(&mut text, &status);
    functions::connectors(&mut text, &status);
    credentials(&mut text, &report);
    store(&mut text, &kept.unwrap_or_default());
    text.finish()
}

fn core(text: &mut Exposition, status: &CoreStatus) {
    let own = process::own();
    text.family(&is::BUILD).count(&[&status.version], 1);
    text.family(&is::UPTIME).count(&[], status.uptime_s);
    text.family(&is::CLOCK_CONFIRMED).count(&[], u64::from(status.clock.confirmed_by_server));
    #[allow(clippy::cast_precision_loss, reason = "a correction of 285,000 years may be off by a millisecond")]
    text.family(&is::CLOCK_CORRECTION).add(&[], status.clock.correction_ms as f64 / 1000.0);
    let device = status.device.clone().unwrap_or_default();
    let mut temperature = text.family(&is::DEVICE_TEMPERATURE);
    device.temperature_c.iter().for_each(|degrees| {
        temperature.add(&[], f64::from(*degrees));
    });
    let mut throttled = text.family(&is::DEVICE_THROTTLED);
    device.throttling.iter().for_each(|throttling| {
        throttled.count(&[], u64::from(throttling.now));
    });
    text.family(&is::CORE_MEMORY).count(&[], own.memory);
    text.family(&is::CORE_CPU).add(&[], own.processor_time.as_secs_f64());
    text.family(&is::CORE_DESCRIPTORS).count(&[], own.descriptors);
    text.family(&is::CORE_THREADS).count(&[], own.threads);
}

fn link(text: &mut Exposition, report: &Report) {
    let state = report.link.state().borrow().clone();
    let (attempts, pause) = match &state {
        LinkState::Waiting { attempt, retry_in, .. } => (*attempt, retry_in.as_secs_f64()),
        LinkState::Connecting { attempt } => (*attempt, 0.0),
        _ => (0, 0.0),
    };
    let counters = report.link.counters();
    text.family(&is::LINK_CONNECTED).count(&[], u64::from(state.is_connected()));
    text.family(&is::LINK_CONNECTIONS).count(&[], counters.connections);
    text.family(&is::LINK_ATTEMPT).count(&[], u64::from(attempts));
    text.family(&is::LINK_PAUSE).add(&[], pause);
    text.family(&is::LINK_ACCEPTED).count(&[], counters.accepted);
    text.family(&is::LINK_ACKNOWLEDGED).count(&[], counters.delivered);
    text.family(&is::LINK_RESENT).count(&[], counters.resent);
    text.family(&is::LINK_REFUSED)
        .count(&["too_large"], counters.refused.too_large)
        .count(&["no_room"], counters.refused.no_room)
        .count(&["disk_busy"], counters.refused.disk_busy)
        .count(&["closed"], counters.refused.closed);
    text.family(&is::LINK_IN_FLIGHT).count(&[], counters.in_flight);
    text.family(&is::SPOOL_QUEUED).count(&[], counters.queued);
    text.family(&is::SPOOL_BYTES).count(&[], counters.spool_bytes);
    text.family(&is::SPOOL_DROPPED)
        .count(&["spool_full"], counters.dropped.spool_full)
        .count(&["topic_refused"], counters.dropped.topic_refused)
        .count(&["disk_unavailable"], counters.dropped.disk_unavailable)
        .count(&["damaged"], counters.dropped.damaged)
        .count(&["cleared"], counters.dropped.cleared);
}

fn router(text: &mut Exposition, report: &Report) {
    let counters = report.scene.router().counters();
    text.family(&is::ROUTER_ROUTED).count(&[], counters.routed);
    text.family(&is::ROUTER_NO_ROUTE).count(&[], counters.no_route);
    text.family(&is::ROUTER_REFUSED).count(&[], counters.refused);
    text.family(&is::ROUTER_PUT_OFF).count(&[], counters.put_off);
    text.family(&is::ROUTER_MISSED).count(&[], counters.missed);
    let mut info = text.family(&is::SUBSCRIPTION_INFO);
    for route in counters.subscriptions.iter().map(|subscription| &subscription.route) {
        info.count(&[&route.id, &route.source.to_string(), route.filter.as_str(), &route.target.to_string()], 1);
    }
    let mut messages = text.family(&is::SUBSCRIPTION_MESSAGES);
    for subscription in &counters.subscriptions {
        messages.count(&[&subscription.route.id], subscription.messages);
    }
    let mut bytes = text.family(&is::SUBSCRIPTION_BYTES);
    for subscription in &counters.subscriptions {
        bytes.count(&[&subscription.route.id], subscription.bytes);
    }
    let mut missed = text.family(&is::SUBSCRIPTION_MISSED);
    for subscription in &counters.subscriptions {
        missed.count(&[&subscription.route.id], subscription.missed);
    }
    let queues = counters.queues.iter().map(|queue| (queue.target.to_string(), queue)).collect::<Vec<_>>();
    for (family, read) in [
        (&is::QUEUE_WAITING, (|queue| queue.waiting) as fn(&crate::router::QueueCounters) -> u64),
        (&is::QUEUE_BYTES, |queue| queue.bytes),
        (&is::QUEUE_TAKEN, |queue| queue.taken),
        (&is::QUEUE_FULL, |queue| queue.full),
    ] {
        let mut samples = text.family(family);
        for (target, queue) in &queues {
            samples.count(&[target], read(queue));
        }
    }
}

fn frames(text: &mut Exposition, cameras: &[Camera], status: &CoreStatus) {
    let classifiers: Vec<&ClassifierStatus> = classifiers(status).collect();
    for (family, read) in [
        (&is::CAPTURED, (|camera| camera.captured) as fn(&ClassifierStatus) -> u64),
        (&is::SKIPPED, |camera| camera.skipped),
    ] {
        let mut samples = text.family(family);
        for classifier in &classifiers {
            samples.count(&[&classifier.camera], read(classifier));
        }
    }
    health(text, &classifiers);
    let mut inferred = text.family(&is::INFERRED);
    for classifier in &classifiers {
        inferred.count(&[&classifier.camera], classifier.ledger.inferred());
    }
    let mut dropped = text.family(&is::DROPPED);
    for classifier in &classifiers {
        for reason in DropReason::ALL {
            dropped.count(&[&classifier.camera, reason.label()], classifier.ledger.dropped(reason));
        }
    }
    policies(text, &classifiers);
    let mut model = text.family(&is::MODEL);
    for (classifier, is) in classifiers.iter().filter_map(|classifier| Some((classifier, classifier.model.as_ref()?))) {
        model.count(&[&classifier.camera, &is.name, &is.version, &is.digest], 1);
    }
    let mut stages = text.family(&is::STAGE);
    for camera in cameras {
        for (stage, histogram) in &camera.times.stages {
            stages.histogram(&[camera.connector.camera_name.as_ref(), stage], histogram);
        }
    }
    let mut to_inference = text.family(&is::TO_INFERENCE);
    for camera in cameras {
        to_inference.histogram(&[camera.connector.camera_name.as_ref()], &camera.times.to_inference);
    }
}

fn health(text: &mut Exposition, classifiers: &[&ClassifierStatus]) {
    let mut holds = text.family(&is::CONDITION);
    for classifier in classifiers {
        for condition in Condition::ALL {
            let here = classifier.health.conditions.contains(&condition);
            holds.count(&[&classifier.camera, condition.label()], u64::from(here));
        }
    }
    let mut begun = text.family(&is::CONDITION_BEGUN);
    for classifier in classifiers {
        for condition in Condition::ALL {
            let count = classifier.health.begun.get(&condition).copied().unwrap_or(0);
            begun.count(&[&classifier.camera, condition.label()], count);
        }
    }
}

fn policies(text: &mut Exposition, classifiers: &[&ClassifierStatus]) {
    let mut published = text.family(&is::PUBLISHED);
    for classifier in classifiers {
        for reason in Reason::ALL {
            let count = classifier.policy.by_reason.get(&reason).copied().unwrap_or(0);
            published.count(&[&classifier.camera, reason.label()], count);
        }
    }
    let mut withheld = text.family(&is::WITHHELD);
    for classifier in classifiers {
        for reason in Withheld::ALL {
            let count = classifier.policy.withheld.get(&reason).copied().unwrap_or(0);
            withheld.count(&[&classifier.camera, reason.label()], count);
        }
    }
    let mut triggers = text.family(&is::TRIGGERS);
    for classifier in classifiers {
        triggers
            .count(&[&classifier.camera, "taken"], classifier.policy.triggers_taken)
            .count(&[&classifier.camera, "answered"], classifier.policy.triggers_answered)
            .count(&[&classifier.camera, "refused"], classifier.policy.triggers_refused);
    }
}

fn workers(text: &mut Exposition, status: &CoreStatus) {
    let mut deployment = text.family(&is::DEPLOYMENT);
    for camera in &status.cameras {
        let state = serde_json::to_value(camera.deployment.state).unwrap_or_default();
        deployment.count(&[&camera.deployment.resource, state.as_str().unwrap_or_default()], 1);
    }
    let roles = [(Role::Capture, "capture"), (Role::Inference, "inference")];
    let mut up = text.family(&is::WORKER_UP);
    for classifier in classifiers(status) {
        for (role, name) in roles {
            let living = classifier.workers.iter().filter(|worker| worker.role == role).count();
            up.count(&[&classifier.camera, name], living as u64);
        }
    }
    let mut restarts = text.family(&is::WORKER_RESTARTS);
    for classifier in classifiers(status) {
        restarts.count(&[&classifier.camera, "capture"], classifier.restarts.capture);
        restarts.count(&[&classifier.camera, "inference"], classifier.restarts.inference);
    }
    let mut memory = text.family(&is::WORKER_MEMORY);
    for classifier in classifiers(status) {
        for (role, name) in roles {
            let workers = classifier.workers.iter().filter(|worker| worker.role == role);
            let bytes: u64 = workers.filter_map(|worker| process::tree_memory(worker.pid)).sum();
            memory.count(&[&classifier.camera, name], bytes);
        }
    }
    text.family(&is::VIEWER_RESTARTS).count(&[], status.page.as_ref().map_or(0, |page| page.restarts));
}

fn credentials(text: &mut Exposition, report: &Report) {
    let mut roles: Vec<_> = Vec::new();
    for provider in report.services.roles.all() {
        let alias = provider.settings().role_alias.to_string();
        // Functions may share the core's role alias, or one with each other: what is first speaks for it.
        if roles.iter().all(|(known, _)| *known != alias) {
            roles.push((alias, provider.state()));
        }
    }
    let mut expiry = text.family(&is::CREDENTIALS_EXPIRY);
    for (alias, state) in &roles {
        expiry.add(&[alias], state.expires_in.unwrap_or_default().as_secs_f64());
    }
    let mut fetches = text.family(&is::CREDENTIALS_FETCHES);
    for (alias, state) in &roles {
        fetches.count(&[alias], state.fetches);
    }
    let mut failures = text.family(&is::CREDENTIALS_FAILURES);
    for (alias, state) in &roles {
        for (class, count) in &state.failures_by_class {
            failures.count(&[alias, class], *count);
        }
    }
}

fn store(text: &mut Exposition, kept: &[Kept]) {
    text.family(&is::STORE_MODELS).count(&[], kept.len() as u64);
    text.family(&is::STORE_BYTES).count(&[], kept.iter().map(|model| model.bytes).sum());
}

fn classifiers(status: &CoreStatus) -> impl Iterator<Item = &ClassifierStatus> {
    status.cameras.iter().filter_map(|camera| camera.classifier.as_ref())
}

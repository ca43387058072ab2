//! The core's status, gathered from its services when somebody asks.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::credentials::CredentialsStatus;
use super::group_runner::Scene;
use super::metrics::DeliveryTimes;
use super::preview::Preview;
use super::services::Services;
use super::status::{
    CameraStatus, ClockStatus, CoreStatus, DeploymentStatus, GroupStatus, LinkStatus, RouterStatus, TargetStatus,
};
use crate::causes::explain;
use crate::classifier::ClassifierStatus;
use crate::config::Config;
use crate::connector::image_classifier::ImageClassifier;
use crate::deployment::{self, Deployments, State};
use crate::jobs::agent::JobsStatus;
use crate::mqtt::link::Link;
use crate::payload;

/// Everything that the status is gathered from.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) config: Arc<Config>,
    pub(super) services: Services,
    pub(super) link: Link,
    pub(super) scene: Arc<Scene>,
    pub(super) deployments: Deployments,
    /// AWS IoT Jobs, if the core takes part in them.
    pub(super) jobs: Option<watch::Receiver<JobsStatus>>,
    pub(super) page: Preview,
    pub(super) deliveries: Arc<DeliveryTimes>,
    /// Where the metrics are served.
    pub(super) metrics: Option<String>,
    /// What the documents ask for and this version does not do.
    pub(super) warnings: Vec<String>,
    /// When the core started, on CLOCK_BOOTTIME.
    pub(super) started: Duration,
}

impl Report {
    /// The status now.
    pub(super) async fn now(self: Arc<Self>) -> CoreStatus {
        let latest = self.deployments.latest().borrow().clone();
        let mut cameras = Vec::new();
        for camera in self.scene.cameras() {
            let classifier = camera.classifier.status().await;
            if classifier.is_none() && !self.scene.runs(&camera) {
                // It ended while this was asked, as a deployment wanted it.
                continue;
            }
            let deployment = deployment(&camera.connector, latest.as_ref(), classifier.as_ref());
            cameras.push(CameraStatus { topic: camera.connector.topic.to_string(), deployment, classifier });
        }
        let warnings = self.warnings.iter().cloned().chain(self.deployments.warnings());
        CoreStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_s: self.services.clock.boottime().saturating_sub(self.started).as_secs(),
            thing: self.config.core_thing.thing_arn.thing().to_string(),
            clock: self.clock(),
            credentials: self.credentials(),
            link: self.link(),
            router: self.router(),
            device: self.scene.device().state(),
            functions: self.scene.functions().status(),
            services: self.scene.learning().services(),
            feedback: self.scene.learning().feedback().status(),
            cameras,
            jobs: self.jobs.as_ref().map(|jobs| jobs.borrow().clone()),
            page: self.page.status(),
            group: self.deployments.confirmed().as_ref().map(GroupStatus::of),
            deployment: latest,
            metrics: self.metrics.clone(),
            warnings: warnings.collect(),
        }
    }

    fn clock(&self) -> ClockStatus {
        let clock = &self.services.clock;
        ClockStatus {
            now: payload::timestamp(clock.now()),
            confirmed_by_server: clock.reckoning().is_confirmed(),
            correction_ms: i64::try_from(clock.skew().whole_milliseconds()).unwrap_or(i64::MAX),
        }
    }

    fn credentials(&self) -> CredentialsStatus {
        CredentialsStatus::of(&self.services.roles)
    }

    fn link(&self) -> LinkStatus {
        let state = self.link.state().borrow().clone();
        let counters = self.link.counters();
        let history = self.link.history();
        let dropped = [
            ("spool_full", counters.dropped.spool_full),
            ("topic_refused", counters.dropped.topic_refused),
            ("disk_unavailable", counters.dropped.disk_unavailable),
            ("damaged", counters.dropped.damaged),
            ("cleared", counters.dropped.cleared),
            ("not_accepted", counters.refused.total()),
        ];
        LinkStatus {
            endpoint: format!("{}:{}", self.config.mqtt.host, self.config.mqtt.port),
            connected: state.is_connected(),
            trouble: state.failure().map(|failure| explain(failure)),
            accepted: counters.accepted,
            delivered: counters.delivered,
            queued: counters.queued,
            in_flight: counters.in_flight,
            dropped: dropped.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect(),
            connections: counters.connections,
            failures: history.failures.into_iter().map(|(kind, count)| (kind.to_owned(), count)).collect(),
            last_failure: history.last_failure,
            received: history.received,
            not_taken: history.not_taken,
            subscriptions_granted: history.subscriptions_granted,
            refused_filters: history.refused_filters.into_iter().collect(),
            spool: self.link.spool_state(),
        }
    }

    fn router(&self) -> RouterStatus {
        let counters = self.scene.router().counters();
        let targets = counters.queues.into_iter().map(|queue| (queue.target.to_string(), TargetStatus::of(&queue)));
        let missed = counters.subscriptions.iter().filter(|one| one.missed > 0);
        RouterStatus {
            missed_by_subscription: missed.map(|one| (one.route.id.clone(), one.missed)).collect(),
            targets: targets.collect(),
            subscriptions: counters.subscriptions.into_iter().map(|one| (one.route.id, one.messages)).collect(),
            no_route: counters.no_route,
            refused: counters.refused,
            put_off: counters.put_off,
            missed: counters.missed,
        }
    }
}

/// How the deployment of a camera's model stands, by the latest deployment of its group.
fn deployment(
    connector: &ImageClassifier,
    latest: Option<&deployment::Report>,
    classifier: Option<&ClassifierStatus>,
) -> DeploymentStatus {
    let runs = classifier.is_some_and(|classifier| classifier.model.is_some());
    let resumed = if runs { State::Deployed } else { State::Fetching };
    DeploymentStatus {
        resource: connector.model_resource.to_string(),
        source: connector.model_source.to_string(),
        state: latest.map_or(resumed, deployment::Report::state),
        failure: latest.and_then(|report| report.failure.as_ref()).map(|failure| failure.message.clone()),
    }
}

//! The core's status, gathered from its services when somebody asks.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::credentials::CredentialsStatus;
use super::preview::Preview;
use super::services::Services;
use super::status::{CameraStatus, ClockStatus, CoreStatus, DeploymentStatus, LinkStatus, RouterStatus};
use crate::classifier::{Classifier, explain};
use crate::config::Config;
use crate::deployment::Progress;
use crate::group::ModelSource;
use crate::mqtt::link::Link;
use crate::name::ResourceId;
use crate::payload;
use crate::router::Router;
use crate::topic::Topic;

/// What is asked about one camera.
#[derive(Debug)]
pub(super) struct CameraSources {
    pub(super) topic: Topic,
    pub(super) resource: ResourceId,
    pub(super) uri: watch::Receiver<ModelSource>,
    pub(super) progress: watch::Receiver<Progress>,
    pub(super) classifier: Classifier,
}

/// Everything that the status is gathered from.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) config: Arc<Config>,
    pub(super) services: Services,
    pub(super) link: Link,
    pub(super) router: Arc<Router>,
    pub(super) cameras: Vec<CameraSources>,
    pub(super) page: Preview,
    /// What the documents ask for and this version does not do.
    pub(super) warnings: Vec<String>,
    /// When the core started, on CLOCK_BOOTTIME.
    pub(super) started: Duration,
}

impl Report {
    /// The status now.
    pub(super) async fn now(self: Arc<Self>) -> CoreStatus {
        let mut cameras = Vec::with_capacity(self.cameras.len());
        for camera in &self.cameras {
            cameras.push(CameraStatus {
                topic: camera.topic.to_string(),
                deployment: deployment(camera),
                classifier: camera.classifier.status().await,
            });
        }
        CoreStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_s: self.services.clock.boottime().saturating_sub(self.started).as_secs(),
            thing: self.config.core_thing.thing_arn.thing().to_string(),
            clock: self.clock(),
            credentials: self.credentials(),
            link: self.link(),
            router: self.router(),
            cameras,
            page: self.page.status(),
            warnings: self.warnings.clone(),
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
            spool: self.link.spool_state(),
        }
    }

    fn router(&self) -> RouterStatus {
        let counters = self.router.counters();
        let subscriptions =
            counters.subscriptions.into_iter().map(|subscription| (subscription.id, subscription.messages));
        RouterStatus { subscriptions: subscriptions.collect(), no_route: counters.no_route, refused: counters.refused }
    }
}

fn deployment(camera: &CameraSources) -> DeploymentStatus {
    let progress = camera.progress.borrow().clone();
    DeploymentStatus {
        resource: camera.resource.to_string(),
        source: camera.uri.borrow().to_string(),
        state: progress.state,
        failure: progress.failure.map(|failure| explain(failure.as_ref())),
    }
}

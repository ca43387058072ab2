//! From a camera's health to those who subscribed to it: one message for each change.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use crate::classifier::{Classifier, Condition, HealthReport};
use crate::clock::Clock;
use crate::mqtt::spool::Worth;
use crate::name::{CameraName, ThingName};
use crate::payload::health::{HEALTH_SCHEMA, Health, State};
use crate::payload::{self, ClockSource};
use crate::router::{Endpoint, Outgoing, QueueFullPolicy, Router};
use crate::topic::Topic;

/// Publishes one camera's health.
#[derive(Debug)]
pub(super) struct HealthPublisher {
    pub(super) thing: ThingName,
    pub(super) camera: CameraName,
    /// The connector, as subscriptions name it.
    pub(super) source: Endpoint,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) router: Arc<Router>,
}

impl HealthPublisher {
    /// Publishes each change until the classifier ends.
    pub(super) async fn run(self, classifier: Classifier) {
        let mut health = classifier.health();
        let mut told: Vec<Condition> = Vec::new();
        while let Some(report) = changed(&mut health, &told).await {
            let status = classifier.status().await;
            let reason = status.and_then(|status| status.restarts.capture_reason);
            self.publish(&report, reason);
            told = report.conditions;
        }
    }

    fn publish(&self, report: &HealthReport, reason: Option<String>) {
        let topic = format!("margay/{}/{}/health", self.thing, self.camera);
        let Ok(topic) = topic.parse::<Topic>() else { return };
        let names: Vec<String> = report.conditions.iter().map(|condition| condition.label().to_owned()).collect();
        if names.is_empty() {
            tracing::info!(camera = %self.camera, "the camera is well again");
        } else {
            tracing::warn!(camera = %self.camera, conditions = names.join(", "), "the camera is ill");
        }
        let silent = report.conditions.contains(&Condition::Silent);
        let confirmed = self.clock.reckoning().is_confirmed();
        let health = Health {
            schema: HEALTH_SCHEMA.to_owned(),
            thing: self.thing.to_string(),
            camera: self.camera.to_string(),
            state: if names.is_empty() { State::Well } else { State::Ill },
            conditions: names,
            reason: reason.filter(|_| silent),
            at: payload::timestamp(self.clock.now()),
            clock: if confirmed { ClockSource::Server } else { ClockSource::System },
        };
        let Ok(document) = serde_json::to_vec(&health) else { return };
        let outgoing = Outgoing {
            source: &self.source,
            topic: topic.as_str(),
            payload: Bytes::from(document),
            // It was captured now, and is worth more than a repeated prediction.
            mark: (u64::try_from(self.clock.boottime().as_nanos()).unwrap_or(u64::MAX), Worth::Ordinary),
            policy: QueueFullPolicy::BestEffort,
        };
        if let Err(error) = self.router.publish(outgoing) {
            tracing::debug!(%error, "a camera's health goes nowhere");
        }
    }
}

/// The next report with other conditions than `told`; `None` once the classifier has ended.
async fn changed(health: &mut watch::Receiver<HealthReport>, told: &[Condition]) -> Option<HealthReport> {
    health.wait_for(|report| report.conditions != told).await.ok().map(|report| report.clone())
}

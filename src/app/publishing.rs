//! From a classified frame to the spool: payload, route, accept.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use crate::classifier::Observation;
use crate::clock::Clock;
use crate::mqtt::link::Link;
use crate::name::ThingName;
use crate::page::Feed;
use crate::payload::{self, ClockSource, Latency, Prediction};
use crate::router::{Endpoint, Router};
use crate::topic::Topic;

/// Publishes one camera's predictions.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) thing: ThingName,
    pub(super) camera: String,
    /// The connector, as subscriptions name it.
    pub(super) source: Endpoint,
    pub(super) topic: Topic,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) router: watch::Receiver<Arc<Router>>,
    pub(super) link: Link,
    /// The page that shows the predictions as well, if there is one.
    pub(super) page: Option<Feed>,
}

impl Publisher {
    /// Makes the payload and gives it to every target that a subscription allows. Never blocks: the spool takes it, or
    /// counts why not.
    pub(super) fn publish(&self, observation: Observation) {
        let prediction = self.payload(observation);
        if let Some(page) = &self.page {
            page.predicted(&prediction);
        }
        let Ok(document) = serde_json::to_vec(&prediction) else { return };
        let document = Bytes::from(document);
        let router = self.router.borrow().clone();
        let routed = match router.route(&self.source, self.topic.as_str(), &document) {
            Ok(routed) => routed,
            Err(error) => {
                tracing::debug!(%error, "a prediction goes nowhere");
                return;
            }
        };
        // This version has no other target: functions, devices and the shadow service keep their place in the router.
        if routed.targets.contains(&&Endpoint::Cloud)
            && let Err(error) = self.link.accept(routed.topic, document)
        {
            tracing::warn!(topic = %self.topic, %error, "a prediction was not accepted for the cloud");
        }
    }

    fn payload(&self, observation: Observation) -> Prediction {
        let Observation { frame, model, inferred } = observation;
        let captured = Duration::from_nanos(inferred.captured_ns);
        let age = self.clock.boottime().saturating_sub(captured);
        let confirmed = self.clock.reckoning().is_confirmed();
        Prediction {
            schema: payload::SCHEMA.to_owned(),
            thing: self.thing.to_string(),
            camera: self.camera.clone(),
            frame,
            item: inferred.item,
            captured_at: payload::timestamp(self.clock.now() - age),
            captured_at_source: inferred.captured_at_source,
            clock: if confirmed { ClockSource::Server } else { ClockSource::System },
            model: (*model).clone(),
            predictions: inferred.predictions,
            latency_us: Latency {
                queue: inferred.queue_us,
                decode: inferred.decode_us,
                resize: inferred.resize_us,
                inference: inferred.inference_us,
                postprocess: inferred.postprocess_us,
                total: u64::try_from(age.as_micros()).unwrap_or(u64::MAX),
            },
        }
    }
}

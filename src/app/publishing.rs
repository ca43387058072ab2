//! From a classified frame to those who subscribed to it: payload, route, deliver.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::metrics::FrameTimes;
use crate::classifier::Observation;
use crate::clock::Clock;
use crate::mqtt::spool::Worth;
use crate::name::ThingName;
use crate::page::Feed;
use crate::payload::{self, ClockSource, Latency, Prediction, Ranked};
use crate::router::{Endpoint, Missed, Outgoing, QueueFullPolicy, Router};
use crate::topic::Topic;

/// A class with at least this probability, the same as before, is a repeat to a full spool.
const CONFIDENT: f32 = 0.8;

/// No class: nothing was predicted yet.
const NO_CLASS: u64 = u64::MAX;

/// What each prediction is worth when the spool is full: changes and doubts are worth more than repeats.
#[derive(Debug)]
pub(super) struct Novelty {
    last_class: AtomicU64,
}

impl Default for Novelty {
    fn default() -> Self {
        Self { last_class: AtomicU64::new(NO_CLASS) }
    }
}

impl Novelty {
    fn judge(&self, predictions: &[Ranked]) -> Worth {
        let Some(first) = predictions.first() else { return Worth::Ordinary };
        let class = u64::from(first.class);
        let said_before = self.last_class.swap(class, Ordering::Relaxed) == class;
        if said_before && first.probability >= CONFIDENT { Worth::Repeat } else { Worth::Ordinary }
    }
}

/// Publishes one camera's predictions.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) thing: ThingName,
    pub(super) camera: String,
    /// The connector, as subscriptions name it.
    pub(super) source: Endpoint,
    pub(super) topic: Topic,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) router: Arc<Router>,
    /// The page that shows the predictions as well, if there is one.
    pub(super) page: Option<Feed>,
    pub(super) times: Arc<FrameTimes>,
    pub(super) novelty: Novelty,
}

impl Publisher {
    /// Makes the payload and gives it to every target that a subscription allows. Never blocks: a target takes it, or
    /// counts why not. The time of capture goes along, to be measured against the acknowledgement.
    pub(super) fn publish(&self, observation: Observation) {
        let captured_ns = observation.inferred.captured_ns;
        let prediction = self.payload(observation);
        if let Some(page) = &self.page {
            page.predicted(&prediction);
        }
        let worth = self.novelty.judge(&prediction.predictions);
        let Ok(document) = serde_json::to_vec(&prediction) else { return };
        let outgoing = Outgoing {
            source: &self.source,
            topic: self.topic.as_str(),
            payload: Bytes::from(document),
            mark: (captured_ns, worth),
            policy: QueueFullPolicy::BestEffort,
        };
        match self.router.publish(outgoing) {
            Ok(delivery) => {
                for (target, why) in delivery.missed {
                    if let Missed::NotRunning = why {
                        tracing::debug!(topic = %self.topic, %target, "a prediction is for a target that does not run");
                    } else {
                        tracing::warn!(topic = %self.topic, %target, %why, "a prediction did not reach a target");
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "a prediction goes nowhere"),
        }
    }

    fn payload(&self, observation: Observation) -> Prediction {
        let Observation { frame, model, inferred } = observation;
        let captured = Duration::from_nanos(inferred.captured_ns);
        let age = self.clock.boottime().saturating_sub(captured);
        self.times.observe(&inferred, age);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_confident_repeat_is_worth_less() {
        let novelty = Novelty::default();
        let judge = |class, probability| novelty.judge(&[Ranked { label: "any".into(), class, probability }]);
        assert_eq!(judge(3, 0.99), Worth::Ordinary, "the first");
        assert_eq!(judge(3, 0.99), Worth::Repeat);
        assert_eq!(judge(3, 0.5), Worth::Ordinary, "a doubt");
        assert_eq!(judge(4, 0.99), Worth::Ordinary, "a change");
        assert_eq!(novelty.judge(&[]), Worth::Ordinary);
    }
}

//! From a classified frame to those who subscribed to it: payload, route, deliver. What the classifier's policy withholds is
//! shown on the page and goes no further.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::device_watch::DeviceWatch;
use super::metrics::FrameTimes;
use crate::classifier::Observation;
use crate::classifier::policy::Withheld;
use crate::clock::Clock;
use crate::mqtt::spool::Worth;
use crate::name::ThingName;
use crate::page::Feed;
use crate::payload::{self, ClockSource, Latency, Prediction, Ranked};
use crate::router::{Endpoint, MAX_PAYLOAD_BYTES, Missed, Outgoing, QueueFullPolicy, Router};
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
    /// What the device says of itself.
    pub(super) device: Arc<DeviceWatch>,
}

impl Publisher {
    /// Makes the payload, and gives it to every target that a subscription allows if it is to be published: once, or once
    /// for each request that it answers. Never blocks: a target takes it, or counts why not. The time of capture goes
    /// along, to be measured against the acknowledgement.
    pub(super) fn publish(&self, mut observation: Observation) {
        let captured_ns = observation.inferred.captured_ns;
        let thumbnail = observation.inferred.thumbnail.take();
        let decision = std::mem::replace(&mut observation.decision.outcome, Err(Withheld::NotDue));
        let said = std::mem::take(&mut observation.decision.predictions);
        let stable = observation.decision.stable.take();
        let answers = std::mem::take(&mut observation.decision.answers);
        let mut prediction = self.payload(observation);
        if let Some(page) = &self.page {
            page.predicted(&prediction);
        }
        let Ok(publication) = decision else { return };
        prediction.predictions = said;
        prediction.publication = Some(publication);
        prediction.stable = stable;
        prediction.thumbnail = thumbnail;
        prediction.device = self.device.state();
        let worth = self.novelty.judge(&prediction.predictions);
        if answers.is_empty() {
            self.send(&prediction, (captured_ns, worth));
        }
        for answer in answers {
            prediction.trigger = answer.id.map(|id| payload::Trigger { id });
            // Who asks does not want to be told that it is nothing new.
            self.send(&prediction, (captured_ns, Worth::Ordinary));
        }
    }

    fn send(&self, prediction: &Prediction, mark: (u64, Worth)) {
        let Some(document) = document(prediction) else { return };
        let outgoing = Outgoing {
            source: &self.source,
            topic: self.topic.as_str(),
            payload: Bytes::from(document),
            mark,
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
        let Observation { frame, model, inferred, .. } = observation;
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
            publication: None,
            stable: None,
            trigger: None,
            thumbnail: None,
            device: None,
        }
    }
}

/// The message's bytes. One with its thumbnail that is too large for a message goes without it.
fn document(prediction: &Prediction) -> Option<Vec<u8>> {
    let document = serde_json::to_vec(prediction).ok()?;
    if document.len() <= MAX_PAYLOAD_BYTES || prediction.thumbnail.is_none() {
        return Some(document);
    }
    tracing::warn!(bytes = document.len(), "a message is too large with its thumbnail, and goes without it");
    serde_json::to_vec(&Prediction { thumbnail: None, ..prediction.clone() }).ok()
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

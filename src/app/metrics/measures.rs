//! What is measured as it happens: how long frames and messages take. Everything else is counted by its owner.

use std::sync::Arc;
use std::time::Duration;

use crate::classifier::message::Inferred;
use crate::clock::Clock;
use crate::metrics::Histogram;

/// Stages of a frame, in seconds: from a tenth of a millisecond to a second.
const STAGE_BOUNDS: &[f64] = &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];

/// From capture on, in seconds: to a millisecond's inference, and to the end of an outage of an hour.
const LATENCY_BOUNDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0, 3600.0];

/// One camera's frames.
#[derive(Debug)]
pub(in crate::app) struct FrameTimes {
    /// The stages by name.
    pub(super) stages: [(&'static str, Histogram); 5],
    /// From capture to the moment the prediction was made.
    pub(super) to_inference: Histogram,
}

impl FrameTimes {
    pub(in crate::app) fn new() -> Self {
        let stages = ["queue", "decode", "resize", "inference", "postprocess"];
        Self {
            stages: stages.map(|stage| (stage, Histogram::new(STAGE_BOUNDS))),
            to_inference: Histogram::new(LATENCY_BOUNDS),
        }
    }

    /// A frame was classified `age` after its capture.
    pub(in crate::app) fn observe(&self, inferred: &Inferred, age: Duration) {
        let Inferred { queue_us, decode_us, resize_us, inference_us, postprocess_us, .. } = inferred;
        let times = [queue_us, decode_us, resize_us, inference_us, postprocess_us];
        for ((_, histogram), micros) in self.stages.iter().zip(times) {
            histogram.observe(Duration::from_micros(*micros));
        }
        self.to_inference.observe(age);
    }
}

/// The way to the broker's acknowledgement.
#[derive(Debug)]
pub(in crate::app) struct DeliveryTimes {
    clock: Arc<dyn Clock>,
    /// A message from before the core's start may carry the time of another boot.
    since: Duration,
    pub(super) to_acknowledgement: Histogram,
}

impl DeliveryTimes {
    pub(in crate::app) fn new(clock: Arc<dyn Clock>) -> Self {
        let since = clock.boottime();
        Self { clock, since, to_acknowledgement: Histogram::new(LATENCY_BOUNDS) }
    }

    /// The broker has acknowledged a message whose frame was captured at `captured_ns` on CLOCK_BOOTTIME. What cannot be
    /// is not counted: the time comes from a worker, or from before a restart.
    pub(in crate::app) fn acknowledged(&self, captured_ns: u64) {
        let captured = Duration::from_nanos(captured_ns);
        if let Some(age) = self.clock.boottime().checked_sub(captured)
            && captured >= self.since
        {
            self.to_acknowledgement.observe(age);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Exposition, Family, Kind};

    #[test]
    fn a_capture_before_the_start_or_after_the_present_is_no_latency() {
        let clock = Arc::new(crate::clock::SystemClock::new());
        let times = DeliveryTimes::new(clock.clone());
        let now = u64::try_from(clock.boottime().as_nanos()).unwrap();
        for captured in [0, now - 10_000_000_000, now + 10_000_000_000, u64::MAX, now] {
            times.acknowledged(captured);
        }
        const FAMILY: Family = Family { name: "t", kind: Kind::Histogram, labels: &[], help: "" };
        let mut text = Exposition::default();
        text.family(&FAMILY).histogram(&[], &times.to_acknowledgement);
        assert!(text.finish().ends_with("\nt_count 1\n"));
    }
}

//! Whether a group that has just been activated is well: its workers stay up, and frames are classified where frames
//! come. The network's health is none of it: a device may be offline.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::classifier::{CaptureState, ClassifierStatus};

/// A worker that ended this often within the window will go on ending.
const INFERENCE_RESTARTS: u64 = 2;

/// The same for a capture worker: a camera may need a second attempt to open.
const CAPTURE_RESTARTS: u64 = 3;

/// What has not shown by the end of the window may take this much longer: a slow device's first frame.
const GRACE: Duration = Duration::from_secs(30);

/// What is known now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The window is over, and everything is well.
    Healthy,
    /// It is too early to say.
    Open,
    /// It is not well; why.
    Unhealthy(String),
}

#[derive(Debug, Clone, Copy)]
struct Baseline {
    captured: u64,
    inferred: u64,
    capture_restarts: u64,
    inference_restarts: u64,
}

/// Watches a group from its activation on.
#[derive(Debug)]
pub(super) struct HealthWatch {
    window: Duration,
    baselines: BTreeMap<String, Baseline>,
    /// Cameras that did not deliver before either: the new group is not to blame.
    excused: BTreeSet<String>,
}

impl HealthWatch {
    /// Watches for `window` from the state `now`, right after the activation.
    pub(super) fn begin(window: Duration, now: &[ClassifierStatus], excused: BTreeSet<String>) -> Self {
        let baseline = |status: &ClassifierStatus| Baseline {
            captured: status.captured,
            inferred: status.ledger.inferred(),
            capture_restarts: status.restarts.capture,
            inference_restarts: status.restarts.inference,
        };
        let baselines = now.iter().map(|status| (status.camera.clone(), baseline(status))).collect();
        Self { window, baselines, excused }
    }

    /// Judges the state `now`, `elapsed` after the activation.
    pub(super) fn judge(&self, now: &[ClassifierStatus], elapsed: Duration) -> Verdict {
        let mut verdict = if elapsed < self.window { Verdict::Open } else { Verdict::Healthy };
        for status in now {
            match self.judge_classifier(status, elapsed) {
                Verdict::Healthy => {}
                Verdict::Open => verdict = Verdict::Open,
                unhealthy @ Verdict::Unhealthy(_) => return unhealthy,
            }
        }
        verdict
    }

    fn judge_classifier(&self, status: &ClassifierStatus, elapsed: Duration) -> Verdict {
        let camera = &status.camera;
        let Some(baseline) = self.baselines.get(camera) else { return Verdict::Open };
        let restarts = &status.restarts;
        let ended = restarts.inference - baseline.inference_restarts;
        if ended >= INFERENCE_RESTARTS {
            return crash_loop("inference", camera, ended, restarts.inference_reason.as_deref());
        }
        let excused = self.excused.contains(camera);
        let ended = restarts.capture - baseline.capture_restarts;
        if ended >= CAPTURE_RESTARTS && !excused {
            return crash_loop("capture", camera, ended, restarts.capture_reason.as_deref());
        }
        let delivers = matches!(status.capture, CaptureState::Capturing | CaptureState::Ended) || excused;
        let captured = status.captured - baseline.captured;
        let idle = captured > 0 && status.ledger.inferred() == baseline.inferred;
        let what = match () {
            () if status.model.is_none() => "no model classifies",
            () if !delivers => "no frame came",
            () if idle => "frames came and none was classified",
            () => return Verdict::Healthy,
        };
        if elapsed < self.window + GRACE {
            return Verdict::Open;
        }
        let reason = restarts.inference_reason.as_deref().or(restarts.capture_reason.as_deref());
        Verdict::Unhealthy(format!(
            "camera {camera}: {what} within {} s{}",
            elapsed.as_secs(),
            reason.map(|reason| format!(": {reason}")).unwrap_or_default()
        ))
    }
}

fn crash_loop(worker: &str, camera: &str, ended: u64, reason: Option<&str>) -> Verdict {
    let reason = reason.unwrap_or("it did not say why");
    Verdict::Unhealthy(format!("camera {camera}: the {worker} worker ended {ended} times in a row: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classifier::Restarts;
    use crate::classifier::ledger::Ledger;
    use crate::classifier::message::{Account, Outcome};
    use crate::classifier::policy::PolicyCounters;
    use crate::payload::Model;

    const WINDOW: Duration = Duration::from_secs(60);

    fn status(captured: u64, inferred: u64) -> ClassifierStatus {
        let mut ledger = Ledger::default();
        for frame in 0..inferred {
            let inferred = serde_json::json!({"outcome": "inferred", "item": 0, "captured_ns": 0,
                "captured_at_source": "arrival", "predictions": [], "threshold": 0.0, "thumbnail": null, "queue_us": 0, "decode_us": 0, "resize_us": 0,
                "inference_us": 0, "postprocess_us": 0});
            let outcome: Outcome = serde_json::from_value(inferred).unwrap();
            ledger.enter(&Account { from: frame, through: frame, outcome }).unwrap();
        }
        let model = Model { name: "m".to_owned(), version: "1".to_owned(), digest: "d".to_owned() };
        ClassifierStatus {
            camera: "road".to_owned(),
            capture: CaptureState::Capturing,
            captured,
            skipped: 0,
            health: crate::classifier::HealthReport::default(),
            ledger,
            policy: PolicyCounters::default(),
            model: Some(model),
            workers: Vec::new(),
            restarts: Restarts { capture: 0, capture_reason: None, inference: 0, inference_reason: None },
        }
    }

    fn watch(excused: bool) -> HealthWatch {
        let excused = excused.then(|| "road".to_owned()).into_iter().collect();
        HealthWatch::begin(WINDOW, &[status(5, 3)], excused)
    }

    fn after(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_group_that_classifies_is_well_when_the_window_is_over_and_not_before() {
        let now = [status(50, 40)];
        assert_eq!(watch(false).judge(&now, after(59)), Verdict::Open);
        assert_eq!(watch(false).judge(&now, after(60)), Verdict::Healthy);
        assert_eq!(watch(false).judge(&[], after(60)), Verdict::Healthy, "a group without cameras");
    }

    #[test]
    fn workers_that_keep_ending_are_noticed_at_once() {
        let mut now = status(50, 40);
        now.restarts.inference = 1;
        assert_eq!(watch(false).judge(&[now], after(1)), Verdict::Open, "once may be chance");
        let mut now = status(50, 40);
        (now.restarts.inference, now.restarts.inference_reason) = (2, Some("killed by SIGSEGV".to_owned()));
        assert!(matches!(watch(false).judge(&[now], after(1)), Verdict::Unhealthy(why) if why.contains("SIGSEGV")));
    }

    #[test]
    fn a_camera_that_does_not_open_is_noticed_unless_it_was_gone_before() {
        let mut now = status(5, 3);
        (now.capture, now.restarts.capture) = (CaptureState::Restarting, 3);
        assert!(matches!(watch(false).judge(&[now], after(2)), Verdict::Unhealthy(why) if why.contains("capture")));
        let mut now = status(5, 3);
        (now.capture, now.restarts.capture) = (CaptureState::Restarting, 9);
        assert_eq!(watch(true).judge(&[now], after(60)), Verdict::Healthy);
    }

    #[test]
    fn frames_that_nobody_classifies_are_waited_for_and_then_held_against_the_group() {
        let now = || [status(50, 3)];
        assert_eq!(watch(false).judge(&now(), after(89)), Verdict::Open);
        assert!(
            matches!(watch(false).judge(&now(), after(90)), Verdict::Unhealthy(why) if why.contains("none was classified"))
        );
        let mut idle = status(5, 3);
        idle.capture = CaptureState::Ended;
        assert_eq!(watch(false).judge(&[idle], after(60)), Verdict::Healthy, "a source without frames proves nothing");
    }
}

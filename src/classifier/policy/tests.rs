//! What a policy decides, case by case.

use std::collections::BTreeSet;

use super::*;

/// A policy with what `change` changes, and frames a tenth of a second apart.
struct Scene {
    policy: Policy,
    frame: u64,
}

const GAP: Duration = Duration::from_millis(100);

fn settings(change: impl FnOnce(&mut PolicySettings)) -> PolicySettings {
    let mut settings = PolicySettings::every_frame(5);
    change(&mut settings);
    settings
}

fn scene(change: impl FnOnce(&mut PolicySettings)) -> Scene {
    Scene { policy: Policy::new(settings(change)), frame: 0 }
}

/// Classes from `a 0.9 b 0.1`.
fn classes(text: &str) -> Vec<Ranked> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let class = |pair: &[&str]| Ranked {
        label: pair[0].to_owned(),
        class: u32::from(pair[0].as_bytes()[0] - b'a'),
        probability: pair[1].parse().unwrap(),
    };
    words.chunks(2).map(class).collect()
}

impl Scene {
    fn now(&self) -> Duration {
        Duration::from_secs(1000) + GAP * u32::try_from(self.frame).unwrap()
    }

    fn see_of(&mut self, model: &str, text: &str) -> Decision {
        let (now, predictions) = (self.now(), classes(text));
        self.frame += 1;
        self.policy.decide(Seen { predictions: &predictions, threshold: 0.0, model, captured: now, now })
    }

    fn see(&mut self, text: &str) -> Decision {
        self.see_of("m", text)
    }

    /// What becomes of each frame: its reason, or why it is withheld.
    fn all(&mut self, frames: &[&str]) -> Vec<String> {
        let said = |outcome: Result<Publication, Withheld>| match outcome {
            Ok(publication) => publication.reason.label().to_owned(),
            Err(withheld) => format!("-{}", withheld.label()),
        };
        frames.iter().map(|text| said(self.see(text).outcome)).collect()
    }
}

fn set(labels: &[&str]) -> BTreeSet<String> {
    labels.iter().map(|label| (*label).to_owned()).collect()
}

#[test]
fn every_frame_is_published_with_its_best_classes_above_the_threshold() {
    let mut scene = scene(|settings| settings.top_k = 2);
    let predictions = classes("a 0.6 b 0.2 c 0.1");
    let now = scene.now();
    let mut seen = Seen { predictions: &predictions, threshold: 0.0, model: "m", captured: now, now };
    let decision = scene.policy.decide(seen);
    assert_eq!(decision.predictions, predictions[..2]);
    assert_eq!(decision.outcome, Ok(Publication { reason: Reason::EveryFrame, withheld: 0 }));
    assert_eq!(decision.stable, None);
    seen.threshold = 0.7;
    assert_eq!(scene.policy.decide(seen).predictions, predictions[..1], "the best one stays");
}

#[test]
fn on_change_a_label_is_said_when_another_held_or_none_did() {
    let mut scene = scene(|settings| {
        settings.when = When::OnChange;
        settings.publish_threshold = 0.5;
    });
    let said = scene.all(&["a 0.9", "a 0.8", "b 0.7", "b 0.4", "b 0.7", "a 0.2", "a 0.9"]);
    let expected = ["change", "-unchanged", "change", "-unsure", "change", "-unsure", "change"];
    assert_eq!(said, expected);
    assert_eq!(scene.policy.counters().published, 4);
}

#[test]
fn an_interval_keeps_its_grid_however_late_frames_come() {
    let mut scene = scene(|settings| settings.when = When::OnInterval(Duration::from_millis(250)));
    let said = scene.all(&["a 1"; 10]);
    let published: Vec<usize> = (0..10).filter(|frame| said[*frame] == "interval").collect();
    assert_eq!(published, [0, 3, 5, 8], "0, 250, 500 and 750 ms, each at the next frame");
    assert_eq!(said[1], "-not_due");
}

#[test]
fn a_request_is_answered_by_the_first_frame_captured_after_it_and_its_id_comes_back() {
    let mut scene = scene(|settings| settings.when = When::OnTrigger);
    assert_eq!(scene.all(&["a 1"]), ["-not_asked"]);
    let asked = scene.now() + GAP / 2;
    scene.policy.ask(Trigger { id: Some("7".to_owned()) }, asked).unwrap();
    scene.policy.ask(Trigger { id: None }, asked).unwrap();
    assert_eq!(scene.all(&["a 1"]), ["-not_asked"], "it was captured before the request");
    let decision = scene.see("a 0.1");
    assert_eq!(decision.outcome, Ok(Publication { reason: Reason::Trigger, withheld: 2 }));
    assert_eq!(decision.answers, [Trigger { id: Some("7".to_owned()) }, Trigger { id: None }]);
    assert_eq!(scene.all(&["a 1"]), ["-not_asked"]);
    let counters = scene.policy.counters();
    assert_eq!((counters.triggers_taken, counters.triggers_answered, counters.triggers_waiting), (2, 2, 0));
}

#[test]
fn more_requests_than_may_wait_are_refused_and_counted() {
    let mut scene = scene(|settings| settings.when = When::OnTrigger);
    let now = scene.now();
    for _ in 0..MAX_TRIGGERS {
        scene.policy.ask(Trigger::default(), now).unwrap();
    }
    assert_eq!(scene.policy.ask(Trigger::default(), now), Err(TriggerError::TooMany));
    let counters = scene.policy.counters();
    assert_eq!((counters.triggers_waiting, counters.triggers_refused), (MAX_TRIGGERS as u64, 1));
}

#[test]
fn a_rate_holds_messages_apart_and_what_changed_meanwhile_is_said_later() {
    let mut scene = scene(|settings| {
        settings.when = When::OnChange;
        settings.least_gap = Some(GAP * 3);
    });
    let said = scene.all(&["a 1", "b 1", "b 1", "b 1", "b 1"]);
    assert_eq!(said, ["change", "-rate", "-rate", "change", "-unchanged"]);
    let now = scene.now();
    for id in ["1", "2"] {
        scene.policy.ask(Trigger { id: Some(id.to_owned()) }, now).unwrap();
    }
    let answers: Vec<usize> = (0..5).map(|_| scene.see("b 1").answers.len()).collect();
    assert_eq!(answers.iter().sum::<usize>(), 2);
    assert!(answers.iter().all(|answers| *answers <= 1), "one message each time: {answers:?}");
}

#[test]
fn a_heartbeat_ends_a_silence_whatever_holds() {
    let mut scene = scene(|settings| {
        settings.when = When::OnChange;
        settings.publish_threshold = 0.5;
        settings.heartbeat = Some(GAP * 3);
    });
    let said = scene.all(&["a 0.9", "a 0.9", "a 0.1", "a 0.1", "a 0.9"]);
    assert_eq!(said, ["change", "-unchanged", "-unsure", "heartbeat", "change"]);
}

#[test]
fn a_denied_label_is_never_said_not_even_to_who_asks() {
    let mut scene = scene(|settings| {
        settings.labels = LabelRule { allow: set(&[]), deny: set(&["p"]) };
        settings.heartbeat = Some(GAP);
    });
    let now = scene.now();
    scene.policy.ask(Trigger::default(), now).unwrap();
    let decision = scene.see("p 1");
    assert_eq!((decision.outcome, decision.predictions, decision.answers), (Err(Withheld::Label), vec![], vec![]));
    let decision = scene.see("p 0.9 a 0.1");
    assert_eq!(decision.predictions, classes("a 0.1"));
    assert_eq!(decision.answers.len(), 1, "the request waited for a frame that can be told of");
}

#[test]
fn of_an_allow_list_only_its_labels_are_said() {
    let mut scene = scene(|settings| settings.labels = LabelRule { allow: set(&["a", "b"]), deny: set(&[]) });
    assert_eq!(scene.see("c 0.5 b 0.3 a 0.2").predictions, classes("b 0.3 a 0.2"));
    assert_eq!(scene.see("c 1").outcome, Err(Withheld::Label));
}

#[test]
fn a_majority_outvotes_single_frames() {
    let mut scene = scene(|settings| {
        settings.when = When::OnChange;
        settings.smoothing = Smoothing::Majority(5);
    });
    let said = scene.all(&["a 1", "a 1", "b 1", "a 1", "b 1", "b 1"]);
    assert_eq!(said, ["change", "-unchanged", "-unchanged", "-unchanged", "-unchanged", "change"]);
    let stable = scene.see("b 0.9").stable.unwrap();
    assert_eq!((stable.label.as_str(), stable.frames), ("b", 2));
    assert!((stable.score - 0.8).abs() < 1e-3, "4 of the last 5 frames: {stable:?}");
}

#[test]
fn averages_follow_slowly_and_keep_the_frames_own_classes_beside_them() {
    let mut scene = scene(|settings| settings.smoothing = Smoothing::Exponential(3));
    scene.see("a 1 b 0");
    let decision = scene.see("b 0.8 a 0.2");
    let stable = decision.stable.unwrap();
    assert_eq!(stable.label, "a");
    assert!((stable.score - 0.6).abs() < 1e-6, "{stable:?}");
    assert_eq!(decision.predictions[0].label, "b");
    assert_eq!(scene.see("b 0.8 a 0.2").stable.unwrap().label, "b");
}

#[test]
fn hysteresis_keeps_the_label_that_is_only_just_beaten() {
    let mut scene = scene(|settings| {
        settings.when = When::OnChange;
        settings.hysteresis = 0.2;
        settings.publish_threshold = 0.5;
    });
    let said = scene.all(&["a 0.55", "b 0.45 a 0.4", "a 0.35 b 0.3", "a 0.29", "b 0.8 a 0.1"]);
    assert_eq!(said, ["change", "-unchanged", "-unchanged", "-unsure", "change"]);
}

#[test]
fn another_model_begins_with_no_votes_and_knows_what_was_said() {
    let mut scene = scene(|settings| {
        settings.when = When::OnChange;
        settings.smoothing = Smoothing::Majority(9);
    });
    scene.all(&["a 1", "a 1", "a 1"]);
    assert_eq!(scene.see_of("other", "a 1").outcome, Err(Withheld::Unchanged));
    assert_eq!(scene.see_of("third", "b 1").outcome.unwrap().reason, Reason::Change, "three votes for a are gone");
}

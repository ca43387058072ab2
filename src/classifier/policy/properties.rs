//! What holds for every policy and every run of frames.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const LABELS: [&str; 4] = ["a", "b", "c", "d"];

/// A frame: classes with their probabilities, milliseconds since the one before, and whether somebody asks before it.
type Frame = (Vec<(usize, f32)>, u64, bool);

fn any_frames() -> impl Strategy<Value = Vec<Frame>> {
    let class = (0..LABELS.len(), 0.0..=1.0_f32);
    let frame = (proptest::collection::vec(class, 1..4), 0..400_u64, proptest::bool::weighted(0.1));
    proptest::collection::vec(frame, 1..60)
}

fn any_labels() -> impl Strategy<Value = BTreeSet<String>> {
    proptest::collection::btree_set((0..LABELS.len()).prop_map(|label| LABELS[label].to_owned()), 0..2)
}

fn any_settings() -> impl Strategy<Value = PolicySettings> {
    let when = prop_oneof![
        Just(When::EveryFrame),
        Just(When::OnChange),
        (1..1000_u64).prop_map(|ms| When::OnInterval(Duration::from_millis(ms))),
        Just(When::OnTrigger),
    ];
    let smoothing = prop_oneof![
        Just(Smoothing::None),
        (1..8_usize).prop_map(Smoothing::Majority),
        (1..8_usize).prop_map(Smoothing::Exponential),
    ];
    let pause = |longest: u64| proptest::option::of((1..longest).prop_map(Duration::from_millis));
    (when, 1..4_usize, any_labels(), any_labels(), smoothing, 0.0..0.5_f32, 0.0..1.0_f32, pause(900), pause(500))
        .prop_map(|(when, top_k, allow, deny, smoothing, hysteresis, publish_threshold, heartbeat, least_gap)| {
            PolicySettings {
                when,
                top_k,
                labels: LabelRule { allow, deny },
                smoothing,
                hysteresis,
                publish_threshold,
                heartbeat: heartbeat.filter(|heartbeat| least_gap.is_none_or(|gap| gap <= *heartbeat)),
                least_gap,
            }
        })
}

fn ranked(frame: &Frame) -> Vec<Ranked> {
    let mut classes: Vec<Ranked> = Vec::new();
    for (label, probability) in &frame.0 {
        if classes.iter().all(|class| class.label != LABELS[*label]) {
            classes.push(Ranked { label: LABELS[*label].to_owned(), class: *label as u32, probability: *probability });
        }
    }
    classes.sort_by(|one, other| other.probability.total_cmp(&one.probability));
    classes
}

/// Every decision with its frame's classes and time.
fn run(settings: &PolicySettings, frames: &[Frame]) -> (Policy, Vec<(Vec<Ranked>, Duration, Decision)>) {
    let mut policy = Policy::new(settings.clone());
    let mut now = Duration::from_secs(100);
    let mut decisions = Vec::new();
    for frame in frames {
        now += Duration::from_millis(frame.1);
        if frame.2 {
            let _ = policy.ask(Trigger { id: Some(now.as_millis().to_string()) }, now);
        }
        let predictions = ranked(frame);
        let seen = Seen { predictions: &predictions, threshold: 0.2, model: "m", captured: now, now };
        let decision = policy.decide(seen);
        decisions.push((predictions, now, decision));
    }
    (policy, decisions)
}

proptest! {
    #[test]
    fn every_frame_is_published_or_withheld_once(settings in any_settings(), frames in any_frames()) {
        let (policy, decisions) = run(&settings, &frames);
        let counters = policy.counters();
        prop_assert_eq!(counters.decided(), frames.len() as u64);
        prop_assert_eq!(counters.by_reason.values().sum::<u64>(), counters.published);
        let told: u64 = decisions.iter().filter_map(|(_, _, one)| one.outcome.ok()).map(|one| one.withheld + 1).sum();
        let last = decisions.iter().rev().take_while(|(_, _, one)| one.outcome.is_err()).count() as u64;
        prop_assert_eq!(told + last, frames.len() as u64, "the messages account for the frames between them");
    }

    #[test]
    fn the_same_frames_make_the_same_decisions(settings in any_settings(), frames in any_frames()) {
        let decided = |(_, decisions): (Policy, Vec<(Vec<Ranked>, Duration, Decision)>)| decisions;
        prop_assert_eq!(decided(run(&settings, &frames)), decided(run(&settings, &frames)));
    }

    #[test]
    fn no_message_says_what_it_may_not(settings in any_settings(), frames in any_frames()) {
        for (seen, _, decision) in run(&settings, &frames).1 {
            let labels = &settings.labels;
            let may = |label: &String| (labels.allow.is_empty() || labels.allow.contains(label)) && !labels.deny.contains(label);
            prop_assert!(decision.predictions.iter().all(|class| may(&class.label) && seen.contains(class)));
            prop_assert!(decision.stable.iter().all(|stable| may(&stable.label) && (0.0..=1.0).contains(&stable.score)));
            prop_assert!(decision.predictions.len() <= settings.top_k);
            prop_assert!(decision.outcome.is_err() || !decision.predictions.is_empty());
        }
    }

    #[test]
    fn messages_keep_their_distance_and_a_silence_its_end(settings in any_settings(), frames in any_frames()) {
        let mut published: Option<Duration> = None;
        for (_, now, decision) in run(&settings, &frames).1 {
            let silence = published.map(|published| now - published);
            match decision.outcome {
                Ok(_) => {
                    let gap = settings.least_gap.unwrap_or_default();
                    prop_assert!(silence.is_none_or(|silence| silence >= gap));
                    prop_assert!(settings.least_gap.is_none() || decision.answers.len() <= 1);
                    published = Some(now);
                }
                Err(Withheld::Label) => {}
                Err(_) => prop_assert!(settings.heartbeat.is_none_or(|beat| silence.is_some_and(|silence| silence < beat))),
            }
        }
    }

    #[test]
    fn a_request_is_answered_once_and_in_its_turn(settings in any_settings(), frames in any_frames()) {
        let (policy, decisions) = run(&settings, &frames);
        let answered: Vec<u64> = decisions
            .iter()
            .flat_map(|(_, _, decision)| &decision.answers)
            .map(|trigger| trigger.id.as_ref().unwrap().parse().unwrap())
            .collect();
        prop_assert!(answered.is_sorted());
        let counters = policy.counters();
        prop_assert_eq!(counters.triggers_answered, answered.len() as u64);
        prop_assert_eq!(counters.triggers_taken, counters.triggers_answered + counters.triggers_waiting);
        for (_, _, decision) in &decisions {
            let triggered = decision.outcome.is_ok_and(|publication| publication.reason == Reason::Trigger);
            prop_assert_eq!(triggered, !decision.answers.is_empty());
        }
    }

    #[test]
    fn on_change_alone_no_label_is_said_twice_in_a_row(frames in any_frames()) {
        let settings = PolicySettings { when: When::OnChange, ..PolicySettings::every_frame(1) };
        let frames: Vec<Frame> = frames.into_iter().map(|(classes, gap, _)| (classes, gap, false)).collect();
        let decisions = run(&settings, &frames).1;
        let said: Vec<&str> = decisions
            .iter()
            .filter(|(_, _, decision)| decision.outcome.is_ok())
            .map(|(_, _, decision)| decision.predictions[0].label.as_str())
            .collect();
        prop_assert!(said.windows(2).all(|pair| pair[0] != pair[1]), "{said:?}");
    }

    #[test]
    fn within_the_margin_no_label_takes_another_ones_place(
        wobbles in proptest::collection::vec(-0.09..0.09_f32, 1..50), smoothing in 1..5_usize
    ) {
        let settings = PolicySettings {
            smoothing: Smoothing::Exponential(smoothing),
            hysteresis: 0.2,
            ..PolicySettings::every_frame(2)
        };
        let frames: Vec<Frame> =
            wobbles.iter().map(|wobble| (vec![(0, 0.5 + wobble), (1, 0.5 - wobble)], 10, false)).collect();
        let decisions = run(&settings, &frames).1;
        let labels: BTreeSet<String> = decisions.iter().map(|(_, _, one)| one.stable.clone().unwrap().label).collect();
        prop_assert_eq!(labels.len(), 1);
    }
}

//! Whether a camera shows anything: black, over-exposed, frozen or silent, noticed by the core and told once it lasts.
//!
//! The inference worker, which has the pixels, sends a [`Look`] now and then: numbers about a grid of the picture's luma.
//! What they mean is judged here, with two thresholds and two times each, so that a camera at the edge does not flicker
//! between well and ill.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A share has to fall by so many hundredths below the one that made a condition, before it is over.
const HYSTERESIS: u8 = 10;

/// No frame for as many intervals is silence, for a camera so slow that the setting would be shorter.
const SILENT_INTERVALS: u32 = 4;

/// What a picture looks like, by the luma (0 to 255, full range) of a grid of its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// The mean luma.
    pub mean: u8,
    /// Hundredths of the pixels that are darker than the setting.
    pub dark: u8,
    /// Hundredths of the pixels that are brighter than the setting.
    pub bright: u8,
    /// The same for the same pixels, and almost surely another for others.
    pub fingerprint: u64,
    /// Whether it was taken by a camera, which never takes the same picture twice; stored pictures come again.
    pub live: bool,
}

/// What is wrong with a camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Its pictures are black: a cap, a night without light, a dead sensor.
    Black,
    /// Its pictures are white.
    OverExposed,
    /// Each picture is the same as the one before, to the last bit.
    Frozen,
    /// No picture comes.
    Silent,
}

impl Condition {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Black, Self::OverExposed, Self::Frozen, Self::Silent];

    /// The name in JSON and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Black => "black",
            Self::OverExposed => "over_exposed",
            Self::Frozen => "frozen",
            Self::Silent => "silent",
        }
    }
}

/// From when on a camera is ill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthSettings {
    /// A pixel whose luma is below it is dark.
    pub dark_below: u8,
    /// A pixel whose luma is above it is bright.
    pub bright_above: u8,
    /// So many hundredths of dark pixels make a black picture, of bright ones an over-exposed one.
    pub share: u8,
    /// How long a picture has to be so, and how long it has to be well again.
    pub after: Duration,
    /// How long pictures have to be the same; zero: they may be for ever.
    pub frozen_after: Duration,
    /// How long no picture has to come; zero: none has to.
    pub silent_after: Duration,
}

impl Default for HealthSettings {
    /// Black and white with some noise, for longer than a light takes to be switched on.
    fn default() -> Self {
        Self {
            dark_below: 20,
            bright_above: 245,
            share: 95,
            after: Duration::from_secs(3),
            frozen_after: Duration::from_secs(10),
            silent_after: Duration::from_secs(10),
        }
    }
}

/// A camera's health at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HealthReport {
    /// What is wrong now.
    pub conditions: Vec<Condition>,
    /// How often each condition has begun since the core started.
    pub begun: BTreeMap<Condition, u64>,
    /// What the last picture looked like, if one was looked at.
    pub look: Option<Look>,
}

/// The judge of one camera. Times are of any clock that only goes forward.
#[derive(Debug)]
pub(super) struct Health {
    settings: HealthSettings,
    silent_after: Duration,
    black: Tracked,
    over_exposed: Tracked,
    frozen: Tracked,
    silent: Tracked,
    look: Option<Look>,
    begun: BTreeMap<Condition, u64>,
    /// How many frames were captured when that last changed, and when it did.
    last_frame: Option<(u64, Duration)>,
}

impl Health {
    /// For a camera of so many frames a second.
    pub(super) fn new(settings: HealthSettings, frames_per_second: f64) -> Self {
        let interval = Duration::try_from_secs_f64(frames_per_second.recip()).unwrap_or(Duration::MAX);
        let silent_after = settings.silent_after.max(interval.saturating_mul(SILENT_INTERVALS));
        Self {
            settings,
            silent_after,
            black: Tracked::default(),
            over_exposed: Tracked::default(),
            frozen: Tracked::default(),
            silent: Tracked::default(),
            look: None,
            begun: BTreeMap::new(),
            last_frame: None,
        }
    }

    /// Takes a look into account.
    pub(super) fn looked(&mut self, look: Look, now: Duration) {
        let HealthSettings { share, after, frozen_after, .. } = self.settings;
        let over = |hundredths: u8| match hundredths {
            _ if hundredths >= share => Some(true),
            _ if hundredths < share.saturating_sub(HYSTERESIS) => Some(false),
            _ => None,
        };
        let same = self.look.is_some_and(|last| last.live && look.live && last.fingerprint == look.fingerprint);
        let frozen = same && !frozen_after.is_zero();
        let (dark, bright) = (over(look.dark), over(look.bright));
        let judged = [
            (Condition::Black, self.black.judge(dark, now, after, after)),
            (Condition::OverExposed, self.over_exposed.judge(bright, now, after, after)),
            (Condition::Frozen, self.frozen.judge(Some(frozen), now, frozen_after, after)),
        ];
        self.look = Some(look);
        self.count(&judged);
    }

    /// Takes into account how many frames were captured so far. `due`: whether frames are to come at all.
    pub(super) fn captured(&mut self, frames: u64, due: bool, now: Duration) {
        if self.last_frame.is_none_or(|(known, _)| known != frames) || !due {
            self.last_frame = Some((frames, now));
        }
        let since = self.last_frame.map_or(now, |(_, since)| since);
        let silence = now.saturating_sub(since);
        let silent = due && !self.settings.silent_after.is_zero() && silence >= self.silent_after;
        let judged = [(Condition::Silent, self.silent.judge(Some(silent), now, Duration::ZERO, Duration::ZERO))];
        self.count(&judged);
        if self.silent.holds {
            // Nothing is known of pictures that do not come.
            (self.black, self.over_exposed, self.frozen) = <(Tracked, Tracked, Tracked)>::default();
        }
    }

    fn count(&mut self, judged: &[(Condition, bool)]) {
        for (condition, _) in judged.iter().filter(|(_, began)| *began) {
            *self.begun.entry(*condition).or_default() += 1;
        }
    }

    /// What is to be told.
    pub(super) fn report(&self) -> HealthReport {
        let tracked = [
            (Condition::Black, &self.black),
            (Condition::OverExposed, &self.over_exposed),
            (Condition::Frozen, &self.frozen),
            (Condition::Silent, &self.silent),
        ];
        let conditions = tracked.iter().filter(|(_, tracked)| tracked.holds).map(|(condition, _)| *condition).collect();
        HealthReport { conditions, begun: self.begun.clone(), look: self.look }
    }
}

/// One condition: whether it holds, and since when the opposite seems to be so.
#[derive(Debug, Default)]
struct Tracked {
    holds: bool,
    otherwise_since: Option<Duration>,
}

impl Tracked {
    /// Takes a sign of the condition or of its absence, or none of either, into account; true where it begins.
    fn judge(&mut self, seen: Option<bool>, now: Duration, enter: Duration, leave: Duration) -> bool {
        if seen != Some(!self.holds) {
            self.otherwise_since = None;
            return false;
        }
        let since = *self.otherwise_since.get_or_insert(now);
        if now.saturating_sub(since) < if self.holds { leave } else { enter } {
            return false;
        }
        (self.holds, self.otherwise_since) = (!self.holds, None);
        self.holds
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn look(dark: u8, bright: u8, fingerprint: u64) -> Look {
        Look { mean: 100, dark, bright, fingerprint, live: true }
    }

    fn health() -> Health {
        Health::new(HealthSettings::default(), 5.0)
    }

    fn conditions(health: &Health) -> Vec<Condition> {
        health.report().conditions
    }

    #[test]
    fn black_and_white_are_told_once_they_last_and_over_once_that_lasts() {
        for (condition, ill) in [(Condition::Black, look(99, 0, 0)), (Condition::OverExposed, look(0, 99, 0))] {
            let mut health = health();
            let mut print = 0;
            let mut show = |health: &mut Health, look: Look, seconds| {
                print += 1;
                health.looked(Look { fingerprint: print, ..look }, at(seconds));
                conditions(health) == [condition]
            };
            let well = look(1, 1, 0);
            assert!(!show(&mut health, ill, 0.0));
            assert!(!show(&mut health, ill, 2.9));
            assert!(show(&mut health, ill, 3.0));
            assert!(show(&mut health, well, 4.0));
            assert!(show(&mut health, ill, 5.0), "it was well for a moment only");
            assert!(show(&mut health, well, 6.0));
            assert!(!show(&mut health, well, 9.0));
            assert_eq!(health.report().begun[&condition], 1);
        }
    }

    #[test]
    fn a_picture_between_the_thresholds_changes_nothing() {
        let mut health = health();
        for second in 0..4 {
            health.looked(look(96, 0, second), at(second as f64));
        }
        assert_eq!(conditions(&health), [Condition::Black]);
        for second in 4..20 {
            health.looked(look(90, 0, second), at(second as f64));
        }
        assert_eq!(conditions(&health), [Condition::Black], "90 is no longer 95 and not yet 84");
        for second in 20..24 {
            health.looked(look(84, 0, second), at(second as f64));
        }
        assert_eq!(conditions(&health), []);
    }

    #[test]
    fn a_live_camera_that_shows_the_same_for_long_is_frozen_and_stored_pictures_are_not() {
        let mut health = health();
        for second in 0..=12 {
            health.looked(look(0, 0, 7), at(f64::from(second)));
            let expected: &[Condition] = if second > 10 { &[Condition::Frozen] } else { &[] };
            assert_eq!(conditions(&health), expected, "after {second} s");
        }
        for second in 13..=16 {
            health.looked(look(0, 0, second), at(second as f64));
        }
        assert_eq!(conditions(&health), []);
        for second in 17..40 {
            health.looked(Look { live: false, ..look(0, 0, 7) }, at(f64::from(second)));
        }
        assert_eq!(conditions(&health), []);
    }

    #[test]
    fn silence_is_told_and_ends_with_the_next_frame() {
        let mut health = health();
        health.captured(5, true, at(0.0));
        health.captured(5, true, at(9.9));
        assert_eq!(conditions(&health), []);
        health.captured(5, true, at(10.0));
        assert_eq!(conditions(&health), [Condition::Silent]);
        health.captured(6, true, at(11.0));
        assert_eq!(conditions(&health), []);
        health.captured(6, false, at(100.0));
        health.captured(6, true, at(101.0));
        assert_eq!(conditions(&health), [], "no frame was due");
    }

    #[test]
    fn a_slow_camera_is_not_silent_between_its_frames() {
        let mut slow = Health::new(HealthSettings::default(), 0.1);
        slow.captured(1, true, at(0.0));
        slow.captured(1, true, at(39.0));
        assert_eq!(conditions(&slow), []);
        slow.captured(1, true, at(40.0));
        assert_eq!(conditions(&slow), [Condition::Silent]);
    }

    #[test]
    fn what_is_switched_off_is_never_told() {
        let off = HealthSettings { frozen_after: Duration::ZERO, silent_after: Duration::ZERO, ..Default::default() };
        let mut health = Health::new(off, 5.0);
        for second in 0..100 {
            health.looked(look(0, 0, 7), at(f64::from(second)));
            health.captured(1, true, at(f64::from(second)));
        }
        assert_eq!(conditions(&health), []);
    }

    #[test]
    fn a_silent_camera_is_not_black_as_well() {
        let mut health = health();
        health.captured(1, true, at(0.0));
        for second in 0..4 {
            health.looked(look(99, 0, second), at(second as f64));
        }
        health.captured(1, true, at(10.0));
        assert_eq!(conditions(&health), [Condition::Silent]);
    }

    proptest! {
        #[test]
        fn no_condition_begins_before_its_time(looks in prop::collection::vec((0_u8..=100, 0_u8..=100, 0_u64..3), 1..60)) {
            let mut health = health();
            for (step, (dark, bright, print)) in looks.iter().enumerate() {
                health.looked(look(*dark, *bright, *print), at(step as f64 * 0.5));
                prop_assert!(step >= 6 || conditions(&health).is_empty());
            }
        }
    }
}

//! Letting through fewer frames than a camera delivers.

use std::time::Duration;

/// Lets frames through such that there are as many a second as asked for. Most cameras have few rates: one that is
/// asked for 2 frames a second gives 5, or 15.
#[derive(Debug)]
pub(super) struct Thinning {
    /// The time between frames that are let through.
    interval: Duration,
    /// How much earlier than due a frame may be: half the time between the camera's.
    early: Duration,
    due: Option<Duration>,
}

impl Thinning {
    /// For a camera that delivers `delivered` frames a second, 0 where it is not known, of which `wanted` are wanted.
    pub(super) fn new(wanted: f64, delivered: f64) -> Self {
        let time = |rate: f64| Duration::try_from_secs_f64(rate.recip()).unwrap_or(Duration::MAX);
        let interval = time(wanted);
        let early = if delivered > 0.0 { time(delivered).min(interval) / 2 } else { interval / 4 };
        Self { interval, early, due: None }
    }

    /// Whether the frame that was taken at `time` is let through. After a pause the next frame is, and what was missed
    /// is not made up for.
    pub(super) fn admits(&mut self, time: Duration) -> bool {
        let due = self.due.unwrap_or(time);
        // A clock that went back would shut the camera off until it is there again.
        let behind = due.saturating_sub(time) > self.interval.saturating_mul(2);
        if time.saturating_add(self.early) < due && !behind {
            return false;
        }
        let on_time = time.saturating_sub(due) <= self.interval && !behind;
        self.due = Some(if on_time { due } else { time }.saturating_add(self.interval));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of the frames of ten seconds are let through, each some milliseconds early or late.
    fn let_through(wanted: f64, delivered: f64) -> usize {
        let mut thinning = Thinning::new(wanted, delivered);
        let frames = (0..(10.0 * delivered) as u32).map(|number| {
            let jitter = f64::from(number * 7 % 5) * 0.001;
            Duration::from_secs_f64(1.0 + f64::from(number) / delivered + jitter)
        });
        frames.filter(|time| thinning.admits(*time)).count()
    }

    #[test]
    fn as_many_frames_a_second_come_through_as_were_asked_for() {
        for (wanted, delivered, expected) in
            [(5.0, 30.0, 50), (5.0, 7.5, 50), (2.0, 15.0, 20), (30.0, 30.0, 300), (30.0, 29.97, 299), (60.0, 30.0, 300)]
        {
            let through = let_through(wanted, delivered);
            assert!(through.abs_diff(expected) <= 1, "{wanted} of {delivered}: {through}");
        }
    }

    #[test]
    fn after_a_pause_one_frame_comes_and_not_all_that_were_missed() {
        let mut thinning = Thinning::new(1.0, 30.0);
        let mut admits = |seconds: f64| thinning.admits(Duration::from_secs_f64(seconds));
        assert_eq!(
            [admits(10.0), admits(10.5), admits(60.0), admits(60.1), admits(61.0)],
            [true, false, true, false, true]
        );
    }

    #[test]
    fn a_clock_that_went_back_shuts_nothing_off() {
        let mut thinning = Thinning::new(1.0, 30.0);
        let mut admits = |seconds: u64| thinning.admits(Duration::from_secs(seconds));
        assert_eq!([admits(100), admits(5), admits(6)], [true, true, true]);
    }
}

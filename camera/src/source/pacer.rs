//! When the next frame is due.

use std::sync::Arc;
use std::time::Duration;

use super::error::SourceError;
use super::limits::MOST_FRAMES_PER_SECOND;
use crate::clock::Clock;

/// Spaces frames evenly. A caller that comes late gets one frame at once and then the usual spacing: what was missed
/// is not made up for, as a camera would not either.
#[derive(Debug)]
pub(super) struct Pacer {
    clock: Arc<dyn Clock>,
    interval: Duration,
    due: Option<Duration>,
}

impl Pacer {
    /// A pacer whose first frame is due at once.
    pub(super) fn new(frames_per_second: f64, clock: Arc<dyn Clock>) -> Result<Self, SourceError> {
        let refused = || SourceError::Rate { given: frames_per_second, most: MOST_FRAMES_PER_SECOND };
        if !(frames_per_second > 0.0 && frames_per_second <= MOST_FRAMES_PER_SECOND) {
            return Err(refused());
        }
        let interval = Duration::try_from_secs_f64(frames_per_second.recip()).map_err(|_| refused())?;
        Ok(Self { clock, interval, due: None })
    }

    /// Waits for the next frame's time, at most `timeout`, and tells the time if it has come.
    pub(super) fn wait(&mut self, timeout: Duration) -> Option<Duration> {
        let now = self.clock.boottime();
        let due = *self.due.get_or_insert(now);
        let deadline = now.saturating_add(timeout);
        if due > deadline {
            self.clock.wait_until(deadline);
            return None;
        }
        self.clock.wait_until(due);
        let now = self.clock.boottime();
        let next = due.saturating_add(self.interval);
        self.due = Some(if next < now { now.saturating_add(self.interval) } else { next });
        Some(now)
    }

    /// Puts the next frame off, to at least `delay` from now.
    pub(super) fn put_off(&mut self, delay: Duration) {
        let earliest = self.clock.boottime().saturating_add(delay);
        self.due = Some(self.due.map_or(earliest, |due| due.max(earliest)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SteppedClock;

    const SECOND: Duration = Duration::from_secs(1);

    fn pacer(frames_per_second: f64) -> (Arc<SteppedClock>, Pacer) {
        let clock = Arc::new(SteppedClock::starting_at(100 * SECOND));
        let pacer = Pacer::new(frames_per_second, clock.clone()).unwrap();
        (clock, pacer)
    }

    #[test]
    fn frames_are_spaced_evenly_from_the_first_on() {
        let (clock, mut pacer) = pacer(4.0);
        let times: Vec<_> = (0..5).map(|_| pacer.wait(SECOND).unwrap() - 100 * SECOND).collect();
        assert_eq!(times, [0, 250, 500, 750, 1000].map(Duration::from_millis));
        assert_eq!(clock.boottime(), 101 * SECOND);
    }

    #[test]
    fn waiting_ends_with_the_timeout_and_goes_on_where_it_stopped() {
        let (clock, mut pacer) = pacer(0.1);
        assert_eq!(pacer.wait(Duration::ZERO), Some(100 * SECOND));
        for waited in 1..10 {
            assert_eq!(pacer.wait(SECOND), None);
            assert_eq!(clock.boottime(), (100 + waited) * SECOND);
        }
        assert_eq!(pacer.wait(SECOND), Some(110 * SECOND));
    }

    #[test]
    fn a_late_caller_gets_one_frame_and_not_all_that_it_missed() {
        let (clock, mut pacer) = pacer(1.0);
        pacer.wait(SECOND).unwrap();
        clock.advance(30 * SECOND);
        assert_eq!(pacer.wait(Duration::ZERO), Some(130 * SECOND));
        assert_eq!(pacer.wait(Duration::ZERO), None);
        assert_eq!(pacer.wait(SECOND), Some(131 * SECOND));
    }

    #[test]
    fn a_caller_that_is_a_little_late_does_not_shift_the_frames_after() {
        let (clock, mut pacer) = pacer(1.0);
        pacer.wait(SECOND).unwrap();
        clock.advance(SECOND + Duration::from_millis(200));
        assert_eq!(pacer.wait(SECOND), Some(101 * SECOND + Duration::from_millis(200)));
        assert_eq!(pacer.wait(SECOND), Some(102 * SECOND));
    }

    #[test]
    fn rates_that_cannot_be_kept_are_refused() {
        for rate in [0.0, -1.0, 1000.1, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE] {
            let clock = Arc::new(SteppedClock::default());
            assert!(matches!(Pacer::new(rate, clock), Err(SourceError::Rate { .. })), "{rate}");
        }
    }
}

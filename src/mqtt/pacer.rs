//! The most messages a second: AWS IoT Core takes 100 a connection and refuses or delays the rest.
//!
//! Messages go out evenly; a tenth of a second's worth may go at once. Pure: it decides, the session waits.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// How much of a second may go at once.
const BURST: Duration = Duration::from_millis(100);

/// A pace; without a limit it never says no.
#[derive(Debug)]
pub(super) struct Pacer {
    interval: Option<Duration>,
    /// When everything sent so far would have gone out evenly.
    even: Option<Instant>,
}

impl Pacer {
    pub(super) fn new(per_second: Option<NonZeroU32>) -> Self {
        Self { interval: per_second.map(|per_second| Duration::from_secs(1) / per_second.get()), even: None }
    }

    /// `None` where the next message may go at `now`, else from when on.
    pub(super) fn wait(&self, now: Instant) -> Option<Instant> {
        let even = self.even.filter(|_| self.interval.is_some())?;
        let from = even.checked_sub(BURST)?;
        (from > now).then_some(from)
    }

    /// A message went out at `now`.
    pub(super) fn sent(&mut self, now: Instant) {
        if let Some(interval) = self.interval {
            self.even = Some(self.even.unwrap_or(now).max(now) + interval);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_takes_as_many_as_it_may_and_a_tenth_more_and_a_pause_is_not_saved_up() {
        let mut pacer = Pacer::new(NonZeroU32::new(100));
        let start = Instant::now() + Duration::from_secs(10);
        for second in [0, 3600] {
            let begin = start + Duration::from_secs(second);
            let sent = (0..1000u32)
                .filter(|millisecond| {
                    let now = begin + Duration::from_millis(u64::from(*millisecond));
                    let may = pacer.wait(now).is_none();
                    if may {
                        pacer.sent(now);
                    }
                    may
                })
                .count();
            assert!((100..=111).contains(&sent), "{sent}");
        }
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let mut pacer = Pacer::new(None);
        let now = Instant::now();
        for _ in 0..10_000 {
            assert_eq!(pacer.wait(now), None);
            pacer.sent(now);
        }
    }
}

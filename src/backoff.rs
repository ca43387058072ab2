//! How long to wait before trying again: exponential growth between a floor and a ceiling, spread by full jitter so
//! that a fleet cut off at the same moment does not come back at the same moment.
//!
//! It only counts and draws; whoever owns the retry loop sleeps. Serves the cloud link and the credentials provider.

use std::time::Duration;

/// The delays of one retry loop.
///
/// The n-th delay since the last [`reset`](Self::reset) is drawn evenly between the floor and `floor * 2^n`, the
/// latter cut off at the ceiling.
#[derive(Debug, Clone)]
pub struct Backoff {
    floor: Duration,
    ceiling: Duration,
    attempts: u32,
    random: fastrand::Rng,
}

impl Backoff {
    /// Delays between `floor` and `ceiling`; a ceiling below the floor counts as the floor.
    pub fn new(floor: Duration, ceiling: Duration) -> Self {
        Self::drawn_from(fastrand::Rng::new(), floor, ceiling)
    }

    /// The same with a fixed `seed`, for results that can be repeated.
    pub fn with_seed(seed: u64, floor: Duration, ceiling: Duration) -> Self {
        Self::drawn_from(fastrand::Rng::with_seed(seed), floor, ceiling)
    }

    fn drawn_from(random: fastrand::Rng, floor: Duration, ceiling: Duration) -> Self {
        Self { floor, ceiling: ceiling.max(floor), attempts: 0, random }
    }

    /// The delay before the next attempt.
    #[expect(clippy::should_implement_trait, reason = "an endless sequence of plain delays; nobody iterates over it")]
    pub fn next(&mut self) -> Duration {
        self.attempts = self.attempts.saturating_add(1);
        let doubled = 2u32.checked_pow(self.attempts).and_then(|factor| self.floor.checked_mul(factor));
        let highest = doubled.map_or(self.ceiling, |delay| delay.min(self.ceiling));
        self.floor + (highest - self.floor).mul_f64(self.random.f64())
    }

    /// The attempt succeeded: the next delay starts from the floor again.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    /// Delays given since the last [`reset`](Self::reset).
    pub fn attempts(&self) -> u32 {
        self.attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FLOOR: Duration = Duration::from_millis(200);
    const CEILING: Duration = Duration::from_secs(60);

    #[test]
    fn the_first_delay_is_at_most_twice_the_floor_even_after_a_reset() {
        let mut backoff = Backoff::with_seed(1, FLOOR, CEILING);
        for _ in 0..20 {
            assert!(backoff.next() <= 2 * FLOOR);
            backoff.next();
            backoff.next();
            backoff.reset();
        }
    }

    #[test]
    fn two_devices_cut_off_together_come_back_apart() {
        let delays = |seed| {
            let mut backoff = Backoff::with_seed(seed, FLOOR, CEILING);
            (0..8).map(|_| backoff.next()).collect::<Vec<_>>()
        };
        assert_ne!(delays(1), delays(2));
        assert_eq!(delays(1), delays(1));
    }

    #[test]
    fn a_ceiling_below_the_floor_counts_as_the_floor() {
        let mut backoff = Backoff::with_seed(1, CEILING, FLOOR);
        assert_eq!(backoff.next(), CEILING);
    }

    proptest! {
        #[test]
        fn no_delay_leaves_the_range(seed: u64, attempts in 1usize..200) {
            let mut backoff = Backoff::with_seed(seed, FLOOR, CEILING);
            for _ in 0..attempts {
                let delay = backoff.next();
                prop_assert!(delay >= FLOOR && delay <= CEILING, "{delay:?}");
            }
        }
    }
}

//! Durations counted by upper bounds. Observing is a few atomic additions: no lock, no allocation.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A histogram with fixed bounds.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// How many durations were at most as long as each bound and longer than the one before; the last: longer than all.
    counts: Box<[AtomicU64]>,
    sum_us: AtomicU64,
}

impl Histogram {
    /// An empty one; `bounds` are seconds and grow.
    pub fn new(bounds: &'static [f64]) -> Self {
        debug_assert!(bounds.is_sorted_by(|one, next| one < next), "bounds grow");
        Self { bounds, counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(), sum_us: AtomicU64::new(0) }
    }

    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let place = self.bounds.iter().position(|bound| seconds <= *bound).unwrap_or(self.bounds.len());
        self.counts[place].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.sum_us.fetch_add(micros, Ordering::Relaxed);
    }

    /// For each bound, how many durations were at most as long; then how many there were.
    pub(super) fn cumulated(&self) -> (Vec<(f64, u64)>, u64) {
        let mut seen = 0;
        let mut upto = |count: &AtomicU64| {
            seen += count.load(Ordering::Relaxed);
            seen
        };
        let buckets = self.bounds.iter().zip(&self.counts).map(|(bound, count)| (*bound, upto(count))).collect();
        let all = self.counts.last().map_or(0, &mut upto);
        (buckets, all)
    }

    /// All durations together, in seconds.
    pub(super) fn sum(&self) -> f64 {
        Duration::from_micros(self.sum_us.load(Ordering::Relaxed)).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_below_every_bound_that_it_does_not_exceed() {
        let histogram = Histogram::new(&[0.001, 0.01, 0.1]);
        for micros in [0, 1000, 1001, 99_000, 100_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        assert_eq!(histogram.cumulated(), (vec![(0.001, 2), (0.01, 3), (0.1, 4)], 5));
        assert!((histogram.sum() - 0.201_002).abs() < 1e-9);
        histogram.observe(Duration::MAX);
        assert_eq!(histogram.cumulated().1, 6);
    }
}

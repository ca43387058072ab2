//! The most bytes a second that all transfers of a client take together, so that a model does not crowd predictions off
//! a slow line.
//!
//! Bytes are paid for after they came: who took many waits before the next ones. What is not read in the meantime holds
//! the sender back through TCP, so nothing is kept in memory.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A pace; without a limit it costs nothing.
#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_second: Option<u64>,
    /// When what was taken so far is paid for.
    paid_at: Mutex<Instant>,
}

impl Pace {
    pub(super) fn new(bytes_per_second: Option<u64>) -> Self {
        Self { bytes_per_second, paid_at: Mutex::new(Instant::now()) }
    }

    /// Waits for as long as `bytes` take at the pace. Transfers wait in turn.
    pub(super) async fn pay(&self, bytes: usize) {
        if let Some(due) = self.take(bytes, Instant::now()) {
            tokio::time::sleep_until(due).await;
        }
    }

    /// Notes `bytes` at the moment `now`; gives when they are paid for.
    fn take(&self, bytes: usize, now: Instant) -> Option<Instant> {
        let pace = self.bytes_per_second?;
        let nanoseconds = u128::from(bytes as u64) * 1_000_000_000 / u128::from(pace.max(1));
        let cost = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        let mut paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        *paid_at = (*paid_at).max(now) + cost;
        Some(*paid_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_transfers_together_keep_the_pace_and_idle_time_is_not_saved_up() {
        let pace = Pace::new(Some(1000));
        let start = Instant::now();
        let mut due = start;
        for _ in 0..20 {
            due = pace.take(100, start).unwrap();
        }
        assert_eq!(due - start, Duration::from_secs(2));
        let later = start + Duration::from_secs(60);
        assert_eq!(pace.take(100, later), Some(later + Duration::from_millis(100)));
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        assert_eq!(Pace::new(None).take(usize::MAX, Instant::now()), None);
    }
}

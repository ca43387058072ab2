//! The time that frames are stamped with, and waiting for it: injected, so that tests own it.

use std::sync::Mutex;
use std::time::Duration;

use rustix::thread::{NanosleepRelativeResult, nanosleep};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// A clock that can be waited for.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Time since the machine started, sleep included (`CLOCK_BOOTTIME`).
    fn boottime(&self) -> Duration;

    /// Waits until [`Clock::boottime`] has reached `deadline`; returns at once where it has.
    fn wait_until(&self, deadline: Duration);
}

/// The clock of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct BootClock;

impl Clock for BootClock {
    fn boottime(&self) -> Duration {
        since(clock_gettime(ClockId::Boottime))
    }

    fn wait_until(&self, deadline: Duration) {
        let left = deadline.saturating_sub(self.boottime());
        if left.is_zero() {
            return;
        }
        let mut request = timespec(left);
        while let NanosleepRelativeResult::Interrupted(rest) = nanosleep(&request) {
            request = rest;
        }
    }
}

/// A clock that stands still until somebody waits for it: an injected clock for tests, here and in other crates.
#[derive(Debug, Default)]
pub struct SteppedClock {
    now: Mutex<Duration>,
}

impl SteppedClock {
    /// A clock that shows `now`.
    #[must_use]
    pub const fn starting_at(now: Duration) -> Self {
        Self { now: Mutex::new(now) }
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        *self.locked() += by;
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Duration> {
        self.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock for SteppedClock {
    fn boottime(&self) -> Duration {
        *self.locked()
    }

    fn wait_until(&self, deadline: Duration) {
        let mut now = self.locked();
        *now = (*now).max(deadline);
    }
}

/// The kernel's form of a duration; one longer than the kernel can count is cut to the longest it can.
pub(crate) fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: duration.as_secs().try_into().unwrap_or(i64::from(i32::MAX)),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

/// The duration since a clock's zero; clocks of this kind are never negative.
pub(crate) fn since(zero: Timespec) -> Duration {
    let seconds = u64::try_from(zero.tv_sec).unwrap_or(0);
    let nanoseconds = u32::try_from(zero.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanoseconds)
}

/// A time as frames carry it; it fits for the next five hundred years of uptime.
pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_clock_has_reached_what_was_waited_for() {
        let deadline = BootClock.boottime() + Duration::from_millis(3);
        BootClock.wait_until(deadline);
        assert!(BootClock.boottime() >= deadline);
        BootClock.wait_until(Duration::ZERO);
    }

    #[test]
    fn a_stepped_clock_moves_only_forward_and_only_when_asked() {
        let clock = SteppedClock::starting_at(Duration::from_secs(5));
        clock.wait_until(Duration::from_secs(4));
        assert_eq!(clock.boottime(), Duration::from_secs(5));
        clock.wait_until(Duration::from_secs(9));
        clock.advance(Duration::from_secs(1));
        assert_eq!(clock.boottime(), Duration::from_secs(10));
    }
}

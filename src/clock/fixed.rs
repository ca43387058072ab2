//! Clocks to inject: one that stands still, and one that is wrong.
//!
//! They are part of the library, not of its tests, because the tests of every other module and the fault drills of
//! the demo need a device that believes it is 1970.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;

use super::{Clock, Reckoning, kernel_boottime};

/// A clock that stands still until it is moved by hand.
#[derive(Debug)]
pub struct FixedClock {
    hands: Mutex<Hands>,
    reckoning: Reckoning,
}

#[derive(Debug, Clone, Copy)]
struct Hands {
    boottime: Duration,
    system: OffsetDateTime,
}

impl FixedClock {
    /// A device that booted an hour ago and believes that it is `system`.
    pub fn at(system: OffsetDateTime) -> Self {
        let hands = Hands { boottime: Duration::from_secs(3600), system };
        Self { hands: Mutex::new(hands), reckoning: Reckoning::default() }
    }

    /// Lets time pass, on both clocks.
    pub fn advance(&self, passed: Duration) {
        let mut hands = self.hands();
        hands.boottime += passed;
        hands.system += passed;
    }

    /// Steps the system's clock alone, as NTP or `date -s` does.
    pub fn set_system(&self, system: OffsetDateTime) {
        self.hands().system = system;
    }

    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.hands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for FixedClock {
    fn boottime(&self) -> Duration {
        self.hands().boottime
    }

    fn system(&self) -> OffsetDateTime {
        self.hands().system
    }

    fn reckoning(&self) -> &Reckoning {
        &self.reckoning
    }
}

/// The kernel's clocks, with the system's date off by a constant: time passes, but the date is wrong.
#[derive(Debug)]
pub struct SkewedClock {
    offset: time::Duration,
    reckoning: Reckoning,
}

impl SkewedClock {
    /// A device whose date is wrong by `offset`, positive when it is ahead.
    pub fn by(offset: time::Duration) -> Self {
        Self { offset, reckoning: Reckoning::default() }
    }
}

impl Clock for SkewedClock {
    fn boottime(&self) -> Duration {
        kernel_boottime()
    }

    fn system(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc() + self.offset
    }

    fn reckoning(&self) -> &Reckoning {
        &self.reckoning
    }
}

//! Dead reckoning: the present, from what was learnt once and the time that has passed since.
//!
//! The learnt date is anchored to CLOCK_BOOTTIME, not to the system's time, so that a later step of the system's
//! clock (NTP arriving, an operator's `date -s`) neither doubles the correction nor hides behind it.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;

use super::{IMPLAUSIBLY_AHEAD, TOLERANCE, VerificationTime};

/// The month this version was released, 2026-11-01T00:00:00Z; no device that runs it can be earlier.
///
/// A constant, not the build's own date, so that builds stay reproducible. Raised with every release.
pub const RELEASE_DATE: OffsetDateTime = match OffsetDateTime::from_unix_timestamp(1_793_491_200) {
    Ok(moment) => moment,
    Err(_) => OffsetDateTime::UNIX_EPOCH,
};

/// Why the present cannot be before the floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FloorReason {
    /// The program's own release date.
    Release,
    /// A server's date, kept on disk by an earlier run.
    LastGood,
    /// The device certificate was issued then.
    DeviceCertificate,
    /// A server's date, learnt by this run.
    Server,
}

impl fmt::Display for FloorReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Release => "the program's release date",
            Self::LastGood => "the last date a server confirmed, kept on disk",
            Self::DeviceCertificate => "the day the device certificate was issued",
            Self::Server => "the last date a server confirmed",
        })
    }
}

/// A moment that has certainly passed, and how that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Floor {
    /// The moment.
    pub moment: OffsetDateTime,
    /// How it is known to have passed.
    pub reason: FloorReason,
}

/// What a server's date taught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learnt {
    /// The system's clock agrees within [`TOLERANCE`].
    Agrees,
    /// The system's clock is off by this much, positive when it is behind.
    Skewed(time::Duration),
    /// The date lies before the floor and was not believed.
    Refused(Floor),
}

/// The learnt state of a clock.
#[derive(Debug)]
pub struct Reckoning {
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    /// The date at boot time zero, from the last server that told.
    epoch: Option<OffsetDateTime>,
    floor: Floor,
}

impl Default for Reckoning {
    fn default() -> Self {
        Self::with_floor(Floor { moment: RELEASE_DATE, reason: FloorReason::Release })
    }
}

impl Reckoning {
    /// Nothing learnt, with the given floor.
    pub fn with_floor(floor: Floor) -> Self {
        Self { state: Mutex::new(State { epoch: None, floor }) }
    }

    /// The moment that has certainly passed.
    pub fn floor(&self) -> Floor {
        self.state().floor
    }

    /// Raises the floor; a lower one is ignored.
    pub fn raise_floor(&self, floor: Floor) {
        let mut state = self.state();
        if floor.moment > state.floor.moment {
            state.floor = floor;
        }
    }

    /// Whether an authenticated server has told the date since the program started.
    pub fn is_confirmed(&self) -> bool {
        self.state().epoch.is_some()
    }

    pub(super) fn learn(&self, server: OffsetDateTime, boottime: Duration, system: OffsetDateTime) -> Learnt {
        let mut state = self.state();
        if server + TOLERANCE < state.floor.moment {
            return Learnt::Refused(state.floor);
        }
        state.epoch = server.checked_sub(signed(boottime));
        if server > state.floor.moment {
            state.floor = Floor { moment: server, reason: FloorReason::Server };
        }
        let skew = server - system;
        if skew.abs() <= TOLERANCE { Learnt::Agrees } else { Learnt::Skewed(skew) }
    }

    pub(super) fn estimate(&self, boottime: Duration, system: OffsetDateTime) -> OffsetDateTime {
        let state = *self.state();
        match state.learnt_present(boottime) {
            Some(learnt) if (learnt - system).abs() > TOLERANCE => learnt,
            Some(_) => system,
            None => system.max(state.floor.moment),
        }
    }

    pub(super) fn verification_time(&self, boottime: Duration, system: OffsetDateTime) -> VerificationTime {
        let state = *self.state();
        let floor = state.floor.moment;
        if state.epoch.is_some() {
            return VerificationTime::Known(self.estimate(boottime, system).max(floor));
        }
        let plausible = system >= floor && system - floor <= IMPLAUSIBLY_AHEAD;
        if plausible { VerificationTime::Known(system) } else { VerificationTime::AtLeast(floor) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is replaced field by field with plain values: a panic elsewhere cannot leave it half-written.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn learnt_present(&self, boottime: Duration) -> Option<OffsetDateTime> {
        self.epoch?.checked_add(signed(boottime))
    }
}

fn signed(boottime: Duration) -> time::Duration {
    time::Duration::try_from(boottime).unwrap_or(time::Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, FixedClock};

    const YEAR: time::Duration = time::Duration::days(365);

    fn day(offset: i64) -> OffsetDateTime {
        RELEASE_DATE + time::Duration::days(offset)
    }

    #[test]
    fn the_release_date_is_the_one_its_documentation_names() {
        assert_eq!(RELEASE_DATE.unix_timestamp(), 1_793_491_200);
        assert_eq!(RELEASE_DATE.date().to_string(), "2026-11-01");
    }

    #[test]
    fn a_small_difference_is_not_skew() {
        let clock = FixedClock::at(day(10));
        assert_eq!(clock.learn(day(10) + time::Duration::seconds(3)), Learnt::Agrees);
        assert_eq!(clock.now(), day(10));
        assert_eq!(clock.skew(), time::Duration::ZERO);
    }

    #[test]
    fn a_device_in_1970_signs_with_the_servers_date_and_time_goes_on() {
        let clock = FixedClock::at(OffsetDateTime::UNIX_EPOCH);
        assert!(matches!(clock.learn(day(40)), Learnt::Skewed(skew) if skew > YEAR * 50));
        clock.advance(Duration::from_secs(60));
        assert_eq!(clock.now(), day(40) + time::Duration::seconds(60));
        assert_eq!(clock.verification_time(), VerificationTime::Known(clock.now()));
    }

    #[test]
    fn a_step_of_the_system_after_learning_does_not_move_the_present() {
        let clock = FixedClock::at(OffsetDateTime::UNIX_EPOCH);
        clock.learn(day(40));
        clock.set_system(day(40) + time::Duration::seconds(2));
        assert_eq!(clock.skew(), time::Duration::ZERO, "the system is right now: no correction is left");
        clock.set_system(day(40) + YEAR * 10);
        assert_eq!(clock.now(), day(40));
    }

    #[test]
    fn a_date_before_the_floor_is_not_believed() {
        let clock = FixedClock::at(day(10));
        assert!(matches!(clock.learn(day(-1)), Learnt::Refused(floor) if floor.reason == FloorReason::Release));
        assert!(!clock.reckoning().is_confirmed());
        assert_eq!(clock.now(), day(10));
    }

    #[test]
    fn certificates_are_judged_at_a_plausible_system_time_and_otherwise_from_the_floor_on() {
        let judged = |system| FixedClock::at(system).verification_time();
        assert_eq!(judged(day(400)), VerificationTime::Known(day(400)));
        assert_eq!(judged(OffsetDateTime::UNIX_EPOCH), VerificationTime::AtLeast(RELEASE_DATE));
        assert_eq!(judged(RELEASE_DATE + YEAR * 10), VerificationTime::AtLeast(RELEASE_DATE));
    }

    #[test]
    fn the_floor_only_rises() {
        let reckoning = Reckoning::default();
        reckoning.raise_floor(Floor { moment: day(5), reason: FloorReason::LastGood });
        reckoning.raise_floor(Floor { moment: day(2), reason: FloorReason::DeviceCertificate });
        assert_eq!(reckoning.floor(), Floor { moment: day(5), reason: FloorReason::LastGood });
    }

    proptest::proptest! {
        #[test]
        fn the_present_is_never_before_the_floor(system in 0i64..10_000_000_000, date in 0i64..10_000_000_000, passed in 0u64..1_000_000_000) {
            let at = |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap();
            let clock = FixedClock::at(at(system));
            let before = clock.reckoning().floor().moment;
            clock.learn(at(date));
            clock.advance(Duration::from_secs(passed));
            proptest::prop_assert!(clock.verification_time().moment() >= before);
            proptest::prop_assert!(clock.now() + TOLERANCE * 2 >= before);
        }
    }
}

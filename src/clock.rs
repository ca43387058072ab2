//! Time, as the core may rely on it: what the system claims, what servers have taught, and what certainly has passed.
//!
//! A Raspberry Pi has no clock that survives a power cut; it may boot in 1970, or ten years ahead after a bad cell.
//! Three rules keep it working:
//!
//! 1. What expires is measured on CLOCK_BOOTTIME (clock_gettime(2)), which never steps and counts suspension.
//! 2. What is signed or shown uses [`Clock::now`]: the system's time, corrected by the `Date` (RFC 9110, section
//!    6.6.1) of servers that proved who they are by TLS.
//! 3. Certificates are judged at [`Clock::verification_time`], which is never before the [`Floor`], a moment that has
//!    certainly passed.
//!
//! The clock refuses to learn a time before its floor. It reads files only through [`last_good`].

mod fixed;
pub mod last_good;
mod reckoning;

use std::fmt::Debug;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use time::OffsetDateTime;

pub use fixed::{FixedClock, SkewedClock};
pub use reckoning::{Floor, FloorReason, Learnt, RELEASE_DATE, Reckoning};

/// Differences below this are the resolution of a `Date` header (one second) plus a slow network, not skew.
pub const TOLERANCE: time::Duration = time::Duration::seconds(5);

/// A system time further than this beyond the floor is doubted until a server confirms it.
///
/// A device may well lie in a drawer for a year or two; three years without one answer from its cloud are less likely
/// than a bad clock cell.
pub const IMPLAUSIBLY_AHEAD: time::Duration = time::Duration::days(3 * 365);

/// At which moment a server's certificate is to be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerificationTime {
    /// The present is known: the certificate must be valid at this moment.
    Known(OffsetDateTime),
    /// The present is somewhere at or after this moment: a certificate that ended before it has expired, one that
    /// begins after it may already be valid.
    AtLeast(OffsetDateTime),
}

impl VerificationTime {
    /// The moment itself.
    pub fn moment(self) -> OffsetDateTime {
        match self {
            Self::Known(moment) | Self::AtLeast(moment) => moment,
        }
    }
}

/// A source of time, injected wherever time matters.
///
/// Implementors give the three raw readings; everything else follows from them.
pub trait Clock: Send + Sync + Debug {
    /// Time since boot, including suspension (CLOCK_BOOTTIME). Never steps; says nothing about the date.
    fn boottime(&self) -> Duration;

    /// What the operating system believes the date is. May be wrong by decades, may step.
    fn system(&self) -> OffsetDateTime;

    /// What has been learnt so far.
    fn reckoning(&self) -> &Reckoning;

    /// Takes note of `server_date`, received just now from a server authenticated by TLS.
    fn learn(&self, server_date: OffsetDateTime) -> Learnt {
        self.reckoning().learn(server_date, self.boottime(), self.system())
    }

    /// The best estimate of the present: the system's time where nothing contradicts it, the learnt time otherwise,
    /// and never before the floor.
    fn now(&self) -> OffsetDateTime {
        self.reckoning().estimate(self.boottime(), self.system())
    }

    /// How far [`Clock::now`] is from the system's time; positive when the system is behind.
    fn skew(&self) -> time::Duration {
        let system = self.system();
        self.reckoning().estimate(self.boottime(), system) - system
    }

    /// At which moment to judge certificates (clock rule 3).
    fn verification_time(&self) -> VerificationTime {
        self.reckoning().verification_time(self.boottime(), self.system())
    }
}

/// The kernel's clocks.
#[derive(Debug, Default)]
pub struct SystemClock {
    reckoning: Reckoning,
}

impl SystemClock {
    /// A clock that has learnt nothing and whose floor is the release date.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Clock for SystemClock {
    fn boottime(&self) -> Duration {
        kernel_boottime()
    }

    fn system(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    fn reckoning(&self) -> &Reckoning {
        &self.reckoning
    }
}

/// Reads CLOCK_BOOTTIME.
fn kernel_boottime() -> Duration {
    let reading = clock_gettime(ClockId::Boottime);
    // Both fields are non-negative: the clock starts at zero at boot.
    Duration::new(reading.tv_sec.unsigned_abs(), u32::try_from(reading.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_boot_time_does_not_go_backwards() {
        let clock = SystemClock::new();
        let first = clock.boottime();
        assert!(clock.boottime() >= first);
        assert!(first > Duration::ZERO);
    }
}

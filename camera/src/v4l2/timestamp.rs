//! When a frame was taken, in the clock that frames carry, and what that time stands for.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::abi;
use crate::clock::nanoseconds;
use crate::clock::since;
use crate::frame::TimestampSource;

/// A driver's time that is further back than this is none of this frame's: no camera holds one for so long.
const OLDEST: Duration = Duration::from_secs(10);

/// A driver's time may lie this much ahead: some reckon when the last byte ought to arrive (vivid), or run a clock of
/// their own (USB).
const AHEAD: Duration = Duration::from_secs(1);

/// The two clocks at one moment. Drivers stamp frames by the first, frames carry the second, and they run apart while
/// the machine sleeps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) monotonic: Duration,
    pub(super) boottime: Duration,
}

impl Now {
    /// The machine's clocks.
    pub(super) fn read() -> Self {
        Self { monotonic: since(clock_gettime(ClockId::Monotonic)), boottime: since(clock_gettime(ClockId::Boottime)) }
    }
}

/// The time of a buffer that came back `now`, in nanoseconds of `CLOCK_BOOTTIME`, never later than its arrival. A
/// driver's time that cannot be one of the monotonic clock is left out for the time of arrival.
pub(super) fn captured(flags: u32, timestamp: abi::TimeValue, now: Now) -> (u64, TimestampSource) {
    let arrival = (nanoseconds(now.boottime), TimestampSource::Arrival);
    let Some(taken) = duration(timestamp) else { return arrival };
    if taken > now.monotonic + AHEAD {
        return arrival;
    }
    let age = now.monotonic.saturating_sub(taken);
    if age > OLDEST {
        return arrival;
    }
    let Some(at) = now.boottime.checked_sub(age) else { return arrival };
    (nanoseconds(at), meaning(flags))
}

/// `None` for times that are not after a clock's zero.
fn duration(timestamp: abi::TimeValue) -> Option<Duration> {
    let seconds = u64::try_from(timestamp.seconds).ok()?;
    let microseconds = u32::try_from(timestamp.microseconds).ok().filter(|part| *part < 1_000_000)?;
    let duration = Duration::new(seconds, microseconds * 1000);
    (!duration.is_zero()).then_some(duration)
}

/// A copied time is one that a writer gave (loopback devices), an unknown one comes from old drivers: of neither it is
/// known what moment it means.
fn meaning(flags: u32) -> TimestampSource {
    if flags & abi::BUF_FLAG_TIMESTAMP_MASK != abi::BUF_FLAG_TIMESTAMP_MONOTONIC {
        return TimestampSource::KernelUnknown;
    }
    match flags & abi::BUF_FLAG_TSTAMP_SRC_MASK {
        abi::BUF_FLAG_TSTAMP_SRC_SOE => TimestampSource::KernelStartOfExposure,
        abi::BUF_FLAG_TSTAMP_SRC_EOF => TimestampSource::KernelEndOfFrame,
        _ => TimestampSource::KernelUnknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now { monotonic: Duration::from_secs(100), boottime: Duration::from_secs(5100) };
    const MONOTONIC: u32 = abi::BUF_FLAG_TIMESTAMP_MONOTONIC;

    fn at(seconds: i64, microseconds: i64) -> abi::TimeValue {
        abi::TimeValue { seconds, microseconds }
    }

    #[test]
    fn the_drivers_time_is_carried_over_to_the_clock_that_counts_sleep() {
        let (time, source) = captured(MONOTONIC, at(99, 750_000), NOW);
        assert_eq!((time, source), (5_099_750_000_000, TimestampSource::KernelEndOfFrame));
    }

    #[test]
    fn the_flags_say_what_the_time_stands_for() {
        let other = 0x0002_0000;
        for (flags, expected) in [
            (MONOTONIC | abi::BUF_FLAG_TSTAMP_SRC_SOE, TimestampSource::KernelStartOfExposure),
            (MONOTONIC | abi::BUF_FLAG_TSTAMP_SRC_EOF, TimestampSource::KernelEndOfFrame),
            (MONOTONIC | other, TimestampSource::KernelUnknown),
            (abi::BUF_FLAG_TIMESTAMP_COPY, TimestampSource::KernelUnknown),
            (abi::BUF_FLAG_TSTAMP_SRC_SOE, TimestampSource::KernelUnknown),
            (MONOTONIC | abi::BUF_FLAG_ERROR, TimestampSource::KernelEndOfFrame),
        ] {
            assert_eq!(captured(flags, at(100, 0), NOW).1, expected, "{flags:#x}");
        }
    }

    #[test]
    fn a_time_that_is_a_little_ahead_is_held_at_the_arrival() {
        assert_eq!(captured(MONOTONIC, at(100, 900_000), NOW), (5_100_000_000_000, TimestampSource::KernelEndOfFrame));
    }

    #[test]
    fn a_time_that_cannot_be_is_replaced_by_that_of_arrival() {
        let arrival = (5_100_000_000_000, TimestampSource::Arrival);
        for timestamp in [at(0, 0), at(-1, 0), at(99, -1), at(99, 1_000_000), at(102, 0), at(89, 0), at(i64::MAX, 0)] {
            assert_eq!(captured(MONOTONIC, timestamp, NOW), arrival, "{timestamp:?}");
        }
    }
}

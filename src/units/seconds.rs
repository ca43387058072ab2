//! A time that an operator writes in seconds.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::decimal;

/// The longest, in seconds: a day.
const LONGEST: u32 = 24 * 3600;

/// A time from a millisecond to a day, written in seconds with digits and at most a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(Duration);

/// What is no such time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is a number of seconds from 0.001 to {LONGEST}")]
pub struct SecondsError;

impl Seconds {
    /// The time.
    pub fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for Seconds {
    type Err = SecondsError;

    fn from_str(text: &str) -> Result<Self, SecondsError> {
        let seconds =
            decimal(text).filter(|seconds| (0.001..=f64::from(LONGEST)).contains(seconds)).ok_or(SecondsError)?;
        Duration::try_from_secs_f64(seconds).map(Self).map_err(|_| SecondsError)
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_from_a_millisecond_to_a_day() {
        let parsed = |text: &str| text.parse().map(Seconds::get);
        assert_eq!(parsed("2.5"), Ok(Duration::from_millis(2500)));
        assert_eq!(parsed("86400"), Ok(Duration::from_secs(86_400)));
        for bad in ["0", "0.0001", "86401", "", "-1", "1e3", "inf", "nan", "1 s"] {
            assert_eq!(parsed(bad), Err(SecondsError), "{bad}");
        }
    }
}

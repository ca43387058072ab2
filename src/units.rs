//! Quantities with their unit in the type: sizes in bytes, frame rates, probabilities.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

mod seconds;

pub use seconds::{Seconds, SecondsError};

/// Why a text is not the quantity that it was meant to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Neither a number of bytes nor a number with a known suffix.
    #[error("a size is a whole number of bytes, or one followed by KiB, MiB or GiB")]
    Size,
    /// Not a frame rate.
    #[error("a frame rate is a number of frames per second above 0 and at most {limit}")]
    FrameRate {
        /// The highest rate that is accepted.
        limit: u32,
    },
    /// Not a probability.
    #[error("a probability is a number from 0 to 1")]
    Probability,
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteSize(u64);

impl ByteSize {
    const KIB: u64 = 1024;
    const SUFFIXES: [(&'static str, u64); 3] =
        [("GiB", Self::KIB * Self::KIB * Self::KIB), ("MiB", Self::KIB * Self::KIB), ("KiB", Self::KIB)];

    /// `bytes` bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// `kib` times 1024 bytes, V1's "KB" (B-07: 16384 is 16 MB). Stops at the largest number there is.
    pub const fn from_kib(kib: u64) -> Self {
        Self(kib.saturating_mul(Self::KIB))
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (digits, unit) = Self::SUFFIXES
            .iter()
            .find_map(|&(suffix, unit)| Some((text.strip_suffix(suffix)?.trim_end(), unit)))
            .unwrap_or((text, 1));
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(QuantityError::Size);
        }
        let count: u64 = digits.parse().map_err(|_| QuantityError::Size)?;
        count.checked_mul(unit).map(Self).ok_or(QuantityError::Size)
    }
}

impl fmt::Display for ByteSize {
    /// In the largest unit that divides it, so that the text reads back as the same size.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fitting = Self::SUFFIXES.iter().find(|&&(_, unit)| self.0 >= unit && self.0.is_multiple_of(unit));
        match fitting {
            Some((suffix, unit)) => write!(f, "{} {suffix}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

/// How often a camera is asked for a frame: more than 0 and at most [`FramesPerSecond::LIMIT`] times a second.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct FramesPerSecond(f64);

impl FramesPerSecond {
    /// What the sources of frames can be asked for; above it a typing error is likelier than a camera.
    pub const LIMIT: u32 = 1000;

    /// Checks `rate`, in frames per second.
    pub fn new(rate: f64) -> Result<Self, QuantityError> {
        if rate > 0.0 && rate <= f64::from(Self::LIMIT) && Duration::try_from_secs_f64(1.0 / rate).is_ok() {
            Ok(Self(rate))
        } else {
            Err(QuantityError::FrameRate { limit: Self::LIMIT })
        }
    }

    /// Frames per second.
    pub fn get(self) -> f64 {
        self.0
    }

    /// The time from one frame to the next.
    pub fn interval(self) -> Duration {
        Duration::try_from_secs_f64(1.0 / self.0).unwrap_or(Duration::MAX)
    }
}

impl FromStr for FramesPerSecond {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let rate = decimal(text).ok_or(QuantityError::FrameRate { limit: Self::LIMIT })?;
        Self::new(rate)
    }
}

impl fmt::Display for FramesPerSecond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A number from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Probability(f32);

impl Probability {
    /// What is impossible.
    pub const ZERO: Self = Self(0.0);
    /// What is certain.
    pub const ONE: Self = Self(1.0);

    /// Checks that `value` is from 0 to 1.
    pub fn new(value: f32) -> Result<Self, QuantityError> {
        if (0.0..=1.0).contains(&value) { Ok(Self(value)) } else { Err(QuantityError::Probability) }
    }

    /// The number itself.
    pub fn get(self) -> f32 {
        self.0
    }
}

impl FromStr for Probability {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        decimal(text).ok_or(QuantityError::Probability)?;
        Self::new(text.parse().map_err(|_| QuantityError::Probability)?)
    }
}

impl fmt::Display for Probability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A number written with digits and at most a point: none of `f64`'s `inf`, `nan`, `1e3` or signs.
fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_size_is_read_in_bytes_or_with_a_suffix() {
        assert_eq!("262144".parse(), Ok(ByteSize::from_kib(256)));
        assert_eq!("64MiB".parse(), Ok(ByteSize::from_bytes(64 << 20)));
        assert_eq!("2 GiB".parse(), Ok(ByteSize::from_bytes(2 << 30)));
        for bad in ["", "KiB", "-1", "+1", "1.5MiB", "1 kb", "99999999999999999999", "99999999999999 GiB"] {
            assert_eq!(bad.parse::<ByteSize>(), Err(QuantityError::Size), "{bad}");
        }
    }

    #[test]
    fn a_size_is_shown_in_the_unit_that_fits() {
        let shown = |bytes| ByteSize::from_bytes(bytes).to_string();
        assert_eq!(shown(2_621_440), "2560 KiB");
        assert_eq!(shown(16 << 20), "16 MiB");
        assert_eq!(shown(1000), "1000");
        assert_eq!(shown(0), "0");
    }

    #[test]
    fn a_frame_rate_is_above_nothing_and_below_the_limit() {
        let slow: FramesPerSecond = "0.5".parse().expect("a rate");
        assert_eq!(slow.interval(), Duration::from_secs(2));
        assert_eq!("1000".parse::<FramesPerSecond>().map(FramesPerSecond::get), Ok(1000.0));
        for bad in ["0", "1000.1", "-1", "nan", "inf", "1e1", "", "."] {
            assert!(bad.parse::<FramesPerSecond>().is_err(), "{bad}");
        }
        let vanishing = format!("0.{}1", "0".repeat(60));
        assert!(vanishing.parse::<FramesPerSecond>().is_err(), "its interval is no duration");
    }

    #[test]
    fn a_probability_is_from_nothing_to_one() {
        assert_eq!("0.25".parse::<Probability>().map(Probability::get), Ok(0.25));
        for bad in ["1.01", "-0.1", "nan", "", "50%"] {
            assert_eq!(bad.parse::<Probability>(), Err(QuantityError::Probability), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_size_reads_back_from_how_it_is_shown(bytes: u64) {
            let size = ByteSize::from_bytes(bytes);
            prop_assert_eq!(size.to_string().parse(), Ok(size));
        }
    }
}

//! What a camera says that it can deliver: formats, sizes, rates. Drivers' answers are bounded and made plain here.

use std::fmt;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::abi;
use super::device::Device;
use crate::format::PixelFormat;

/// More formats, sizes or rates than any camera has; a driver that goes on is not listened to.
const MOST_FORMATS: u32 = 64;
const MOST_SIZES: u32 = 128;
const MOST_RATES: u32 = 64;

/// The four characters that name a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct FourCc([u8; 4]);

impl FourCc {
    /// The format that the kernel's number stands for.
    pub(super) const fn from_number(number: u32) -> Self {
        Self(number.to_le_bytes())
    }

    /// The kernel's number.
    pub(super) const fn number(self) -> u32 {
        u32::from_le_bytes(self.0)
    }

    /// The format that is read here, if it is one.
    #[must_use]
    pub fn format(self) -> Option<PixelFormat> {
        PixelFormat::from_fourcc(self.0)
    }
}

impl fmt::Display for FourCc {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0.trim_ascii_end().escape_ascii())
    }
}

impl From<FourCc> for String {
    fn from(fourcc: FourCc) -> Self {
        fourcc.to_string()
    }
}

impl TryFrom<String> for FourCc {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let mut code = *b"    ";
        let bytes = text.as_bytes();
        if bytes.is_empty() || bytes.len() > 4 {
            return Err("a format's name has one to four characters");
        }
        code[..bytes.len()].copy_from_slice(bytes);
        Ok(Self(code))
    }
}

/// A time as a fraction of a second, as V4L2 gives frame intervals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Interval {
    /// Seconds, divided by `denominator`.
    pub numerator: u32,
    /// What `numerator` is divided by.
    pub denominator: u32,
}

impl Interval {
    /// The interval in milliseconds that is nearest to a rate above 0.
    #[must_use]
    pub fn of_rate(frames_per_second: f64) -> Self {
        let denominator = (frames_per_second * 1000.0).round().clamp(1.0, f64::from(u32::MAX));
        Self { numerator: 1000, denominator: denominator as u32 }
    }

    /// Frames a second; 0 where the interval makes no sense.
    #[must_use]
    pub fn rate(self) -> f64 {
        if self.numerator == 0 { 0.0 } else { f64::from(self.denominator) / f64::from(self.numerator) }
    }

    pub(super) const fn kernel(self) -> abi::Fraction {
        abi::Fraction { numerator: self.numerator, denominator: self.denominator }
    }

    /// `None` for a fraction without a value.
    pub(super) const fn from_kernel(fraction: abi::Fraction) -> Option<Self> {
        let abi::Fraction { numerator, denominator } = fraction;
        if numerator == 0 || denominator == 0 { None } else { Some(Self { numerator, denominator }) }
    }
}

/// At which rates a size can be had.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rates {
    /// At these, as intervals.
    Each(Vec<Interval>),
    /// At any between the two.
    Between {
        /// The shortest interval.
        shortest: Interval,
        /// The longest interval.
        longest: Interval,
    },
    /// The driver does not say.
    Untold,
}

/// A size, or a range of sizes, in pixels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SizeOffer {
    /// Width and height of the smallest.
    pub least: (u32, u32),
    /// Width and height of the largest; the same where there is only one.
    pub most: (u32, u32),
    /// What widths and heights between the two are apart.
    pub step: (u32, u32),
    /// At which rates it can be had; of a range, its largest.
    pub rates: Rates,
}

/// One format of a camera.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FormatOffer {
    /// Its name.
    pub fourcc: FourCc,
    /// What the driver calls it.
    pub description: String,
    /// How it is read here; `None` where it cannot be.
    pub format: Option<PixelFormat>,
    /// The sizes; none where the driver does not say.
    pub sizes: Vec<SizeOffer>,
}

/// Asks for everything that the device offers.
pub(super) fn offers(device: &impl Device) -> Result<Vec<FormatOffer>, Errno> {
    let mut offers = Vec::new();
    for index in 0..MOST_FORMATS {
        let found = match device.format(index) {
            Ok(found) => found,
            Err(Errno::INVAL) => break,
            Err(error) => return Err(error),
        };
        let fourcc = FourCc::from_number(found.pixelformat);
        offers.push(FormatOffer {
            fourcc,
            description: text(&found.description),
            format: fourcc.format(),
            sizes: sizes(device, found.pixelformat)?,
        });
    }
    Ok(offers)
}

/// Text of the kernel: up to its zero byte, without anything that a terminal would obey.
pub(super) fn text(bytes: &[u8]) -> String {
    let length = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    let text = String::from_utf8_lossy(&bytes[..length]);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

fn sizes(device: &impl Device, pixel_format: u32) -> Result<Vec<SizeOffer>, Errno> {
    let mut sizes = Vec::new();
    for index in 0..MOST_SIZES {
        let found = match device.frame_size(index, pixel_format) {
            Ok(found) => found,
            // ENOTTY: the driver has no such list at all.
            Err(Errno::INVAL | Errno::NOTTY) => break,
            Err(error) => return Err(error),
        };
        let [a, b, c, d, e, f] = found.range;
        let discrete = found.kind == abi::FRAME_SIZE_DISCRETE;
        let (least, most, step) = if discrete { ((a, b), (a, b), (1, 1)) } else { ((a, d), (b, e), (c, f)) };
        let plain = least.0 > 0 && least.1 > 0 && least.0 <= most.0 && least.1 <= most.1;
        if plain {
            sizes.push(SizeOffer { least, most, step, rates: rates(device, pixel_format, most)? });
        }
        if !discrete {
            break;
        }
    }
    Ok(sizes)
}

fn rates(device: &impl Device, pixel_format: u32, (width, height): (u32, u32)) -> Result<Rates, Errno> {
    let mut intervals = Vec::new();
    for index in 0..MOST_RATES {
        let asked = abi::FrameInterval { index, pixel_format, width, height, ..Default::default() };
        let found = match device.frame_interval(asked) {
            Ok(found) => found,
            Err(Errno::INVAL | Errno::NOTTY) => break,
            Err(error) => return Err(error),
        };
        let [first, second, _] = found.range.map(Interval::from_kernel);
        if found.kind != abi::FRAME_INTERVAL_DISCRETE {
            return Ok(match (first, second) {
                (Some(shortest), Some(longest)) => Rates::Between { shortest, longest },
                _ => Rates::Untold,
            });
        }
        intervals.extend(first);
    }
    Ok(if intervals.is_empty() { Rates::Untold } else { Rates::Each(intervals) })
}

/// In one line: formats with their sizes, such as `YUYV 640x480 1280x720, MJPG 1920x1080`; of those that are not read
/// here the names.
pub(super) fn summary(offers: &[FormatOffer]) -> String {
    const SHOWN: usize = 6;
    const MOST_SHOWN: usize = 10;
    let one = |offer: &FormatOffer| {
        let mut words = vec![offer.fourcc.to_string()];
        if offer.format.is_none() {
            return words.remove(0);
        }
        words.extend(offer.sizes.iter().take(SHOWN).map(ToString::to_string));
        if offer.sizes.len() > SHOWN {
            words.push("…".to_owned());
        }
        words.join(" ")
    };
    let (read, others): (Vec<_>, Vec<_>) = offers.iter().partition(|offer| offer.format.is_some());
    let mut parts: Vec<String> = read.into_iter().chain(others).take(MOST_SHOWN).map(one).collect();
    if offers.len() > MOST_SHOWN {
        parts.push(format!("and {} more", offers.len() - MOST_SHOWN));
    }
    if parts.is_empty() { "no format at all".to_owned() } else { parts.join(", ") }
}

impl fmt::Display for SizeOffer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((least_width, least_height), (width, height)) = (self.least, self.most);
        if self.least == self.most {
            return write!(formatter, "{width}x{height}");
        }
        write!(formatter, "{least_width}x{least_height}-{width}x{height}")
    }
}

impl fmt::Display for Rates {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Each(intervals) => {
                let rates: Vec<String> = intervals.iter().map(|interval| shown_rate(interval.rate())).collect();
                write!(formatter, "{} fps", rates.join(" "))
            }
            Self::Between { shortest, longest } => {
                write!(formatter, "{} to {} fps", shown_rate(longest.rate()), shown_rate(shortest.rate()))
            }
            Self::Untold => formatter.write_str("rates untold"),
        }
    }
}

/// A rate with as many digits as it needs.
fn shown_rate(rate: f64) -> String {
    let rounded = (rate * 100.0).round() / 100.0;
    format!("{rounded}")
}

#[cfg(test)]
mod tests {
    use super::super::fake::{self, Fake};
    use super::*;

    #[test]
    fn formats_sizes_and_rates_are_read_to_their_end() {
        let camera = Fake::new(fake::webcam());
        assert_eq!(offers(&camera).unwrap(), fake::webcam());
    }

    #[test]
    fn a_driver_that_never_ends_its_lists_is_not_listened_to_for_ever() {
        let camera = Fake { endless: true, ..Fake::new(fake::webcam()) };
        let found = offers(&camera).unwrap();
        assert_eq!(found.len(), MOST_FORMATS as usize);
        assert!(found.iter().all(|offer| offer.sizes.len() == MOST_SIZES as usize));
    }

    #[test]
    fn ranges_of_sizes_and_rates_are_shown_as_such() {
        let (shortest, longest) =
            (Interval { numerator: 1, denominator: 60 }, Interval { numerator: 2, denominator: 15 });
        let offer = SizeOffer {
            least: (48, 48),
            most: (8192, 8192),
            step: (2, 2),
            rates: Rates::Between { shortest, longest },
        };
        assert_eq!(offer.to_string(), "48x48-8192x8192");
        assert_eq!(offer.rates.to_string(), "7.5 to 60 fps");
        let rates = Rates::Each(vec![shortest, Interval { numerator: 1001, denominator: 30000 }]);
        assert_eq!(rates.to_string(), "60 29.97 fps");
    }

    #[test]
    fn text_of_a_driver_reaches_no_terminal_as_a_command() {
        assert_eq!(text(b"HD \x1b[2JWebcam \0junk"), "HD  [2JWebcam");
        assert_eq!(FourCc(*b"Y16 ").to_string(), "Y16");
        assert_eq!(FourCc([0xff, b'a', b'b', b'c']).to_string(), "\\xffabc");
        assert_eq!(FourCc::try_from("Y16".to_owned()).unwrap(), FourCc(*b"Y16 "));
        assert!(FourCc::try_from("MJPEG".to_owned()).is_err());
    }

    #[test]
    fn the_summary_names_every_format_and_some_sizes() {
        assert_eq!(summary(&fake::webcam()), "YUYV 640x480 1280x720, MJPG 640x480 1280x720 1920x1080, H264");
        assert_eq!(summary(&[]), "no format at all");
    }
}

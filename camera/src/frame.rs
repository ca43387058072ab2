//! What is known about one frame, apart from its bytes.
//!
//! A [`Capture`] is what a source says about the bytes it delivered; a [`FrameMeta`] is the same once the ring has
//! given the frame its number. A description that does not fit its bytes is refused ([`FrameFault`]) on both sides of
//! the ring, because the side that wrote it is not trusted.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::format::{Misfit, PixelFormat};

/// What the time of a frame stands for: comparing two cameras is only fair where both say the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimestampSource {
    /// The driver's clock at the start of exposure (`V4L2_BUF_FLAG_TSTAMP_SRC_SOE`).
    KernelStartOfExposure,
    /// The driver's clock when the last byte had arrived (`V4L2_BUF_FLAG_TSTAMP_SRC_EOF`).
    KernelEndOfFrame,
    /// The driver's clock, at a moment that the driver does not tell.
    KernelUnknown,
    /// Our clock, when the frame reached this process.
    Arrival,
    /// Our clock, when a stored or drawn frame was brought out: nothing was exposed then.
    Replay,
}

impl TimestampSource {
    const ALL: [Self; 5] =
        [Self::KernelStartOfExposure, Self::KernelEndOfFrame, Self::KernelUnknown, Self::Arrival, Self::Replay];

    /// The number that stands for it in shared memory.
    pub(crate) const fn code(self) -> u32 {
        self as u32
    }

    /// What `code` stands for, if anything: the number comes from another process.
    pub(crate) fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.code() == code)
    }
}

/// The part of a frame that is of interest, in pixels from its upper left corner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Pixels to the left of the region.
    pub x: u32,
    /// Pixels above the region.
    pub y: u32,
    /// Width in pixels, at least 1.
    pub width: u32,
    /// Height in pixels, at least 1.
    pub height: u32,
}

impl Region {
    /// Whether the region has an area and lies inside an image of `width` × `height` pixels.
    #[must_use]
    pub fn lies_within(&self, width: u32, height: u32) -> bool {
        let ends_within =
            |start: u32, length: u32, side: u32| length > 0 && start.checked_add(length).is_some_and(|end| end <= side);
        ends_within(self.x, self.width, width) && ends_within(self.y, self.height, height)
    }
}

/// What a source says about the bytes that it has just delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capture {
    /// When, in nanoseconds of `CLOCK_BOOTTIME`.
    pub captured_ns: u64,
    /// What that time stands for.
    pub timestamp_source: TimestampSource,
    /// How to read the bytes.
    pub format: PixelFormat,
    /// Width in pixels; for a JPEG 0 where its header did not tell.
    pub width: u32,
    /// Height in pixels; for a JPEG 0 where its header did not tell.
    pub height: u32,
    /// Bytes from the start of a row to that of the next; 0 for a JPEG.
    pub stride: u32,
    /// The part of the image to look at; `None`: all of it.
    pub region: Option<Region>,
    /// The source's own number for the item: the file's place in its folder, the pattern's counter.
    pub item: u64,
}

impl Capture {
    /// Checks that a buffer of `bytes` bytes can hold what this describes.
    ///
    /// # Errors
    /// [`FrameFault`], saying which of the two does not fit the other.
    pub fn check(&self, bytes: usize) -> Result<(), FrameFault> {
        self.check_length(bytes)?;
        match self.region {
            Some(region) if !region.lies_within(self.width, self.height) => {
                Err(FrameFault::Region { region, width: self.width, height: self.height })
            }
            _ => Ok(()),
        }
    }

    fn check_length(&self, bytes: usize) -> Result<(), FrameFault> {
        if bytes == 0 {
            return Err(FrameFault::Empty);
        }
        if self.format == PixelFormat::Jpeg {
            return Ok(());
        }
        Ok(self.format.check(self.width, self.height, self.stride, bytes)?)
    }
}

/// What is known about a frame that went through the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameMeta {
    /// The frame's number: counted up by one for each frame of a camera, over all the rings it had.
    pub sequence: u64,
    /// When, in nanoseconds of `CLOCK_BOOTTIME`.
    pub captured_ns: u64,
    /// What that time stands for.
    pub timestamp_source: TimestampSource,
    /// How to read the bytes.
    pub format: PixelFormat,
    /// Width in pixels; for a JPEG 0 where its header did not tell.
    pub width: u32,
    /// Height in pixels; for a JPEG 0 where its header did not tell.
    pub height: u32,
    /// Bytes from the start of a row to that of the next; 0 for a JPEG.
    pub stride: u32,
    /// How many bytes the frame has.
    pub bytes_used: u32,
    /// The part of the image to look at; `None`: all of it.
    pub region: Option<Region>,
    /// The source's own number for the item: the file's place in its folder, the pattern's counter.
    pub item: u64,
}

impl FrameMeta {
    /// The description of a captured frame once it has a number and a length.
    #[must_use]
    pub const fn new(sequence: u64, capture: &Capture, bytes_used: u32) -> Self {
        let &Capture { captured_ns, timestamp_source, format, width, height, stride, region, item } = capture;
        Self { sequence, captured_ns, timestamp_source, format, width, height, stride, bytes_used, region, item }
    }
}

/// A description of a frame and its bytes do not fit each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameFault {
    /// There are no bytes.
    #[error("the frame has no bytes")]
    Empty,
    /// The bytes are no image of the format, width, height and stride claimed.
    #[error(transparent)]
    Misfit(#[from] Misfit),
    /// The region of interest does not lie in the image.
    #[error("the region {region:?} does not lie in an image of {width}x{height}")]
    Region {
        /// The region claimed.
        region: Region,
        /// Width of the image, in pixels.
        width: u32,
        /// Height of the image, in pixels.
        height: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: Capture = Capture {
        captured_ns: 1,
        timestamp_source: TimestampSource::Replay,
        format: PixelFormat::Rgb24,
        width: 4,
        height: 2,
        stride: 12,
        region: None,
        item: 0,
    };

    #[test]
    fn a_description_that_fits_its_bytes_is_accepted() {
        assert_eq!(IMAGE.check(24), Ok(()));
        assert_eq!(IMAGE.check(32), Ok(()), "drivers pad");
        let jpeg = Capture { format: PixelFormat::Jpeg, width: 0, height: 0, stride: 0, ..IMAGE };
        assert_eq!(jpeg.check(1), Ok(()));
        let inner = Capture { region: Some(Region { x: 1, y: 1, width: 3, height: 1 }), ..IMAGE };
        assert_eq!(inner.check(24), Ok(()));
    }

    #[test]
    fn a_description_that_does_not_fit_its_bytes_is_refused() {
        assert_eq!(IMAGE.check(0), Err(FrameFault::Empty));
        assert!(matches!(IMAGE.check(23), Err(FrameFault::Misfit(Misfit::Short { needed: 24, bytes: 23, .. }))));
        let narrow = Capture { stride: 11, ..IMAGE };
        assert!(matches!(narrow.check(24), Err(FrameFault::Misfit(Misfit::Shape { stride: 11, .. }))));
        for (x, y, width, height) in [(2, 0, 3, 1), (0, 2, 1, 1), (0, 0, 0, 1), (u32::MAX, 0, 1, 1)] {
            let outside = Capture { region: Some(Region { x, y, width, height }), ..IMAGE };
            assert!(matches!(outside.check(24), Err(FrameFault::Region { .. })), "{outside:?}");
        }
    }

    #[test]
    fn what_a_time_stands_for_is_found_again_by_its_code() {
        for source in TimestampSource::ALL {
            assert_eq!(TimestampSource::from_code(source.code()), Some(source));
        }
        assert_eq!(TimestampSource::from_code(5), None);
    }
}

//! Pixel formats by their V4L2 names, and how many bytes an image of each takes.
//!
//! Only formats that a decoder of this project can turn into RGB are listed; any other fourcc is refused by
//! [`PixelFormat::from_fourcc`] rather than guessed at.

use serde::{Deserialize, Serialize};

/// How the bytes of a frame are to be read (kernel document `userspace-api/media/v4l/pixfmt.html`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PixelFormat {
    /// A whole JPEG file, or one picture of a Motion-JPEG stream (`MJPG`).
    Jpeg,
    /// Red, green, blue, a byte each (`RGB3`).
    Rgb24,
    /// 4:2:2 packed as Y0 Cb Y1 Cr (`YUYV`).
    Yuyv,
    /// 4:2:2 packed as Cb Y0 Cr Y1 (`UYVY`).
    Uyvy,
    /// 4:2:0: a plane of Y, then one of interleaved Cb and Cr at half the size (`NV12`).
    Nv12,
    /// One byte of luma (`GREY`).
    Gray8,
    /// 4:2:0: a plane of Y, then one of interleaved Cr and Cb at half the size (`NV21`).
    Nv21,
    /// 4:2:0: planes of Y, Cb and Cr, the last two at half the size, with rows half as long (`YU12`).
    Yuv420,
    /// Blue, green, red, a byte each (`BGR3`).
    Bgr24,
}

impl PixelFormat {
    /// Every format.
    pub const ALL: [Self; 9] = [
        Self::Jpeg,
        Self::Rgb24,
        Self::Yuyv,
        Self::Uyvy,
        Self::Nv12,
        Self::Gray8,
        Self::Nv21,
        Self::Yuv420,
        Self::Bgr24,
    ];

    /// The four characters by which V4L2 calls the format.
    #[must_use]
    pub const fn fourcc(self) -> [u8; 4] {
        match self {
            Self::Jpeg => *b"MJPG",
            Self::Rgb24 => *b"RGB3",
            Self::Yuyv => *b"YUYV",
            Self::Uyvy => *b"UYVY",
            Self::Nv12 => *b"NV12",
            Self::Gray8 => *b"GREY",
            Self::Nv21 => *b"NV21",
            Self::Yuv420 => *b"YU12",
            Self::Bgr24 => *b"BGR3",
        }
    }

    /// The format that V4L2 calls so; `JPEG` and `MJPG` are the same to us. `None`: one that nothing here can read.
    #[must_use]
    pub fn from_fourcc(fourcc: [u8; 4]) -> Option<Self> {
        if fourcc == *b"JPEG" {
            return Some(Self::Jpeg);
        }
        Self::ALL.into_iter().find(|format| format.fourcc() == fourcc)
    }

    /// The fewest bytes a row of `width` pixels takes (of a format with planes, a row of its Y plane); 0 for JPEG, which has no rows.
    #[must_use]
    pub const fn smallest_stride(self, width: u32) -> u64 {
        let width = width as u64;
        match self {
            Self::Jpeg => 0,
            Self::Rgb24 | Self::Bgr24 => width * 3,
            Self::Yuyv | Self::Uyvy => width.next_multiple_of(2) * 2,
            Self::Nv12 | Self::Nv21 | Self::Yuv420 => width.next_multiple_of(2),
            Self::Gray8 => width,
        }
    }

    /// The bytes of an image of `width` × `height` pixels whose rows start `stride` bytes apart.
    ///
    /// `None` for JPEG, whose length follows from nothing, for an empty image, for a stride that cannot hold a row, or
    /// that is odd where the chroma's rows are half as long, and for a length that cannot be counted.
    #[must_use]
    pub const fn packed_len(self, width: u32, height: u32, stride: u32) -> Option<u64> {
        if width == 0 || height == 0 || (stride as u64) < self.smallest_stride(width) {
            return None;
        }
        let rows = match self {
            Self::Jpeg => return None,
            Self::Yuv420 if !stride.is_multiple_of(2) => return None,
            // Two planes of rows that are half as long take as much as one of whole rows.
            Self::Nv12 | Self::Nv21 | Self::Yuv420 => height as u64 + height.div_ceil(2) as u64,
            Self::Rgb24 | Self::Bgr24 | Self::Yuyv | Self::Uyvy | Self::Gray8 => height as u64,
        };
        (stride as u64).checked_mul(rows)
    }

    /// Checks that `bytes` bytes can hold an image of `width` × `height` pixels whose rows start `stride` bytes apart.
    ///
    /// # Errors
    /// [`Misfit`], saying which of the two does not fit the other; always for JPEG.
    pub fn check(self, width: u32, height: u32, stride: u32, bytes: usize) -> Result<(), Misfit> {
        match self.packed_len(width, height, stride) {
            None => Err(Misfit::Shape { format: self, width, height, stride }),
            Some(needed) if needed > bytes as u64 => Err(Misfit::Short { format: self, width, height, needed, bytes }),
            Some(_) => Ok(()),
        }
    }

    /// The number that stands for the format in shared memory.
    pub(crate) const fn code(self) -> u32 {
        self as u32
    }

    /// The format that `code` stands for, if any: the number comes from another process.
    pub(crate) fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.code() == code)
    }
}

/// Why bytes are no image of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// Width, height and stride describe no image of that format.
    #[error("{width}x{height} with rows of {stride} bytes is no {format:?} image")]
    Shape {
        /// The format claimed.
        format: PixelFormat,
        /// The width claimed, in pixels.
        width: u32,
        /// The height claimed, in pixels.
        height: u32,
        /// The stride claimed, in bytes.
        stride: u32,
    },
    /// The image described is larger than the bytes.
    #[error("a {format:?} image of {width}x{height} takes {needed} bytes, the frame has {bytes}")]
    Short {
        /// The format claimed.
        format: PixelFormat,
        /// The width claimed, in pixels.
        width: u32,
        /// The height claimed, in pixels.
        height: u32,
        /// Bytes such an image takes.
        needed: u64,
        /// Bytes there are.
        bytes: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_found_again_by_its_fourcc_and_its_code() {
        for format in PixelFormat::ALL {
            assert_eq!(PixelFormat::from_fourcc(format.fourcc()), Some(format));
            assert_eq!(PixelFormat::from_code(format.code()), Some(format));
        }
        assert_eq!(PixelFormat::from_fourcc(*b"JPEG"), Some(PixelFormat::Jpeg));
        assert_eq!(PixelFormat::from_fourcc(*b"H264"), None);
        assert_eq!(PixelFormat::from_code(9), None);
    }

    #[test]
    fn the_length_of_an_image_follows_from_its_rows() {
        let cases = [
            (PixelFormat::Rgb24, (640, 480, 1920), Some(921_600)),
            (PixelFormat::Rgb24, (640, 480, 1919), None),
            (PixelFormat::Yuyv, (3, 2, 8), Some(16)),
            (PixelFormat::Uyvy, (3, 2, 7), None),
            (PixelFormat::Nv12, (5, 5, 6), Some(48)),
            (PixelFormat::Gray8, (5, 5, 8), Some(40)),
            (PixelFormat::Nv21, (5, 5, 6), Some(48)),
            (PixelFormat::Yuv420, (5, 5, 6), Some(48)),
            (PixelFormat::Yuv420, (5, 5, 7), None),
            (PixelFormat::Bgr24, (2, 1, 6), Some(6)),
            (PixelFormat::Gray8, (0, 5, 8), None),
            (PixelFormat::Jpeg, (640, 480, 0), None),
        ];
        for (format, (width, height, stride), bytes) in cases {
            assert_eq!(format.packed_len(width, height, stride), bytes, "{format:?} {width}x{height} {stride}");
        }
    }

    #[test]
    fn a_length_that_cannot_be_counted_is_none() {
        assert_eq!(PixelFormat::Nv12.packed_len(1, u32::MAX, u32::MAX), None);
        let most = u64::from(u32::MAX) * u64::from(u32::MAX);
        assert_eq!(PixelFormat::Gray8.packed_len(1, u32::MAX, u32::MAX), Some(most));
    }
}

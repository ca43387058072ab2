//! What a camera is asked for.

use serde::{Deserialize, Serialize};

use crate::format::PixelFormat;

/// The picture and rate that a camera is asked for; it gives the nearest that it has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wish {
    /// Which format.
    pub format: FormatWish,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Frames a second, above 0.
    pub frames_per_second: f64,
}

/// Which format a camera is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FormatWish {
    /// The best that it has at the size and rate asked for.
    #[default]
    Auto,
    /// The best that holds pixels: any but Motion-JPEG.
    Raw,
    /// Motion-JPEG (`MJPG`, `JPEG`).
    Mjpeg,
    /// `YUYV`.
    Yuyv,
    /// `UYVY`.
    Uyvy,
    /// `NV12`.
    Nv12,
    /// `RGB3`.
    Rgb24,
    /// `GREY`.
    Grey,
    /// `NV21`.
    Nv21,
    /// `YU12`.
    Yuv420,
    /// `BGR3`.
    Bgr24,
}

impl FormatWish {
    /// Every wish, with the name that documents and command lines give it.
    pub const ALL: [(&str, Self); 11] = [
        ("auto", Self::Auto),
        ("raw", Self::Raw),
        ("mjpeg", Self::Mjpeg),
        ("yuyv", Self::Yuyv),
        ("uyvy", Self::Uyvy),
        ("nv12", Self::Nv12),
        ("rgb24", Self::Rgb24),
        ("grey", Self::Grey),
        ("nv21", Self::Nv21),
        ("yuv420", Self::Yuv420),
        ("bgr24", Self::Bgr24),
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, wish)| *wish == self).map_or("auto", |(name, _)| name)
    }

    /// Whether `format` is one of those asked for.
    #[must_use]
    pub fn admits(self, format: PixelFormat) -> bool {
        match self {
            Self::Auto => true,
            Self::Raw => format != PixelFormat::Jpeg,
            Self::Mjpeg => format == PixelFormat::Jpeg,
            Self::Yuyv => format == PixelFormat::Yuyv,
            Self::Uyvy => format == PixelFormat::Uyvy,
            Self::Nv12 => format == PixelFormat::Nv12,
            Self::Rgb24 => format == PixelFormat::Rgb24,
            Self::Grey => format == PixelFormat::Gray8,
            Self::Nv21 => format == PixelFormat::Nv21,
            Self::Yuv420 => format == PixelFormat::Yuv420,
            Self::Bgr24 => format == PixelFormat::Bgr24,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_documents_and_on_command_lines_are_the_same() {
        for (name, wish) in FormatWish::ALL {
            assert_eq!(serde_json::to_value(wish).unwrap(), name);
            assert_eq!(wish.name(), name);
        }
    }
}

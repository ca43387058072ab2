//! One frame as a borrowed view: what the ring or a file says about it, and its bytes.

pub use margay_camera::{Misfit, PixelFormat, Region};

use margay_camera::FrameMeta;

/// A frame to classify. The description comes from another process and is checked by the decoder, not trusted.
#[derive(Debug, Clone, Copy)]
pub struct FrameView<'a> {
    /// How to read the bytes.
    pub format: PixelFormat,
    /// Pixels; not looked at for a JPEG, whose own header decides.
    pub width: u32,
    /// Pixels; not looked at for a JPEG.
    pub height: u32,
    /// Bytes from one row to the next; not looked at for a JPEG.
    pub stride: u32,
    /// The part of the image to classify; `None`: all of it.
    pub region: Option<Region>,
    /// The pixels, or the JPEG file.
    pub bytes: &'a [u8],
}

impl<'a> FrameView<'a> {
    /// The view of a frame that came through the ring.
    #[must_use]
    pub fn new(meta: &FrameMeta, bytes: &'a [u8]) -> Self {
        let &FrameMeta { format, width, height, stride, region, .. } = meta;
        Self { format, width, height, stride, region, bytes }
    }

    /// The view of a whole JPEG file.
    #[must_use]
    pub fn jpeg(bytes: &'a [u8]) -> Self {
        Self { format: PixelFormat::Jpeg, width: 0, height: 0, stride: 0, region: None, bytes }
    }

    /// The view of tightly packed RGB pixels.
    #[must_use]
    pub fn rgb24(width: u32, height: u32, bytes: &'a [u8]) -> Self {
        let stride = width.saturating_mul(3);
        Self { format: PixelFormat::Rgb24, width, height, stride, region: None, bytes }
    }
}

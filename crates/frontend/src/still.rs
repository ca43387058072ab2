//! Still pictures from files: the golden samples of a package, and photographs given on the command line.
//!
//! A JPEG is passed on as it is, so that it takes the way of a camera's frames; PNG and BMP are decoded here.

use margay_camera::picture::{self, Picture, PictureError, PictureFormat, PictureLimits};

use crate::decode::{MAX_FRAME_PIXELS, MAX_FRAME_SIDE};
use crate::frame::FrameView;

/// Largest picture file, in bytes.
pub const MAX_STILL_BYTES: usize = 64 << 20;

const LIMITS: PictureLimits = PictureLimits { side: MAX_FRAME_SIDE, pixels: MAX_FRAME_PIXELS };

/// A picture in memory.
#[derive(Debug, Clone)]
pub struct Still {
    pixels: Pixels,
}

#[derive(Debug, Clone)]
enum Pixels {
    Jpeg(Vec<u8>),
    Rgb { width: u32, height: u32, bytes: Vec<u8> },
}

/// A file that is no picture this program reads.
#[derive(Debug, thiserror::Error)]
pub enum StillError {
    /// The file is larger than any picture needs to be.
    #[error("the picture has {bytes} bytes, more than the limit of {MAX_STILL_BYTES}")]
    TooLarge {
        /// Bytes of the file.
        bytes: usize,
    },
    /// The first bytes are those of no format that is read.
    #[error("the picture is no JPEG, PNG or BMP file: convert it to one of them")]
    UnknownFormat,
    /// The file is damaged, or its dimensions are beyond the limits of a frame.
    #[error("the picture cannot be decoded")]
    Decode(#[from] PictureError),
}

impl Still {
    /// Reads a picture from the bytes of its file.
    ///
    /// # Errors
    /// [`StillError`] when it is too large, of another format, or damaged.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, StillError> {
        if bytes.len() > MAX_STILL_BYTES {
            return Err(StillError::TooLarge { bytes: bytes.len() });
        }
        match PictureFormat::of(&bytes) {
            Some(PictureFormat::Jpeg) => Ok(Self { pixels: Pixels::Jpeg(bytes) }),
            Some(format) => {
                let Picture { width, height, rgb } = picture::decode(format, &bytes, LIMITS)?;
                Ok(Self { pixels: Pixels::Rgb { width, height, bytes: rgb } })
            }
            None => Err(StillError::UnknownFormat),
        }
    }

    /// The picture as a frame.
    #[must_use]
    pub fn frame(&self) -> FrameView<'_> {
        match &self.pixels {
            Pixels::Jpeg(bytes) => FrameView::jpeg(bytes),
            Pixels::Rgb { width, height, bytes } => FrameView::rgb24(*width, *height, bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::PixelFormat;

    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.write_header().unwrap().write_image_data(&[9, 8, 7].repeat((width * height) as usize)).unwrap();
        file
    }

    #[test]
    fn a_png_becomes_an_rgb_frame() {
        let still = Still::from_bytes(png(3, 2)).unwrap();
        let frame = still.frame();
        assert_eq!((frame.format, frame.width, frame.height), (PixelFormat::Rgb24, 3, 2));
        assert_eq!(frame.bytes[..3], [9, 8, 7]);
    }

    #[test]
    fn damaged_and_foreign_files_are_refused() {
        let mut file = png(30, 20);
        file.truncate(file.len() / 2);
        assert!(matches!(Still::from_bytes(file), Err(StillError::Decode(_))));
        assert!(matches!(Still::from_bytes(b"GIF89a".to_vec()), Err(StillError::UnknownFormat)));
        assert!(matches!(Still::from_bytes(Vec::new()), Err(StillError::UnknownFormat)));
    }

    #[test]
    fn a_png_that_claims_a_huge_image_is_refused() {
        let mut file = png(3, 2);
        file[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
        assert!(matches!(Still::from_bytes(file), Err(StillError::Decode(_))));
    }
}

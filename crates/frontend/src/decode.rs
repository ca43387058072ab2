//! From the bytes of a frame to packed RGB, within limits, into a buffer that is kept.
//!
//! Whatever a frame claims about itself is checked against its bytes and against [`MAX_FRAME_SIDE`] and
//! [`MAX_FRAME_PIXELS`] before memory is taken for it. A JPEG that ends early or that the decoder finds damaged is
//! refused, not shown in part: a prediction about a grey half-image would look like any other.

mod baseline;
mod exif;
mod jpeg;
mod yuv;

use serde::{Deserialize, Serialize};

use baseline::{BaselineDecoder, Parsed};

use crate::frame::{FrameView, Misfit, PixelFormat, Region};
use crate::geometry::Size;
use crate::orientation::{Orientation, Rotation};
use crate::picture::{Picture, region_in};
use crate::prepare::Need;

/// Largest width or height of a frame, in pixels.
pub const MAX_FRAME_SIDE: u32 = 16_384;

/// Largest number of pixels of a frame: above a 24-megapixel still; decoded it takes 75 MB.
pub const MAX_FRAME_PIXELS: u64 = 25_000_000;

/// A frame that cannot be decoded. The next frame may well be good, so none of these is a reason to stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are no image as described.
    #[error(transparent)]
    Misfit(#[from] Misfit),
    /// More pixels than this program is prepared to hold.
    #[error(
        "an image of {width}x{height} is beyond the limits of {MAX_FRAME_SIDE} pixels a side and \
         {MAX_FRAME_PIXELS} in all: capture smaller frames"
    )]
    TooLarge {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// The region of interest is not inside the image.
    #[error("the region {region:?} does not lie in an image of {width}x{height}")]
    Region {
        /// Claimed region.
        region: Region,
        /// Width of the image in pixels.
        width: u32,
        /// Height of the image in pixels.
        height: u32,
    },
    /// The JPEG ends before its end-of-image marker.
    #[error("the JPEG of {bytes} bytes ends before its end-of-image marker")]
    Truncated {
        /// Bytes there are.
        bytes: usize,
    },
    /// The JPEG is damaged, or of a kind that is not supported.
    #[error("the JPEG of {bytes} bytes cannot be decoded: {reason}")]
    Jpeg {
        /// Bytes of the file.
        bytes: usize,
        /// The decoder's reason.
        reason: String,
    },
}

/// A decoded image: packed RGB rows, and the part of it to look at.
#[derive(Debug, Clone, Copy)]
pub struct RgbView<'a> {
    pub(crate) size: Size,
    pub(crate) region: Region,
    pub(crate) pixels: &'a [u8],
}

impl RgbView<'_> {
    /// Width and height of the whole image.
    #[must_use]
    pub fn size(&self) -> Size {
        self.size
    }

    /// The part to classify: the whole image where the frame named none.
    #[must_use]
    pub fn region(&self) -> Region {
        self.region
    }

    /// `width × height × 3` bytes, row by row.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        self.pixels
    }
}

impl<'a> From<&RgbView<'a>> for Picture<'a> {
    fn from(view: &RgbView<'a>) -> Self {
        Self::rgb((view.size, view.region, Orientation::UPRIGHT), view.pixels)
    }
}

/// How a camera is mounted, and which part of its picture matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct View {
    /// The part to classify of frames that name none themselves, in the picture as the camera delivers it.
    pub region: Option<Region>,
    /// How far that part is to be turned clockwise, on top of what its EXIF data say.
    pub rotation: Rotation,
    /// Whether it is then to be mirrored, left to right.
    pub mirrored: bool,
}

impl View {
    fn orientation(&self) -> Orientation {
        Orientation::turned(self.rotation, self.mirrored)
    }
}

/// Decodes frames one after the other; keeps its memory.
#[derive(Debug, Default)]
pub struct Decoder {
    rgb: Vec<u8>,
    baseline: BaselineDecoder,
    view: View,
}

impl Decoder {
    /// A decoder with an empty buffer; it grows to the largest frame seen and stays.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, with what [`Self::open`] is to make of the frames of one camera.
    #[must_use]
    pub fn with_view(self, view: View) -> Self {
        Self { view, ..self }
    }

    /// Makes a frame ready for a [`crate::Preparer`], whose `need` it is, with no more work than that takes: a raw frame
    /// is checked, of a JPEG the crop is decoded. EXIF orientation is found, and the preparer follows it.
    ///
    /// # Errors
    /// As for [`Self::decode`].
    pub fn open<'a>(&'a mut self, frame: &FrameView<'a>, need: &Need) -> Result<Picture<'a>, DecodeError> {
        let region = frame.region.or(self.view.region);
        if frame.format != PixelFormat::Jpeg {
            let size = check_raw(frame)?;
            let place = (size, region_in(size, region)?, self.view.orientation());
            let FrameView { format, width, height, stride, bytes, .. } = *frame;
            let short = Misfit::Short { format, width, height, needed: u64::from(stride), bytes: bytes.len() };
            return Picture::raw(frame, place).ok_or(short.into());
        }
        match baseline::parse(frame.bytes) {
            Parsed::Baseline(header) => {
                let size = check_size(header.size.width, header.size.height)?;
                let place = (region_in(size, region)?, header.orientation.then(self.view.orientation()));
                self.baseline.decode(frame.bytes, &header, place, need)
            }
            Parsed::Other(orientation) => {
                let size = jpeg::decode(frame.bytes, &mut self.rgb)?;
                let orientation = orientation.then(self.view.orientation());
                Ok(Picture::rgb((size, region_in(size, region)?, orientation), &self.rgb))
            }
        }
    }

    /// Decodes one frame to RGB, as it is stored. Tightly packed RGB is passed through without a copy.
    ///
    /// # Errors
    /// [`DecodeError`] when the frame is not what it claims, is too large, or is damaged.
    pub fn decode<'a>(&'a mut self, frame: &FrameView<'a>) -> Result<RgbView<'a>, DecodeError> {
        if frame.format == PixelFormat::Jpeg {
            let size = jpeg::decode(frame.bytes, &mut self.rgb)?;
            return view(size, frame.region, &self.rgb);
        }
        let size = check_raw(frame)?;
        if frame.format == PixelFormat::Rgb24 && frame.stride == frame.width * 3 {
            return view(size, frame.region, &frame.bytes[..rgb_bytes(size)]);
        }
        self.rgb.resize(rgb_bytes(size), 0);
        match frame.format {
            PixelFormat::Gray8 => copy_gray(frame, &mut self.rgb),
            PixelFormat::Yuyv => yuv::yuyv_to_rgb(frame, &mut self.rgb),
            PixelFormat::Uyvy => yuv::uyvy_to_rgb(frame, &mut self.rgb),
            PixelFormat::Nv12 => yuv::nv12_to_rgb(frame, &mut self.rgb),
            PixelFormat::Nv21 => yuv::nv21_to_rgb(frame, &mut self.rgb),
            PixelFormat::Yuv420 => yuv::yuv420_to_rgb(frame, &mut self.rgb),
            PixelFormat::Bgr24 => {
                copy_rgb(frame, &mut self.rgb);
                self.rgb.as_chunks_mut::<3>().0.iter_mut().for_each(|pixel| pixel.swap(0, 2));
            }
            PixelFormat::Rgb24 | PixelFormat::Jpeg => copy_rgb(frame, &mut self.rgb),
        }
        view(size, frame.region, &self.rgb)
    }
}

fn view(size: Size, region: Option<Region>, pixels: &[u8]) -> Result<RgbView<'_>, DecodeError> {
    Ok(RgbView { size, region: region_in(size, region)?, pixels })
}

fn check_raw(frame: &FrameView<'_>) -> Result<Size, DecodeError> {
    let &FrameView { format, width, height, stride, bytes, .. } = frame;
    let size = check_size(width, height)?;
    format.check(width, height, stride, bytes.len())?;
    Ok(size)
}

/// Refuses what is too large to hold.
fn check_size(width: u32, height: u32) -> Result<Size, DecodeError> {
    let pixels = u64::from(width) * u64::from(height);
    if width > MAX_FRAME_SIDE || height > MAX_FRAME_SIDE || pixels > MAX_FRAME_PIXELS {
        return Err(DecodeError::TooLarge { width, height });
    }
    Ok(Size { width, height })
}

fn rgb_bytes(size: Size) -> usize {
    size.width as usize * size.height as usize * 3
}

fn copy_rgb(frame: &FrameView<'_>, rgb: &mut [u8]) {
    let width = frame.width as usize * 3;
    for (row, out) in frame.bytes.chunks(frame.stride as usize).zip(rgb.chunks_exact_mut(width)) {
        out.copy_from_slice(&row[..width]);
    }
}

fn copy_gray(frame: &FrameView<'_>, rgb: &mut [u8]) {
    let width = frame.width as usize;
    for (row, out) in frame.bytes.chunks(frame.stride as usize).zip(rgb.chunks_exact_mut(width * 3)) {
        for (&luma, pixel) in row.iter().zip(out.chunks_exact_mut(3)) {
            pixel.fill(luma);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(format: PixelFormat, (width, height, stride): (u32, u32, u32), bytes: &[u8]) -> FrameView<'_> {
        FrameView { format, width, height, stride, region: None, bytes }
    }

    #[test]
    fn padded_rows_are_packed() {
        let bytes = [1, 2, 3, 0, 4, 5, 6, 0];
        let mut decoder = Decoder::new();
        let view = decoder.decode(&raw(PixelFormat::Rgb24, (1, 2, 4), &bytes)).unwrap();
        assert_eq!(view.pixels(), [1, 2, 3, 4, 5, 6]);
        let view = decoder.decode(&raw(PixelFormat::Gray8, (1, 2, 4), &bytes)).unwrap();
        assert_eq!(view.pixels(), [1, 1, 1, 4, 4, 4]);
    }

    #[test]
    fn a_frame_that_claims_more_than_it_has_is_refused() {
        let mut decoder = Decoder::new();
        let short = decoder.decode(&raw(PixelFormat::Yuyv, (640, 480, 1280), &[0; 100])).unwrap_err();
        assert!(matches!(short, DecodeError::Misfit(Misfit::Short { needed: 614_400, bytes: 100, .. })), "{short}");
        let shape = decoder.decode(&raw(PixelFormat::Rgb24, (640, 480, 640), &[0; 100])).unwrap_err();
        assert!(matches!(shape, DecodeError::Misfit(Misfit::Shape { stride: 640, .. })), "{shape}");
        let empty = decoder.decode(&raw(PixelFormat::Gray8, (0, 0, 0), &[])).unwrap_err();
        assert!(matches!(empty, DecodeError::Misfit(Misfit::Shape { .. })), "{empty}");
    }

    #[test]
    fn huge_claims_are_refused_before_memory_is_taken() {
        let mut decoder = Decoder::new();
        for (width, height) in [(MAX_FRAME_SIDE + 1, 1), (10_000, 10_000), (u32::MAX, u32::MAX)] {
            let error = decoder.decode(&raw(PixelFormat::Gray8, (width, height, width), &[0; 16])).unwrap_err();
            assert!(matches!(error, DecodeError::TooLarge { .. }), "{error}");
        }
        assert_eq!(decoder.rgb.capacity(), 0);
    }

    #[test]
    fn a_region_outside_the_image_is_refused() {
        let frame =
            FrameView { region: Some(Region { x: 1, y: 0, width: 2, height: 1 }), ..FrameView::rgb24(2, 1, &[0; 6]) };
        let error = Decoder::new().decode(&frame).unwrap_err();
        assert!(matches!(error, DecodeError::Region { width: 2, .. }), "{error}");
    }

    #[test]
    fn the_buffer_is_kept_between_frames() {
        let mut decoder = Decoder::new();
        decoder.decode(&raw(PixelFormat::Gray8, (64, 64, 64), &[7; 4096])).unwrap();
        let address = decoder.rgb.as_ptr();
        decoder.decode(&raw(PixelFormat::Gray8, (32, 32, 32), &[9; 1024])).unwrap();
        decoder.decode(&raw(PixelFormat::Gray8, (64, 64, 64), &[7; 4096])).unwrap();
        assert_eq!(decoder.rgb.as_ptr(), address);
    }
}

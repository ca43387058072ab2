//! A frame in small, as a JPEG of bounded size, for messages that people look at.

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use jpeg_encoder::{ColorType, Encoder};

use crate::decode::{DecodeError, Decoder};
use crate::frame::FrameView;
use crate::geometry::Size;

/// The longest side of a thumbnail, in pixels: what fits a message in ordinary light.
pub const MAX_SIDE: u32 = 640;

/// The shortest that the longest side may be asked to be, in pixels.
pub const MIN_SIDE: u32 = 16;

/// JPEG qualities (of 1 to 100), tried in turn until the result is small enough.
const QUALITIES: [u8; 3] = [75, 50, 25];

/// Why there is no thumbnail of a frame.
#[derive(Debug, thiserror::Error)]
pub enum ThumbnailError {
    /// The frame is no picture.
    #[error("the frame cannot be decoded")]
    Decode(#[from] DecodeError),
    /// The resampler refuses it.
    #[error("an image of {width}x{height} cannot be reduced: {reason}")]
    Reduce {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
        /// The resampler's reason.
        reason: String,
    },
    /// The encoder refuses it.
    #[error("the reduced image cannot be encoded")]
    Encode(#[source] jpeg_encoder::EncodingError),
    /// It does not become small enough.
    #[error("at {width}x{height} pixels it has {actual} bytes even at quality {quality}, and {limit} are allowed")]
    TooLarge {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
        /// The bytes it has.
        actual: usize,
        /// The JPEG quality, 1 to 100.
        quality: u8,
        /// The most bytes allowed.
        limit: usize,
    },
}

/// A JPEG of a reduced frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thumbnail<'a> {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// The file: baseline JPEG, YCbCr.
    pub jpeg: &'a [u8],
}

/// Makes thumbnails one after the other; owns its buffers.
#[derive(Debug)]
pub struct Thumbnailer {
    side: u32,
    limit: usize,
    decoder: Decoder,
    resizer: Resizer,
    canvas: Vec<u8>,
    jpeg: Vec<u8>,
}

impl Thumbnailer {
    /// For thumbnails whose longer side has `side` pixels, or fewer where the frame does ([`MIN_SIDE`] to [`MAX_SIDE`];
    /// others count as the nearest), of at most `limit` bytes.
    #[must_use]
    pub fn new(side: u32, limit: usize) -> Self {
        let side = side.clamp(MIN_SIDE, MAX_SIDE);
        Self { side, limit, decoder: Decoder::new(), resizer: Resizer::new(), canvas: Vec::new(), jpeg: Vec::new() }
    }

    /// A thumbnail of the part of `frame` that is classified.
    ///
    /// # Errors
    /// [`ThumbnailError`]; the next frame may have one.
    pub fn make(&mut self, frame: &FrameView<'_>) -> Result<Thumbnail<'_>, ThumbnailError> {
        let Size { width, height } = self.reduce(frame)?;
        for quality in QUALITIES {
            self.jpeg.clear();
            // Both sides are at most MAX_SIDE.
            #[allow(clippy::cast_possible_truncation, reason = "at most 640")]
            let sides = (width as u16, height as u16);
            let encoder = Encoder::new(&mut self.jpeg, quality);
            encoder.encode(&self.canvas, sides.0, sides.1, ColorType::Rgb).map_err(ThumbnailError::Encode)?;
            if self.jpeg.len() <= self.limit {
                return Ok(Thumbnail { width, height, jpeg: &self.jpeg });
            }
        }
        let (actual, quality) = (self.jpeg.len(), QUALITIES[QUALITIES.len() - 1]);
        Err(ThumbnailError::TooLarge { width, height, actual, quality, limit: self.limit })
    }

    /// Fills the canvas with the reduced part of `frame`; never enlarges.
    fn reduce(&mut self, frame: &FrameView<'_>) -> Result<Size, ThumbnailError> {
        let image = self.decoder.decode(frame)?;
        let region = image.region();
        let size = reduced(Size { width: region.width, height: region.height }, self.side);
        let failed = |reason: String| ThumbnailError::Reduce { width: region.width, height: region.height, reason };
        self.canvas.resize(size.width as usize * size.height as usize * 3, 0);
        let whole = TypedImageRef::<U8x3>::from_buffer(image.size().width, image.size().height, image.pixels())
            .map_err(|error| failed(error.to_string()))?;
        let part = TypedCroppedImage::from_ref(&whole, region.x, region.y, region.width, region.height)
            .map_err(|error| failed(error.to_string()))?;
        let mut canvas = TypedImage::<U8x3>::from_buffer(size.width, size.height, &mut self.canvas)
            .map_err(|error| failed(error.to_string()))?;
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        self.resizer.resize_typed(&part, &mut canvas, &options).map_err(|error| failed(error.to_string()))?;
        Ok(size)
    }
}

/// `size` with its longer side at most `side`, its proportions kept to the pixel.
fn reduced(size: Size, side: u32) -> Size {
    let longest = size.width.max(size.height).max(1);
    if longest <= side {
        return size;
    }
    let scaled = |length: u32| {
        let rounded = (u64::from(length) * u64::from(side) + u64::from(longest) / 2) / u64::from(longest);
        u32::try_from(rounded).unwrap_or(side).max(1)
    };
    Size { width: scaled(size.width), height: scaled(size.height) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::Region;

    /// A picture whose left half is red and whose right half is blue.
    fn halves(width: u32, height: u32) -> Vec<u8> {
        let pixel = |x: u32| if x < width / 2 { [250, 0, 0] } else { [0, 0, 250] };
        (0..height).flat_map(|_| (0..width).flat_map(pixel)).collect()
    }

    /// Mean colour of the left and the right third.
    fn colours(jpeg: &[u8]) -> [[f64; 3]; 2] {
        let mut decoder = Decoder::new();
        let image = decoder.decode(&FrameView::jpeg(jpeg)).unwrap();
        let (width, height) = (image.size().width as usize, image.size().height as usize);
        let mean = |columns: std::ops::Range<usize>| {
            let mut sums = [0.0; 3];
            for y in 0..height {
                for x in columns.clone() {
                    for (channel, sum) in sums.iter_mut().enumerate() {
                        *sum += f64::from(image.pixels()[(y * width + x) * 3 + channel]);
                    }
                }
            }
            sums.map(|sum| sum / (columns.len() * height) as f64)
        };
        [mean(0..width / 3), mean(width - width / 3..width)]
    }

    #[test]
    fn a_thumbnail_shows_the_frame_in_its_proportions() {
        let pixels = halves(320, 200);
        let mut thumbnailer = Thumbnailer::new(96, 24 * 1024);
        let thumbnail = thumbnailer.make(&FrameView::rgb24(320, 200, &pixels)).unwrap();
        assert_eq!((thumbnail.width, thumbnail.height), (96, 60));
        let [left, right] = colours(thumbnail.jpeg);
        assert!(left[0] > 200.0 && left[2] < 50.0 && right[2] > 200.0 && right[0] < 50.0, "{left:?} {right:?}");
    }

    #[test]
    fn a_jpeg_frame_and_a_region_of_it_are_shown_too() {
        let pixels = halves(320, 200);
        let mut file = Vec::new();
        Encoder::new(&mut file, 90).encode(&pixels, 320, 200, ColorType::Rgb).unwrap();
        let mut frame = FrameView::jpeg(&file);
        frame.region = Some(Region { x: 200, y: 0, width: 100, height: 100 });
        let mut thumbnailer = Thumbnailer::new(640, 24 * 1024);
        let thumbnail = thumbnailer.make(&frame).unwrap();
        assert_eq!((thumbnail.width, thumbnail.height), (100, 100), "nothing is enlarged");
        let [left, right] = colours(thumbnail.jpeg);
        assert!(left[2] > 200.0 && right[2] > 200.0, "{left:?} {right:?}");
    }

    #[test]
    fn quality_gives_way_until_the_picture_fits_and_a_picture_that_never_does_is_an_error() {
        let mut random = 1_u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 24) as u8
        })
        .take(256 * 256 * 3)
        .collect();
        let frame = FrameView::rgb24(256, 256, &noise);
        let size = |limit: usize| Thumbnailer::new(256, limit).make(&frame).map(|thumbnail| thumbnail.jpeg.len());
        let large = size(usize::MAX).unwrap();
        let smaller = size(large - 1).unwrap();
        assert!(smaller < large);
        let error = size(1000).unwrap_err();
        assert!(matches!(error, ThumbnailError::TooLarge { limit: 1000, quality: 25, .. }), "{error}");
    }

    #[test]
    fn what_is_no_picture_has_no_thumbnail_and_the_next_frame_has_one() {
        let mut thumbnailer = Thumbnailer::new(32, 4096);
        assert!(matches!(thumbnailer.make(&FrameView::jpeg(b"no jpeg")), Err(ThumbnailError::Decode(_))));
        let pixels = halves(64, 64);
        assert_eq!(thumbnailer.make(&FrameView::rgb24(64, 64, &pixels)).unwrap().width, 32);
    }

    proptest! {
        #[test]
        fn a_reduced_size_fits_and_is_never_empty(width in 1..20_000_u32, height in 1..20_000_u32, side in MIN_SIDE..=MAX_SIDE) {
            let size = reduced(Size { width, height }, side);
            prop_assert!(size.width >= 1 && size.height >= 1);
            prop_assert!(size.width.max(size.height) <= side);
            prop_assert!(size.width <= width && size.height <= height);
        }
    }
}

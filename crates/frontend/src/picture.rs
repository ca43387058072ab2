//! A picture as it lies in memory: whose bytes are resampled without being made RGB first.
//!
//! A *sheet* is a rectangle of bytes whose rows can be blended as they are, whatever they hold; a *channel* is every
//! n-th byte of a sheet's row. YUYV is one sheet of three channels, NV12 two sheets, a decoded JPEG three.

use margay_kernels::pixels::{LIMITED_RANGE, Matrix};

use crate::decode::DecodeError;
use crate::frame::{FrameView, PixelFormat, Region};
use crate::geometry::Size;
use crate::orientation::Orientation;

/// Sheets of a picture at most, and channels of all its sheets together.
pub(crate) const MOST: usize = 3;

/// Samples along one axis, and how they lie over the pixels of the whole image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Samples {
    /// Samples for each pixel of the image: 1, or less where colour or the whole is stored at a lower resolution.
    pub(crate) density: f64,
    /// Number of the first sample that there is, counted from the image's edge.
    pub(crate) first: usize,
    /// How many there are.
    pub(crate) length: usize,
    pub(crate) filling: Filling,
}

/// How places between samples are filled where there are two places for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filling {
    /// There are none: a sample for each place.
    Own,
    /// Both have the sample's value: the raw formats of cameras.
    Repeated,
    /// Three quarters of their own sample and one of the next: what JPEG decoders do.
    Blended,
}

impl Samples {
    /// One for each of `length` pixels.
    pub(crate) fn full(length: u32) -> Self {
        Self { density: 1.0, first: 0, length: length as usize, filling: Filling::Own }
    }

    /// One for every two of `length` pixels, the last one by itself.
    pub(crate) fn half(length: u32) -> Self {
        Self { density: 0.5, first: 0, length: length.div_ceil(2) as usize, filling: Filling::Repeated }
    }
}

/// Every `step`-th byte of a row, from `offset` on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Channel {
    pub(crate) offset: usize,
    pub(crate) step: usize,
    pub(crate) samples: Samples,
}

/// A rectangle of bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sheet {
    /// Bytes from one row to the next.
    pub(crate) stride: usize,
    pub(crate) rows: Samples,
    pub(crate) channels: [Option<Channel>; MOST],
}

impl Sheet {
    pub(crate) fn of(stride: usize, rows: Samples, channels: &[Channel]) -> Self {
        Self { stride, rows, channels: std::array::from_fn(|index| channels.get(index).copied()) }
    }

    /// A sheet of one channel.
    pub(crate) fn plane(stride: usize, rows: Samples, samples: Samples) -> Self {
        Self::of(stride, rows, &[Channel { offset: 0, step: 1, samples }])
    }

    /// Bytes that its rows take, the last one as far as its channels go.
    fn needed(&self) -> usize {
        let end = |channel: &Channel| channel.offset + channel.samples.length.saturating_sub(1) * channel.step + 1;
        let row = self.channels.iter().flatten().map(end).max().unwrap_or(0);
        self.rows.length.saturating_sub(1).saturating_mul(self.stride).saturating_add(row)
    }
}

/// No sheet.
const NONE: (Option<Sheet>, &[u8]) = (None, &[]);

/// What the channels are, in the order of the sheets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Colours {
    /// Red, green, blue.
    Rgb,
    /// One that stands for all three.
    Grey,
    /// Y, Cb, Cr.
    Ycc(Matrix),
}

/// Everything about a picture but its bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shape {
    /// Of the whole image, as it is stored.
    pub(crate) size: Size,
    /// The part to classify, in the stored image.
    pub(crate) region: Region,
    pub(crate) orientation: Orientation,
    pub(crate) colours: Colours,
    pub(crate) sheets: [Option<Sheet>; MOST],
}

/// An image to resample, and its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Picture<'a> {
    pub(crate) shape: Shape,
    pub(crate) bytes: [&'a [u8]; MOST],
}

impl<'a> Picture<'a> {
    pub(crate) fn new(
        (size, region, orientation): (Size, Region, Orientation),
        colours: Colours,
        sheets: [(Option<Sheet>, &'a [u8]); MOST],
    ) -> Self {
        let shape = Shape { size, region, orientation, colours, sheets: sheets.map(|(sheet, _)| sheet) };
        Self { shape, bytes: sheets.map(|(_, bytes)| bytes) }
    }

    /// Packed RGB rows.
    pub(crate) fn rgb(place: (Size, Region, Orientation), bytes: &'a [u8]) -> Self {
        let Size { width, height } = place.0;
        let channel = |offset| Channel { offset, step: 3, samples: Samples::full(width) };
        let sheet = Sheet::of(width as usize * 3, Samples::full(height), &[0, 1, 2].map(channel));
        Self::new(place, Colours::Rgb, [(Some(sheet), bytes), NONE, NONE])
    }

    /// A raw frame, whose bytes the decoder has found to be enough; `None` for a JPEG.
    pub(crate) fn raw(frame: &FrameView<'a>, place: (Size, Region, Orientation)) -> Option<Self> {
        let &FrameView { format, width, bytes, .. } = frame;
        let stride = frame.stride as usize;
        let (columns, rows) = (Samples::full(width), Samples::full(frame.height));
        let (pairs, half_rows) = (Samples::half(width), Samples::half(frame.height));
        let packed = |colours, step, channels: [(usize, Samples); MOST]| {
            let channels = channels.map(|(offset, samples)| Channel { offset, step, samples });
            Self::new(place, colours, [(Some(Sheet::of(stride, rows, &channels)), bytes), NONE, NONE])
        };
        let quads = |y, cb, cr| {
            let luma = Channel { offset: y, step: 2, samples: columns };
            let colour = |offset| Channel { offset, step: 4, samples: pairs };
            let sheet = Sheet::of(stride, rows, &[luma, colour(cb), colour(cr)]);
            Self::new(place, Colours::Ycc(LIMITED_RANGE), [(Some(sheet), bytes), NONE, NONE])
        };
        let luma = Sheet::plane(stride, rows, columns);
        let (first, rest) = bytes.split_at_checked(
            if matches!(format, PixelFormat::Nv12 | PixelFormat::Nv21 | PixelFormat::Yuv420) {
                stride * rows.length
            } else {
                0
            },
        )?;
        let turns = |cb, cr| {
            let colour = |offset| Channel { offset, step: 2, samples: pairs };
            let sheet = Sheet::of(stride, half_rows, &[colour(cb), colour(cr)]);
            Self::new(place, Colours::Ycc(LIMITED_RANGE), [(Some(luma), first), (Some(sheet), rest), NONE])
        };
        Some(match format {
            PixelFormat::Jpeg => return None,
            PixelFormat::Rgb24 => packed(Colours::Rgb, 3, [0, 1, 2].map(|offset| (offset, columns))),
            PixelFormat::Bgr24 => packed(Colours::Rgb, 3, [2, 1, 0].map(|offset| (offset, columns))),
            PixelFormat::Gray8 => {
                let sheet = Sheet::plane(stride, rows, columns);
                Self::new(place, Colours::Grey, [(Some(sheet), bytes), NONE, NONE])
            }
            PixelFormat::Yuyv => quads(0, 1, 3),
            PixelFormat::Uyvy => quads(1, 0, 2),
            PixelFormat::Nv12 => turns(0, 1),
            PixelFormat::Nv21 => turns(1, 0),
            PixelFormat::Yuv420 => {
                let colour = Sheet::plane(stride / 2, half_rows, pairs);
                let (second, third) = rest.split_at_checked(stride / 2 * half_rows.length)?;
                let sheets = [(Some(luma), first), (Some(colour), second), (Some(colour), third)];
                Self::new(place, Colours::Ycc(LIMITED_RANGE), sheets)
            }
        })
    }

    /// Whether every sheet's bytes are there.
    pub(crate) fn is_whole(&self) -> bool {
        let whole = |(sheet, bytes): (&Option<Sheet>, &&[u8])| sheet.is_none_or(|sheet| sheet.needed() <= bytes.len());
        self.shape.sheets.iter().zip(&self.bytes).all(whole)
    }

    /// Width and height of the whole image as it is stored, in pixels.
    #[must_use]
    pub fn size(&self) -> Size {
        self.shape.size
    }

    /// The part to classify, in the stored image.
    #[must_use]
    pub fn region(&self) -> Region {
        self.shape.region
    }
}

/// Checks that a region lies in an image; `None` is all of it.
pub(crate) fn region_in(size: Size, region: Option<Region>) -> Result<Region, DecodeError> {
    let Size { width, height } = size;
    let region = region.unwrap_or(Region { x: 0, y: 0, width, height });
    if region.lies_within(width, height) { Ok(region) } else { Err(DecodeError::Region { region, width, height }) }
}

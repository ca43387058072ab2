//! From a picture to the model's tensor, row by row: blend, resample, colour, normalise.
//!
//! For each row of the target the rows of bytes that make it are blended, whatever they hold; its channels are
//! resampled, made red, green and blue, and normalised into the tensor while they are in the cache. Only pixels of the
//! crop are read, and only those of the target are ever converted.

use margay_kernels::pixels::{PADDING, Pixels};

use crate::frame::Region;
use crate::geometry::{Placement, Size};
use crate::input::{InputSpec, Jpeg, ResizeRule};
use crate::normalise::Normaliser;
use crate::orientation::Orientation;
use crate::picture::{Colours, MOST, Picture, Shape};
use crate::plan::Plan;
use crate::tensor::InputTensor;

/// A picture whose bytes are not those of its description. It does not occur with pictures that the decoder returned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a picture of {width}x{height} has fewer bytes than that takes")]
pub struct PrepareError {
    /// Width of the picture, in pixels.
    pub width: u32,
    /// Height of the picture, in pixels.
    pub height: u32,
}

/// What the decoder is told of the tensor, so that it decodes no more than that needs.
#[derive(Debug, Clone, Copy)]
pub struct Need {
    pub(crate) rule: ResizeRule,
    pub(crate) tensor: Size,
    pub(crate) jpeg: Jpeg,
}

impl Need {
    /// Where the region of a picture lands, both as they stand upright.
    pub(crate) fn place(&self, (region, orientation): (Region, Orientation)) -> Placement {
        let Region { width, height, .. } = region;
        let (width, height) = if orientation.transposed { (height, width) } else { (width, height) };
        self.rule.place(Size { width, height }, self.tensor)
    }
}

/// Makes tensors of one specification; owns the tensor and all memory on the way.
#[derive(Debug)]
pub struct Preparer {
    need: Need,
    pixels: Pixels,
    normaliser: Normaliser,
    tensor: InputTensor,
    /// The plan is of pictures of this shape.
    shape: Option<Shape>,
    plan: Plan,
    rows: Rows,
    /// Red, green and blue of a target that is still to be turned, one plane after the other.
    canvas: Vec<u8>,
}

/// One row at each stage.
#[derive(Debug, Default)]
struct Rows {
    blended: Vec<i16>,
    spread: Vec<i16>,
    samples: [Vec<i16>; MOST],
    colours: [Vec<u8>; 3],
}

impl Preparer {
    /// Takes the tensor's memory; the rest follows with the first frame, and again with one of another kind.
    #[must_use]
    pub fn new(spec: &InputSpec) -> Self {
        Self::with_pixels(spec, Pixels::default())
    }

    /// For an engine that normalises by itself: of a float specification, what comes out are
    /// [`TensorData::Pixels`](crate::TensorData::Pixels).
    #[must_use]
    pub fn of_pixels(spec: &InputSpec) -> Self {
        Self::with_tensor(spec, Pixels::default(), InputTensor::zeroed_pixels(spec))
    }

    /// As [`Self::new`], with the loops of another instruction set.
    #[must_use]
    pub fn with_pixels(spec: &InputSpec, pixels: Pixels) -> Self {
        Self::with_tensor(spec, pixels, InputTensor::zeroed(spec))
    }

    fn with_tensor(spec: &InputSpec, pixels: Pixels, tensor: InputTensor) -> Self {
        let size = Size { width: spec.width, height: spec.height };
        Self {
            need: Need { rule: spec.resize, tensor: size, jpeg: spec.jpeg },
            pixels,
            normaliser: Normaliser::new(spec, pixels),
            tensor,
            shape: None,
            plan: Plan::default(),
            rows: Rows::default(),
            canvas: Vec::new(),
        }
    }

    /// What [`crate::Decoder::open`] should know.
    #[must_use]
    pub fn need(&self) -> Need {
        self.need
    }

    /// Resamples and normalises one picture.
    ///
    /// # Errors
    /// [`PrepareError`] where the picture's bytes end before its description.
    pub fn prepare<'p>(&mut self, picture: impl Into<Picture<'p>>) -> Result<&InputTensor, PrepareError> {
        let picture = picture.into();
        if !picture.is_whole() {
            let Size { width, height } = picture.size();
            return Err(PrepareError { width, height });
        }
        if self.shape != Some(picture.shape) {
            self.renew(&picture.shape);
        }
        self.plan.strip.restart();
        let turned = picture.shape.orientation != Orientation::UPRIGHT;
        let (columns, rows) = self.plan.stored;
        for y in 0..rows {
            sample_row(&mut self.plan, self.pixels, &picture, y, &mut self.rows);
            colour_row(self.pixels, picture.shape.colours, &mut self.rows);
            let [red, green, blue] = &self.rows.colours;
            if turned {
                for (plane, row) in self.canvas.chunks_exact_mut(columns * rows).zip([red, green, blue]) {
                    plane[y * columns..][..columns].copy_from_slice(row);
                }
            } else {
                let at = (self.plan.target.left as usize, self.plan.target.top as usize + y);
                self.normaliser.write_row([red, green, blue], at, &mut self.tensor);
            }
        }
        if turned {
            self.write_turned(picture.shape.orientation);
        }
        Ok(&self.tensor)
    }

    /// Makes everything ready for pictures of another shape.
    fn renew(&mut self, shape: &Shape) {
        self.plan.renew(shape, self.need.place((shape.region, shape.orientation)));
        let (columns, rows) = self.plan.stored;
        self.rows.blended.resize(self.plan.room + PADDING, 0);
        self.rows.spread.resize(self.plan.room + PADDING, 0);
        self.rows.samples.iter_mut().for_each(|samples| samples.resize(columns, 0));
        self.rows.colours.iter_mut().for_each(|colours| colours.resize(columns.max(rows), 0));
        self.rows.colours.iter_mut().for_each(|colours| colours.truncate(columns));
        if shape.orientation != Orientation::UPRIGHT {
            self.canvas.resize(columns * rows * 3, 0);
            self.canvas.truncate(columns * rows * 3);
        }
        if let ResizeRule::Letterbox { pad, .. } = self.need.rule {
            let border = vec![pad; self.need.tensor.width as usize];
            for y in 0..self.need.tensor.height as usize {
                self.normaliser.write_row([&border; 3], (0, y), &mut self.tensor);
            }
        }
        self.shape = Some(*shape);
    }

    fn write_turned(&mut self, orientation: Orientation) {
        let (stored, target) = (self.plan.stored, self.plan.target);
        let planes = self.canvas.chunks_exact(stored.0 * stored.1);
        for y in 0..target.height as usize {
            for (colour, plane) in self.rows.colours.iter_mut().zip(planes.clone()) {
                colour.resize(target.width as usize, 0);
                for (x, byte) in colour.iter_mut().enumerate() {
                    let (column, row) = orientation.stored((x, y), stored);
                    *byte = plane[row * stored.0 + column];
                }
            }
            let [red, green, blue] = &self.rows.colours;
            let at = (target.left as usize, target.top as usize + y);
            self.normaliser.write_row([red, green, blue], at, &mut self.tensor);
        }
        self.rows.colours.iter_mut().for_each(|colours| colours.resize(stored.0, 0));
    }
}

/// Row `y` of the target, as the stored picture has it, into `rows.samples`.
fn sample_row(plan: &mut Plan, pixels: Pixels, picture: &Picture<'_>, y: usize, rows: &mut Rows) {
    let (first, weights) = plan.rows.get(y);
    let bytes = match &picture.shape.colours {
        Colours::Ycc(matrix) => plan.strip.rows(pixels, picture, matrix, first..first + weights.len()),
        Colours::Rgb | Colours::Grey => &picture.bytes[0][first * plan.row.stride + plan.row.first_byte..],
    };
    let blended = &mut rows.blended;
    pixels.blend(bytes, plan.row.stride, weights, &mut blended[..plan.row.length]);
    let used = if picture.shape.colours == Colours::Grey { 1 } else { MOST };
    for (&offset, samples) in plan.offsets.iter().zip(&mut rows.samples).take(used) {
        let row = if plan.row.step == 1 {
            &blended[offset..]
        } else {
            pixels.spread(&blended[offset..plan.row.length], plan.row.step, &mut rows.spread[..plan.samples]);
            &rows.spread
        };
        pixels.resample(row, &plan.columns, samples);
    }
}

/// Red, green and blue of the row.
fn colour_row(pixels: Pixels, colours: Colours, rows: &mut Rows) {
    for (samples, colour) in rows.samples.iter().zip(&mut rows.colours) {
        pixels.round(samples, colour);
        if colours == Colours::Grey {
            break;
        }
    }
    if colours == Colours::Grey {
        let [grey, others @ ..] = &mut rows.colours;
        others.iter_mut().for_each(|other| other.copy_from_slice(grey));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Decoder;
    use crate::frame::{FrameView, Region};
    use crate::input::{Anchor, Layout};
    use crate::tensor::TensorData;

    fn bytes_of(spec: &InputSpec, frame: &FrameView<'_>) -> Vec<u8> {
        let mut decoder = Decoder::new();
        let mut preparer = Preparer::new(spec);
        match preparer.prepare(&decoder.decode(frame).unwrap()).unwrap().data() {
            TensorData::U8(bytes) => bytes.clone(),
            other => panic!("the test asks for bytes, and not {other:?}"),
        }
    }

    fn spec(size: u32, resize: ResizeRule) -> InputSpec {
        InputSpec { resize, ..InputSpec::u8_nhwc(size) }
    }

    #[test]
    fn an_image_of_the_tensors_size_is_not_changed() {
        let pixels: Vec<u8> = (0..8 * 8 * 3).map(|n| n as u8).collect();
        let frame = FrameView::rgb24(8, 8, &pixels);
        assert_eq!(bytes_of(&spec(8, ResizeRule::ShortSide { short_side: 8 }), &frame), pixels);
        assert_eq!(bytes_of(&spec(8, ResizeRule::Squash), &frame), pixels);
    }

    #[test]
    fn a_letterbox_fills_its_border() {
        let frame = FrameView::rgb24(4, 2, &[200; 24]);
        let resize = ResizeRule::Letterbox { pad: 114, anchor: Anchor::TopLeft };
        let bytes = bytes_of(&spec(4, resize), &frame);
        assert!(bytes[..24].iter().all(|&byte| byte == 200), "{bytes:?}");
        assert!(bytes[24..].iter().all(|&byte| byte == 114), "{bytes:?}");
    }

    #[test]
    fn pixels_outside_the_region_leave_no_trace() {
        let mut pixels = vec![255; 16 * 16 * 3];
        for y in 4..12 {
            pixels[(y * 16 + 4) * 3..(y * 16 + 12) * 3].fill(10);
        }
        let frame =
            FrameView { region: Some(Region { x: 4, y: 4, width: 8, height: 8 }), ..FrameView::rgb24(16, 16, &pixels) };
        for resize in [ResizeRule::Squash, ResizeRule::ShortSide { short_side: 6 }] {
            assert!(bytes_of(&spec(6, resize), &frame).iter().all(|&byte| byte == 10));
        }
    }

    #[test]
    fn thin_images_are_classified_too() {
        let pixels = vec![50; 3 * 3000];
        for (width, height) in [(1, 3000), (3000, 1)] {
            let frame = FrameView::rgb24(width, height, &pixels);
            let bytes = bytes_of(&spec(32, ResizeRule::ShortSide { short_side: 37 }), &frame);
            assert!(bytes.iter().all(|&byte| byte == 50));
        }
    }

    #[test]
    fn an_oblong_tensor_is_filled_row_by_row() {
        let spec = InputSpec { width: 2, height: 1, layout: Layout::Nchw, ..spec(2, ResizeRule::Squash) };
        let frame = FrameView::rgb24(2, 1, &[1, 2, 3, 4, 5, 6]);
        assert_eq!(bytes_of(&spec, &frame), [1, 4, 2, 5, 3, 6]);
    }
}

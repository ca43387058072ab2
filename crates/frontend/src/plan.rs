//! Which samples make which pixel of the tensor: the weights of one resampling, computed once for each kind of frame.

use margay_kernels::pixels::{TAPS, Taps, WEIGHT_BITS};

use crate::frame::Region;
use crate::geometry::{Placement, SourceBox, TargetBox};
use crate::orientation::Orientation;
use crate::picture::{Colours, MOST, Samples, Shape};
use crate::strip::Strip;

/// The bytes of a row that are blended.
#[derive(Debug, Default)]
pub(crate) struct Row {
    /// From one row to the next.
    pub(crate) stride: usize,
    pub(crate) first_byte: usize,
    pub(crate) length: usize,
    /// From one sample of a channel to the next.
    pub(crate) step: usize,
}

/// The whole resampling of pictures of one shape.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// By the number of the row of samples.
    pub(crate) rows: Taps,
    pub(crate) row: Row,
    /// Where each channel begins among the blended bytes.
    pub(crate) offsets: [usize; MOST],
    /// Samples of each channel among them.
    pub(crate) samples: usize,
    pub(crate) columns: Taps,
    /// Where rows of Y, Cb and Cr are converted before they are blended.
    pub(crate) strip: Strip,
    /// Where the pixels go, as the tensor has them.
    pub(crate) target: TargetBox,
    /// Columns and rows of the target as the stored picture has them.
    pub(crate) stored: (usize, usize),
    /// Samples that padded weights reach.
    pub(crate) room: usize,
    scratch: Scratch,
}

/// Memory for the weights of one sample.
#[derive(Debug, Default)]
struct Scratch {
    weights: Vec<f64>,
    whole: Vec<i16>,
}

impl Plan {
    /// Computes the weights for pictures of `shape`; memory is reused.
    pub(crate) fn renew(&mut self, shape: &Shape, placement: Placement) {
        let (source, (columns, rows)) = stored_box((shape.region, shape.orientation), placement);
        self.target = placement.target;
        self.stored = (columns, rows);
        let region = shape.region;
        let across = Axis { start: source.left, length: source.width, edge: (region.x, region.width), out: columns };
        let down = Axis { start: source.top, length: source.height, edge: (region.y, region.height), out: rows };
        let Some(sheet) = &shape.sheets[0] else { return };
        down.weigh(sheet.rows, &mut self.rows, &mut self.scratch);
        let Some(first) = &sheet.channels[0] else { return };
        across.weigh(first.samples, &mut self.columns, &mut self.scratch);
        let span = self.columns.span();
        match shape.colours {
            Colours::Ycc(_) => {
                self.strip.renew(shape, span.0..span.1, self.rows.longest());
                self.columns.move_back(self.strip.first());
                let length = self.strip.length();
                self.row = Row { stride: 3 * length, first_byte: 0, length: 3 * length, step: 1 };
                self.offsets = [0, length, 2 * length];
            }
            Colours::Rgb | Colours::Grey => {
                self.columns.move_back(span.0);
                let ahead = (span.0 - first.samples.first) * first.step;
                let length = (span.1 - span.0 - 1) * first.step + sheet.channels.iter().flatten().count();
                self.row = Row { stride: sheet.stride, first_byte: ahead, length, step: first.step };
                self.offsets = sheet.channels.map(|channel| channel.map_or(0, |channel| channel.offset));
            }
        }
        self.samples = span.1 - span.0;
        self.room = self.row.length.max(self.offsets[2] + self.columns.reach());
    }
}

/// The source box and the target's columns and rows as the stored picture has them, in the whole image.
pub(crate) fn stored_box(
    (region, orientation): (Region, Orientation),
    Placement { source, target }: Placement,
) -> (SourceBox, (usize, usize)) {
    let Orientation { transposed, reversed_x, reversed_y } = orientation;
    let SourceBox { mut left, mut top, mut width, mut height } = source;
    let (mut columns, mut rows) = (target.width as usize, target.height as usize);
    if transposed {
        (left, top, width, height) = (top, left, height, width);
        (columns, rows) = (rows, columns);
    }
    if reversed_x {
        left = f64::from(region.width) - left - width;
    }
    if reversed_y {
        top = f64::from(region.height) - top - height;
    }
    let (left, top) = (left + f64::from(region.x), top + f64::from(region.y));
    (SourceBox { left, top, width, height }, (columns, rows))
}

/// One direction of a resampling.
struct Axis {
    /// Where the box begins in the image, in pixels.
    start: f64,
    /// Its length in pixels.
    length: f64,
    /// First pixel and number of pixels that may be looked at.
    edge: (u32, u32),
    /// Pixels that come out.
    out: usize,
}

impl Axis {
    /// Weights of a triangle as wide as the pixels that come out are apart, at least as those that go in are: bilinear
    /// with antialiasing, as Pillow computes it (`libImaging/Resample.c`, `precompute_coeffs`).
    fn weigh(&self, samples: Samples, taps: &mut Taps, scratch: &mut Scratch) {
        let scale = self.length * samples.density / self.out as f64;
        let support = scale.max(1.0);
        let lowest = (f64::from(self.edge.0) * samples.density).floor() as usize;
        let highest = (f64::from(self.edge.0 + self.edge.1) * samples.density).ceil() as usize;
        let lowest = lowest.max(samples.first);
        let highest = highest.min(samples.first + samples.length).max(lowest + 1);
        let most = (2.0 * support).ceil() as usize + 2;
        taps.clear(most.min(highest - lowest).div_ceil(TAPS));
        for index in 0..self.out {
            let centre = self.start * samples.density + (index as f64 + 0.5) * scale;
            let start = ((centre - support + 0.5).max(0.0) as usize).clamp(lowest, highest - 1);
            let end = ((centre + support + 0.5).max(0.0) as usize).clamp(start + 1, highest);
            let weight = |sample: usize| (1.0 - ((sample as f64 + 0.5 - centre) / support).abs()).max(0.0);
            scratch.weights.clear();
            scratch.weights.extend((start..end).map(weight));
            whole_weights(&scratch.weights, &mut scratch.whole);
            taps.push(start as u32, &scratch.whole);
        }
    }
}

/// Weights that add up to one, in units of 2^-14. Each is the step that their running sum takes, so that no error adds up,
/// however many there are.
fn whole_weights(weights: &[f64], whole: &mut Vec<i16>) {
    let total: f64 = weights.iter().sum();
    let unit = f64::from(1 << WEIGHT_BITS);
    let (mut sum, mut before) = (0.0, 0.0);
    whole.clear();
    if total <= 0.0 {
        // The box lies outside of what there is, by less than a pixel: the nearest sample stands for it.
        whole.push(1 << WEIGHT_BITS);
        return;
    }
    for weight in weights {
        sum += weight;
        let now = (sum / total * unit).round();
        whole.push((now - before) as i16);
        before = now;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn weights(axis: &Axis, samples: Samples) -> Vec<(usize, Vec<i16>)> {
        let mut taps = Taps::default();
        axis.weigh(samples, &mut taps, &mut Scratch::default());
        (0..taps.len()).map(|index| (taps.get(index).0, taps.get(index).1.to_vec())).collect()
    }

    #[test]
    fn a_row_of_its_own_length_is_left_alone() {
        let axis = Axis { start: 0.0, length: 4.0, edge: (0, 4), out: 4 };
        for (index, (start, weights)) in weights(&axis, Samples::full(4)).into_iter().enumerate() {
            let at = weights.iter().position(|&weight| weight == 1 << WEIGHT_BITS).unwrap();
            assert_eq!((start + at, weights.iter().filter(|&&weight| weight != 0).count()), (index, 1));
        }
    }

    #[test]
    fn halving_weighs_four_pixels_as_a_triangle() {
        let axis = Axis { start: 0.0, length: 8.0, edge: (0, 8), out: 4 };
        assert_eq!(weights(&axis, Samples::full(8))[1], (1, vec![2048, 6144, 6144, 2048]));
    }

    proptest! {
        #[test]
        fn weights_add_up_to_one_and_stay_inside(
            side in 1u32..20_000, first in 0.0f64..0.9, part in 0.01f64..1.0, out in 1usize..300, half in any::<bool>()
        ) {
            let start = first * f64::from(side);
            let length = (f64::from(side) - start) * part;
            let samples = if half { Samples::half(side) } else { Samples::full(side) };
            let axis = Axis { start, length, edge: (0, side), out };
            for (start, weights) in weights(&axis, samples) {
                prop_assert!(start + weights.len() <= samples.length);
                prop_assert_eq!(weights.iter().map(|&weight| i32::from(weight)).sum::<i32>(), 1 << WEIGHT_BITS);
            }
        }
    }
}

//! A 3 × 3 convolution of bytes of stride 1 by Winograd's method: how its weights are packed, and when. As
//! `program/winograd.rs`, but exact, because it is done in whole numbers (`kernel/bytes/winograd.rs`). Of few channels by
//! patches of 4 × 4 pixels, of many by 2 × 2, whose weights, 3.6 times the bytes of those of the direct convolution and not
//! 8, stay in a cache, or come from memory in time because they are asked for ahead. `program/bytes/patches.rs` computes it.

use super::convolution::{ByteConvolution, Finishing, STEP as CONVOLUTION};
use super::pack::{Bytes, Filters, biased};
use crate::block::Form;
use crate::error::PlanError;
use crate::floats::Floats;
use crate::kernel::bytes::pairs::{PAIR_STEP, PairSet};
use crate::kernel::bytes::winograd::{Ends, FOUR, Size};
use crate::layout::{LANES, Shape};
use crate::program::shelf::{Shelf, Weights};
use crate::program::window::Window;

/// Floats of the planes of one batch: 600 KiB, a part of the second cache.
const BATCH_FLOATS: usize = 150 << 10;

/// Of large patches, whose weights come from memory where they are many: those of a batch are then as large as this part of the
/// weights, which would be read again for the next.
const WEIGHTS_PART: usize = 4;

/// Input channels for which it is faster: at 512, whose weights come from memory, it takes half the direct convolution's time.
const CHANNELS: std::ops::RangeInclusive<usize> = 16..=512;

/// Bytes of one block's weights for one word: two input channels.
pub(crate) const WORD_BYTES: usize = 64;

/// By which patches a convolution can, and should, be computed this way. Shapes leave some; which of them the weights allow
/// is noted on the shelf, or was by an earlier start: as the pixels of a side, 0 for none.
pub(crate) fn suits(
    layer: &ByteConvolution<'_>,
    ([input, output], zero): ([Shape; 2], u8),
    set: &'static PairSet,
    shelf: &mut Shelf,
) -> Result<Option<&'static Ends>, PlanError> {
    let window = Window { padding: layer.window.padding, ..Window::square(3, 1, 0) };
    let suits = layer.window == window
        && layer.groups == 1
        && CHANNELS.contains(&input.channels)
        && output.channels >= LANES
        && output.height >= FOUR.output
        && output.width >= FOUR.output;
    if !suits {
        return Ok(None);
    }
    let all: [&'static Ends; 2] = [&set.four, &set.two];
    let mut left = all.into_iter().skip(usize::from(input.channels > set.most_of_four));
    let side = |ends: &Ends| ends.size.output as i32;
    if let Some(noted) = shelf.take_numbers(1)? {
        let found = left.find(|ends| noted == [side(ends)]);
        let refuse = || PlanError::step("kept weights", format!("they are of patches of {noted:?}"));
        return if noted == [0] { Ok(None) } else { found.map(Some).ok_or_else(refuse) };
    }
    let filters = filters(layer, input, output);
    let found = left.find(|ends| filters.are_whole(ends.size, zero));
    shelf.put_numbers(&[found.map_or(0, side)]);
    Ok(found)
}

fn filters<'a>(layer: &ByteConvolution<'a>, input: Shape, output: Shape) -> Filters<'a> {
    let (outputs, of_group) = (output.channels, input.channels);
    Filters { weights: layer.weights, outputs, of_group, to_group: outputs, window: layer.window }
}

impl Filters<'_> {
    /// Whether every sum of products with bytes less an unsigned zero comes out whole.
    fn are_whole(&self, size: &Size, zero: u8) -> bool {
        (0..self.outputs).all(|output| {
            let (sum, magnitude) = self.sums(output);
            let [above, below] = [(magnitude + sum) / 2, (magnitude - sum) / 2];
            let [most, least] = [255 - i64::from(zero), i64::from(zero)];
            above * most + below * least < size.largest && above * least + below * most < size.largest
        })
    }
}

/// Output channels that are computed together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Band {
    pub(crate) block: usize,
    pub(crate) blocks: usize,
    /// Where its weights begin in a plane, in bytes.
    pub(crate) weights: usize,
}

/// What does not depend on where the tensors lie.
#[derive(Debug)]
pub(crate) struct PackedByteWinograd {
    pub(crate) padding: [usize; 2],
    /// Channel blocks of the input and of the output.
    pub(crate) blocks: [usize; 2],
    pub(crate) bands: Vec<Band>,
    /// For each plane, for each band, for each pair of input channels, the channels of the band.
    pub(crate) weights: Weights,
    pub(crate) bias: Vec<i32>,
    pub(crate) factors: Floats,
    /// What the products begin with.
    pub(crate) zeros: Vec<i32>,
    pub(crate) finishing: Finishing,
    pub(crate) batch: usize,
    pub(crate) ends: &'static Ends,
    pub(crate) set: &'static PairSet,
}

impl PackedByteWinograd {
    pub(crate) fn floats(&self) -> usize {
        self.weights.len() + self.bias.len() + self.factors.len()
    }

    /// Numbers of a transformed patch.
    pub(crate) fn planes(&self) -> usize {
        self.ends.size.patch * self.ends.size.patch
    }

    /// Bytes of one plane of weights.
    pub(crate) fn plane(&self) -> usize {
        self.blocks[0] * self.blocks[1] * PAIR_STEP * WORD_BYTES
    }

    /// Floats from a plane of so many patches to the next: a line more than it holds, so that the planes do not all fall
    /// into the same sets of the cache.
    pub(crate) fn stride(&self, end: usize, patches: usize) -> usize {
        self.blocks[end] * patches * PIXEL[end] + LANES
    }

    /// Floats that a thread needs for one batch.
    pub(crate) fn scratch(&self) -> usize {
        self.planes() * (self.stride(0, self.batch) + self.stride(1, self.batch))
    }
}

/// Floats of sixteen channels of the transformed input, in sixteen bits, and of the sums.
pub(crate) const PIXEL: [usize; 2] = [PAIR_STEP, LANES];

/// Transforms and packs the weights.
pub(crate) fn pack(
    layer: &ByteConvolution<'_>,
    [input, output]: [Shape; 2],
    finishing: Finishing,
    (set, ends): (&'static PairSet, &'static Ends),
    shelf: &mut Shelf,
) -> Result<PackedByteWinograd, PlanError> {
    let filters = filters(layer, input, output);
    let planes = ends.size.patch * ends.size.patch;
    let blocks = [input, output].map(|shape| shape.channels.div_ceil(LANES));
    let mut bands = Vec::new();
    let (mut block, mut at) = (0, 0);
    while block < blocks[1] {
        let size = set.blocks.iter().copied().find(|&size| size <= blocks[1] - block).unwrap_or(1);
        bands.push(Band { block, blocks: size, weights: at });
        (block, at) = (block + size, at + size * WORD_BYTES * blocks[0] * PAIR_STEP);
    }
    let floats = Bytes::check(at.saturating_mul(planes))?;
    let (bias, weights) = match (shelf.take_numbers(blocks[1] * LANES)?, shelf.take(floats)?) {
        (Some(bias), Some(weights)) => (bias, weights),
        _ => {
            // The bytes are transformed less their zero, which then contributes nothing.
            let bias = biased(CONVOLUTION, &filters, layer.bias, 0, layer.factors)?;
            shelf.put_numbers(&bias);
            (bias, shelf.put(fill((layer.weights, input.channels), &bands, (ends.size, at), set.form)?.into_floats()))
        }
    };
    let mut factors = Floats::zeroed(output.channels);
    factors.as_mut_slice()[..output.channels].copy_from_slice(layer.factors);
    let of_batch = if ends.size.output == FOUR.output { BATCH_FLOATS.max(floats / WEIGHTS_PART) } else { BATCH_FLOATS };
    let fitting = of_batch / (planes * (PIXEL[0] * blocks[0] + PIXEL[1] * blocks[1]));
    let patches: usize = [output.height, output.width].map(|side| side.div_ceil(ends.size.output)).iter().product();
    let batch = (fitting / set.pixels * set.pixels).max(set.pixels).min(patches);
    let zeros = vec![0; set.blocks.iter().max().map_or(LANES, |blocks| blocks * LANES)];
    let padding = layer.window.padding;
    Ok(PackedByteWinograd { padding, blocks, bands, weights, bias, factors, zeros, finishing, batch, ends, set })
}

/// The transformed weights of all bands, in planes of `at` bytes.
fn fill(
    (filters, inputs): (&[i16], usize),
    bands: &[Band],
    (size, at): (&'static Size, usize),
    form: Form,
) -> Result<Bytes, PlanError> {
    let mut weights = Bytes::zeroed(at.saturating_mul(size.patch * size.patch))?;
    let packed = weights.as_mut_slice();
    for (number, filter) in filters.as_chunks::<9>().0.iter().enumerate() {
        let (output, input) = (number / inputs, number % inputs);
        let Some(band) = bands.iter().rfind(|band| band.block * LANES <= output) else { continue };
        let Some(places) = form.of_sixteen(output % LANES) else { continue };
        let block = input / 2 * band.blocks + output / LANES - band.block;
        let place = band.weights + block * WORD_BYTES + places[input % 2];
        for (plane, weight) in transformed(filter, size).enumerate() {
            let to = plane * at + place;
            packed[to..to + 2].copy_from_slice(&weight.to_le_bytes());
        }
    }
    Ok(weights)
}

/// A 3 × 3 filter as the weights of all planes: below 49 · 255 for weights of up to 255, and so of sixteen bits.
fn transformed(filter: &[i16; 9], size: &'static Size) -> impl Iterator<Item = i16> {
    (0..size.patch * size.patch).map(|plane| {
        let [row, column] = [plane / size.patch, plane % size.patch].map(|at| size.filter[at]);
        (0..9).map(|at| row[at / 3] * i32::from(filter[at]) * column[at % 3]).sum::<i32>() as i16
    })
}

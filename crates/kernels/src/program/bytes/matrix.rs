//! A dense convolution of bytes by a matrix unit: when, and how its weights are packed. `matrix/step.rs` computes it, strip
//! by strip of the output: a thread gathers the pixels that a strip's windows see, sixty-four channels side by side, and then
//! every element of the window is a place among them, from where on the pixels of the whole strip follow one another.

pub(crate) mod step;
mod strip;

use super::convolution::{ByteConvolution, Finishing, STEP as CONVOLUTION};
use super::pack::{Bytes, Filters, biased};
use crate::block::Form;
use crate::error::PlanError;
use crate::floats::Floats;
use crate::kernel::bytes::matrix::{DEPTH, MatrixSet, ROWS, SIDE, TILE};
use crate::layout::{LANES, Shape};
use crate::program::shelf::{Shelf, Weights};
use strip::Strip;

pub(crate) const STEP: &str = "quantised matrix convolution";

/// Input channels from which on it is faster: a product of fewer is mostly one with zeros.
const CHANNELS: usize = 24;

/// What does not depend on where the tensors lie.
#[derive(Debug)]
pub(crate) struct PackedMatrix {
    pub(crate) strip: Strip,
    /// Channel blocks of the input and of the output.
    blocks: [usize; 2],
    /// Whether the input is a picture.
    is_picture: bool,
    /// For each two blocks of the output, for each place, [`TILE`] bytes for each block.
    weights: Weights,
    bias: Vec<i32>,
    factors: Floats,
    finishing: Finishing,
    set: &'static MatrixSet,
}

impl PackedMatrix {
    pub(crate) fn floats(&self) -> usize {
        self.weights.len() + self.bias.len() + self.factors.len()
    }

    /// Floats that a thread needs for the sums, and behind them for the pixels of a strip.
    pub(crate) fn scratch(&self) -> usize {
        SUMS + self.strip.bytes() / size_of::<f32>()
    }

    pub(crate) fn writes_floats(&self) -> bool {
        matches!(self.finishing, Finishing::Floats(_))
    }

    /// Bands of the output: two blocks each, but for the last one of an odd number.
    fn bands(&self) -> usize {
        self.blocks[1].div_ceil(SIDE)
    }

    /// The first block of a band, how many it has, and where its weights begin, in bytes.
    fn band(&self, number: usize) -> (usize, usize, usize) {
        let block = number * SIDE;
        (block, (self.blocks[1] - block).min(SIDE), block * self.strip.places.len() * TILE)
    }
}

/// Floats of the sums of one call.
const SUMS: usize = SIDE * SIDE * ROWS * LANES;

/// Whether a convolution can, and should, be computed this way. Shapes leave some; whether the weights allow it is noted on
/// the shelf, or was by an earlier start.
pub(crate) fn suits(
    layer: &ByteConvolution<'_>,
    ([input, output], is_picture): ([Shape; 2], bool),
    shelf: &mut Shelf,
) -> Result<Option<Strip>, PlanError> {
    let suits = layer.groups == 1 && output.channels >= LANES && output.pixels() >= ROWS;
    let strip = match is_picture {
        _ if !suits => None,
        true => Strip::of_picture(&layer.window, output),
        false if input.channels < CHANNELS => None,
        false => Strip::of_blocks(&layer.window, input, output),
    };
    let Some(strip) = strip else { return Ok(None) };
    if let Some(noted) = shelf.take_numbers(1)? {
        return match noted[0] {
            0 => Ok(None),
            1 => Ok(Some(strip)),
            _ => Err(PlanError::step("kept weights", format!("whether they are bytes is {noted:?}"))),
        };
    }
    let are_bytes = filters(layer, input, output).passes(Form::Bytes) == 1;
    shelf.put_numbers(&[i32::from(are_bytes)]);
    Ok(are_bytes.then_some(strip))
}

fn filters<'a>(layer: &ByteConvolution<'a>, input: Shape, output: Shape) -> Filters<'a> {
    let (outputs, of_group) = (output.channels, input.channels);
    Filters { weights: layer.weights, outputs, of_group, to_group: outputs, window: layer.window }
}

/// Packs the weights of a convolution whose input's zero is this unsigned byte.
pub(crate) fn pack(
    layer: &ByteConvolution<'_>,
    ([input, output], is_picture, zero): ([Shape; 2], bool, u8),
    finishing: Finishing,
    (set, strip): (&'static MatrixSet, Strip),
    shelf: &mut Shelf,
) -> Result<PackedMatrix, PlanError> {
    let filters = filters(layer, input, output);
    let blocks = [if is_picture { 1 } else { input.channels.div_ceil(LANES) }, output.channels.div_ceil(LANES)];
    let bytes = strip.places.len().saturating_mul(blocks[1] * TILE);
    let (bias, weights) = match (shelf.take_numbers(blocks[1] * LANES)?, shelf.take(Bytes::check(bytes)?)?) {
        (Some(bias), Some(weights)) => (bias, weights),
        _ => {
            let bias = biased(CONVOLUTION, &filters, layer.bias, i32::from(zero), layer.factors)?;
            shelf.put_numbers(&bias);
            (bias, shelf.put(fill(&filters, &strip, (blocks[1], is_picture))?.into_floats()))
        }
    };
    let mut factors = Floats::zeroed(blocks[1] * LANES);
    factors.as_mut_slice()[..output.channels].copy_from_slice(layer.factors);
    Ok(PackedMatrix { strip, blocks, is_picture, weights, bias, factors, finishing, set })
}

/// The weights in the order in which they are multiplied: of each product, for each four input channels, those of each
/// output channel.
fn fill(filters: &Filters<'_>, strip: &Strip, (blocks, is_picture): (usize, bool)) -> Result<Bytes, PlanError> {
    let ([rows, columns], places) = (filters.window.kernel, strip.places.len());
    let mut bytes = Bytes::zeroed(places * blocks * TILE)?;
    let packed = bytes.as_mut_slice();
    for (filter, weights) in filters.weights.chunks_exact(rows * columns).enumerate() {
        let (output, channel) = (filter / filters.of_group, filter % filters.of_group);
        let (block, lane) = (output / LANES, output % LANES);
        let first = block / SIDE * SIDE;
        let of_band = (blocks - first).min(SIDE);
        for (tap, &weight) in weights.iter().enumerate() {
            let (place, byte) = strip.product(channel, [tap / columns, tap % columns], is_picture);
            let tile = first * places + place * of_band + (block - first);
            packed[tile * TILE + byte / 4 * DEPTH + lane * 4 + byte % 4] = (weight as i8).cast_unsigned();
        }
    }
    Ok(bytes)
}

//! The weights of a dense convolution, packed in the order in which its tiles go over the input, and that order.

use std::ops::Range;

use super::convolution::Convolution;
use super::region::Region;
use super::shelf::{Shelf, Weights};
use super::tiles::cut;
use super::window::Window;
use crate::activation::Activation;
use crate::error::PlanError;
use crate::floats::Floats;
use crate::kernel::set::{HALF, KernelSet, Square};
use crate::kernel::tile::Run;
use crate::layout::{LANES, MAX_FLOATS};

/// One element of the window of one input channel.
#[derive(Debug, Clone, Copy)]
struct Tap {
    channel: usize,
    row: usize,
    column: usize,
}

/// Output channels that are computed together.
#[derive(Debug, Clone)]
pub(super) struct Band {
    /// First block of the output.
    pub(super) block: usize,
    /// Channels that are computed: whole blocks, or half of one.
    pub(super) lanes: usize,
    /// Input channels that these see.
    pub(super) channels: Range<usize>,
    /// Where its packed weights begin.
    pub(super) weights: usize,
}

impl Band {
    /// Blocks of the output that it writes to, the last perhaps by half.
    pub(super) fn blocks(&self) -> usize {
        self.lanes.div_ceil(LANES)
    }
}

/// What does not depend on where the tensors lie.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(super) window: Window,
    pub(super) bands: Vec<Band>,
    pub(crate) weights: Weights,
    pub(super) bias: Floats,
    /// Whether the input is planar.
    pub(super) is_planar: bool,
    pub(crate) activation: Activation,
}

impl Packed {
    /// Blocks of the bands that have most.
    pub(super) fn blocks(&self) -> usize {
        self.bands.iter().map(Band::blocks).max().unwrap_or(1)
    }
}

/// Of the pixels that square tiles have room for, tenths that a picture must fill: else weights are read for each of more tiles.
const FULL: usize = 9;

/// Channel blocks of the tiles of so many channels of rows and columns, largest first.
pub(super) fn heights(channels: usize, [rows, columns]: [usize; 2], set: &KernelSet) -> Vec<usize> {
    let fills = |square: &&Square| {
        channels.is_multiple_of(square.blocks * LANES)
            && rows * columns * 10 >= cut(rows, columns, square.pixels).len() * square.pixels * FULL
    };
    set.squares.iter().filter(fills).map(|square| square.blocks).chain(set.blocks.iter().copied()).collect()
}

/// Packs the weights of a convolution of `inputs` channels to `outputs`, for an output of rows and columns.
pub(crate) fn pack(
    layer: &Convolution<'_>,
    [inputs, outputs]: [usize; 2],
    is_planar: bool,
    pixels: [usize; 2],
    (set, shelf): (&KernelSet, &mut Shelf),
) -> Result<Packed, PlanError> {
    let window = layer.window;
    let (of_group, to_group) = (inputs / layer.groups, outputs / layer.groups);
    let (mut sizes, is_tall) = (heights(outputs, pixels, set), pixels == [1, 1]);
    if is_tall {
        sizes.splice(0..0, set.tall_blocks.iter().copied());
    }
    let mut bands = Vec::new();
    let (mut done, mut floats) = (0, 0_usize);
    while done < outputs {
        let left = outputs - done;
        // Bands of several blocks see the same channels, which they do without groups.
        let whole = if layer.groups == 1 { sizes.iter().copied().find(|size| size * LANES <= left) } else { None };
        let lanes = match whole {
            Some(blocks) => blocks * LANES,
            None if left <= HALF && layer.groups == 1 && !is_tall => HALF,
            None => LANES,
        };
        let last = (outputs - 1).min(done + lanes - 1);
        let channels = done / to_group * of_group..(last / to_group + 1) * of_group;
        let taps = channels.len() * window.kernel[0] * window.kernel[1];
        bands.push(Band { block: done / LANES, lanes, channels, weights: floats });
        floats = taps.saturating_mul(lanes).saturating_add(floats);
        if floats > MAX_FLOATS {
            return Err(PlanError::Memory { floats, limit: MAX_FLOATS });
        }
        done += lanes;
    }
    let weights = match shelf.take(floats)? {
        Some(kept) => kept,
        None => shelf.put(fill(layer, (of_group, to_group, outputs), &bands, is_planar, floats)),
    };
    let mut bias = Floats::zeroed(outputs.next_multiple_of(LANES));
    bias.as_mut_slice()[..layer.bias.len()].copy_from_slice(layer.bias);
    Ok(Packed { window, bands, weights, bias, is_planar, activation: layer.activation })
}

/// The weights of all bands, in so many floats.
fn fill(
    layer: &Convolution<'_>,
    (of_group, to_group, outputs): (usize, usize, usize),
    bands: &[Band],
    is_planar: bool,
    floats: usize,
) -> Floats {
    let window = layer.window;
    let mut weights = Floats::zeroed(floats);
    for band in bands {
        let packed = &mut weights.as_mut_slice()[band.weights..];
        for (tap, row) in taps(&window, band.channels.clone(), is_planar).zip(packed.chunks_exact_mut(band.lanes)) {
            for (lane, weight) in row.iter_mut().enumerate() {
                let output = band.block * LANES + lane;
                let seen = output / to_group * of_group;
                if output < outputs && (seen..seen + of_group).contains(&tap.channel) {
                    let filter = output * of_group + tap.channel - seen;
                    *weight = layer.weights[(filter * window.kernel[0] + tap.row) * window.kernel[1] + tap.column];
                }
            }
        }
    }
    weights
}

/// The window's elements in the order in which runs go over them.
fn taps(window: &Window, channels: Range<usize>, is_planar: bool) -> Box<dyn Iterator<Item = Tap>> {
    let [rows, columns] = window.kernel;
    let places = move || (0..rows).flat_map(move |row| (0..columns).map(move |column| (row, column)));
    if is_planar {
        return Box::new(
            channels.flat_map(move |channel| places().map(move |(row, column)| Tap { channel, row, column })),
        );
    }
    Box::new(in_blocks(channels).flat_map(move |part| {
        places().flat_map(move |(row, column)| part.clone().map(move |channel| Tap { channel, row, column }))
    }))
}

/// A range of channels, cut where blocks end.
fn in_blocks(channels: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    (channels.start / LANES..channels.end.div_ceil(LANES))
        .map(move |block| channels.start.max(block * LANES)..channels.end.min((block + 1) * LANES))
}

/// Where a window's elements lie, from its first float on; the order is that of [`taps`].
pub(super) fn runs(packed: &Packed, channels: Range<usize>, input: &Region) -> Vec<Run> {
    let (window, layout) = (&packed.window, &input.layout);
    let [rows, columns] = window.kernel;
    let mut runs = Vec::new();
    let mut push = |offset: usize, length: usize| runs.push(Run { offset: offset as u32, length: length as u32 });
    if packed.is_planar {
        for channel in channels {
            for row in 0..rows {
                let from = channel * layout.block() + row * window.dilation[0] * layout.row();
                if window.dilation[1] == 1 {
                    push(from, columns);
                } else {
                    (0..columns).for_each(|column| push(from + column * window.dilation[1], 1));
                }
            }
        }
        return runs;
    }
    for part in in_blocks(channels) {
        let from = part.start / LANES * layout.block() + part.start % LANES;
        for row in 0..rows {
            for column in 0..columns {
                let place = row * window.dilation[0] * layout.row() + column * window.dilation[1] * LANES;
                push(from + place, part.len());
            }
        }
    }
    runs
}

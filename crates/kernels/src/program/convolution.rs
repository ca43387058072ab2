//! A dense convolution: how its weights are packed, which runs its tiles follow, and the proof that they stay inside.

use std::ops::Range;

use super::arena::Floats;
use super::builder::View;
use super::region::Region;
use super::step::{Step, Worker, proven};
use super::tiles::{Tile, cut};
use super::window::Window;
use crate::activation::Activation;
use crate::error::PlanError;
use crate::kernel::pointwise::{Operand, PointwiseCall};
use crate::kernel::set::{KernelSet, LOOSE_PIXELS, TILE_STEPS};
use crate::kernel::tile::{Run, TileCall, TileKernel};
use crate::layout::{LANES, MAX_FLOATS};

pub(crate) const STEP: &str = "convolution";

/// Packed weights that stay in the second-level cache, in bytes: below, all channels of a tile are computed before the
/// next tile, above, all tiles of a few channels.
const CACHED_BYTES: usize = 400 << 10;

/// A convolution, or a fully connected layer as one whose window is the whole picture.
#[derive(Debug, Clone, Copy)]
pub struct Convolution<'a> {
    /// What is read.
    pub input: View,
    /// What is written.
    pub output: View,
    /// Added before the activation; of the output's shape.
    pub residual: Option<View>,
    /// `[output channels][input channels of a group][rows][columns]`, as ONNX has it.
    pub weights: &'a [f32],
    /// One number for each output channel; none at all means zeros.
    pub bias: &'a [f32],
    /// How it looks at the input.
    pub window: Window,
    /// Groups of channels that do not see one another; as many as channels is a depthwise convolution.
    pub groups: usize,
    /// What follows.
    pub activation: Activation,
}

/// One element of the window of one input channel.
#[derive(Debug, Clone, Copy)]
struct Tap {
    channel: usize,
    row: usize,
    column: usize,
}

/// Output channels that are computed together.
#[derive(Debug, Clone)]
struct Band {
    /// First block of the output.
    block: usize,
    blocks: usize,
    /// Input channels that these see.
    channels: Range<usize>,
    /// Where its packed weights begin.
    weights: usize,
}

/// What does not depend on where the tensors lie.
#[derive(Debug)]
pub(crate) struct Packed {
    window: Window,
    bands: Vec<Band>,
    pub(crate) weights: Floats,
    bias: Floats,
    /// Whether the input is planar.
    is_planar: bool,
    pub(crate) activation: Activation,
}

/// Packs the weights of a convolution of `inputs` channels to `outputs`, of which a single pixel comes out where `is_tall`.
pub(crate) fn pack(
    layer: &Convolution<'_>,
    [inputs, outputs]: [usize; 2],
    is_planar: bool,
    is_tall: bool,
    set: &KernelSet,
) -> Result<Packed, PlanError> {
    let window = layer.window;
    let (of_group, to_group) = (inputs / layer.groups, outputs / layer.groups);
    let sizes: Vec<usize> = if is_tall { [set.tall_blocks, set.blocks].concat() } else { set.blocks.to_vec() };
    let mut bands = Vec::new();
    let (mut block, mut floats) = (0, 0_usize);
    while block * LANES < outputs {
        let left = outputs.div_ceil(LANES) - block;
        let is_whole = layer.groups == 1;
        let blocks = if is_whole { sizes.iter().copied().find(|&size| size <= left).unwrap_or(1) } else { 1 };
        let last = (outputs - 1).min((block + blocks) * LANES - 1);
        let channels = block * LANES / to_group * of_group..(last / to_group + 1) * of_group;
        let taps = channels.len() * window.kernel[0] * window.kernel[1];
        bands.push(Band { block, blocks, channels, weights: floats });
        floats = taps.saturating_mul(blocks * LANES).saturating_add(floats);
        if floats > MAX_FLOATS {
            return Err(PlanError::Memory { floats, limit: MAX_FLOATS });
        }
        block += blocks;
    }
    let mut weights = Floats::zeroed(floats);
    for band in &bands {
        let width = band.blocks * LANES;
        let packed = &mut weights.as_mut_slice()[band.weights..];
        for (tap, row) in taps(&window, band.channels.clone(), is_planar).zip(packed.chunks_exact_mut(width)) {
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
    let mut bias = Floats::zeroed(outputs.next_multiple_of(LANES));
    bias.as_mut_slice()[..layer.bias.len()].copy_from_slice(layer.bias);
    Ok(Packed { window, bands, weights, bias, is_planar, activation: layer.activation })
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
fn runs(packed: &Packed, channels: Range<usize>, input: &Region) -> Vec<Run> {
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

/// A tile with its places in the arena.
#[derive(Debug)]
struct Placed {
    tile: Tile,
    input: [usize; 2],
    /// Of the output's first block.
    output: [usize; 2],
    residual: Option<[usize; 2]>,
    /// Its kernel, among those of its band.
    kernel: usize,
}

/// A band with its runs and a kernel for each size of tile.
#[derive(Debug)]
struct Planned {
    band: Band,
    runs: Range<usize>,
    kernels: Vec<TileKernel>,
}

/// A convolution with every offset settled.
#[derive(Debug)]
pub(crate) struct ConvolutionStep {
    packed: Packed,
    input: Region,
    output: Region,
    residual: Option<Region>,
    tiles: Vec<Placed>,
    bands: Vec<Planned>,
    runs: Vec<Run>,
    /// Floats between the windows of neighbouring pixels.
    step: usize,
    set: &'static KernelSet,
}

impl ConvolutionStep {
    pub(crate) fn new(
        packed: Packed,
        input: Region,
        output: Region,
        residual: Option<Region>,
        set: &'static KernelSet,
    ) -> Result<Self, PlanError> {
        let step = packed.window.stride[1] * input.layout.pixel();
        let most = if TILE_STEPS.contains(&step) { set.pixels } else { LOOSE_PIXELS };
        let shape = output.shape();
        let cut = cut(shape.height, shape.width, most);
        let mut sizes: Vec<usize> = cut.iter().map(|tile| tile.pixels).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let place = |tile: Tile| -> Option<Placed> {
            let [top, left] = packed.window.padding;
            let window = |(y, x): (usize, usize)| {
                input.window(y * packed.window.stride[0], x * packed.window.stride[1], top, left)
            };
            let at = |region: &Region| tile.halves.map(|(y, x)| region.at(0, y, x));
            let input = [window(tile.halves[0])?, window(tile.halves[1])?];
            let kernel = sizes.binary_search(&tile.pixels).ok()?;
            Some(Placed { tile, input, output: at(&output), residual: residual.as_ref().map(at), kernel })
        };
        let tiles: Option<Vec<Placed>> = cut.into_iter().map(place).collect();
        let tiles = tiles.ok_or(PlanError::Extent { step: STEP, access: "a window begins before the halo" })?;
        let (mut all, mut bands) = (Vec::new(), Vec::new());
        for band in &packed.bands {
            let first = all.len();
            // Without groups, all bands look at the same channels.
            let shared = bands.first().filter(|first: &&Planned| first.band.channels == band.channels);
            let range = match shared {
                Some(first) => first.runs.clone(),
                None => {
                    all.extend(runs(&packed, band.channels.clone(), &input));
                    first..all.len()
                }
            };
            let kernels: Option<Vec<TileKernel>> =
                sizes.iter().map(|&pixels| (set.tile)(band.blocks, pixels, step)).collect();
            let kernels = kernels.ok_or(PlanError::Extent { step: STEP, access: "there is no kernel of its size" })?;
            bands.push(Planned { band: band.clone(), runs: range, kernels });
        }
        Ok(Self { packed, input, output, residual, tiles, bands, runs: all, step, set })
    }

    /// Pieces of work, and those of the inner loop: bands by tiles, in the better order for the caches.
    fn is_band_by_band(&self) -> bool {
        self.packed.weights.len() * size_of::<f32>() > CACHED_BYTES || self.tiles.len() == 1
    }

    /// # Safety
    /// As for [`Step::run`].
    unsafe fn compute(&self, worker: &Worker<'_>, planned: &Planned, placed: &Placed) {
        let band = &planned.band;
        let clamp = match self.packed.activation {
            Activation::Clamp { low, high } => Some((low, high)),
            _ => None,
        };
        let blocks = |layout: &Region| band.block * layout.layout.block();
        // SAFETY: the arena is the one that the regions lie in; check() has proven every place that the kernel reaches.
        unsafe {
            let call = TileCall {
                input: placed.input.map(|place| worker.at(place).cast_const()),
                runs: &self.runs[planned.runs.clone()],
                step: self.step,
                weights: self.packed.weights.as_ptr().add(band.weights),
                bias: self.packed.bias.as_ptr().add(band.block * LANES),
                output: placed.output.map(|place| worker.at(place + blocks(&self.output))),
                output_block: self.output.layout.block(),
                residual: placed
                    .residual
                    .zip(self.residual.as_ref())
                    .map(|(places, residual)| places.map(|place| worker.at(place + blocks(residual)).cast_const())),
                residual_block: self.residual.as_ref().map_or(0, |residual| residual.layout.block()),
                clamp,
            };
            planned.kernels[placed.kernel](&call);
            if clamp.is_none() && self.packed.activation != Activation::Identity {
                self.activate(&call, band.blocks, &placed.tile);
            }
        }
    }

    /// Applies an activation that the tile's kernel has not, while the tile is in the first cache.
    ///
    /// # Safety
    /// As for [`Step::run`].
    unsafe fn activate(&self, call: &TileCall<'_>, blocks: usize, tile: &Tile) {
        for block in 0..blocks {
            for half in 0..2 {
                // SAFETY: the pixels are those that the tile has just written.
                unsafe {
                    let row = call.output[half].add(block * call.output_block);
                    (self.set.pointwise)(&PointwiseCall {
                        input: row,
                        operand: Operand::Nothing,
                        activation: self.packed.activation,
                        output: row,
                        pixels: tile.length(half),
                    });
                }
            }
        }
    }
}

impl Step for ConvolutionStep {
    fn check(&self) -> Result<(), PlanError> {
        for Planned { band, runs, kernels: _ } in &self.bands {
            let runs = self.runs.get(runs.clone()).unwrap_or_default();
            let reach = runs.iter().map(|run| run.offset as usize + run.length as usize).max().unwrap_or(0);
            let elements: usize = runs.iter().map(|run| run.length as usize).sum();
            let weights = band.weights + elements * band.blocks * LANES;
            proven(weights <= self.packed.weights.len(), STEP, "weights")?;
            proven((band.block + band.blocks) * LANES <= self.packed.bias.len(), STEP, "bias")?;
            proven(band.block + band.blocks <= self.output.blocks(), STEP, "output blocks")?;
            for placed in &self.tiles {
                for half in 0..2 {
                    let length = placed.tile.length(half);
                    if length == 0 {
                        continue;
                    }
                    let last = placed.input[half] + (length - 1) * self.step;
                    proven(self.input.holds(placed.input[half], last + reach), STEP, "input")?;
                    let holds = |region: &Region, first: usize| {
                        let first = first + band.block * region.layout.block();
                        let last = first + (band.blocks - 1) * region.layout.block() + length * LANES;
                        region.holds(first, last)
                    };
                    proven(holds(&self.output, placed.output[half]), STEP, "output")?;
                    if let (Some(region), Some(places)) = (&self.residual, placed.residual) {
                        proven(holds(region, places[half]), STEP, "residual")?;
                    }
                }
            }
        }
        Ok(())
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        let (bands, tiles) = (self.bands.len(), self.tiles.len());
        let is_band_by_band = self.is_band_by_band();
        let inner = if is_band_by_band { tiles } else { bands };
        let share = worker.share(bands * tiles);
        let (mut outer, mut at) = (share.start / inner, share.start % inner);
        for _ in share {
            let (band, tile) = if is_band_by_band { (outer, at) } else { (at, outer) };
            // SAFETY: the caller's promise; no other thread computes this band of this tile.
            unsafe { self.compute(worker, &self.bands[band], &self.tiles[tile]) };
            at += 1;
            if at == inner {
                (outer, at) = (outer + 1, 0);
            }
        }
    }

    fn weights(&self) -> usize {
        self.packed.weights.len() + self.packed.bias.len()
    }
}

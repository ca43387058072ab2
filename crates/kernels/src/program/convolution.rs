//! A dense convolution, tile by tile, and the proof that its tiles stay inside.

use std::ops::Range;

use super::builder::View;
use super::packed::{Band, Packed, runs};
use super::region::Region;
use super::step::{Step, Worker, proven};
use super::tiles::{Tile, cut};
use super::window::Window;
use crate::activation::Activation;
use crate::bounds::Touched;
use crate::error::PlanError;
use crate::kernel::pointwise::{Operand, PointwiseCall};
use crate::kernel::set::{KernelSet, LOOSE_PIXELS, TILE_STEPS};
use crate::kernel::tile::{Run, TileCall, TileKernel};
use crate::layout::LANES;

pub(crate) const CONVOLUTION: &str = "convolution";
const STEP: &str = CONVOLUTION;

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
                sizes.iter().map(|&pixels| (set.tile)(band.lanes, pixels, step)).collect();
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
        let blocks = |layout: &Region| band.block * layout.layout.block();
        // SAFETY: the arena is the one that the regions lie in; check() has proven every place that the kernel reaches.
        unsafe {
            let call = TileCall {
                pixels: placed.tile.pixels,
                channels: band.lanes,
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
                clamp: clamp_of(self.packed.activation),
            };
            planned.kernels[placed.kernel](&call);
            for block in 0..band.blocks() {
                for half in 0..2 {
                    let row = call.output[half].add(block * call.output_block);
                    activate_rows(self.set, self.packed.activation, row, placed.tile.length(half));
                }
            }
        }
    }
}

/// The part of an activation that tile and depthwise kernels apply.
pub(super) fn clamp_of(activation: Activation) -> Option<(f32, f32)> {
    match activation {
        Activation::Clamp { low, high } => Some((low, high)),
        _ => None,
    }
}

/// Applies what those kernels have not to pixels that were just written, while they are in the first cache.
///
/// # Safety
/// `row` is the first of so many pixels of a block, which nobody else reads or writes.
pub(super) unsafe fn activate_rows(set: &KernelSet, activation: Activation, row: *mut f32, pixels: usize) {
    if clamp_of(activation).is_some() || activation == Activation::Identity {
        return;
    }
    // SAFETY: the caller's promise; the machine has the set's instructions, or the program would not have been built.
    unsafe {
        (set.pointwise)(&PointwiseCall { input: row, operand: Operand::Nothing, activation, output: row, pixels });
    }
}

impl Step for ConvolutionStep {
    fn check(&self) -> Result<(), PlanError> {
        for Planned { band, runs, kernels: _ } in &self.bands {
            let runs = self.runs.get(runs.clone()).unwrap_or_default();
            let reach = runs.iter().map(|run| run.offset as usize + run.length as usize).max().unwrap_or(0);
            let elements: usize = runs.iter().map(|run| run.length as usize).sum();
            let weights = band.weights + elements * band.lanes;
            proven(weights <= self.packed.weights.len(), STEP, "weights")?;
            proven(band.block * LANES + band.lanes <= self.packed.bias.len(), STEP, "bias")?;
            proven(band.block + band.blocks() <= self.output.blocks(), STEP, "output blocks")?;
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
                        let last = first + (band.blocks() - 1) * region.layout.block() + length * LANES;
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

    fn touches(&self) -> Touched {
        let residual = self.residual.as_ref().map(Region::floats);
        Touched {
            reads: [self.input.floats()].into_iter().chain(residual).collect(),
            writes: vec![self.output.floats()],
            weights: vec![self.packed.weights.place(), self.packed.bias.place()],
        }
    }

    fn describe(&self) -> String {
        let [rows, columns] = self.packed.window.kernel;
        format!("{STEP} {rows} × {columns}, {} to {}", self.input.shape(), self.output.shape())
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

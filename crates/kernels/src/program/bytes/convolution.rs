//! A dense convolution of bytes: as `program/convolution.rs`, over words of four channels.

use std::ops::Range;

use super::Quantised;
use super::pack::{Bytes, Filters, NOTED, OF_WORD, biased, noted, part, recalled, words};
use crate::block::{self, Joint};
use crate::error::PlanError;
use crate::kernel::bytes::set::{BYTE_STEPS, ByteSet};
use crate::kernel::bytes::tile::{ByteTileCall, ByteTileKernel, Finish};
use crate::kernel::set::LOOSE_PIXELS;
use crate::kernel::tile::Run;
use crate::layout::LANES;
use crate::program::arena::Floats;
use crate::program::builder::View;
use crate::program::region::Region;
use crate::program::shelf::{Shelf, Weights};
use crate::program::step::{Step, Worker, proven};
use crate::program::tiles::{Tile, cut};
use crate::program::window::Window;

pub(crate) const STEP: &str = "quantised convolution";

/// Packed weights that stay in the second-level cache, in bytes: as for floats.
const CACHED_BYTES: usize = 400 << 10;

/// A convolution of bytes, or a fully connected layer as one whose window is the whole picture.
#[derive(Debug, Clone, Copy)]
pub struct ByteConvolution<'a> {
    /// What is read: bytes.
    pub input: View,
    /// What is written: bytes, or floats where `finish` says so.
    pub output: View,
    /// `[output channels][input channels of a group][rows][columns]`, each less its zero: -255 to 255.
    pub weights: &'a [i16],
    /// One number for each output channel, in the sums' steps; none at all means zeros.
    pub bias: &'a [i32],
    /// What the sums of each output channel are multiplied by: the scales of input and weight, over the output's.
    pub factors: &'a [f32],
    /// How it looks at the input.
    pub window: Window,
    /// Groups of channels that do not see one another; as many as channels is a depthwise convolution.
    pub groups: usize,
    /// What becomes of the scaled sums.
    pub finish: ByteFinish<'a>,
}

/// What becomes of scaled sums.
#[derive(Debug, Clone, Copy)]
pub enum ByteFinish<'a> {
    /// Rounded to whole numbers, ties to even, then bytes between the two given ones.
    Bytes([u8; 2]),
    /// Bytes of `between` first; then those and the residual's make bytes of the output, between the two given ones.
    Sum {
        /// What the scaled sums are rounded to.
        between: Quantised,
        /// Bytes of the output's shape.
        residual: View,
        /// The residual's and the output's scale; the zeros are the tensors' own.
        scales: [f32; 2],
        /// Least and greatest byte.
        limits: [u8; 2],
    },
    /// Floats, plus an addend for each output channel; none at all means zeros.
    Floats(&'a [f32]),
}

/// What is done with the sums, in the terms of the kernels.
#[derive(Debug)]
pub(crate) enum Finishing {
    Bytes(block::Range),
    Joined(block::Range, Joint),
    Floats(Floats),
}

/// Output channels that are computed together.
#[derive(Debug, Clone)]
struct Band {
    /// First block of the output.
    block: usize,
    blocks: usize,
    /// Input channels that these see.
    channels: Range<usize>,
    /// Where its packed weights begin, in bytes.
    weights: usize,
}

/// What does not depend on where the tensors lie.
#[derive(Debug)]
pub(crate) struct PackedBytes {
    window: Window,
    bands: Vec<Band>,
    weights: Weights,
    bias: Vec<i32>,
    factors: Floats,
    /// How often the windows are gone over.
    passes: usize,
    /// Whether the input is a picture.
    is_planar: bool,
    finishing: Finishing,
    set: &'static ByteSet,
}

impl PackedBytes {
    pub(crate) fn writes_floats(&self) -> bool {
        matches!(self.finishing, Finishing::Floats(_))
    }

    pub(crate) fn floats(&self) -> usize {
        self.weights.len() + self.bias.len() + self.factors.len()
    }
}

/// What surrounds a convolution's weights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// The unsigned byte that stands for zero in the input.
    pub(crate) zero: u8,
    /// Whether the input is a picture.
    pub(crate) is_planar: bool,
    /// Whether a single pixel comes out.
    pub(crate) is_tall: bool,
}

/// Packs the weights of a convolution.
pub(crate) fn pack(
    layer: &ByteConvolution<'_>,
    setting: Setting,
    finishing: Finishing,
    set: &'static ByteSet,
    shelf: &mut Shelf,
) -> Result<PackedBytes, PlanError> {
    let outputs = setting.outputs;
    let filters = Filters {
        weights: layer.weights,
        outputs,
        of_group: setting.inputs / layer.groups,
        to_group: outputs / layer.groups,
        window: layer.window,
    };
    let mut factors = Floats::zeroed(outputs);
    factors.as_mut_slice()[..outputs].copy_from_slice(layer.factors);
    let (window, is_planar) = (layer.window, setting.is_planar);
    if let Some(noted) = shelf.take_numbers(NOTED)? {
        let (passes, set) = recalled([noted[0], noted[1]], set)?;
        let bias = shelf.take_numbers(outputs.next_multiple_of(LANES))?.unwrap_or_default();
        let (bands, bytes) = bands(&filters, setting, passes, set)?;
        let Some(weights) = shelf.take(Bytes::check(bytes)?)? else {
            return Err(PlanError::step(STEP, "its weights were not kept"));
        };
        return Ok(PackedBytes { window, bands, weights, bias, factors, passes, is_planar, finishing, set });
    }
    let bias = biased(STEP, &filters, layer.bias, set.number(setting.zero), layer.factors)?;
    let narrow = set.narrow.map(|narrow| filled(&filters, setting, narrow).map(|packed| (packed, narrow)));
    let ((bands, weights, passes), set) = match narrow {
        Some(Ok((Some(packed), narrow))) => (packed, narrow),
        Some(Err(error)) => return Err(error),
        Some(Ok((None, _))) | None => match filled(&filters, setting, set)? {
            Some(packed) => (packed, set),
            None => return Err(PlanError::step(STEP, "a weight is beyond -255 to 255")),
        },
    };
    shelf.put_numbers(&noted(passes, set));
    shelf.put_numbers(&bias);
    let weights = shelf.put(weights.into_floats());
    Ok(PackedBytes { window, bands, weights, bias, factors, passes, is_planar, finishing, set })
}

/// Bands and their weights in a set's form, and the passes that takes; nothing where a weight does not fit it.
type Filled = Option<(Vec<Band>, Bytes, usize)>;

fn filled(filters: &Filters<'_>, setting: Setting, set: &ByteSet) -> Result<Filled, PlanError> {
    let passes = filters.passes(set.form);
    let (bands, bytes) = bands(filters, setting, passes, set)?;
    let mut weights = Bytes::zeroed(bytes)?;
    for band in &bands {
        let width = band.blocks * set.form.bytes();
        let packed = &mut weights.as_mut_slice()[band.weights..];
        let taps = (0..passes).flat_map(|pass| {
            taps(&filters.window, band.channels.clone(), setting.is_planar).map(move |tap| (pass, tap))
        });
        for ((pass, tap), row) in taps.zip(packed.chunks_exact_mut(width)) {
            for lane in 0..band.blocks * LANES {
                let output = band.block * LANES + lane;
                let four = std::array::from_fn(|place| {
                    part(filters.weight(output, tap.channel + place, tap.row, tap.column), pass, set.form)
                });
                if !set.form.takes(four) {
                    return Ok(None);
                }
                set.form.put(&mut row[lane / LANES * set.form.bytes()..], lane % LANES, four);
            }
        }
    }
    Ok(Some((bands, weights, passes)))
}

/// How the output's blocks are divided, and the bytes of all packed weights.
fn bands(
    filters: &Filters<'_>,
    setting: Setting,
    passes: usize,
    set: &ByteSet,
) -> Result<(Vec<Band>, usize), PlanError> {
    let outputs = filters.outputs;
    let sizes: Vec<usize> = if setting.is_tall { [set.tall_blocks, set.blocks].concat() } else { set.blocks.to_vec() };
    let is_whole = filters.to_group == outputs;
    let [rows, columns] = filters.window.kernel;
    let mut bands = Vec::new();
    let (mut block, mut bytes) = (0, 0_usize);
    while block * LANES < outputs {
        let left = outputs.div_ceil(LANES) - block;
        let blocks = if is_whole { sizes.iter().copied().find(|&size| size <= left).unwrap_or(1) } else { 1 };
        let last = (outputs - 1).min((block + blocks) * LANES - 1);
        let first = block * LANES / filters.to_group * filters.of_group;
        let channels = first..(last / filters.to_group + 1) * filters.of_group;
        let elements = if setting.is_planar { 1 } else { words(channels.clone()).count() } * rows * columns * passes;
        bands.push(Band { block, blocks, channels, weights: bytes });
        bytes = elements.saturating_mul(blocks * set.form.bytes()).saturating_add(bytes);
        Bytes::check(bytes)?;
        block += blocks;
    }
    Ok((bands, bytes))
}

/// One element of the window of four input channels.
#[derive(Debug, Clone, Copy)]
struct Tap {
    /// The first of the four.
    channel: usize,
    row: usize,
    column: usize,
}

/// The window's elements in the order in which runs go over them.
fn taps(window: &Window, channels: Range<usize>, is_planar: bool) -> Box<dyn Iterator<Item = Tap>> {
    let [rows, columns] = window.kernel;
    let places = move || (0..rows).flat_map(move |row| (0..columns).map(move |column| (row, column)));
    if is_planar {
        return Box::new(places().map(|(row, column)| Tap { channel: 0, row, column }));
    }
    Box::new(in_blocks(channels).flat_map(move |part| {
        places().flat_map(move |(row, column)| words(part.clone()).map(move |channel| Tap { channel, row, column }))
    }))
}

/// A range of channels, cut where blocks end.
fn in_blocks(channels: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    (channels.start / LANES..channels.end.div_ceil(LANES))
        .map(move |block| channels.start.max(block * LANES)..channels.end.min((block + 1) * LANES))
}

/// Where a window's elements lie, from its first word on; the order is that of [`taps`], once for each pass.
fn runs(packed: &PackedBytes, channels: &Range<usize>, input: &Region) -> Vec<Run> {
    let (window, layout) = (&packed.window, &input.layout);
    let [rows, columns] = window.kernel;
    let mut runs = Vec::new();
    let mut push = |offset: usize, length: usize| runs.push(Run { offset: offset as u32, length: length as u32 });
    for _ in 0..packed.passes {
        if packed.is_planar {
            for row in 0..rows {
                let from = row * window.dilation[0] * layout.row();
                if window.dilation[1] == 1 {
                    push(from, columns);
                } else {
                    (0..columns).for_each(|column| push(from + column * window.dilation[1], 1));
                }
            }
            continue;
        }
        for part in in_blocks(channels.clone()) {
            let from = part.start / LANES * layout.block() + part.start % LANES / OF_WORD;
            let length = words(part).count();
            for row in 0..rows {
                for column in 0..columns {
                    let place = row * window.dilation[0] * layout.row();
                    push(from + place + column * window.dilation[1] * layout.pixel(), length);
                }
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
    kernels: Vec<ByteTileKernel>,
}

/// A convolution with every offset settled.
#[derive(Debug)]
pub(crate) struct ByteConvolutionStep {
    packed: PackedBytes,
    input: Region,
    output: Region,
    residual: Option<Region>,
    tiles: Vec<Placed>,
    bands: Vec<Planned>,
    runs: Vec<Run>,
    /// Words between the windows of neighbouring pixels.
    step: usize,
}

impl ByteConvolutionStep {
    pub(crate) fn new(
        packed: PackedBytes,
        input: Region,
        output: Region,
        residual: Option<Region>,
    ) -> Result<Self, PlanError> {
        let set = packed.set;
        let step = packed.window.stride[1] * input.layout.pixel();
        let most = if BYTE_STEPS.contains(&step) { set.pixels } else { LOOSE_PIXELS };
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
                    all.extend(runs(&packed, &band.channels, &input));
                    first..all.len()
                }
            };
            let kernels: Option<Vec<ByteTileKernel>> =
                sizes.iter().map(|&pixels| (set.tile)(band.blocks, pixels, step)).collect();
            let kernels = kernels.ok_or(PlanError::Extent { step: STEP, access: "there is no kernel of its size" })?;
            bands.push(Planned { band: band.clone(), runs: range, kernels });
        }
        Ok(Self { packed, input, output, residual, tiles, bands, runs: all, step })
    }

    /// Whether all tiles of one band come before the next band, and not all bands of a tile before the next tile:
    /// whichever is better for the caches.
    fn is_band_by_band(&self) -> bool {
        self.packed.weights.len() * size_of::<f32>() > CACHED_BYTES || self.tiles.len() == 1
    }

    /// # Safety
    /// As for [`Step::run`].
    unsafe fn compute(&self, worker: &Worker<'_>, planned: &Planned, placed: &Placed) {
        let (band, packed) = (&planned.band, &self.packed);
        let first = |region: &Region, places: [usize; 2]| {
            let block = band.block * region.layout.block();
            // SAFETY: check() has proven that the places are inside the region.
            places.map(|place| unsafe { worker.at(place + block).cast::<u8>() })
        };
        let bytes = |region: &Region| region.layout.block() * size_of::<f32>();
        // SAFETY: the arena is the one that the regions lie in; check() has proven every place that the kernel reaches.
        unsafe {
            let finish = match (&packed.finishing, self.residual.as_ref().zip(placed.residual)) {
                (Finishing::Joined(range, joint), Some((region, places))) => Finish::Joined {
                    range: *range,
                    joint: *joint,
                    with: first(region, places).map(<*mut u8>::cast_const),
                    block: bytes(region),
                },
                (Finishing::Bytes(range) | Finishing::Joined(range, _), _) => Finish::Bytes(*range),
                (Finishing::Floats(addends), _) => Finish::Floats(addends.as_ptr().add(band.block * LANES)),
            };
            planned.kernels[placed.kernel](&ByteTileCall {
                input: placed.input.map(|place| worker.at(place).cast_const().cast()),
                runs: &self.runs[planned.runs.clone()],
                step: self.step,
                weights: packed.weights.as_ptr().cast::<u8>().add(band.weights),
                bias: packed.bias.as_ptr().add(band.block * LANES),
                factors: packed.factors.as_ptr().add(band.block * LANES),
                output: first(&self.output, placed.output),
                output_block: bytes(&self.output),
                finish,
            });
        }
    }

    /// Proves what depends on the band alone; returns the words from a window's first to past its last.
    fn check_band(&self, band: &Band, runs: &[Run]) -> Result<usize, PlanError> {
        let elements: usize = runs.iter().map(|run| run.length as usize).sum();
        let weights = band.weights + elements * band.blocks * self.packed.set.form.bytes();
        let channels = (band.block + band.blocks) * LANES;
        proven(weights <= self.packed.weights.len() * size_of::<f32>(), STEP, "weights")?;
        proven(channels <= self.packed.bias.len() && channels <= self.packed.factors.len(), STEP, "bias")?;
        if let Finishing::Floats(addends) = &self.packed.finishing {
            proven(channels <= addends.len(), STEP, "addends")?;
        }
        proven(band.block + band.blocks <= self.output.blocks(), STEP, "output blocks")?;
        Ok(runs.iter().map(|run| run.offset as usize + run.length as usize).max().unwrap_or(0))
    }
}

impl Step for ByteConvolutionStep {
    fn check(&self) -> Result<(), PlanError> {
        let writes_floats = self.packed.writes_floats();
        proven(self.input.layout.is_bytes() && !self.output.layout.is_planar, STEP, "kinds of tensors")?;
        proven(self.output.layout.is_bytes() != writes_floats, STEP, "the output's elements")?;
        proven(self.residual.is_none_or(|region| region.layout.is_bytes()), STEP, "the residual's elements")?;
        let joins = matches!(self.packed.finishing, Finishing::Joined(..));
        proven(self.residual.is_some() == joins, STEP, "the residual")?;
        for Planned { band, runs, kernels: _ } in &self.bands {
            let reach = self.check_band(band, self.runs.get(runs.clone()).unwrap_or_default())?;
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
                        let pixels = length * region.layout.pixel();
                        region.holds(first, first + (band.blocks - 1) * region.layout.block() + pixels)
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
        self.packed.floats()
    }
}

//! A 3 × 3 convolution of bytes of stride 1 by Winograd's method, some patches at a time: as `program/winograd.rs`, but
//! exact, because it is done in whole numbers (`kernel/bytes/winograd.rs`). Of few channels by patches of 4 × 4 pixels, of
//! many by 2 × 2, whose weights, 3.6 times the bytes of those of the direct convolution and not 8, stay in a cache.

use super::convolution::{ByteConvolution, Finishing, STEP as CONVOLUTION};
use super::pack::{Bytes, Filters, biased};
use crate::error::PlanError;
use crate::kernel::bytes::pairs::{PAIR_STEP, PairSet};
use crate::kernel::bytes::tile::{ByteTileCall, ByteTileKernel, Finish};
use crate::kernel::bytes::winograd::{BytePatchCall, ByteSumCall, Ends, FOUR, Size};
use crate::kernel::tile::Run;
use crate::layout::{Element, LANES, Shape};
use crate::program::arena::Floats;
use crate::program::region::Region;
use crate::program::shelf::{Shelf, Weights};
use crate::program::step::{Step, Worker, proven};
use crate::program::tiles::{Tile, cut, even};
use crate::program::window::Window;

const STEP: &str = "quantised Winograd convolution";

/// Floats of the planes of one batch: 600 KiB, a part of the second cache.
const BATCH_FLOATS: usize = 150 << 10;

/// Input channels for which it is faster: with more the weights do not stay in a cache.
const CHANNELS: std::ops::RangeInclusive<usize> = 16..=256;

/// Input channels up to which larger patches are faster.
const FEW_CHANNELS: usize = 128;

/// Bytes of one block's weights for one word: two input channels.
const WORD_BYTES: usize = 64;

/// By which patches a convolution can, and should, be computed this way. Shapes leave some; which of them the weights allow
/// is noted on the shelf, or was by an earlier start: as the pixels of a side, 0 for none.
pub(crate) fn suits(
    layer: &ByteConvolution<'_>,
    [input, output]: [Shape; 2],
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
    let mut left = all.into_iter().skip(usize::from(input.channels > FEW_CHANNELS));
    let side = |ends: &Ends| ends.size.output as i32;
    if let Some(noted) = shelf.take_numbers(1)? {
        let found = left.find(|ends| noted == [side(ends)]);
        let refuse = || PlanError::step("kept weights", format!("they are of patches of {noted:?}"));
        return if noted == [0] { Ok(None) } else { found.map(Some).ok_or_else(refuse) };
    }
    let filters = filters(layer, input, output);
    let found = left.find(|ends| filters.are_whole(ends.size));
    shelf.put_numbers(&[found.map_or(0, side)]);
    Ok(found)
}

fn filters<'a>(layer: &ByteConvolution<'a>, input: Shape, output: Shape) -> Filters<'a> {
    let (outputs, of_group) = (output.channels, input.channels);
    Filters { weights: layer.weights, outputs, of_group, to_group: outputs, window: layer.window }
}

impl Filters<'_> {
    /// Whether every sum of products comes out whole, whatever the bytes.
    fn are_whole(&self, size: &Size) -> bool {
        (0..self.outputs).all(|output| self.sums(output).1 * 255 < size.largest)
    }
}

/// Output channels that are computed together.
#[derive(Debug, Clone, Copy)]
struct Band {
    block: usize,
    blocks: usize,
    /// Where its weights begin in a plane, in bytes.
    weights: usize,
}

/// What does not depend on where the tensors lie.
#[derive(Debug)]
pub(crate) struct PackedByteWinograd {
    padding: [usize; 2],
    /// Channel blocks of the input and of the output.
    blocks: [usize; 2],
    bands: Vec<Band>,
    /// For each plane, for each band, for each pair of input channels, the channels of the band.
    weights: Weights,
    bias: Vec<i32>,
    factors: Floats,
    /// What the products begin with.
    zeros: Vec<i32>,
    finishing: Finishing,
    batch: usize,
    ends: &'static Ends,
    set: &'static PairSet,
}

impl PackedByteWinograd {
    pub(crate) fn floats(&self) -> usize {
        self.weights.len() + self.bias.len() + self.factors.len()
    }

    /// Numbers of a transformed patch.
    fn planes(&self) -> usize {
        self.ends.size.patch * self.ends.size.patch
    }

    /// Bytes of one plane of weights.
    fn plane(&self) -> usize {
        self.blocks[0] * self.blocks[1] * PAIR_STEP * WORD_BYTES
    }

    /// Floats from a plane of so many patches to the next: a line more than it holds, so that the planes do not all fall
    /// into the same sets of the cache.
    fn stride(&self, end: usize, patches: usize) -> usize {
        self.blocks[end] * patches * PIXEL[end] + LANES
    }

    /// Floats that a thread needs for one batch.
    pub(crate) fn scratch(&self) -> usize {
        self.planes() * (self.stride(0, self.batch) + self.stride(1, self.batch))
    }
}

/// Floats of sixteen channels of the transformed input, in sixteen bits, and of the sums.
const PIXEL: [usize; 2] = [PAIR_STEP, LANES];

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
            (bias, shelf.put(fill(layer.weights, input.channels, &bands, (ends.size, at))?.into_floats()))
        }
    };
    let mut factors = Floats::zeroed(output.channels);
    factors.as_mut_slice()[..output.channels].copy_from_slice(layer.factors);
    let fitting = BATCH_FLOATS / (planes * (PIXEL[0] * blocks[0] + PIXEL[1] * blocks[1]));
    let batch = (fitting / set.pixels * set.pixels).max(set.pixels);
    let zeros = vec![0; set.blocks.iter().max().map_or(LANES, |blocks| blocks * LANES)];
    let padding = layer.window.padding;
    Ok(PackedByteWinograd { padding, blocks, bands, weights, bias, factors, zeros, finishing, batch, ends, set })
}

/// The transformed weights of all bands, in planes of `at` bytes.
fn fill(
    filters: &[i16],
    inputs: usize,
    bands: &[Band],
    (size, at): (&'static Size, usize),
) -> Result<Bytes, PlanError> {
    let mut weights = Bytes::zeroed(at.saturating_mul(size.patch * size.patch))?;
    let packed = weights.as_mut_slice();
    for (number, filter) in filters.as_chunks::<9>().0.iter().enumerate() {
        let (output, input) = (number / inputs, number % inputs);
        let Some(band) = bands.iter().rfind(|band| band.block * LANES <= output) else { continue };
        let lane = output - band.block * LANES;
        let place = band.weights + (input / 2 * band.blocks * LANES + lane) * 4 + input % 2 * 2;
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

/// How a batch of so many patches is multiplied.
#[derive(Debug)]
struct Batch {
    patches: usize,
    runs: Vec<Run>,
    tiles: Vec<Tile>,
    /// For each band, the kernel of each tile.
    kernels: Vec<Vec<ByteTileKernel>>,
}

impl Batch {
    fn new(packed: &PackedByteWinograd, patches: usize) -> Option<Self> {
        let length = PAIR_STEP as u32;
        let run = |block: usize| Run { offset: (block * patches) as u32 * length, length };
        let tiles = cut(1, patches, packed.set.pixels);
        let of_band = |band: &Band| {
            tiles.iter().map(|tile| (packed.set.tile)(band.blocks, tile.pixels)).collect::<Option<Vec<_>>>()
        };
        let kernels = packed.bands.iter().map(of_band).collect::<Option<Vec<_>>>()?;
        Some(Self { patches, runs: (0..packed.blocks[0]).map(run).collect(), tiles, kernels })
    }
}

/// A Winograd convolution with every offset settled.
#[derive(Debug)]
pub(crate) struct ByteWinogradStep {
    packed: PackedByteWinograd,
    input: Region,
    output: Region,
    residual: Option<Region>,
    /// The byte that stands for zero in the input, as it is stored.
    zero: u8,
    /// The first thread's scratch memory; the others' follow.
    scratch: usize,
    /// Rows and columns of patches.
    patches: [usize; 2],
    /// First patch and size of each batch.
    parts: Vec<(usize, usize)>,
    /// One for each size that occurs.
    batches: Vec<Batch>,
}

impl ByteWinogradStep {
    pub(crate) fn new(
        packed: PackedByteWinograd,
        [input, output]: [Region; 2],
        residual: Option<Region>,
        [scratch, threads]: [usize; 2],
    ) -> Result<Self, PlanError> {
        let refuse = |access| PlanError::Extent { step: STEP, access };
        let Element::Byte { zero } = input.layout.element else { return Err(refuse("it reads floats")) };
        let shape = output.shape();
        let patches = [shape.height, shape.width].map(|side| side.div_ceil(packed.ends.size.output));
        let count = patches[0] * patches[1];
        // As many parts as the threads can share evenly.
        let parts = count.div_ceil(packed.batch).next_multiple_of(threads).min(count);
        let parts: Vec<(usize, usize)> = even(count, parts).collect();
        let mut sizes: Vec<usize> = parts.iter().map(|part| part.1).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let batches = sizes.into_iter().map(|patches| Batch::new(&packed, patches)).collect::<Option<Vec<_>>>();
        let batches = batches.ok_or(refuse("there is no kernel of its size"))?;
        Ok(Self { packed, input, output, residual, zero, scratch, patches, parts, batches })
    }

    /// The first pixel of a patch's window in the first block, and how many of its rows and columns there are.
    fn window(&self, patch: usize) -> Option<(usize, (usize, usize))> {
        let Size { patch: side, output, .. } = *self.packed.ends.size;
        let (y, x) = (patch / self.patches[1] * output, patch % self.patches[1] * output);
        let layout = &self.input.layout;
        let [top, left] = self.packed.padding;
        let first = self.input.window(y, x, top, left)?;
        let columns = layout.row() / layout.pixel();
        let rows = layout.rows().checked_sub(y + layout.halo - top)?;
        Some((first, (rows.min(side), columns.checked_sub(x + layout.halo - left)?.min(side))))
    }

    /// A patch's first row and column in the output, and how many are inside the picture.
    fn target(&self, patch: usize) -> ((usize, usize), (usize, usize)) {
        let shape = self.output.shape();
        let output = self.packed.ends.size.output;
        let (y, x) = (patch / self.patches[1] * output, patch % self.patches[1] * output);
        ((y, x), ((shape.height - y).min(output), (shape.width - x).min(output)))
    }

    /// # Safety
    /// As for [`Step::run`].
    unsafe fn spread(&self, worker: &Worker<'_>, first: usize, batch: &Batch, planes: usize) {
        for block in 0..self.packed.blocks[0] {
            for patch in 0..batch.patches {
                let Some((window, inside)) = self.window(first + patch) else { continue };
                // SAFETY: check() has proven every place that the kernel reaches.
                unsafe {
                    (self.packed.ends.patch)(&BytePatchCall {
                        input: worker.at(window + block * self.input.layout.block()).cast_const().cast(),
                        row: self.input.layout.row() * size_of::<f32>(),
                        inside,
                        zero: self.zero,
                        output: worker.at(planes + (block * batch.patches + patch) * PIXEL[0]).cast(),
                        plane: self.packed.stride(0, batch.patches) * 2,
                    });
                }
            }
        }
    }

    /// # Safety
    /// As for [`Step::run`].
    unsafe fn multiply(&self, worker: &Worker<'_>, batch: &Batch, [planes, sums]: [usize; 2]) {
        let packed = &self.packed;
        let strides = [0, 1].map(|end| packed.stride(end, batch.patches));
        for plane in 0..packed.planes() {
            for (band, kernels) in packed.bands.iter().zip(&batch.kernels) {
                for (tile, kernel) in batch.tiles.iter().zip(kernels) {
                    let halves = tile.halves.map(|(_, x)| x);
                    let from = planes + plane * strides[0];
                    let to = sums + plane * strides[1] + band.block * batch.patches * PIXEL[1];
                    // SAFETY: check() has proven every place that the kernel reaches.
                    unsafe {
                        kernel(&ByteTileCall {
                            input: halves.map(|x| worker.at(from + x * PIXEL[0]).cast_const().cast()),
                            runs: &batch.runs,
                            step: PAIR_STEP,
                            weights: packed.weights.as_ptr().cast::<u8>().add(plane * packed.plane() + band.weights),
                            bias: packed.zeros.as_ptr(),
                            factors: packed.factors.as_ptr(),
                            output: halves.map(|x| worker.at(to + x * PIXEL[1]).cast()),
                            output_block: batch.patches * PIXEL[1] * size_of::<f32>(),
                            finish: Finish::Sums,
                        });
                    }
                }
            }
        }
    }

    /// # Safety
    /// As for [`Step::run`].
    unsafe fn collect(&self, worker: &Worker<'_>, first: usize, batch: &Batch, sums: usize) {
        let packed = &self.packed;
        let (Finishing::Bytes(range) | Finishing::Joined(range, _)) = &packed.finishing else { return };
        let bytes = |region: &Region| region.layout.row() * size_of::<f32>();
        for block in 0..packed.blocks[1] {
            for patch in 0..batch.patches {
                let ((y, x), inside) = self.target(first + patch);
                // SAFETY: check() has proven every place that the kernel reaches.
                unsafe {
                    let joined = match (&packed.finishing, &self.residual) {
                        (Finishing::Joined(_, joint), Some(region)) => {
                            Some((joint, worker.at(region.at(block, y, x)).cast_const().cast(), bytes(region)))
                        }
                        _ => None,
                    };
                    (packed.ends.sums)(&ByteSumCall {
                        input: worker.at(sums + (block * batch.patches + patch) * PIXEL[1]).cast_const().cast(),
                        plane: packed.stride(1, batch.patches),
                        bias: packed.bias.as_ptr().add(block * LANES),
                        factors: packed.factors.as_ptr().add(block * LANES),
                        range,
                        joined,
                        output: worker.at(self.output.at(block, y, x)).cast(),
                        row: bytes(&self.output),
                        inside,
                    });
                }
            }
        }
    }
}

impl Step for ByteWinogradStep {
    fn check(&self) -> Result<(), PlanError> {
        let PackedByteWinograd { blocks, bands, weights, bias, factors, zeros, batch, finishing, .. } = &self.packed;
        // Runs of whole blocks reach the last patch of the last block of a plane, and no further: planes are as long.
        proven(self.batches.iter().all(|found| found.patches <= *batch), STEP, "scratch")?;
        let channels = blocks[1] * LANES;
        proven(weights.len() * size_of::<f32>() >= self.packed.planes() * self.packed.plane(), STEP, "weights")?;
        proven(bias.len() >= channels && factors.len() >= channels, STEP, "bias")?;
        proven(*blocks == [self.input.blocks(), self.output.blocks()], STEP, "blocks")?;
        proven(!matches!(finishing, Finishing::Floats(_)), STEP, "it writes bytes")?;
        proven(matches!(finishing, Finishing::Joined(..)) == self.residual.is_some(), STEP, "the residual")?;
        for band in bands {
            let inside = band.block + band.blocks <= blocks[1] && band.blocks * LANES <= zeros.len();
            let end = band.weights + band.blocks * WORD_BYTES * blocks[0] * PAIR_STEP;
            proven(inside && end <= self.packed.plane(), STEP, "bands")?;
        }
        for region in [Some(&self.input), Some(&self.output), self.residual.as_ref()].into_iter().flatten() {
            proven(region.layout.is_bytes() && !region.layout.is_planar, STEP, "kinds of tensors")?;
        }
        let (last, pixel) = ((self.input.blocks() - 1) * self.input.layout.block(), self.input.layout.pixel());
        for patch in 0..self.patches[0] * self.patches[1] {
            let window = self.window(patch).ok_or(PlanError::Extent { step: STEP, access: "before the halo" })?;
            let (first, (rows, columns)) = window;
            if rows > 0 && columns > 0 {
                let end = first + last + (rows - 1) * self.input.layout.row() + columns * pixel;
                proven(self.input.holds(first, end), STEP, "input")?;
            }
            let ((y, x), (rows, columns)) = self.target(patch);
            for region in [Some(&self.output), self.residual.as_ref()].into_iter().flatten() {
                let end = region.at(region.blocks() - 1, y + rows - 1, x + columns - 1) + region.layout.pixel();
                proven(region.blocks() == blocks[1] && region.holds(region.at(0, y, x), end), STEP, "output")?;
            }
        }
        Ok(())
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        let planes = self.scratch + worker.number * self.packed.scratch();
        for &(first, patches) in &self.parts[worker.share(self.parts.len())] {
            let Some(batch) = self.batches.iter().find(|batch| batch.patches == patches) else { continue };
            let sums = planes + self.packed.planes() * self.packed.stride(0, batch.patches);
            // SAFETY: the caller's promise; the scratch memory is this thread's, and so are the patches.
            unsafe {
                self.spread(worker, first, batch, planes);
                self.multiply(worker, batch, [planes, sums]);
                self.collect(worker, first, batch, sums);
            }
        }
    }

    fn describe(&self) -> String {
        format!("{STEP} {} to {}", self.input.shape(), self.output.shape())
    }

    fn weights(&self) -> usize {
        self.packed.floats()
    }
}

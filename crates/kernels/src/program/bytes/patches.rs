//! A convolution of bytes by Winograd's method, some patches at a time: as `program/patches.rs`.

use std::ops::Range;

use super::convolution::Finishing;
use super::winograd::{Band, PIXEL, PackedByteWinograd, WORD_BYTES};
use crate::bounds::{Touched, placed};
use crate::error::PlanError;
use crate::kernel::ahead::Ahead;
use crate::kernel::bytes::pairs::PAIR_STEP;
use crate::kernel::bytes::tile::{BytePlace, ByteTileCall, ByteTileKernel, Even, Finish};
use crate::kernel::bytes::winograd::{BytePatchCall, ByteSumCall, Size};
use crate::kernel::tile::Run;
use crate::layout::{Element, LANES};
use crate::program::convolution::NEIGHBOURS;
use crate::program::region::Region;
use crate::program::step::{Step, Worker, proven};
use crate::program::tiles::{Tile, Tiling, even};

const STEP: &str = "quantised Winograd convolution";

/// How a batch of so many patches is multiplied.
#[derive(Debug)]
struct Batch {
    patches: usize,
    runs: Vec<Run>,
    even: Even,
    tiles: Vec<BytePlace>,
    /// Neighbouring tiles of one size, and their pixels.
    groups: Vec<(Range<usize>, usize)>,
    /// For each band, the kernel of each group.
    kernels: Vec<Vec<ByteTileKernel>>,
}

impl Batch {
    fn new(packed: &PackedByteWinograd, patches: usize) -> Option<Self> {
        let length = PAIR_STEP as u32;
        let run = |block: usize| Run { offset: (block * patches) as u32 * length, length };
        let Tiling { tiles, groups, .. } = Tiling::new(&[(0, 1)], patches, (packed.set.pixels, 1), NEIGHBOURS);
        let groups: Vec<_> = groups.into_iter().map(|group| (group.clone(), tiles[group.start].pixels)).collect();
        let of_band = |band: &Band| {
            groups.iter().map(|(_, pixels)| (packed.set.tile)(band.blocks, *pixels)).collect::<Option<Vec<_>>>()
        };
        let kernels = packed.bands.iter().map(of_band).collect::<Option<Vec<_>>>()?;
        let place = |tile: &Tile| {
            let [input, sums] = PIXEL.map(|pixel| tile.halves.map(|(_, x)| x * pixel));
            BytePlace { input, output: sums.map(|floats| floats * size_of::<f32>()), with: [0; 2] }
        };
        let tiles = tiles.iter().map(place).collect();
        let runs: Vec<Run> = (0..packed.blocks[0]).map(run).collect();
        Some(Self { patches, even: Even::of(&runs), runs, tiles, groups, kernels })
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
                for ((group, pixels), kernel) in batch.groups.iter().zip(kernels) {
                    let from = planes + plane * strides[0];
                    let to = sums + plane * strides[1] + band.block * batch.patches * PIXEL[1];
                    // SAFETY: check() has proven every place that the kernel reaches.
                    unsafe {
                        let weights = packed.weights.as_ptr().cast::<u8>().add(plane * packed.plane() + band.weights);
                        let words = [packed.blocks[0] * LANES / 2, band.blocks * WORD_BYTES / size_of::<f32>()];
                        kernel(&ByteTileCall {
                            tiles: &batch.tiles[group.clone()],
                            input: worker.at(from).cast_const().cast(),
                            runs: &batch.runs,
                            even: batch.even,
                            step: PAIR_STEP,
                            pixels: *pixels,
                            blocks: band.blocks,
                            weights,
                            ahead: Ahead::next_band(weights.cast(), words, [group.start, batch.tiles.len()]),
                            bias: packed.zeros.as_ptr(),
                            factors: packed.factors.as_ptr(),
                            output: worker.at(to).cast(),
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

    fn touches(&self) -> Touched {
        let PackedByteWinograd { weights, bias, factors, zeros, .. } = &self.packed;
        let weights = vec![weights.place(), placed(bias), factors.place(), placed(zeros)];
        let mut touched =
            Touched { weights, ..Touched::of([&self.input].into_iter().chain(&self.residual), &self.output) };
        touched.writes.push(self.scratch..self.scratch + self.packed.scratch());
        touched
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        let planes = self.scratch + worker.number * self.packed.scratch();
        for part in worker.share(self.parts.len()).flatten() {
            let (first, patches) = self.parts[part];
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

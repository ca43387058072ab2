//! A 3 × 3 convolution of stride 1 or 2 by Winograd's method, some patches at a time: of few channels by F(4×4, 3×3), of many, and
//! of small pictures, by F(2×2, 3×3), whose weights are 1.8 times those of the direct convolution and not 4.
//!
//! ```text
//! patches of 6 × 6 ─► 36 planes of [input channels][patches] ─ 36 products ─► 36 planes of [output channels][patches] ─►
//! patches of 4 × 4, with bias, residual and clamp; or by patches of 4 × 4 and 16 planes to 2 × 2; or, with stride 2, by
//! patches of 9 × 9 and 81 planes, or of 5 × 5 and 25, some of which share weights
//! ```
//!
//! The planes of one batch of patches lie in a thread's own scratch memory and are small enough for the second cache. Where one
//! batch is all that there is, several threads share it, transform by transform, so that each reads only its part of the weights.
//! Results differ from the direct sum in the sixth digit.

use std::ops::Range;
use std::sync::Arc;

use super::region::Region;
use super::step::{Step, Worker, proven};
use super::tiles::{Tile, cut, even, of_one_size};
use super::winograd::{Band, PackedWinograd, Product};
use crate::activation::Activation;
use crate::bounds::Touched;
use crate::error::PlanError;
use crate::kernel::ahead::Ahead;
use crate::kernel::set::KernelSet;
use crate::kernel::tile::{Run, TileCall, TileKernel, TilePlace};
use crate::kernel::winograd::{PatchCall, SumCall};
use crate::layout::LANES;

const STEP: &str = "Winograd convolution";

/// How a batch of so many patches is multiplied.
#[derive(Debug)]
struct Batch {
    patches: usize,
    runs: Vec<Run>,
    /// Those of one size after each other.
    tiles: Vec<Tile>,
    /// Where each lies in its plane.
    places: Vec<TilePlace>,
    /// Tiles of one size.
    groups: Vec<Range<usize>>,
    /// For each band, the kernel of each group.
    kernels: Vec<Vec<TileKernel>>,
}

/// What threads that share a batch do together before they meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Patches,
    Products,
    Sums,
}

/// One phase of a convolution whose only batch all threads share.
#[derive(Debug)]
struct SharedStep {
    whole: Arc<WinogradStep>,
    phase: Phase,
}

/// A Winograd convolution with every offset settled.
#[derive(Debug)]
pub(crate) struct WinogradStep {
    packed: PackedWinograd,
    input: Region,
    output: Region,
    residual: Option<Region>,
    /// The first thread's scratch memory; the others' follow.
    scratch: usize,
    /// Rows and columns of patches.
    patches: [usize; 2],
    /// First patch and size of each batch.
    parts: Vec<(usize, usize)>,
    /// One for each size that occurs.
    batches: Vec<Batch>,
}

impl WinogradStep {
    pub(crate) fn new(
        packed: PackedWinograd,
        [input, output]: [Region; 2],
        residual: Option<Region>,
        [scratch, threads]: [usize; 2],
        set: &KernelSet,
    ) -> Result<Self, PlanError> {
        let shape = output.shape();
        let patches = [shape.height, shape.width].map(|side| side.div_ceil(packed.ends.size.output));
        let count = patches[0] * patches[1];
        // As many parts as the threads can share evenly, or the one that they share.
        let parts = count.div_ceil(packed.batch);
        let parts = if parts == 1 { 1 } else { parts.next_multiple_of(threads).min(count) };
        let parts: Vec<(usize, usize)> = even(count, parts).collect();
        let mut sizes: Vec<usize> = parts.iter().map(|part| part.1).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let missing = PlanError::Extent { step: STEP, access: "there is no kernel of its size" };
        let batches = sizes.into_iter().map(|patches| Batch::new(&packed, patches, set)).collect::<Option<Vec<_>>>();
        let batches = batches.ok_or(missing)?;
        Ok(Self { packed, input, output, residual, scratch, patches, parts, batches })
    }

    /// The convolution as stages for so many threads.
    pub(crate) fn stages(self, threads: usize) -> Vec<Box<dyn Step>> {
        if threads == 1 || self.parts.len() > 1 {
            return vec![Box::new(self)];
        }
        let whole = Arc::new(self);
        let phase = |phase| Box::new(SharedStep { whole: Arc::clone(&whole), phase }) as Box<dyn Step>;
        [Phase::Patches, Phase::Products, Phase::Sums].map(phase).into()
    }

    /// The first pixel of a patch's window in the first block, and how many of its rows and columns there are.
    fn window(&self, patch: usize) -> Option<(usize, (usize, usize))> {
        let side = self.packed.ends.size.output * self.packed.ends.size.stride;
        let (y, x) = (patch / self.patches[1] * side, patch % self.patches[1] * side);
        let layout = &self.input.layout;
        let [top, left] = self.packed.padding;
        let first = self.input.window(y, x, top, left)?;
        let columns = layout.row() / LANES;
        let rows = layout.rows().checked_sub(y + layout.halo - top)?;
        let side = self.packed.ends.size.patch;
        Some((first, (rows.min(side), columns.checked_sub(x + layout.halo - left)?.min(side))))
    }

    /// A patch's first row and column in the output, and how many are inside the picture.
    fn target(&self, patch: usize) -> ((usize, usize), (usize, usize)) {
        let shape = self.output.shape();
        let side = self.packed.ends.size.output;
        let (y, x) = (patch / self.patches[1] * side, patch % self.patches[1] * side);
        ((y, x), ((shape.height - y).min(side), (shape.width - x).min(side)))
    }

    /// Transforms some of a batch's patches, which are counted channel block by channel block.
    ///
    /// # Safety
    /// As for [`Step::run`].
    unsafe fn spread(&self, worker: &Worker<'_>, at: &Place<'_>, patches: Range<usize>) {
        let batch = at.batch;
        for item in patches {
            let (block, patch) = (item / batch.patches, item % batch.patches);
            let Some((window, inside)) = self.window(at.first + patch) else { continue };
            // SAFETY: check() has proven every place that the kernel reaches.
            unsafe {
                (self.packed.ends.patch)(&PatchCall {
                    input: worker.at(window + block * self.input.layout.block()),
                    row: self.input.layout.row(),
                    inside,
                    output: worker.at(at.planes + item * LANES),
                    plane: self.packed.stride(0, batch.patches),
                });
            }
        }
    }

    /// Multiplies some of the planes' bands.
    ///
    /// # Safety
    /// As for [`Step::run`].
    unsafe fn multiply(&self, worker: &Worker<'_>, at: &Place<'_>, bands: Range<usize>) {
        let batch = at.batch;
        let (inputs, tiles) = (self.packed.blocks[0] * LANES, batch.tiles.len());
        let strides = [0, 1].map(|end| self.packed.stride(end, batch.patches));
        for item in bands {
            let Product { plane, band: number, weights } = self.packed.products[item];
            let band = self.packed.bands[number];
            let to = at.sums + plane * strides[1] + band.block * batch.patches * LANES;
            for (group, kernel) in batch.groups.iter().zip(&batch.kernels[number]) {
                // SAFETY: check() has proven every place that the kernel reaches.
                unsafe {
                    let weights = self.packed.weights.as_ptr().add(weights);
                    let channels = band.blocks * LANES;
                    let ahead = Ahead::next_band(weights, [inputs, channels], [group.start, tiles]);
                    kernel(&TileCall {
                        tiles: &batch.places[group.clone()],
                        pixels: batch.tiles[group.start].pixels,
                        channels,
                        input: worker.at(at.planes + plane * strides[0]),
                        runs: &batch.runs,
                        whole: batch.runs.len(),
                        reads_on: false,
                        step: LANES,
                        weights,
                        ahead,
                        bias: self.packed.zeros.as_ptr(),
                        goes_on: false,
                        output: worker.at(to),
                        output_block: batch.patches * LANES,
                        residual: None,
                        residual_block: 0,
                        activation: Activation::Identity,
                    });
                }
            }
        }
    }

    /// Transforms some of a batch's products back, which are counted as the patches are.
    ///
    /// # Safety
    /// As for [`Step::run`].
    unsafe fn collect(&self, worker: &Worker<'_>, at: &Place<'_>, patches: Range<usize>) {
        let batch = at.batch;
        for item in patches {
            let (block, patch) = (item / batch.patches, item % batch.patches);
            let ((y, x), inside) = self.target(at.first + patch);
            // SAFETY: check() has proven every place that the kernel reaches.
            unsafe {
                (self.packed.ends.sums)(&SumCall {
                    input: worker.at(at.sums + item * LANES),
                    plane: self.packed.stride(1, batch.patches),
                    bias: self.packed.bias.as_ptr().add(block * LANES),
                    residual: self
                        .residual
                        .as_ref()
                        .map(|region| (worker.at(region.at(block, y, x)).cast_const(), region.layout.row())),
                    clamp: self.packed.clamp,
                    output: worker.at(self.output.at(block, y, x)),
                    row: self.output.layout.row(),
                    inside,
                });
            }
        }
    }

    /// Where a part of the patches is computed in some thread's scratch memory.
    fn place(&self, part: usize, thread: usize) -> Option<Place<'_>> {
        let (first, patches) = self.parts[part];
        let batch = self.batches.iter().find(|batch| batch.patches == patches)?;
        let planes = self.scratch + thread * self.packed.scratch();
        let sums = planes + self.packed.planes() * self.packed.stride(0, patches);
        Some(Place { first, batch, planes, sums })
    }

    /// Pieces of work of each phase of a batch.
    fn items(&self, patches: usize, phase: Phase) -> usize {
        match phase {
            Phase::Patches => self.packed.blocks[0] * patches,
            Phase::Products => self.packed.products.len(),
            Phase::Sums => self.packed.blocks[1] * patches,
        }
    }
}

/// A batch that is being computed: its first patch, and where its planes and their products lie.
struct Place<'a> {
    first: usize,
    batch: &'a Batch,
    planes: usize,
    sums: usize,
}

impl Batch {
    fn new(packed: &PackedWinograd, patches: usize, set: &KernelSet) -> Option<Self> {
        let run = |block: usize| Run { offset: (block * patches * LANES) as u32, length: LANES as u32 };
        let mut tiles = cut(1, patches, packed.pixels);
        tiles.sort_by_key(|tile| tile.pixels);
        let place = |tile: &Tile| {
            let place = tile.halves.map(|(_, x)| x * LANES);
            TilePlace { input: place, output: place, residual: [0; 2] }
        };
        let places = tiles.iter().map(place).collect();
        let groups = of_one_size(tiles.iter().map(|tile| tile.pixels), tiles.len());
        let kernel =
            |band: &Band, group: &Range<usize>| (set.tile)(band.blocks * LANES, tiles[group.start].pixels, LANES);
        let of_band = |band: &Band| groups.iter().map(|group| kernel(band, group)).collect::<Option<Vec<_>>>();
        let kernels = packed.bands.iter().map(of_band).collect::<Option<Vec<_>>>()?;
        Some(Self { patches, runs: (0..packed.blocks[0]).map(run).collect(), tiles, places, groups, kernels })
    }
}

impl Step for WinogradStep {
    fn check(&self) -> Result<(), PlanError> {
        let PackedWinograd { blocks, bands, products, weights, bias, zeros, batch, .. } = &self.packed;
        // Runs of whole blocks reach the last patch of the last block of a plane, and no further: planes are as long.
        proven(self.batches.iter().all(|found| found.patches <= *batch), STEP, "scratch")?;
        proven(
            weights.len() >= self.packed.ends.size.filters() * self.packed.plane() && bias.len() >= blocks[1] * LANES,
            STEP,
            "weights",
        )?;
        proven(*blocks == [self.input.blocks(), self.output.blocks()], STEP, "blocks")?;
        for product in products {
            let band = bands.get(product.band).ok_or(PlanError::Extent { step: STEP, access: "bands" })?;
            let end = product.weights + band.blocks * LANES * blocks[0] * LANES;
            proven(product.plane < self.packed.planes() && end <= weights.len(), STEP, "products")?;
        }
        for band in bands {
            let inside = band.block + band.blocks <= blocks[1] && band.blocks * LANES <= zeros.len();
            let end = band.weights + band.blocks * LANES * blocks[0] * LANES;
            proven(inside && end <= self.packed.plane(), STEP, "bands")?;
        }
        let last = [&self.input, &self.output].map(|region| (region.blocks() - 1) * region.layout.block());
        for patch in 0..self.patches[0] * self.patches[1] {
            let window = self.window(patch).ok_or(PlanError::Extent { step: STEP, access: "before the halo" })?;
            let (first, (rows, columns)) = window;
            if rows > 0 && columns > 0 {
                let end = first + last[0] + (rows - 1) * self.input.layout.row() + columns * LANES;
                proven(self.input.holds(first, end), STEP, "input")?;
            }
            let ((y, x), (rows, columns)) = self.target(patch);
            for region in [Some(&self.output), self.residual.as_ref()].into_iter().flatten() {
                let end = region.at(region.blocks() - 1, y + rows - 1, x + columns - 1) + LANES;
                proven(region.blocks() == blocks[1] && region.holds(region.at(0, y, x), end), STEP, "output")?;
            }
        }
        Ok(())
    }

    fn touches(&self) -> Touched {
        let residual = self.residual.as_ref().map(Region::floats);
        let scratch = self.scratch..self.scratch + self.packed.scratch();
        let PackedWinograd { weights, bias, zeros, .. } = &self.packed;
        Touched {
            reads: [self.input.floats()].into_iter().chain(residual).collect(),
            writes: vec![self.output.floats(), scratch],
            weights: vec![weights.place(), bias.place(), zeros.place()],
        }
    }

    fn describe(&self) -> String {
        format!("{STEP} {} to {}", self.input.shape(), self.output.shape())
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        for part in worker.share(self.parts.len()).flatten() {
            let Some(place) = self.place(part, worker.number) else { continue };
            let all = |phase| 0..self.items(place.batch.patches, phase);
            // SAFETY: the caller's promise; the scratch memory is this thread's, and so are the patches.
            unsafe {
                self.spread(worker, &place, all(Phase::Patches));
                self.multiply(worker, &place, all(Phase::Products));
                self.collect(worker, &place, all(Phase::Sums));
            }
        }
    }

    fn weights(&self) -> usize {
        self.packed.weights.len() + self.packed.bias.len()
    }
}

impl Step for SharedStep {
    fn check(&self) -> Result<(), PlanError> {
        proven(self.whole.parts.len() == 1, STEP, "one batch")?;
        self.whole.check()
    }

    fn touches(&self) -> Touched {
        self.whole.touches()
    }

    fn describe(&self) -> String {
        format!("{}, {}", self.whole.describe(), format!("{:?}", self.phase).to_lowercase())
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        let Some(place) = self.whole.place(0, 0) else { return };
        for items in worker.share(self.whole.items(place.batch.patches, self.phase)) {
            // SAFETY: the caller's promise: the phase before is finished, and no other thread does these items.
            unsafe {
                match self.phase {
                    Phase::Patches => self.whole.spread(worker, &place, items),
                    Phase::Products => self.whole.multiply(worker, &place, items),
                    Phase::Sums => self.whole.collect(worker, &place, items),
                }
            }
        }
    }

    fn weights(&self) -> usize {
        if self.phase == Phase::Products { self.whole.weights() } else { 0 }
    }
}

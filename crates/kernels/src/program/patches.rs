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
//! Results differ from the direct sum in the sixth digit. Where filters are transformed in every run, it is another step
//! (`winograd/bands.rs`).

use std::ops::Range;
use std::sync::Arc;

use super::region::Region;
use super::step::{Step, Worker, proven};
use super::tiles::even;
use super::winograd::batch::{Batch, Factor};
use super::winograd::cutting::Cutting;
use super::winograd::patchwork::Patchwork;
use super::winograd::{PackedWinograd, Product};
use crate::bounds::Touched;
use crate::error::PlanError;
use crate::kernel::set::KernelSet;
use crate::layout::LANES;

const STEP: &str = "Winograd convolution";

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
    patchwork: Patchwork,
    /// The first thread's scratch memory; the others' follow.
    scratch: usize,
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
        let PackedWinograd { ends, padding, clamp, blocks, pixels, .. } = packed;
        let cutting = Cutting::new(output.shape(), ends);
        let count = cutting.patches();
        // As many parts as the threads can share evenly, or the one that they share.
        let parts = count.div_ceil(packed.batch);
        let parts = if parts == 1 { 1 } else { parts.next_multiple_of(threads).min(count) };
        let mut heights: Vec<usize> = packed.bands.iter().map(|band| band.blocks).collect();
        heights.dedup();
        let batch = |part| Batch::new(part, &cutting, (blocks[0], pixels), &heights, set);
        let batches = even(count, parts).map(batch).collect::<Option<Vec<_>>>();
        let batches = batches.ok_or(PlanError::Extent { step: STEP, access: "there is no kernel of its size" })?;
        let patchwork = Patchwork { ends, cutting, padding, clamp, input, output, residual };
        Ok(Self { packed, patchwork, scratch, batches })
    }

    /// The convolution as stages for so many threads.
    pub(crate) fn stages(self, threads: usize) -> Vec<Box<dyn Step>> {
        if threads == 1 || self.batches.len() > 1 {
            return vec![Box::new(self)];
        }
        let whole = Arc::new(self);
        let phase = |phase| Box::new(SharedStep { whole: Arc::clone(&whole), phase }) as Box<dyn Step>;
        [Phase::Patches, Phase::Products, Phase::Sums].map(phase).into()
    }

    /// Transforms some of a batch's patches, which are counted channel block by channel block.
    ///
    /// # Safety
    /// As for [`Step::run`].
    unsafe fn spread(&self, worker: &Worker<'_>, at: &Place<'_>, patches: Range<usize>) {
        let Batch { first, patches: of_batch, .. } = *at.batch;
        let plane = self.packed.stride(0, of_batch);
        for item in patches {
            let place = [item / of_batch, first + item % of_batch];
            // SAFETY: check() has proven every place that the kernel reaches.
            unsafe { self.patchwork.spread(worker, place, at.planes + item * LANES, plane) };
        }
    }

    /// Multiplies some of the planes' bands.
    ///
    /// # Safety
    /// As for [`Step::run`].
    unsafe fn multiply(&self, worker: &Worker<'_>, at: &Place<'_>, bands: Range<usize>) {
        let patches = at.batch.patches;
        let strides = [0, 1].map(|end| self.packed.stride(end, patches));
        let Patchwork { ends, cutting, .. } = &self.patchwork;
        for item in bands {
            let Product { plane, band, weights } = self.packed.products[item];
            let band = self.packed.bands[band];
            let to = at.sums + plane * strides[1] + band.block * patches * LANES;
            // SAFETY: check() has proven every place that the kernels reach.
            unsafe {
                let factor = Factor {
                    weights: self.packed.weights.as_ptr().add(weights),
                    blocks: band.blocks,
                    zeros: self.packed.zeros.as_ptr(),
                    input: worker.at(at.planes + plane * strides[0]),
                    output: worker.at(to),
                    asks: true,
                };
                at.batch.multiply(cutting.kind(ends.size, plane), &factor);
            }
        }
    }

    /// Transforms some of a batch's products back, which are counted as the patches are.
    ///
    /// # Safety
    /// As for [`Step::run`].
    unsafe fn collect(&self, worker: &Worker<'_>, at: &Place<'_>, patches: Range<usize>) {
        let Batch { first, patches: of_batch, .. } = *at.batch;
        let plane = self.packed.stride(1, of_batch);
        for item in patches {
            let place = [item / of_batch, first + item % of_batch];
            // SAFETY: check() has proven every place that the kernel reaches.
            unsafe {
                let bias = self.packed.bias.as_ptr().add(place[0] * LANES);
                self.patchwork.collect(worker, place, (at.sums + item * LANES, plane), bias);
            }
        }
    }

    /// Where a batch is computed in some thread's scratch memory.
    fn place(&self, batch: usize, thread: usize) -> Place<'_> {
        let batch = &self.batches[batch];
        let planes = self.scratch + thread * self.packed.scratch();
        let sums = planes + self.packed.planes() * self.packed.stride(0, batch.patches);
        Place { batch, planes, sums }
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

/// A batch that is being computed, and where its planes and their products lie.
struct Place<'a> {
    batch: &'a Batch,
    planes: usize,
    sums: usize,
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
        self.patchwork.check(STEP, *blocks)
    }

    fn touches(&self) -> Touched {
        let Patchwork { input, output, residual, .. } = &self.patchwork;
        let residual = residual.as_ref().map(Region::floats);
        let scratch = self.scratch..self.scratch + self.packed.scratch();
        let PackedWinograd { weights, bias, zeros, .. } = &self.packed;
        Touched {
            reads: [input.floats()].into_iter().chain(residual).collect(),
            writes: vec![output.floats(), scratch],
            weights: vec![weights.place(), bias.place(), zeros.place()],
        }
    }

    fn describe(&self) -> String {
        format!("{STEP} {} to {}", self.patchwork.input.shape(), self.patchwork.output.shape())
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        for batch in worker.share(self.batches.len()).flatten() {
            let place = self.place(batch, worker.number);
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
        proven(self.whole.batches.len() == 1, STEP, "one batch")?;
        self.whole.check()
    }

    fn touches(&self) -> Touched {
        self.whole.touches()
    }

    fn describe(&self) -> String {
        format!("{}, {}", self.whole.describe(), format!("{:?}", self.phase).to_lowercase())
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        let place = self.whole.place(0, 0);
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

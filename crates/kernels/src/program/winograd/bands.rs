//! A Winograd convolution whose filters are transformed in every run, sixteen output channels at a time.
//!
//! ```text
//! patches of a part ─► planes of [input channels][patches], which all threads share
//! for each band of sixteen output channels:
//!     for each row of its transformed filters:
//!         three columns' parts of two rows' parts ─► six columns of [input channels][16]
//!         ─ products with the planes of the row ─► their planes of [patches][16]
//!     ─► the patches' pixels, with bias, residual and clamp
//! ```
//!
//! The planes of a part fill half of the second cache, a band's filters and a row of their transform are in the other half, and
//! its products are few: of all that, only the packed filters come from memory, once for each part.

use std::ops::Range;
use std::sync::Arc;

use super::batch::{Batch, Factor};
use super::cutting::Cutting;
use super::filters::PackedFilters;
use super::patchwork::Patchwork;
use crate::bounds::Touched;
use crate::error::PlanError;
use crate::kernel::set::KernelSet;
use crate::kernel::winograd::filters::{FilterCall, NUMBERS, PARTS};
use crate::layout::LANES;
use crate::program::region::Region;
use crate::program::step::{Step, Worker, proven};
use crate::program::tiles::even;

const STEP: &str = "Winograd convolution by bands";

/// The convolution with every offset settled.
#[derive(Debug)]
pub(crate) struct Bands {
    packed: PackedFilters,
    patchwork: Patchwork,
    /// The first thread's scratch memory, with the planes that all share; the others' follow.
    scratch: usize,
    /// The parts of the picture.
    parts: Vec<Batch>,
    /// For each row of a transformed filter, the planes that are multiplied with it, and its column for each.
    rows: Vec<Vec<(usize, usize)>>,
}

/// What all threads do of a part before they meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Patches,
    Bands,
}

/// One phase of one part.
#[derive(Debug)]
pub(crate) struct BandStep {
    whole: Arc<Bands>,
    phase: Phase,
    part: usize,
}

impl Bands {
    pub(crate) fn new(
        packed: PackedFilters,
        [input, output]: [Region; 2],
        residual: Option<Region>,
        scratch: usize,
        set: &KernelSet,
    ) -> Result<Self, PlanError> {
        let PackedFilters { ends, padding, clamp, blocks, pixels, .. } = packed;
        let cutting = Cutting::new(output.shape(), ends);
        let part = |part| Batch::new(part, &cutting, (blocks[0], pixels), &[1], set);
        let parts = even(cutting.patches(), packed.parts).map(part).collect::<Option<Vec<_>>>();
        let parts = parts.ok_or(PlanError::Extent { step: STEP, access: "there is no kernel of its size" })?;
        let of_row = |row| {
            let all = (0..ends.size.planes()).map(|plane| (plane, ends.size.filter_of(plane)));
            all.filter(|(_, [of, _])| *of == row).map(|(plane, [_, column])| (plane, column)).collect()
        };
        let rows = (0..NUMBERS).map(of_row).collect();
        let patchwork = Patchwork { ends, cutting, padding, clamp, input, output, residual };
        Ok(Self { packed, patchwork, scratch, parts, rows })
    }

    /// The convolution as stages.
    pub(crate) fn stages(self) -> Vec<Box<dyn Step>> {
        let (parts, whole) = (self.parts.len(), Arc::new(self));
        let phases = (0..parts).flat_map(|part| [(part, Phase::Patches), (part, Phase::Bands)]);
        let step = |(part, phase)| Box::new(BandStep { whole: Arc::clone(&whole), phase, part }) as Box<dyn Step>;
        phases.map(step).collect()
    }

    /// Where a thread's products and its filters begin.
    fn own(&self, thread: usize) -> [usize; 2] {
        let products = self.scratch + thread * self.packed.scratch() + self.packed.shared();
        [products, products + self.packed.planes() * self.packed.plane(1, self.packed.batch)]
    }

    /// Transforms some of a part's patches, which are counted channel block by channel block.
    ///
    /// # Safety
    /// As for [`Step::run`].
    unsafe fn spread(&self, worker: &Worker<'_>, part: &Batch, patches: Range<usize>) {
        let plane = self.packed.plane(self.packed.blocks[0], part.patches);
        for item in patches {
            let place = [item / part.patches, part.first + item % part.patches];
            // SAFETY: check() has proven every place that the kernel reaches.
            unsafe { self.patchwork.spread(worker, place, self.scratch + item * LANES, plane) };
        }
    }

    /// Multiplies a part with one band, and writes its pixels.
    ///
    /// # Safety
    /// As for [`Step::run`].
    unsafe fn band(&self, worker: &Worker<'_>, part: &Batch, band: usize) {
        let plane = self.packed.plane(1, part.patches);
        let [products, _] = self.own(worker.number);
        for row in 0..NUMBERS {
            // SAFETY: check() has proven every place that the kernels reach.
            unsafe {
                self.transform(worker, band, row);
                self.multiply(worker, part, row);
            }
        }
        for patch in 0..part.patches {
            // SAFETY: as above.
            unsafe {
                let bias = self.packed.bias.as_ptr().add(band * LANES);
                self.patchwork.collect(worker, [band, part.first + patch], (products + patch * LANES, plane), bias);
            }
        }
    }

    /// Transforms a row of a band's filters.
    ///
    /// # Safety
    /// As for [`Step::run`].
    unsafe fn transform(&self, worker: &Worker<'_>, band: usize, row: usize) {
        let (first, second, factor) = self.packed.recipe.rows[row];
        let [_, filters] = self.own(worker.number);
        let part = |number: usize| (band * PARTS + number) * self.packed.part();
        // SAFETY: check() has proven every place that the kernel reaches.
        unsafe {
            (self.packed.transform)(&FilterCall {
                first: self.packed.weights.as_ptr().add(part(first)),
                second: self.packed.weights.as_ptr().add(part(second)),
                factor,
                inputs: self.packed.blocks[0] * LANES,
                output: worker.at(filters),
                plane: self.packed.column(),
            });
        }
    }

    /// Multiplies a part with a row of transformed filters.
    ///
    /// # Safety
    /// As for [`Step::run`].
    unsafe fn multiply(&self, worker: &Worker<'_>, part: &Batch, row: usize) {
        let strides = [self.packed.blocks[0], 1].map(|blocks| self.packed.plane(blocks, part.patches));
        let [products, filters] = self.own(worker.number);
        let Patchwork { ends, cutting, .. } = &self.patchwork;
        for &(plane, column) in &self.rows[row] {
            let slot = self.packed.recipe.slots[column];
            // SAFETY: check() has proven every place that the kernels reach.
            unsafe {
                let factor = Factor {
                    weights: worker.at(filters + slot * self.packed.column()),
                    blocks: 1,
                    zeros: self.packed.zeros.as_ptr(),
                    input: worker.at(self.scratch + plane * strides[0]),
                    output: worker.at(products + plane * strides[1]),
                    asks: false,
                };
                part.multiply(cutting.kind(ends.size, plane), &factor);
            }
        }
    }
}

impl Step for BandStep {
    fn check(&self) -> Result<(), PlanError> {
        let Bands { packed, patchwork, parts, rows, .. } = self.whole.as_ref();
        let PackedFilters { blocks, weights, bias, zeros, batch, recipe, .. } = packed;
        proven(self.part < parts.len(), STEP, "parts")?;
        // Runs of whole blocks reach the last patch of the last block of a plane, and no further: planes are as long.
        proven(parts.iter().all(|part| part.patches <= *batch), STEP, "scratch")?;
        let inside = |part: &Batch| part.first + part.patches <= patchwork.cutting.patches();
        proven(parts.iter().all(inside), STEP, "patches")?;
        // A call reads two parts of a band, and writes as many slots as there are columns.
        let is_read = weights.len() >= blocks[1] * PARTS * packed.part();
        let of_recipe = recipe.rows.iter().all(|&(first, second, _)| first < PARTS && second < PARTS);
        let is_written = recipe.slots.iter().all(|&slot| slot < NUMBERS) && blocks[0] > 0;
        proven(is_read && of_recipe && is_written, STEP, "filters")?;
        proven(bias.len() >= blocks[1] * LANES && zeros.len() >= LANES, STEP, "weights")?;
        let mut planes = rows.iter().flatten();
        proven(planes.all(|&(plane, column)| plane < packed.planes() && column < NUMBERS), STEP, "planes")?;
        patchwork.check(STEP, *blocks)
    }

    fn touches(&self) -> Touched {
        let Patchwork { input, output, residual, .. } = &self.whole.patchwork;
        let residual = residual.as_ref().map(Region::floats);
        let scratch = self.whole.scratch..self.whole.scratch + self.whole.packed.scratch();
        let PackedFilters { weights, bias, zeros, .. } = &self.whole.packed;
        Touched {
            reads: [input.floats()].into_iter().chain(residual).collect(),
            writes: vec![output.floats(), scratch],
            weights: vec![weights.place(), bias.place(), zeros.place()],
        }
    }

    fn describe(&self) -> String {
        let Patchwork { input, output, .. } = &self.whole.patchwork;
        let phase = format!("{:?}", self.phase).to_lowercase();
        format!("{STEP} {} to {}, {phase} of part {}", input.shape(), output.shape(), self.part)
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        let part = &self.whole.parts[self.part];
        let blocks = self.whole.packed.blocks;
        let items = if self.phase == Phase::Patches { blocks[0] * part.patches } else { blocks[1] };
        for items in worker.share(items) {
            // SAFETY: the caller's promise: the phase before is finished, and no other thread does these items.
            unsafe {
                match self.phase {
                    Phase::Patches => self.whole.spread(worker, part, items),
                    Phase::Bands => items.for_each(|band| self.whole.band(worker, part, band)),
                }
            }
        }
    }

    fn weights(&self) -> usize {
        let is_first = self.part == 0 && self.phase == Phase::Bands;
        if is_first { self.whole.packed.weights.len() + self.whole.packed.bias.len() } else { 0 }
    }
}

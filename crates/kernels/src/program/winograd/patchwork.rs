//! The patches of a Winograd convolution in its tensors: where they are read, and where they are written.

use super::cutting::Cutting;
use crate::error::PlanError;
use crate::kernel::winograd::{Ends, PatchCall, SumCall};
use crate::layout::LANES;
use crate::program::region::Region;
use crate::program::step::{Worker, proven};

/// A convolution but for its weights.
#[derive(Debug)]
pub(crate) struct Patchwork {
    pub(crate) ends: &'static Ends,
    pub(crate) cutting: Cutting,
    pub(crate) padding: [usize; 2],
    pub(crate) clamp: Option<(f32, f32)>,
    pub(crate) input: Region,
    pub(crate) output: Region,
    pub(crate) residual: Option<Region>,
}

impl Patchwork {
    /// Rows and columns of a patch's window and of its output, if nothing of them were beyond the picture.
    fn lengths(&self, patch: usize) -> [[usize; 2]; 2] {
        let size = self.ends.size;
        let shortness = self.cutting.shortness(patch);
        let is_short = [shortness / 2 == 1, shortness % 2 == 1];
        let of = |whole: usize, short: Option<usize>| {
            is_short.map(|is_short| if is_short { short.unwrap_or(whole) } else { whole })
        };
        let short = size.short.as_ref();
        [of(size.patch, short.map(|short| short.patch)), of(size.output, short.map(|short| short.output))]
    }

    /// The first pixel of a patch's window in the first block, and how many of its rows and columns there are.
    fn window(&self, patch: usize) -> Option<(usize, (usize, usize))> {
        let [y, x] = self.cutting.first(patch).map(|pixel| pixel * self.ends.size.stride);
        let layout = &self.input.layout;
        let [top, left] = self.padding;
        let first = self.input.window(y, x, top, left)?;
        let columns = layout.row() / LANES;
        let rows = layout.rows().checked_sub(y + layout.halo - top)?;
        let [[height, width], _] = self.lengths(patch);
        Some((first, (rows.min(height), columns.checked_sub(x + layout.halo - left)?.min(width))))
    }

    /// A patch's first row and column in the output, and how many are inside the picture.
    fn target(&self, patch: usize) -> ([usize; 2], (usize, usize)) {
        let shape = self.output.shape();
        let [y, x] = self.cutting.first(patch);
        let [_, [height, width]] = self.lengths(patch);
        ([y, x], ((shape.height - y).min(height), (shape.width - x).min(width)))
    }

    /// Transforms a block of a patch, to a place in the arena from which on planes lie so many floats apart.
    ///
    /// # Safety
    /// As for [`Step::run`](crate::program::step::Step::run), and of the place.
    pub(crate) unsafe fn spread(&self, worker: &Worker<'_>, [block, patch]: [usize; 2], to: usize, plane: usize) {
        let Some((window, inside)) = self.window(patch) else { return };
        // SAFETY: check() has proven every place that the kernel reaches.
        unsafe {
            (self.ends.patch[self.cutting.shortness(patch)])(&PatchCall {
                input: worker.at(window + block * self.input.layout.block()),
                row: self.input.layout.row(),
                inside,
                output: worker.at(to),
                plane,
            });
        }
    }

    /// Transforms a block of a patch's products back, which lie as for [`Self::spread`].
    ///
    /// # Safety
    /// As for [`Step::run`](crate::program::step::Step::run), of the place, and of the block's bias.
    pub(crate) unsafe fn collect(
        &self,
        worker: &Worker<'_>,
        [block, patch]: [usize; 2],
        (from, plane): (usize, usize),
        bias: *const f32,
    ) {
        let ([y, x], inside) = self.target(patch);
        let residual = self.residual.as_ref();
        // SAFETY: check() has proven every place that the kernel reaches.
        unsafe {
            (self.ends.sums[self.cutting.shortness(patch)])(&SumCall {
                input: worker.at(from),
                plane,
                bias,
                residual: residual.map(|region| (worker.at(region.at(block, y, x)).cast_const(), region.layout.row())),
                clamp: self.clamp,
                output: worker.at(self.output.at(block, y, x)),
                row: self.output.layout.row(),
                inside,
            });
        }
    }

    /// Proves that no patch of so many blocks of input and output reaches beyond its tensors.
    pub(crate) fn check(&self, step: &'static str, blocks: [usize; 2]) -> Result<(), PlanError> {
        proven(blocks == [self.input.blocks(), self.output.blocks()], step, "blocks")?;
        let last = (self.input.blocks() - 1) * self.input.layout.block();
        for patch in 0..self.cutting.patches() {
            let window = self.window(patch).ok_or(PlanError::Extent { step, access: "before the halo" })?;
            let (first, (rows, columns)) = window;
            if rows > 0 && columns > 0 {
                let end = first + last + (rows - 1) * self.input.layout.row() + columns * LANES;
                proven(self.input.holds(first, end), step, "input")?;
            }
            let ([y, x], (rows, columns)) = self.target(patch);
            for region in [Some(&self.output), self.residual.as_ref()].into_iter().flatten() {
                let end = region.at(region.blocks() - 1, y + rows - 1, x + columns - 1) + LANES;
                proven(region.blocks() == blocks[1] && region.holds(region.at(0, y, x), end), step, "output")?;
            }
        }
        Ok(())
    }
}

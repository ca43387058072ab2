//! The pixels of a picture as tokens in one row, behind tokens that are constants; a number is added to each element.

use super::region::Region;
use super::shelf::Weights;
use super::step::{Step, Worker, proven};
use crate::activation::Activation;
use crate::bounds::{Access, Touched};
use crate::error::PlanError;
use crate::kernel::pointwise::{Combination, Operand, PointwiseCall};
use crate::kernel::set::KernelSet;
use crate::layout::LANES;

pub(crate) const TOKENS: &str = "row of tokens";
const STEP: &str = TOKENS;

/// A row of tokens with every offset settled: `[channels, rows, columns]` to `[channels, 1, first + rows · columns]`.
#[derive(Debug)]
pub(crate) struct TokenStep {
    /// Tokens before those of the picture.
    pub(crate) first: usize,
    /// For each block of channels, sixteen numbers of each token: those before the picture's, or what is added to it.
    pub(crate) addends: Weights,
    pub(crate) input: Region,
    pub(crate) output: Region,
    pub(crate) set: &'static KernelSet,
}

impl Step for TokenStep {
    fn check(&self) -> Result<(), PlanError> {
        let (from, to) = (self.input.shape(), self.output.shape());
        let is_row = to.height == 1 && to.width == self.first + from.pixels() && to.channels == from.channels;
        proven(is_row, STEP, "sizes")?;
        for (region, access) in [(&self.input, "input"), (&self.output, "output")] {
            let shape = region.shape();
            let end = region.at(region.blocks() - 1, shape.height - 1, shape.width - 1) + LANES;
            proven(region.holds(region.at(0, 0, 0), end), STEP, access)?;
        }
        let floats = self.output.blocks() * to.width * LANES;
        proven(self.input.blocks() == self.output.blocks() && self.addends.len() >= floats, STEP, "addends")
    }

    fn touches(&self) -> Touched {
        Touched {
            reads: vec![self.input.floats()],
            writes: vec![self.output.floats()],
            weights: vec![self.addends.place()],
        }
    }

    fn describe(&self) -> String {
        format!("{STEP} {} to {}", self.input.shape(), self.output.shape())
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        let (from, tokens) = (self.input.shape(), self.output.shape().width);
        for block in worker.share(self.output.blocks()).flatten() {
            // SAFETY: check() has proven that every row is inside its region, and that there is an addend for each element.
            unsafe {
                let addends = self.addends.as_ptr().add(block * tokens * LANES);
                let floats = self.first * LANES;
                let constant = worker.span(self.output.at(block, 0, 0), floats, Access::Write);
                constant.copy_from_nonoverlapping(addends, floats);
                for y in 0..from.height {
                    let token = self.first + y * from.width;
                    (self.set.pointwise)(&PointwiseCall {
                        input: worker.at(self.input.at(block, y, 0)),
                        operand: Operand::Row(addends.add(token * LANES), Combination::Sum),
                        activation: Activation::Identity,
                        output: worker.at(self.output.at(block, 0, token)),
                        pixels: from.width,
                    });
                }
            }
        }
    }

    fn weights(&self) -> usize {
        self.addends.len()
    }
}

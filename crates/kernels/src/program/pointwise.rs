//! Steps that treat each element by itself.

use super::region::Region;
use super::step::{Step, Worker, proven};
use crate::activation::Activation;
use crate::bounds::Touched;
use crate::error::PlanError;
use crate::floats::Floats;
use crate::kernel::pointwise::{Combination, Operand, PointwiseCall};
use crate::kernel::set::KernelSet;
use crate::layout::LANES;

const STEP: &str = "pointwise step";

/// The second operand of a pointwise step.
#[derive(Debug)]
pub(crate) enum Other {
    /// A tensor of the same shape.
    Tensor(Region, Combination),
    /// One number for each channel, from another tensor.
    Channels(Region, Combination),
    /// A factor and an addend for each channel, in whole blocks.
    Affine(Floats, Floats),
}

/// A pointwise step with every offset settled.
#[derive(Debug)]
pub(crate) struct PointwiseStep {
    pub(crate) input: Region,
    pub(crate) other: Other,
    pub(crate) activation: Activation,
    pub(crate) output: Region,
    pub(crate) set: &'static KernelSet,
}

impl PointwiseStep {
    /// # Safety
    /// As for [`Step::run`].
    unsafe fn operand(&self, worker: &Worker<'_>, block: usize, y: usize) -> Operand {
        // SAFETY: check() has proven that the operand covers every block and row.
        unsafe {
            match &self.other {
                Other::Tensor(region, how) => Operand::Row(worker.at(region.at(block, y, 0)), *how),
                Other::Channels(region, how) => Operand::Channels(worker.at(region.at(block, 0, 0)), *how),
                Other::Affine(factors, addends) => {
                    Operand::Affine(factors.as_ptr().add(block * LANES), addends.as_ptr().add(block * LANES))
                }
            }
        }
    }
}

impl Step for PointwiseStep {
    fn check(&self) -> Result<(), PlanError> {
        let (shape, last) = (self.output.shape(), self.output.blocks() - 1);
        let covers = |region: &Region, height: usize, width: usize| {
            region.blocks() == last + 1
                && region.holds(region.at(0, 0, 0), region.at(last, height - 1, width - 1) + LANES)
        };
        proven(covers(&self.output, shape.height, shape.width), STEP, "output")?;
        proven(covers(&self.input, shape.height, shape.width), STEP, "input")?;
        match &self.other {
            Other::Tensor(region, _) => proven(covers(region, shape.height, shape.width), STEP, "operand"),
            Other::Channels(region, _) => proven(covers(region, 1, 1), STEP, "operand"),
            Other::Affine(factors, addends) => {
                let floats = (last + 1) * LANES;
                proven(factors.len() >= floats && addends.len() >= floats, STEP, "operand")
            }
        }
    }

    fn touches(&self) -> Touched {
        let mut touched = Touched { reads: vec![self.input.floats()], ..Touched::default() };
        match &self.other {
            Other::Tensor(region, _) | Other::Channels(region, _) => touched.reads.push(region.floats()),
            Other::Affine(factors, addends) => touched.weights = vec![factors.place(), addends.place()],
        }
        touched.writes.push(self.output.floats());
        touched
    }

    fn describe(&self) -> String {
        format!("{STEP} {}", self.output.shape())
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        let shape = self.output.shape();
        for item in worker.share(self.output.blocks() * shape.height).flatten() {
            let (block, y) = (item / shape.height, item % shape.height);
            // SAFETY: check() has proven that every row is inside its region.
            unsafe {
                (self.set.pointwise)(&PointwiseCall {
                    input: worker.at(self.input.at(block, y, 0)),
                    operand: self.operand(worker, block, y),
                    activation: self.activation,
                    output: worker.at(self.output.at(block, y, 0)),
                    pixels: shape.width,
                });
            }
        }
    }

    fn weights(&self) -> usize {
        match &self.other {
            Other::Affine(factors, addends) => factors.len() + addends.len(),
            _ => 0,
        }
    }
}

//! Layer normalisation over the channels of every pixel.

use super::region::Region;
use super::step::{Step, Worker, proven};
use crate::bounds::Touched;
use crate::error::PlanError;
use crate::floats::Floats;
use crate::kernel::normalise::NormaliseCall;
use crate::kernel::set::KernelSet;
use crate::layout::LANES;

const STEP: &str = "layer normalisation";

/// Pixels of a call at most: threads share rows, too.
const PIXELS: usize = 16;

/// What a layer normalisation computes by.
#[derive(Debug)]
pub(crate) struct Normalisation {
    /// Factors and addends of the channels, in whole blocks.
    pub(crate) scale: Floats,
    pub(crate) shift: Floats,
    /// Added to the variance.
    pub(crate) epsilon: f32,
}

/// A layer normalisation with every offset settled.
#[derive(Debug)]
pub(crate) struct NormalisationStep {
    pub(crate) input: Region,
    pub(crate) by: Normalisation,
    pub(crate) output: Region,
    pub(crate) set: &'static KernelSet,
}

impl Step for NormalisationStep {
    fn check(&self) -> Result<(), PlanError> {
        let (shape, last) = (self.output.shape(), self.output.blocks() - 1);
        for (region, access) in [(&self.input, "input"), (&self.output, "output")] {
            let end = region.at(last, shape.height - 1, shape.width - 1) + LANES;
            let covers = region.channels == shape.channels && region.holds(region.at(0, 0, 0), end);
            proven(covers, STEP, access)?;
        }
        let floats = (last + 1) * LANES;
        proven(self.by.scale.len() >= floats && self.by.shift.len() >= floats, STEP, "parameters")
    }

    fn touches(&self) -> Touched {
        Touched {
            reads: vec![self.input.floats()],
            writes: vec![self.output.floats()],
            weights: vec![self.by.scale.place(), self.by.shift.place()],
        }
    }

    fn describe(&self) -> String {
        format!("{STEP} {}", self.output.shape())
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        let shape = self.output.shape();
        let parts = shape.width.div_ceil(PIXELS);
        for item in worker.share(shape.height * parts).flatten() {
            let (y, x) = (item / parts, item % parts * PIXELS);
            // SAFETY: check() has proven that every block of every row is inside its region.
            unsafe {
                (self.set.normalise)(&NormaliseCall {
                    input: worker.at(self.input.at(0, y, x)),
                    input_block: self.input.layout.block(),
                    channels: shape.channels,
                    epsilon: self.by.epsilon,
                    scale: self.by.scale.as_ptr(),
                    shift: self.by.shift.as_ptr(),
                    output: worker.at(self.output.at(0, y, x)),
                    output_block: self.output.layout.block(),
                    pixels: PIXELS.min(shape.width - x),
                });
            }
        }
    }

    fn weights(&self) -> usize {
        self.by.scale.len() + self.by.shift.len()
    }
}

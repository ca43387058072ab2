//! Softmax over the channels of a vector, at the end of a classifier.

use super::region::Region;
use super::step::{Step, Worker, proven};
use crate::bounds::{Access, Touched};
use crate::error::PlanError;

const STEP: &str = "softmax";

/// A softmax with every offset settled.
#[derive(Debug)]
pub(crate) struct SoftmaxStep {
    pub(crate) input: Region,
    pub(crate) output: Region,
}

impl Step for SoftmaxStep {
    fn check(&self) -> Result<(), PlanError> {
        for region in [&self.input, &self.output] {
            let last = region.element(self.output.channels - 1, 0, 0);
            proven(region.holds(region.element(0, 0, 0), last + 1), STEP, "a vector")?;
        }
        Ok(())
    }

    fn touches(&self) -> Touched {
        Touched { reads: vec![self.input.floats()], writes: vec![self.output.floats()], weights: vec![] }
    }

    fn describe(&self) -> String {
        format!("{STEP} {}", self.output.shape())
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        if worker.number > 0 {
            return;
        }
        let channels = 0..self.output.channels;
        // SAFETY: check() has proven that every channel is inside the regions.
        let read = |channel: usize| unsafe { *worker.span(self.input.element(channel, 0, 0), 1, Access::Read) };
        let greatest = channels.clone().map(read).fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = channels.clone().map(|channel| (read(channel) - greatest).exp()).sum();
        for channel in channels {
            // SAFETY: as above.
            unsafe {
                *worker.span(self.output.element(channel, 0, 0), 1, Access::Write) =
                    (read(channel) - greatest).exp() / sum
            };
        }
    }
}

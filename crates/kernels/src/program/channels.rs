//! Channels in another order: what concatenations at odd places, slices and shuffles of channels come to.

use super::region::Region;
use super::step::{Step, Worker, proven};
use crate::error::PlanError;

const STEP: &str = "channel order";

/// Copies channels one by one, with every offset settled.
#[derive(Debug)]
pub(crate) struct ChannelStep {
    pub(crate) input: Region,
    pub(crate) output: Region,
    /// For each copied channel, the input's and the output's.
    pub(crate) pairs: Vec<(usize, usize)>,
}

impl Step for ChannelStep {
    fn check(&self) -> Result<(), PlanError> {
        let shape = self.output.shape();
        for &(from, to) in &self.pairs {
            for (region, channel) in [(&self.input, from), (&self.output, to)] {
                let first = region.element(channel, 0, 0);
                let last = region.element(channel, shape.height - 1, shape.width - 1);
                proven(region.holds(first, last + 1), STEP, "a channel")?;
            }
        }
        Ok(())
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        let (shape, pixel) = (self.output.shape(), self.output.layout.pixel());
        for &(from, to) in &self.pairs[worker.share(self.pairs.len())] {
            for y in 0..shape.height {
                let (source, target) = (self.input.element(from, y, 0), self.output.element(to, y, 0));
                for x in 0..shape.width {
                    // SAFETY: check() has proven that both channels are inside their regions.
                    unsafe { *worker.at(target + x * pixel) = *worker.at(source + x * pixel) };
                }
            }
        }
    }
}

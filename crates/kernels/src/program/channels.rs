//! Channels in another order: what concatenations at odd places and shuffles of channels come to.

use super::region::Region;
use super::step::{Step, Worker, proven};
use crate::bounds::{Access, Touched};
use crate::error::PlanError;

const STEP: &str = "channel order";

/// Copies channels one by one, with every offset settled.
#[derive(Debug)]
pub(crate) struct ChannelStep {
    pub(crate) inputs: Vec<Region>,
    pub(crate) output: Region,
    /// For each channel of the output, an input and its channel.
    pub(crate) order: Vec<(usize, usize)>,
}

impl Step for ChannelStep {
    fn check(&self) -> Result<(), PlanError> {
        let shape = self.output.shape();
        for (to, &(input, from)) in self.order.iter().enumerate() {
            let input = self.inputs.get(input).ok_or(PlanError::Extent { step: STEP, access: "an input" })?;
            for (region, channel) in [(input, from), (&self.output, to)] {
                let first = region.element(channel, 0, 0);
                let last = region.element(channel, shape.height - 1, shape.width - 1);
                proven(region.holds(first, last + 1), STEP, "a channel")?;
            }
        }
        Ok(())
    }

    fn touches(&self) -> Touched {
        let reads = self.inputs.iter().map(Region::floats).collect();
        Touched { reads, writes: vec![self.output.floats()], ..Touched::default() }
    }

    fn describe(&self) -> String {
        format!("{STEP} {}", self.output.shape())
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        let (shape, pixel) = (self.output.shape(), self.output.layout.pixel());
        for to in worker.share(self.order.len()).flatten() {
            let (input, from) = self.order[to];
            for y in 0..shape.height {
                let (source, target) = (self.inputs[input].element(from, y, 0), self.output.element(to, y, 0));
                for x in 0..shape.width {
                    // SAFETY: check() has proven that both channels are inside their regions.
                    unsafe {
                        *worker.span(target + x * pixel, 1, Access::Write) =
                            *worker.span(source + x * pixel, 1, Access::Read)
                    };
                }
            }
        }
    }
}

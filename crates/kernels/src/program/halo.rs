//! Zeros around a plane (of bytes: those that stand for zero): written again in every run, because the memory is shared with other tensors.

use super::region::Region;
use super::step::{Step, Worker};
use crate::bounds::{Access, Touched};
use crate::error::PlanError;
use crate::layout::Element;

/// The halo of a region's blocks.
#[derive(Debug)]
pub(crate) struct Halo {
    region: Region,
}

impl Halo {
    /// The halo of what a step writes; `None` where nobody pads.
    pub(crate) fn of(region: Region) -> Option<Box<dyn Step>> {
        (region.layout.halo > 0).then(|| Box::new(Self { region }) as Box<dyn Step>)
    }
}

impl Step for Halo {
    fn check(&self) -> Result<(), PlanError> {
        // Rows and columns of the halo are the layout's own.
        Ok(())
    }

    fn touches(&self) -> Touched {
        Touched { writes: vec![self.region.floats()], ..Touched::default() }
    }

    fn describe(&self) -> String {
        "halo".to_owned()
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        let layout = &self.region.layout;
        let (halo, row, pixel) = (layout.halo, layout.row(), layout.pixel());
        let whole = halo * row;
        let byte = match layout.element {
            Element::Float => 0,
            Element::Byte { zero } => zero,
        };
        for block in worker.share(self.region.blocks()).flatten() {
            let first = self.region.first + block * layout.block();
            let zero = |from: usize, count: usize| {
                // SAFETY: the block is the region's, the rows and columns are its layout's.
                unsafe { worker.span(first + from, count, Access::Write).write_bytes(byte, count) }
            };
            zero(0, whole);
            for y in halo..layout.rows() - halo {
                zero(y * row, halo * pixel);
                zero((y + 1) * row - halo * pixel, halo * pixel);
            }
            zero((layout.rows() - halo) * row, whole);
        }
    }
}

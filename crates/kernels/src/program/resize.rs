//! Pictures of other rows and columns: resized, cropped, or every second pixel of them.

use super::region::Region;
use super::step::{Step, Worker, proven};
use crate::bounds::{Access, Touched};
use crate::error::PlanError;
use crate::kernel::resize::{ResizeCall, Sample};
use crate::kernel::set::KernelSet;
use crate::layout::{LANES, Shape};

pub(crate) const STEP: &str = "resizing";

/// Where the rows and columns of a picture come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    /// One for each row of the output.
    pub rows: Vec<Sample>,
    /// One for each column of the output.
    pub columns: Vec<Sample>,
}

impl Samples {
    /// Whether every pixel of the output is one of the input.
    #[must_use]
    pub fn are_copies(&self) -> bool {
        self.rows.iter().chain(&self.columns).all(Sample::is_copy)
    }

    /// Whether they make a picture of one shape out of another.
    pub(crate) fn fit(&self, input: Shape, output: Shape) -> bool {
        let sides = [(&self.rows, input.height, output.height), (&self.columns, input.width, output.width)];
        sides.into_iter().all(|(samples, from, to)| {
            let is_inside = |sample: &Sample| {
                [sample.first, sample.second].iter().all(|&place| (place as usize) < from)
                    && (0.0..=1.0).contains(&sample.weight)
            };
            samples.len() == to && samples.iter().all(is_inside)
        })
    }
}

/// Proves that both regions have the same blocks, all of which are theirs, and that samples stay inside them.
fn check(samples: &Samples, input: &Region, output: &Region) -> Result<(), PlanError> {
    proven(!input.layout.is_planar && !output.layout.is_planar, STEP, "kind of tensor")?;
    proven(input.layout.is_bytes() == output.layout.is_bytes(), STEP, "kind of tensor")?;
    proven(input.blocks() == output.blocks(), STEP, "input blocks")?;
    proven(samples.fit(input.shape(), output.shape()), STEP, "a row or column")?;
    for region in [input, output] {
        let shape = region.shape();
        let end = region.at(region.blocks() - 1, shape.height - 1, shape.width - 1) + region.layout.pixel();
        proven(region.holds(region.at(0, 0, 0), end), STEP, "a tensor")?;
    }
    Ok(())
}

/// A resizing with every offset settled.
#[derive(Debug)]
pub(crate) struct ResizeStep {
    pub(crate) samples: Samples,
    pub(crate) input: Region,
    pub(crate) output: Region,
    pub(crate) set: &'static KernelSet,
}

impl Step for ResizeStep {
    fn check(&self) -> Result<(), PlanError> {
        proven(!self.input.layout.is_bytes(), STEP, "kind of tensor")?;
        check(&self.samples, &self.input, &self.output)
    }

    fn touches(&self) -> Touched {
        Touched::of([&self.input], &self.output)
    }

    fn describe(&self) -> String {
        format!("{STEP} {} to {}", self.input.shape(), self.output.shape())
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        let height = self.output.shape().height;
        let Samples { rows, columns } = &self.samples;
        let are_copies = columns.iter().all(Sample::is_copy);
        for item in worker.share(self.output.blocks() * height).flatten() {
            let (block, y) = (item / height, item % height);
            let Sample { first, second, weight } = rows[y];
            // SAFETY: check() has proven that the rows and the columns are inside their regions.
            unsafe {
                (self.set.resize)(&ResizeCall {
                    rows: [
                        worker.at(self.input.at(block, first as usize, 0)),
                        worker.at(self.input.at(block, second as usize, 0)),
                    ],
                    weight,
                    columns,
                    is_copy: are_copies && weight == 0.0,
                    output: worker.at(self.output.at(block, y, 0)),
                });
            }
        }
    }
}

/// A resizing of bytes, all of them copies, with every offset settled.
#[derive(Debug)]
pub(crate) struct ByteResizeStep {
    pub(crate) samples: Samples,
    pub(crate) input: Region,
    pub(crate) output: Region,
}

impl Step for ByteResizeStep {
    fn check(&self) -> Result<(), PlanError> {
        proven(self.input.layout.is_bytes(), STEP, "kind of tensor")?;
        check(&self.samples, &self.input, &self.output)
    }

    fn touches(&self) -> Touched {
        Touched::of([&self.input], &self.output)
    }

    fn describe(&self) -> String {
        format!("{STEP} of bytes {} to {}", self.input.shape(), self.output.shape())
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        let (from, to, pixel) = (self.input.shape(), self.output.shape(), self.output.layout.pixel());
        for item in worker.share(self.output.blocks() * to.height).flatten() {
            let (block, y) = (item / to.height, item % to.height);
            let row = self.samples.rows[y].first as usize;
            // SAFETY: check() has proven that the rows, of so many pixels of sixteen bytes, and the columns are inside
            // their regions.
            unsafe {
                let source = worker.span(self.input.at(block, row, 0), from.width * pixel, Access::Read);
                let target = worker.span(self.output.at(block, y, 0), to.width * pixel, Access::Write);
                let (source, target) = (source.cast::<[u8; LANES]>(), target.cast::<[u8; LANES]>());
                for (x, column) in self.samples.columns.iter().enumerate() {
                    *target.add(x) = *source.add(column.first as usize);
                }
            }
        }
    }
}

//! Steps over bytes that treat rows by themselves: tables, sums, poolings, and channels in another order.

use crate::block::Joint;
use crate::bounds::{Access, Touched};
use crate::error::PlanError;
use crate::kernel::bytes::rows::{ByteMeanCall, BytePoolCall, ProductRowCall, SumRowCall, TableCall};
use crate::kernel::bytes::set::ByteSet;
use crate::layout::LANES;
use crate::program::pooling::clipped;
use crate::program::region::Region;
use crate::program::step::{Step, Worker, proven};
use crate::program::window::Window;

const STEP: &str = "step over bytes";

/// Proves that a region is one of blocks of bytes, of which every row of `blocks` blocks is its own.
fn check_rows(region: &Region, blocks: usize) -> Result<(), PlanError> {
    let shape = region.shape();
    proven(region.layout.is_bytes() && !region.layout.is_planar, STEP, "kind of tensor")?;
    proven(region.blocks() == blocks, STEP, "blocks")?;
    let end = region.at(blocks - 1, shape.height - 1, shape.width - 1) + region.layout.pixel();
    proven(region.holds(region.at(0, 0, 0), end), STEP, "a tensor")
}

/// Proves that two regions show pictures of one size.
fn check_sides(a: &Region, b: &Region) -> Result<(), PlanError> {
    let (a, b) = (a.shape(), b.shape());
    proven((a.height, a.width) == (b.height, b.width), STEP, "sides")
}

/// Every byte by a table, with every offset settled.
#[derive(Debug)]
pub(crate) struct TableStep {
    pub(crate) input: Region,
    pub(crate) output: Region,
    /// Of stored bytes.
    pub(crate) table: Box<[u8; 256]>,
    pub(crate) set: &'static ByteSet,
}

impl Step for TableStep {
    fn check(&self) -> Result<(), PlanError> {
        check_rows(&self.input, self.output.blocks())?;
        check_rows(&self.output, self.output.blocks())?;
        check_sides(&self.input, &self.output)
    }

    fn touches(&self) -> Touched {
        Touched::of([&self.input], &self.output)
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        let shape = self.output.shape();
        for item in worker.share(self.output.blocks() * shape.height).flatten() {
            let (block, y) = (item / shape.height, item % shape.height);
            // SAFETY: check() has proven that every row is inside its region.
            unsafe {
                (self.set.look_up)(&TableCall {
                    input: worker.at(self.input.at(block, y, 0)).cast_const().cast(),
                    table: &self.table,
                    output: worker.at(self.output.at(block, y, 0)).cast(),
                    pixels: shape.width,
                });
            }
        }
    }
}

/// The sum of two tensors, with every offset settled.
#[derive(Debug)]
pub(crate) struct ByteSumStep {
    pub(crate) inputs: [Region; 2],
    pub(crate) output: Region,
    /// Unsigned.
    pub(crate) zeros: [i32; 2],
    /// The range of the output, unsigned.
    pub(crate) joint: Joint,
    pub(crate) set: &'static ByteSet,
}

impl Step for ByteSumStep {
    fn check(&self) -> Result<(), PlanError> {
        for input in &self.inputs {
            check_rows(input, self.output.blocks())?;
            check_sides(input, &self.output)?;
        }
        check_rows(&self.output, self.output.blocks())
    }

    fn touches(&self) -> Touched {
        Touched::of(&self.inputs, &self.output)
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        let shape = self.output.shape();
        for item in worker.share(self.output.blocks() * shape.height).flatten() {
            let (block, y) = (item / shape.height, item % shape.height);
            // SAFETY: check() has proven that every row is inside its region.
            unsafe {
                (self.set.sum)(&SumRowCall {
                    inputs: [
                        worker.at(self.inputs[0].at(block, y, 0)).cast_const().cast(),
                        worker.at(self.inputs[1].at(block, y, 0)).cast_const().cast(),
                    ],
                    zeros: self.zeros,
                    joint: self.joint,
                    output: worker.at(self.output.at(block, y, 0)).cast(),
                    pixels: shape.width,
                });
            }
        }
    }
}

/// The product of two tensors, or of a tensor and a vector of its channels, with every offset settled.
#[derive(Debug)]
pub(crate) struct ByteProductStep {
    pub(crate) inputs: [Region; 2],
    pub(crate) output: Region,
    /// Of the inputs and of the output, unsigned.
    pub(crate) zeros: [i32; 3],
    pub(crate) ratio: f32,
    pub(crate) limits: [u8; 2],
    pub(crate) set: &'static ByteSet,
}

impl ByteProductStep {
    /// Whether the second input has one pixel for all.
    fn is_by_channel(&self) -> bool {
        self.inputs[1].shape().pixels() == 1
    }
}

impl Step for ByteProductStep {
    fn check(&self) -> Result<(), PlanError> {
        for region in [&self.inputs[0], &self.inputs[1], &self.output] {
            check_rows(region, self.output.blocks())?;
        }
        check_sides(&self.inputs[0], &self.output)?;
        if self.is_by_channel() { Ok(()) } else { check_sides(&self.inputs[1], &self.output) }
    }

    fn touches(&self) -> Touched {
        Touched::of(&self.inputs, &self.output)
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        let shape = self.output.shape();
        let is_by_channel = self.is_by_channel();
        for item in worker.share(self.output.blocks() * shape.height).flatten() {
            let (block, y) = (item / shape.height, item % shape.height);
            // SAFETY: check() has proven that every row is inside its region.
            unsafe {
                (self.set.product)(&ProductRowCall {
                    inputs: [
                        worker.at(self.inputs[0].at(block, y, 0)).cast_const().cast(),
                        worker.at(self.inputs[1].at(block, if is_by_channel { 0 } else { y }, 0)).cast_const().cast(),
                    ],
                    second_pixel: if is_by_channel { 0 } else { LANES },
                    zeros: self.zeros,
                    ratio: self.ratio,
                    limits: self.limits,
                    output: worker.at(self.output.at(block, y, 0)).cast(),
                    pixels: shape.width,
                });
            }
        }
    }
}

/// The greatest bytes of windows, with every offset settled.
#[derive(Debug)]
pub(crate) struct BytePoolStep {
    pub(crate) window: Window,
    pub(crate) input: Region,
    pub(crate) output: Region,
    pub(crate) set: &'static ByteSet,
}

impl Step for BytePoolStep {
    fn check(&self) -> Result<(), PlanError> {
        let (input, output) = (self.input.shape(), self.output.shape());
        check_rows(&self.input, self.output.blocks())?;
        check_rows(&self.output, self.output.blocks())?;
        proven(self.window.dilation == [1, 1], STEP, "dilated windows")?;
        for (axis, (length, outputs)) in
            [(input.height, output.height), (input.width, output.width)].into_iter().enumerate()
        {
            // The first and the last window reach farthest; between them they only move.
            for place in [0, outputs - 1] {
                let (first, last) = clipped(&self.window, axis, place, length);
                proven(first < last, STEP, "a window outside the picture")?;
            }
        }
        Ok(())
    }

    fn touches(&self) -> Touched {
        Touched::of([&self.input], &self.output)
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        let (input, output) = (self.input.shape(), self.output.shape());
        for item in worker.share(self.output.blocks() * output.height).flatten() {
            let (block, y) = (item / output.height, item % output.height);
            // SAFETY: check() has proven that clipped windows are not empty; rows and columns are inside the pictures.
            unsafe {
                (self.set.greatest)(&BytePoolCall {
                    input: worker.at(self.input.at(block, 0, 0)).cast_const().cast(),
                    row: self.input.layout.row() * size_of::<f32>(),
                    rows: clipped(&self.window, 0, y, input.height),
                    width: input.width,
                    window: self.window.kernel[1],
                    stride: self.window.stride[1],
                    padding: self.window.padding[1],
                    output: worker.at(self.output.at(block, y, 0)).cast(),
                    pixels: output.width,
                });
            }
        }
    }
}

/// The mean of every channel, with every offset settled.
#[derive(Debug)]
pub(crate) struct ByteMeanStep {
    pub(crate) input: Region,
    pub(crate) output: Region,
    /// Unsigned.
    pub(crate) zeros: [u8; 2],
    pub(crate) factor: f32,
    pub(crate) set: &'static ByteSet,
}

impl Step for ByteMeanStep {
    fn check(&self) -> Result<(), PlanError> {
        check_rows(&self.input, self.output.blocks())?;
        check_rows(&self.output, self.output.blocks())?;
        // Sums of bytes then stay below 2³¹.
        proven(self.input.shape().pixels() < 1 << 23, STEP, "pixels of a mean")
    }

    fn touches(&self) -> Touched {
        Touched::of([&self.input], &self.output)
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        let shape = self.input.shape();
        for block in worker.share(self.input.blocks()).flatten() {
            // SAFETY: check() has proven that both planes are inside their regions.
            unsafe {
                (self.set.mean)(&ByteMeanCall {
                    input: worker.at(self.input.at(block, 0, 0)).cast_const().cast(),
                    row: self.input.layout.row() * size_of::<f32>(),
                    height: shape.height,
                    width: shape.width,
                    zeros: self.zeros,
                    factor: self.factor,
                    output: worker.at(self.output.at(block, 0, 0)).cast(),
                });
            }
        }
    }
}

/// Copies channels one by one, with every offset settled.
#[derive(Debug)]
pub(crate) struct ByteChannelStep {
    pub(crate) inputs: Vec<Region>,
    pub(crate) output: Region,
    /// For each channel of the output, an input and its channel.
    pub(crate) order: Vec<(usize, usize)>,
}

impl Step for ByteChannelStep {
    fn check(&self) -> Result<(), PlanError> {
        check_rows(&self.output, self.output.blocks())?;
        for input in &self.inputs {
            check_rows(input, input.blocks())?;
            check_sides(input, &self.output)?;
        }
        let exists = |&(input, channel): &(usize, usize)| {
            self.inputs.get(input).is_some_and(|region| channel < region.shape().channels)
        };
        let fits = self.order.len() == self.output.shape().channels && self.order.iter().all(exists);
        proven(fits, STEP, "a channel")
    }

    fn touches(&self) -> Touched {
        Touched::of(&self.inputs, &self.output)
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        let shape = self.output.shape();
        let pixel = self.output.layout.pixel() * size_of::<f32>();
        for to in worker.share(self.order.len()).flatten() {
            let (input, from) = self.order[to];
            for y in 0..shape.height {
                // SAFETY: check() has proven that both channels are inside their regions.
                unsafe {
                    let floats = shape.width * self.output.layout.pixel();
                    let source = worker.span(self.inputs[input].at(from / LANES, y, 0), floats, Access::Read);
                    let target = worker.span(self.output.at(to / LANES, y, 0), floats, Access::Write);
                    let (source, target) = (source.cast::<u8>().add(from % LANES), target.cast::<u8>().add(to % LANES));
                    for x in 0..shape.width {
                        *target.add(x * pixel) = *source.add(x * pixel);
                    }
                }
            }
        }
    }
}

//! Poolings: of windows, and of whole planes.

use super::region::Region;
use super::step::{Step, Worker, proven};
use super::window::Window;
use crate::bounds::Touched;
use crate::error::PlanError;
use crate::kernel::average::AverageCall;
use crate::kernel::pool::{PoolCall, PoolKind};
use crate::kernel::set::KernelSet;
use crate::layout::LANES;

const STEP: &str = "pooling";

/// A pooling with every offset settled.
#[derive(Debug)]
pub(crate) struct PoolStep {
    pub(crate) kind: PoolKind,
    pub(crate) window: Window,
    pub(crate) input: Region,
    pub(crate) output: Region,
    pub(crate) set: &'static KernelSet,
}

/// Rows or columns of the input that a window covers, clipped to the picture: first, and one past the last.
pub(crate) fn clipped(window: &Window, axis: usize, output: usize, length: usize) -> (usize, usize) {
    let from = output * window.stride[axis];
    let first = from.saturating_sub(window.padding[axis]);
    (first, (from + window.kernel[axis]).saturating_sub(window.padding[axis]).min(length))
}

impl Step for PoolStep {
    fn check(&self) -> Result<(), PlanError> {
        let (input, output) = (self.input.shape(), self.output.shape());
        proven(self.window.dilation == [1, 1], STEP, "dilated windows")?;
        proven(self.input.blocks() == self.output.blocks(), STEP, "input blocks")?;
        for (axis, (length, outputs)) in
            [(input.height, output.height), (input.width, output.width)].into_iter().enumerate()
        {
            // The first and the last window reach farthest; between them they only move.
            for place in [0, outputs - 1] {
                let (first, last) = clipped(&self.window, axis, place, length);
                proven(first < last, STEP, "a window outside the picture")?;
            }
        }
        let last = self.input.blocks() - 1;
        proven(
            self.input.holds(self.input.at(0, 0, 0), self.input.at(last, input.height - 1, input.width - 1) + LANES),
            STEP,
            "input",
        )?;
        proven(
            self.output
                .holds(self.output.at(0, 0, 0), self.output.at(last, output.height - 1, output.width - 1) + LANES),
            STEP,
            "output",
        )
    }

    fn touches(&self) -> Touched {
        Touched { reads: vec![self.input.floats()], writes: vec![self.output.floats()], weights: vec![] }
    }

    fn describe(&self) -> String {
        format!("{STEP} {} to {}", self.input.shape(), self.output.shape())
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        let (input, output) = (self.input.shape(), self.output.shape());
        let (is_average, counts_padding) = match self.kind {
            PoolKind::Maximum => (false, false),
            PoolKind::Average { counts_padding } => (true, counts_padding),
        };
        let whole = (self.window.kernel[0] * self.window.kernel[1]) as f32;
        for item in worker.share(self.output.blocks() * output.height).flatten() {
            let (block, y) = (item / output.height, item % output.height);
            // SAFETY: check() has proven that clipped windows are not empty; rows and columns are inside the pictures.
            unsafe {
                (self.set.pool)(&PoolCall {
                    input: worker.at(self.input.at(block, 0, 0)),
                    row: self.input.layout.row(),
                    rows: clipped(&self.window, 0, y, input.height),
                    width: input.width,
                    window: self.window.kernel[1],
                    stride: self.window.stride[1],
                    padding: self.window.padding[1],
                    divisor: counts_padding.then_some(whole),
                    is_average,
                    output: worker.at(self.output.at(block, y, 0)),
                    pixels: output.width,
                });
            }
        }
    }
}

/// The mean of every channel, with every offset settled.
#[derive(Debug)]
pub(crate) struct AverageStep {
    pub(crate) input: Region,
    pub(crate) output: Region,
    pub(crate) set: &'static KernelSet,
}

impl Step for AverageStep {
    fn check(&self) -> Result<(), PlanError> {
        let (shape, last) = (self.input.shape(), self.input.blocks() - 1);
        proven(self.input.blocks() == self.output.blocks(), STEP, "input blocks")?;
        let end = self.input.at(last, shape.height - 1, shape.width - 1) + LANES;
        proven(self.input.holds(self.input.at(0, 0, 0), end), STEP, "input")?;
        proven(self.output.holds(self.output.at(0, 0, 0), self.output.at(last, 0, 0) + LANES), STEP, "output")
    }

    fn touches(&self) -> Touched {
        Touched { reads: vec![self.input.floats()], writes: vec![self.output.floats()], weights: vec![] }
    }

    fn describe(&self) -> String {
        format!("average of {}", self.input.shape())
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        let shape = self.input.shape();
        for block in worker.share(self.input.blocks()).flatten() {
            // SAFETY: check() has proven that both planes are inside their regions.
            unsafe {
                (self.set.average)(&AverageCall {
                    input: worker.at(self.input.at(block, 0, 0)),
                    row: self.input.layout.row(),
                    height: shape.height,
                    width: shape.width,
                    output: worker.at(self.output.at(block, 0, 0)),
                });
            }
        }
    }
}

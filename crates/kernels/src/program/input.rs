//! From the caller's numbers to the first tensor.

use super::region::Region;
use super::step::{Picture, Step, Worker, proven};
use crate::bounds::{Access, Touched};
use crate::error::PlanError;
use crate::layout::Shape;

/// The order of a picture's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputOrder {
    /// Channel after channel (NCHW).
    ChannelsFirst,
    /// Pixel after pixel (NHWC).
    ChannelsLast,
}

/// The copy of the picture, with every offset settled.
#[derive(Debug)]
pub(crate) struct InputStep {
    pub(crate) output: Region,
    pub(crate) order: InputOrder,
}

impl Step for InputStep {
    fn check(&self) -> Result<(), PlanError> {
        let shape = self.output.shape();
        let last = self.output.element(shape.channels - 1, shape.height - 1, shape.width - 1);
        proven(self.output.holds(self.output.element(0, 0, 0), last + 1), "input", "the tensor")
    }

    fn touches(&self) -> Touched {
        Touched { writes: vec![self.output.floats()], ..Touched::default() }
    }

    fn describe(&self) -> String {
        format!("input {}", self.output.shape())
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        let Picture::Floats(picture) = worker.picture else { return };
        let (shape, pixel) = (self.output.shape(), self.output.layout.pixel());
        for item in worker.share(shape.channels * shape.height).flatten() {
            let (channel, y) = (item / shape.height, item % shape.height);
            let to = (self.output.element(channel, y, 0), pixel);
            // SAFETY: check() has proven that every row is inside the region.
            unsafe { copy_row(worker, picture, (self.order, shape), (channel, y), to) };
        }
    }
}

/// Copies a row of one channel of a picture of this shape to this float of the arena, where so many lie from a pixel to the
/// next.
///
/// # Safety
/// The row is inside the arena, and nobody else reads or writes it.
pub(super) unsafe fn copy_row(
    worker: &Worker<'_>,
    picture: &[f32],
    (order, shape): (InputOrder, Shape),
    (channel, y): (usize, usize),
    (to, pixel): (usize, usize),
) {
    let (first, step) = match order {
        InputOrder::ChannelsFirst => ((channel * shape.height + y) * shape.width, 1),
        InputOrder::ChannelsLast => (y * shape.width * shape.channels + channel, shape.channels),
    };
    if step == 1 && pixel == 1 {
        let row = &picture[first..][..shape.width];
        // SAFETY: the caller's promise; pixels are neighbours here.
        unsafe { worker.span(to, row.len(), Access::Write).copy_from_nonoverlapping(row.as_ptr(), row.len()) };
        return;
    }
    let row = picture[first..].iter().step_by(step).take(shape.width);
    for (x, &value) in row.enumerate() {
        // SAFETY: the caller's promise; the iterator ends with the row.
        unsafe { *worker.span(to + x * pixel, 1, Access::Write) = value };
    }
}

//! From the caller's numbers to the first tensor.

use std::sync::Arc;

use super::levels::Levels;
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

/// How floats are read from a picture.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) order: InputOrder,
    /// Of the picture.
    pub(crate) shape: Shape,
    /// What its bytes stand for, where it may be pixels.
    pub(crate) levels: Option<Arc<Levels>>,
}

/// The copy of the picture, with every offset settled.
#[derive(Debug)]
pub(crate) struct InputStep {
    pub(crate) output: Region,
    pub(crate) reading: Reading,
}

impl Step for InputStep {
    fn check(&self) -> Result<(), PlanError> {
        let shape = self.output.shape();
        proven(self.reading.fits(shape), "input", "the picture")?;
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
        let (shape, pixel) = (self.output.shape(), self.output.layout.pixel());
        for item in worker.share(shape.channels * shape.height).flatten() {
            let (channel, y) = (item / shape.height, item % shape.height);
            let to = (self.output.element(channel, y, 0), pixel);
            // SAFETY: check() has proven that every row is inside the region.
            unsafe { self.reading.copy_row(worker, (channel, y), to) };
        }
    }
}

impl Reading {
    /// Whether pictures are of this shape, and every channel's bytes are known.
    pub(crate) fn fits(&self, shape: Shape) -> bool {
        self.shape == shape && self.levels.as_ref().is_none_or(|levels| levels.channels() == shape.channels)
    }

    /// Copies a row of one channel of the picture to this float of the arena, where so many lie from a pixel to the next.
    ///
    /// # Safety
    /// The row is inside the arena, and nobody else reads or writes it.
    pub(super) unsafe fn copy_row(
        &self,
        worker: &Worker<'_>,
        (channel, y): (usize, usize),
        (to, pixel): (usize, usize),
    ) {
        let Shape { channels, height, width } = self.shape;
        let (first, step) = match self.order {
            InputOrder::ChannelsFirst => ((channel * height + y) * width, 1),
            InputOrder::ChannelsLast => (y * width * channels + channel, channels),
        };
        let are_neighbours = step == 1 && pixel == 1;
        match (worker.picture, &self.levels) {
            (Picture::Floats(picture), _) if are_neighbours => {
                let row = &picture[first..][..width];
                // SAFETY: the caller's promise; pixels are neighbours here.
                unsafe { worker.span(to, width, Access::Write).copy_from_nonoverlapping(row.as_ptr(), width) };
            }
            (Picture::Floats(picture), _) => {
                let row = picture[first..].iter().step_by(step).take(width);
                // SAFETY: the caller's promise; the iterator ends with the row.
                unsafe { place(worker, row.copied(), (to, pixel)) };
            }
            (Picture::Pixels(picture), Some(levels)) if are_neighbours => {
                // SAFETY: the caller's promise; pixels are neighbours here, and the arena is floats from the start.
                let floats = unsafe { std::slice::from_raw_parts_mut(worker.span(to, width, Access::Write), width) };
                levels.write(channel, &picture[first..][..width], floats);
            }
            (Picture::Pixels(picture), Some(levels)) => {
                let row = picture[first..].iter().step_by(step).take(width);
                // SAFETY: the caller's promise; the iterator ends with the row.
                unsafe { place(worker, row.map(|&byte| levels.float(channel, byte)), (to, pixel)) };
            }
            // Other pictures are not admitted.
            _ => {}
        }
    }
}

/// Writes numbers so many floats apart.
///
/// # Safety
/// As for [`Reading::copy_row`].
unsafe fn place(worker: &Worker<'_>, row: impl Iterator<Item = f32>, (to, pixel): (usize, usize)) {
    for (x, value) in row.enumerate() {
        // SAFETY: the caller's promise.
        unsafe { *worker.span(to + x * pixel, 1, Access::Write) = value };
    }
}

//! Where bytes begin and end: pictures that become tensors of bytes, and conversions between bytes and floats.

use super::Quantised;
use crate::bounds::{Access, Touched};
use crate::error::PlanError;
use crate::kernel::bytes::rows::{ConvertCall, PixelsCall, quantised};
use crate::kernel::bytes::set::ByteSet;
use crate::layout::{LANES, MAX_PICTURE_CHANNELS, Shape};
use crate::program::input::InputOrder;
use crate::program::region::Region;
use crate::program::step::{Picture, Step, Worker, proven};

/// What a program is given for a tensor of bytes.
#[derive(Debug, Clone)]
pub enum Arrival {
    /// Floats, which are quantised.
    Floats(Quantised),
    /// Bytes, each of which becomes another: a table for each channel. One for all channels serves any number of them.
    Bytes(Vec<[u8; 256]>),
}

/// The input of a program that begins with bytes.
#[derive(Debug, Clone)]
pub struct ByteInput {
    /// Its shape.
    pub shape: Shape,
    /// The order in which the caller gives it.
    pub order: InputOrder,
    /// Whether it is kept pixel after pixel, of at most [`MAX_PICTURE_CHANNELS`] channels: only dense convolutions can read
    /// it then, which are faster at that.
    pub is_planar: bool,
    /// The byte that stands for 0.
    pub zero: u8,
    /// What the caller gives.
    pub arrival: Arrival,
}

/// The first step of a program of bytes, with every offset settled.
#[derive(Debug)]
pub(crate) struct PictureStep {
    pub(crate) output: Region,
    pub(crate) order: InputOrder,
    pub(crate) arrival: Arrival,
    pub(crate) set: &'static ByteSet,
}

impl PictureStep {
    /// Writes one row of a channel, of which `value` knows each element by its place in the picture.
    ///
    /// # Safety
    /// As for [`Step::run`].
    unsafe fn row(&self, worker: &Worker<'_>, channel: usize, y: usize, value: impl Fn(usize) -> u8) {
        let shape = self.output.shape();
        let (first, step) = match self.order {
            InputOrder::ChannelsFirst => ((channel * shape.height + y) * shape.width, 1),
            InputOrder::ChannelsLast => (y * shape.width * shape.channels + channel, shape.channels),
        };
        let (block, lane) =
            if self.output.layout.is_planar { (0, channel) } else { (channel / LANES, channel % LANES) };
        let pixel = self.output.layout.pixel() * size_of::<f32>();
        // SAFETY: check() has proven that every row of every channel is inside the region.
        unsafe {
            let floats = shape.width * self.output.layout.pixel();
            let to = worker.span(self.output.at(block, y, 0), floats, Access::Write).cast::<u8>().add(lane);
            for x in 0..shape.width {
                *to.add(x * pixel) = self.set.stored(value(first + x * step));
            }
        }
    }
}

impl Step for PictureStep {
    fn check(&self) -> Result<(), PlanError> {
        let (shape, layout) = (self.output.shape(), self.output.layout);
        proven(layout.is_bytes(), "picture", "kind of tensor")?;
        proven(!layout.is_planar || shape.channels <= size_of::<f32>(), "picture", "channels")?;
        if let Arrival::Bytes(tables) = &self.arrival {
            proven([1, shape.channels].contains(&tables.len()), "picture", "tables")?;
        }
        let last = self.output.at(self.output.blocks() - 1, shape.height - 1, shape.width - 1);
        proven(self.output.holds(self.output.at(0, 0, 0), last + layout.pixel()), "picture", "the tensor")
    }

    fn touches(&self) -> Touched {
        Touched::of([], &self.output)
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        let shape = self.output.shape();
        for item in worker.share(shape.height).flatten() {
            if let (Arrival::Floats(as_bytes), Picture::Floats(picture)) = (&self.arrival, worker.picture)
                && self.output.layout.is_planar
                && self.order == InputOrder::ChannelsFirst
            {
                let mut rows: [&[f32]; MAX_PICTURE_CHANNELS] = [&[]; MAX_PICTURE_CHANNELS];
                for (channel, row) in rows.iter_mut().enumerate().take(shape.channels) {
                    let first = (channel * shape.height + item) * shape.width;
                    *row = &picture[first..first + shape.width];
                }
                // SAFETY: check() has proven that every row is inside the region, and that four channels are enough.
                unsafe {
                    (self.set.picture)(&PixelsCall {
                        rows: &rows[..shape.channels],
                        scale: as_bytes.scale,
                        zero: as_bytes.zero,
                        output: worker.at(self.output.at(0, item, 0)).cast(),
                    });
                }
                continue;
            }
            for channel in 0..shape.channels {
                // SAFETY: the caller's promise; no other thread writes this row. Pictures have been measured.
                unsafe {
                    match (&self.arrival, worker.picture) {
                        (Arrival::Floats(Quantised { scale, zero }), Picture::Floats(picture)) => {
                            self.row(worker, channel, item, |place| quantised(picture[place], *scale, *zero));
                        }
                        (Arrival::Bytes(tables), Picture::Bytes(picture)) => {
                            let table = &tables[channel % tables.len()];
                            self.row(worker, channel, item, |place| table[usize::from(picture[place])]);
                        }
                        _ => {}
                    }
                }
            }
        }
    }
}

/// Floats to bytes, with every offset settled.
#[derive(Debug)]
pub(crate) struct QuantiseStep {
    pub(crate) input: Region,
    pub(crate) output: Region,
    pub(crate) as_bytes: Quantised,
    pub(crate) set: &'static ByteSet,
}

/// Bytes to floats, with every offset settled.
#[derive(Debug)]
pub(crate) struct DequantiseStep {
    pub(crate) input: Region,
    pub(crate) output: Region,
    pub(crate) as_bytes: Quantised,
    pub(crate) set: &'static ByteSet,
}

/// Proves that both regions hold every pixel of every block of one shape, and that only `bytes` holds bytes.
fn check(floats: &Region, bytes: &Region) -> Result<(), PlanError> {
    const STEP: &str = "conversion";
    let (shape, last) = (floats.shape(), floats.blocks() - 1);
    let are_blocked = !floats.layout.is_planar && !bytes.layout.is_planar;
    proven(are_blocked && bytes.layout.is_bytes() && !floats.layout.is_bytes(), STEP, "kinds of tensors")?;
    proven(bytes.blocks() == last + 1, STEP, "blocks")?;
    for region in [floats, bytes] {
        let end = region.at(last, shape.height - 1, shape.width - 1) + region.layout.pixel();
        proven(region.holds(region.at(0, 0, 0), end), STEP, "a tensor")?;
    }
    Ok(())
}

/// The call for a row of a block.
///
/// # Safety
/// As for [`Step::run`].
unsafe fn call(worker: &Worker<'_>, [floats, bytes]: [&Region; 2], as_bytes: Quantised, item: usize) -> ConvertCall {
    let shape = floats.shape();
    let (block, y) = (item / shape.height, item % shape.height);
    // SAFETY: check() has proven that the row is inside both regions.
    unsafe {
        ConvertCall {
            floats: worker.at(floats.at(block, y, 0)),
            bytes: worker.at(bytes.at(block, y, 0)).cast(),
            pixels: shape.width,
            scale: as_bytes.scale,
            zero: as_bytes.zero,
        }
    }
}

impl Step for QuantiseStep {
    fn check(&self) -> Result<(), PlanError> {
        check(&self.input, &self.output)
    }

    fn touches(&self) -> Touched {
        Touched::of([&self.input], &self.output)
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        for item in worker.share(self.output.blocks() * self.output.shape().height).flatten() {
            // SAFETY: check() has proven that every row is inside its region.
            unsafe { (self.set.quantise)(&call(worker, [&self.input, &self.output], self.as_bytes, item)) };
        }
    }
}

impl Step for DequantiseStep {
    fn check(&self) -> Result<(), PlanError> {
        check(&self.output, &self.input)
    }

    fn touches(&self) -> Touched {
        Touched::of([&self.input], &self.output)
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        for item in worker.share(self.output.blocks() * self.output.shape().height).flatten() {
            // SAFETY: check() has proven that every row is inside its region.
            unsafe { (self.set.dequantise)(&call(worker, [&self.output, &self.input], self.as_bytes, item)) };
        }
    }
}

//! Where bytes begin and end: pictures that become tensors of bytes, and conversions between bytes and floats.

use super::Quantised;
use crate::bounds::{Access, Touched};
use crate::error::PlanError;
use crate::kernel::bytes::rows::{ConvertCall, PixelsCall, quantised};
use crate::kernel::bytes::set::ByteSet;
use crate::layout::{LANES, MAX_PICTURE_CHANNELS, Shape};
use crate::pixels::{Pixels, Words};
use crate::program::input::InputOrder;
use crate::program::levels::Levels;
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
    /// Where pixels may come instead of floats.
    pixels: Option<PixelBytes>,
    pub(crate) set: &'static ByteSet,
}

/// What the pixels of a picture become that is quantised.
#[derive(Debug)]
struct PixelBytes {
    /// For each channel, before it is stored.
    tables: Vec<[u8; 256]>,
    /// The same of three channels side by side, as they are stored.
    words: Option<Words>,
    loops: Pixels,
}

impl PixelBytes {
    fn new(levels: &Levels, as_bytes: Quantised, set: &ByteSet) -> Self {
        let tables = levels.as_bytes(as_bytes);
        let words = match (tables.as_slice(), levels.scalings()) {
            ([first, second, third], &[a, b, c]) => {
                let Quantised { scale, zero } = as_bytes;
                Some(Words::new([first, second, third], [a, b, c], (scale, zero), set.stored(0)))
            }
            _ => None,
        };
        Self { tables, words, loops: levels.loops() }
    }
}

impl PictureStep {
    /// The step, for pixels as well where it is known what they stand for.
    pub(crate) fn new(
        output: Region,
        order: InputOrder,
        arrival: Arrival,
        (set, levels): (&'static ByteSet, Option<&Levels>),
    ) -> Self {
        let pixels = match (&arrival, levels) {
            (Arrival::Floats(as_bytes), Some(levels)) => Some(PixelBytes::new(levels, *as_bytes, set)),
            _ => None,
        };
        Self { output, order, arrival, pixels, set }
    }

    /// Whether a row of the picture is a row of each channel, and a pixel of the tensor a word.
    fn is_by_words(&self) -> bool {
        self.output.layout.is_planar && self.order == InputOrder::ChannelsFirst
    }

    /// The row of a picture's channel, where [`Self::is_by_words`].
    fn channel_row<'p, T>(&self, picture: &'p [T], channel: usize, y: usize) -> &'p [T] {
        let shape = self.output.shape();
        &picture[(channel * shape.height + y) * shape.width..][..shape.width]
    }

    /// Writes one row of pixels of three channels.
    ///
    /// # Safety
    /// As for [`Step::run`].
    unsafe fn row_of_words(&self, worker: &Worker<'_>, y: usize, picture: &[u8], (words, loops): (&Words, Pixels)) {
        let rows = [0, 1, 2].map(|channel| self.channel_row(picture, channel, y));
        let width = self.output.shape().width;
        // SAFETY: check() has proven that every row is inside the region, and a pixel of a planar tensor is a word. Nobody else
        // reads or writes it, and the arena is floats from the start, which are words to whoever reads them so.
        let out = unsafe {
            let first = worker.span(self.output.at(0, y, 0), width, Access::Write).cast::<u32>();
            std::slice::from_raw_parts_mut(first, width)
        };
        loops.words(rows, words, out);
    }

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
        if let Some(pixels) = &self.pixels {
            proven(pixels.tables.len() == shape.channels, "picture", "tables of pixels")?;
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
                && self.is_by_words()
            {
                let mut rows: [&[f32]; MAX_PICTURE_CHANNELS] = [&[]; MAX_PICTURE_CHANNELS];
                for (channel, row) in rows.iter_mut().enumerate().take(shape.channels) {
                    *row = self.channel_row(picture, channel, item);
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
            if let (Some(PixelBytes { words: Some(words), loops, .. }), Picture::Pixels(picture)) =
                (&self.pixels, worker.picture)
                && self.is_by_words()
            {
                // SAFETY: the caller's promise; no other thread writes this row.
                unsafe { self.row_of_words(worker, item, picture, (words, *loops)) };
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
                        (Arrival::Floats(_), Picture::Pixels(picture)) => {
                            let Some(PixelBytes { tables, .. }) = &self.pixels else { return };
                            let table = &tables[channel];
                            self.row(worker, channel, item, |place| table[usize::from(picture[place])]);
                        }
                        // Other pictures are not admitted.
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

//! A dense convolution and the depthwise one behind it as one step: a few rows of the tensor between them at a time, in
//! memory that stays in the cache.
//!
//! ```text
//! for channels of a band, for a strip of the output:
//!     dense convolution ─► some rows of the band, with the depthwise window's halo ─► depthwise convolution
//! ```
//!
//! What a strip does, row by row, is settled when the program is built ([`Action`]); running follows the list.

use std::ops::Range;

use super::convolution::{CONVOLUTION, activate_rows, whole};
use super::depthwise::{PackedDepthwise, Part, parts};
use super::packed::{Band, Packed, runs};
use super::picture::{PictureRows, Shown};
use super::region::Region;
use super::step::{Step, Worker, proven};
use super::tiles::{even, of_one_size};
use super::window::Window;
use crate::bounds::{Access, Touched};
use crate::error::PlanError;
use crate::kernel::ahead::Ahead;
use crate::kernel::depthwise::DepthwiseCall;
use crate::kernel::set::{KernelSet, LOOSE_PIXELS, TILE_STEPS};
use crate::kernel::tile::{READ_ON, Run, TileCall, TileKernel, TilePlace};
use crate::layout::{LANES, Layout, Shape};

const STEP: &str = "expansion";

/// Floats of the tensor between from which the two are one step: with less, it stays in the second cache by itself.
const LEAST_FLOATS: usize = 150_000;

/// Input channels up to which the dense convolution reads its input again for each band: more do not stay in the cache.
const MOST_CHANNELS: usize = 64;

/// Floats of the rows of a band that are held at a time: 128 KiB.
const BUFFER_FLOATS: usize = 32 << 10;

/// Pieces of work for each of several threads.
const PIECES: usize = 6;

/// Whether two convolutions are faster as one step.
pub(super) fn suits(packed: &Packed, input: Shape, between: Shape) -> bool {
    let blocks = between.channels.div_ceil(LANES) * LANES;
    packed.bands.iter().all(|band| band.channels == packed.bands[0].channels)
        && input.channels <= MOST_CHANNELS
        && blocks * between.pixels() >= LEAST_FLOATS
}

/// What happens in a strip, one after the other. Slots are rows of the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// Rows from this slot on become the first ones.
    Shift { from: usize, rows: usize },
    /// A row outside the picture.
    Zero { slot: usize },
    /// A row of the tensor between.
    Expand { row: usize, slot: usize },
    /// A row of the output, whose window begins in this slot.
    Filter { row: usize, slot: usize },
}

/// Some rows of the output. Either list ends with the same rows in the buffer.
#[derive(Debug)]
struct Strip {
    /// What has to be done with a buffer of other rows.
    anew: Vec<Action>,
    /// What has to be done where the strip above it, of the same band, was the last.
    on: Vec<Action>,
}

/// Some pixels of a row of the tensor between.
#[derive(Debug)]
struct Piece {
    x: usize,
    pixels: usize,
    /// Its kernel, among those of its band.
    kernel: usize,
}

/// What the dense convolution reads.
#[derive(Debug)]
pub(crate) enum Source {
    /// A tensor.
    Tensor(Region),
    /// Rows of the picture that the network is run on.
    Picture(PictureRows),
}

/// A thread's memory.
struct Memory {
    /// Where its rows of the tensor between begin.
    buffer: usize,
    /// The rows of the picture that it holds.
    shown: Shown,
}

/// Both convolutions with every offset settled.
#[derive(Debug)]
pub(crate) struct ExpansionStep {
    dense: Packed,
    filter: PackedDepthwise,
    input: Region,
    /// Where the input is rows of the picture that the network is run on: those.
    picture: Option<PictureRows>,
    /// Geometry of the tensor between, which lies nowhere.
    between: Layout,
    output: Region,
    /// The first thread's buffer; the others' follow.
    scratch: usize,
    /// Rows of the buffer.
    rows: usize,
    runs: Vec<Run>,
    /// Leading runs of a whole block.
    whole: usize,
    /// Those of one size after each other.
    pieces: Vec<Piece>,
    /// Where each lies, from a row's first window and pixel.
    places: Vec<TilePlace>,
    /// Pieces of one size.
    groups: Vec<Range<usize>>,
    /// For each band, a kernel for each size of piece.
    kernels: Vec<Vec<TileKernel>>,
    parts: Vec<Part>,
    taps: Vec<u32>,
    strips: Vec<Strip>,
    /// Floats between the windows of neighbouring pixels of the dense convolution.
    step: usize,
    /// Whether tiles may read on behind each run.
    reads_on: bool,
    set: &'static KernelSet,
}

/// Rows of the buffer, and floats of one thread's.
pub(super) fn buffer(dense: &Packed, filter: &PackedDepthwise, between: &Layout) -> (usize, usize) {
    let blocks = dense.bands.iter().map(Band::blocks).max().unwrap_or(1);
    let of_row = blocks * between.row();
    let least = filter.window.span(0) + filter.window.stride[0];
    let rows = (BUFFER_FLOATS / of_row).max(least).min(between.rows().max(least));
    (rows, rows * of_row)
}

impl ExpansionStep {
    pub(super) fn new(
        (dense, filter): (Packed, PackedDepthwise),
        (source, output): (Source, Region),
        between: Layout,
        [scratch, threads]: [usize; 2],
        set: &'static KernelSet,
    ) -> Result<Self, PlanError> {
        let missing = PlanError::Extent { step: STEP, access: "there is no kernel of its size" };
        let (input, picture) = match source {
            Source::Tensor(region) => (region, None),
            Source::Picture(rows) => (*rows.region(), Some(rows)),
        };
        let step = dense.window.stride[1] * input.layout.pixel();
        let most = if TILE_STEPS.contains(&step) { set.pixels } else { LOOSE_PIXELS };
        let width = between.shape.width;
        let mut cuts: Vec<(usize, usize)> = even(width, width.div_ceil(most)).collect();
        cuts.sort_by_key(|cut| cut.1);
        let mut sizes: Vec<usize> = cuts.iter().map(|cut| cut.1).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let piece = |(x, pixels): (usize, usize)| Some(Piece { x, pixels, kernel: sizes.binary_search(&pixels).ok()? });
        let pieces = cuts.into_iter().map(piece).collect::<Option<Vec<_>>>().ok_or(missing.clone())?;
        let place = |piece: &Piece| {
            let [first, second] = [piece.x, piece.x + piece.pixels / 2];
            TilePlace {
                input: [first * step, second * step],
                output: [first * LANES, second * LANES],
                residual: [0; 2],
            }
        };
        let places = pieces.iter().map(place).collect();
        let groups = of_one_size(pieces.iter().map(|piece| piece.pixels), pieces.len());
        let of_band =
            |band: &Band| sizes.iter().map(|&pixels| (set.tile)(band.lanes, pixels, step)).collect::<Option<Vec<_>>>();
        let kernels = dense.bands.iter().map(of_band).collect::<Option<Vec<_>>>().ok_or(missing)?;
        let (parts, taps) = parts(&filter, between.row(), output.shape().width, set)?;
        let runs = runs(&dense, dense.bands[0].channels.clone(), &input);
        let whole = whole(&runs);
        let (rows, _) = buffer(&dense, &filter, &between);
        // Where threads share them, pieces of work are many: a slow core is left with few.
        let height = output.shape().height;
        let count = if threads == 1 { 1 } else { (PIECES * threads).div_ceil(dense.bands.len()).min(height) };
        let strips = strips(&filter.window, between.shape.height, rows, even(height, count));
        let mut step = Self {
            dense,
            filter,
            input,
            picture,
            between,
            output,
            scratch,
            rows,
            runs,
            whole,
            pieces,
            places,
            groups,
            kernels,
            parts,
            taps,
            strips,
            step,
            reads_on: false,
            set,
        };
        step.reads_on =
            (0..step.seeing()).all(|row| step.pieces.iter().all(|piece| step.holds_input(row, piece, READ_ON)));
        Ok(step)
    }

    /// Rows of the tensor between that see rows of the input.
    fn seeing(&self) -> usize {
        self.picture.as_ref().map_or(self.between.shape.height, PictureRows::outputs)
    }

    /// Whether the runs, and so many floats behind each, are the input's at all pixels of a piece of a row.
    fn holds_input(&self, row: usize, piece: &Piece, behind: usize) -> bool {
        let reach = self.runs.iter().map(|run| run.offset as usize + run.length as usize).max().unwrap_or(0);
        let holds = |first| self.input.holds(first, first + (piece.pixels - 1) * self.step + reach + behind);
        self.window(row, piece).is_some_and(holds)
    }

    /// Floats from a block of the buffer to the next.
    fn block(&self) -> usize {
        self.rows * self.between.row()
    }

    fn floats(&self) -> usize {
        self.block() * self.dense.bands.iter().map(Band::blocks).max().unwrap_or(1)
    }

    /// The first window of a piece of a row of the tensor between: `step` floats for each column behind that of column 0.
    fn window(&self, row: usize, piece: &Piece) -> Option<usize> {
        let window = &self.dense.window;
        let [top, left] = window.padding;
        self.input.window(row * window.stride[0], piece.x * window.stride[1], top, left)
    }

    /// A pixel of the tensor between, in floats from the buffer's first.
    fn place(&self, slot: usize, x: usize) -> usize {
        slot * self.between.row() + (x + self.between.halo) * LANES
    }

    /// # Safety
    /// As for [`Step::run`].
    unsafe fn expand(&self, worker: &Worker<'_>, number: usize, memory: &mut Memory, (row, slot): (usize, usize)) {
        let buffer = memory.buffer;
        let (row, rows) = match &self.picture {
            // SAFETY: the caller's promise.
            Some(picture) => unsafe {
                (picture.show(worker, &mut memory.shown, row), worker.number * picture.floats())
            },
            None => (row, 0),
        };
        let band = &self.dense.bands[number];
        // SAFETY: check() has proven that the band's weights and channels are there.
        let (weights, bias) = unsafe {
            (self.dense.weights.as_ptr().add(band.weights), self.dense.bias.as_ptr().add(band.block * LANES))
        };
        let window = &self.dense.window;
        let [top, left] = window.padding;
        let Some(first) = self.input.window(row * window.stride[0], 0, top, left) else { return };
        for group in &self.groups {
            let piece = &self.pieces[group.start];
            // SAFETY: check() has proven every place that the kernel reaches.
            unsafe {
                self.kernels[number][piece.kernel](&TileCall {
                    tiles: &self.places[group.clone()],
                    pixels: piece.pixels,
                    channels: band.lanes,
                    input: worker.at(rows + first),
                    runs: &self.runs,
                    whole: self.whole,
                    reads_on: self.reads_on,
                    step: self.step,
                    weights,
                    ahead: Ahead::NOTHING,
                    bias,
                    output: worker.at(buffer + self.place(slot, 0)),
                    output_block: self.block(),
                    residual: None,
                    residual_block: 0,
                    activation: self.dense.activation,
                });
            }
        }
        if self.dense.activation.is_applied_by_kernels() {
            return;
        }
        for block in 0..band.blocks() {
            let place = buffer + block * self.block() + self.place(slot, 0);
            // SAFETY: the row is the one that was just written.
            unsafe {
                activate_rows(self.set, self.dense.activation, worker.at(place), self.between.shape.width);
            }
        }
    }

    /// # Safety
    /// As for [`Step::run`].
    unsafe fn filter(&self, worker: &Worker<'_>, number: usize, buffer: usize, (row, slot): (usize, usize)) {
        let band = &self.dense.bands[number];
        for of_band in 0..band.blocks() {
            let block = band.block + of_band;
            for part in &self.parts {
                let x = part.x * self.filter.window.stride[1];
                let first = slot * self.between.row() + (x + self.between.halo - self.filter.window.padding[1]) * LANES;
                // SAFETY: check() has proven every place that the kernel reaches.
                unsafe {
                    (part.kernel)(&DepthwiseCall {
                        pixels: part.pixels,
                        input: worker.at(buffer + of_band * self.block() + first),
                        row: self.between.row(),
                        step: self.filter.window.stride[1] * LANES,
                        taps: &self.taps,
                        weights: self.filter.weights.as_ptr().add(block * self.taps.len() * LANES),
                        bias: self.filter.bias.as_ptr().add(block * LANES),
                        output: worker.at(self.output.at(block, row, part.x)),
                        activation: self.filter.activation,
                    });
                }
            }
            // SAFETY: the row is the one that was just written.
            unsafe {
                let place = worker.at(self.output.at(block, row, 0));
                activate_rows(self.set, self.filter.activation, place, self.output.shape().width);
            }
        }
    }

    /// The columns beside the picture, which are zeros whatever the rows hold.
    ///
    /// # Safety
    /// As for [`Step::run`].
    unsafe fn zero_columns(&self, worker: &Worker<'_>, buffer: usize) {
        let (row, halo, width) = (self.between.row(), self.between.halo * LANES, self.between.shape.width * LANES);
        for first in (buffer..buffer + self.floats()).step_by(row) {
            for columns in [0..halo, halo + width..row] {
                // SAFETY: the buffer is this thread's, and these columns are a row's.
                unsafe {
                    worker.span(first + columns.start, columns.len(), Access::Write).write_bytes(0, columns.len());
                }
            }
        }
    }

    /// # Safety
    /// As for [`Step::run`].
    unsafe fn strip(&self, worker: &Worker<'_>, number: usize, actions: &[Action], memory: &mut Memory) {
        let buffer = memory.buffer;
        let (band, row) = (&self.dense.bands[number], self.between.row());
        for &action in actions {
            // SAFETY: check() has proven that slots are rows of the buffer.
            unsafe {
                match action {
                    Action::Shift { from, rows } => {
                        for block in 0..band.blocks() {
                            let (first, floats) = (buffer + block * self.block(), rows * row);
                            let source = worker.span(first + from * row, floats, Access::Read);
                            worker.span(first, floats, Access::Write).copy_from(source, floats);
                        }
                    }
                    Action::Zero { slot } => {
                        for block in 0..band.blocks() {
                            let place = buffer + block * self.block() + slot * row;
                            worker.span(place, row, Access::Write).write_bytes(0, row);
                        }
                    }
                    Action::Expand { row, slot } => self.expand(worker, number, memory, (row, slot)),
                    Action::Filter { row, slot } => self.filter(worker, number, buffer, (row, slot)),
                }
            }
        }
    }
}

/// What has to be done for each of some strips of the output, from the top down.
fn strips(filter: &Window, height: usize, slots: usize, outputs: impl Iterator<Item = (usize, usize)>) -> Vec<Strip> {
    let mut strips: Vec<Strip> = Vec::new();
    let mut above: Option<Rows> = None;
    for (first, length) in outputs {
        let rows = Rows { base: first * filter.stride[0], next: first * filter.stride[0] };
        let strip = |rows| strip(filter, height, slots, first..first + length, rows);
        let (anew, end) = strip(rows);
        let on = match above {
            Some(above) if above.next > rows.base => {
                let moved = Rows { base: rows.base, next: above.next };
                let shift = Action::Shift { from: rows.base - above.base, rows: above.next - rows.base };
                [shift].into_iter().chain(strip(moved).0).collect()
            }
            _ => anew.clone(),
        };
        strips.push(Strip { anew, on });
        above = Some(end);
    }
    strips
}

/// Rows that are in the buffer, counted from the first of the padding: `base` lies in slot 0, and those below `next` are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rows {
    base: usize,
    next: usize,
}

/// What has to be done for some rows of the output, of which each needs some rows of `height`, and the rows that are in the
/// buffer then.
fn strip(
    filter: &Window,
    height: usize,
    slots: usize,
    outputs: Range<usize>,
    Rows { mut base, mut next }: Rows,
) -> (Vec<Action>, Rows) {
    let (stride, padding) = (filter.stride[0], filter.padding[0]);
    let span = filter.span(0);
    let mut actions = Vec::new();
    for row in outputs {
        let (first, end) = (row * stride, row * stride + span);
        // Windows may lie further apart than they are long: what lies between is not needed.
        next = next.max(first);
        if end - base > slots {
            if next > first {
                actions.push(Action::Shift { from: first - base, rows: next - first });
            }
            base = first;
        }
        while next < end {
            let slot = next - base;
            match next.checked_sub(padding).filter(|&row| row < height) {
                Some(row) => actions.push(Action::Expand { row, slot }),
                None => actions.push(Action::Zero { slot }),
            }
            next += 1;
        }
        actions.push(Action::Filter { row, slot: first - base });
    }
    (actions, Rows { base, next })
}

impl Step for ExpansionStep {
    fn check(&self) -> Result<(), PlanError> {
        let (bands, between) = (&self.dense.bands, &self.between);
        let elements: usize = self.runs.iter().map(|run| run.length as usize).sum();
        for band in bands {
            proven(band.weights + elements * band.lanes <= self.dense.weights.len(), STEP, "weights")?;
            proven(band.block * LANES + band.lanes <= self.dense.bias.len(), STEP, "bias")?;
            let end = band.block + band.blocks();
            proven(end <= self.output.blocks(), STEP, "output blocks")?;
            proven(end * self.taps.len() * LANES <= self.filter.weights.len(), STEP, "filter weights")?;
            proven(end * LANES <= self.filter.bias.len(), STEP, "filter bias")?;
        }
        // Pixels are inside their row with its halo, and so are the windows that look at them.
        let (width, stride) = (between.shape.width, self.filter.window.stride[1]);
        proven(self.pieces.iter().all(|piece| piece.x + piece.pixels <= width), STEP, "columns")?;
        proven(between.halo >= self.filter.window.padding[1] && !between.is_planar, STEP, "halo")?;
        let last = self.taps.iter().max().map_or(0, |&tap| tap as usize) + LANES;
        for part in &self.parts {
            let first = (part.x * stride + between.halo - self.filter.window.padding[1]) * LANES;
            let end = first + (part.pixels - 1) * stride * LANES + last;
            proven(end <= self.filter.window.span(0) * between.row(), STEP, "window")?;
            let (from, to) = (self.output.at(0, 0, part.x), self.output.at(0, 0, part.x) + part.pixels * LANES);
            let rest = self.output.at(self.output.blocks() - 1, self.output.shape().height - 1, 0);
            proven(self.output.holds(from, rest + (to - self.output.at(0, 0, 0))), STEP, "output")?;
        }
        for row in 0..self.seeing() {
            for piece in &self.pieces {
                proven(self.holds_input(row, piece, if self.reads_on { READ_ON } else { 0 }), STEP, "input")?;
            }
        }
        for &action in self.strips.iter().flat_map(|strip| [&strip.anew, &strip.on]).flatten() {
            let fits = |slot: usize, rows: usize| proven(slot + rows <= self.rows, STEP, "slots");
            match action {
                Action::Shift { from, rows } => fits(from, rows)?,
                Action::Zero { slot } => fits(slot, 1)?,
                Action::Filter { row, slot } => {
                    fits(slot, self.filter.window.span(0))?;
                    proven(row < self.output.shape().height, STEP, "output rows")?;
                }
                Action::Expand { row, slot } => {
                    fits(slot, 1)?;
                    proven(row < between.shape.height, STEP, "rows between")?;
                }
            }
        }
        Ok(())
    }

    fn touches(&self) -> Touched {
        let (dense, filter) = (&self.dense, &self.filter);
        // Rows of a picture are written, too.
        let rows = self.picture.as_ref().map(|_| self.input.floats());
        let writes = [self.output.floats(), self.scratch..self.scratch + self.floats()];
        Touched {
            reads: vec![self.input.floats()],
            writes: writes.into_iter().chain(rows).collect(),
            weights: vec![dense.weights.place(), dense.bias.place(), filter.weights.place(), filter.bias.place()],
        }
    }

    fn describe(&self) -> String {
        let [dense, filter] = [&self.dense.window, &self.filter.window].map(|window| window.kernel[0]);
        let input = self.picture.as_ref().map_or(self.input.shape(), PictureRows::shape);
        let (between, output) = (self.between.shape, self.output.shape());
        format!("{CONVOLUTION} {dense} × {dense} and depthwise {filter} × {filter}, {input} to {between} to {output}")
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        let mut memory = Memory { buffer: self.scratch + worker.number * self.floats(), shown: Shown::default() };
        let mut last = None;
        for item in worker.share(self.dense.bands.len() * self.strips.len()).flatten() {
            let (band, strip) = (item / self.strips.len(), item % self.strips.len());
            let goes_on = strip > 0 && last.is_some_and(|last| last + 1 == item);
            let actions = if goes_on { &self.strips[strip].on } else { &self.strips[strip].anew };
            // SAFETY: the caller's promise; the buffer is this thread's, and so are the rows of the band.
            unsafe {
                if last.is_none() {
                    self.zero_columns(worker, memory.buffer);
                }
                self.strip(worker, band, actions, &mut memory);
            }
            last = Some(item);
        }
    }

    fn weights(&self) -> usize {
        let (dense, filter) = (&self.dense, &self.filter);
        dense.weights.len() + dense.bias.len() + filter.weights.len() + filter.bias.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a slot holds: nothing that is known, a row outside the picture, or one of it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Slot {
        Unknown,
        Outside,
        Row(usize),
    }

    /// Follows a list, and returns the rows of the output that saw the right window.
    fn follow(actions: &[Action], buffer: &mut [Slot], window: &Window, height: usize) -> Vec<usize> {
        let mut done = Vec::new();
        for &action in actions {
            match action {
                Action::Shift { from, rows } => buffer.copy_within(from..from + rows, 0),
                Action::Zero { slot } => buffer[slot] = Slot::Outside,
                Action::Expand { row, slot } => buffer[slot] = Slot::Row(row),
                Action::Filter { row, slot } => {
                    for tap in 0..window.kernel[0] {
                        let at = (row * window.stride[0] + tap * window.dilation[0]).checked_sub(window.padding[0]);
                        let wanted = at.filter(|&at| at < height).map_or(Slot::Outside, Slot::Row);
                        assert_eq!(buffer[slot + tap * window.dilation[0]], wanted, "row {row}, tap {tap}, {window:?}");
                    }
                    done.push(row);
                }
            }
        }
        done
    }

    #[test]
    fn a_strip_finds_its_rows_in_a_buffer_of_others_and_in_that_of_the_strip_above() {
        let sizes =
            [(3, 1, 1, 14), (3, 2, 1, 15), (5, 1, 2, 9), (5, 2, 2, 13), (3, 3, 0, 12), (1, 2, 0, 7), (3, 4, 1, 21)];
        for (kernel, stride, padding, height) in sizes {
            let window = Window::square(kernel, stride, padding);
            let outputs = (height + 2 * padding - kernel) / stride + 1;
            for (slots, count) in [(kernel + stride, 1), (kernel + stride, 3), (kernel + stride + 2, 4), (40, outputs)]
            {
                let strips = strips(&window, height, slots, even(outputs, count));
                let mut kept = vec![Slot::Unknown; slots];
                let (mut anew, mut on) = (Vec::new(), Vec::new());
                for (number, strip) in strips.iter().enumerate() {
                    let mut other = vec![Slot::Unknown; slots];
                    anew.extend(follow(&strip.anew, &mut other, &window, height));
                    let actions = if number == 0 { &strip.anew } else { &strip.on };
                    on.extend(follow(actions, &mut kept, &window, height));
                }
                let all: Vec<usize> = (0..outputs).collect();
                assert_eq!([&anew, &on], [&all, &all], "{window:?}, {slots} slots, {count} strips");
            }
        }
    }
}

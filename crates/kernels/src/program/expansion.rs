//! A dense convolution and the depthwise one, or the pooling, behind it as one step: a few rows of the tensor between them at a
//! time, in memory that stays in the cache.
//!
//! ```text
//! for channels of a band, or of a picture all, for a strip of the output:
//!     dense convolution ─► some rows of the band, with the depthwise window's halo ─► depthwise convolution or pooling
//! ```
//!
//! What a strip does, row by row, is settled when the program is built ([`Action`]); running follows the list.

mod follower;
mod strips;

use std::ops::Range;

use super::convolution::{CONVOLUTION, activate_rows, whole};
use super::packed::{Band, Packed, runs};
use super::picture::{PictureRows, Shown};
use super::region::Region;
use super::share::PIECES;
use super::step::{Step, Worker, proven};
use super::tiles::{even, of_one_size};
use super::window::Window;
use crate::bounds::{Access, Touched};
use crate::error::PlanError;
use crate::kernel::ahead::Ahead;
use crate::kernel::set::{KernelSet, LOOSE_PIXELS, TILE_STEPS};
use crate::kernel::tile::{READ_ON, Run, TileCall, TileKernel, TilePlace};
use crate::layout::{LANES, Layout, Shape};

pub(crate) use follower::Follower;
use follower::{Following, Row};
use strips::{Action, Strip, strips};

const STEP: &str = "expansion";

/// Floats of the tensor between from which the two are one step: with less, it stays in the second cache by itself.
const LEAST_FLOATS: usize = 75_000;

/// Input channels up to which the dense convolution reads its input again for each band: more do not stay in the cache.
const MOST_CHANNELS: usize = 64;

/// Floats of the rows of a band that are held at a time: 128 KiB.
const BUFFER_FLOATS: usize = 32 << 10;

/// The same of all bands together, of fewer rows: 256 KiB.
const TOGETHER_FLOATS: usize = 64 << 10;

/// Rows of the tensor between that a row of what follows may need: each thread holds as many, and each strip that it begins anew
/// computes them again.
const MOST_ROWS: usize = 8;

/// Whether a convolution and what follows it are faster as one step.
pub(super) fn suits(packed: &Packed, follower: &Window, input: Shape, between: Shape) -> bool {
    let blocks = between.channels.div_ceil(LANES) * LANES;
    follower.span(0) <= MOST_ROWS
        && follower.stride[0] <= MOST_ROWS
        && packed.bands.iter().all(|band| band.channels == packed.bands[0].channels)
        && input.channels <= MOST_CHANNELS
        && blocks * between.pixels() >= LEAST_FLOATS
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
    following: Following,
    input: Region,
    /// Where the input is rows of the picture that the network is run on: those.
    picture: Option<PictureRows>,
    /// Geometry of the tensor between, which lies nowhere.
    between: Layout,
    output: Region,
    /// The first thread's buffer; the others' follow.
    scratch: usize,
    /// Bands that are computed row by row together.
    together: Vec<Range<usize>>,
    /// Rows of the buffer.
    rows: usize,
    /// Floats of the buffer.
    floats: usize,
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
    strips: Vec<Strip>,
    /// Floats between the windows of neighbouring pixels of the dense convolution.
    step: usize,
    /// Whether tiles may read on behind each run.
    reads_on: bool,
    set: &'static KernelSet,
}

/// Which bands are computed together, row by row: all of those of a picture, whose rows are so copied once.
fn together(dense: &Packed, of_picture: bool) -> Vec<Range<usize>> {
    let bands = dense.bands.len();
    if of_picture { std::iter::once(0..bands).collect() } else { (0..bands).map(|band| band..band + 1).collect() }
}

/// Rows of the buffer, and floats of one thread's.
pub(super) fn buffer(dense: &Packed, follower: &Follower, between: &Layout, of_picture: bool) -> (usize, usize) {
    let blocks = |bands: Range<usize>| dense.bands[bands].iter().map(Band::blocks).sum();
    let blocks: usize = together(dense, of_picture).into_iter().map(blocks).max().unwrap_or(1);
    let of_row = blocks * between.row();
    let least = follower.window().span(0) + follower.window().stride[0];
    let floats = if of_picture { TOGETHER_FLOATS } else { BUFFER_FLOATS };
    let rows = (floats / of_row).max(least).min(between.rows().max(least));
    (rows, rows * of_row)
}

/// A row of so many pixels in pieces of at most so many, and the sizes that occur.
fn pieces(width: usize, most: usize) -> (Vec<Piece>, Vec<usize>) {
    let mut cuts: Vec<(usize, usize)> = even(width, width.div_ceil(most)).collect();
    cuts.sort_by_key(|cut| cut.1);
    let mut sizes: Vec<usize> = cuts.iter().map(|cut| cut.1).collect();
    sizes.dedup();
    let kernel = |pixels: usize| sizes.partition_point(|&size| size < pixels);
    let pieces = cuts.into_iter().map(|(x, pixels)| Piece { x, pixels, kernel: kernel(pixels) }).collect();
    (pieces, sizes)
}

impl ExpansionStep {
    pub(super) fn new(
        (dense, follower): (Packed, Follower),
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
        let most = if TILE_STEPS.contains(&step) { set.pixels(dense.blocks()) } else { LOOSE_PIXELS };
        let (pieces, sizes) = pieces(between.shape.width, most);
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
        let runs = runs(&dense, dense.bands[0].channels.clone(), &input);
        let whole = whole(&runs);
        let (rows, floats) = buffer(&dense, &follower, &between, picture.is_some());
        let together = together(&dense, picture.is_some());
        let height = output.shape().height;
        let count = if threads == 1 { 1 } else { (PIECES * threads).div_ceil(together.len()).min(height) };
        let strips = strips(follower.window(), between.shape.height, rows, even(height, count));
        let following = Following::new(follower, between, output, set)?;
        let mut step = Self {
            dense,
            following,
            input,
            picture,
            between,
            output,
            scratch,
            together,
            rows,
            floats,
            runs,
            whole,
            pieces,
            places,
            groups,
            kernels,
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
    unsafe fn expand(&self, worker: &Worker<'_>, number: usize, buffer: usize, (first, slot): (usize, usize)) {
        let band = &self.dense.bands[number];
        // SAFETY: check() has proven that the band's weights and channels are there.
        let (weights, bias) = unsafe {
            (self.dense.weights.as_ptr().add(band.weights), self.dense.bias.as_ptr().add(band.block * LANES))
        };
        for group in &self.groups {
            let piece = &self.pieces[group.start];
            // SAFETY: check() has proven every place that the kernel reaches.
            unsafe {
                self.kernels[number][piece.kernel](&TileCall {
                    tiles: &self.places[group.clone()],
                    pixels: piece.pixels,
                    channels: band.lanes,
                    input: worker.at(first),
                    runs: &self.runs,
                    whole: self.whole,
                    reads_on: self.reads_on,
                    step: self.step,
                    weights,
                    ahead: Ahead::NOTHING,
                    bias,
                    goes_on: false,
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

    /// The columns beside the picture, which are zeros whatever the rows hold.
    ///
    /// # Safety
    /// As for [`Step::run`].
    unsafe fn zero_columns(&self, worker: &Worker<'_>, buffer: usize) {
        let (row, halo, width) = (self.between.row(), self.between.halo * LANES, self.between.shape.width * LANES);
        for first in (buffer..buffer + self.floats).step_by(row) {
            for columns in [0..halo, halo + width..row] {
                // SAFETY: the buffer is this thread's, and these columns are a row's.
                unsafe {
                    worker.span(first + columns.start, columns.len(), Access::Write).write_bytes(0, columns.len());
                }
            }
        }
    }

    /// The first window of a row of the tensor between, which is made to be there where it is one of a picture.
    ///
    /// # Safety
    /// As for [`Step::run`].
    unsafe fn see(&self, worker: &Worker<'_>, shown: &mut Shown, row: usize) -> Option<usize> {
        let (row, rows) = match &self.picture {
            // SAFETY: the caller's promise.
            Some(picture) => unsafe { (picture.show(worker, shown, row), worker.number * picture.floats()) },
            None => (row, 0),
        };
        let [top, left] = self.dense.window.padding;
        let first = self.input.window(row * self.dense.window.stride[0], 0, top, left)?;
        Some(rows + first)
    }

    /// # Safety
    /// As for [`Step::run`].
    unsafe fn strip(&self, worker: &Worker<'_>, bands: Range<usize>, actions: &[Action], memory: &mut Memory) {
        let first = self.dense.bands[bands.start].block;
        let end = self.dense.bands[bands.end - 1].block + self.dense.bands[bands.end - 1].blocks();
        let of_block = |block: usize| memory.buffer + (block - first) * self.block();
        let row = self.between.row();
        for &action in actions {
            // SAFETY: check() has proven that slots are rows of the buffer, and that it has as many blocks.
            unsafe {
                match action {
                    Action::Shift { from, rows } => {
                        for block in first..end {
                            let floats = rows * row;
                            let source = worker.span(of_block(block) + from * row, floats, Access::Read);
                            worker.span(of_block(block), floats, Access::Write).copy_from(source, floats);
                        }
                    }
                    Action::Zero { slot } => {
                        for block in first..end {
                            worker.span(of_block(block) + slot * row, row, Access::Write).write_bytes(0, row);
                        }
                    }
                    Action::Expand { row, slot } => {
                        let Some(window) = self.see(worker, &mut memory.shown, row) else { continue };
                        for band in bands.clone() {
                            self.expand(worker, band, of_block(self.dense.bands[band].block), (window, slot));
                        }
                    }
                    Action::Filter { row: y, slot } => {
                        for block in first..end {
                            self.following.row(worker, Row { block, y, from: of_block(block) + slot * row });
                        }
                    }
                }
            }
        }
    }
}

impl Step for ExpansionStep {
    fn check(&self) -> Result<(), PlanError> {
        let (bands, between) = (&self.dense.bands, &self.between);
        let elements: usize = self.runs.iter().map(|run| run.length as usize).sum();
        for band in bands {
            proven(band.weights + elements * band.lanes <= self.dense.weights.len(), STEP, "weights")?;
            proven(band.block * LANES + band.lanes <= self.dense.bias.len(), STEP, "bias")?;
            self.following.check(band.block + band.blocks())?;
        }
        for bands in &self.together {
            let blocks: usize = bands.clone().map(|band| self.dense.bands[band].blocks()).sum();
            let follow = self.dense.bands[bands.clone()]
                .windows(2)
                .all(|pair| pair[0].block + pair[0].blocks() == pair[1].block);
            proven(follow && blocks * self.block() <= self.floats, STEP, "bands")?;
        }
        // Pixels are inside their row with its halo.
        let width = between.shape.width;
        proven(self.pieces.iter().all(|piece| piece.x + piece.pixels <= width), STEP, "columns")?;
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
                    fits(slot, self.following.follower().window().span(0))?;
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
        // Rows of a picture are written, too.
        let rows = self.picture.as_ref().map(|_| self.input.floats());
        let writes = [self.output.floats(), self.scratch..self.scratch + self.floats];
        let mut touched = Touched {
            reads: vec![self.input.floats()],
            writes: writes.into_iter().chain(rows).collect(),
            weights: vec![self.dense.weights.place(), self.dense.bias.place()],
        };
        self.following.touch(&mut touched);
        touched
    }

    fn describe(&self) -> String {
        let ([rows, columns], following) = (self.dense.window.kernel, self.following.describe());
        let input = self.picture.as_ref().map_or(self.input.shape(), PictureRows::shape);
        let (between, output) = (self.between.shape, self.output.shape());
        format!("{CONVOLUTION} {rows} × {columns} and {following}, {input} to {between} to {output}")
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        let mut memory = Memory { buffer: self.scratch + worker.number * self.floats, shown: Shown::default() };
        let mut last = None;
        for item in worker.share(self.together.len() * self.strips.len()).flatten() {
            let (bands, strip) = (item / self.strips.len(), item % self.strips.len());
            let goes_on = strip > 0 && last.is_some_and(|last| last + 1 == item);
            let actions = if goes_on { &self.strips[strip].on } else { &self.strips[strip].anew };
            // SAFETY: the caller's promise; the buffer is this thread's, and so are the rows of the bands.
            unsafe {
                if last.is_none() {
                    self.zero_columns(worker, memory.buffer);
                }
                self.strip(worker, self.together[bands].clone(), actions, &mut memory);
            }
            last = Some(item);
        }
    }

    fn weights(&self) -> usize {
        self.dense.weights.len() + self.dense.bias.len() + self.following.follower().weights()
    }
}

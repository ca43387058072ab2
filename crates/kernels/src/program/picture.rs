//! The rows of a picture that a convolution needs at a time: they are copied into memory that stays in the first caches, with
//! zeros around them, and the picture is nowhere a second time.

use std::ops::Range;

use super::input::Reading;
use super::region::Region;
use super::share::PIECES;
use super::step::Worker;
use super::tiles::even;
use super::window::Window;
use crate::bounds::Access;
use crate::layout::{Element, Layout, Shape};

/// Floats of one strip's rows: 64 KiB.
const STRIP_FLOATS: usize = 16 << 10;

/// Floats that rows of a picture may take where no two rows of the output see less: 512 KiB.
const MOST_FLOATS: usize = 128 << 10;

/// Memory for some rows of a picture, as a planar tensor, for each thread.
#[derive(Debug)]
pub(crate) struct PictureRows {
    reading: Reading,
    window: Window,
    /// The first thread's rows; the others' follow.
    rows: Region,
    /// Rows of the output that see no others.
    outputs: usize,
}

/// Which rows are there: the memory's first is this row of the picture, counted from the first of the halo, and so many follow.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Shown {
    base: usize,
    rows: usize,
}

/// The rows that so many rows of the output see, and one for tiles that read on.
fn layout(window: &Window, picture: Shape, halo: usize, outputs: usize) -> Layout {
    let rows = first_row(window, halo) + (outputs - 1) * window.stride[0] + window.span(0) + 1;
    let shape = Shape { height: rows.saturating_sub(2 * halo).max(1), ..picture };
    Layout { shape, halo, is_planar: true, element: Element::Float }
}

/// Rows of the halo above that no window reaches; they are there all the same.
fn first_row(window: &Window, halo: usize) -> usize {
    halo - window.padding[0]
}

/// Rows of the output whose rows of the picture fit the memory, and its layout.
pub(crate) fn fitting(window: &Window, picture: &Layout, outputs: usize) -> (usize, Layout) {
    let of = |count| layout(window, picture.shape, picture.halo, count);
    let fits = |&count: &usize| of(count).rows() * of(count).row() * picture.shape.channels <= STRIP_FLOATS;
    // An even number, since tiles may lie in two rows.
    let count = (2..=outputs).step_by(2).take_while(fits).last().unwrap_or(outputs.min(2));
    (count, of(count))
}

/// Whether rows are worth while: whether a thread's are few.
pub(crate) fn suits(window: &Window, picture: &Layout, outputs: usize) -> bool {
    let (_, layout) = fitting(window, picture, outputs);
    layout.rows() * layout.row() * picture.shape.channels <= MOST_FLOATS
}

impl PictureRows {
    /// For an output of so many rows; the first thread's rows begin at this float of the arena.
    pub(crate) fn new(reading: Reading, window: Window, picture: &Layout, outputs: usize, first: usize) -> Self {
        let (outputs, layout) = fitting(&window, picture, outputs);
        let rows = Region { layout, first, channels: picture.shape.channels };
        Self { reading, window, rows, outputs }
    }

    /// Of the picture.
    pub(crate) fn shape(&self) -> Shape {
        self.reading.shape
    }

    /// The first thread's memory.
    pub(crate) fn region(&self) -> &Region {
        &self.rows
    }

    /// Rows of the output that see no other rows.
    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Floats from a thread's rows to the next one's.
    pub(crate) fn floats(&self) -> usize {
        self.rows.floats().len()
    }

    /// Has the rows be there that a row of the output sees, and returns that row as one of those that see the memory.
    ///
    /// # Safety
    /// As for [`Step::run`](super::step::Step::run); the rows lie in the arena once for every thread, and are what `shown`
    /// says.
    pub(crate) unsafe fn show(&self, worker: &Worker<'_>, shown: &mut Shown, output: usize) -> usize {
        let first = output * self.window.stride[0];
        let within = first.checked_sub(shown.base).map(|rows| rows / self.window.stride[0]);
        if shown.rows == 0 || within.is_none_or(|within| within >= self.outputs) {
            *shown = Shown { base: first, rows: 0 };
        }
        let end = first_row(&self.window, self.rows.layout.halo) + first - shown.base + self.window.span(0);
        // SAFETY: the caller's promise; the rows end where those of the last output do.
        unsafe { self.fill(worker, shown.base, shown.rows..end) };
        shown.rows = shown.rows.max(end);
        (first - shown.base) / self.window.stride[0]
    }

    /// Copies rows of the picture, the first of which is `base` as in [`Shown`].
    ///
    /// # Safety
    /// As for [`Self::show`].
    unsafe fn fill(&self, worker: &Worker<'_>, base: usize, rows: Range<usize>) {
        let (layout, shape) = (&self.rows.layout, self.reading.shape);
        let (row, halo) = (layout.row(), layout.halo);
        let zero = |from: usize, floats: usize| {
            // SAFETY: the places are those of a row of this thread's memory.
            unsafe { worker.span(from, floats, Access::Write).write_bytes(0, floats) };
        };
        for channel in 0..shape.channels {
            let plane = self.rows.first + worker.number * self.floats() + channel * layout.block();
            for number in rows.clone() {
                let first = plane + number * row;
                match (base + number).checked_sub(halo).filter(|&y| y < shape.height) {
                    Some(y) => {
                        if halo > 0 {
                            zero(first, halo);
                            zero(first + row - halo, halo);
                        }
                        // SAFETY: the row is one of this thread's memory, behind its halo, and as wide as the picture.
                        unsafe { self.reading.copy_row(worker, (channel, y), (first + halo, 1)) };
                    }
                    None => zero(first, row),
                }
            }
        }
    }
}

/// Strips of an output, of as many rows as the memory serves.
#[derive(Debug)]
pub(crate) struct PictureStrips {
    pub(crate) rows: PictureRows,
    /// First row of the output, and how many there are.
    pub(crate) strips: Vec<(usize, usize)>,
}

impl PictureStrips {
    /// Of an output of so many rows, and more where several threads share them: a slow core is left with few.
    pub(crate) fn new(rows: PictureRows, outputs: usize, threads: usize) -> Self {
        let pairs = outputs.div_ceil(2);
        let shared = if threads > 1 { (PIECES * threads).min(pairs) } else { 1 };
        let strips = even(pairs, outputs.div_ceil(rows.outputs).max(shared));
        let strips = strips.map(|(first, length)| (2 * first, (2 * length).min(outputs - 2 * first))).collect();
        Self { rows, strips }
    }

    /// Has a thread's rows be those of a strip.
    ///
    /// # Safety
    /// As for [`PictureRows::show`].
    pub(crate) unsafe fn fill(&self, worker: &Worker<'_>, strip: usize) {
        let (first, length) = self.strips[strip];
        let mut shown = Shown::default();
        for output in first..first + length {
            // SAFETY: the caller's promise; a strip has no more rows than the memory serves.
            unsafe { self.rows.show(worker, &mut shown, output) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::input::InputOrder;

    #[test]
    fn strips_are_all_rows_of_the_output_once_and_small() {
        for (kernel, stride, padding, side) in
            [(3, 2, 1, 224), (7, 2, 3, 224), (3, 1, 0, 9), (11, 4, 2, 227), (3, 2, 1, 5)]
        {
            let window = Window::square(kernel, stride, padding);
            let shape = Shape { channels: 3, height: side, width: side };
            let picture = Layout { shape, halo: padding, is_planar: true, element: Element::Float };
            let outputs = (side + 2 * padding - kernel) / stride + 1;
            let rows = || {
                let reading = Reading { order: InputOrder::ChannelsFirst, shape, levels: None };
                PictureRows::new(reading, window, &picture, outputs, 64)
            };
            let (most, floats, held) = (rows().outputs(), rows().floats(), rows().region().layout.rows());
            for threads in [1, 2, 16] {
                let strips = PictureStrips::new(rows(), outputs, threads).strips;
                let mut next = 0;
                for &(first, length) in &strips {
                    assert!(first == next && (1..=most).contains(&length), "{strips:?}");
                    // The windows' rows are the memory's, and so is the one behind.
                    assert!((length - 1) * stride + kernel < held);
                    next += length;
                }
                assert_eq!(next, outputs);
                assert!(strips.len() >= threads.min(outputs.div_ceil(2)), "{strips:?}");
                assert!(floats <= STRIP_FLOATS || most <= 2, "{strips:?}");
            }
        }
    }
}

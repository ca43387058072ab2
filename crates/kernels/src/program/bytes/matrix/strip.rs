//! How the pixels that some rows of an output see are gathered, so that every element of a window finds them side by side.

use crate::kernel::bytes::matrix::{DEPTH, ROWS};
use crate::layout::Shape;
use crate::program::window::Window;

/// Bytes of gathered pixels that stay in the second cache beside the weights.
const STRIP_BYTES: usize = 256 << 10;

/// Gathered pixels as planes: one for every [`DEPTH`] channels of every *phase*, the pixels whose rows and columns leave the
/// same rest when divided by the window's stride. What an element of the window sees of neighbouring outputs are neighbours in
/// a plane; so are, behind a gap, those of the next row, which makes a strip one row of outputs.
#[derive(Debug)]
pub(crate) struct Strip {
    pub(crate) window: Window,
    /// Rows of the output at most, and its columns.
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Pixels from a row of the output, or of a plane, to the next.
    pub(crate) pitch: usize,
    pub(crate) phases: Vec<Phase>,
    /// Groups of [`DEPTH`] input channels.
    pub(crate) depths: usize,
    /// Pixels of a plane.
    pub(crate) plane: usize,
    /// Bytes from the first gathered pixel to the one that an element of the window sees first: for each group of channels,
    /// for each element. Those of the last pixels of a strip lie inside, too, though the strip may end between tiles.
    pub(crate) places: Vec<u32>,
}

/// A phase: the first row and column of the window that sees it, counted from the window's own, and how many rows and columns
/// of a plane are seen besides those of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Phase {
    pub(crate) first: [usize; 2],
    pub(crate) more: [usize; 2],
}

impl Strip {
    /// `None` where not even a row's pixels are few.
    pub(crate) fn new(window: &Window, input: Shape, output: Shape) -> Option<Self> {
        let phases = phases(window);
        let more = [0, 1].map(|axis| phases.iter().map(|phase| phase.more[axis]).max().unwrap_or(0));
        let pitch = output.width + more[1] - shared(window, input, output, more[1]);
        let depths = input.channels.div_ceil(DEPTH);
        // Past what the last tile reads, and past the last row.
        let plane = |rows: usize| (rows + more[0]) * pitch + more[1] + ROWS;
        let bytes = |rows: usize| plane(rows).saturating_mul(phases.len() * depths * DEPTH);
        let rows = (1..=output.height).take_while(|&rows| bytes(rows) <= STRIP_BYTES).last()?;
        // Strips of one length.
        let rows = output.height.div_ceil(output.height.div_ceil(rows));
        let mut strip = Self {
            window: *window,
            rows,
            columns: output.width,
            pitch,
            depths,
            plane: plane(rows),
            places: Vec::new(),
            phases,
        };
        strip.places = strip.found_places();
        Some(strip)
    }

    fn found_places(&self) -> Vec<u32> {
        let Window { kernel: [rows, columns], stride, dilation, .. } = self.window;
        let element = |row: usize, column: usize| {
            let at = [row * dilation[0], column * dilation[1]];
            let first = [at[0] % stride[0], at[1] % stride[1]];
            let phase = self.phases.iter().position(|phase| phase.first == first).unwrap_or(0);
            (phase, at[0] / stride[0] * self.pitch + at[1] / stride[1])
        };
        let places = (0..self.depths).flat_map(|depth| {
            let elements = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
            elements.map(move |(row, column)| {
                let (phase, pixel) = element(row, column);
                ((self.first(phase, depth) + pixel) * DEPTH) as u32
            })
        });
        places.collect()
    }

    /// The first pixel of a plane.
    pub(crate) fn first(&self, phase: usize, depth: usize) -> usize {
        (phase * self.depths + depth) * self.plane
    }

    /// Bytes of all planes.
    pub(crate) fn bytes(&self) -> usize {
        self.phases.len() * self.depths * self.plane * DEPTH
    }

    /// Pixels of so many rows of the output, the gaps between them included.
    pub(crate) fn pixels(&self, rows: usize) -> usize {
        (rows - 1) * self.pitch + self.columns
    }

    /// The parts of the rows of the output that so many pixels are from one on: the first one, its row and column, and how
    /// many there are.
    pub(crate) fn parts(&self, from: usize, pixels: usize) -> impl Iterator<Item = (usize, [usize; 2], usize)> {
        let end = from + pixels;
        (from / self.pitch..=(end - 1) / self.pitch).filter_map(move |row| {
            let first = (row * self.pitch).max(from);
            let last = (row * self.pitch + self.columns).min(end);
            (first < last).then(|| (first, [row, first - row * self.pitch], last - first))
        })
    }
}

/// The phases that a window sees.
fn phases(window: &Window) -> Vec<Phase> {
    let axis = |axis: usize| {
        let mut found: Vec<[usize; 2]> = Vec::new();
        for element in 0..window.kernel[axis] {
            let at = element * window.dilation[axis];
            let (first, more) = (at % window.stride[axis], at / window.stride[axis]);
            match found.iter_mut().find(|known| known[0] == first) {
                Some(known) => known[1] = more,
                None => found.push([first, more]),
            }
        }
        found
    };
    let (rows, columns) = (axis(0), axis(1));
    let pairs = rows.iter().flat_map(|row| columns.iter().map(move |column| (row, column)));
    pairs.map(|(row, column)| Phase { first: [row[0], column[0]], more: [row[1], column[1]] }).collect()
}

/// Columns behind a row that are those before the next one: zeros of the halo, both.
fn shared(window: &Window, input: Shape, output: Shape, more: usize) -> usize {
    if window.stride != [1, 1] {
        return 0;
    }
    let behind = (output.width + more).saturating_sub(window.padding[1] + input.width);
    behind.min(window.padding[1]).min(more)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(channels: usize, side: usize) -> Shape {
        Shape { channels, height: side, width: side }
    }

    #[test]
    fn every_element_of_a_window_finds_the_pixels_that_it_sees() {
        for (kernel, stride, padding, side) in [(3, 1, 1, 7), (3, 2, 1, 8), (1, 2, 0, 9), (5, 3, 2, 11), (1, 1, 0, 5)] {
            let window = Window::square(kernel, stride, padding);
            let (input, outputs) = (shape(70, side), (side + 2 * padding - kernel) / stride + 1);
            let strip = Strip::new(&window, input, shape(16, outputs)).unwrap();
            // Which pixel of the input each gathered one is, as row and column from the first of the window.
            let mut gathered = vec![None; strip.bytes() / DEPTH];
            for (phase, Phase { first, more }) in strip.phases.iter().enumerate() {
                for depth in 0..strip.depths {
                    for row in 0..strip.rows + more[0] {
                        for column in 0..outputs + more[1] {
                            let to = strip.first(phase, depth) + row * strip.pitch + column;
                            let from = [row * stride + first[0], column * stride + first[1]];
                            let is_halo = from[1] < padding || from[1] >= padding + side;
                            gathered[to] = Some((depth, from, is_halo));
                        }
                    }
                }
            }
            let last = strip.pixels(strip.rows).next_multiple_of(ROWS);
            for (number, &place) in strip.places.iter().enumerate() {
                let (depth, row, column) = (number / kernel / kernel, number / kernel % kernel, number % kernel);
                let place = place as usize / DEPTH;
                assert!(place + last <= gathered.len(), "a tile reads on");
                for (y, x) in (0..strip.rows).flat_map(|y| (0..outputs).map(move |x| (y, x))) {
                    let found = gathered[place + y * strip.pitch + x].unwrap();
                    let seen = [y * stride + row, x * stride + column];
                    let is_halo = seen[1] < padding || seen[1] >= padding + side;
                    assert!(found == (depth, seen, false) || (found.0 == depth && found.2 && is_halo), "{found:?}");
                }
            }
        }
    }

    #[test]
    fn parts_are_the_pixels_of_the_output() {
        let strip = Strip::new(&Window::square(3, 1, 1), shape(64, 7), shape(16, 7)).unwrap();
        assert_eq!((strip.rows, strip.pitch), (7, 8));
        let mut found = Vec::new();
        for from in (0..strip.pixels(7)).step_by(ROWS) {
            for (first, [row, column], count) in strip.parts(from, ROWS.min(strip.pixels(7) - from)) {
                assert_eq!(first, row * strip.pitch + column);
                found.extend((column..column + count).map(|column| (row, column)));
            }
        }
        assert_eq!(found, (0..7).flat_map(|y| (0..7).map(move |x| (y, x))).collect::<Vec<_>>());
    }

    #[test]
    fn strips_of_large_pictures_are_short() {
        let strip = Strip::new(&Window::square(3, 1, 1), shape(256, 56), shape(16, 56)).unwrap();
        assert!(strip.bytes() <= STRIP_BYTES && strip.rows < 56, "{strip:?}");
        assert!(Strip::new(&Window::square(1, 1, 0), shape(1 << 14, 56), shape(16, 56)).is_none());
    }
}

//! How the pixels that some rows of an output see are gathered, so that every element of a window finds them side by side.

use crate::kernel::bytes::matrix::{DEPTH, ROWS, TILE};
use crate::layout::{LANES, MAX_FLOATS, MAX_PICTURE_CHANNELS, Shape};
use crate::program::window::Window;

/// Bytes of gathered pixels that stay in the second cache beside the weights.
const STRIP_BYTES: usize = 256 << 10;

/// Gathered pixels as planes, whose pixels are [`DEPTH`] bytes.
///
/// Of a tensor in blocks there is one for every [`DEPTH`] channels of every *phase*: the pixels whose rows and columns leave
/// the same rest when divided by the window's stride. What an element of the window sees of neighbouring outputs are
/// neighbours in a plane; so are, behind a gap, those of the next row, which makes a strip one row of outputs. Of a picture
/// there is one for every few rows of the window: for each output what they see, side by side.
#[derive(Debug)]
pub(crate) struct Strip {
    pub(crate) window: Window,
    /// Rows of the output at most, and its columns.
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Pixels from a row of the output, or of a plane, to the next.
    pub(crate) pitch: usize,
    pub(crate) planes: Vec<Plane>,
    /// Pixels of a plane.
    pub(crate) plane: usize,
    /// For each product, the bytes from the first gathered pixel to the one that the strip's first output sees. Those of the
    /// last pixels of a strip lie inside, too, though the strip may end between tiles.
    pub(crate) places: Vec<u32>,
}

/// Where the pixels of a plane come from, and how many rows and columns of it are seen besides those of the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plane {
    pub(crate) parts: [Part; PARTS],
    pub(crate) more: [usize; 2],
}

/// Parts of a gathered pixel.
pub(crate) const PARTS: usize = DEPTH / LANES;

/// Sixteen bytes of a gathered pixel: the block, and row and column from the first that the window sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) block: usize,
    pub(crate) at: [usize; 2],
}

impl Strip {
    /// Of a tensor in blocks. `None` where not even a row's pixels are few.
    pub(crate) fn of_blocks(window: &Window, input: Shape, output: Shape) -> Option<Self> {
        let blocks = input.channels.div_ceil(LANES);
        if !are_few(window, blocks.div_ceil(PARTS)) {
            return None;
        }
        let phases = phases(window);
        let more = [0, 1].map(|axis| phases.iter().map(|phase| phase.more[axis]).max().unwrap_or(0));
        let depths = blocks.div_ceil(PARTS);
        let planes = phases.iter().flat_map(|phase| {
            (0..depths).map(|depth| {
                // Where there is no block any other's bytes will do: their weights are zeros.
                let part = |part: usize| Part { block: (depth * PARTS + part).min(blocks - 1), at: phase.first };
                Plane { parts: std::array::from_fn(part), more: phase.more }
            })
        });
        let pitch = output.width + more[1] - shared(window, input, output, more[1]);
        let mut strip = Self::fitting(window, output, pitch, (planes.collect(), more))?;
        let Window { kernel: [rows, columns], stride, dilation, .. } = *window;
        let elements = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
        let seen = elements.map(|(row, column)| {
            let at = [row * dilation[0], column * dilation[1]];
            let first = [at[0] % stride[0], at[1] % stride[1]];
            let phase = phases.iter().position(|phase| phase.first == first).unwrap_or(0);
            (phase * depths, at[0] / stride[0] * pitch + at[1] / stride[1])
        });
        let seen: Vec<(usize, usize)> = seen.collect();
        let places = (0..depths).flat_map(|depth| seen.iter().map(move |&(plane, pixel)| (plane + depth, pixel)));
        strip.places = places.map(|(plane, pixel)| ((plane * strip.plane + pixel) * DEPTH) as u32).collect();
        Some(strip)
    }

    /// Of a picture, whose pixels are four bytes. `None` where a row of the window is long, or has gaps.
    pub(crate) fn of_picture(window: &Window, output: Shape) -> Option<Self> {
        let of_row = of_row(window).filter(|_| window.dilation[1] == 1)?;
        let rows = window.kernel[0];
        if rows.div_ceil(PARTS / of_row) > MOST_PLANES {
            return None;
        }
        let planes = (0..rows).step_by(PARTS / of_row).map(|first| {
            // Behind the last row any other's bytes will do: their weights are zeros.
            let row = |part: usize| (first + part / of_row).min(rows - 1) * window.dilation[0];
            let part = |part: usize| Part { block: 0, at: [row(part), part % of_row * PICTURE_PIXELS] };
            Plane { parts: std::array::from_fn(part), more: [0, 0] }
        });
        let mut strip = Self::fitting(window, output, output.width, (planes.collect(), [0, 0]))?;
        strip.places = (0..strip.planes.len()).map(|plane| (plane * strip.plane * DEPTH) as u32).collect();
        Some(strip)
    }

    /// Of as many rows as fit, without its places.
    fn fitting(window: &Window, output: Shape, pitch: usize, (planes, more): (Vec<Plane>, [usize; 2])) -> Option<Self> {
        // Past what the last tile reads, and past the last row.
        let plane = |rows: usize| (rows + more[0]) * pitch + more[1] + ROWS;
        let bytes = |rows: usize| plane(rows).saturating_mul(planes.len() * DEPTH);
        let rows = (1..=output.height).take_while(|&rows| bytes(rows) <= STRIP_BYTES).last()?;
        // Strips of one length.
        let rows = output.height.div_ceil(output.height.div_ceil(rows));
        let (columns, plane) = (output.width, plane(rows));
        Some(Self { window: *window, rows, columns, pitch, planes, plane, places: Vec::new() })
    }

    /// The product that multiplies a channel of an element of the window by its weight, and the byte of a gathered pixel.
    pub(crate) fn product(&self, channel: usize, [row, column]: [usize; 2], is_picture: bool) -> (usize, usize) {
        let [rows, columns] = self.window.kernel;
        match of_row(&self.window).filter(|_| is_picture) {
            Some(of_row) => {
                let at_once = PARTS / of_row;
                let byte = (row % at_once * of_row * PICTURE_PIXELS + column) * MAX_PICTURE_CHANNELS + channel;
                (row / at_once, byte)
            }
            None => (channel / DEPTH * rows * columns + row * columns + column, channel % DEPTH),
        }
    }

    /// Bytes of all planes.
    pub(crate) fn bytes(&self) -> usize {
        self.planes.len() * self.plane * DEPTH
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

/// Planes that fit a strip at most: each has more pixels than a tile.
const MOST_PLANES: usize = STRIP_BYTES / (DEPTH * (ROWS + 1));

/// Products whose weights are within the limit for one block of output channels.
const MOST_PRODUCTS: usize = MAX_FLOATS * size_of::<f32>() / TILE;

/// Whether the planes and products of a window over so many groups of channels may be within the limits, before any of them
/// is made: a model can ask for as many as it likes.
fn are_few(window: &Window, depths: usize) -> bool {
    let phases = [0, 1].map(|axis| window.kernel[axis].min(window.stride[axis]));
    let of_all = |[rows, columns]: [usize; 2]| rows.saturating_mul(columns).saturating_mul(depths);
    of_all(phases) <= MOST_PLANES && of_all(window.kernel) <= MOST_PRODUCTS
}

/// Pixels of a picture in sixteen bytes.
const PICTURE_PIXELS: usize = LANES / MAX_PICTURE_CHANNELS;

/// Parts of a gathered pixel that a row of a window over a picture takes: as many as make a whole number of rows.
fn of_row(window: &Window) -> Option<usize> {
    [1, 2, 4].into_iter().find(|parts| window.kernel[1] <= parts * PICTURE_PIXELS)
}

/// A phase: the first row and column of the window that sees it, and how many rows and columns of a plane it sees besides
/// those of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Phase {
    first: [usize; 2],
    more: [usize; 2],
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

    /// For each gathered pixel of a strip, the parts of the input that it is.
    fn gathered(strip: &Strip) -> Vec<Option<[Part; PARTS]>> {
        let (stride, mut found) = (strip.window.stride, vec![None; strip.bytes() / DEPTH]);
        for (number, plane) in strip.planes.iter().enumerate() {
            for row in 0..strip.rows + plane.more[0] {
                for column in 0..strip.columns + plane.more[1] {
                    let at = |part: Part| [row * stride[0] + part.at[0], column * stride[1] + part.at[1]];
                    found[number * strip.plane + row * strip.pitch + column] =
                        Some(plane.parts.map(|part| Part { at: at(part), ..part }));
                }
            }
        }
        found
    }

    #[test]
    fn every_element_of_a_window_finds_what_it_sees() {
        for (kernel, stride, padding, side) in
            [(3, 1, 1, 7), (3, 2, 1, 8), (1, 2, 0, 9), (5, 3, 2, 11), (1, 1, 0, 5), (7, 2, 3, 20)]
        {
            let window = Window::square(kernel, stride, padding);
            let outputs = (side + 2 * padding - kernel) / stride + 1;
            let is_halo = |at: [usize; 2]| at[1] < padding || at[1] >= padding + side;
            for is_picture in [false, true] {
                let input = shape(if is_picture { 3 } else { 70 }, side);
                let strip = match is_picture {
                    true => Strip::of_picture(&window, shape(16, outputs)).unwrap(),
                    false => Strip::of_blocks(&window, input, shape(16, outputs)).unwrap(),
                };
                let (gathered, last) = (gathered(&strip), strip.pixels(strip.rows).next_multiple_of(ROWS));
                assert!(
                    strip.places.iter().all(|&place| place as usize / DEPTH + last <= gathered.len()),
                    "a tile reads on"
                );
                for (element, channel) in
                    (0..kernel * kernel).flat_map(|element| [0, 1, 2, 69].map(|channel| (element, channel)))
                {
                    if channel >= input.channels {
                        continue;
                    }
                    let element = [element / kernel, element % kernel];
                    let (product, byte) = strip.product(channel, element, is_picture);
                    let place = strip.places[product] as usize / DEPTH;
                    for (y, x) in (0..strip.rows).flat_map(|y| (0..outputs).map(move |x| (y, x))) {
                        let part = gathered[place + y * strip.pitch + x].unwrap()[byte / LANES];
                        let seen = [y * stride + element[0], x * stride + element[1]];
                        let (of_part, pixel, block) = match is_picture {
                            true => (byte % 4, byte % LANES / 4, 0),
                            false => (byte % LANES, 0, channel / LANES),
                        };
                        assert_eq!((part.block, of_part), (block, channel % LANES));
                        let found = [part.at[0], part.at[1] + pixel];
                        assert!(found == seen || (is_halo(found) && is_halo(seen)), "{found:?} {seen:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn parts_are_the_pixels_of_the_output() {
        let strip = Strip::of_blocks(&Window::square(3, 1, 1), shape(64, 7), shape(16, 7)).unwrap();
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
    fn windows_beyond_all_strips_are_refused_before_anything_is_made_of_them() {
        let window = |kernel, stride| Window { kernel, stride, ..Window::square(1, 1, 0) };
        let many = Shape { channels: 1 << 16, height: 1, width: 1 };
        for (window, input) in [
            (window([1 << 10; 2], [1 << 10; 2]), many),
            (window([1 << 20, 1], [1 << 20, 1]), shape(32, 1)),
            (window([1 << 10; 2], [1, 1]), shape(4096, 1)),
        ] {
            assert!(Strip::of_blocks(&window, input, shape(16, 4)).is_none(), "{window:?}");
        }
        assert!(Strip::of_picture(&window([1 << 20, 1], [1, 1]), shape(16, 4)).is_none());
    }

    #[test]
    fn strips_of_large_pictures_are_short() {
        let strip = Strip::of_blocks(&Window::square(3, 1, 1), shape(256, 56), shape(16, 56)).unwrap();
        assert!(strip.bytes() <= STRIP_BYTES && strip.rows < 56, "{strip:?}");
        assert!(Strip::of_picture(&Window::square(17, 1, 0), shape(16, 56)).is_none());
        assert!(Strip::of_blocks(&Window::square(1, 1, 0), shape(1 << 14, 56), shape(16, 56)).is_none());
    }
}

//! How a picture is cut into Winograd's patches, and in which order they come.

use std::ops::Range;

use crate::kernel::winograd::{Ends, Size};
use crate::layout::Shape;

/// One dimension of a picture in patches, the whole ones first.
#[derive(Debug, Clone, Copy)]
struct Side {
    whole: usize,
    count: usize,
    /// Pixels of a whole patch's output.
    output: usize,
}

impl Side {
    fn new(length: usize, ends: &Ends) -> Self {
        let output = ends.size.output;
        let count = length.div_ceil(output);
        // Sets whose products take no time to speak of would rather have large ones.
        let may_be_short = ends.filters.is_some() && ends.size.short.is_some();
        let short = if may_be_short { (count * output - length).min(count) } else { 0 };
        Self { whole: count - short, count, output }
    }

    /// The first pixel of a patch's output.
    fn first(&self, number: usize) -> usize {
        number * self.output - number.saturating_sub(self.whole)
    }

    fn is_short(&self, number: usize) -> bool {
        number >= self.whole
    }
}

/// All patches of a picture. Those that a number of the transform concerns stand side by side.
#[derive(Debug)]
pub(crate) struct Cutting {
    sides: [Side; 2],
    /// Row and column of each patch.
    order: Vec<[usize; 2]>,
    /// Patches that have a number: any; one that short rows leave out (2), that short columns do (1), that both do (3).
    ranges: [Range<usize>; 4],
}

impl Cutting {
    /// Of a convolution's output.
    pub(crate) fn new(output: Shape, ends: &Ends) -> Self {
        let sides = [output.height, output.width].map(|length| Side::new(length, ends));
        let [rows, columns] = sides;
        let of = |rows: Range<usize>, columns: Range<usize>| {
            rows.flat_map(move |row| columns.clone().map(move |column| [row, column]))
        };
        let order: Vec<[usize; 2]> = of(0..rows.whole, columns.whole..columns.count)
            .chain(of(0..rows.whole, 0..columns.whole))
            .chain(of(rows.whole..rows.count, 0..columns.whole))
            .chain(of(rows.whole..rows.count, columns.whole..columns.count))
            .collect();
        let before = rows.whole * (columns.count - columns.whole);
        let of_whole_rows = rows.whole * columns.count;
        let ranges =
            [0..order.len(), before..before + rows.count * columns.whole, 0..of_whole_rows, before..of_whole_rows];
        Self { sides, order, ranges }
    }

    /// How many there are.
    pub(crate) fn patches(&self) -> usize {
        self.order.len()
    }

    /// Whether all are whole, so that all have every number.
    fn is_whole(&self) -> bool {
        self.sides.iter().all(|side| side.whole == side.count)
    }

    /// Patches that have numbers of each kind ([`Self::kind`]).
    pub(crate) fn ranges(&self) -> &[Range<usize>] {
        if self.is_whole() { &self.ranges[..1] } else { &self.ranges }
    }

    /// Which of [`Self::ranges`] have a number.
    pub(crate) fn kind(&self, size: &Size, plane: usize) -> usize {
        let [rows, columns] = size.is_left_out(plane);
        if self.is_whole() { 0 } else { 2 * usize::from(rows) + usize::from(columns) }
    }

    /// Numbers of all patches together.
    pub(crate) fn numbers(&self, size: &Size) -> usize {
        (0..size.planes()).map(|plane| self.ranges[self.kind(size, plane)].len()).sum()
    }

    /// Row and column of the first pixel of a patch's output.
    pub(crate) fn first(&self, patch: usize) -> [usize; 2] {
        let [row, column] = self.order[patch];
        [self.sides[0].first(row), self.sides[1].first(column)]
    }

    /// Which of the kernels ([`Ends`]) a patch takes: 2, if its rows are short, and 1, if its columns are.
    pub(crate) fn shortness(&self, patch: usize) -> usize {
        let [row, column] = self.order[patch];
        2 * usize::from(self.sides[0].is_short(row)) + usize::from(self.sides[1].is_short(column))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;
    use crate::kernel::set::KernelSet;

    /// Pixels of a side of a patch's output.
    fn lengths(cutting: &Cutting, patch: usize) -> [usize; 2] {
        let shortness = cutting.shortness(patch);
        [4 - shortness / 2, 4 - shortness % 2]
    }

    #[test]
    fn every_pixel_is_in_one_patch_and_numbers_side_by_side() {
        let ends = &KernelSet::of(Isa::Portable).four;
        for (height, width) in [(7, 7), (14, 14), (13, 28), (4, 5), (5, 9), (8, 8), (11, 6), (55, 27)] {
            let shape = Shape { channels: 16, height, width };
            let cutting = Cutting::new(shape, ends);
            let mut seen = vec![0; height * width];
            for patch in 0..cutting.patches() {
                let ([y, x], [rows, columns]) = (cutting.first(patch), lengths(&cutting, patch));
                for (row, column) in (y..y + rows).flat_map(|row| (x..x + columns).map(move |column| (row, column))) {
                    if row < height && column < width {
                        seen[row * width + column] += 1;
                    }
                }
            }
            assert!(seen.iter().all(|&count| count == 1), "{height} × {width}: {seen:?}");
            for plane in 0..ends.size.planes() {
                let [rows, columns] = ends.size.is_left_out(plane);
                let has = |patch: &usize| {
                    let shortness = cutting.shortness(*patch);
                    !(rows && shortness / 2 == 1 || columns && shortness % 2 == 1)
                };
                let found: Vec<usize> = (0..cutting.patches()).filter(has).collect();
                let range = cutting.ranges()[cutting.kind(ends.size, plane)].clone();
                assert_eq!(found, range.collect::<Vec<_>>(), "{height} × {width}, {plane}");
            }
        }
        let numbers = |side| {
            let shape = Shape { channels: 16, height: side, width: side };
            Cutting::new(shape, ends).numbers(ends.size)
        };
        assert_eq!((numbers(7), numbers(14), numbers(28)), (121, 484, 42 * 42));
    }
}

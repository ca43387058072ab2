//! How a picture is cut into tiles of at most so many pixels.

use std::ops::Range;

/// Pixels of one tile: a first half and a second one, which follows it in the row or lies in the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tile {
    /// Row and column of each half's first pixel.
    pub(crate) halves: [(usize, usize); 2],
    /// Pixels of both: the first half has `pixels / 2` of them.
    pub(crate) pixels: usize,
}

impl Tile {
    /// The same, so many rows further down.
    fn below(self, rows: usize) -> Self {
        Self { halves: self.halves.map(|(y, x)| (y + rows, x)), ..self }
    }

    /// Pixels of a half.
    pub(crate) fn length(&self, half: usize) -> usize {
        if half == 0 { self.pixels / 2 } else { self.pixels - self.pixels / 2 }
    }
}

/// All tiles of a picture that is cut strip by strip, in the order in which they are computed.
#[derive(Debug)]
pub(crate) struct Tiling {
    pub(crate) tiles: Vec<Tile>,
    /// The first row of each tile's strip.
    pub(crate) above: Vec<usize>,
    /// Neighbouring tiles of one size, none of them in two strips.
    pub(crate) groups: Vec<Range<usize>>,
    /// The groups of each strip.
    pub(crate) strips: Vec<Range<usize>>,
    /// The pixels of tiles, each number once.
    pub(crate) sizes: Vec<usize>,
}

impl Tiling {
    /// Of strips, as first row and rows, of so many columns, into tiles of `most` pixels, multiples of `unit` as for [`cut_by`];
    /// of so many neighbours, those of one size are put together.
    pub(crate) fn new(
        strips: &[(usize, usize)],
        columns: usize,
        (most, unit): (usize, usize),
        neighbours: usize,
    ) -> Self {
        let mut found =
            Self { tiles: Vec::new(), above: Vec::new(), groups: Vec::new(), strips: Vec::new(), sizes: Vec::new() };
        for &(above, rows) in strips {
            let mut tiles = cut_by(rows, columns, most, unit);
            for part in tiles.chunks_mut(neighbours) {
                part.sort_by_key(|tile| tile.pixels);
            }
            let (before, first) = (found.tiles.len(), found.groups.len());
            let groups = of_one_size(tiles.iter().map(|tile| tile.pixels), neighbours);
            found.groups.extend(groups.into_iter().map(|group| before + group.start..before + group.end));
            found.strips.push(first..found.groups.len());
            found.tiles.extend(tiles.into_iter().map(|tile| tile.below(above)));
            found.above.resize(found.tiles.len(), above);
        }
        found.sizes.extend(found.tiles.iter().map(|tile| tile.pixels));
        found.sizes.sort_unstable();
        found.sizes.dedup();
        found
    }
}

/// Cuts `height` × `width` pixels into tiles of at most `most`. Two rows at a time where that makes fewer tiles, such as
/// for a width of 7 and tiles of 14, or of 5.
pub(crate) fn cut(height: usize, width: usize, most: usize) -> Vec<Tile> {
    cut_by(height, width, most, 1)
}

/// As [`cut`], into tiles of multiples of `unit` pixels, 1 or 2, but for what is left of a row. `most` is such a multiple.
pub(crate) fn cut_by(height: usize, width: usize, most: usize, unit: usize) -> Vec<Tile> {
    let single = width.div_ceil(most);
    let double = if most < 2 { usize::MAX } else { (2 * width).div_ceil(most) };
    let by_pairs = double < 2 * single || (double == 2 * single && !width.is_multiple_of(unit));
    let mut tiles = Vec::new();
    let mut y = 0;
    while y < height {
        if by_pairs && y + 1 < height {
            pair(y, width, (double, unit), &mut tiles);
            y += 2;
        } else {
            let parts = even_by(width, single, unit);
            tiles.extend(parts.map(|(x, length)| Tile { halves: [(y, x), (y, x + length / 2)], pixels: length }));
            y += 1;
        }
    }
    tiles
}

/// Cuts two rows into so many tiles, which lie in both: where their number of pixels is odd, one more in the row that is
/// behind.
fn pair(y: usize, width: usize, (parts, unit): (usize, usize), tiles: &mut Vec<Tile>) {
    let mut done = [0, 0];
    for (_, pixels) in even_by(2 * width, parts, unit) {
        let longer = usize::from(done[1] < done[0]);
        let shorter = 1 - longer;
        tiles.push(Tile { halves: [shorter, longer].map(|row| (y + row, done[row])), pixels });
        done[shorter] += pixels / 2;
        done[longer] += pixels - pixels / 2;
    }
}

/// `length` in so many parts of multiples of `unit`, but for the last: where each begins, and how long it is.
fn even_by(length: usize, parts: usize, unit: usize) -> impl Iterator<Item = (usize, usize)> {
    even(length.div_ceil(unit), parts).map(move |(from, units)| (from * unit, (units * unit).min(length - from * unit)))
}

/// `length` in so many parts, as even as can be: where each begins, and how long it is.
pub(crate) fn even(length: usize, parts: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..parts).map(move |part| {
        let (from, to) = (length * part / parts, length * (part + 1) / parts);
        (from, to - from)
    })
}

/// Neighbours of one size, at most so many together.
pub(crate) fn of_one_size(sizes: impl Iterator<Item = usize>, most: usize) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut before = None;
    for (number, size) in sizes.enumerate() {
        match groups.last_mut() {
            Some(last) if before == Some(size) && last.len() < most => last.end += 1,
            _ => groups.push(number..number + 1),
        }
        before = Some(size);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_one_size_stand_together() {
        assert_eq!(of_one_size([4, 4, 5, 5, 5, 4].into_iter(), 2), [0..2, 2..4, 4..5, 5..6]);
        let all = of_one_size([7; 3].into_iter(), 16);
        assert_eq!((all.len(), &all[0]), (1, &(0..3)));
    }

    #[test]
    fn strips_are_cut_apart_and_tiles_of_one_size_put_together() {
        let Tiling { tiles, above, groups, strips, sizes } = Tiling::new(&[(0, 4), (4, 3)], 7, (5, 1), 16);
        let pixels: usize = tiles.iter().map(|tile| tile.pixels).sum();
        assert_eq!((pixels, above.len()), (7 * 7, tiles.len()));
        assert!(tiles.iter().zip(&above).all(|(tile, above)| (*above..above + 4).contains(&tile.halves[1].0)));
        assert_eq!(groups.iter().map(ExactSizeIterator::len).sum::<usize>(), tiles.len());
        let of = |group: &Range<usize>| tiles[group.clone()].iter().map(|tile| tile.pixels).collect::<Vec<_>>();
        assert!(groups.iter().map(of).all(|group| group.iter().all(|pixels| *pixels == group[0])));
        assert_eq!((strips.len(), strips[1].end), (2, groups.len()));
        assert!(groups[strips[1].clone()].iter().all(|group| above[group.start] == 4));
        assert!(sizes.is_sorted() && sizes.iter().all(|&size| size <= 5));
    }

    #[test]
    fn tiles_of_pairs_leave_one_pixel_of_a_row_or_of_none() {
        for (height, width) in [(1, 1), (2, 7), (7, 7), (6, 9), (8, 11), (3, 28), (4, 56), (5, 14)] {
            let tiles = cut_by(height, width, 6, 2);
            let odd = tiles.iter().filter(|tile| tile.pixels % 2 == 1).count();
            assert!(odd <= height && (width % 2 == 1 || odd == 0), "{height} × {width}: {tiles:?}");
        }
        let odd = |height| cut_by(height, 11, 6, 2).iter().filter(|tile| tile.pixels % 2 == 1).count();
        assert_eq!((odd(8), odd(7)), (0, 1));
    }

    #[test]
    fn every_pixel_is_in_one_tile() {
        for (height, width, most, unit) in [
            (1, 1, 14, 1),
            (7, 7, 14, 1),
            (7, 7, 6, 1),
            (13, 27, 14, 1),
            (5, 20, 14, 1),
            (3, 9, 1, 1),
            (4, 5, 2, 1),
            (7, 7, 5, 1),
            (8, 56, 5, 1),
            (1, 1, 6, 2),
            (7, 7, 6, 2),
            (13, 27, 6, 2),
            (5, 11, 6, 2),
            (4, 5, 2, 2),
        ] {
            let mut seen = vec![0; height * width];
            for tile in cut_by(height, width, most, unit) {
                assert!((1..=most).contains(&tile.pixels), "{tile:?}");
                for (half, (y, x)) in tile.halves.into_iter().enumerate() {
                    (x..x + tile.length(half)).for_each(|x| seen[y * width + x] += 1);
                }
            }
            assert!(seen.iter().all(|&count| count == 1), "{height} × {width} by {most}: {seen:?}");
        }
        assert_eq!(cut(7, 7, 14).len(), 4);
        assert_eq!(cut(6, 7, 5).len(), 9);
    }
}

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
    pub(crate) fn below(self, rows: usize) -> Self {
        Self { halves: self.halves.map(|(y, x)| (y + rows, x)), ..self }
    }

    /// Pixels of a half.
    pub(crate) fn length(&self, half: usize) -> usize {
        if half == 0 { self.pixels / 2 } else { self.pixels - self.pixels / 2 }
    }
}

/// Cuts `height` × `width` pixels into tiles of at most `most`. Two rows at a time where that makes fewer tiles, such as
/// for a width of 7 and tiles of 14, or of 5.
pub(crate) fn cut(height: usize, width: usize, most: usize) -> Vec<Tile> {
    let single = width.div_ceil(most);
    let double = if most < 2 { usize::MAX } else { (2 * width).div_ceil(most) };
    let by_pairs = double < 2 * single;
    let mut tiles = Vec::new();
    let mut y = 0;
    while y < height {
        if by_pairs && y + 1 < height {
            pair(y, width, double, &mut tiles);
            y += 2;
        } else {
            let parts = even(width, single);
            tiles.extend(parts.map(|(x, length)| Tile { halves: [(y, x), (y, x + length / 2)], pixels: length }));
            y += 1;
        }
    }
    tiles
}

/// Cuts two rows into so many tiles, which lie in both: where their number of pixels is odd, one more in the row that is
/// behind.
fn pair(y: usize, width: usize, parts: usize, tiles: &mut Vec<Tile>) {
    let mut done = [0, 0];
    for (_, pixels) in even(2 * width, parts) {
        let longer = usize::from(done[1] < done[0]);
        let shorter = 1 - longer;
        tiles.push(Tile { halves: [shorter, longer].map(|row| (y + row, done[row])), pixels });
        done[shorter] += pixels / 2;
        done[longer] += pixels - pixels / 2;
    }
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
    fn every_pixel_is_in_one_tile() {
        for (height, width, most) in
            [(1, 1, 14), (7, 7, 14), (7, 7, 6), (13, 27, 14), (5, 20, 14), (3, 9, 1), (4, 5, 2), (7, 7, 5), (8, 56, 5)]
        {
            let mut seen = vec![0; height * width];
            for tile in cut(height, width, most) {
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

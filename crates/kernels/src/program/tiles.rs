//! How a picture is cut into tiles of at most so many pixels.

/// Pixels of one tile: a first half and a second one, which follows it in the row or lies in the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tile {
    /// Row and column of each half's first pixel.
    pub(crate) halves: [(usize, usize); 2],
    /// Pixels of both: the first half has `pixels / 2` of them.
    pub(crate) pixels: usize,
}

impl Tile {
    /// Pixels of a half.
    pub(crate) fn length(&self, half: usize) -> usize {
        if half == 0 { self.pixels / 2 } else { self.pixels - self.pixels / 2 }
    }
}

/// Cuts `height` × `width` pixels into tiles of at most `most`. Two rows at a time where that makes fewer tiles, such as
/// for a width of 7 and tiles of 14.
pub(crate) fn cut(height: usize, width: usize, most: usize) -> Vec<Tile> {
    let single = width.div_ceil(most);
    let double = if most < 2 { usize::MAX } else { width.div_ceil(most / 2) };
    let by_pairs = double < 2 * single;
    let mut tiles = Vec::new();
    let mut y = 0;
    while y < height {
        if by_pairs && y + 1 < height {
            let parts = even(width, double);
            tiles.extend(parts.map(|(x, length)| Tile { halves: [(y, x), (y + 1, x)], pixels: 2 * length }));
            y += 2;
        } else {
            let parts = even(width, single);
            tiles.extend(parts.map(|(x, length)| Tile { halves: [(y, x), (y, x + length / 2)], pixels: length }));
            y += 1;
        }
    }
    tiles
}

/// `length` in so many parts, as even as can be: where each begins, and how long it is.
pub(crate) fn even(length: usize, parts: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..parts).map(move |part| {
        let (from, to) = (length * part / parts, length * (part + 1) / parts);
        (from, to - from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pixel_is_in_one_tile() {
        for (height, width, most) in
            [(1, 1, 14), (7, 7, 14), (7, 7, 6), (13, 27, 14), (5, 20, 14), (3, 9, 1), (4, 5, 2)]
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
    }
}

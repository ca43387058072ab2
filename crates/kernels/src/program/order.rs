//! In which order the bands and the tiles of a convolution are computed: of weights and input, what is read again and again
//! should stay in a cache.

use std::ops::Range;

use super::tiles::even;

/// Groups of tiles of a thread's part at least.
const LEAST_GROUPS: usize = 3;

/// The order of pieces of work, each of which is a group of tiles of a band.
#[derive(Debug)]
pub(crate) struct Order {
    bands: usize,
    /// Parts of the groups, of which one after the other is computed band by band. With none of them, all bands of a group come
    /// before the next group.
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    /// Its first piece of work.
    first: usize,
    groups: Range<usize>,
}

/// A piece of work, by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) band: usize,
    pub(crate) group: usize,
    /// The groups whose pieces of this band come one after the other; none, where the next piece is another band's.
    pub(crate) part: Range<usize>,
}

impl Order {
    /// All bands of a group before the next group.
    pub(crate) fn by_group(bands: usize) -> Self {
        Self { bands, parts: Vec::new() }
    }

    /// All groups of a part before the next band, and all bands before the next part: what a part reads stays in a cache. Where
    /// threads have parts of their own, which is worth while if the input is larger than the weights, each reads what it wrote
    /// itself, and not what lies in another's cache.
    pub(crate) fn by_band(bands: usize, groups: usize, parts: usize) -> Self {
        let count = parts.min(groups / LEAST_GROUPS).max(1);
        let part = |(first, length)| Part { first: first * bands, groups: first..first + length };
        Self { bands, parts: even(groups, count).map(part).collect() }
    }

    /// The piece of work with this number.
    pub(crate) fn piece(&self, item: usize) -> Piece {
        let Some(number) = self.parts.partition_point(|part| part.first <= item).checked_sub(1) else {
            return Piece { band: item % self.bands, group: item / self.bands, part: 0..0 };
        };
        let Part { first, groups } = &self.parts[number];
        let (item, length) = (item - first, groups.len());
        Piece { band: item / length, group: groups.start + item % length, part: groups.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_comes_once_in_either_order() {
        for (bands, groups) in [(1, 1), (3, 1), (1, 7), (4, 14), (5, 9)] {
            for (order, parts) in [
                (Order::by_group(bands), 0),
                (Order::by_band(bands, groups, 1), 1),
                (Order::by_band(bands, groups, 3), (groups / LEAST_GROUPS).clamp(1, 3)),
            ] {
                assert_eq!(order.parts.len(), parts);
                let mut found: Vec<(usize, usize)> = Vec::new();
                for item in 0..bands * groups {
                    let Piece { band, group, part } = order.piece(item);
                    assert!(part.is_empty() == (parts == 0) && (part.is_empty() || part.contains(&group)));
                    found.push((band, group));
                }
                found.sort_unstable();
                let all = (0..bands).flat_map(|band| (0..groups).map(move |group| (band, group)));
                assert_eq!(found, all.collect::<Vec<_>>(), "{order:?}");
            }
        }
        let order = Order::by_band(2, 6, 2);
        let of_first: Vec<Piece> = (0..6).map(|item| order.piece(item)).collect();
        assert!(of_first.iter().all(|piece| piece.part == (0..3)) && of_first[3].band == 1, "{of_first:?}");
    }
}

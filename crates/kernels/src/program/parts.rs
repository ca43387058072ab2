//! A sum over many runs in parts, so that a band's weights stay in the first cache while the tiles of a call pass by.
//!
//! The first part begins with the bias, each further one with what the one before has left in the output, and the last ends with
//! residual and activation: terms are summed in the same order as at once, to the same bits. A call's first tile waits for weights
//! from the second cache, all others find them near.

use std::ops::Range;

use crate::isa::first_cache;
use crate::kernel::tile::Run;

/// What the tiles of a call read and write meanwhile, in bytes.
const BESIDE: usize = 16 << 10;

/// Floats of a part's weights at most, where parts have several runs: what is left of the first cache.
fn most() -> usize {
    first_cache().saturating_sub(BESIDE).max(BESIDE) / size_of::<f32>()
}

/// Some neighbouring runs of a band.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) runs: Range<usize>,
    /// Of all elements of the band's runs.
    pub(super) elements: Range<usize>,
}

impl Part {
    /// Of runs, the first of which has this number, all at once; or for bands of so many channels as few parts as fit the first
    /// cache, as even as can be.
    pub(super) fn of(runs: &[Run], first: usize, lanes: Option<usize>) -> Vec<Self> {
        Self::at_most(runs, first, lanes.map(|lanes| (lanes, most())))
    }

    /// The same of so many floats at most.
    fn at_most(runs: &[Run], first: usize, limit: Option<(usize, usize)>) -> Vec<Self> {
        let all = elements(runs);
        let count = limit.map_or(1, |(lanes, most)| (all * lanes).div_ceil(most));
        let (mut parts, mut from, mut done): (Vec<Self>, _, _) = (Vec::new(), 0, 0..0);
        for (number, run) in runs.iter().enumerate() {
            done.end += run.length as usize;
            if number + 1 == runs.len() || done.end * count >= all * (parts.len() + 1) {
                parts.push(Self { runs: first + from..first + number + 1, elements: done.clone() });
                (from, done.start) = (number + 1, done.end);
            }
        }
        parts
    }
}

/// Input floats of all runs.
pub(super) fn elements(runs: &[Run]) -> usize {
    runs.iter().map(|run| run.length as usize).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOATS: usize = 8 << 10;

    #[test]
    fn parts_cover_all_runs_once_and_fit_the_first_cache() {
        for (count, length, lanes, parts) in
            [(1, 16, 64, 1), (8, 16, 64, 1), (16, 16, 64, 2), (64, 16, 64, 8), (9, 16, 64, 2), (5, 1, 16, 1)]
        {
            let runs = vec![Run { offset: 3, length }; count];
            let found = Part::at_most(&runs, 7, Some((lanes, FLOATS)));
            assert_eq!((found.len(), Part::of(&runs, 7, None).len()), (parts, 1), "{count} runs of {length}");
            let (mut run, mut element) = (7, 0);
            for part in &found {
                assert_eq!((part.runs.start, part.elements.start), (run, element));
                assert_eq!(elements(&runs[part.runs.start - 7..part.runs.end - 7]), part.elements.len());
                assert!(part.elements.len() * lanes <= FLOATS);
                (run, element) = (part.runs.end, part.elements.end);
            }
            assert_eq!((run, element), (7 + count, elements(&runs)));
        }
    }
}

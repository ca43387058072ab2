//! Which memory a step may touch, and the question before every access of a checked run.
//!
//! The proof of a program (`program/step.rs`) says that its kernels stay inside their tensors. A run with
//! [`crate::Options::checks`] asks again at every float, of the step that runs, on the thread that runs it.

use std::cell::RefCell;
use std::ops::Range;

/// What a step may touch: floats of the arena by offset, and memory of its own.
#[derive(Debug, Default, Clone)]
pub(crate) struct Touched {
    pub(crate) reads: Vec<Range<usize>>,
    pub(crate) writes: Vec<Range<usize>>,
    /// Packed weights: address of the first float, and how many there are.
    pub(crate) weights: Vec<(usize, usize)>,
}

/// How memory is touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// Addresses that the step at hand may touch.
#[derive(Debug, Default)]
struct Allowed {
    step: String,
    reads: Vec<Range<usize>>,
    writes: Vec<Range<usize>>,
}

thread_local! {
    static ALLOWED: RefCell<Allowed> = RefCell::default();
}

/// From now on this thread may touch what a step touches, in the arena at this address.
pub(crate) fn enter(step: String, touched: Touched, arena: *const f32) {
    let bytes = size_of::<f32>();
    let of_arena = |range: Range<usize>| arena.addr() + range.start * bytes..arena.addr() + range.end * bytes;
    let writes: Vec<_> = touched.writes.into_iter().map(of_arena).collect();
    let weights = touched.weights.into_iter().map(|(from, floats)| from..from + floats * bytes);
    let reads = touched.reads.into_iter().map(of_arena).chain(weights).chain(writes.iter().cloned()).collect();
    ALLOWED.set(Allowed { step, reads, writes });
}

/// Ends the run if the step at hand may not touch so many floats.
///
/// # Panics
/// They are not all among those that it may.
pub(crate) fn touch(from: *const f32, floats: usize, access: Access) {
    ALLOWED.with_borrow(|allowed| {
        let ranges = if access == Access::Read { &allowed.reads } else { &allowed.writes };
        let end = from.addr() + floats * size_of::<f32>();
        let is_inside = ranges.iter().any(|range| range.start <= from.addr() && end <= range.end);
        assert!(is_inside, "{access:?} of {floats} floats outside what the step may touch: {}", allowed.step);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_touches_what_it_may_and_nothing_else() {
        let (arena, weights) = ([0.0_f32; 100], [0.0_f32; 10]);
        let [reads, writes] = [0..16, 32..48].map(|range| [range].to_vec());
        let touched = Touched { reads, writes, weights: vec![(weights.as_ptr().addr(), 10)] };
        enter("a step".to_owned(), touched, arena.as_ptr());
        for (place, floats, access, is_allowed) in [
            (0, 16, Access::Read, true),
            (0, 17, Access::Read, false),
            (32, 16, Access::Write, true),
            (32, 16, Access::Read, true),
            (0, 1, Access::Write, false),
            (47, 2, Access::Write, false),
            (20, 1, Access::Read, false),
        ] {
            let found = std::panic::catch_unwind(|| touch(arena[place..].as_ptr(), floats, access));
            assert_eq!(found.is_ok(), is_allowed, "{access:?} {place} {floats}");
        }
        touch(weights[9..].as_ptr(), 1, Access::Read);
        assert!(std::panic::catch_unwind(|| touch(weights.as_ptr(), 1, Access::Write)).is_err());
    }
}

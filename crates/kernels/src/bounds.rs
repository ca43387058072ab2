//! Which memory a step may touch, and the question before every access of a checked run.
//!
//! The proof of a program (`program/step.rs`) says that its kernels stay inside their tensors. A run with
//! [`crate::Options::checks`] asks again at every access, of the step that runs, on the thread that runs it.

use std::cell::RefCell;
use std::ops::Range;

use crate::program::region::Region;

/// What a step may touch: floats of the arena by offset, and memory of its own.
#[derive(Debug, Default, Clone)]
pub(crate) struct Touched {
    pub(crate) reads: Vec<Range<usize>>,
    pub(crate) writes: Vec<Range<usize>>,
    /// Packed weights: address of the first float, and how many there are.
    pub(crate) weights: Vec<(usize, usize)>,
}

impl Touched {
    /// What is read and written of tensors, the slack of bytes included in what is read.
    pub(crate) fn of<'a>(inputs: impl IntoIterator<Item = &'a Region>, output: &Region) -> Self {
        Self { reads: inputs.into_iter().map(Region::reach).collect(), writes: vec![output.floats()], weights: vec![] }
    }
}

/// Where numbers lie, as [`Touched::weights`] has it.
pub(crate) fn placed(numbers: &[i32]) -> (usize, usize) {
    (numbers.as_ptr().addr(), numbers.len())
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

/// Ends the run if the step at hand may not touch so many numbers.
///
/// # Panics
/// They are not all among those that it may.
pub(crate) fn touch<T>(from: *const T, count: usize, access: Access) {
    ALLOWED.with_borrow(|allowed| {
        let ranges = if access == Access::Read { &allowed.reads } else { &allowed.writes };
        let bytes = count * size_of::<T>();
        let end = from.addr() + bytes;
        let is_inside = ranges.iter().any(|range| range.start <= from.addr() && end <= range.end);
        assert!(is_inside, "{access:?} of {bytes} bytes outside what the step may touch: {}", allowed.step);
    });
}

/// How kernels over bytes reach memory.
#[allow(clippy::missing_safety_doc, reason = "one condition for both, said here")]
pub(crate) trait Memory {
    /// A value, of any alignment: it must lie behind the pointer.
    unsafe fn read<T: Copy>(from: *const T) -> T;
    /// There must be room for it behind the pointer.
    unsafe fn write<T: Copy>(value: T, to: *mut T);
}

/// Without a question: plans have been proven.
#[derive(Debug)]
pub(crate) struct Proven;

impl Memory for Proven {
    #[inline(always)]
    unsafe fn read<T: Copy>(from: *const T) -> T {
        // SAFETY: the caller's promise.
        unsafe { from.read_unaligned() }
    }

    #[inline(always)]
    unsafe fn write<T: Copy>(value: T, to: *mut T) {
        // SAFETY: the caller's promise.
        unsafe { to.write_unaligned(value) }
    }
}

/// With the question before every access.
#[derive(Debug)]
pub(crate) struct Asked;

impl Memory for Asked {
    unsafe fn read<T: Copy>(from: *const T) -> T {
        touch(from, 1, Access::Read);
        // SAFETY: the value is one that the step may read.
        unsafe { from.read_unaligned() }
    }

    unsafe fn write<T: Copy>(value: T, to: *mut T) {
        touch(to.cast_const(), 1, Access::Write);
        // SAFETY: the value is one that the step may write.
        unsafe { to.write_unaligned(value) }
    }
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
        // SAFETY: sixteen floats are 64 bytes, of which 16 and the next 64 are read; what may not be is not.
        unsafe {
            let bytes = arena.as_ptr().cast::<[u8; 16]>();
            assert_eq!(Asked::read(bytes.add(3)), [0; 16]);
            assert!(std::panic::catch_unwind(|| Asked::read(bytes.add(4))).is_err());
            assert!(std::panic::catch_unwind(|| Asked::write([1; 16], bytes.cast_mut())).is_err());
        }
        touch(weights[9..].as_ptr(), 1, Access::Read);
        assert!(std::panic::catch_unwind(|| touch(weights.as_ptr(), 1, Access::Write)).is_err());
    }
}

//! Filters, transformed in every run: packed weights are then a quarter of the transformed ones, and read from memory they
//! take more time than their transform.
//!
//! Of a filter the three rows are packed as three *parts*, and so are the three columns of each, such that every row of the
//! transformed filter is one part and a multiple of another, and so is every column. One call makes one row: of sixteen output
//! channels and some input channels, six planes.

#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
pub(crate) mod portable;

use crate::layout::LANES;
use crate::vector::Vector;

/// Parts of a dimension of a filter, and numbers of a dimension of a transformed one.
pub(crate) const PARTS: usize = 3;
pub(crate) const NUMBERS: usize = 6;

/// How filters are packed, and how their transform is made of that.
#[derive(Debug)]
pub(crate) struct Recipe {
    /// Each part of the three elements of a dimension.
    pub(crate) parts: [[f64; 3]; PARTS],
    /// For each row of a transformed filter, a part, another, and what that is multiplied with.
    pub(crate) rows: [(usize, usize, f32); NUMBERS],
    /// For each column of a transformed filter, where it lies among those that a call makes.
    pub(crate) slots: [usize; NUMBERS],
}

const S: f64 = -1.0 / 6.0;

/// For [`super::FOUR`]: the even elements' sum at the point 1, half of that at 2, and the odd element.
pub(crate) static OF_FOUR: Recipe = Recipe {
    parts: [[S, 0.0, S], [S / 2.0, 0.0, S * 2.0], [0.0, S, 0.0]],
    rows: [(1, 0, -2.0), (0, 2, 1.0), (0, 2, -1.0), (1, 2, 1.0), (1, 2, -1.0), (1, 0, -0.5)],
    slots: [4, 0, 1, 2, 3, 5],
};

/// For [`super::FOUR_STRIDED`]: the first element, the last and the middle one.
pub(crate) static OF_FOUR_STRIDED: Recipe = Recipe {
    parts: [[0.5, 0.0, 0.0], [0.0, 0.0, 0.5], [0.0, 1.0, 0.0]],
    rows: [(0, 1, 0.0), (0, 1, 1.0), (0, 1, -1.0), (0, 1, 2.0), (1, 0, 0.0), (2, 0, 0.0)],
    slots: [0, 1, 2, 3, 4, 5],
};

/// What one call computes: one row of some transformed filters.
#[derive(Debug)]
pub(crate) struct FilterCall {
    /// For each input channel, the three columns' parts of a row's part, of sixteen output channels each.
    pub(crate) first: *const f32,
    /// The same of the row's part that is multiplied and added.
    pub(crate) second: *const f32,
    pub(crate) factor: f32,
    /// Input channels, at least one.
    pub(crate) inputs: usize,
    /// For each slot, for each input channel, sixteen output channels.
    pub(crate) output: *mut f32,
    /// Floats from a slot to the next.
    pub(crate) plane: usize,
}

/// A compiled transform of filters.
pub(crate) type FilterKernel = unsafe fn(&FilterCall);

/// The columns of a row, of its three parts.
pub(crate) trait Columns {
    /// The numbers in the order of the slots.
    ///
    /// # Safety
    /// As for every kernel (`kernel.rs`).
    unsafe fn columns<V: Vector>(parts: [V; PARTS]) -> [V; NUMBERS];
}

#[derive(Debug)]
pub(crate) struct OfFour;

impl Columns for OfFour {
    #[inline(always)]
    unsafe fn columns<V: Vector>([one, two, odd]: [V; PARTS]) -> [V; NUMBERS] {
        // SAFETY: the caller's promise.
        unsafe {
            let first = one.fma(V::splat(-2.0), two);
            let last = one.fma(V::splat(1.5), first);
            [one.add(odd), one.sub(odd), two.add(odd), two.sub(odd), first, last]
        }
    }
}

#[derive(Debug)]
pub(crate) struct OfFourStrided;

impl Columns for OfFourStrided {
    #[inline(always)]
    unsafe fn columns<V: Vector>([first, last, odd]: [V; PARTS]) -> [V; NUMBERS] {
        // SAFETY: the caller's promise.
        unsafe {
            let one = first.add(last);
            [first, one, first.sub(last), one.add(last), last, odd]
        }
    }
}

/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn transform_filters<V: Vector, C: Columns>(call: &FilterCall) {
    for input in 0..call.inputs {
        for lane in (0..LANES).step_by(V::LANES) {
            // SAFETY: the caller's promise.
            unsafe {
                let factor = V::splat(call.factor);
                let mut parts = [V::splat(0.0); PARTS];
                for part in 0..PARTS {
                    let place = (input * PARTS + part) * LANES + lane;
                    parts[part] = V::load(call.second.add(place)).fma(factor, V::load(call.first.add(place)));
                }
                let numbers = C::columns(parts);
                for slot in 0..NUMBERS {
                    numbers[slot].store(call.output.add(slot * call.plane + input * LANES + lane));
                }
            }
        }
    }
}

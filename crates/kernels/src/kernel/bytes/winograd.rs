//! The two ends of Winograd's F(4×4, 3×3) over whole numbers, which is exact: as `kernel/winograd.rs`, with everything
//! multiplied by what makes it whole.
//!
//! The bytes' transforms are below 100 · 255 and the filters' below 49 · 255, so both fit sixteen bits. The products' sums
//! are 3 · 2ⁿ times too large in each dimension, and computed modulo 2³²: what is left of the true sum after the division
//! (by 9, which has an inverse, and by 2ⁿ, which is at most 2⁶) are its lowest 26 bits, and the plan proves that it has no
//! more.

use super::unrolled;
use crate::block::{Block, Joint, Range};
use crate::kernel::winograd::{OUTPUT, PATCH};
use crate::layout::LANES;

/// Filters go through this on both sides.
pub(crate) const FILTER: [[i32; 3]; PATCH] = [[6, 0, 0], [1, 1, 1], [1, -1, 1], [1, 2, 4], [1, -2, 4], [0, 0, 6]];

/// Sums of magnitude below this come out whole.
pub(crate) const LARGEST_SUM: i64 = 1 << 25;

/// The number by which 9 gives 1, modulo 2³².
const NINTH: i32 = 0x38e3_8e39;

/// The power of two by which a row of sums is too large, and a column.
const SHIFTS: [u32; OUTPUT] = [3, 2, 1, 1];

/// What one call of the first transform computes: one patch of one channel block.
#[derive(Debug)]
pub(crate) struct BytePatchCall {
    /// The patch's first pixel.
    pub(crate) input: *const u8,
    /// Bytes from a row to the next.
    pub(crate) row: usize,
    /// Rows and columns of the patch that exist; others count as zeros.
    pub(crate) inside: (usize, usize),
    /// The byte that stands for zero, as it is stored.
    pub(crate) zero: u8,
    /// The first of 36 numbers.
    pub(crate) output: *mut i16,
    /// Numbers of sixteen bits from a number to the next.
    pub(crate) plane: usize,
}

/// What one call of the second transform computes: one patch of one channel block.
#[derive(Debug)]
pub(crate) struct ByteSumCall<'a> {
    /// The first of 36 sums.
    pub(crate) input: *const i32,
    /// Sums from a sum to the next.
    pub(crate) plane: usize,
    /// Sixteen channels.
    pub(crate) bias: *const i32,
    pub(crate) factors: *const f32,
    pub(crate) range: &'a Range,
    /// Bytes that are joined first: the patch's first pixel there, and bytes from a row to the next.
    pub(crate) joined: Option<(&'a Joint, *const u8, usize)>,
    /// The patch's first pixel.
    pub(crate) output: *mut u8,
    /// Bytes from a row to the next.
    pub(crate) row: usize,
    /// Rows and columns of the patch that are inside the picture.
    pub(crate) inside: (usize, usize),
}

/// A compiled first transform.
pub(crate) type BytePatchKernel = unsafe fn(&BytePatchCall);
/// A compiled second transform.
pub(crate) type ByteSumKernel = unsafe fn(&ByteSumCall<'_>);

/// Sixteen channels' bytes.
type Pixel = [u8; LANES];

/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn transform_patch<const SIGNED: bool>(call: &BytePatchCall) {
    if call.inside == (PATCH, PATCH) {
        // SAFETY: the caller's promise.
        return unsafe { transform_whole::<SIGNED>(call.input, call.row, call) };
    }
    let mut patch = [[[call.zero; LANES]; PATCH]; PATCH];
    for y in 0..PATCH {
        for x in 0..PATCH {
            if y < call.inside.0 && x < call.inside.1 {
                // SAFETY: the caller's promise; pixels that do not exist are not read.
                patch[y][x] = unsafe { call.input.add(y * call.row + x * LANES).cast::<Pixel>().read_unaligned() };
            }
        }
    }
    // SAFETY: as above; the patch is whole.
    unsafe { transform_whole::<SIGNED>(patch.as_ptr().cast(), PATCH * LANES, call) }
}

/// # Safety
/// As for every kernel (`kernel.rs`): there are 6 × 6 pixels behind `input`, rows of which are `row` bytes apart.
#[inline(always)]
unsafe fn transform_whole<const SIGNED: bool>(input: *const u8, row: usize, call: &BytePatchCall) {
    let number = |byte: u8| if SIGNED { i16::from(byte.cast_signed()) } else { i16::from(byte) };
    let zero = number(call.zero);
    let mut half = [[[0_i16; LANES]; PATCH]; PATCH];
    for x in 0..PATCH {
        // SAFETY: the caller's promise.
        let at = |y: usize| unsafe { &*input.add(y * row + x * LANES).cast::<Pixel>() };
        let [a, b, c, d, e, f] = [at(0), at(1), at(2), at(3), at(4), at(5)];
        for lane in 0..LANES {
            let column = spread([a[lane], b[lane], c[lane], d[lane], e[lane], f[lane]].map(number).map(|it| it - zero));
            for y in 0..PATCH {
                half[y][x][lane] = column[y];
            }
        }
    }
    for y in 0..PATCH {
        let [a, b, c, d, e, f] = half[y];
        let mut row = [[0_i16; LANES]; PATCH];
        for lane in 0..LANES {
            let spread = spread([a[lane], b[lane], c[lane], d[lane], e[lane], f[lane]]);
            for x in 0..PATCH {
                row[x][lane] = spread[x];
            }
        }
        for x in 0..PATCH {
            // SAFETY: the caller's promise.
            unsafe { call.output.add((y * PATCH + x) * call.plane).cast::<[i16; LANES]>().write_unaligned(row[x]) };
        }
    }
}

/// One dimension of the first transform. Nothing overflows, which the compiler need not know.
#[inline(always)]
fn spread([a, b, c, d, e, f]: [i16; PATCH]) -> [i16; PATCH] {
    let even = e.wrapping_sub(c.wrapping_mul(4));
    let odd = d.wrapping_sub(b.wrapping_mul(4));
    let near = e.wrapping_sub(c);
    let difference = d.wrapping_sub(b);
    let far = difference.wrapping_mul(2);
    [
        a.wrapping_sub(c).wrapping_mul(4).wrapping_add(near),
        even.wrapping_add(odd),
        even.wrapping_sub(odd),
        near.wrapping_add(far),
        near.wrapping_sub(far),
        f.wrapping_sub(d).wrapping_sub(difference.wrapping_mul(4)),
    ]
}

/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn transform_sums<B: Block>(call: &ByteSumCall<'_>) {
    let mut half = [[[0_i32; LANES]; PATCH]; OUTPUT];
    for x in 0..PATCH {
        // SAFETY: the caller's promise.
        let at = |y: usize| unsafe { &*call.input.add((y * PATCH + x) * call.plane).cast::<[i32; LANES]>() };
        let [a, b, c, d, e, f] = [at(0), at(1), at(2), at(3), at(4), at(5)];
        for lane in 0..LANES {
            let column = gather([a[lane], b[lane], c[lane], d[lane], e[lane], f[lane]]);
            for y in 0..OUTPUT {
                half[y][x][lane] = column[y];
            }
        }
    }
    // SAFETY: the caller's promise.
    let bias = unsafe { call.bias.cast::<[i32; LANES]>().read_unaligned() };
    unrolled!(OUTPUT, y, {
        let [a, b, c, d, e, f] = half[y];
        let mut sums = [[0_i32; LANES]; OUTPUT];
        for lane in 0..LANES {
            let row = gather([a[lane], b[lane], c[lane], d[lane], e[lane], f[lane]]);
            for x in 0..OUTPUT {
                let whole = row[x].wrapping_mul(NINTH) >> (SHIFTS[y] + SHIFTS[x]);
                sums[x][lane] = whole.wrapping_add(bias[lane]);
            }
        }
        if y < call.inside.0 {
            // SAFETY: the caller's promise; pixels outside the picture are neither read nor written.
            unsafe { finish::<B>(call, &sums, y) };
        }
    });
}

/// One dimension of the second transform, modulo 2³².
#[inline(always)]
fn gather([a, b, c, d, e, f]: [i32; PATCH]) -> [i32; OUTPUT] {
    let (sum, difference) = (b.wrapping_add(c), b.wrapping_sub(c));
    let (far_sum, far_difference) = (d.wrapping_add(e), d.wrapping_sub(e));
    [
        a.wrapping_sub(sum.wrapping_mul(4)).wrapping_add(far_sum),
        far_difference.wrapping_sub(difference.wrapping_mul(2)),
        far_sum.wrapping_sub(sum),
        far_difference.wrapping_mul(2).wrapping_sub(difference).wrapping_add(f),
    ]
}

/// Rounds, joins and stores a row of a patch.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn finish<B: Block>(call: &ByteSumCall<'_>, sums: &[[i32; LANES]; OUTPUT], y: usize) {
    let columns = call.inside.1;
    // SAFETY: the caller's promise.
    unsafe {
        let mut row = [B::load(sums[0].as_ptr()); OUTPUT];
        unrolled!(OUTPUT, x, {
            row[x] = B::load(sums[x].as_ptr()).scaled(call.factors);
        });
        if let Some((joint, with, step)) = call.joined {
            unrolled!(OUTPUT, x, {
                if x < columns {
                    row[x] = row[x].joined(joint, with.add(y * step + x * LANES));
                }
            });
        }
        B::store_row(row, columns, call.range, call.output.add(y * call.row));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One dimension: every filter of small numbers over every patch of them, and the largest of each.
    #[test]
    fn a_dimension_is_three_times_a_power_of_two_too_large() {
        let patches = [[255; PATCH], [-255, 255, -255, 255, -255, 255], [3, -1, 4, -1, 5, -9], [0, 0, 255, -255, 0, 0]];
        let filters = [[127, 127, 127], [-128, 127, -128], [2, -7, 1], [255, -255, 255]];
        for (patch, filter) in patches.iter().flat_map(|patch| filters.iter().map(move |filter| (patch, filter))) {
            let spread = spread(*patch);
            let product = |place: usize| {
                let transformed: i32 = (0..3).map(|at| FILTER[place][at] * filter[at]).sum();
                i32::from(spread[place]) * transformed
            };
            let found = gather(std::array::from_fn(product));
            for (at, found) in found.into_iter().enumerate() {
                let expected: i32 = (0..3).map(|tap| i32::from(patch[at + tap]) * filter[tap]).sum();
                assert_eq!(found, expected * 3 << SHIFTS[at], "{patch:?} {filter:?} {at}");
            }
        }
    }
}

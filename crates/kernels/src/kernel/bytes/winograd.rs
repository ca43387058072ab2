//! The two ends of Winograd's F(4×4, 3×3) and F(2×2, 3×3) over whole numbers, which are exact: as `kernel/winograd.rs`, with
//! everything multiplied by what makes it whole.
//!
//! The bytes' transforms are below 100 · 255 and the filters' below 49 · 255, so both fit sixteen bits. The products' sums
//! are 2 (of two), or 3 · 2ⁿ times (of four) too large in each dimension, and computed modulo 2³²: what is left of the true
//! sum after the division (by 9, which has an inverse, and by 2ⁿ, which is at most 2⁶) are its lowest 26 bits, and the plan
//! proves that it has no more.

use super::unrolled;
use crate::block::{Block, Joint, Range};
use crate::bounds::{Memory, Proven};
use crate::layout::LANES;

/// How large patches are.
#[derive(Debug)]
pub(crate) struct Size {
    /// Pixels of a side of the input's patch, and numbers of a side of its transform.
    pub(crate) patch: usize,
    /// Pixels of a side of the output's patch.
    pub(crate) output: usize,
    /// Filters go through this on both sides: as many rows as the patch has.
    pub(crate) filter: &'static [[i32; 3]],
    /// Sums of magnitude below this come out whole.
    pub(crate) largest: i64,
}

/// The transforms of a size, compiled.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) size: &'static Size,
    pub(crate) patch: BytePatchKernel,
    pub(crate) sums: ByteSumKernel,
}

/// F(4×4, 3×3).
pub(crate) static FOUR: Size = Size {
    patch: 6,
    output: 4,
    filter: &[[6, 0, 0], [1, 1, 1], [1, -1, 1], [1, 2, 4], [1, -2, 4], [0, 0, 6]],
    largest: 1 << 25,
};

/// F(2×2, 3×3).
pub(crate) static TWO: Size =
    Size { patch: 4, output: 2, filter: &[[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]], largest: 1 << 29 };

/// One dimension of both transforms, modulo 2¹⁶ and 2³²: nothing overflows in the first, which the compiler need not know.
pub(crate) trait Method<const PATCH: usize, const OUTPUT: usize> {
    fn spread(pixels: [i16; PATCH]) -> [i16; PATCH];
    fn gather(sums: [i32; PATCH]) -> [i32; OUTPUT];
    /// The true sum of a row and a column of the patch.
    fn whole(sum: i32, y: usize, x: usize) -> i32;
}

#[derive(Debug)]
pub(crate) struct Four;

/// The number by which 9 gives 1, modulo 2³².
const NINTH: i32 = 0x38e3_8e39;

/// The power of two by which a row of sums is too large, and a column.
const SHIFTS: [u32; 4] = [3, 2, 1, 1];

impl Method<6, 4> for Four {
    #[inline(always)]
    fn spread([a, b, c, d, e, f]: [i16; 6]) -> [i16; 6] {
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

    #[inline(always)]
    fn gather([a, b, c, d, e, f]: [i32; 6]) -> [i32; 4] {
        let (sum, difference) = (b.wrapping_add(c), b.wrapping_sub(c));
        let (far_sum, far_difference) = (d.wrapping_add(e), d.wrapping_sub(e));
        [
            a.wrapping_sub(sum.wrapping_mul(4)).wrapping_add(far_sum),
            far_difference.wrapping_sub(difference.wrapping_mul(2)),
            far_sum.wrapping_sub(sum),
            far_difference.wrapping_mul(2).wrapping_sub(difference).wrapping_add(f),
        ]
    }

    #[inline(always)]
    fn whole(sum: i32, y: usize, x: usize) -> i32 {
        sum.wrapping_mul(NINTH) >> (SHIFTS[y] + SHIFTS[x])
    }
}

#[derive(Debug)]
pub(crate) struct Two;

impl Method<4, 2> for Two {
    #[inline(always)]
    fn spread([a, b, c, d]: [i16; 4]) -> [i16; 4] {
        [a.wrapping_sub(c), b.wrapping_add(c), c.wrapping_sub(b), b.wrapping_sub(d)]
    }

    #[inline(always)]
    fn gather([a, b, c, d]: [i32; 4]) -> [i32; 2] {
        [a.wrapping_add(b).wrapping_add(c), b.wrapping_sub(c).wrapping_sub(d)]
    }

    #[inline(always)]
    fn whole(sum: i32, _: usize, _: usize) -> i32 {
        sum >> 2
    }
}

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
    /// The first of its numbers.
    pub(crate) output: *mut i16,
    /// Numbers of sixteen bits from a number to the next.
    pub(crate) plane: usize,
}

/// What one call of the second transform computes: one patch of one channel block.
#[derive(Debug)]
pub(crate) struct ByteSumCall<'a> {
    /// The first of its sums.
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
pub(crate) unsafe fn transform_patch<
    A: Memory,
    M: Method<PATCH, OUTPUT>,
    const PATCH: usize,
    const OUTPUT: usize,
    const SIGNED: bool,
>(
    call: &BytePatchCall,
) {
    if call.inside == (PATCH, PATCH) {
        // SAFETY: the caller's promise.
        return unsafe { transform_whole::<A, A, M, PATCH, OUTPUT, SIGNED>(call.input, call.row, call) };
    }
    let mut patch = [[[call.zero; LANES]; PATCH]; PATCH];
    for y in 0..PATCH {
        for x in 0..PATCH {
            if y < call.inside.0 && x < call.inside.1 {
                // SAFETY: the caller's promise; pixels that do not exist are not read.
                patch[y][x] = unsafe { A::read(call.input.add(y * call.row + x * LANES).cast::<Pixel>()) };
            }
        }
    }
    // SAFETY: as above; the patch is whole.
    unsafe { transform_whole::<Proven, A, M, PATCH, OUTPUT, SIGNED>(patch.as_ptr().cast(), PATCH * LANES, call) }
}

/// # Safety
/// As for every kernel (`kernel.rs`): there are as many pixels as a patch has behind `input`, rows of which are `row` bytes
/// apart. `I` reaches those, which may be a copy of the function before.
#[inline(always)]
unsafe fn transform_whole<
    I: Memory,
    A: Memory,
    M: Method<PATCH, OUTPUT>,
    const PATCH: usize,
    const OUTPUT: usize,
    const SIGNED: bool,
>(
    input: *const u8,
    row: usize,
    call: &BytePatchCall,
) {
    let zero = number::<SIGNED>(call.zero);
    let mut half = [[[0_i16; LANES]; PATCH]; PATCH];
    for x in 0..PATCH {
        let mut column = [[0_u8; LANES]; PATCH];
        for y in 0..PATCH {
            // SAFETY: the caller's promise.
            column[y] = unsafe { I::read(input.add(y * row + x * LANES).cast::<Pixel>()) };
        }
        for lane in 0..LANES {
            let mut pixels = [0; PATCH];
            for y in 0..PATCH {
                pixels[y] = number::<SIGNED>(column[y][lane]).wrapping_sub(zero);
            }
            let spread = M::spread(pixels);
            for y in 0..PATCH {
                half[y][x][lane] = spread[y];
            }
        }
    }
    for y in 0..PATCH {
        let mut row = [[0_i16; LANES]; PATCH];
        for lane in 0..LANES {
            let mut pixels = [0; PATCH];
            for x in 0..PATCH {
                pixels[x] = half[y][x][lane];
            }
            let spread = M::spread(pixels);
            for x in 0..PATCH {
                row[x][lane] = spread[x];
            }
        }
        for x in 0..PATCH {
            // SAFETY: the caller's promise.
            unsafe { A::write(row[x], call.output.add((y * PATCH + x) * call.plane).cast::<[i16; LANES]>()) };
        }
    }
}

/// The number that a stored byte is multiplied as.
#[inline(always)]
fn number<const SIGNED: bool>(byte: u8) -> i16 {
    if SIGNED { i16::from(byte.cast_signed()) } else { i16::from(byte) }
}

/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn transform_sums<
    A: Memory,
    B: Block,
    M: Method<PATCH, OUTPUT>,
    const PATCH: usize,
    const OUTPUT: usize,
>(
    call: &ByteSumCall<'_>,
) {
    let mut half = [[[0_i32; LANES]; PATCH]; OUTPUT];
    for x in 0..PATCH {
        let mut column = [[0_i32; LANES]; PATCH];
        for y in 0..PATCH {
            let from = (y * PATCH + x) * call.plane;
            // SAFETY: the caller's promise.
            column[y] = unsafe { A::read(call.input.add(from).cast::<[i32; LANES]>()) };
        }
        for lane in 0..LANES {
            let mut sums = [0; PATCH];
            for y in 0..PATCH {
                sums[y] = column[y][lane];
            }
            let gathered = M::gather(sums);
            for y in 0..OUTPUT {
                half[y][x][lane] = gathered[y];
            }
        }
    }
    // SAFETY: the caller's promise.
    let bias = unsafe { A::read(call.bias.cast::<[i32; LANES]>()) };
    unrolled!(OUTPUT, y, {
        let mut row = [[0_i32; LANES]; OUTPUT];
        for lane in 0..LANES {
            let mut sums = [0; PATCH];
            for x in 0..PATCH {
                sums[x] = half[y][x][lane];
            }
            let gathered = M::gather(sums);
            for x in 0..OUTPUT {
                row[x][lane] = M::whole(gathered[x], y, x).wrapping_add(bias[lane]);
            }
        }
        if y < call.inside.0 {
            // SAFETY: the caller's promise; pixels outside the picture are neither read nor written.
            unsafe { finish::<B, OUTPUT>(call, &row, y) };
        }
    });
}

/// Rounds, joins and stores a row of a patch, which has four pixels at most.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn finish<B: Block, const OUTPUT: usize>(call: &ByteSumCall<'_>, sums: &[[i32; LANES]; OUTPUT], y: usize) {
    let columns = call.inside.1;
    // SAFETY: the caller's promise.
    unsafe {
        let mut row = [B::of(&sums[0]); OUTPUT];
        unrolled!(OUTPUT, x, {
            row[x] = B::of(&sums[x]).scaled(call.factors);
        });
        if let Some((joint, with, step)) = call.joined {
            unrolled!(OUTPUT, x, {
                if x < columns {
                    row[x] = row[x].joined(joint, with.add(y * step + x * LANES));
                }
            });
        }
        let at = |x: usize| if x < OUTPUT { x } else { OUTPUT - 1 };
        let four = [row[0], row[at(1)], row[at(2)], row[at(3)]];
        B::store_row(four, columns, call.range, call.output.add(y * call.row));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sums of a dimension are so many times the true ones, for numbers as large as they can be.
    fn check<M: Method<PATCH, OUTPUT>, const PATCH: usize, const OUTPUT: usize>(size: &Size, times: [i32; OUTPUT]) {
        assert_eq!((size.patch, size.output, size.filter.len()), (PATCH, OUTPUT, PATCH));
        let patches = [[255; 6], [-255, 255, -255, 255, -255, 255], [3, -1, 4, -1, 5, -9], [0, 0, 255, -255, 0, 0]];
        let filters = [[127, 127, 127], [-128, 127, -128], [2, -7, 1], [255, -255, 255]];
        for (patch, filter) in patches.iter().flat_map(|patch| filters.iter().map(move |filter| (patch, filter))) {
            let spread = M::spread(std::array::from_fn(|place| patch[place]));
            let product = |place: usize| {
                let transformed: i32 = (0..3).map(|at| size.filter[place][at] * filter[at]).sum();
                i32::from(spread[place]) * transformed
            };
            let found = M::gather(std::array::from_fn(product));
            for (at, found) in found.into_iter().enumerate() {
                let expected: i32 = (0..3).map(|tap| i32::from(patch[at + tap]) * filter[tap]).sum();
                assert_eq!(found, expected * times[at], "{patch:?} {filter:?} {at}");
            }
        }
    }

    #[test]
    fn a_dimension_is_a_known_number_of_times_too_large() {
        check::<Four, 6, 4>(&FOUR, SHIFTS.map(|shift| 3 << shift));
        check::<Two, 4, 2>(&TWO, [2, 2]);
    }

    #[test]
    fn the_largest_sum_comes_out_whole() {
        let most = [FOUR.largest - 1, 1 - FOUR.largest].map(|sum| sum as i32);
        for sum in most {
            for (y, x) in [(0, 0), (0, 3), (2, 1)] {
                let times = 9_i32.wrapping_mul(1 << (SHIFTS[y] + SHIFTS[x]));
                assert_eq!(Four::whole(sum.wrapping_mul(times), y, x), sum);
            }
        }
        let sum = (TWO.largest - 1) as i32;
        assert_eq!(Two::whole(sum.wrapping_mul(4), 1, 0), sum);
    }
}

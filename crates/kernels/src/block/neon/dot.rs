//! Products by NEON's dot product instructions, of which one register holds four bytes for each of four channels.

use std::arch::aarch64::*;
use std::arch::asm;
use std::sync::atomic::{Ordering, compiler_fence};

use super::{Bytes, Four, NeonDot};
use crate::kernel::bytes::unrolled;

/// Adds four products to each of sixteen sums.
#[inline(always)]
pub(super) unsafe fn dot_product(sums: Four, input: Bytes, weights: Bytes) -> Four {
    // SAFETY: the caller's promise.
    unsafe {
        [
            dot_quarter(sums[0], input[0], weights[0]),
            dot_quarter(sums[1], input[1], weights[1]),
            dot_quarter(sums[2], input[2], weights[2]),
            dot_quarter(sums[3], input[3], weights[3]),
        ]
    }
}

/// Adds four products to each of four sums. The intrinsic is not stable.
#[inline(always)]
unsafe fn dot_quarter(mut sums: int32x4_t, input: int8x16_t, weights: int8x16_t) -> int32x4_t {
    // SAFETY: the machine has the dot product instructions; registers are all that is touched.
    unsafe {
        asm!(
            ".arch_extension dotprod",
            "sdot {sums:v}.4s, {input:v}.16b, {weights:v}.16b",
            sums = inout(vreg) sums, input = in(vreg) input, weights = in(vreg) weights,
            options(nomem, nostack, preserves_flags)
        );
    }
    sums
}

/// The same, with one of four words of the input for every channel.
#[inline(always)]
unsafe fn dot_quarter_by_lane<const LANE: usize>(
    mut sums: int32x4_t,
    four: int8x16_t,
    weights: int8x16_t,
) -> int32x4_t {
    // SAFETY: the machine has the dot product instructions; registers are all that is touched.
    unsafe {
        asm!(
            ".arch_extension dotprod",
            "sdot {sums:v}.4s, {weights:v}.16b, {four:v}.4b[{lane}]",
            sums = inout(vreg) sums, four = in(vreg) four, weights = in(vreg) weights, lane = const LANE,
            options(nomem, nostack, preserves_flags)
        );
    }
    sums
}

/// Adds the products with one of the four words of some pixels. Beside the sums and the words of six pixels there are two
/// registers for weights.
#[inline(always)]
pub(super) unsafe fn dot_product_by_lane<const LANE: usize, const PIXELS: usize>(
    sums: &mut [NeonDot; PIXELS],
    fours: &[Bytes; PIXELS],
    weights: *const u8,
) {
    // SAFETY: the caller's promise.
    unsafe {
        half_by_lane::<LANE, PIXELS, 0>(sums, fours, weights);
        half_by_lane::<LANE, PIXELS, 2>(sums, fours, weights);
    }
}

/// The same for two registers of sums, from the given one on.
#[inline(always)]
unsafe fn half_by_lane<const LANE: usize, const PIXELS: usize, const FIRST: usize>(
    sums: &mut [NeonDot; PIXELS],
    fours: &[Bytes; PIXELS],
    weights: *const u8,
) {
    // SAFETY: 64 bytes stand behind the pointer.
    unsafe {
        let from = weights.add(FIRST * 16).cast::<i8>();
        let row = [vld1q_s8(from), vld1q_s8(from.add(16))];
        for pixel in 0..PIXELS {
            let (four, sums) = (fours[pixel][0], &mut sums[pixel].0);
            sums[FIRST] = dot_quarter_by_lane::<LANE>(sums[FIRST], four, row[0]);
            sums[FIRST + 1] = dot_quarter_by_lane::<LANE>(sums[FIRST + 1], four, row[1]);
        }
        compiler_fence(Ordering::SeqCst);
    }
}

/// Adds the products with a word of some pixels, each of which has its register and a lane of that.
#[inline(always)]
pub(super) unsafe fn dot_product_by_words<const PIXELS: usize>(
    sums: &mut [NeonDot; PIXELS],
    words: &[(Bytes, usize); PIXELS],
    weights: *const u8,
) {
    // SAFETY: the caller's promise.
    unsafe {
        half_by_words::<PIXELS, 0>(sums, words, weights);
        half_by_words::<PIXELS, 2>(sums, words, weights);
    }
}

/// The same for two registers of sums, from the given one on.
#[inline(always)]
unsafe fn half_by_words<const PIXELS: usize, const FIRST: usize>(
    sums: &mut [NeonDot; PIXELS],
    words: &[(Bytes, usize); PIXELS],
    weights: *const u8,
) {
    // SAFETY: 64 bytes stand behind the pointer.
    unsafe {
        let from = weights.add(FIRST * 16).cast::<i8>();
        let row = [vld1q_s8(from), vld1q_s8(from.add(16))];
        unrolled!(PIXELS, pixel, {
            let ((four, lane), sums) = (words[pixel], &mut sums[pixel].0);
            sums[FIRST] = dot_quarter_by(sums[FIRST], four[0], row[0], lane);
            sums[FIRST + 1] = dot_quarter_by(sums[FIRST + 1], four[0], row[1], lane);
        });
        compiler_fence(Ordering::SeqCst);
    }
}

/// As [`dot_quarter_by_lane`], of a lane that is a constant once functions stand in one another.
#[inline(always)]
unsafe fn dot_quarter_by(sums: int32x4_t, four: int8x16_t, weights: int8x16_t, lane: usize) -> int32x4_t {
    // SAFETY: the caller's promise.
    unsafe {
        match lane {
            0 => dot_quarter_by_lane::<0>(sums, four, weights),
            1 => dot_quarter_by_lane::<1>(sums, four, weights),
            2 => dot_quarter_by_lane::<2>(sums, four, weights),
            _ => dot_quarter_by_lane::<3>(sums, four, weights),
        }
    }
}

//! Sums of two pixels by i8mm, whose instruction multiplies two rows of eight bytes by two columns of eight: each register
//! holds the sums of two channels of the first pixel, then those of the second.

use std::arch::aarch64::*;
use std::arch::asm;

use super::{NeonDot, joined, limited, narrowed, scaled_by};
use crate::block::{Joint, Range};

/// Registers of sixteen channels of two pixels.
pub(crate) const TWOS: usize = 8;

/// Eight bytes of each of two pixels, or eight weights of each of two channels.
pub(crate) type Eights = int8x16_t;

/// Sums of sixteen channels of two pixels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TwoPixels([int32x4_t; TWOS]);

/// As for [`crate::block::Block`]: the machine must have i8mm, and what a method says behind a pointer.
#[allow(clippy::missing_safety_doc, reason = "one condition for all, said above")]
impl TwoPixels {
    /// The same sixteen sums for both.
    #[inline(always)]
    pub(crate) unsafe fn load(from: *const i32) -> Self {
        // SAFETY: sixteen sums stand behind the pointer.
        unsafe {
            let [a, b, c, d] =
                [vld1q_s32(from), vld1q_s32(from.add(4)), vld1q_s32(from.add(8)), vld1q_s32(from.add(12))];
            Self([
                first_halves(a, a),
                second_halves(a, a),
                first_halves(b, b),
                second_halves(b, b),
                first_halves(c, c),
                second_halves(c, c),
                first_halves(d, d),
                second_halves(d, d),
            ])
        }
    }

    /// Adds eight products to the sums of both pixels for the channels of one register. The intrinsic is not stable;
    /// without `pure`, it keeps to the order in which it stands.
    #[inline(always)]
    pub(crate) unsafe fn multiply(&mut self, two: usize, pixels: Eights, weights: Eights) {
        let mut sums = self.0[two];
        // SAFETY: the machine has the instructions; registers are all that is touched.
        unsafe {
            asm!(
                ".arch_extension i8mm",
                "smmla {sums:v}.4s, {pixels:v}.16b, {weights:v}.16b",
                sums = inout(vreg) sums, pixels = in(vreg) pixels, weights = in(vreg) weights,
                options(nomem, nostack, preserves_flags)
            );
        }
        self.0[two] = sums;
    }

    /// The sums of one register as the whole numbers nearest to them times two factors, ties to even.
    #[inline(always)]
    pub(crate) unsafe fn scale(&mut self, two: usize, factors: float32x4_t) {
        // SAFETY: the caller's promise.
        self.0[two] = unsafe { scaled_by(self.0[two], factors) };
    }

    /// Whole numbers joined with sixteen bytes of each pixel, rounded again.
    #[inline(always)]
    pub(crate) unsafe fn joined(self, joint: &Joint, with: [*const u8; 2]) -> Self {
        let [a, b, c, d, e, f, g, h] = self.0;
        // SAFETY: sixteen bytes stand behind each pointer.
        unsafe {
            let first = vreinterpretq_s16_s8(vld1q_s8(with[0].cast()));
            let second = vreinterpretq_s16_s8(vld1q_s8(with[1].cast()));
            let [a, b, c, d] = joined([a, b, c, d], joint, vreinterpretq_s8_s16(vzip1q_s16(first, second)));
            let [e, f, g, h] = joined([e, f, g, h], joint, vreinterpretq_s8_s16(vzip2q_s16(first, second)));
            Self([a, b, c, d, e, f, g, h])
        }
    }

    /// Whole numbers as sixteen bytes of each pixel: those of two channels go to their pixel together.
    #[inline(always)]
    pub(crate) unsafe fn bytes(self, range: &Range) -> [int8x16_t; 2] {
        let [a, b, c, d, e, f, g, h] = self.0;
        // SAFETY: the caller's promise.
        unsafe {
            let low = vreinterpretq_s16_s8(limited(narrowed([a, b, c, d], range), range));
            let high = vreinterpretq_s16_s8(limited(narrowed([e, f, g, h], range), range));
            [vreinterpretq_s8_s16(vuzp1q_s16(low, high)), vreinterpretq_s8_s16(vuzp2q_s16(low, high))]
        }
    }

    /// The sums of each pixel.
    #[inline(always)]
    pub(crate) unsafe fn apart(self) -> [NeonDot; 2] {
        let [a, b, c, d, e, f, g, h] = self.0;
        // SAFETY: the caller's promise.
        unsafe {
            let first = [first_halves(a, b), first_halves(c, d), first_halves(e, f), first_halves(g, h)];
            let second = [second_halves(a, b), second_halves(c, d), second_halves(e, f), second_halves(g, h)];
            [NeonDot(first), NeonDot(second)]
        }
    }
}

/// The first halves of two registers.
#[inline(always)]
unsafe fn first_halves(a: int32x4_t, b: int32x4_t) -> int32x4_t {
    // SAFETY: NEON is present on all of 64-bit Arm.
    unsafe { vreinterpretq_s32_s64(vzip1q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b))) }
}

/// The second halves of two registers.
#[inline(always)]
unsafe fn second_halves(a: int32x4_t, b: int32x4_t) -> int32x4_t {
    // SAFETY: NEON is present on all of 64-bit Arm.
    unsafe { vreinterpretq_s32_s64(vzip2q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b))) }
}

/// Two factors, for either pixel.
///
/// # Safety
/// Two factors stand behind the pointer.
#[inline(always)]
pub(crate) unsafe fn two_factors(from: *const f32) -> float32x4_t {
    // SAFETY: the caller's promise.
    unsafe { vreinterpretq_f32_f64(vld1q_dup_f64(from.cast())) }
}

/// The first eight of sixteen bytes of two pixels, and the others. Of intrinsics, the compiler would keep the pixels
/// until the others are wanted, and put sums on the stack.
///
/// # Safety
/// Sixteen bytes stand behind each pointer.
#[inline(always)]
pub(crate) unsafe fn sixteen_of_two(first: *const i32, second: *const i32) -> [Eights; 2] {
    // SAFETY: the caller's promise.
    unsafe {
        let (first, mut second) = (vld1q_s8(first.cast()), vld1q_s8(second.cast()));
        let low: Eights;
        asm!(
            "zip1 {low:v}.2d, {first:v}.2d, {second:v}.2d",
            "zip2 {second:v}.2d, {first:v}.2d, {second:v}.2d",
            low = out(vreg) low, first = in(vreg) first, second = inout(vreg) second,
            options(nomem, nostack, preserves_flags)
        );
        [low, second]
    }
}

/// Eight bytes of two pixels.
///
/// # Safety
/// Eight bytes stand behind each pointer.
#[inline(always)]
pub(crate) unsafe fn eight_of_two(first: *const i32, second: *const i32) -> Eights {
    // SAFETY: the caller's promise.
    unsafe { vreinterpretq_s8_s32(vcombine_s32(vld1_s32(first), vld1_s32(second))) }
}

/// Eight weights of each of two channels.
///
/// # Safety
/// Sixteen bytes stand behind the pointer.
#[inline(always)]
pub(crate) unsafe fn weights(from: *const u8) -> Eights {
    // SAFETY: the caller's promise.
    unsafe { vld1q_s8(from.cast()) }
}

/// # Safety
/// There is room for sixteen bytes behind the pointer.
#[inline(always)]
pub(crate) unsafe fn store(bytes: int8x16_t, to: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe { vst1q_s8(to.cast(), bytes) }
}

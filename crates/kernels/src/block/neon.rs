//! Sixteen sums of NEON: four registers. Products by the dot product instruction where there is one, and in sixteen bits
//! on all of 64-bit Arm. Tensors hold signed bytes.

use std::arch::aarch64::*;
use std::arch::asm;
use std::sync::atomic::{Ordering, compiler_fence};

use self::dot::{dot_product, dot_product_by_lane, dot_product_by_words};
use super::{Block, Form, Joint, Range};

mod dot;
pub(crate) mod halves;
pub(crate) mod rows;
pub(crate) mod two_pixels;

/// Four registers, of four channels each.
type Four = [int32x4_t; 4];

/// Four weights or four bytes for each of sixteen channels.
type Bytes = [int8x16_t; 4];

#[inline(always)]
unsafe fn load_bytes(from: *const u8) -> Bytes {
    let from = from.cast::<i8>();
    // SAFETY: 64 bytes stand behind the pointer.
    unsafe { [vld1q_s8(from), vld1q_s8(from.add(16)), vld1q_s8(from.add(32)), vld1q_s8(from.add(48))] }
}

/// For each channel, its bytes of four neighbouring pixels.
#[inline(always)]
unsafe fn transposed(from: *const u8) -> Bytes {
    // SAFETY: NEON is present on all of 64-bit Arm, and 64 bytes stand behind the pointer.
    unsafe {
        let [a, b, c, d] = load_bytes(from);
        let (ab, cd) = (vreinterpretq_s16_s8(vzip1q_s8(a, b)), vreinterpretq_s16_s8(vzip1q_s8(c, d)));
        let low = [vreinterpretq_s8_s16(vzip1q_s16(ab, cd)), vreinterpretq_s8_s16(vzip2q_s16(ab, cd))];
        let (ab, cd) = (vreinterpretq_s16_s8(vzip2q_s8(a, b)), vreinterpretq_s16_s8(vzip2q_s8(c, d)));
        [low[0], low[1], vreinterpretq_s8_s16(vzip1q_s16(ab, cd)), vreinterpretq_s8_s16(vzip2q_s16(ab, cd))]
    }
}

/// For each four channels, their bytes of two neighbouring pixels, then of the next two.
#[inline(always)]
unsafe fn transposed_by_two(from: *const u8) -> Bytes {
    // SAFETY: NEON is present on all of 64-bit Arm, and 64 bytes stand behind the pointer.
    unsafe {
        let [a, b, c, d] = load_bytes(from);
        let (ab, cd) = (vreinterpretq_s64_s8(vzip1q_s8(a, b)), vreinterpretq_s64_s8(vzip1q_s8(c, d)));
        let low = [vreinterpretq_s8_s64(vzip1q_s64(ab, cd)), vreinterpretq_s8_s64(vzip2q_s64(ab, cd))];
        let (ab, cd) = (vreinterpretq_s64_s8(vzip2q_s8(a, b)), vreinterpretq_s64_s8(vzip2q_s8(c, d)));
        [low[0], low[1], vreinterpretq_s8_s64(vzip1q_s64(ab, cd)), vreinterpretq_s8_s64(vzip2q_s64(ab, cd))]
    }
}

/// The same four bytes for every channel.
#[inline(always)]
unsafe fn repeated(from: *const i32) -> int8x16_t {
    // SAFETY: four bytes stand behind the pointer.
    unsafe { vreinterpretq_s8_s32(vld1q_dup_s32(from)) }
}

/// The same for four channels: the first two for each, then the others.
#[inline(always)]
unsafe fn repeated_by_two(from: *const i32) -> int8x16_t {
    // SAFETY: four bytes stand behind the pointer.
    unsafe { vqtbl1q_s8(repeated(from), vld1q_u8(PLACES[0].as_ptr())) }
}

#[inline(always)]
unsafe fn scaled_quarter(sums: int32x4_t, factors: *const f32) -> int32x4_t {
    // SAFETY: four factors stand behind the pointer.
    unsafe { scaled_by(sums, vld1q_f32(factors)) }
}

#[inline(always)]
unsafe fn scaled_by(sums: int32x4_t, factors: float32x4_t) -> int32x4_t {
    // SAFETY: NEON is present on all of 64-bit Arm.
    unsafe { vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(sums), factors)) }
}

#[inline(always)]
unsafe fn joined_quarter(numbers: int32x4_t, joint: &Joint, with: int16x4_t) -> int32x4_t {
    let Joint { range, ratios, .. } = *joint;
    // SAFETY: NEON is present on all of 64-bit Arm.
    unsafe {
        let first = vmaxq_s32(numbers, vdupq_n_s32(range.low - range.zero));
        let first = vminq_s32(first, vdupq_n_s32(range.high - range.zero));
        let first = vmulq_n_f32(vcvtq_f32_s32(first), ratios[0]);
        let second = vmulq_n_f32(vcvtq_f32_s32(vmovl_s16(with)), ratios[1]);
        vcvtnq_s32_f32(vaddq_f32(first, second))
    }
}

#[inline(always)]
unsafe fn joined(numbers: Four, joint: &Joint, bytes: int8x16_t) -> Four {
    let [a, b, c, d] = numbers;
    // SAFETY: NEON is present on all of 64-bit Arm.
    unsafe {
        let zero = vdupq_n_s8(joint.zero as i8);
        let (low, high) = (vsubl_s8(vget_low_s8(bytes), vget_low_s8(zero)), vsubl_high_s8(bytes, zero));
        [
            joined_quarter(a, joint, vget_low_s16(low)),
            joined_quarter(b, joint, vget_high_s16(low)),
            joined_quarter(c, joint, vget_low_s16(high)),
            joined_quarter(d, joint, vget_high_s16(high)),
        ]
    }
}

/// Whole numbers plus the zero.
#[inline(always)]
unsafe fn narrowed(numbers: Four, range: &Range) -> int8x16_t {
    let [a, b, c, d] = numbers;
    // SAFETY: NEON is present on all of 64-bit Arm.
    unsafe {
        // Saturating to sixteen bits changes nothing that a byte can hold.
        let zero = vdupq_n_s16(range.zero as i16);
        let low = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(a), b), zero);
        let high = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(c), d), zero);
        vqmovn_high_s16(vqmovn_s16(low), high)
    }
}

#[inline(always)]
unsafe fn limited(bytes: int8x16_t, range: &Range) -> int8x16_t {
    // SAFETY: NEON is present on all of 64-bit Arm.
    unsafe { vminq_s8(vmaxq_s8(bytes, vdupq_n_s8(range.low as i8)), vdupq_n_s8(range.high as i8)) }
}

#[inline(always)]
unsafe fn store_floats(sums: Four, factors: *const f32, addends: *const f32, to: *mut f32) {
    let quarter = 4;
    for part in 0..4 {
        let place = part * quarter;
        // SAFETY: sixteen numbers stand behind each pointer.
        unsafe {
            let scaled = vmulq_f32(vcvtq_f32_s32(sums[part]), vld1q_f32(factors.add(place)));
            vst1q_f32(to.add(place), vaddq_f32(scaled, vld1q_f32(addends.add(place))));
        }
    }
}

// Two products of a signed byte with a weight fit sixteen bits.
const _: () = {
    let [low, high] = Form::SymmetricBytes.limits();
    assert!(2 * 128 * -(low as i32) < 1 << 15 && 2 * 128 * (high as i32) < 1 << 15);
};

/// Adds four products to each of sixteen sums, two at a time by way of sixteen bits. Each register of input and of weights has the first two bytes of four
/// channels, then the other two ([`Form::SymmetricBytes`]). Of intrinsics, the compiler would compute the products of many
/// sums first, and put sums on the stack; without `pure`, it keeps to the order of [`super::next_pixel`].
#[inline(always)]
unsafe fn dot_baseline(sums: Four, input: Bytes, weights: Bytes) -> Four {
    let [mut first, mut second, mut third, mut fourth] = sums;
    // SAFETY: NEON is present on all of 64-bit Arm; registers are all that is touched.
    unsafe {
        asm!(
            "smull {a:v}.8h, {i:v}.8b, {w:v}.8b",
            "smull {b:v}.8h, {j:v}.8b, {x:v}.8b",
            "smlal2 {a:v}.8h, {i:v}.16b, {w:v}.16b",
            "smlal2 {b:v}.8h, {j:v}.16b, {x:v}.16b",
            "sadalp {first:v}.4s, {a:v}.8h",
            "sadalp {second:v}.4s, {b:v}.8h",
            "smull {a:v}.8h, {k:v}.8b, {y:v}.8b",
            "smull {b:v}.8h, {l:v}.8b, {z:v}.8b",
            "smlal2 {a:v}.8h, {k:v}.16b, {y:v}.16b",
            "smlal2 {b:v}.8h, {l:v}.16b, {z:v}.16b",
            "sadalp {third:v}.4s, {a:v}.8h",
            "sadalp {fourth:v}.4s, {b:v}.8h",
            first = inout(vreg) first, second = inout(vreg) second,
            third = inout(vreg) third, fourth = inout(vreg) fourth,
            i = in(vreg) input[0], j = in(vreg) input[1], k = in(vreg) input[2], l = in(vreg) input[3],
            w = in(vreg) weights[0], x = in(vreg) weights[1], y = in(vreg) weights[2], z = in(vreg) weights[3],
            a = out(vreg) _, b = out(vreg) _,
            options(nomem, nostack, preserves_flags)
        );
    }
    [first, second, third, fourth]
}

/// For each word of four, where [`dot_baseline_by_lane`] finds its bytes: its first two for four channels, then the others.
const PLACES: [[u8; 16]; 4] = [
    [0, 1, 0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3, 2, 3],
    [4, 5, 4, 5, 4, 5, 4, 5, 6, 7, 6, 7, 6, 7, 6, 7],
    [8, 9, 8, 9, 8, 9, 8, 9, 10, 11, 10, 11, 10, 11, 10, 11],
    [12, 13, 12, 13, 12, 13, 12, 13, 14, 15, 14, 15, 14, 15, 14, 15],
];

/// As [`dot_baseline`], with one of the four words of some pixels for every channel. Beside the sums and words of four pixels
/// and four registers of weights there are four for [`PLACES`], and three for products.
#[inline(always)]
unsafe fn dot_baseline_by_lane<const LANE: usize, const PIXELS: usize>(
    sums: &mut [Neon; PIXELS],
    fours: &[Bytes; PIXELS],
    weights: *const u8,
) {
    // SAFETY: NEON is present on all of 64-bit Arm; registers are all that is touched.
    unsafe {
        let places = vld1q_u8(PLACES[LANE].as_ptr());
        let weights = load_bytes(weights);
        for pixel in 0..PIXELS {
            let [mut first, mut second, mut third, mut fourth] = sums[pixel].0;
            asm!(
                "tbl {i:v}.16b, {{{four:v}.16b}}, {places:v}.16b",
                "smull {a:v}.8h, {i:v}.8b, {w:v}.8b",
                "smull {b:v}.8h, {i:v}.8b, {x:v}.8b",
                "smlal2 {a:v}.8h, {i:v}.16b, {w:v}.16b",
                "smlal2 {b:v}.8h, {i:v}.16b, {x:v}.16b",
                "sadalp {first:v}.4s, {a:v}.8h",
                "sadalp {second:v}.4s, {b:v}.8h",
                "smull {a:v}.8h, {i:v}.8b, {y:v}.8b",
                "smull {b:v}.8h, {i:v}.8b, {z:v}.8b",
                "smlal2 {a:v}.8h, {i:v}.16b, {y:v}.16b",
                "smlal2 {b:v}.8h, {i:v}.16b, {z:v}.16b",
                "sadalp {third:v}.4s, {a:v}.8h",
                "sadalp {fourth:v}.4s, {b:v}.8h",
                first = inout(vreg) first, second = inout(vreg) second,
                third = inout(vreg) third, fourth = inout(vreg) fourth,
                four = in(vreg) fours[pixel][0], places = in(vreg) places,
                w = in(vreg) weights[0], x = in(vreg) weights[1], y = in(vreg) weights[2], z = in(vreg) weights[3],
                i = out(vreg) _, a = out(vreg) _, b = out(vreg) _,
                options(nomem, nostack, preserves_flags)
            );
            sums[pixel] = Neon([first, second, third, fourth]);
        }
        compiler_fence(Ordering::SeqCst);
    }
}

/// A type of four registers, whose ways of loading what it multiplies are given, and those of multiplying.
macro_rules! block_of_four {
    (
        $(#[$documentation:meta])* $name:ident, $form:expr,
        loads: $broadcast:ident, $neighbours:ident, multiplies: $dot:ident, $by_lane:ident $(, shares: $by_words:ident)?
    ) => {
        $(#[$documentation])*
        #[derive(Debug, Clone, Copy)]
        pub(crate) struct $name(Four);

        impl Block for $name {
            type Input = Bytes;
            type Weights = Bytes;

            const FORM: Form = $form;
            const SIGNED: bool = true;
            const ONE_BY_ONE: bool = true;
            const BY_LANE: bool = true;
            const SATURATES: bool = true;

            $(
                const SHARES: bool = true;

                #[inline(always)]
                unsafe fn dot_words<const PIXELS: usize>(
                    sums: &mut [Self; PIXELS],
                    words: &[(Self::Input, usize); PIXELS],
                    weights: *const u8,
                ) {
                    // SAFETY: the caller's promise.
                    unsafe { $by_words::<PIXELS>(sums, words, weights) }
                }
            )?

            #[inline(always)]
            unsafe fn load(from: *const i32) -> Self {
                // SAFETY: sixteen sums stand behind the pointer.
                Self(unsafe { [vld1q_s32(from), vld1q_s32(from.add(4)), vld1q_s32(from.add(8)), vld1q_s32(from.add(12))] })
            }

            #[inline(always)]
            unsafe fn weights(from: *const u8) -> Self::Weights {
                // SAFETY: the caller's promise.
                unsafe { load_bytes(from) }
            }

            #[inline(always)]
            unsafe fn broadcast(from: *const i32) -> Self::Input {
                // SAFETY: four bytes stand behind the pointer.
                [unsafe { $broadcast(from) }; 4]
            }

            #[inline(always)]
            unsafe fn neighbours(from: *const u8) -> Self::Input {
                // SAFETY: the caller's promise.
                unsafe { $neighbours(from) }
            }

            #[inline(always)]
            unsafe fn dot(self, input: Self::Input, weights: Self::Weights) -> Self {
                // SAFETY: the caller's promise.
                Self(unsafe { $dot(self.0, input, weights) })
            }

            #[inline(always)]
            unsafe fn four(from: *const i32) -> Self::Input {
                // SAFETY: sixteen bytes stand behind the pointer.
                [unsafe { vld1q_s8(from.cast()) }; 4]
            }

            #[inline(always)]
            unsafe fn dot_lane<const LANE: usize, const PIXELS: usize>(
                sums: &mut [Self; PIXELS],
                fours: &[Self::Input; PIXELS],
                weights: *const u8,
            ) {
                // SAFETY: the caller's promise.
                unsafe { $by_lane::<LANE, PIXELS>(sums, fours, weights) }
            }

            #[inline(always)]
            unsafe fn scaled(self, factors: *const f32) -> Self {
                let [a, b, c, d] = self.0;
                // SAFETY: sixteen factors stand behind the pointer.
                unsafe {
                    Self([
                        scaled_quarter(a, factors),
                        scaled_quarter(b, factors.add(4)),
                        scaled_quarter(c, factors.add(8)),
                        scaled_quarter(d, factors.add(12)),
                    ])
                }
            }

            #[inline(always)]
            unsafe fn joined(self, joint: &Joint, with: *const u8) -> Self {
                // SAFETY: sixteen bytes stand behind the pointer.
                Self(unsafe { joined(self.0, joint, vld1q_s8(with.cast())) })
            }

            #[inline(always)]
            unsafe fn store(self, range: &Range, to: *mut u8) {
                // SAFETY: sixteen bytes stand behind the pointer.
                unsafe { vst1q_s8(to.cast(), limited(narrowed(self.0, range), range)) }
            }

            #[inline(always)]
            unsafe fn store_whole(self, range: &Range, to: *mut u8) {
                // SAFETY: sixteen bytes stand behind the pointer.
                unsafe { vst1q_s8(to.cast(), narrowed(self.0, range)) }
            }

            #[inline(always)]
            unsafe fn store_sums(self, to: *mut i32) {
                let [a, b, c, d] = self.0;
                // SAFETY: there is room for sixteen sums behind the pointer.
                unsafe {
                    vst1q_s32(to, a);
                    vst1q_s32(to.add(4), b);
                    vst1q_s32(to.add(8), c);
                    vst1q_s32(to.add(12), d);
                }
            }

            #[inline(always)]
            unsafe fn store_floats(self, factors: *const f32, addends: *const f32, to: *mut f32) {
                // SAFETY: the caller's promise.
                unsafe { store_floats(self.0, factors, addends, to) }
            }
        }
    };
}

block_of_four!(
    /// Sixteen sums; products in sixteen bits, exact without the weight -128.
    Neon, Form::SymmetricBytes,
    loads: repeated_by_two, transposed_by_two, multiplies: dot_baseline, dot_baseline_by_lane
);

block_of_four!(
    /// Sixteen sums by the dot product instructions.
    NeonDot, Form::Bytes,
    loads: repeated, transposed, multiplies: dot_product, dot_product_by_lane, shares: dot_product_by_words
);

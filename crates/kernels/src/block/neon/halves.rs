//! Sixteen sums of products of sixteen bits on all of 64-bit Arm, by `smlal`: four products at a time, modulo 2³².

use std::arch::aarch64::*;
use std::sync::atomic::{Ordering, compiler_fence};

use super::{Neon, transposed};
use crate::block::{Block, Form, Joint, Pairs, Range, sums_of_inner};

/// Two numbers of sixteen bits for each of sixteen channels: the first ones, then the second ones.
type TwoOfSixteen = [int16x8_t; 4];

#[inline(always)]
unsafe fn load(from: *const u8) -> TwoOfSixteen {
    let from = from.cast::<i16>();
    // SAFETY: 64 bytes stand behind the pointer.
    unsafe { [vld1q_s16(from), vld1q_s16(from.add(8)), vld1q_s16(from.add(16)), vld1q_s16(from.add(24))] }
}

/// What a pixel's sums become is the other kernels'.
macro_rules! as_neon {
    () => {
        const FORM: Form = Form::Halves;
        const SIGNED: bool = true;
        const ONE_BY_ONE: bool = true;

        #[inline(always)]
        unsafe fn load(from: *const i32) -> Self {
            // SAFETY: the caller's promise.
            Self(unsafe { Neon::load(from) })
        }

        #[inline(always)]
        unsafe fn weights(from: *const u8) -> Self::Weights {
            // SAFETY: the caller's promise.
            unsafe { load(from) }
        }

        sums_of_inner!();
    };
}

/// Sums of a dense convolution: all channels of a pixel are multiplied by the same numbers, which are lanes of a register of
/// eight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ByLane(Neon);

impl ByLane {
    /// Adds the products with one of a pixel's eight numbers.
    #[inline(always)]
    unsafe fn plus<const LANE: i32>(self, eight: int16x8_t, [low, high]: [int16x8_t; 2]) -> Self {
        let [a, b, c, d] = self.0.0;
        // SAFETY: NEON is present on all of 64-bit Arm.
        unsafe {
            Self(Neon([
                vmlal_laneq_s16::<LANE>(a, vget_low_s16(low), eight),
                vmlal_high_laneq_s16::<LANE>(b, low, eight),
                vmlal_laneq_s16::<LANE>(c, vget_low_s16(high), eight),
                vmlal_high_laneq_s16::<LANE>(d, high, eight),
            ]))
        }
    }

    /// Adds the products with two of the eight numbers of some pixels. Beside the sums and numbers of five pixels and four
    /// registers of weights there are three.
    #[inline(always)]
    unsafe fn plus_two<const FIRST: i32, const SECOND: i32, const PIXELS: usize>(
        sums: &mut [Self; PIXELS],
        eights: &[int16x8_t; PIXELS],
        weights: *const u8,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            let [first, second, third, fourth] = load(weights);
            for pixel in 0..PIXELS {
                sums[pixel] = sums[pixel].plus::<FIRST>(eights[pixel], [first, second]);
                sums[pixel] = sums[pixel].plus::<SECOND>(eights[pixel], [third, fourth]);
            }
        }
        compiler_fence(Ordering::SeqCst);
    }
}

impl Block for ByLane {
    type Input = int16x8_t;
    type Weights = TwoOfSixteen;

    const BY_LANE: bool = true;

    as_neon!();

    #[inline(always)]
    unsafe fn broadcast(from: *const i32) -> Self::Input {
        // SAFETY: four bytes stand behind the pointer.
        unsafe { vreinterpretq_s16_s32(vld1q_dup_s32(from)) }
    }

    #[inline(always)]
    unsafe fn neighbours(from: *const u8) -> Self::Input {
        // SAFETY: the caller's promise.
        unsafe { vreinterpretq_s16_s8(transposed(from)[0]) }
    }

    #[inline(always)]
    unsafe fn dot(self, input: Self::Input, [first, second, third, fourth]: Self::Weights) -> Self {
        // SAFETY: the caller's promise.
        unsafe { self.plus::<0>(input, [first, second]).plus::<1>(input, [third, fourth]) }
    }

    #[inline(always)]
    unsafe fn four(from: *const i32) -> Self::Input {
        // SAFETY: sixteen bytes stand behind the pointer.
        unsafe { vld1q_s16(from.cast()) }
    }

    #[inline(always)]
    unsafe fn dot_lane<const LANE: usize, const PIXELS: usize>(
        sums: &mut [Self; PIXELS],
        fours: &[Self::Input; PIXELS],
        weights: *const u8,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            match LANE {
                0 => Self::plus_two::<0, 1, PIXELS>(sums, fours, weights),
                1 => Self::plus_two::<2, 3, PIXELS>(sums, fours, weights),
                2 => Self::plus_two::<4, 5, PIXELS>(sums, fours, weights),
                _ => Self::plus_two::<6, 7, PIXELS>(sums, fours, weights),
            }
        }
    }
}

/// Sums of a depthwise convolution: every channel has numbers of its own, those of a pixel and of the one below it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ByChannel(Neon);

impl Block for ByChannel {
    type Input = TwoOfSixteen;
    type Weights = TwoOfSixteen;

    as_neon!();

    #[inline(always)]
    unsafe fn broadcast(from: *const i32) -> Self::Input {
        // SAFETY: four bytes stand behind the pointer.
        unsafe {
            let from = from.cast::<i16>();
            let (first, second) = (vld1q_dup_s16(from), vld1q_dup_s16(from.add(1)));
            [first, first, second, second]
        }
    }

    #[inline(always)]
    unsafe fn neighbours(from: *const u8) -> Self::Input {
        // SAFETY: the caller's promise.
        unsafe { Self::rows(from, from.add(16)) }
    }

    #[inline(always)]
    unsafe fn dot(self, input: Self::Input, weights: Self::Weights) -> Self {
        // SAFETY: the caller's promise.
        unsafe { self.dot_pairs(input, weights) }
    }
}

impl Pairs for ByChannel {
    #[inline(always)]
    unsafe fn rows(first: *const u8, second: *const u8) -> Self::Input {
        // SAFETY: sixteen bytes stand behind each pointer.
        unsafe {
            let (first, second) = (vld1q_s8(first.cast()), vld1q_s8(second.cast()));
            [vmovl_s8(vget_low_s8(first)), vmovl_high_s8(first), vmovl_s8(vget_low_s8(second)), vmovl_high_s8(second)]
        }
    }

    #[inline(always)]
    unsafe fn row(first: *const u8) -> Self::Input {
        // SAFETY: sixteen bytes stand behind the pointer.
        unsafe {
            let first = vld1q_s8(first.cast());
            [vmovl_s8(vget_low_s8(first)), vmovl_high_s8(first), vdupq_n_s16(0), vdupq_n_s16(0)]
        }
    }

    #[inline(always)]
    unsafe fn dot_pairs(self, input: Self::Input, weights: Self::Weights) -> Self {
        // SAFETY: NEON is present on all of 64-bit Arm.
        unsafe {
            let Self(Neon([a, b, c, d])) = self.dot_first(input, weights);
            Self(Neon([
                vmlal_s16(a, vget_low_s16(input[2]), vget_low_s16(weights[2])),
                vmlal_high_s16(b, input[2], weights[2]),
                vmlal_s16(c, vget_low_s16(input[3]), vget_low_s16(weights[3])),
                vmlal_high_s16(d, input[3], weights[3]),
            ]))
        }
    }

    #[inline(always)]
    unsafe fn dot_first(self, input: Self::Input, weights: Self::Weights) -> Self {
        let [a, b, c, d] = self.0.0;
        // SAFETY: NEON is present on all of 64-bit Arm.
        unsafe {
            Self(Neon([
                vmlal_s16(a, vget_low_s16(input[0]), vget_low_s16(weights[0])),
                vmlal_high_s16(b, input[0], weights[0]),
                vmlal_s16(c, vget_low_s16(input[1]), vget_low_s16(weights[1])),
                vmlal_high_s16(d, input[1], weights[1]),
            ]))
        }
    }
}

//! Sixteen sums of products of bytes, one for each channel of a block: what the kernels of quantised networks are
//! written in terms of.
//!
//! Bytes of a tensor are unsigned and weights signed, as x86's instructions want them; where an instruction set
//! multiplies signed bytes only ([`Block::SIGNED`]), tensors hold every byte less 128. Products and sums are exact on
//! all of them, and every rounding is defined here in single precision, so that all give the same bytes.
//!
//! As for [`crate::vector::Vector`], all methods are `unsafe` with one condition: *the machine has the instruction set of
//! the implementing type*. Those with a pointer want as many elements behind it as they say, of any alignment.

#![allow(clippy::needless_range_loop, reason = "indices over registers, of which the compiler leaves none")]

use std::sync::atomic::{Ordering, compiler_fence};

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
pub(crate) mod checked;
mod form;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
pub(crate) mod portable;
pub(crate) mod sixteen;

pub(crate) use form::Form;

/// What the nearest whole number of a scaled sum becomes: `min(max(number + zero, low), high)`, all as tensors hold them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) zero: i32,
    pub(crate) low: i32,
    pub(crate) high: i32,
}

impl Range {
    /// Whether it is all that a byte can be, as tensors hold it.
    #[inline(always)]
    pub(crate) fn is_whole(&self, is_signed: bool) -> bool {
        let low = if is_signed { -128 } else { 0 };
        self.low == low && self.high == low + 255
    }
}

/// How two quantised numbers become one: `first · ratios[0] + second · ratios[1]`, both without their zeros.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Joint {
    /// The range of the first number before it is joined.
    pub(crate) range: Range,
    /// The zero of the second one, as the kernel reads it.
    pub(crate) zero: i32,
    pub(crate) ratios: [f32; 2],
}

/// Sums of sixteen channels.
#[allow(clippy::missing_safety_doc, reason = "one condition for all, in the module's documentation")]
pub(crate) trait Block: Copy {
    /// Four bytes for each channel.
    type Input: Copy;
    /// Four weights for each channel.
    type Weights: Copy;

    /// How weights are packed for [`Block::weights`].
    const FORM: Form;
    /// Whether tensors hold bytes less 128.
    const SIGNED: bool;
    /// Whether the registers hold little but a kernel's sums, so that pixels are multiplied one after the other: the
    /// compiler would go about several at once, and put sums on the stack.
    const ONE_BY_ONE: bool = false;
    /// Whether four words of a pixel are loaded at once ([`Block::four`]) and multiplied one by one ([`Block::dot_lane`]).
    const BY_LANE: bool = false;

    /// Whether [`Block::dot_splat`] is faster than [`Block::broadcast`] and [`Block::dot`].
    const SPLATS: bool = false;
    /// Whether neighbouring pixels share the registers that they are multiplied by, which are loaded once
    /// ([`Block::dot_words`]); only where there is [`Block::BY_LANE`].
    const SHARES: bool = false;
    /// Whether [`Block::store_whole`] is faster than [`Block::store`].
    const SATURATES: bool = false;

    /// Sixteen sums.
    unsafe fn load(from: *const i32) -> Self;
    /// Sixteen sums that a kernel holds itself.
    #[inline(always)]
    unsafe fn of(sums: &[i32; 16]) -> Self {
        // SAFETY: the caller's promise; there are sixteen.
        unsafe { Self::load(sums.as_ptr()) }
    }
    /// Weights of [`Form::bytes`] bytes.
    unsafe fn weights(from: *const u8) -> Self::Weights;
    /// The same four bytes for every channel.
    unsafe fn broadcast(from: *const i32) -> Self::Input;
    /// For each channel, its bytes of four neighbouring pixels: 64 bytes.
    unsafe fn neighbours(from: *const u8) -> Self::Input;
    /// Adds the products.
    unsafe fn dot(self, input: Self::Input, weights: Self::Weights) -> Self;
    /// Adds the products with a word of a pixel of a tile, whose pixels lie `STEP` words apart in either half. Only where there is [`Block::SPLATS`].
    #[inline(always)]
    unsafe fn dot_splat<const PIXEL: usize, const PIXELS: usize, const STEP: usize, const WORD: usize>(
        self,
        halves: [*const i32; 2],
        weights: Self::Weights,
    ) -> Self {
        // SAFETY: the caller's promise.
        unsafe { self.dot(Self::broadcast(word_of::<PIXEL, PIXELS, STEP, WORD>(halves)), weights) }
    }
    /// Four neighbouring words of four bytes, of which [`Block::dot_lane`] takes one for every channel; only where there is
    /// [`Block::BY_LANE`].
    #[inline(always)]
    unsafe fn four(from: *const i32) -> Self::Input {
        // SAFETY: the caller's promise.
        unsafe { Self::broadcast(from) }
    }
    /// Adds the products with one of the four words of some pixels; weights as for [`Block::weights`]. Only where there is
    /// [`Block::BY_LANE`].
    #[inline(always)]
    unsafe fn dot_lane<const LANE: usize, const PIXELS: usize>(
        _sums: &mut [Self; PIXELS],
        _fours: &[Self::Input; PIXELS],
        _weights: *const u8,
    ) {
    }
    /// The same, where each pixel has a register and a lane of it: only where there is [`Block::SHARES`].
    #[inline(always)]
    unsafe fn dot_words<const PIXELS: usize>(
        _sums: &mut [Self; PIXELS],
        _words: &[(Self::Input, usize); PIXELS],
        _weights: *const u8,
    ) {
    }
    /// The whole numbers nearest to the sums times sixteen factors, ties to even. Products must be below 2³¹.
    unsafe fn scaled(self, factors: *const f32) -> Self;
    /// Whole numbers joined with sixteen bytes, rounded again.
    unsafe fn joined(self, joint: &Joint, with: *const u8) -> Self;
    /// Whole numbers as sixteen bytes.
    unsafe fn store(self, range: &Range, to: *mut u8);
    /// The same, where the range is all that a byte can be.
    #[inline(always)]
    unsafe fn store_whole(self, range: &Range, to: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe { self.store(range, to) }
    }
    /// The sums themselves.
    unsafe fn store_sums(self, to: *mut i32);
    /// The sums times sixteen factors, plus sixteen addends, as floats.
    unsafe fn store_floats(self, factors: *const f32, addends: *const f32, to: *mut f32);

    /// The whole numbers of `count` (1 to 4) neighbouring pixels as bytes.
    #[inline(always)]
    unsafe fn store_row(pixels: [Self; 4], count: usize, range: &Range, to: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe {
            pixels[0].store(range, to);
            if count > 1 {
                pixels[1].store(range, to.add(16));
            }
            if count > 2 {
                pixels[2].store(range, to.add(32));
            }
            if count > 3 {
                pixels[3].store(range, to.add(48));
            }
        }
    }
}

/// A word of a pixel of a tile, as [`Block::dot_splat`] counts them.
///
/// # Safety
/// A word must stand there.
#[inline(always)]
unsafe fn word_of<const PIXEL: usize, const PIXELS: usize, const STEP: usize, const WORD: usize>(
    halves: [*const i32; 2],
) -> *const i32 {
    let (half, pixel) = if PIXEL < PIXELS / 2 { (halves[0], PIXEL) } else { (halves[1], PIXEL - PIXELS / 2) };
    // SAFETY: the caller's promise.
    unsafe { half.add(pixel * STEP + WORD) }
}

/// Between the products of two pixels, where those of one come first ([`Block::ONE_BY_ONE`]).
#[inline(always)]
pub(crate) fn next_pixel<B: Block>() {
    if B::ONE_BY_ONE {
        compiler_fence(Ordering::SeqCst);
    }
}

/// Sums that can be of products of sixteen bits as well: two for each channel, where there are four bytes otherwise.
pub(crate) trait Pairs: Block {
    /// For each channel, the bytes of a pixel and of the one below it: sixteen bytes each.
    unsafe fn rows(first: *const u8, second: *const u8) -> Self::Input;
    /// The same, with nothing below it.
    unsafe fn row(first: *const u8) -> Self::Input;
    /// Adds the products, modulo 2³².
    unsafe fn dot_pairs(self, input: Self::Input, weights: Self::Weights) -> Self;
    /// As [`Block::dot_splat`], of products of sixteen bits.
    #[inline(always)]
    unsafe fn dot_pairs_splat<const PIXEL: usize, const PIXELS: usize, const STEP: usize, const WORD: usize>(
        self,
        halves: [*const i32; 2],
        weights: Self::Weights,
    ) -> Self {
        // SAFETY: the caller's promise.
        unsafe { self.dot_pairs(Self::broadcast(word_of::<PIXEL, PIXELS, STEP, WORD>(halves)), weights) }
    }
    /// Adds the products of what [`Pairs::row`] gives: the second ones are of zeros.
    #[inline(always)]
    unsafe fn dot_first(self, input: Self::Input, weights: Self::Weights) -> Self {
        // SAFETY: the caller's promise.
        unsafe { self.dot_pairs(input, weights) }
    }
}

/// What becomes of sums that another type holds: what that type makes of them.
macro_rules! sums_of_inner {
    () => {
        #[inline(always)]
        unsafe fn scaled(self, factors: *const f32) -> Self {
            // SAFETY: the caller's promise.
            Self(unsafe { self.0.scaled(factors) })
        }

        #[inline(always)]
        unsafe fn joined(self, joint: &Joint, with: *const u8) -> Self {
            // SAFETY: the caller's promise.
            Self(unsafe { self.0.joined(joint, with) })
        }

        #[inline(always)]
        unsafe fn store(self, range: &Range, to: *mut u8) {
            // SAFETY: the caller's promise.
            unsafe { self.0.store(range, to) }
        }

        #[inline(always)]
        unsafe fn store_sums(self, to: *mut i32) {
            // SAFETY: the caller's promise.
            unsafe { self.0.store_sums(to) }
        }

        #[inline(always)]
        unsafe fn store_floats(self, factors: *const f32, addends: *const f32, to: *mut f32) {
            // SAFETY: the caller's promise.
            unsafe { self.0.store_floats(factors, addends, to) }
        }
    };
}
#[cfg(target_arch = "aarch64")]
pub(crate) use sums_of_inner;

/// Sums of products of sixteen bits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OfPairs<B>(B);

impl<B: Pairs> Block for OfPairs<B> {
    type Input = B::Input;
    type Weights = B::Weights;

    const FORM: Form = Form::Pairs;
    const SIGNED: bool = B::SIGNED;
    const ONE_BY_ONE: bool = B::ONE_BY_ONE;
    const SPLATS: bool = B::SPLATS;

    #[inline(always)]
    unsafe fn load(from: *const i32) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { B::load(from) })
    }

    #[inline(always)]
    unsafe fn weights(from: *const u8) -> Self::Weights {
        // SAFETY: the caller's promise.
        unsafe { B::weights(from) }
    }

    #[inline(always)]
    unsafe fn broadcast(from: *const i32) -> Self::Input {
        // SAFETY: the caller's promise.
        unsafe { B::broadcast(from) }
    }

    #[inline(always)]
    unsafe fn neighbours(from: *const u8) -> Self::Input {
        // SAFETY: the caller's promise.
        unsafe { B::neighbours(from) }
    }

    #[inline(always)]
    unsafe fn dot(self, input: Self::Input, weights: Self::Weights) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { self.0.dot_pairs(input, weights) })
    }

    #[inline(always)]
    unsafe fn dot_splat<const PIXEL: usize, const PIXELS: usize, const STEP: usize, const WORD: usize>(
        self,
        halves: [*const i32; 2],
        weights: Self::Weights,
    ) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { self.0.dot_pairs_splat::<PIXEL, PIXELS, STEP, WORD>(halves, weights) })
    }

    sums_of_inner!();

    #[inline(always)]
    unsafe fn store_row([a, b, c, d]: [Self; 4], count: usize, range: &Range, to: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe { B::store_row([a.0, b.0, c.0, d.0], count, range, to) }
    }
}

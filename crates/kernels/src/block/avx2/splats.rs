//! A word for all channels and its multiplications, written out, because the compiler loads more words at once than there are
//! registers.

use std::arch::asm;
use std::arch::x86_64::*;

use super::Pair;

/// Bytes from a half's first window to a word of one of the tile's pixels.
const fn place(pixel: usize, pixels: usize, step: usize, word: usize) -> usize {
    let before = if pixel < pixels / 2 { 0 } else { pixels / 2 };
    ((pixel - before) * step + word) * size_of::<i32>()
}

/// As [`Block::dot_splat`](crate::block::Block::dot_splat), of bytes.
///
/// # Safety
/// A word must stand there.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn dot_narrow_splat<const PIXEL: usize, const PIXELS: usize, const STEP: usize, const WORD: usize>(
    mut sums: Pair,
    halves: [*const i32; 2],
    weights: Pair,
) -> Pair {
    // SAFETY: the caller's promise; nothing is written to memory.
    unsafe {
        asm!(
            "vpbroadcastd {word}, dword ptr [{half} + {at}]",
            "vpmaddubsw {products}, {word}, {first}",
            "vpmaddubsw {word}, {word}, {second}",
            "vpmaddwd {products}, {products}, {ones}",
            "vpmaddwd {word}, {word}, {ones}",
            "vpaddd {low}, {low}, {products}",
            "vpaddd {high}, {high}, {word}",
            word = out(ymm_reg) _,
            products = out(ymm_reg) _,
            low = inout(ymm_reg) sums[0],
            high = inout(ymm_reg) sums[1],
            first = in(ymm_reg) weights[0],
            second = in(ymm_reg) weights[1],
            ones = in(ymm_reg) _mm256_set1_epi16(1),
            half = in(reg) halves[usize::from(PIXEL >= PIXELS / 2)],
            at = const place(PIXEL, PIXELS, STEP, WORD),
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    sums
}

/// As [`dot_narrow_splat`], of two numbers of sixteen bits.
///
/// # Safety
/// A word must stand there.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn dot_pairs_splat<const PIXEL: usize, const PIXELS: usize, const STEP: usize, const WORD: usize>(
    mut sums: Pair,
    halves: [*const i32; 2],
    weights: Pair,
) -> Pair {
    // SAFETY: the caller's promise; nothing is written to memory.
    unsafe {
        asm!(
            "vpbroadcastd {word}, dword ptr [{half} + {at}]",
            "vpmaddwd {products}, {word}, {first}",
            "vpmaddwd {word}, {word}, {second}",
            "vpaddd {low}, {low}, {products}",
            "vpaddd {high}, {high}, {word}",
            word = out(ymm_reg) _,
            products = out(ymm_reg) _,
            low = inout(ymm_reg) sums[0],
            high = inout(ymm_reg) sums[1],
            first = in(ymm_reg) weights[0],
            second = in(ymm_reg) weights[1],
            half = in(reg) halves[usize::from(PIXEL >= PIXELS / 2)],
            at = const place(PIXEL, PIXELS, STEP, WORD),
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    sums
}

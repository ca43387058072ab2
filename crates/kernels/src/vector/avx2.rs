//! Eight floats of AVX2 with FMA: half a channel block.

use std::arch::asm;
use std::arch::x86_64::*;

use super::Vector;

/// Eight floats.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2(__m256);

impl Vector for Avx2 {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the machine has AVX2.
        Self(unsafe { _mm256_set1_ps(value) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the machine has AVX2, and eight floats stand behind the pointer.
        Self(unsafe { _mm256_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the machine has AVX2, and eight floats stand behind the pointer.
        unsafe { _mm256_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the machine has AVX2.
        Self(unsafe { _mm256_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: the machine has AVX2.
        Self(unsafe { _mm256_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: the machine has AVX2.
        Self(unsafe { _mm256_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        // SAFETY: the machine has AVX2.
        Self(unsafe { _mm256_div_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        // SAFETY: the machine has AVX2.
        Self(unsafe { _mm256_max_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        // SAFETY: the machine has AVX2.
        Self(unsafe { _mm256_min_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn fma(self, factor: Self, addend: Self) -> Self {
        // SAFETY: the machine has FMA.
        Self(unsafe { _mm256_fmadd_ps(self.0, factor.0, addend.0) })
    }

    const SPLATS: bool = true;

    #[inline(always)]
    unsafe fn fma_splat<const PIXEL: usize, const PIXELS: usize, const STEP: usize, const ELEMENT: usize>(
        weights: [Self; 2],
        halves: [*const f32; 2],
        sums: [Self; 2],
    ) -> [Self; 2] {
        // SAFETY: the machine has AVX2 and FMA, and a float stands there.
        unsafe { fma_splat::<PIXEL, PIXELS, STEP, ELEMENT>(weights.map(|of| of.0), halves, sums.map(|of| of.0)) }
            .map(Self)
    }

    #[inline(always)]
    unsafe fn reciprocal(self) -> Self {
        // SAFETY: the machine has AVX2 and FMA. Twelve bits, doubled by one step of Newton's method.
        Self(unsafe {
            let rough = _mm256_rcp_ps(self.0);
            _mm256_mul_ps(rough, _mm256_fnmadd_ps(self.0, rough, _mm256_set1_ps(2.0)))
        })
    }

    #[inline(always)]
    unsafe fn exponent_of_lowest(self) -> Self {
        // SAFETY: the machine has AVX2.
        Self(unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(self.0))) })
    }
}

/// As [`Vector::fma_splat`]. Written out, because the compiler loads more inputs at once than there are registers.
///
/// # Safety
/// A float must stand there.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn fma_splat<const PIXEL: usize, const PIXELS: usize, const STEP: usize, const ELEMENT: usize>(
    weights: [__m256; 2],
    halves: [*const f32; 2],
    mut sums: [__m256; 2],
) -> [__m256; 2] {
    // SAFETY: the caller's promise; nothing is written to memory.
    unsafe {
        asm!(
            "vbroadcastss {input}, dword ptr [{half} + {at}]",
            "vfmadd231ps {first}, {input}, {weights}",
            "vfmadd231ps {second}, {input}, {others}",
            input = out(ymm_reg) _,
            first = inout(ymm_reg) sums[0],
            second = inout(ymm_reg) sums[1],
            weights = in(ymm_reg) weights[0],
            others = in(ymm_reg) weights[1],
            half = in(reg) halves[usize::from(PIXEL >= PIXELS / 2)],
            at = const ((PIXEL - if PIXEL < PIXELS / 2 { 0 } else { PIXELS / 2 }) * STEP + ELEMENT) * size_of::<f32>(),
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    sums
}

//! Sixteen floats of AVX-512: one channel block of one pixel.

use std::arch::asm;
use std::arch::x86_64::*;

use super::Vector;

/// Sixteen floats.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx512(__m512);

impl Vector for Avx512 {
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the machine has AVX-512.
        Self(unsafe { _mm512_set1_ps(value) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the machine has AVX-512, and sixteen floats stand behind the pointer.
        Self(unsafe { _mm512_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the machine has AVX-512, and sixteen floats stand behind the pointer.
        unsafe { _mm512_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the machine has AVX-512.
        Self(unsafe { _mm512_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: the machine has AVX-512.
        Self(unsafe { _mm512_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: the machine has AVX-512.
        Self(unsafe { _mm512_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        // SAFETY: the machine has AVX-512.
        Self(unsafe { _mm512_div_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        // SAFETY: the machine has AVX-512.
        Self(unsafe { _mm512_max_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        // SAFETY: the machine has AVX-512.
        Self(unsafe { _mm512_min_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn fma(self, factor: Self, addend: Self) -> Self {
        // SAFETY: the machine has AVX-512.
        Self(unsafe { _mm512_fmadd_ps(self.0, factor.0, addend.0) })
    }

    const EMBEDS: bool = true;

    #[inline(always)]
    unsafe fn fma_embedded<const PIXEL: usize, const PIXELS: usize, const STEP: usize, const ELEMENT: usize>(
        self,
        halves: [*const f32; 2],
        addend: Self,
    ) -> Self {
        // SAFETY: the machine has AVX-512, and a float stands there.
        Self(unsafe { fma_embedded::<PIXEL, PIXELS, STEP, ELEMENT>(self.0, halves, addend.0) })
    }

    #[inline(always)]
    unsafe fn reciprocal(self) -> Self {
        // SAFETY: the machine has AVX-512. Fourteen bits, doubled by one step of Newton's method.
        Self(unsafe {
            let rough = _mm512_rcp14_ps(self.0);
            _mm512_mul_ps(rough, _mm512_fnmadd_ps(self.0, rough, _mm512_set1_ps(2.0)))
        })
    }

    #[inline(always)]
    unsafe fn exponent_of_lowest(self) -> Self {
        // SAFETY: the machine has AVX-512.
        Self(unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_castps_si512(self.0))) })
    }
}

/// As [`Vector::fma_embedded`]. Written out, because the compiler loads a float once that is used twice.
///
/// # Safety
/// A float must stand there.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn fma_embedded<const PIXEL: usize, const PIXELS: usize, const STEP: usize, const ELEMENT: usize>(
    weights: __m512,
    halves: [*const f32; 2],
    mut sum: __m512,
) -> __m512 {
    // SAFETY: the caller's promise; nothing is written to memory.
    unsafe {
        asm!(
            "vfmadd231ps {sum}, {weights}, dword ptr [{half} + {at}]{{1to16}}",
            sum = inout(zmm_reg) sum,
            weights = in(zmm_reg) weights,
            half = in(reg) halves[usize::from(PIXEL >= PIXELS / 2)],
            at = const ((PIXEL - if PIXEL < PIXELS / 2 { 0 } else { PIXELS / 2 }) * STEP + ELEMENT) * size_of::<f32>(),
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    sum
}

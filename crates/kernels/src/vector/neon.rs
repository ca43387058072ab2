//! Four floats of NEON: a quarter of a channel block.

use std::arch::aarch64::*;
use std::arch::asm;

use super::Vector;

/// Four floats.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Neon(float32x4_t);

impl Vector for Neon {
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: every 64-bit Arm has NEON.
        Self(unsafe { vdupq_n_f32(value) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: four floats stand behind the pointer.
        Self(unsafe { vld1q_f32(from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: four floats stand behind the pointer.
        unsafe { vst1q_f32(to, self.0) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: every 64-bit Arm has NEON.
        Self(unsafe { vaddq_f32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: every 64-bit Arm has NEON.
        Self(unsafe { vsubq_f32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: every 64-bit Arm has NEON.
        Self(unsafe { vmulq_f32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        // SAFETY: every 64-bit Arm has NEON.
        Self(unsafe { vdivq_f32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        // SAFETY: every 64-bit Arm has NEON.
        Self(unsafe { vmaxq_f32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        // SAFETY: every 64-bit Arm has NEON.
        Self(unsafe { vminq_f32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn fma(self, factor: Self, addend: Self) -> Self {
        // SAFETY: every 64-bit Arm has NEON.
        Self(unsafe { vfmaq_f32(addend.0, self.0, factor.0) })
    }

    const BY_LANE: bool = true;

    #[inline(always)]
    unsafe fn fma_lane<const LANE: i32>(self, factors: Self, addend: Self) -> Self {
        // SAFETY: every 64-bit Arm has NEON.
        Self(unsafe { vfmaq_laneq_f32::<LANE>(addend.0, self.0, factors.0) })
    }

    #[inline(always)]
    unsafe fn load_four(from: &mut *const f32) -> [Self; 4] {
        let (a, b, c, d);
        // SAFETY: sixteen floats stand behind the pointer. The compiler makes two loads and an addition of the intrinsic; the
        // registers must be neighbours, and so they are named.
        unsafe {
            asm!(
                "ld1 {{v28.4s, v29.4s, v30.4s, v31.4s}}, [{from}], #64",
                from = inout(reg) *from, out("v28") a, out("v29") b, out("v30") c, out("v31") d,
                options(pure, readonly, nostack, preserves_flags)
            );
        }
        [Self(a), Self(b), Self(c), Self(d)]
    }

    #[inline(always)]
    fn settled(number: usize) -> usize {
        let mut settled = number;
        // SAFETY: the line is empty.
        unsafe {
            asm!("/* {} */", inout(reg) settled, options(pure, nomem, nostack, preserves_flags));
        }
        settled
    }

    #[inline(always)]
    unsafe fn reciprocal(self) -> Self {
        // SAFETY: every 64-bit Arm has NEON. Eight bits, doubled by each step of Newton's method.
        Self(unsafe {
            let rough = vrecpeq_f32(self.0);
            let better = vmulq_f32(rough, vrecpsq_f32(self.0, rough));
            vmulq_f32(better, vrecpsq_f32(self.0, better))
        })
    }

    #[inline(always)]
    unsafe fn exponent_of_lowest(self) -> Self {
        // SAFETY: every 64-bit Arm has NEON.
        Self(unsafe { vreinterpretq_f32_u32(vshlq_n_u32::<23>(vreinterpretq_u32_f32(self.0))) })
    }
}

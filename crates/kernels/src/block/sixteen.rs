//! Sixteen bytes by the target's baseline: the compiler compares them one by one.

#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

#[cfg(target_arch = "x86_64")]
type Register = __m128i;
#[cfg(target_arch = "aarch64")]
type Register = uint8x16_t;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
type Register = [u8; 16];

/// Sixteen bytes, as they lie in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sixteen(Register);

#[cfg(target_arch = "x86_64")]
impl Sixteen {
    #[inline(always)]
    pub(crate) fn splat(byte: u8) -> Self {
        // SAFETY: SSE2 is present on all of x86_64.
        Self(unsafe { _mm_set1_epi8(byte.cast_signed()) })
    }

    /// The greater ones, by sign or without.
    #[inline(always)]
    pub(crate) fn max<const SIGNED: bool>(self, other: Self) -> Self {
        // SAFETY: SSE2 is present on all of x86_64.
        unsafe {
            // SSE2 compares without sign only.
            let flip = _mm_set1_epi8(if SIGNED { i8::MIN } else { 0 });
            let greater = _mm_max_epu8(_mm_xor_si128(self.0, flip), _mm_xor_si128(other.0, flip));
            Self(_mm_xor_si128(greater, flip))
        }
    }
}

#[cfg(target_arch = "aarch64")]
impl Sixteen {
    #[inline(always)]
    pub(crate) fn splat(byte: u8) -> Self {
        // SAFETY: NEON is present on all of 64-bit Arm.
        Self(unsafe { vdupq_n_u8(byte) })
    }

    /// The greater ones, by sign or without.
    #[inline(always)]
    pub(crate) fn max<const SIGNED: bool>(self, other: Self) -> Self {
        // SAFETY: NEON is present on all of 64-bit Arm.
        unsafe {
            if SIGNED {
                let greater = vmaxq_s8(vreinterpretq_s8_u8(self.0), vreinterpretq_s8_u8(other.0));
                return Self(vreinterpretq_u8_s8(greater));
            }
            Self(vmaxq_u8(self.0, other.0))
        }
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
impl Sixteen {
    #[inline(always)]
    pub(crate) fn splat(byte: u8) -> Self {
        Self([byte; 16])
    }

    /// The greater ones, by sign or without.
    #[inline(always)]
    pub(crate) fn max<const SIGNED: bool>(self, other: Self) -> Self {
        let flip = if SIGNED { 0x80 } else { 0 };
        Self(std::array::from_fn(|lane| (self.0[lane] ^ flip).max(other.0[lane] ^ flip) ^ flip))
    }
}

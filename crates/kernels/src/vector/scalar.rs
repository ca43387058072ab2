//! One float at a time, with every access to memory checked: what interprets a program to test its kernels.

use super::Vector;
use crate::bounds::{Access, touch};

/// One float. `FUSED` says whether multiplication and addition are rounded once, as in the instruction set that it stands
/// in for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scalar<const FUSED: bool>(f32);

impl<const FUSED: bool> Vector for Scalar<FUSED> {
    const LANES: usize = 1;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self(value)
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        touch(from, 1, Access::Read);
        // SAFETY: the float is one that the step may read.
        Self(unsafe { *from })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        touch(to, 1, Access::Write);
        // SAFETY: the float is one that the step may write.
        unsafe { *to = self.0 }
    }

    #[inline(always)]
    unsafe fn put(self, to: &mut [f32]) {
        to[0] = self.0;
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(self.0 * other.0)
    }

    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        Self(self.0 / other.0)
    }

    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        Self(if self.0 > other.0 { self.0 } else { other.0 })
    }

    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        Self(if self.0 < other.0 { self.0 } else { other.0 })
    }

    #[inline(always)]
    unsafe fn fma(self, factor: Self, addend: Self) -> Self {
        Self(if FUSED { self.0.mul_add(factor.0, addend.0) } else { self.0 * factor.0 + addend.0 })
    }

    #[inline(always)]
    unsafe fn reciprocal(self) -> Self {
        Self(self.0.recip())
    }

    #[inline(always)]
    unsafe fn exponent_of_lowest(self) -> Self {
        Self(f32::from_bits(self.0.to_bits() << 23))
    }
}

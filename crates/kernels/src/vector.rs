//! A few floats at once: what every kernel is written in terms of.
//!
//! The methods are inlined into kernels that were compiled for the instruction set (`kernel/set.rs`); called from
//! anywhere else they would be slow, and on a machine without the instructions undefined. That is why all of them are
//! `unsafe`, with one condition for all: *the machine has the instruction set of the implementing type*. Those with
//! a pointer want [`Vector::LANES`] floats behind it, of any alignment.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
pub(crate) mod portable;
pub(crate) mod scalar;

use crate::activation::{Activation, TANH};

/// [`Vector::LANES`] floats.
#[allow(clippy::missing_safety_doc, reason = "one condition for all, in the module's documentation")]
pub(crate) trait Vector: Copy {
    /// How many; 16 is a multiple of it.
    const LANES: usize;

    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// Stores to memory that is no tensor's, of at least so many floats.
    #[inline(always)]
    unsafe fn put(self, to: &mut [f32]) {
        debug_assert!(to.len() >= Self::LANES);
        // SAFETY: the caller's promise.
        unsafe { self.store(to.as_mut_ptr()) }
    }
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    /// The greater of both; `other` where one is no number.
    unsafe fn max(self, other: Self) -> Self;
    /// The lesser of both; `other` where one is no number.
    unsafe fn min(self, other: Self) -> Self;
    /// Whether a multiplication can take one lane of a vector for all, so that inputs are loaded four at a time.
    const BY_LANE: bool = false;
    /// `self · factors[LANE] + addend`, where [`Self::BY_LANE`].
    unsafe fn fma_lane<const LANE: i32>(self, factors: Self, addend: Self) -> Self {
        let _ = factors;
        addend
    }
    /// Four vectors that stand side by side, after which the pointer stands behind them.
    #[inline(always)]
    unsafe fn load_four(from: &mut *const f32) -> [Self; 4] {
        // SAFETY: the caller's promise, of four vectors.
        unsafe {
            let first = *from;
            *from = first.add(4 * Self::LANES);
            let load = first.add(Self::LANES);
            [
                Self::load(first),
                Self::load(load),
                Self::load(load.add(Self::LANES)),
                Self::load(load.add(2 * Self::LANES)),
            ]
        }
    }
    /// The same number, of which the compiler forgets how it was computed, so that it stays in a register; as it is where
    /// registers are not what is wanting.
    #[inline(always)]
    fn settled(number: usize) -> usize {
        number
    }
    /// `self · factor + addend`, rounded once where the instruction set can.
    unsafe fn fma(self, factor: Self, addend: Self) -> Self;
    /// Whether a multiplication can read one float of memory for all lanes.
    const EMBEDS: bool = false;
    /// `self · input + addend`, where [`Self::EMBEDS`]: the input of a pixel of a tile whose halves begin at these places, and
    /// whose inputs lie `STEP` floats apart, each counted from `ELEMENT` on.
    unsafe fn fma_embedded<const PIXEL: usize, const PIXELS: usize, const STEP: usize, const ELEMENT: usize>(
        self,
        halves: [*const f32; 2],
        addend: Self,
    ) -> Self {
        let _ = halves;
        addend
    }
    /// Whether an input is loaded for all lanes and multiplied by two vectors of weights in one go, so that however often that is
    /// repeated it takes one register.
    const SPLATS: bool = false;
    /// `sums + weights · input`, where [`Self::SPLATS`]; the input as of [`Self::fma_embedded`].
    unsafe fn fma_splat<const PIXEL: usize, const PIXELS: usize, const STEP: usize, const ELEMENT: usize>(
        weights: [Self; 2],
        halves: [*const f32; 2],
        sums: [Self; 2],
    ) -> [Self; 2] {
        let _ = (weights, halves);
        sums
    }
    /// 1 / x of normal numbers whose reciprocal is one, to about 2 units in the last place.
    unsafe fn reciprocal(self) -> Self;
    /// The floats whose bits are those of these, moved up by 23: what stood lowest becomes the exponent.
    unsafe fn exponent_of_lowest(self) -> Self;
}

/// 1.5 · 2²³, and 127. A number below 2²² added to it is rounded to a whole one, which with the bias of exponents makes the lowest
/// bits of the sum.
const SHIFT: f32 = 12_583_039.0;

/// Two factors whose product is e to the power of each element times a number; the second is a power of 2.
///
/// # Safety
/// As for [`Vector`].
#[inline(always)]
unsafe fn exp_factors<V: Vector>(x: V, times: f32) -> [V; 2] {
    // SAFETY: the caller's promise is the one that every method asks for.
    unsafe {
        let x = V::splat(87.0).min(V::splat(-87.0).max(x));
        let (binary, shift) = (V::splat(times * std::f32::consts::LOG2_E), V::splat(SHIFT));
        let shifted = x.fma(binary, shift);
        let rest = x.fma(binary, shift.sub(shifted));
        // 2 to the power of what is left, between -1/2 and 1/2: Taylor's series, its end bent towards the interval's.
        let mut series = V::splat(1.339_887_4e-3);
        for coefficient in [9.618_437e-3, 5.550_332_4e-2, 2.402_264_8e-1, std::f32::consts::LN_2, 1.0] {
            series = series.fma(rest, V::splat(coefficient));
        }
        [series, shifted.exponent_of_lowest()]
    }
}

/// e to the power of each element, to about 4 units in the last place; elements are held between -87 and 87.
///
/// # Safety
/// As for [`Vector`].
#[inline(always)]
pub(crate) unsafe fn exp<V: Vector>(x: V) -> V {
    // SAFETY: the caller's promise is the one that every method asks for.
    unsafe {
        let [series, power] = exp_factors(x, 1.0);
        series.mul(power)
    }
}

/// The logistic function of each element, `1 / (1 + e^-x)`; elements are held between -87 and 87.
///
/// # Safety
/// As for [`Vector`].
#[inline(always)]
unsafe fn logistic<V: Vector>(x: V) -> V {
    // SAFETY: the caller's promise is the one that every method asks for.
    unsafe {
        let [series, power] = exp_factors(x, -1.0);
        series.fma(power, V::splat(1.0)).reciprocal()
    }
}

/// The error function, to about 5e-7: a quotient of polynomials. Beyond 4 it is 1.
///
/// # Safety
/// As for [`Vector`].
#[inline(always)]
pub(crate) unsafe fn erf<V: Vector>(x: V) -> V {
    // SAFETY: the caller's promise is the one that every method asks for.
    unsafe {
        let x = V::splat(4.0).min(V::splat(-4.0).max(x));
        let square = x.mul(x);
        let mut above = V::splat(-2.726_142_3e-10);
        for coefficient in [2.770_681_4e-8, -2.101_024e-6, -5.692_506_4e-5, -7.349_906e-4, -2.954_6e-3, -1.609_603_3e-2]
        {
            above = above.fma(square, V::splat(coefficient));
        }
        let mut below = V::splat(-1.456_607_2e-5);
        for coefficient in [-2.133_740_6e-4, -1.682_827e-3, -7.373_329_2e-3, -1.426_473_9e-2] {
            below = below.fma(square, V::splat(coefficient));
        }
        x.mul(above).mul(below.reciprocal())
    }
}

/// The activation of each element.
///
/// # Safety
/// As for [`Vector`].
#[inline(always)]
pub(crate) unsafe fn activate<V: Vector>(activation: Activation, x: V) -> V {
    // SAFETY: the caller's promise is the one that every method asks for.
    unsafe {
        let (zero, one) = (V::splat(0.0), V::splat(1.0));
        // What is no number stays none, so that it is noticed at the end: the constant comes first.
        let gate = |alpha, beta| one.min(zero.max(x.fma(V::splat(alpha), V::splat(beta))));
        match activation {
            Activation::Identity => x,
            Activation::Clamp { low, high } => V::splat(high).min(V::splat(low).max(x)),
            Activation::LeakyRelu { slope } => zero.min(x).fma(V::splat(slope), zero.max(x)),
            Activation::HardSigmoid { alpha, beta } => gate(alpha, beta),
            Activation::HardSwish { alpha, beta } => x.mul(gate(alpha, beta)),
            Activation::Sigmoid => logistic(x),
            Activation::Swish => x.mul(logistic(x)),
            Activation::Gelu => {
                x.mul(V::splat(0.5)).mul(one.add(erf(x.mul(V::splat(std::f32::consts::FRAC_1_SQRT_2)))))
            }
            Activation::GeluByTanh => {
                // Half of 1 + tanh(y) is the logistic function of 2 · y.
                let [root, cubic] = const { [(2.0 * TANH[0]) as f32, (2.0 * TANH[0] * TANH[1]) as f32] };
                let argument = x.mul(x.mul(x).fma(V::splat(cubic), V::splat(root)));
                x.mul(logistic(argument))
            }
        }
    }
}

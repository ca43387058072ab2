//! What happens to each element by itself: activations, scales and shifts, sums and products of two tensors.

use crate::activation::Activation;
use crate::layout::LANES;
use crate::vector::{Vector, activate};

/// How two elements become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combination {
    /// `a + b`
    Sum,
    /// `a · b`
    Product,
}

/// The second operand of a pointwise row.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operand {
    /// There is none.
    Nothing,
    /// A row of the same length.
    Row(*const f32, Combination),
    /// Sixteen channels, the same for every pixel.
    Channels(*const f32, Combination),
    /// Factors and addends of sixteen channels, the same for every pixel.
    Affine(*const f32, *const f32),
}

/// What one call computes: one row of one channel block. Input and output may be the same row.
#[derive(Debug)]
pub(crate) struct PointwiseCall {
    pub(crate) input: *const f32,
    pub(crate) operand: Operand,
    pub(crate) activation: Activation,
    pub(crate) output: *mut f32,
    pub(crate) pixels: usize,
}

/// A compiled pointwise kernel.
pub(crate) type PointwiseKernel = unsafe fn(&PointwiseCall);

/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn pointwise<V: Vector>(call: &PointwiseCall) {
    // SAFETY: the caller's promise. Each arm is a loop of its own, in which the choice is settled.
    unsafe {
        match (call.operand, call.activation) {
            (Operand::Nothing, Activation::Swish) => each::<V>(call, Operand::Nothing, Activation::Swish),
            (Operand::Nothing, Activation::Gelu) => each::<V>(call, Operand::Nothing, Activation::Gelu),
            (Operand::Nothing, Activation::GeluByTanh) => each::<V>(call, Operand::Nothing, Activation::GeluByTanh),
            (Operand::Nothing, Activation::Sigmoid) => each::<V>(call, Operand::Nothing, Activation::Sigmoid),
            (Operand::Nothing, Activation::HardSwish { alpha, beta }) => {
                each::<V>(call, Operand::Nothing, Activation::HardSwish { alpha, beta });
            }
            (Operand::Channels(channels, Combination::Product), Activation::Identity) => {
                each::<V>(call, Operand::Channels(channels, Combination::Product), Activation::Identity);
            }
            (operand, activation) => each::<V>(call, operand, activation),
        }
    }
}

/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn each<V: Vector>(call: &PointwiseCall, operand: Operand, activation: Activation) {
    for lane in (0..LANES).step_by(V::LANES) {
        for pixel in 0..call.pixels {
            let place = pixel * LANES + lane;
            // SAFETY: the caller's promise.
            unsafe {
                let x = V::load(call.input.add(place));
                let x = match operand {
                    Operand::Nothing => x,
                    Operand::Row(row, how) => combine(x, V::load(row.add(place)), how),
                    Operand::Channels(channels, how) => combine(x, V::load(channels.add(lane)), how),
                    Operand::Affine(factors, addends) => x.fma(V::load(factors.add(lane)), V::load(addends.add(lane))),
                };
                activate(activation, x).store(call.output.add(place));
            }
        }
    }
}

/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn combine<V: Vector>(a: V, b: V, how: Combination) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        match how {
            Combination::Sum => a.add(b),
            Combination::Product => a.mul(b),
        }
    }
}

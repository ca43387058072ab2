//! Depthwise convolution: every channel by itself, some pixels of one block at once.

use std::sync::atomic::{Ordering, compiler_fence};

use crate::activation::Activation;
use crate::layout::LANES;
use crate::vector::{Vector, activate};

/// What one call computes: some neighbouring pixels of one channel block.
#[derive(Debug)]
pub(crate) struct DepthwiseCall<'a> {
    /// How many, for which kernels have a constant.
    pub(crate) pixels: usize,
    /// The first pixel's window.
    pub(crate) input: *const f32,
    /// Floats from a row of the input to the next.
    pub(crate) row: usize,
    /// Floats between the windows of neighbouring pixels, where the kernel has no constant for it.
    pub(crate) step: usize,
    /// Offsets of the window's elements from its first, where the kernel has no constant for them.
    pub(crate) taps: &'a [u32],
    /// For each element of the window, sixteen channels.
    pub(crate) weights: *const f32,
    /// Sixteen channels.
    pub(crate) bias: *const f32,
    /// The first pixel.
    pub(crate) output: *mut f32,
    /// What follows; only clamps and `HardSwish` are applied ([`Activation::is_applied_by_kernels`]).
    pub(crate) activation: Activation,
}

/// A compiled depthwise kernel.
pub(crate) type DepthwiseKernel = unsafe fn(&DepthwiseCall<'_>);

/// `PIXELS` pixels of a `SIDE` × `SIDE` window (0: as the call's taps say), `STEP` floats apart (0: as the call says).
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn depthwise<V: Vector, const SIDE: usize, const PIXELS: usize, const STEP: usize>(
    call: &DepthwiseCall<'_>,
) {
    let step = if STEP == 0 { call.step } else { STEP };
    if V::BY_LANE && SIDE > 0 && STEP > 0 {
        // Loads are what they wait for: two vectors lie side by side, and a pixel is loaded once for a row of windows.
        const { assert!(!V::BY_LANE || LANES == 2 * PAIR * V::LANES) };
        // SAFETY: the caller's promise; both lanes are inside the block.
        unsafe {
            sliding::<V, SIDE, PIXELS, STEP>(call, 0);
            sliding::<V, SIDE, PIXELS, STEP>(call, PAIR * V::LANES);
        }
        return;
    }
    for lane in (0..LANES).step_by(V::LANES) {
        // SAFETY: the caller's promise; a lane is inside its block.
        unsafe {
            let input = call.input.add(lane);
            let weights = call.weights.add(lane);
            let mut sums = [V::load(call.bias.add(lane)); PIXELS];
            if SIDE == 0 {
                for (tap, &offset) in call.taps.iter().enumerate() {
                    accumulate(&mut sums, input.add(offset as usize), step, V::load(weights.add(tap * LANES)));
                }
            } else {
                for y in 0..SIDE {
                    for x in 0..SIDE {
                        let weight = V::load(weights.add((y * SIDE + x) * LANES));
                        accumulate(&mut sums, input.add(y * call.row + x * LANES), step, weight);
                    }
                }
            }
            finish(&mut sums, call.activation);
            for pixel in 0..PIXELS {
                sums[pixel].store(call.output.add(lane + pixel * LANES));
            }
        }
    }
}

/// Vectors that are computed together where inputs slide.
const PAIR: usize = 2;

/// As [`depthwise`], of two vectors of a block: each row of the input is read once.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn sliding<V: Vector, const SIDE: usize, const PIXELS: usize, const STEP: usize>(
    call: &DepthwiseCall<'_>,
    lane: usize,
) {
    let stride = STEP / LANES;
    // SAFETY: the caller's promise.
    unsafe {
        let (first, second) = (call.bias.add(lane), call.bias.add(lane + V::LANES));
        let mut sums = [[V::load(first); PIXELS], [V::load(second); PIXELS]];
        for y in 0..SIDE {
            let row = call.input.add(y * call.row + lane);
            let mut weights = [[V::splat(0.0); SIDE]; PAIR];
            for x in 0..SIDE {
                for vector in 0..PAIR {
                    weights[vector][x] = V::load(call.weights.add((y * SIDE + x) * LANES + lane + vector * V::LANES));
                }
            }
            // A column's place among those that are held follows from its number.
            let mut columns = [[V::splat(0.0); SIDE]; PAIR];
            for x in 0..SIDE - stride {
                let [first, second] = pair(row.add(x * LANES));
                (columns[0][x], columns[1][x]) = (first, second);
            }
            for pixel in 0..PIXELS {
                for x in SIDE - stride..SIDE {
                    let column = pixel * stride + x;
                    let [first, second] = pair(row.add(column * LANES));
                    (columns[0][column % SIDE], columns[1][column % SIDE]) = (first, second);
                }
                for x in 0..SIDE {
                    for vector in 0..PAIR {
                        let column = columns[vector][(pixel * stride + x) % SIDE];
                        sums[vector][pixel] = column.fma(weights[vector][x], sums[vector][pixel]);
                    }
                }
                // The compiler would load more columns at once than there are registers.
                compiler_fence(Ordering::SeqCst);
            }
        }
        for vector in 0..PAIR {
            finish(&mut sums[vector], call.activation);
        }
        for pixel in 0..PIXELS {
            for vector in 0..PAIR {
                sums[vector][pixel].store(call.output.add(lane + vector * V::LANES + pixel * LANES));
            }
        }
    }
}

/// Two vectors side by side.
///
/// # Safety
/// As for [`Vector`].
#[inline(always)]
unsafe fn pair<V: Vector>(from: *const f32) -> [V; PAIR] {
    // SAFETY: the caller's promise.
    unsafe { [V::load(from), V::load(from.add(V::LANES))] }
}

/// What happens to the sums before they leave the registers.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn finish<V: Vector, const PIXELS: usize>(sums: &mut [V; PIXELS], activation: Activation) {
    // SAFETY: the caller's promise.
    unsafe {
        match activation {
            Activation::Clamp { low, high } => {
                let low = V::splat(low);
                for pixel in 0..PIXELS {
                    sums[pixel] = low.max(sums[pixel]);
                }
                if high < f32::INFINITY {
                    let high = V::splat(high);
                    for pixel in 0..PIXELS {
                        sums[pixel] = high.min(sums[pixel]);
                    }
                }
            }
            Activation::HardSwish { alpha, beta } => {
                for pixel in 0..PIXELS {
                    sums[pixel] = activate(Activation::HardSwish { alpha, beta }, sums[pixel]);
                }
            }
            _ => {}
        }
    }
}

/// Adds one element of the window to every pixel's sum.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn accumulate<V: Vector, const PIXELS: usize>(
    sums: &mut [V; PIXELS],
    input: *const f32,
    step: usize,
    weight: V,
) {
    for pixel in 0..PIXELS {
        // SAFETY: the caller's promise.
        sums[pixel] = unsafe { V::load(input.add(pixel * step)).fma(weight, sums[pixel]) };
    }
}

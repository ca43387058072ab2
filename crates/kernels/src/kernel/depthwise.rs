//! Depthwise convolution: every channel by itself, some pixels of one block at once.

use crate::layout::LANES;
use crate::vector::Vector;

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
    /// Least and greatest result.
    pub(crate) clamp: Option<(f32, f32)>,
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
            if let Some((low, high)) = call.clamp {
                let (low, high) = (V::splat(low), V::splat(high));
                for pixel in 0..PIXELS {
                    sums[pixel] = high.min(low.max(sums[pixel]));
                }
            }
            for pixel in 0..PIXELS {
                sums[pixel].store(call.output.add(lane + pixel * LANES));
            }
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

//! Softmax over the channels of every pixel, in place.

use crate::layout::LANES;
use crate::vector::{Vector, exp};

/// What one call computes: neighbouring pixels, all channels of each.
#[derive(Debug)]
pub(crate) struct SoftmaxCall {
    /// The first pixel of the first block.
    pub(crate) scores: *mut f32,
    /// Floats from a block to the next.
    pub(crate) block: usize,
    /// Lanes past the last channel hold anything, before and after, and are left out.
    pub(crate) channels: usize,
    pub(crate) pixels: usize,
}

/// A compiled softmax kernel.
pub(crate) type SoftmaxKernel = unsafe fn(&SoftmaxCall);

/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn softmax<V: Vector>(call: &SoftmaxCall) {
    for pixel in 0..call.pixels {
        // SAFETY: the caller's promise.
        unsafe {
            let scores = call.scores.add(pixel * LANES);
            let greatest = greatest::<V>(call, scores);
            let sum = exponentials::<V>(call, scores, greatest);
            scale::<V>(call, scores, 1.0 / sum);
        }
    }
}

/// The greatest of a pixel's channels.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn greatest<V: Vector>(call: &SoftmaxCall, scores: *const f32) -> f32 {
    let (whole, rest) = (call.channels / LANES, call.channels % LANES);
    let (mut lanes, mut last) = ([f32::NEG_INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
    // SAFETY: the caller's promise.
    unsafe {
        for lane in (0..LANES).step_by(V::LANES) {
            let mut of_lanes = V::splat(f32::NEG_INFINITY);
            for block in 0..whole {
                of_lanes = of_lanes.max(V::load(scores.add(block * call.block + lane)));
            }
            of_lanes.put(&mut lanes[lane..]);
            if rest > 0 {
                V::load(scores.add(whole * call.block + lane)).put(&mut last[lane..]);
            }
        }
    }
    let mut greatest = f32::NEG_INFINITY;
    for lane in 0..LANES {
        if lanes[lane] > greatest {
            greatest = lanes[lane];
        }
        if lane < rest && last[lane] > greatest {
            greatest = last[lane];
        }
    }
    greatest
}

/// Has each of a pixel's channels be e to the power of its distance from the greatest, and returns their sum: of each lane over the
/// blocks first, and then of the lanes in their order, for vectors of any length.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn exponentials<V: Vector>(call: &SoftmaxCall, scores: *mut f32, greatest: f32) -> f32 {
    let (whole, rest) = (call.channels / LANES, call.channels % LANES);
    let (mut lanes, mut last) = ([0.0; LANES], [0.0; LANES]);
    // SAFETY: the caller's promise.
    unsafe {
        for lane in (0..LANES).step_by(V::LANES) {
            let mut sums = V::splat(0.0);
            for block in 0..whole {
                let place = scores.add(block * call.block + lane);
                let power = exp(V::load(place).sub(V::splat(greatest)));
                power.store(place);
                sums = sums.add(power);
            }
            sums.put(&mut lanes[lane..]);
            if rest > 0 {
                let place = scores.add(whole * call.block + lane);
                let power = exp(V::load(place).sub(V::splat(greatest)));
                power.store(place);
                power.put(&mut last[lane..]);
            }
        }
    }
    let mut sum = 0.0;
    for lane in 0..LANES {
        sum += lanes[lane];
        if lane < rest {
            sum += last[lane];
        }
    }
    sum
}

/// Multiplies a pixel's channels.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn scale<V: Vector>(call: &SoftmaxCall, scores: *mut f32, factor: f32) {
    for block in 0..call.channels.div_ceil(LANES) {
        for lane in (0..LANES).step_by(V::LANES) {
            // SAFETY: the caller's promise.
            unsafe {
                let place = scores.add(block * call.block + lane);
                V::load(place).mul(V::splat(factor)).store(place);
            }
        }
    }
}

//! The mean of a whole plane.

use crate::layout::LANES;
use crate::vector::Vector;

/// What one call computes: sixteen means.
#[derive(Debug)]
pub(crate) struct AverageCall {
    /// The plane's first pixel.
    pub(crate) input: *const f32,
    /// Floats from a row to the next.
    pub(crate) row: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// One pixel.
    pub(crate) output: *mut f32,
}

/// A compiled averaging kernel.
pub(crate) type AverageKernel = unsafe fn(&AverageCall);

/// Sums held at a time: additions wait for one another, and longer sums round worse.
const SUMS: usize = 4;

/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn average<V: Vector>(call: &AverageCall) {
    for lane in (0..LANES).step_by(V::LANES) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut sums = [V::splat(0.0); SUMS];
            for y in 0..call.height {
                let row = call.input.add(y * call.row + lane);
                let whole = call.width / SUMS * SUMS;
                for x in (0..whole).step_by(SUMS) {
                    for sum in 0..SUMS {
                        sums[sum] = sums[sum].add(V::load(row.add((x + sum) * LANES)));
                    }
                }
                for x in whole..call.width {
                    sums[0] = sums[0].add(V::load(row.add(x * LANES)));
                }
            }
            let sum = sums[0].add(sums[1]).add(sums[2].add(sums[3]));
            sum.div(V::splat((call.height * call.width) as f32)).store(call.output.add(lane));
        }
    }
}

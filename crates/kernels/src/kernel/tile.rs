//! The one kernel of every dense convolution: some pixels by some output channels, summed over a list of runs.
//!
//! ```text
//! for run in runs:                 for (offset, length) of neighbouring input floats
//!     for element in run:          one input channel of one tap
//!         for pixel, vector:       sums[vector][pixel] += weights[vector] · input[pixel]
//! ```
//!
//! 1 × 1, k × k, strided, dilated and grouped convolutions, the first one over planar pictures, and fully connected
//! layers differ in their runs only. The sums stay in registers; the weights are read once, in the order in which they
//! are packed.

use crate::layout::LANES;
use crate::vector::Vector;

/// Neighbouring input floats that a pixel's window covers, from the window's first float on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) offset: u32,
    pub(crate) length: u32,
}

/// The places of a tile's two halves: the first `PIXELS / 2` pixels, and the others. They may lie in two rows.
pub(crate) type Halves<T> = [T; 2];

/// What one call computes.
#[derive(Debug)]
pub(crate) struct TileCall<'a> {
    /// Pixels and channels of the tile, for which kernels have constants.
    pub(crate) pixels: usize,
    pub(crate) channels: usize,
    /// Each half's first window.
    pub(crate) input: Halves<*const f32>,
    pub(crate) runs: &'a [Run],
    /// Floats between the windows of neighbouring pixels, where the kernel has no constant for it.
    pub(crate) step: usize,
    /// For each element of the runs, the channels of the tile.
    pub(crate) weights: *const f32,
    /// The channels of the tile.
    pub(crate) bias: *const f32,
    /// Each half's first pixel, in the first of the tile's blocks.
    pub(crate) output: Halves<*mut f32>,
    /// Floats from a block to the next.
    pub(crate) output_block: usize,
    /// Added before the clamp; as `output`.
    pub(crate) residual: Option<Halves<*const f32>>,
    pub(crate) residual_block: usize,
    /// Least and greatest result.
    pub(crate) clamp: Option<(f32, f32)>,
}

/// A compiled tile kernel.
pub(crate) type TileKernel = unsafe fn(&TileCall<'_>);

/// `VECTORS` vectors of output channels by `PIXELS` pixels, whose windows lie `STEP` floats apart (0: as the call says).
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn tile<V: Vector, const VECTORS: usize, const PIXELS: usize, const STEP: usize>(
    call: &TileCall<'_>,
) {
    let half = PIXELS / 2;
    let step = if STEP == 0 { call.step } else { STEP };
    // SAFETY: the caller's promise; offsets follow the call's own geometry.
    unsafe {
        let mut sums = [[V::splat(0.0); PIXELS]; VECTORS];
        for vector in 0..VECTORS {
            sums[vector] = [V::load(call.bias.add(vector * V::LANES)); PIXELS];
        }
        let mut weights = call.weights;
        for run in call.runs {
            let mut first = call.input[0].add(run.offset as usize);
            let mut second = call.input[1].add(run.offset as usize);
            let mut length = run.length;
            while V::BY_LANE && length >= QUAD as u32 {
                let mut inputs = [V::splat(0.0); PIXELS];
                for pixel in 0..PIXELS {
                    let input = if pixel < half { first.add(pixel * step) } else { second.add((pixel - half) * step) };
                    inputs[pixel] = V::load(input);
                }
                accumulate::<V, VECTORS, PIXELS, 0>(&mut sums, &inputs, weights);
                accumulate::<V, VECTORS, PIXELS, 1>(&mut sums, &inputs, weights.add(VECTORS * V::LANES));
                accumulate::<V, VECTORS, PIXELS, 2>(&mut sums, &inputs, weights.add(2 * VECTORS * V::LANES));
                accumulate::<V, VECTORS, PIXELS, 3>(&mut sums, &inputs, weights.add(3 * VECTORS * V::LANES));
                weights = weights.add(QUAD * VECTORS * V::LANES);
                first = first.add(QUAD);
                second = second.add(QUAD);
                length -= QUAD as u32;
            }
            for _ in 0..length {
                let mut row = [V::splat(0.0); VECTORS];
                for vector in 0..VECTORS {
                    row[vector] = V::load(weights.add(vector * V::LANES));
                }
                for pixel in 0..PIXELS {
                    let input = if pixel < half { first.add(pixel * step) } else { second.add((pixel - half) * step) };
                    let input = V::splat(*input);
                    for vector in 0..VECTORS {
                        sums[vector][pixel] = input.fma(row[vector], sums[vector][pixel]);
                    }
                }
                weights = weights.add(VECTORS * V::LANES);
                first = first.add(1);
                second = second.add(1);
            }
        }
        finish(call, &mut sums);
    }
}

/// What happens to the sums before they leave the registers.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn finish<V: Vector, const VECTORS: usize, const PIXELS: usize>(
    call: &TileCall<'_>,
    sums: &mut [[V; PIXELS]; VECTORS],
) {
    let half = PIXELS / 2;
    // SAFETY: the caller's promise.
    unsafe {
        if let Some(residual) = call.residual {
            for vector in 0..VECTORS {
                for pixel in 0..PIXELS {
                    let from =
                        residual[usize::from(pixel >= half)].add(place::<V>(vector, pixel, half, call.residual_block));
                    sums[vector][pixel] = sums[vector][pixel].add(V::load(from));
                }
            }
        }
        if let Some((low, high)) = call.clamp {
            let (low, high) = (V::splat(low), V::splat(high));
            for vector in 0..VECTORS {
                for pixel in 0..PIXELS {
                    sums[vector][pixel] = high.min(low.max(sums[vector][pixel]));
                }
            }
        }
        for vector in 0..VECTORS {
            for pixel in 0..PIXELS {
                let to =
                    call.output[usize::from(pixel >= half)].add(place::<V>(vector, pixel, half, call.output_block));
                sums[vector][pixel].store(to);
            }
        }
    }
}

/// Input floats that a vector holds whose lanes are taken one by one.
const QUAD: usize = 4;

/// Adds the products with one lane of the inputs.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn accumulate<V: Vector, const VECTORS: usize, const PIXELS: usize, const LANE: i32>(
    sums: &mut [[V; PIXELS]; VECTORS],
    inputs: &[V; PIXELS],
    weights: *const f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        for vector in 0..VECTORS {
            let row = V::load(weights.add(vector * V::LANES));
            for pixel in 0..PIXELS {
                sums[vector][pixel] = row.fma_lane::<LANE>(inputs[pixel], sums[vector][pixel]);
            }
        }
    }
}

/// Floats from the first pixel of its half to a vector of a pixel.
#[inline(always)]
fn place<V: Vector>(vector: usize, pixel: usize, half: usize, block: usize) -> usize {
    let of_block = LANES / V::LANES;
    let pixel = if pixel < half { pixel } else { pixel - half };
    vector / of_block * block + vector % of_block * V::LANES + pixel * LANES
}

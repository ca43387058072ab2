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

mod elements;
mod lanes;
mod strips;

use super::ahead::Ahead;
use crate::activation::Activation;
use crate::layout::LANES;
use crate::vector::{Vector, activate};
use elements::rest;
use lanes::{QUAD, block};
use strips::{PLANAR_STEP, strips};

/// Neighbouring input floats that a pixel's window covers, from the window's first float on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) offset: u32,
    pub(crate) length: u32,
}

/// The places of a tile's two halves: the first `PIXELS / 2` pixels, and the others. They may lie in two rows.
pub(crate) type Halves<T> = [T; 2];

/// Where a tile lies, in floats from where its call begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TilePlace {
    /// Each half's first window.
    pub(crate) input: Halves<usize>,
    /// Each half's first pixel, in the first of the tile's blocks.
    pub(crate) output: Halves<usize>,
    /// As `output`, where there is a residual.
    pub(crate) residual: Halves<usize>,
}

/// What one call computes: some tiles of one size.
#[derive(Debug)]
pub(crate) struct TileCall<'a> {
    pub(crate) tiles: &'a [TilePlace],
    /// Pixels and channels of a tile, for which kernels have constants.
    pub(crate) pixels: usize,
    pub(crate) channels: usize,
    /// Where the tiles' windows are counted from.
    pub(crate) input: *const f32,
    pub(crate) runs: &'a [Run],
    /// How many runs, from the first on, are of a whole block.
    pub(crate) whole: usize,
    /// Whether the [`READ_ON`] floats behind each run's last may be read, too; they are ignored.
    pub(crate) reads_on: bool,
    /// Floats between the windows of neighbouring pixels, where the kernel has no constant for it.
    pub(crate) step: usize,
    /// For each element of the runs, the channels of the tile.
    pub(crate) weights: *const f32,
    /// What is asked for meanwhile.
    pub(crate) ahead: Ahead,
    /// The channels of the tile.
    pub(crate) bias: *const f32,
    /// Whether sums go on from what a call before has left in the output, and not from the bias.
    pub(crate) goes_on: bool,
    /// Where the tiles' pixels are counted from.
    pub(crate) output: *mut f32,
    /// Floats from a block to the next.
    pub(crate) output_block: usize,
    /// Added before the activation; where it is counted from.
    pub(crate) residual: Option<*const f32>,
    pub(crate) residual_block: usize,
    /// What follows; only clamps and `HardSwish` are applied ([`Activation::is_applied_by_kernels`]).
    pub(crate) activation: Activation,
}

/// A compiled tile kernel.
pub(crate) type TileKernel = unsafe fn(&TileCall<'_>);

/// Floats behind a run that are read where [`TileCall::reads_on`] allows it.
pub(crate) const READ_ON: usize = QUAD - 1;

/// `VECTORS` vectors of output channels by `PIXELS` pixels, whose windows lie `STEP` floats apart (0: as the call says).
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn tile<V: Vector, const VECTORS: usize, const PIXELS: usize, const STEP: usize>(
    call: &TileCall<'_>,
) {
    let mut ahead = call.ahead.from;
    for place in call.tiles {
        // SAFETY: the caller's promise; offsets follow the call's own geometry.
        unsafe {
            let mut sums = [[V::splat(0.0); PIXELS]; VECTORS];
            // Where products take the time sums do not come in parts.
            if !V::BY_LANE && call.goes_on {
                let output = place.output.map(|floats| call.output.add(floats));
                resume(call, output, &mut sums);
            } else {
                for vector in 0..VECTORS {
                    sums[vector] = [V::load(call.bias.add(vector * V::LANES)); PIXELS];
                }
            }
            let input = place.input.map(|floats| call.input.add(floats));
            let (mut weights, mut runs) = (call.weights, call.runs.as_ptr());
            let end = runs.add(call.runs.len());
            if V::BY_LANE {
                let whole = runs.add(call.whole);
                while runs < whole {
                    block::<V, VECTORS, PIXELS, STEP>(
                        call,
                        &mut sums,
                        input.map(|at| at.add((*runs).offset as usize)),
                        &mut weights,
                    );
                    runs = runs.add(1);
                }
            }
            if V::BY_LANE && STEP == PLANAR_STEP && call.reads_on {
                // The windows of neighbouring pixels share most of their floats.
                strips::<V, VECTORS, PIXELS, 3>(&mut sums, input, (&mut runs, end), &mut weights);
                strips::<V, VECTORS, PIXELS, 5>(&mut sums, input, (&mut runs, end), &mut weights);
                strips::<V, VECTORS, PIXELS, 7>(&mut sums, input, (&mut runs, end), &mut weights);
            }
            while runs < end {
                rest::<V, VECTORS, PIXELS, STEP>(call, &mut sums, (input, *runs), (&mut weights, &mut ahead));
                runs = runs.add(1);
            }
            finish(call, place, &mut sums);
        }
    }
}

/// Reads the sums that a call before has left in the output.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn resume<V: Vector, const VECTORS: usize, const PIXELS: usize>(
    call: &TileCall<'_>,
    output: Halves<*mut f32>,
    sums: &mut [[V; PIXELS]; VECTORS],
) {
    let half = PIXELS / 2;
    for pixel in 0..PIXELS {
        for vector in 0..VECTORS {
            // SAFETY: the caller's promise.
            unsafe {
                let from = output[usize::from(pixel >= half)].add(place::<V>(vector, pixel, half, call.output_block));
                sums[vector][pixel] = V::load(from);
            }
        }
    }
}

/// Floats from a window to the next.
#[inline(always)]
fn step_of<const STEP: usize>(call: &TileCall<'_>) -> usize {
    if STEP == 0 { call.step } else { STEP }
}

/// What happens to the sums before they leave the registers.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn finish<V: Vector, const VECTORS: usize, const PIXELS: usize>(
    call: &TileCall<'_>,
    tile: &TilePlace,
    sums: &mut [[V; PIXELS]; VECTORS],
) {
    let half = PIXELS / 2;
    // SAFETY: the caller's promise.
    unsafe {
        if let Some(residual) = call.residual {
            let residual = tile.residual.map(|floats| residual.add(floats));
            for pixel in 0..PIXELS {
                for vector in 0..VECTORS {
                    let from =
                        residual[usize::from(pixel >= half)].add(place::<V>(vector, pixel, half, call.residual_block));
                    sums[vector][pixel] = sums[vector][pixel].add(V::load(from));
                }
            }
        }
        match call.activation {
            Activation::Clamp { low, high } => {
                let low = V::splat(low);
                for vector in 0..VECTORS {
                    for pixel in 0..PIXELS {
                        sums[vector][pixel] = low.max(sums[vector][pixel]);
                    }
                }
                if high < f32::INFINITY {
                    let high = V::splat(high);
                    for vector in 0..VECTORS {
                        for pixel in 0..PIXELS {
                            sums[vector][pixel] = high.min(sums[vector][pixel]);
                        }
                    }
                }
            }
            Activation::HardSwish { alpha, beta } => {
                for vector in 0..VECTORS {
                    for pixel in 0..PIXELS {
                        sums[vector][pixel] = activate(Activation::HardSwish { alpha, beta }, sums[vector][pixel]);
                    }
                }
            }
            _ => {}
        }
        let output = tile.output.map(|floats| call.output.add(floats));
        for pixel in 0..PIXELS {
            for vector in 0..VECTORS {
                let to = output[usize::from(pixel >= half)].add(place::<V>(vector, pixel, half, call.output_block));
                sums[vector][pixel].store(to);
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

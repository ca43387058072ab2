//! How a tile is summed where one lane of a vector multiplies: four neighbouring inputs of each pixel are loaded at once.

use super::{Halves, TileCall, step_of};
use crate::vector::Vector;

/// Input floats that a vector holds whose lanes are taken one by one.
pub(super) const QUAD: usize = 4;

/// Vectors of weights that one instruction loads.
const FOUR: usize = 4;

/// Adds the products with a run of a whole block.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(super) unsafe fn block<V: Vector, const VECTORS: usize, const PIXELS: usize, const STEP: usize>(
    call: &TileCall<'_>,
    sums: &mut [[V; PIXELS]; VECTORS],
    places: Halves<*const f32>,
    weights: &mut *const f32,
) {
    let step = step_of::<STEP>(call);
    // SAFETY: the caller's promise.
    unsafe {
        quad::<V, VECTORS, PIXELS>(sums, places, step, weights);
        quad::<V, VECTORS, PIXELS>(sums, places.map(|at| at.add(QUAD)), step, weights);
        quad::<V, VECTORS, PIXELS>(sums, places.map(|at| at.add(2 * QUAD)), step, weights);
        quad::<V, VECTORS, PIXELS>(sums, places.map(|at| at.add(3 * QUAD)), step, weights);
    }
}

/// The same where inputs are taken by lanes.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(super) unsafe fn by_lanes<V: Vector, const VECTORS: usize, const PIXELS: usize>(
    call: &TileCall<'_>,
    sums: &mut [[V; PIXELS]; VECTORS],
    (mut places, mut length): (Halves<*const f32>, usize),
    step: usize,
    weights: &mut *const f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        while length >= QUAD {
            quad::<V, VECTORS, PIXELS>(sums, places, step, weights);
            (places, length) = ([places[0].add(QUAD), places[1].add(QUAD)], length - QUAD);
        }
        if call.reads_on && length == QUAD - 1 {
            let inputs = windows::<V, PIXELS>(places, step);
            accumulate::<V, VECTORS, PIXELS, 0>(sums, &inputs, weights);
            accumulate::<V, VECTORS, PIXELS, 1>(sums, &inputs, weights);
            accumulate::<V, VECTORS, PIXELS, 2>(sums, &inputs, weights);
            return;
        }
        for _ in 0..length {
            one::<V, VECTORS, PIXELS>(sums, places, step, weights);
            places = [places[0].add(1), places[1].add(1)];
        }
    }
}

/// Adds the products with one input of each pixel: those are held, and the weights pass by, of which a tall tile has more
/// than there are registers.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn one<V: Vector, const VECTORS: usize, const PIXELS: usize>(
    sums: &mut [[V; PIXELS]; VECTORS],
    places: Halves<*const f32>,
    step: usize,
    weights: &mut *const f32,
) {
    let half = PIXELS / 2;
    // SAFETY: the caller's promise.
    unsafe {
        let mut inputs = [V::splat(0.0); PIXELS];
        for pixel in 0..PIXELS {
            let place = if pixel < half { places[0].add(pixel * step) } else { places[1].add((pixel - half) * step) };
            inputs[pixel] = V::splat(*place);
        }
        accumulate::<V, VECTORS, PIXELS, 0>(sums, &inputs, weights);
    }
}

/// Adds the products with four neighbouring inputs of each pixel.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn quad<V: Vector, const VECTORS: usize, const PIXELS: usize>(
    sums: &mut [[V; PIXELS]; VECTORS],
    places: Halves<*const f32>,
    step: usize,
    weights: &mut *const f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let inputs = windows::<V, PIXELS>(places, step);
        accumulate::<V, VECTORS, PIXELS, 0>(sums, &inputs, weights);
        accumulate::<V, VECTORS, PIXELS, 1>(sums, &inputs, weights);
        accumulate::<V, VECTORS, PIXELS, 2>(sums, &inputs, weights);
        accumulate::<V, VECTORS, PIXELS, 3>(sums, &inputs, weights);
    }
}

/// A vector from each pixel's window.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn windows<V: Vector, const PIXELS: usize>(places: Halves<*const f32>, step: usize) -> [V; PIXELS] {
    let half = PIXELS / 2;
    // SAFETY: the caller's promise.
    unsafe {
        let mut inputs = [V::splat(0.0); PIXELS];
        for pixel in 0..PIXELS {
            let place = if pixel < half { places[0].add(pixel * step) } else { places[1].add((pixel - half) * step) };
            inputs[pixel] = V::load(place);
        }
        inputs
    }
}

/// Adds the products with one lane of the inputs.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn accumulate<V: Vector, const VECTORS: usize, const PIXELS: usize, const LANE: i32>(
    sums: &mut [[V; PIXELS]; VECTORS],
    inputs: &[V; PIXELS],
    weights: &mut *const f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        // A tall tile's weights are most of what it loads. Of others, as many instructions are saved by loading two vectors of
        // inputs at once, for which there are registers beside two of weights.
        let fours = if PIXELS == 1 { VECTORS / FOUR } else { 0 };
        for four in 0..fours {
            let rows = V::load_four(weights);
            for vector in 0..FOUR {
                for pixel in 0..PIXELS {
                    let sum = &mut sums[four * FOUR + vector][pixel];
                    *sum = rows[vector].fma_lane::<LANE>(inputs[pixel], *sum);
                }
            }
        }
        for vector in fours * FOUR..VECTORS {
            let row = V::load(weights.add((vector - fours * FOUR) * V::LANES));
            for pixel in 0..PIXELS {
                sums[vector][pixel] = row.fma_lane::<LANE>(inputs[pixel], sums[vector][pixel]);
            }
        }
        *weights = weights.add((VECTORS - fours * FOUR) * V::LANES);
    }
}

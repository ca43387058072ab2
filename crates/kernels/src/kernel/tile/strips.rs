//! How a tile of a planar picture is summed by lanes: what windows share is loaded once.

use super::lanes::QUAD;
use super::{Halves, Run};
use crate::vector::Vector;

/// Floats between neighbouring windows of a planar picture that every second pixel is taken of.
pub(super) const PLANAR_STEP: usize = 2;

/// Vectors that hold the floats of all windows of half a tile.
const STRIP: usize = 4;

/// Adds the products with the next runs, as long as they are of `LENGTH` floats.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(super) unsafe fn strips<V: Vector, const VECTORS: usize, const PIXELS: usize, const LENGTH: usize>(
    sums: &mut [[V; PIXELS]; VECTORS],
    input: Halves<*const f32>,
    (runs, end): (&mut *const Run, *const Run),
    weights: &mut *const f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        while *runs < end && (**runs).length as usize == LENGTH {
            let offset = (**runs).offset as usize;
            strip::<V, VECTORS, PIXELS, LENGTH>(sums, input.map(|at| at.add(offset)), weights);
            *runs = runs.add(1);
        }
    }
}

/// Adds the products with a run of `LENGTH` floats whose windows lie [`PLANAR_STEP`] apart: each float is loaded once for
/// all windows of a half that see it.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn strip<V: Vector, const VECTORS: usize, const PIXELS: usize, const LENGTH: usize>(
    sums: &mut [[V; PIXELS]; VECTORS],
    [first, second]: Halves<*const f32>,
    weights: &mut *const f32,
) {
    const { assert!(!V::BY_LANE || (PIXELS.div_ceil(2) - 1) * PLANAR_STEP + LENGTH <= STRIP * QUAD) };
    let half = PIXELS / 2;
    // SAFETY: the caller's promise; the last vector of a half reaches at most READ_ON floats behind its last run.
    unsafe {
        let mut floats = [[V::splat(0.0); STRIP]; 2];
        for part in 0..STRIP {
            if half > 0 && part * QUAD < half.saturating_sub(1) * PLANAR_STEP + LENGTH {
                floats[0][part] = V::load(first.add(part * QUAD));
            }
            if part * QUAD < (PIXELS - half - 1) * PLANAR_STEP + LENGTH {
                floats[1][part] = V::load(second.add(part * QUAD));
            }
        }
        column::<V, VECTORS, PIXELS, LENGTH, 0>(sums, &floats, weights);
        column::<V, VECTORS, PIXELS, LENGTH, 1>(sums, &floats, weights);
        column::<V, VECTORS, PIXELS, LENGTH, 2>(sums, &floats, weights);
        column::<V, VECTORS, PIXELS, LENGTH, 3>(sums, &floats, weights);
        column::<V, VECTORS, PIXELS, LENGTH, 4>(sums, &floats, weights);
        column::<V, VECTORS, PIXELS, LENGTH, 5>(sums, &floats, weights);
        column::<V, VECTORS, PIXELS, LENGTH, 6>(sums, &floats, weights);
    }
}

/// Adds the products with one column of all windows of a strip, if there is such a column.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn column<V: Vector, const VECTORS: usize, const PIXELS: usize, const LENGTH: usize, const COLUMN: usize>(
    sums: &mut [[V; PIXELS]; VECTORS],
    floats: &[[V; STRIP]; 2],
    weights: &mut *const f32,
) {
    if COLUMN >= LENGTH {
        return;
    }
    let half = PIXELS / 2;
    // SAFETY: the caller's promise.
    unsafe {
        for vector in 0..VECTORS {
            let row = V::load(weights.add(vector * V::LANES));
            for pixel in 0..PIXELS {
                let (side, of_half) = if pixel < half { (0, pixel) } else { (1, pixel - half) };
                let at = of_half * PLANAR_STEP + COLUMN;
                let (factors, sum) = (floats[side][at / QUAD], sums[vector][pixel]);
                sums[vector][pixel] = match at % QUAD {
                    0 => row.fma_lane::<0>(factors, sum),
                    1 => row.fma_lane::<1>(factors, sum),
                    2 => row.fma_lane::<2>(factors, sum),
                    _ => row.fma_lane::<3>(factors, sum),
                };
            }
        }
        *weights = weights.add(VECTORS * V::LANES);
    }
}

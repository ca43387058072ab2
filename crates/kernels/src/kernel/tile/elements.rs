//! How a tile is summed element by element: an input is loaded for all lanes of a vector, and weights are held.

use super::lanes::by_lanes;
use super::strips::PLANAR_STEP;
use super::{Halves, Run, TileCall, step_of};
use crate::kernel::ahead::ASKED;
use crate::vector::Vector;

/// An expression for each of these constants.
macro_rules! for_each {
    ($name:ident in [$($value:literal),*]: $each:expr) => {
        $({
            const $name: usize = $value;
            $each
        })*
    };
}

/// Adds the products with a run of any length.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(super) unsafe fn rest<V: Vector, const VECTORS: usize, const PIXELS: usize, const STEP: usize>(
    call: &TileCall<'_>,
    sums: &mut [[V; PIXELS]; VECTORS],
    (input, run): (Halves<*const f32>, Run),
    (weights, ahead): (&mut *const f32, &mut *const f32),
) {
    let step = step_of::<STEP>(call);
    // SAFETY: the caller's promise.
    unsafe {
        let mut places = input.map(|at| at.add(run.offset as usize));
        if V::BY_LANE {
            return by_lanes::<V, VECTORS, PIXELS>(call, sums, (places, run.length as usize), step, weights);
        }
        let mut length = run.length as usize;
        // Runs of a planar picture are short; and where nothing is written out, the compiler takes more registers than there are.
        let is_written_out = V::EMBEDS || (V::SPLATS && VECTORS == 2);
        while is_written_out && STEP > PLANAR_STEP && length >= ASKED {
            call.ahead.ask(ahead);
            for_each!(ELEMENT in [0, 1, 2, 3]:
                element::<V, VECTORS, PIXELS, STEP, ELEMENT>(sums, places, step, *weights));
            *weights = weights.add(ASKED * VECTORS * V::LANES);
            (places, length) = (places.map(|at| at.add(ASKED)), length - ASKED);
        }
        while length > 0 {
            call.ahead.ask(ahead);
            let part = length.min(ASKED);
            for _ in 0..part {
                element::<V, VECTORS, PIXELS, STEP, 0>(sums, places, step, *weights);
                *weights = weights.add(VECTORS * V::LANES);
                places = [places[0].add(1), places[1].add(1)];
            }
            length -= part;
        }
    }
}

/// Pixels of a tile at most that [`element`] goes over.
const MOST_PIXELS: usize = 14;

/// Adds the products with one input of a pixel, if a tile has it. Of two vectors of weights, every second pixel's input is read
/// by either's multiplication, where it can: that is an instruction less for each, and the loads have room for it.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn pixel<
    V: Vector,
    const VECTORS: usize,
    const PIXELS: usize,
    const STEP: usize,
    const ELEMENT: usize,
    const PIXEL: usize,
>(
    sums: &mut [[V; PIXELS]; VECTORS],
    row: &[V; VECTORS],
    places: Halves<*const f32>,
    step: usize,
) {
    if PIXEL >= PIXELS {
        return;
    }
    let half = PIXELS / 2;
    // SAFETY: the caller's promise.
    unsafe {
        // The largest tile leaves no register to read an input to.
        if V::EMBEDS && STEP > 0 && VECTORS == 2 && (PIXEL % 2 == 1 || PIXELS == MOST_PIXELS) {
            for vector in 0..VECTORS {
                sums[vector][PIXEL] =
                    row[vector].fma_embedded::<PIXEL, PIXELS, STEP, ELEMENT>(places, sums[vector][PIXEL]);
            }
            return;
        }
        if V::SPLATS && STEP > 0 && VECTORS == 2 {
            let found = [sums[0][PIXEL], sums[1][PIXEL]];
            let [first, second] = V::fma_splat::<PIXEL, PIXELS, STEP, ELEMENT>([row[0], row[1]], places, found);
            (sums[0][PIXEL], sums[1][PIXEL]) = (first, second);
            return;
        }
        let place = if PIXEL < half { places[0].add(PIXEL * step) } else { places[1].add((PIXEL - half) * step) };
        let input = V::splat(*place.add(ELEMENT));
        for vector in 0..VECTORS {
            sums[vector][PIXEL] = input.fma(row[vector], sums[vector][PIXEL]);
        }
    }
}

/// Adds the products with an element, counted from where inputs and weights begin, whose weights are held while the pixels pass by.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn element<V: Vector, const VECTORS: usize, const PIXELS: usize, const STEP: usize, const ELEMENT: usize>(
    sums: &mut [[V; PIXELS]; VECTORS],
    places: Halves<*const f32>,
    step: usize,
    weights: *const f32,
) {
    const { assert!(V::BY_LANE || PIXELS <= MOST_PIXELS) };
    // SAFETY: the caller's promise.
    unsafe {
        let mut row = [V::splat(0.0); VECTORS];
        for vector in 0..VECTORS {
            row[vector] = V::load(weights.add((ELEMENT * VECTORS + vector) * V::LANES));
        }
        for_each!(PIXEL in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]:
            pixel::<V, VECTORS, PIXELS, STEP, ELEMENT, PIXEL>(sums, &row, places, step));
    }
}

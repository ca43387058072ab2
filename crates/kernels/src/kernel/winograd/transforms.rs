//! Winograd's transforms of a patch's pixels and of its sums: one dimension after the other, whose methods may differ.

use super::method::Method;
use super::{PatchCall, SumCall};
use crate::layout::LANES;
use crate::vector::Vector;

/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn transform_patch<
    V: Vector,
    R: Method<ROWS, HEIGHT>,
    C: Method<COLUMNS, WIDTH>,
    const ROWS: usize,
    const HEIGHT: usize,
    const COLUMNS: usize,
    const WIDTH: usize,
>(
    call: &PatchCall,
) {
    // SAFETY: the caller's promise.
    unsafe {
        // Most patches exist as a whole, and need not ask for each pixel.
        if call.inside == (ROWS, COLUMNS) {
            patch_of::<V, R, C, ROWS, HEIGHT, COLUMNS, WIDTH, true>(call);
        } else {
            patch_of::<V, R, C, ROWS, HEIGHT, COLUMNS, WIDTH, false>(call);
        }
    }
}

/// # Safety
/// As for every kernel (`kernel.rs`); a patch is `WHOLE` only if all of it exists.
#[inline(always)]
unsafe fn patch_of<
    V: Vector,
    R: Method<ROWS, HEIGHT>,
    C: Method<COLUMNS, WIDTH>,
    const ROWS: usize,
    const HEIGHT: usize,
    const COLUMNS: usize,
    const WIDTH: usize,
    const WHOLE: bool,
>(
    call: &PatchCall,
) {
    let offsets = offsets::<V, COLUMNS>(C::PLACES, call.plane);
    for lane in (0..LANES).step_by(V::LANES) {
        // SAFETY: the caller's promise; pixels that do not exist are not read.
        unsafe {
            let zero = V::splat(0.0);
            let mut half = [[zero; COLUMNS]; ROWS];
            for x in 0..COLUMNS {
                let mut column = [zero; ROWS];
                for y in 0..ROWS {
                    if WHOLE || (y < call.inside.0 && x < call.inside.1) {
                        column[y] = V::load(call.input.add(y * call.row + x * LANES + lane));
                    }
                }
                let column = R::spread(column);
                for y in 0..ROWS {
                    half[y][x] = column[y];
                }
            }
            for y in 0..ROWS {
                let row = C::spread(half[y]);
                for x in 0..COLUMNS {
                    row[x].store(call.output.add(R::PLACES[y] * C::SIDE * call.plane + lane).byte_add(offsets[x]));
                }
            }
        }
    }
}

/// Where the numbers of a row, or a column, of a patch lie, whose places are so many floats apart, in bytes.
#[inline(always)]
fn offsets<V: Vector, const PATCH: usize>(places: [usize; PATCH], apart: usize) -> [usize; PATCH] {
    let mut offsets = [0; PATCH];
    for x in 1..PATCH {
        // Else there would be an address for each number, more than there are registers.
        offsets[x] = V::settled(places[x] * apart * size_of::<f32>());
    }
    offsets
}

/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn transform_sums<
    V: Vector,
    R: Method<ROWS, HEIGHT>,
    C: Method<COLUMNS, WIDTH>,
    const ROWS: usize,
    const HEIGHT: usize,
    const COLUMNS: usize,
    const WIDTH: usize,
>(
    call: &SumCall,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if call.inside == (HEIGHT, WIDTH) {
            sums_of::<V, R, C, ROWS, HEIGHT, COLUMNS, WIDTH, true>(call);
        } else {
            sums_of::<V, R, C, ROWS, HEIGHT, COLUMNS, WIDTH, false>(call);
        }
    }
}

/// # Safety
/// As for every kernel (`kernel.rs`); a patch is `WHOLE` only if all of it is inside the picture.
#[inline(always)]
unsafe fn sums_of<
    V: Vector,
    R: Method<ROWS, HEIGHT>,
    C: Method<COLUMNS, WIDTH>,
    const ROWS: usize,
    const HEIGHT: usize,
    const COLUMNS: usize,
    const WIDTH: usize,
    const WHOLE: bool,
>(
    call: &SumCall,
) {
    let columns = offsets::<V, COLUMNS>(C::PLACES, call.plane);
    let rows = offsets::<V, ROWS>(R::PLACES, C::SIDE * call.plane);
    for lane in (0..LANES).step_by(V::LANES) {
        // SAFETY: the caller's promise; pixels outside the picture are not written.
        unsafe {
            let mut half = [[V::splat(0.0); COLUMNS]; HEIGHT];
            for x in 0..COLUMNS {
                let mut column = [V::splat(0.0); ROWS];
                let first = call.input.add(lane).byte_add(columns[x]);
                for y in 0..ROWS {
                    column[y] = V::load(first.byte_add(rows[y]));
                }
                let column = R::gather(column);
                for y in 0..HEIGHT {
                    half[y][x] = column[y];
                }
            }
            let bias = V::load(call.bias.add(lane));
            // Constant bounds, so that nothing is checked and nothing can panic.
            for y in 0..HEIGHT {
                if !WHOLE && y >= call.inside.0 {
                    continue;
                }
                let mut row = C::gather(half[y]);
                for x in 0..WIDTH {
                    row[x] = row[x].add(bias);
                }
                if let Some((residual, step)) = call.residual {
                    for x in 0..WIDTH {
                        if WHOLE || x < call.inside.1 {
                            row[x] = row[x].add(V::load(residual.add(y * step + x * LANES + lane)));
                        }
                    }
                }
                if let Some((low, high)) = call.clamp {
                    for x in 0..WIDTH {
                        row[x] = V::splat(low).max(row[x]);
                    }
                    if high < f32::INFINITY {
                        for x in 0..WIDTH {
                            row[x] = V::splat(high).min(row[x]);
                        }
                    }
                }
                for x in 0..WIDTH {
                    if WHOLE || x < call.inside.1 {
                        row[x].store(call.output.add(y * call.row + x * LANES + lane));
                    }
                }
            }
        }
    }
}

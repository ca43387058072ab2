//! The two ends of Winograd's F(4×4, 3×3): from 6 × 6 pixels of the input to 36 numbers, and from 36 sums to 4 × 4 pixels
//! of the output. Between them lie 36 products of matrices, which the tile kernel computes: 36 multiplications for 16
//! pixels instead of 144 (Lavin and Gray, 2015; the points are 0, ±1, ±2 and ∞).

use crate::layout::LANES;
use crate::vector::Vector;

/// Pixels of a side of the input's patch, and numbers of a side of its transform.
pub(crate) const PATCH: usize = 6;

/// Pixels of a side of the output's patch.
pub(crate) const OUTPUT: usize = 4;

/// What one call of the first transform computes: one patch of one channel block.
#[derive(Debug)]
pub(crate) struct PatchCall {
    /// The patch's first pixel.
    pub(crate) input: *const f32,
    /// Floats from a row to the next.
    pub(crate) row: usize,
    /// Rows and columns of the patch that exist; others count as zeros.
    pub(crate) inside: (usize, usize),
    /// The first of 36 numbers.
    pub(crate) output: *mut f32,
    /// Floats from a number to the next.
    pub(crate) plane: usize,
}

/// What one call of the second transform computes: one patch of one channel block.
#[derive(Debug)]
pub(crate) struct SumCall {
    /// The first of 36 sums.
    pub(crate) input: *const f32,
    /// Floats from a sum to the next.
    pub(crate) plane: usize,
    /// Sixteen channels.
    pub(crate) bias: *const f32,
    /// Added before the clamp: its first pixel, and floats from a row to the next.
    pub(crate) residual: Option<(*const f32, usize)>,
    /// Least and greatest result.
    pub(crate) clamp: Option<(f32, f32)>,
    /// The patch's first pixel.
    pub(crate) output: *mut f32,
    /// Floats from a row to the next.
    pub(crate) row: usize,
    /// Rows and columns of the patch that are inside the picture.
    pub(crate) inside: (usize, usize),
}

/// A compiled first transform.
pub(crate) type PatchKernel = unsafe fn(&PatchCall);
/// A compiled second transform.
pub(crate) type SumKernel = unsafe fn(&SumCall);

/// Filters go through this on both sides: 6 × 3.
pub(crate) const FILTER: [[f64; 3]; PATCH] = [
    [1.0 / 4.0, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];

/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn transform_patch<V: Vector>(call: &PatchCall) {
    for lane in (0..LANES).step_by(V::LANES) {
        // SAFETY: the caller's promise; pixels that do not exist are not read.
        unsafe {
            let zero = V::splat(0.0);
            let mut half = [[zero; PATCH]; PATCH];
            for x in 0..PATCH {
                let mut column = [zero; PATCH];
                for y in 0..PATCH {
                    if y < call.inside.0 && x < call.inside.1 {
                        column[y] = V::load(call.input.add(y * call.row + x * LANES + lane));
                    }
                }
                let column = spread(column);
                for y in 0..PATCH {
                    half[y][x] = column[y];
                }
            }
            for y in 0..PATCH {
                let row = spread(half[y]);
                for x in 0..PATCH {
                    row[x].store(call.output.add((y * PATCH + x) * call.plane + lane));
                }
            }
        }
    }
}

/// One dimension of the first transform.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn spread<V: Vector>(d: [V; PATCH]) -> [V; PATCH] {
    // SAFETY: the caller's promise.
    unsafe {
        let (two, four, five) = (V::splat(2.0), V::splat(4.0), V::splat(-5.0));
        let even = d[2].fma(V::splat(-4.0), d[4]);
        let odd = d[1].fma(V::splat(-4.0), d[3]);
        let near = d[4].sub(d[2]);
        let far = d[3].sub(d[1]).mul(two);
        [
            d[0].fma(four, d[2].fma(five, d[4])),
            even.add(odd),
            even.sub(odd),
            near.add(far),
            near.sub(far),
            d[1].fma(four, d[3].fma(five, d[5])),
        ]
    }
}

/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn transform_sums<V: Vector>(call: &SumCall) {
    for lane in (0..LANES).step_by(V::LANES) {
        // SAFETY: the caller's promise; pixels outside the picture are not written.
        unsafe {
            let mut half = [[V::splat(0.0); PATCH]; OUTPUT];
            for x in 0..PATCH {
                let mut column = [V::splat(0.0); PATCH];
                for y in 0..PATCH {
                    column[y] = V::load(call.input.add((y * PATCH + x) * call.plane + lane));
                }
                let column = gather(column);
                for y in 0..OUTPUT {
                    half[y][x] = column[y];
                }
            }
            let bias = V::load(call.bias.add(lane));
            // Constant bounds, so that nothing is checked and nothing can panic.
            for y in 0..OUTPUT {
                let row = gather(half[y]);
                for x in 0..OUTPUT {
                    if y >= call.inside.0 || x >= call.inside.1 {
                        continue;
                    }
                    let mut sum = row[x].add(bias);
                    if let Some((residual, step)) = call.residual {
                        sum = sum.add(V::load(residual.add(y * step + x * LANES + lane)));
                    }
                    if let Some((low, high)) = call.clamp {
                        sum = V::splat(high).min(V::splat(low).max(sum));
                    }
                    sum.store(call.output.add(y * call.row + x * LANES + lane));
                }
            }
        }
    }
}

/// One dimension of the second transform.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn gather<V: Vector>(m: [V; PATCH]) -> [V; OUTPUT] {
    // SAFETY: the caller's promise.
    unsafe {
        let (sum, difference) = (m[1].add(m[2]), m[1].sub(m[2]));
        let (far_sum, far_difference) = (m[3].add(m[4]), m[3].sub(m[4]));
        [
            m[0].add(sum).add(far_sum),
            far_difference.fma(V::splat(2.0), difference),
            far_sum.fma(V::splat(4.0), sum),
            far_difference.fma(V::splat(8.0), difference).add(m[5]),
        ]
    }
}

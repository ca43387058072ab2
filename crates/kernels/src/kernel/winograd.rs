//! The two ends of Winograd's F(4×4, 3×3) and F(2×2, 3×3): from 6 × 6 pixels of the input to 36 numbers, and from 36 sums to
//! 4 × 4 pixels of the output; or from 4 × 4 to 16, and to 2 × 2. Between them lie 36, or 16, products of matrices, which the
//! tile kernel computes: 36 multiplications for 16 pixels instead of 144, or 16 for 4 instead of 36 (Lavin and Gray, 2015;
//! the points are 0, ±1, ∞, and ±2 for the larger).
//!
//! With stride 2 a side's even pixels meet the filter's first and last element alone, which is a convolution of two elements
//! and stride 1, and the odd ones its middle one, which is no more than a product. The even ones go by F(4, 2), the odd ones
//! as they are: from 9 × 9 pixels to 81 numbers and 4 × 4 pixels, 81 multiplications instead of 144; or from 5 × 5 to 25 and
//! 2 × 2, 25 instead of 36. All odd ones share a filter, so that filters have 36, or 16, numbers here, too.

use crate::layout::LANES;
use crate::vector::Vector;

/// How large patches are.
#[derive(Debug)]
pub(crate) struct Size {
    /// Pixels of a side of the input's patch, and numbers of a side of its transform.
    pub(crate) patch: usize,
    /// Pixels of a side of the output's patch.
    pub(crate) output: usize,
    /// Pixels from a window to the next, in both directions.
    pub(crate) stride: usize,
    /// Filters go through this on both sides.
    pub(crate) filter: &'static [[f64; 3]],
    /// For each number of a side of a patch's transform, the row of `filter` that it is multiplied with.
    pub(crate) rows: &'static [usize],
}

impl Size {
    /// Numbers of a transformed patch.
    pub(crate) fn planes(&self) -> usize {
        self.patch * self.patch
    }

    /// Numbers of a transformed filter.
    pub(crate) fn filters(&self) -> usize {
        self.filter.len() * self.filter.len()
    }

    /// The number of a filter that a number of a patch is multiplied with.
    pub(crate) fn filter_of(&self, plane: usize) -> usize {
        self.rows[plane / self.patch] * self.filter.len() + self.rows[plane % self.patch]
    }
}

/// The transforms of a size, compiled.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) size: &'static Size,
    pub(crate) patch: PatchKernel,
    pub(crate) sums: SumKernel,
}

/// F(4×4, 3×3).
pub(crate) static FOUR: Size = Size {
    patch: 6,
    output: 4,
    stride: 1,
    filter: &[
        [1.0 / 4.0, 0.0, 0.0],
        [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
        [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
        [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
        [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
        [0.0, 0.0, 1.0],
    ],
    rows: &[0, 1, 2, 3, 4, 5],
};

/// F(2×2, 3×3).
pub(crate) static TWO: Size = Size {
    patch: 4,
    output: 2,
    stride: 1,
    filter: &[[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]],
    rows: &[0, 1, 2, 3],
};

/// Stride 2: the even pixels by F(4, 2), whose points are 0, ±1, 2 and ∞, then the odd ones.
pub(crate) static FOUR_STRIDED: Size = Size {
    patch: 9,
    output: 4,
    stride: 2,
    filter: &[
        [1.0 / 2.0, 0.0, 0.0],
        [-1.0 / 2.0, 0.0, -1.0 / 2.0],
        [-1.0 / 6.0, 0.0, 1.0 / 6.0],
        [1.0 / 6.0, 0.0, 1.0 / 3.0],
        [0.0, 0.0, 1.0],
        [0.0, 1.0, 0.0],
    ],
    rows: &[0, 1, 2, 3, 4, 5, 5, 5, 5],
};

/// Stride 2: the even pixels by F(2, 2), whose points are 0, 1 and ∞, then the odd ones.
pub(crate) static TWO_STRIDED: Size = Size {
    patch: 5,
    output: 2,
    stride: 2,
    filter: &[[1.0, 0.0, 0.0], [1.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]],
    rows: &[0, 1, 2, 3, 3],
};

/// One dimension of both transforms.
pub(crate) trait Method<const PATCH: usize, const OUTPUT: usize> {
    /// # Safety
    /// As for every kernel (`kernel.rs`).
    unsafe fn spread<V: Vector>(pixels: [V; PATCH]) -> [V; PATCH];

    /// # Safety
    /// As for every kernel (`kernel.rs`).
    unsafe fn gather<V: Vector>(sums: [V; PATCH]) -> [V; OUTPUT];
}

#[derive(Debug)]
pub(crate) struct Four;

impl Method<6, 4> for Four {
    #[inline(always)]
    unsafe fn spread<V: Vector>(d: [V; 6]) -> [V; 6] {
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

    #[inline(always)]
    unsafe fn gather<V: Vector>(m: [V; 6]) -> [V; 4] {
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
}

#[derive(Debug)]
pub(crate) struct Two;

impl Method<4, 2> for Two {
    #[inline(always)]
    unsafe fn spread<V: Vector>([a, b, c, d]: [V; 4]) -> [V; 4] {
        // SAFETY: the caller's promise.
        unsafe { [a.sub(c), b.add(c), c.sub(b), d.sub(b)] }
    }

    #[inline(always)]
    unsafe fn gather<V: Vector>([a, b, c, d]: [V; 4]) -> [V; 2] {
        // SAFETY: the caller's promise.
        unsafe { [a.add(b).add(c), b.sub(c).add(d)] }
    }
}

#[derive(Debug)]
pub(crate) struct FourStrided;

impl Method<9, 4> for FourStrided {
    #[inline(always)]
    unsafe fn spread<V: Vector>([a, o0, b, o1, c, o2, d, o3, e]: [V; 9]) -> [V; 9] {
        // SAFETY: the caller's promise.
        unsafe {
            let (two, minus) = (V::splat(2.0), V::splat(-2.0));
            let near = d.sub(b);
            [
                a.sub(c).fma(two, near),
                b.fma(minus, d.sub(c)),
                b.fma(two, c.fma(V::splat(-3.0), d)),
                near,
                near.fma(minus, e.sub(c)),
                o0,
                o1,
                o2,
                o3,
            ]
        }
    }

    #[inline(always)]
    unsafe fn gather<V: Vector>([a, b, c, d, e, o0, o1, o2, o3]: [V; 9]) -> [V; 4] {
        // SAFETY: the caller's promise.
        unsafe {
            let (sum, difference) = (b.add(c), b.sub(c));
            [
                a.add(sum).add(d.add(o0)),
                d.fma(V::splat(2.0), difference.add(o1)),
                d.fma(V::splat(4.0), sum.add(o2)),
                d.fma(V::splat(8.0), difference.add(e.add(o3))),
            ]
        }
    }
}

#[derive(Debug)]
pub(crate) struct TwoStrided;

impl Method<5, 2> for TwoStrided {
    #[inline(always)]
    unsafe fn spread<V: Vector>([a, o0, b, o1, c]: [V; 5]) -> [V; 5] {
        // SAFETY: the caller's promise.
        unsafe { [a.sub(b), b, c.sub(b), o0, o1] }
    }

    #[inline(always)]
    unsafe fn gather<V: Vector>([a, b, c, o0, o1]: [V; 5]) -> [V; 2] {
        // SAFETY: the caller's promise.
        unsafe { [a.add(b).add(o0), b.add(c).add(o1)] }
    }
}

/// What one call of the first transform computes: one patch of one channel block.
#[derive(Debug)]
pub(crate) struct PatchCall {
    /// The patch's first pixel.
    pub(crate) input: *const f32,
    /// Floats from a row to the next.
    pub(crate) row: usize,
    /// Rows and columns of the patch that exist; others count as zeros.
    pub(crate) inside: (usize, usize),
    /// The first of its numbers.
    pub(crate) output: *mut f32,
    /// Floats from a number to the next.
    pub(crate) plane: usize,
}

/// What one call of the second transform computes: one patch of one channel block.
#[derive(Debug)]
pub(crate) struct SumCall {
    /// The first of its sums.
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

/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn transform_patch<V: Vector, M: Method<PATCH, OUTPUT>, const PATCH: usize, const OUTPUT: usize>(
    call: &PatchCall,
) {
    // SAFETY: the caller's promise.
    unsafe {
        // Most patches are whole, and need not ask for each pixel.
        if call.inside == (PATCH, PATCH) {
            patch_of::<V, M, PATCH, OUTPUT, true>(call);
        } else {
            patch_of::<V, M, PATCH, OUTPUT, false>(call);
        }
    }
}

/// # Safety
/// As for every kernel (`kernel.rs`); a patch is `WHOLE` only if all of it exists.
#[inline(always)]
unsafe fn patch_of<V: Vector, M: Method<PATCH, OUTPUT>, const PATCH: usize, const OUTPUT: usize, const WHOLE: bool>(
    call: &PatchCall,
) {
    let offsets = offsets::<V, PATCH>(call.plane);
    for lane in (0..LANES).step_by(V::LANES) {
        // SAFETY: the caller's promise; pixels that do not exist are not read.
        unsafe {
            let zero = V::splat(0.0);
            let mut half = [[zero; PATCH]; PATCH];
            for x in 0..PATCH {
                let mut column = [zero; PATCH];
                for y in 0..PATCH {
                    if WHOLE || (y < call.inside.0 && x < call.inside.1) {
                        column[y] = V::load(call.input.add(y * call.row + x * LANES + lane));
                    }
                }
                let column = M::spread(column);
                for y in 0..PATCH {
                    half[y][x] = column[y];
                }
            }
            for y in 0..PATCH {
                let row = M::spread(half[y]);
                for x in 0..PATCH {
                    row[x].store(call.output.add(y * PATCH * call.plane + lane).byte_add(offsets[x]));
                }
            }
        }
    }
}

/// Where the numbers of a row, or a column, of a patch lie, so many floats apart, in bytes.
#[inline(always)]
fn offsets<V: Vector, const PATCH: usize>(apart: usize) -> [usize; PATCH] {
    let mut offsets = [0; PATCH];
    for x in 1..PATCH {
        // Else there would be an address for each number, more than there are registers.
        offsets[x] = V::settled(x * apart * size_of::<f32>());
    }
    offsets
}

/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn transform_sums<V: Vector, M: Method<PATCH, OUTPUT>, const PATCH: usize, const OUTPUT: usize>(
    call: &SumCall,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if call.inside == (OUTPUT, OUTPUT) {
            sums_of::<V, M, PATCH, OUTPUT, true>(call);
        } else {
            sums_of::<V, M, PATCH, OUTPUT, false>(call);
        }
    }
}

/// # Safety
/// As for every kernel (`kernel.rs`); a patch is `WHOLE` only if all of it is inside the picture.
#[inline(always)]
unsafe fn sums_of<V: Vector, M: Method<PATCH, OUTPUT>, const PATCH: usize, const OUTPUT: usize, const WHOLE: bool>(
    call: &SumCall,
) {
    let (offsets, rows) = (offsets::<V, PATCH>(call.plane), offsets::<V, PATCH>(PATCH * call.plane));
    for lane in (0..LANES).step_by(V::LANES) {
        // SAFETY: the caller's promise; pixels outside the picture are not written.
        unsafe {
            let mut half = [[V::splat(0.0); PATCH]; OUTPUT];
            for x in 0..PATCH {
                let mut column = [V::splat(0.0); PATCH];
                let first = call.input.add(lane).byte_add(offsets[x]);
                for y in 0..PATCH {
                    column[y] = V::load(first.byte_add(rows[y]));
                }
                let column = M::gather(column);
                for y in 0..OUTPUT {
                    half[y][x] = column[y];
                }
            }
            let bias = V::load(call.bias.add(lane));
            // Constant bounds, so that nothing is checked and nothing can panic.
            for y in 0..OUTPUT {
                if !WHOLE && y >= call.inside.0 {
                    continue;
                }
                let mut row = M::gather(half[y]);
                for x in 0..OUTPUT {
                    row[x] = row[x].add(bias);
                }
                if let Some((residual, step)) = call.residual {
                    for x in 0..OUTPUT {
                        if WHOLE || x < call.inside.1 {
                            row[x] = row[x].add(V::load(residual.add(y * step + x * LANES + lane)));
                        }
                    }
                }
                if let Some((low, high)) = call.clamp {
                    for x in 0..OUTPUT {
                        row[x] = V::splat(low).max(row[x]);
                    }
                    if high < f32::INFINITY {
                        for x in 0..OUTPUT {
                            row[x] = V::splat(high).min(row[x]);
                        }
                    }
                }
                for x in 0..OUTPUT {
                    if WHOLE || x < call.inside.1 {
                        row[x].store(call.output.add(y * call.row + x * LANES + lane));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::portable::Portable;

    /// A dimension's sums are those of the direct convolution.
    fn check<M: Method<PATCH, OUTPUT>, const PATCH: usize, const OUTPUT: usize>(size: &Size) {
        assert_eq!((size.patch, size.output, size.rows.len()), (PATCH, OUTPUT, PATCH));
        let (pixels, filter) = ([3.0, -1.0, 4.0, -1.5, 5.0, -9.0, 2.5, -6.0, 5.5], [2.0, -7.0, 1.5]);
        let mut found = [0.0; LANES];
        // SAFETY: plain floats of this function; the portable vector needs no instruction set.
        unsafe {
            let spread = M::spread(std::array::from_fn(|place| Portable::splat(pixels[place])));
            let products = std::array::from_fn(|place| {
                let weight: f64 = (0..3).map(|at| size.filter[size.rows[place]][at] * filter[at]).sum();
                spread[place].mul(Portable::splat(weight as f32))
            });
            for (at, sum) in M::gather(products).into_iter().enumerate() {
                sum.store(found.as_mut_ptr());
                let direct: f64 = (0..3).map(|tap| f64::from(pixels[at * size.stride + tap]) * filter[tap]).sum();
                assert!((f64::from(found[0]) - direct).abs() < 1e-4, "{at}: {} for {direct}", found[0]);
            }
        }
    }

    #[test]
    fn all_sizes_give_the_direct_sums() {
        check::<Four, 6, 4>(&FOUR);
        check::<Two, 4, 2>(&TWO);
        check::<FourStrided, 9, 4>(&FOUR_STRIDED);
        check::<TwoStrided, 5, 2>(&TWO_STRIDED);
    }
}

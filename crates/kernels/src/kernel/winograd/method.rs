//! One dimension of Winograd's transforms: from a patch's pixels to its numbers, and from sums to pixels.

use crate::vector::Vector;

/// One dimension of both transforms, of `PATCH` pixels and `OUTPUT` of the output.
pub(crate) trait Method<const PATCH: usize, const OUTPUT: usize> {
    /// Numbers of a side of a whole patch.
    const SIDE: usize = PATCH;
    /// Where this one's are among them.
    const PLACES: [usize; PATCH];

    /// # Safety
    /// As for every kernel (`kernel.rs`).
    unsafe fn spread<V: Vector>(pixels: [V; PATCH]) -> [V; PATCH];

    /// # Safety
    /// As for every kernel (`kernel.rs`).
    unsafe fn gather<V: Vector>(sums: [V; PATCH]) -> [V; OUTPUT];
}

/// F(4, 3), of the points 0, ±1, ±2 and ∞.
#[derive(Debug)]
pub(crate) struct Four;

impl Method<6, 4> for Four {
    const PLACES: [usize; 6] = [0, 1, 2, 3, 4, 5];

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
            let four = V::splat(-4.0);
            [
                far_sum.fma(V::splat(-0.5), m[0].add(sum)),
                difference.sub(far_difference),
                far_sum.fma(V::splat(-2.0), sum),
                m[5].fma(four, far_difference.fma(four, difference)),
            ]
        }
    }
}

/// F(3, 3), of the points of [`Four`] but -2.
#[derive(Debug)]
pub(crate) struct Three;

impl Method<5, 3> for Three {
    const SIDE: usize = 6;
    const PLACES: [usize; 5] = [0, 1, 2, 3, 5];

    #[inline(always)]
    unsafe fn spread<V: Vector>(pixels: [V; 5]) -> [V; 5] {
        // SAFETY: the caller's promise.
        unsafe { by_four_points(pixels) }
    }

    #[inline(always)]
    unsafe fn gather<V: Vector>([a, b, c, d, e]: [V; 5]) -> [V; 3] {
        // SAFETY: the caller's promise.
        unsafe {
            let (sum, difference) = (b.add(c), b.sub(c));
            let (two, three, four) = (V::splat(2.0), V::splat(-3.0), V::splat(-4.0));
            [
                a.sub(d).fma(two, sum.mul(three)),
                d.fma(four, difference.mul(three)),
                d.fma(two, e).fma(four, sum.mul(three)),
            ]
        }
    }
}

/// F(2, 3), of the points 0, ±1 and ∞.
#[derive(Debug)]
pub(crate) struct Two;

impl Method<4, 2> for Two {
    const PLACES: [usize; 4] = [0, 1, 2, 3];

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

/// The numbers of five pixels at the points 0, 1, -1, 2 and ∞, whatever the length of the filter.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn by_four_points<V: Vector>([a, b, c, d, e]: [V; 5]) -> [V; 5] {
    // SAFETY: the caller's promise.
    unsafe {
        let (two, minus) = (V::splat(2.0), V::splat(-2.0));
        let (third, thirds) = (V::splat(-1.0 / 3.0), V::splat(-2.0 / 3.0));
        let near = d.sub(b);
        [a.sub(c).fma(two, near), b.fma(two, c.sub(d)), b.fma(thirds, d.fma(third, c)), near, near.fma(minus, e.sub(c))]
    }
}

/// Stride 2: F(4, 2) of the even pixels, of the points 0, ±1, 2 and ∞, then the odd ones.
#[derive(Debug)]
pub(crate) struct FourStrided;

impl Method<9, 4> for FourStrided {
    const PLACES: [usize; 9] = [0, 1, 2, 3, 4, 5, 6, 7, 8];

    #[inline(always)]
    unsafe fn spread<V: Vector>([a, o0, b, o1, c, o2, d, o3, e]: [V; 9]) -> [V; 9] {
        // SAFETY: the caller's promise.
        unsafe {
            let [a, b, c, d, e] = by_four_points([a, b, c, d, e]);
            [a, b, c, d, e, o0, o1, o2, o3]
        }
    }

    #[inline(always)]
    unsafe fn gather<V: Vector>([a, b, c, d, e, o0, o1, o2, o3]: [V; 9]) -> [V; 4] {
        // SAFETY: the caller's promise.
        unsafe {
            let (sum, difference) = (b.add(c), b.sub(c));
            [
                d.fma(V::splat(1.0 / 3.0), a.add(sum).add(o0)),
                d.fma(V::splat(2.0 / 3.0), difference.add(o1)),
                d.fma(V::splat(4.0 / 3.0), sum.add(o2)),
                d.fma(V::splat(8.0 / 3.0), difference.add(e.fma(V::splat(2.0), o3))),
            ]
        }
    }
}

/// Stride 2: F(3, 2) of the even pixels, of the points of [`FourStrided`] but 2, then the odd ones.
#[derive(Debug)]
pub(crate) struct ThreeStrided;

impl Method<7, 3> for ThreeStrided {
    const SIDE: usize = 9;
    const PLACES: [usize; 7] = [0, 1, 2, 4, 5, 6, 7];

    #[inline(always)]
    unsafe fn spread<V: Vector>([a, o0, b, o1, c, o2, d]: [V; 7]) -> [V; 7] {
        // SAFETY: the caller's promise.
        unsafe { [a.sub(c), b.add(c), c.sub(b), d.sub(b), o0, o1, o2] }
    }

    #[inline(always)]
    unsafe fn gather<V: Vector>([a, b, c, d, o0, o1, o2]: [V; 7]) -> [V; 3] {
        // SAFETY: the caller's promise.
        unsafe {
            let (two, sum) = (V::splat(2.0), b.add(c));
            [a.fma(two, sum.add(o0)), b.sub(c).add(o1), d.fma(two, sum.add(o2))]
        }
    }
}

/// Stride 2: F(2, 2) of the even pixels, of the points 0, 1 and ∞, then the odd ones.
#[derive(Debug)]
pub(crate) struct TwoStrided;

impl Method<5, 2> for TwoStrided {
    const PLACES: [usize; 5] = [0, 1, 2, 3, 4];

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

#[cfg(test)]
mod tests {
    use super::super::filters::{OF_FOUR, OF_FOUR_STRIDED, Recipe};
    use super::super::{FOUR, FOUR_STRIDED, Size, TWO, TWO_STRIDED};
    use super::*;
    use crate::layout::LANES;
    use crate::vector::portable::Portable;

    /// A dimension's sums are those of the direct convolution.
    fn check<M: Method<PATCH, OUTPUT>, const PATCH: usize, const OUTPUT: usize>(size: &Size) {
        assert_eq!((size.patch, size.rows.len()), (M::SIDE, M::SIDE));
        let (pixels, filter) = ([3.0, -1.0, 4.0, -1.5, 5.0, -9.0, 2.5, -6.0, 5.5], [2.0, -7.0, 1.5]);
        let mut found = [0.0; LANES];
        // SAFETY: plain floats of this function; the portable vector needs no instruction set.
        unsafe {
            let spread = M::spread(std::array::from_fn(|place| Portable::splat(pixels[place])));
            let products = std::array::from_fn(|place| {
                let row = size.rows[M::PLACES[place]];
                let weight: f64 = (0..3).map(|at| size.filter[row][at] * filter[at]).sum();
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

    #[test]
    fn short_patches_give_them_by_the_same_filters() {
        check::<Three, 5, 3>(&FOUR);
        check::<ThreeStrided, 7, 3>(&FOUR_STRIDED);
        for (size, places) in [(&FOUR, &Three::PLACES[..]), (&FOUR_STRIDED, &ThreeStrided::PLACES[..])] {
            let short = size.short.as_ref().unwrap();
            let kept: Vec<usize> = (0..size.patch).filter(|place| !short.left_out.contains(place)).collect();
            assert_eq!((kept.as_slice(), short.output), (places, size.output - 1));
            assert_eq!(short.patch, (short.output - 1) * size.stride + 3);
        }
    }

    #[test]
    fn recipes_make_the_filters_numbers() {
        for (size, recipe) in [(&FOUR, &OF_FOUR), (&FOUR_STRIDED, &OF_FOUR_STRIDED)] {
            let Recipe { parts, rows, slots } = recipe;
            let mut seen = *slots;
            seen.sort_unstable();
            assert_eq!(seen, [0, 1, 2, 3, 4, 5]);
            for (row, &(first, second, factor)) in rows.iter().enumerate() {
                for tap in 0..3 {
                    let made = parts[first][tap] + parts[second][tap] * f64::from(factor);
                    assert!((made - size.filter[row][tap]).abs() < 1e-12, "{row} {tap}");
                }
            }
        }
    }
}

//! Layer normalisation: every pixel by the mean and the variance of its own channels.

use crate::layout::LANES;
use crate::vector::Vector;

/// What one call computes: neighbouring pixels of a row, all channels of each.
#[derive(Debug)]
pub(crate) struct NormaliseCall {
    /// The first pixel of the first block.
    pub(crate) input: *const f32,
    /// Floats from a block to the next.
    pub(crate) input_block: usize,
    /// Lanes past the last channel hold anything, and are left out of mean and variance.
    pub(crate) channels: usize,
    /// Added to the variance.
    pub(crate) epsilon: f32,
    /// Factors and addends of all channels, in whole blocks.
    pub(crate) scale: *const f32,
    pub(crate) shift: *const f32,
    pub(crate) output: *mut f32,
    pub(crate) output_block: usize,
    pub(crate) pixels: usize,
}

/// A compiled kernel of layer normalisation.
pub(crate) type NormaliseKernel = unsafe fn(&NormaliseCall);

/// Pixels at a time: additions wait for one another.
const PIXELS: usize = 4;

/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn normalise<V: Vector>(call: &NormaliseCall) {
    let whole = call.pixels / PIXELS * PIXELS;
    // SAFETY: the caller's promise.
    unsafe {
        for pixel in (0..whole).step_by(PIXELS) {
            some::<V, PIXELS>(call, pixel);
        }
        for pixel in whole..call.pixels {
            some::<V, 1>(call, pixel);
        }
    }
}

/// Some pixels from `first` on.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn some<V: Vector, const COUNT: usize>(call: &NormaliseCall, first: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let centres = means::<V, COUNT, false>(call, first, &[0.0; COUNT]);
        let mut deviations = means::<V, COUNT, true>(call, first, &centres);
        for pixel in 0..COUNT {
            deviations[pixel] = 1.0 / (deviations[pixel] + call.epsilon).sqrt();
        }
        for block in 0..call.channels.div_ceil(LANES) {
            for lane in (0..LANES).step_by(V::LANES) {
                let scale = V::load(call.scale.add(block * LANES + lane));
                let shift = V::load(call.shift.add(block * LANES + lane));
                let input = call.input.add(block * call.input_block + first * LANES + lane);
                let output = call.output.add(block * call.output_block + first * LANES + lane);
                for pixel in 0..COUNT {
                    let centred = V::load(input.add(pixel * LANES)).sub(V::splat(centres[pixel]));
                    let unit = centred.mul(V::splat(deviations[pixel]));
                    unit.fma(scale, shift).store(output.add(pixel * LANES));
                }
            }
        }
    }
}

/// The means of some pixels' channels, or of the squares of their distances from `centres`. Each lane is summed over the
/// blocks first, and then the lanes in their order, for vectors of any length.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn means<V: Vector, const COUNT: usize, const SQUARES: bool>(
    call: &NormaliseCall,
    first: usize,
    centres: &[f32; COUNT],
) -> [f32; COUNT] {
    let (whole, rest) = (call.channels / LANES, call.channels % LANES);
    let (mut sums, mut last) = ([[0.0; LANES]; COUNT], [[0.0; LANES]; COUNT]);
    // SAFETY: the caller's promise.
    unsafe {
        for lane in (0..LANES).step_by(V::LANES) {
            let input = call.input.add(first * LANES + lane);
            let mut of_lanes = [V::splat(0.0); COUNT];
            for block in 0..whole {
                for pixel in 0..COUNT {
                    let x = V::load(input.add(block * call.input_block + pixel * LANES));
                    of_lanes[pixel] = add::<V, SQUARES>(of_lanes[pixel], x, centres[pixel]);
                }
            }
            for pixel in 0..COUNT {
                of_lanes[pixel].put(&mut sums[pixel][lane..]);
            }
            if rest > 0 {
                for pixel in 0..COUNT {
                    let x = V::load(input.add(whole * call.input_block + pixel * LANES));
                    add::<V, SQUARES>(V::splat(0.0), x, centres[pixel]).put(&mut last[pixel][lane..]);
                }
            }
        }
    }
    let mut means = [0.0; COUNT];
    for pixel in 0..COUNT {
        for lane in 0..rest {
            sums[pixel][lane] += last[pixel][lane];
        }
        means[pixel] = sum(&sums[pixel]) / call.channels as f32;
    }
    means
}

/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn add<V: Vector, const SQUARES: bool>(sum: V, x: V, centre: f32) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        if SQUARES {
            let centred = x.sub(V::splat(centre));
            return centred.fma(centred, sum);
        }
        sum.add(x)
    }
}

/// Pairs of lanes, then pairs of pairs, and so on.
#[inline(always)]
fn sum(lanes: &[f32; LANES]) -> f32 {
    let mut sums = *lanes;
    let mut count = LANES;
    while count > 1 {
        count /= 2;
        for lane in 0..count {
            sums[lane] += sums[lane + count];
        }
    }
    sums[0]
}

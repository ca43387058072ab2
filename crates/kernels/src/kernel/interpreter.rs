//! The kernels of a checked run: every output by itself, one float at a time, each access asked for (`bounds.rs`).
//!
//! A program that was planned for an instruction set is interpreted with the same tiles, runs and packed weights, and the
//! terms of each sum in the same order: where that instruction set rounds products and sums once, so does the interpreter,
//! and its results are the same numbers, bit by bit. Only reciprocals, which machines approximate, differ in the last
//! places.

use std::sync::LazyLock;

use super::average::{AverageCall, average};
use super::depthwise::DepthwiseCall;
use super::normalise::{NormaliseCall, normalise};
use super::pointwise::{PointwiseCall, pointwise};
use super::pool::{PoolCall, pool};
use super::resize::{ResizeCall, resize};
use super::set::KernelSet;
use super::softmax::{SoftmaxCall, softmax};
use super::tile::{TileCall, TilePlace};
use super::winograd::filters::{FilterCall, FilterKernel, OfFour, OfFourStrided, transform_filters};
use super::winograd::method::{Four, FourStrided, Three, ThreeStrided, Two, TwoStrided};
use super::winograd::transforms::{transform_patch, transform_sums};
use super::winograd::{Ends, FOUR, FOUR_STRIDED, PatchCall, SumCall, TWO, TWO_STRIDED};
use crate::activation::Activation;
use crate::isa::Isa;
use crate::layout::LANES;
use crate::vector::scalar::Scalar;
use crate::vector::{Vector, activate};

/// The interpreter in place of an instruction set, with its sizes.
pub(crate) fn set(isa: Isa) -> &'static KernelSet {
    static AVX512: LazyLock<KernelSet> = LazyLock::new(|| of::<true>(KernelSet::of(Isa::Avx512)));
    static AVX2: LazyLock<KernelSet> = LazyLock::new(|| of::<true>(KernelSet::of(Isa::Avx2)));
    static NEON: LazyLock<KernelSet> = LazyLock::new(|| of::<true>(KernelSet::of(Isa::Neon)));
    static PORTABLE: LazyLock<KernelSet> = LazyLock::new(|| of::<false>(KernelSet::of(Isa::Portable)));
    match isa {
        Isa::Avx512 => &AVX512,
        Isa::Avx2 => &AVX2,
        Isa::Neon => &NEON,
        Isa::Portable => &PORTABLE,
    }
}

fn of<const FUSED: bool>(sizes: &KernelSet) -> KernelSet {
    KernelSet {
        blocks: sizes.blocks,
        tall_blocks: sizes.tall_blocks,
        pixels: sizes.pixels,
        squares: sizes.squares,
        tile: |_, _, _| Some(with_fma::tile::<FUSED>),
        depthwise_pixels: sizes.depthwise_pixels,
        depthwise_pixels_of_five: sizes.depthwise_pixels_of_five,
        depthwise: |_, _, _| Some(with_fma::depthwise::<FUSED>),
        lanes: sizes.lanes,
        is_narrow: sizes.is_narrow,
        pool: with_fma::pool_of::<FUSED>,
        average: with_fma::average_of::<FUSED>,
        pointwise: with_fma::pointwise_of::<FUSED>,
        resize: with_fma::resize_of::<FUSED>,
        normalise: with_fma::normalise_of::<FUSED>,
        softmax: with_fma::softmax_of::<FUSED>,
        four: four::<FUSED>(sizes),
        two: Ends {
            size: &TWO,
            patch: [with_fma::patch_of_two::<FUSED>; 4],
            sums: [with_fma::sums_of_two::<FUSED>; 4],
            filters: None,
        },
        four_strided: four_strided::<FUSED>(sizes),
        two_strided: Ends {
            size: &TWO_STRIDED,
            patch: [with_fma::patch_of_two_strided::<FUSED>; 4],
            sums: [with_fma::sums_of_two_strided::<FUSED>; 4],
            filters: None,
        },
    }
}

/// The ends of Winograd's method by four pixels.
fn four<const FUSED: bool>(sizes: &KernelSet) -> Ends {
    Ends {
        size: &FOUR,
        patch: [
            with_fma::patch_of_four::<FUSED>,
            with_fma::patch_of_four_by_three::<FUSED>,
            with_fma::patch_of_three_by_four::<FUSED>,
            with_fma::patch_of_three::<FUSED>,
        ],
        sums: [
            with_fma::sums_of_four::<FUSED>,
            with_fma::sums_of_four_by_three::<FUSED>,
            with_fma::sums_of_three_by_four::<FUSED>,
            with_fma::sums_of_three::<FUSED>,
        ],
        filters: sizes.four.filters.map(|(recipe, _)| (recipe, with_fma::filters_of_four::<FUSED> as FilterKernel)),
    }
}

/// The same with stride 2.
fn four_strided<const FUSED: bool>(sizes: &KernelSet) -> Ends {
    Ends {
        size: &FOUR_STRIDED,
        patch: [
            with_fma::patch_of_four_strided::<FUSED>,
            with_fma::patch_of_four_by_three_strided::<FUSED>,
            with_fma::patch_of_three_by_four_strided::<FUSED>,
            with_fma::patch_of_three_strided::<FUSED>,
        ],
        sums: [
            with_fma::sums_of_four_strided::<FUSED>,
            with_fma::sums_of_four_by_three_strided::<FUSED>,
            with_fma::sums_of_three_by_four_strided::<FUSED>,
            with_fma::sums_of_three_strided::<FUSED>,
        ],
        filters: (sizes.four_strided.filters)
            .map(|(recipe, _)| (recipe, with_fma::filters_of_four_strided::<FUSED> as FilterKernel)),
    }
}

/// # Safety
/// None that a caller could break: what the call must not touch ends the run. The pointers' memory must exist.
#[inline(always)]
unsafe fn tile<V: Vector>(call: &TileCall<'_>) {
    for tile in call.tiles {
        for pixel in 0..call.pixels {
            for channel in 0..call.channels {
                // SAFETY: every access is asked for.
                unsafe { element::<V>(call, tile, pixel, channel) };
            }
        }
    }
}

/// One channel of one pixel of a tile.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
unsafe fn element<V: Vector>(call: &TileCall<'_>, tile: &TilePlace, pixel: usize, channel: usize) {
    let half = call.pixels / 2;
    let (side, of_half) = if pixel < half { (0, pixel) } else { (1, pixel - half) };
    let lane = channel / LANES;
    let place = |block: usize| lane * block + of_half * LANES + channel % LANES;
    // SAFETY: every access is asked for.
    unsafe {
        let output = call.output.add(tile.output[side] + place(call.output_block));
        let mut sum = V::load(if call.goes_on { output.cast_const() } else { call.bias.add(channel) });
        let mut weight = call.weights.add(channel);
        for run in call.runs {
            let input = call.input.add(tile.input[side] + run.offset as usize + of_half * call.step);
            for element in 0..run.length as usize {
                sum = V::load(input.add(element)).fma(V::load(weight), sum);
                // Past the last there may be no float.
                weight = weight.wrapping_add(call.channels);
            }
        }
        if let Some(residual) = call.residual {
            sum = sum.add(V::load(residual.add(tile.residual[side] + place(call.residual_block))));
        }
        activated(sum, call.activation).store(output);
    }
}

/// # Safety
/// As for [`tile`].
#[inline(always)]
unsafe fn depthwise<V: Vector>(call: &DepthwiseCall<'_>) {
    for pixel in 0..call.pixels {
        for lane in 0..LANES {
            // SAFETY: every access is asked for.
            unsafe {
                let mut sum = V::load(call.bias.add(lane));
                for (tap, &offset) in call.taps.iter().enumerate() {
                    let input = V::load(call.input.add(offset as usize + pixel * call.step + lane));
                    sum = input.fma(V::load(call.weights.add(tap * LANES + lane)), sum);
                }
                activated(sum, call.activation).store(call.output.add(pixel * LANES + lane));
            }
        }
    }
}

/// # Safety
/// As for [`Vector`].
#[inline(always)]
unsafe fn activated<V: Vector>(sum: V, activation: Activation) -> V {
    // SAFETY: the caller's promise.
    if activation.is_applied_by_kernels() { unsafe { activate(activation, sum) } } else { sum }
}

/// Wrappers in which a fused multiplication is an instruction where the machine has it, and a function call elsewhere.
macro_rules! wrappers {
    ($($name:ident($kernel:path, $call:ty)),* $(,)?) => {
        mod with_fma {
            use super::*;

            $(
                pub(super) unsafe fn $name<const FUSED: bool>(call: &$call) {
                    #[cfg(all(target_arch = "x86_64", not(miri)))]
                    {
                        #[target_feature(enable = "fma")]
                        unsafe fn fused<const FUSED: bool>(call: &$call) {
                            // SAFETY: the caller's promise.
                            unsafe { $kernel(call) }
                        }
                        if std::arch::is_x86_feature_detected!("fma") {
                            // SAFETY: the caller's promise, and the machine has the instructions.
                            return unsafe { fused::<FUSED>(call) };
                        }
                    }
                    // SAFETY: the caller's promise.
                    unsafe { $kernel(call) }
                }
            )*
        }
    };
}

wrappers!(
    tile(super::tile::<Scalar<FUSED>>, TileCall<'_>),
    depthwise(super::depthwise::<Scalar<FUSED>>, DepthwiseCall<'_>),
    pool_of(super::pool::<Scalar<FUSED>>, PoolCall),
    average_of(super::average::<Scalar<FUSED>>, AverageCall),
    pointwise_of(super::pointwise::<Scalar<FUSED>>, PointwiseCall),
    resize_of(super::resize::<Scalar<FUSED>>, ResizeCall<'_>),
    normalise_of(super::normalise::<Scalar<FUSED>>, NormaliseCall),
    softmax_of(super::softmax::<Scalar<FUSED>>, SoftmaxCall),
    patch_of_four(transform_patch::<Scalar<FUSED>, Four, Four, 6, 4, 6, 4>, PatchCall),
    sums_of_four(transform_sums::<Scalar<FUSED>, Four, Four, 6, 4, 6, 4>, SumCall),
    patch_of_four_by_three(transform_patch::<Scalar<FUSED>, Four, Three, 6, 4, 5, 3>, PatchCall),
    sums_of_four_by_three(transform_sums::<Scalar<FUSED>, Four, Three, 6, 4, 5, 3>, SumCall),
    patch_of_three_by_four(transform_patch::<Scalar<FUSED>, Three, Four, 5, 3, 6, 4>, PatchCall),
    sums_of_three_by_four(transform_sums::<Scalar<FUSED>, Three, Four, 5, 3, 6, 4>, SumCall),
    patch_of_three(transform_patch::<Scalar<FUSED>, Three, Three, 5, 3, 5, 3>, PatchCall),
    sums_of_three(transform_sums::<Scalar<FUSED>, Three, Three, 5, 3, 5, 3>, SumCall),
    patch_of_two(transform_patch::<Scalar<FUSED>, Two, Two, 4, 2, 4, 2>, PatchCall),
    sums_of_two(transform_sums::<Scalar<FUSED>, Two, Two, 4, 2, 4, 2>, SumCall),
    patch_of_four_strided(transform_patch::<Scalar<FUSED>, FourStrided, FourStrided, 9, 4, 9, 4>, PatchCall),
    sums_of_four_strided(transform_sums::<Scalar<FUSED>, FourStrided, FourStrided, 9, 4, 9, 4>, SumCall),
    patch_of_four_by_three_strided(transform_patch::<Scalar<FUSED>, FourStrided, ThreeStrided, 9, 4, 7, 3>, PatchCall),
    sums_of_four_by_three_strided(transform_sums::<Scalar<FUSED>, FourStrided, ThreeStrided, 9, 4, 7, 3>, SumCall),
    patch_of_three_by_four_strided(transform_patch::<Scalar<FUSED>, ThreeStrided, FourStrided, 7, 3, 9, 4>, PatchCall),
    sums_of_three_by_four_strided(transform_sums::<Scalar<FUSED>, ThreeStrided, FourStrided, 7, 3, 9, 4>, SumCall),
    patch_of_three_strided(transform_patch::<Scalar<FUSED>, ThreeStrided, ThreeStrided, 7, 3, 7, 3>, PatchCall),
    sums_of_three_strided(transform_sums::<Scalar<FUSED>, ThreeStrided, ThreeStrided, 7, 3, 7, 3>, SumCall),
    patch_of_two_strided(transform_patch::<Scalar<FUSED>, TwoStrided, TwoStrided, 5, 2, 5, 2>, PatchCall),
    sums_of_two_strided(transform_sums::<Scalar<FUSED>, TwoStrided, TwoStrided, 5, 2, 5, 2>, SumCall),
    filters_of_four(transform_filters::<Scalar<FUSED>, OfFour>, FilterCall),
    filters_of_four_strided(transform_filters::<Scalar<FUSED>, OfFourStrided>, FilterCall),
);

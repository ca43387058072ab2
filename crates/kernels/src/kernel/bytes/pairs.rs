//! The kernels of bytes that multiply in sixteen bits, of one instruction set: as `kernel/bytes/set.rs`.

use super::depthwise::{ByteDepthwiseCall, ByteDepthwiseKernel, depthwise_rows};
use super::tile::{ByteTileCall, ByteTileKernel, WidenCall, WidenKernel, tile, widen};
use super::winograd::{
    BytePatchCall, ByteSumCall, Ends, FOUR, Four, Method, TWO, Two, transform_patch, transform_sums,
};
use crate::block::{Block, Form, OfPairs};
use crate::bounds::Proven;
use crate::layout::LANES;

/// What multiplies in sixteen bits, with its sizes.
#[derive(Debug)]
pub(crate) struct PairSet {
    /// How weights are packed.
    pub(crate) form: Form,
    /// Channel blocks of a tile, largest first.
    pub(crate) blocks: &'static [usize],
    /// Pixels of a tile at most.
    pub(crate) pixels: usize,
    /// The tile of so many blocks and pixels, [`PAIR_STEP`] words apart.
    pub(crate) tile: fn(usize, usize) -> Option<ByteTileKernel>,
    pub(crate) widen: WidenKernel,
    /// The same for words of three bytes that count.
    pub(crate) widen_dense: WidenKernel,
    /// Pixels of a depthwise call at most, where they lie one apart and where two.
    pub(crate) depthwise_pixels: [usize; 2],
    /// The depthwise kernel of so many pixels, which lie one or two apart, for windows of three columns.
    pub(crate) depthwise: fn(usize, usize) -> Option<ByteDepthwiseKernel>,
    /// Input channels up to which Winograd's method is faster by larger patches.
    pub(crate) most_of_four: usize,
    /// The ends of Winograd's method, by four pixels and by two.
    pub(crate) four: Ends,
    pub(crate) two: Ends,
}

/// Words of sixteen channels of sixteen bits.
pub(crate) const PAIR_STEP: usize = LANES / 2;

/// The module of an instruction set's kernels of sixteen bits.
macro_rules! pair_set {
    (
        $name:ident, $block:ty, dense: $dense:ty, by_channel: $by_channel:ty, $(features: $features:literal,)?
        blocks: [$($blocks:literal),*], pixels: [$($pixels:literal),*] up to $most:literal,
        depthwise: [$($depthwise:literal),*] up to $most_depthwise:literal,
        strided: [$($strided:literal),*] up to $most_strided:literal,
        by_four: $most_of_four:literal
    ) => {
        pub(super) mod $name {
            use super::*;

            $(#[target_feature(enable = $features)])?
            unsafe fn byte_product_kernel<const BLOCKS: usize, const PIXELS: usize>(call: &ByteTileCall<'_>) {
                // SAFETY: the caller's promise.
                unsafe { tile::<$dense, BLOCKS, PIXELS, PAIR_STEP>(call) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn byte_patch_kernel<M: Method<PATCH, OUTPUT>, const PATCH: usize, const OUTPUT: usize>(
                call: &BytePatchCall,
            ) {
                // SAFETY: the caller's promise.
                unsafe { transform_patch::<Proven, M, PATCH, OUTPUT, { <$block>::SIGNED }>(call) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn byte_sum_kernel<M: Method<PATCH, OUTPUT>, const PATCH: usize, const OUTPUT: usize>(
                call: &ByteSumCall<'_>,
            ) {
                // SAFETY: the caller's promise.
                unsafe { transform_sums::<Proven, $block, M, PATCH, OUTPUT>(call) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn widen_kernel(call: &WidenCall<'_>) {
                // SAFETY: the caller's promise.
                unsafe { widen::<Proven, { <$block>::SIGNED }, false>(call) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn widen_dense_kernel(call: &WidenCall<'_>) {
                // SAFETY: the caller's promise.
                unsafe { widen::<Proven, { <$block>::SIGNED }, true>(call) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn byte_rows_kernel<const PIXELS: usize, const STRIDE: usize>(call: &ByteDepthwiseCall) {
                // SAFETY: the caller's promise.
                unsafe { depthwise_rows::<$by_channel, PIXELS, STRIDE>(call) }
            }

            fn depthwise_of(pixels: usize, stride: usize) -> Option<ByteDepthwiseKernel> {
                match (pixels, stride) {
                    $(($depthwise, 1) => Some(byte_rows_kernel::<$depthwise, 1>),)*
                    $(($strided, 2) => Some(byte_rows_kernel::<$strided, 2>),)*
                    _ => None,
                }
            }

            fn tile_of<const BLOCKS: usize>(pixels: usize) -> Option<ByteTileKernel> {
                match pixels {
                    $($pixels => Some(byte_product_kernel::<BLOCKS, $pixels>),)*
                    _ => None,
                }
            }

            fn tile_of_blocks(blocks: usize, pixels: usize) -> Option<ByteTileKernel> {
                match blocks {
                    $($blocks => tile_of::<$blocks>(pixels),)*
                    _ => None,
                }
            }

            pub(in crate::kernel::bytes) static SET: PairSet = PairSet {
                form: <$dense>::FORM,
                blocks: &[$($blocks),*],
                pixels: $most,
                tile: tile_of_blocks,
                widen: widen_kernel,
                widen_dense: widen_dense_kernel,
                depthwise_pixels: [$most_depthwise, $most_strided],
                depthwise: depthwise_of,
                most_of_four: $most_of_four,
                four: Ends { size: &FOUR, patch: byte_patch_kernel::<Four, 6, 4>, sums: byte_sum_kernel::<Four, 6, 4> },
                two: Ends { size: &TWO, patch: byte_patch_kernel::<Two, 4, 2>, sums: byte_sum_kernel::<Two, 4, 2> },
            };
        }
    };
}

#[cfg(target_arch = "x86_64")]
pair_set!(
    avx2_pairs, crate::block::avx2::Avx2Narrow,
    dense: OfPairs<crate::block::avx2::Avx2Narrow>, by_channel: crate::block::avx2::Avx2Narrow, features: "avx2,fma",
    blocks: [1], pixels: [1, 2, 3, 4, 5, 6] up to 6,
    depthwise: [1, 2, 3] up to 3, strided: [1, 2] up to 2, by_four: 128
);

#[cfg(target_arch = "aarch64")]
pair_set!(
    neon_pairs, crate::block::neon::Neon,
    dense: crate::block::neon::halves::ByLane, by_channel: crate::block::neon::halves::ByChannel,
    blocks: [1], pixels: [1, 2, 3, 4, 5] up to 5,
    depthwise: [1, 2, 3] up to 3, strided: [1, 2] up to 2, by_four: 512
);

pair_set!(
    portable_pairs, crate::block::portable::Portable,
    dense: OfPairs<crate::block::portable::Portable>, by_channel: crate::block::portable::Portable,
    blocks: [1], pixels: [1, 2] up to 2,
    depthwise: [1, 2] up to 2, strided: [1] up to 1, by_four: 128
);

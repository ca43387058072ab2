//! The kernels of bytes of one instruction set, and which sizes there are: as `kernel/set.rs`.

use super::depthwise::{ByteDepthwiseCall, ByteDepthwiseKernel, depthwise, depthwise_fives, depthwise_pairs};
use super::matrix::MatrixSet;
use super::pairs::PairSet;
use super::rows::{
    ByteMeanCall, ByteMeanKernel, BytePoolCall, BytePoolKernel, ConvertCall, ConvertKernel, PixelsCall, PixelsKernel,
    ProductRowCall, ProductRowKernel, SumRowCall, SumRowKernel, TableCall, TableKernel, dequantise, greatest, look_up,
    mean, pixels, product, quantise, sum,
};
use super::tile::{ByteTileCall, ByteTileKernel, tile};
#[cfg(target_arch = "aarch64")]
use crate::block::neon::rows as neon_rows;
use crate::block::{Block, Form};
use crate::bounds::Proven;
use crate::byte_isa::ByteIsa;
#[cfg(target_arch = "aarch64")]
use crate::kernel::set::LOOSE_PIXELS;

/// Words between windows for which there are kernels of full size: neighbouring and every second pixel of a picture, and
/// the same of a block.
pub(crate) const BYTE_STEPS: [usize; 4] = [1, 2, 4, 8];

/// Compiled kernels and their sizes.
#[derive(Debug)]
pub(crate) struct ByteSet {
    /// How weights are packed, but for those of dense convolutions.
    pub(crate) form: Form,
    /// How weights of dense convolutions are packed.
    pub(crate) dense: Form,
    /// Whether tensors hold bytes less 128.
    pub(crate) is_signed: bool,
    /// Whether the neighbouring pixels of a window's row are one run of a dense convolution.
    pub(crate) joins_columns: bool,
    /// Channel blocks of a tile, largest first.
    pub(crate) blocks: &'static [usize],
    /// Channel blocks of a tile of one pixel, largest first.
    pub(crate) tall_blocks: &'static [usize],
    /// Pixels of a tile at most, where its step is one of [`BYTE_STEPS`]; of others, two.
    pub(crate) pixels: usize,
    /// The tile of so many blocks, pixels, and words of step.
    pub(crate) tile: fn(usize, usize, usize) -> Option<ByteTileKernel>,
    /// Pixels of a depthwise call at most.
    pub(crate) depthwise_pixels: usize,
    /// The depthwise kernel of so many pixels.
    pub(crate) depthwise: fn(usize) -> Option<ByteDepthwiseKernel>,
    /// The same for windows of three columns and a step of one pixel.
    pub(crate) depthwise_pairs: fn(usize) -> Option<ByteDepthwiseKernel>,
    /// The same for windows of five columns and a step of so many pixels, one or two; nothing where that is no faster.
    pub(crate) depthwise_fives: fn(usize, usize) -> Option<ByteDepthwiseKernel>,
    pub(crate) quantise: ConvertKernel,
    pub(crate) dequantise: ConvertKernel,
    pub(crate) look_up: TableKernel,
    pub(crate) sum: SumRowKernel,
    pub(crate) product: ProductRowKernel,
    pub(crate) picture: PixelsKernel,
    pub(crate) greatest: BytePoolKernel,
    pub(crate) mean: ByteMeanKernel,
    /// A set that is faster, where all weights of a layer fit its form.
    pub(crate) narrow: Option<&'static Self>,
    /// What multiplies in sixteen bits: by Winograd's method, and where `form` is [`Form::Words`] also otherwise; nothing
    /// where that is no faster.
    pub(crate) pairs: Option<&'static PairSet>,
    /// What multiplies by a matrix unit, where there is one.
    pub(crate) matrix: Option<&'static MatrixSet>,
}

impl ByteSet {
    /// The kernels of an instruction set; the portable ones where the program was not built for it.
    ///
    /// The kernels may be called on a machine that has the instruction set, such as those of [`ByteIsa::available`].
    pub(crate) fn of(isa: ByteIsa) -> &'static Self {
        match isa {
            #[cfg(target_arch = "x86_64")]
            ByteIsa::Amx => &amx::SET,
            #[cfg(target_arch = "x86_64")]
            ByteIsa::Avx512Vbmi => &avx512_vbmi::SET,
            #[cfg(target_arch = "x86_64")]
            ByteIsa::Avx512Vnni => &avx512_vnni::SET,
            #[cfg(target_arch = "x86_64")]
            ByteIsa::AvxVnni => &avx_vnni::SET,
            #[cfg(target_arch = "x86_64")]
            ByteIsa::Avx2 => &avx2::SET,
            #[cfg(target_arch = "aarch64")]
            ByteIsa::NeonI8mm => &neon_i8mm::SET,
            #[cfg(target_arch = "aarch64")]
            ByteIsa::NeonDot => &neon_dot::SET,
            #[cfg(target_arch = "aarch64")]
            ByteIsa::Neon => &neon::SET,
            _ => &portable::SET,
        }
    }

    /// A stored byte of an unsigned one.
    pub(crate) fn stored(&self, byte: u8) -> u8 {
        if self.is_signed { byte ^ 0x80 } else { byte }
    }

    /// The number as which an unsigned byte, once stored, is multiplied.
    pub(crate) fn number(&self, byte: u8) -> i32 {
        i32::from(byte) - if self.is_signed { 128 } else { 0 }
    }
}

/// The module of an instruction set: every generic kernel, compiled with its features. A tile's sums fill the registers
/// but for one row of weights and one of input, and what multiplying takes.
macro_rules! byte_set {
    (
        $name:ident, $block:ty, $(features: $features:literal,)?
        blocks: [$($blocks:literal),*], tall: [$($tall:literal),*],
        pixels: [$($pixels:literal),*] up to $most:literal,
        depthwise: [$($depthwise:literal),*] up to $most_depthwise:literal, fives: [$($fives:literal),*],
        narrow: $narrow:expr, pairs: $pairs:expr,
        rows: [$look_up:path, $product:path, $mean:path, $picture:path]
    ) => {
        mod $name {
            use super::*;

            const SIGNED: bool = <$block>::SIGNED;

            $(#[target_feature(enable = $features)])?
            unsafe fn byte_tile_kernel<const BLOCKS: usize, const PIXELS: usize, const STEP: usize>(
                call: &ByteTileCall<'_>,
            ) {
                // SAFETY: the caller's promise.
                unsafe { tile::<$block, BLOCKS, PIXELS, STEP>(call) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn byte_depthwise_kernel<const PIXELS: usize>(call: &ByteDepthwiseCall) {
                // SAFETY: the caller's promise.
                unsafe { depthwise::<$block, PIXELS>(call) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn byte_pairs_kernel<const PIXELS: usize>(call: &ByteDepthwiseCall) {
                // SAFETY: the caller's promise.
                unsafe { depthwise_pairs::<$block, PIXELS>(call) }
            }

            $(#[target_feature(enable = $features)])?
            #[allow(dead_code, reason = "not all sets have it")]
            unsafe fn byte_fives_kernel<const PIXELS: usize, const STRIDE: usize>(call: &ByteDepthwiseCall) {
                // SAFETY: the caller's promise.
                unsafe { depthwise_fives::<$block, PIXELS, STRIDE>(call) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn quantise_kernel(call: &ConvertCall) {
                // SAFETY: the caller's promise.
                unsafe { quantise::<Proven, SIGNED>(call) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn dequantise_kernel(call: &ConvertCall) {
                // SAFETY: the caller's promise.
                unsafe { dequantise::<Proven, SIGNED>(call) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn look_up_kernel(call: &TableCall<'_>) {
                // SAFETY: the caller's promise.
                unsafe { $look_up(call) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn sum_row_kernel(call: &SumRowCall) {
                // SAFETY: the caller's promise.
                unsafe { sum::<Proven, SIGNED>(call) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn product_row_kernel(call: &ProductRowCall) {
                // SAFETY: the caller's promise.
                unsafe { $product(call) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn picture_kernel(call: &PixelsCall<'_>) {
                // SAFETY: the caller's promise.
                unsafe { $picture(call) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn greatest_kernel(call: &BytePoolCall) {
                // SAFETY: the caller's promise.
                unsafe { greatest::<Proven, SIGNED>(call) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn mean_kernel(call: &ByteMeanCall) {
                // SAFETY: the caller's promise.
                unsafe { $mean(call) }
            }

            fn tile_of<const BLOCKS: usize, const STEP: usize>(pixels: usize) -> Option<ByteTileKernel> {
                match pixels {
                    $($pixels => Some(byte_tile_kernel::<BLOCKS, $pixels, STEP>),)*
                    _ => None,
                }
            }

            fn tile_of_step<const BLOCKS: usize>(pixels: usize, step: usize) -> Option<ByteTileKernel> {
                match (step, pixels) {
                    (1, _) => tile_of::<BLOCKS, 1>(pixels),
                    (2, _) => tile_of::<BLOCKS, 2>(pixels),
                    (4, _) => tile_of::<BLOCKS, 4>(pixels),
                    (8, _) => tile_of::<BLOCKS, 8>(pixels),
                    (_, 1) => Some(byte_tile_kernel::<BLOCKS, 1, 0>),
                    (_, 2) => Some(byte_tile_kernel::<BLOCKS, 2, 0>),
                    _ => None,
                }
            }

            fn tile_of_blocks(blocks: usize, pixels: usize, step: usize) -> Option<ByteTileKernel> {
                match (blocks, pixels) {
                    $(($blocks, _) => tile_of_step::<$blocks>(pixels, step),)*
                    $(($tall, 1) => Some(byte_tile_kernel::<$tall, 1, 0>),)*
                    _ => None,
                }
            }

            fn depthwise_of(pixels: usize) -> Option<ByteDepthwiseKernel> {
                match pixels {
                    $($depthwise => Some(byte_depthwise_kernel::<$depthwise>),)*
                    _ => None,
                }
            }

            fn pairs_of(pixels: usize) -> Option<ByteDepthwiseKernel> {
                match pixels {
                    $($depthwise => Some(byte_pairs_kernel::<$depthwise>),)*
                    _ => None,
                }
            }

            fn fives_of(pixels: usize, stride: usize) -> Option<ByteDepthwiseKernel> {
                match (pixels, stride) {
                    $(
                        ($fives, 1) => Some(byte_fives_kernel::<$fives, 1>),
                        ($fives, 2) => Some(byte_fives_kernel::<$fives, 2>),
                    )*
                    _ => None,
                }
            }

            pub(super) static SET: ByteSet = ByteSet {
                form: <$block>::FORM,
                dense: <$block>::FORM,
                is_signed: SIGNED,
                joins_columns: <$block>::BY_LANE,
                blocks: &[$($blocks),*],
                tall_blocks: &[$($tall),*],
                pixels: $most,
                tile: tile_of_blocks,
                depthwise_pixels: $most_depthwise,
                depthwise: depthwise_of,
                depthwise_pairs: pairs_of,
                depthwise_fives: fives_of,
                quantise: quantise_kernel,
                dequantise: dequantise_kernel,
                look_up: look_up_kernel,
                sum: sum_row_kernel,
                product: product_row_kernel,
                picture: picture_kernel,
                greatest: greatest_kernel,
                mean: mean_kernel,
                narrow: $narrow,
                pairs: $pairs,
                matrix: None,
            };
        }
    };
}

#[cfg(target_arch = "x86_64")]
byte_set!(
    avx512_vnni, crate::block::avx512::Vnni512<false>, features: "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma",
    blocks: [2, 1], tall: [8, 4],
    pixels: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14] up to 14,
    depthwise: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14] up to 14, fives: [],
    narrow: None, pairs: None,
    rows: [look_up::<Proven>, product::<Proven, SIGNED>, mean::<Proven, SIGNED>, pixels::<Proven, SIGNED>]
);

/// As with VNNI alone, but for what VBMI makes faster.
#[cfg(target_arch = "x86_64")]
mod avx512_vbmi {
    use super::*;

    type WithVbmi = crate::block::avx512::Vnni512<true>;

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,fma")]
    unsafe fn byte_depthwise_kernel<const PIXELS: usize>(call: &ByteDepthwiseCall) {
        // SAFETY: the caller's promise.
        unsafe { depthwise::<WithVbmi, PIXELS>(call) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,fma")]
    unsafe fn byte_pairs_kernel<const PIXELS: usize>(call: &ByteDepthwiseCall) {
        // SAFETY: the caller's promise.
        unsafe { depthwise_pairs::<WithVbmi, PIXELS>(call) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    unsafe fn look_up_kernel(call: &TableCall<'_>) {
        // SAFETY: the caller's promise.
        unsafe { crate::block::avx512::look_up(call) }
    }

    macro_rules! by_pixels {
        ($kernel:ident, $pixels:expr, $($number:literal)*) => {
            match $pixels {
                $($number => Some($kernel::<$number> as ByteDepthwiseKernel),)*
                _ => None,
            }
        };
    }

    fn depthwise_of(pixels: usize) -> Option<ByteDepthwiseKernel> {
        by_pixels!(byte_depthwise_kernel, pixels, 1 2 3 4 5 6 7 8 9 10 11 12 13 14)
    }

    fn pairs_of(pixels: usize) -> Option<ByteDepthwiseKernel> {
        by_pixels!(byte_pairs_kernel, pixels, 1 2 3 4 5 6 7 8 9 10 11 12 13 14)
    }

    pub(super) static SET: ByteSet =
        ByteSet { depthwise: depthwise_of, depthwise_pairs: pairs_of, look_up: look_up_kernel, ..avx512_vnni::SET };
}

/// As with VBMI, but for what a matrix unit makes faster.
#[cfg(target_arch = "x86_64")]
mod amx {
    use super::*;

    pub(super) static SET: ByteSet = ByteSet { matrix: Some(&crate::kernel::bytes::amx::SET), ..avx512_vbmi::SET };
}

#[cfg(target_arch = "x86_64")]
byte_set!(
    avx_vnni, crate::block::avx2::AvxVnni, features: "avx2,fma,avxvnni",
    blocks: [1], tall: [4],
    pixels: [1, 2, 3, 4, 5, 6] up to 6,
    depthwise: [1, 2, 3] up to 3, fives: [],
    narrow: None, pairs: None,
    rows: [look_up::<Proven>, product::<Proven, SIGNED>, mean::<Proven, SIGNED>, pixels::<Proven, SIGNED>]
);

#[cfg(target_arch = "x86_64")]
byte_set!(
    avx2, crate::block::avx2::Avx2Words, features: "avx2,fma",
    blocks: [1], tall: [2],
    pixels: [1, 2, 3, 4] up to 4,
    depthwise: [1, 2] up to 2, fives: [],
    narrow: Some(&super::avx2_narrow::SET), pairs: Some(&crate::kernel::bytes::pairs::avx2_pairs::SET),
    rows: [look_up::<Proven>, product::<Proven, SIGNED>, mean::<Proven, SIGNED>, pixels::<Proven, SIGNED>]
);

#[cfg(target_arch = "x86_64")]
byte_set!(
    avx2_narrow, crate::block::avx2::Avx2Narrow, features: "avx2,fma",
    blocks: [1], tall: [4],
    pixels: [1, 2, 3, 4, 5] up to 5,
    depthwise: [1, 2, 3] up to 3, fives: [],
    narrow: None, pairs: None,
    rows: [look_up::<Proven>, product::<Proven, SIGNED>, mean::<Proven, SIGNED>, pixels::<Proven, SIGNED>]
);

#[cfg(target_arch = "aarch64")]
byte_set!(
    neon, crate::block::neon::Neon,
    blocks: [1], tall: [4],
    pixels: [1, 2, 3, 4] up to 4,
    depthwise: [1, 2, 3, 4] up to 4, fives: [],
    narrow: None, pairs: Some(&crate::kernel::bytes::pairs::neon_pairs::SET),
    rows: [neon_rows::look_up, neon_rows::product, neon_rows::mean, neon_rows::pixels]
);

#[cfg(target_arch = "aarch64")]
byte_set!(
    neon_dot, crate::block::neon::NeonDot, features: "neon,dotprod",
    blocks: [1], tall: [4],
    pixels: [1, 2, 3, 4, 5, 6] up to 6,
    depthwise: [1, 2, 3, 4] up to 4, fives: [1, 2, 3, 4],
    narrow: None, pairs: None,
    rows: [neon_rows::look_up, neon_rows::product, neon_rows::mean, neon_rows::pixels]
);

/// As with dot products alone, but for dense convolutions.
#[cfg(target_arch = "aarch64")]
mod neon_i8mm {
    use super::*;
    use crate::kernel::bytes::eights;

    #[target_feature(enable = "neon,dotprod,i8mm")]
    unsafe fn byte_tile_kernel<const BLOCKS: usize, const PAIRS: usize, const ODD: bool, const STEP: usize>(
        call: &ByteTileCall<'_>,
    ) {
        // SAFETY: the caller's promise.
        unsafe { eights::tile::<BLOCKS, PAIRS, ODD, STEP>(call) }
    }

    fn tile_of<const STEP: usize>(pixels: usize) -> Option<ByteTileKernel> {
        match pixels {
            1 => Some(byte_tile_kernel::<1, 1, true, STEP>),
            2 => Some(byte_tile_kernel::<1, 1, false, STEP>),
            3 => Some(byte_tile_kernel::<1, 2, true, STEP>),
            4 => Some(byte_tile_kernel::<1, 2, false, STEP>),
            5 => Some(byte_tile_kernel::<1, 3, true, STEP>),
            6 => Some(byte_tile_kernel::<1, 3, false, STEP>),
            _ => None,
        }
    }

    fn tile_of_blocks(blocks: usize, pixels: usize, step: usize) -> Option<ByteTileKernel> {
        match (blocks, step) {
            (1, 1) => tile_of::<1>(pixels),
            (1, 2) => tile_of::<2>(pixels),
            (1, 4) => tile_of::<4>(pixels),
            (1, 8) => tile_of::<8>(pixels),
            (1, _) if pixels <= LOOSE_PIXELS => tile_of::<0>(pixels),
            (3, _) if pixels == 1 => Some(byte_tile_kernel::<3, 1, true, 0>),
            _ => None,
        }
    }

    pub(super) static SET: ByteSet =
        ByteSet { dense: Form::Eights, tall_blocks: &[3], tile: tile_of_blocks, ..neon_dot::SET };
}

byte_set!(
    portable, crate::block::portable::Portable,
    blocks: [1], tall: [2],
    pixels: [1, 2] up to 2,
    depthwise: [1, 2] up to 2, fives: [1, 2],
    narrow: None, pairs: Some(&crate::kernel::bytes::pairs::portable_pairs::SET),
    rows: [look_up::<Proven>, product::<Proven, SIGNED>, mean::<Proven, SIGNED>, pixels::<Proven, SIGNED>]
);

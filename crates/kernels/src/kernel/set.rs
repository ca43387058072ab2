//! The kernels of one instruction set, and which sizes there are.

use super::average::{AverageCall, AverageKernel, average};
use super::depthwise::{DepthwiseCall, DepthwiseKernel, depthwise};
use super::normalise::{NormaliseCall, NormaliseKernel, normalise};
use super::pointwise::{PointwiseCall, PointwiseKernel, pointwise};
use super::pool::{PoolCall, PoolKernel, pool};
use super::resize::{ResizeCall, ResizeKernel, resize};
use super::softmax::{SoftmaxCall, SoftmaxKernel, softmax};
use super::tile::{TileCall, TileKernel, tile};
use super::winograd::filters::{self, FilterKernel, OF_FOUR, OF_FOUR_STRIDED};
use super::winograd::method::{Four, FourStrided, Method, Three, ThreeStrided, Two, TwoStrided};
use super::winograd::transforms::{transform_patch, transform_sums};
use super::winograd::{Ends, FOUR, FOUR_STRIDED, PatchCall, SumCall, TWO, TWO_STRIDED};
use crate::isa::Isa;
use crate::layout::LANES;
use crate::vector::Vector;

/// Pixels of a tile whose step is none of [`TILE_STEPS`]: without a constant, every pixel holds a register of its own.
pub(crate) const LOOSE_PIXELS: usize = 2;

/// Floats between windows for which there are kernels of full size: every second planar pixel, blocked neighbours, and
/// every second blocked pixel.
pub(crate) const TILE_STEPS: [usize; 3] = [2, 16, 32];

/// Channels of half a block, for which there are tiles of their own: many networks have 24 or 40 channels.
pub(crate) const HALF: usize = LANES / 2;

/// A tile of nearly as many channels as pixels, in vectors: of all that fill the registers it loads least for each product.
#[derive(Debug)]
pub(crate) struct Square {
    pub(crate) blocks: usize,
    pub(crate) pixels: usize,
}

/// Compiled kernels and their sizes.
#[derive(Debug)]
pub(crate) struct KernelSet {
    /// Channel blocks of a tile, largest first.
    pub(crate) blocks: &'static [usize],
    /// Channel blocks of a tile of one pixel, largest first.
    pub(crate) tall_blocks: &'static [usize],
    /// Pixels of a tile at most, where its step is one of [`TILE_STEPS`].
    pub(super) pixels: usize,
    /// Tiles for layers whose channels fill them: more blocks than the others have, and fewer pixels.
    pub(crate) squares: &'static [Square],
    /// The tile of so many channels ([`HALF`], or whole blocks), pixels, and floats of step.
    pub(crate) tile: fn(usize, usize, usize) -> Option<TileKernel>,
    /// Pixels of a depthwise call at most; of one whose window is 5 × 5.
    pub(crate) depthwise_pixels: usize,
    pub(crate) depthwise_pixels_of_five: usize,
    /// The depthwise kernel of a side (0: any window), pixels, and floats of step.
    pub(crate) depthwise: fn(usize, usize, usize) -> Option<DepthwiseKernel>,
    /// Floats of a vector.
    pub(crate) lanes: usize,
    /// Whether vectors are so narrow that products take the time, and not the memory that the factors come from.
    pub(crate) is_narrow: bool,
    pub(crate) pool: PoolKernel,
    pub(crate) average: AverageKernel,
    pub(crate) pointwise: PointwiseKernel,
    pub(crate) resize: ResizeKernel,
    pub(crate) normalise: NormaliseKernel,
    pub(crate) softmax: SoftmaxKernel,
    /// The ends of Winograd's method, by four pixels and by two.
    pub(crate) four: Ends,
    pub(crate) two: Ends,
    /// The same with stride 2.
    pub(crate) four_strided: Ends,
    pub(crate) two_strided: Ends,
}

impl KernelSet {
    /// Pixels at most of a tile of so many channel blocks, where its step is one of [`TILE_STEPS`].
    pub(crate) fn pixels(&self, blocks: usize) -> usize {
        self.squares.iter().find(|square| square.blocks == blocks).map_or(self.pixels, |square| square.pixels)
    }

    /// The kernels of an instruction set; the portable ones where the program was not built for it.
    ///
    /// The kernels may be called on a machine that has the instruction set, such as those of [`Isa::available`].
    pub(crate) fn of(isa: Isa) -> &'static Self {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => &avx512::SET,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => &avx2::SET,
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => &neon::SET,
            _ => &portable::SET,
        }
    }
}

/// A kernel of Winograd's patches, of the method of whole sides; in all four kinds ([`Ends`]) where filters are transformed, too.
macro_rules! kinds {
    ($kernel:ident: $whole:ty, $patch:literal, $output:literal; $short:ty, $few:literal, $less:literal) => {
        [$kernel::<$whole, $whole, $patch, $output, $patch, $output>; 4]
    };
    ($kernel:ident: $whole:ty, $patch:literal, $output:literal; $short:ty, $few:literal, $less:literal; $filters:expr) => {
        [
            $kernel::<$whole, $whole, $patch, $output, $patch, $output>,
            $kernel::<$whole, $short, $patch, $output, $few, $less>,
            $kernel::<$short, $whole, $few, $less, $patch, $output>,
            $kernel::<$short, $short, $few, $less, $few, $less>,
        ]
    };
}

/// The transform of filters by a recipe, where a set has one.
macro_rules! filters_of {
    ($recipe:ident) => {
        None
    };
    ($recipe:ident, $kernel:expr) => {
        Some((&$recipe, $kernel as FilterKernel))
    };
}

/// The module of an instruction set: every generic kernel, compiled with its features.
///
/// `blocks`, `square` and `tall` give the tiles' heights in channel blocks with the vectors that make them, `half` the vector and how
/// many of it make half a block; a tile's sums, `vectors · pixels`, fill the registers but for one row of weights and one
/// of input.
macro_rules! kernel_set {
    (
        $name:ident, $vector:ty, $(features: $features:literal,)?
        blocks: [$($blocks:literal => $vectors:literal),*],
        $(square: $square:literal => $square_vectors:literal, of [$($few:literal),*] up to $most_few:literal,)?
        tall: [$($tall:literal => $tall_vectors:literal),*],
        half: $half:ty => $half_vectors:literal,
        pixels: [$($pixels:literal),*] up to $most:literal,
        depthwise: [$($depthwise:literal),*] up to $most_depthwise:literal,
        of five: [$($five:literal),*] up to $most_of_five:literal
        $(, filters: $of_four:expr, $of_strided:expr)?
    ) => {
        mod $name {
            use super::*;

            $(#[target_feature(enable = $features)])?
            unsafe fn tile_kernel<const VECTORS: usize, const PIXELS: usize, const STEP: usize>(call: &TileCall<'_>) {
                // SAFETY: the caller's promise.
                unsafe { tile::<$vector, VECTORS, PIXELS, STEP>(call) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn depthwise_kernel<const SIDE: usize, const PIXELS: usize, const STEP: usize>(
                call: &DepthwiseCall<'_>,
            ) {
                // SAFETY: the caller's promise.
                unsafe { depthwise::<$vector, SIDE, PIXELS, STEP>(call) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn pool_kernel(call: &PoolCall) {
                // SAFETY: the caller's promise.
                unsafe { pool::<$vector>(call) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn average_kernel(call: &AverageCall) {
                // SAFETY: the caller's promise.
                unsafe { average::<$vector>(call) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn pointwise_kernel(call: &PointwiseCall) {
                // SAFETY: the caller's promise.
                unsafe { pointwise::<$vector>(call) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn resize_kernel(call: &ResizeCall<'_>) {
                // SAFETY: the caller's promise.
                unsafe { resize::<$vector>(call) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn normalise_kernel(call: &NormaliseCall) {
                // SAFETY: the caller's promise.
                unsafe { normalise::<$vector>(call) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn softmax_kernel(call: &SoftmaxCall) {
                // SAFETY: the caller's promise.
                unsafe { softmax::<$vector>(call) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn patch_kernel<
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
                unsafe { transform_patch::<$vector, R, C, ROWS, HEIGHT, COLUMNS, WIDTH>(call) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn sum_kernel<
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
                unsafe { transform_sums::<$vector, R, C, ROWS, HEIGHT, COLUMNS, WIDTH>(call) }
            }

            fn tile_of<const VECTORS: usize, const STEP: usize>(pixels: usize) -> Option<TileKernel> {
                match pixels {
                    $($pixels => Some(tile_kernel::<VECTORS, $pixels, STEP>),)*
                    _ => None,
                }
            }

            fn tile_of_step<const VECTORS: usize>(pixels: usize, step: usize) -> Option<TileKernel> {
                match (step, pixels) {
                    (2, _) => tile_of::<VECTORS, 2>(pixels),
                    (16, _) => tile_of::<VECTORS, 16>(pixels),
                    (32, _) => tile_of::<VECTORS, 32>(pixels),
                    (_, 1) => Some(tile_kernel::<VECTORS, 1, 0>),
                    (_, 2) => Some(tile_kernel::<VECTORS, 2, 0>),
                    _ => None,
                }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn half_tile_kernel<const PIXELS: usize, const STEP: usize>(call: &TileCall<'_>) {
                // SAFETY: the caller's promise.
                unsafe { tile::<$half, $half_vectors, PIXELS, STEP>(call) }
            }

            fn half_tile_of<const STEP: usize>(pixels: usize) -> Option<TileKernel> {
                match pixels {
                    $($pixels => Some(half_tile_kernel::<$pixels, STEP>),)*
                    _ => None,
                }
            }

            fn half_tile_of_step(pixels: usize, step: usize) -> Option<TileKernel> {
                match (step, pixels) {
                    (2, _) => half_tile_of::<2>(pixels),
                    (16, _) => half_tile_of::<16>(pixels),
                    (32, _) => half_tile_of::<32>(pixels),
                    (_, 1) => Some(half_tile_kernel::<1, 0>),
                    (_, 2) => Some(half_tile_kernel::<2, 0>),
                    _ => None,
                }
            }

            $(fn square_of<const STEP: usize>(pixels: usize) -> Option<TileKernel> {
                match pixels {
                    $($few => Some(tile_kernel::<$square_vectors, $few, STEP>),)*
                    _ => None,
                }
            }

            fn square_of_step(pixels: usize, step: usize) -> Option<TileKernel> {
                match (step, pixels) {
                    (2, _) => square_of::<2>(pixels),
                    (16, _) => square_of::<16>(pixels),
                    (32, _) => square_of::<32>(pixels),
                    (_, 2) => Some(tile_kernel::<$square_vectors, 2, 0>),
                    _ => None,
                }
            })?

            fn tile_of_channels(channels: usize, pixels: usize, step: usize) -> Option<TileKernel> {
                if channels == HALF {
                    return half_tile_of_step(pixels, step);
                }
                match (channels / LANES, pixels) {
                    $(($blocks, _) => tile_of_step::<$vectors>(pixels, step),)*
                    $(($tall, 1) => Some(tile_kernel::<$tall_vectors, 1, 0>),)*
                    $(($square, _) => square_of_step(pixels, step),)?
                    _ => None,
                }
            }

            fn depthwise_of<const SIDE: usize, const STEP: usize>(pixels: usize) -> Option<DepthwiseKernel> {
                match pixels {
                    $($depthwise => Some(depthwise_kernel::<SIDE, $depthwise, STEP>),)*
                    _ => None,
                }
            }

            fn depthwise_of_five<const STEP: usize>(pixels: usize) -> Option<DepthwiseKernel> {
                match pixels {
                    $($five => Some(depthwise_kernel::<5, $five, STEP>),)*
                    _ => None,
                }
            }

            fn depthwise_of_side(side: usize, pixels: usize, step: usize) -> Option<DepthwiseKernel> {
                match (side, step) {
                    (3, 16) => depthwise_of::<3, 16>(pixels),
                    (3, 32) => depthwise_of::<3, 32>(pixels),
                    (5, 16) => depthwise_of_five::<16>(pixels),
                    (5, 32) => depthwise_of_five::<32>(pixels),
                    (0, _) => depthwise_of::<0, 0>(pixels),
                    _ => None,
                }
            }

            pub(super) static SET: KernelSet = KernelSet {
                blocks: &[$($blocks),*],
                tall_blocks: &[$($tall),*],
                pixels: $most,
                squares: &[$(Square { blocks: $square, pixels: $most_few })?],
                tile: tile_of_channels,
                depthwise_pixels: $most_depthwise,
                depthwise_pixels_of_five: $most_of_five,
                depthwise: depthwise_of_side,
                lanes: <$vector as Vector>::LANES,
                is_narrow: <$vector as Vector>::BY_LANE,
                pool: pool_kernel,
                average: average_kernel,
                pointwise: pointwise_kernel,
                resize: resize_kernel,
                normalise: normalise_kernel,
                softmax: softmax_kernel,
                four: Ends {
                    size: &FOUR,
                    patch: kinds!(patch_kernel: Four, 6, 4; Three, 5, 3 $(; $of_four)?),
                    sums: kinds!(sum_kernel: Four, 6, 4; Three, 5, 3 $(; $of_four)?),
                    filters: filters_of!(OF_FOUR $(, $of_four)?),
                },
                two: Ends {
                    size: &TWO,
                    patch: [patch_kernel::<Two, Two, 4, 2, 4, 2>; 4],
                    sums: [sum_kernel::<Two, Two, 4, 2, 4, 2>; 4],
                    filters: None,
                },
                four_strided: Ends {
                    size: &FOUR_STRIDED,
                    patch: kinds!(patch_kernel: FourStrided, 9, 4; ThreeStrided, 7, 3 $(; $of_strided)?),
                    sums: kinds!(sum_kernel: FourStrided, 9, 4; ThreeStrided, 7, 3 $(; $of_strided)?),
                    filters: filters_of!(OF_FOUR_STRIDED $(, $of_strided)?),
                },
                two_strided: Ends {
                    size: &TWO_STRIDED,
                    patch: [patch_kernel::<TwoStrided, TwoStrided, 5, 2, 5, 2>; 4],
                    sums: [sum_kernel::<TwoStrided, TwoStrided, 5, 2, 5, 2>; 4],
                    filters: None,
                },
            };
        }
    };
}

#[cfg(target_arch = "x86_64")]
kernel_set!(
    avx512, crate::vector::avx512::Avx512, features: "avx512f,avx512bw,avx512dq,avx512vl,fma",
    blocks: [2 => 2, 1 => 1], square: 4 => 4, of [2, 3, 4, 5, 6] up to 6, tall: [8 => 8, 4 => 4],
    half: crate::vector::avx2::Avx2 => 1,
    pixels: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14] up to 14,
    depthwise: [1, 2, 3, 4, 5, 6, 7, 8] up to 8, of five: [1, 2, 3, 4, 5, 6, 7, 8] up to 8
);

#[cfg(target_arch = "x86_64")]
kernel_set!(
    avx2, crate::vector::avx2::Avx2, features: "avx2,fma",
    blocks: [1 => 2], tall: [4 => 8],
    half: crate::vector::avx2::Avx2 => 1,
    pixels: [1, 2, 3, 4, 5, 6] up to 6,
    depthwise: [1, 2, 3, 4] up to 4, of five: [1, 2, 3, 4] up to 4
);

#[cfg(target_arch = "aarch64")]
kernel_set!(
    neon, crate::vector::neon::Neon,
    blocks: [1 => 4], tall: [4 => 16],
    half: crate::vector::neon::Neon => 2,
    pixels: [1, 2, 3, 4, 5] up to 5,
    depthwise: [1, 2, 3, 4, 5, 6, 7, 8] up to 8, of five: [1, 2, 3, 4] up to 4,
    filters: filters::neon::four, filters::neon::four_strided
);

kernel_set!(
    portable, crate::vector::portable::Portable,
    blocks: [1 => 4], tall: [2 => 8],
    half: crate::vector::portable::Portable => 2,
    pixels: [1, 2] up to 2,
    depthwise: [1, 2] up to 2, of five: [1, 2] up to 2,
    filters: filters::portable::four, filters::portable::four_strided
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_of_any_distance_have_a_kernel_for_each_height_of_a_tile() {
        const FAR: usize = 3 * LANES;
        assert!(!TILE_STEPS.contains(&FAR));
        for isa in [Isa::Avx512, Isa::Avx2, Isa::Neon, Isa::Portable] {
            let set = KernelSet::of(isa);
            let heights = set.squares.iter().map(|square| square.blocks).chain(set.blocks.iter().copied());
            for blocks in heights {
                for pixels in 1..=LOOSE_PIXELS {
                    assert!((set.tile)(blocks * LANES, pixels, FAR).is_some(), "{isa:?}: {blocks} blocks, {pixels}");
                }
            }
        }
    }
}

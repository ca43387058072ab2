//! The loops over pixels: blending rows, resampling a row, colour, normalisation, the transforms of a JPEG.
//!
//! Each loop is written once, in plain Rust over slices, so that a compiler can make vectors of it, and compiled for
//! every instruction set of [`Isa`]. Whole numbers come out the same on all of them; floats too, because no step is
//! fused. Rows between the passes hold a byte with [`FRACTION`] bits of fraction in an `i16`.

mod blend;
mod chroma;
mod colour;
mod normalise;
mod resample;
mod transform;
mod words;

pub use colour::{FULL_RANGE, LIMITED_RANGE, Matrix};
pub use normalise::Scaling;
pub use resample::{TAPS, Taps};
pub use words::Words;

use crate::isa::Isa;

/// Bits of fraction of a sample between the passes: 255 becomes 32640.
pub const FRACTION: u32 = 7;

/// Bits of a weight: those of a sample add up to 16384, so that a sum of bytes stays below 2^22 and one of samples
/// between the passes below 2^29.
pub const WEIGHT_BITS: u32 = 14;

/// Samples in front of and behind what [`Pixels::resample`] reads at most, for the caller's buffers.
pub const PADDING: usize = 32;

/// The loops of one instruction set, which this machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pixels(Isa);

/// A method that runs `$body` as it was compiled for the instruction set.
macro_rules! compiled {
    ($(#[$docs:meta])* $name:ident($($argument:ident: $type:ty),* $(,)?), $body:path) => {
        $(#[$docs])*
        #[inline]
        pub fn $name(self, $($argument: $type),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,bmi2")]
            fn avx512($($argument: $type),*) {
                $body($($argument),*);
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            fn avx2($($argument: $type),*) {
                $body($($argument),*);
            }
            match self.0 {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: `new` has seen that the machine has the instruction set.
                Isa::Avx512 => unsafe { avx512($($argument),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                Isa::Avx2 => unsafe { avx2($($argument),*) },
                // NEON is the baseline where it exists.
                _ => $body($($argument),*),
            }
        }
    };
}

impl Pixels {
    /// The loops of an instruction set; the portable ones where the machine has it not.
    #[must_use]
    pub fn new(isa: Isa) -> Self {
        Self(if Isa::available().contains(&isa) { isa } else { Isa::Portable })
    }

    /// The instruction set in use.
    #[must_use]
    pub fn isa(self) -> Isa {
        self.0
    }

    compiled! {
        /// Blends rows of bytes: sample `x` of `out` is Σ `weights[k]` · `bytes[k · stride + x]`.
        ///
        /// # Panics
        /// Where `bytes` ends before the last row's last byte.
        blend(bytes: &[u8], stride: usize, weights: &[i16], out: &mut [i16]), blend::blend
    }

    compiled! {
        /// Takes every `step`-th sample of `row`, beginning with the first, as long as `out` has room.
        spread(row: &[i16], step: usize, out: &mut [i16]), resample::spread
    }

    /// Resamples a row: sample `x` of `out` is the weighted sum of the samples that `taps` names for it.
    ///
    /// # Panics
    /// Where `row` ends before what a sample's padded taps reach, or `taps` has fewer samples than `out`.
    #[inline]
    pub fn resample(self, row: &[i16], taps: &Taps, out: &mut [i16]) {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `new` has seen that the machine has the instruction set, of which the larger has all of the smaller.
            Isa::Avx512 | Isa::Avx2 => unsafe { resample::resample_avx2(row, taps, out) },
            _ => resample::resample(row, taps, out),
        }
    }

    compiled! {
        /// Rounds samples to bytes.
        round(row: &[i16], out: &mut [u8]), colour::round
    }

    compiled! {
        /// Y, and sixteenfold Cb and Cr, to red, green and blue.
        ///
        /// # Panics
        /// Where the rows are not of one length.
        rgb(row: (&[u8], &[i16], &[i16]), matrix: &Matrix, out: [&mut [u8]; 3]), colour::rgb
    }

    compiled! {
        /// Every `step`-th byte of `row`, beginning with the first.
        pick(row: &[u8], step: usize, out: &mut [u8]), chroma::pick
    }

    compiled! {
        /// Three times every `step`-th byte of `near` and once that of `far`.
        sum_of_four(near: &[u8], far: &[u8], step: usize, out: &mut [i16]), chroma::sum_of_four
    }

    compiled! {
        /// Sixteenfold samples from sums of four, of which the first one is no more than a neighbour.
        fill_own(sums: &[i16], out: &mut [i16]), chroma::fill_own
    }

    compiled! {
        /// The same, each of them twice.
        fill_repeated(sums: &[i16], out: &mut [i16]), chroma::fill_repeated
    }

    compiled! {
        /// Two for each sum: three quarters of it and one of its neighbour on that side.
        fill_blended(sums: &[i16], out: &mut [i16]), chroma::fill_blended
    }

    compiled! {
        /// `(byte × scale − mean) ÷ deviation` of each byte.
        normalise(bytes: &[u8], scaling: Scaling, out: &mut [f32]), normalise::normalise
    }

    compiled! {
        /// The quantised bytes of three rows of one channel each, a word a pixel, as many as there is room for.
        words(rows: [&[u8]; 3], words: &Words, out: &mut [u32]), words::words
    }

    compiled! {
        /// Three rows of one channel each as one row of pixels.
        interleave(rows: [&[u8]; 3], out: &mut [u8]), normalise::interleave
    }

    compiled! {
        /// The 8 × 8 samples of a block from its coefficients, row by row.
        ///
        /// # Panics
        /// Here and below, where `out` has no room for the samples.
        block8(block: &[i32; 64], out: &mut [u8], stride: usize), transform::block8
    }

    compiled! {
        /// The block at half its size.
        block4(block: &[i32; 64], out: &mut [u8], stride: usize), transform::block4
    }

    compiled! {
        /// The block at a quarter of its size.
        block2(block: &[i32; 64], out: &mut [u8], stride: usize), transform::block2
    }
}

impl Default for Pixels {
    /// The fastest that the machine has.
    fn default() -> Self {
        Self(Isa::best())
    }
}

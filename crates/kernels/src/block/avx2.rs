//! Sixteen sums of AVX2: two registers. Three ways of multiplying bytes: exactly in sixteen bits, in eight where the
//! weights are small enough, and by AVX-VNNI.

mod splats;

use std::arch::x86_64::*;

use super::{Block, Form, Joint, Pairs, Range};
use splats::{dot_narrow_splat, dot_pairs_splat};

/// Two registers, of eight channels each.
type Pair = [__m256i; 2];

#[inline(always)]
unsafe fn load_pair<T>(from: *const T) -> Pair {
    // SAFETY: the machine has AVX2, and 64 bytes stand behind the pointer.
    unsafe { [_mm256_loadu_si256(from.cast()), _mm256_loadu_si256(from.cast::<__m256i>().add(1))] }
}

/// For each channel, its bytes of four neighbouring pixels.
#[inline(always)]
unsafe fn transposed(from: *const u8) -> Pair {
    // SAFETY: the machine has AVX2, and 64 bytes stand behind the pointer.
    unsafe {
        let from = from.cast::<__m128i>();
        let (a, b) = (_mm_loadu_si128(from), _mm_loadu_si128(from.add(1)));
        let (c, d) = (_mm_loadu_si128(from.add(2)), _mm_loadu_si128(from.add(3)));
        let (ab, cd) = (_mm_unpacklo_epi8(a, b), _mm_unpacklo_epi8(c, d));
        let low = _mm256_set_m128i(_mm_unpackhi_epi16(ab, cd), _mm_unpacklo_epi16(ab, cd));
        let (ab, cd) = (_mm_unpackhi_epi8(a, b), _mm_unpackhi_epi8(c, d));
        let high = _mm256_set_m128i(_mm_unpackhi_epi16(ab, cd), _mm_unpacklo_epi16(ab, cd));
        [low, high]
    }
}

#[inline(always)]
unsafe fn scaled(sums: Pair, factors: *const f32) -> Pair {
    // SAFETY: the machine has AVX2, and sixteen factors stand behind the pointer.
    unsafe {
        let low = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[0]), _mm256_loadu_ps(factors));
        let high = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[1]), _mm256_loadu_ps(factors.add(8)));
        [_mm256_cvtps_epi32(low), _mm256_cvtps_epi32(high)]
    }
}

#[inline(always)]
unsafe fn joined_half(numbers: __m256i, joint: &Joint, with: *const u8) -> __m256i {
    let Joint { range, zero, ratios } = *joint;
    // SAFETY: the machine has AVX2, and eight bytes stand behind the pointer.
    unsafe {
        let first = _mm256_max_epi32(numbers, _mm256_set1_epi32(range.low - range.zero));
        let first = _mm256_min_epi32(first, _mm256_set1_epi32(range.high - range.zero));
        let second = _mm256_cvtepu8_epi32(_mm_loadl_epi64(with.cast()));
        let second = _mm256_sub_epi32(second, _mm256_set1_epi32(zero));
        let first = _mm256_mul_ps(_mm256_cvtepi32_ps(first), _mm256_set1_ps(ratios[0]));
        let second = _mm256_mul_ps(_mm256_cvtepi32_ps(second), _mm256_set1_ps(ratios[1]));
        _mm256_cvtps_epi32(_mm256_add_ps(first, second))
    }
}

#[inline(always)]
unsafe fn store(numbers: Pair, range: &Range, to: *mut u8) {
    // SAFETY: the machine has AVX2, and sixteen bytes stand behind the pointer.
    unsafe {
        // Saturating to sixteen bits changes nothing that a byte can hold.
        let words = _mm256_permute4x64_epi64::<0xd8>(_mm256_packs_epi32(numbers[0], numbers[1]));
        let words = _mm256_adds_epi16(words, _mm256_set1_epi16(range.zero as i16));
        let bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
        let bytes = _mm_max_epu8(bytes, _mm_set1_epi8(range.low as i8));
        _mm_storeu_si128(to.cast(), _mm_min_epu8(bytes, _mm_set1_epi8(range.high as i8)));
    }
}

/// Two neighbouring pixels.
#[inline(always)]
unsafe fn store_two(first: Pair, second: Pair, range: &Range, to: *mut u8) {
    // SAFETY: the machine has AVX2, and 32 bytes stand behind the pointer.
    unsafe {
        // As for one; packing works in halves, each of which holds four channels of each register.
        let zero = _mm256_set1_epi16(range.zero as i16);
        let first = _mm256_adds_epi16(_mm256_packs_epi32(first[0], first[1]), zero);
        let second = _mm256_adds_epi16(_mm256_packs_epi32(second[0], second[1]), zero);
        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        let bytes = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(first, second), order);
        let bytes = _mm256_max_epu8(bytes, _mm256_set1_epi8(range.low as i8));
        _mm256_storeu_si256(to.cast(), _mm256_min_epu8(bytes, _mm256_set1_epi8(range.high as i8)));
    }
}

#[inline(always)]
unsafe fn store_sums(sums: Pair, to: *mut i32) {
    // SAFETY: the machine has AVX2, and there is room for sixteen sums behind the pointer.
    unsafe {
        _mm256_storeu_si256(to.cast(), sums[0]);
        _mm256_storeu_si256(to.add(8).cast(), sums[1]);
    }
}

#[inline(always)]
unsafe fn store_floats(sums: Pair, factors: *const f32, addends: *const f32, to: *mut f32) {
    // SAFETY: the machine has AVX2, and sixteen numbers stand behind each pointer.
    unsafe {
        let low = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[0]), _mm256_loadu_ps(factors));
        let high = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[1]), _mm256_loadu_ps(factors.add(8)));
        _mm256_storeu_ps(to, _mm256_add_ps(low, _mm256_loadu_ps(addends)));
        _mm256_storeu_ps(to.add(8), _mm256_add_ps(high, _mm256_loadu_ps(addends.add(8))));
    }
}

/// A type of two registers, whose ways of reading and multiplying are given.
macro_rules! block_of_two {
    (
        $(#[$documentation:meta])* $name:ident, $form:expr, input: $input:ty, weights: $weights:ty,
        $read_weights:expr, $broadcast:expr, $neighbours:expr, $dot:expr $(, splat: $splat:ident)?
    ) => {
        $(#[$documentation])*
        #[derive(Debug, Clone, Copy)]
        pub(crate) struct $name(Pair);

        impl Block for $name {
            type Input = $input;
            type Weights = $weights;

            const FORM: Form = $form;
            const SIGNED: bool = false;

            #[inline(always)]
            unsafe fn load(from: *const i32) -> Self {
                // SAFETY: the caller's promise.
                Self(unsafe { load_pair(from) })
            }

            #[inline(always)]
            unsafe fn weights(from: *const u8) -> Self::Weights {
                // SAFETY: the caller's promise.
                unsafe { $read_weights(from) }
            }

            #[inline(always)]
            unsafe fn broadcast(from: *const i32) -> Self::Input {
                // SAFETY: the caller's promise.
                unsafe { $broadcast(_mm256_set1_epi32(from.read_unaligned())) }
            }

            #[inline(always)]
            unsafe fn neighbours(from: *const u8) -> Self::Input {
                // SAFETY: the caller's promise.
                unsafe { $neighbours(transposed(from)) }
            }

            #[inline(always)]
            unsafe fn dot(self, input: Self::Input, weights: Self::Weights) -> Self {
                // SAFETY: the caller's promise.
                Self(unsafe { $dot(self.0, input, weights) })
            }

            $(
                const SPLATS: bool = true;

                #[inline(always)]
                unsafe fn dot_splat<const PIXEL: usize, const PIXELS: usize, const STEP: usize, const WORD: usize>(
                    self,
                    halves: [*const i32; 2],
                    weights: Pair,
                ) -> Self {
                    // SAFETY: the caller's promise.
                    Self(unsafe { $splat::<PIXEL, PIXELS, STEP, WORD>(self.0, halves, weights) })
                }
            )?

            #[inline(always)]
            unsafe fn scaled(self, factors: *const f32) -> Self {
                // SAFETY: the caller's promise.
                Self(unsafe { scaled(self.0, factors) })
            }

            #[inline(always)]
            unsafe fn joined(self, joint: &Joint, with: *const u8) -> Self {
                // SAFETY: the caller's promise.
                Self(unsafe { [joined_half(self.0[0], joint, with), joined_half(self.0[1], joint, with.add(8))] })
            }

            #[inline(always)]
            unsafe fn store(self, range: &Range, to: *mut u8) {
                // SAFETY: the caller's promise.
                unsafe { store(self.0, range, to) }
            }

            #[inline(always)]
            unsafe fn store_row([a, b, c, d]: [Self; 4], count: usize, range: &Range, to: *mut u8) {
                // SAFETY: the caller's promise.
                unsafe {
                    match count {
                        1 => store(a.0, range, to),
                        _ => store_two(a.0, b.0, range, to),
                    }
                    match count {
                        3 => store(c.0, range, to.add(32)),
                        4 => store_two(c.0, d.0, range, to.add(32)),
                        _ => {}
                    }
                }
            }

            #[inline(always)]
            unsafe fn store_sums(self, to: *mut i32) {
                // SAFETY: the caller's promise.
                unsafe { store_sums(self.0, to) }
            }

            #[inline(always)]
            unsafe fn store_floats(self, factors: *const f32, addends: *const f32, to: *mut f32) {
                // SAFETY: the caller's promise.
                unsafe { store_floats(self.0, factors, addends, to) }
            }
        }
    };
}

/// Bytes of each half of four as sixteen bits: the first and third, and the second and fourth.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Widened {
    even: Pair,
    odd: Pair,
}

#[inline(always)]
unsafe fn widened(bytes: Pair) -> Widened {
    // SAFETY: the machine has AVX2.
    unsafe {
        let low = _mm256_set1_epi16(0xff);
        Widened {
            even: [_mm256_and_si256(bytes[0], low), _mm256_and_si256(bytes[1], low)],
            odd: [_mm256_srli_epi16::<8>(bytes[0]), _mm256_srli_epi16::<8>(bytes[1])],
        }
    }
}

#[inline(always)]
unsafe fn widened_broadcast(bytes: __m256i) -> Widened {
    // SAFETY: the machine has AVX2.
    unsafe {
        let even = _mm256_and_si256(bytes, _mm256_set1_epi16(0xff));
        let odd = _mm256_srli_epi16::<8>(bytes);
        Widened { even: [even, even], odd: [odd, odd] }
    }
}

/// As [`Form::Words`] has them.
#[inline(always)]
unsafe fn words(from: *const u8) -> [Pair; 2] {
    // SAFETY: the machine has AVX2, and 128 bytes stand behind the pointer.
    unsafe { [load_pair(from), load_pair(from.add(64))] }
}

#[inline(always)]
unsafe fn dot_words(sums: Pair, input: Widened, weights: [Pair; 2]) -> Pair {
    // SAFETY: the machine has AVX2. Two products of a byte and a weight of nine bits are far below 2³¹.
    unsafe {
        let low = _mm256_add_epi32(sums[0], _mm256_madd_epi16(input.even[0], weights[0][0]));
        let high = _mm256_add_epi32(sums[1], _mm256_madd_epi16(input.even[1], weights[1][0]));
        let low = _mm256_add_epi32(low, _mm256_madd_epi16(input.odd[0], weights[0][1]));
        let high = _mm256_add_epi32(high, _mm256_madd_epi16(input.odd[1], weights[1][1]));
        [low, high]
    }
}

#[inline(always)]
unsafe fn as_it_is(bytes: Pair) -> Pair {
    bytes
}

#[inline(always)]
unsafe fn twice(bytes: __m256i) -> Pair {
    [bytes, bytes]
}

#[inline(always)]
unsafe fn dot_narrow(sums: Pair, input: Pair, weights: Pair) -> Pair {
    // SAFETY: the machine has AVX2. Two products fit sixteen bits, as `Form::NarrowBytes` has it.
    unsafe {
        let ones = _mm256_set1_epi16(1);
        let low = _mm256_madd_epi16(_mm256_maddubs_epi16(input[0], weights[0]), ones);
        let high = _mm256_madd_epi16(_mm256_maddubs_epi16(input[1], weights[1]), ones);
        [_mm256_add_epi32(sums[0], low), _mm256_add_epi32(sums[1], high)]
    }
}

#[inline(always)]
unsafe fn dot_vnni(sums: Pair, input: Pair, weights: Pair) -> Pair {
    // SAFETY: the machine has AVX-VNNI.
    unsafe {
        [_mm256_dpbusd_avx_epi32(sums[0], input[0], weights[0]), _mm256_dpbusd_avx_epi32(sums[1], input[1], weights[1])]
    }
}

block_of_two!(
    /// Sixteen sums; products in sixteen bits, exact for all weights.
    Avx2Words, Form::Words, input: Widened, weights: [Pair; 2], words, widened_broadcast, widened, dot_words
);

block_of_two!(
    /// Sixteen sums; products in eight bits, exact for weights of [`Form::NarrowBytes`].
    Avx2Narrow, Form::NarrowBytes, input: Pair, weights: Pair, load_pair, twice, as_it_is, dot_narrow,
    splat: dot_narrow_splat
);

block_of_two!(
    /// Sixteen sums of AVX-VNNI.
    AvxVnni, Form::Bytes, input: Pair, weights: Pair, load_pair, twice, as_it_is, dot_vnni
);

impl Pairs for Avx2Narrow {
    #[inline(always)]
    unsafe fn dot_pairs_splat<const PIXEL: usize, const PIXELS: usize, const STEP: usize, const WORD: usize>(
        self,
        halves: [*const i32; 2],
        weights: Pair,
    ) -> Self {
        // SAFETY: the machine has AVX2, and a word stands there.
        Self(unsafe { dot_pairs_splat::<PIXEL, PIXELS, STEP, WORD>(self.0, halves, weights) })
    }

    #[inline(always)]
    unsafe fn rows(first: *const u8, second: *const u8) -> Pair {
        // SAFETY: the machine has AVX2, and sixteen bytes stand behind each pointer.
        unsafe {
            let (first, second) = (_mm_loadu_si128(first.cast()), _mm_loadu_si128(second.cast()));
            let low = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(first, second));
            [low, _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(first, second))]
        }
    }

    #[inline(always)]
    unsafe fn row(first: *const u8) -> Pair {
        // SAFETY: the machine has AVX2, and sixteen bytes stand behind the pointer.
        unsafe {
            let low = _mm256_cvtepu8_epi32(_mm_loadl_epi64(first.cast()));
            [low, _mm256_cvtepu8_epi32(_mm_loadl_epi64(first.add(8).cast()))]
        }
    }

    #[inline(always)]
    unsafe fn dot_pairs(self, input: Pair, weights: Pair) -> Self {
        // SAFETY: the machine has AVX2.
        unsafe {
            let low = _mm256_madd_epi16(input[0], weights[0]);
            let high = _mm256_madd_epi16(input[1], weights[1]);
            Self([_mm256_add_epi32(self.0[0], low), _mm256_add_epi32(self.0[1], high)])
        }
    }
}

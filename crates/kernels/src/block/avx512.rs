//! Sixteen sums of AVX-512 with VNNI: one register. Where there is VBMI, too, bytes are put in another order at once.

use std::arch::x86_64::*;

use super::{Block, Form, Joint, Range};
use crate::kernel::bytes::rows::TableCall;
use crate::layout::LANES;

/// Sixteen sums; `VBMI` says whether the machine has that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vnni512<const VBMI: bool>(__m512i);

/// The order in which four pixels' sixteen bytes are sixteen channels' four bytes.
static BY_CHANNEL: [u8; 64] = {
    let mut order = [0; 64];
    let mut place = 0;
    while place < 64 {
        order[place] = (place % 4 * 16 + place / 4) as u8;
        place += 1;
    }
    order
};

/// A row of bytes by a table, 64 at a time.
///
/// # Safety
/// As for every kernel (`kernel.rs`); the machine has VBMI.
#[inline(always)]
pub(crate) unsafe fn look_up(call: &TableCall<'_>) {
    // SAFETY: the caller's promise; a table has 256 bytes.
    unsafe {
        let table: *const u8 = call.table.as_ptr();
        let (a, b) = (_mm512_loadu_si512(table.cast()), _mm512_loadu_si512(table.add(64).cast()));
        let (c, d) = (_mm512_loadu_si512(table.add(128).cast()), _mm512_loadu_si512(table.add(192).cast()));
        let bytes = call.pixels * LANES;
        let mut from = 0;
        while from < bytes {
            let left = bytes - from;
            let mask = if left < 64 { (1 << left) - 1 } else { u64::MAX };
            let places = _mm512_maskz_loadu_epi8(mask, call.input.add(from).cast());
            // The lowest seven bits choose within each half, the highest between them.
            let low = _mm512_permutex2var_epi8(a, places, b);
            let high = _mm512_permutex2var_epi8(c, places, d);
            let found = _mm512_mask_blend_epi8(_mm512_movepi8_mask(places), low, high);
            _mm512_mask_storeu_epi8(call.output.add(from).cast(), mask, found);
            from += 64;
        }
    }
}

/// The whole numbers nearest to floats.
#[inline(always)]
unsafe fn nearest(floats: __m512) -> __m512i {
    // SAFETY: the machine has AVX-512.
    unsafe { _mm512_cvtps_epi32(floats) }
}

impl<const VBMI: bool> Block for Vnni512<VBMI> {
    type Input = __m512i;
    type Weights = __m512i;

    const FORM: Form = Form::Bytes;
    const SIGNED: bool = false;

    #[inline(always)]
    unsafe fn load(from: *const i32) -> Self {
        // SAFETY: the machine has AVX-512, and sixteen sums stand behind the pointer.
        Self(unsafe { _mm512_loadu_si512(from.cast()) })
    }

    #[inline(always)]
    unsafe fn weights(from: *const u8) -> Self::Weights {
        // SAFETY: the machine has AVX-512, and 64 weights stand behind the pointer.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn broadcast(from: *const i32) -> Self::Input {
        // SAFETY: the machine has AVX-512, and four bytes stand behind the pointer.
        unsafe { _mm512_set1_epi32(from.read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn neighbours(from: *const u8) -> Self::Input {
        // SAFETY: the machine has AVX-512, and 64 bytes stand behind the pointer.
        unsafe {
            if VBMI {
                let order = _mm512_loadu_si512(BY_CHANNEL.as_ptr().cast());
                return _mm512_permutexvar_epi8(order, _mm512_loadu_si512(from.cast()));
            }
            // Four channels of all four pixels into each quarter, then channel by channel within it.
            let quarters = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            let transposed =
                _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
            let pixels = _mm512_permutexvar_epi32(quarters, _mm512_loadu_si512(from.cast()));
            _mm512_shuffle_epi8(pixels, transposed)
        }
    }

    #[inline(always)]
    unsafe fn dot(self, input: Self::Input, weights: Self::Weights) -> Self {
        // SAFETY: the machine has VNNI.
        Self(unsafe { _mm512_dpbusd_epi32(self.0, input, weights) })
    }

    #[inline(always)]
    unsafe fn scaled(self, factors: *const f32) -> Self {
        // SAFETY: the machine has AVX-512, and sixteen factors stand behind the pointer.
        Self(unsafe { nearest(_mm512_mul_ps(_mm512_cvtepi32_ps(self.0), _mm512_loadu_ps(factors))) })
    }

    #[inline(always)]
    unsafe fn joined(self, joint: &Joint, with: *const u8) -> Self {
        let Joint { range, zero, ratios } = *joint;
        // SAFETY: the machine has AVX-512, and sixteen bytes stand behind the pointer.
        unsafe {
            let (low, high) = (range.low - range.zero, range.high - range.zero);
            let first = _mm512_max_epi32(self.0, _mm512_set1_epi32(low));
            let first = _mm512_min_epi32(first, _mm512_set1_epi32(high));
            let second = _mm512_cvtepu8_epi32(_mm_loadu_si128(with.cast()));
            let second = _mm512_sub_epi32(second, _mm512_set1_epi32(zero));
            let first = _mm512_mul_ps(_mm512_cvtepi32_ps(first), _mm512_set1_ps(ratios[0]));
            let second = _mm512_mul_ps(_mm512_cvtepi32_ps(second), _mm512_set1_ps(ratios[1]));
            Self(nearest(_mm512_add_ps(first, second)))
        }
    }

    #[inline(always)]
    unsafe fn store(self, range: &Range, to: *mut u8) {
        // SAFETY: the machine has AVX-512, and sixteen bytes stand behind the pointer.
        unsafe { Self::store_row([self; 4], 1, range, to) }
    }

    #[inline(always)]
    unsafe fn store_sums(self, to: *mut i32) {
        // SAFETY: the machine has AVX-512, and there is room for sixteen sums behind the pointer.
        unsafe { _mm512_storeu_si512(to.cast(), self.0) }
    }

    #[inline(always)]
    unsafe fn store_floats(self, factors: *const f32, addends: *const f32, to: *mut f32) {
        // SAFETY: the machine has AVX-512, and sixteen numbers stand behind each pointer.
        unsafe {
            let scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(self.0), _mm512_loadu_ps(factors));
            _mm512_storeu_ps(to, _mm512_add_ps(scaled, _mm512_loadu_ps(addends)));
        }
    }

    #[inline(always)]
    unsafe fn store_row(pixels: [Self; 4], count: usize, range: &Range, to: *mut u8) {
        let [a, b, c, d] = pixels;
        // SAFETY: the machine has AVX-512, and sixteen bytes for each pixel stand behind the pointer.
        unsafe {
            // Saturating to sixteen bits changes nothing that a byte can hold.
            let zero = _mm512_set1_epi16(range.zero as i16);
            let first = _mm512_adds_epi16(_mm512_packs_epi32(a.0, b.0), zero);
            let second = _mm512_adds_epi16(_mm512_packs_epi32(c.0, d.0), zero);
            let bytes = _mm512_packus_epi16(first, second);
            let bytes = _mm512_max_epu8(bytes, _mm512_set1_epi8(range.low as i8));
            let bytes = _mm512_min_epu8(bytes, _mm512_set1_epi8(range.high as i8));
            // Packing works in quarters, each of which holds four channels of all pixels.
            let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            let bytes = _mm512_permutexvar_epi32(order, bytes);
            match count {
                1 => _mm_storeu_si128(to.cast(), _mm512_castsi512_si128(bytes)),
                2 => _mm256_storeu_si256(to.cast(), _mm512_castsi512_si256(bytes)),
                3 => _mm512_mask_storeu_epi32(to.cast(), 0x0fff, bytes),
                _ => _mm512_storeu_si512(to.cast(), bytes),
            }
        }
    }
}

//! Rows of bytes by NEON, where what the compiler makes of `kernel/bytes/rows.rs` takes more instructions.

use std::arch::aarch64::*;

use super::{Four, limited, narrowed, scaled_by};
use crate::block::Range;
use crate::bounds::Proven;
use crate::kernel::bytes::rows::{self, ByteMeanCall, PixelsCall, ProductRowCall, TableCall};
use crate::layout::LANES;

/// An unsigned zero, as tensors hold bytes.
#[inline(always)]
const fn stored(zero: i32) -> i32 {
    zero - 128
}

/// A row of bytes by a table, two pixels at a time.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn look_up(call: &TableCall<'_>) {
    // SAFETY: the caller's promise; a table has 256 bytes.
    unsafe {
        let table = call.table.as_ptr();
        let parts =
            [vld1q_u8_x4(table), vld1q_u8_x4(table.add(64)), vld1q_u8_x4(table.add(128)), vld1q_u8_x4(table.add(192))];
        let (mut from, mut to) = (call.input, call.output);
        for _ in 0..call.pixels / 2 {
            let places = [vld1q_u8(from), vld1q_u8(from.add(LANES))];
            vst1q_u8(to, found(&parts, places[0]));
            vst1q_u8(to.add(LANES), found(&parts, places[1]));
            (from, to) = (from.add(2 * LANES), to.add(2 * LANES));
        }
        if !call.pixels.is_multiple_of(2) {
            vst1q_u8(to, found(&parts, vld1q_u8(from)));
        }
    }
}

/// Sixteen bytes of a table of four times 64.
#[inline(always)]
unsafe fn found(parts: &[uint8x16x4_t; 4], places: uint8x16_t) -> uint8x16_t {
    // SAFETY: NEON is present on all of 64-bit Arm.
    unsafe {
        // Places beyond a part change nothing.
        let found = vqtbl4q_u8(parts[0], places);
        let found = vqtbx4q_u8(found, parts[1], vsubq_u8(places, vdupq_n_u8(64)));
        let found = vqtbx4q_u8(found, parts[2], vsubq_u8(places, vdupq_n_u8(128)));
        vqtbx4q_u8(found, parts[3], vsubq_u8(places, vdupq_n_u8(192)))
    }
}

/// Sixteen bytes less their zero.
#[inline(always)]
unsafe fn steps(from: *const u8, zero: int8x16_t) -> [int16x8_t; 2] {
    // SAFETY: sixteen bytes stand behind the pointer.
    unsafe {
        let bytes = vld1q_s8(from.cast());
        [vsubl_s8(vget_low_s8(bytes), vget_low_s8(zero)), vsubl_high_s8(bytes, zero)]
    }
}

/// The product of two rows of bytes, or of a row and sixteen channels. Products of steps are below 2¹⁶, which a float holds;
/// rounded numbers are saturated where `kernel/bytes/rows.rs` holds them between the limits before it rounds.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn product(call: &ProductRowCall) {
    let [first_zero, second_zero, zero] = call.zeros.map(stored);
    let [low, high] = call.limits.map(|limit| stored(i32::from(limit)));
    let range = Range { zero, low, high };
    // SAFETY: the caller's promise.
    unsafe {
        let (first_zero, second_zero) = (vdupq_n_s8(first_zero as i8), vdupq_n_s8(second_zero as i8));
        let ratio = vdupq_n_f32(call.ratio);
        let mut second = steps(call.inputs[1], second_zero);
        for pixel in 0..call.pixels {
            let first = steps(call.inputs[0].add(pixel * LANES), first_zero);
            if call.second_pixel > 0 {
                second = steps(call.inputs[1].add(pixel * call.second_pixel), second_zero);
            }
            let products: Four = [
                scaled_by(vmull_s16(vget_low_s16(first[0]), vget_low_s16(second[0])), ratio),
                scaled_by(vmull_high_s16(first[0], second[0]), ratio),
                scaled_by(vmull_s16(vget_low_s16(first[1]), vget_low_s16(second[1])), ratio),
                scaled_by(vmull_high_s16(first[1], second[1]), ratio),
            ];
            vst1q_s8(call.output.add(pixel * LANES).cast(), limited(narrowed(products, &range), &range));
        }
    }
}

/// A row of a picture, of three channels sixteen pixels at a time.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn pixels(call: &PixelsCall<'_>) {
    // SAFETY: the caller's promise; rows are of one length.
    unsafe {
        let &[first, second, third] = call.rows else { return rows::pixels::<Proven, true>(call) };
        let (range, scale) =
            (Range { zero: stored(i32::from(call.zero)), low: -128, high: 127 }, vdupq_n_f32(call.scale));
        let whole = first.len() / LANES * LANES;
        for x in (0..whole).step_by(LANES) {
            let first = quantised(first.as_ptr().add(x), scale, &range);
            let second = quantised(second.as_ptr().add(x), scale, &range);
            let third = quantised(third.as_ptr().add(x), scale, &range);
            vst4q_s8(call.output.add(4 * x).cast(), int8x16x4_t(first, second, third, vdupq_n_s8(0)));
        }
        let rest = [first, second, third].map(|row| row.get(whole..).unwrap_or_default());
        let output = call.output.add(4 * whole);
        rows::pixels::<Proven, true>(&PixelsCall { rows: &rest, scale: call.scale, zero: call.zero, output });
    }
}

/// The bytes that stand for sixteen numbers; those beyond all bytes are saturated.
#[inline(always)]
unsafe fn quantised(from: *const f32, scale: float32x4_t, range: &Range) -> int8x16_t {
    // SAFETY: sixteen numbers stand behind the pointer.
    unsafe {
        let numbers = [
            vcvtnq_s32_f32(vdivq_f32(vld1q_f32(from), scale)),
            vcvtnq_s32_f32(vdivq_f32(vld1q_f32(from.add(4)), scale)),
            vcvtnq_s32_f32(vdivq_f32(vld1q_f32(from.add(8)), scale)),
            vcvtnq_s32_f32(vdivq_f32(vld1q_f32(from.add(12)), scale)),
        ];
        narrowed(numbers, range)
    }
}

/// Bytes of which a sum always fits sixteen bits.
const OF_SIXTEEN_BITS: usize = 255;

/// The mean of a whole plane: sums of sixteen bits, as long as they fit, then of 32.
///
/// # Safety
/// As for every kernel (`kernel.rs`). The plane has fewer than 2²³ pixels.
#[inline(always)]
pub(crate) unsafe fn mean(call: &ByteMeanCall) {
    let is_one_row = call.row == call.width * LANES;
    let (rows, columns) = if is_one_row { (1, call.height * call.width) } else { (call.height, call.width) };
    let zeros = call.zeros.map(|zero| stored(i32::from(zero)));
    let range = Range { zero: zeros[1], low: -128, high: 127 };
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [vdupq_n_s32(-((call.height * call.width) as i32) * zeros[0]); 4];
        let (mut short, mut room) = ([vdupq_n_s16(0); 2], OF_SIXTEEN_BITS);
        for y in 0..rows {
            let (mut from, mut left) = (call.input.add(y * call.row).cast::<i8>(), columns);
            while left > 0 {
                let part = left.min(room);
                for _ in 0..part / 4 {
                    for pixel in 0..4 {
                        add(&mut short, vld1q_s8(from.add(pixel * LANES)));
                    }
                    from = from.add(4 * LANES);
                }
                for _ in 0..part % 4 {
                    add(&mut short, vld1q_s8(from));
                    from = from.add(LANES);
                }
                (left, room) = (left - part, room - part);
                if room == 0 {
                    widen(&mut sums, &mut short);
                    room = OF_SIXTEEN_BITS;
                }
            }
        }
        widen(&mut sums, &mut short);
        let factor = vdupq_n_f32(call.factor);
        let [a, b, c, d] = sums;
        let means = [scaled_by(a, factor), scaled_by(b, factor), scaled_by(c, factor), scaled_by(d, factor)];
        vst1q_s8(call.output.cast(), narrowed(means, &range));
    }
}

/// Adds sixteen bytes.
#[inline(always)]
unsafe fn add(short: &mut [int16x8_t; 2], bytes: int8x16_t) {
    // SAFETY: NEON is present on all of 64-bit Arm.
    unsafe { *short = [vaddw_s8(short[0], vget_low_s8(bytes)), vaddw_high_s8(short[1], bytes)] }
}

/// Adds the sums of sixteen bits to those of 32; what is left of them is 0.
#[inline(always)]
unsafe fn widen(sums: &mut Four, short: &mut [int16x8_t; 2]) {
    // SAFETY: NEON is present on all of 64-bit Arm.
    unsafe {
        let [low, high] = *short;
        sums[0] = vaddw_s16(sums[0], vget_low_s16(low));
        sums[1] = vaddw_high_s16(sums[1], low);
        sums[2] = vaddw_s16(sums[2], vget_low_s16(high));
        sums[3] = vaddw_high_s16(sums[3], high);
        *short = [vdupq_n_s16(0); 2];
    }
}

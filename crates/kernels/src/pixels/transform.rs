//! The inverse cosine transforms of a JPEG's blocks (ITU-T T.81, A.3.3), whole and at reduced size.
//!
//! A block at half its size is the transform of four points of its sixteen lowest frequencies, scaled so that a flat
//! block keeps its level: each sample is then the mean of four, but for what the discarded frequencies would have
//! added. In one dimension, with k(u) = cos(uπ/16) / 2,
//!
//! ```text
//! f(n) = Σ k((2n+1)u) F(u), u = 0 … 7, with k(4) for u = 0
//! ```
//!
//! Sums wrap: coefficients that no encoder makes give other samples, and no panic.

use std::num::Wrapping;

type Number = Wrapping<i32>;

/// Bits of the factors.
const BITS: usize = 13;
/// Bits of fraction between the two dimensions.
const BETWEEN: usize = 2;

const fn factor(cosine: f64) -> Number {
    Wrapping((cosine * 0.5 * (1 << BITS) as f64 + 0.5) as i32)
}

/// cos(uπ/16) / 2 of u = 1 to 7.
const K1: Number = factor(0.980_785_280_403_230_4);
const K2: Number = factor(0.923_879_532_511_286_7);
const K3: Number = factor(0.831_469_612_302_545_2);
const K4: Number = factor(0.707_106_781_186_547_5);
const K5: Number = factor(0.555_570_233_019_602_2);
const K6: Number = factor(0.382_683_432_365_089_8);
const K7: Number = factor(0.195_090_322_016_128_3);

const COLUMNS: (Number, usize) = (Wrapping(1 << (BITS - BETWEEN - 1)), BITS - BETWEEN);
/// Samples lie around 128.
const ROWS: (Number, usize) = (Wrapping((1 << (BITS + BETWEEN - 1)) + (128 << (BITS + BETWEEN))), BITS + BETWEEN);

/// Eight points of eight frequencies.
#[inline(always)]
fn eight(f: [Number; 8], (round, shift): (Number, usize)) -> [Number; 8] {
    let [e0, e1, e2, e3] = four([f[0], f[2], f[4], f[6]], round);
    let o0 = K1 * f[1] + K3 * f[3] + K5 * f[5] + K7 * f[7];
    let o1 = K3 * f[1] - K7 * f[3] - K1 * f[5] - K5 * f[7];
    let o2 = K5 * f[1] - K1 * f[3] + K7 * f[5] + K3 * f[7];
    let o3 = K7 * f[1] - K5 * f[3] + K3 * f[5] - K1 * f[7];
    [e0 + o0, e1 + o1, e2 + o2, e3 + o3, e3 - o3, e2 - o2, e1 - o1, e0 - o0].map(|sum| sum >> shift)
}

/// Four points of four frequencies, not yet shifted.
#[inline(always)]
fn four(f: [Number; 4], round: Number) -> [Number; 4] {
    let (sum, difference) = (K4 * (f[0] + f[2]) + round, K4 * (f[0] - f[2]) + round);
    let (outer, inner) = (K2 * f[1] + K6 * f[3], K6 * f[1] - K2 * f[3]);
    [sum + outer, difference + inner, difference - inner, sum - outer]
}

#[inline(always)]
fn byte(number: Number) -> u8 {
    number.0.clamp(0, 255) as u8
}

#[inline(always)]
pub(super) fn block8(block: &[i32; 64], out: &mut [u8], stride: usize) {
    let mut turned = [Wrapping(0); 64];
    for x in 0..8 {
        let column = eight(std::array::from_fn(|y| Wrapping(block[y * 8 + x])), COLUMNS);
        for y in 0..8 {
            turned[x * 8 + y] = column[y];
        }
    }
    let mut samples = [0; 64];
    for y in 0..8 {
        let row = eight(std::array::from_fn(|x| turned[x * 8 + y]), ROWS);
        for x in 0..8 {
            samples[y * 8 + x] = byte(row[x]);
        }
    }
    for (y, row) in samples.chunks_exact(8).enumerate() {
        out[y * stride..][..8].copy_from_slice(row);
    }
}

#[inline(always)]
pub(super) fn block4(block: &[i32; 64], out: &mut [u8], stride: usize) {
    let mut turned = [Wrapping(0); 16];
    for x in 0..4 {
        let column = four(std::array::from_fn(|y| Wrapping(block[y * 8 + x])), COLUMNS.0).map(|sum| sum >> COLUMNS.1);
        for y in 0..4 {
            turned[x * 4 + y] = column[y];
        }
    }
    let mut samples = [0; 16];
    for y in 0..4 {
        let row = four(std::array::from_fn(|x| turned[x * 4 + y]), ROWS.0).map(|sum| sum >> ROWS.1);
        for x in 0..4 {
            samples[y * 4 + x] = byte(row[x]);
        }
    }
    for (y, row) in samples.chunks_exact(4).enumerate() {
        out[y * stride..][..4].copy_from_slice(row);
    }
}

#[inline(always)]
pub(super) fn block2(block: &[i32; 64], out: &mut [u8], stride: usize) {
    let at = |index: usize| Wrapping(block[index]);
    // k(4) twice is an eighth.
    let (top, bottom) = (at(0) + at(8), at(0) - at(8));
    let (right_top, right_bottom) = (at(1) + at(9), at(1) - at(9));
    let level = |sum: Number| byte(((sum + Wrapping(4)) >> 3) + Wrapping(128));
    out[..2].copy_from_slice(&[level(top + right_top), level(top - right_top)]);
    out[stride..][..2].copy_from_slice(&[level(bottom + right_bottom), level(bottom - right_bottom)]);
}

//! The vertical pass: rows of bytes, whatever they hold, become one row of samples.

use super::{FRACTION, WEIGHT_BITS};

/// Samples whose sums are kept in registers.
const BLOCK: usize = 64;
const SHIFT: u32 = WEIGHT_BITS - FRACTION;

#[inline(always)]
pub(super) fn blend(bytes: &[u8], stride: usize, weights: &[i16], out: &mut [i16]) {
    let mut blocks = out.chunks_exact_mut(BLOCK);
    let mut at = 0;
    for out in &mut blocks {
        write::<BLOCK>(bytes, at, stride, weights, out);
        at += BLOCK;
    }
    let mut rest = blocks.into_remainder().chunks_exact_mut(8);
    for out in &mut rest {
        write::<8>(bytes, at, stride, weights, out);
        at += 8;
    }
    for out in rest.into_remainder() {
        write::<1>(bytes, at, stride, weights, std::slice::from_mut(out));
        at += 1;
    }
}

#[inline(always)]
fn write<const N: usize>(bytes: &[u8], mut at: usize, stride: usize, weights: &[i16], out: &mut [i16]) {
    let mut sums = [1_i32 << (SHIFT - 1); N];
    for &weight in weights {
        let row = &bytes[at..at + N];
        for (sum, &byte) in sums.iter_mut().zip(row) {
            *sum += i32::from(weight) * i32::from(byte);
        }
        at += stride;
    }
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = (sum >> SHIFT) as i16;
    }
}

//! Depthwise convolution of bytes: four neighbouring elements of a row of the window at a time, which a transposition
//! makes into four bytes of each channel.

use super::unrolled;
use crate::block::{Block, Form, Pairs, Range, next_pixel};
use crate::layout::LANES;

/// Elements of the window's rows that are multiplied at once.
pub(crate) const TAPS: usize = 4;

/// What one call computes: some neighbouring pixels of one channel block.
#[derive(Debug)]
pub(crate) struct ByteDepthwiseCall {
    /// The first pixel's window.
    pub(crate) input: *const u8,
    /// Bytes from a row of the input to the next that the window sees.
    pub(crate) row: usize,
    /// Bytes between the windows of neighbouring pixels.
    pub(crate) step: usize,
    /// How many; kernels that have a constant do not read it.
    pub(crate) pixels: usize,
    /// Rows of the window, and how often they are gone over.
    pub(crate) rows: usize,
    pub(crate) passes: usize,
    /// Fours of elements in a row of the window, the last filled up with weights of 0.
    pub(crate) fours: usize,
    /// For each pass, for each row, for each four, sixteen channels; where neighbouring pixels share fours, then the same
    /// again for each other place in a four where a window begins, so many elements further on.
    pub(crate) weights: *const u8,
    pub(crate) bias: *const i32,
    pub(crate) factors: *const f32,
    /// The first pixel.
    pub(crate) output: *mut u8,
    pub(crate) range: Range,
}

/// A compiled depthwise kernel.
pub(crate) type ByteDepthwiseKernel = unsafe fn(&ByteDepthwiseCall);

/// `PIXELS` pixels of any window.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn depthwise<B: Block, const PIXELS: usize>(call: &ByteDepthwiseCall) {
    // SAFETY: the caller's promise; offsets follow the call's own geometry.
    unsafe {
        let mut sums = [B::load(call.bias); PIXELS];
        let mut weights = call.weights;
        for row in 0..call.passes * call.rows {
            let mut input = call.input.add(within(row, call.rows) * call.row);
            for _ in 0..call.fours {
                let four = B::weights(weights);
                for pixel in 0..PIXELS {
                    sums[pixel] = sums[pixel].dot(B::neighbours(input.add(pixel * call.step)), four);
                    next_pixel::<B>();
                }
                weights = weights.add(B::FORM.bytes());
                input = input.add(TAPS * LANES);
            }
        }
        finish(&mut sums, call);
    }
}

/// `PIXELS` pixels of a window of three columns and a step of one: four neighbouring bytes hold the windows of two pixels,
/// so that one transposition serves both.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn depthwise_pairs<B: Block, const PIXELS: usize>(call: &ByteDepthwiseCall) {
    // SAFETY: the caller's promise; offsets follow the call's own geometry.
    unsafe {
        let mut sums = [B::load(call.bias); PIXELS];
        let shifted = call.passes * call.rows * B::FORM.bytes();
        for row in 0..call.passes * call.rows {
            let input = call.input.add(within(row, call.rows) * call.row);
            let weights = call.weights.add(row * B::FORM.bytes());
            let (mut even, mut odd) = (B::weights(weights), B::weights(weights.add(shifted)));
            for pair in 0..PIXELS.div_ceil(2) {
                if B::ONE_BY_ONE {
                    // There are no registers for both.
                    (even, odd) = (B::weights(weights), B::weights(weights.add(shifted)));
                }
                let four = B::neighbours(input.add(2 * pair * LANES));
                sums[2 * pair] = sums[2 * pair].dot(four, even);
                next_pixel::<B>();
                if 2 * pair + 1 < PIXELS {
                    sums[2 * pair + 1] = sums[2 * pair + 1].dot(four, odd);
                }
                next_pixel::<B>();
            }
        }
        finish(&mut sums, call);
    }
}

/// Columns of the windows whose fours neighbouring pixels share, one or two pixels apart.
pub(crate) const FIVE: usize = 5;

/// `PIXELS` pixels of a window of five columns, whose neighbours lie `STRIDE` pixels apart: a transposition serves all
/// pixels whose windows see one of its columns. Where a window begins within four, its weights lie as many elements further on.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn depthwise_fives<B: Block, const PIXELS: usize, const STRIDE: usize>(call: &ByteDepthwiseCall) {
    // Fours that a window sees.
    const FOURS: usize = FIVE.div_ceil(TAPS);
    // SAFETY: the caller's promise; offsets follow the call's own geometry.
    unsafe {
        let mut sums = [B::load(call.bias); PIXELS];
        let rows = call.passes * call.rows;
        let of_row = FOURS * B::FORM.bytes();
        for row in 0..rows {
            let input = call.input.add(within(row, call.rows) * call.row);
            let weights = call.weights.add(row * of_row);
            unrolled!(((PIXELS - 1) * STRIDE / TAPS) + FOURS, four, {
                let bytes = B::neighbours(input.add(four * TAPS * LANES));
                unrolled!(PIXELS, pixel, {
                    let (first, shift) = (pixel * STRIDE / TAPS, pixel * STRIDE % TAPS / STRIDE);
                    if (first..first + FOURS).contains(&four) {
                        let weights = weights.add(shift * rows * of_row + (four - first) * B::FORM.bytes());
                        sums[pixel] = sums[pixel].dot(bytes, B::weights(weights));
                        next_pixel::<B>();
                    }
                });
            });
        }
        finish(&mut sums, call);
    }
}

/// Columns of the windows that are gone over two rows at a time.
pub(crate) const COLUMNS: usize = 3;

/// `PIXELS` pixels of a window of three columns, whose neighbours lie `STRIDE` pixels apart: two rows at a time, so that a
/// column serves all pixels that see it. Weights are for each two rows, for each column, sixteen channels' pairs.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn depthwise_rows<B: Pairs, const PIXELS: usize, const STRIDE: usize>(call: &ByteDepthwiseCall) {
    // SAFETY: the caller's promise; offsets follow the call's own geometry.
    unsafe {
        let mut sums = [B::load(call.bias); PIXELS];
        let (mut weights, mut input) = (call.weights, call.input);
        for _ in 0..call.rows / 2 {
            unrolled!((PIXELS - 1) * STRIDE + COLUMNS, column, {
                let first = input.add(column * LANES);
                add_column::<B, PIXELS, STRIDE, true>(&mut sums, B::rows(first, first.add(call.row)), column, weights);
            });
            weights = weights.add(COLUMNS * Form::Pairs.bytes());
            input = input.add(2 * call.row);
        }
        if !call.rows.is_multiple_of(2) {
            unrolled!((PIXELS - 1) * STRIDE + COLUMNS, column, {
                add_column::<B, PIXELS, STRIDE, false>(&mut sums, B::row(input.add(column * LANES)), column, weights);
            });
        }
        finish(&mut sums, call);
    }
}

/// Adds the products of one column of two rows (`BOTH`), or of one, to the pixels that see it.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn add_column<B: Pairs, const PIXELS: usize, const STRIDE: usize, const BOTH: bool>(
    sums: &mut [B; PIXELS],
    input: B::Input,
    column: usize,
    weights: *const u8,
) {
    unrolled!(PIXELS, pixel, {
        if column >= pixel * STRIDE && column - pixel * STRIDE < COLUMNS {
            let tap = column - pixel * STRIDE;
            // SAFETY: the caller's promise.
            unsafe {
                let weights = B::weights(weights.add(tap * Form::Pairs.bytes()));
                sums[pixel] =
                    if BOTH { sums[pixel].dot_pairs(input, weights) } else { sums[pixel].dot_first(input, weights) };
                next_pixel::<B>();
            }
        }
    });
}

/// The row of the window that the `row`th of all passes is; there are at most three.
#[inline(always)]
fn within(row: usize, rows: usize) -> usize {
    let row = if row < rows { row } else { row - rows };
    if row < rows { row } else { row - rows }
}

/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn finish<B: Block, const PIXELS: usize>(sums: &mut [B; PIXELS], call: &ByteDepthwiseCall) {
    // SAFETY: the caller's promise.
    unsafe {
        unrolled!(PIXELS, pixel, {
            sums[pixel] = sums[pixel].scaled(call.factors);
        });
        if B::SATURATES && call.range.is_whole(B::SIGNED) {
            unrolled!(PIXELS, pixel, {
                sums[pixel].store_whole(&call.range, call.output.add(pixel * LANES));
            });
            return;
        }
        unrolled!(PIXELS, pixel, {
            if pixel.is_multiple_of(4) {
                let at = |further: usize| if pixel + further < PIXELS { pixel + further } else { PIXELS - 1 };
                let four = [sums[pixel], sums[at(1)], sums[at(2)], sums[at(3)]];
                let count = if PIXELS - pixel < 4 { PIXELS - pixel } else { 4 };
                B::store_row(four, count, &call.range, call.output.add(pixel * LANES));
            }
        });
    }
}

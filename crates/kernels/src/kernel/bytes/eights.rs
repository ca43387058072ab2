//! Dense convolution of bytes by i8mm: as `kernel/bytes/tile.rs`, two pixels and two words of their channels at a time. A
//! pixel of the tile's first half goes with the one at its place in the second; where that half has one more, its last goes
//! with itself.

use std::sync::atomic::{Ordering, compiler_fence};

use super::tile::{BytePlace, ByteTileCall, Finish};
use super::unrolled;
use crate::block::neon::two_pixels::{
    Eights, TWOS, TwoPixels, eight_of_two, sixteen_of_two, store, two_factors, weights,
};
use crate::block::{Block, Form, Range};
use crate::kernel::tile::Halves;
use crate::layout::LANES;

/// Words of two pixels' eight bytes.
const WORDS: usize = Form::Eights.words();

/// `BLOCKS` blocks of output channels by `PAIRS` pairs of pixels, of which the last may be one pixel (`ODD`), whose windows
/// lie `STEP` words apart (0: as the call says).
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn tile<const BLOCKS: usize, const PAIRS: usize, const ODD: bool, const STEP: usize>(
    call: &ByteTileCall<'_>,
) {
    let step = if STEP == 0 { call.step } else { STEP };
    for place in call.tiles {
        // SAFETY: the caller's promise; offsets follow the call's own geometry.
        unsafe {
            let mut sums = [[TwoPixels::load(call.bias); PAIRS]; BLOCKS];
            for block in 1..BLOCKS {
                sums[block] = [TwoPixels::load(call.bias.add(block * LANES)); PAIRS];
            }
            windows::<BLOCKS, PAIRS, ODD>(&mut sums, (call, place), step);
            finish::<BLOCKS, PAIRS, ODD>(&mut sums, call, place);
        }
    }
}

/// Eights of a whole pixel of a block.
const WHOLE: usize = 2;

/// Adds the products with all runs.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn windows<const BLOCKS: usize, const PAIRS: usize, const ODD: bool>(
    sums: &mut [[TwoPixels; PAIRS]; BLOCKS],
    (call, tile): (&ByteTileCall<'_>, &BytePlace),
    step: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let input = tile.input.map(|at| call.input.add(at));
        let (mut row, mut runs) = (call.weights, call.runs.as_ptr());
        let end = runs.add(call.runs.len());
        // The windows of one pixel: for them there is a loop that reads no run.
        if runs < end && (*runs).length as usize == WHOLE {
            let mut places = input.map(|at| at.add((*runs).offset as usize));
            for _ in 0..call.even.runs {
                whole::<BLOCKS, PAIRS, ODD>(sums, &places, step, &mut row);
                places = places.map(|at| at.wrapping_add(call.even.pitch));
            }
            runs = runs.add(call.even.runs);
        }
        while runs < end {
            let mut places = input.map(|at| at.add((*runs).offset as usize));
            for _ in 0..(*runs).length as usize / WHOLE {
                whole::<BLOCKS, PAIRS, ODD>(sums, &places, step, &mut row);
                places = places.map(|at| at.add(WHOLE * WORDS));
            }
            if !(*runs).length.is_multiple_of(WHOLE as u32) {
                multiply(sums, &eights::<PAIRS, ODD>(&places, step), &mut row);
            }
            runs = runs.add(1);
        }
    }
}

/// Adds the products with sixteen bytes of each pixel.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn whole<const BLOCKS: usize, const PAIRS: usize, const ODD: bool>(
    sums: &mut [[TwoPixels; PAIRS]; BLOCKS],
    places: &Halves<*const i32>,
    step: usize,
    row: &mut *const u8,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let [low, high] = sixteens::<PAIRS, ODD>(places, step);
        multiply(sums, &low, row);
        multiply(sums, &high, row);
    }
}

/// Sixteen bytes of each pixel, in two parts.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn sixteens<const PAIRS: usize, const ODD: bool>(
    places: &Halves<*const i32>,
    step: usize,
) -> [[Eights; PAIRS]; 2] {
    // SAFETY: the caller's promise.
    unsafe {
        let [low, high] = sixteen_of_two(partner::<PAIRS, ODD>(places, 0, step), places[1]);
        let mut parts = [[low; PAIRS], [high; PAIRS]];
        if PAIRS > 1 {
            let second = places[1].add(step);
            [parts[0][1], parts[1][1]] = sixteen_of_two(partner::<PAIRS, ODD>(places, 1, step), second);
        }
        if PAIRS > 2 {
            let second = places[1].add(2 * step);
            [parts[0][2], parts[1][2]] = sixteen_of_two(partner::<PAIRS, ODD>(places, 2, step), second);
        }
        compiler_fence(Ordering::SeqCst);
        parts
    }
}

/// Eight bytes of each pixel.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn eights<const PAIRS: usize, const ODD: bool>(places: &Halves<*const i32>, step: usize) -> [Eights; PAIRS] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut found = [eight_of_two(partner::<PAIRS, ODD>(places, 0, step), places[1]); PAIRS];
        unrolled!(PAIRS, pair, {
            let second = places[1].add(pair * step);
            found[pair] = eight_of_two(partner::<PAIRS, ODD>(places, pair, step), second);
        });
        found
    }
}

/// The window that goes with one of the second half.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn partner<const PAIRS: usize, const ODD: bool>(
    places: &Halves<*const i32>,
    pair: usize,
    step: usize,
) -> *const i32 {
    // SAFETY: the caller's promise.
    unsafe { places[if ODD && pair + 1 == PAIRS { 1 } else { 0 }].add(pair * step) }
}

/// Adds the products with eight bytes of each pixel. Weights are loaded when they are wanted: there are no registers for
/// more of them.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn multiply<const BLOCKS: usize, const PAIRS: usize>(
    sums: &mut [[TwoPixels; PAIRS]; BLOCKS],
    pixels: &[Eights; PAIRS],
    row: &mut *const u8,
) {
    // SAFETY: the caller's promise.
    unsafe {
        unrolled!(BLOCKS, block, {
            unrolled!(4, four, {
                let from = row.add(block * Form::Eights.bytes() + four * 32);
                let (first, second) = (weights(from), weights(from.add(16)));
                unrolled!(PAIRS, pair, {
                    sums[block][pair].multiply(2 * four, pixels[pair], first);
                    sums[block][pair].multiply(2 * four + 1, pixels[pair], second);
                });
                compiler_fence(Ordering::SeqCst);
            });
        });
        *row = row.add(BLOCKS * Form::Eights.bytes());
    }
}

/// Rounds, joins and stores the sums.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn finish<const BLOCKS: usize, const PAIRS: usize, const ODD: bool>(
    sums: &mut [[TwoPixels; PAIRS]; BLOCKS],
    call: &ByteTileCall<'_>,
    tile: &BytePlace,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let output = tile.output.map(|bytes| call.output.add(bytes));
        match &call.finish {
            Finish::Floats(_) | Finish::Sums => store_apart::<BLOCKS, PAIRS, ODD>(sums, call, &output),
            Finish::Bytes(range) => {
                scale(sums, call.factors);
                store_bytes::<BLOCKS, PAIRS, ODD>(sums, range, (&output, call.output_block));
            }
            Finish::Joined { range, joint, with, block: with_block } => {
                let with = tile.with.map(|bytes| with.add(bytes));
                scale(sums, call.factors);
                unrolled!(BLOCKS, block, {
                    unrolled!(PAIRS, pair, {
                        let place = block * with_block + pair * LANES;
                        let first = if ODD && pair + 1 == PAIRS { with[1] } else { with[0] };
                        let with = [first.add(place), with[1].add(place)];
                        sums[block][pair] = sums[block][pair].joined(joint, with);
                        compiler_fence(Ordering::SeqCst);
                    });
                });
                store_bytes::<BLOCKS, PAIRS, ODD>(sums, range, (&output, call.output_block));
            }
        }
    }
}

/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn scale<const BLOCKS: usize, const PAIRS: usize>(sums: &mut [[TwoPixels; PAIRS]; BLOCKS], factors: *const f32) {
    unrolled!(BLOCKS, block, {
        unrolled!(TWOS, two, {
            // SAFETY: the caller's promise.
            unsafe {
                let factors = two_factors(factors.add(block * LANES + 2 * two));
                unrolled!(PAIRS, pair, {
                    sums[block][pair].scale(two, factors);
                });
            }
            // One after the other: there are no registers for all factors.
            compiler_fence(Ordering::SeqCst);
        });
    });
}

/// Stores the whole numbers as bytes.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn store_bytes<const BLOCKS: usize, const PAIRS: usize, const ODD: bool>(
    sums: &[[TwoPixels; PAIRS]; BLOCKS],
    range: &Range,
    (output, output_block): (&Halves<*mut u8>, usize),
) {
    unrolled!(BLOCKS, block, {
        unrolled!(PAIRS, pair, {
            let place = block * output_block + pair * LANES;
            // SAFETY: the caller's promise.
            unsafe {
                let [first, second] = sums[block][pair].bytes(range);
                if !ODD || pair + 1 < PAIRS {
                    store(first, output[0].add(place));
                }
                store(second, output[1].add(place));
            }
        });
    });
}

/// Stores the sums as floats, or as they are: four bytes each.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn store_apart<const BLOCKS: usize, const PAIRS: usize, const ODD: bool>(
    sums: &[[TwoPixels; PAIRS]; BLOCKS],
    call: &ByteTileCall<'_>,
    output: &Halves<*mut u8>,
) {
    unrolled!(BLOCKS, block, {
        unrolled!(PAIRS, pair, {
            let place = block * call.output_block + pair * 4 * LANES;
            // SAFETY: the caller's promise.
            unsafe {
                let sums = sums[block][pair].apart();
                for half in usize::from(ODD && pair + 1 == PAIRS)..2 {
                    let to = output[half].add(place);
                    if let Finish::Floats(addends) = &call.finish {
                        let (factors, addends) = (call.factors.add(block * LANES), addends.add(block * LANES));
                        sums[half].store_floats(factors, addends, to.cast());
                    } else {
                        sums[half].store_sums(to.cast());
                    }
                }
            }
        });
    });
}

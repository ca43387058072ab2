//! How a tile's words are multiplied by lane: four neighbouring words of a pixel are loaded at once, and where windows
//! overlap, what several pixels see is loaded once.

use super::tile::{BytePlace, ByteTileCall};
use super::unrolled;
use crate::block::{Block, next_pixel};
use crate::kernel::tile::Halves;
use crate::layout::{LANES, SLACK};

/// Words that are loaded at once: those of a pixel of a block of bytes.
const FOUR: usize = 4;

/// Words behind a run that are then read at most, and ignored.
const READ_ON: usize = FOUR - 1;

/// Words of three neighbouring pixels of a block.
const COLUMNS: usize = 3 * FOUR;

/// Adds the products with all runs.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(super) unsafe fn by_lanes<B: Block, const BLOCKS: usize, const PIXELS: usize, const STEP: usize>(
    sums: &mut [[B; PIXELS]; BLOCKS],
    (call, tile): (&ByteTileCall<'_>, &BytePlace),
    step: usize,
    mut weights: *const u8,
) {
    const { assert!(READ_ON <= SLACK) };
    // Words of a pixel of a block: four, or eight of two numbers of sixteen bits.
    let of_pixel = const { LANES / B::FORM.of_word() };
    // SAFETY: the caller's promise; behind every tensor lies the slack.
    unsafe {
        let input = tile.input.map(|at| call.input.add(at));
        let mut runs = call.runs.as_ptr();
        let end = runs.add(call.runs.len());
        // The windows of one pixel: for them there is a loop that reads no run.
        if runs < end && (*runs).length as usize == of_pixel {
            let mut places = input.map(|at| at.add((*runs).offset as usize));
            for _ in 0..call.even.runs {
                lanes::<B, BLOCKS, PIXELS>(sums, (&places, FOUR), step, &mut weights);
                if of_pixel > FOUR {
                    let others = places.map(|at| at.wrapping_add(FOUR));
                    lanes::<B, BLOCKS, PIXELS>(sums, (&others, FOUR), step, &mut weights);
                }
                places = places.map(|at| at.wrapping_add(call.even.pitch));
            }
            runs = runs.add(call.even.runs);
        }
        while runs < end {
            if B::SHARES && (STEP == FOUR || STEP == 2 * FOUR) {
                while (*runs).length as usize == COLUMNS {
                    let places = input.map(|at| at.add((*runs).offset as usize));
                    columns::<B, BLOCKS, PIXELS, STEP>(sums, &places, &mut weights);
                    runs = runs.add(1);
                    if runs == end {
                        return;
                    }
                }
            }
            if B::SHARES && STEP == 2 && (PIXELS.div_ceil(2) - 1) * STEP + 7 <= OF_HALF * FOUR {
                while (*runs).length == 7 {
                    let places = input.map(|at| at.add((*runs).offset as usize));
                    of_picture::<B, BLOCKS, PIXELS, STEP, 7>(sums, &places, &mut weights);
                    runs = runs.add(1);
                    if runs == end {
                        return;
                    }
                }
                while (*runs).length == 3 {
                    let places = input.map(|at| at.add((*runs).offset as usize));
                    of_picture::<B, BLOCKS, PIXELS, STEP, 3>(sums, &places, &mut weights);
                    runs = runs.add(1);
                    if runs == end {
                        return;
                    }
                }
            }
            let mut places = input.map(|at| at.add((*runs).offset as usize));
            let mut length = (*runs).length as usize;
            while length >= FOUR {
                lanes::<B, BLOCKS, PIXELS>(sums, (&places, FOUR), step, &mut weights);
                (places, length) = (places.map(|at| at.add(FOUR)), length - FOUR);
            }
            if length > 0 {
                lanes::<B, BLOCKS, PIXELS>(sums, (&places, length), step, &mut weights);
            }
            runs = runs.add(1);
        }
    }
}

/// Where the window of a pixel of the tile is.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn window<const PIXELS: usize>(places: &Halves<*const i32>, pixel: usize, step: usize) -> *const i32 {
    let half = PIXELS / 2;
    // SAFETY: the caller's promise.
    unsafe { if pixel < half { places[0].add(pixel * step) } else { places[1].add((pixel - half) * step) } }
}

/// Adds the products with up to four words of each pixel.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn lanes<B: Block, const BLOCKS: usize, const PIXELS: usize>(
    sums: &mut [[B; PIXELS]; BLOCKS],
    (places, length): (&Halves<*const i32>, usize),
    step: usize,
    weights: &mut *const u8,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut fours = [B::four(places[1]); PIXELS];
        for pixel in 0..PIXELS {
            fours[pixel] = B::four(window::<PIXELS>(places, pixel, step));
        }
        next_pixel::<B>();
        lane::<B, BLOCKS, PIXELS, 0>(sums, &fours, weights);
        if length > 1 {
            lane::<B, BLOCKS, PIXELS, 1>(sums, &fours, weights);
        }
        if length > 2 {
            lane::<B, BLOCKS, PIXELS, 2>(sums, &fours, weights);
        }
        if length > 3 {
            lane::<B, BLOCKS, PIXELS, 3>(sums, &fours, weights);
        }
    }
}

/// Adds the products with one of four words of each pixel.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn lane<B: Block, const BLOCKS: usize, const PIXELS: usize, const LANE: usize>(
    sums: &mut [[B; PIXELS]; BLOCKS],
    fours: &[B::Input; PIXELS],
    weights: &mut *const u8,
) {
    // SAFETY: the caller's promise.
    unsafe {
        for block in 0..BLOCKS {
            B::dot_lane::<LANE, PIXELS>(&mut sums[block], fours, weights.add(block * B::FORM.bytes()));
        }
        *weights = weights.add(BLOCKS * B::FORM.bytes());
    }
}

/// Adds the products with three neighbouring pixels of a block for each pixel of the tile, whose windows begin one
/// (`STEP` of four words) or two (eight) pixels apart: a column of most is another one of their neighbour.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn columns<B: Block, const BLOCKS: usize, const PIXELS: usize, const STEP: usize>(
    sums: &mut [[B; PIXELS]; BLOCKS],
    places: &Halves<*const i32>,
    weights: &mut *const u8,
) {
    let (half, of_column) = (PIXELS / 2, FOUR * BLOCKS * B::FORM.bytes());
    // SAFETY: the caller's promise.
    unsafe {
        let mut fours = [B::four(places[1]); PIXELS];
        unrolled!(PIXELS, pixel, {
            fours[pixel] = B::four(window::<PIXELS>(places, pixel, STEP));
        });
        next_pixel::<B>();
        column::<B, BLOCKS, PIXELS>(sums, &fours, *weights);
        // The first column of the next pixel is the second one of this pixel, or the third.
        let first_shared = STEP / FOUR;
        unrolled!(3, number, {
            if (first_shared..3).contains(&number) {
                unrolled!(PIXELS, pixel, {
                    let is_last = pixel + 1 == half || pixel + 1 == PIXELS;
                    fours[pixel] = if is_last {
                        B::four(window::<PIXELS>(places, pixel, STEP).add(number * FOUR))
                    } else {
                        fours[least(pixel + 1, PIXELS)]
                    };
                });
                next_pixel::<B>();
                column::<B, BLOCKS, PIXELS>(sums, &fours, weights.add(number * of_column));
            }
        });
        if first_shared > 1 {
            unrolled!(PIXELS, pixel, {
                fours[pixel] = B::four(window::<PIXELS>(places, pixel, STEP).add(FOUR));
            });
            next_pixel::<B>();
            column::<B, BLOCKS, PIXELS>(sums, &fours, weights.add(of_column));
        }
        *weights = weights.add(3 * of_column);
    }
}

/// `place`, or the last one before `end`.
#[inline(always)]
const fn least(place: usize, end: usize) -> usize {
    if place < end { place } else { end - 1 }
}

/// Adds the products with one pixel of a block for each pixel of the tile.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn column<B: Block, const BLOCKS: usize, const PIXELS: usize>(
    sums: &mut [[B; PIXELS]; BLOCKS],
    fours: &[B::Input; PIXELS],
    mut weights: *const u8,
) {
    // SAFETY: the caller's promise.
    unsafe {
        lane::<B, BLOCKS, PIXELS, 0>(sums, fours, &mut weights);
        lane::<B, BLOCKS, PIXELS, 1>(sums, fours, &mut weights);
        lane::<B, BLOCKS, PIXELS, 2>(sums, fours, &mut weights);
        lane::<B, BLOCKS, PIXELS, 3>(sums, fours, &mut weights);
    }
}

/// Registers that hold what a half of a tile sees of a row of a picture, at most.
const OF_HALF: usize = 3;

/// What so many neighbouring pixels see of a row of a picture, four words a register.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn of_row<B: Block, const STEP: usize, const WORDS: usize>(
    place: *const i32,
    pixels: usize,
) -> [B::Input; OF_HALF] {
    // SAFETY: the caller's promise; behind every tensor lies the slack.
    unsafe {
        let mut fours = [B::four(place); OF_HALF];
        for number in 1..OF_HALF {
            if pixels > 0 && number * FOUR < (pixels - 1) * STEP + WORDS {
                fours[number] = B::four(place.add(number * FOUR));
            }
        }
        fours
    }
}

/// Adds the products with `WORDS` neighbouring pixels of a picture for each pixel of the tile, whose windows begin `STEP`
/// pixels apart; they are not more than fit [`OF_HALF`].
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn of_picture<B: Block, const BLOCKS: usize, const PIXELS: usize, const STEP: usize, const WORDS: usize>(
    sums: &mut [[B; PIXELS]; BLOCKS],
    places: &Halves<*const i32>,
    weights: &mut *const u8,
) {
    let halves = [PIXELS / 2, PIXELS - PIXELS / 2];
    // SAFETY: the caller's promise; behind every tensor lies the slack.
    unsafe {
        let fours = [of_row::<B, STEP, WORDS>(places[0], halves[0]), of_row::<B, STEP, WORDS>(places[1], halves[1])];
        next_pixel::<B>();
        unrolled!(WORDS, word, {
            let mut words = [(fours[1][0], 0); PIXELS];
            unrolled!(PIXELS, pixel, {
                let (half, place) = if pixel < halves[0] { (0, pixel) } else { (1, pixel - halves[0]) };
                let at = place * STEP + word;
                words[pixel] = (fours[half][least(at / FOUR, OF_HALF)], at % FOUR);
            });
            for block in 0..BLOCKS {
                B::dot_words::<PIXELS>(&mut sums[block], &words, weights.add(block * B::FORM.bytes()));
            }
            *weights = weights.add(BLOCKS * B::FORM.bytes());
        });
    }
}

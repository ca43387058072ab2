//! Dense convolution of bytes: as `kernel/tile.rs`, with four input channels for each float there. Runs, steps and places
//! count words of four bytes.

use super::lanes::by_lanes;
use super::unrolled;
use crate::block::{Block, Joint, Range, next_pixel};
use crate::bounds::Memory;
use crate::kernel::ahead::{ASKED, Ahead};
use crate::kernel::tile::{Halves, Run};
use crate::layout::LANES;

/// What becomes of the sums.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Finish {
    /// Bytes.
    Bytes(Range),
    /// Bytes, joined with others first: where the tiles' pixels are counted from there, and bytes from a block to the next.
    Joined { range: Range, joint: Joint, with: *const u8, block: usize },
    /// Floats: the channels' addends.
    Floats(*const f32),
    /// Nothing: four bytes each, where a float would be.
    Sums,
}

/// Where a tile lies from where its call begins: words of the input, bytes of what is written or joined.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BytePlace {
    /// Each half's first window.
    pub(crate) input: Halves<usize>,
    /// Each half's first pixel, in the first of the tile's blocks.
    pub(crate) output: Halves<usize>,
    /// As `output`, where the sums are joined.
    pub(crate) with: Halves<usize>,
}

/// Runs of one length that lie equally far apart: the first ones of a list.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Even {
    pub(crate) runs: usize,
    /// Words from one to the next.
    pub(crate) pitch: usize,
}

impl Even {
    pub(crate) fn of(runs: &[Run]) -> Self {
        let pitch = match runs {
            [first, second, ..] => second.offset.saturating_sub(first.offset),
            _ => 0,
        };
        let is_next = |[before, run]: &[Run; 2]| run.length == before.length && before.offset + pitch == run.offset;
        let steps = runs.array_windows().take_while(|&pair| is_next(pair)).count();
        Self { runs: runs.len().min(1 + steps), pitch: pitch as usize }
    }
}

/// What one call computes: some tiles of one size.
#[derive(Debug)]
pub(crate) struct ByteTileCall<'a> {
    pub(crate) tiles: &'a [BytePlace],
    /// Where the tiles' windows are counted from.
    pub(crate) input: *const i32,
    pub(crate) runs: &'a [Run],
    /// What the first of them have in common.
    pub(crate) even: Even,
    /// Words between the windows of neighbouring pixels; kernels that have a constant do not read it, nor the next two.
    pub(crate) step: usize,
    pub(crate) pixels: usize,
    /// Channel blocks.
    pub(crate) blocks: usize,
    /// For each word of the runs, the tile's blocks.
    pub(crate) weights: *const u8,
    /// What is asked for meanwhile.
    pub(crate) ahead: Ahead,
    /// The channels of the tile.
    pub(crate) bias: *const i32,
    pub(crate) factors: *const f32,
    /// Where the tiles' pixels are counted from.
    pub(crate) output: *mut u8,
    /// Bytes from a block to the next.
    pub(crate) output_block: usize,
    pub(crate) finish: Finish,
}

/// Widens the windows of a tile to sixteen bits: for each run, for each pixel, sixteen channels.
#[derive(Debug)]
pub(crate) struct WidenCall<'a> {
    /// Each half's first window.
    pub(crate) input: Halves<*const i32>,
    /// Only their offsets count, each of which is that of a pixel.
    pub(crate) runs: &'a [Run],
    pub(crate) step: usize,
    pub(crate) pixels: usize,
    pub(crate) output: *mut i16,
}

/// A compiled widening.
pub(crate) type WidenKernel = unsafe fn(&WidenCall<'_>);

/// With `DENSE`, the fourth of every four bytes is left out.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn widen<A: Memory, const SIGNED: bool, const DENSE: bool>(call: &WidenCall<'_>) {
    let mut output = call.output.cast::<[i16; LANES]>();
    let half = call.pixels / 2;
    for run in call.runs {
        for (input, pixels) in [(call.input[0], half), (call.input[1], call.pixels - half)] {
            for pixel in 0..pixels {
                // SAFETY: the caller's promise.
                unsafe {
                    let from = input.add(run.offset as usize + pixel * call.step).cast::<[u8; LANES]>();
                    let bytes = A::read(from);
                    let mut wide = [0_i16; LANES];
                    for lane in 0..LANES {
                        let byte = bytes[if DENSE { (lane / 3 * 4 + lane % 3) % LANES } else { lane }];
                        wide[lane] = if SIGNED { i16::from(byte.cast_signed()) } else { i16::from(byte) };
                    }
                    A::write(wide, output);
                    output = output.add(1);
                }
            }
        }
    }
}

/// A compiled tile kernel.
pub(crate) type ByteTileKernel = unsafe fn(&ByteTileCall<'_>);

/// `BLOCKS` blocks of output channels by `PIXELS` pixels, whose windows lie `STEP` words apart (0: as the call says).
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn tile<B: Block, const BLOCKS: usize, const PIXELS: usize, const STEP: usize>(
    call: &ByteTileCall<'_>,
) {
    let step = if STEP == 0 { call.step } else { STEP };
    let mut ahead = call.ahead.from;
    for place in call.tiles {
        // SAFETY: the caller's promise; offsets follow the call's own geometry.
        unsafe {
            let mut sums = [[B::load(call.bias); PIXELS]; BLOCKS];
            for block in 0..BLOCKS {
                for pixel in 0..PIXELS {
                    sums[block][pixel] = B::load(call.bias.add(block * LANES));
                    // Registers are not copied: loads fill two of them at once.
                    next_pixel::<B>();
                }
            }
            let mut weights = call.weights;
            if B::BY_LANE {
                by_lanes::<B, BLOCKS, PIXELS, STEP>(&mut sums, (call, place), step, weights);
            } else {
                for run in call.runs {
                    let mut places = place.input.map(|at| call.input.add(at + run.offset as usize));
                    let mut length = run.length as usize;
                    while B::SPLATS && STEP > 0 && length >= ASKED {
                        call.ahead.ask(&mut ahead);
                        const { assert!(ASKED == 4) };
                        word::<B, BLOCKS, PIXELS, STEP, 0>(&mut sums, &places, weights);
                        word::<B, BLOCKS, PIXELS, STEP, 1>(&mut sums, &places, weights);
                        word::<B, BLOCKS, PIXELS, STEP, 2>(&mut sums, &places, weights);
                        word::<B, BLOCKS, PIXELS, STEP, 3>(&mut sums, &places, weights);
                        weights = weights.add(ASKED * BLOCKS * B::FORM.bytes());
                        (places, length) = (places.map(|at| at.add(ASKED)), length - ASKED);
                    }
                    while length > 0 {
                        if !B::ONE_BY_ONE {
                            call.ahead.ask(&mut ahead);
                        }
                        let part = if B::ONE_BY_ONE { length } else { length.min(ASKED) };
                        words::<B, BLOCKS, PIXELS>(&mut sums, (&mut places, part), step, &mut weights);
                        length -= part;
                    }
                }
            }
            finish(&mut sums, call, place);
        }
    }
}

/// Adds the products with so many words of each pixel.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn words<B: Block, const BLOCKS: usize, const PIXELS: usize>(
    sums: &mut [[B; PIXELS]; BLOCKS],
    (places, length): (&mut Halves<*const i32>, usize),
    step: usize,
    weights: &mut *const u8,
) {
    let half = PIXELS / 2;
    // SAFETY: the caller's promise.
    unsafe {
        let [mut first, mut second] = *places;
        for _ in 0..length {
            if B::ONE_BY_ONE {
                // There are no registers for the weights of a tall tile.
                for block in 0..BLOCKS {
                    let row = B::weights(weights.add(block * B::FORM.bytes()));
                    for pixel in 0..PIXELS {
                        let at = if pixel < half { first.add(pixel * step) } else { second.add((pixel - half) * step) };
                        sums[block][pixel] = sums[block][pixel].dot(B::broadcast(at), row);
                        next_pixel::<B>();
                    }
                }
            } else {
                let mut row = [B::weights(*weights); BLOCKS];
                for block in 1..BLOCKS {
                    row[block] = B::weights(weights.add(block * B::FORM.bytes()));
                }
                for pixel in 0..PIXELS {
                    let input = if pixel < half { first.add(pixel * step) } else { second.add((pixel - half) * step) };
                    let input = B::broadcast(input);
                    for block in 0..BLOCKS {
                        sums[block][pixel] = sums[block][pixel].dot(input, row[block]);
                    }
                }
            }
            *weights = weights.add(BLOCKS * B::FORM.bytes());
            (first, second) = (first.add(1), second.add(1));
        }
        *places = [first, second];
    }
}

/// Adds the products with a word of each pixel, counted from where windows and weights begin.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn word<B: Block, const BLOCKS: usize, const PIXELS: usize, const STEP: usize, const WORD: usize>(
    sums: &mut [[B; PIXELS]; BLOCKS],
    places: &Halves<*const i32>,
    weights: *const u8,
) {
    // SAFETY: the caller's promise.
    unsafe {
        for block in 0..BLOCKS {
            let row = B::weights(weights.add((WORD * BLOCKS + block) * B::FORM.bytes()));
            unrolled!(PIXELS, pixel, {
                sums[block][pixel] = sums[block][pixel].dot_splat::<pixel, PIXELS, STEP, WORD>(*places, row);
            });
        }
    }
}

/// Rounds, joins and stores the sums.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn finish<B: Block, const BLOCKS: usize, const PIXELS: usize>(
    sums: &mut [[B; PIXELS]; BLOCKS],
    call: &ByteTileCall<'_>,
    tile: &BytePlace,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let output = tile.output.map(|bytes| call.output.add(bytes));
        match &call.finish {
            Finish::Floats(addends) => unrolled!(BLOCKS, block, {
                unrolled!(PIXELS, pixel, {
                    let (factors, addends) = (call.factors.add(block * LANES), addends.add(block * LANES));
                    // Of floats, a pixel is four times as long.
                    let to = place::<PIXELS, _>(&output, block * call.output_block, pixel, 4 * LANES);
                    sums[block][pixel].store_floats(factors, addends, to.cast());
                });
            }),
            Finish::Sums => unrolled!(BLOCKS, block, {
                unrolled!(PIXELS, pixel, {
                    let to = place::<PIXELS, _>(&output, block * call.output_block, pixel, 4 * LANES);
                    sums[block][pixel].store_sums(to.cast());
                });
            }),
            Finish::Bytes(range) => {
                scale(sums, call.factors);
                store(sums, range, &output, call.output_block);
            }
            Finish::Joined { range, joint, with, block: with_block } => {
                let with = tile.with.map(|bytes| with.add(bytes));
                scale(sums, call.factors);
                unrolled!(BLOCKS, block, {
                    unrolled!(PIXELS, pixel, {
                        let with = place::<PIXELS, _>(&with, block * with_block, pixel, LANES);
                        sums[block][pixel] = sums[block][pixel].joined(joint, with);
                    });
                });
                store(sums, range, &output, call.output_block);
            }
        }
    }
}

/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn scale<B: Block, const BLOCKS: usize, const PIXELS: usize>(
    sums: &mut [[B; PIXELS]; BLOCKS],
    factors: *const f32,
) {
    unrolled!(BLOCKS, block, {
        unrolled!(PIXELS, pixel, {
            // SAFETY: the caller's promise.
            sums[block][pixel] = unsafe { sums[block][pixel].scaled(factors.add(block * LANES)) };
        });
    });
}

/// Stores the whole numbers as bytes, up to four neighbouring pixels at a time.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn store<B: Block, const BLOCKS: usize, const PIXELS: usize>(
    sums: &[[B; PIXELS]; BLOCKS],
    range: &Range,
    output: &Halves<*mut u8>,
    output_block: usize,
) {
    let half = PIXELS / 2;
    if B::SATURATES && range.is_whole(B::SIGNED) {
        unrolled!(BLOCKS, block, {
            unrolled!(PIXELS, pixel, {
                // SAFETY: the caller's promise.
                unsafe {
                    let to = place::<PIXELS, _>(output, block * output_block, pixel, LANES);
                    sums[block][pixel].store_whole(range, to);
                }
            });
        });
        return;
    }
    unrolled!(BLOCKS, block, {
        unrolled!(PIXELS, pixel, {
            let (from, to) = if pixel < half { (0, half) } else { (half, PIXELS) };
            if (pixel - from).is_multiple_of(4) {
                let row = &sums[block];
                let four =
                    [row[pixel], row[least(pixel + 1, to)], row[least(pixel + 2, to)], row[least(pixel + 3, to)]];
                // SAFETY: the caller's promise.
                unsafe {
                    let place = place::<PIXELS, _>(output, block * output_block, pixel, LANES);
                    B::store_row(four, if to - pixel < 4 { to - pixel } else { 4 }, range, place);
                }
            }
        });
    });
}

/// `pixel`, or the last one before `end`.
#[inline(always)]
const fn least(pixel: usize, end: usize) -> usize {
    if pixel < end { pixel } else { end - 1 }
}

/// A pointer to either half.
trait Place: Copy {
    /// So many bytes further on.
    unsafe fn further(self, bytes: usize) -> Self;
}

impl Place for *const u8 {
    #[inline(always)]
    unsafe fn further(self, bytes: usize) -> Self {
        // SAFETY: the caller's promise.
        unsafe { self.add(bytes) }
    }
}

impl Place for *mut u8 {
    #[inline(always)]
    unsafe fn further(self, bytes: usize) -> Self {
        // SAFETY: the caller's promise.
        unsafe { self.add(bytes) }
    }
}

/// Where a pixel of `size` bytes is, `offset` bytes into its half.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn place<const PIXELS: usize, P: Place>(halves: &Halves<P>, offset: usize, pixel: usize, size: usize) -> P {
    let half = PIXELS / 2;
    let (start, pixel) = if pixel < half { (halves[0], pixel) } else { (halves[1], pixel - half) };
    // SAFETY: the caller's promise.
    unsafe { start.further(offset + pixel * size) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_runs_are_of_one_length_and_equally_far_apart() {
        let even = |runs: &[(u32, u32)]| {
            let runs: Vec<Run> = runs.iter().map(|&(offset, length)| Run { offset, length }).collect();
            let Even { runs, pitch } = Even::of(&runs);
            (runs, pitch)
        };
        assert_eq!(even(&[]), (0, 0));
        assert_eq!(even(&[(5, 4)]), (1, 0));
        assert_eq!(even(&[(5, 4), (105, 4), (205, 4), (305, 2)]), (3, 100));
        assert_eq!(even(&[(5, 4), (105, 4), (206, 4)]).0, 2);
        assert_eq!(even(&[(5, 4), (105, 2), (205, 2)]).0, 1);
        assert_eq!(even(&[(105, 4), (5, 4)]).0, 1);
        assert_eq!(even(&[(0, 4), (4, 4), (8, 4), (0, 4)]).0, 3);
    }
}

//! The one kernel of every dense convolution: some pixels by some output channels, summed over a list of runs.
//!
//! ```text
//! for run in runs:                 for (offset, length) of neighbouring input floats
//!     for element in run:          one input channel of one tap
//!         for pixel, vector:       sums[vector][pixel] += weights[vector] · input[pixel]
//! ```
//!
//! 1 × 1, k × k, strided, dilated and grouped convolutions, the first one over planar pictures, and fully connected
//! layers differ in their runs only. The sums stay in registers; the weights are read once, in the order in which they
//! are packed.

use super::ahead::{ASKED, Ahead};
use crate::activation::Activation;
use crate::layout::LANES;
use crate::vector::{Vector, activate};

/// Neighbouring input floats that a pixel's window covers, from the window's first float on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) offset: u32,
    pub(crate) length: u32,
}

/// The places of a tile's two halves: the first `PIXELS / 2` pixels, and the others. They may lie in two rows.
pub(crate) type Halves<T> = [T; 2];

/// Where a tile lies, in floats from where its call begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TilePlace {
    /// Each half's first window.
    pub(crate) input: Halves<usize>,
    /// Each half's first pixel, in the first of the tile's blocks.
    pub(crate) output: Halves<usize>,
    /// As `output`, where there is a residual.
    pub(crate) residual: Halves<usize>,
}

/// What one call computes: some tiles of one size.
#[derive(Debug)]
pub(crate) struct TileCall<'a> {
    pub(crate) tiles: &'a [TilePlace],
    /// Pixels and channels of a tile, for which kernels have constants.
    pub(crate) pixels: usize,
    pub(crate) channels: usize,
    /// Where the tiles' windows are counted from.
    pub(crate) input: *const f32,
    pub(crate) runs: &'a [Run],
    /// How many runs, from the first on, are of a whole block.
    pub(crate) whole: usize,
    /// Whether the [`READ_ON`] floats behind each run's last may be read, too; they are ignored.
    pub(crate) reads_on: bool,
    /// Floats between the windows of neighbouring pixels, where the kernel has no constant for it.
    pub(crate) step: usize,
    /// For each element of the runs, the channels of the tile.
    pub(crate) weights: *const f32,
    /// What is asked for meanwhile.
    pub(crate) ahead: Ahead,
    /// The channels of the tile.
    pub(crate) bias: *const f32,
    /// Whether sums go on from what a call before has left in the output, and not from the bias.
    pub(crate) goes_on: bool,
    /// Where the tiles' pixels are counted from.
    pub(crate) output: *mut f32,
    /// Floats from a block to the next.
    pub(crate) output_block: usize,
    /// Added before the activation; where it is counted from.
    pub(crate) residual: Option<*const f32>,
    pub(crate) residual_block: usize,
    /// What follows; only clamps and `HardSwish` are applied ([`Activation::is_applied_by_kernels`]).
    pub(crate) activation: Activation,
}

/// A compiled tile kernel.
pub(crate) type TileKernel = unsafe fn(&TileCall<'_>);

/// `VECTORS` vectors of output channels by `PIXELS` pixels, whose windows lie `STEP` floats apart (0: as the call says).
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn tile<V: Vector, const VECTORS: usize, const PIXELS: usize, const STEP: usize>(
    call: &TileCall<'_>,
) {
    let mut ahead = call.ahead.from;
    for place in call.tiles {
        // SAFETY: the caller's promise; offsets follow the call's own geometry.
        unsafe {
            let mut sums = [[V::splat(0.0); PIXELS]; VECTORS];
            // Where products take the time sums do not come in parts.
            if !V::BY_LANE && call.goes_on {
                let output = place.output.map(|floats| call.output.add(floats));
                resume(call, output, &mut sums);
            } else {
                for vector in 0..VECTORS {
                    sums[vector] = [V::load(call.bias.add(vector * V::LANES)); PIXELS];
                }
            }
            let input = place.input.map(|floats| call.input.add(floats));
            let (mut weights, mut runs) = (call.weights, call.runs.as_ptr());
            let end = runs.add(call.runs.len());
            if V::BY_LANE {
                let whole = runs.add(call.whole);
                while runs < whole {
                    block::<V, VECTORS, PIXELS, STEP>(
                        call,
                        &mut sums,
                        input.map(|at| at.add((*runs).offset as usize)),
                        &mut weights,
                    );
                    runs = runs.add(1);
                }
            }
            if V::BY_LANE && STEP == PLANAR_STEP && call.reads_on {
                // The windows of neighbouring pixels share most of their floats.
                strips::<V, VECTORS, PIXELS, 3>(&mut sums, input, (&mut runs, end), &mut weights);
                strips::<V, VECTORS, PIXELS, 5>(&mut sums, input, (&mut runs, end), &mut weights);
                strips::<V, VECTORS, PIXELS, 7>(&mut sums, input, (&mut runs, end), &mut weights);
            }
            while runs < end {
                rest::<V, VECTORS, PIXELS, STEP>(call, &mut sums, (input, *runs), (&mut weights, &mut ahead));
                runs = runs.add(1);
            }
            finish(call, place, &mut sums);
        }
    }
}

/// Reads the sums that a call before has left in the output.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn resume<V: Vector, const VECTORS: usize, const PIXELS: usize>(
    call: &TileCall<'_>,
    output: Halves<*mut f32>,
    sums: &mut [[V; PIXELS]; VECTORS],
) {
    let half = PIXELS / 2;
    for pixel in 0..PIXELS {
        for vector in 0..VECTORS {
            // SAFETY: the caller's promise.
            unsafe {
                let from = output[usize::from(pixel >= half)].add(place::<V>(vector, pixel, half, call.output_block));
                sums[vector][pixel] = V::load(from);
            }
        }
    }
}

/// Floats from a window to the next.
#[inline(always)]
fn step_of<const STEP: usize>(call: &TileCall<'_>) -> usize {
    if STEP == 0 { call.step } else { STEP }
}

/// Adds the products with a run of a whole block.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn block<V: Vector, const VECTORS: usize, const PIXELS: usize, const STEP: usize>(
    call: &TileCall<'_>,
    sums: &mut [[V; PIXELS]; VECTORS],
    places: Halves<*const f32>,
    weights: &mut *const f32,
) {
    let step = step_of::<STEP>(call);
    // SAFETY: the caller's promise.
    unsafe {
        quad::<V, VECTORS, PIXELS>(sums, places, step, weights);
        quad::<V, VECTORS, PIXELS>(sums, places.map(|at| at.add(QUAD)), step, weights);
        quad::<V, VECTORS, PIXELS>(sums, places.map(|at| at.add(2 * QUAD)), step, weights);
        quad::<V, VECTORS, PIXELS>(sums, places.map(|at| at.add(3 * QUAD)), step, weights);
    }
}

/// An expression for each of these constants.
macro_rules! for_each {
    ($name:ident in [$($value:literal),*]: $each:expr) => {
        $({
            const $name: usize = $value;
            $each
        })*
    };
}

/// Adds the products with a run of any length.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn rest<V: Vector, const VECTORS: usize, const PIXELS: usize, const STEP: usize>(
    call: &TileCall<'_>,
    sums: &mut [[V; PIXELS]; VECTORS],
    (input, run): (Halves<*const f32>, Run),
    (weights, ahead): (&mut *const f32, &mut *const f32),
) {
    let step = step_of::<STEP>(call);
    // SAFETY: the caller's promise.
    unsafe {
        let mut places = input.map(|at| at.add(run.offset as usize));
        if V::BY_LANE {
            return by_lanes::<V, VECTORS, PIXELS>(call, sums, (places, run.length as usize), step, weights);
        }
        let mut length = run.length as usize;
        // Runs of a planar picture are short; and where nothing is written out, the compiler takes more registers than there are.
        let is_written_out = V::EMBEDS || (V::SPLATS && VECTORS == 2);
        while is_written_out && STEP > PLANAR_STEP && length >= ASKED {
            call.ahead.ask(ahead);
            for_each!(ELEMENT in [0, 1, 2, 3]:
                element::<V, VECTORS, PIXELS, STEP, ELEMENT>(sums, places, step, *weights));
            *weights = weights.add(ASKED * VECTORS * V::LANES);
            (places, length) = (places.map(|at| at.add(ASKED)), length - ASKED);
        }
        while length > 0 {
            call.ahead.ask(ahead);
            let part = length.min(ASKED);
            for _ in 0..part {
                element::<V, VECTORS, PIXELS, STEP, 0>(sums, places, step, *weights);
                *weights = weights.add(VECTORS * V::LANES);
                places = [places[0].add(1), places[1].add(1)];
            }
            length -= part;
        }
    }
}

/// The same where inputs are taken by lanes.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn by_lanes<V: Vector, const VECTORS: usize, const PIXELS: usize>(
    call: &TileCall<'_>,
    sums: &mut [[V; PIXELS]; VECTORS],
    (mut places, mut length): (Halves<*const f32>, usize),
    step: usize,
    weights: &mut *const f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        while length >= QUAD {
            quad::<V, VECTORS, PIXELS>(sums, places, step, weights);
            (places, length) = ([places[0].add(QUAD), places[1].add(QUAD)], length - QUAD);
        }
        if call.reads_on && length == QUAD - 1 {
            let inputs = windows::<V, PIXELS>(places, step);
            accumulate::<V, VECTORS, PIXELS, 0>(sums, &inputs, weights);
            accumulate::<V, VECTORS, PIXELS, 1>(sums, &inputs, weights);
            accumulate::<V, VECTORS, PIXELS, 2>(sums, &inputs, weights);
            return;
        }
        for _ in 0..length {
            one::<V, VECTORS, PIXELS>(sums, places, step, weights);
            places = [places[0].add(1), places[1].add(1)];
        }
    }
}

/// Pixels of a tile at most that [`element`] goes over.
const MOST_PIXELS: usize = 14;

/// Adds the products with one input of a pixel, if a tile has it. Of two vectors of weights, every second pixel's input is read
/// by either's multiplication, where it can: that is an instruction less for each, and the loads have room for it.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn pixel<
    V: Vector,
    const VECTORS: usize,
    const PIXELS: usize,
    const STEP: usize,
    const ELEMENT: usize,
    const PIXEL: usize,
>(
    sums: &mut [[V; PIXELS]; VECTORS],
    row: &[V; VECTORS],
    places: Halves<*const f32>,
    step: usize,
) {
    if PIXEL >= PIXELS {
        return;
    }
    let half = PIXELS / 2;
    // SAFETY: the caller's promise.
    unsafe {
        // The largest tile leaves no register to read an input to.
        if V::EMBEDS && STEP > 0 && VECTORS == 2 && (PIXEL % 2 == 1 || PIXELS == MOST_PIXELS) {
            for vector in 0..VECTORS {
                sums[vector][PIXEL] =
                    row[vector].fma_embedded::<PIXEL, PIXELS, STEP, ELEMENT>(places, sums[vector][PIXEL]);
            }
            return;
        }
        if V::SPLATS && STEP > 0 && VECTORS == 2 {
            let found = [sums[0][PIXEL], sums[1][PIXEL]];
            let [first, second] = V::fma_splat::<PIXEL, PIXELS, STEP, ELEMENT>([row[0], row[1]], places, found);
            (sums[0][PIXEL], sums[1][PIXEL]) = (first, second);
            return;
        }
        let place = if PIXEL < half { places[0].add(PIXEL * step) } else { places[1].add((PIXEL - half) * step) };
        let input = V::splat(*place.add(ELEMENT));
        for vector in 0..VECTORS {
            sums[vector][PIXEL] = input.fma(row[vector], sums[vector][PIXEL]);
        }
    }
}

/// Adds the products with an element, counted from where inputs and weights begin, whose weights are held while the pixels pass by.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn element<V: Vector, const VECTORS: usize, const PIXELS: usize, const STEP: usize, const ELEMENT: usize>(
    sums: &mut [[V; PIXELS]; VECTORS],
    places: Halves<*const f32>,
    step: usize,
    weights: *const f32,
) {
    const { assert!(V::BY_LANE || PIXELS <= MOST_PIXELS) };
    // SAFETY: the caller's promise.
    unsafe {
        let mut row = [V::splat(0.0); VECTORS];
        for vector in 0..VECTORS {
            row[vector] = V::load(weights.add((ELEMENT * VECTORS + vector) * V::LANES));
        }
        for_each!(PIXEL in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]:
            pixel::<V, VECTORS, PIXELS, STEP, ELEMENT, PIXEL>(sums, &row, places, step));
    }
}

/// Adds the products with one input of each pixel: those are held, and the weights pass by, of which a tall tile has more
/// than there are registers.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn one<V: Vector, const VECTORS: usize, const PIXELS: usize>(
    sums: &mut [[V; PIXELS]; VECTORS],
    places: Halves<*const f32>,
    step: usize,
    weights: &mut *const f32,
) {
    let half = PIXELS / 2;
    // SAFETY: the caller's promise.
    unsafe {
        let mut inputs = [V::splat(0.0); PIXELS];
        for pixel in 0..PIXELS {
            let place = if pixel < half { places[0].add(pixel * step) } else { places[1].add((pixel - half) * step) };
            inputs[pixel] = V::splat(*place);
        }
        accumulate::<V, VECTORS, PIXELS, 0>(sums, &inputs, weights);
    }
}

/// What happens to the sums before they leave the registers.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn finish<V: Vector, const VECTORS: usize, const PIXELS: usize>(
    call: &TileCall<'_>,
    tile: &TilePlace,
    sums: &mut [[V; PIXELS]; VECTORS],
) {
    let half = PIXELS / 2;
    // SAFETY: the caller's promise.
    unsafe {
        if let Some(residual) = call.residual {
            let residual = tile.residual.map(|floats| residual.add(floats));
            for pixel in 0..PIXELS {
                for vector in 0..VECTORS {
                    let from =
                        residual[usize::from(pixel >= half)].add(place::<V>(vector, pixel, half, call.residual_block));
                    sums[vector][pixel] = sums[vector][pixel].add(V::load(from));
                }
            }
        }
        match call.activation {
            Activation::Clamp { low, high } => {
                let low = V::splat(low);
                for vector in 0..VECTORS {
                    for pixel in 0..PIXELS {
                        sums[vector][pixel] = low.max(sums[vector][pixel]);
                    }
                }
                if high < f32::INFINITY {
                    let high = V::splat(high);
                    for vector in 0..VECTORS {
                        for pixel in 0..PIXELS {
                            sums[vector][pixel] = high.min(sums[vector][pixel]);
                        }
                    }
                }
            }
            Activation::HardSwish { alpha, beta } => {
                for vector in 0..VECTORS {
                    for pixel in 0..PIXELS {
                        sums[vector][pixel] = activate(Activation::HardSwish { alpha, beta }, sums[vector][pixel]);
                    }
                }
            }
            _ => {}
        }
        let output = tile.output.map(|floats| call.output.add(floats));
        for pixel in 0..PIXELS {
            for vector in 0..VECTORS {
                let to = output[usize::from(pixel >= half)].add(place::<V>(vector, pixel, half, call.output_block));
                sums[vector][pixel].store(to);
            }
        }
    }
}

/// Input floats that a vector holds whose lanes are taken one by one.
const QUAD: usize = 4;

/// Vectors of weights that one instruction loads.
const FOUR: usize = 4;

/// Adds the products with four neighbouring inputs of each pixel.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn quad<V: Vector, const VECTORS: usize, const PIXELS: usize>(
    sums: &mut [[V; PIXELS]; VECTORS],
    places: Halves<*const f32>,
    step: usize,
    weights: &mut *const f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let inputs = windows::<V, PIXELS>(places, step);
        accumulate::<V, VECTORS, PIXELS, 0>(sums, &inputs, weights);
        accumulate::<V, VECTORS, PIXELS, 1>(sums, &inputs, weights);
        accumulate::<V, VECTORS, PIXELS, 2>(sums, &inputs, weights);
        accumulate::<V, VECTORS, PIXELS, 3>(sums, &inputs, weights);
    }
}

/// Floats between neighbouring windows of a planar picture that every second pixel is taken of.
const PLANAR_STEP: usize = 2;

/// Floats behind a run that are read where [`TileCall::reads_on`] allows it.
pub(crate) const READ_ON: usize = QUAD - 1;

/// Vectors that hold the floats of all windows of half a tile.
const STRIP: usize = 4;

/// Adds the products with the next runs, as long as they are of `LENGTH` floats.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn strips<V: Vector, const VECTORS: usize, const PIXELS: usize, const LENGTH: usize>(
    sums: &mut [[V; PIXELS]; VECTORS],
    input: Halves<*const f32>,
    (runs, end): (&mut *const Run, *const Run),
    weights: &mut *const f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        while *runs < end && (**runs).length as usize == LENGTH {
            let offset = (**runs).offset as usize;
            strip::<V, VECTORS, PIXELS, LENGTH>(sums, input.map(|at| at.add(offset)), weights);
            *runs = runs.add(1);
        }
    }
}

/// Adds the products with a run of `LENGTH` floats whose windows lie [`PLANAR_STEP`] apart: each float is loaded once for
/// all windows of a half that see it.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn strip<V: Vector, const VECTORS: usize, const PIXELS: usize, const LENGTH: usize>(
    sums: &mut [[V; PIXELS]; VECTORS],
    [first, second]: Halves<*const f32>,
    weights: &mut *const f32,
) {
    const { assert!(!V::BY_LANE || (PIXELS.div_ceil(2) - 1) * PLANAR_STEP + LENGTH <= STRIP * QUAD) };
    let half = PIXELS / 2;
    // SAFETY: the caller's promise; the last vector of a half reaches at most READ_ON floats behind its last run.
    unsafe {
        let mut floats = [[V::splat(0.0); STRIP]; 2];
        for part in 0..STRIP {
            if half > 0 && part * QUAD < half.saturating_sub(1) * PLANAR_STEP + LENGTH {
                floats[0][part] = V::load(first.add(part * QUAD));
            }
            if part * QUAD < (PIXELS - half - 1) * PLANAR_STEP + LENGTH {
                floats[1][part] = V::load(second.add(part * QUAD));
            }
        }
        column::<V, VECTORS, PIXELS, LENGTH, 0>(sums, &floats, weights);
        column::<V, VECTORS, PIXELS, LENGTH, 1>(sums, &floats, weights);
        column::<V, VECTORS, PIXELS, LENGTH, 2>(sums, &floats, weights);
        column::<V, VECTORS, PIXELS, LENGTH, 3>(sums, &floats, weights);
        column::<V, VECTORS, PIXELS, LENGTH, 4>(sums, &floats, weights);
        column::<V, VECTORS, PIXELS, LENGTH, 5>(sums, &floats, weights);
        column::<V, VECTORS, PIXELS, LENGTH, 6>(sums, &floats, weights);
    }
}

/// Adds the products with one column of all windows of a strip, if there is such a column.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn column<V: Vector, const VECTORS: usize, const PIXELS: usize, const LENGTH: usize, const COLUMN: usize>(
    sums: &mut [[V; PIXELS]; VECTORS],
    floats: &[[V; STRIP]; 2],
    weights: &mut *const f32,
) {
    if COLUMN >= LENGTH {
        return;
    }
    let half = PIXELS / 2;
    // SAFETY: the caller's promise.
    unsafe {
        for vector in 0..VECTORS {
            let row = V::load(weights.add(vector * V::LANES));
            for pixel in 0..PIXELS {
                let (side, of_half) = if pixel < half { (0, pixel) } else { (1, pixel - half) };
                let at = of_half * PLANAR_STEP + COLUMN;
                let (factors, sum) = (floats[side][at / QUAD], sums[vector][pixel]);
                sums[vector][pixel] = match at % QUAD {
                    0 => row.fma_lane::<0>(factors, sum),
                    1 => row.fma_lane::<1>(factors, sum),
                    2 => row.fma_lane::<2>(factors, sum),
                    _ => row.fma_lane::<3>(factors, sum),
                };
            }
        }
        *weights = weights.add(VECTORS * V::LANES);
    }
}

/// A vector from each pixel's window.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn windows<V: Vector, const PIXELS: usize>(places: Halves<*const f32>, step: usize) -> [V; PIXELS] {
    let half = PIXELS / 2;
    // SAFETY: the caller's promise.
    unsafe {
        let mut inputs = [V::splat(0.0); PIXELS];
        for pixel in 0..PIXELS {
            let place = if pixel < half { places[0].add(pixel * step) } else { places[1].add((pixel - half) * step) };
            inputs[pixel] = V::load(place);
        }
        inputs
    }
}

/// Adds the products with one lane of the inputs.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn accumulate<V: Vector, const VECTORS: usize, const PIXELS: usize, const LANE: i32>(
    sums: &mut [[V; PIXELS]; VECTORS],
    inputs: &[V; PIXELS],
    weights: &mut *const f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        // A tall tile's weights are most of what it loads. Of others, as many instructions are saved by loading two vectors of
        // inputs at once, for which there are registers beside two of weights.
        let fours = if PIXELS == 1 { VECTORS / FOUR } else { 0 };
        for four in 0..fours {
            let rows = V::load_four(weights);
            for vector in 0..FOUR {
                for pixel in 0..PIXELS {
                    let sum = &mut sums[four * FOUR + vector][pixel];
                    *sum = rows[vector].fma_lane::<LANE>(inputs[pixel], *sum);
                }
            }
        }
        for vector in fours * FOUR..VECTORS {
            let row = V::load(weights.add((vector - fours * FOUR) * V::LANES));
            for pixel in 0..PIXELS {
                sums[vector][pixel] = row.fma_lane::<LANE>(inputs[pixel], sums[vector][pixel]);
            }
        }
        *weights = weights.add((VECTORS - fours * FOUR) * V::LANES);
    }
}

/// Floats from the first pixel of its half to a vector of a pixel.
#[inline(always)]
fn place<V: Vector>(vector: usize, pixel: usize, half: usize, block: usize) -> usize {
    let of_block = LANES / V::LANES;
    let pixel = if pixel < half { pixel } else { pixel - half };
    vector / of_block * block + vector % of_block * V::LANES + pixel * LANES
}

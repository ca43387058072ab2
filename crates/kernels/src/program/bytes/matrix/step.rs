//! A convolution by a matrix unit, with every offset settled.

use super::strip::Part;
use super::{PackedMatrix, STEP, SUMS};
use crate::bounds::{Touched, placed};
use crate::error::PlanError;
use crate::kernel::bytes::matrix::{DEPTH, End, FinishCall, GatherCall, MatrixCall, ROWS, SIDE, TILE};
use crate::layout::{LANES, SLACK};
use crate::program::bytes::convolution::{CACHED_BYTES, Finishing};
use crate::program::region::Region;
use crate::program::share::PIECES;
use crate::program::step::{Step, Worker, proven};
use crate::program::tiles::even;

/// Bytes from what is read to what is asked for where every weight is read once.
const NEAR: usize = 8 << 10;

/// A convolution by a matrix unit.
#[derive(Debug)]
pub(crate) struct MatrixStep {
    packed: PackedMatrix,
    input: Region,
    output: Region,
    residual: Option<Region>,
    /// The first thread's scratch memory; the others' follow.
    scratch: usize,
    /// First row of the output, and how many there are.
    strips: Vec<(usize, usize)>,
}

impl MatrixStep {
    pub(crate) fn new(
        packed: PackedMatrix,
        [input, output]: [Region; 2],
        residual: Option<Region>,
        [scratch, threads]: [usize; 2],
    ) -> Self {
        let height = output.shape().height;
        let shared = if threads > 1 { (PIECES * threads).div_ceil(packed.bands()).min(height) } else { 1 };
        let strips = even(height, height.div_ceil(packed.strip.rows).max(shared)).collect();
        Self { packed, input, output, residual, scratch, strips }
    }

    /// Where a part of a gathered pixel comes from: the first of a row of its plane. `None` beyond the halo.
    fn source(&self, first: usize, part: &Part, row: usize) -> Option<usize> {
        let (window, layout) = (&self.packed.strip.window, &self.input.layout);
        let begin = self.input.window(first * window.stride[0], 0, window.padding[0], window.padding[1])?;
        let row = row * window.stride[0] + part.at[0];
        Some(begin + part.block * layout.block() + row * layout.row() + part.at[1] * layout.pixel())
    }

    /// Gathers what a strip's windows see.
    ///
    /// # Safety
    /// As for [`Step::run`].
    unsafe fn gather(&self, worker: &Worker<'_>, (first, rows): (usize, usize), pixels: usize) {
        let strip = &self.packed.strip;
        for (number, plane) in strip.planes.iter().enumerate() {
            for row in 0..rows + plane.more[0] {
                let sources = plane.parts.map(|part| self.source(first, &part, row).unwrap_or(self.input.first));
                let to = (number * strip.plane + row * strip.pitch) * DEPTH;
                // SAFETY: check() has proven every place that the kernel reaches; the scratch memory is this thread's.
                unsafe {
                    (self.packed.set.gather)(&GatherCall {
                        inputs: sources.map(|source| worker.at(source).cast_const().cast()),
                        pixels: strip.columns + plane.more[1],
                        step: strip.window.stride[1] * self.input.layout.pixel() * size_of::<f32>(),
                        output: worker.at(pixels).cast::<u8>().add(to),
                    });
                }
            }
        }
    }

    /// Multiplies a strip by the weights of a band.
    ///
    /// # Safety
    /// As for [`Step::run`].
    unsafe fn multiply(&self, worker: &Worker<'_>, (first, rows): (usize, usize), band: usize, scratch: usize) {
        let PackedMatrix { strip, weights, bias, set, .. } = &self.packed;
        let (block, blocks, at) = self.packed.band(band);
        let (pixels, step) = (strip.pixels(rows), SIDE * ROWS);
        let calls = pixels.div_ceil(step);
        for call in 0..calls {
            let (from, count) = (call * step, (pixels - call * step).min(step));
            // SAFETY: check() has proven every place that the kernels reach.
            unsafe {
                let weights = weights.as_ptr().cast::<u8>().add(at);
                (set.multiply)(&MatrixCall {
                    input: worker.at(scratch + SUMS).cast::<u8>().add(from * DEPTH),
                    places: &strip.places,
                    tiles: [count.div_ceil(ROWS), blocks],
                    weights,
                    bias: bias.as_ptr().add(block * LANES),
                    sums: worker.at(scratch).cast(),
                    ahead: self.ahead(weights, band, [call, calls]),
                });
                for (part, [row, column], count) in strip.parts(from, count) {
                    for of_band in 0..blocks {
                        let sums = (of_band * step + part - from) * LANES;
                        let sums = worker.at(scratch + sums).cast_const().cast();
                        self.finish(worker, sums, [block + of_band, first + row, column], count);
                    }
                }
            }
        }
    }

    /// Weights that no cache holds until the next picture are asked for while others are multiplied.
    fn ahead(&self, weights: *const u8, band: usize, [call, calls]: [usize; 2]) -> (*const u8, usize) {
        let (_, blocks, _) = self.packed.band(band);
        let places = self.packed.strip.places.len();
        if self.packed.weights.len() * size_of::<f32>() <= CACHED_BYTES {
            return (weights, 0);
        }
        if calls == 1 {
            return (weights.wrapping_add(NEAR), blocks * TILE / DEPTH);
        }
        if band + 1 == self.packed.bands() {
            return (weights, 0);
        }
        let bytes = places * blocks * TILE;
        (weights.wrapping_add(bytes + bytes / calls * call), (blocks * TILE / DEPTH).div_ceil(calls))
    }

    /// Makes bytes, or floats, of the sums of some pixels of a block, from this row and column on.
    ///
    /// # Safety
    /// As for [`Step::run`].
    unsafe fn finish(&self, worker: &Worker<'_>, sums: *const i32, [block, y, x]: [usize; 3], pixels: usize) {
        let packed = &self.packed;
        // SAFETY: check() has proven every place that the kernel reaches.
        unsafe {
            let end = match (&packed.finishing, &self.residual) {
                (Finishing::Joined(range, joint), Some(residual)) => {
                    End::Joined(*range, *joint, worker.at(residual.at(block, y, x)).cast_const().cast())
                }
                (Finishing::Bytes(range) | Finishing::Joined(range, _), _) => End::Bytes(*range),
                (Finishing::Floats(addends), _) => End::Floats(addends.as_ptr().add(block * LANES)),
            };
            (packed.set.finish)(&FinishCall {
                sums,
                pixels,
                factors: packed.factors.as_ptr().add(block * LANES),
                output: worker.at(self.output.at(block, y, x)).cast(),
                end,
            });
        }
    }

    /// Proves that what is gathered is the input's, or lies in the slack behind a picture.
    fn check_gathering(&self) -> Result<(), PlanError> {
        let (strip, layout) = (&self.packed.strip, &self.input.layout);
        for &(first, rows) in &self.strips {
            proven(rows <= strip.rows, STEP, "rows of a strip")?;
            for plane in &strip.planes {
                let pixels = strip.columns + plane.more[1];
                let row = (pixels - 1) * strip.window.stride[1] * layout.pixel() + LANES / size_of::<f32>();
                for part in &plane.parts {
                    let [from, last] = [0, rows + plane.more[0] - 1].map(|row| self.source(first, part, row));
                    let (Some(from), Some(last)) = (from, last) else {
                        return Err(PlanError::Extent { step: STEP, access: "before the halo" });
                    };
                    let slack = if layout.is_planar { SLACK } else { 0 };
                    proven(self.input.holds_but_for(from, last + row, slack), STEP, "input")?;
                }
                proven((rows + plane.more[0] - 1) * strip.pitch + pixels <= strip.plane, STEP, "planes")?;
            }
        }
        Ok(())
    }
}

impl Step for MatrixStep {
    fn check(&self) -> Result<(), PlanError> {
        let PackedMatrix { strip, blocks, weights, bias, factors, finishing, .. } = &self.packed;
        proven(self.input.layout.is_bytes(), STEP, "the input's elements")?;
        proven(self.input.layout.is_planar == self.packed.is_picture, STEP, "the kind of input")?;
        proven(self.output.layout.is_bytes() != self.packed.writes_floats(), STEP, "the output's elements")?;
        proven(!self.output.layout.is_planar && self.output.shape().width == strip.columns, STEP, "output")?;
        proven(*blocks == [self.input.blocks(), self.output.blocks()], STEP, "blocks")?;
        let channels = blocks[1] * LANES;
        proven(bias.len() >= channels && factors.len() >= channels, STEP, "bias")?;
        if let Finishing::Floats(addends) = finishing {
            proven(addends.len() >= channels, STEP, "addends")?;
        }
        proven(!strip.places.is_empty(), STEP, "places")?;
        proven(strip.places.len() * blocks[1] * TILE <= weights.len() * size_of::<f32>(), STEP, "weights")?;
        self.check_gathering()?;
        // The last tile of a strip reads on to its end, which may lie behind the strip.
        let pixels = strip.pixels(strip.rows).next_multiple_of(ROWS);
        let reach = strip.places.iter().map(|&place| place as usize + pixels * DEPTH).max().unwrap_or(0);
        proven(reach <= strip.bytes(), STEP, "gathered pixels")?;
        proven(self.strips.iter().all(|(first, rows)| first + rows <= self.output.shape().height), STEP, "rows")?;
        proven(self.residual.is_some() == matches!(finishing, Finishing::Joined(..)), STEP, "the residual")?;
        match &self.residual {
            Some(residual) => {
                let is_same = residual.shape() == self.output.shape() && residual.layout.is_bytes();
                proven(is_same && !residual.layout.is_planar, STEP, "the residual's shape")
            }
            None => Ok(()),
        }
    }

    fn touches(&self) -> Touched {
        let PackedMatrix { weights, bias, factors, finishing, .. } = &self.packed;
        let addends = if let Finishing::Floats(addends) = finishing { Some(addends.place()) } else { None };
        let weights = [weights.place(), placed(bias), factors.place()].into_iter().chain(addends).collect();
        let mut touched =
            Touched { weights, ..Touched::of([&self.input].into_iter().chain(&self.residual), &self.output) };
        touched.writes.push(self.scratch..self.scratch + self.packed.scratch());
        touched
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        let (bands, scratch) = (self.packed.bands(), self.scratch + worker.number * self.packed.scratch());
        let mut gathered = None;
        for item in worker.share(self.strips.len() * bands).flatten() {
            let (strip, band) = (item / bands, item % bands);
            // SAFETY: the caller's promise; no other thread computes this band of this strip, and the scratch memory is this
            // thread's. The unit's state is what the kernel wants from the first piece on.
            unsafe {
                if gathered.is_none() {
                    (self.packed.set.enter)();
                }
                if gathered != Some(strip) {
                    self.gather(worker, self.strips[strip], scratch + SUMS);
                    gathered = Some(strip);
                }
                self.multiply(worker, self.strips[strip], band, scratch);
            }
        }
        if gathered.is_some() {
            // SAFETY: the unit was entered, and this thread is done with it.
            unsafe { (self.packed.set.leave)() };
        }
    }

    fn describe(&self) -> String {
        let [rows, columns] = self.packed.strip.window.kernel;
        format!("{STEP} {rows} × {columns}, {} to {}", self.input.shape(), self.output.shape())
    }

    fn weights(&self) -> usize {
        self.packed.floats()
    }
}

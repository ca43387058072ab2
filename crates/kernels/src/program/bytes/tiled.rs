//! A dense convolution of bytes, tile by tile: as `program/convolution.rs`.

use std::ops::Range;

use super::bands::{Band, DENSE_CHANNELS, OF_PIXEL};
use super::convolution::{CACHED_BYTES, Finishing, PackedBytes, STEP, Widening, runs};
use crate::bounds::{Touched, placed};
use crate::error::PlanError;
use crate::kernel::ahead::Ahead;
use crate::kernel::bytes::pairs::PAIR_STEP;
use crate::kernel::bytes::set::BYTE_STEPS;
use crate::kernel::bytes::tile::{ByteTileCall, ByteTileKernel, Finish, WidenCall};
use crate::kernel::set::LOOSE_PIXELS;
use crate::kernel::tile::Run;
use crate::layout::{LANES, MAX_PICTURE_CHANNELS, SLACK};
use crate::program::order::{Order, Piece};
use crate::program::region::Region;
use crate::program::step::{Step, Worker, proven};
use crate::program::tiles::{Tile, cut_by};

/// A tile with its places in the arena.
#[derive(Debug)]
struct Placed {
    tile: Tile,
    input: [usize; 2],
    /// Of the output's first block.
    output: [usize; 2],
    residual: Option<[usize; 2]>,
    /// Its kernel, among those of its band.
    kernel: usize,
    /// Where its widened windows begin in the scratch memory.
    widened: usize,
}

/// A band with its runs and a kernel for each size of tile.
#[derive(Debug)]
struct Planned {
    band: Band,
    runs: Range<usize>,
    /// Words of all runs.
    elements: usize,
    kernels: Vec<ByteTileKernel>,
}

/// A convolution with every offset settled.
#[derive(Debug)]
pub(crate) struct ByteConvolutionStep {
    packed: PackedBytes,
    input: Region,
    output: Region,
    residual: Option<Region>,
    tiles: Vec<Placed>,
    bands: Vec<Planned>,
    runs: Vec<Run>,
    /// Words between the windows of neighbouring pixels.
    step: usize,
    /// Where pairs are multiplied: for each size of tile, the runs of its widened windows.
    widened: Vec<Vec<Run>>,
    /// The first thread's scratch memory; the others' follow.
    scratch: usize,
    order: Order,
}

/// The better order for the caches.
fn order(packed: &PackedBytes, input: &Region, [bands, tiles]: [usize; 2], threads: usize) -> Order {
    let [weights, read] = [packed.weights.len(), input.floats().len()].map(|floats| floats * size_of::<f32>());
    if weights <= CACHED_BYTES && tiles > 1 {
        return Order::by_group(bands);
    }
    Order::by_band(bands, tiles, if weights < 2 * read { threads } else { 1 })
}

impl ByteConvolutionStep {
    pub(crate) fn new(
        packed: PackedBytes,
        input: Region,
        output: Region,
        residual: Option<Region>,
        [scratch, threads]: [usize; 2],
    ) -> Result<Self, PlanError> {
        let set = packed.set;
        let step = packed.window.stride[1] * input.layout.pixel();
        let most = match packed.widening {
            Some(Widening { pairs, .. }) => pairs.pixels,
            None if BYTE_STEPS.contains(&step) => set.pixels,
            None => LOOSE_PIXELS,
        };
        let shape = output.shape();
        let cut = cut_by(shape.height, shape.width, most, packed.form().pixels());
        let mut sizes: Vec<usize> = cut.iter().map(|tile| tile.pixels).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let place = |tile: Tile| -> Option<Placed> {
            let [top, left] = packed.window.padding;
            let window = |(y, x): (usize, usize)| {
                input.window(y * packed.window.stride[0], x * packed.window.stride[1], top, left)
            };
            let at = |region: &Region| tile.halves.map(|(y, x)| region.at(0, y, x));
            let input = [window(tile.halves[0])?, window(tile.halves[1])?];
            let kernel = sizes.binary_search(&tile.pixels).ok()?;
            Some(Placed { tile, input, output: at(&output), residual: residual.as_ref().map(at), kernel, widened: 0 })
        };
        let tiles: Option<Vec<Placed>> = cut.into_iter().map(place).collect();
        let mut tiles = tiles.ok_or(PlanError::Extent { step: STEP, access: "a window begins before the halo" })?;
        if let Some(Widening { chunks, kept: Some(_), .. }) = packed.widening {
            let mut place = 0;
            for placed in &mut tiles {
                placed.widened = place;
                place += chunks * PAIR_STEP * placed.tile.pixels;
            }
        }
        let (mut all, mut bands) = (Vec::new(), Vec::new());
        for band in &packed.bands {
            let first = all.len();
            // Without groups, all bands look at the same channels.
            let shared = bands.first().filter(|first: &&Planned| first.band.channels == band.channels);
            let range = match shared {
                Some(first) => first.runs.clone(),
                None => {
                    all.extend(runs(&packed, &band.channels, &input));
                    first..all.len()
                }
            };
            let kernel = |pixels: usize| match packed.widening {
                Some(Widening { pairs, .. }) => (pairs.tile)(band.blocks, pixels),
                None => (set.tile)(band.blocks, pixels, step),
            };
            let kernels: Option<Vec<ByteTileKernel>> = sizes.iter().map(|&pixels| kernel(pixels)).collect();
            let kernels = kernels.ok_or(PlanError::Extent { step: STEP, access: "there is no kernel of its size" })?;
            let elements = all[range.clone()].iter().map(|run: &Run| run.length as usize).sum();
            bands.push(Planned { band: band.clone(), runs: range, elements, kernels });
        }
        let widened = |&pixels: &usize| {
            let run = |(number, run): (usize, &Run)| Run { offset: (number * pixels * PAIR_STEP) as u32, ..*run };
            all.iter().enumerate().map(run).collect()
        };
        let widened = if packed.widening.is_some() { sizes.iter().map(widened).collect() } else { vec![] };
        let order = order(&packed, &input, [bands.len(), tiles.len()], threads);
        Ok(Self { packed, input, output, residual, tiles, bands, runs: all, step, widened, scratch, order })
    }

    /// Where a thread widens a tile.
    fn widens_at(&self, worker: &Worker<'_>, placed: &Placed) -> usize {
        self.scratch + worker.number * self.packed.scratch() + placed.widened
    }

    /// Widens the windows of a tile, where pairs are multiplied.
    ///
    /// # Safety
    /// As for [`Step::run`].
    unsafe fn widen(&self, worker: &Worker<'_>, placed: &Placed) {
        let Some(Widening { pairs, is_dense, .. }) = self.packed.widening else { return };
        // SAFETY: check() has proven every place that the kernel reaches; the scratch memory is this thread's.
        unsafe {
            let widen = if is_dense { pairs.widen_dense } else { pairs.widen };
            widen(&WidenCall {
                input: placed.input.map(|place| worker.at(place).cast_const().cast()),
                runs: &self.runs,
                step: self.step,
                pixels: placed.tile.pixels,
                output: worker.at(self.widens_at(worker, placed)).cast(),
            });
        }
    }

    /// As for a convolution of floats.
    fn ahead(&self, piece: &Piece, weights: *const f32) -> Ahead {
        let planned = &self.bands[piece.band];
        let width = planned.band.blocks * self.packed.form().bytes() / size_of::<f32>();
        match piece.part.len() {
            0 => Ahead::NOTHING,
            1 => Ahead::same_band(weights, width),
            tiles => Ahead::next_band(weights, [planned.elements, width], [piece.group - piece.part.start, tiles]),
        }
    }

    /// # Safety
    /// As for [`Step::run`].
    unsafe fn compute(&self, worker: &Worker<'_>, piece: &Piece) {
        let planned = &self.bands[piece.band];
        let (band, packed, placed) = (&planned.band, &self.packed, &self.tiles[piece.group]);
        let first = |region: &Region, places: [usize; 2]| {
            let block = band.block * region.layout.block();
            // SAFETY: check() has proven that the places are inside the region.
            places.map(|place| unsafe { worker.at(place + block).cast::<u8>() })
        };
        let bytes = |region: &Region| region.layout.block() * size_of::<f32>();
        // SAFETY: the arena is the one that the regions lie in; check() has proven every place that the kernel reaches.
        unsafe {
            let finish = match (&packed.finishing, self.residual.as_ref().zip(placed.residual)) {
                (Finishing::Joined(range, joint), Some((region, places))) => Finish::Joined {
                    range: *range,
                    joint: *joint,
                    with: first(region, places).map(<*mut u8>::cast_const),
                    block: bytes(region),
                },
                (Finishing::Bytes(range) | Finishing::Joined(range, _), _) => Finish::Bytes(*range),
                (Finishing::Floats(addends), _) => Finish::Floats(addends.as_ptr().add(band.block * LANES)),
            };
            let (input, runs) = match self.widened.get(placed.kernel) {
                Some(runs) => {
                    let first = self.widens_at(worker, placed);
                    ([first, first + placed.tile.length(0) * PAIR_STEP], runs.as_slice())
                }
                None => (placed.input, &self.runs[planned.runs.clone()]),
            };
            let weights = packed.weights.as_ptr().cast::<u8>().add(band.weights);
            planned.kernels[placed.kernel](&ByteTileCall {
                input: input.map(|place| worker.at(place).cast_const().cast()),
                runs,
                step: self.step,
                pixels: placed.tile.pixels,
                blocks: band.blocks,
                weights,
                ahead: self.ahead(piece, weights.cast()),
                bias: packed.bias.as_ptr().add(band.block * LANES),
                factors: packed.factors.as_ptr().add(band.block * LANES),
                output: first(&self.output, placed.output),
                output_block: bytes(&self.output),
                finish,
            });
        }
    }

    /// Proves what depends on the band alone; returns the words from a window's first to past its last.
    fn check_band(&self, band: &Band, runs: &[Run]) -> Result<usize, PlanError> {
        let elements: usize = runs.iter().map(|run| run.length as usize).sum();
        let weights = band.weights + elements * band.blocks * self.packed.form().bytes();
        let channels = (band.block + band.blocks) * LANES;
        proven(weights <= self.packed.weights.len() * size_of::<f32>(), STEP, "weights")?;
        proven(channels <= self.packed.bias.len() && channels <= self.packed.factors.len(), STEP, "bias")?;
        if let Finishing::Floats(addends) = &self.packed.finishing {
            proven(channels <= addends.len(), STEP, "addends")?;
        }
        proven(band.block + band.blocks <= self.output.blocks(), STEP, "output blocks")?;
        let words = self.packed.form().words();
        // Widening reads whole pixels, or as many words of a picture, and so into the slack at most.
        let length = |run: &Run| match self.packed.widening {
            Some(_) if !self.packed.is_planar => OF_PIXEL,
            Some(Widening { is_dense: true, .. }) => run.length as usize * 2 / DENSE_CHANNELS,
            Some(_) => run.length as usize * 2 / MAX_PICTURE_CHANNELS,
            // The last word of a picture's window may be read with the one behind it, which may lie in the slack.
            None if self.packed.is_planar => (run.length as usize).saturating_sub(1) * words + 1,
            None => run.length as usize * words,
        };
        proven(words <= SLACK, STEP, "slack")?;
        Ok(runs.iter().map(|run| run.offset as usize + length(run)).max().unwrap_or(0))
    }

    /// Proves that widened tiles fit the scratch memory, and that there is one list of runs for all bands.
    fn check_widening(&self) -> Result<(), PlanError> {
        let Some(Widening { pairs, chunks, kept, .. }) = self.packed.widening else {
            return proven(self.widened.is_empty(), STEP, "widening");
        };
        proven(self.runs.len() == chunks && self.packed.passes == 1, STEP, "widened windows")?;
        proven(self.runs.iter().all(|run| run.length as usize <= PAIR_STEP), STEP, "widened runs")?;
        proven(self.bands.iter().all(|planned| planned.runs == (0..chunks)), STEP, "widened bands")?;
        proven(OF_PIXEL <= SLACK, STEP, "slack")?;
        for placed in &self.tiles {
            let (pixels, runs) = (placed.tile.pixels, self.widened.get(placed.kernel).map_or(0, Vec::len));
            proven(pixels <= pairs.pixels && runs == chunks, STEP, "widened tiles")?;
            let end = placed.widened + chunks * PAIR_STEP * pixels;
            proven(end <= self.packed.scratch() && (kept.is_some() || placed.widened == 0), STEP, "scratch")?;
        }
        Ok(())
    }
}

impl Step for ByteConvolutionStep {
    fn check(&self) -> Result<(), PlanError> {
        let writes_floats = self.packed.writes_floats();
        proven(self.input.layout.is_bytes() && !self.output.layout.is_planar, STEP, "kinds of tensors")?;
        proven(self.output.layout.is_bytes() != writes_floats, STEP, "the output's elements")?;
        proven(self.residual.is_none_or(|region| region.layout.is_bytes()), STEP, "the residual's elements")?;
        self.check_widening()?;
        let joins = matches!(self.packed.finishing, Finishing::Joined(..));
        proven(self.residual.is_some() == joins, STEP, "the residual")?;
        for Planned { band, runs, .. } in &self.bands {
            let reach = self.check_band(band, self.runs.get(runs.clone()).unwrap_or_default())?;
            for placed in &self.tiles {
                for half in 0..2 {
                    let length = placed.tile.length(half);
                    if length == 0 {
                        continue;
                    }
                    let last = placed.input[half] + (length - 1) * self.step;
                    proven(self.input.holds(placed.input[half], last + reach), STEP, "input")?;
                    let holds = |region: &Region, first: usize| {
                        let first = first + band.block * region.layout.block();
                        let pixels = length * region.layout.pixel();
                        region.holds(first, first + (band.blocks - 1) * region.layout.block() + pixels)
                    };
                    proven(holds(&self.output, placed.output[half]), STEP, "output")?;
                    if let (Some(region), Some(places)) = (&self.residual, placed.residual) {
                        proven(holds(region, places[half]), STEP, "residual")?;
                    }
                }
            }
        }
        Ok(())
    }

    fn touches(&self) -> Touched {
        let PackedBytes { weights, bias, factors, finishing, .. } = &self.packed;
        let addends = if let Finishing::Floats(addends) = finishing { Some(addends.place()) } else { None };
        let weights = [weights.place(), placed(bias), factors.place()].into_iter().chain(addends).collect();
        let mut touched =
            Touched { weights, ..Touched::of([&self.input].into_iter().chain(&self.residual), &self.output) };
        touched.writes.push(self.scratch..self.scratch + self.packed.scratch());
        touched
    }

    fn describe(&self) -> String {
        let [rows, columns] = self.packed.window.kernel;
        format!("{STEP} {rows} × {columns}, {} to {}", self.input.shape(), self.output.shape())
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        let keeps = self.packed.widening.is_some_and(|widening| widening.kept.is_some());
        let mut widened = 0..0;
        for item in worker.share(self.bands.len() * self.tiles.len()).flatten() {
            let piece = self.order.piece(item);
            // SAFETY: the caller's promise; no other thread computes this band of this tile, and the scratch memory is this
            // thread's.
            unsafe {
                if !widened.contains(&piece.group) {
                    widened = if keeps { piece.part.clone() } else { piece.group..piece.group + 1 };
                    self.tiles[widened.clone()].iter().for_each(|placed| self.widen(worker, placed));
                }
                self.compute(worker, &piece);
            }
        }
    }

    fn weights(&self) -> usize {
        self.packed.floats()
    }
}

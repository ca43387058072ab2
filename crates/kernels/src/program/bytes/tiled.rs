//! A dense convolution of bytes, tile by tile: as `program/convolution.rs`.

use std::ops::Range;

use super::bands::{Band, DENSE_CHANNELS, OF_PIXEL};
use super::convolution::{CACHED_BYTES, Finishing, PackedBytes, STEP, Widening, runs};
use crate::bounds::{Touched, placed};
use crate::error::PlanError;
use crate::kernel::ahead::Ahead;
use crate::kernel::bytes::pairs::PAIR_STEP;
use crate::kernel::bytes::set::BYTE_STEPS;
use crate::kernel::bytes::tile::{BytePlace, ByteTileCall, ByteTileKernel, Even, Finish, WidenCall};
use crate::kernel::set::LOOSE_PIXELS;
use crate::kernel::tile::Run;
use crate::layout::{LANES, MAX_PICTURE_CHANNELS, SLACK};
use crate::program::order::{Order, Piece};
use crate::program::region::Region;
use crate::program::step::{Step, Worker, proven};
use crate::program::tiles::{Tile, Tiling};

/// A tile with its places in the arena.
#[derive(Debug)]
struct Placed {
    tile: Tile,
    input: [usize; 2],
    /// Of the output's first block.
    output: [usize; 2],
    residual: Option<[usize; 2]>,
    /// Where its widened windows begin in the scratch memory.
    widened: usize,
}

impl Placed {
    /// Where a kernel finds it, from where its call begins: the arena's first float, or a thread's widened tiles.
    fn of_kernel(&self, is_widened: bool) -> BytePlace {
        let bytes = |places: [usize; 2]| places.map(|place| place * size_of::<f32>());
        let widened = [self.widened, self.widened + self.tile.length(0) * PAIR_STEP];
        BytePlace {
            input: if is_widened { widened } else { self.input },
            output: bytes(self.output),
            with: bytes(self.residual.unwrap_or_default()),
        }
    }
}

/// Tiles of one size that are computed with one call, for each band.
#[derive(Debug)]
struct Group {
    /// Among all tiles.
    tiles: Range<usize>,
    pixels: usize,
    /// Their kernel, among those of a band.
    kernel: usize,
}

impl Group {
    /// `None` where there is no kernel of its size.
    fn new(tiles: Range<usize>, all: &[Placed], sizes: &[usize]) -> Option<Self> {
        let pixels = all[tiles.start].tile.pixels;
        Some(Self { tiles, pixels, kernel: sizes.binary_search(&pixels).ok()? })
    }
}

impl Widening {
    /// Settles where the tiles of some groups are widened. Where they are not kept, every group's are where those of the one
    /// before were.
    fn place(&self, groups: &[Group], tiles: &mut [Placed]) {
        let mut place = 0;
        for group in groups {
            place = if self.kept.is_some() { place } else { 0 };
            for placed in &mut tiles[group.tiles.clone()] {
                placed.widened = place;
                place += self.chunks * PAIR_STEP * placed.tile.pixels;
            }
        }
    }
}

/// A band with its runs and a kernel for each size of tile.
#[derive(Debug)]
struct Planned {
    band: Band,
    runs: Range<usize>,
    /// Words of all runs.
    elements: usize,
    even: Even,
    kernels: Vec<ByteTileKernel>,
}

/// A convolution with every offset settled.
#[derive(Debug)]
pub(crate) struct ByteConvolutionStep {
    packed: PackedBytes,
    input: Region,
    output: Region,
    residual: Option<Region>,
    /// In the order in which they are computed, and where kernels find them.
    tiles: Vec<Placed>,
    places: Vec<BytePlace>,
    groups: Vec<Group>,
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
        let unit = packed.form().pixels();
        let Tiling { tiles, groups, sizes, .. } =
            Tiling::new(&[(0, shape.height)], shape.width, (most, unit), packed.neighbours);
        let place = |tile: Tile| -> Option<Placed> {
            let [top, left] = packed.window.padding;
            let window = |(y, x): (usize, usize)| {
                input.window(y * packed.window.stride[0], x * packed.window.stride[1], top, left)
            };
            let at = |region: &Region| tile.halves.map(|(y, x)| region.at(0, y, x));
            let input = [window(tile.halves[0])?, window(tile.halves[1])?];
            Some(Placed { tile, input, output: at(&output), residual: residual.as_ref().map(at), widened: 0 })
        };
        let tiles: Option<Vec<Placed>> = tiles.into_iter().map(place).collect();
        let mut tiles = tiles.ok_or(PlanError::Extent { step: STEP, access: "a window begins before the halo" })?;
        let groups: Option<Vec<Group>> = groups.into_iter().map(|range| Group::new(range, &tiles, &sizes)).collect();
        let groups = groups.ok_or(PlanError::Extent { step: STEP, access: "there is no kernel of its size" })?;
        if let Some(widening) = packed.widening {
            widening.place(&groups, &mut tiles);
        }
        let widens = packed.widening.is_some();
        let places = tiles.iter().map(|placed| placed.of_kernel(widens)).collect();
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
            let even = Even::of(&all[range.clone()]);
            bands.push(Planned { band: band.clone(), runs: range, elements, even, kernels });
        }
        let widened = |&pixels: &usize| {
            let run = |(number, run): (usize, &Run)| Run { offset: (number * pixels * PAIR_STEP) as u32, ..*run };
            all.iter().enumerate().map(run).collect()
        };
        let widened = if packed.widening.is_some() { sizes.iter().map(widened).collect() } else { vec![] };
        let order = order(&packed, &input, [bands.len(), groups.len()], threads);
        let runs = all;
        Ok(Self { packed, input, output, residual, tiles, places, groups, bands, runs, step, widened, scratch, order })
    }

    /// Where a thread widens its tiles.
    fn widens_at(&self, worker: &Worker<'_>) -> usize {
        self.scratch + worker.number * self.packed.scratch()
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
                output: worker.at(self.widens_at(worker) + placed.widened).cast(),
            });
        }
    }

    /// As for a convolution of floats.
    fn ahead(&self, piece: &Piece, weights: *const f32) -> Ahead {
        if piece.part.is_empty() {
            return Ahead::NOTHING;
        }
        let planned = &self.bands[piece.band];
        let width = planned.band.blocks * self.packed.form().bytes() / size_of::<f32>();
        let [first, end] = [piece.part.start, piece.part.end - 1].map(|group| &self.groups[group].tiles);
        match end.end - first.start {
            1 => Ahead::same_band(weights, width),
            tiles => {
                let tile = self.groups[piece.group].tiles.start - first.start;
                Ahead::next_band(weights, [planned.elements, width], [tile, tiles])
            }
        }
    }

    /// # Safety
    /// As for [`Step::run`].
    unsafe fn compute(&self, worker: &Worker<'_>, piece: &Piece) {
        let (planned, packed, group) = (&self.bands[piece.band], &self.packed, &self.groups[piece.group]);
        let band = &planned.band;
        let bytes = |region: &Region| region.layout.block() * size_of::<f32>();
        // SAFETY: the arena is the one that the regions lie in; check() has proven every place that the kernel reaches.
        unsafe {
            let first = |region: &Region| worker.at(band.block * region.layout.block()).cast::<u8>();
            let finish = match (&packed.finishing, &self.residual) {
                (Finishing::Joined(range, joint), Some(region)) => {
                    let with = first(region).cast_const();
                    Finish::Joined { range: *range, joint: *joint, with, block: bytes(region) }
                }
                (Finishing::Bytes(range) | Finishing::Joined(range, _), _) => Finish::Bytes(*range),
                (Finishing::Floats(addends), _) => Finish::Floats(addends.as_ptr().add(band.block * LANES)),
            };
            let (input, runs) = match self.widened.get(group.kernel) {
                Some(runs) => (self.widens_at(worker), runs.as_slice()),
                None => (0, &self.runs[planned.runs.clone()]),
            };
            let weights = packed.weights.as_ptr().cast::<u8>().add(band.weights);
            planned.kernels[group.kernel](&ByteTileCall {
                tiles: &self.places[group.tiles.clone()],
                input: worker.at(input).cast_const().cast(),
                runs,
                even: planned.even,
                step: self.step,
                pixels: group.pixels,
                blocks: band.blocks,
                weights,
                ahead: self.ahead(piece, weights.cast()),
                bias: packed.bias.as_ptr().add(band.block * LANES),
                factors: packed.factors.as_ptr().add(band.block * LANES),
                output: first(&self.output),
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
        let Some(Widening { pairs, chunks, .. }) = self.packed.widening else {
            return proven(self.widened.is_empty(), STEP, "widening");
        };
        proven(self.runs.len() == chunks && self.packed.passes == 1, STEP, "widened windows")?;
        proven(self.runs.iter().all(|run| run.length as usize <= PAIR_STEP), STEP, "widened runs")?;
        proven(self.bands.iter().all(|planned| planned.runs == (0..chunks)), STEP, "widened bands")?;
        proven(OF_PIXEL <= SLACK, STEP, "slack")?;
        for group in &self.groups {
            let runs = self.widened.get(group.kernel).map_or(0, Vec::len);
            proven(group.pixels <= pairs.pixels && runs == chunks, STEP, "widened tiles")?;
        }
        let end = |placed: &Placed| placed.widened + chunks * PAIR_STEP * placed.tile.pixels;
        proven(self.tiles.iter().all(|placed| end(placed) <= self.packed.scratch()), STEP, "scratch")
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
        for item in worker.share(self.bands.len() * self.groups.len()).flatten() {
            let piece = self.order.piece(item);
            // SAFETY: the caller's promise; no other thread computes this band of these tiles, and the scratch memory is this
            // thread's.
            unsafe {
                if !widened.contains(&piece.group) {
                    widened = if keeps { piece.part.clone() } else { piece.group..piece.group + 1 };
                    for group in &self.groups[widened.clone()] {
                        self.tiles[group.tiles.clone()].iter().for_each(|placed| self.widen(worker, placed));
                    }
                }
                self.compute(worker, &piece);
            }
        }
    }

    fn weights(&self) -> usize {
        self.packed.floats()
    }
}

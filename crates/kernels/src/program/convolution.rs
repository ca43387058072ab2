//! A dense convolution, tile by tile, and the proof that its tiles stay inside.

use std::ops::Range;
use std::ptr;

use super::builder::View;
use super::order::{Order, Piece};
use super::packed::{Band, Packed, runs};
use super::parts::{Part, elements};
use super::picture::PictureStrips;
use super::region::Region;
use super::step::{Step, Worker, proven};
use super::tiles::{Tile, Tiling};
use super::window::Window;
use crate::activation::Activation;
use crate::bounds::Touched;
use crate::error::PlanError;
use crate::isa::second_cache;
use crate::kernel::ahead::Ahead;
use crate::kernel::pointwise::{Operand, PointwiseCall};
use crate::kernel::set::{KernelSet, LOOSE_PIXELS, TILE_STEPS};
use crate::kernel::tile::{READ_ON, Run, TileCall, TileKernel, TilePlace};
use crate::layout::LANES;

pub(crate) const CONVOLUTION: &str = "convolution";
const STEP: &str = CONVOLUTION;

/// Packed weights that stay in the second-level cache, in bytes: below, all channels of a tile are computed before the
/// next tile, above, all tiles of a few channels.
const CACHED_BYTES: usize = 400 << 10;

/// A band's weights that stay in the first-level cache, in bytes, and the input that stays in the second beside them: all tiles
/// of such a band come one after the other.
const NEAR_BYTES: [usize; 2] = [32 << 10, 512 << 10];

/// A convolution, or a fully connected layer as one whose window is the whole picture.
#[derive(Debug, Clone, Copy)]
pub struct Convolution<'a> {
    /// What is read.
    pub input: View,
    /// What is written.
    pub output: View,
    /// Added before the activation; of the output's shape.
    pub residual: Option<View>,
    /// `[output channels][input channels of a group][rows][columns]`, as ONNX has it.
    pub weights: &'a [f32],
    /// One number for each output channel; none at all means zeros.
    pub bias: &'a [f32],
    /// How it looks at the input.
    pub window: Window,
    /// Groups of channels that do not see one another; as many as channels is a depthwise convolution.
    pub groups: usize,
    /// What follows.
    pub activation: Activation,
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

/// Tiles among which those of one size are put together, where calls count: what they read stays in the first cache.
pub(super) const NEIGHBOURS: usize = 16;

/// The same with wide vectors, whose sums come in parts: what tiles read and write has room in the first cache beside a part's
/// weights.
const NEAR_NEIGHBOURS: usize = 4;

/// A band with its runs and a kernel for each size of tile.
#[derive(Debug)]
struct Planned {
    band: Band,
    runs: Range<usize>,
    kernels: Vec<TileKernel>,
    /// Among all parts: those that are summed one after the other for the tiles of each call.
    parts: Range<usize>,
    /// Leading runs of a whole block.
    whole: usize,
    /// Floats from the output's, and the residual's, first block to the band's.
    output: usize,
    residual: usize,
}

/// What a convolution reads.
#[derive(Debug)]
pub(crate) enum Source {
    /// A tensor.
    Tensor(Region),
    /// Rows of the picture that the network is run on.
    Picture(PictureStrips),
}

/// A convolution with every offset settled.
#[derive(Debug)]
pub(crate) struct ConvolutionStep {
    packed: Packed,
    input: Region,
    output: Region,
    residual: Option<Region>,
    /// In the order in which they are computed.
    tiles: Vec<Tile>,
    /// Where each lies in the arena: in the first blocks of output and residual.
    places: Vec<TilePlace>,
    groups: Vec<Group>,
    /// Where the input is rows of a picture that are copied strip by strip, those, and each strip's groups.
    picture: Option<(PictureStrips, Vec<Range<usize>>)>,
    bands: Vec<Planned>,
    runs: Vec<Run>,
    parts: Vec<Part>,
    /// Floats between the windows of neighbouring pixels.
    step: usize,
    /// Whether tiles may read on behind each run.
    reads_on: bool,
    /// Whether the activation is none that tiles apply.
    activates: bool,
    order: Order,
    set: &'static KernelSet,
}

impl ConvolutionStep {
    #[allow(clippy::too_many_lines, reason = "each offset is settled once, from those before it")]
    pub(crate) fn new(
        packed: Packed,
        source: Source,
        output: Region,
        residual: Option<Region>,
        (threads, set): (usize, &'static KernelSet),
    ) -> Result<Self, PlanError> {
        let (input, picture) = match source {
            Source::Tensor(region) => (region, None),
            Source::Picture(strips) => (*strips.rows.region(), Some(strips)),
        };
        let step = packed.window.stride[1] * input.layout.pixel();
        let most = if TILE_STEPS.contains(&step) { set.pixels(packed.blocks()) } else { LOOSE_PIXELS };
        let shape = output.shape();
        let is_one_row = set.is_narrow && is_one_row(&packed.window, &output, [Some(&input), residual.as_ref()]);
        let (rows, columns) = if is_one_row { (1, shape.pixels()) } else { (shape.height, shape.width) };
        let neighbours = if set.is_narrow { NEIGHBOURS } else { NEAR_NEIGHBOURS };
        let all_rows = [(0, rows)];
        let strips = picture.as_ref().map_or(&all_rows[..], |picture| &picture.strips);
        let Tiling { tiles, above, groups, strips, sizes } = Tiling::new(strips, columns, (most, 1), neighbours);
        let place = |(tile, above): (&Tile, &usize)| -> Option<TilePlace> {
            let [top, left] = packed.window.padding;
            let window = |(y, x): (usize, usize)| {
                input.window((y - above) * packed.window.stride[0], x * packed.window.stride[1], top, left)
            };
            let at = |region: &Region| tile.halves.map(|(y, x)| region.at(0, y, x));
            let input = [window(tile.halves[0])?, window(tile.halves[1])?];
            Some(TilePlace { input, output: at(&output), residual: residual.as_ref().map_or([0; 2], at) })
        };
        let places: Option<Vec<TilePlace>> = tiles.iter().zip(&above).map(place).collect();
        let places = places.ok_or(PlanError::Extent { step: STEP, access: "a window begins before the halo" })?;
        let group = |range: Range<usize>| {
            let pixels = tiles[range.start].pixels;
            Some(Group { tiles: range, pixels, kernel: sizes.binary_search(&pixels).ok()? })
        };
        let groups: Option<Vec<Group>> = groups.into_iter().map(group).collect();
        let groups = groups.ok_or(PlanError::Extent { step: STEP, access: "there is no kernel of its size" })?;
        // Narrow vectors take long enough for weights to come from the second cache; and one tile reads each only once.
        let in_parts = !set.is_narrow && tiles.len() > 1;
        let (mut all, mut parts, mut bands) = (Vec::new(), Vec::new(), Vec::new());
        for band in &packed.bands {
            let first = all.len();
            // Without groups, all bands look at the same channels.
            let shared = bands.first().filter(|first: &&Planned| first.band.channels == band.channels);
            let range = match shared {
                Some(first) => first.runs.clone(),
                None => {
                    all.extend(runs(&packed, band.channels.clone(), &input));
                    first..all.len()
                }
            };
            let kernels: Option<Vec<TileKernel>> =
                sizes.iter().map(|&pixels| (set.tile)(band.lanes, pixels, step)).collect();
            let kernels = kernels.ok_or(PlanError::Extent { step: STEP, access: "there is no kernel of its size" })?;
            let first = |region: &Region| band.block * region.layout.block();
            let (output, residual) = (first(&output), residual.as_ref().map_or(0, first));
            let runs = &all[range.clone()];
            let alike = bands.first().filter(|first: &&Planned| first.runs == range && first.band.lanes == band.lanes);
            let of_band = alike.map(|first| first.parts.clone()).unwrap_or_else(|| {
                let first = parts.len();
                parts.extend(Part::of(runs, range.start, in_parts.then_some(band.lanes)));
                first..parts.len()
            });
            let whole = whole(runs);
            bands.push(Planned { band: band.clone(), runs: range, kernels, parts: of_band, whole, output, residual });
        }
        let activates = !packed.activation.is_applied_by_kernels();
        let (runs, reads_on) = (all, false);
        let mut step = Self {
            packed,
            input,
            output,
            residual,
            tiles,
            places,
            groups,
            picture: picture.map(|rows| (rows, strips)),
            bands,
            runs,
            parts,
            step,
            reads_on,
            activates,
            order: Order::by_group(1),
            set,
        };
        step.order = step.order(threads);
        let mut all = step.bands.iter().flat_map(|planned| (0..step.tiles.len()).map(move |tile| (planned, tile)));
        step.reads_on = all.all(|(planned, tile)| step.holds_input(planned, tile, READ_ON));
        Ok(step)
    }

    /// The better order for the caches. Of weights and input the smaller one is read again and again, if it stays in half the
    /// second cache.
    fn order(&self, threads: usize) -> Order {
        let [weights, input] =
            [self.packed.weights.len(), self.input.floats().len()].map(|floats| floats * size_of::<f32>());
        let cache = second_cache();
        let of_band = self.bands.iter().map(|band| self.elements(band) * band.band.lanes * size_of::<f32>()).max();
        let is_near =
            of_band.unwrap_or(0) <= NEAR_BYTES[0] && input <= NEAR_BYTES[1].min(cache / 4) && input < 2 * weights;
        let stay = weights <= CACHED_BYTES || (weights < input && weights <= cache / 2);
        let (bands, groups) = (self.bands.len(), self.groups.len());
        if stay && !is_near && groups > 1 {
            return Order::by_group(bands);
        }
        // Otherwise as much of the input as does, unless reading the weights for each part of it costs more than that saves.
        let parts = input.div_ceil(cache / 2);
        let parts = if (parts - 1) * weights < (bands - 1) * input { parts } else { 1 };
        Order::by_band(bands, groups, if weights < 2 * input { parts.next_multiple_of(threads) } else { parts })
    }

    /// What is summed one after the other for the tiles of each call of a band.
    fn parts(&self, planned: &Planned) -> &[Part] {
        self.parts.get(planned.parts.clone()).unwrap_or_default()
    }

    /// Elements of all runs of a band.
    fn elements(&self, planned: &Planned) -> usize {
        self.parts(planned).iter().map(|part| part.elements.len()).sum()
    }

    /// Whether a band's parts are all of its runs, one behind the other.
    fn has_all_parts(&self, planned: &Planned) -> bool {
        let mut next = (planned.runs.start, 0);
        let is_next = |part: &Part| {
            let of_part = self.runs.get(part.runs.clone()).map(elements);
            let follows = (part.runs.start, part.elements.start) == next && of_part == Some(part.elements.len());
            next = (part.runs.end, part.elements.end);
            follows
        };
        let parts = self.parts(planned);
        !parts.is_empty() && parts.iter().all(is_next) && next.0 == planned.runs.end
    }

    /// Whether a band's runs, and so many floats behind each, are the input's at all pixels of a tile.
    fn holds_input(&self, planned: &Planned, tile: usize, behind: usize) -> bool {
        let runs = self.runs.get(planned.runs.clone()).unwrap_or_default();
        let reach = runs.iter().map(|run| run.offset as usize + run.length as usize).max().unwrap_or(0);
        (0..2).all(|half| match self.tiles[tile].length(half).checked_sub(1) {
            Some(last) => {
                let first = self.places[tile].input[half];
                self.input.holds(first, first + last * self.step + reach + behind)
            }
            None => true,
        })
    }

    /// Weights that do not stay in the second cache come from memory for each picture. Narrow vectors take long enough.
    fn ahead(&self, piece: &Piece, weights: *const f32) -> Ahead {
        if self.set.is_narrow || piece.part.is_empty() {
            return Ahead::NOTHING;
        }
        let planned = &self.bands[piece.band];
        let [first, end] = [piece.part.start, piece.part.end - 1].map(|group| &self.groups[group].tiles);
        match end.end - first.start {
            1 => Ahead::same_band(weights, planned.band.lanes),
            tiles => {
                let tile = self.groups[piece.group].tiles.start - first.start;
                Ahead::next_band(weights, [self.elements(planned), planned.band.lanes], [tile, tiles])
            }
        }
    }

    /// A call with what all tiles have in common.
    ///
    /// # Safety
    /// As for [`Step::run`].
    unsafe fn call(&self, worker: &Worker<'_>) -> TileCall<'_> {
        // SAFETY: the arena's first float is in the arena.
        let arena = unsafe { worker.at(0) };
        TileCall {
            tiles: &[],
            pixels: 0,
            channels: 0,
            input: arena,
            runs: &[],
            whole: 0,
            reads_on: self.reads_on,
            step: self.step,
            weights: ptr::null(),
            ahead: Ahead::NOTHING,
            bias: ptr::null(),
            goes_on: false,
            output: arena,
            output_block: self.output.layout.block(),
            residual: None,
            residual_block: self.residual.as_ref().map_or(0, |residual| residual.layout.block()),
            activation: self.packed.activation,
        }
    }

    /// # Safety
    /// As for [`Step::run`].
    unsafe fn compute<'a>(&'a self, worker: &Worker<'_>, piece: &Piece, call: &mut TileCall<'a>) {
        let (planned, group) = (&self.bands[piece.band], &self.groups[piece.group]);
        let Band { block, lanes, weights, .. } = planned.band;
        call.pixels = group.pixels;
        call.channels = lanes;
        call.whole = planned.whole;
        call.tiles = &self.places[group.tiles.clone()];
        // SAFETY: the arena is the one that the regions lie in; check() has proven every place that the kernel reaches.
        unsafe {
            call.output = worker.at(planned.output);
            call.bias = self.packed.bias.as_ptr().add(block * LANES);
            let weights = self.packed.weights.as_ptr().add(weights);
            call.ahead = self.ahead(piece, weights);
            let parts = self.parts(planned);
            for (number, part) in parts.iter().enumerate() {
                let is_last = number + 1 == parts.len();
                call.runs = &self.runs[part.runs.clone()];
                call.weights = weights.add(part.elements.start * lanes);
                call.goes_on = number > 0;
                let residual = self.residual.as_ref().filter(|_| is_last);
                call.residual = residual.map(|_| worker.at(planned.residual).cast_const());
                call.activation = if is_last { self.packed.activation } else { Activation::Identity };
                planned.kernels[group.kernel](call);
                if !is_last {
                    call.ahead = call.ahead.behind(part.elements.len(), group.tiles.len());
                }
            }
            if self.activates {
                self.activate(planned, group, call);
            }
        }
    }

    /// # Safety
    /// As for [`Step::run`].
    unsafe fn run_by_strips(&self, worker: &Worker<'_>, picture: &PictureStrips, groups: &[Range<usize>]) {
        // SAFETY: the caller's promise.
        let mut call = unsafe { self.call(worker) };
        // SAFETY: every thread has rows of its own, one thread's behind the other's.
        call.input = unsafe { worker.at(worker.number * picture.rows.floats()) };
        for strip in worker.share(groups.len()).flatten() {
            // SAFETY: the caller's promise; no other thread computes this strip.
            unsafe { picture.fill(worker, strip) };
            for group in groups[strip].clone() {
                for band in 0..self.bands.len() {
                    // SAFETY: as above.
                    unsafe { self.compute(worker, &Piece { band, group, part: 0..0 }, &mut call) };
                }
            }
        }
    }

    /// # Safety
    /// As for [`Step::run`], after the call.
    unsafe fn activate(&self, planned: &Planned, group: &Group, call: &TileCall<'_>) {
        for (place, tile) in call.tiles.iter().zip(&self.tiles[group.tiles.clone()]) {
            for block in 0..planned.band.blocks() {
                for half in 0..2 {
                    // SAFETY: these are the pixels that the call has just written.
                    unsafe {
                        let row = call.output.add(place.output[half] + block * call.output_block);
                        activate_rows(self.set, self.packed.activation, row, tile.length(half));
                    }
                }
            }
        }
    }
}

/// Whether all pixels lie in one row, each above the one that it comes from: no tile need end where a row of the picture does.
fn is_one_row(window: &Window, output: &Region, others: [Option<&Region>; 2]) -> bool {
    let sides = |region: &Region| (region.layout.shape.height, region.layout.shape.width);
    let lies_alike =
        |region: &Region| region.layout.halo == 0 && !region.layout.is_planar && sides(region) == sides(output);
    *window == Window::square(1, 1, 0) && lies_alike(output) && others.into_iter().flatten().all(lies_alike)
}

/// Leading runs of a whole block.
pub(super) fn whole(runs: &[Run]) -> usize {
    runs.iter().take_while(|run| run.length as usize == LANES).count()
}

/// Applies what those kernels have not to pixels that were just written, while they are in the first cache.
///
/// # Safety
/// `row` is the first of so many pixels of a block, which nobody else reads or writes.
pub(super) unsafe fn activate_rows(set: &KernelSet, activation: Activation, row: *mut f32, pixels: usize) {
    if activation.is_applied_by_kernels() {
        return;
    }
    // SAFETY: the caller's promise; the machine has the set's instructions, or the program would not have been built.
    unsafe {
        (set.pointwise)(&PointwiseCall { input: row, operand: Operand::Nothing, activation, output: row, pixels });
    }
}

impl Step for ConvolutionStep {
    fn check(&self) -> Result<(), PlanError> {
        for planned in &self.bands {
            let band = &planned.band;
            let runs = self.runs.get(planned.runs.clone()).unwrap_or_default();
            let elements: usize = runs.iter().map(|run| run.length as usize).sum();
            let weights = band.weights + elements * band.lanes;
            proven(weights <= self.packed.weights.len(), STEP, "weights")?;
            proven(band.block * LANES + band.lanes <= self.packed.bias.len(), STEP, "bias")?;
            proven(band.block + band.blocks() <= self.output.blocks(), STEP, "output blocks")?;
            proven(planned.whole <= runs.len(), STEP, "runs")?;
            proven(self.has_all_parts(planned), STEP, "parts")?;
            for (number, (tile, placed)) in self.tiles.iter().zip(&self.places).enumerate() {
                proven(self.holds_input(planned, number, if self.reads_on { READ_ON } else { 0 }), STEP, "input")?;
                for half in 0..2 {
                    let length = tile.length(half);
                    if length == 0 {
                        continue;
                    }
                    let holds = |region: &Region, first: usize, band_at: usize| {
                        let first = first + band_at;
                        let last = first + (band.blocks() - 1) * region.layout.block() + length * LANES;
                        region.holds(first, last)
                    };
                    proven(holds(&self.output, placed.output[half], planned.output), STEP, "output")?;
                    if let Some(region) = &self.residual {
                        proven(holds(region, placed.residual[half], planned.residual), STEP, "residual")?;
                    }
                }
            }
        }
        Ok(())
    }

    fn touches(&self) -> Touched {
        let residual = self.residual.as_ref().map(Region::floats);
        // Rows of a picture are written, too.
        let rows = self.picture.as_ref().map(|_| self.input.floats());
        Touched {
            // Parts of a sum read what the one before has written.
            reads: [self.input.floats(), self.output.floats()].into_iter().chain(residual).collect(),
            writes: [self.output.floats()].into_iter().chain(rows).collect(),
            weights: vec![self.packed.weights.place(), self.packed.bias.place()],
        }
    }

    fn describe(&self) -> String {
        let [rows, columns] = self.packed.window.kernel;
        let input = self.picture.as_ref().map_or(self.input.shape(), |(strips, _)| strips.rows.shape());
        format!("{STEP} {rows} × {columns}, {input} to {}", self.output.shape())
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        if let Some((picture, groups)) = &self.picture {
            // SAFETY: the caller's promise.
            unsafe { self.run_by_strips(worker, picture, groups) };
            return;
        }
        // SAFETY: the caller's promise.
        let mut call = unsafe { self.call(worker) };
        for item in worker.share(self.bands.len() * self.groups.len()).flatten() {
            // SAFETY: the caller's promise; no other thread computes this band of these tiles.
            unsafe { self.compute(worker, &self.order.piece(item), &mut call) };
        }
    }

    fn weights(&self) -> usize {
        self.packed.weights.len() + self.packed.bias.len()
    }
}

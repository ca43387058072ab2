//! A dense convolution of bytes: as `program/convolution.rs`, over words of four channels.

use std::ops::Range;

use super::Quantised;
use super::pack::{Bytes, Filters, OF_WORD, biased, part, words};
use crate::block::{self, Form, Joint};
use crate::error::PlanError;
use crate::kernel::bytes::set::{BYTE_STEPS, ByteSet, PAIR_STEP, PairSet};
use crate::kernel::bytes::tile::{ByteTileCall, ByteTileKernel, Finish, WidenCall};
use crate::kernel::set::LOOSE_PIXELS;
use crate::kernel::tile::Run;
use crate::layout::{LANES, MAX_PICTURE_CHANNELS, SLACK};
use crate::program::arena::Floats;
use crate::program::builder::View;
use crate::program::region::Region;
use crate::program::step::{Step, Worker, proven};
use crate::program::tiles::{Tile, cut};
use crate::program::window::Window;

pub(crate) const STEP: &str = "quantised convolution";

/// Packed weights that stay in the second-level cache, in bytes: as for floats.
const CACHED_BYTES: usize = 400 << 10;

/// Widened windows of a whole picture that stay there besides, in floats: 512 KiB.
const KEPT_FLOATS: usize = 128 << 10;

/// A convolution of bytes, or a fully connected layer as one whose window is the whole picture.
#[derive(Debug, Clone, Copy)]
pub struct ByteConvolution<'a> {
    /// What is read: bytes.
    pub input: View,
    /// What is written: bytes, or floats where `finish` says so.
    pub output: View,
    /// `[output channels][input channels of a group][rows][columns]`, each less its zero: -255 to 255.
    pub weights: &'a [i16],
    /// One number for each output channel, in the sums' steps; none at all means zeros.
    pub bias: &'a [i32],
    /// What the sums of each output channel are multiplied by: the scales of input and weight, over the output's.
    pub factors: &'a [f32],
    /// How it looks at the input.
    pub window: Window,
    /// Groups of channels that do not see one another; as many as channels is a depthwise convolution.
    pub groups: usize,
    /// What becomes of the scaled sums.
    pub finish: ByteFinish<'a>,
}

/// What becomes of scaled sums.
#[derive(Debug, Clone, Copy)]
pub enum ByteFinish<'a> {
    /// Rounded to whole numbers, ties to even, then bytes between the two given ones.
    Bytes([u8; 2]),
    /// Bytes of `between` first; then those and the residual's make bytes of the output, between the two given ones.
    Sum {
        /// What the scaled sums are rounded to.
        between: Quantised,
        /// Bytes of the output's shape.
        residual: View,
        /// The residual's and the output's scale; the zeros are the tensors' own.
        scales: [f32; 2],
        /// Least and greatest byte.
        limits: [u8; 2],
    },
    /// Floats, plus an addend for each output channel; none at all means zeros.
    Floats(&'a [f32]),
}

/// What is done with the sums, in the terms of the kernels.
#[derive(Debug)]
pub(crate) enum Finishing {
    Bytes(block::Range),
    Joined(block::Range, Joint),
    Floats(Floats),
}

/// Output channels that are computed together.
#[derive(Debug, Clone)]
struct Band {
    /// First block of the output.
    block: usize,
    blocks: usize,
    /// Input channels that these see.
    channels: Range<usize>,
    /// Where its packed weights begin, in bytes.
    weights: usize,
}

/// What does not depend on where the tensors lie.
#[derive(Debug)]
pub(crate) struct PackedBytes {
    window: Window,
    bands: Vec<Band>,
    weights: Bytes,
    bias: Vec<i32>,
    factors: Floats,
    /// How often the windows are gone over.
    passes: usize,
    /// Whether the input is a picture.
    is_planar: bool,
    finishing: Finishing,
    set: &'static ByteSet,
    widening: Option<Widening>,
}

/// How a convolution is computed that multiplies in sixteen bits, to which its input is widened first, tile by tile: as
/// sixteen numbers at a time, which are the channels of a pixel, or neighbouring words of a picture.
#[derive(Debug, Clone, Copy)]
struct Widening {
    pairs: &'static PairSet,
    /// Sixteens of one window.
    chunks: usize,
    /// Whether the fourth of every four bytes is left out.
    is_dense: bool,
    /// The pixels of the picture, where all tiles are widened before any is multiplied.
    kept: Option<usize>,
}

impl PackedBytes {
    fn form(&self) -> Form {
        if self.widening.is_some() { Form::Pairs } else { self.set.form }
    }

    /// Floats that a thread needs to widen its tiles.
    pub(crate) fn scratch(&self) -> usize {
        match self.widening {
            Some(Widening { pairs, chunks, kept, .. }) => chunks * PAIR_STEP * kept.unwrap_or(pairs.pixels),
            None => 0,
        }
    }

    pub(crate) fn writes_floats(&self) -> bool {
        matches!(self.finishing, Finishing::Floats(_))
    }

    pub(crate) fn floats(&self) -> usize {
        self.weights.floats() + self.bias.len() + self.factors.len()
    }
}

/// What surrounds a convolution's weights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// The unsigned byte that stands for zero in the input.
    pub(crate) zero: u8,
    /// Whether the input is a picture.
    pub(crate) is_planar: bool,
    /// Pixels that come out.
    pub(crate) pixels: usize,
}

impl Setting {
    /// Whether a picture is widened without the fourth channel that it has not.
    fn is_dense(&self, window: &Window, form: Form) -> bool {
        let are_neighbours = window.dilation[1] == 1;
        self.is_planar && self.inputs == DENSE_CHANNELS && are_neighbours && form == Form::Pairs
    }
}

/// Channels of pictures that most networks read.
const DENSE_CHANNELS: usize = 3;

/// Packs the weights of a convolution.
pub(crate) fn pack(
    layer: &ByteConvolution<'_>,
    setting: Setting,
    finishing: Finishing,
    set: &'static ByteSet,
) -> Result<PackedBytes, PlanError> {
    let outputs = setting.outputs;
    let filters = Filters {
        weights: layer.weights,
        outputs,
        of_group: setting.inputs / layer.groups,
        to_group: outputs / layer.groups,
        window: layer.window,
    };
    let bias = biased(STEP, &filters, layer.bias, set.number(setting.zero), layer.factors)?;
    let ((bands, weights, passes), set, pairs) = choose(&filters, setting, set)?;
    let widening = pairs.map(|pairs| {
        let chunks = chunks(&layer.window, setting);
        let is_kept = weights.len() > CACHED_BYTES && chunks * PAIR_STEP * setting.pixels <= KEPT_FLOATS;
        let is_dense = setting.is_dense(&layer.window, Form::Pairs);
        Widening { pairs, chunks, is_dense, kept: is_kept.then_some(setting.pixels) }
    });
    let mut factors = Floats::zeroed(outputs);
    factors.as_mut_slice()[..outputs].copy_from_slice(layer.factors);
    let (window, is_planar) = (layer.window, setting.is_planar);
    Ok(PackedBytes { window, bands, weights, bias, factors, passes, is_planar, finishing, set, widening })
}

/// Fills the weights in the form that multiplies fastest: in eight bits where they fit, else in sixteen.
fn choose(
    filters: &Filters<'_>,
    setting: Setting,
    set: &'static ByteSet,
) -> Result<(Contents, &'static ByteSet, Option<&'static PairSet>), PlanError> {
    if let Some(narrow) = set.narrow
        && let Some(contents) = filled(filters, setting, Shapes::of(narrow, setting))?
    {
        return Ok((contents, narrow, None));
    }
    let is_whole = filters.to_group == filters.outputs;
    let pairs = set.pairs.filter(|_| is_whole && setting.pixels > 1 && set.form == Form::Words);
    let shapes = match pairs {
        Some(pairs) => Shapes { form: Form::Pairs, sizes: pairs.blocks.to_vec() },
        None => Shapes::of(set, setting),
    };
    let contents = filled(filters, setting, shapes)?;
    Ok((contents.ok_or_else(|| PlanError::step(STEP, "a weight is beyond -255 to 255"))?, set, pairs))
}

/// How weights are packed, and the blocks of bands, largest first.
struct Shapes {
    form: Form,
    sizes: Vec<usize>,
}

impl Shapes {
    fn of(set: &ByteSet, setting: Setting) -> Self {
        let sizes = if setting.pixels == 1 { [set.tall_blocks, set.blocks].concat() } else { set.blocks.to_vec() };
        Self { form: set.form, sizes }
    }
}

/// Bands and their weights in some form, and the passes that takes.
type Contents = (Vec<Band>, Bytes, usize);

/// Nothing where a weight does not fit the form.
fn filled(filters: &Filters<'_>, setting: Setting, shapes: Shapes) -> Result<Option<Contents>, PlanError> {
    let form = shapes.form;
    let passes = filters.passes(form);
    let (bands, bytes) = bands(filters, setting, passes, &shapes)?;
    let mut weights = Bytes::zeroed(bytes)?;
    for band in &bands {
        let width = band.blocks * form.bytes();
        let packed = &mut weights.as_mut_slice()[band.weights..];
        let taps = (0..passes)
            .flat_map(|pass| taps(&filters.window, band.channels.clone(), setting, form).map(move |tap| (pass, tap)));
        for ((pass, tap), row) in taps.zip(packed.chunks_exact_mut(width)) {
            for lane in 0..band.blocks * LANES {
                let output = band.block * LANES + lane;
                let four = std::array::from_fn(|place| {
                    if place < form.of_word() {
                        part(tap.weight(filters, output, place, setting, form), pass, form)
                    } else {
                        0
                    }
                });
                if !form.takes(four) {
                    return Ok(None);
                }
                form.put(&mut row[lane / LANES * form.bytes()..], lane % LANES, four);
            }
        }
    }
    Ok(Some((bands, weights, passes)))
}

/// How the output's blocks are divided, and the bytes of all packed weights.
fn bands(
    filters: &Filters<'_>,
    setting: Setting,
    passes: usize,
    shapes: &Shapes,
) -> Result<(Vec<Band>, usize), PlanError> {
    let (outputs, form) = (filters.outputs, shapes.form);
    let is_whole = filters.to_group == outputs;
    let [rows, columns] = filters.window.kernel;
    let mut bands = Vec::new();
    let (mut block, mut bytes) = (0, 0_usize);
    while block * LANES < outputs {
        let left = outputs.div_ceil(LANES) - block;
        let blocks = if is_whole { shapes.sizes.iter().copied().find(|&size| size <= left).unwrap_or(1) } else { 1 };
        let last = (outputs - 1).min((block + blocks) * LANES - 1);
        let first = block * LANES / filters.to_group * filters.of_group;
        let channels = first..(last / filters.to_group + 1) * filters.of_group;
        let elements = match setting.is_planar {
            true => taps(&filters.window, channels.clone(), setting, form).count(),
            false => words(channels.clone(), form.of_word()).count() * rows * columns,
        };
        bands.push(Band { block, blocks, channels, weights: bytes });
        bytes = (elements * passes).saturating_mul(blocks * form.bytes()).saturating_add(bytes);
        Bytes::check(bytes)?;
        block += blocks;
    }
    Ok((bands, bytes))
}

/// One element of the window of one word of input channels.
#[derive(Debug, Clone, Copy)]
struct Tap {
    /// The first of the word; those past the last of a picture are the next column's first.
    channel: usize,
    row: usize,
    column: usize,
}

impl Tap {
    /// The weight of one of the word's channels; 0 behind the window.
    fn weight(&self, filters: &Filters<'_>, output: usize, place: usize, setting: Setting, form: Form) -> i16 {
        let of_tap = if setting.is_dense(&filters.window, form) { setting.inputs } else { usize::MAX };
        let (channel, column) = (self.channel + place, self.column + (self.channel + place) / of_tap);
        if column >= filters.window.kernel[1] {
            return 0;
        }
        filters.weight(output, channel % of_tap, self.row, column)
    }
}

/// The window's elements in the order in which runs go over them.
fn taps(window: &Window, channels: Range<usize>, setting: Setting, form: Form) -> Box<dyn Iterator<Item = Tap>> {
    let [rows, columns] = window.kernel;
    let places = move || (0..rows).flat_map(move |row| (0..columns).map(move |column| (row, column)));
    if setting.is_dense(window, form) {
        let window = *window;
        let of_row = move |row| {
            picture_chunks(&window).flat_map(move |(column, taps)| {
                let column = column / window.dilation[1];
                (0..taps * setting.inputs).step_by(form.of_word()).map(move |channel| Tap { channel, row, column })
            })
        };
        return Box::new((0..rows).flat_map(of_row));
    }
    if setting.is_planar {
        let channels = words(0..MAX_PICTURE_CHANNELS, form.of_word());
        return Box::new(
            places().flat_map(move |(row, column)| channels.clone().map(move |channel| Tap { channel, row, column })),
        );
    }
    Box::new(in_blocks(channels).flat_map(move |part| {
        places().flat_map(move |(row, column)| {
            words(part.clone(), form.of_word()).map(move |channel| Tap { channel, row, column })
        })
    }))
}

/// A range of channels, cut where blocks end.
fn in_blocks(channels: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    (channels.start / LANES..channels.end.div_ceil(LANES))
        .map(move |block| channels.start.max(block * LANES)..channels.end.min((block + 1) * LANES))
}

/// The words of a row of a window over a picture that are widened at once: from where on, and how many.
fn picture_chunks(window: &Window) -> impl Iterator<Item = (usize, usize)> + use<> {
    let (columns, dilation) = (window.kernel[1], window.dilation[1]);
    let at_once = if dilation == 1 { OF_PIXEL } else { 1 };
    (0..columns).step_by(at_once).map(move |column| (column * dilation, at_once.min(columns - column)))
}

/// Sixteens of one widened window.
fn chunks(window: &Window, setting: Setting) -> usize {
    let [rows, columns] = window.kernel;
    match setting.is_planar {
        true => rows * picture_chunks(window).count(),
        false => setting.inputs.div_ceil(LANES) * rows * columns,
    }
}

/// Where a window's elements lie, from its first word on; the order is that of [`taps`], once for each pass. Of pairs, a
/// run is as long as it is once it is widened, which is twice as long as before.
fn runs(packed: &PackedBytes, channels: &Range<usize>, input: &Region) -> Vec<Run> {
    let (window, layout) = (&packed.window, &input.layout);
    let [rows, columns] = window.kernel;
    let mut runs = Vec::new();
    let mut push = |offset: usize, length: usize| runs.push(Run { offset: offset as u32, length: length as u32 });
    for _ in 0..packed.passes {
        if packed.is_planar {
            for row in 0..rows {
                let from = row * window.dilation[0] * layout.row();
                if let Some(Widening { is_dense, .. }) = packed.widening {
                    let of_tap = if is_dense { DENSE_CHANNELS } else { MAX_PICTURE_CHANNELS };
                    let pairs = |taps: usize| (taps * of_tap).div_ceil(Form::Pairs.of_word());
                    picture_chunks(window).for_each(|(place, taps)| push(from + place, pairs(taps)));
                } else if window.dilation[1] == 1 {
                    push(from, columns);
                } else {
                    (0..columns).for_each(|column| push(from + column * window.dilation[1], 1));
                }
            }
            continue;
        }
        for part in in_blocks(channels.clone()) {
            let from = part.start / LANES * layout.block() + part.start % LANES / OF_WORD;
            let length = words(part, packed.form().of_word()).count();
            for row in 0..rows {
                for column in 0..columns {
                    let place = row * window.dilation[0] * layout.row();
                    push(from + place + column * window.dilation[1] * layout.pixel(), length);
                }
            }
        }
    }
    runs
}

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
}

impl ByteConvolutionStep {
    pub(crate) fn new(
        packed: PackedBytes,
        input: Region,
        output: Region,
        residual: Option<Region>,
        scratch: usize,
    ) -> Result<Self, PlanError> {
        let set = packed.set;
        let step = packed.window.stride[1] * input.layout.pixel();
        let most = match packed.widening {
            Some(Widening { pairs, .. }) => pairs.pixels,
            None if BYTE_STEPS.contains(&step) => set.pixels,
            None => LOOSE_PIXELS,
        };
        let shape = output.shape();
        let cut = cut(shape.height, shape.width, most);
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
            bands.push(Planned { band: band.clone(), runs: range, kernels });
        }
        let widened = |&pixels: &usize| {
            let run = |(number, run): (usize, &Run)| Run { offset: (number * pixels * PAIR_STEP) as u32, ..*run };
            all.iter().enumerate().map(run).collect()
        };
        let widened = if packed.widening.is_some() { sizes.iter().map(widened).collect() } else { vec![] };
        Ok(Self { packed, input, output, residual, tiles, bands, runs: all, step, widened, scratch })
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

    /// Whether all tiles of one band come before the next band, and not all bands of a tile before the next tile:
    /// whichever is better for the caches.
    fn is_band_by_band(&self) -> bool {
        self.packed.weights.len() > CACHED_BYTES || self.tiles.len() == 1
    }

    /// # Safety
    /// As for [`Step::run`].
    unsafe fn compute(&self, worker: &Worker<'_>, planned: &Planned, placed: &Placed) {
        let (band, packed) = (&planned.band, &self.packed);
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
            planned.kernels[placed.kernel](&ByteTileCall {
                input: input.map(|place| worker.at(place).cast_const().cast()),
                runs,
                step: self.step,
                weights: packed.weights.as_ptr().add(band.weights),
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
        proven(weights <= self.packed.weights.len(), STEP, "weights")?;
        proven(channels <= self.packed.bias.len() && channels <= self.packed.factors.len(), STEP, "bias")?;
        if let Finishing::Floats(addends) = &self.packed.finishing {
            proven(channels <= addends.len(), STEP, "addends")?;
        }
        proven(band.block + band.blocks <= self.output.blocks(), STEP, "output blocks")?;
        // Widening reads whole pixels, or as many words of a picture, and so into the slack at most.
        let length = |run: &Run| match self.packed.widening {
            Some(_) if !self.packed.is_planar => OF_PIXEL,
            Some(Widening { is_dense: true, .. }) => run.length as usize * 2 / DENSE_CHANNELS,
            Some(_) => run.length as usize * 2 / MAX_PICTURE_CHANNELS,
            None => run.length as usize,
        };
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

/// Words of a pixel of bytes.
const OF_PIXEL: usize = LANES / OF_WORD;

impl Step for ByteConvolutionStep {
    fn check(&self) -> Result<(), PlanError> {
        let writes_floats = self.packed.writes_floats();
        proven(self.input.layout.is_bytes() && !self.output.layout.is_planar, STEP, "kinds of tensors")?;
        proven(self.output.layout.is_bytes() != writes_floats, STEP, "the output's elements")?;
        proven(self.residual.is_none_or(|region| region.layout.is_bytes()), STEP, "the residual's elements")?;
        self.check_widening()?;
        let joins = matches!(self.packed.finishing, Finishing::Joined(..));
        proven(self.residual.is_some() == joins, STEP, "the residual")?;
        for Planned { band, runs, kernels: _ } in &self.bands {
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

    unsafe fn run(&self, worker: &Worker<'_>) {
        let (bands, tiles) = (self.bands.len(), self.tiles.len());
        let is_band_by_band = self.is_band_by_band();
        let inner = if is_band_by_band { tiles } else { bands };
        let share = worker.share(bands * tiles);
        let (mut outer, mut at) = (share.start / inner, share.start % inner);
        let keeps = self.packed.widening.is_some_and(|widening| widening.kept.is_some());
        if keeps && !share.is_empty() {
            // SAFETY: the caller's promise; the scratch memory is this thread's.
            self.tiles.iter().for_each(|placed| unsafe { self.widen(worker, placed) });
        }
        let mut widened = None;
        for _ in share {
            let (band, tile) = if is_band_by_band { (outer, at) } else { (at, outer) };
            // SAFETY: the caller's promise; no other thread computes this band of this tile.
            unsafe {
                if !keeps && widened != Some(tile) {
                    self.widen(worker, &self.tiles[tile]);
                    widened = Some(tile);
                }
                self.compute(worker, &self.bands[band], &self.tiles[tile]);
            }
            at += 1;
            if at == inner {
                (outer, at) = (outer + 1, 0);
            }
        }
    }

    fn weights(&self) -> usize {
        self.packed.floats()
    }
}

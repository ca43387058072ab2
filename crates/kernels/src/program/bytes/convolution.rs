//! A dense convolution of bytes: what it is, and how its weights are packed. As `program/packed.rs`, over words of four
//! channels, or of two that were widened.

use std::ops::Range;

use super::Quantised;
use super::bands::{Band, DENSE_CHANNELS, Filled, OF_PIXEL, Setting, Shapes, bands, filled, in_blocks, picture_chunks};
use super::pack::{Bytes, Filters, NOTED, OF_WORD, biased, noted, recalled, words};
use crate::block::{self, Form, Joint};
use crate::error::PlanError;
use crate::floats::Floats;
use crate::kernel::bytes::pairs::{PAIR_STEP, PairSet};
use crate::kernel::bytes::set::ByteSet;
use crate::kernel::tile::Run;
use crate::layout::{LANES, MAX_PICTURE_CHANNELS};
use crate::program::builder::View;
use crate::program::convolution::NEIGHBOURS;
use crate::program::region::Region;
use crate::program::shelf::{Shelf, Weights};
use crate::program::window::Window;

pub(crate) const STEP: &str = "quantised convolution";

/// Packed weights that stay in the second-level cache, in bytes: as for floats.
pub(crate) const CACHED_BYTES: usize = 400 << 10;

/// Widened windows of a whole picture that stay there besides, in floats: 512 KiB.
const KEPT_FLOATS: usize = 128 << 10;

/// Bytes of neighbouring tiles' windows that stay in the first cache, for as long as a band is multiplied by them.
const NEAR_BYTES: usize = 16 << 10;

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

/// What does not depend on where the tensors lie.
#[derive(Debug)]
pub(crate) struct PackedBytes {
    pub(crate) window: Window,
    pub(crate) bands: Vec<Band>,
    pub(crate) weights: Weights,
    pub(crate) bias: Vec<i32>,
    pub(crate) factors: Floats,
    /// How often the windows are gone over.
    pub(crate) passes: usize,
    /// Whether the input is a picture.
    pub(crate) is_planar: bool,
    pub(crate) finishing: Finishing,
    pub(crate) set: &'static ByteSet,
    pub(crate) widening: Option<Widening>,
    /// Tiles among which those of one size are put together.
    pub(crate) neighbours: usize,
}

/// How a convolution is computed that multiplies in sixteen bits, to which its input is widened first, tile by tile: as
/// sixteen numbers at a time, which are the channels of a pixel, or neighbouring words of a picture.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Widening {
    pub(crate) pairs: &'static PairSet,
    /// Sixteens of one window.
    pub(crate) chunks: usize,
    /// Whether the fourth of every four bytes is left out.
    pub(crate) is_dense: bool,
    /// The pixels of the picture, where all tiles are widened before any is multiplied.
    pub(crate) kept: Option<usize>,
}

impl PackedBytes {
    pub(crate) fn form(&self) -> Form {
        if self.widening.is_some() { Form::Pairs } else { self.set.dense }
    }

    /// Floats that a thread needs to widen its tiles.
    pub(crate) fn scratch(&self) -> usize {
        match self.widening {
            Some(Widening { pairs, chunks, kept, .. }) => {
                chunks * PAIR_STEP * kept.unwrap_or(pairs.pixels * self.neighbours)
            }
            None => 0,
        }
    }

    pub(crate) fn writes_floats(&self) -> bool {
        matches!(self.finishing, Finishing::Floats(_))
    }

    pub(crate) fn floats(&self) -> usize {
        self.weights.len() + self.bias.len() + self.factors.len()
    }
}

/// Packs the weights of a convolution.
pub(crate) fn pack(
    layer: &ByteConvolution<'_>,
    setting: Setting,
    finishing: Finishing,
    set: &'static ByteSet,
    shelf: &mut Shelf,
) -> Result<PackedBytes, PlanError> {
    let outputs = setting.outputs;
    let filters = Filters {
        weights: layer.weights,
        outputs,
        of_group: setting.inputs / layer.groups,
        to_group: outputs / layer.groups,
        window: layer.window,
    };
    let Contents { bands, weights, bias, passes, set, pairs } = match recall(&filters, setting, set, shelf)? {
        Some(contents) => contents,
        None => {
            let bias = biased(STEP, &filters, layer.bias, set.number(setting.zero), layer.factors)?;
            let ((bands, weights, passes), set, pairs) = choose(&filters, setting, set)?;
            shelf.put_numbers(&noted(passes, set));
            shelf.put_numbers(&bias);
            Contents { bands, weights: shelf.put(weights.into_floats()), bias, passes, set, pairs }
        }
    };
    let widening = pairs.map(|pairs| {
        let chunks = chunks(&layer.window, setting);
        let is_kept =
            weights.len() * size_of::<f32>() > CACHED_BYTES && chunks * PAIR_STEP * setting.pixels <= KEPT_FLOATS;
        let is_dense = setting.is_dense(&layer.window, Form::Pairs);
        Widening { pairs, chunks, is_dense, kept: is_kept.then_some(setting.pixels) }
    });
    let mut factors = Floats::zeroed(outputs);
    factors.as_mut_slice()[..outputs].copy_from_slice(layer.factors);
    let (window, is_planar) = (layer.window, setting.is_planar);
    let of_tile = match widening {
        Some(Widening { pairs, chunks, .. }) => pairs.pixels * chunks * PAIR_STEP * size_of::<f32>(),
        // Windows of neighbouring pixels share most of their rows.
        None => set.pixels * setting.inputs * window.stride[1],
    };
    let neighbours = (NEAR_BYTES / of_tile).clamp(1, NEIGHBOURS);
    Ok(PackedBytes { window, bands, weights, bias, factors, passes, is_planar, finishing, set, widening, neighbours })
}

/// What depends on the weights.
struct Contents {
    bands: Vec<Band>,
    weights: Weights,
    bias: Vec<i32>,
    passes: usize,
    set: &'static ByteSet,
    /// Where it multiplies widened inputs.
    pairs: Option<&'static PairSet>,
}

/// What an earlier start packed. Nothing that it noted is trusted: numbers that it cannot have noted are refused, and
/// weights of another size than shapes and form want.
fn recall(
    filters: &Filters<'_>,
    setting: Setting,
    set: &'static ByteSet,
    shelf: &mut Shelf,
) -> Result<Option<Contents>, PlanError> {
    let Some(noted) = shelf.take_numbers(NOTED)? else { return Ok(None) };
    let (passes, found) = recalled([noted[0], noted[1]], set)?;
    let (shapes, pairs) = match found.form {
        Form::NarrowBytes => (Shapes::of(found, setting), None),
        _ => widest(filters, setting, found),
    };
    if pairs.is_some() && passes != 1 {
        return Err(PlanError::step("kept weights", format!("sixteen bits were packed by {passes}")));
    }
    let bias = shelf.take_numbers(setting.outputs.next_multiple_of(LANES))?;
    let (bands, bytes) = bands(filters, setting, passes, &shapes)?;
    match (bias, shelf.take(Bytes::check(bytes)?)?) {
        (Some(bias), Some(weights)) => Ok(Some(Contents { bands, weights, bias, passes, set: found, pairs })),
        _ => Err(PlanError::step(STEP, "its weights were not kept")),
    }
}

/// Fills the weights in the form that multiplies fastest: in eight bits where they fit, else in sixteen.
fn choose(
    filters: &Filters<'_>,
    setting: Setting,
    set: &'static ByteSet,
) -> Result<(Filled, &'static ByteSet, Option<&'static PairSet>), PlanError> {
    if let Some(narrow) = set.narrow
        && let Some(filled) = filled(filters, setting, &Shapes::of(narrow, setting))?
    {
        return Ok((filled, narrow, None));
    }
    let (shapes, pairs) = widest(filters, setting, set);
    let filled = filled(filters, setting, &shapes)?;
    Ok((filled.ok_or_else(|| PlanError::step(STEP, "a weight is beyond -255 to 255"))?, set, pairs))
}

/// How weights are packed that fit no narrower form: shapes alone say it.
fn widest(filters: &Filters<'_>, setting: Setting, set: &'static ByteSet) -> (Shapes, Option<&'static PairSet>) {
    let is_whole = filters.to_group == filters.outputs;
    match set.pairs.filter(|_| is_whole && setting.pixels > 1 && set.form == Form::Words) {
        Some(pairs) => (Shapes { form: Form::Pairs, sizes: pairs.blocks.to_vec() }, Some(pairs)),
        None => (Shapes::of(set, setting), None),
    }
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
pub(crate) fn runs(packed: &PackedBytes, channels: &Range<usize>, input: &Region) -> Vec<Run> {
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
                    push(from, columns.div_ceil(packed.form().words()));
                } else {
                    (0..columns).for_each(|column| push(from + column * window.dilation[1], 1));
                }
            }
            continue;
        }
        for part in in_blocks(channels.clone()) {
            let of_word = packed.form().of_word();
            let first = part.start / of_word * of_word;
            let from = first / LANES * layout.block() + first % LANES / OF_WORD;
            let length = words(part, of_word).count();
            let is_joined =
                packed.set.joins_columns && window.dilation[1] == 1 && length * packed.form().words() == OF_PIXEL;
            for row in 0..rows {
                if is_joined {
                    push(from + row * window.dilation[0] * layout.row(), columns * length);
                    continue;
                }
                for column in 0..columns {
                    let place = row * window.dilation[0] * layout.row();
                    push(from + place + column * window.dilation[1] * layout.pixel(), length);
                }
            }
        }
    }
    runs
}

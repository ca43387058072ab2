//! How the output channels of a convolution of bytes are divided, and in which order their weights are packed.

use std::ops::Range;

use super::pack::{Bytes, Filters, OF_WORD, part, words};
use crate::block::Form;
use crate::error::PlanError;
use crate::kernel::bytes::set::ByteSet;
use crate::layout::{LANES, MAX_PICTURE_CHANNELS};
use crate::program::window::Window;

/// Output channels that are computed together.
#[derive(Debug, Clone)]
pub(crate) struct Band {
    /// First block of the output.
    pub(crate) block: usize,
    pub(crate) blocks: usize,
    /// Input channels that these see.
    pub(crate) channels: Range<usize>,
    /// Where its packed weights begin, in bytes.
    pub(crate) weights: usize,
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
    pub(crate) fn is_dense(&self, window: &Window, form: Form) -> bool {
        let are_neighbours = window.dilation[1] == 1;
        self.is_planar && self.inputs == DENSE_CHANNELS && are_neighbours && form == Form::Pairs
    }

    /// Columns of a picture's window that are multiplied at once.
    fn columns_at_once(&self, window: &Window, form: Form) -> usize {
        if self.is_planar && window.dilation[1] == 1 { form.words() } else { 1 }
    }

    /// Channels of a column, behind which those of the next one follow.
    fn of_tap(&self, window: &Window, form: Form) -> usize {
        if self.is_dense(window, form) {
            self.inputs
        } else if self.columns_at_once(window, form) > 1 {
            MAX_PICTURE_CHANNELS
        } else {
            usize::MAX
        }
    }
}

/// Channels of pictures that most networks read.
pub(crate) const DENSE_CHANNELS: usize = 3;

/// How weights are packed, and the blocks of bands, largest first.
pub(crate) struct Shapes {
    pub(crate) form: Form,
    pub(crate) sizes: Vec<usize>,
}

impl Shapes {
    pub(crate) fn of(set: &ByteSet, setting: Setting) -> Self {
        let sizes = if setting.pixels == 1 { [set.tall_blocks, set.blocks].concat() } else { set.blocks.to_vec() };
        Self { form: set.dense, sizes }
    }
}

/// Bands and their weights in some form, and the passes that takes.
pub(crate) type Filled = (Vec<Band>, Bytes, usize);

/// Nothing where a weight does not fit the form.
pub(crate) fn filled(filters: &Filters<'_>, setting: Setting, shapes: &Shapes) -> Result<Option<Filled>, PlanError> {
    let (form, of_word) = (shapes.form, shapes.form.of_word());
    let of_tap = setting.of_tap(&filters.window, form);
    let passes = filters.passes(form);
    let (bands, bytes) = bands(filters, setting, passes, shapes)?;
    let mut weights = Bytes::zeroed(bytes)?;
    for band in &bands {
        let width = band.blocks * form.bytes();
        let packed = &mut weights.as_mut_slice()[band.weights..];
        let taps = (0..passes)
            .flat_map(|pass| taps(&filters.window, band.channels.clone(), setting, form).map(move |tap| (pass, tap)));
        for ((pass, tap), row) in taps.zip(packed.chunks_exact_mut(width)) {
            for lane in 0..band.blocks * LANES {
                let output = band.block * LANES + lane;
                for first in (0..of_word).step_by(OF_WORD) {
                    let four = std::array::from_fn(|place| {
                        let place = first + place;
                        let weight = if place < of_word { tap.weight(filters, output, place, of_tap) } else { 0 };
                        part(weight, pass, form)
                    });
                    if !form.takes(four) {
                        return Ok(None);
                    }
                    form.put(&mut row[lane / LANES * form.bytes() + first..], lane % LANES, four);
                }
            }
        }
    }
    Ok(Some((bands, weights, passes)))
}

/// How the output's blocks are divided, and the bytes of all packed weights.
pub(crate) fn bands(
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
    /// The weight of one of the word's channels, of which a column has `of_tap`; 0 behind the window.
    fn weight(&self, filters: &Filters<'_>, output: usize, place: usize, of_tap: usize) -> i16 {
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
        let at_once = setting.columns_at_once(window, form);
        return Box::new(
            places()
                .filter(move |(_, column)| column.is_multiple_of(at_once))
                .flat_map(move |(row, column)| channels.clone().map(move |channel| Tap { channel, row, column })),
        );
    }
    Box::new(in_blocks(channels).flat_map(move |part| {
        places().flat_map(move |(row, column)| {
            words(part.clone(), form.of_word()).map(move |channel| Tap { channel, row, column })
        })
    }))
}

/// A range of channels, cut where blocks end.
pub(crate) fn in_blocks(channels: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    (channels.start / LANES..channels.end.div_ceil(LANES))
        .map(move |block| channels.start.max(block * LANES)..channels.end.min((block + 1) * LANES))
}

/// The words of a row of a window over a picture that are widened at once: from where on, and how many.
pub(crate) fn picture_chunks(window: &Window) -> impl Iterator<Item = (usize, usize)> + use<> {
    let (columns, dilation) = (window.kernel[1], window.dilation[1]);
    let at_once = if dilation == 1 { OF_PIXEL } else { 1 };
    (0..columns).step_by(at_once).map(move |column| (column * dilation, at_once.min(columns - column)))
}

/// Words of a pixel of bytes.
pub(crate) const OF_PIXEL: usize = LANES / OF_WORD;

//! A depthwise convolution of bytes: one filter for each channel.

use super::convolution::ByteConvolution;
use super::pack::{Bytes, Filters, NOTED, biased, noted, part, recalled};
use crate::block::{Form, Range};
use crate::bounds::{Touched, placed};
use crate::error::PlanError;
use crate::floats::Floats;
use crate::kernel::bytes::depthwise::{ByteDepthwiseCall, ByteDepthwiseKernel, COLUMNS, FIVE, TAPS};
use crate::kernel::bytes::pairs::PairSet;
use crate::kernel::bytes::set::ByteSet;
use crate::layout::{LANES, SLACK};
use crate::program::region::Region;
use crate::program::shelf::{Shelf, Weights};
use crate::program::step::{Step, Worker, proven};
use crate::program::tiles::even;
use crate::program::window::Window;

const STEP: &str = "quantised depthwise convolution";

/// What does not depend on where the tensors lie.
#[derive(Debug)]
pub(crate) struct PackedByteDepthwise {
    window: Window,
    /// For each block, for each pass, for each row, for each four of a row, sixteen channels; as often as there are
    /// [`shifts`].
    weights: Weights,
    passes: usize,
    bias: Vec<i32>,
    factors: Floats,
    range: Range,
    set: &'static ByteSet,
    /// What goes over two rows at a time, in sixteen bits.
    rows: Option<&'static PairSet>,
}

impl PackedByteDepthwise {
    /// Bytes of one block's weights.
    fn block_bytes(&self) -> usize {
        match self.rows {
            Some(_) => rows_bytes(&self.window),
            None => block_bytes(&self.window, self.passes, self.set),
        }
    }

    /// The kernel of so many neighbouring pixels.
    fn kernel(&self, pixels: usize) -> Option<ByteDepthwiseKernel> {
        match self.rows {
            Some(rows) => (rows.depthwise)(pixels, self.window.stride[1]),
            None if shifts(&self.window, self.set).len() == 1 => (self.set.depthwise)(pixels),
            None if self.window.kernel[1] == FIVE => (self.set.depthwise_fives)(pixels, self.window.stride[1]),
            None => (self.set.depthwise_pairs)(pixels),
        }
    }
    pub(crate) fn floats(&self) -> usize {
        self.weights.len() + self.bias.len() + self.factors.len()
    }
}

/// Whether a window's rows are those of the input, and its elements neighbours, which the kernels want. Others are left
/// to the dense convolution.
pub(crate) fn suits(window: &Window) -> bool {
    window.dilation[1] == 1
}

/// By how many elements weights lie further on: where neighbouring pixels share fours, a window begins anywhere in one.
fn shifts(window: &Window, set: &ByteSet) -> &'static [usize] {
    let shares_fives = || (set.depthwise_fives)(1, 1).is_some();
    match (window.kernel[1], window.stride[1]) {
        (COLUMNS, 1) => &[0, 1],
        (FIVE, 1) if shares_fives() => &[0, 1, 2, 3],
        (FIVE, 2) if shares_fives() => &[0, 2],
        _ => &[0],
    }
}

/// Fours of elements in a row of a window.
fn fours(window: &Window) -> usize {
    window.kernel[1].div_ceil(TAPS)
}

/// Bytes of one block's weights.
fn block_bytes(window: &Window, passes: usize, set: &ByteSet) -> usize {
    let times = passes * shifts(window, set).len();
    window.kernel[0].saturating_mul(fours(window)).saturating_mul(times * set.form.bytes())
}

/// Bytes of one block's weights, two rows at a time.
fn rows_bytes(window: &Window) -> usize {
    window.kernel[0].div_ceil(2).saturating_mul(COLUMNS * Form::Pairs.bytes())
}

/// Whether a window can be gone over two rows at a time.
fn suits_rows(window: &Window) -> bool {
    window.kernel[1] == COLUMNS && (1..=2).contains(&window.stride[1])
}

/// Weights for two rows at a time: each fits sixteen bits.
fn by_rows(filters: &Filters<'_>, blocks: usize, form: Form) -> Result<Bytes, PlanError> {
    let bytes = rows_bytes(&filters.window);
    let mut weights = Bytes::zeroed(bytes.saturating_mul(blocks))?;
    for (number, packed) in weights.as_mut_slice().chunks_exact_mut(bytes).take(blocks).enumerate() {
        for (place, to) in packed.chunks_exact_mut(Form::Pairs.bytes()).enumerate() {
            let (row, column) = (place / COLUMNS * 2, place % COLUMNS);
            for lane in 0..LANES {
                let channel = number * LANES + lane;
                let weight = |row: usize| match row < filters.window.kernel[0] {
                    true => filters.weight(channel, channel, row, column),
                    false => 0,
                };
                form.put(to, lane, [weight(row), weight(row + 1), 0, 0]);
            }
        }
    }
    Ok(weights)
}

/// Packs the filters of `channels` channels, whose input has a zero.
pub(crate) fn pack(
    layer: &ByteConvolution<'_>,
    channels: usize,
    zero: u8,
    range: Range,
    (set, shelf): (&'static ByteSet, &mut Shelf),
) -> Result<PackedByteDepthwise, PlanError> {
    let window = layer.window;
    let filters = Filters { weights: layer.weights, outputs: channels, of_group: 1, to_group: 1, window };
    let mut factors = Floats::zeroed(channels);
    factors.as_mut_slice()[..channels].copy_from_slice(layer.factors);
    // Shapes alone say it.
    let rows = set.pairs.filter(|_| suits_rows(&window));
    if let Some(Contents { bias, weights, passes, set }) = recall(&filters, rows, set, shelf)? {
        return Ok(PackedByteDepthwise { window, weights, passes, bias, factors, range, set, rows });
    }
    let bias = biased(STEP, &filters, layer.bias, set.number(zero), layer.factors)?;
    let (weights, passes, set) = match rows {
        Some(rows) => (by_rows(&filters, channels.div_ceil(LANES), rows.form)?, 1, set),
        None => by_fours(&filters, channels.div_ceil(LANES), set)?,
    };
    shelf.put_numbers(&noted(passes, set));
    shelf.put_numbers(&bias);
    let weights = shelf.put(weights.into_floats());
    Ok(PackedByteDepthwise { window, weights, passes, bias, factors, range, set, rows })
}

/// What depends on the weights.
struct Contents {
    bias: Vec<i32>,
    weights: Weights,
    passes: usize,
    set: &'static ByteSet,
}

/// What an earlier start packed: as for dense convolutions.
fn recall(
    filters: &Filters<'_>,
    rows: Option<&'static PairSet>,
    set: &'static ByteSet,
    shelf: &mut Shelf,
) -> Result<Option<Contents>, PlanError> {
    let Some(noted) = shelf.take_numbers(NOTED)? else { return Ok(None) };
    let (passes, found) = recalled([noted[0], noted[1]], set)?;
    let of_block = match rows {
        Some(_) if noted == [1, 0] => rows_bytes(&filters.window),
        Some(_) => return Err(PlanError::step("kept weights", format!("sixteen bits were packed by {noted:?}"))),
        None => block_bytes(&filters.window, passes, found),
    };
    let bias = shelf.take_numbers(filters.outputs.next_multiple_of(LANES))?;
    let bytes = Bytes::check(of_block.saturating_mul(filters.outputs.div_ceil(LANES)))?;
    match (bias, shelf.take(bytes)?) {
        (Some(bias), Some(weights)) => Ok(Some(Contents { bias, weights, passes, set: found })),
        _ => Err(PlanError::step(STEP, "its weights were not kept")),
    }
}

/// Weights for one row at a time, in the form that multiplies fastest; how often the windows are gone over, and by which set.
fn by_fours(
    filters: &Filters<'_>,
    blocks: usize,
    set: &'static ByteSet,
) -> Result<(Bytes, usize, &'static ByteSet), PlanError> {
    let set = match set.narrow {
        Some(narrow) if fits(filters, narrow) => narrow,
        _ => set,
    };
    let (form, passes) = (set.form, filters.passes(set.form));
    let bytes = block_bytes(&filters.window, passes, set);
    let mut weights = Bytes::zeroed(bytes.saturating_mul(blocks))?;
    for (number, packed) in weights.as_mut_slice().chunks_exact_mut(bytes).take(blocks).enumerate() {
        for (four, to) in places(&filters.window, passes, set).zip(packed.chunks_exact_mut(form.bytes())) {
            for lane in 0..LANES {
                form.put(to, lane, at(filters, number * LANES + lane, four, form));
            }
        }
    }
    Ok((weights, passes, set))
}

/// Four weights of each channel of a block: of which pass and row, which of the row, and by how many elements shifted.
#[derive(Debug, Clone, Copy)]
struct Four {
    pass: usize,
    row: usize,
    number: usize,
    shift: usize,
}

/// All fours of a block, in their order.
fn places(window: &Window, passes: usize, set: &ByteSet) -> impl Iterator<Item = Four> + use<> {
    let (rows, fours) = (window.kernel[0], fours(window));
    let of_row = move |pass, row, shift| (0..fours).map(move |number| Four { pass, row, number, shift });
    let of_pass = move |pass, shift| (0..rows).flat_map(move |row| of_row(pass, row, shift));
    shifts(window, set).iter().flat_map(move |&shift| (0..passes).flat_map(move |pass| of_pass(pass, shift)))
}

/// Four weights of a channel, as far as the window goes.
fn at(filters: &Filters<'_>, channel: usize, four: Four, form: Form) -> [i16; TAPS] {
    std::array::from_fn(|tap| {
        let column = (four.number * TAPS + tap).checked_sub(four.shift);
        let column = column.filter(|&column| column < filters.window.kernel[1]);
        column.map_or(0, |column| part(filters.weight(channel, channel, four.row, column), four.pass, form))
    })
}

/// Whether all fours can be packed in a set's form, in one pass.
fn fits(filters: &Filters<'_>, set: &ByteSet) -> bool {
    let takes = |channel: usize| {
        places(&filters.window, 1, set).all(|four| set.form.takes(at(filters, channel, four, Form::Words)))
    };
    (0..filters.outputs).all(takes)
}

/// Neighbouring pixels of a row that are computed together: in the first row of the first block.
#[derive(Debug)]
struct Part {
    /// Its first pixel's window.
    input: usize,
    output: usize,
    pixels: usize,
    kernel: ByteDepthwiseKernel,
}

/// A depthwise convolution with every offset settled.
#[derive(Debug)]
pub(crate) struct ByteDepthwiseStep {
    packed: PackedByteDepthwise,
    input: Region,
    output: Region,
    parts: Vec<Part>,
    /// Floats from the windows of a row of the output to those of the next.
    windows: usize,
}

impl ByteDepthwiseStep {
    pub(crate) fn new(packed: PackedByteDepthwise, input: Region, output: Region) -> Result<Self, PlanError> {
        let most =
            packed.rows.map_or(packed.set.depthwise_pixels, |rows| rows.depthwise_pixels[packed.window.stride[1] - 1]);
        let (width, window) = (output.shape().width, packed.window);
        let part = |(x, pixels): (usize, usize)| {
            let kernel = packed.kernel(pixels);
            let kernel = kernel.ok_or(PlanError::Extent { step: STEP, access: "there is no kernel of its size" })?;
            let first = input.window(0, x * window.stride[1], window.padding[0], window.padding[1]);
            let first = first.ok_or(PlanError::Extent { step: STEP, access: "before the halo" })?;
            Ok(Part { input: first, output: output.at(0, 0, x), pixels, kernel })
        };
        let parts: Result<Vec<Part>, PlanError> = even(width, width.div_ceil(most)).map(part).collect();
        let windows = window.stride[0] * input.layout.row();
        Ok(Self { parts: parts?, packed, input, output, windows })
    }

    /// Floats from a window to the next.
    fn step(&self) -> usize {
        self.packed.window.stride[1] * self.input.layout.pixel()
    }

    /// Floats from one row that the window sees to the next.
    fn row(&self) -> usize {
        self.packed.window.dilation[0] * self.input.layout.row()
    }

    /// # Safety
    /// As for [`Step::run`].
    unsafe fn compute(&self, worker: &Worker<'_>, block: usize, y: usize) {
        let packed = &self.packed;
        // SAFETY: check() has proven every place that the kernel reaches.
        unsafe {
            let input = worker.at(block * self.input.layout.block() + y * self.windows).cast_const();
            let output = worker.at(block * self.output.layout.block() + y * self.output.layout.row());
            let mut call = ByteDepthwiseCall {
                input: input.cast(),
                row: self.row() * size_of::<f32>(),
                step: self.step() * size_of::<f32>(),
                pixels: 0,
                rows: packed.window.kernel[0],
                passes: packed.passes,
                fours: fours(&packed.window),
                weights: packed.weights.as_ptr().cast::<u8>().add(block * packed.block_bytes()),
                bias: packed.bias.as_ptr().add(block * LANES),
                factors: packed.factors.as_ptr().add(block * LANES),
                output: output.cast(),
                range: packed.range,
            };
            for part in &self.parts {
                call.input = input.add(part.input).cast();
                call.output = output.add(part.output).cast();
                call.pixels = part.pixels;
                (part.kernel)(&call);
            }
        }
    }
}

impl Step for ByteDepthwiseStep {
    fn check(&self) -> Result<(), PlanError> {
        let (packed, blocks) = (&self.packed, self.output.blocks());
        let are_blocked = [&self.input, &self.output].iter().all(|it| it.layout.is_bytes() && !it.layout.is_planar);
        proven(are_blocked && packed.window.dilation[1] == 1, STEP, "kinds of tensors")?;
        let weights = packed.weights.len() * size_of::<f32>();
        proven(blocks * packed.block_bytes() <= weights, STEP, "weights")?;
        proven(packed.rows.is_none() || suits_rows(&packed.window), STEP, "windows")?;
        proven(blocks * LANES <= packed.bias.len() && blocks * LANES <= packed.factors.len(), STEP, "bias")?;
        proven(blocks == self.input.blocks(), STEP, "input blocks")?;
        let pixel = self.input.layout.pixel();
        // Four pixels at a time, from the last window's first on, or from one before it where fours are shared.
        let reach = (packed.window.kernel[0] - 1) * self.row() + fours(&packed.window) * TAPS * pixel;
        let last = (blocks - 1) * self.input.layout.block();
        for y in 0..self.output.shape().height {
            for part in &self.parts {
                let first = part.input + y * self.windows;
                let end = first + last + (part.pixels - 1) * self.step() + reach;
                let window = first
                    + last
                    + (part.pixels - 1) * self.step()
                    + (packed.window.kernel[0] - 1) * self.row()
                    + packed.window.kernel[1] * pixel;
                // What is read behind the window is multiplied by 0, and lies in the slack at most.
                proven(self.input.holds(first, window), STEP, "input")?;
                proven(self.input.holds_but_for(first, end, SLACK), STEP, "input's slack")?;
                let from = part.output + y * self.output.layout.row();
                let to = from + (blocks - 1) * self.output.layout.block();
                proven(self.output.holds(from, to + part.pixels * self.output.layout.pixel()), STEP, "output")?;
            }
        }
        Ok(())
    }

    fn touches(&self) -> Touched {
        let PackedByteDepthwise { weights, bias, factors, .. } = &self.packed;
        let weights = vec![weights.place(), placed(bias), factors.place()];
        Touched { weights, ..Touched::of([&self.input], &self.output) }
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        let height = self.output.shape().height;
        for item in worker.share(self.output.blocks() * height).flatten() {
            // SAFETY: the caller's promise; no other thread computes this row of this block.
            unsafe { self.compute(worker, item / height, item % height) };
        }
    }

    fn weights(&self) -> usize {
        self.packed.floats()
    }
}

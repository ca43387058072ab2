//! A depthwise convolution: one filter for each channel.

use super::convolution::{Convolution, activate_rows};
use super::region::Region;
use super::shelf::{Shelf, Weights};
use super::step::{Step, Worker, proven};
use super::tiles::even;
use super::window::Window;
use crate::activation::Activation;
use crate::bounds::Touched;
use crate::error::PlanError;
use crate::floats::Floats;
use crate::kernel::depthwise::{DepthwiseCall, DepthwiseKernel};
use crate::kernel::set::KernelSet;
use crate::layout::{LANES, MAX_FLOATS};

const STEP: &str = "depthwise convolution";

/// What does not depend on where the tensors lie.
#[derive(Debug)]
pub(crate) struct PackedDepthwise {
    pub(super) window: Window,
    /// For each block, for each element of the window, sixteen channels.
    pub(crate) weights: Weights,
    pub(super) bias: Floats,
    pub(super) activation: Activation,
}

/// Packs the filters of `channels` channels.
pub(crate) fn pack(layer: &Convolution<'_>, channels: usize, shelf: &mut Shelf) -> Result<PackedDepthwise, PlanError> {
    let window = layer.window;
    let taps = window.kernel[0] * window.kernel[1];
    let floats = channels.next_multiple_of(LANES).saturating_mul(taps);
    if floats > MAX_FLOATS {
        return Err(PlanError::Memory { floats, limit: MAX_FLOATS });
    }
    let weights = match shelf.take(floats)? {
        Some(kept) => kept,
        None => {
            let mut weights = Floats::zeroed(floats);
            let packed = weights.as_mut_slice();
            for (channel, filter) in layer.weights.chunks_exact(taps).enumerate() {
                for (tap, &weight) in filter.iter().enumerate() {
                    packed[(channel / LANES * taps + tap) * LANES + channel % LANES] = weight;
                }
            }
            shelf.put(weights)
        }
    };
    let mut bias = Floats::zeroed(channels.next_multiple_of(LANES));
    bias.as_mut_slice()[..layer.bias.len()].copy_from_slice(layer.bias);
    Ok(PackedDepthwise { window, weights, bias, activation: layer.activation })
}

/// Neighbouring pixels of a row that are computed together.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) x: usize,
    pub(super) pixels: usize,
    pub(super) kernel: DepthwiseKernel,
}

/// How rows of `width` pixels are cut, and the offsets of a window's elements in rows that lie `row` floats apart.
pub(super) fn parts(
    packed: &PackedDepthwise,
    row: usize,
    width: usize,
    set: &KernelSet,
) -> Result<(Vec<Part>, Vec<u32>), PlanError> {
    let window = packed.window;
    let [rows, columns] = window.kernel;
    let offset = |y: usize, x: usize| (y * window.dilation[0] * row + x * window.dilation[1] * LANES) as u32;
    let taps = (0..rows).flat_map(|y| (0..columns).map(move |x| offset(y, x))).collect();
    let step = window.stride[1] * LANES;
    let side = if rows == columns && window.dilation == [1, 1] { rows } else { 0 };
    let part = |(x, pixels): (usize, usize)| {
        let kernel = (set.depthwise)(side, pixels, step).or_else(|| (set.depthwise)(0, pixels, step))?;
        Some(Part { x, pixels, kernel })
    };
    let most = if side == 5 { set.depthwise_pixels_of_five } else { set.depthwise_pixels };
    let parts: Option<Vec<Part>> = even(width, width.div_ceil(most)).map(part).collect();
    let parts = parts.ok_or(PlanError::Extent { step: STEP, access: "there is no kernel of its size" })?;
    Ok((parts, taps))
}

/// A depthwise convolution with every offset settled.
#[derive(Debug)]
pub(crate) struct DepthwiseStep {
    packed: PackedDepthwise,
    input: Region,
    output: Region,
    /// Offsets of the window's elements from its first.
    taps: Vec<u32>,
    /// Floats between the windows of neighbouring pixels.
    step: usize,
    parts: Vec<Part>,
    set: &'static KernelSet,
}

impl DepthwiseStep {
    pub(crate) fn new(
        packed: PackedDepthwise,
        input: Region,
        output: Region,
        set: &'static KernelSet,
    ) -> Result<Self, PlanError> {
        let step = packed.window.stride[1] * LANES;
        let (parts, taps) = parts(&packed, input.layout.row(), output.shape().width, set)?;
        Ok(Self { packed, input, output, taps, step, parts, set })
    }

    /// The first window of a part of a row of the first block.
    fn window(&self, y: usize, part: &Part) -> Option<usize> {
        let window = &self.packed.window;
        self.input.window(y * window.stride[0], part.x * window.stride[1], window.padding[0], window.padding[1])
    }

    /// # Safety
    /// As for [`Step::run`].
    unsafe fn row(&self, worker: &Worker<'_>, block: usize, y: usize) {
        for part in &self.parts {
            let Some(window) = self.window(y, part) else { continue };
            // SAFETY: check() has proven every place that the kernel reaches.
            unsafe {
                (part.kernel)(&DepthwiseCall {
                    pixels: part.pixels,
                    input: worker.at(window + block * self.input.layout.block()),
                    row: self.input.layout.row(),
                    step: self.step,
                    taps: &self.taps,
                    weights: self.packed.weights.as_ptr().add(block * self.taps.len() * LANES),
                    bias: self.packed.bias.as_ptr().add(block * LANES),
                    output: worker.at(self.output.at(block, y, part.x)),
                    activation: self.packed.activation,
                });
            }
        }
        // SAFETY: the row is the one that was just written.
        unsafe {
            let row = worker.at(self.output.at(block, y, 0));
            activate_rows(self.set, self.packed.activation, row, self.output.shape().width);
        }
    }
}

impl Step for DepthwiseStep {
    fn check(&self) -> Result<(), PlanError> {
        let blocks = self.output.blocks();
        proven(blocks * self.taps.len() * LANES <= self.packed.weights.len(), STEP, "weights")?;
        proven(blocks * LANES <= self.packed.bias.len(), STEP, "bias")?;
        proven(blocks == self.input.blocks(), STEP, "input blocks")?;
        let reach = self.taps.iter().max().map_or(0, |&tap| tap as usize + LANES);
        let last = (blocks - 1) * self.input.layout.block();
        for y in 0..self.output.shape().height {
            for part in &self.parts {
                let first = self.window(y, part).ok_or(PlanError::Extent { step: STEP, access: "before the halo" })?;
                let end = first + last + (part.pixels - 1) * self.step + reach;
                proven(self.input.holds(first, end), STEP, "input")?;
                let (from, to) = (self.output.at(0, y, part.x), self.output.at(blocks - 1, y, part.x));
                proven(self.output.holds(from, to + part.pixels * LANES), STEP, "output")?;
            }
        }
        Ok(())
    }

    fn touches(&self) -> Touched {
        Touched {
            reads: vec![self.input.floats()],
            writes: vec![self.output.floats()],
            weights: vec![self.packed.weights.place(), self.packed.bias.place()],
        }
    }

    fn describe(&self) -> String {
        let [rows, columns] = self.packed.window.kernel;
        format!("{STEP} {rows} × {columns}, {} to {}", self.input.shape(), self.output.shape())
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        let height = self.output.shape().height;
        for item in worker.share(self.output.blocks() * height).flatten() {
            // SAFETY: the caller's promise; no other thread computes this row of this block.
            unsafe { self.row(worker, item / height, item % height) };
        }
    }

    fn weights(&self) -> usize {
        self.packed.weights.len() + self.packed.bias.len()
    }
}

//! Steps over tensors of bytes: what they want of one another.

use super::{ProgramBuilder, TensorId, View, Work};
use crate::block::Joint;
use crate::error::PlanError;
use crate::floats::Floats;
use crate::kernel::bytes::pairs::PairSet;
use crate::kernel::bytes::rows::quantised;
use crate::kernel::bytes::winograd::Ends;
use crate::layout::{Element, Layout, MAX_PICTURE_CHANNELS, Shape};
use crate::program::bytes::bands::Setting;
use crate::program::bytes::convolution::{self, ByteConvolution, ByteFinish, Finishing};
use crate::program::bytes::edges::{Arrival, ByteInput};
use crate::program::bytes::{ByteWork, Quantised, depthwise, matrix, range, winograd};
use crate::program::window::Window;

impl ProgramBuilder {
    /// The program's input as bytes.
    ///
    /// # Errors
    /// [`PlanError`]: the shape is beyond the limits, there is an input already, or the tables are not one for all
    /// channels or one for each.
    pub fn picture(&mut self, input: ByteInput) -> Result<View, PlanError> {
        let ByteInput { shape, order, is_planar, zero, arrival } = input;
        let refuse = |reason: String| Err(PlanError::step("input", reason));
        if !self.plans.is_empty() {
            return refuse("it must be the first step".to_owned());
        }
        if is_planar && shape.channels > MAX_PICTURE_CHANNELS {
            return refuse(format!("{} channels in a planar tensor of bytes", shape.channels));
        }
        match &arrival {
            Arrival::Bytes(tables) if ![1, shape.channels].contains(&tables.len()) => {
                return refuse(format!("{} tables for {} channels", tables.len(), shape.channels));
            }
            Arrival::Floats(as_bytes) => check_scale("input", as_bytes.scale)?,
            Arrival::Bytes(_) => {}
        }
        let id = self.add(shape, is_planar, Element::Byte { zero: self.bytes.stored(zero) })?;
        let output = self.whole(id);
        self.push(Work::Bytes(ByteWork::Picture(order, arrival)), vec![], output)?;
        Ok(output)
    }

    /// A tensor of bytes that steps will write, of which `zero` stands for 0.
    ///
    /// # Errors
    /// [`PlanError::Shape`]: the shape is beyond the limits.
    pub fn byte_tensor(&mut self, shape: Shape, zero: u8) -> Result<TensorId, PlanError> {
        self.add(shape, false, Element::Byte { zero: self.bytes.stored(zero) })
    }

    /// Floats as bytes: `number / scale`, rounded to the nearest whole number, ties to even, plus the output's zero.
    ///
    /// # Errors
    /// [`PlanError::Step`]: shapes or kinds of tensors differ, or the scale is no positive number.
    pub fn quantise(&mut self, input: View, output: View, scale: f32) -> Result<(), PlanError> {
        check_scale("quantisation", scale)?;
        self.same_shape("quantisation", input, output)?;
        let zero = self.zero("quantisation", output)?;
        self.push(Work::Bytes(ByteWork::Quantise(Quantised { scale, zero })), vec![input], output)
    }

    /// Bytes as floats: `(byte − zero) · scale`.
    ///
    /// # Errors
    /// [`PlanError::Step`]: shapes or kinds of tensors differ.
    pub fn dequantise(&mut self, input: View, output: View, as_bytes: Quantised) -> Result<(), PlanError> {
        self.same_shape("dequantisation", input, output)?;
        self.push(Work::Bytes(ByteWork::Dequantise(as_bytes)), vec![input], output)
    }

    /// A convolution of bytes, or a fully connected layer.
    ///
    /// # Errors
    /// [`PlanError`]: shapes, weights and window do not fit each other, a sum could overflow, or something is beyond the
    /// limits.
    pub fn byte_convolution(&mut self, layer: &ByteConvolution<'_>) -> Result<(), PlanError> {
        let (input, output) = (self.shape(layer.input), self.shape(layer.output));
        check_convolution(layer, input, output, self.shelf.is_kept())?;
        let zero = self.zero(convolution::STEP, layer.input)?;
        let is_planar = self.tensors[layer.input.tensor].layout.is_planar;
        let mut inputs = vec![layer.input];
        let finishing = self.finishing(layer, &mut inputs)?;
        let by_channel = layer.groups == input.channels && layer.groups == output.channels;
        let work = match finishing {
            Finishing::Bytes(range) if by_channel && !is_planar && depthwise::suits(&layer.window) => {
                ByteWork::Depthwise(depthwise::pack(layer, input.channels, zero, range, (self.bytes, &mut self.shelf))?)
            }
            finishing => self.dense(layer, [input, output], zero, finishing)?,
        };
        self.spend(work.weights())?;
        self.pad(layer.input, layer.window.halo(input, output))?;
        self.push(Work::Bytes(work), inputs, layer.output)
    }

    /// A convolution that is none by channel, in the way that is fastest here.
    fn dense(
        &mut self,
        layer: &ByteConvolution<'_>,
        shapes: [Shape; 2],
        zero: u8,
        finishing: Finishing,
    ) -> Result<ByteWork, PlanError> {
        if let Some(kernels) = self.winograd(layer, shapes, &finishing)? {
            return Ok(ByteWork::Winograd(winograd::pack(layer, shapes, finishing, kernels, &mut self.shelf)?));
        }
        let is_planar = self.tensors[layer.input.tensor].layout.is_planar;
        if let Some(set) = self.bytes.matrix
            && let Some(strip) = matrix::suits(layer, (shapes, is_planar), &mut self.shelf)?
        {
            let packed = matrix::pack(layer, (shapes, is_planar, zero), finishing, (set, strip), &mut self.shelf)?;
            return Ok(ByteWork::Matrix(packed));
        }
        let [inputs, outputs] = shapes.map(|shape| shape.channels);
        let setting = Setting { inputs, outputs, zero, is_planar, pixels: shapes[1].pixels() };
        Ok(ByteWork::Convolution(convolution::pack(layer, setting, finishing, self.bytes, &mut self.shelf)?))
    }

    /// The kernels of Winograd's method, where a convolution can, may and should be computed by it.
    fn winograd(
        &mut self,
        layer: &ByteConvolution<'_>,
        shapes: [Shape; 2],
        finishing: &Finishing,
    ) -> Result<Option<(&'static PairSet, &'static Ends)>, PlanError> {
        let writes_bytes = !matches!(finishing, Finishing::Floats(_));
        let may = self.options.winograd && writes_bytes && !self.tensors[layer.input.tensor].layout.is_planar;
        match self.bytes.pairs {
            Some(set) if may => {
                let zero = self.zero(convolution::STEP, layer.input)?;
                Ok(winograd::suits(layer, (shapes, zero), set, &mut self.shelf)?.map(|ends| (set, ends)))
            }
            _ => Ok(None),
        }
    }

    /// What becomes of a convolution's sums, in the kernels' terms; a residual is added to the inputs.
    fn finishing(&self, layer: &ByteConvolution<'_>, inputs: &mut Vec<View>) -> Result<Finishing, PlanError> {
        let (step, output) = (convolution::STEP, layer.output);
        match layer.finish {
            ByteFinish::Bytes(limits) => Ok(Finishing::Bytes(range(self.zero(step, output)?, limits, self.bytes))),
            ByteFinish::Sum { between, residual, scales, limits } => {
                self.same_shape(step, residual, output)?;
                inputs.push(residual);
                check_scale(step, scales[1])?;
                let joint = Joint {
                    range: range(between.zero, [0, 255], self.bytes),
                    zero: self.bytes.number(self.zero(step, residual)?),
                    ratios: [between.scale / scales[1], scales[0] / scales[1]],
                };
                check_ratios(step, joint.ratios)?;
                Ok(Finishing::Joined(range(self.zero(step, output)?, limits, self.bytes), joint))
            }
            ByteFinish::Floats(addends) => {
                let channels = output.channels;
                if ![0, channels].contains(&addends.len()) {
                    let reason = format!("{} addends for {channels} channels", addends.len());
                    return Err(PlanError::step(step, reason));
                }
                let mut floats = Floats::zeroed(channels);
                floats.as_mut_slice()[..addends.len()].copy_from_slice(addends);
                Ok(Finishing::Floats(floats))
            }
        }
    }

    /// Every byte by a table.
    ///
    /// # Errors
    /// [`PlanError::Step`]: shapes or kinds of tensors differ.
    pub fn table(&mut self, input: View, output: View, table: &[u8; 256]) -> Result<(), PlanError> {
        self.same_shape("table", input, output)?;
        let mut stored = Box::new([0; 256]);
        for (byte, &to) in (0..=255).zip(table) {
            stored[usize::from(self.bytes.stored(byte))] = self.bytes.stored(to);
        }
        self.push(Work::Bytes(ByteWork::Table(stored)), vec![input], output)
    }

    /// The sum of two tensors of bytes of the output's shape, as bytes between two given ones. The scales are those of
    /// the inputs and of the output.
    ///
    /// # Errors
    /// [`PlanError::Step`]: shapes or kinds of tensors differ, or a scale is no positive number.
    pub fn byte_sum(
        &mut self,
        inputs: [View; 2],
        output: View,
        scales: [f32; 3],
        limits: [u8; 2],
    ) -> Result<(), PlanError> {
        const STEP: &str = "quantised sum";
        for input in inputs {
            self.same_shape(STEP, input, output)?;
        }
        check_scale(STEP, scales[2])?;
        let zeros = [i32::from(self.zero(STEP, inputs[0])?), i32::from(self.zero(STEP, inputs[1])?)];
        let [low, high] = limits.map(i32::from);
        let range = crate::block::Range { zero: i32::from(self.zero(STEP, output)?), low, high };
        let joint = Joint { range, zero: zeros[1], ratios: [scales[0] / scales[2], scales[1] / scales[2]] };
        check_ratios(STEP, joint.ratios)?;
        self.push(Work::Bytes(ByteWork::Sum { zeros, joint }), inputs.to_vec(), output)
    }

    /// The product of a tensor of bytes and another of its shape, or a vector of its channels, as bytes between two given
    /// ones. The scales are those of the inputs and of the output.
    ///
    /// # Errors
    /// [`PlanError::Step`]: shapes or kinds of tensors differ, or a scale is no positive number.
    pub fn byte_product(
        &mut self,
        inputs: [View; 2],
        output: View,
        scales: [f32; 3],
        limits: [u8; 2],
    ) -> Result<(), PlanError> {
        const STEP: &str = "quantised product";
        self.same_shape(STEP, inputs[0], output)?;
        self.same_channels(STEP, inputs[1], output)?;
        if self.shape(inputs[1]).pixels() != 1 {
            self.same_shape(STEP, inputs[1], output)?;
        }
        check_scale(STEP, scales[2])?;
        // Products of steps are below 2¹⁶, and so stay below 2³¹.
        let ratio = scales[0] * scales[1] / scales[2];
        check_ratios(STEP, [ratio, 1.0])?;
        let zeros = [self.zero(STEP, inputs[0])?, self.zero(STEP, inputs[1])?, self.zero(STEP, output)?];
        let zeros = zeros.map(i32::from);
        self.push(Work::Bytes(ByteWork::Product { zeros, ratio, limits }), inputs.to_vec(), output)
    }

    /// The greatest byte of every window.
    ///
    /// # Errors
    /// [`PlanError::Step`]: the tensors have different numbers of channels, or the window is beyond the limits.
    pub fn byte_pool(&mut self, input: View, output: View, window: Window) -> Result<(), PlanError> {
        window.check("quantised pooling")?;
        self.same_channels("quantised pooling", input, output)?;
        self.push(Work::Bytes(ByteWork::Pool(window)), vec![input], output)
    }

    /// The mean of every channel, as a vector. The scales are those of input and output.
    ///
    /// # Errors
    /// [`PlanError::Step`]: the output is not a vector of the input's channels, or a scale is no positive number.
    pub fn byte_mean(&mut self, input: View, output: View, scales: [f32; 2]) -> Result<(), PlanError> {
        const STEP: &str = "quantised mean";
        self.same_channels(STEP, input, output)?;
        self.vector(STEP, output)?;
        scales.iter().try_for_each(|&scale| check_scale(STEP, scale))?;
        let factor = scales[0] / (scales[1] * self.shape(input).pixels() as f32);
        check_scale(STEP, factor)?;
        let zeros = [self.zero(STEP, input)?, self.zero(STEP, output)?];
        self.push(Work::Bytes(ByteWork::Mean { zeros, factor }), vec![input], output)
    }

    /// Channels of several tensors of bytes in any order, as for [`Self::gather`].
    ///
    /// # Errors
    /// As for [`Self::gather`].
    pub fn byte_gather(&mut self, inputs: &[View], output: View, order: &[(usize, usize)]) -> Result<(), PlanError> {
        let (from, to): (Vec<Shape>, Shape) =
            (inputs.iter().map(|&view| self.shape(view)).collect(), self.shape(output));
        let same_sides = from.iter().all(|from| (from.height, from.width) == (to.height, to.width));
        let exists = |&(input, channel): &(usize, usize)| from.get(input).is_some_and(|from| channel < from.channels);
        if !same_sides || order.len() != to.channels || !order.iter().all(exists) {
            return Err(PlanError::step("channel order", format!("{} channels of {from:?} to {to:?}", order.len())));
        }
        self.push(Work::Bytes(ByteWork::Channels(order.to_vec())), inputs.to_vec(), output)
    }

    /// The byte that stands for zero in a tensor of bytes, as it is stored.
    pub(super) fn stored_zero(&self, step: &'static str, view: View) -> Result<u8, PlanError> {
        match self.tensors.get(view.tensor).map(|tensor| tensor.layout) {
            Some(Layout { element: Element::Byte { zero }, .. }) => Ok(zero),
            _ => Err(PlanError::step(step, "a tensor of bytes is wanted")),
        }
    }

    /// The unsigned byte that stands for zero in a tensor of bytes.
    fn zero(&self, step: &'static str, view: View) -> Result<u8, PlanError> {
        // Storing is its own inverse.
        self.stored_zero(step, view).map(|zero| self.bytes.stored(zero))
    }
}

/// The byte that stands for a number, as every step has it: `number / scale`, rounded to the nearest whole number, ties to
/// even, plus `zero`, held between 0 and 255.
#[must_use]
pub fn byte_of(number: f32, as_bytes: Quantised) -> u8 {
    quantised(number, as_bytes.scale, as_bytes.zero)
}

fn check_scale(step: &'static str, scale: f32) -> Result<(), PlanError> {
    if scale.is_finite() && scale > 0.0 { Ok(()) } else { Err(PlanError::step(step, format!("a scale is {scale}"))) }
}

/// Ratios by which bytes stay far below 2³¹.
fn check_ratios(step: &'static str, ratios: [f32; 2]) -> Result<(), PlanError> {
    let are_fit = ratios.iter().all(|&ratio| ratio > 0.0 && ratio < 2_097_152.0);
    if are_fit { Ok(()) } else { Err(PlanError::step(step, format!("scales differ by {ratios:?}"))) }
}

/// Whether a convolution's weights and parameters fit its tensors.
fn check_convolution(layer: &ByteConvolution<'_>, input: Shape, output: Shape, is_kept: bool) -> Result<(), PlanError> {
    let refuse = |reason: String| Err(PlanError::step(convolution::STEP, reason));
    layer.window.check(convolution::STEP)?;
    let groups = layer.groups;
    if groups == 0 || !input.channels.is_multiple_of(groups) || !output.channels.is_multiple_of(groups) {
        return refuse(format!("{} to {} channels in {groups} groups", input.channels, output.channels));
    }
    let [rows, columns] = layer.window.kernel;
    let lengths = [input.channels / groups, rows, columns];
    let expected = lengths.iter().try_fold(output.channels, |product, &length| product.checked_mul(length));
    let (weights, biases, factors) = (layer.weights.len(), layer.bias.len(), layer.factors.len());
    let found = if is_kept { expected } else { Some(weights) };
    if expected.is_none() || expected != found || ![0, output.channels].contains(&biases) || factors != output.channels
    {
        return refuse(format!("it has {weights} weights, {biases} biases and {factors} factors"));
    }
    if layer.weights.iter().any(|weight| !(-255..=255).contains(weight)) {
        return refuse("a weight is beyond -255 to 255".to_owned());
    }
    Ok(())
}

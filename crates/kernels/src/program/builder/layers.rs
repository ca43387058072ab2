//! Layers that have no weights but a few constants: what their steps want of tensors.

use super::{ProgramBuilder, View, Work};
use crate::activation::Activation;
use crate::error::PlanError;
use crate::floats::Floats;
use crate::kernel::pointwise::Combination;
use crate::kernel::pool::PoolKind;
use crate::layout::Shape;
use crate::program::normalisation::Normalisation;
use crate::program::window::Window;

impl ProgramBuilder {
    /// A pooling.
    ///
    /// # Errors
    /// [`PlanError::Step`]: the tensors have different numbers of channels, or the window is beyond the limits.
    pub fn pool(&mut self, input: View, output: View, kind: PoolKind, window: Window) -> Result<(), PlanError> {
        window.check("pooling")?;
        self.same_channels("pooling", input, output)?;
        self.push(Work::Pool(kind, window), vec![input], output)
    }

    /// The mean of every channel, as a vector.
    ///
    /// # Errors
    /// [`PlanError::Step`]: the output is not a vector of the input's channels.
    pub fn average(&mut self, input: View, output: View) -> Result<(), PlanError> {
        self.same_channels("average", input, output)?;
        self.vector("average", output)?;
        self.push(Work::Average, vec![input], output)
    }

    /// The sum or product of two tensors of the output's shape.
    ///
    /// # Errors
    /// [`PlanError::Step`]: the shapes differ.
    pub fn combine(
        &mut self,
        inputs: [View; 2],
        output: View,
        how: Combination,
        activation: Activation,
    ) -> Result<(), PlanError> {
        for input in inputs {
            self.same_shape("combination", input, output)?;
        }
        self.push(Work::Combine(how, activation), inputs.to_vec(), output)
    }

    /// The sum or product of a tensor and a vector that has a number for each of its channels.
    ///
    /// # Errors
    /// [`PlanError::Step`]: the shapes differ, or the second tensor is no vector of as many channels.
    pub fn by_channel(
        &mut self,
        [input, vector]: [View; 2],
        output: View,
        how: Combination,
        activation: Activation,
    ) -> Result<(), PlanError> {
        self.same_shape("combination by channel", input, output)?;
        self.same_channels("combination by channel", vector, output)?;
        self.vector("combination by channel", vector)?;
        self.push(Work::ByChannel(how, activation), vec![input, vector], output)
    }

    /// `factor · x + addend` with constants for each channel, then an activation.
    ///
    /// # Errors
    /// [`PlanError::Step`]: the shapes or the numbers of constants differ.
    pub fn affine(
        &mut self,
        input: View,
        output: View,
        [factors, addends]: [&[f32]; 2],
        activation: Activation,
    ) -> Result<(), PlanError> {
        self.same_shape("affine step", input, output)?;
        if factors.len() != output.channels || addends.len() != output.channels {
            let reason = format!("{} factors and {} addends for {output:?}", factors.len(), addends.len());
            return Err(PlanError::step("affine step", reason));
        }
        self.push(Work::Affine(in_blocks(factors), in_blocks(addends), activation), vec![input], output)
    }

    /// The channels of every pixel less their mean, divided by the root of their variance and `epsilon`; then `scale · x + shift`
    /// with constants for each channel.
    ///
    /// # Errors
    /// [`PlanError::Step`]: the shapes or the numbers of constants differ.
    pub fn normalise(
        &mut self,
        input: View,
        output: View,
        [scale, shift]: [&[f32]; 2],
        epsilon: f32,
    ) -> Result<(), PlanError> {
        self.same_shape("layer normalisation", input, output)?;
        if scale.len() != output.channels || shift.len() != output.channels {
            let reason = format!("{} factors and {} addends for {output:?}", scale.len(), shift.len());
            return Err(PlanError::step("layer normalisation", reason));
        }
        let by = Normalisation { scale: in_blocks(scale), shift: in_blocks(shift), epsilon };
        self.push(Work::Normalise(by), vec![input], output)
    }

    /// Channels of several tensors in any order: channel `i` of the output is channel `order[i].1` of input `order[i].0`.
    ///
    /// # Errors
    /// [`PlanError::Step`]: sides differ, or a channel does not exist.
    pub fn gather(&mut self, inputs: &[View], output: View, order: &[(usize, usize)]) -> Result<(), PlanError> {
        let (from, to): (Vec<Shape>, Shape) =
            (inputs.iter().map(|&view| self.shape(view)).collect(), self.shape(output));
        let same_sides = from.iter().all(|from| (from.height, from.width) == (to.height, to.width));
        let exists = |&(input, channel): &(usize, usize)| from.get(input).is_some_and(|from| channel < from.channels);
        if !same_sides || order.len() != to.channels || !order.iter().all(exists) {
            return Err(PlanError::step("channel order", format!("{} channels of {from:?} to {to:?}", order.len())));
        }
        self.push(Work::Channels(order.to_vec()), inputs.to_vec(), output)
    }

    /// Softmax of a vector.
    ///
    /// # Errors
    /// [`PlanError::Step`]: the tensors are no vectors, or of different lengths.
    pub fn softmax(&mut self, input: View, output: View) -> Result<(), PlanError> {
        self.same_shape("softmax", input, output)?;
        self.vector("softmax", output)?;
        self.push(Work::Softmax, vec![input], output)
    }
}

/// A number for each channel, in whole blocks.
fn in_blocks(numbers: &[f32]) -> Floats {
    let mut blocks = Floats::zeroed(numbers.len());
    blocks.as_mut_slice()[..numbers.len()].copy_from_slice(numbers);
    blocks
}

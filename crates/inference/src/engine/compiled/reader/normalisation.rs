//! Layer normalisation over channels, and functions that are spelled out as several nodes.

use tract_onnx::pb::NodeProto;

use super::spelled::Function;
use super::{Reader, Tensor};
use crate::engine::compiled::attributes::Attributes;
use crate::engine::compiled::declined::Declined;
use crate::engine::compiled::network::Layer;

/// How far a constant of a spelled function may be from the function's own, as a part of it: exporters round them.
const NEAR: f32 = 1e-5;

impl<'a> Reader<'a> {
    /// `LayerNormalization` over the channels.
    pub(super) fn layer_normalisation(&mut self, node: &'a NodeProto) -> Result<Tensor, Declined> {
        let tensor = self.elements(node, 0)?;
        let attributes = Attributes::of(node);
        let axis = attributes.int("axis", -1);
        let epsilon = attributes.float("epsilon", 1e-5);
        attributes.int("stash_type", 1);
        attributes.finish()?;
        let axes = tensor.dims.len();
        let is_last = axis == -1 || usize::try_from(axis).is_ok_and(|axis| axis + 1 == axes);
        let channels = self.network.shapes[tensor.value].channels;
        if !is_last || tensor.channel_axis() + 1 != axes {
            return Err(Declined::node(node, format!("over axis {axis} of {:?} it is not covered", tensor.dims)));
        }
        let scale = self.broadcast(node, 1, channels)?;
        let shift = if Self::has(node, 2) { self.broadcast(node, 2, channels)? } else { vec![0.0; channels] };
        self.normalised(node, &tensor, [scale, shift], epsilon)
    }

    fn normalised(
        &mut self,
        node: &NodeProto,
        tensor: &Tensor,
        [scale, shift]: [Vec<f32>; 2],
        epsilon: f32,
    ) -> Result<Tensor, Declined> {
        let shape = self.network.shapes[tensor.value];
        let is_picture = tensor.dims.len() == 4 || tensor.is_channels_last;
        let has_channels = tensor.dims.get(tensor.channel_axis()) == Some(&shape.channels);
        if !has_channels || (!is_picture && shape.pixels() != 1) {
            return Err(Declined::node(node, format!("it reads {:?}, of {shape:?}", tensor.dims)));
        }
        let value = self.network.add(Layer::Normalise { scale, shift, epsilon }, vec![tensor.value], shape);
        Ok(tensor.like(value))
    }

    /// What the last node of a spelled function gives.
    pub(super) fn function(&mut self, node: &'a NodeProto, function: &Function<'a>) -> Result<Tensor, Declined> {
        match function {
            Function::Normalisation { input, means, exponent, epsilon } => {
                let tensor = self.elements(means[0], 0)?;
                debug_assert_eq!(means[0].input[0], *input);
                for mean in means {
                    self.is_over_channels(mean, &tensor)?;
                }
                if exponent.is_some_and(|name| self.number(name) != Some(2.0)) {
                    return Err(Declined::node(node, "its exponent is not 2"));
                }
                let epsilon = self.number(epsilon).ok_or_else(|| Declined::node(node, "its epsilon is no constant"))?;
                let channels = self.network.shapes[tensor.value].channels;
                self.normalised(node, &tensor, [vec![1.0; channels], vec![0.0; channels]], epsilon)
            }
            Function::Gelu { activation, first, input, reads, constants } => {
                let at = first.input.iter().position(|name| name == input).unwrap_or(0);
                let tensor = self.elements(first, at)?;
                for &(name, expected) in constants {
                    let is_near = |number: f32| (number - expected).abs() <= expected.abs() * NEAR;
                    if !self.number(name).is_some_and(is_near) {
                        return Err(Declined::node(node, format!("{name:.80} is not {expected}")));
                    }
                }
                let is_alone = self.is_read_only(input, *reads);
                Ok(self.activated(&tensor, *activation, is_alone))
            }
        }
    }

    /// A constant of one number.
    fn number(&self, name: &str) -> Option<f32> {
        let constant = self.constant_named(name)?;
        constant.scalar().or_else(|| (constant.len() == 1).then(|| constant.whole(0).map(|whole| whole as f32))?)
    }

    /// Refuses a mean that is not one over the channels.
    fn is_over_channels(&self, node: &NodeProto, tensor: &Tensor) -> Result<(), Declined> {
        let (axes, keeps) = self.axes_of_mean(node, &Attributes::of(node))?;
        let [axis] = axes[..] else { return Err(Declined::node(node, format!("over axes {axes:?}"))) };
        let wanted = tensor.channel_axis() as i64;
        if keeps && (axis == wanted || axis == wanted - tensor.dims.len() as i64) {
            return Ok(());
        }
        Err(Declined::node(node, format!("over axis {axis} of {:?} it is not covered", tensor.dims)))
    }
}

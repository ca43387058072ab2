//! Activations, sums, products and normalisations, fused into the layers before them where nothing else reads those.

use margay_kernels::{Activation, Combination, Shape};
use tract_onnx::pb::NodeProto;

use super::{Reader, Tensor};
use crate::engine::compiled::attributes::Attributes;
use crate::engine::compiled::constant::Constant;
use crate::engine::compiled::declined::Declined;
use crate::engine::compiled::network::Layer;

impl<'a> Reader<'a> {
    pub(super) fn activation(&mut self, node: &'a NodeProto) -> Result<Tensor, Declined> {
        let tensor = self.elements(node, 0)?;
        let attributes = Attributes::of(node);
        let activation = match node.op_type.as_str() {
            "Relu" => Activation::RELU,
            "LeakyRelu" => Activation::LeakyRelu { slope: attributes.float("alpha", 0.01) },
            "HardSigmoid" => {
                Activation::HardSigmoid { alpha: attributes.float("alpha", 0.2), beta: attributes.float("beta", 0.5) }
            }
            "HardSwish" => Activation::HardSwish { alpha: 1.0 / 6.0, beta: 0.5 },
            "Sigmoid" => Activation::Sigmoid,
            "Gelu" => match attributes.text("approximate", "none") {
                "none" => Activation::Gelu,
                "tanh" => Activation::GeluByTanh,
                other => return Err(Declined::node(node, format!("its approximation {other:.80} is not covered"))),
            },
            _ if self.opset < 11 => Activation::Clamp {
                low: attributes.float("min", f32::NEG_INFINITY),
                high: attributes.float("max", f32::INFINITY),
            },
            _ => Activation::Clamp {
                low: self.bound(node, 1, f32::NEG_INFINITY)?,
                high: self.bound(node, 2, f32::INFINITY)?,
            },
        };
        attributes.finish()?;
        let is_alone = self.is_only_reader(node, 0, 1);
        Ok(self.activated(&tensor, activation, is_alone))
    }

    /// A bound of a `Clip`.
    fn bound(&self, node: &NodeProto, input: usize, default: f32) -> Result<f32, Declined> {
        if !Self::has(node, input) {
            return Ok(default);
        }
        let bound = self.constant(node, input).and_then(|bound| bound.scalar());
        bound.ok_or_else(|| Declined::node(node, "its bounds are no constants"))
    }

    /// The activation of a tensor: as a part of what computes it where the tensor `is_alone`, read by nobody else, or as
    /// a layer.
    pub(super) fn activated(&mut self, tensor: &Tensor, activation: Activation, is_alone: bool) -> Tensor {
        if is_alone && self.network.fuse_activation(tensor.value, activation) {
            return tensor.like(tensor.value);
        }
        let shape = self.network.shapes[tensor.value];
        let (factors, addends) = (vec![1.0; shape.channels], vec![0.0; shape.channels]);
        let layer = Layer::Affine { factors, addends, activation };
        let value = self.network.add(layer, vec![tensor.value], shape);
        tensor.like(value)
    }

    /// `Add`, `Mul`, `Sub` and `Div`, of two tensors or of a tensor and constants.
    pub(super) fn arithmetic(&mut self, node: &'a NodeProto) -> Result<Tensor, Declined> {
        Attributes::of(node).finish()?;
        let operator = node.op_type.as_str();
        match (self.constant(node, 0), self.constant(node, 1)) {
            (None, None) => self.combination(node),
            (None, Some(constant)) => {
                let tensor = self.elements(node, 0)?;
                if operator == "Add"
                    && let Some(tokens) = self.added_to_tokens(node, (0, &tensor), &constant)?
                {
                    return Ok(tokens);
                }
                let numbers = self.by_channel(node, &tensor, &constant)?;
                let (ones, zeros) = (vec![1.0; numbers.len()], vec![0.0; numbers.len()]);
                let map = |change: fn(f32) -> f32| numbers.iter().copied().map(change).collect();
                let (factors, addends) = match operator {
                    "Add" => (ones, numbers),
                    "Sub" => (ones, map(|number| -number)),
                    "Mul" => (numbers, zeros),
                    _ => (map(|number| 1.0 / number), zeros),
                };
                Ok(self.scaled(node, 0, &tensor, [factors, addends]))
            }
            (Some(constant), _) => {
                let tensor = self.elements(node, 1)?;
                if operator == "Add"
                    && let Some(tokens) = self.added_to_tokens(node, (1, &tensor), &constant)?
                {
                    return Ok(tokens);
                }
                let numbers = self.by_channel(node, &tensor, &constant)?;
                let (factors, addends) = match operator {
                    "Add" => (vec![1.0; numbers.len()], numbers),
                    "Sub" => (vec![-1.0; numbers.len()], numbers),
                    "Mul" => (numbers.clone(), vec![0.0; numbers.len()]),
                    _ => return Err(Declined::node(node, "a constant divided by a tensor is not covered")),
                };
                Ok(self.scaled(node, 1, &tensor, [factors, addends]))
            }
        }
    }

    /// A constant as one number for each channel of a tensor.
    fn by_channel(&self, node: &NodeProto, tensor: &Tensor, constant: &Constant) -> Result<Vec<f32>, Declined> {
        let shape = self.network.shapes[tensor.value];
        let wrong = || Declined::node(node, format!("a constant of {:?} with {:?}", constant.dims, tensor.dims));
        let values = constant.floats().ok_or_else(wrong)?;
        if constant.dims.len() > tensor.dims.len() {
            return Err(wrong());
        }
        if let [value] = values {
            return Ok(vec![*value; shape.channels]);
        }
        // Shapes are aligned at their ends; along the channels' axis, each has its own place.
        let channels = tensor.channel_axis();
        let axis = (constant.dims.len() + channels).checked_sub(tensor.dims.len()).ok_or_else(wrong)?;
        let is_channels = tensor.dims.get(channels) == Some(&shape.channels)
            && constant.dims.get(axis) == Some(&shape.channels)
            && values.len() == shape.channels;
        if is_channels { Ok(values.to_vec()) } else { Err(wrong()) }
    }

    /// A tensor scaled and shifted by channel, as a part of what computes it or as a layer.
    fn scaled(&mut self, node: &NodeProto, input: usize, tensor: &Tensor, [factors, addends]: [Vec<f32>; 2]) -> Tensor {
        let is_alone = self.is_only_reader(node, input, 1);
        if is_alone && self.network.fuse_affine(tensor.value, &factors, &addends) {
            return tensor.like(tensor.value);
        }
        let shape = self.network.shapes[tensor.value];
        let layer = Layer::Affine { factors, addends, activation: Activation::Identity };
        let value = self.network.add(layer, vec![tensor.value], shape);
        tensor.like(value)
    }

    pub(super) fn normalisation(&mut self, node: &'a NodeProto) -> Result<Tensor, Declined> {
        let tensor = self.tensor(node, 0)?;
        let attributes = Attributes::of(node);
        let epsilon = attributes.float("epsilon", 1e-5);
        let is_trained = attributes.int("training_mode", 0) == 0 && attributes.int("spatial", 1) == 1;
        attributes.float("momentum", 0.9);
        attributes.finish()?;
        let channels = self.network.shapes[tensor.value].channels;
        let parameters = [1, 2, 3, 4].map(|input| self.floats(node, input));
        let [scale, shift, mean, variance] = parameters;
        let (scale, shift, mean, variance) = (scale?, shift?, mean?, variance?);
        let all = [&scale, &shift, &mean, &variance].map(|parameter| parameter.floats().unwrap_or_default());
        let fits = tensor.dims.get(1) == Some(&channels) && all.iter().all(|values| values.len() == channels);
        if !is_trained || !fits {
            return Err(Declined::node(node, "its parameters are not covered"));
        }
        let [scale, shift, mean, variance] = all;
        let factors: Vec<f32> =
            scale.iter().zip(variance).map(|(scale, variance)| scale / (variance + epsilon).sqrt()).collect();
        let addends =
            shift.iter().zip(mean).zip(&factors).map(|((shift, mean), factor)| shift - mean * factor).collect();
        Ok(self.scaled(node, 0, &tensor, [factors, addends]))
    }

    /// The sum or product of two tensors.
    fn combination(&mut self, node: &'a NodeProto) -> Result<Tensor, Declined> {
        let (a, b) = (self.elements(node, 0)?, self.elements(node, 1)?);
        if a.is_channels_last != b.is_channels_last {
            return Err(Declined::node(node, "the channels of its inputs are different axes"));
        }
        let how = match node.op_type.as_str() {
            "Add" => Combination::Sum,
            "Mul" => Combination::Product,
            _ => return Err(Declined::node(node, "of two tensors it is not covered")),
        };
        if how == Combination::Product {
            if let Some(tensor) = self.gated(node, [&a, &b]) {
                return Ok(tensor);
            }
        } else if let Some(tensor) = self.summed(node, [&a, &b]) {
            return Ok(tensor);
        }
        self.combined(node, [a, b], how)
    }

    /// The sum or product of two tensors as a layer.
    pub(super) fn combined(
        &mut self,
        node: &'a NodeProto,
        [a, b]: [Tensor; 2],
        how: Combination,
    ) -> Result<Tensor, Declined> {
        let shapes = [&a, &b].map(|tensor| self.network.shapes[tensor.value]);
        let activation = Activation::Identity;
        if a.dims == b.dims && shapes[0] == shapes[1] {
            let value = self.network.add(Layer::Combine { how, activation }, vec![a.value, b.value], shapes[0]);
            return Ok(a.like(value));
        }
        // A vector of [1, channels, 1, 1] with a picture, on either side.
        let (picture, vector) = if shapes[0].pixels() >= shapes[1].pixels() { (a, b) } else { (b, a) };
        let shape = self.network.shapes[picture.value];
        let expected = Shape::vector(shape.channels);
        let is_gate = self.network.shapes[vector.value] == expected && vector.dims == [1, shape.channels, 1, 1];
        if !is_gate || picture.is_channels_last || picture.dims != [1, shape.channels, shape.height, shape.width] {
            return Err(Declined::node(node, format!("a tensor of {:?} with one of {:?}", picture.dims, vector.dims)));
        }
        let inputs = vec![picture.value, vector.value];
        let value = self.network.add(Layer::ByChannel { how, activation }, inputs, shape);
        Ok(Tensor::plain(value, picture.dims))
    }

    /// `x · σ(x)` as one activation: the gate's layer is the last one, and only this node reads it.
    fn gated(&mut self, node: &'a NodeProto, tensors: [&Tensor; 2]) -> Option<Tensor> {
        for (gate, x) in [(0, 1), (1, 0)] {
            let layer = self.network.nodes.last()?;
            let Layer::Affine { factors, addends, activation } = &layer.layer else { continue };
            let activation = match *activation {
                Activation::Sigmoid => Activation::Swish,
                Activation::HardSigmoid { alpha, beta } => Activation::HardSwish { alpha, beta },
                _ => continue,
            };
            let is_bare = factors.iter().all(|&factor| factor == 1.0) && addends.iter().all(|&addend| addend == 0.0);
            let is_of_x = layer.output == tensors[gate].value && layer.inputs == [tensors[x].value];
            if is_bare && is_of_x && tensors[gate].dims == tensors[x].dims && self.is_only_reader(node, gate, 1) {
                self.network.pop(tensors[gate].value)?;
                // The gate read x once, and this node does.
                let is_alone = self.is_only_reader(node, x, 2);
                return Some(self.activated(tensors[x], activation, is_alone));
            }
        }
        None
    }

    /// A sum as the residual of the convolution that comes last.
    fn summed(&mut self, node: &'a NodeProto, tensors: [&Tensor; 2]) -> Option<Tensor> {
        for (sum, other) in [(0, 1), (1, 0)] {
            let fits = tensors[sum].dims == tensors[other].dims && self.is_only_reader(node, sum, 1);
            if fits && self.network.fuse_residual(tensors[sum].value, tensors[other].value) {
                return Some(tensors[sum].like(tensors[sum].value));
            }
        }
        None
    }
}

//! Conversions between floats and bytes, and operators over bytes: each is read as what it means for floats, with
//! conversions around it.

use std::sync::Arc;

use margay_kernels::{Activation, Combination, PoolKind, Quantised, Shape, Window};
use tract_onnx::pb::NodeProto;

use super::convolution::Filters;
use super::pooling::windows;
use super::{Known, Reader, Tensor};
use crate::engine::compiled::attributes::Attributes;
use crate::engine::compiled::constant::{Constant, Elements};
use crate::engine::compiled::declined::Declined;
use crate::engine::compiled::network::{Layer, ValueId};
use crate::engine::compiled::quantised::layer::{ByteFilters, ByteLayer, Finish, Stored};
use crate::engine::compiled::quantised::weights::StoredConstant;

/// Parts of the product of the scales of input and weights by which a bias's may differ from it, for rounding.
const SCALE_TOLERANCE: f32 = 1e-4;

/// Filters of a convolution or a matrix product, once their geometry is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Geometry {
    pub(super) window: Window,
    pub(super) groups: usize,
    pub(super) output: Shape,
    /// Which of the node's inputs the bias is.
    pub(super) bias: usize,
}

impl<'a> Reader<'a> {
    /// Scale and zero point from the inputs of a node, in the terms of unsigned bytes.
    fn parameters(&self, node: &NodeProto, scale: usize, zero: usize) -> Result<Stored, Declined> {
        let wrong = |reason: &str| Declined::node(node, format!("its input {scale} {reason}"));
        let scale_ = self.constant(node, scale).and_then(|scale| scale.scalar());
        let scale_ = scale_.filter(|scale| scale.is_finite() && *scale > 0.0);
        let scale_ = scale_.ok_or_else(|| wrong("is no positive number, the same for all elements"))?;
        if !Self::has(node, zero) {
            return Ok(Stored { quantised: Quantised { scale: scale_, zero: 0 }, is_signed: false });
        }
        let zero_point = self.constant(node, zero).ok_or_else(|| wrong("has no constant zero point"))?;
        match &zero_point.elements {
            Elements::Bytes { bytes, is_signed } if bytes.len() == 1 => {
                let zero = if *is_signed { bytes[0] ^ 0x80 } else { bytes[0] };
                Ok(Stored { quantised: Quantised { scale: scale_, zero }, is_signed: *is_signed })
            }
            _ => Err(wrong("has a zero point that is no byte")),
        }
    }

    /// Declines attributes that change what a conversion means.
    fn check_conversion(node: &NodeProto) -> Result<i64, Declined> {
        let attributes = Attributes::of(node);
        let axis = attributes.int("axis", 1);
        let is_plain = attributes.int("block_size", 0) == 0
            && attributes.int("output_dtype", 0) == 0
            && attributes.int("precision", 0) == 0;
        attributes.int("saturate", 1);
        attributes.finish()?;
        if is_plain { Ok(axis) } else { Err(Declined::node(node, "its attributes are not covered")) }
    }

    /// A constant that a node dequantises; nothing where it dequantises what the model computes.
    pub(super) fn dequantised_constant(&self, node: &NodeProto) -> Result<Option<StoredConstant>, Declined> {
        let Some(integers) = self.constant(node, 0) else { return Ok(None) };
        let axis = Self::check_conversion(node)?;
        self.stored_constant(node, integers, [1, 2], axis).map(Some)
    }

    /// A constant with the scales and zero points that a node's inputs give.
    fn stored_constant(
        &self,
        node: &NodeProto,
        integers: Arc<Constant>,
        [scale, zero]: [usize; 2],
        axis: i64,
    ) -> Result<StoredConstant, Declined> {
        let wrong = |what: &str| Declined::node(node, format!("its {what} for a constant of {:?}", integers.dims));
        let scales = self.floats(node, scale)?;
        let scales = scales.floats().unwrap_or_default().to_vec();
        if scales.is_empty() || scales.iter().any(|scale| !scale.is_finite() || *scale < 0.0) {
            return Err(wrong("scales"));
        }
        let axes = integers.dims.len() as i64;
        let axis = usize::try_from(if axis < 0 { axis + axes } else { axis }).unwrap_or(usize::MAX);
        if scales.len() != 1 && integers.dims.get(axis) != Some(&scales.len()) {
            return Err(wrong("scales"));
        }
        let mut zeros = vec![0; scales.len()];
        if Self::has(node, zero) {
            let given = self.constant(node, zero).ok_or_else(|| wrong("zero points"))?;
            let is_bytes = matches!(integers.elements, Elements::Bytes { .. });
            for (place, to) in zeros.iter_mut().enumerate() {
                let at = if given.len() == 1 { 0 } else { place };
                *to = given.whole(at).filter(|&zero| is_bytes || zero == 0).ok_or_else(|| wrong("zero points"))?;
            }
        }
        Ok(StoredConstant { integers, scales, zeros, axis })
    }

    /// Floats to bytes.
    pub(super) fn quantise(&mut self, node: &'a NodeProto) -> Result<Tensor, Declined> {
        Self::check_conversion(node)?;
        let tensor = self.any_order(node, 0)?;
        let stored = self.parameters(node, 1, 2)?;
        Ok(self.as_bytes(&tensor, stored))
    }

    /// A tensor of floats as bytes.
    fn as_bytes(&mut self, tensor: &Tensor, stored: Stored) -> Tensor {
        let shape = self.network.shapes[tensor.value];
        let layer = Layer::Bytes(ByteLayer::Quantise(stored.quantised));
        let value = self.network.add(layer, vec![tensor.value], shape);
        self.network.bytes.insert(value, stored);
        Tensor { is_channels_last: tensor.is_channels_last, ..Tensor::plain(value, tensor.dims.clone()) }
    }

    /// An input that the model computes, without padding, with the channels wherever they are.
    fn any_order(&self, node: &NodeProto, input: usize) -> Result<Tensor, Declined> {
        let tensor = self.any_tensor(node, input)?;
        if tensor.padding == [0; 4] {
            Ok(tensor)
        } else {
            Err(Declined::node(node, "padding before it is not covered"))
        }
    }

    /// Bytes to floats.
    pub(super) fn dequantise(&mut self, node: &'a NodeProto) -> Result<Tensor, Declined> {
        Self::check_conversion(node)?;
        self.as_floats(node, 0, [1, 2])
    }

    /// An input of bytes as floats, by the parameters that other inputs give.
    fn as_floats(&mut self, node: &NodeProto, input: usize, [scale, zero]: [usize; 2]) -> Result<Tensor, Declined> {
        let tensor = self.any_order(node, input)?;
        let stored = self.parameters(node, scale, zero)?;
        match self.network.bytes.get(&tensor.value) {
            // What the bytes of the model's input mean is said where they are read.
            None if tensor.value == 0 && self.takes_bytes => {
                self.network.bytes.insert(0, stored);
            }
            Some(known) if *known == stored => {}
            _ => return Err(Declined::node(node, "it reads bytes in another way than they were written")),
        }
        let shape = self.network.shapes[tensor.value];
        let layer = Layer::Bytes(ByteLayer::Dequantise(stored.quantised));
        let value = self.network.add(layer, vec![tensor.value], shape);
        Ok(Tensor { is_channels_last: tensor.is_channels_last, ..Tensor::plain(value, tensor.dims) })
    }

    /// The bytes and their meaning, where an input is bytes turned into floats.
    pub(super) fn dequantised(&self, value: ValueId) -> Option<(ValueId, Quantised)> {
        let node = &self.network.nodes[self.network.producer(value)?];
        match node.layer {
            Layer::Bytes(ByteLayer::Dequantise(from)) => Some((node.inputs[0], from)),
            _ => None,
        }
    }

    /// A constant of bytes with its quantisation, among a node's inputs.
    pub(super) fn stored(&self, node: &NodeProto, input: usize) -> Option<Arc<StoredConstant>> {
        match self.known.get(node.input.get(input)?.as_str())? {
            Known::Weights(weights) if matches!(weights.integers.elements, Elements::Bytes { .. }) => {
                Some(Arc::clone(weights))
            }
            _ => None,
        }
    }

    /// A convolution of a tensor that was bytes with weights that are: `weights` are in the kernels' order, `axis` is
    /// that of the output channels in the file's. Nothing where one of them is not.
    pub(super) fn byte_convolution(
        &mut self,
        node: &NodeProto,
        tensor: &Tensor,
        (stored, weights, axis): (&StoredConstant, Vec<i16>, usize),
        geometry: Geometry,
    ) -> Result<Option<Tensor>, Declined> {
        let Some((bytes, from)) = self.dequantised(tensor.value) else { return Ok(None) };
        let Geometry { window, groups, output, bias } = geometry;
        let Some(scales) = stored.scales_along(axis, output.channels) else { return Ok(None) };
        let (bias, addends) = self.biases(node, bias, from, &scales)?;
        self.spend(node, weights.len())?;
        let filters = ByteFilters {
            from,
            weights: weights.into(),
            scales,
            bias,
            window,
            groups,
            activation: Activation::Identity,
            finish: Finish::Floats(addends),
        };
        let layer = Layer::Bytes(ByteLayer::Convolution(Box::new(filters)));
        let value = self.network.add(layer, vec![bytes], output);
        Ok(Some(Tensor::plain(value, vec![1, output.channels, output.height, output.width])))
    }

    /// The bias of a convolution as integers, or as floats to be added where it is not in the sums' steps.
    fn biases(
        &self,
        node: &NodeProto,
        input: usize,
        from: Quantised,
        scales: &[f32],
    ) -> Result<(Vec<i32>, Vec<f32>), Declined> {
        let outputs = scales.len();
        if !Self::has(node, input) {
            return Ok((Vec::new(), Vec::new()));
        }
        let is_near = |(expected, given): (f32, &f32)| (expected - given).abs() <= SCALE_TOLERANCE * expected;
        let integers = match self.known.get(node.input[input].as_str()) {
            Some(Known::Weights(bias)) if bias.zeros.iter().all(|&zero| zero == 0) => {
                let expected = scales.iter().map(|scale| scale * from.scale);
                expected.zip(bias.scales.iter().cycle()).all(is_near).then(|| Arc::clone(&bias.integers))
            }
            Some(Known::Tensor(_) | Known::Weights(_) | Known::Arranged(_) | Known::Scores(_)) | None => None,
            // Operators over bytes have it in the sums' steps.
            Some(Known::Constant(_) | Known::Stored(_)) => self.constant(node, input),
        };
        let integers = integers.filter(|integers| integers.len() == outputs && integers.as_integers().is_some());
        match integers.and_then(|bias| (0..outputs).map(|place| bias.whole(place)).collect::<Option<Vec<i32>>>()) {
            Some(integers) => Ok((integers, Vec::new())),
            None => Ok((Vec::new(), self.broadcast(node, input, outputs)?)),
        }
    }

    /// Whether a node's first input is bytes.
    pub(super) fn reads_bytes(&self, node: &NodeProto) -> bool {
        let known = node.input.first().and_then(|name| self.known.get(name.as_str()));
        matches!(known, Some(Known::Tensor(tensor)) if self.network.bytes.contains_key(&tensor.value))
    }

    /// The greatest bytes of windows.
    pub(super) fn byte_pooling(&mut self, node: &'a NodeProto) -> Result<Tensor, Declined> {
        let (tensor, shape) = self.picture(node, 0)?;
        let attributes = Attributes::of(node);
        let (layer, output) = windows(node, &attributes, shape)?;
        attributes.finish()?;
        let (Layer::Pool { kind: PoolKind::Maximum, window }, Some(&stored)) =
            (layer, self.network.bytes.get(&tensor.value))
        else {
            return Err(Declined::node(node, "of bytes it is not covered"));
        };
        let value = self.network.add(Layer::Bytes(ByteLayer::Pool(window)), vec![tensor.value], output);
        self.network.bytes.insert(value, stored);
        Ok(Tensor::plain(value, vec![1, output.channels, output.height, output.width]))
    }

    /// An operator over bytes that carries its own conversions.
    pub(super) fn quantised_operator(&mut self, node: &'a NodeProto) -> Result<Tensor, Declined> {
        let (floats, to) = match node.op_type.as_str() {
            "QLinearConv" => (self.byte_conv(node)?, [6, 7]),
            "QLinearMatMul" => {
                Attributes::of(node).finish()?;
                (self.byte_product(node, false)?, [6, 7])
            }
            "QGemm" => {
                let attributes = Attributes::of(node);
                let is_plain = attributes.float("alpha", 1.0) == 1.0 && attributes.int("transA", 0) == 0;
                let is_transposed = attributes.int("transB", 0) != 0;
                attributes.finish()?;
                if !is_plain {
                    return Err(Declined::node(node, "its attributes are not covered"));
                }
                (self.byte_product(node, is_transposed)?, [7, 8])
            }
            "QLinearAdd" | "QLinearMul" => {
                Attributes::of(node).finish()?;
                let tensors = [self.as_floats(node, 0, [1, 2])?, self.as_floats(node, 3, [4, 5])?];
                let how = if node.op_type == "QLinearAdd" { Combination::Sum } else { Combination::Product };
                (self.combined(node, tensors, how)?, [6, 7])
            }
            "QLinearConcat" => {
                let attributes = Attributes::of(node);
                let axis = attributes.int("axis", 1);
                attributes.finish()?;
                let inputs = (2..node.input.len()).step_by(3);
                let tensors = inputs.map(|input| self.as_floats(node, input, [input + 1, input + 2]));
                let tensors = tensors.collect::<Result<Vec<_>, _>>()?;
                (self.concatenated(node, &tensors, axis)?, [0, 1])
            }
            "QLinearGlobalAveragePool" => {
                let attributes = Attributes::of(node);
                let is_plain = attributes.int("channels_last", 0) == 0;
                attributes.finish()?;
                let tensor = self.as_floats(node, 0, [1, 2])?;
                let shape = self.checked_shape(node, &tensor)?;
                if !is_plain {
                    return Err(Declined::node(node, "channels_last is not covered"));
                }
                let value = self.network.add(Layer::Average, vec![tensor.value], Shape::vector(shape.channels));
                (Tensor::plain(value, vec![1, shape.channels, 1, 1]), [3, 4])
            }
            "QLinearSigmoid" => {
                Attributes::of(node).finish()?;
                let tensor = self.as_floats(node, 0, [1, 2])?;
                (self.activated(&tensor, Activation::Sigmoid, false), [3, 4])
            }
            _ => return Err(Declined::node(node, "the operator is not covered")),
        };
        if node.op_type == "QGemm" && !Self::has(node, to[0]) {
            return Ok(floats);
        }
        let stored = self.parameters(node, to[0], to[1])?;
        Ok(self.as_bytes(&floats, stored))
    }

    /// `QLinearConv` but for its output's conversion.
    fn byte_conv(&mut self, node: &'a NodeProto) -> Result<Tensor, Declined> {
        let tensor = self.as_floats(node, 0, [1, 2])?;
        let integers = self.constant(node, 3).ok_or_else(|| Declined::node(node, "its weights are no constant"))?;
        let weights = Arc::new(self.stored_constant(node, integers, [4, 5], 0)?);
        self.convolution_of(node, &tensor, &Filters::Bytes(weights), 8)
    }

    /// `QLinearMatMul` and `QGemm` but for their output's conversion.
    fn byte_product(&mut self, node: &'a NodeProto, is_transposed: bool) -> Result<Tensor, Declined> {
        let tensor = self.as_floats(node, 0, [1, 2])?;
        let integers = self.constant(node, 3).ok_or_else(|| Declined::node(node, "its weights are no constant"))?;
        let weights = Arc::new(self.stored_constant(node, integers, [4, 5], i64::from(!is_transposed))?);
        let bias = if node.op_type == "QGemm" { 6 } else { usize::MAX };
        self.product_of(node, &tensor, (&Filters::Bytes(weights), bias), is_transposed)
    }
}

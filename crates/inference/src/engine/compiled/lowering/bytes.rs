//! Steps over bytes, the picture that becomes bytes at once, and scores that are bytes.

use margay_kernels::{
    Activation, Arrival, ByteConvolution, ByteFinish, ByteInput, MAX_PICTURE_CHANNELS, PlanError, ProgramBuilder,
    Quantised, View,
};

use super::super::network::{Layer, Node, ValueId};
use super::super::quantised::layer::{ByteFilters, ByteLayer, Finish};
use super::{Lowering, readers};

impl Lowering<'_> {
    /// A first step that makes the picture bytes, and the value that is: where the input is bytes, or where its only
    /// reader makes it bytes.
    pub(super) fn picture(&mut self, nodes: &[Node]) -> Result<Option<ValueId>, PlanError> {
        let mut all = readers(nodes, 0);
        let (first, more) = (all.next(), all.next());
        let only = match (first, more) {
            (Some((Node { layer: Layer::Bytes(layer), output, .. }, 0)), None) if self.network.output != 0 => {
                Some((layer, *output))
            }
            _ => None,
        };
        let (value, arrival) = match (self.network.bytes.get(&0), only) {
            (Some(_), Some((ByteLayer::Table(table), output))) => (output, Arrival::Bytes(vec![**table])),
            (Some(_), _) => (0, Arrival::Bytes(vec![std::array::from_fn(|byte| byte as u8)])),
            (None, Some((ByteLayer::Quantise(to), output))) => (output, Arrival::Floats(*to)),
            _ => return Ok(None),
        };
        let shape = self.network.shapes[value];
        let is_dense = |(node, place): (&Node, usize)| {
            place == 0
                && match &node.layer {
                    Layer::Bytes(ByteLayer::Convolution(filters)) => filters.groups == 1,
                    _ => false,
                }
        };
        let is_planar = self.network.output != value
            && (2..=MAX_PICTURE_CHANNELS).contains(&shape.channels)
            && readers(nodes, value).all(is_dense);
        let zero = self.network.bytes.get(&value).map_or(0, |stored| stored.quantised.zero);
        let view = self.builder.picture(ByteInput { shape, order: self.network.order, is_planar, zero, arrival })?;
        self.views.insert(value, view);
        Ok(Some(value))
    }

    /// The scores, as floats: bytes as the numbers that the model means by them.
    pub(super) fn output(&mut self) -> Result<View, PlanError> {
        let value = self.network.output;
        let view = self.view(value)?;
        let Some(stored) = self.network.bytes.get(&value) else { return Ok(view) };
        let floats = self.builder.tensor(self.network.shapes[value])?;
        let floats = self.builder.whole(floats);
        let zero = if stored.is_signed { 128 } else { 0 };
        self.builder.dequantise(view, floats, Quantised { scale: 1.0, zero })?;
        Ok(floats)
    }
}

/// Adds the step of a layer over bytes.
pub(super) fn step(
    builder: &mut ProgramBuilder,
    layer: &ByteLayer,
    inputs: &[View],
    output: View,
) -> Result<(), PlanError> {
    let input = inputs[0];
    let second = inputs.get(1).copied().unwrap_or(input);
    match layer {
        ByteLayer::Quantise(to) => builder.quantise(input, output, to.scale),
        ByteLayer::Dequantise(from) => builder.dequantise(input, output, *from),
        ByteLayer::Convolution(filters) => convolution(builder, filters, [input, second], output),
        ByteLayer::Table(table) => builder.table(input, output, table),
        ByteLayer::Sum { from: [first, other], to, limits } => {
            builder.byte_sum([input, second], output, [first.scale, other.scale, to.scale], *limits)
        }
        ByteLayer::Product { from: [first, other], to, limits } => {
            builder.byte_product([input, second], output, [first.scale, other.scale, to.scale], *limits)
        }
        ByteLayer::Pool(window) => builder.byte_pool(input, output, *window),
        ByteLayer::Mean { from, to } => builder.byte_mean(input, output, [from.scale, to.scale]),
    }
}

fn convolution(
    builder: &mut ProgramBuilder,
    filters: &ByteFilters,
    [input, residual]: [View; 2],
    output: View,
) -> Result<(), PlanError> {
    let (finish, to) = match &filters.finish {
        Finish::Floats(addends) => (ByteFinish::Floats(addends), 1.0),
        Finish::Bytes(to, limits) => (ByteFinish::Bytes(*limits), to.scale),
        Finish::Sum { between, residual: other, to, limits } => {
            let (between, scales, limits) = (*between, [other.scale, to.scale], *limits);
            (ByteFinish::Sum { between, residual, scales, limits }, between.scale)
        }
    };
    // What stayed floats is clamped by a step of its own.
    let shape = builder.shape(output);
    let whole = match filters.activation {
        Activation::Identity => output,
        _ => {
            let whole = builder.tensor(shape)?;
            builder.whole(whole)
        }
    };
    // In this order, as ONNX Runtime has it: each product is rounded.
    let factors: Vec<f32> = filters.scales.iter().map(|scale| filters.from.scale * scale / to).collect();
    builder.byte_convolution(&ByteConvolution {
        input,
        output: whole,
        weights: &filters.weights,
        bias: &filters.bias,
        factors: &factors,
        window: filters.window,
        groups: filters.groups,
        finish,
    })?;
    if whole == output {
        return Ok(());
    }
    let (ones, zeros) = (vec![1.0; shape.channels], vec![0.0; shape.channels]);
    builder.affine(whole, output, [&ones, &zeros], filters.activation)
}

//! From ONNX's graph to a network: node by node, in the order of the file, with every shape known at once.
//!
//! Layers are fused as they are read: an activation, a scale or a sum becomes a part of the layer before it where nothing
//! else reads that layer's output. What only renames or reshapes leaves no node behind. Whatever is not understood in
//! full declines the model.

mod arrangement;
mod attention;
mod convolution;
mod normalisation;
mod pointwise;
mod pooling;
mod quantised;
mod reshaping;
mod resizing;
mod shuffling;
mod slicing;
mod spelled;
mod tokens;

use std::collections::HashMap;
use std::sync::Arc;

use margay_kernels::{InputOrder, Shape};
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

use self::arrangement::Arranged;
use self::attention::Scores;
use self::spelled::Spelled;
use super::arithmetic;
use super::attributes::Attributes;
use super::constant::Constant;
use super::declined::Declined;
use super::network::{Network, ValueId};
use super::quantised::weights::StoredConstant;
use super::quantised::{fusion, is_of_runtime, is_operator};
use crate::engine::onnx::sparse::Weights;
use crate::spec::input::{Element, InputSpec, Layout};

/// Operator sets whose operators mean what they are taken for here.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=21;

/// Most nodes of a graph; classifiers have hundreds.
const MAX_NODES: usize = 4096;

/// Weights of all convolutions together at most, in floats: 512 MiB. Many nodes may name the same ones.
const MAX_WEIGHTS: usize = 1 << 27;

/// A tensor that the model computes.
#[derive(Debug, Clone)]
struct Tensor {
    value: ValueId,
    /// ONNX's shape. Elements are in the order of the value's channels, rows and columns, whatever the shape.
    dims: Vec<usize>,
    /// Whether another name of the same value is read elsewhere.
    is_shared: bool,
    /// Zeros around the picture that a `Pad` asked for and only a convolution can add: top, left, bottom, right.
    padding: [usize; 4],
    /// Whether `dims` have the channels last: those of an input that is not transposed yet, or what stands between two
    /// transpositions. Elements are in the value's order all the same.
    is_channels_last: bool,
}

impl Tensor {
    /// A tensor without peculiarities.
    fn plain(value: ValueId, dims: Vec<usize>) -> Self {
        Self { value, dims, is_shared: false, padding: [0; 4], is_channels_last: false }
    }

    /// Another value of the same shape.
    fn like(&self, value: ValueId) -> Self {
        Self { is_channels_last: self.is_channels_last, ..Self::plain(value, self.dims.clone()) }
    }

    /// The axis of the channels.
    fn channel_axis(&self) -> usize {
        if self.is_channels_last { self.dims.len().saturating_sub(1) } else { 1 }
    }
}

/// What a name stands for.
#[derive(Debug, Clone)]
enum Known {
    Constant(Arc<Constant>),
    /// A constant that stands for floats by a quantisation.
    Weights(Arc<StoredConstant>),
    /// An initial value, by number, whose elements are still in the file.
    Stored(usize),
    Tensor(Tensor),
    /// Some channels and pixels of a value in another order than it has them.
    Arranged(Box<Arranged>),
    /// How well an attention's keys fit its queries.
    Scores(Box<Scores>),
}

/// The order of a picture's numbers.
pub(super) fn order(spec: &InputSpec) -> InputOrder {
    match spec.layout {
        Layout::Nchw => InputOrder::ChannelsFirst,
        Layout::Nhwc => InputOrder::ChannelsLast,
    }
}

/// A graph that is being read.
struct Reader<'a> {
    graph: &'a GraphProto,
    stored: Option<&'a Arc<Weights>>,
    opset: i64,
    known: HashMap<&'a str, Known>,
    /// How often each name is read, by nodes and as an output.
    uses: HashMap<&'a str, usize>,
    network: Network,
    weights: usize,
    /// Whether the model's input is bytes.
    takes_bytes: bool,
}

/// Reads a graph of an operator set for pictures as `spec` describes them.
///
/// # Errors
/// [`Declined`]: the first thing that is not covered.
pub(super) fn read(
    graph: &GraphProto,
    stored: Option<&Arc<Weights>>,
    opset: i64,
    spec: &InputSpec,
) -> Result<Network, Declined> {
    if !OPSETS.contains(&opset) {
        return Err(Declined::model(format!(
            "operator set {opset} is not among {} to {}",
            OPSETS.start(),
            OPSETS.end()
        )));
    }
    if graph.node.len() > MAX_NODES {
        return Err(Declined::model(format!("{} nodes are more than {MAX_NODES}", graph.node.len())));
    }
    let mut reader = Reader::new(graph, stored, opset, spec)?;
    let mut spelled = spelled::find(graph);
    for (number, node) in graph.node.iter().enumerate() {
        match spelled.remove(&number) {
            Some(Spelled::Part) => continue,
            Some(Spelled::Whole(function)) => {
                let (tensor, [output]) = (reader.function(node, &function)?, node.output.as_slice()) else {
                    return Err(Declined::node(node, format!("{} outputs", node.output.len())));
                };
                reader.known.insert(output, Known::Tensor(tensor));
                continue;
            }
            None => {}
        }
        if node.op_type == "Split" && ["", "ai.onnx"].contains(&node.domain.as_str()) {
            if reader.reads_tokens(node) { reader.split_of_tokens(node) } else { reader.split(node) }?;
            continue;
        }
        let known = reader.node(node)?;
        let [output] = node.output.as_slice() else {
            return Err(Declined::node(node, format!("{} outputs", node.output.len())));
        };
        reader.known.insert(output, known);
    }
    reader.finish()
}

impl<'a> Reader<'a> {
    fn new(
        graph: &'a GraphProto,
        stored: Option<&'a Arc<Weights>>,
        opset: i64,
        spec: &InputSpec,
    ) -> Result<Self, Declined> {
        let mut uses = HashMap::new();
        let outputs = graph.output.iter().map(|output| &output.name);
        for name in graph.node.iter().flat_map(|node| &node.input).chain(outputs) {
            *uses.entry(name.as_str()).or_insert(0) += 1;
        }
        let shape = Shape { channels: 3, height: spec.height as usize, width: spec.width as usize };
        let order = order(spec);
        let takes_bytes = spec.element == Element::U8;
        let mut known = HashMap::new();
        let given = |name: &str| graph.initializer.iter().any(|tensor| tensor.name == name);
        let inputs: Vec<_> = graph.input.iter().filter(|input| !given(&input.name)).collect();
        let [input] = inputs.as_slice() else {
            return Err(Declined::model(format!("it has {} inputs", inputs.len())));
        };
        let tensor =
            Tensor { is_channels_last: spec.layout == Layout::Nhwc, ..Tensor::plain(0, spec.shape().to_vec()) };
        known.insert(input.name.as_str(), Known::Tensor(tensor));
        for (number, tensor) in graph.initializer.iter().enumerate() {
            if stored.is_some_and(|stored| stored.has(number)) {
                known.insert(tensor.name.as_str(), Known::Stored(number));
                continue;
            }
            // What cannot be decoded is missed only where it is read.
            if let Ok(constant) = Constant::decode(tensor) {
                known.insert(tensor.name.as_str(), Known::Constant(Arc::new(constant)));
            }
        }
        let network = Network::new(shape, order);
        Ok(Self { graph, stored, opset, known, uses, network, weights: 0, takes_bytes })
    }

    /// What a node's output is.
    fn node(&mut self, node: &'a NodeProto) -> Result<Known, Declined> {
        let is_known = ["", "ai.onnx"].contains(&node.domain.as_str()) || is_of_runtime(node);
        if !is_known {
            return Err(Declined::node(node, format!("the domain {:.80} is not covered", node.domain)));
        }
        if node.op_type == "DequantizeLinear"
            && let Some(weights) = self.dequantised_constant(node)?
        {
            return Ok(Known::Weights(Arc::new(weights)));
        }
        if let Some(known) = self.unchanged(node) {
            return Ok(known);
        }
        if let Some(constant) = self.folded(node)? {
            return Ok(Known::Constant(Arc::new(constant)));
        }
        if let Some(known) = self.of_tokens(node) {
            return known;
        }
        let tensor = match node.op_type.as_str() {
            "Conv" => self.convolution(node),
            "Gemm" | "MatMul" => self.fully_connected(node),
            "Pad" => self.pad(node),
            "MaxPool" if self.reads_bytes(node) => self.byte_pooling(node),
            "MaxPool" | "AveragePool" | "GlobalAveragePool" | "GlobalMaxPool" | "ReduceMean" => self.pooling(node),
            "Relu" | "Clip" | "LeakyRelu" | "HardSigmoid" | "HardSwish" | "Sigmoid" | "Gelu" => self.activation(node),
            "Add" | "Mul" | "Sub" | "Div" => self.arithmetic(node),
            "BatchNormalization" => self.normalisation(node),
            "LayerNormalization" => self.layer_normalisation(node),
            "Identity" | "Dropout" | "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => self.reshaping(node),
            "Transpose" => self.transpose(node),
            "Concat" if self.constant(node, 0).is_some() => self.behind_constants(node),
            "Concat" => self.concatenation(node),
            "Slice" => self.slice(node),
            "Resize" => self.resize(node),
            "Upsample" if self.opset < 10 => self.resize(node),
            "SpaceToDepth" => self.space_to_depth(node),
            "Softmax" => self.softmax(node),
            "QuantizeLinear" => self.quantise(node),
            "DequantizeLinear" => self.dequantise(node),
            _ if is_operator(node) => self.quantised_operator(node),
            _ => Err(Declined::node(node, "the operator is not covered")),
        };
        tensor.map(Known::Tensor)
    }

    /// A known name that a node hands on.
    fn unchanged(&self, node: &NodeProto) -> Option<Known> {
        let known = self.known.get(node.input.first()?.as_str())?;
        let is_constant = matches!(known, Known::Constant(_) | Known::Stored(_));
        let is_unchanged = match node.op_type.as_str() {
            "Identity" => !matches!(known, Known::Tensor(_) | Known::Weights(_)),
            // To a shape that it has.
            "Expand" if is_constant => {
                let (dims, wanted) = (self.constant(node, 0)?.dims.clone(), self.constant(node, 1)?);
                let wanted = wanted.as_integers()?;
                let pairs = dims.iter().rev().zip(wanted.iter().rev());
                wanted.len() <= dims.len() && pairs.into_iter().all(|(&has, &wants)| wants == 1 || wants == has as i64)
            }
            _ => false,
        };
        match known {
            Known::Arranged(_) if is_unchanged => Some(Known::Arranged(Box::new(self.arranged(node, 0)?))),
            known => is_unchanged.then(|| known.clone()),
        }
    }

    /// What a node's output is that reads tokens, or makes some of a picture; `None` where other readings apply.
    fn of_tokens(&mut self, node: &'a NodeProto) -> Option<Result<Known, Declined>> {
        let first = node.input.first().and_then(|name| self.known.get(name.as_str()));
        let second = node.input.get(1).and_then(|name| self.known.get(name.as_str()));
        let is_computed =
            |known: Option<&Known>| matches!(known, Some(Known::Tensor(_) | Known::Arranged(_) | Known::Scores(_)));
        match (node.op_type.as_str(), first, second) {
            ("MatMul", ..) if is_computed(first) && is_computed(second) => Some(self.product(node)),
            ("Softmax", Some(Known::Scores(scores)), _) => Some(self.softmax_of_scores(node, scores)),
            ("Mul" | "Div", Some(Known::Arranged(_) | Known::Scores(_)), _)
            | ("Mul", _, Some(Known::Arranged(_) | Known::Scores(_))) => Some(self.scaled_tokens(node)),
            (_, Some(Known::Scores(_)), _) | (_, _, Some(Known::Scores(_))) => {
                let reason = "with an attention's scores, as for a mask or positions, it is not covered";
                Some(Err(Declined::node(node, reason)))
            }
            ("Gather", Some(Known::Tensor(_) | Known::Arranged(_)), _) => Some(self.gather(node)),
            ("Slice", ..) if self.reads_tokens(node) => Some(self.slice_of_tokens(node)),
            ("ReduceMean", Some(Known::Tensor(tensor)), _) if tensor.is_channels_last => {
                Some(self.mean_of_tokens(node).map(Known::Tensor))
            }
            ("Transpose" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze", ..) => {
                let plain = if node.op_type == "Transpose" { self.transpose(node) } else { self.reshaping(node) };
                Some(match (plain, self.arranged(node, 0)) {
                    (Err(_), Some(_)) => self.rearranged(node),
                    (plain, _) => plain.map(Known::Tensor),
                })
            }
            _ => None,
        }
    }

    /// The value of a node that reads nothing but constants and shapes.
    fn folded(&self, node: &'a NodeProto) -> Result<Option<Constant>, Declined> {
        if node.op_type == "Shape" {
            return self.lengths(node).map(Some);
        }
        // What is stored is larger than all that is computed here.
        let in_memory = |name: &String| match self.known.get(name.as_str())? {
            Known::Constant(constant) => Some(Arc::clone(constant)),
            _ => None,
        };
        let inputs: Option<Vec<_>> = node.input.iter().map(in_memory).collect();
        match inputs {
            Some(inputs) => arithmetic::fold(node, self.opset, &inputs),
            None => Ok(None),
        }
    }

    /// The lengths of what a `Shape` reads, of some of its axes.
    fn lengths(&self, node: &NodeProto) -> Result<Constant, Declined> {
        let attributes = Attributes::of(node);
        let bounds = [attributes.int("start", 0), attributes.int("end", i64::MAX)];
        attributes.finish()?;
        let dims = match (self.arranged(node, 0), self.constant(node, 0)) {
            (Some(arranged), _) => arranged.dims(),
            (None, Some(constant)) => constant.dims.clone(),
            (None, None) => self.tensor(node, 0)?.dims,
        };
        let [start, end] = bounds.map(|bound| slicing::place(bound, dims.len()));
        let lengths = dims.get(start..end).unwrap_or_default().iter().map(|&length| length as i64).collect();
        Ok(Constant::integers(lengths, false))
    }

    fn constant_named(&self, name: &str) -> Option<Arc<Constant>> {
        match self.known.get(name)? {
            Known::Constant(constant) => Some(Arc::clone(constant)),
            Known::Weights(weights) => weights.floats().map(Arc::new),
            // What cannot be read or decoded is missing.
            &Known::Stored(number) => {
                let stub = self.graph.initializer.get(number)?;
                let tensor = TensorProto { raw_data: self.stored?.read(number).ok()?, ..stub.clone() };
                Constant::decode(&tensor).ok().map(Arc::new)
            }
            Known::Tensor(_) | Known::Arranged(_) | Known::Scores(_) => None,
        }
    }

    /// An input that is a constant.
    fn constant(&self, node: &NodeProto, input: usize) -> Option<Arc<Constant>> {
        self.constant_named(node.input.get(input)?)
    }

    /// An input that must be given as floats.
    fn floats(&self, node: &NodeProto, input: usize) -> Result<Arc<Constant>, Declined> {
        let constant = self.constant(node, input).filter(|constant| constant.floats().is_some());
        constant.ok_or_else(|| Declined::node(node, format!("its input {input} is no constant of floats")))
    }

    /// Whether a node has an input at a place.
    fn has(node: &NodeProto, input: usize) -> bool {
        node.input.get(input).is_some_and(|name| !name.is_empty())
    }

    /// An input that the model computes, whatever its order and padding.
    fn any_tensor(&self, node: &NodeProto, input: usize) -> Result<Tensor, Declined> {
        let name = node.input.get(input).map_or("", String::as_str);
        match self.known.get(name) {
            Some(Known::Tensor(tensor)) => {
                let is_shared = tensor.is_shared || self.uses.get(name).is_some_and(|&uses| uses > 1);
                Ok(Tensor { is_shared, ..tensor.clone() })
            }
            Some(Known::Constant(_) | Known::Weights(_) | Known::Stored(_)) => {
                Err(Declined::node(node, format!("its input {input} is a constant")))
            }
            Some(Known::Arranged(arranged)) => {
                let dims = arranged.dims();
                let reason = format!("its input {input} is {dims:?} in an order that only attention reads");
                Err(Declined::node(node, reason))
            }
            Some(Known::Scores(_)) => Err(Declined::node(node, "an attention's scores are not covered by themselves")),
            None => Err(Declined::node(node, format!("nothing that is covered supplies its input {input}"))),
        }
    }

    /// An input that the model computes, whatever its order: for what treats each element by itself, or knows of the order.
    fn elements(&self, node: &NodeProto, input: usize) -> Result<Tensor, Declined> {
        let tensor = self.any_tensor(node, input)?;
        if tensor.padding != [0; 4] {
            return Err(Declined::node(node, "padding is covered only before a convolution"));
        }
        Ok(tensor)
    }

    /// An input that the model computes.
    fn tensor(&self, node: &NodeProto, input: usize) -> Result<Tensor, Declined> {
        let tensor = self.elements(node, input)?;
        // Of one pixel, both orders are the same.
        let is_vector = tensor.value != 0 && self.network.shapes[tensor.value].pixels() == 1;
        if tensor.is_channels_last && !is_vector {
            return Err(Declined::node(node, "it reads a picture with the channels last"));
        }
        Ok(Tensor { is_channels_last: false, ..tensor })
    }

    /// An input of four axes, whose second are the channels.
    fn picture(&self, node: &NodeProto, input: usize) -> Result<(Tensor, Shape), Declined> {
        let tensor = self.tensor(node, input)?;
        let shape = self.checked_shape(node, &tensor)?;
        Ok((tensor, shape))
    }

    /// The shape of a tensor of four axes.
    fn checked_shape(&self, node: &NodeProto, tensor: &Tensor) -> Result<Shape, Declined> {
        let shape = self.network.shapes[tensor.value];
        if tensor.dims == [1, shape.channels, shape.height, shape.width] {
            return Ok(shape);
        }
        Err(Declined::node(node, format!("it reads a tensor of {:?} as a picture", tensor.dims)))
    }

    /// Whether a node's `count` readings of an input are the only ones of its value, so that what computes it may change.
    fn is_only_reader(&self, node: &NodeProto, input: usize, count: usize) -> bool {
        node.input.get(input).is_some_and(|name| self.is_read_only(name, count))
    }

    /// As [`Self::is_only_reader`], of a name.
    fn is_read_only(&self, name: &str, count: usize) -> bool {
        let is_alone = matches!(self.known.get(name), Some(Known::Tensor(tensor)) if !tensor.is_shared);
        is_alone && self.uses.get(name) == Some(&count)
    }

    /// Adds to the weights that were read.
    fn spend(&mut self, node: &NodeProto, floats: usize) -> Result<(), Declined> {
        self.weights = self.weights.saturating_add(floats);
        if self.weights > MAX_WEIGHTS {
            return Err(Declined::node(node, format!("more than {MAX_WEIGHTS} weights")));
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Network, Declined> {
        let [output] = self.graph.output.as_slice() else {
            return Err(Declined::model(format!("it has {} outputs", self.graph.output.len())));
        };
        match self.known.get(output.name.as_str()) {
            Some(Known::Tensor(tensor)) if tensor.padding == [0; 4] && !tensor.is_channels_last => {
                self.network.output = tensor.value;
                fusion::fuse(&mut self.network);
                Ok(self.network)
            }
            _ => Err(Declined::model("its output is not computed from its input")),
        }
    }
}

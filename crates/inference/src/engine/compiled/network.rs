//! A model as the steps that compute it: typed, in order, every shape known. ONNX's names and dialects stay behind.

use std::collections::BTreeMap;

use margay_kernels::{Activation, Combination, InputOrder, PoolKind, Samples, Shape, Window};

use super::quantised::layer::{ByteLayer, Stored};
use super::weights::LayerWeights;

/// A tensor of a network, by number.
pub(super) type ValueId = usize;

/// What a step computes.
#[derive(Debug, Clone)]
pub(super) enum Layer {
    /// Weights are `[outputs][inputs of a group][rows][columns]`; a second input is added before the activation.
    Convolution { weights: LayerWeights, bias: Vec<f32>, window: Window, groups: usize, activation: Activation },
    /// Windows over one input.
    Pool { kind: PoolKind, window: Window },
    /// The mean of every channel.
    Average,
    /// Two tensors of one shape.
    Combine { how: Combination, activation: Activation },
    /// A tensor, and a vector with a number for each channel.
    ByChannel { how: Combination, activation: Activation },
    /// `factor · x + addend` with constants for each channel.
    Affine { factors: Vec<f32>, addends: Vec<f32>, activation: Activation },
    /// The channels of every pixel less their mean, by the root of their variance and `epsilon`; then scaled and shifted by channel.
    Normalise { scale: Vec<f32>, shift: Vec<f32>, epsilon: f32 },
    /// The channels of all inputs, one after the other.
    Concatenate,
    /// Channel `i` is the input's channel `order[i]`.
    Channels { order: Vec<usize> },
    /// Other rows and columns of every channel.
    Resize(Samples),
    /// Over the channels of a vector.
    Softmax,
    /// The pixels as a row of tokens, `[channels, 1, tokens]`, behind `first` others: `addends`, `[tokens][channels]`, are added to
    /// them, and are the ones before.
    Tokens { first: usize, addends: Vec<f32> },
    /// Of tokens in a row, which are queries, keys and values: of each input `heads · channels` channels from `first` on.
    Attention { heads: usize, channels: usize, first: [usize; 3], scale: f32 },
    /// Over bytes, or between bytes and floats.
    Bytes(ByteLayer),
}

impl Layer {
    /// The activation that follows, where the layer can have one.
    fn activation(&mut self) -> Option<&mut Activation> {
        match self {
            Self::Convolution { activation, .. }
            | Self::Combine { activation, .. }
            | Self::ByChannel { activation, .. }
            | Self::Affine { activation, .. } => Some(activation),
            Self::Bytes(layer) => layer.activation(),
            Self::Pool { .. }
            | Self::Average
            | Self::Normalise { .. }
            | Self::Concatenate
            | Self::Channels { .. }
            | Self::Resize(_)
            | Self::Softmax
            | Self::Tokens { .. }
            | Self::Attention { .. } => None,
        }
    }

    /// Whether every number of the output is one of the inputs' numbers, chosen by its place.
    pub(super) fn only_copies(&self) -> bool {
        match self {
            Self::Concatenate | Self::Channels { .. } => true,
            Self::Resize(samples) => samples.are_copies(),
            _ => false,
        }
    }
}

/// A layer with what it reads and writes.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) layer: Layer,
    pub(super) inputs: Vec<ValueId>,
    pub(super) output: ValueId,
}

/// A whole model. Value 0 is the input.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) order: InputOrder,
    pub(super) shapes: Vec<Shape>,
    pub(super) nodes: Vec<Node>,
    pub(super) output: ValueId,
    /// The values that are bytes.
    pub(super) bytes: BTreeMap<ValueId, Stored>,
}

impl Network {
    /// A network that hands its input on.
    pub(super) fn new(input: Shape, order: InputOrder) -> Self {
        Self { order, shapes: vec![input], nodes: Vec::new(), output: 0, bytes: BTreeMap::new() }
    }

    /// Adds a node and returns what it writes.
    pub(super) fn add(&mut self, layer: Layer, inputs: Vec<ValueId>, shape: Shape) -> ValueId {
        self.shapes.push(shape);
        let output = self.shapes.len() - 1;
        self.nodes.push(Node { layer, inputs, output });
        output
    }

    /// Where in the order a value is computed; `None` for the input.
    pub(super) fn producer(&self, value: ValueId) -> Option<usize> {
        self.nodes.iter().rposition(|node| node.output == value)
    }

    /// The layer that computes a value, if nothing follows it yet.
    fn bare(&mut self, value: ValueId) -> Option<&mut Node> {
        let producer = self.producer(value)?;
        let node = &mut self.nodes[producer];
        let is_bare = node.layer.activation().is_some_and(|activation| *activation == Activation::Identity);
        is_bare.then_some(node)
    }

    /// Has an activation follow the layer that computes `value`; says whether that was possible.
    pub(super) fn fuse_activation(&mut self, value: ValueId, wanted: Activation) -> bool {
        let Some(node) = self.bare(value) else { return false };
        let is_clamp = matches!(wanted, Activation::Clamp { .. });
        if matches!(node.layer, Layer::Bytes(_)) && !is_clamp {
            return false;
        }
        match node.layer.activation() {
            Some(activation) => *activation = wanted,
            None => return false,
        }
        true
    }

    /// Multiplies and shifts every channel of what computes `value`; says whether that was possible.
    pub(super) fn fuse_affine(&mut self, value: ValueId, factors: &[f32], addends: &[f32]) -> bool {
        if let Some(place) = self.producer(value)
            && let Layer::Normalise { scale: first, shift, .. } = &mut self.nodes[place].layer
        {
            scale(shift, factors, addends);
            first.iter_mut().zip(factors).for_each(|(first, factor)| *first *= factor);
            return true;
        }
        let Some(Node { layer, inputs, .. }) = self.bare(value) else { return false };
        match layer {
            Layer::Convolution { weights, bias, .. } if inputs.len() == 1 => {
                weights.scale(factors);
                bias.resize(factors.len(), 0.0);
                scale(bias, factors, addends);
                true
            }
            Layer::Affine { factors: first, addends: then, .. } => {
                scale(then, factors, addends);
                first.iter_mut().zip(factors).for_each(|(first, factor)| *first *= factor);
                true
            }
            _ => false,
        }
    }

    /// Adds numbers, `[tokens][channels]`, to the row of tokens that `value` is; says whether that was possible.
    pub(super) fn fuse_addends(&mut self, value: ValueId, numbers: &[f32]) -> bool {
        let Some(place) = self.producer(value) else { return false };
        let Layer::Tokens { addends, .. } = &mut self.nodes[place].layer else { return false };
        if addends.len() != numbers.len() {
            return false;
        }
        addends.iter_mut().zip(numbers).for_each(|(addend, number)| *addend += number);
        true
    }

    /// Adds `other` to what the dense convolution that computes `value` sums up; says whether that was possible.
    pub(super) fn fuse_residual(&mut self, value: ValueId, other: ValueId) -> bool {
        let Some(place) = self.producer(value) else { return false };
        let is_before = self.producer(other).is_none_or(|other| other < place);
        let fits = self.shapes[value] == self.shapes[other];
        let channels = [self.nodes[place].inputs[0], value].map(|value| self.shapes[value].channels);
        let Some(node) = self.bare(value) else { return false };
        let Layer::Convolution { groups, .. } = node.layer else { return false };
        let is_depthwise = channels == [groups; 2];
        if is_depthwise || !fits || !is_before || node.inputs.len() > 1 {
            return false;
        }
        node.inputs.push(other);
        true
    }

    /// Takes back the node that computes `value`, if it is the last one.
    pub(super) fn pop(&mut self, value: ValueId) -> Option<Node> {
        self.nodes.pop_if(|node| node.output == value)
    }
}

fn scale(numbers: &mut [f32], factors: &[f32], addends: &[f32]) {
    for ((number, factor), addend) in numbers.iter_mut().zip(factors).zip(addends) {
        *number = *number * factor + addend;
    }
}

//! From a network to a program: which tensors there are, which of them are parts of others, and the steps in order.

mod bytes;

use std::collections::HashMap;

use margay_kernels::{Convolution, KeptWeights, LANES, Options, PlanError, Program, ProgramBuilder, TensorId, View};

use super::network::{Layer, Network, Node, ValueId};
use crate::spec::input::{Element, InputSpec};

/// Columns from a window to the next with which convolutions read planar pictures fast: every second, and those that take patches
/// side by side.
const PLANAR_STRIDES: [usize; 3] = [2, 16, 32];

/// Makes the program of a network, which may be run on the pixels of pictures that `input` describes. Its weights go as they
/// are packed.
///
/// # Errors
/// [`PlanError`]: shapes, weights or memory beyond the limits.
pub(super) fn lower(network: Network, input: &InputSpec, options: Options) -> Result<Program, PlanError> {
    into(ProgramBuilder::new(options), network, input)
}

/// As [`lower`]; what is packed is remembered for [`Program::take_packed`].
///
/// # Errors
/// As for [`lower`].
pub(super) fn lower_to_keep(network: Network, input: &InputSpec, options: Options) -> Result<Program, PlanError> {
    let mut builder = ProgramBuilder::new(options);
    builder.remember_packed();
    into(builder, network, input)
}

/// As [`lower`], of a network whose weights were packed at an earlier start.
///
/// # Errors
/// [`PlanError`], also where the weights are not those that the network's shapes want.
pub(super) fn lower_kept(
    network: Network,
    input: &InputSpec,
    options: Options,
    weights: KeptWeights,
) -> Result<Program, PlanError> {
    into(ProgramBuilder::with_kept(options, weights), network, input)
}

fn into(builder: ProgramBuilder, mut network: Network, input: &InputSpec) -> Result<Program, PlanError> {
    let needed = needed(&network);
    let mut nodes = std::mem::take(&mut network.nodes);
    nodes.retain(|node| needed[node.output]);
    let network = &network;
    let mut lowering = Lowering {
        network,
        parents: parents(network, &nodes),
        tensors: vec![None; network.shapes.len()],
        views: HashMap::new(),
        builder,
    };
    let first = lowering.input(&nodes)?;
    if input.element == Element::F32 {
        lowering.builder.take_pixels(&input.scalings())?;
    }
    for node in nodes.into_iter().filter(|node| Some(node.output) != first) {
        lowering.step(&node)?;
    }
    let output = lowering.output()?;
    lowering.builder.build(output)
}

/// For each value, whether the output depends on it.
fn needed(network: &Network) -> Vec<bool> {
    let mut needed = vec![false; network.shapes.len()];
    needed[network.output] = true;
    for node in network.nodes.iter().rev().filter(|node| node.output != 0) {
        if needed[node.output] {
            node.inputs.iter().for_each(|&input| needed[input] = true);
        }
    }
    needed
}

/// Values that are written as parts of others: what each is a part of, and its first channel there. A value is one part
/// at most, and begins where a block does.
fn parents(network: &Network, nodes: &[Node]) -> Vec<Option<(ValueId, usize)>> {
    let mut parents = vec![None; network.shapes.len()];
    for node in nodes.iter().filter(|node| matches!(node.layer, Layer::Concatenate)) {
        let Some(places) = places(network, node) else { continue };
        for (&input, place) in node.inputs.iter().zip(places) {
            if input != 0 && parents[input].is_none() {
                parents[input] = Some((node.output, place));
            }
        }
    }
    parents
}

/// The first channel of each input of a concatenation, if all of them begin blocks.
fn places(network: &Network, node: &Node) -> Option<Vec<usize>> {
    let mut first = 0;
    let mut places = Vec::with_capacity(node.inputs.len());
    for &input in &node.inputs {
        places.push(first);
        first += network.shapes[input].channels;
    }
    places.iter().all(|place| place.is_multiple_of(LANES)).then_some(places)
}

struct Lowering<'a> {
    network: &'a Network,
    parents: Vec<Option<(ValueId, usize)>>,
    /// The tensors of values that are no parts of others.
    tensors: Vec<Option<TensorId>>,
    /// The input, or what the first step makes of it.
    views: HashMap<ValueId, View>,
    builder: ProgramBuilder,
}

impl Lowering<'_> {
    /// The first step, and the value that it computes besides the input. The picture stays planar where only convolutions
    /// read it that are fast at that: those of [`PLANAR_STRIDES`], or any over bytes.
    fn input(&mut self, nodes: &[Node]) -> Result<Option<ValueId>, PlanError> {
        if let Some(picture) = self.picture(nodes)? {
            return Ok(Some(picture));
        }
        let is_planar = self.network.output != 0
            && readers(nodes, 0).all(|(node, place)| match &node.layer {
                Layer::Convolution { window, .. } => place == 0 && PLANAR_STRIDES.contains(&window.stride[1]),
                _ => false,
            });
        let shape = self.network.shapes[0];
        // One channel is its own group: as a dense convolution that is the same, but it would be taken for a depthwise one.
        let is_planar = is_planar && shape.channels > 1;
        let input = self.builder.input(shape, self.network.order, is_planar)?;
        self.views.insert(0, input);
        Ok(None)
    }

    /// Where a value is.
    fn view(&mut self, value: ValueId) -> Result<View, PlanError> {
        if let Some(&view) = self.views.get(&value) {
            return Ok(view);
        }
        let (mut root, mut first) = (value, 0);
        while let Some((parent, place)) = self.parents[root] {
            (root, first) = (parent, first + place);
        }
        let tensor = match self.tensors[root] {
            Some(tensor) => tensor,
            None => {
                let shape = self.network.shapes[root];
                let tensor = match self.network.bytes.get(&root) {
                    Some(stored) => self.builder.byte_tensor(shape, stored.quantised.zero)?,
                    None => self.builder.tensor(shape)?,
                };
                *self.tensors[root].insert(tensor)
            }
        };
        self.builder.part(tensor, first, self.network.shapes[value].channels)
    }

    fn step(&mut self, node: &Node) -> Result<(), PlanError> {
        if matches!(node.layer, Layer::Concatenate) {
            return self.concatenate(node);
        }
        let views = node.inputs.iter().map(|&input| self.view(input)).collect::<Result<Vec<_>, _>>()?;
        let (input, second) = (views[0], views.get(1).copied());
        let operand = second.unwrap_or(input);
        let output = self.view(node.output)?;
        match &node.layer {
            Layer::Convolution { weights, bias, window, groups, activation } => {
                let missing = || PlanError::Step {
                    step: "convolution",
                    reason: "the model's file does not give its weights any more".to_owned(),
                };
                self.builder.convolution(&Convolution {
                    input,
                    output,
                    residual: second,
                    weights: &weights.floats().ok_or_else(missing)?,
                    bias,
                    window: *window,
                    groups: *groups,
                    activation: *activation,
                })
            }
            Layer::Pool { kind, window } => self.builder.pool(input, output, *kind, *window),
            Layer::Average => self.builder.average(input, output),
            Layer::Combine { how, activation } => self.builder.combine([input, operand], output, *how, *activation),
            Layer::ByChannel { how, activation } => {
                self.builder.by_channel([input, operand], output, *how, *activation)
            }
            Layer::Affine { factors, addends, activation } => {
                self.builder.affine(input, output, [factors, addends], *activation)
            }
            Layer::Normalise { scale, shift, epsilon } => {
                self.builder.normalise(input, output, [scale, shift], *epsilon)
            }
            Layer::Channels { order } => {
                let order: Vec<_> = order.iter().map(|&channel| (0, channel)).collect();
                self.gather(node.output, &[input], output, &order)
            }
            Layer::Resize(samples) if self.network.bytes.contains_key(&node.output) => {
                self.builder.byte_resize(input, output, samples)
            }
            Layer::Resize(samples) => self.builder.resize(input, output, samples),
            Layer::Bytes(layer) => bytes::step(&mut self.builder, layer, &views, output),
            Layer::Softmax => self.builder.softmax(input, output),
            Layer::Tokens { first, addends } => self.builder.tokens(input, output, *first, addends),
            &Layer::Attention { heads, channels, first, scale } => {
                let part =
                    |(view, first): (&View, usize)| self.builder.part_of(*view, first, heads.saturating_mul(channels));
                let parts = views.iter().zip(first).map(part).collect::<Result<Vec<_>, _>>()?;
                let wrong = || PlanError::Step { step: "attention", reason: format!("{} inputs", views.len()) };
                let parts = parts.try_into().map_err(|_| wrong())?;
                self.builder.attention(parts, output, heads, scale)
            }
            Layer::Concatenate => Ok(()),
        }
    }

    /// Copies what could not be written into its place at once.
    fn concatenate(&mut self, node: &Node) -> Result<(), PlanError> {
        let whole = self.view(node.output)?;
        let Some(places) = places(self.network, node) else {
            let views = node.inputs.iter().map(|&input| self.view(input)).collect::<Result<Vec<_>, _>>()?;
            let shapes = node.inputs.iter().map(|&input| self.network.shapes[input]);
            let order = shapes.enumerate().flat_map(|(input, shape)| (0..shape.channels).map(move |at| (input, at)));
            return self.gather(node.output, &views, whole, &order.collect::<Vec<_>>());
        };
        for (number, (&input, place)) in node.inputs.iter().zip(places).enumerate() {
            let is_first = !node.inputs[..number].contains(&input);
            if is_first && self.parents[input] == Some((node.output, place)) {
                continue;
            }
            let from = self.view(input)?;
            let channels = self.network.shapes[input].channels;
            let part = self.builder.part_of(whole, place, channels)?;
            let order: Vec<_> = (0..channels).map(|channel| (0, channel)).collect();
            self.gather(node.output, &[from], part, &order)?;
        }
        Ok(())
    }

    /// Channels in another order, of floats or of bytes as `value` is.
    fn gather(
        &mut self,
        value: ValueId,
        inputs: &[View],
        output: View,
        order: &[(usize, usize)],
    ) -> Result<(), PlanError> {
        if self.network.bytes.contains_key(&value) {
            return self.builder.byte_gather(inputs, output, order);
        }
        self.builder.gather(inputs, output, order)
    }
}

/// The nodes that read a value, and as which of their inputs.
fn readers(nodes: &[Node], value: ValueId) -> impl Iterator<Item = (&Node, usize)> {
    let inputs = nodes.iter().flat_map(|node| node.inputs.iter().enumerate().map(move |input| (node, input)));
    inputs.filter(move |&(_, (_, &input))| input == value).map(|(node, (place, _))| (node, place))
}

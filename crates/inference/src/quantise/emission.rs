//! The quantised model: the prepared graph with conversions around what becomes bytes, and weights as bytes.
//!
//! Every byte tensor is followed by one `QuantizeLinear` and one `DequantizeLinear`, which all its readers read, so that
//! nothing but the conversion reads the floats. A clamp whose bounds are the least and the greatest byte of what it gives is
//! left out: bytes cannot be beyond it.

use std::collections::HashMap;

use margay_kernels::{Quantised, byte_of};
use tract_onnx::pb::{ModelProto, NodeProto, TensorProto};

use super::graph::{Index, Names, axis_attribute, byte, floats, input, node, signed_bytes, words};
use super::preparing::sweep_constants;
use super::selection::{Role, Selection};
use super::weights::ByteWeights;

/// Writes the quantised form of a prepared model; `quantised` has a quantisation for each tensor that becomes bytes.
pub(super) fn emit(model: &ModelProto, selection: &Selection, quantised: &[Quantised]) -> ModelProto {
    let mut emitted = model.clone();
    let Some(graph) = &model.graph else { return emitted };
    let mut emission = Emission {
        index: Index::of(graph),
        names: Names::of(graph),
        selection,
        quantised,
        nodes: Vec::new(),
        constants: Vec::new(),
        parameters: HashMap::new(),
        readable: HashMap::new(),
        renamed: renamed(&Index::of(graph), selection, quantised),
    };
    graph.input.iter().for_each(|value| emission.convert(&value.name));
    for (at, node) in graph.node.iter().enumerate() {
        emission.enter(at, node);
    }
    let Emission { nodes, constants, .. } = emission;
    if let Some(graph) = &mut emitted.graph {
        graph.node = nodes;
        graph.initializer.extend(constants);
        sweep_constants(graph);
    }
    emitted
}

/// What the tensor before each clamp that is left out is called: as the clamp's output.
fn renamed(index: &Index<'_>, selection: &Selection, quantised: &[Quantised]) -> HashMap<String, String> {
    let mut renamed = HashMap::new();
    for (node, role) in index.graph.node.iter().zip(&selection.roles) {
        let &Role::Clamp { low, high } = role else { continue };
        let (Some(from), Some(to)) = (input(node, 0), node.output.first()) else { continue };
        let Some(place) = selection.place(to) else { continue };
        let is_range = byte_of(low, quantised[place]) == 0 && byte_of(high, quantised[place]) == 255;
        let is_alone = index.producer(from).is_some() && index.readers(from).len() == 1 && !index.is_output(from);
        if is_range && is_alone && selection.place(from).is_none() {
            renamed.insert(from.to_owned(), to.clone());
        }
    }
    renamed
}

struct Emission<'a> {
    index: Index<'a>,
    names: Names,
    selection: &'a Selection,
    quantised: &'a [Quantised],
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    /// The names of scale and zero point of each group.
    parameters: HashMap<usize, [String; 2]>,
    /// What stands for a tensor that was converted.
    readable: HashMap<String, String>,
    /// Tensors by the names of the clamps behind them, which are left out.
    renamed: HashMap<String, String>,
}

impl Emission<'_> {
    fn enter(&mut self, at: usize, before: &NodeProto) {
        let is_left_out = matches!(self.selection.roles[at], Role::Clamp { .. })
            && input(before, 0).is_some_and(|from| self.renamed.contains_key(from));
        if is_left_out {
            return;
        }
        let mut node = before.clone();
        if let Role::Products { axis } = self.selection.roles[at] {
            self.weights(&mut node, axis);
        }
        for name in &mut node.input {
            if let Some(readable) = self.readable.get(name) {
                name.clone_from(readable);
            }
        }
        for name in &mut node.output {
            if let Some(renamed) = self.renamed.get(name) {
                name.clone_from(renamed);
            }
        }
        let outputs = node.output.clone();
        self.nodes.push(node);
        outputs.iter().for_each(|name| self.convert(name));
    }

    /// Converts a tensor that becomes bytes, and back.
    fn convert(&mut self, tensor: &str) {
        let Some(place) = self.selection.place(tensor) else { return };
        let [scale, zero] = self.parameters(place);
        let [bytes, back] = ["quantized", "dequantized"].map(|what| self.names.fresh(&format!("{tensor}_{what}")));
        let [to, from] =
            ["QuantizeLinear", "DequantizeLinear"].map(|what| self.names.fresh(&format!("{tensor}_{what}")));
        let inputs = |first: &str| vec![first.to_owned(), scale.clone(), zero.clone()];
        self.nodes.push(node("QuantizeLinear", inputs(tensor), bytes.clone(), to));
        self.nodes.push(node("DequantizeLinear", inputs(&bytes), back.clone(), from));
        self.readable.insert(tensor.to_owned(), back);
    }

    /// The constants that say how a tensor is quantised.
    fn parameters(&mut self, place: usize) -> [String; 2] {
        let group = self.selection.tensors[place].group;
        if let Some(names) = self.parameters.get(&group) {
            return names.clone();
        }
        let root = &self.selection.tensors[group].name;
        let names = ["scale", "zero_point"].map(|what| self.names.fresh(&format!("{root}_{what}")));
        let Quantised { scale, zero } = self.quantised[place];
        self.constants.push(floats(&names[0], &[], &[scale]));
        self.constants.push(byte(&names[1], zero));
        self.parameters.insert(group, names.clone());
        names
    }

    /// How the input of a layer is quantised, through what stands between its conversion and the layer.
    fn input_of(&self, node: &NodeProto) -> Option<Quantised> {
        let mut name = input(node, 0)?;
        loop {
            if let Some(place) = self.selection.place(name) {
                return Some(self.quantised[place]);
            }
            let before = self.index.producer(name)?;
            if self.selection.roles[before] != Role::Pads {
                return None;
            }
            name = input(&self.index.graph.node[before], 0)?;
        }
    }

    /// Has a layer read its weights as bytes, and its bias in the sums' steps.
    fn weights(&mut self, layer: &mut NodeProto, axis: usize) {
        let Some(from) = self.input_of(layer) else { return };
        let constant = |name: Option<&str>| name.and_then(|name| self.index.constant(name));
        let (Some(weights), bias) = (constant(input(layer, 1)), constant(input(layer, 2))) else { return };
        let Some(values) = weights.floats() else { return };
        let bias = bias.as_ref().and_then(|bias| bias.floats());
        let bytes = ByteWeights::of(values, &weights.dims, axis, bias.unwrap_or_default(), from.scale);
        let stem = layer.output.first().cloned().unwrap_or_default();
        let outputs = bytes.scales.len();
        let names =
            ["weight_quantized", "weight_scale", "weight_zero_point", "weight_dequantized", "weight_DequantizeLinear"]
                .map(|what| self.names.fresh(&format!("{stem}_{what}")));
        let [integers, scale, zero, back, name] = names;
        self.constants.push(signed_bytes(&integers, &weights.dims, &bytes.weights));
        self.constants.push(floats(&scale, &[outputs], &bytes.scales));
        self.constants.push(signed_bytes(&zero, &[outputs], &vec![0; outputs]));
        let mut conversion = node("DequantizeLinear", vec![integers, scale, zero], back.clone(), name);
        conversion.attribute.push(axis_attribute(axis as i64));
        self.nodes.push(conversion);
        layer.input[1] = back;
        if bias.is_none() {
            return;
        }
        let names = ["bias_quantized", "bias_scale", "bias_dequantized", "bias_DequantizeLinear"]
            .map(|what| self.names.fresh(&format!("{stem}_{what}")));
        let [integers, scale, back, name] = names;
        self.constants.push(words(&integers, &bytes.bias));
        self.constants.push(floats(&scale, &[outputs], &bytes.bias_scales));
        let mut conversion = node("DequantizeLinear", vec![integers, scale], back.clone(), name);
        conversion.attribute.push(axis_attribute(0));
        self.nodes.push(conversion);
        layer.input[2] = back;
    }
}

//! The float model as it is quantised: of an operator set that can say so, normalisations folded into the convolutions
//! before them, nothing left that computes nothing. It gives the float model's scores but for rounding.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};

use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto};

use super::error::QuantiseError;
use super::graph::{Index, Names, float, floats, input, int, ints, ints_attribute, label};
use super::opset::{TARGET, has_graphs, upgrade};
use super::{MAX_NODES, OPSETS};
use crate::engine::compiled::constant::Constant;
use crate::engine::onnx::OnnxFile;

/// The first version of the file format that knows operator set 13.
const IR_VERSION: i64 = 7;

/// Beginnings of operators that only quantised models have.
const QUANTISED: [&str; 7] =
    ["QuantizeLinear", "DequantizeLinear", "QLinear", "QGemm", "DynamicQuantize", "ConvInteger", "MatMulInteger"];

/// The model of a file, ready to be quantised.
///
/// # Errors
/// [`QuantiseError`]: it is quantised already, or has something that cannot be followed.
pub(super) fn prepare(file: &OnnxFile) -> Result<ModelProto, QuantiseError> {
    let mut model = file.proto.clone();
    let opset = file.opset();
    if !OPSETS.contains(&opset) {
        return Err(QuantiseError::Opset { opset });
    }
    let Some(graph) = &mut model.graph else { return Err(structure("the file holds no graph")) };
    check(graph, model.functions.is_empty())?;
    if opset < TARGET {
        upgrade(graph, opset)?;
        model.opset_import.retain(|set| !["", "ai.onnx"].contains(&set.domain.as_str()));
        let domain = String::new();
        model.opset_import.push(tract_onnx::pb::OperatorSetIdProto { domain, version: TARGET });
    }
    model.ir_version = model.ir_version.max(IR_VERSION);
    // What is known of inner tensors would be said of other ones.
    graph.value_info.clear();
    graph.quantization_annotation.clear();
    let given: BTreeSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let is_given: Vec<bool> = graph.input.iter().map(|value| given.contains(value.name.as_str())).collect();
    let mut is_given = is_given.into_iter();
    graph.input.retain(|_| !is_given.next().unwrap_or(false));
    fold(graph);
    sweep(graph);
    Ok(model)
}

fn structure(reason: impl Into<String>) -> QuantiseError {
    QuantiseError::Structure { reason: reason.into() }
}

fn check(graph: &GraphProto, has_no_functions: bool) -> Result<(), QuantiseError> {
    if graph.node.len() > MAX_NODES {
        return Err(structure(format!("{} nodes are more than {MAX_NODES}", graph.node.len())));
    }
    if !has_no_functions || !graph.sparse_initializer.is_empty() {
        return Err(structure(
            "functions of its own and sparse constants are not followed: export it again without them",
        ));
    }
    let mut known: BTreeSet<&str> = graph.input.iter().map(|value| value.name.as_str()).collect();
    known.extend(graph.initializer.iter().map(|tensor| tensor.name.as_str()));
    for node in &graph.node {
        if QUANTISED.iter().any(|name| node.op_type.starts_with(name)) {
            let (operator, node) = (node.op_type.clone(), label(node).to_owned());
            return Err(QuantiseError::Already { operator, node });
        }
        if has_graphs(node) {
            return Err(structure(format!("its node {:?} ({}) has graphs within", label(node), node.op_type)));
        }
        if let Some(name) = node.input.iter().find(|name| !name.is_empty() && !known.contains(name.as_str())) {
            return Err(structure(format!("nothing before its node {:?} supplies {name:?}", label(node))));
        }
        if let Some(name) = node.output.iter().find(|name| !name.is_empty() && known.contains(name.as_str())) {
            return Err(structure(format!("{name:?} is computed twice")));
        }
        known.extend(node.output.iter().filter(|name| !name.is_empty()).map(String::as_str));
    }
    match graph.output.iter().find(|value| !known.contains(value.name.as_str())) {
        None => Ok(()),
        Some(value) => Err(structure(format!("nothing supplies its output {:?}", value.name))),
    }
}

/// Goes through the nodes once, in order, and has as few as possible of them left.
fn fold(graph: &mut GraphProto) {
    let nodes = std::mem::take(&mut graph.node);
    let mut uses: HashMap<String, usize> = HashMap::new();
    let outputs = graph.output.iter().map(|value| &value.name);
    for name in nodes.iter().flat_map(|node| &node.input).chain(outputs).filter(|name| !name.is_empty()) {
        *uses.entry(name.clone()).or_default() += 1;
    }
    let outputs: BTreeSet<String> = graph.output.iter().map(|value| value.name.clone()).collect();
    let names = Names::of(&GraphProto { node: nodes.clone(), ..graph.clone() });
    let mut folding = Folding { graph, uses, outputs, names, aliases: HashMap::new(), producers: HashMap::new() };
    for node in nodes {
        folding.enter(node);
    }
    folding.graph.node.retain(|node| !node.op_type.is_empty());
}

struct Folding<'a> {
    graph: &'a mut GraphProto,
    /// How often each tensor is read, by nodes and as an output.
    uses: HashMap<String, usize>,
    outputs: BTreeSet<String>,
    names: Names,
    /// What each dropped tensor is called.
    aliases: HashMap<String, String>,
    producers: HashMap<String, usize>,
}

impl Folding<'_> {
    fn enter(&mut self, mut node: NodeProto) {
        for name in &mut node.input {
            if let Some(alias) = self.aliases.get(name) {
                name.clone_from(alias);
            }
        }
        if self.is_dropped(&node) || self.becomes_constant(&node) || self.joins_convolution(&node) {
            return;
        }
        self.take_padding(&mut node);
        self.take_factors(&mut node);
        let at = self.graph.node.len();
        self.producers.extend(node.output.iter().map(|name| (name.clone(), at)));
        self.graph.node.push(node);
    }

    fn constant(&self, name: &str) -> Option<Constant> {
        let tensor = self.graph.initializer.iter().find(|tensor| tensor.name == name)?;
        Constant::decode(tensor).ok()
    }

    /// An identity: its readers read what it reads.
    fn is_dropped(&mut self, node: &NodeProto) -> bool {
        let is_identity = node.op_type == "Identity" || (node.op_type == "Dropout" && node.input.len() < 3);
        let used = node.output.iter().skip(1).any(|name| self.uses.contains_key(name));
        let (Some(from), Some(to)) = (input(node, 0), node.output.first()) else { return false };
        if !is_identity || used || self.outputs.contains(to) {
            return false;
        }
        let more = self.uses.get(to).copied().unwrap_or(0);
        let uses = self.uses.entry(from.to_owned()).or_default();
        *uses = (*uses + more).saturating_sub(1);
        self.aliases.insert(to.clone(), from.to_owned());
        true
    }

    /// A `Constant` becomes one of the file's constants.
    fn becomes_constant(&mut self, node: &NodeProto) -> bool {
        let [output] = node.output.as_slice() else { return false };
        if node.op_type != "Constant" || self.outputs.contains(output) {
            return false;
        }
        let [attribute] = node.attribute.as_slice() else { return false };
        let tensor = match (attribute.name.as_str(), &attribute.t) {
            ("value", Some(tensor)) => tract_onnx::pb::TensorProto { name: output.clone(), ..tensor.clone() },
            ("value_float", _) => floats(output, &[], &[attribute.f]),
            ("value_floats", _) => floats(output, &[attribute.floats.len()], &attribute.floats),
            ("value_ints", _) => super::graph::longs(output, &attribute.ints),
            _ => return false,
        };
        self.graph.initializer.push(tensor);
        true
    }

    /// Scales and shifts by channel become a part of the convolution before them, where nobody else reads that.
    fn joins_convolution(&mut self, node: &NodeProto) -> bool {
        let Some((from, [factors, addends])) = self.affine(node) else { return false };
        let Some(at) = self.producers.get(&from).copied().filter(|_| self.uses.get(&from) == Some(&1)) else {
            return false;
        };
        let convolution = self.graph.node[at].clone();
        let used = node.output.iter().skip(1).any(|name| self.uses.contains_key(name));
        if convolution.op_type != "Conv" || used || node.output.is_empty() {
            return false;
        }
        let Some(weights) = input(&convolution, 1).and_then(|name| self.constant(name)) else { return false };
        let bias = match input(&convolution, 2) {
            None => Some(Vec::new()),
            Some(name) => self.constant(name).and_then(|bias| bias.floats().map(<[f32]>::to_vec)),
        };
        let (Some(values), Some(mut bias), Some(&outputs)) = (weights.floats(), bias, weights.dims.first()) else {
            return false;
        };
        let by_channel = |numbers: Vec<f32>| if numbers.len() == 1 { vec![numbers[0]; outputs] } else { numbers };
        let (factors, addends) = (by_channel(factors), by_channel(addends));
        let filter = values.len() / outputs.max(1);
        if factors.len() != outputs || addends.len() != outputs || filter == 0 || ![0, outputs].contains(&bias.len()) {
            return false;
        }
        let scaled: Vec<f32> =
            values.iter().enumerate().map(|(place, value)| value * factors[place / filter]).collect();
        bias.resize(outputs, 0.0);
        for (channel, bias) in bias.iter_mut().enumerate() {
            *bias = *bias * factors[channel] + addends[channel];
        }
        let name = self.names.fresh(&format!("{}_folded", convolution.input[1]));
        self.graph.initializer.push(floats(&name, &weights.dims, &scaled));
        let bias_name = self.names.fresh(&format!("{name}_bias"));
        self.graph.initializer.push(floats(&bias_name, &[outputs], &bias));
        let convolution = &mut self.graph.node[at];
        convolution.input = vec![convolution.input[0].clone(), name, bias_name];
        convolution.output = vec![node.output[0].clone()];
        self.producers.insert(node.output[0].clone(), at);
        true
    }

    /// The tensor that a node scales and shifts by channel, and by what; one number stands for all channels.
    fn affine(&self, node: &NodeProto) -> Option<(String, [Vec<f32>; 2])> {
        if node.op_type == "BatchNormalization" {
            if int(node, "training_mode", 0) != 0 {
                return None;
            }
            let parameters: Option<Vec<Vec<f32>>> =
                (1..5).map(|place| Some(self.constant(input(node, place)?)?.floats()?.to_vec())).collect();
            let [scale, shift, mean, variance] = <[Vec<f32>; 4]>::try_from(parameters?).ok()?;
            let epsilon = float(node, "epsilon", 1e-5);
            let factors: Vec<f32> =
                scale.iter().zip(&variance).map(|(scale, variance)| scale / (variance + epsilon).sqrt()).collect();
            let addends =
                shift.iter().zip(&mean).zip(&factors).map(|((shift, mean), factor)| shift - mean * factor).collect();
            return Some((input(node, 0)?.to_owned(), [factors, addends]));
        }
        if !["Add", "Sub", "Mul", "Div"].contains(&node.op_type.as_str()) {
            return None;
        }
        let [a, b] = node.input.as_slice() else { return None };
        let (tensor, constant, is_second) = match (self.constant(a), self.constant(b)) {
            (None, Some(constant)) => (a, constant, true),
            (Some(constant), None) => (b, constant, false),
            _ => return None,
        };
        let values = along_axis(&constant, 2)?;
        let (ones, zeros) = (vec![1.0; values.len()], vec![0.0; values.len()]);
        let map = |change: fn(f32) -> f32| values.iter().copied().map(change).collect();
        let parts = match (node.op_type.as_str(), is_second) {
            ("Add", _) => [ones, values],
            ("Sub", true) => [ones, map(|value| -value)],
            ("Mul", _) => [values, zeros],
            ("Div", true) => [map(|value| 1.0 / value), zeros],
            _ => return None,
        };
        Some((tensor.clone(), parts))
    }

    /// Zeros around a picture become the padding of the convolution that reads it.
    fn take_padding(&mut self, node: &mut NodeProto) {
        let given = super::graph::attribute(node, "auto_pad").map(|attribute| attribute.s.clone()).unwrap_or_default();
        let is_explicit = ["", "NOTSET", "VALID"].iter().any(|mode| mode.as_bytes() == given);
        let Some(from) = input(node, 0).filter(|_| node.op_type == "Conv" && is_explicit) else { return };
        let Some(at) = self.producers.get(from).copied().filter(|_| self.uses.get(from) == Some(&1)) else { return };
        let Some((of, pads)) = self.zeros_around(&self.graph.node[at]) else { return };
        let own = ints(node, "pads").map_or(vec![0; 4], <[i64]>::to_vec);
        if own.len() != 4 || own.iter().chain(&pads).any(|&pad| !(0..=1 << 16).contains(&pad)) {
            return;
        }
        let pads = own.iter().zip(pads).map(|(own, pad)| own + pad).collect();
        node.attribute.retain(|attribute| !["pads", "auto_pad"].contains(&attribute.name.as_str()));
        node.attribute.push(ints_attribute("pads", pads));
        node.input[0] = of;
        // Dropped at the end: places of nodes are known by number until then.
        self.graph.node[at] = NodeProto::default();
    }

    /// What a `Pad` puts zeros around, and how many: top, left, bottom, right.
    fn zeros_around(&self, node: &NodeProto) -> Option<(String, [i64; 4])> {
        let mode = super::graph::attribute(node, "mode").map_or(&b"constant"[..], |attribute| &attribute.s);
        let is_zero =
            input(node, 2).is_none_or(|name| self.constant(name).and_then(|value| value.scalar()) == Some(0.0));
        if node.op_type != "Pad" || mode != b"constant" || !is_zero || input(node, 3).is_some() {
            return None;
        }
        match *self.constant(input(node, 1)?)?.as_integers()? {
            [0, 0, top, left, 0, 0, bottom, right] => Some((input(node, 0)?.to_owned(), [top, left, bottom, right])),
            _ => None,
        }
    }

    /// Factors of a `Gemm` become a part of its constants, and its bias a vector of its outputs.
    fn take_factors(&mut self, node: &mut NodeProto) {
        if node.op_type != "Gemm" || int(node, "transA", 0) != 0 {
            return;
        }
        let [alpha, beta] = ["alpha", "beta"].map(|name| float(node, name, 1.0));
        let Some(weights) = input(node, 1).and_then(|name| self.constant(name)) else { return };
        let Some(&outputs) = weights.dims.get(usize::from(int(node, "transB", 0) == 0)) else { return };
        let bias = input(node, 2).map(|name| self.constant(name));
        let bias = bias.map(|bias| bias.and_then(|bias| along_axis(&bias, 0)));
        let (Some(values), None | Some(Some(_))) = (weights.floats(), &bias) else { return };
        if alpha != 1.0 {
            let name = self.names.fresh(&format!("{}_scaled", node.input[1]));
            let values: Vec<f32> = values.iter().map(|value| value * alpha).collect();
            self.graph.initializer.push(floats(&name, &weights.dims, &values));
            node.input[1] = name;
        }
        if let Some(Some(bias)) = bias {
            if bias.len() != 1 && bias.len() != outputs {
                return;
            }
            let name = self.names.fresh(&format!("{}_vector", node.input[2]));
            let values: Vec<f32> = (0..outputs).map(|place| bias[place % bias.len()] * beta).collect();
            self.graph.initializer.push(floats(&name, &[outputs], &values));
            node.input[2] = name;
        }
        node.attribute.retain(|attribute: &AttributeProto| !["alpha", "beta"].contains(&attribute.name.as_str()));
    }
}

/// The values of a constant with no axis longer than 1 but the one that has `behind` axes behind it.
fn along_axis(constant: &Constant, behind: usize) -> Option<Vec<f32>> {
    let values = constant.floats()?;
    let axis = constant.dims.len().checked_sub(behind + 1);
    let mut long = (0..constant.dims.len()).filter(|&axis| constant.dims[axis] != 1);
    let is_plain = long.all(|long| Some(long) == axis);
    is_plain.then(|| values.to_vec())
}

/// Drops what the outputs do not depend on.
fn sweep(graph: &mut GraphProto) {
    let mut needed: BTreeSet<String> = graph.output.iter().map(|value| value.name.clone()).collect();
    let mut keep: Vec<bool> = graph
        .node
        .iter()
        .rev()
        .map(|node| {
            let is_needed = node.output.iter().any(|name| needed.contains(name));
            if is_needed {
                needed.extend(node.input.iter().cloned());
            }
            is_needed
        })
        .collect();
    graph.node.retain(|_| keep.pop().unwrap_or(true));
    graph.initializer.retain(|tensor| needed.contains(&tensor.name));
}

/// Drops the constants that nobody reads any more.
pub(super) fn sweep_constants(graph: &mut GraphProto) {
    let unread: BTreeSet<String> = {
        let index = Index::of(graph);
        let names = graph.initializer.iter().map(|tensor| tensor.name.as_str());
        names.filter(|name| index.readers(name).is_empty() && !index.is_output(name)).map(str::to_owned).collect()
    };
    graph.initializer.retain(|tensor| !unread.contains(&tensor.name));
}

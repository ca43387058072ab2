//! What of a float model becomes bytes: which tensors, which of them share a quantisation, and what stays floats, and why.
//!
//! Convolutions and products with constants want bytes to read. From there it goes backwards: an operator that can take
//! and give bytes gives them if somebody wants them, and then wants them itself. Between a layer and the clamp behind it
//! stand no conversions, because the range of the clamp's bytes is the clamp; nor between `x` and `x · σ(x)`, which is one
//! function of a byte.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tract_onnx::pb::{GraphProto, NodeProto};

use super::error::QuantiseError;
use super::graph::{Index, attribute, input, int, label};
use crate::engine::compiled::constant::Constant;

/// Operators between shapes, not between pictures: nobody wants to know that they stay what they are.
const OF_SHAPES: [&str; 6] = ["Shape", "Gather", "Cast", "ConstantOfShape", "Constant", "Range"];

/// What an operator means to quantisation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Role {
    /// Sums of products with constants, whose output channels are an axis of the weights.
    Products { axis: usize },
    /// Holds its input between two bounds.
    Clamp { low: f32, high: f32 },
    /// Reads bytes and gives others, with a range of its own.
    Own,
    /// Gives some of the numbers that it reads, computed among them.
    Same,
    /// Gives the numbers that it reads, in another shape or order.
    Renames,
    /// Zeros around a picture that only a convolution can add.
    Pads,
    /// Gives all the numbers that it reads.
    Joins,
    /// Stays floats.
    Float,
}

/// A layer that stays floats.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloatLayer {
    /// Name of the node.
    pub node: String,
    /// Its operator.
    pub operator: String,
    /// Why.
    pub reason: String,
}

/// A tensor that becomes bytes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ByteTensor {
    pub(super) name: String,
    /// The number of the tensor whose quantisation it has: its own, or that of one before it.
    pub(super) group: usize,
}

/// What becomes of a graph.
#[derive(Debug, Clone)]
pub(super) struct Selection {
    pub(super) roles: Vec<Role>,
    /// In the order in which they are computed.
    pub(super) tensors: Vec<ByteTensor>,
    /// The places in `tensors` of a concatenation's inputs and, last, of its output.
    pub(super) joints: Vec<Vec<usize>>,
    pub(super) floats: Vec<FloatLayer>,
}

impl Selection {
    /// Selects what becomes bytes; nodes of `keep`, by their names or those of their outputs, do not.
    ///
    /// # Errors
    /// [`QuantiseError::UnknownNode`], [`QuantiseError::Nothing`].
    pub(super) fn of(graph: &GraphProto, keep: &[String]) -> Result<Self, QuantiseError> {
        let index = Index::of(graph);
        check_names(graph, keep)?;
        let mut floats = Vec::new();
        let mut roles = Vec::with_capacity(graph.node.len());
        for node in &graph.node {
            let role = match is_kept(node, keep) {
                true => Err("it was asked for".to_owned()),
                false => role(node, &index),
            };
            if let Err(reason) = &role
                && !OF_SHAPES.contains(&node.op_type.as_str())
            {
                let (node, operator) = (label(node).to_owned(), node.op_type.clone());
                floats.push(FloatLayer { node, operator, reason: reason.clone() });
            }
            roles.push(role.unwrap_or(Role::Float));
        }
        let wanted = wanted(&index, &roles);
        let candidates = graph.input.iter().map(|value| value.name.as_str());
        let computed = graph.node.iter().flat_map(|node| node.output.iter().map(String::as_str));
        let names = candidates.chain(computed).filter(|name| wanted.contains(name) && !stays(&index, &roles, name));
        let names: Vec<String> = names.map(str::to_owned).collect();
        if names.is_empty() {
            return Err(QuantiseError::Nothing);
        }
        let tensors = names.into_iter().enumerate().map(|(group, name)| ByteTensor { name, group }).collect();
        let mut selection = Self { roles, tensors, joints: Vec::new(), floats };
        selection.share(&index);
        Ok(selection)
    }

    /// Where a tensor that becomes bytes is.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.tensors.iter().position(|tensor| tensor.name == name)
    }

    /// Has tensors that hold the same numbers share a quantisation, and finds those that could.
    fn share(&mut self, index: &Index<'_>) {
        let places: BTreeMap<String, usize> =
            self.tensors.iter().enumerate().map(|(at, tensor)| (tensor.name.clone(), at)).collect();
        for (node, &role) in index.graph.node.iter().zip(&self.roles) {
            match role {
                Role::Same | Role::Renames => {
                    // Through those that are no bytes themselves.
                    let mut from = input(node, 0);
                    while let Some(name) = from.filter(|name| !places.contains_key(*name)) {
                        let before = index.producer(name).filter(|&at| self.roles[at] == Role::Renames);
                        from = before.and_then(|at| input(&index.graph.node[at], 0));
                    }
                    let Some(&from) = from.and_then(|name| places.get(name)) else { continue };
                    let group = self.tensors[from].group;
                    for output in node.output.iter().filter_map(|name| places.get(name)) {
                        self.tensors[*output].group = group;
                    }
                }
                Role::Joins => {
                    let names = node.input.iter().chain(&node.output);
                    let joint: Option<Vec<usize>> = names.map(|name| places.get(name).copied()).collect();
                    self.joints.extend(joint);
                }
                _ => {}
            }
        }
    }
}

fn is_kept(node: &NodeProto, keep: &[String]) -> bool {
    keep.iter().any(|name| *name == node.name || node.output.contains(name))
}

fn check_names(graph: &GraphProto, keep: &[String]) -> Result<(), QuantiseError> {
    let unknown = |name: &&String| !graph.node.iter().any(|node| is_kept(node, std::slice::from_ref(*name)));
    let Some(name) = keep.iter().find(unknown) else { return Ok(()) };
    let wanted = name.to_lowercase();
    let labels = graph.node.iter().map(label).filter(|label| label.to_lowercase().contains(&wanted));
    let near = labels.take(3).map(|label| format!("{label:?}")).collect();
    Err(QuantiseError::UnknownNode { name: name.clone(), near })
}

/// What a node means, or why it stays floats.
fn role(node: &NodeProto, index: &Index<'_>) -> Result<Role, String> {
    if !["", "ai.onnx"].contains(&node.domain.as_str()) {
        return Err(format!("the domain {:.80} has no form for bytes", node.domain));
    }
    let constant = |place: usize| input(node, place).is_some_and(|name| index.is_constant(name));
    let computed = |name: &String| !name.is_empty() && !index.is_constant(name);
    match node.op_type.as_str() {
        "Conv" | "Gemm" | "MatMul" => products(node, index),
        "Relu" => Ok(Role::Clamp { low: 0.0, high: f32::INFINITY }),
        "Clip" => {
            let bound = |place, default| match input(node, place) {
                None => Some(default),
                Some(name) => index.scalar(name),
            };
            match (bound(1, f32::NEG_INFINITY), bound(2, f32::INFINITY)) {
                (Some(low), Some(high)) if low <= high => Ok(Role::Clamp { low, high }),
                _ => Err("its bounds are no constants".to_owned()),
            }
        }
        "Add" | "Mul" if !node.input.iter().all(computed) => Err("it is a sum or product with constants".to_owned()),
        "Add" | "Mul" | "LeakyRelu" | "HardSigmoid" | "HardSwish" | "Sigmoid" | "GlobalAveragePool" | "AveragePool" => {
            Ok(Role::Own)
        }
        "ReduceMean" => match super::graph::ints(node, "axes").map(<[i64]>::to_vec).or_else(|| axes(node, index)) {
            Some(axes) if [&[2, 3][..], &[-2, -1], &[-1, -2]].contains(&axes.as_slice()) => Ok(Role::Own),
            _ => Err("it is no mean over rows and columns".to_owned()),
        },
        "MaxPool" if node.output.len() == 1 => Ok(Role::Same),
        "GlobalMaxPool" => Ok(Role::Same),
        "Resize" => match attribute(node, "mode").map_or(&b"nearest"[..], |mode| mode.s.as_slice()) {
            b"nearest" => Ok(Role::Same),
            _ => Err("it computes numbers between its pixels, for which there is no form for bytes".to_owned()),
        },
        "Pad" => Ok(Role::Pads),
        "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Transpose" | "Slice" | "Split" | "Identity" => {
            if constant(0) { Err("it reads a constant".to_owned()) } else { Ok(Role::Renames) }
        }
        "Concat" if node.input.iter().all(computed) => Ok(Role::Joins),
        "Concat" => Err("it reads constants".to_owned()),
        _ => Err("the operator has no form for bytes".to_owned()),
    }
}

fn axes(node: &NodeProto, index: &Index<'_>) -> Option<Vec<i64>> {
    index.constant(input(node, 1)?)?.as_integers().map(<[i64]>::to_vec)
}

/// The role of a node with weights.
fn products(node: &NodeProto, index: &Index<'_>) -> Result<Role, String> {
    let weights: Constant =
        input(node, 1).and_then(|name| index.constant(name)).ok_or("its weights are no constant")?;
    let Some(values) = weights.floats() else { return Err("its weights are no floats".to_owned()) };
    if values.iter().any(|value| !value.is_finite()) {
        return Err("a weight of it is no number".to_owned());
    }
    let axis = match (node.op_type.as_str(), weights.dims.len()) {
        ("Conv", 3..) => 0,
        ("Gemm", 2) if int(node, "transA", 0) == 0 => usize::from(int(node, "transB", 0) == 0),
        ("MatMul", 2) => 1,
        (_, axes) => return Err(format!("weights of {axes} axes are not covered")),
    };
    if ["alpha", "beta"].iter().any(|name| attribute(node, name).is_some()) {
        return Err("its factors are not covered".to_owned());
    }
    let outputs = weights.dims[axis];
    match input(node, 2).filter(|_| node.op_type != "MatMul").map(|name| index.constant(name)) {
        None => Ok(Role::Products { axis }),
        Some(Some(bias))
            if bias.dims == [outputs] && bias.floats().is_some_and(|all| all.iter().all(|x| x.is_finite())) =>
        {
            Ok(Role::Products { axis })
        }
        Some(_) => Err("its bias is no vector of constants".to_owned()),
    }
}

/// The inputs of a node that are to be bytes if it is to compute with them.
pub(super) fn data_inputs(node: &NodeProto, role: Role) -> Vec<&str> {
    match role {
        Role::Float => Vec::new(),
        Role::Joins => node.input.iter().map(String::as_str).collect(),
        Role::Own if ["Add", "Mul"].contains(&node.op_type.as_str()) => node.input.iter().map(String::as_str).collect(),
        _ => input(node, 0).into_iter().collect(),
    }
}

/// The tensors that somebody wants as bytes.
fn wanted<'a>(index: &Index<'a>, roles: &[Role]) -> BTreeSet<&'a str> {
    let mut wanted = BTreeSet::new();
    for (node, &role) in index.graph.node.iter().zip(roles).rev() {
        let is_useful = match role {
            Role::Products { .. } => true,
            Role::Float => false,
            _ => node.output.iter().any(|name| wanted.contains(name.as_str())),
        };
        if is_useful {
            wanted.extend(data_inputs(node, role));
        }
    }
    // What a convolution gives, too, whoever reads it: ONNX Runtime has no convolution of bytes that gives floats.
    for (node, role) in index.graph.node.iter().zip(roles) {
        if node.op_type == "Conv" && *role != Role::Float {
            let of_layer = |name: &&str| !index.is_output(name);
            let output = node.output.first().map(String::as_str).filter(of_layer);
            let clamp = output.and_then(|name| match index.readers(name) {
                [(at, _)] if matches!(roles[*at], Role::Clamp { .. }) => index.graph.node[*at].output.first(),
                _ => None,
            });
            wanted.extend(output);
            wanted.extend(clamp.map(String::as_str).filter(of_layer));
        }
    }
    wanted
}

/// Whether a tensor that is wanted stays floats, because what stands before and behind it becomes one.
fn stays(index: &Index<'_>, roles: &[Role], tensor: &str) -> bool {
    let producer = index.producer(tensor);
    let readers = index.readers(tensor);
    let before = producer.map(|at| roles[at]);
    let behind = |role: fn(&Role) -> bool| readers.iter().any(|&(at, _)| role(&roles[at]));
    if index.is_output(tensor) {
        return false;
    }
    match before {
        Some(Role::Pads) => true,
        Some(Role::Renames) => behind(|role| *role == Role::Renames) && readers.len() == 1,
        // Attention reads and gives heads, which are no picture: its numbers become bytes where they are channels again.
        Some(Role::Float) if readers.len() == 1 && behind(|role| *role == Role::Renames) => true,
        Some(Role::Products { .. } | Role::Own | Role::Float) if readers.len() == 1 => {
            behind(|role| matches!(role, Role::Clamp { .. })) || is_gate(index, tensor)
        }
        _ => false,
    }
}

/// Whether a tensor is `σ(x)`, and read by `x · σ(x)` alone.
fn is_gate(index: &Index<'_>, tensor: &str) -> bool {
    let Some(gate) = index.producer(tensor).map(|at| &index.graph.node[at]) else { return false };
    let [(reader, _)] = index.readers(tensor) else { return false };
    let product = &index.graph.node[*reader];
    ["Sigmoid", "HardSigmoid"].contains(&gate.op_type.as_str())
        && product.op_type == "Mul"
        && product.input.iter().any(|name| Some(name.as_str()) == input(gate, 0))
}

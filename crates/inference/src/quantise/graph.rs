//! What is asked of an ONNX graph again and again, and the parts that are written into one.

use std::collections::{BTreeSet, HashMap};

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};

use crate::engine::compiled::constant::Constant;

/// What a node is called in messages and by `--keep-float`: its name, or else its first output's.
pub(super) fn label(node: &NodeProto) -> &str {
    if node.name.is_empty() { node.output.first().map_or("", String::as_str) } else { &node.name }
}

/// An attribute of a node.
pub(super) fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

/// A whole number of a node's attributes.
pub(super) fn int(node: &NodeProto, name: &str, default: i64) -> i64 {
    attribute(node, name).map_or(default, |attribute| attribute.i)
}

/// A list of whole numbers of a node's attributes.
pub(super) fn ints<'a>(node: &'a NodeProto, name: &str) -> Option<&'a [i64]> {
    attribute(node, name).map(|attribute| attribute.ints.as_slice())
}

/// A float of a node's attributes.
pub(super) fn float(node: &NodeProto, name: &str, default: f32) -> f32 {
    attribute(node, name).map_or(default, |attribute| attribute.f)
}

/// An input of a node that is there.
pub(super) fn input(node: &NodeProto, place: usize) -> Option<&str> {
    node.input.get(place).map(String::as_str).filter(|name| !name.is_empty())
}

/// The attribute `axis`.
pub(super) fn axis_attribute(axis: i64) -> AttributeProto {
    AttributeProto { name: "axis".to_owned(), r#type: AttributeType::Int as i32, i: axis, ..AttributeProto::default() }
}

/// The attribute of a list of whole numbers.
pub(super) fn ints_attribute(name: &str, ints: Vec<i64>) -> AttributeProto {
    AttributeProto { name: name.to_owned(), r#type: AttributeType::Ints as i32, ints, ..AttributeProto::default() }
}

/// A node with one output, which gives it its name.
pub(super) fn node(operator: &str, inputs: Vec<String>, output: String, name: String) -> NodeProto {
    NodeProto { input: inputs, output: vec![output], name, op_type: operator.to_owned(), ..NodeProto::default() }
}

fn tensor(name: &str, dims: &[usize], kind: DataType, raw_data: Vec<u8>) -> TensorProto {
    let dims = dims.iter().map(|&length| length as i64).collect();
    TensorProto { name: name.to_owned(), dims, data_type: kind as i32, raw_data, ..TensorProto::default() }
}

/// Floats as a constant.
pub(super) fn floats(name: &str, dims: &[usize], values: &[f32]) -> TensorProto {
    tensor(name, dims, DataType::Float, values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

/// Whole numbers of 64 bits as a constant.
pub(super) fn longs(name: &str, values: &[i64]) -> TensorProto {
    tensor(name, &[values.len()], DataType::Int64, values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

/// Whole numbers of 32 bits as a constant.
pub(super) fn words(name: &str, values: &[i32]) -> TensorProto {
    tensor(name, &[values.len()], DataType::Int32, values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

/// Signed bytes as a constant.
pub(super) fn signed_bytes(name: &str, dims: &[usize], values: &[i8]) -> TensorProto {
    tensor(name, dims, DataType::Int8, values.iter().map(|value| value.cast_unsigned()).collect())
}

/// One unsigned byte as a constant without axes.
pub(super) fn byte(name: &str, value: u8) -> TensorProto {
    tensor(name, &[], DataType::Uint8, vec![value])
}

/// Names that are taken, so that a new one can be told from them.
#[derive(Debug, Clone)]
pub(super) struct Names(BTreeSet<String>);

impl Names {
    /// Those of a graph.
    pub(super) fn of(graph: &GraphProto) -> Self {
        let nodes = graph.node.iter();
        let of_nodes = nodes.flat_map(|node| node.input.iter().chain(&node.output).chain([&node.name]));
        let of_values = graph.input.iter().chain(&graph.output).map(|value| &value.name);
        let of_constants = graph.initializer.iter().map(|tensor| &tensor.name);
        Self(of_nodes.chain(of_values).chain(of_constants).cloned().collect())
    }

    /// A name that was not taken: `wanted`, or that with a number.
    pub(super) fn fresh(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        let mut number = 1;
        while !self.0.insert(name.clone()) {
            number += 1;
            name = format!("{wanted}_{number}");
        }
        name
    }
}

/// Who computes and who reads each tensor of a graph that does not change meanwhile.
#[derive(Debug)]
pub(super) struct Index<'a> {
    pub(super) graph: &'a GraphProto,
    producers: HashMap<&'a str, usize>,
    readers: HashMap<&'a str, Vec<(usize, usize)>>,
    constants: HashMap<&'a str, usize>,
    outputs: BTreeSet<&'a str>,
}

impl<'a> Index<'a> {
    pub(super) fn of(graph: &'a GraphProto) -> Self {
        let mut producers = HashMap::new();
        let mut readers: HashMap<&str, Vec<(usize, usize)>> = HashMap::new();
        for (at, node) in graph.node.iter().enumerate() {
            producers.extend(node.output.iter().map(|name| (name.as_str(), at)));
            for (place, name) in node.input.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
                readers.entry(name).or_default().push((at, place));
            }
        }
        let constants = graph.initializer.iter().enumerate().map(|(at, tensor)| (tensor.name.as_str(), at)).collect();
        let outputs = graph.output.iter().map(|value| value.name.as_str()).collect();
        Self { graph, producers, readers, constants, outputs }
    }

    /// Which node computes a tensor.
    pub(super) fn producer(&self, tensor: &str) -> Option<usize> {
        self.producers.get(tensor).copied()
    }

    /// Which nodes read a tensor, and as which of their inputs.
    pub(super) fn readers(&self, tensor: &str) -> &[(usize, usize)] {
        self.readers.get(tensor).map_or(&[], Vec::as_slice)
    }

    /// Whether a tensor is one of the model's outputs.
    pub(super) fn is_output(&self, tensor: &str) -> bool {
        self.outputs.contains(tensor)
    }

    /// Whether a tensor is a constant of the file.
    pub(super) fn is_constant(&self, tensor: &str) -> bool {
        self.constants.contains_key(tensor)
    }

    /// A constant of the file as it stands there.
    pub(super) fn stored(&self, tensor: &str) -> Option<&'a TensorProto> {
        self.constants.get(tensor).map(|&at| &self.graph.initializer[at])
    }

    /// A constant; `None` where the tensor is none, or cannot be decoded.
    pub(super) fn constant(&self, tensor: &str) -> Option<Constant> {
        Constant::decode(self.stored(tensor)?).ok()
    }

    /// A constant without axes, or with one element.
    pub(super) fn scalar(&self, tensor: &str) -> Option<f32> {
        self.constant(tensor)?.scalar()
    }
}

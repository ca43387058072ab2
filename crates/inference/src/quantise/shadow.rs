//! What each layer by itself loses: the float model, and beside it every layer of the quantised one, fed with what the float
//! model feeds it. The losses of layers do not add up along the way, so that they tell where a bit was lost.

use std::collections::BTreeSet;

use margay_kernels::{Quantised, byte_of};
use serde::{Deserialize, Serialize};
use tract_onnx::pb::{ModelProto, NodeProto};

use super::graph::{Index, Names, input, label};
use super::selection::{Role, Selection};
use crate::engine::tract::Observer;

/// Most layers that are looked at.
const MAX_LAYERS: usize = 2048;

/// What stands for no loss at all, in decibels; with a minus for nothing but loss.
const MOST_DB: f64 = 200.0;

/// How near a layer of bytes comes to the same layer of floats, for the same input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerError {
    /// Name of the node.
    pub node: String,
    /// Its operator.
    pub operator: String,
    /// The signal's power by that of what was lost, in decibels: 6 more are a bit more; 200 without a loss.
    pub sqnr_db: f64,
}

/// A layer under observation.
#[derive(Debug)]
struct Watched {
    node: String,
    operator: String,
    /// The tensor of the float model, and of its double.
    tensors: [String; 2],
    /// How the double becomes bytes, where it does.
    quantised: Option<Quantised>,
    signal: f64,
    noise: f64,
}

/// Both models in one, and what was found of them.
#[derive(Debug)]
pub(super) struct Shadow {
    layers: Vec<Watched>,
}

impl Shadow {
    /// The float model and its double as one model, and the tensors of it that are looked at.
    pub(super) fn of(
        float: &ModelProto,
        emitted: &ModelProto,
        selection: &Selection,
        quantised: &[Quantised],
    ) -> (Self, ModelProto, Vec<String>) {
        let mut joined = float.clone();
        let (Some(graph), Some(double), Some(original)) = (&mut joined.graph, &emitted.graph, &float.graph) else {
            return (Self { layers: Vec::new() }, joined, Vec::new());
        };
        let mut names = Names::of(double);
        let prefix = names.fresh("margay_double");
        let computed: BTreeSet<&str> =
            double.node.iter().flat_map(|node| node.output.iter().map(String::as_str)).collect();
        let doubled = |name: &str| format!("{prefix}/{name}");
        let index = Index::of(original);
        let computes = |name: &str| index.producer(name).is_some_and(|at| selection.roles[at] != Role::Float);
        let mut layers = Vec::new();
        for node in &double.node {
            let is_conversion = ["QuantizeLinear", "DequantizeLinear"].contains(&node.op_type.as_str());
            let mut copy = NodeProto { name: doubled(label(node)), ..node.clone() };
            // What is converted to bytes is the float model's, so that no loss is handed on.
            if node.op_type != "QuantizeLinear" {
                let of_double = copy.input.iter_mut().filter(|name| computed.contains(name.as_str()));
                of_double.for_each(|name| *name = doubled(name));
            }
            copy.output.iter_mut().filter(|name| !name.is_empty()).for_each(|name| *name = doubled(name));
            graph.node.push(copy);
            let Some(output) = node.output.first().filter(|name| computes(name)) else { continue };
            if !is_conversion && changes_numbers(node) && layers.len() < MAX_LAYERS {
                layers.push(Watched {
                    node: label(node).to_owned(),
                    operator: node.op_type.clone(),
                    tensors: [output.clone(), doubled(output)],
                    quantised: selection.place(output).map(|place| quantised[place]),
                    signal: 0.0,
                    noise: 0.0,
                });
            }
        }
        let own: BTreeSet<String> = graph.initializer.iter().map(|tensor| tensor.name.clone()).collect();
        graph.initializer.extend(double.initializer.iter().filter(|tensor| !own.contains(&tensor.name)).cloned());
        let tensors = layers.iter().flat_map(|layer| layer.tensors.clone()).collect();
        (Self { layers }, joined, tensors)
    }

    /// Adds up what a run of both models shows.
    pub(super) fn add(&mut self, observer: &Observer) {
        for layer in &mut self.layers {
            let [expected, found] = [0, 1].map(|which| observer.values(&layer.tensors[which]));
            let as_read = |&value: &f32| match layer.quantised {
                Some(by) => f32::from(i16::from(byte_of(value, by)) - i16::from(by.zero)) * by.scale,
                None => value,
            };
            for (expected, found) in expected.iter().zip(found.iter().map(as_read)) {
                layer.signal += f64::from(*expected) * f64::from(*expected);
                layer.noise += f64::from(expected - found) * f64::from(expected - found);
            }
        }
    }

    /// The layers, the one that lost most first.
    pub(super) fn errors(&self) -> Vec<LayerError> {
        let decibels = |layer: &Watched| {
            let ratio = if layer.noise == 0.0 { f64::INFINITY } else { layer.signal / layer.noise };
            10.0 * ratio.log10()
        };
        let error = |layer: &Watched| LayerError {
            node: layer.node.clone(),
            operator: layer.operator.clone(),
            // JSON has no infinity, and nothing that is no number.
            sqnr_db: Some(decibels(layer)).filter(|db| !db.is_nan()).unwrap_or(-MOST_DB).clamp(-MOST_DB, MOST_DB),
        };
        let mut errors: Vec<LayerError> = self.layers.iter().map(error).collect();
        errors.sort_by(|a, b| a.sqnr_db.total_cmp(&b.sqnr_db));
        errors
    }
}

/// Whether an operator computes, rather than hands on what it reads.
fn changes_numbers(node: &NodeProto) -> bool {
    let hands_on =
        ["Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Split", "Identity", "Pad", "Shape"];
    !hands_on.contains(&node.op_type.as_str()) && input(node, 0).is_some()
}

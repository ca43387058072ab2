//! From older operator sets to the first one whose `DequantizeLinear` knows an axis, 13: what operators took as attributes
//! they take as inputs there. What is not known to mean the same is refused, with the tool that converts it.

use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

use super::error::QuantiseError;
use super::graph::{Names, attribute, axis_attribute, float, floats, int, ints, label, longs};

/// The operator set that older models are brought to.
pub(super) const TARGET: i64 = 13;

/// Operators that mean the same in the sets 7 to 13, for what they accept in the older one.
const UNCHANGED: &[&str] = &[
    "Abs",
    "Add",
    "ArgMax",
    "AveragePool",
    "Cast",
    "Ceil",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "Conv",
    "ConvTranspose",
    "Div",
    "Elu",
    "Erf",
    "Exp",
    "Expand",
    "Flatten",
    "Floor",
    "Gather",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "HardSigmoid",
    "Identity",
    "InstanceNormalization",
    "LRN",
    "LeakyRelu",
    "Log",
    "MatMul",
    "Max",
    "MaxPool",
    "Min",
    "Mul",
    "Neg",
    "PRelu",
    "Pow",
    "Reciprocal",
    "ReduceL2",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "Relu",
    "Reshape",
    "Selu",
    "Shape",
    "Sigmoid",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Sub",
    "Sum",
    "Tanh",
    "Tile",
    "Transpose",
];

/// Rewrites the nodes of a graph of an older operator set for [`TARGET`].
///
/// # Errors
/// [`QuantiseError::Upgrade`]: the first node that is not known to mean the same.
pub(super) fn upgrade(graph: &mut GraphProto, opset: i64) -> Result<(), QuantiseError> {
    let mut names = Names::of(graph);
    let mut constants = Vec::new();
    for node in &mut graph.node {
        upgrade_node(node, opset, &mut names, &mut constants).map_err(|reason| QuantiseError::Upgrade {
            node: label(node).to_owned(),
            operator: node.op_type.clone(),
            opset,
            reason: reason.to_owned(),
        })?;
    }
    graph.initializer.extend(constants);
    Ok(())
}

fn upgrade_node(
    node: &mut NodeProto,
    opset: i64,
    names: &mut Names,
    constants: &mut Vec<TensorProto>,
) -> Result<(), &'static str> {
    let mut moved = Moved { name: label(node).to_owned(), names, constants };
    match node.op_type.as_str() {
        "Squeeze" | "Unsqueeze" | "ReduceSum" => moved.list(node, "axes", 1),
        "Split" => moved.list(node, "split", 1),
        "Slice" if opset < 10 => {
            moved.list(node, "starts", 1);
            moved.list(node, "ends", 2);
            moved.list(node, "axes", 3);
        }
        "Clip" if opset < 11 => {
            let bounds = [float(node, "min", f32::MIN), float(node, "max", f32::MAX)];
            for (bound, what) in bounds.into_iter().zip(["min", "max"]) {
                moved.number(node, what, bound);
            }
        }
        "Pad" if opset < 11 => {
            moved.list(node, "pads", 1);
            let value = float(node, "value", 0.0);
            moved.number(node, "value", value);
        }
        "Dropout" => node.attribute.retain(|attribute| attribute.name != "ratio"),
        "Softmax" | "LogSoftmax" => {
            // Until 13 all axes from the given one on were one; of a vector with an axis for the batch that is the same.
            let axis = int(node, "axis", 1);
            if ![1, -1].contains(&axis) {
                return Err("whose axis means something else there");
            }
            node.attribute = vec![axis_attribute(axis)];
        }
        // Before 9, an attribute said whether a channel has one mean or each of its places.
        "BatchNormalization" if int(node, "spatial", 1) == 1 => {
            node.attribute.retain(|attribute| attribute.name != "spatial");
        }
        "Clip" | "Pad" | "Slice" => {}
        operator if UNCHANGED.contains(&operator) => {}
        _ => return Err("which is not known to mean the same in operator set 13"),
    }
    Ok(())
}

/// Attributes of a node that become inputs.
struct Moved<'a> {
    name: String,
    names: &'a mut Names,
    constants: &'a mut Vec<TensorProto>,
}

impl Moved<'_> {
    fn list(&mut self, node: &mut NodeProto, what: &str, place: usize) {
        let Some(values) = ints(node, what).map(<[i64]>::to_vec) else { return };
        let name = self.names.fresh(&format!("{}_{what}", self.name));
        self.constants.push(longs(&name, &values));
        node.input.resize(place, String::new());
        node.input.push(name);
        node.attribute.retain(|attribute| attribute.name != what);
    }

    fn number(&mut self, node: &mut NodeProto, what: &str, value: f32) {
        let name = self.names.fresh(&format!("{}_{what}", self.name));
        self.constants.push(floats(&name, &[], &[value]));
        node.input.push(name);
        node.attribute.retain(|attribute| attribute.name != what);
    }
}

/// Whether a node is a training operator's, or has graphs within, whose names the rewriting would not follow.
pub(super) fn has_graphs(node: &NodeProto) -> bool {
    node.attribute.iter().any(|attribute| attribute.g.is_some() || !attribute.graphs.is_empty())
        || attribute(node, "body").is_some()
}

#[cfg(test)]
mod tests {
    use super::super::graph::{Index, ints_attribute, node};
    use super::*;

    fn graph_of(nodes: Vec<NodeProto>) -> GraphProto {
        GraphProto { node: nodes, ..GraphProto::default() }
    }

    fn operator(name: &str, attributes: Vec<tract_onnx::pb::AttributeProto>) -> NodeProto {
        NodeProto { attribute: attributes, ..node(name, vec!["x".into()], "y".into(), String::new()) }
    }

    #[test]
    fn attributes_become_the_inputs_that_they_are_later() {
        let mut graph = graph_of(vec![operator("Squeeze", vec![ints_attribute("axes", vec![2, 3])])]);
        upgrade(&mut graph, 11).unwrap();
        let index = Index::of(&graph);
        assert_eq!(graph.node[0].input, ["x", "y_axes"]);
        assert!(graph.node[0].attribute.is_empty());
        assert_eq!(index.constant("y_axes").unwrap().as_integers(), Some(&[2, 3][..]));

        let mut graph = graph_of(vec![operator("Clip", vec![])]);
        upgrade(&mut graph, 9).unwrap();
        assert_eq!(graph.node[0].input, ["x", "y_min", "y_max"]);
        assert_eq!(Index::of(&graph).scalar("y_max"), Some(f32::MAX));
    }

    #[test]
    fn what_may_mean_something_else_is_refused_by_name() {
        for (nodes, word) in [
            (vec![operator("Softmax", vec![axis_attribute(2)])], "axis"),
            (vec![operator("Upsample", vec![])], "Upsample"),
        ] {
            let error = upgrade(&mut graph_of(nodes), 9).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("version_converter"), "{error}");
        }
        let mut softmax = graph_of(vec![operator("Softmax", vec![])]);
        upgrade(&mut softmax, 9).unwrap();
        assert_eq!(int(&softmax.node[0], "axis", 0), 1);
    }
}

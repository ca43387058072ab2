//! What stands at the end of a graph: the operator that computes the scores, and how they are stored.

use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

use crate::spec::output::Quantisation;

/// Operators that hand numbers on as they are, but for their shape or their type.
const TRANSPARENT: &[&str] = &[
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Identity",
    "Cast",
    "Transpose",
    "QuantizeLinear",
    "DequantizeLinear",
];

/// Operators looked through at most; no graph ends in more.
const MOST_STEPS: usize = 16;

/// The operator that computes the first output's numbers, and the quantisation in which they are stored.
pub(crate) fn of(graph: &GraphProto) -> (Option<String>, Option<Quantisation>) {
    let Some(output) = graph.output.first() else { return (None, None) };
    let mut wanted = output.name.as_str();
    let mut quantisation = None;
    let mut is_stored = true;
    for _ in 0..MOST_STEPS {
        let Some(node) = graph.node.iter().find(|node| node.output.iter().any(|name| name == wanted)) else { break };
        if !TRANSPARENT.contains(&node.op_type.as_str()) {
            return (Some(node.op_type.clone()), quantisation);
        }
        if node.op_type == "QuantizeLinear" && is_stored {
            quantisation = parameters(graph, node);
        }
        // Behind the last operator that changes the type, the numbers are no longer those that come out.
        is_stored &= !matches!(node.op_type.as_str(), "QuantizeLinear" | "DequantizeLinear" | "Cast");
        let Some(input) = node.input.first() else { break };
        wanted = input;
    }
    (None, quantisation)
}

/// Scale and zero point, where both are constants of one element.
fn parameters(graph: &GraphProto, node: &NodeProto) -> Option<Quantisation> {
    let constant = |at: usize| -> Option<&TensorProto> {
        let name = node.input.get(at)?;
        graph.initializer.iter().find(|tensor| &tensor.name == name).or_else(|| {
            let node = graph.node.iter().find(|node| node.op_type == "Constant" && node.output.contains(name))?;
            node.attribute.iter().find_map(|attribute| attribute.t.as_ref())
        })
    };
    let scale = first_float(constant(1)?)?;
    let zero_point = match node.input.get(2) {
        Some(name) if !name.is_empty() => first_byte(constant(2)?)?,
        _ => 0,
    };
    Some(Quantisation { scale, zero_point })
}

fn first_float(tensor: &TensorProto) -> Option<f32> {
    if let Some(value) = tensor.float_data.first() {
        return Some(*value);
    }
    Some(f32::from_le_bytes(tensor.raw_data.get(..4)?.try_into().ok()?))
}

fn first_byte(tensor: &TensorProto) -> Option<i32> {
    if let Some(value) = tensor.int32_data.first() {
        return Some(*value);
    }
    let byte = *tensor.raw_data.first()?;
    let is_signed = tensor.data_type == tract_onnx::pb::tensor_proto::DataType::Int8 as i32;
    Some(if is_signed { i32::from(byte.cast_signed()) } else { i32::from(byte) })
}

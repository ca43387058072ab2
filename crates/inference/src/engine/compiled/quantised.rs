//! Quantised models: what stands for numbers, which layers there are over bytes, and how they come about.
//!
//! A quantised model is read as the float model that it means, with conversions to and from bytes in it
//! (`reader/quantised.rs`). What stands between two conversions then becomes a layer over bytes ([`fusion`]); what cannot
//! stays as it is, so that every operator of float models may stand in a quantised one.

pub(super) mod fusion;
pub(super) mod layer;
pub(super) mod weights;

use tract_onnx::pb::NodeProto;

/// Operators over bytes that carry their own conversions: ONNX's, and those that ONNX Runtime adds.
const OPERATORS: [(&str, &str); 8] = [
    ("", "QLinearConv"),
    ("", "QLinearMatMul"),
    ("com.microsoft", "QGemm"),
    ("com.microsoft", "QLinearAdd"),
    ("com.microsoft", "QLinearMul"),
    ("com.microsoft", "QLinearConcat"),
    ("com.microsoft", "QLinearGlobalAveragePool"),
    ("com.microsoft", "QLinearSigmoid"),
];

fn domain(node: &NodeProto) -> &str {
    if node.domain == "ai.onnx" { "" } else { &node.domain }
}

/// Whether a node is one of those operators.
pub(super) fn is_operator(node: &NodeProto) -> bool {
    OPERATORS.contains(&(domain(node), node.op_type.as_str()))
}

/// Whether a node is covered although its domain is not ONNX's: the conversions mean the same in both.
pub(super) fn is_of_runtime(node: &NodeProto) -> bool {
    let is_conversion = ["QuantizeLinear", "DequantizeLinear"].contains(&node.op_type.as_str());
    node.domain == "com.microsoft" && (is_conversion || is_operator(node))
}

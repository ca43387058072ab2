//! Why the compiled engine leaves a model to tract.

use margay_kernels::PlanError;
use serde::{Deserialize, Serialize};
use tract_onnx::pb::NodeProto;

/// Longest name of a node that is repeated, in characters.
const MAX_NAME_CHARS: usize = 80;

/// The first thing in a model that the compiled engine does not cover.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{operator}{}: {reason}", place(node))]
pub struct Declined {
    /// The operator, or `the model` where no single one is at fault.
    pub operator: String,
    /// Name of the node, or of its first output; empty where there is none.
    pub node: String,
    /// What is not covered, in one line.
    pub reason: String,
}

fn place(node: &str) -> String {
    if node.is_empty() { String::new() } else { format!(" at `{node}`") }
}

impl Declined {
    /// A model that is not covered as a whole.
    pub(super) fn model(reason: impl Into<String>) -> Self {
        Self { operator: "the model".to_owned(), node: String::new(), reason: reason.into() }
    }

    /// A node that is not covered.
    pub(super) fn node(node: &NodeProto, reason: impl Into<String>) -> Self {
        let name = if node.name.is_empty() { node.output.first() } else { Some(&node.name) };
        let name = name.map(|name| name.chars().take(MAX_NAME_CHARS).collect()).unwrap_or_default();
        let operator = node.op_type.chars().take(MAX_NAME_CHARS).collect();
        Self { operator, node: name, reason: reason.into() }
    }
}

impl From<PlanError> for Declined {
    fn from(error: PlanError) -> Self {
        Self::model(error.to_string())
    }
}

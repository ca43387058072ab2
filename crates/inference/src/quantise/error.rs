//! Why a model cannot be quantised, or not by these pictures.

use margay_frontend::decode::DecodeError;
use margay_frontend::prepare::PrepareError;

use crate::engine::{EngineError, LoadError};

/// A model that cannot be quantised. Other pictures do not help, but for [`QuantiseError::NotFinite`] and
/// [`QuantiseError::NoPictures`].
#[derive(Debug, thiserror::Error)]
pub enum QuantiseError {
    /// The file cannot be read, or tract refuses it.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The model is quantised already.
    #[error(
        "the model is quantised already: its node {node:?} is a {operator}; give the float model that it was made of"
    )]
    Already {
        /// The operator that tells.
        operator: String,
        /// A node of it.
        node: String,
    },
    /// The graph has something that changes what its tensors mean.
    #[error("the model cannot be quantised: {reason}")]
    Structure {
        /// What, where, and what to do.
        reason: String,
    },
    /// The operator set is too old or too new.
    #[error(
        "operator set {opset} is not among {} to {}: export the model again with opset_version=17, or convert it with \
         onnx.version_converter", super::OPSETS.start(), super::OPSETS.end()
    )]
    Opset {
        /// The model's.
        opset: i64,
    },
    /// An operator of an older operator set is not known to mean the same in the one that is written.
    #[error(
        "the node {node:?} is a {operator} of operator set {opset}, {reason}: convert the model to operator set 13 with onnx.version_converter"
    )]
    Upgrade {
        /// The node.
        node: String,
        /// Its operator.
        operator: String,
        /// The model's operator set.
        opset: i64,
        /// What is in the way.
        reason: String,
    },
    /// A layer that was to stay floats does not exist.
    #[error("there is no node or tensor {name:?} to keep in float{}", hint(near))]
    UnknownNode {
        /// What was asked for.
        name: String,
        /// Names that hold those words.
        near: Vec<String>,
    },
    /// Nothing is left to be quantised.
    #[error(
        "there is nothing to quantise: no convolution and no matrix product has constant weights and may leave float"
    )]
    Nothing,
    /// No picture was observed.
    #[error("no picture was observed, so that no range is known")]
    NoPictures,
    /// A tensor held what is no number.
    #[error("the tensor {tensor:?} of the float model holds {value}: the model is fed wrongly, or damaged")]
    NotFinite {
        /// The tensor.
        tensor: String,
        /// What it holds.
        value: f32,
    },
    /// The model could not be run.
    #[error("the float model cannot be run")]
    Run(#[source] EngineError),
}

fn hint(near: &[String]) -> String {
    match near {
        [] => ": margay model quantize --json names every layer".to_owned(),
        near => format!(": do you mean {}?", near.join(", or ")),
    }
}

/// A picture that could not be observed.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The picture cannot be decoded. Another may be.
    #[error("the picture cannot be decoded")]
    Decode(#[source] DecodeError),
    /// The picture cannot be brought to the model's size. Another may be.
    #[error("the picture cannot be resized")]
    Prepare(#[source] PrepareError),
    /// The model is at fault.
    #[error(transparent)]
    Model(#[from] QuantiseError),
}

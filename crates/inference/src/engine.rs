//! What runs a network, and the errors that loading and running one can end in.
//!
//! [`Engine`] is the whole of what the pipeline asks for: one image in, one vector of numbers out. Engines differ in
//! how they are loaded, so loading is no part of the trait.

mod agreement;
mod choice;
pub mod compiled;
pub mod execution;
pub mod onnx;
pub mod onnx_runtime;
mod quantised;
mod reason;
pub(crate) mod scores;
pub mod signature;
pub mod tract;

use std::fmt;
use std::io;
use std::path::PathBuf;

pub use self::choice::Keeping;
pub(crate) use self::choice::{Loaded, load};
use self::compiled::Declined;
use self::compiled::artefact::Artefact;
use crate::labels::LabelsError;
use crate::spec::input::InputSpec;
use crate::spec::{SpecError, SpecProblem};
use margay_frontend::prepare::Preparer;
use margay_frontend::tensor::InputTensor;

/// A loaded network with one image input and one vector of class scores.
pub trait Engine: fmt::Debug + Send {
    /// Short name, as logs and `margay status` show it.
    fn name(&self) -> &str;

    /// That something else computes than was asked for, and why, in one line.
    fn remark(&self) -> Option<&str> {
        None
    }

    /// Whether it was compiled at an earlier start and comes from an artefact.
    fn is_kept(&self) -> bool {
        false
    }

    /// What can be kept of it for the next start, once, where it was loaded for that.
    fn take_artefact(&mut self) -> Option<Artefact> {
        None
    }

    /// Whether it takes [`TensorData::Pixels`](margay_frontend::TensorData::Pixels) where the model takes floats, and computes
    /// the same of them, bit for bit. It takes floats as well.
    fn takes_pixels(&self) -> bool {
        false
    }

    /// Length of the score vector.
    fn outputs(&self) -> usize;

    /// Runs the network on one image. `output` is cleared and filled with [`Engine::outputs`] numbers; stored
    /// integers are returned as they are, not dequantised.
    ///
    /// # Errors
    /// [`EngineError`] when the network cannot be evaluated. The engine may be used again.
    fn run(&mut self, input: &InputTensor, output: &mut Vec<f32>) -> Result<(), EngineError>;
}

/// What makes pictures in the form that an engine takes best.
pub(crate) fn preparer_for(engine: &dyn Engine, spec: &InputSpec) -> Preparer {
    if engine.takes_pixels() { Preparer::of_pixels(spec) } else { Preparer::new(spec) }
}

/// A network that could not be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The tensor is of another shape or element than the model was loaded for.
    #[error("the tensor of shape {found:?} is not the {expected:?} that the model was loaded for")]
    Input {
        /// Shape that the model takes.
        expected: Vec<usize>,
        /// Shape that was given.
        found: Vec<usize>,
    },
    /// Pixels were given to an engine that takes floats only.
    #[error("{engine} takes the tensor's floats, and not its pixels")]
    Pixels {
        /// Name of the engine.
        engine: &'static str,
    },
    /// The engine failed.
    #[error("{engine} failed while running the model: {reason}")]
    Run {
        /// Name of the engine.
        engine: &'static str,
        /// Its reason, in one line.
        reason: String,
    },
}

/// The step of loading at which an engine refused a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Reading the graph out of the file.
    Parse,
    /// Finding the type and shape of every tensor.
    Type,
    /// Simplifying the graph and choosing kernels.
    Optimise,
}

impl Stage {
    /// What an operator can do about a refusal at this stage.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Parse => "export it again as a single ONNX file, opset 9 to 18, without custom operators",
            Self::Type => "export it again with fixed input and output shapes and standard operators only",
            Self::Optimise => "supply the float32 variant of the model, or convert its quantisation to plain QDQ",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parse => "parse",
            Self::Type => "type",
            Self::Optimise => "optimise",
        })
    }
}

/// A model that cannot be loaded. Trying again without changing the package does not help, except after
/// [`LoadError::Read`].
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("the model {} cannot be read", path.display())]
    Read {
        /// The model file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is larger than the limit, and was not parsed.
    #[error("the model {} has more than the limit of {limit} bytes: supply a smaller or quantised model", path.display())]
    TooLarge {
        /// The model file.
        path: PathBuf,
        /// [`onnx::MAX_MODEL_BYTES`].
        limit: u64,
    },
    /// The engine does not take the model.
    #[error("{engine} refuses the model {} at the stage '{stage}': {reason}; {}", path.display(), stage.advice())]
    Refused {
        /// The model file.
        path: PathBuf,
        /// Name of the engine.
        engine: &'static str,
        /// Where it stopped.
        stage: Stage,
        /// Its reason, in one line.
        reason: String,
    },
    /// The compiled engine was asked for, and does not cover the model.
    #[error(
        "the compiled engine does not cover the model {}: {declined}; set `engine` to \"auto\" to have tract run it",
        path.display()
    )]
    Declined {
        /// The model file.
        path: PathBuf,
        /// What it does not cover.
        declined: Declined,
    },
    /// ONNX Runtime was asked for, and its library is not there or does not work.
    #[error("ONNX Runtime cannot run the model {}: {reason}; install the library (pip install onnxruntime) and say where it is, or choose another engine", path.display())]
    Library {
        /// The model file.
        path: PathBuf,
        /// What was looked for, and what came of it.
        reason: String,
    },
    /// The model's tensors are not the ones that the specification describes.
    #[error("the model {} does not fit its specification: {}", path.display(), join(problems))]
    Mismatch {
        /// The model file.
        path: PathBuf,
        /// Each difference, with its field.
        problems: Vec<SpecProblem>,
    },
    /// The specification breaks a rule of its own.
    #[error("the model was not loaded")]
    Spec(#[source] SpecError),
    /// The labels do not fit the model's output.
    #[error("the model's labels cannot be used")]
    Labels(#[source] LabelsError),
}

fn join(problems: &[SpecProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

//! The compiled engine: classifiers of floats and quantised ones as programs of our own kernels.
//!
//! ```text
//! ONNX ─ reader ─► Network ─ lowering ─► margay_kernels::Program
//! ```
//!
//! It covers what convolutional classifiers are made of, in operator sets 7 to 21, and leaves everything else to tract,
//! as a whole: [`Declined`] says which operator and why. It reads the file through the types that tract's parser brings:
//! one parser, one set of bounds, and the file is in memory once for both engines. docs/engine.md explains the design.

mod arithmetic;
mod attributes;
pub(crate) mod constant;
mod declined;
mod fuzzed;
mod lowering;
mod network;
mod quantised;
mod reader;

use std::path::Path;
use std::time::Duration;

pub use declined::Declined;
pub use fuzzed::fuzz_model;
use margay_frontend::tensor::{InputTensor, TensorData};
use margay_kernels::{Options, Picture, Program};

use super::onnx::OnnxFile;
use super::{Engine, EngineError, LoadError};
use crate::spec::ModelSpec;

/// Name of the engine.
pub const ENGINE: &str = "compiled";

/// A model as a program, with the memory of its runs.
#[derive(Debug)]
pub struct CompiledEngine {
    program: Program,
    shape: [usize; 4],
    is_quantised: bool,
}

impl CompiledEngine {
    /// Compiles a model, whose weights are read one by one, for so many threads, the caller's included, on the fastest
    /// instruction set of the machine.
    ///
    /// # Errors
    /// [`LoadError`] when the file cannot be read. The inner result is [`Declined`] when the model is not covered, or
    /// not what the specification describes, which tract then says better.
    pub fn load(path: &Path, spec: &ModelSpec, threads: usize) -> Result<Result<Self, Declined>, LoadError> {
        Self::load_with(path, spec, Options { threads, ..Options::default() })
    }

    /// As [`Self::load`], with options.
    ///
    /// # Errors
    /// As for [`Self::load`].
    pub fn load_with(path: &Path, spec: &ModelSpec, options: Options) -> Result<Result<Self, Declined>, LoadError> {
        let file = OnnxFile::read_without_weights(path)?;
        Ok(Self::compile(&file, spec, options))
    }

    /// Compiles a model that was read.
    ///
    /// # Errors
    /// [`Declined`], as for [`Self::load`].
    pub fn compile(file: &OnnxFile, spec: &ModelSpec, options: Options) -> Result<Self, Declined> {
        let inputs = file.inputs();
        if let Some(problem) = inputs.iter().flat_map(|input| input.differences(&spec.input)).next() {
            return Err(Declined::model(problem.to_string()));
        }
        let graph = file.proto.graph.as_ref().ok_or_else(|| Declined::model("it holds no graph"))?;
        let network = reader::read(graph, file.weights.as_ref(), file.opset(), &spec.input)?;
        if network.shapes[network.output].pixels() != 1 {
            return Err(Declined::model("its output is no vector"));
        }
        if network.bytes.contains_key(&network.output) != spec.output.quantisation.is_some() {
            return Err(Declined::model("its output is not stored as its specification says"));
        }
        let is_quantised = !network.bytes.is_empty();
        let program = lowering::lower(network, options)?;
        Ok(Self { program, shape: spec.input.shape(), is_quantised })
    }

    /// Whether the model computes with bytes, so that its numbers are steps wide.
    #[must_use]
    pub fn is_quantised(&self) -> bool {
        self.is_quantised
    }

    /// Memory of the tensors and weights, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.program.bytes()
    }

    /// One run, stage by stage: what each is and how long it took.
    ///
    /// # Errors
    /// [`EngineError::Run`]: the picture has another size.
    pub fn profile(&mut self, picture: &[f32]) -> Result<Vec<(String, Duration)>, EngineError> {
        let ran = self.program.profile(picture);
        ran.map_err(|error| EngineError::Run { engine: ENGINE, reason: error.to_string() })
    }
}

impl Engine for CompiledEngine {
    fn name(&self) -> &str {
        ENGINE
    }

    fn outputs(&self) -> usize {
        self.program.output().elements()
    }

    fn run(&mut self, input: &InputTensor, output: &mut Vec<f32>) -> Result<(), EngineError> {
        let wrong = || EngineError::Input { expected: self.shape.to_vec(), found: input.shape().to_vec() };
        if input.shape() != self.shape {
            return Err(wrong());
        }
        let picture = match input.data() {
            TensorData::F32(floats) => Picture::from(floats.as_slice()),
            TensorData::U8(bytes) => Picture::from(bytes.as_slice()),
        };
        let ran = self.program.run(picture, output);
        ran.map_err(|error| EngineError::Run { engine: ENGINE, reason: error.to_string() })
    }
}

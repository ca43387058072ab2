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
pub mod artefact;
mod attributes;
pub(crate) mod constant;
mod declined;
mod fuzzed;
mod lowering;
mod network;
mod quantised;
mod reader;
mod weights;

use std::path::Path;

use artefact::{Artefact, ArtefactKey, Contents, KeptArtefact, Unusable};
pub use declined::Declined;
pub use fuzzed::fuzz_model;
use margay_frontend::tensor::{InputTensor, TensorData};
use margay_kernels::{Options, Picture, Program, Shape, StageTime};
use network::Network;

use super::onnx::OnnxFile;
use super::{Engine, EngineError, LoadError};
use crate::spec::ModelSpec;
use crate::spec::input::{Element, InputSpec};

/// Name of the engine.
pub const ENGINE: &str = "compiled";

/// A model as a program, with the memory of its runs.
#[derive(Debug)]
pub struct CompiledEngine {
    program: Program,
    shape: [usize; 4],
    is_quantised: bool,
    /// Whether it comes from an artefact.
    is_kept: bool,
    /// What can be kept of it, where that was asked for.
    artefact: Option<Artefact>,
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

    /// As [`Self::load_with`], for [`Self::take_artefact`] afterwards.
    ///
    /// # Errors
    /// As for [`Self::load`].
    pub fn load_to_keep(path: &Path, spec: &ModelSpec, options: Options) -> Result<Result<Self, Declined>, LoadError> {
        let file = OnnxFile::read_without_weights(path)?;
        Ok(Self::compile_to_keep(&file, spec, options))
    }

    /// A model that was compiled at an earlier start, of the package with the digest `key`. Its weights are used where they
    /// lie.
    ///
    /// # Errors
    /// [`Unusable`]: it is damaged, another model's, or made by another program or for other instructions.
    pub fn load_kept(
        kept: &KeptArtefact,
        key: &ArtefactKey,
        spec: &ModelSpec,
        options: Options,
    ) -> Result<Self, Unusable> {
        Self::of_contents(kept.open_for(key, options)?, spec, options)
    }

    /// As [`Self::load_kept`], only where tract gave the same scores when the artefact was made.
    ///
    /// # Errors
    /// As for [`Self::load_kept`], and [`Unusable::NotAgreed`].
    pub(crate) fn load_agreed(
        kept: &KeptArtefact,
        key: &ArtefactKey,
        spec: &ModelSpec,
        options: Options,
    ) -> Result<Self, Unusable> {
        let contents = kept.open_for(key, options)?;
        if contents.is_agreed { Self::of_contents(contents, spec, options) } else { Err(Unusable::NotAgreed) }
    }

    fn of_contents(contents: Contents, spec: &ModelSpec, options: Options) -> Result<Self, Unusable> {
        let Contents { network, weights, .. } = contents;
        admit(&network, spec).map_err(Unusable::Network)?;
        let is_quantised = !network.bytes.is_empty();
        let program = lowering::lower_kept(network, &spec.input, options, weights).map_err(Unusable::Plan)?;
        Ok(Self { program, shape: spec.input.shape(), is_quantised, is_kept: true, artefact: None })
    }

    /// Compiles a model that was read.
    ///
    /// # Errors
    /// [`Declined`], as for [`Self::load`].
    pub fn compile(file: &OnnxFile, spec: &ModelSpec, options: Options) -> Result<Self, Declined> {
        let network = read(file, spec)?;
        let is_quantised = !network.bytes.is_empty();
        let program = lowering::lower(network, &spec.input, options)?;
        Ok(Self { program, shape: spec.input.shape(), is_quantised, is_kept: false, artefact: None })
    }

    /// As [`Self::compile`], for [`Self::take_artefact`] afterwards.
    ///
    /// # Errors
    /// [`Declined`], as for [`Self::load`].
    pub fn compile_to_keep(file: &OnnxFile, spec: &ModelSpec, options: Options) -> Result<Self, Declined> {
        let network = read(file, spec)?;
        let (is_quantised, recipe) = (!network.bytes.is_empty(), Artefact::recipe(&network));
        let mut program = lowering::lower_to_keep(network, &spec.input, options)?;
        let artefact = program.take_packed().map(|packed| Artefact::new(recipe, packed, options));
        Ok(Self { program, shape: spec.input.shape(), is_quantised, is_kept: false, artefact })
    }

    /// Notes that tract gives the same scores.
    pub(crate) fn set_agreed(&mut self) {
        if let Some(artefact) = &mut self.artefact {
            artefact.is_agreed = true;
        }
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

    /// One run, stage by stage: what each is, how long it took, and how long threads waited in it.
    ///
    /// # Errors
    /// [`EngineError::Run`]: the picture has another size.
    pub fn profile<'a>(&mut self, picture: impl Into<Picture<'a>>) -> Result<Vec<StageTime>, EngineError> {
        let ran = self.program.profile(picture);
        ran.map_err(|error| EngineError::Run { engine: ENGINE, reason: error.to_string() })
    }
}

/// The network of a model that was read.
fn read(file: &OnnxFile, spec: &ModelSpec) -> Result<Network, Declined> {
    let inputs = file.inputs();
    if let Some(problem) = inputs.iter().flat_map(|input| input.differences(&spec.input)).next() {
        return Err(Declined::model(problem.to_string()));
    }
    let graph = file.proto.graph.as_ref().ok_or_else(|| Declined::model("it holds no graph"))?;
    let network = reader::read(graph, file.weights.as_ref(), file.opset(), &spec.input)?;
    admit(&network, spec).map_err(Declined::model)?;
    Ok(network)
}

/// Whether a network's input and output are what the specification describes.
fn admit(network: &Network, spec: &ModelSpec) -> Result<(), String> {
    let InputSpec { height, width, .. } = spec.input;
    let input = Shape { channels: 3, height: height as usize, width: width as usize };
    let order = reader::order(&spec.input);
    if network.shapes[0] != input || network.order != order {
        return Err(format!("its input is {} and not {input}", network.shapes[0]));
    }
    let (takes_bytes, output) = (network.bytes.contains_key(&0), network.output);
    if takes_bytes != (spec.input.element == Element::U8) {
        return Err("its input is not stored as its specification says".to_owned());
    }
    if network.shapes[output].pixels() != 1 {
        return Err("its output is no vector".to_owned());
    }
    if network.bytes.contains_key(&output) != spec.output.quantisation.is_some() {
        return Err("its output is not stored as its specification says".to_owned());
    }
    Ok(())
}

impl Engine for CompiledEngine {
    fn name(&self) -> &str {
        ENGINE
    }

    fn is_kept(&self) -> bool {
        self.is_kept
    }

    fn take_artefact(&mut self) -> Option<Artefact> {
        self.artefact.take()
    }

    fn takes_pixels(&self) -> bool {
        self.program.takes_pixels()
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
            TensorData::Pixels(bytes) => Picture::Pixels(bytes),
        };
        let ran = self.program.run(picture, output);
        ran.map_err(|error| EngineError::Run { engine: ENGINE, reason: error.to_string() })
    }
}

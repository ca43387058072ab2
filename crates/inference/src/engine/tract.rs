//! The tract engine: reads every model, checks it, and can run all that it accepts.
//!
//! The batch is fixed to one frame. Declared shapes of inner and output tensors are ignored: with a fixed batch they
//! contradict the real ones in models exported with a variable batch, and tract finds the real ones itself.

mod observer;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::model::TypedSimpleState;
use tract_onnx::tract_core::ops::Cost;

pub(crate) use self::observer::Observer;
use super::onnx::OnnxFile;
use super::reason::{ENGINE, one_line};
use super::{Engine, EngineError, LoadError, Stage, quantised};
use crate::spec::input::{Element, InputSpec};
use crate::spec::output::OutputSpec;
use crate::spec::{ModelSpec, SpecProblem};
use margay_frontend::tensor::{InputTensor, TensorData};

/// A model that tract has accepted, with the state of its runs.
#[derive(Debug)]
pub struct TractEngine {
    state: TypedSimpleState,
    input: Arc<Tensor>,
    outputs: usize,
}

impl TractEngine {
    /// Loads a model and checks it against its specification.
    ///
    /// # Errors
    /// [`LoadError`]: the file, the stage at which tract refuses it, or how it differs from the specification.
    pub fn load(path: &Path, spec: &ModelSpec) -> Result<Self, LoadError> {
        let file = OnnxFile::read(path)?;
        file.check_input(&spec.input)?;
        let model = optimise(&file, &spec.input)?;
        let outputs = check_output(&file, &model, &spec.output)?;
        let shape = spec.input.shape();
        attempt(&file, Stage::Optimise, || {
            let state = model.into_runnable()?.spawn()?;
            let input = Tensor::zero_dt(datum_type(spec.input.element), &shape)?;
            Ok(Self { state, input: Arc::new(input), outputs })
        })
    }

    /// Copies the frame into the tensor that was taken at load; tract has let go of it by the end of each run.
    fn fill(&mut self, input: &InputTensor) -> Result<(), EngineError> {
        let tensor = Arc::make_mut(&mut self.input);
        let wrong =
            |expected: &[usize]| EngineError::Input { expected: expected.to_vec(), found: input.shape().to_vec() };
        if tensor.shape() != input.shape() {
            return Err(wrong(tensor.shape()));
        }
        let mut view = tensor.try_as_plain_ram_mut().map_err(|error| failed(&error))?;
        let copied = match input.data() {
            TensorData::F32(elements) => view.as_slice_mut().map(|to: &mut [f32]| to.copy_from_slice(elements)),
            TensorData::U8(elements) => view.as_slice_mut().map(|to: &mut [u8]| to.copy_from_slice(elements)),
            TensorData::Pixels(_) => return Err(EngineError::Pixels { engine: ENGINE }),
        };
        copied.map_err(|_| wrong(view.shape()))
    }

    /// Runs the plan, and leaves nothing of a failed run behind.
    fn evaluate(&mut self) -> TractResult<TVec<TValue>> {
        let results = self.state.run(tvec!(TValue::from_const(self.input.clone())));
        if results.is_err() {
            self.state.reset_turn()?;
        }
        results
    }
}

impl Engine for TractEngine {
    fn name(&self) -> &str {
        ENGINE
    }

    fn outputs(&self) -> usize {
        self.outputs
    }

    fn run(&mut self, input: &InputTensor, output: &mut Vec<f32>) -> Result<(), EngineError> {
        self.fill(input)?;
        let results = self.evaluate().map_err(|error| failed(&error))?;
        let Some(scores) = results.first() else {
            return Err(EngineError::Run { engine: ENGINE, reason: "there is no output".to_owned() });
        };
        copy_scores(scores, output).map_err(|error| failed(&error))?;
        if output.len() == self.outputs {
            return Ok(());
        }
        let reason = format!("{} numbers came out, {} were expected", output.len(), self.outputs);
        Err(EngineError::Run { engine: ENGINE, reason })
    }
}

/// What one frame costs, and how many numbers come out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Work {
    pub(crate) multiply_accumulates: u64,
    pub(crate) scores: u64,
}

/// Counts a model's work for a batch of one; `None` where a shape stays open or tract refuses the model.
pub(crate) fn measure(file: &OnnxFile) -> Option<Work> {
    let inputs = file.inputs();
    let [input] = inputs.as_slice() else { return None };
    let axes = input.shape.as_ref()?.iter().enumerate();
    let shape: Vec<usize> =
        axes.map(|(at, axis)| if at == 0 { Some(1) } else { axis.fixed() }).collect::<Option<_>>()?;
    let element = match input.element.as_str() {
        "float" => DatumType::F32,
        "uint8" => DatumType::U8,
        "int8" => DatumType::I8,
        _ => return None,
    };
    let model = typed(file, InferenceFact::dt_shape(element, &shape)).ok()?;
    attempt(file, Stage::Type, || {
        let mut multiply_accumulates = 0_u64;
        for node in &model.nodes {
            for (cost, count) in node.op.cost(&model.node_input_facts(node.id)?)? {
                if matches!(cost, Cost::FMA(_)) {
                    multiply_accumulates = multiply_accumulates.saturating_add(count.to_i64()?.unsigned_abs());
                }
            }
        }
        let scores = model.output_fact(0)?.shape.as_concrete().map(|shape| shape.iter().product::<usize>() as u64);
        Ok(scores.map(|scores| Work { multiply_accumulates, scores }))
    })
    .ok()?
}

fn optimise(file: &OnnxFile, spec: &InputSpec) -> Result<TypedModel, LoadError> {
    let mut typed = typed(file, InferenceFact::dt_shape(datum_type(spec.element), spec.shape()))?;
    attempt(file, Stage::Optimise, || {
        quantised::spell_out(&mut typed)?;
        typed.into_optimized()
    })
}

/// The model with every type and shape known, given those of its one input.
fn typed(file: &OnnxFile, input: InferenceFact) -> Result<TypedModel, LoadError> {
    let framework = tract_onnx::onnx().with_ignore_value_info(true).with_ignore_output_shapes(true);
    let parsed = attempt(file, Stage::Parse, || framework.parse(&file.proto, None))?;
    if let Some(name) = parsed.unresolved_inputs.first() {
        return Err(refused(file, Stage::Parse, format!("nothing supplies the tensor `{name}`")));
    }
    attempt(file, Stage::Type, || parsed.model.with_input_fact(0, input)?.into_typed())
}

/// Takes one step of loading. tract panics over some malformed models; the caller is told of it like of an error.
fn attempt<T>(file: &OnnxFile, stage: Stage, step: impl FnOnce() -> TractResult<T>) -> Result<T, LoadError> {
    match catch_unwind(AssertUnwindSafe(step)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(refused(file, stage, one_line(&error))),
        Err(_) => Err(refused(file, stage, "it panicked; standard error has its message".to_owned())),
    }
}

/// The length of the score vector, once the output is known to be one.
fn check_output(file: &OnnxFile, model: &TypedModel, spec: &OutputSpec) -> Result<usize, LoadError> {
    let mismatch = |problem| LoadError::Mismatch { path: file.path.clone(), problems: vec![problem] };
    let count = model.outputs.len();
    let [_] = model.outputs.as_slice() else {
        return Err(mismatch(SpecProblem::new("the number of outputs", count, "a classifier returns one vector")));
    };
    let fact = attempt(file, Stage::Type, || model.output_fact(0))?;
    let Some(shape) = fact.shape.as_concrete() else {
        let rule = "it must be fixed when the input is";
        return Err(mismatch(SpecProblem::new("the output's shape", format!("{:?}", fact.shape), rule)));
    };
    let length: usize = shape.iter().product();
    if length == 0 || shape.iter().filter(|&&axis| axis != 1).count() > 1 {
        let rule = "a classifier returns one number a class";
        return Err(mismatch(SpecProblem::new("the output's shape", format!("{shape:?}"), rule)));
    }
    check_element(fact.datum_type, spec).map_err(mismatch)?;
    Ok(length)
}

fn check_element(found: DatumType, spec: &OutputSpec) -> Result<(), SpecProblem> {
    let problem = |value: &str, rule: &str| Err(SpecProblem::new("output.quantisation", value, rule));
    match (found.unquantized(), spec.quantisation) {
        (DatumType::F32, None) | (DatumType::U8 | DatumType::I8, Some(_)) => Ok(()),
        (DatumType::F32, Some(_)) => problem("given", "the model returns floats: leave it out"),
        (DatumType::U8 | DatumType::I8, None) => {
            problem("missing", "the model returns integers: give scale and zero_point")
        }
        (other, _) => {
            let rule = "only f32, u8 and i8 are supported";
            Err(SpecProblem::new("the output's element", format!("{other:?}"), rule))
        }
    }
}

fn datum_type(element: Element) -> DatumType {
    match element {
        Element::F32 => DatumType::F32,
        Element::U8 => DatumType::U8,
    }
}

fn copy_scores(scores: &Tensor, output: &mut Vec<f32>) -> TractResult<()> {
    output.clear();
    let view = scores.try_as_plain_ram()?;
    match scores.datum_type().unquantized() {
        DatumType::U8 => output.extend(view.as_bytes().iter().map(|&byte| f32::from(byte))),
        DatumType::I8 => output.extend(view.as_bytes().iter().map(|&byte| f32::from(byte.cast_signed()))),
        _ => output.extend_from_slice(view.as_slice::<f32>()?),
    }
    Ok(())
}

fn refused(file: &OnnxFile, stage: Stage, reason: String) -> LoadError {
    LoadError::Refused { path: file.path.clone(), engine: ENGINE, stage, reason }
}

fn failed(error: &TractError) -> EngineError {
    EngineError::Run { engine: ENGINE, reason: one_line(error) }
}

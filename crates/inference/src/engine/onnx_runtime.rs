//! ONNX Runtime as an engine. Nothing of it is needed to build: its shared library is loaded where a model is to run on
//! it, from the path that the caller names.
//!
//! A process has one library for its whole life. The model is read and bounded like for the other engines, and handed
//! over in memory, so that the library opens no file by itself. Only this file names the crate `ort`.

use std::error::Error as _;
use std::fmt;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use margay_frontend::tensor::{InputTensor, TensorData};
use ort::LoadDynamicError;
use ort::environment::Environment;
use ort::ep::{self, ExecutionProvider, ExecutionProviderDispatch};
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{Session, SessionInputValue, SessionOutputs};
use ort::value::{DynValue, TensorRef};

use super::execution::{EngineChoice, Execution, Provider};
use super::onnx::OnnxFile;
use super::{Engine, EngineError, LoadError, Stage};
use crate::spec::output::OutputSpec;
use crate::spec::{ModelSpec, SpecProblem};

/// Name of the engine in errors.
const ENGINE: &str = "ONNX Runtime";

/// The library of this process, once one is loaded, or why it could not be.
static LIBRARY: OnceLock<(PathBuf, Result<Environment, String>)> = OnceLock::new();

/// A model that ONNX Runtime has accepted.
pub struct OnnxRuntimeEngine {
    session: Session,
    name: &'static str,
    remark: Option<String>,
    shape: [usize; 4],
    outputs: usize,
}

impl OnnxRuntimeEngine {
    /// Loads a model and checks it against its specification. A provider that the library lacks, or that fails on this
    /// device, is replaced by the library's own kernels: [`Engine::remark`] has the reason.
    ///
    /// # Errors
    /// [`LoadError`]: the library, the file, or how the model differs from its specification.
    pub fn load(path: &Path, spec: &ModelSpec, provider: Provider, execution: &Execution) -> Result<Self, LoadError> {
        let unusable = |reason| LoadError::Library { path: path.to_owned(), reason };
        let library = execution.library.as_deref().ok_or_else(|| unusable("no library was found".to_owned()))?;
        let environment = environment(library).map_err(unusable)?;
        let (file, bytes) = OnnxFile::read_with_bytes(path)?;
        file.check_input(&spec.input)?;
        // The library decodes the bytes again: a large model need not be in memory more often than that.
        drop(file);
        let (session, provider, remark) =
            session(environment, &bytes, provider, execution.threads).map_err(|reason| LoadError::Refused {
                path: path.to_owned(),
                engine: ENGINE,
                stage: Stage::Optimise,
                reason,
            })?;
        let name = EngineChoice::OnnxRuntime(provider).name();
        let mut engine = Self { session, name, remark, shape: spec.input.shape(), outputs: 0 };
        engine.outputs =
            engine.check_output(&spec.output, &InputTensor::zeroed(&spec.input)).map_err(|problem| match problem {
                Unfit::Problem(problem) => LoadError::Mismatch { path: path.to_owned(), problems: vec![problem] },
                Unfit::Failed(reason) => {
                    LoadError::Refused { path: path.to_owned(), engine: ENGINE, stage: Stage::Optimise, reason }
                }
            })?;
        Ok(engine)
    }

    /// The length of the score vector, which one run tells: declared shapes are often missing.
    fn check_output(&mut self, spec: &OutputSpec, zeros: &InputTensor) -> Result<usize, Unfit> {
        let count = self.session.outputs().len();
        if count != 1 {
            return Err(SpecProblem::new("the number of outputs", count, "a classifier returns one vector").into());
        }
        let outcome = evaluate(&mut self.session, zeros).map_err(|error| Unfit::Failed(one_line(&error)))?;
        let Some((axes, scores)) = Scores::of(&outcome[0]) else {
            let rule = "only f32, u8 and i8 are supported";
            return Err(SpecProblem::new("the output's element", format!("{:?}", outcome[0].dtype()), rule).into());
        };
        let length = scores.len();
        if length == 0 || axes.iter().filter(|&&axis| axis != 1).count() > 1 {
            let rule = "a classifier returns one number a class";
            return Err(SpecProblem::new("the output's shape", format!("{axes:?}"), rule).into());
        }
        let problem = |value: &str, rule: &str| Err(SpecProblem::new("output.quantisation", value, rule).into());
        match (scores, spec.quantisation) {
            (Scores::F32(_), Some(_)) => problem("given", "the model returns floats: leave it out"),
            (Scores::U8(_) | Scores::I8(_), None) => {
                problem("missing", "the model returns integers: give scale and zero_point")
            }
            _ => Ok(length),
        }
    }
}

/// Why a model does not do.
enum Unfit {
    Problem(SpecProblem),
    Failed(String),
}

impl From<SpecProblem> for Unfit {
    fn from(problem: SpecProblem) -> Self {
        Self::Problem(problem)
    }
}

impl Engine for OnnxRuntimeEngine {
    fn name(&self) -> &str {
        self.name
    }

    fn remark(&self) -> Option<&str> {
        self.remark.as_deref()
    }

    fn outputs(&self) -> usize {
        self.outputs
    }

    fn run(&mut self, input: &InputTensor, output: &mut Vec<f32>) -> Result<(), EngineError> {
        if input.shape() != self.shape {
            return Err(EngineError::Input { expected: self.shape.to_vec(), found: input.shape().to_vec() });
        }
        let outputs = self.outputs;
        let outcome = evaluate(&mut self.session, input).map_err(|error| failed(one_line(&error)))?;
        let Some((_, scores)) = Scores::of(&outcome[0]) else {
            return Err(failed("its output is of another element now".to_owned()));
        };
        scores.copy_to(output);
        if output.len() == outputs {
            return Ok(());
        }
        Err(failed(format!("{} numbers came out, {outputs} were expected", output.len())))
    }
}

impl fmt::Debug for OnnxRuntimeEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnnxRuntimeEngine")
            .field("name", &self.name)
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

/// The providers that the library at `path` was built with, its own kernels first.
///
/// # Errors
/// The library cannot be used; the text says why.
pub fn providers(path: &Path) -> Result<Vec<Provider>, String> {
    environment(path)?;
    Ok(Provider::ALL.into_iter().filter(|provider| is_built_in(*provider)).collect())
}

fn is_built_in(provider: Provider) -> bool {
    match provider {
        Provider::Cpu => true,
        Provider::Xnnpack => ep::XNNPACK::is_available().unwrap_or(false),
        Provider::Acl => ep::ACL::is_available().unwrap_or(false),
        Provider::Cuda => ep::CUDA::is_available().unwrap_or(false),
        Provider::TensorRt => ep::TensorRT::is_available().unwrap_or(false),
    }
}

/// The environment of the library at `path`, which is loaded by the first who asks.
fn environment(path: &Path) -> Result<&'static Environment, String> {
    let (loaded, environment) = LIBRARY.get_or_init(|| (path.to_owned(), load_library(path)));
    if loaded != path {
        return Err(format!(
            "this process has loaded {} already, and cannot load {}",
            loaded.display(),
            path.display()
        ));
    }
    environment.as_ref().map_err(Clone::clone)
}

fn load_library(path: &Path) -> Result<Environment, String> {
    // A library that says it is ONNX Runtime and lacks its functions makes the crate panic.
    let loading = || {
        let builder = ort::init_from(path).map_err(|error| words_of(&error))?;
        builder.with_name("margay").with_telemetry(false).build().map_err(|error| one_line(&error))
    };
    let broken = || format!("{} is no library of ONNX Runtime that can be used", path.display());
    catch_unwind(AssertUnwindSafe(loading)).unwrap_or_else(|_| Err(broken()))
}

/// The loader's reason with what the system said, which the crate leaves out.
fn words_of(error: &LoadDynamicError) -> String {
    let reason = match error {
        LoadDynamicError::Dlopen { error, .. } => error.source().map(ToString::to_string),
        _ => None,
    };
    reason.map_or_else(|| error.to_string(), |reason| format!("{error}: {reason}"))
}

/// A session with the provider asked for, or with the library's own kernels where that fails, and a word about it.
fn session(
    environment: &Environment,
    model: &[u8],
    provider: Provider,
    threads: usize,
) -> Result<(Session, Provider, Option<String>), String> {
    let mut remark = None;
    if provider != Provider::Cpu {
        let attempt = if is_built_in(provider) {
            commit(environment, model, provider, threads)
        } else {
            Err("the library was built without it".to_owned())
        };
        match attempt {
            Ok(session) => return Ok((session, provider, None)),
            Err(reason) => remark = Some(fell_back(provider, &reason)),
        }
    }
    Ok((commit(environment, model, Provider::Cpu, threads)?, Provider::Cpu, remark))
}

fn fell_back(provider: Provider, reason: &str) -> String {
    let asked = EngineChoice::OnnxRuntime(provider);
    format!("{asked} does not work here, and the library's own kernels run the model: {reason}")
}

fn commit(environment: &Environment, model: &[u8], provider: Provider, threads: usize) -> Result<Session, String> {
    let threads = NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN);
    // XNNPACK has a pool of its own; a second one would only be in its way.
    let own_threads = if provider == Provider::Xnnpack { 1 } else { threads.get() };
    let build = || -> ort::Result<Session> {
        let builder = Session::builder(environment)?;
        let builder = builder.with_optimization_level(GraphOptimizationLevel::All)?;
        let builder = builder.with_intra_threads(own_threads)?;
        let builder = builder.with_inter_threads(1)?;
        let mut builder: SessionBuilder = match dispatch(provider, threads) {
            Some(dispatch) => builder.with_execution_providers([dispatch.error_on_failure()])?,
            None => builder,
        };
        builder.commit_from_memory(model)
    };
    catch_unwind(AssertUnwindSafe(build))
        .unwrap_or_else(|_| Err(ort::Error::new("the library's binding panicked")))
        .map_err(|error| one_line(&error))
}

fn dispatch(provider: Provider, threads: NonZeroUsize) -> Option<ExecutionProviderDispatch> {
    match provider {
        Provider::Cpu => None,
        Provider::Xnnpack => Some(ep::XNNPACK::default().with_intra_op_num_threads(threads).build()),
        Provider::Acl => Some(ep::ACL::default().build()),
        Provider::Cuda => Some(ep::CUDA::default().build()),
        Provider::TensorRt => Some(ep::TensorRT::default().build()),
    }
}

/// One run; the tensor is lent to the library, not copied.
fn evaluate<'s>(session: &'s mut Session, input: &InputTensor) -> ort::Result<SessionOutputs<'s>> {
    let shape = input.shape();
    let value: SessionInputValue<'_> = match input.data() {
        TensorData::F32(elements) => TensorRef::from_array_view((shape, elements.as_slice()))?.into(),
        TensorData::U8(elements) => TensorRef::from_array_view((shape, elements.as_slice()))?.into(),
        TensorData::Pixels(_) => return Err(ort::Error::new("it takes the tensor's floats, and not its pixels")),
    };
    session.run([value])
}

/// The numbers of an output, in the element that the model stores.
enum Scores<'a> {
    F32(&'a [f32]),
    U8(&'a [u8]),
    I8(&'a [i8]),
}

impl<'a> Scores<'a> {
    /// The axes of a tensor and its elements; `None` for anything else.
    fn of(value: &'a DynValue) -> Option<(&'a [i64], Self)> {
        if let Ok((shape, elements)) = value.try_extract_tensor::<f32>() {
            return Some((shape, Self::F32(elements)));
        }
        if let Ok((shape, elements)) = value.try_extract_tensor::<u8>() {
            return Some((shape, Self::U8(elements)));
        }
        value.try_extract_tensor::<i8>().ok().map(|(shape, elements)| (&**shape, Self::I8(elements)))
    }

    fn len(&self) -> usize {
        match self {
            Self::F32(elements) => elements.len(),
            Self::U8(elements) => elements.len(),
            Self::I8(elements) => elements.len(),
        }
    }

    fn copy_to(&self, output: &mut Vec<f32>) {
        output.clear();
        match self {
            Self::F32(elements) => output.extend_from_slice(elements),
            Self::U8(elements) => output.extend(elements.iter().map(|&element| f32::from(element))),
            Self::I8(elements) => output.extend(elements.iter().map(|&element| f32::from(element))),
        }
    }
}

fn failed(reason: String) -> EngineError {
    EngineError::Run { engine: ENGINE, reason }
}

/// The library's words in one line, cut where they would fill a log.
fn one_line(error: &ort::Error) -> String {
    let text = error.to_string();
    let line: Vec<&str> = text.split_whitespace().collect();
    line.join(" ").chars().take(400).collect()
}

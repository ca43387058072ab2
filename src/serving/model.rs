//! A package as it is served: its two forms, and the worker that answers for both.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use margay_inference::{Element, Labels};
use serde_json::{Value, json};
use tokio::sync::{Mutex, Semaphore};

use super::statistics::Statistics;
use crate::classifier::model_directory::ModelDirectory;
use crate::classifier::one_shot::scores::{Scored, Scores};
use crate::classifier::one_shot::{OneShot, OneShotError};
use crate::classifier::{Running, WorkerIdentity};

/// Requests that may wait for a worker; more are told to come again.
const MAX_WAITING: usize = 32;

/// What the form that takes tensors is called, after the package's name.
const TENSOR_SUFFIX: &str = ".tensor";

/// Name of the picture form's input and output.
const PICTURE_INPUT: &str = "image";
const PICTURE_OUTPUT: &str = "probabilities";

/// Why a request got no outputs.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Too many are waiting already.
    #[error("{MAX_WAITING} requests wait for the model already: come again")]
    Busy,
    /// The worker refused the input.
    #[error("{why}")]
    Refused {
        /// What was tried, and what came back.
        why: String,
    },
    /// The worker failed; the next request gets another one.
    #[error("the model's worker failed")]
    Worker(#[from] OneShotError),
}

/// A tensor's place in a model: what clients name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// `BYTES`, `FP32` or `UINT8`.
    pub datatype: &'static str,
    /// Its axes.
    pub shape: Vec<usize>,
}

impl Port {
    fn document(&self) -> Value {
        json!({ "name": self.name, "datatype": self.datatype, "shape": self.shape })
    }

    fn configuration(&self) -> Value {
        let data_type = if self.datatype == "BYTES" { "STRING" } else { self.datatype };
        json!({ "name": self.name, "data_type": format!("TYPE_{data_type}"), "dims": self.shape })
    }
}

/// One form of a package.
#[derive(Debug)]
pub struct Model {
    /// What clients call it.
    pub name: String,
    /// The package's version.
    pub version: String,
    /// What it takes.
    pub input: Port,
    /// What it gives.
    pub output: Port,
    /// That it runs otherwise than was to be expected, and why.
    pub remark: Option<String>,
    scored: Scored,
    engine: String,
    runner: Arc<Runner>,
    statistics: Statistics,
}

impl Model {
    /// Loads the package that lies unpacked in `directory`, to run as `running` says; gives its two forms.
    ///
    /// # Errors
    /// When its worker cannot be started, or refuses the model.
    pub async fn load(
        directory: &Path,
        contents: ModelDirectory,
        memory_limit: u64,
        running: Running,
    ) -> Result<[Self; 2], OneShotError> {
        let spec = contents.manifest.model_spec();
        let runner = Runner {
            directory: directory.to_owned(),
            memory_limit,
            running,
            labels: contents.labels,
            offset: spec.output.index_offset as usize,
            worker: Mutex::new(None),
            places: Semaphore::new(MAX_WAITING),
        };
        let worker = runner.start().await?;
        let (engine, summary, remark) = (worker.engine.clone(), worker.summary.clone(), worker.remark.clone());
        *runner.worker.lock().await = Some(worker);
        let outputs = runner.labels.count() + runner.offset;
        let tensor = match spec.input.element {
            Element::F32 => "FP32",
            Element::U8 => "UINT8",
        };
        let named = |signatures: &[margay_inference::engine::signature::TensorSignature], otherwise: &str| {
            signatures.first().map_or_else(|| otherwise.to_owned(), |signature| signature.name.clone())
        };
        let port = |name: String, datatype, shape: &[usize]| Port { name, datatype, shape: shape.to_vec() };
        let runner = Arc::new(runner);
        let (name, version) = (contents.manifest.name(), contents.manifest.version());
        let form = |name: String, scored, input, output| Self {
            name,
            version: version.to_owned(),
            input,
            output,
            remark: remark.clone(),
            scored,
            engine: engine.clone(),
            runner: runner.clone(),
            statistics: Statistics::default(),
        };
        Ok([
            form(
                name.to_owned(),
                Scored::Picture,
                port(PICTURE_INPUT.into(), "BYTES", &[1]),
                port(PICTURE_OUTPUT.into(), "FP32", &[1, outputs]),
            ),
            form(
                format!("{name}{TENSOR_SUFFIX}"),
                Scored::Tensor,
                port(named(&summary.inputs, "input"), tensor, &spec.input.shape()),
                port(named(&summary.outputs, "output"), "FP32", &[1, outputs]),
            ),
        ])
    }

    /// Whether a worker is loaded.
    pub async fn is_ready(&self) -> bool {
        // A worker that is at work is one.
        self.runner.worker.try_lock().map_or(true, |worker| worker.is_some())
    }

    /// Every output for `input`: an encoded picture, or the tensor's elements, little-endian.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn score(self: &Arc<Self>, input: Vec<u8>) -> Result<Vec<f32>, ServeError> {
        let model = Arc::clone(self);
        // A client that goes away must not leave the worker's answer to the next one.
        let task = tokio::spawn(async move {
            let started = Instant::now();
            let outcome = model.runner.score(model.scored, &input).await;
            match outcome {
                Ok((scores, waited)) => {
                    model.statistics.succeeded(started.elapsed(), waited, &scores.timings);
                    Ok(scores.outputs)
                }
                Err(error) => {
                    model.statistics.failed(started.elapsed());
                    Err(error)
                }
            }
        });
        task.await.map_err(|error| ServeError::Worker(OneShotError::Channel(std::io::Error::other(error))))?
    }

    /// The name of the class that output `index` stands for; empty where it stands for none.
    pub fn label(&self, index: usize) -> &str {
        let class = index.checked_sub(self.runner.offset).and_then(|class| u32::try_from(class).ok());
        class.and_then(|class| self.runner.labels.get(class)).map_or("", |label| label)
    }

    /// The document of `GET /v2/models/NAME`.
    pub fn metadata(&self) -> Value {
        json!({
            "name": self.name, "versions": [self.version], "platform": format!("margay_{}", self.engine),
            "inputs": [self.input.document()], "outputs": [self.output.document()],
        })
    }

    /// The document of the model configuration extension.
    pub fn configuration(&self) -> Value {
        json!({
            "name": self.name, "platform": format!("margay_{}", self.engine), "backend": "margay", "max_batch_size": 0,
            "input": [self.input.configuration()], "output": [self.output.configuration()],
        })
    }

    /// The document of the statistics extension.
    pub fn statistics(&self) -> Value {
        json!({ "model_stats": [self.statistics.document(&self.name, &self.version)] })
    }
}

/// The worker of a package, started again where it ended.
#[derive(Debug)]
struct Runner {
    directory: PathBuf,
    memory_limit: u64,
    running: Running,
    labels: Labels,
    /// Leading outputs without a label.
    offset: usize,
    worker: Mutex<Option<OneShot>>,
    places: Semaphore,
}

impl Runner {
    async fn start(&self) -> Result<OneShot, OneShotError> {
        OneShot::load(&self.directory, self.memory_limit, WorkerIdentity::default(), &self.running).await
    }

    /// The outputs, and how long the request waited for its turn.
    async fn score(&self, scored: Scored, input: &[u8]) -> Result<(Scores, Duration), ServeError> {
        let _place = self.places.try_acquire().map_err(|_| ServeError::Busy)?;
        let came = Instant::now();
        let mut place = self.worker.lock().await;
        let worker = match place.take() {
            Some(worker) => worker,
            None => self.start().await?,
        };
        let waited = came.elapsed();
        let outcome = worker.scores(scored, input).await;
        match outcome {
            Ok(scores) => {
                *place = Some(worker);
                Ok((scores, waited))
            }
            Err(OneShotError::Refused { why }) => {
                *place = Some(worker);
                Err(ServeError::Refused { why })
            }
            // A worker that ended, or talks nonsense, is replaced.
            Err(error) => Err(error.into()),
        }
    }
}

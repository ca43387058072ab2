//! A model in a sandbox for one question: what is in these pictures, or what is in this model. The command line asks;
//! the parsers run in a worker, as they do under the core.

pub mod bench;
pub mod calibration;
pub mod scores;

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use margay_inference::{EngineChoice, ModelSummary, Pipeline, Quantiser, StageTimings, Still};
use margay_sandbox::{LaunchError, Sandboxed};
use serde::{Deserialize, Serialize};

use self::bench::{BenchOrder, BenchResult, Laps};
use self::scores::Scored;
use super::inference_worker;
use super::model_directory::ModelDirectory;
use super::plan::{self, WorkerIdentity};
use super::running::Running;
use super::worker::CHANNEL_FD;
use crate::causes::explain;
use crate::ipc::{self, CoreChannel, IpcError, Received, Waited, WorkerChannel};
use crate::payload::Ranked;

/// No picture is larger, in bytes.
pub const MAX_PICTURE: u64 = 64 * 1024 * 1024;

/// The most pictures that a worker holds for a measurement.
pub const MAX_PICTURES: usize = 64;

/// Where the package appears inside the sandbox.
const PACKAGE: &str = "/package";

/// A question to the worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Question {
    /// Say what the model file in this directory holds.
    Inspect { directory: PathBuf, file: String },
    /// Load the package in this directory and say what its model holds.
    Load { directory: PathBuf, running: Running },
    /// Say which execution providers ONNX Runtime's library has.
    Providers { library: PathBuf },
    /// Classify the picture whose descriptor comes along.
    Picture { top_k: usize },
    /// Keep the picture whose descriptor comes along for a measurement.
    Keep,
    /// Measure how fast the model is on the pictures kept.
    Bench(BenchOrder),
    /// Write every output for what is in the first descriptor into the second.
    Score(Scored),
    /// Take a step of a calibration.
    Calibrate(calibration::Asked),
}

/// The worker's answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Answer {
    Inspected(Box<ModelSummary>),
    Loaded {
        summary: Box<ModelSummary>,
        engine: String,
        /// That the model runs otherwise than was to be expected, and why.
        remark: Option<String>,
    },
    /// The execution providers of ONNX Runtime's library.
    Providers {
        engines: Vec<EngineChoice>,
    },
    Classified(PictureResult),
    Kept,
    /// So many frames of a measurement are done.
    Measuring {
        frames: u32,
    },
    Measured(Box<BenchResult>),
    /// So many outputs were written.
    Scored {
        outputs: usize,
        timings: StageTimings,
    },
    Calibrated(calibration::Told),
    /// The model or the picture cannot be used.
    Refused {
        why: String,
    },
}

/// What a model makes of a picture.
#[derive(Debug, Serialize, Deserialize)]
pub struct PictureResult {
    /// The classes, most probable first.
    pub predictions: Vec<Ranked>,
    /// Where the time went.
    pub timings: StageTimings,
}

/// Why a question got no answer.
#[derive(Debug, thiserror::Error)]
pub enum OneShotError {
    /// The channel to the worker could not be made.
    #[error("making the channel to the worker")]
    Channel(#[source] std::io::Error),
    /// The channel broke.
    #[error(transparent)]
    Ipc(#[from] IpcError),
    /// The sandbox's plan breaks a rule.
    #[error("planning the worker's sandbox")]
    Plan(#[from] margay_sandbox::PlanError),
    /// The sandbox could not be set up.
    #[error("starting the worker in its sandbox")]
    Launch(#[from] LaunchError),
    /// The picture cannot be opened.
    #[error("opening the picture {}", path.display())]
    Picture {
        /// Which picture.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The worker says that the model or the picture is unusable.
    #[error("{why}")]
    Refused {
        /// What was tried, on what, and what came back.
        why: String,
    },
    /// The worker ended without an answer.
    #[error("the worker ended without an answer: {exit}")]
    Died {
        /// How it ended.
        exit: margay_sandbox::Exit,
    },
}

/// A worker with one model loaded. Dropping it ends the worker.
#[derive(Debug)]
pub struct OneShot {
    channel: CoreChannel,
    sandboxed: Arc<Sandboxed>,
    /// What the model holds.
    pub summary: ModelSummary,
    /// The engine that runs it.
    pub engine: String,
    /// That the model runs otherwise than was to be expected, and why.
    pub remark: Option<String>,
}

impl OneShot {
    /// What the model `file` in `directory` holds, which need not be a package yet.
    ///
    /// # Errors
    /// [`OneShotError`]; `Refused` carries the worker's reason.
    pub async fn inspect(
        directory: &Path,
        file: &str,
        memory_limit: u64,
        identity: WorkerIdentity,
    ) -> Result<ModelSummary, OneShotError> {
        let (channel, sandboxed) = start(directory, memory_limit, identity, &Running::default()).await?;
        channel.send(&Question::Inspect { directory: PACKAGE.into(), file: file.to_owned() }, &[]).await?;
        let answer = ask(&channel, &sandboxed).await;
        sandboxed.kill();
        match answer? {
            Answer::Inspected(summary) => Ok(*summary),
            Answer::Refused { why } => Err(OneShotError::Refused { why }),
            _ => Err(another_question()),
        }
    }

    /// The engines that ONNX Runtime's `library` offers: its own kernels, and the execution providers that it was built
    /// with. It is loaded in a sandbox, which shows `directory`.
    ///
    /// # Errors
    /// [`OneShotError`]; `Refused` where the library cannot be used.
    pub async fn providers(
        library: &Path,
        directory: &Path,
        memory_limit: u64,
    ) -> Result<Vec<EngineChoice>, OneShotError> {
        let running = Running { library: Some(library.to_owned()), ..Running::default() };
        let (channel, sandboxed) = start(directory, memory_limit, WorkerIdentity::default(), &running).await?;
        channel.send(&Question::Providers { library: library.to_owned() }, &[]).await?;
        let answer = ask(&channel, &sandboxed).await;
        sandboxed.kill();
        match answer? {
            Answer::Providers { engines } => Ok(engines),
            Answer::Refused { why } => Err(OneShotError::Refused { why }),
            _ => Err(another_question()),
        }
    }

    /// Loads the package in `directory` in a sandbox of its own, with `memory_limit` bytes, to run as `running` says.
    ///
    /// # Errors
    /// [`OneShotError`]; `Refused` carries the worker's reason.
    pub async fn load(
        directory: &Path,
        memory_limit: u64,
        identity: WorkerIdentity,
        running: &Running,
    ) -> Result<Self, OneShotError> {
        Self::load_at(directory, Path::new(PACKAGE), memory_limit, identity, running).await
    }

    /// The same, with the package at `destination` inside the sandbox.
    ///
    /// # Errors
    /// As for [`OneShot::load`].
    pub async fn load_at(
        directory: &Path,
        destination: &Path,
        memory_limit: u64,
        identity: WorkerIdentity,
        running: &Running,
    ) -> Result<Self, OneShotError> {
        let (channel, sandboxed) = start_at(directory, destination, memory_limit, identity, running).await?;
        channel.send(&Question::Load { directory: destination.to_owned(), running: running.clone() }, &[]).await?;
        match ask(&channel, &sandboxed).await? {
            Answer::Loaded { summary, engine, remark } => {
                Ok(Self { channel, sandboxed, summary: *summary, engine, remark })
            }
            Answer::Refused { why } => Err(OneShotError::Refused { why }),
            _ => Err(another_question()),
        }
    }

    /// The `top_k` most probable classes of the picture at `path`.
    ///
    /// # Errors
    /// [`OneShotError`]; the worker can go on with another picture after `Picture` and `Refused`.
    pub async fn classify(&self, path: &Path, top_k: usize) -> Result<PictureResult, OneShotError> {
        let picture = File::open(path).map_err(|source| OneShotError::Picture { path: path.to_owned(), source })?;
        self.channel.send(&Question::Picture { top_k }, &[picture.as_fd()]).await?;
        match ask(&self.channel, &self.sandboxed).await? {
            Answer::Classified(result) => Ok(result),
            Answer::Refused { why } => Err(OneShotError::Refused { why }),
            _ => Err(another_question()),
        }
    }

    /// Adds a picture to those of the next measurement, at most [`MAX_PICTURES`].
    ///
    /// # Errors
    /// [`OneShotError`].
    pub async fn add_picture(&self, path: &Path) -> Result<(), OneShotError> {
        let picture = File::open(path).map_err(|source| OneShotError::Picture { path: path.to_owned(), source })?;
        self.channel.send(&Question::Keep, &[picture.as_fd()]).await?;
        match ask(&self.channel, &self.sandboxed).await? {
            Answer::Kept => Ok(()),
            Answer::Refused { why } => Err(OneShotError::Refused { why: format!("{}: {why}", path.display()) }),
            _ => Err(another_question()),
        }
    }

    /// Measures the model on the pictures added, or on a stand-in where there are none; `tell` hears how far it is.
    ///
    /// # Errors
    /// [`OneShotError`]; `Refused` where a picture cannot be classified.
    pub async fn bench(
        &self,
        order: BenchOrder,
        mut tell: impl FnMut(u32),
    ) -> Result<(BenchResult, Laps), OneShotError> {
        let mut memory = scores::memory("margay-times").map_err(OneShotError::Channel)?;
        self.channel.send(&Question::Bench(order), &[memory.as_fd()]).await?;
        loop {
            match ask(&self.channel, &self.sandboxed).await? {
                Answer::Measuring { frames } => tell(frames),
                Answer::Measured(result) if (1..=order.frames.max(1)).contains(&result.frames) => {
                    let laps = Laps::read(&mut memory, result.frames).map_err(OneShotError::Channel)?;
                    return Ok((*result, laps));
                }
                Answer::Refused { why } => return Err(OneShotError::Refused { why }),
                _ => return Err(another_question()),
            }
        }
    }
}

impl Drop for OneShot {
    fn drop(&mut self) {
        self.sandboxed.kill();
    }
}

/// Starts a worker that sees `directory` and nothing else.
async fn start(
    directory: &Path,
    memory_limit: u64,
    identity: WorkerIdentity,
    running: &Running,
) -> Result<(CoreChannel, Arc<Sandboxed>), OneShotError> {
    start_at(directory, Path::new(PACKAGE), memory_limit, identity, running).await
}

async fn start_at(
    directory: &Path,
    destination: &Path,
    memory_limit: u64,
    identity: WorkerIdentity,
    running: &Running,
) -> Result<(CoreChannel, Arc<Sandboxed>), OneShotError> {
    let (ours, theirs) = ipc::pair().map_err(OneShotError::Channel)?;
    let channel = CoreChannel::new(ours, "worker").map_err(OneShotError::Channel)?;
    let plan = plan::one_shot(directory, destination, memory_limit, identity, running)?;
    let launched = tokio::task::spawn_blocking(move || margay_sandbox::launch(&plan, vec![(theirs, CHANNEL_FD)]));
    let sandboxed = launched.await.map_err(|error| OneShotError::Channel(std::io::Error::other(error)))??;
    Ok((channel, Arc::new(sandboxed)))
}

fn another_question() -> OneShotError {
    OneShotError::Refused { why: "the worker answered another question".into() }
}

async fn ask(channel: &CoreChannel, sandboxed: &Arc<Sandboxed>) -> Result<Answer, OneShotError> {
    if let Some(Received { message, .. }) = channel.receive::<Answer>().await? {
        return Ok(message);
    }
    let dead = sandboxed.clone();
    let exit = tokio::task::spawn_blocking(move || dead.wait()).await;
    Err(OneShotError::Died { exit: exit.map_err(|e| OneShotError::Channel(std::io::Error::other(e)))? })
}

/// The program of the worker.
///
/// # Errors
/// Only a broken channel; what is wrong with a model or a picture is an answer.
pub fn run(channel: &WorkerChannel) -> Result<(), IpcError> {
    let mut worker = Worker { channel, pipeline: None, quantiser: None, pictures: Vec::new() };
    loop {
        let (question, descriptors) = match channel.receive::<Question>(Duration::from_secs(60))? {
            Waited::Message(Received { message, descriptors }) => (message, descriptors),
            Waited::Nothing => continue,
            Waited::CoreGone => return Ok(()),
        };
        let answer = worker.answer(question, descriptors);
        channel.send(&answer.unwrap_or_else(|why| Answer::Refused { why }))?;
    }
}

struct Worker<'a> {
    channel: &'a WorkerChannel,
    pipeline: Option<Pipeline>,
    quantiser: Option<Quantiser>,
    /// For the next measurement.
    pictures: Vec<Still>,
}

impl Worker<'_> {
    fn answer(&mut self, question: Question, descriptors: Vec<OwnedFd>) -> Result<Answer, String> {
        match question {
            Question::Inspect { directory, file } => {
                let file = margay_sandbox::resource_path(&directory).join(file);
                let summary = margay_inference::inspect(&file).map_err(|error| explain(&error))?;
                Ok(Answer::Inspected(Box::new(summary)))
            }
            Question::Load { directory, running } => {
                let (pipeline, answer) = load(&margay_sandbox::resource_path(&directory), &running)?;
                self.pipeline = Some(pipeline);
                Ok(answer)
            }
            Question::Providers { library } => {
                let providers = margay_inference::onnx_runtime_providers(&library)?;
                Ok(Answer::Providers { engines: providers.into_iter().map(EngineChoice::OnnxRuntime).collect() })
            }
            Question::Picture { top_k } => classify(self.pipeline.as_mut(), descriptors, top_k),
            Question::Keep if self.pictures.len() == MAX_PICTURES => Err(format!("{MAX_PICTURES} pictures are enough")),
            Question::Keep => {
                self.pictures.push(read_still(descriptors)?);
                Ok(Answer::Kept)
            }
            Question::Bench(order) => {
                let pipeline = self.pipeline.as_mut().ok_or("a measurement came before a model")?;
                // A core that is gone is noticed at the next question.
                let tell = |frames| drop(self.channel.send(&Answer::Measuring { frames }));
                bench::run(pipeline, &self.pictures, order, descriptors, tell)
                    .map(|result| Answer::Measured(Box::new(result)))
            }
            Question::Score(scored) => {
                let pipeline = self.pipeline.as_mut().ok_or("an input came before a model")?;
                scores::answer(pipeline, scored, descriptors)
            }
            Question::Calibrate(asked) => calibration::answer(&mut self.quantiser, asked, descriptors),
        }
    }
}

fn load(directory: &Path, running: &Running) -> Result<(Pipeline, Answer), String> {
    let package = ModelDirectory::open(directory).map_err(|error| explain(&error))?;
    let summary = margay_inference::inspect(&package.model).map_err(|error| explain(&error))?;
    let inference_worker::Opened { pipeline, remark, .. } = inference_worker::open(directory, running, None)?;
    let engine = pipeline.engine_name().to_owned();
    Ok((pipeline, Answer::Loaded { summary: Box::new(summary), engine, remark }))
}

fn classify(pipeline: Option<&mut Pipeline>, descriptors: Vec<OwnedFd>, top_k: usize) -> Result<Answer, String> {
    let pipeline = pipeline.ok_or("a picture came before a model")?;
    let still = read_still(descriptors)?;
    let classification = pipeline.classify(&still.frame(), top_k).map_err(|error| explain(&error))?;
    let predictions = classification.predictions.into_iter();
    let predictions = predictions
        .map(|p| Ranked { label: p.label.to_string(), class: p.class, probability: p.probability })
        .collect();
    Ok(Answer::Classified(PictureResult { predictions, timings: classification.timings }))
}

/// Reads the picture whose descriptor came along, within its limit.
fn read_still(descriptors: Vec<OwnedFd>) -> Result<Still, String> {
    let picture = descriptors.into_iter().next().ok_or("the question came without its picture")?;
    let mut bytes = Vec::new();
    File::from(picture)
        .take(MAX_PICTURE + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| format!("reading the picture: {e}"))?;
    if bytes.len() as u64 > MAX_PICTURE {
        return Err(format!("the picture is over the limit of {MAX_PICTURE} bytes"));
    }
    Still::from_bytes(bytes).map_err(|error| explain(&error))
}

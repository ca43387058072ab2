//! A float model and the pictures that it is quantised by, in a sandbox: the worker parses the model and the pictures, looks at
//! the numbers in between, and writes the quantised model into memory that the asking process made.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use margay_inference::Quantiser;
use margay_inference::engine::onnx::MAX_MODEL_BYTES;
use margay_inference::quantise::{LayerError, Method, ObserveError, Pass, Scope};
use margay_sandbox::Sandboxed;
use serde::{Deserialize, Serialize};

use super::super::model_directory::ModelDirectory;
use super::super::plan::WorkerIdentity;
use super::super::running::Running;
use super::{Answer, OneShotError, PACKAGE, Question, another_question, ask, read_still, scores, start};
use crate::causes::explain;
use crate::ipc::CoreChannel;

/// Most layers that stay floats that are told of, and the most characters of a name: they are more than a message otherwise.
const MAX_TOLD: usize = 100;
const MAX_TOLD_CHARS: usize = 100;

/// The most bytes that the layers' losses take as JSON.
const MAX_LAYERS_BYTES: u64 = 1 << 20;

/// A step of a calibration.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Asked {
    /// Open the float model of the package in this directory; nodes of these names stay floats.
    Open { directory: PathBuf, keep: Vec<String> },
    /// Look at the picture whose descriptor comes along.
    Observe(Pass),
    /// Write the quantised model into the descriptor.
    Model(Method),
    /// Write what each layer loses into the descriptor.
    Layers,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Told {
    /// The model is open.
    Opened(Scope),
    /// The picture was looked at.
    Observed,
    /// The picture is at fault.
    Unreadable { why: String },
    /// So many bytes were written.
    Written { bytes: u64 },
}

/// Whether a picture was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// It was.
    Yes,
    /// It cannot be read, and why.
    Unreadable(String),
}

/// A worker with a float model that is being calibrated. Dropping it ends the worker.
#[derive(Debug)]
pub struct Calibration {
    channel: CoreChannel,
    sandboxed: Arc<Sandboxed>,
    /// What is to become bytes.
    pub scope: Scope,
}

impl Calibration {
    /// Opens the package in `directory` in a sandbox with `memory_limit` bytes; nodes that `keep` names stay floats.
    ///
    /// # Errors
    /// [`OneShotError`]; `Refused` where the model cannot be quantised.
    pub async fn open(directory: &Path, memory_limit: u64, keep: &[String]) -> Result<Self, OneShotError> {
        let identity = WorkerIdentity::default();
        let (channel, sandboxed) = start(directory, memory_limit, identity, &Running::default()).await?;
        let asked = Asked::Open { directory: PACKAGE.into(), keep: keep.to_vec() };
        channel.send(&Question::Calibrate(asked), &[]).await?;
        match ask(&channel, &sandboxed).await? {
            Answer::Calibrated(Told::Opened(scope)) => Ok(Self { channel, sandboxed, scope }),
            Answer::Refused { why } => Err(OneShotError::Refused { why }),
            _ => Err(another_question()),
        }
    }

    /// Shows the model the picture at `path`.
    ///
    /// # Errors
    /// [`OneShotError`]: not for a picture that cannot be read.
    pub async fn observe(&self, pass: Pass, path: &Path) -> Result<Observed, OneShotError> {
        let picture = match File::open(path) {
            Ok(picture) => picture,
            Err(error) => return Ok(Observed::Unreadable(error.to_string())),
        };
        self.channel.send(&Question::Calibrate(Asked::Observe(pass)), &[picture.as_fd()]).await?;
        match ask(&self.channel, &self.sandboxed).await? {
            Answer::Calibrated(Told::Observed) => Ok(Observed::Yes),
            Answer::Calibrated(Told::Unreadable { why }) => Ok(Observed::Unreadable(why)),
            Answer::Refused { why } => Err(OneShotError::Refused { why: format!("{}: {why}", path.display()) }),
            _ => Err(another_question()),
        }
    }

    /// The quantised model, an ONNX file.
    ///
    /// # Errors
    /// [`OneShotError`].
    pub async fn model(&self, method: Method) -> Result<Vec<u8>, OneShotError> {
        self.written(Asked::Model(method), MAX_MODEL_BYTES).await
    }

    /// What each layer loses by the pictures that were shown for it, the one that loses most first.
    ///
    /// # Errors
    /// [`OneShotError`].
    pub async fn layers(&self) -> Result<Vec<LayerError>, OneShotError> {
        let bytes = self.written(Asked::Layers, MAX_LAYERS_BYTES).await?;
        serde_json::from_slice(&bytes).map_err(|error| OneShotError::Refused { why: error.to_string() })
    }

    /// What the worker writes into memory that is lent to it, within a limit.
    async fn written(&self, asked: Asked, limit: u64) -> Result<Vec<u8>, OneShotError> {
        let mut memory = scores::memory("margay-quantised").map_err(OneShotError::Channel)?;
        self.channel.send(&Question::Calibrate(asked), &[memory.as_fd()]).await?;
        match ask(&self.channel, &self.sandboxed).await? {
            Answer::Calibrated(Told::Written { bytes }) if bytes <= limit => {
                let mut written = Vec::new();
                memory.rewind().map_err(OneShotError::Channel)?;
                memory.take(bytes).read_to_end(&mut written).map_err(OneShotError::Channel)?;
                Ok(written)
            }
            Answer::Refused { why } => Err(OneShotError::Refused { why }),
            _ => Err(another_question()),
        }
    }
}

impl Drop for Calibration {
    fn drop(&mut self) {
        self.sandboxed.kill();
    }
}

/// The worker's part.
pub(super) fn answer(
    quantiser: &mut Option<Quantiser>,
    asked: Asked,
    descriptors: Vec<OwnedFd>,
) -> Result<Answer, String> {
    let told = match (asked, quantiser) {
        (Asked::Open { directory, keep }, quantiser) => {
            let package = ModelDirectory::open(&margay_sandbox::resource_path(&directory));
            let package = package.map_err(|error| explain(&error))?;
            let opened = Quantiser::open(&package.model, &package.manifest.model_spec(), &keep);
            let opened = opened.map_err(|error| explain(&error))?;
            let scope = bounded(opened.scope());
            *quantiser = Some(opened);
            Told::Opened(scope)
        }
        (_, None) => return Err("a picture came before a model".to_owned()),
        (Asked::Observe(pass), Some(quantiser)) => match read_still(descriptors) {
            Err(why) => Told::Unreadable { why },
            Ok(still) => match quantiser.observe(pass, &still.frame()) {
                Ok(()) => Told::Observed,
                Err(ObserveError::Model(error)) => return Err(explain(&error)),
                Err(error) => Told::Unreadable { why: explain(&error) },
            },
        },
        (Asked::Model(method), Some(quantiser)) => {
            write(&quantiser.model(method).map_err(|error| explain(&error))?, descriptors)?
        }
        (Asked::Layers, Some(quantiser)) => {
            let layers = serde_json::to_vec(&quantiser.layers()).map_err(|error| explain(&error))?;
            write(&layers, descriptors)?
        }
    };
    Ok(Answer::Calibrated(told))
}

fn write(bytes: &[u8], descriptors: Vec<OwnedFd>) -> Result<Told, String> {
    let wanted = descriptors.into_iter().next().ok_or("the question came without memory for its answer")?;
    File::from(wanted).write_all(bytes).map_err(|error| format!("writing the answer: {error}"))?;
    Ok(Told::Written { bytes: bytes.len() as u64 })
}

/// What fits a message.
fn bounded(mut scope: Scope) -> Scope {
    scope.floats.truncate(MAX_TOLD);
    for layer in &mut scope.floats {
        for text in [&mut layer.node, &mut layer.operator, &mut layer.reason] {
            *text = text.chars().take(MAX_TOLD_CHARS).collect();
        }
    }
    scope
}

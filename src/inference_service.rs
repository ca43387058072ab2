//! A local inference service: the ML Image Classification connector's model in a worker of its own, for pictures that
//! functions hand in (B-27, B-30).
//!
//! ```text
//! classify → queue (bounded) → the service's task → worker in its sandbox: one picture after the other
//! ```
//!
//! The worker is a classifier's: the same sandbox, without a network, with the group's model at its destination path and
//! the connector's memory limit. One that takes longer than the connector's timeout, or ends, is replaced by another.

mod error;
mod task;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

pub use self::error::{InferenceError, StartError};
use self::task::Task;
use crate::classifier::model_directory::ModelDirectory;
use crate::classifier::{Running, WorkerIdentity};
use crate::metrics::Counter;

/// What `AlgoType` has to be.
pub const ALGORITHM: &str = "image-classification";

/// What `ContentType` may be, and how such files begin.
const FORMATS: [(&str, &[u8]); 2] = [("image/jpeg", b"\xff\xd8\xff"), ("image/png", b"\x89PNG\r\n\x1a\n")];

/// Requests that wait for a service; more are told to come again.
const MAX_WAITING: usize = 16;

/// What a service is started with.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceSettings {
    /// The connector that it is of, by the name in its ARN: what its log is called.
    pub connector: String,
    /// What functions call it (`LocalInferenceServiceName`).
    pub name: String,
    /// Until when a request has its answer, or is given up (`LocalInferenceServiceTimeoutSeconds`).
    pub timeout: Duration,
    /// The worker's memory, in bytes (`LocalInferenceServiceMemoryLimitKB`).
    pub memory_limit: u64,
    /// Where the model appears in the worker's sandbox (`MLModelDestinationPath`).
    pub destination: PathBuf,
    /// Whom the worker runs as.
    pub identity: WorkerIdentity,
    /// The package, unpacked.
    pub package: PathBuf,
    /// The package's digest.
    pub digest: String,
    /// Engine and threads.
    pub running: Running,
}

/// How a service stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// What functions call it.
    pub name: String,
    /// The model, by its package's digest.
    pub model: String,
    /// The engine that runs it; `None` while no worker runs.
    pub engine: Option<String>,
    /// Predictions given.
    pub answered: u64,
    /// Requests that the worker refused: no picture, a broken one.
    pub refused: u64,
    /// Requests that took too long.
    pub timed_out: u64,
    /// Requests over which the worker ended, or that found none.
    pub failed: u64,
    /// Requests that found too many waiting.
    pub busy: u64,
    /// Workers started.
    pub starts: u64,
    /// What went wrong last.
    pub last_error: Option<String>,
}

/// A service that runs; ends when all clones are dropped.
#[derive(Debug, Clone)]
pub struct InferenceService {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Asked>,
}

#[derive(Debug)]
struct Shared {
    settings: ServiceSettings,
    counts: Counts,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct Counts {
    answered: Counter,
    refused: Counter,
    timed_out: Counter,
    failed: Counter,
    busy: Counter,
    starts: Counter,
}

#[derive(Debug, Default)]
struct State {
    engine: Option<String>,
    last_error: Option<String>,
}

#[derive(Debug)]
struct Asked {
    picture: Bytes,
    until: Instant,
    reply: oneshot::Sender<Result<Vec<f32>, InferenceError>>,
}

impl InferenceService {
    /// Starts a service; its model is loaded when this returns.
    ///
    /// # Errors
    /// The package is none, or its model does not load within the connector's memory limit.
    pub async fn start(settings: ServiceSettings) -> Result<Self, StartError> {
        let (service, task, requests) = Self::new(settings)?;
        let worker = task.load().await?;
        tokio::spawn(task.run(requests, Some(worker)));
        Ok(service)
    }

    /// Starts a service whose model ran before; it is loaded as soon as it can be.
    ///
    /// # Errors
    /// The package is none.
    pub fn start_again(settings: ServiceSettings) -> Result<Self, StartError> {
        let (service, mut task, requests) = Self::new(settings)?;
        tokio::spawn(async move {
            let worker = task.replace().await;
            task.run(requests, worker).await;
        });
        Ok(service)
    }

    fn new(settings: ServiceSettings) -> Result<(Self, Task, mpsc::Receiver<Asked>), StartError> {
        let offset = ModelDirectory::open(&settings.package)?.manifest.model_spec().output.index_offset as usize;
        let shared = Arc::new(Shared { settings, counts: Counts::default(), state: Mutex::default() });
        let (requests, receiver) = mpsc::channel(MAX_WAITING);
        let task = Task::new(shared.clone(), offset);
        Ok((Self { shared, requests }, task, receiver))
    }

    /// What it was started with.
    pub fn settings(&self) -> &ServiceSettings {
        &self.shared.settings
    }

    /// The probability of every class, in the order of the labels, for a JPEG or PNG file.
    ///
    /// # Errors
    /// [`InferenceError`]; after the connector's timeout at the latest.
    pub async fn classify(
        &self,
        algorithm: &str,
        content_type: &str,
        picture: Bytes,
    ) -> Result<Vec<f32>, InferenceError> {
        let outcome = self.ask(algorithm, content_type, picture).await;
        self.shared.count(&outcome);
        outcome
    }

    async fn ask(&self, algorithm: &str, content_type: &str, picture: Bytes) -> Result<Vec<f32>, InferenceError> {
        let ServiceSettings { name, timeout, .. } = &self.shared.settings;
        let (service, short) = (|| name.clone(), |text: &str| text.chars().take(64).collect::<String>());
        if algorithm != ALGORITHM {
            return Err(InferenceError::Algorithm { service: service(), algorithm: short(algorithm) });
        }
        if !FORMATS.iter().any(|(known, _)| *known == content_type) {
            return Err(InferenceError::ContentType { content_type: short(content_type) });
        }
        // A JPEG that is announced as a PNG is classified, as V1's service did.
        if !FORMATS.iter().any(|(_, beginning)| picture.starts_with(beginning)) {
            return Err(InferenceError::NoPicture { bytes: picture.len() });
        }
        let (reply, answer) = oneshot::channel();
        let until = Instant::now() + *timeout;
        let asked = Asked { picture, until, reply };
        self.requests.try_send(asked).map_err(|_| InferenceError::Busy { service: service() })?;
        match timeout_at(until, answer).await {
            Ok(Ok(outcome)) => outcome,
            // A service that ends drops what waits.
            Ok(Err(_)) => {
                Err(InferenceError::NotRunning { service: service(), why: "a deployment ended it".to_owned() })
            }
            Err(_) => Err(self.shared.timed_out()),
        }
    }

    /// How it stands.
    pub fn status(&self) -> ServiceStatus {
        let (shared, counts) = (&self.shared, &self.shared.counts);
        let state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        ServiceStatus {
            name: shared.settings.name.clone(),
            model: shared.settings.digest.clone(),
            engine: state.engine.clone(),
            answered: counts.answered.get(),
            refused: counts.refused.get(),
            timed_out: counts.timed_out.get(),
            failed: counts.failed.get(),
            busy: counts.busy.get(),
            starts: counts.starts.get(),
            last_error: state.last_error.clone(),
        }
    }
}

impl Shared {
    fn count(&self, outcome: &Result<Vec<f32>, InferenceError>) {
        let count = match outcome {
            Ok(_) => &self.counts.answered,
            Err(InferenceError::TimedOut { .. }) => &self.counts.timed_out,
            Err(InferenceError::Busy { .. }) => &self.counts.busy,
            Err(InferenceError::Failed { .. } | InferenceError::NotRunning { .. }) => &self.counts.failed,
            Err(_) => &self.counts.refused,
        };
        count.count();
        if let Err(error) = outcome {
            let ServiceSettings { connector, name, .. } = &self.settings;
            tracing::info!(connector, service = name, %error, "a request has no prediction");
            self.state.lock().unwrap_or_else(PoisonError::into_inner).last_error = Some(error.to_string());
        }
    }

    fn timed_out(&self) -> InferenceError {
        let ServiceSettings { name, timeout, .. } = &self.settings;
        InferenceError::TimedOut { service: name.clone(), seconds: timeout.as_secs() }
    }

    fn runs(&self, engine: Option<String>) {
        let ServiceSettings { connector, name, .. } = &self.settings;
        tracing::info!(connector, service = name, engine = engine.as_deref(), "the service runs");
        self.state.lock().unwrap_or_else(PoisonError::into_inner).engine = engine;
    }

    fn went_wrong(&self, why: &str) {
        let ServiceSettings { connector, name, .. } = &self.settings;
        tracing::warn!(connector, service = name, why, "the service has no worker");
        self.state.lock().unwrap_or_else(PoisonError::into_inner).last_error = Some(why.to_owned());
    }
}

/// Probabilities as the connector gives them: `[0.3,0.1,0.04]`.
pub fn written(probabilities: &[f32]) -> String {
    let numbers: Vec<String> = probabilities.iter().map(ToString::to_string).collect();
    format!("[{}]", numbers.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_written_without_spaces_v20() {
        assert_eq!(written(&[0.3, 0.1, 0.04, 1e-7]), "[0.3,0.1,0.04,0.0000001]");
        assert_eq!(written(&[]), "[]");
    }
}

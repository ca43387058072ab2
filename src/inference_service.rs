//! A local inference service: the ML Image Classification connector's model in a worker of its own, for pictures that
//! functions hand in (B-27, B-30).
//!
//! ```text
//! classify → queue (bounded) → the service's task → worker in its sandbox: one picture after the other
//! ```
//!
//! The worker is a classifier's: the same sandbox, without a network, with the group's model at its destination path and
//! the connector's memory limit. One that takes longer than the connector's timeout, or ends, is replaced by another.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::backoff::Backoff;
use crate::classifier::model_directory::{ModelDirectory, ModelDirectoryError};
use crate::classifier::one_shot::scores::Scored;
use crate::classifier::one_shot::{OneShot, OneShotError};
use crate::classifier::{Running, WorkerIdentity, explain};

/// What `AlgoType` has to be.
pub const ALGORITHM: &str = "image-classification";

/// What `ContentType` may be, and how such files begin.
const FORMATS: [(&str, &[u8]); 2] = [("image/jpeg", b"\xff\xd8\xff"), ("image/png", b"\x89PNG\r\n\x1a\n")];

/// Requests that wait for a service; more are told to come again.
const MAX_WAITING: usize = 16;

/// Pauses before a worker that could not be started is tried again, the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

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

/// Why there is no prediction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InferenceError {
    /// Another algorithm than the connector's.
    #[error("AlgoType {algorithm:?} is not served: {service} classifies pictures, write {ALGORITHM}")]
    Algorithm {
        /// The service.
        service: String,
        /// What was asked for.
        algorithm: String,
    },
    /// Not one of the two formats.
    #[error("ContentType {content_type:?} is not served: write image/jpeg or image/png")]
    ContentType {
        /// What was asked for.
        content_type: String,
    },
    /// The body is no picture of either format.
    #[error("the Body, of {bytes} bytes, is neither a JPEG nor a PNG file")]
    NoPicture {
        /// Its size.
        bytes: usize,
    },
    /// Too many wait.
    #[error("{MAX_WAITING} requests wait for the service {service} already: come again")]
    Busy {
        /// The service.
        service: String,
    },
    /// It took too long.
    #[error("the service {service} had no prediction after {seconds} s (LocalInferenceServiceTimeoutSeconds)")]
    TimedOut {
        /// The service.
        service: String,
        /// The connector's timeout.
        seconds: u64,
    },
    /// The worker refused the picture.
    #[error("{why}")]
    Refused {
        /// Which stage, and why.
        why: String,
    },
    /// The worker ended over the picture.
    #[error(
        "the worker of the service {service}, which may use {memory_kb} KB (LocalInferenceServiceMemoryLimitKB), failed: {why}"
    )]
    Failed {
        /// The service.
        service: String,
        /// Its memory limit.
        memory_kb: u64,
        /// What became of it.
        why: String,
    },
    /// There is no worker now.
    #[error("the service {service} does not run: {why}")]
    NotRunning {
        /// The service.
        service: String,
        /// What keeps it.
        why: String,
    },
}

impl InferenceError {
    /// Whether the service itself is missing, not its answer.
    pub fn is_of_the_service(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::NotRunning { .. })
    }
}

/// Why a service could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The package is none.
    #[error(transparent)]
    Package(#[from] ModelDirectoryError),
    /// Its worker did not come up.
    #[error(transparent)]
    Worker(#[from] OneShotError),
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
    answered: AtomicU64,
    refused: AtomicU64,
    timed_out: AtomicU64,
    failed: AtomicU64,
    busy: AtomicU64,
    starts: AtomicU64,
    state: Mutex<State>,
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
        let shared = Arc::new(Shared {
            settings,
            answered: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            timed_out: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            starts: AtomicU64::new(0),
            state: Mutex::default(),
        });
        let (requests, receiver) = mpsc::channel(MAX_WAITING);
        let task =
            Task { shared: shared.clone(), offset, pauses: Backoff::new(PAUSES.0, PAUSES.1), again: Instant::now() };
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
        let shared = &self.shared;
        let state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ServiceStatus {
            name: shared.settings.name.clone(),
            model: shared.settings.digest.clone(),
            engine: state.engine.clone(),
            answered: read(&shared.answered),
            refused: read(&shared.refused),
            timed_out: read(&shared.timed_out),
            failed: read(&shared.failed),
            busy: read(&shared.busy),
            starts: read(&shared.starts),
            last_error: state.last_error.clone(),
        }
    }
}

impl Shared {
    fn count(&self, outcome: &Result<Vec<f32>, InferenceError>) {
        let count = match outcome {
            Ok(_) => &self.answered,
            Err(InferenceError::TimedOut { .. }) => &self.timed_out,
            Err(InferenceError::Busy { .. }) => &self.busy,
            Err(InferenceError::Failed { .. } | InferenceError::NotRunning { .. }) => &self.failed,
            Err(_) => &self.refused,
        };
        count.fetch_add(1, Ordering::Relaxed);
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

/// The task that owns the worker.
struct Task {
    shared: Arc<Shared>,
    /// Leading outputs that stand for no class.
    offset: usize,
    pauses: Backoff,
    /// When a worker that could not be started is tried again.
    again: Instant,
}

impl Task {
    async fn load(&self) -> Result<OneShot, OneShotError> {
        let ServiceSettings { package, destination, memory_limit, identity, running, .. } = &self.shared.settings;
        let worker = OneShot::load_at(package, destination, *memory_limit, *identity, running).await?;
        self.shared.starts.fetch_add(1, Ordering::Relaxed);
        self.shared.runs(Some(worker.engine.clone()));
        if let Some(remark) = &worker.remark {
            let ServiceSettings { connector, name, .. } = &self.shared.settings;
            tracing::warn!(connector, service = name, remark, "the model runs otherwise than was to be expected");
        }
        Ok(worker)
    }

    /// Another worker, if one can be had now.
    async fn replace(&mut self) -> Option<OneShot> {
        self.shared.runs(None);
        match self.load().await {
            Ok(worker) => {
                self.pauses.reset();
                Some(worker)
            }
            Err(error) => {
                self.shared.went_wrong(&explain(&error));
                self.again = Instant::now() + self.pauses.next();
                None
            }
        }
    }

    /// Answers until nobody can ask any more.
    async fn run(mut self, mut requests: mpsc::Receiver<Asked>, first: Option<OneShot>) {
        let mut place = first;
        while let Some(Asked { picture, until, reply }) = requests.recv().await {
            if reply.is_closed() || Instant::now() >= until {
                // Whoever asked has given up, or is about to.
                let _ = reply.send(Err(self.shared.timed_out()));
                continue;
            }
            if place.is_none() && Instant::now() >= self.again {
                place = self.replace().await;
            }
            let Some(worker) = place.take() else {
                let _ = reply.send(Err(self.not_running()));
                continue;
            };
            let outcome = timeout_at(until, worker.scores(Scored::Picture, &picture)).await;
            drop(picture);
            let (answer, kept) = match outcome {
                Ok(Ok(scores)) => (Ok(scores.outputs.into_iter().skip(self.offset).collect()), Some(worker)),
                Ok(Err(OneShotError::Refused { why })) => (Err(InferenceError::Refused { why }), Some(worker)),
                Ok(Err(error)) => (Err(self.failed(&error)), None),
                Err(_) => (Err(self.shared.timed_out()), None),
            };
            // Whoever asked may be gone.
            let _ = reply.send(answer);
            place = match kept {
                Some(worker) => Some(worker),
                None => self.replace().await,
            };
        }
    }

    fn failed(&self, error: &OneShotError) -> InferenceError {
        let ServiceSettings { name, memory_limit, .. } = &self.shared.settings;
        InferenceError::Failed { service: name.clone(), memory_kb: memory_limit / 1024, why: explain(error) }
    }

    fn not_running(&self) -> InferenceError {
        let state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let why = state.last_error.clone().unwrap_or_else(|| "its model is being loaded".to_owned());
        InferenceError::NotRunning { service: self.shared.settings.name.clone(), why }
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

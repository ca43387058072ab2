//! How the core reaches a classifier that runs: what it may ask for, and what it hears.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use super::health::HealthReport;
use super::inference_side::{Activated, DeployedModel, Loaded};
use super::message::Inferred;
use super::policy::{Decision, Trigger, TriggerError};
use super::settings::Settings;
use super::status::ClassifierStatus;
use super::supervisor::Supervisor;
use super::worker::SpawnError;
use crate::clock::Clock;
use crate::payload;

/// Requests of the core that may wait.
const COMMAND_QUEUE: usize = 16;

/// A ring that nobody but its capture worker can write, for whoever may look at the camera.
pub type SharedRing = Arc<OwnedFd>;

/// A handle to a running classifier.
#[derive(Debug, Clone)]
pub struct Classifier {
    commands: mpsc::Sender<Command>,
    ring: watch::Receiver<Option<SharedRing>>,
    health: watch::Receiver<HealthReport>,
}

/// A classified frame, on its way to whoever routes it.
#[derive(Debug)]
pub struct Observation {
    /// The frame's number in the camera's stream.
    pub frame: u64,
    /// The model that classified it.
    pub model: Arc<payload::Model>,
    /// What came out.
    pub inferred: Inferred,
    /// Whether it is published, and what of it.
    pub decision: Decision,
}

/// Why a model does not classify now.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    /// Another model is being warmed.
    #[error("another model is being activated; try again when it is done")]
    Busy,
    /// The worker could not be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The model was refused by its worker; what ran before runs on.
    #[error("the model was refused: {why}")]
    Refused {
        /// What was tried, on what, and what came back.
        why: String,
    },
    /// The classifier has been shut down.
    #[error("the classifier has been shut down")]
    ShutDown,
}

/// What the supervisor is asked for; the answer goes to `reply`.
pub(super) enum Command {
    Activate { model: DeployedModel, reply: oneshot::Sender<Result<oneshot::Receiver<Activated>, ActivationError>> },
    Ask { trigger: Trigger, reply: oneshot::Sender<Result<(), TriggerError>> },
    RefuseTrigger,
    Status { reply: oneshot::Sender<ClassifierStatus> },
    Shutdown { reply: oneshot::Sender<()> },
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Activate { .. } => "Activate",
            Self::Ask { .. } => "Ask",
            Self::RefuseTrigger => "RefuseTrigger",
            Self::Status { .. } => "Status",
            Self::Shutdown { .. } => "Shutdown",
        })
    }
}

impl Classifier {
    /// Starts the supervisor. The camera stays off until a first model is ready; each classified frame is given to
    /// `observe` with what its policy decided by `clock`, in frame order; it must not block.
    ///
    /// # Errors
    /// The plan of the capture worker's sandbox breaks a rule.
    pub fn start(
        settings: Settings,
        clock: Arc<dyn Clock>,
        observe: impl Fn(Observation) + Send + Sync + 'static,
    ) -> Result<Self, margay_sandbox::PlanError> {
        let (commands, orders) = mpsc::channel(COMMAND_QUEUE);
        let (ring_out, ring) = watch::channel(None);
        let (health_out, health) = watch::channel(HealthReport::default());
        let supervisor = Supervisor::new(settings, clock, Box::new(observe), (ring_out, health_out))?;
        tokio::spawn(supervisor.run(orders));
        Ok(Self { commands, ring, health })
    }

    /// Warms `model` in a worker of its own and hands over to it between two frames.
    ///
    /// # Errors
    /// [`ActivationError`]; what classified before still does.
    pub async fn activate(&self, model: DeployedModel) -> Result<Loaded, ActivationError> {
        let (reply, accepted) = oneshot::channel();
        self.commands.send(Command::Activate { model, reply }).await.map_err(|_| ActivationError::ShutDown)?;
        let outcome = accepted.await.map_err(|_| ActivationError::ShutDown)??;
        outcome.await.map_err(|_| ActivationError::ShutDown)?.map_err(|why| ActivationError::Refused { why })
    }

    /// The camera's present ring for another reader; `None` until frames come. A restarted camera has a new one.
    pub fn ring(&self) -> watch::Receiver<Option<SharedRing>> {
        self.ring.clone()
    }

    /// The camera's health, as it changes.
    pub fn health(&self) -> watch::Receiver<HealthReport> {
        self.health.clone()
    }

    /// Asks for a message about the next frame that is captured; its policy decides when the pace allows it.
    ///
    /// # Errors
    /// [`TriggerError`]; the request is not answered.
    pub async fn ask(&self, trigger: Trigger) -> Result<(), TriggerError> {
        let (reply, asked) = oneshot::channel();
        self.commands.send(Command::Ask { trigger, reply }).await.map_err(|_| TriggerError::ShutDown)?;
        asked.await.map_err(|_| TriggerError::ShutDown)?
    }

    /// Counts a request that was not understood.
    pub async fn refuse_trigger(&self) {
        // One that has been shut down counts no more.
        let _ = self.commands.send(Command::RefuseTrigger).await;
    }

    /// What the classifier is doing; `None` once it has been shut down.
    pub async fn status(&self) -> Option<ClassifierStatus> {
        let (reply, status) = oneshot::channel();
        self.commands.send(Command::Status { reply }).await.ok()?;
        status.await.ok()
    }

    /// Ends the workers; returns when they are told.
    pub async fn shutdown(&self) {
        let (reply, done) = oneshot::channel();
        if self.commands.send(Command::Shutdown { reply }).await.is_ok() {
            let _ = done.await;
        }
    }
}

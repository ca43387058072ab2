//! The task that owns a classifier: it starts the workers, enters their accounts, restarts the dead and hands over to
//! new models. Everything that can wake it is an [`Event`], a [`Command`] or a due restart.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use margay_camera::source::{HttpError, SourceConfig};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::artefact_exchange::Exchange;
use super::capture_side::{CaptureSide, CaptureState};
use super::connection::Connecting;
use super::glance::Shades;
use super::health::{Health, HealthReport, HealthSettings, Look};
use super::inference_side::{Activated, Camera, DeployedModel, InferenceSide, Loaded, Next, Server};
use super::message::{Account, FromCapture, FromInference, Inferred, Outcome, ToInference};
use super::plan::{self, CameraAccess, WorkerIdentity};
use super::policy::{Decision, Policy, PolicySettings, Seen, Trigger, TriggerError};
use super::running::Engines;
use super::status::{ClassifierStatus, Restarts, WorkerStatus};
use super::worker::{Event, Role, SpawnError, Worker, WorkerId};
use crate::clock::Clock;
use crate::payload;

/// Messages of workers that may wait for the supervisor; past it, the workers wait.
const EVENT_QUEUE: usize = 256;

/// Requests of the core that may wait.
const COMMAND_QUEUE: usize = 16;

/// How often the supervisor looks for workers that have hung.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);

/// How often it looks whether frames still come.
const PULSE: Duration = Duration::from_secs(1);

/// Everything a classifier needs to know, from the group document and the host.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The camera's name, for people and payloads.
    pub camera: String,
    /// Where frames come from, in the capture sandbox's own paths.
    pub source: SourceConfig,
    /// What the capture sandbox is shown of the host.
    pub access: CameraAccess,
    /// Where the model appears in the inference sandbox: the destination path of its resource (B-14).
    pub model_destination: std::path::PathBuf,
    /// Which classified frames become messages, and what they tell.
    pub policy: PolicySettings,
    /// Classes below this probability are left out, all but the best one; by default what the package says.
    pub threshold: Option<f32>,
    /// The longer side of a thumbnail of each frame, in pixels, if one is wanted.
    pub thumbnail: Option<u32>,
    /// Which part of a frame matters, and how the camera is mounted.
    pub view: margay_inference::View,
    /// The memory limit of each worker, in bytes.
    pub memory_limit: u64,
    /// Whom the workers run as.
    pub identity: WorkerIdentity,
    /// From when on the camera is ill.
    pub health: HealthSettings,
    /// Threads of the model, where the operator says; by default what was measured, or what leaves a core for the rest.
    pub threads: Option<usize>,
    /// Who knows how models are run on this device.
    pub engines: Engines,
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

enum Command {
    Activate { model: DeployedModel, reply: oneshot::Sender<Result<oneshot::Receiver<Activated>, ActivationError>> },
    Ask { trigger: Trigger, reply: oneshot::Sender<Result<(), TriggerError>> },
    RefuseTrigger,
    Status { reply: oneshot::Sender<ClassifierStatus> },
    Shutdown { reply: oneshot::Sender<()> },
}

/// A ring that nobody but its capture worker can write, for whoever may look at the camera.
pub type SharedRing = Arc<OwnedFd>;

/// A handle to a running classifier.
#[derive(Debug, Clone)]
pub struct Classifier {
    commands: mpsc::Sender<Command>,
    ring: watch::Receiver<Option<SharedRing>>,
    health: watch::Receiver<HealthReport>,
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
        let (events_in, events) = mpsc::channel(EVENT_QUEUE);
        let (ring_out, ring) = watch::channel(None);
        let (health_out, health) = watch::channel(HealthReport::default());
        plan::capture(&settings)?;
        let supervisor = Supervisor {
            capture: CaptureSide::new(settings.clone()),
            connecting: Connecting::default(),
            health: Health::new(settings.health, settings.source.frames_per_second()),
            policy: Policy::new(settings.policy.clone()),
            settings,
            clock,
            observe: Box::new(observe),
            inference: InferenceSide::new(),
            events_in,
            ring_out,
            health_out,
            started: Instant::now(),
            next_id: 0,
            capture_due: None,
            inference_due: None,
        };
        tokio::spawn(supervisor.run(orders, events));
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

struct Supervisor {
    settings: Settings,
    policy: Policy,
    clock: Arc<dyn Clock>,
    observe: Box<dyn Fn(Observation) + Send + Sync>,
    capture: CaptureSide,
    connecting: Connecting,
    health: Health,
    inference: InferenceSide,
    events_in: mpsc::Sender<(WorkerId, Event)>,
    ring_out: watch::Sender<Option<SharedRing>>,
    health_out: watch::Sender<HealthReport>,
    /// What the times of [`Health`] count from.
    started: Instant,
    next_id: WorkerId,
    capture_due: Option<Instant>,
    inference_due: Option<(Instant, DeployedModel)>,
}

impl Supervisor {
    async fn run(mut self, mut orders: mpsc::Receiver<Command>, mut events: mpsc::Receiver<(WorkerId, Event)>) {
        let mut watch = tokio::time::interval(WATCH_INTERVAL);
        let mut pulse = tokio::time::interval(PULSE);
        pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let capture_due = self.capture_due;
            let inference_due = self.inference_due.as_ref().map(|(due, _)| *due);
            tokio::select! {
                Some((id, event)) = events.recv() => self.dealt_with(id, event).await,
                order = orders.recv() => match order {
                    Some(Command::Shutdown { reply }) => {
                        let _ = reply.send(());
                        return;
                    }
                    Some(order) => self.obey(order).await,
                    None => return,
                },
                _ = watch.tick() => self.inference.end_hung_workers(self.capture.next_frame()),
                _ = pulse.tick() => self.feel_pulse(),
                connection = self.connecting.made() => self.connected(connection).await,
                () = sleep_until(capture_due), if capture_due.is_some() => self.start_capture().await,
                () = sleep_until(inference_due), if inference_due.is_some() => self.restart_inference().await,
            }
        }
    }

    /// Carries out an order. Whoever gave it may have gone: nobody needs the answer then.
    async fn obey(&mut self, order: Command) {
        match order {
            Command::Activate { model, reply } => {
                let _ = reply.send(self.activate(model).await);
            }
            Command::Ask { trigger, reply } => {
                let _ = reply.send(self.policy.ask(trigger, self.clock.boottime()));
            }
            Command::RefuseTrigger => self.policy.refuse_trigger(),
            Command::Status { reply } => {
                let _ = reply.send(self.status());
            }
            Command::Shutdown { reply } => {
                let _ = reply.send(());
            }
        }
    }

    async fn activate(&mut self, model: DeployedModel) -> Result<oneshot::Receiver<Activated>, ActivationError> {
        if self.inference.is_activating() {
            return Err(ActivationError::Busy);
        }
        let (reply, activated) = oneshot::channel();
        self.warm(model, Some(reply)).await?;
        Ok(activated)
    }

    async fn warm(
        &mut self,
        model: DeployedModel,
        reply: Option<oneshot::Sender<Activated>>,
    ) -> Result<(), SpawnError> {
        // A file of a few kilobytes, once for a model.
        let running = self.settings.engines.running(&model.identity.digest, self.settings.threads);
        let plan = plan::inference(&self.settings, &model.directory, &running)?;
        let id = self.new_id();
        let worker = Worker::spawn::<FromInference>(id, Role::Inference, plan, self.events_in.clone()).await?;
        let exchange = Exchange::begin(&model);
        let order = ToInference::Load {
            directory: self.settings.model_destination.display().to_string(),
            classes: self.settings.policy.classes(),
            threshold: self.settings.threshold,
            thumbnail: self.settings.thumbnail,
            shades: Shades {
                dark_below: self.settings.health.dark_below,
                bright_above: self.settings.health.bright_above,
            },
            view: self.settings.view,
            running,
            keeping: exchange.as_ref().map(Exchange::order),
        };
        let descriptors = exchange.as_ref().map(Exchange::descriptors).unwrap_or_default();
        self.inference.warm(Server::new(worker, model, reply), &order, &descriptors).await;
        Ok(())
    }

    async fn dealt_with(&mut self, id: WorkerId, event: Event) {
        match event {
            Event::Capture(message) => self.capture_said(id, message).await,
            Event::Inference(FromInference::Looked(look)) => self.looked(id, look),
            Event::Inference(message) => {
                let camera = camera(&self.capture);
                let next = self.inference.said(id, message, &camera).await;
                self.carry_out(next).await;
            }
            Event::Misbehaved(error) => tracing::error!(%error, "a worker broke the protocol and is ended"),
            Event::Exited(exit) if self.capture.worker().is_some_and(|worker| worker.id == id) => {
                tracing::warn!(camera = self.settings.camera, %exit, "the capture worker is gone");
                self.capture_due = self.capture.exited(&exit).map(from_now);
            }
            Event::Exited(exit) => {
                let camera = camera(&self.capture);
                let next = self.inference.exited(id, &exit, &camera).await;
                if !next.is_empty() {
                    tracing::warn!(camera = self.settings.camera, %exit, "an inference worker is gone");
                }
                self.carry_out(next).await;
            }
        }
    }

    /// Takes note of what a frame looks like, if it comes from the worker that classifies.
    fn looked(&mut self, id: WorkerId, look: Look) {
        if self.inference.active().is_some_and(|server| server.worker.id == id) {
            self.health.looked(look, self.started.elapsed());
            self.tell_health();
        }
    }

    fn feel_pulse(&mut self) {
        let due = !matches!(self.capture.state, CaptureState::Waiting | CaptureState::Ended);
        self.health.captured(self.capture.next_frame(), due, self.started.elapsed());
        self.tell_health();
    }

    fn tell_health(&self) {
        let report = self.health.report();
        self.health_out.send_if_modified(|told| {
            let modified = *told != report;
            *told = report;
            modified
        });
    }

    async fn capture_said(&mut self, id: WorkerId, message: FromCapture) {
        if self.capture.worker().is_none_or(|worker| worker.id != id) {
            return;
        }
        match message {
            FromCapture::Capturing => self.hand_out_ring().await,
            FromCapture::Skipped { item, items, why } => {
                self.capture.skipped = self.capture.skipped.saturating_add(items);
                tracing::warn!(camera = self.settings.camera, item, items, why, "the source passed items over");
            }
            FromCapture::Ended => {
                self.capture.state = CaptureState::Ended;
                tracing::info!(camera = self.settings.camera, "the source has no more frames");
            }
            FromCapture::Failed { why } => {
                tracing::error!(camera = self.settings.camera, why, "the camera failed; it is tried again");
                self.capture.last_failure = Some(why);
            }
        }
    }

    async fn hand_out_ring(&mut self) {
        if let Err(error) = self.capture.seal() {
            tracing::error!(%error, "the ring could not be sealed; the capture worker is ended");
            if let Some(worker) = self.capture.worker() {
                worker.kill();
            }
            return;
        }
        if let Some(ring) = self.capture.sealed_ring() {
            // Out of descriptors: those who look keep the old ring; the classifier has its own.
            self.ring_out.send_replace(ring.try_clone_to_owned().ok().map(Arc::new));
            self.inference.hand_ring(ring).await;
        }
    }

    async fn carry_out(&mut self, steps: Vec<Next>) {
        let mut steps = VecDeque::from(steps);
        while let Some(step) = steps.pop_front() {
            match step {
                Next::Publish(model, accounts) => self.publish(&model, accounts),
                Next::Serving if self.capture.state == CaptureState::Waiting => self.start_capture().await,
                Next::Serving => {}
                Next::Restart(model, pause) => self.inference_due = Some((from_now(pause), model)),
            }
        }
    }

    fn publish(&mut self, model: &Arc<payload::Model>, accounts: Vec<Account>) {
        for account in accounts {
            match account.outcome {
                Outcome::Inferred(inferred) => {
                    let now = self.clock.boottime();
                    let decision = self.policy.decide(Seen {
                        predictions: &inferred.predictions,
                        threshold: inferred.threshold,
                        model: &model.digest,
                        // A worker's word: no frame comes from the future.
                        captured: Duration::from_nanos(inferred.captured_ns).min(now),
                        now,
                    });
                    (self.observe)(Observation { frame: account.through, model: model.clone(), inferred, decision });
                }
                Outcome::Undecodable { why } | Outcome::InferenceFailed { why } => {
                    tracing::warn!(camera = self.settings.camera, frame = account.through, why, "a frame was dropped");
                }
                Outcome::Overwritten => {}
            }
        }
    }

    /// Starts the capture worker; where it needs a connection, once there is one.
    async fn start_capture(&mut self) {
        self.capture_due = None;
        match self.capture.needs_connection().cloned() {
            Some(url) => {
                self.capture.state = CaptureState::Starting;
                self.connecting.begin(url);
            }
            None => self.start_capture_with(None).await,
        }
    }

    async fn connected(&mut self, connection: Result<OwnedFd, HttpError>) {
        match connection {
            Ok(connection) => self.start_capture_with(Some(connection)).await,
            Err(error) => {
                let why = super::explain(&error);
                tracing::error!(camera = self.settings.camera, why, "the camera does not answer; it is tried again");
                self.capture_due = Some(from_now(self.capture.failed_to_start(why)));
            }
        }
    }

    async fn start_capture_with(&mut self, connection: Option<OwnedFd>) {
        let id = self.new_id();
        if let Err(error) = self.capture.start(id, connection, self.events_in.clone()).await {
            let why = super::explain(&error);
            tracing::error!(camera = self.settings.camera, why, "the capture worker could not be started");
            self.capture_due = Some(from_now(self.capture.failed_to_start(why)));
        }
    }

    async fn restart_inference(&mut self) {
        let Some((_, model)) = self.inference_due.take() else { return };
        if self.inference.active().is_some() {
            return;
        }
        if self.inference.is_activating() {
            // The new model serves if it loads; if it is refused, the old one is due again.
            self.inference_due = Some((from_now(WATCH_INTERVAL), model));
            return;
        }
        if let Err(error) = self.warm(model.clone(), None).await {
            let why = super::explain(&error);
            tracing::error!(camera = self.settings.camera, why, "the inference worker could not be started");
            self.inference.last_failure = Some(why);
            self.inference_due = Some((from_now(self.inference.next_delay()), model));
        }
    }

    fn status(&self) -> ClassifierStatus {
        let inference = self.inference.servers().map(|server| WorkerStatus::of(&server.worker, Role::Inference));
        let capture = self.capture.worker().map(|worker| WorkerStatus::of(worker, Role::Capture));
        ClassifierStatus {
            camera: self.settings.camera.clone(),
            capture: self.capture.state,
            captured: self.capture.next_frame(),
            skipped: self.capture.skipped,
            health: self.health.report(),
            ledger: self.inference.ledger.clone(),
            policy: self.policy.counters(),
            model: self.inference.active().map(|server| (*server.model.identity).clone()),
            workers: capture.into_iter().chain(inference).collect(),
            restarts: Restarts {
                capture: self.capture.restarts,
                capture_reason: self.capture.last_failure.clone(),
                inference: self.inference.restarts,
                inference_reason: self.inference.last_failure.clone(),
            },
        }
    }

    fn new_id(&mut self) -> WorkerId {
        self.next_id += 1;
        self.next_id
    }
}

fn camera(capture: &CaptureSide) -> Camera<'_> {
    Camera { next_frame: capture.next_frame(), capturing: capture.is_capturing(), ring: capture.sealed_ring() }
}

fn from_now(pause: Duration) -> Instant {
    Instant::now() + pause
}

async fn sleep_until(due: Option<Instant>) {
    if let Some(due) = due {
        tokio::time::sleep_until(due).await;
    }
}

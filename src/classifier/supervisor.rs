//! The task that owns a classifier: it starts the workers, enters their accounts, restarts the dead and hands over to
//! new models. Everything that can wake it is an [`Event`], a [`Command`] or a due restart.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use margay_camera::source::HttpError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::artefact_exchange::Exchange;
use super::capture_side::{CaptureSide, CaptureState};
use super::connection::Connecting;
use super::glance::Shades;
use super::handle::{ActivationError, Command, Observation, SharedRing};
use super::health::{Health, HealthReport, Look};
use super::inference_side::{Activated, Camera, DeployedModel, InferenceSide, Next, Server};
use super::message::{Account, FromCapture, FromInference, Outcome, ToInference};
use super::plan;
use super::policy::{Policy, Seen};
use super::settings::Settings;
use super::status::{ClassifierStatus, Restarts, WorkerStatus};
use super::worker::{Event, Role, SpawnError, Worker, WorkerId};
use crate::causes::explain;
use crate::clock::Clock;
use crate::payload;

/// Messages of workers that may wait for the supervisor; past it, the workers wait.
const EVENT_QUEUE: usize = 256;

/// How often the supervisor looks for workers that have hung.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);

/// How often it looks whether frames still come.
const PULSE: Duration = Duration::from_secs(1);

/// What is given each classified frame.
pub(super) type Observe = Box<dyn Fn(Observation) + Send + Sync>;

/// The task's state.
pub(super) struct Supervisor {
    settings: Settings,
    policy: Policy,
    clock: Arc<dyn Clock>,
    observe: Observe,
    capture: CaptureSide,
    connecting: Connecting,
    health: Health,
    inference: InferenceSide,
    /// Where workers tell.
    events_in: mpsc::Sender<(WorkerId, Event)>,
    events: mpsc::Receiver<(WorkerId, Event)>,
    ring_out: watch::Sender<Option<SharedRing>>,
    health_out: watch::Sender<HealthReport>,
    /// What the times of [`Health`] count from.
    started: Instant,
    next_id: WorkerId,
    capture_due: Option<Instant>,
    inference_due: Option<(Instant, DeployedModel)>,
}

impl Supervisor {
    /// A classifier without workers yet, which tells of its ring and its health where `told` says.
    pub(super) fn new(
        settings: Settings,
        clock: Arc<dyn Clock>,
        observe: Observe,
        told: (watch::Sender<Option<SharedRing>>, watch::Sender<HealthReport>),
    ) -> Result<Self, margay_sandbox::PlanError> {
        plan::capture(&settings)?;
        let (events_in, events) = mpsc::channel(EVENT_QUEUE);
        let (ring_out, health_out) = told;
        Ok(Self {
            capture: CaptureSide::new(settings.clone()),
            connecting: Connecting::default(),
            health: Health::new(settings.health, settings.source.frames_per_second()),
            policy: Policy::new(settings.policy.clone()),
            settings,
            clock,
            observe,
            inference: InferenceSide::new(),
            events_in,
            events,
            ring_out,
            health_out,
            started: Instant::now(),
            next_id: 0,
            capture_due: None,
            inference_due: None,
        })
    }

    /// Runs the classifier until it is shut down or nobody can ask any more.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Command>) {
        let mut watch = tokio::time::interval(WATCH_INTERVAL);
        let mut pulse = tokio::time::interval(PULSE);
        pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let capture_due = self.capture_due;
            let inference_due = self.inference_due.as_ref().map(|(due, _)| *due);
            tokio::select! {
                Some((id, event)) = self.events.recv() => self.dealt_with(id, event).await,
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
                let why = explain(&error);
                tracing::error!(camera = self.settings.camera, why, "the camera does not answer; it is tried again");
                self.capture_due = Some(from_now(self.capture.failed_to_start(why)));
            }
        }
    }

    async fn start_capture_with(&mut self, connection: Option<OwnedFd>) {
        let id = self.new_id();
        if let Err(error) = self.capture.start(id, connection, self.events_in.clone()).await {
            let why = explain(&error);
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
            let why = explain(&error);
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

//! The inference workers of one camera: the active one, the one being warmed to take over, and the one that is ending
//! after a hand-over. Whoever runs, the ledger sees every frame once and in order.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use margay_sandbox::Exit;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::ledger::Ledger;
use super::message::{Account, FromInference, ToInference};
use super::worker::{Worker, WorkerId};
use crate::backoff::Backoff;
use crate::payload;
use crate::store::CompiledPlace;

/// How many frames ahead of the newest a hand-over is placed, so that the old worker hears of it in time.
const HAND_OVER_MARGIN: u64 = 2;

/// Accounts of the new worker that may wait while the old one ends; past it, the old one has hung.
const MAX_WAITING_ACCOUNTS: usize = 1024;

/// Restarts of a dying worker, from the first to the slowest.
const RESTART: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// A worker that has frames to account for and says nothing for this long has hung.
const STALL: Duration = Duration::from_secs(30);

/// A worker that has not loaded its model by then has hung. A Pi Zero 2 takes under 10 s for 50 MB.
const LOAD_LIMIT: Duration = Duration::from_secs(180);

/// A model that a worker can be given.
#[derive(Debug, Clone)]
pub struct DeployedModel {
    /// Its identity, as predictions carry it.
    pub identity: Arc<payload::Model>,
    /// Its unpacked package on the host.
    pub directory: PathBuf,
    /// Where what a worker compiled of it is kept.
    pub compiled: CompiledPlace,
}

/// What an activation came to: the engine and the load time of the new worker, or why the model was refused.
pub type Activated = Result<Loaded, String>;

/// A model that runs.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The engine that runs it.
    pub engine: String,
    /// Load, optimise and first run.
    pub load_time: Duration,
    /// Whether it was compiled at an earlier start.
    pub is_kept: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// Loading its model.
    Loading,
    /// Loaded; waiting for the active worker to say where it stops.
    Waiting,
    /// Classifying.
    Serving,
    /// Asked to stop; it has not said where yet.
    AskedToStop,
    /// Accounting for its last frames.
    Stopping { after: u64 },
}

/// An inference worker and what it is for.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) worker: Worker,
    pub(super) model: DeployedModel,
    phase: Phase,
    /// When the worker last said something, or was started.
    heard: Instant,
    reply: Option<oneshot::Sender<Activated>>,
}

impl Server {
    pub(super) fn new(worker: Worker, model: DeployedModel, reply: Option<oneshot::Sender<Activated>>) -> Self {
        Self { worker, model, phase: Phase::Loading, heard: Instant::now(), reply }
    }
}

/// What the supervisor has to do after an event.
#[derive(Debug)]
pub(super) enum Next {
    /// These accounts are entered; the classified frames among them go out, made by this model.
    Publish(Arc<payload::Model>, Vec<Account>),
    /// The first worker serves: start the camera if it waits.
    Serving,
    /// The active worker is gone: start another for this model after a pause.
    Restart(DeployedModel, Duration),
}

/// The inference half of a classifier.
#[derive(Debug)]
pub(super) struct InferenceSide {
    pub(super) ledger: Ledger,
    active: Option<Server>,
    incoming: Option<Server>,
    retiring: Option<Server>,
    /// Accounts of the active worker, held back until the retiring one has finished.
    waiting: VecDeque<Account>,
    backoff: Backoff,
    pub(super) restarts: u64,
    pub(super) last_failure: Option<String>,
}

impl InferenceSide {
    pub(super) fn new() -> Self {
        Self {
            ledger: Ledger::default(),
            active: None,
            incoming: None,
            retiring: None,
            waiting: VecDeque::new(),
            backoff: Backoff::new(RESTART.0, RESTART.1),
            restarts: 0,
            last_failure: None,
        }
    }

    /// The worker that classifies, if one does.
    pub(super) fn active(&self) -> Option<&Server> {
        self.active.as_ref()
    }

    /// Every living worker, the active one first.
    pub(super) fn servers(&self) -> impl Iterator<Item = &Server> {
        [&self.active, &self.incoming, &self.retiring].into_iter().flatten()
    }

    /// The pause before a worker is started again.
    pub(super) fn next_delay(&mut self) -> Duration {
        self.backoff.next()
    }

    /// Whether a model is being warmed already.
    pub(super) fn is_activating(&self) -> bool {
        self.incoming.is_some()
    }

    /// Gives a worker its model to load, with the descriptors of the order; it takes over once it has.
    pub(super) async fn warm(&mut self, server: Server, order: &ToInference, descriptors: &[BorrowedFd<'_>]) {
        server.worker.order(order, descriptors).await;
        self.incoming = Some(server);
    }

    /// Gives every worker that classifies, or is about to, the ring that follows on the last one.
    pub(super) async fn hand_ring(&self, ring: BorrowedFd<'_>) {
        for server in self.servers().filter(|server| server.phase != Phase::Loading) {
            server.worker.order(&ToInference::Ring, &[ring]).await;
        }
    }

    /// Kills workers that have said nothing for too long, so that their exit starts others.
    pub(super) fn end_hung_workers(&self, next_frame: u64) {
        for server in self.servers() {
            let limit = match server.phase {
                Phase::Loading => LOAD_LIMIT,
                Phase::Serving if next_frame > self.ledger.next() => STALL,
                Phase::AskedToStop | Phase::Stopping { .. } => STALL,
                Phase::Serving | Phase::Waiting => continue,
            };
            if server.heard.elapsed() > limit {
                tracing::error!(pid = server.worker.pid(), phase = ?server.phase, "an inference worker has hung and is ended");
                server.worker.kill();
            }
        }
    }

    /// Deals with a message of worker `id`.
    pub(super) async fn said(&mut self, id: WorkerId, message: FromInference, camera: &Camera<'_>) -> Vec<Next> {
        let servers = [&mut self.active, &mut self.incoming, &mut self.retiring];
        if let Some(server) = servers.into_iter().flatten().find(|server| server.worker.id == id) {
            server.heard = Instant::now();
        }
        match message {
            FromInference::Loaded { engine, load_us, remark, is_kept, passed_over } if is(&self.incoming, id) => {
                if let Some(why) = passed_over {
                    tracing::info!(why, "the model was compiled anew: its artefact is passed over");
                }
                if let Some(remark) = remark {
                    tracing::warn!(engine, remark, "the model runs otherwise than was to be expected");
                }
                self.loaded(Loaded { engine, load_time: Duration::from_micros(load_us), is_kept }, camera).await
            }
            FromInference::Refused { why } if is(&self.incoming, id) => self.incoming_failed(why),
            FromInference::Stopping { after } if is(&self.active, id) => self.hand_over(after, camera).await,
            FromInference::Finished if is(&self.retiring, id) => {
                self.retiring = None;
                self.enter_waiting()
            }
            FromInference::Accounted(account) => self.accounted(id, account),
            unexpected => {
                tracing::warn!(?unexpected, "a message out of order from an inference worker");
                Vec::new()
            }
        }
    }

    /// Deals with the end of worker `id`.
    pub(super) async fn exited(&mut self, id: WorkerId, exit: &Exit, camera: &Camera<'_>) -> Vec<Next> {
        if is(&self.incoming, id) {
            return self.incoming_failed(format!("the worker ended before its model was ready: {exit}"));
        }
        if is(&self.retiring, id) {
            if let Some(Server { phase: Phase::Stopping { after }, .. }) = self.retiring.take() {
                self.ledger.nobody_served_before(after + 1);
            }
            return self.enter_waiting();
        }
        if is(&self.active, id) {
            return self.active_died(exit, camera).await;
        }
        Vec::new()
    }

    async fn loaded(&mut self, loaded: Loaded, camera: &Camera<'_>) -> Vec<Next> {
        let Some(mut server) = self.incoming.take() else { return Vec::new() };
        if let Some(reply) = server.reply.take() {
            // Whoever asked may have given up waiting; the model runs all the same.
            let _ = reply.send(Ok(loaded));
        }
        if let Some(ring) = camera.ring {
            server.worker.order(&ToInference::Ring, &[ring]).await;
        }
        server.phase = Phase::Waiting;
        let Some(active) = &mut self.active else {
            self.incoming = Some(server);
            return self.take_over(camera).await;
        };
        active.phase = Phase::AskedToStop;
        let margin = if camera.capturing { HAND_OVER_MARGIN } else { 0 };
        let frame = (camera.next_frame + margin).saturating_sub(1);
        active.worker.order(&ToInference::StopAfter { frame }, &[]).await;
        self.incoming = Some(server);
        Vec::new()
    }

    /// The incoming worker serves from the next frame that the camera captures.
    async fn take_over(&mut self, camera: &Camera<'_>) -> Vec<Next> {
        self.ledger.nobody_served_before(camera.next_frame);
        let from = self.ledger.next();
        self.serve_incoming(from).await;
        vec![Next::Serving]
    }

    async fn hand_over(&mut self, after: u64, camera: &Camera<'_>) -> Vec<Next> {
        let Some(mut retiring) = self.active.take() else { return Vec::new() };
        if self.incoming.is_none() {
            // The worker that was to take over died meanwhile; the old one ends, so its model starts again.
            let model = retiring.model.clone();
            self.ledger.nobody_served_before(camera.next_frame);
            return vec![Next::Restart(model, self.backoff.next())];
        }
        retiring.phase = Phase::Stopping { after };
        self.retiring = Some(retiring);
        self.serve_incoming(after + 1).await;
        Vec::new()
    }

    async fn serve_incoming(&mut self, frame: u64) {
        let Some(mut server) = self.incoming.take() else { return };
        server.phase = Phase::Serving;
        server.worker.order(&ToInference::ServeFrom { frame }, &[]).await;
        self.active = Some(server);
    }

    fn accounted(&mut self, id: WorkerId, account: Account) -> Vec<Next> {
        if is(&self.retiring, id) {
            return self.enter(id, vec![account]);
        }
        if !is(&self.active, id) {
            return Vec::new();
        }
        self.backoff.reset();
        if self.retiring.is_none() {
            return self.enter(id, vec![account]);
        }
        self.waiting.push_back(account);
        if self.waiting.len() > MAX_WAITING_ACCOUNTS
            && let Some(retiring) = &self.retiring
        {
            retiring.worker.kill();
        }
        Vec::new()
    }

    fn enter_waiting(&mut self) -> Vec<Next> {
        let waiting = std::mem::take(&mut self.waiting);
        let Some(id) = self.active.as_ref().map(|server| server.worker.id) else { return Vec::new() };
        self.enter(id, waiting.into())
    }

    /// Enters accounts of worker `id`; one that does not follow on the ledger ends the worker that sent it.
    fn enter(&mut self, id: WorkerId, accounts: Vec<Account>) -> Vec<Next> {
        let Some(server) = [&self.active, &self.retiring].into_iter().flatten().find(|s| s.worker.id == id) else {
            return Vec::new();
        };
        let model = server.model.identity.clone();
        let mut entered = Vec::with_capacity(accounts.len());
        for account in accounts {
            if let Err(error) = self.ledger.enter(&account) {
                tracing::error!(pid = server.worker.pid(), %error, "the inference worker miscounted and is ended");
                server.worker.kill();
                break;
            }
            entered.push(account);
        }
        vec![Next::Publish(model, entered)]
    }

    fn incoming_failed(&mut self, why: String) -> Vec<Next> {
        let Some(server) = self.incoming.take() else { return Vec::new() };
        self.last_failure = Some(why.clone());
        match server.reply {
            Some(reply) => {
                let _ = reply.send(Err(why));
                Vec::new()
            }
            // A restart of a model that has worked before: it is tried again.
            None if self.active.is_none() => vec![Next::Restart(server.model, self.backoff.next())],
            None => Vec::new(),
        }
    }

    async fn active_died(&mut self, exit: &Exit, camera: &Camera<'_>) -> Vec<Next> {
        let Some(server) = self.active.take() else { return Vec::new() };
        self.restarts += 1;
        self.last_failure = Some(exit.to_string());
        let mut next = Vec::new();
        if self.retiring.is_some() {
            // Its accounts follow on those of the retiring worker, which can no longer be waited for.
            self.waiting.clear();
            self.retiring = None;
        }
        match &self.incoming {
            Some(incoming) if incoming.phase == Phase::Waiting => next.extend(self.take_over(camera).await),
            Some(_) => {}
            None => next.push(Next::Restart(server.model, self.backoff.next())),
        }
        next
    }
}

/// What the inference side needs to know of the camera.
#[derive(Debug)]
pub(super) struct Camera<'a> {
    /// The number of the frame that comes next.
    pub(super) next_frame: u64,
    /// Whether frames are coming now.
    pub(super) capturing: bool,
    /// The sealed ring, while there is one.
    pub(super) ring: Option<BorrowedFd<'a>>,
}

fn is(server: &Option<Server>, id: WorkerId) -> bool {
    server.as_ref().is_some_and(|server| server.worker.id == id)
}

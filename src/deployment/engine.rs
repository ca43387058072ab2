//! The task that carries out deployments, one after the other, and begins with what the last start left.

mod attempt;
mod confirmation;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use self::attempt::Failed;
use super::board::Board;
use super::handle::{Deployments, Submitted};
use super::opening::Opening;
use super::report::{Failure, FailureKind, Report, Status, Step};
use super::request::{DeploymentId, Kind, Order, Request};
use super::runner::Runner;
use super::shelf::{Active, Past, Pending, Shelf, file_digest};
use super::stager::Stager;
use super::version::{EMPTY, GroupVersion};
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::config::Config;
use crate::document::read_file;
use crate::group;
use crate::name::ResourceId;
use crate::payload;
use crate::problem::Document;
use crate::store::{Release, Store};

/// Attempts, from the first pause to the longest.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// Attempts of a deployment that somebody waits for. What the device's own file asks for is tried for ever.
const ATTEMPTS: u32 = 5;

/// Starts of the core that may end in the middle of the same deployment.
const STARTS: u32 = 3;

/// The source of what the device's own file asks for.
const FILE: &str = "group.json";

/// What the engine works with.
#[derive(Debug)]
pub struct Parts {
    /// The core's configuration.
    pub config: Arc<Config>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The store of packages.
    pub store: Arc<Store>,
    /// Fetches into that store.
    pub stager: Stager,
}

/// Carries out deployments on a runner.
#[derive(Debug)]
pub struct Engine<R> {
    parts: Parts,
    runner: R,
    shelf: Shelf,
    board: Arc<Board>,
    orders: mpsc::Receiver<Submitted>,
    active: Active,
    running: Arc<GroupVersion>,
    opening: Option<(Option<Pending>, Option<String>)>,
}

/// A deployment under way.
#[derive(Debug)]
struct Task {
    request: Request,
    created: String,
    /// How often a core has begun with it.
    attempts: u32,
    /// The device's own file asks for it.
    own: bool,
    /// It only looks whether packages changed; if none has, nothing is said of it.
    quiet: bool,
    /// Why there is nothing to carry out.
    refused: Option<Failure>,
    /// The digest of the group document's file from which it was made.
    file: Option<String>,
}

/// What a deployment is to bring.
#[derive(Debug)]
struct Wanted {
    group: GroupVersion,
    /// The very packages, where they are those of an earlier deployment.
    pins: Option<BTreeMap<ResourceId, Release>>,
}

/// How a deployment ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Changed,
    /// Everything was as it should be already.
    Same,
}

impl<R: Runner> Engine<R> {
    /// An engine and the handle on it. Nothing runs yet.
    pub fn new(parts: Parts, runner: R, opening: Opening) -> (Self, Deployments) {
        let shelf = Shelf::at(parts.config.directories.deployments());
        let past = shelf.history().unwrap_or_else(|error| {
            tracing::error!(%error, "the history of deployments is not known");
            Vec::new()
        });
        let board = Arc::new(Board::new(past.into_iter().map(|past| past.report).collect()));
        board.set_warning(opening.warning.clone());
        board.set_confirmed(opening.active.current.clone());
        let (orders_in, orders) = mpsc::channel(1);
        let (config, clock) = (parts.config.clone(), parts.clock.clone());
        let handle = Deployments { orders: orders_in, board: board.clone(), config, clock };
        let Opening { active, pending, file, .. } = opening;
        let running = Arc::new(GroupVersion::empty(&parts.config));
        let opening = Some((pending, file));
        (Self { parts, runner, shelf, board, orders, active, running, opening }, handle)
    }

    /// Runs what was confirmed last, or, on a device where nothing was, what the file asks for as far as its packages
    /// are there. Returns when the runner has taken it, before models are loaded.
    pub async fn resume(&mut self) {
        if let Some(warning) = self.board.warning() {
            tracing::error!("{warning}");
        }
        let file = self.opening.as_ref().and_then(|(_, file)| file.clone());
        let resumed = match (&self.active.current, &file) {
            // An operator recovers from a group that does not start (contract G1): it must not start once more.
            (_, Some(text)) if is_empty(text) => return,
            (Some(_), _) => self.confirmed_version(),
            (None, Some(text)) => {
                GroupVersion::read(text, &self.parts.config).ok().map(|group| self.with_current(group))
            }
            (None, None) => None,
        };
        let Some(resumed) = resumed else {
            if self.active.current.is_some() {
                let warning = "the confirmed group is refused by this configuration, and nothing runs; see the log";
                self.board.set_warning(Some(warning.to_owned()));
            }
            return;
        };
        self.runner.insist(&resumed).await;
        self.run_now(resumed);
    }

    /// Carries out what is asked for, until the last handle is gone.
    pub async fn run(mut self) {
        self.runner.settled().await;
        if let Some((pending, file)) = self.opening.take()
            && let Some((task, report)) = self.first_task(pending, file)
        {
            self.carry_out(task, report).await;
        }
        loop {
            let submitted = tokio::select! {
                submitted = self.orders.recv() => match submitted {
                    Some(submitted) => Some(submitted),
                    None => return,
                },
                () = self.board.file.notified() => None,
            };
            let (task, report) = match submitted {
                Some(Submitted { request, report }) => {
                    // Asked for twice before it began the first time.
                    if let Some(known) = self.board.find(&request.id) {
                        report.send_replace(known.borrow().clone());
                        continue;
                    }
                    let created = report.borrow().created.clone();
                    (
                        Task { request, created, attempts: 0, own: false, quiet: false, refused: None, file: None },
                        report,
                    )
                }
                None => self.file_task(),
            };
            self.carry_out(task, report).await;
        }
    }

    /// What a start begins with: what was under way, what the file asks for, or a look at the packages.
    fn first_task(&mut self, pending: Option<Pending>, file: Option<String>) -> Option<(Task, watch::Sender<Report>)> {
        // One that was over when the power went is only cleared away.
        let known = |pending: &Pending| self.board.find(&pending.id).is_some();
        // An edit of the file takes the place of what the file said before, and an operator who recovers of everything.
        let recovers = |text: &String| self.active.current.is_some() && is_empty(text);
        let said = |pending: &Pending, text: &String| {
            pending.source == FILE && !matches!(&pending.order, Order::New { document } if document == text)
        };
        let edited = |pending: &Pending| file.as_ref().is_some_and(|text| recovers(text) || said(pending, text));
        let unfinished = pending.filter(|pending| !known(pending) && !edited(pending));
        if unfinished.is_none()
            && let Err(error) = self.shelf.clear_pending()
        {
            tracing::error!(%error, "a finished deployment is not cleared away");
        }
        if let Some(Pending { id, source, order, created, attempts }) = unfinished {
            let own = source == FILE;
            let request = Request { id, source, order };
            let task = Task { request, created, attempts, own, quiet: false, refused: None, file: None };
            return Some(self.reported(task));
        }
        if let Some(text) = file {
            let seen = file_digest(&text);
            return Some(of_file(seen, self.own_task(text, false)));
        }
        let current = self.active.current.as_ref()?;
        // What was gone back to stays as it is until somebody deploys.
        (current.kind == Kind::NewDeployment).then(|| self.own_task(current.document.clone(), true))
    }

    /// What the file asks for now.
    fn file_task(&mut self) -> (Task, watch::Sender<Report>) {
        let path = &self.parts.config.directories.group_document;
        let text = match read_file(Document::Group, path, group::SIZE_LIMIT) {
            Ok(text) => text,
            Err(error) => {
                let (mut task, report) = self.own_task(EMPTY.to_owned(), false);
                task.refused = Some(Failure::new(FailureKind::GroupDocument, crate::causes::explain(&error)));
                return (task, report);
            }
        };
        let seen = file_digest(&text);
        let made = match &self.active.current {
            // The file is not what runs, and nobody has touched it since: it could not be written then.
            Some(current) if self.active.file.as_ref() == Some(&seen) => self.own_task(current.document.clone(), false),
            _ => self.own_task(text, false),
        };
        of_file(seen, made)
    }

    fn own_task(&self, document: String, quiet: bool) -> (Task, watch::Sender<Report>) {
        let order = if is_empty(&document) { Order::Reset } else { Order::New { document } };
        let request = Request::new(FILE, order);
        let created = self.now();
        self.reported(Task { request, created, attempts: 0, own: true, quiet, refused: None, file: None })
    }

    fn reported(&self, task: Task) -> (Task, watch::Sender<Report>) {
        let Request { id, source, order } = &task.request;
        let report = Report::new(id.clone(), order.kind(), source.clone(), task.created.clone());
        (task, watch::Sender::new(report))
    }

    async fn carry_out(&mut self, task: Task, report: watch::Sender<Report>) {
        self.board.begin(report);
        let id = &task.request.id;
        tracing::info!(%id, kind = ?task.request.order.kind(), source = task.request.source, "a deployment begins");
        let mut wanted = None;
        let outcome = self.deploy(&task, &mut wanted).await;
        let silent = task.quiet && !matches!(&outcome, Ok(Done::Changed));
        match &outcome {
            Ok(_) => tracing::info!(%id, "the deployment succeeded"),
            Err(failure) => tracing::error!(%id, kind = ?failure.kind, "the deployment failed: {}", failure.message),
        }
        let now = self.now();
        // What is over is in nobody's way while it is written down.
        self.board.set_yields(true);
        self.board.tell(|report| {
            report.status = if outcome.is_ok() { Status::Success } else { Status::Failure };
            report.failure = outcome.err();
            (report.step, report.fetching) = (None, None);
            report.updated = now;
        });
        self.conclude(wanted, !silent);
        // The core lives on for weeks with what this took: documents, archives, conversations.
        margay_sandbox::release_start_up_memory();
    }

    async fn deploy(&mut self, task: &Task, wanted: &mut Option<Wanted>) -> Result<Done, Failure> {
        if task.attempts >= STARTS {
            self.pass_file_over();
            let message = format!("the core ended {STARTS} times in the middle of it; see its log");
            return Err(Failure::new(FailureKind::Interrupted, message));
        }
        let wanted = &*wanted.insert(self.read(task)?);
        if !task.quiet {
            self.keep_pending(task)?;
        }
        let mut pauses = Backoff::new(RETRY.0, RETRY.1);
        loop {
            self.step(Step::Fetching);
            self.board.set_yields(task.own);
            let Failed { failure, may_pass } = match self.attempt(task, wanted).await {
                Ok(done) => return Ok(done),
                Err(failed) => failed,
            };
            if !may_pass || (!task.own && pauses.attempts() + 1 >= ATTEMPTS) {
                return Err(failure);
            }
            tracing::warn!(id = %task.request.id, "the deployment is tried again: {}", failure.message);
            self.step(Step::Waiting);
            self.board.tell(|report| report.failure = Some(failure));
            self.wait(&task.request.id, pauses.next()).await?;
        }
    }

    /// Waits for the next attempt, unless somebody has something better.
    async fn wait(&self, id: &DeploymentId, pause: Duration) -> Result<(), Failure> {
        self.board.set_yields(true);
        let outcome = tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            failure = self.board.cancellation(id) => Err(failure),
        };
        self.board.set_yields(false);
        outcome
    }

    fn read(&self, task: &Task) -> Result<Wanted, Failure> {
        if let Some(refused) = &task.refused {
            return Err(refused.clone());
        }
        let (document, pins) = match &task.request.order {
            Order::New { document } => (document.clone(), None),
            Order::Reset | Order::ForceReset => (EMPTY.to_owned(), None),
            Order::Again { of } => {
                let past = self.repeatable(of)?;
                (past.document.unwrap_or_default(), Some(past.packages))
            }
        };
        let group = GroupVersion::read(&document, &self.parts.config).map_err(|problems| {
            let problems: Vec<String> = problems.errors().map(ToString::to_string).collect();
            Failure::new(FailureKind::GroupDocument, problems.join("\n"))
        })?;
        Ok(Wanted { group, pins })
    }

    fn repeatable(&self, of: &DeploymentId) -> Result<Past, Failure> {
        let refused = |message: String| Failure::new(FailureKind::NotRepeatable, message);
        let history = self.shelf.history().map_err(|error| refused(error.to_string()))?;
        let past = history.into_iter().rev().find(|past| past.report.id == *of);
        let past =
            past.ok_or_else(|| refused(format!("no deployment {of} is remembered; see `margay deployments`")))?;
        if past.report.status != Status::Success || past.document.is_none() {
            return Err(refused(format!("the deployment {of} did not succeed, and is not repeated")));
        }
        Ok(past)
    }

    fn step(&self, step: Step) {
        let now = self.now();
        self.board.tell(|report| {
            report.status = Status::InProgress;
            (report.step, report.fetching) = (Some(step), None);
            report.updated = now;
        });
    }

    fn run_now(&mut self, group: GroupVersion) {
        self.running = Arc::new(group);
        self.board.set_running(self.running.clone());
    }

    fn now(&self) -> String {
        payload::timestamp(self.parts.clock.now())
    }
}

/// Whether a document is the one that deploys nothing.
fn is_empty(document: &str) -> bool {
    document.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).is_some_and(|rest| rest.trim().is_empty())
}

/// The task as made from the file whose digest is `seen`.
fn of_file(seen: String, (task, report): (Task, watch::Sender<Report>)) -> (Task, watch::Sender<Report>) {
    (Task { file: Some(seen), ..task }, report)
}

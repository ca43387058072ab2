//! What the engine tells and the handles ask: how deployments stand, what runs, and who may interrupt whom.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::report::{Failure, FailureKind, Report};
use super::request::DeploymentId;
use super::shelf::Confirmed;
use super::version::GroupVersion;

/// Reports of finished deployments that are kept at hand; the shelf keeps as many.
const PAST: usize = 20;

/// What the engine and the handles share.
#[derive(Debug)]
pub(super) struct Board {
    inner: Mutex<Inner>,
    latest: watch::Sender<Option<Report>>,
    /// The group document's file is to be looked at.
    pub(super) file: Notify,
    /// The deployment that is to be broken off, and what is said of it then.
    cancelled: watch::Sender<Option<(DeploymentId, Failure)>>,
}

#[derive(Debug, Default)]
struct Inner {
    current: Option<Current>,
    past: VecDeque<Report>,
    running: Option<Arc<GroupVersion>>,
    confirmed: Option<Confirmed>,
    warning: Option<String>,
}

/// The deployment that is being carried out.
#[derive(Debug, Clone)]
struct Current {
    report: watch::Sender<Report>,
    /// It gives way to a newer one.
    yields: bool,
}

impl Board {
    pub(super) fn new(past: Vec<Report>) -> Self {
        // How the last run's latest one ended says nothing of what this run does.
        let latest = watch::Sender::new(None);
        let inner = Inner { past: past.into(), ..Inner::default() };
        Self { inner: Mutex::new(inner), latest, file: Notify::new(), cancelled: watch::Sender::new(None) }
    }

    /// The deployment under `id`, if it is known.
    pub(super) fn find(&self, id: &DeploymentId) -> Option<watch::Receiver<Report>> {
        let inner = self.inner();
        if let Some(current) = inner.current.as_ref().filter(|current| current.report.borrow().id == *id) {
            return Some(current.report.subscribe());
        }
        let past = inner.past.iter().rev().find(|report| report.id == *id)?;
        Some(watch::channel(past.clone()).1)
    }

    /// Finished deployments, oldest first, and the one that is under way.
    pub(super) fn list(&self) -> Vec<Report> {
        let inner = self.inner();
        let current = inner.current.as_ref().map(|current| current.report.borrow().clone());
        inner.past.iter().cloned().chain(current).collect()
    }

    /// The latest report, and every later one.
    pub(super) fn latest(&self) -> watch::Receiver<Option<Report>> {
        self.latest.subscribe()
    }

    /// The deployment that a newer one has to wait for.
    pub(super) fn in_the_way(&self) -> Option<DeploymentId> {
        let inner = self.inner();
        inner.current.as_ref().filter(|current| !current.yields).map(|current| current.report.borrow().id.clone())
    }

    /// The deployment that is under way.
    pub(super) fn under_way(&self) -> Option<DeploymentId> {
        self.inner().current.as_ref().map(|current| current.report.borrow().id.clone())
    }

    /// The deployment under way is to be broken off; only if it gives way, unless `force`d.
    pub(super) fn cancel(&self, force: bool) {
        let under_way = self.inner().current.clone().filter(|current| force || current.yields);
        let failure = match force {
            true => Failure::new(FailureKind::Cancelled, "a forced reset broke it off"),
            false => Failure::new(FailureKind::Superseded, "a newer deployment took its place"),
        };
        if let Some(current) = under_way {
            let id = current.report.borrow().id.clone();
            self.cancelled.send_replace(Some((id, failure)));
        }
    }

    /// The deployment `id` is to be broken off, also where it has not begun yet.
    pub(super) fn withdraw(&self, id: &DeploymentId, why: &str) {
        self.cancelled.send_replace(Some((id.clone(), Failure::new(FailureKind::Cancelled, why))));
    }

    /// Completes when the deployment `id` is to be broken off.
    pub(super) async fn cancellation(&self, id: &DeploymentId) -> Failure {
        let mut cancelled = self.cancelled.subscribe();
        let this = |cancelled: &Option<(DeploymentId, Failure)>| cancelled.as_ref().is_some_and(|(of, _)| of == id);
        let found = cancelled.wait_for(this).await.ok().and_then(|found| found.as_ref().map(|(_, why)| why.clone()));
        match found {
            Some(failure) => failure,
            // The board holds the sender: it does not go while somebody waits here.
            None => std::future::pending().await,
        }
    }

    /// A deployment begins.
    pub(super) fn begin(&self, report: watch::Sender<Report>) {
        self.latest.send_replace(Some(report.borrow().clone()));
        self.inner().current = Some(Current { report, yields: false });
    }

    /// Something about the deployment under way changed.
    pub(super) fn tell(&self, change: impl FnOnce(&mut Report)) {
        let Some(current) = self.inner().current.clone() else { return };
        current.report.send_modify(change);
        self.latest.send_replace(Some(current.report.borrow().clone()));
    }

    /// Whether the deployment under way gives way to a newer one.
    pub(super) fn set_yields(&self, yields: bool) {
        if let Some(current) = &mut self.inner().current {
            current.yields = yields;
        }
    }

    /// The deployment under way is over, as it was told last.
    pub(super) fn end(&self, remember: bool) {
        let mut inner = self.inner();
        let Some(current) = inner.current.take() else { return };
        if remember {
            let report = current.report.borrow().clone();
            inner.past.push_back(report);
            if inner.past.len() > PAST {
                inner.past.pop_front();
            }
        }
    }

    /// What runs now.
    pub(super) fn running(&self) -> Option<Arc<GroupVersion>> {
        self.inner().running.clone()
    }

    pub(super) fn set_running(&self, running: Arc<GroupVersion>) {
        self.inner().running = Some(running);
    }

    /// What was confirmed last.
    pub(super) fn confirmed(&self) -> Option<Confirmed> {
        self.inner().confirmed.clone()
    }

    pub(super) fn set_confirmed(&self, confirmed: Option<Confirmed>) {
        self.inner().confirmed = confirmed;
    }

    /// What is to be said of the group document's file, until a deployment succeeds.
    pub(super) fn warning(&self) -> Option<String> {
        self.inner().warning.clone()
    }

    pub(super) fn set_warning(&self, warning: Option<String>) {
        self.inner().warning = warning;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The handle on the deployments: ask for one, look at them.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::board::Board;
use super::plan::Plan;
use super::report::{PackageVersion, Report};
use super::request::{DeploymentId, Order, Request};
use super::shelf::Confirmed;
use super::version::GroupVersion;
use crate::clock::Clock;
use crate::config::Config;
use crate::payload;
use crate::problem::Problems;

/// Why a request was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Another deployment is under way, and must end first.
    #[error("the deployment {id} is under way; ask again when it is done, or break it off with a forced reset")]
    Busy {
        /// The other one.
        id: DeploymentId,
    },
    /// The core is ending.
    #[error("the core is ending, and deploys nothing any more")]
    Stopped,
}

/// A request on its way to the engine.
#[derive(Debug)]
pub(super) struct Submitted {
    pub(super) request: Request,
    pub(super) report: watch::Sender<Report>,
}

/// A handle on the deployments. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Deployments {
    pub(super) orders: mpsc::Sender<Submitted>,
    pub(super) board: Arc<Board>,
    pub(super) config: Arc<Config>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Deployments {
    /// Asks for a deployment, and gives its report, which changes until its status is terminal: `Success` once it was
    /// confirmed, `Failure` once what ran before runs again. A deployment that is under way or over already under the
    /// same id is not begun again; its report is given. A deployment that outlives the core is carried on with at the
    /// next start, under its id.
    ///
    /// # Errors
    /// [`SubmitError::Busy`] while another one is at work. One that waits for its next attempt gives way, and so does
    /// what the device's own file asks for until it is activated; a forced reset breaks off whatever is at work.
    pub fn submit(&self, request: Request) -> Result<watch::Receiver<Report>, SubmitError> {
        if let Some(known) = self.board.find(&request.id) {
            return Ok(known);
        }
        let forced = request.order == Order::ForceReset;
        if let Some(id) = self.board.in_the_way().filter(|_| !forced) {
            return Err(SubmitError::Busy { id });
        }
        let now = payload::timestamp(self.clock.now());
        let report = Report::new(request.id.clone(), request.order.kind(), request.source.clone(), now);
        let (report, reader) = watch::channel(report);
        let id = request.id.clone();
        self.orders.try_send(Submitted { request, report }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => SubmitError::Busy { id: self.board.under_way().unwrap_or(id) },
            mpsc::error::TrySendError::Closed(_) => SubmitError::Stopped,
        })?;
        self.board.cancel(forced);
        Ok(reader)
    }

    /// Breaks off the deployment `id`, because of `why`. Before it is activated nothing has changed; while it is watched,
    /// what ran before runs again. One that is confirmed stays, and so does one that is just being activated until it is
    /// watched. One that was submitted and has not begun is broken off when it begins.
    pub fn withdraw(&self, id: &DeploymentId, why: &str) {
        self.board.withdraw(id, why);
    }

    /// The group document's file is looked at anew, and deployed, with the packages as they are now. While another
    /// deployment is at work it waits.
    pub fn look_at_file(&self) {
        self.board.file.notify_one();
        self.board.cancel(false);
    }

    /// What deploying `document` would change. Fetches nothing.
    ///
    /// # Errors
    /// Every problem of the document.
    pub fn plan(&self, document: &str) -> Result<Plan, Problems> {
        let wanted = GroupVersion::read(document, &self.config)?;
        let running = self.board.running().unwrap_or_else(|| Arc::new(GroupVersion::empty(&self.config)));
        let label = |package: PackageVersion| format!("{} {} {}", package.name, package.version, package.digest);
        let packages = running.package_versions().into_iter().map(|(resource, package)| (resource, label(package)));
        Ok(Plan::between(&running, &packages.collect(), &wanted))
    }

    /// The deployment under `id`, if it is remembered.
    pub fn find(&self, id: &DeploymentId) -> Option<Report> {
        self.board.find(id).map(|report| report.borrow().clone())
    }

    /// The deployments that are remembered, oldest first, the one under way last.
    pub fn list(&self) -> Vec<Report> {
        self.board.list()
    }

    /// The report that changed last, and every later one, whoever asked for the deployment.
    pub fn latest(&self) -> watch::Receiver<Option<Report>> {
        self.board.latest()
    }

    /// What runs now.
    pub fn running(&self) -> Option<Arc<GroupVersion>> {
        self.board.running()
    }

    /// What was confirmed last.
    pub fn confirmed(&self) -> Option<Confirmed> {
        self.board.confirmed()
    }

    /// What the group asks for and this version does not do, and what is wrong with the group document's file.
    pub fn warnings(&self) -> Vec<String> {
        let group = self.board.running().map(|running| running.warnings.clone()).unwrap_or_default();
        self.board.warning().into_iter().chain(group).collect()
    }
}

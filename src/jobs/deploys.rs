//! Who carries out what a job asks for.

use tokio::sync::watch;

use super::document::Order;
use crate::deployment::DeploymentId;
use crate::mqtt::jobs::Details;

/// How a deployment stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Under way.
    Working(Details),
    /// It is confirmed and runs.
    Succeeded(Details),
    /// It failed, and what ran before runs again.
    Failed(Details),
    /// It was refused before anything was done.
    Rejected(Details),
}

/// Carries out deployments.
pub trait Deploys: Send + Sync + 'static {
    /// Deploys what `order` asks for under the id of its job, and tells how it stands until that is final. A job that is
    /// under way or was done already is not begun again: its outcome is told. Once nobody listens any more, what has
    /// not been submitted yet never is; what has been goes on.
    fn deploy(&self, order: &Order) -> watch::Receiver<Outcome>;

    /// The cloud has ended the job: its deployment is broken off and taken back, unless it is confirmed already.
    fn withdraw(&self, id: &DeploymentId);
}

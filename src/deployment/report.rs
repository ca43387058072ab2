//! How a deployment stands: V1's four states, and what is going on within them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::request::{DeploymentId, Kind};
use crate::s3::Progress as Received;

/// V1's states of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// The document is being checked.
    Building,
    /// It is being carried out.
    InProgress,
    /// It is confirmed; terminal.
    Success,
    /// It failed, and what ran before runs; terminal.
    Failure,
}

impl Status {
    /// Whether nothing more will happen.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Success | Self::Failure)
    }
}

/// What a deployment in progress is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Getting packages, or looking whether they changed.
    Fetching,
    /// Loading models in a worker of their own and classifying their samples.
    Testing,
    /// Exchanging what runs.
    Activating,
    /// Watching the new group before it is confirmed.
    Confirming,
    /// Going back to what ran.
    RollingBack,
    /// An attempt failed for a reason that may pass; the next one is due.
    Waiting,
}

/// Why a deployment failed, or did not succeed yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Of which kind.
    pub kind: FailureKind,
    /// What was tried, on what, what came back, and what to do.
    pub message: String,
}

/// Kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// The group document is refused.
    GroupDocument,
    /// The earlier deployment is not known, or was none that can be repeated.
    NotRepeatable,
    /// A package could not be fetched.
    Download,
    /// A package is signed by nobody whom the configuration trusts.
    Untrusted,
    /// A package breaks its format.
    Package,
    /// The disk refused.
    Storage,
    /// A model does not load, or misses its own samples.
    Model,
    /// A worker or its sandbox could not be started.
    Sandbox,
    /// The group ran and was not well within its health window.
    Unhealthy,
    /// A newer deployment took its place.
    Superseded,
    /// It was broken off.
    Cancelled,
    /// The core ended in the middle of it, again and again.
    Interrupted,
}

impl Failure {
    /// A failure of `kind`.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// How far a package has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetching {
    /// The resource that it is for.
    pub resource: String,
    /// Bytes that have arrived.
    pub received: u64,
    /// Bytes of the whole, once the server has said.
    pub total: Option<u64>,
}

impl Fetching {
    pub(super) fn of(resource: &str, received: Received) -> Self {
        Self { resource: resource.to_owned(), received: received.received, total: received.total }
    }
}

/// The version of a package that a deployment has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageVersion {
    /// The model's name.
    pub name: String,
    /// The model's version.
    pub version: String,
    /// The archive's digest.
    pub digest: String,
}

/// A deployment at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Its id.
    pub id: DeploymentId,
    /// Its kind.
    pub kind: Kind,
    /// On whose behalf.
    pub source: String,
    /// Its state.
    pub status: Status,
    /// What it is doing, while it is in progress.
    pub step: Option<Step>,
    /// The package that is arriving, if one is.
    pub fetching: Option<Fetching>,
    /// Why it failed, or why its last attempt did.
    pub failure: Option<Failure>,
    /// By resource, the packages that it has.
    pub packages: BTreeMap<String, PackageVersion>,
    /// When it was asked for, RFC 3339.
    pub created: String,
    /// When its state last changed, RFC 3339.
    pub updated: String,
}

impl Report {
    /// A deployment that has just been asked for.
    pub(super) fn new(id: DeploymentId, kind: Kind, source: String, now: String) -> Self {
        Self {
            id,
            kind,
            source,
            status: Status::Building,
            step: None,
            fetching: None,
            failure: None,
            packages: BTreeMap::new(),
            created: now.clone(),
            updated: now,
        }
    }

    /// How the deployment of each model stands under it.
    pub fn state(&self) -> State {
        match (self.status, self.step) {
            (Status::Success, _) | (_, Some(Step::Confirming)) => State::Deployed,
            (Status::Failure, _) => State::Failed,
            (_, Some(Step::Waiting)) => State::Retrying,
            (_, Some(Step::Activating | Step::RollingBack)) => State::Activating,
            (Status::Building, _) | (_, Some(Step::Fetching | Step::Testing) | None) => State::Fetching,
        }
    }
}

/// How the deployment of a model stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Getting the package, or looking whether it changed.
    Fetching,
    /// Warming the model in its worker.
    Activating,
    /// The model that the group asks for classifies.
    Deployed,
    /// It failed and will be tried again by itself.
    Retrying,
    /// It failed; a new deployment tries again.
    Failed,
}

//! What `margay status` shows of a classifier.

use margay_sandbox::{Aspect, Containment, Finding};
use serde::{Deserialize, Serialize};

use super::capture_side::CaptureState;
use super::health::HealthReport;
use super::ledger::Ledger;
use super::policy::PolicyCounters;
use super::worker::{Role, Worker};
use crate::payload;

/// A classifier at one moment.
#[derive(Debug, Serialize, Deserialize)]
pub struct ClassifierStatus {
    /// The camera's name.
    pub camera: String,
    /// What the capture side is doing.
    pub capture: CaptureState,
    /// Frames captured since the core started.
    pub captured: u64,
    /// Items of the source that never became a frame, such as unreadable files.
    pub skipped: u64,
    /// Whether it shows anything.
    #[serde(default)]
    pub health: HealthReport,
    /// What became of the frames; it lags behind `captured` by those in flight.
    pub ledger: Ledger,
    /// Which of the classified frames were published, and why the others were not.
    #[serde(default)]
    pub policy: PolicyCounters,
    /// The model that classifies now.
    pub model: Option<payload::Model>,
    /// The living workers.
    pub workers: Vec<WorkerStatus>,
    /// How often each kind of worker was restarted, and why the last time.
    pub restarts: Restarts,
}

/// Restarts since the core started.
#[derive(Debug, Serialize, Deserialize)]
pub struct Restarts {
    /// Of the capture worker.
    pub capture: u64,
    /// Why it was last started again, or could not be.
    pub capture_reason: Option<String>,
    /// Of the inference worker.
    pub inference: u64,
    /// Why it was last started again, or a model last refused.
    pub inference_reason: Option<String>,
}

/// A living worker.
#[derive(Debug, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// What it is for.
    pub role: Role,
    /// Its process id on the host.
    pub pid: i32,
    /// Whom it runs as, and how that was found.
    pub user: String,
    /// What contains it, row by row, and why not where it does not.
    pub containment: Containment,
}

impl WorkerStatus {
    pub(super) fn of(worker: &Worker, role: Role) -> Self {
        Self::new(role, worker.pid(), worker.containment())
    }

    /// A worker that lives under `pid` on the host.
    pub fn new(role: Role, pid: i32, containment: &Containment) -> Self {
        let containment = containment.clone();
        let user = containment.finding(Aspect::User).map_or("unknown", Finding::detail).to_owned();
        Self { role, pid, user, containment }
    }
}

//! One process of a function, as its supervisor keeps it.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::function::invocation::Outcome;
use crate::function::status::Present;
use crate::function::worker::Worker;

/// What a process is at.
#[derive(Debug)]
pub(super) enum Stage {
    /// It starts and loads its handler, at most until then.
    Loading { until: Option<Instant> },
    /// It waits for work.
    Idle { since: Instant },
    /// It works.
    Busy { id: String, reply: Option<oneshot::Sender<Outcome>>, until: Instant },
    /// It has answered, and has not asked for more yet.
    Done,
    /// It is being ended: asked to, and killed then, or killed already.
    Ending { asked: bool, kill: Option<Instant> },
}

#[derive(Debug)]
pub(super) struct Process {
    /// `None` until its sandbox stands.
    pub(super) worker: Option<Worker>,
    pub(super) stage: Stage,
    pub(super) started: Instant,
    /// Why it ends, where that is known before its end.
    pub(super) reason: Option<String>,
}

impl Process {
    pub(super) fn new(stage: Stage) -> Self {
        Self { worker: None, stage, started: Instant::now(), reason: None }
    }

    /// When something has to be done about it, if at any time.
    pub(super) fn due(&self, pinned: bool, idle: Duration) -> Option<Instant> {
        match self.stage {
            Stage::Loading { until } => until,
            Stage::Idle { since } => (!pinned).then(|| since + idle),
            Stage::Busy { until, .. } => Some(until),
            Stage::Done => None,
            Stage::Ending { kill, .. } => kill,
        }
    }

    pub(super) fn terminate(&self) {
        if let Some(worker) = &self.worker {
            worker.terminate();
        }
    }

    pub(super) fn kill(&self) {
        if let Some(worker) = &self.worker {
            worker.kill();
        }
    }

    /// Its worker, once its sandbox stands.
    pub(super) fn present(&self) -> Option<Present> {
        Some(self.worker.as_ref()?.present(matches!(self.stage, Stage::Busy { .. })))
    }
}

//! A function at one moment, for `margay functions` and the status.

use std::sync::Weak;

use margay_sandbox::{Containment, Sandboxed};
use serde::{Deserialize, Serialize};

/// What a function is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FunctionState {
    /// On-demand, and nothing to do.
    Ready,
    /// A worker of it runs.
    Running,
    /// Its worker ended, and another one is started after a pause.
    Waiting,
    /// It ended again and again without having done anything.
    CrashLoop,
    /// It cannot be started as it is; the last error says why.
    Broken,
}

impl FunctionState {
    /// As people read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::CrashLoop => "crash loop",
            Self::Broken => "broken",
        }
    }
}

/// A function at one moment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FunctionStatus {
    /// As the group names it.
    pub arn: String,
    /// What it is doing.
    pub state: FunctionState,
    /// Whether it is long-lived.
    pub pinned: bool,
    /// Its processes now.
    pub workers: Vec<FunctionWorker>,
    /// Invocations that ended well.
    pub succeeded: u64,
    /// Invocations that did not: an error of the handler, a timeout, the end of the process.
    pub failed: u64,
    /// Of these, those that took longer than `Timeout`.
    pub timed_out: u64,
    /// Invocations by other functions that found no room.
    pub refused: u64,
    /// Processes started.
    pub starts: u64,
    /// Processes that ended by themselves, and those ended for a timeout or want of memory.
    pub crashes: u64,
    /// Of these, those that reached their memory limit.
    pub out_of_memory: u64,
    /// The last thing that went wrong.
    pub last_error: Option<String>,
}

/// A process of a function.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FunctionWorker {
    /// Its process id on the host.
    pub pid: i32,
    /// Its user on the host.
    pub uid: Option<u32>,
    /// Whether it works on something.
    pub busy: bool,
    /// Memory now, in bytes: of the process, of what it started and of what they wrote to their own layer, as the control
    /// group counts it. Of the process alone where there is none.
    pub memory: Option<u64>,
    /// The most of it. A kernel before 5.19 does not tell it with version 2 of control groups.
    pub memory_peak: Option<u64>,
    /// Processes and threads that it was refused because it had as many as it may have.
    #[serde(default)]
    pub refused_processes: u64,
    /// Its memory limit, in bytes; none without a container.
    pub memory_limit: Option<u64>,
    /// What contains it.
    pub containment: Containment,
}

/// What a supervisor tells. Cheap to make: what the system says of a worker is asked for when the status is looked at.
#[derive(Debug, Clone)]
pub(super) struct Told {
    /// Without its workers.
    pub(super) status: FunctionStatus,
    pub(super) workers: Vec<Present>,
}

/// A worker that is there.
#[derive(Debug, Clone)]
pub(super) struct Present {
    pub(super) sandbox: Weak<Sandboxed>,
    pub(super) busy: bool,
    /// In bytes.
    pub(super) memory_limit: Option<u64>,
}

impl Told {
    /// Of a function without workers.
    pub(super) fn idle(status: FunctionStatus) -> Self {
        Self { status, workers: Vec::new() }
    }

    /// The status with its workers as they are now.
    pub(super) fn looked_at(&self) -> FunctionStatus {
        let workers = self.workers.iter().filter_map(Present::looked_at).collect();
        FunctionStatus { workers, ..self.status.clone() }
    }
}

impl Present {
    /// With what its sandbox, its control group and `/proc` say of it now; `None` once it is gone.
    fn looked_at(&self) -> Option<FunctionWorker> {
        let sandbox = self.sandbox.upgrade()?;
        let (pid, usage) = (sandbox.pid(), sandbox.usage());
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let field = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            value.split_whitespace().next()?.parse::<u64>().ok()
        };
        let bytes = |name: &str| field(name).map(|kib| kib * 1024);
        let (memory, memory_peak) = match usage.memory {
            Some(_) => (usage.memory, usage.memory_peak),
            None => (bytes("VmRSS"), bytes("VmHWM")),
        };
        Some(FunctionWorker {
            pid,
            uid: field("Uid").and_then(|uid| u32::try_from(uid).ok()),
            busy: self.busy,
            memory,
            memory_peak,
            refused_processes: usage.refused_processes.unwrap_or(0),
            memory_limit: self.memory_limit,
            containment: sandbox.containment().clone(),
        })
    }
}

impl FunctionStatus {
    /// A function that has not run.
    pub(super) fn new(arn: &str, pinned: bool, state: FunctionState) -> Self {
        Self {
            arn: arn.to_owned(),
            state,
            pinned,
            workers: Vec::new(),
            succeeded: 0,
            failed: 0,
            timed_out: 0,
            refused: 0,
            starts: 0,
            crashes: 0,
            out_of_memory: 0,
            last_error: None,
        }
    }
}

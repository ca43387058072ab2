//! What each kind of worker may see and do: the plans of their sandboxes.

use std::collections::BTreeMap;
use std::path::Path;

use margay_sandbox::{Account, Bind, Device, Network, Plan, PlanError, PlanParts, Program};

use super::supervisor::Settings;

/// Processes and threads of a worker, PID 1 included. Engines of this version run on one thread.
const PIDS: u32 = 16;

/// Descriptors of a worker: the channel, the log, the rings in turn, and the files it reads.
const OPEN_FILES: u64 = 64;

/// What the capture sandbox is shown of the host.
#[derive(Debug, Clone)]
pub enum CameraAccess {
    /// Nothing: the frames are drawn by the worker.
    Nothing,
    /// A folder or a file, read-only, at a path of its own.
    Files(Bind),
    /// A camera's device node.
    Device(Device),
}

/// Whom the workers run as, when the core may change its user: the default access identity of the group.
pub type WorkerIdentity = Account;

/// The capture worker sees its source, and neither model nor network.
pub(super) fn capture(settings: &Settings) -> Result<Plan, PlanError> {
    let (binds, devices) = match &settings.access {
        CameraAccess::Nothing => (Vec::new(), Vec::new()),
        CameraAccess::Files(bind) => (vec![bind.clone()], Vec::new()),
        CameraAccess::Device(device) => (Vec::new(), vec![device.clone()]),
    };
    Plan::new(PlanParts {
        binds,
        devices,
        ..parts("margay-capture", "capture", settings.memory_limit, settings.identity)
    })
}

/// An inference worker sees its model, read-only at its destination path, and nothing else; the ring comes by message.
pub(super) fn inference(settings: &Settings, model: &Path) -> Result<Plan, PlanError> {
    let binds = vec![Bind::read_only(model, &settings.model_destination)];
    Plan::new(PlanParts { binds, ..parts("margay-inference", "inference", settings.memory_limit, settings.identity) })
}

/// A worker for one question sees the package and nothing else; pictures come by message.
pub(super) fn one_shot(
    package: &Path,
    destination: &Path,
    memory_limit: u64,
    identity: WorkerIdentity,
) -> Result<Plan, PlanError> {
    let binds = vec![Bind::read_only(package, destination)];
    Plan::new(PlanParts { binds, ..parts("margay-one-shot", "one-shot", memory_limit, identity) })
}

fn parts(name: &str, program: &str, memory_limit: u64, account: WorkerIdentity) -> PlanParts {
    PlanParts {
        name: name.to_owned(),
        program: Program::This,
        arguments: vec!["worker".to_owned(), program.to_owned()],
        environment: BTreeMap::new(),
        account,
        memory_bytes: Some(memory_limit),
        pids: Some(PIDS),
        open_files: Some(OPEN_FILES),
        network: Network::None,
        ..PlanParts::default()
    }
}

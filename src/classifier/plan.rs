//! What each kind of worker may see and do: the plans of their sandboxes.

use std::collections::BTreeMap;
use std::path::Path;

use margay_sandbox::{Account, Bind, Device, Network, Plan, PlanError, PlanParts, Program};

use super::command_access::CommandAccess;
use super::running::Running;
use super::settings::Settings;

/// Processes and threads of a worker, PID 1 included, beside the threads of its engine.
const PIDS: u32 = 16;

/// Descriptors of a worker: the channel, the log, the rings in turn, and the files it reads.
const OPEN_FILES: u64 = 64;

/// The same with a program that delivers frames, and its threads: one an element of a pipeline, and more in drivers.
const COMMAND_PIDS: u32 = 128;

/// Its descriptors: each of a camera's buffers is one.
const COMMAND_OPEN_FILES: u64 = 512;

/// Room for what libraries cache, such as GStreamer's list of its plugins, in bytes.
const COMMAND_TEMPORARY: u64 = 32 << 20;

/// Has glibc's allocator (mallopt(3)) give what a model's file and graph took while it was loaded back to the system. By
/// itself it raises the limits to what is freed, and keeps as much for later; between frames nothing as large is freed.
const ALLOCATOR: [(&str, &str); 2] = [("MALLOC_MMAP_THRESHOLD_", "4194304"), ("MALLOC_TRIM_THRESHOLD_", "8388608")];

/// Where the kernel describes processors.
const CPU_FOLDER: &str = "/sys/devices/system/cpu";

/// What the capture sandbox is shown of the host.
#[derive(Debug, Clone)]
pub enum CameraAccess {
    /// Nothing: the frames are drawn by the worker.
    Nothing,
    /// A folder or a file, read-only, at a path of its own.
    Files(Bind),
    /// A camera's device node.
    Device(Device),
    /// A program that delivers frames, and what that needs.
    Command(CommandAccess),
}

/// Whom the workers run as, when the core may change its user: the default access identity of the group.
pub type WorkerIdentity = Account;

/// The capture worker sees its source, and neither model nor network. What of the host a program needs is looked up now.
pub(super) fn capture(settings: &Settings) -> Result<Plan, PlanError> {
    let parts = parts("margay-capture", "capture", settings.memory_limit, settings.identity);
    Plan::new(match &settings.access {
        CameraAccess::Nothing => parts,
        CameraAccess::Files(bind) => PlanParts { binds: vec![bind.clone()], ..parts },
        CameraAccess::Device(device) => PlanParts { devices: vec![device.clone()], ..parts },
        CameraAccess::Command(access) => {
            let (binds, devices) = access.resolve(Path::new("/"));
            let (pids, open_files) = (Some(COMMAND_PIDS), Some(COMMAND_OPEN_FILES));
            PlanParts { binds, devices, pids, open_files, temporary_bytes: COMMAND_TEMPORARY, ..parts }
        }
    })
}

/// An inference worker sees its model, read-only at its destination path, and nothing else; the ring comes by message.
pub(super) fn inference(settings: &Settings, model: &Path, running: &Running) -> Result<Plan, PlanError> {
    let parts = parts("margay-inference", "inference", settings.memory_limit, settings.identity);
    Plan::new(with_engine(parts, Bind::read_only(model, &settings.model_destination), running))
}

/// A worker for one question sees the package and nothing else; pictures come by message.
pub(super) fn one_shot(
    package: &Path,
    destination: &Path,
    memory_limit: u64,
    identity: WorkerIdentity,
    running: &Running,
) -> Result<Plan, PlanError> {
    let parts = parts("margay-one-shot", "one-shot", memory_limit, identity);
    Plan::new(with_engine(parts, Bind::read_only(package, destination), running))
}

/// Room for the engine's threads, and its library where it has one, with the libraries that it may load in turn. The
/// library counts cores and caches where the kernel describes them.
fn with_engine(parts: PlanParts, model: Bind, running: &Running) -> PlanParts {
    let threads = u32::try_from(running.threads).unwrap_or(u32::MAX);
    let mut binds = vec![model];
    let mut libraries = Vec::new();
    if let Some(library) = running.needs_library() {
        libraries.push(library.to_owned());
        binds.extend(Path::new(CPU_FOLDER).is_dir().then(|| Bind::read_only(CPU_FOLDER, CPU_FOLDER)));
    }
    let environment = ALLOCATOR.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    PlanParts { binds, libraries, environment, pids: Some(PIDS.saturating_add(threads)), ..parts }
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

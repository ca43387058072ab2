//! What the core says to the starter and to a sandbox, and what it hears from them.
//!
//! Both ends are the same executable, so the form carries no version.

use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::containment::{Aspect, Finding};
use crate::exit::Status;
use crate::plan::{Network, Plan};

/// How far a worker can be contained, from most to least. Tried in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confinement {
    /// Namespaces made with the core's own privileges; the worker gets a user of its own.
    Privileged,
    /// Namespaces made inside a user namespace that maps one user; the worker keeps the core's user on the host.
    UserNamespace,
    /// No namespaces: a process with what an ordinary process may give up by itself.
    Process,
}

impl Confinement {
    /// Whether the worker gets a file tree and a process tree of its own.
    pub fn has_namespaces(self) -> bool {
        self != Self::Process
    }

    /// The next, weaker one.
    pub(crate) fn weaker(self) -> Option<Self> {
        match self {
            Self::Privileged => Some(Self::UserNamespace),
            Self::UserNamespace => Some(Self::Process),
            Self::Process => None,
        }
    }
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Privileged => "namespaces",
            Self::UserNamespace => "namespaces inside a user namespace",
            Self::Process => "an ordinary process",
        })
    }
}

/// What the core asks of the starter: another PID 1, in namespaces of its own. With it come the sandbox's end of a socket, and
/// the folder of the version 2 control group that PID 1 is to be born in, if there is one (clone3(2), `CLONE_INTO_CGROUP`).
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Start {
    pub confinement: Confinement,
    pub network: Network,
}

/// Everything that PID 1 needs; it looks nothing up itself.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub plan: Plan,
    pub confinement: Confinement,
    /// Supplementary groups, resolved.
    pub groups: Vec<u32>,
    /// Where the descriptors that come with the order belong, in their order.
    pub targets: Vec<RawFd>,
    /// Limits for the process itself, where no control group holds them.
    pub process_limits: ProcessLimits,
    /// Stands in for the file tree where there is no mount namespace.
    pub resource_prefix: Option<PathBuf>,
    /// The file of the limit on processes, in the worker's control group.
    pub process_limit: Option<PathBuf>,
}

/// Limits of `setrlimit(2)`, used where no control group can be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessLimits {
    /// `RLIMIT_DATA`, bytes: private writable memory.
    pub data: Option<u64>,
    /// `RLIMIT_NPROC`: counts every process of the user, not only the worker's.
    pub processes: Option<u64>,
}

/// What the core asks of a sandbox.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// To PID 1, with the files `tasks` of its version 1 control groups: write yourself into them. To move another process, the
    /// kernel takes a lock whose writers wait until every processor has passed through a quiet state, 5 to 20 ms.
    Enter,
    /// To the worker, held just before it becomes the program: it has been looked at and may go on.
    Proceed,
    /// To PID 1: pass SIGTERM to the worker.
    Terminate,
}

/// What the starter, PID 1 and the worker-to-be tell the core. The kernel adds the sender's process id.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// From the starter: the process id of PID 1, as the core sees it.
    Cloned(i32),
    /// From PID 1, which then waits for its order: whether it was born in its group, and which files took it.
    Entered { born_inside: bool, tasks: Vec<bool> },
    /// From the worker, held just before it becomes the program: what cannot be read back from `/proc`.
    Prepared(Vec<(Aspect, Finding)>),
    /// From PID 1: the worker runs the program.
    Running,
    /// From whoever failed.
    Failed(Failure),
    /// From PID 1: the worker has ended.
    Ended(Status),
}

/// A step of the set-up that did not work.
#[derive(Debug, Clone, Serialize, Deserialize, Error)]
#[error("{step}{}", At(.path.as_deref()))]
pub(crate) struct Failure {
    pub step: Step,
    pub path: Option<PathBuf>,
    pub errno: i32,
}

struct At<'a>(Option<&'a Path>);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |path| write!(f, " {}", path.display()))
    }
}

impl Failure {
    /// The error that the kernel gave.
    pub fn cause(&self) -> io::Error {
        io::Error::from_raw_os_error(self.errno)
    }

    /// Whether a weaker confinement may work where this one was refused: a step that only depends on the host failed,
    /// in a way that means "not allowed here" or "not in this kernel".
    pub fn is_refusal_by_host(&self) -> bool {
        let of_host =
            matches!(self.step, Step::Clone | Step::MapUser | Step::Isolate | Step::NewRoot | Step::EnterRoot);
        let refusals = [
            libc::EPERM,
            libc::EACCES,
            libc::EINVAL,
            libc::ENOSYS,
            libc::ENOSPC,
            libc::EUSERS,
            libc::ENODEV,
            libc::EROFS,
        ];
        of_host && refusals.contains(&self.errno)
    }
}

/// The steps of the set-up, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    ReadOrder,
    Clone,
    MapUser,
    OpenSource,
    Isolate,
    NewRoot,
    Mount,
    EnterRoot,
    Host,
    Limits,
    Privileges,
    Fork,
    Descriptors,
    Execute,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadOrder => "read the order from the core",
            Self::Clone => "create the namespaces",
            Self::MapUser => "map the user into the user namespace",
            Self::OpenSource => "open",
            Self::Isolate => "detach the mounts from the host's",
            Self::NewRoot => "mount the new root on",
            Self::Mount => "mount",
            Self::EnterRoot => "enter the new root",
            Self::Host => "set the host name",
            Self::Limits => "set the process limits",
            Self::Privileges => "give up privileges",
            Self::Fork => "start the worker's process",
            Self::Descriptors => "arrange the descriptors",
            Self::Execute => "execute",
        })
    }
}

/// Turns an error of the kernel into a [`Failure`] that says where.
pub(crate) trait During<T> {
    fn during(self, step: Step) -> Result<T, Failure>;
    fn during_at(self, step: Step, path: &Path) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, step: Step) -> Result<T, Failure> {
        self.map_err(|error| Failure { step, path: None, errno: errno(error) })
    }

    fn during_at(self, step: Step, path: &Path) -> Result<T, Failure> {
        self.map_err(|error| Failure { step, path: Some(path.to_owned()), errno: errno(error) })
    }
}

fn errno(error: impl Into<io::Error>) -> i32 {
    error.into().raw_os_error().unwrap_or(libc::EIO)
}

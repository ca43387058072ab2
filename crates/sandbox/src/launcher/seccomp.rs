//! The system calls that a sandbox may make; everything else fails.
//!
//! A call that is not listed fails with `EPERM` instead of killing the worker: it is refused just as surely, a library that
//! only probes survives it, and the refusal shows up as an error that names the operation. Calls that a C library probes
//! for, and replaces when the kernel does not have them, fail with `ENOSYS`, as on a kernel that does not. A call made
//! through another architecture's numbers (32-bit calls on x86_64) kills the process.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod calls;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod filters;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod list;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod program;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use self::program::Program;
use crate::containment::Finding;
use crate::plan::{Calls, Listeners, Tree};

/// Whether there are lists for this architecture.
pub(crate) fn supported() -> Result<(), String> {
    if cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
        return Ok(());
    }
    Err(format!("no system call list for {}", std::env::consts::ARCH))
}

/// Restricts this process, about to become the worker, for good.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) fn restrict_worker(calls: Calls, listeners: Listeners) -> Finding {
    restrict(match (calls, listeners) {
        (Calls::Function, _) => &filters::FUNCTION,
        (Calls::Worker, Listeners::None) => &filters::WORKER,
        (Calls::Worker, Listeners::Accept) => &filters::WORKER_THAT_ACCEPTS,
    })
}

/// Restricts PID 1, from now on, to watching.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) fn restrict_init(tree: &Tree) -> Finding {
    restrict(if *tree == Tree::Shared { &filters::INIT_AMONG_OTHERS } else { &filters::INIT })
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn restrict(program: &Program) -> Finding {
    match seccompiler::apply_filter(program.instructions()) {
        Ok(()) => Finding::Holds("filtered".to_owned()),
        Err(why) => Finding::Absent(format!("the kernel refused the filter: {why}")),
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) fn restrict_worker(_calls: Calls, _listeners: Listeners) -> Finding {
    supported().map_or_else(Finding::Absent, |()| Finding::Absent("no filter".to_owned()))
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) fn restrict_init(_tree: &Tree) -> Finding {
    restrict_worker(Calls::Worker, Listeners::None)
}

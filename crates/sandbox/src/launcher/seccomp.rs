//! The system calls that a sandbox may make; everything else fails.
//!
//! A call that is not listed fails with `EPERM` instead of killing the worker: it is refused just as surely, a library that
//! only probes survives it, and the refusal shows up as an error that names the operation. Calls that a C library probes
//! for, and replaces when the kernel does not have them, fail with `ENOSYS`, as on a kernel that does not. A call made
//! through another architecture's numbers (32-bit calls on x86_64) kills the process.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod calls;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod filter;

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
    let (more, arguments) = match (calls, listeners) {
        (Calls::Function, _) => (vec![calls::FUNCTION], calls::FUNCTION_ARGUMENTS),
        (Calls::Worker, Listeners::None) => (vec![calls::OPENING], calls::ARGUMENTS),
        (Calls::Worker, Listeners::Accept) => (vec![calls::OPENING, calls::ACCEPT], calls::ARGUMENTS),
    };
    let lists: Vec<_> = [calls::WORKER].into_iter().chain(more).collect();
    finding(filter::restrict(&lists, arguments, calls::PRETEND_MISSING))
}

/// Restricts PID 1, from now on, to watching.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) fn restrict_init(tree: &Tree) -> Finding {
    let more = if *tree == Tree::Shared { calls::INIT_AMONG_OTHERS } else { &[] };
    finding(filter::restrict(&[calls::INIT, more], &[], &[]))
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn finding(outcome: Result<(), String>) -> Finding {
    match outcome {
        Ok(()) => Finding::Holds("filtered".to_owned()),
        Err(why) => Finding::Absent(why),
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

//! The plan of a sandbox and the launcher that executes it.
//!
//! The core describes a worker with a [`Plan`] and calls [`launch`]. The first call re-executes the running program with
//! the hidden first argument [`LAUNCH_ARGUMENT`], where the program's `main` hands over to [`launcher_main`]: the starter, a
//! process with one thread, in which it is sound to clone. Every sandbox's PID 1 is a copy of it that mounts and gives up
//! privileges step by step; the worker is a copy of that, or borrows its memory until it executes its program. Nothing but
//! the standard library's spawn runs between the core's own fork and exec. The starter ends some seconds after the last worker was
//! started, and the next call makes another.
//!
//! ```text
//! core ── one socket: a request each ──► starter
//!                                           │ clone(new namespaces), as a child of the core
//!                                           ▼
//! core ── a socket each: order and ──► PID 1 ── fork ──► worker
//!   ▲     descriptors                    │
//!   └─ reports up, requests down, life line
//! ```
//!
//! The core holds one end of a sandbox's socket and nobody else does. When it closes, because the core let go of the worker or
//! was killed, PID 1 ends and the kernel ends everything in its PID namespace with it.
//!
//! [`Sandboxed::containment`] is read back from the running worker ([`Containment`]); it is never what was intended.
//!
//! This crate refuses to run a worker without a process boundary, to guess at a missing group, and to be asynchronous:
//! [`launch`] and [`Sandboxed::wait`] block, so a program built on an executor calls them from a blocking thread.

mod cgroup;
mod channel;
mod containment;
mod evidence;
mod exit;
mod host;
mod launch;
mod launcher;
mod leftover;
mod order;
mod plan;
mod raw;
mod sandboxed;
mod scratch;
mod source;
mod visit;
mod walk;

pub use containment::{Aspect, Containment, Finding};
pub use exit::{Exit, Status};
pub use host::Host;
pub use launch::{LaunchError, group_named, launch, launch_from, launch_held};
pub use launcher::{LAUNCH_ARGUMENT, launcher_main};
pub use order::Confinement;
pub use plan::{
    Access, Account, Bind, Calls, Content, Cpu, Device, GroupRule, HostTree, Listeners, NamedBy, Network, Plan,
    PlanError, PlanParts, Program, Tree,
};
pub use sandboxed::{Sandboxed, Usage};
pub use scratch::{RESOURCE_PREFIX, resource_path};
pub use visit::{Visit, VisitError, Visitor};

/// Takes ownership of a descriptor that the plan's launch gave this worker under `number`, once.
///
/// # Errors
/// No descriptor is open under that number, or it was not passed from outside, or it is taken already.
pub fn inherited_descriptor(number: std::os::fd::RawFd) -> std::io::Result<std::os::fd::OwnedFd> {
    raw::adopt(number)
}

/// Gives back the memory that this process needed to start and does not need to go on: code that ran once, and free pages
/// inside the heap.
///
/// To be called once what takes much memory to set up is set up, a model loaded or a deployment carried out. What is used
/// again comes back from the page cache when it is; that costs a fraction of a millisecond in all. Where the C library is
/// not glibc, the heap is left as it is.
pub fn release_start_up_memory() {
    raw::release();
}

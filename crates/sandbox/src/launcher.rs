//! The launcher's process: reads its order, makes the namespaces, hands over to PID 1 and ends.
//!
//! It has one thread and ends by `exec` or exit, never by returning into the program that it is part of.

mod descriptors;
mod identity;
mod init;
mod landlock;
mod limits;
mod others;
mod program;
mod root;
mod seccomp;
mod worker;

use std::process;

use nix::sched::CloneFlags;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};

use crate::channel::Channel;
use crate::order::{Confinement, During, Failure, Order, Report, Step};
use crate::plan::{Account, Calls, Listeners, Network};
use crate::raw;
use init::Task;
pub(crate) use seccomp::supported as seccomp_supported;

/// The hidden first argument with which the core re-executes itself as the launcher.
pub const LAUNCH_ARGUMENT: &str = "sandbox-launch";

/// What the program's `main` calls, before anything else, when its first argument is [`LAUNCH_ARGUMENT`].
///
/// It expects to be the only thread, and a socket to the core as descriptor 0. Never returns; exits with 1 when there is
/// no order to follow.
pub fn launcher_main() -> ! {
    let Ok(socket) = raw::adopt(0) else { process::exit(1) };
    let channel = Channel::from_descriptor(socket);
    let Err(failure) = run(&channel) else { process::exit(0) };
    // When the core cannot be told either, it is gone, and nobody is left to tell.
    let _ = channel.send(&Report::Failed(failure), &[]);
    process::exit(1)
}

/// Makes this process a visitor of a sandbox: its worker's user and groups, no capabilities, a function's system calls.
pub(crate) fn restrict_visitor(account: Account, groups: &[u32]) -> std::io::Result<()> {
    identity::become_visitor(account, groups).map_err(|failure| failure.cause())?;
    // Where there is no list for this architecture, there was none for the worker either.
    let _ = seccomp::restrict_worker(Calls::Function, Listeners::None);
    Ok(())
}

/// Starts PID 1, in which this never returns.
fn run(channel: &Channel) -> Result<(), Failure> {
    let received = channel.receive::<Order>().during(Step::ReadOrder)?;
    let received = received.ok_or(Failure { step: Step::ReadOrder, path: None, errno: libc::EPIPE })?;
    // PID 1 takes these from a descriptor; blocked from the start, none is lost.
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&forwarded_and_child()), None).during(Step::Clone)?;
    let flags = namespaces(&received.message) | CloneFlags::CLONE_PARENT;
    let task = Task {
        order: received.message,
        descriptors: received.descriptors,
        core: identity::own_account(),
        own: program::own_path()?,
    };
    match raw::clone_process(flags).during(Step::Clone)? {
        Some(pid) => channel.send(&Report::Cloned(pid), &[]).during(Step::Clone),
        None => init::run(channel, task),
    }
}

/// The namespaces to make. PID 1 is made a child of the core (`CLONE_PARENT`), so that the launcher need not stay.
fn namespaces(order: &Order) -> CloneFlags {
    let mut flags = match order.confinement {
        Confinement::Process => return CloneFlags::empty(),
        Confinement::UserNamespace => CloneFlags::CLONE_NEWUSER,
        Confinement::Privileged => CloneFlags::empty(),
    };
    flags |= CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
    if order.plan.network == Network::None {
        flags |= CloneFlags::CLONE_NEWNET;
    }
    flags
}

/// The signals that PID 1 handles.
fn forwarded_and_child() -> SigSet {
    [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT].into_iter().collect()
}

//! The starter's process: makes a PID 1 for each sandbox that the core asks for, and ends when it has nothing to do.
//!
//! Each PID 1 is a copy of it. Executing the program anew for every sandbox would cost more than all of its set-up: a hundred
//! thousand relocations, and what every start of a C library asks the processor. It has one thread and ends by exit, its
//! copies by `exec` or exit, never by returning into the program that they are part of.

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

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process;
use std::time::Duration;

use nix::sched::CloneFlags;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};

use crate::channel::{Channel, Received};
use crate::order::{Confinement, During, Failure, Order, Report, Request, Start, Step};
use crate::plan::{Account, Calls, Listeners, Network};
use crate::raw;
use init::Task;
pub(crate) use seccomp::supported as seccomp_supported;

/// The hidden first argument with which the core re-executes itself as the starter.
pub const LAUNCH_ARGUMENT: &str = "sandbox-launch";

/// How long the starter stays without being asked for anything. Workers come in bursts: a deployment's at once, a function's
/// with each message.
const IDLE: Duration = Duration::from_secs(5);

/// How long a burst may pause before the starter makes itself small.
const SETTLING: Duration = Duration::from_millis(200);

/// What the program's `main` calls, before anything else, when its first argument is [`LAUNCH_ARGUMENT`].
///
/// It expects to be the only thread, and a socket to the core as descriptor 0. Never returns.
pub fn launcher_main() -> ! {
    let Ok(socket) = raw::adopt(0) else { process::exit(1) };
    let control = Channel::from_descriptor(socket);
    // PID 1 takes these from a descriptor; blocked from the start, none is lost. A terminal's Ctrl-C is the core's to answer.
    if sigprocmask(SigmaskHow::SIG_SETMASK, Some(&forwarded_and_child()), None).is_err() {
        process::exit(1)
    }
    while let Some(received) = next_start(&control) {
        let mut descriptors = received.descriptors.into_iter();
        let Some(socket) = descriptors.next() else { break };
        let sandbox = Channel::from_descriptor(socket);
        let birthplace = descriptors.next();
        if let Err(failure) = make_init(&sandbox, &received.message, birthplace.as_ref()) {
            // When the core has let go of it meanwhile, nobody is left to tell.
            let _ = sandbox.send(&Report::Failed(failure), &[]);
        }
    }
    process::exit(0)
}

/// What the core asks for next; nothing when it is gone, or asks for nothing.
fn next_start(control: &Channel) -> Option<Received<Start>> {
    control.set_patience(Some(SETTLING)).ok()?;
    match control.receive() {
        // Small while it waits.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => raw::release(),
        received => return received.ok()?,
    }
    control.set_patience(Some(IDLE)).ok()?;
    control.receive().ok()?
}

/// Makes this process a visitor of a sandbox: its worker's user and groups, no capabilities, a function's system calls.
pub(crate) fn restrict_visitor(account: Account, groups: &[u32]) -> std::io::Result<()> {
    identity::become_visitor(account, groups).map_err(|failure| failure.cause())?;
    // Where there is no list for this architecture, there was none for the worker either.
    let _ = seccomp::restrict_worker(Calls::Function, Listeners::None);
    Ok(())
}

/// Starts a PID 1, in which this never returns.
fn make_init(sandbox: &Channel, start: &Start, birthplace: Option<&OwnedFd>) -> Result<(), Failure> {
    let (core, own) = (identity::own_account(), program::own_path()?);
    let core_sees_all = start.confinement == Confinement::Privileged && identity::may_trace();
    let flags = namespaces(start) | CloneFlags::CLONE_PARENT;
    // Refused by an older kernel, and by a list of system calls that does not know it: then the core moves it.
    let born = birthplace.and_then(|group| raw::clone_process_into(flags, group.as_fd()).ok());
    let born_inside = born.is_some();
    let cloned = match born {
        Some(cloned) => cloned,
        None => raw::clone_process(flags).during(Step::Clone)?,
    };
    if let Some(pid) = cloned {
        return sandbox.send(&Report::Cloned(pid), &[]).during(Step::Clone);
    }
    match enter_groups(sandbox, born_inside) {
        Ok(received) => {
            let (order, descriptors) = (received.message, received.descriptors);
            init::run(sandbox, Task { order, descriptors, core, own, core_sees_all })
        }
        Err(failure) => {
            // When the core cannot be told, it is gone, and ending is all there is to do.
            let _ = sandbox.send(&Report::Failed(failure), &[]);
            process::exit(1)
        }
    }
}

/// Has PID 1 enter its control groups, and waits for its order.
fn enter_groups(sandbox: &Channel, born_inside: bool) -> Result<Received<Order>, Failure> {
    let gone = || Failure { step: Step::ReadOrder, path: None, errno: libc::EPIPE };
    let asked = sandbox.receive::<Request>().during(Step::ReadOrder)?.ok_or_else(gone)?;
    let tasks = asked.descriptors.iter().map(|file| rustix::io::write(file, b"0").is_ok()).collect();
    sandbox.send(&Report::Entered { born_inside, tasks }, &[]).during(Step::ReadOrder)?;
    sandbox.receive::<Order>().during(Step::ReadOrder)?.ok_or_else(gone)
}

/// The namespaces to make. PID 1 is made a child of the core (`CLONE_PARENT`), which is the one to reap it.
fn namespaces(start: &Start) -> CloneFlags {
    let mut flags = match start.confinement {
        Confinement::Process => return CloneFlags::empty(),
        Confinement::UserNamespace => CloneFlags::CLONE_NEWUSER,
        Confinement::Privileged => CloneFlags::empty(),
    };
    flags |= CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
    if start.network == Network::None {
        flags |= CloneFlags::CLONE_NEWNET;
    }
    flags
}

/// The signals that PID 1 handles.
fn forwarded_and_child() -> SigSet {
    [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT].into_iter().collect()
}

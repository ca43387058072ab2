//! The last steps of the process that becomes the worker.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::sys::prctl::set_dumpable;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::{Pid, chdir, execve, setpgid};

use super::descriptors::Links;
use super::init::{Prepared, Task};
use super::landlock::{Allowance, Grant};
use super::program::Executable;
use super::{descriptors, identity, landlock, limits, program, seccomp};
use crate::channel::Channel;
use crate::containment::{Aspect, Finding};
use crate::order::{During, Failure, Order, Report, Request, Step};
use crate::plan::Tree;
use crate::raw;
use crate::scratch::{RESOURCE_PREFIX, temporary_below};

/// Exit code of a worker that could not become its program, as shells have it.
const NOT_EXECUTED: i32 = 127;

/// What only the worker is, until it executes its program.
#[derive(Clone, Copy)]
pub(super) struct Last<'a> {
    pub channel: &'a Channel,
    /// Its closing tells PID 1 that the program runs.
    pub executing: &'a OwnedFd,
    /// Told when there is nothing left to do but to execute.
    pub ready: &'a dyn Fn(),
    /// Whether a core without rights over its memory is to look at it in /proc.
    pub shows_itself: bool,
}

/// Becomes the plan's program; returns an exit code where it could not.
pub(super) fn run(last: Last<'_>, task: &Task, prepared: &Prepared) -> i32 {
    match Links::lift(last.channel, last.executing, &task.order.targets) {
        Err(failure) => tell(last.channel, failure),
        Ok(links) => {
            let Err(failure) = become_program(&links, last, task, prepared);
            tell(&links.channel, failure);
        }
    }
    NOT_EXECUTED
}

fn tell(channel: &Channel, failure: Failure) {
    // When the core cannot be told, it is gone, and ending is all there is to do.
    let _ = channel.send(&Report::Failed(failure), &[]);
}

fn become_program(links: &Links, last: Last<'_>, task: &Task, prepared: &Prepared) -> Result<Infallible, Failure> {
    let Prepared { executable, allowances } = prepared;
    let shared = task.order.plan.tree == Tree::Shared;
    if shared {
        // PID 1 has kept its user.
        identity::drop_privileges(&task.order)?;
    }
    let arguments = arguments(&task.order, executable)?;
    let environment = environment(&task.order)?;
    // A group of its own, by which everything it starts can be ended where there is no PID namespace.
    setpgid(Pid::from_raw(0), Pid::from_raw(0)).during(Step::Execute)?;
    let folder = &task.order.plan.folder;
    chdir(folder).during_at(Step::Execute, folder)?;
    let (open_files, listeners, calls) = (task.order.plan.open_files, task.order.plan.listeners, task.order.plan.calls);
    if task.order.plan.tree != Tree::Bare {
        program::refuse_own(&executable.inside)?;
    }
    let path = descriptors::arrange(links, task, executable)?;
    limits::limit_open_files(open_files)?;
    raw::reset_signals();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).during(Step::Execute)?;
    if last.shows_itself {
        set_dumpable(true).during(Step::Execute)?;
    }
    let landlocked = match shared {
        true => Finding::Absent("the plan gives it the host's files".to_owned()),
        false => {
            let program = Allowance { path: path.clone(), grant: Grant::Execute };
            landlock::restrict(allowances.iter().chain([&program]), calls)
        }
    };
    let filtered = seccomp::restrict_worker(calls, listeners);
    // Sent through the filter: a list that kept the worker from reporting would keep it from working, too.
    let statements = vec![(Aspect::Landlock, landlocked), (Aspect::Seccomp, filtered)];
    links.channel.send(&Report::Prepared(statements), &[]).during(Step::Execute)?;
    wait_to_be_inspected(&links.channel)?;
    let program = text(&path)?;
    (last.ready)();
    execve(&program, &arguments, &environment).during_at(Step::Execute, &path)
}

/// Everything that the program inherits is in place now, and stays as it is while the core reads it back.
fn wait_to_be_inspected(channel: &Channel) -> Result<(), Failure> {
    match channel.receive::<Request>().during(Step::Execute)? {
        Some(_) => Ok(()),
        None => Err(Failure { step: Step::Execute, path: None, errno: libc::EPIPE }),
    }
}

fn arguments(order: &Order, executable: &Executable) -> Result<Vec<CString>, Failure> {
    [&executable.name].into_iter().chain(&order.plan.arguments).map(|argument| text(Path::new(argument))).collect()
}

fn environment(order: &Order) -> Result<Vec<CString>, Failure> {
    let prefix = order.resource_prefix.as_deref().unwrap_or(Path::new("/"));
    let mut variables = order.plan.environment.clone();
    variables.insert(RESOURCE_PREFIX.to_owned(), prefix.to_string_lossy().into_owned());
    if let Some(scratch) = &order.resource_prefix {
        variables.insert("TMPDIR".to_owned(), temporary_below(scratch).to_string_lossy().into_owned());
    }
    variables.iter().map(|(name, value)| text(Path::new(&format!("{name}={value}")))).collect()
}

fn text(path: &Path) -> Result<CString, Failure> {
    let invalid = |_| Failure { step: Step::Execute, path: Some(path.to_owned()), errno: libc::EINVAL };
    CString::new(path.as_os_str().as_encoded_bytes()).map_err(invalid)
}

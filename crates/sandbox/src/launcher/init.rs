//! PID 1 of a sandbox: sets it up, starts the worker, and then only watches.
//!
//! It reaps what is orphaned, passes SIGTERM and SIGINT on, tells the core how the worker ended, and ends everything when
//! the core is gone. It runs as the worker's user without any capability, cannot be traced by the worker (it is not
//! dumpable), and has a system call list of its own.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::CloneFlags;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, pipe2, setsid};
use rustix::process::{WaitOptions, wait};

use super::landlock::Allowance;
use super::others::Others;
use super::program::Executable;
use super::worker::Last;
use super::{forwarded_and_child, identity, landlock, limits, program, root, seccomp, worker};
use crate::channel::Channel;
use crate::exit::Status;
use crate::order::{Confinement, During, Failure, Order, Report, Request, Step};
use crate::plan::{Account, Tree};
use crate::raw;

/// Exit code of PID 1 when the core let go of it.
const LET_GO: i32 = 137;

/// How long a worker has to live before PID 1 makes itself small and restricts itself to watching, in milliseconds: one that
/// ends at once, as a function's command may, is not kept waiting for that.
const SETTLING: u8 = 100;

/// What PID 1 is to do.
#[derive(Debug)]
pub(super) struct Task {
    pub order: Order,
    /// The worker's descriptors, in the order of the order's targets.
    pub descriptors: Vec<OwnedFd>,
    /// The user and group of the core, as seen before a user namespace hides them.
    pub core: Account,
    /// Where the core's own program is, as seen before a mount namespace hides it.
    pub own: PathBuf,
    /// Whether the core may look at processes that do not show themselves (`CAP_SYS_PTRACE`, with the system's own users).
    pub core_sees_all: bool,
}

/// What the set-up leaves for the worker.
#[derive(Debug)]
pub(super) struct Prepared {
    pub executable: Executable,
    /// What landlock shall allow beside executing the program.
    pub allowances: Vec<Allowance>,
}

/// Becomes PID 1. Never returns.
pub(super) fn run(channel: &Channel, task: Task) -> ! {
    let started = set_up(&task).and_then(|prepared| start(channel, task, prepared));
    let code = match started {
        Ok(watch) => watch.until_the_end(channel),
        Err(failure) => {
            // When the core cannot be told, it is gone, and ending is all there is to do.
            let _ = channel.send(&Report::Failed(failure), &[]);
            1
        }
    };
    process::exit(code)
}

fn set_up(task: &Task) -> Result<Prepared, Failure> {
    let order = &task.order;
    // In a session of its own no terminal's Ctrl-C reaches the worker: when to end it is the core's decision.
    setsid().during(Step::Privileges)?;
    if order.confinement == Confinement::UserNamespace {
        identity::map_user(order, task.core)?;
    }
    let program = program::resolve(&order.plan, &task.own)?;
    let prepared = if order.confinement.has_namespaces() {
        root::enter(order, program)?
    } else {
        let allowances = if is_shared(order) { Vec::new() } else { landlock::of_host(order, &program) };
        let inside = program.executable.host.clone();
        Prepared { executable: Executable { inside, ..program.executable }, allowances }
    };
    raw::leave_keyring();
    limits::apply(order)?;
    if !is_shared(order) {
        identity::drop_privileges(order)?;
    }
    Ok(prepared)
}

/// Whether PID 1 keeps its user, because the worker is to be among the host's processes and could reach it.
fn is_shared(order: &Order) -> bool {
    order.plan.tree == Tree::Shared
}

/// Starts the worker, and lets go of everything that only it needs.
fn start(channel: &Channel, task: Task, prepared: Prepared) -> Result<Watch, Failure> {
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let signals = SignalFd::with_flags(&forwarded_and_child(), flags).during(Step::Fork)?;
    let (executed, executing) = pipe2(OFlag::O_CLOEXEC).during(Step::Fork)?;
    let alone = task.order.confinement.has_namespaces();
    if !alone {
        // Orphans of the worker come here instead of to the host's init.
        set_child_subreaper(true).during(Step::Fork)?;
    }
    let worker = start_worker(channel, &executing, &task, &prepared).during(Step::Fork)?;
    let tree = task.order.plan.tree.clone();
    let others = match (alone, &tree) {
        (true, _) => Others::None,
        (false, Tree::Shared) => Others::anywhere(task.order.process_limit.as_deref()),
        (false, _) => Others::OfTheGroup,
    };
    drop((task, prepared, executing));
    let mut kept = vec![channel.as_fd().as_raw_fd(), signals.as_fd().as_raw_fd(), executed.as_raw_fd()];
    kept.extend(others.descriptor());
    raw::close_all_except(&kept).during(Step::Fork)?;
    if tree == Tree::Shared {
        identity::keep_only_kill()?;
    }
    let watch = Watch { worker, signals, others, tree };
    watch.until_it_runs(channel, executed)?;
    channel.send(&Report::Running, &[]).during(Step::Fork)?;
    Ok(watch)
}

/// The worker is a copy of this process, or, where the core may look at a process that hides its memory, uses this one's until
/// it executes its program, which spares the copy. It would else have to show what is this process's memory, too, and its
/// program could look into that before this process has gone on.
fn start_worker(channel: &Channel, executing: &OwnedFd, task: &Task, prepared: &Prepared) -> io::Result<Pid> {
    let last = Last { channel, executing, ready: &|| (), shows_itself: true };
    if task.core_sees_all && task.order.plan.tree != Tree::Shared {
        let run = |ready: &dyn Fn()| worker::run(Last { ready, shows_itself: false, ..last }, task, prepared);
        return raw::clone_lending_memory(run).map(Pid::from_raw);
    }
    match raw::clone_process(CloneFlags::empty())? {
        None => process::exit(worker::run(last, task, prepared)),
        Some(pid) => Ok(Pid::from_raw(pid)),
    }
}

/// The watch over a running worker.
struct Watch {
    worker: Pid,
    signals: SignalFd,
    others: Others,
    tree: Tree,
}

impl Watch {
    /// Waits until the worker has become its program, or died trying: then the pipe ends. The channel is not read
    /// meanwhile, because the next message is the worker's; only its end is noticed.
    fn until_it_runs(&self, channel: &Channel, executed: OwnedFd) -> Result<(), Failure> {
        let mut sources =
            [PollFd::new(executed.as_fd(), PollFlags::POLLIN), PollFd::new(channel.as_fd(), PollFlags::empty())];
        while let Err(nix::Error::EINTR) = poll(&mut sources, PollTimeout::NONE) {}
        if sources[1].any() == Some(true) {
            self.end_the_others();
            return Err(Failure { step: Step::Fork, path: None, errno: libc::EPIPE });
        }
        Ok(())
    }

    /// Returns the exit code of PID 1: the worker's, or 128 and the number of the signal that ended it.
    fn until_the_end(&self, channel: &Channel) -> i32 {
        let (began, mut patience) = (Instant::now(), PollTimeout::from(SETTLING));
        loop {
            let Ok((asked, signalled)) = self.wait_for_news(channel, patience) else {
                self.end_the_others();
                return LET_GO;
            };
            // By the clock as well: a worker whose orphans never stop ending must not put it off.
            // Once it is restricted, it does not even ask for the time.
            let is_late = || began.elapsed() >= Duration::from_millis(SETTLING.into());
            if patience.is_some() && (!(asked || signalled) || is_late()) {
                self.settle();
                patience = PollTimeout::NONE;
            }
            if signalled && let Some(status) = self.handle_signals() {
                self.end_the_others();
                // A core that is gone needs no report.
                let _ = channel.send(&Report::Ended(status), &[]);
                return match status {
                    Status::Code(code) => code,
                    Status::Signal(number) => 128 + number,
                };
            }
            if asked && !self.handle_request(channel) {
                self.end_the_others();
                // The core may only have hung up, and still be listening.
                let _ = channel.send(&Report::Ended(Status::Signal(libc::SIGKILL)), &[]);
                return LET_GO;
            }
        }
    }

    /// All that it does from here on is wait.
    fn settle(&self) {
        let memory = raw::StartUpMemory::look();
        // Without a list of its own PID 1 still has no privileges; nothing depends on it.
        let _ = seccomp::restrict_init(&self.tree);
        // Last: what making the list has touched is let go of as well.
        memory.release();
    }

    /// Whether the core has something to say, or ended, and whether a signal arrived; neither when it took too long.
    fn wait_for_news(&self, channel: &Channel, patience: PollTimeout) -> nix::Result<(bool, bool)> {
        let mut sources =
            [PollFd::new(channel.as_fd(), PollFlags::POLLIN), PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        while let Err(error) = poll(&mut sources, patience) {
            if error != nix::Error::EINTR {
                return Err(error);
            }
        }
        let ready = |source: &PollFd<'_>| source.any().unwrap_or(false);
        Ok((ready(&sources[0]), ready(&sources[1])))
    }

    /// Whether the core is still there.
    fn handle_request(&self, channel: &Channel) -> bool {
        match channel.receive::<Request>() {
            Ok(Some(received)) => {
                if matches!(received.message, Request::Terminate) {
                    self.forward(Signal::SIGTERM);
                }
                true
            }
            Ok(None) | Err(_) => false,
        }
    }

    /// Reaps and forwards; the worker's status once it has ended.
    fn handle_signals(&self) -> Option<Status> {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            match i32::try_from(signal.ssi_signo).map(Signal::try_from) {
                Ok(Ok(Signal::SIGCHLD)) => {}
                Ok(Ok(other)) => self.forward(other),
                _ => {}
            }
        }
        self.reap()
    }

    /// Reaps what has ended; the worker's status if it was among them.
    fn reap(&self) -> Option<Status> {
        let mut ended = None;
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid.as_raw_pid() == self.worker.as_raw() {
                ended = Status::from_wait(status);
            }
        }
        ended
    }

    fn forward(&self, signal: Signal) {
        // It may have ended a moment ago; it is not reaped before this returns, so nobody else has its number.
        let _ = kill(self.worker, signal);
    }

    /// Ends what the worker left behind.
    fn end_the_others(&self) {
        self.others.end(self.worker);
    }
}

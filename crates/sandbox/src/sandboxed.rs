//! A running worker, from the core's side.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process, waitid, waitpid};

use crate::cgroup::Groups;
use crate::channel::Channel;
use crate::containment::Containment;
use crate::exit::{Exit, Status};
use crate::order::{Confinement, Report, Request};
use crate::scratch::Scratch;

/// What a worker and everything that it started use; `None` where no control group counts it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory now, in bytes: of processes, of what they wrote to the sandbox's own file systems, and of files that they read
    /// and that the kernel keeps for them.
    pub memory: Option<u64>,
    /// The most of it.
    pub memory_peak: Option<u64>,
    /// Processes and threads that were refused because there were as many as may be.
    pub refused_processes: Option<u64>,
}

/// A running worker. Dropping it kills the worker and everything the worker started, and blocks until that is done.
///
/// All methods take `&self`: one thread may wait while another terminates.
#[derive(Debug)]
pub struct Sandboxed {
    name: String,
    pid: i32,
    confinement: Confinement,
    containment: Containment,
    memory_limit: Option<u64>,
    channel: Channel,
    groups: Groups,
    /// PID 1 of the sandbox, a child of this process.
    init: Init,
    ended: Mutex<Option<Exit>>,
    _scratch: Option<Scratch>,
}

/// What a worker consists of once it runs.
#[derive(Debug)]
pub(crate) struct Parts {
    pub name: String,
    pub pid: i32,
    pub confinement: Confinement,
    pub containment: Containment,
    pub memory_limit: Option<u64>,
    pub channel: Channel,
    pub groups: Groups,
    pub init: Init,
    pub scratch: Option<Scratch>,
}

impl Sandboxed {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            name: parts.name,
            pid: parts.pid,
            confinement: parts.confinement,
            containment: parts.containment,
            memory_limit: parts.memory_limit,
            channel: parts.channel,
            groups: parts.groups,
            init: parts.init,
            ended: Mutex::new(None),
            _scratch: parts.scratch,
        }
    }

    /// The plan's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The worker's process id on the host. For reading `/proc`; signals go through [`Self::terminate`] and
    /// [`Self::kill`], which cannot hit a process that got the number later.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// How far the host let the worker be contained.
    pub fn confinement(&self) -> Confinement {
        self.confinement
    }

    /// What holds the worker, as found just after it started.
    pub fn containment(&self) -> &Containment {
        &self.containment
    }

    /// What the worker and everything that it started use now, as their control groups count it.
    pub fn usage(&self) -> Usage {
        self.groups.usage()
    }

    /// Every process of the sandbox, PID 1 included, by its number on the host; `None` where no control group tells.
    pub fn processes(&self) -> Option<Vec<i32>> {
        self.groups.members()
    }

    /// Blocks until the worker has ended and everything it started is gone. May be called again, and from several threads.
    pub fn wait(&self) -> Exit {
        let mut ended = lock(&self.ended);
        ended.get_or_insert_with(|| self.wait_for_end()).clone()
    }

    /// Asks the worker to end, with SIGTERM. Without effect when it has ended.
    pub fn terminate(&self) {
        // The other side is gone exactly when the worker is.
        let _ = self.channel.send(&Request::Terminate, &[]);
    }

    /// Ends the worker and everything it started, at once. Without effect when it has ended.
    pub fn kill(&self) {
        let _ = self.channel.hang_up();
        if self.confinement.has_namespaces() {
            // PID 1 takes its whole namespace with it. Without one it has to live on to end the others itself.
            self.init.kill();
        } else {
            self.groups.kill_members();
        }
    }

    fn wait_for_end(&self) -> Exit {
        let reported = self.reported_status();
        // What the kernel counted of the worker is final by now, and is read while PID 1 takes the sandbox down.
        let verdict = reported.map(|_| self.groups.memory_verdict());
        let init = self.init.reap();
        if !self.confinement.has_namespaces() {
            // Only what outlived a PID 1 that was killed itself; without a PID namespace nothing else ends it.
            self.groups.end_members();
        }
        let status = reported.or(init).unwrap_or(Status::Signal(libc::SIGKILL));
        Exit::new(&self.name, status, self.memory_limit, verdict.unwrap_or_else(|| self.groups.memory_verdict()))
    }

    /// What PID 1 says; nothing when it was killed itself.
    fn reported_status(&self) -> Option<Status> {
        loop {
            match self.channel.receive::<Report>() {
                Ok(Some(received)) => {
                    if let Report::Ended(status) = received.message {
                        return Some(status);
                    }
                }
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

impl Drop for Sandboxed {
    fn drop(&mut self) {
        self.kill();
        self.wait();
    }
}

/// The process that holds a sandbox together. It stays a zombie, and its number unused, until it is reaped here.
#[derive(Debug)]
pub(crate) struct Init {
    pid: Pid,
    reaped: Mutex<bool>,
}

impl Init {
    pub fn new(pid: Pid) -> Self {
        Self { pid, reaped: Mutex::new(false) }
    }

    pub fn kill(&self) {
        if !*lock(&self.reaped) {
            // Not permitted when it runs as another user and the core may not signal that one; hanging up suffices then.
            let _ = kill_process(self.pid, Signal::KILL);
        }
    }

    /// Waits for its end. The wait itself leaves the zombie, so that [`Self::kill`] needs the lock only for a moment.
    pub fn reap(&self) -> Option<Status> {
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(Errno::INTR) = waitid(WaitId::Pid(self.pid), ended) {}
        let mut reaped = lock(&self.reaped);
        if *reaped {
            return None;
        }
        *reaped = true;
        let (_, status) = waitpid(Some(self.pid), WaitOptions::empty()).ok()??;
        Status::from_wait(status)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thread_may_wait_while_another_terminates() {
        fn is_shared<T: Send + Sync>() {}
        is_shared::<Sandboxed>();
    }
}

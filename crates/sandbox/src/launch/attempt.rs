//! One attempt to start a worker at one confinement: spawn the launcher, give it the order, follow its reports.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Pid;

use super::LaunchError;
use super::ladder::Rung;
use crate::cgroup::{Groups, Home};
use crate::channel::Channel;
use crate::containment::{Aspect, Containment, Finding};
use crate::evidence::{Expected, gather};
use crate::launcher::LAUNCH_ARGUMENT;
use crate::order::{Failure, Order, Report, Request};
use crate::plan::Plan;
use crate::sandboxed::{Init, Parts, Sandboxed};
use crate::scratch::Scratch;

/// How long the launcher may stay silent. Starting takes milliseconds; a device under full load takes seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Half way to "first" on the kernel's scale of 0 to 1000 (proc(5), `oom_score_adj`).
const WORKER_OOM_SCORE: &str = "500";

/// What every attempt has in common.
pub(super) struct Attempt<'a> {
    pub program: &'a Path,
    pub plan: &'a Plan,
    pub supplementary: Vec<u32>,
    pub descriptors: Vec<(OwnedFd, RawFd)>,
    /// Called with the worker's process id while the worker waits to execute its program.
    pub prepare: &'a dyn Fn(i32),
}

/// Why an attempt did not succeed.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The host does not allow this confinement; a weaker one may work.
    ByHost(Failure),
    /// Nothing else would work either.
    Final(LaunchError),
}

/// What the reports told.
#[derive(Debug)]
struct Started {
    worker: i32,
    init: Init,
    containment: Containment,
}

/// The error for a step that failed inside the sandbox.
pub(super) fn set_up_failed(plan: &Plan, failure: &Failure) -> LaunchError {
    LaunchError::SetUp { worker: plan.name.clone(), step: failure.to_string(), source: failure.cause() }
}

impl Attempt<'_> {
    /// Starts the worker at this rung. On an error every process of the attempt is gone.
    pub fn run(&self, rung: &Rung) -> Result<Sandboxed, Refusal> {
        let (channel, launcher_end) = Channel::pair().map_err(|error| self.start("creating a socket", error))?;
        channel.set_patience(Some(PATIENCE)).map_err(|error| self.start("setting a time limit", error))?;
        let scratch = self.scratch(rung)?;
        // Under version 2 the core has to be alone in its control group when it claims it.
        Home::claimed();
        let launcher = self.spawn(launcher_end)?;
        let groups = Groups::enter(self.plan, launcher.0.id());
        let spawned = Spawned { launcher, groups };
        self.send_order(&channel, rung, &spawned.groups, scratch.as_ref())?;
        let started = self.follow(&channel, rung, &spawned.groups)?;
        let Spawned { launcher, groups } = spawned;
        drop(launcher);
        Ok(Sandboxed::new(Parts {
            name: self.plan.name.clone(),
            pid: started.worker,
            confinement: rung.confinement,
            containment: started.containment,
            memory_limit: self.plan.memory_bytes,
            channel,
            groups,
            init: started.init,
            scratch,
        }))
    }

    fn scratch(&self, rung: &Rung) -> Result<Option<Scratch>, Refusal> {
        if rung.confinement.has_namespaces() {
            return Ok(None);
        }
        Scratch::create(self.plan).map(Some).map_err(|error| self.start("creating its working directory", error))
    }

    /// The standard library's spawn is safe in a program with many threads: no closure of ours runs before exec.
    fn spawn(&self, socket: OwnedFd) -> Result<Launcher, Refusal> {
        let spawned = Command::new(self.program)
            .arg(LAUNCH_ARGUMENT)
            .env_clear()
            .stdin(Stdio::from(socket))
            .stdout(Stdio::null())
            .spawn();
        spawned.map(Launcher).map_err(|error| self.start("starting the launcher", error))
    }

    fn send_order(
        &self,
        channel: &Channel,
        rung: &Rung,
        groups: &Groups,
        scratch: Option<&Scratch>,
    ) -> Result<(), Refusal> {
        let order = Order {
            plan: self.plan.clone(),
            confinement: rung.confinement,
            groups: self.supplementary.clone(),
            targets: self.targets(),
            process_limits: groups.process_limits(),
            resource_prefix: scratch.map(|scratch| scratch.path().to_owned()),
            process_limit: groups.process_limit_file(),
        };
        let descriptors: Vec<_> = self.descriptors.iter().map(|(descriptor, _)| descriptor.as_fd()).collect();
        match channel.send(&order, &descriptors) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(self.silent("on start")),
            other => other.map_err(|error| self.start("sending the order", error)),
        }
    }

    /// Follows the reports until the worker runs. The launcher's and the worker's may arrive in any order.
    fn follow(&self, channel: &Channel, rung: &Rung, groups: &Groups) -> Result<Started, Refusal> {
        let mut init = None;
        let mut inspected = None;
        let mut running = false;
        loop {
            let received = channel.receive::<Report>();
            match received.map(|received| received.map(|received| (received.message, received.sender))) {
                Ok(Some((Report::Cloned(pid), _))) => init = Pid::from_raw(pid).map(Init::new),
                Ok(Some((Report::Prepared(statements), Some(worker)))) => {
                    inspected = Some((worker, self.inspect(worker, rung, groups, &statements)));
                    (self.prepare)(worker);
                    // When the worker cannot be told to go on, the next report says why.
                    let _ = channel.send(&Request::Proceed, &[]);
                }
                Ok(Some((Report::Running, _))) => running = true,
                Ok(Some((Report::Failed(failure), _))) => {
                    abandon(channel, init);
                    return Err(self.refusal(failure));
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => {
                    abandon(channel, init);
                    return Err(self.silent(if inspected.is_some() { "on executing" } else { "on setting up" }));
                }
            }
            if let (true, Some(_), Some(_)) = (running, &init, &inspected) {
                break;
            }
        }
        let lifted = channel.set_patience(None).map_err(|error| self.start("lifting the time limit", error));
        match (init, inspected, lifted) {
            (Some(init), Some((worker, containment)), Ok(())) => Ok(Started { worker, init, containment }),
            (init, _, lifted) => {
                abandon(channel, init);
                Err(lifted.err().unwrap_or_else(|| self.silent("on executing")))
            }
        }
    }

    /// Looks at the worker while it waits.
    fn inspect(&self, worker: i32, rung: &Rung, groups: &Groups, statements: &[(Aspect, Finding)]) -> Containment {
        // When the host runs out of memory, a worker shall go before the core. Only a wish: nothing depends on it.
        let _ = fs::write(format!("/proc/{worker}/oom_score_adj"), WORKER_OOM_SCORE);
        let expected = Expected {
            plan: self.plan,
            confinement: rung.confinement,
            refusal: rung.refusal.as_deref(),
            supplementary: &self.supplementary,
            targets: &self.targets(),
            groups,
            statements,
        };
        gather(worker, &expected)
    }

    fn refusal(&self, failure: Failure) -> Refusal {
        if failure.is_refusal_by_host() {
            return Refusal::ByHost(failure);
        }
        Refusal::Final(set_up_failed(self.plan, &failure))
    }

    fn targets(&self) -> Vec<RawFd> {
        self.descriptors.iter().map(|(_, target)| *target).collect()
    }

    fn start(&self, attempt: &'static str, source: io::Error) -> Refusal {
        Refusal::Final(LaunchError::Start { worker: self.plan.name.clone(), attempt, source })
    }

    fn silent(&self, after: &'static str) -> Refusal {
        let program = self.program.to_owned();
        Refusal::Final(LaunchError::Silent { worker: self.plan.name.clone(), program, after })
    }
}

/// Ends what an attempt has started. The report that names PID 1 may still be on its way.
fn abandon(channel: &Channel, init: Option<Init>) {
    // Fails only when the other side is gone already.
    let _ = channel.hang_up();
    let mut init = init;
    while init.is_none() {
        match channel.receive::<Report>() {
            Ok(Some(received)) => {
                if let Report::Cloned(pid) = received.message {
                    init = Pid::from_raw(pid).map(Init::new);
                }
            }
            Ok(None) | Err(_) => return,
        }
    }
    if let Some(init) = init {
        init.kill();
        init.reap();
    }
}

/// The launcher and the groups it is in; the groups can only be removed when it is gone, so it is dropped first.
#[derive(Debug)]
struct Spawned {
    launcher: Launcher,
    groups: Groups,
}

/// The launcher's process, which ends by itself when PID 1 exists; reaped when dropped.
#[derive(Debug)]
struct Launcher(Child);

impl Drop for Launcher {
    fn drop(&mut self) {
        // Without effect on one that has ended; one that hangs must not outlive the attempt.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

//! One attempt to start a worker at one confinement: have a PID 1 made, give it the order, follow the reports.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use rustix::process::Pid;

use super::LaunchError;
use super::ladder::Rung;
use super::starter::{self, Asked};
use crate::cgroup::{Groups, Home};
use crate::channel::Channel;
use crate::containment::{Aspect, Containment, Finding};
use crate::evidence::{Expected, gather};
use crate::order::{Failure, Order, Report, Request, Start};
use crate::plan::Plan;
use crate::sandboxed::{Init, Parts, Sandboxed};
use crate::scratch::Scratch;

/// How long a sandbox may stay silent. Starting takes milliseconds; a device under full load takes seconds.
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

/// The error for a step that failed inside the sandbox.
pub(super) fn set_up_failed(plan: &Plan, failure: &Failure) -> LaunchError {
    LaunchError::SetUp { worker: plan.name.clone(), step: failure.to_string(), source: failure.cause() }
}

impl Attempt<'_> {
    /// Starts the worker at this rung. On an error every process of the attempt is gone.
    pub fn run(&self, rung: &Rung) -> Result<Sandboxed, Refusal> {
        let scratch = self.scratch(rung)?;
        // Under version 2 the core has to be alone in its control group when it claims it.
        let home = Home::claimed();
        // Where PID 1 is not born into a group, they are made while it is.
        let groups = home.has_unified().then(|| Groups::make(self.plan));
        let (channel, init, groups) = self.begin(rung, groups)?;
        let (worker, containment) = match self.set_up(&channel, rung, &groups, scratch.as_ref()) {
            Ok(started) => started,
            Err(refusal) => {
                abandon(&channel, &init);
                return Err(refusal);
            }
        };
        Ok(Sandboxed::new(Parts {
            name: self.plan.name.clone(),
            pid: worker,
            confinement: rung.confinement,
            containment,
            memory_limit: self.plan.memory_bytes,
            channel,
            groups,
            init,
            scratch,
        }))
    }

    /// Gives PID 1 its order, and returns the worker's process id when the worker runs.
    fn set_up(
        &self,
        channel: &Channel,
        rung: &Rung,
        groups: &Groups,
        scratch: Option<&Scratch>,
    ) -> Result<(i32, Containment), Refusal> {
        self.send_order(channel, rung, groups, scratch)?;
        let started = self.follow(channel, rung, groups)?;
        channel.set_patience(None).map_err(|error| self.start("lifting the time limit", error))?;
        Ok(started)
    }

    fn scratch(&self, rung: &Rung) -> Result<Option<Scratch>, Refusal> {
        if rung.confinement.has_namespaces() {
            return Ok(None);
        }
        Scratch::create(self.plan).map(Some).map_err(|error| self.start("creating its working directory", error))
    }

    /// Has a PID 1 made that waits for its order, in its control groups; these are made on the way, where they are not yet.
    fn begin(&self, rung: &Rung, groups: Option<Groups>) -> Result<(Channel, Init, Groups), Refusal> {
        let mut made = groups;
        loop {
            let (channel, sandbox) = Channel::pair().map_err(|error| self.start("creating a socket", error))?;
            channel.set_patience(Some(PATIENCE)).map_err(|error| self.start("setting a time limit", error))?;
            let start = Start { confinement: rung.confinement, network: self.plan.network };
            let birthplace = made.as_ref().and_then(Groups::birthplace);
            let asked = match starter::ask(self.program, &start, &sandbox, birthplace.as_ref()) {
                // It ended before it could be asked.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Err(self.silent("on start")),
                asked => asked.map_err(|error| self.start("starting the process that makes sandboxes", error))?,
            };
            drop(sandbox);
            let mut groups = made.take().unwrap_or_else(|| Groups::make(self.plan));
            let tasks = groups.tasks();
            // When there is nobody to hear it, no report comes either.
            let _ = channel.send(&Request::Enter, &tasks.iter().map(AsFd::as_fd).collect::<Vec<_>>());
            match self.await_init(&channel, &mut groups)? {
                Some(init) => return Ok((channel, init, groups)),
                // It had waited long enough, and ended as it was asked.
                None if asked == Asked::Waiting => made = Some(groups),
                None => return Err(self.silent("on start")),
            }
        }
    }

    /// Waits for both to report: the starter and PID 1. Nothing when the starter ended before it made one.
    fn await_init(&self, channel: &Channel, groups: &mut Groups) -> Result<Option<Init>, Refusal> {
        let (mut init, mut entered) = (None, None);
        let refusal = loop {
            match channel.receive::<Report>().map(|received| received.map(|received| received.message)) {
                Ok(Some(Report::Cloned(number))) => init = Pid::from_raw(number),
                Ok(Some(Report::Entered { born_inside, tasks })) => entered = Some((born_inside, tasks)),
                Ok(Some(Report::Failed(failure))) => break self.refusal(failure),
                Ok(Some(_)) => {}
                Ok(None) if init.is_none() => return Ok(None),
                // It did not even read what was sent to it.
                Err(error) if init.is_none() && error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Ok(None) | Err(_) => break self.silent("on start"),
            }
            if let (Some(pid), Some((born_inside, tasks))) = (init, &entered) {
                groups.entered(pid.as_raw_nonzero().get(), *born_inside, tasks);
                return Ok(Some(Init::new(pid)));
            }
        };
        if let Some(pid) = init.or_else(|| late_init(channel)) {
            abandon(channel, &Init::new(pid));
        }
        Err(refusal)
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

    /// Follows the reports until the worker runs. PID 1's and the worker's may arrive in any order.
    fn follow(&self, channel: &Channel, rung: &Rung, groups: &Groups) -> Result<(i32, Containment), Refusal> {
        let mut inspected = None;
        let mut running = false;
        loop {
            let received = channel.receive::<Report>();
            match received.map(|received| received.map(|received| (received.message, received.sender))) {
                Ok(Some((Report::Prepared(statements), Some(worker)))) => {
                    inspected = Some((worker, self.inspect(worker, rung, groups, &statements)));
                    (self.prepare)(worker);
                    // When the worker cannot be told to go on, the next report says why.
                    let _ = channel.send(&Request::Proceed, &[]);
                }
                Ok(Some((Report::Running, _))) => running = true,
                Ok(Some((Report::Failed(failure), _))) => return Err(self.refusal(failure)),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => {
                    return Err(self.silent(if inspected.is_some() { "on executing" } else { "on setting up" }));
                }
            }
            match inspected.take() {
                Some(found) if running => return Ok(found),
                other => inspected = other,
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

/// The PID 1 of a failed attempt, of which the starter may not have told yet.
fn late_init(channel: &Channel) -> Option<Pid> {
    // Fails only when the other side is gone already.
    let _ = channel.hang_up();
    loop {
        match channel.receive::<Report>() {
            Ok(Some(received)) => {
                if let Report::Cloned(pid) = received.message {
                    return Pid::from_raw(pid);
                }
            }
            Ok(None) | Err(_) => return None,
        }
    }
}

/// Ends a PID 1, and all that it has started.
fn abandon(channel: &Channel, init: &Init) {
    // Fails only when the other side is gone already.
    let _ = channel.hang_up();
    init.kill();
    init.reap();
}

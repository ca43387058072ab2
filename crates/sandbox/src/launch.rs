//! Starts a worker from the core: resolves what the plan names, has the starter make its PID 1, follows that until the worker
//! runs.

mod attempt;
mod groups;
mod ladder;
mod starter;

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::channel::MOST_DESCRIPTORS;
use crate::order::Confinement;
use crate::plan::{Plan, Tree};
use crate::sandboxed::Sandboxed;
use attempt::{Attempt, Refusal};

/// The number of the host's group `name`, as a plan's [`GroupRule::Name`](crate::GroupRule) finds it.
///
/// # Errors
/// There is no such group, or the host cannot say.
pub fn group_named(name: &str) -> io::Result<u32> {
    let found = nix::unistd::Group::from_name(name)?;
    found.map(|group| group.gid.as_raw()).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such group"))
}

/// The highest number that a descriptor may be given in a worker.
const HIGHEST_TARGET: RawFd = 255;

/// Why a worker did not start.
#[derive(Debug, Error)]
pub enum LaunchError {
    /// A descriptor cannot be placed where the caller wants it.
    #[error("worker {worker}: descriptor {target} cannot be passed: {reason}")]
    Descriptor {
        /// The worker's name.
        worker: String,
        /// The number it was to have in the worker.
        target: RawFd,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// A group that a resource names, or whose source does not exist.
    #[error("worker {worker}: looking up {group} failed")]
    Group {
        /// The worker's name.
        worker: String,
        /// The group's name, or the source whose owner it is.
        group: String,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// The plan asks for a tree over the host's root, which takes a core that runs as root: in a user namespace the kernel
    /// keeps the mounts below the root together, and gives no layer over it.
    #[error("worker {worker}: a layer over the host's root takes a core that runs as root, with namespaces: {why}")]
    NoTree {
        /// The worker's name.
        worker: String,
        /// Why not.
        why: String,
    },
    /// The plan asks for the host's own tree, in which only its user keeps the worker from the core's files.
    #[error("worker {worker}: to run in the host's own tree as a user of its own takes a core that runs as root")]
    NoUser {
        /// The worker's name.
        worker: String,
    },
    /// The process could not be started at all.
    #[error("worker {worker}: {attempt} failed")]
    Start {
        /// The worker's name.
        worker: String,
        /// What was tried.
        attempt: &'static str,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// A step of the set-up inside the sandbox failed.
    #[error("worker {worker}: the sandbox could not {step}")]
    SetUp {
        /// The worker's name.
        worker: String,
        /// The step, with the path it was about.
        step: String,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// The launcher ended or kept silent. A program whose `main` does not hand over to
    /// [`launcher_main`](crate::launcher_main) fails like this.
    #[error("worker {worker}: the launcher {program} ended or fell silent {after}, before the worker ran")]
    Silent {
        /// The worker's name.
        worker: String,
        /// The launcher's executable.
        program: PathBuf,
        /// Where it had got to.
        after: &'static str,
    },
}

impl LaunchError {
    /// Whether the same plan may start later: the host was short of something, or busy.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Start { source, .. } | Self::SetUp { source, .. } => matches!(
                source.raw_os_error(),
                Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE | libc::EBUSY | libc::ENODEV)
            ),
            Self::Silent { .. } => true,
            Self::Descriptor { .. } | Self::Group { .. } | Self::NoTree { .. } | Self::NoUser { .. } => false,
        }
    }
}

/// Starts the plan's worker and waits until it runs its program; takes about 10 ms. Each descriptor arrives in the worker
/// under its number; 0, 1 and 2 are `/dev/null` unless given.
///
/// # Errors
/// [`LaunchError`]; nothing is left running.
pub fn launch(plan: &Plan, descriptors: Vec<(OwnedFd, RawFd)>) -> Result<Sandboxed, LaunchError> {
    launch_from(Path::new("/proc/self/exe"), plan, descriptors)
}

/// [`launch`], with `prepare` called with the worker's process id just before the worker executes its program: everything
/// that holds it is in place, its namespaces included, and none of its own code has run.
///
/// # Errors
/// As [`launch`].
pub fn launch_held(
    plan: &Plan,
    descriptors: Vec<(OwnedFd, RawFd)>,
    prepare: &dyn Fn(i32),
) -> Result<Sandboxed, LaunchError> {
    launch_by(Path::new("/proc/self/exe"), plan, descriptors, prepare)
}

/// [`launch`] with another executable that hands over to [`launcher_main`](crate::launcher_main): for a program that is
/// not itself the launcher, such as a test.
///
/// # Errors
/// As [`launch`].
pub fn launch_from(program: &Path, plan: &Plan, descriptors: Vec<(OwnedFd, RawFd)>) -> Result<Sandboxed, LaunchError> {
    launch_by(program, plan, descriptors, &|_| {})
}

fn launch_by(
    program: &Path,
    plan: &Plan,
    descriptors: Vec<(OwnedFd, RawFd)>,
    prepare: &dyn Fn(i32),
) -> Result<Sandboxed, LaunchError> {
    check_targets(plan, &descriptors)?;
    let attempt = Attempt { program, plan, supplementary: groups::resolve(plan)?, descriptors, prepare };
    if plan.tree == Tree::Shared {
        return launch_shared(&attempt);
    }
    loop {
        let rung = ladder::current();
        if plan.tree != Tree::Bare && rung.confinement != Confinement::Privileged {
            return Err(LaunchError::NoTree { worker: plan.name.clone(), why: rung.refusal.unwrap_or_default() });
        }
        match attempt.run(&rung) {
            Ok(sandboxed) => return Ok(sandboxed),
            Err(Refusal::ByHost(failure)) => {
                let refused = ladder::step_down(&rung, &failure);
                if !refused {
                    return Err(attempt::set_up_failed(plan, &failure));
                }
            }
            Err(Refusal::Final(error)) => return Err(error),
        }
    }
}

/// Starts a worker that is to have no namespace: there is no weaker attempt.
fn launch_shared(attempt: &Attempt<'_>) -> Result<Sandboxed, LaunchError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(LaunchError::NoUser { worker: attempt.plan.name.clone() });
    }
    let refusal = Some("the plan asks for none".to_owned());
    attempt.run(&ladder::Rung { confinement: Confinement::Process, refusal }).map_err(|refusal| match refusal {
        Refusal::ByHost(failure) => attempt::set_up_failed(attempt.plan, &failure),
        Refusal::Final(error) => error,
    })
}

fn check_targets(plan: &Plan, descriptors: &[(OwnedFd, RawFd)]) -> Result<(), LaunchError> {
    let refuse = |target, reason| Err(LaunchError::Descriptor { worker: plan.name.clone(), target, reason });
    for (index, (_, target)) in descriptors.iter().enumerate() {
        if !(0..=HIGHEST_TARGET).contains(target) {
            return refuse(*target, "its number is not between 0 and 255");
        }
        if descriptors[..index].iter().any(|(_, earlier)| earlier == target) {
            return refuse(*target, "another one has the same number");
        }
        if plan.open_files.is_some_and(|most| u64::from(target.unsigned_abs()) >= most) {
            return refuse(*target, "its number is not below the plan's open_files");
        }
        if index == MOST_DESCRIPTORS {
            return refuse(*target, "there are more than 64");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::plan::PlanParts;

    fn descriptors(targets: &[RawFd]) -> Vec<(OwnedFd, RawFd)> {
        targets.iter().map(|target| (File::open("/dev/null").unwrap().into(), *target)).collect()
    }

    #[test]
    fn descriptors_that_cannot_be_placed_are_refused_before_anything_starts() {
        let plan = Plan::new(PlanParts { name: "worker".to_owned(), ..PlanParts::default() }).unwrap();
        let refused = |targets: &[RawFd]| check_targets(&plan, &descriptors(targets)).is_err();
        assert!(refused(&[-1]) && refused(&[256]) && refused(&[3, 4, 3]));
        assert!(refused(&(0..65).collect::<Vec<_>>()));
        assert!(!refused(&[2, 3, 255]) && !refused(&[]));
        let few = PlanParts { name: "worker".to_owned(), open_files: Some(32), ..PlanParts::default() };
        let few = Plan::new(few).unwrap();
        assert!(check_targets(&few, &descriptors(&[32])).is_err());
        assert!(check_targets(&few, &descriptors(&[31])).is_ok());
    }

    #[test]
    fn an_executable_that_is_no_launcher_is_named() {
        let plan = Plan::new(PlanParts { name: "worker".to_owned(), ..PlanParts::default() }).unwrap();
        let error = launch_from(Path::new("/bin/true"), &plan, Vec::new()).unwrap_err();
        assert!(error.to_string().contains("/bin/true"), "{error}");
    }
}

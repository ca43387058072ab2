//! Enters a running sandbox to look around, as `nsenter` does.
//!
//! The visitor is a process of its own: it joins the namespaces of a worker, and runs a program there that ends with the
//! sandbox at the latest. It is in none of the worker's control groups, so that what it needs is not the worker's.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use thiserror::Error;

use crate::launcher;
use crate::plan::Account;

/// The namespaces in the order of entering: the mounts last of those that need the host's `/proc`, and the one of
/// processes holds for what is started from then on.
const NAMESPACES: [(&str, LinkNameSpaceType); 6] = [
    ("user", LinkNameSpaceType::User),
    ("ipc", LinkNameSpaceType::InterProcessCommunication),
    ("uts", LinkNameSpaceType::HostNameAndNISDomainName),
    ("net", LinkNameSpaceType::Network),
    ("pid", LinkNameSpaceType::ProcessID),
    ("mnt", LinkNameSpaceType::Mount),
];

/// As whom a visitor looks around.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visitor {
    /// As the worker itself: its user and groups, without capabilities, with a function's system calls.
    Worker,
    /// As whoever enters, usually root.
    Own,
}

/// Why a sandbox was not entered.
#[derive(Debug, Error)]
pub enum VisitError {
    /// The worker is gone.
    #[error("process {pid} does not run any more")]
    Gone {
        /// Its process id.
        pid: i32,
    },
    /// A namespace, the user or the limits were refused.
    #[error("entering the sandbox of process {pid}: {step} failed")]
    Refused {
        /// Its process id.
        pid: i32,
        /// What was tried.
        step: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// A worker as found in `/proc`, while its namespaces can be opened.
#[derive(Debug)]
pub struct Visit {
    pid: i32,
    namespaces: Vec<(OwnedFd, LinkNameSpaceType)>,
    account: Account,
    groups: Vec<u32>,
    folder: PathBuf,
    environment: Vec<(String, String)>,
}

impl Visit {
    /// Looks up what entering the sandbox of the worker `pid` takes.
    ///
    /// # Errors
    /// [`VisitError`].
    pub fn to(pid: i32) -> Result<Self, VisitError> {
        let at = |name: &str| PathBuf::from(format!("/proc/{pid}/{name}"));
        let failed = |step| move |source: io::Error| refused(pid, step, source);
        let status = fs::read_to_string(at("status")).map_err(failed("reading its status"))?;
        let ids = |name: &str| -> Vec<u32> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap_or_default().split_whitespace().filter_map(|id| id.parse().ok()).collect()
        };
        let first = |name| ids(name).first().copied().ok_or(VisitError::Gone { pid });
        let environment = fs::read(at("environ")).map_err(failed("reading its environment"))?;
        let mut namespaces = Vec::new();
        for (name, kind) in NAMESPACES {
            let path = at("ns").join(name);
            let is_own = fs::read_link(&path).map_err(failed("reading its namespaces"))?
                == fs::read_link(Path::new("/proc/self/ns").join(name)).map_err(failed("reading namespaces"))?;
            // Entering one's own user namespace is refused, and the others need not be entered.
            if !is_own {
                namespaces.push((File::open(&path).map_err(failed("opening its namespaces"))?.into(), kind));
            }
        }
        Ok(Self {
            pid,
            namespaces,
            account: Account { uid: first("Uid")?, gid: first("Gid")? },
            groups: ids("Groups"),
            folder: fs::read_link(at("cwd")).unwrap_or_else(|_| PathBuf::from("/")),
            environment: variables(&environment),
        })
    }

    /// The worker's environment.
    pub fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// The worker's working folder, inside.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Moves this process, which must have one thread, into the sandbox; programs that it starts from now on run there.
    ///
    /// # Errors
    /// [`VisitError`]; the process may be part of the way inside, and should end.
    pub fn enter(&self, visitor: Visitor) -> Result<(), VisitError> {
        let failed = |step| move |error: rustix::io::Errno| refused(self.pid, step, error.into());
        for (namespace, kind) in &self.namespaces {
            move_into_link_name_space(namespace.as_fd(), Some(*kind)).map_err(failed("entering its namespaces"))?;
        }
        // A folder that is not there any more leaves the visitor at the root, where the mounts put it.
        let _ = std::env::set_current_dir(&self.folder);
        if visitor == Visitor::Own {
            return Ok(());
        }
        launcher::restrict_visitor(self.account, &self.groups)
            .map_err(|source| refused(self.pid, "becoming its user", source))
    }
}

fn refused(pid: i32, step: &'static str, source: io::Error) -> VisitError {
    match source.raw_os_error() {
        Some(libc::ENOENT | libc::ESRCH) => VisitError::Gone { pid },
        _ => VisitError::Refused { pid, step, source },
    }
}

fn variables(environment: &[u8]) -> Vec<(String, String)> {
    let texts = environment.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    texts.filter_map(|text| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_gone_is_named() {
        let error = Visit::to(i32::MAX).unwrap_err();
        assert_eq!(error.to_string(), "process 2147483647 does not run any more");
    }

    #[test]
    fn of_itself_a_process_enters_nothing() {
        let visit = Visit::to(std::process::id().cast_signed()).unwrap();
        assert!(visit.namespaces.is_empty());
        assert_eq!(visit.account.uid, rustix::process::geteuid().as_raw());
    }

    #[test]
    fn an_environment_is_read_as_the_kernel_shows_it() {
        assert_eq!(variables(b"A=1\0B=x=y\0C\0"), [("A".into(), "1".into()), ("B".into(), "x=y".into())]);
    }
}

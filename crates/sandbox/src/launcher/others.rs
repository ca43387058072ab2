//! What a worker leaves behind where no PID namespace ends it: found and ended by the process that watched over it.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;
use std::process;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use rustix::io::Errno;
use rustix::process::{WaitOptions, wait, waitpgid};

/// Where a worker's other processes are.
#[derive(Debug)]
pub(super) enum Others {
    /// In the PID namespace, and end with it.
    None,
    /// In the worker's process group, which its system call list keeps them from leaving.
    OfTheGroup,
    /// Among the host's processes. All descend from this one, to which the kernel gives each whose parent has ended. The
    /// file holds the limit on their number, where there is one.
    Anywhere(Option<File>),
}

impl Others {
    /// Among the host's processes, with the file of their limit, to be opened while that is allowed.
    pub fn anywhere(limit: Option<&Path>) -> Self {
        Self::Anywhere(limit.and_then(|path| File::options().write(true).open(path).ok()))
    }

    /// What it needs to stay open.
    pub fn descriptor(&self) -> Option<RawFd> {
        match self {
            Self::Anywhere(limit) => limit.as_ref().map(AsRawFd::as_raw_fd),
            Self::None | Self::OfTheGroup => None,
        }
    }

    /// Ends them, and returns when they are gone.
    pub fn end(&self, worker: Pid) {
        match self {
            Self::None => {}
            Self::OfTheGroup => end_group(worker),
            Self::Anywhere(limit) => {
                // Without one a fork between two looks is found by the next.
                let _ = limit.as_ref().map(|mut file| file.write_all(b"0"));
                end_children();
            }
        }
    }
}

fn end_group(worker: Pid) {
    let _ = killpg(worker, Signal::SIGKILL);
    let group = rustix::process::Pid::from_raw(worker.as_raw());
    while let Some(group) = group
        && waitpgid(group, WaitOptions::empty()).is_ok()
    {}
}

/// Ends every child, and those that become children by their parents' end, until there is none.
fn end_children() {
    loop {
        children().for_each(|child| {
            // It may have ended meanwhile; nobody reaps it but this process, so the number is still its own.
            let _ = kill(child, Signal::SIGKILL);
        });
        loop {
            match wait(WaitOptions::empty()) {
                Err(Errno::INTR) => {}
                Err(_) => return,
                Ok(_) => break,
            }
        }
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
    }
}

/// The processes whose parent is this one.
fn children() -> impl Iterator<Item = Pid> {
    let own = process::id();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    numbers.filter(move |number| parent_of(*number) == Some(own)).map(Pid::from_raw)
}

/// Field 4 of `/proc/<pid>/stat`; the second field is in parentheses and may contain anything.
fn parent_of(number: i32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_found_by_its_parent() {
        let mut child = process::Command::new("sleep").arg("100").spawn().expect("sleep");
        let found: Vec<Pid> = children().collect();
        child.kill().and_then(|()| child.wait()).expect("it ends");
        assert!(found.contains(&Pid::from_raw(child.id().cast_signed())), "{found:?}");
    }
}

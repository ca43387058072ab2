//! The core's hold on its starter, the process that every sandbox's PID 1 is a copy of.
//!
//! It is started with the first worker, ends by itself some seconds after the last, and is started again when needed. Its
//! end is awaited by a thread that does nothing else, so that it never stays a zombie.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::channel::Channel;
use crate::launcher::LAUNCH_ARGUMENT;
use crate::order::Start;

/// The starter that is there, and the executable that it runs.
static CURRENT: Mutex<Option<Starter>> = Mutex::new(None);

#[derive(Debug)]
struct Starter {
    program: PathBuf,
    control: Channel,
}

/// Whether the process that was asked had been there before; such a one may end before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Waiting,
    New,
}

/// Asks the starter of this executable for a PID 1; what comes of it is reported to the sandbox's socket.
///
/// # Errors
/// The process could not be started, or did not take the request.
pub(super) fn ask(program: &Path, start: &Start, sandbox: &OwnedFd, birthplace: Option<&OwnedFd>) -> io::Result<Asked> {
    let descriptors: Vec<BorrowedFd<'_>> = [sandbox].into_iter().chain(birthplace).map(AsFd::as_fd).collect();
    let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(starter) = current.as_ref().filter(|starter| starter.program == program)
        && starter.control.send(start, &descriptors).is_ok()
    {
        return Ok(Asked::Waiting);
    }
    let starter = current.insert(Starter::spawn(program)?);
    starter.control.send(start, &descriptors).map(|()| Asked::New)
}

impl Starter {
    /// The standard library's spawn is safe in a program with many threads: no closure of ours runs before exec.
    fn spawn(program: &Path) -> io::Result<Self> {
        let (control, theirs) = Channel::pair()?;
        let mut process = Command::new(program)
            .arg(LAUNCH_ARGUMENT)
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()?;
        thread::Builder::new().name("sandbox-starter".to_owned()).spawn(move || process.wait())?;
        Ok(Self { program: program.to_owned(), control })
    }
}

//! A program that delivers frames, as a child process: started with little, listened to, and ended whatever it does.
//!
//! In a sandbox the child is as contained as this process and dies with it. Without one it leads a process group of its
//! own, so that what it starts ends with it, and the kernel ends it should this process die.
#![allow(unsafe_code, reason = "what a child does between fork and exec has no safe interface")]

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{self, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::{Errno, FdFlags, fcntl_dupfd_cloexec, fcntl_setfd, ioctl_fionbio};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use rustix::process::{
    Pid, Resource, Signal, getpgid, getrlimit, kill_process, kill_process_group, set_parent_process_death_signal,
    setpgid,
};

use super::said::Said;
use crate::clock::Clock;

/// The descriptor at which a child finds the pipe for its frames, where it is not its standard output.
pub(super) const FRAMES_FD: i32 = 3;

/// How much a pipe of frames holds, so that a child is not woken for every 64 KiB. An ordinary user may ask for as much.
const PIPE_BYTES: usize = 1 << 20;

/// How long a child that was asked to end may take, before it is killed: it has to let go of its camera.
const GRACE: Duration = Duration::from_millis(500);

/// Between two looks at a child that ends.
const LOOK: Duration = Duration::from_millis(5);

/// Descriptors beyond it are not looked for: a worker may not have as many.
const MOST_DESCRIPTORS: u64 = 4096;

/// Where a child writes its frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frames {
    /// To its standard output.
    StandardOutput,
    /// To descriptor [`FRAMES_FD`]; what it prints is taken for messages.
    Apart,
}

/// A running child. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Child {
    process: process::Child,
    messages: OwnedFd,
    said: Said,
    /// Whether it leads a process group.
    leads: bool,
    clock: Arc<dyn Clock>,
}

impl Child {
    /// Starts `program`, and gives the end of the pipe at which its frames come.
    pub(super) fn start(
        program: &Path,
        arguments: &[OsString],
        frames: Frames,
        clock: Arc<dyn Clock>,
    ) -> io::Result<(Self, OwnedFd)> {
        let (from, to) = pipe_with(PipeFlags::CLOEXEC)?;
        // More is only faster; a system may have it limited to less.
        let _ = fcntl_setpipe_size(&to, PIPE_BYTES);
        let (messages, message_writer) = pipe_with(PipeFlags::CLOEXEC)?;
        ioctl_fionbio(&messages, true)?;
        // Above what is to be arranged, so that nothing is overwritten.
        let to = fcntl_dupfd_cloexec(&to, FRAMES_FD + 1)?;
        let mut command = process::Command::new(program);
        command.args(arguments).env_clear().envs(environment()).current_dir("/");
        command.stdin(Stdio::null()).stderr(message_writer.try_clone()?);
        let apart = match frames {
            Frames::StandardOutput => {
                command.stdout(to.try_clone()?);
                None
            }
            Frames::Apart => {
                command.stdout(message_writer);
                Some(to.as_raw_fd())
            }
        };
        let most = getrlimit(Resource::Nofile).current.unwrap_or(MOST_DESCRIPTORS).min(MOST_DESCRIPTORS);
        let most = i32::try_from(most).unwrap_or(i32::MAX);
        // SAFETY: between fork and exec the closure makes system calls only: it takes no lock and allocates nothing.
        unsafe { command.pre_exec(move || arrange(apart, most)) };
        let process = command.spawn()?;
        // The command holds its ends of the pipes, by which the end of the child is told.
        drop((command, to));
        let pid = pid(&process);
        let leads = getpgid(Some(pid)).is_ok_and(|group| group == pid);
        Ok((Self { process, messages, said: Said::default(), leads, clock }, from))
    }

    /// Takes what it has printed since, so that it never waits for somebody to read it.
    pub(super) fn listen(&mut self) {
        let mut bytes = [0; 4096];
        // Bounded: a child that prints without end is listened to again later.
        for _ in 0..16 {
            match rustix::io::read(&self.messages, &mut bytes) {
                Ok(read @ 1..) => self.said.add(&bytes[..read]),
                _ => return,
            }
        }
    }

    /// What it has printed last.
    pub(super) fn said(&mut self) -> String {
        self.listen();
        self.said.text()
    }

    /// Waits for its end, which is near, and ends it where it is not; how it ended.
    pub(super) fn end(&mut self) -> io::Result<ExitStatus> {
        if !self.ends_within(GRACE)? {
            self.signal(Signal::INT);
            if !self.ends_within(GRACE)? {
                self.signal(Signal::KILL);
            }
        }
        self.process.wait()
    }

    fn ends_within(&mut self, time: Duration) -> io::Result<bool> {
        let deadline = self.clock.boottime().saturating_add(time);
        loop {
            self.listen();
            if self.process.try_wait()?.is_some() {
                return Ok(true);
            }
            let now = self.clock.boottime();
            if now >= deadline {
                return Ok(false);
            }
            self.clock.wait_until(deadline.min(now.saturating_add(LOOK)));
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = pid(&self.process);
        // It may have ended a moment ago; it is not reaped before this returns, so nobody else has its number.
        let _ = if self.leads { kill_process_group(pid, signal) } else { kill_process(pid, signal) };
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            self.signal(Signal::INT);
        }
        if !self.ends_within(GRACE).unwrap_or(false) {
            self.signal(Signal::KILL);
        }
        if self.leads {
            // What it has started and left behind.
            let _ = kill_process_group(pid(&self.process), Signal::KILL);
        }
        let _ = self.process.wait();
    }
}

fn pid(process: &process::Child) -> Pid {
    Pid::from_child(process)
}

/// In the child, before it becomes the program: the pipe for frames goes to its place, and nothing else of this process
/// is inherited. A sandbox forbids the rest, and does what it is for.
fn arrange(apart: Option<i32>, most: i32) -> io::Result<()> {
    let first_closed = match apart {
        Some(to) => {
            // SAFETY: both are numbers of descriptors; the source is open in this process until exec.
            let moved = unsafe { libc_dup2(to, FRAMES_FD) };
            moved?;
            FRAMES_FD + 1
        }
        None => FRAMES_FD,
    };
    for number in first_closed..most {
        // SAFETY: the number is only used for a system call, which refuses one that is not open.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        match fcntl_setfd(descriptor, FdFlags::CLOEXEC) {
            Ok(()) | Err(Errno::BADF) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let _ = setpgid(None, None);
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    Ok(())
}

/// dup2(2), whose copy stays open over exec.
///
/// # Safety
/// Nobody may hold what `target` is before.
unsafe fn libc_dup2(source: i32, target: i32) -> io::Result<()> {
    use std::os::fd::FromRawFd;
    // SAFETY: the caller has it open.
    let source = unsafe { BorrowedFd::borrow_raw(source) };
    // SAFETY: the descriptor is taken for the length of the call only, and given up below without closing it.
    let mut place = unsafe { OwnedFd::from_raw_fd(target) };
    let duplicated = rustix::io::dup2(source, &mut place);
    std::mem::forget(place);
    Ok(duplicated?)
}

/// The child's whole environment. Messages are to be in English, and what is cached goes where this process may write.
fn environment() -> Vec<(&'static str, OsString)> {
    let temporary = std::env::temp_dir().into_os_string();
    let home = std::env::var_os("HOME").unwrap_or_else(|| temporary.clone());
    vec![
        ("PATH", super::SEARCHED.into()),
        ("HOME", home),
        ("TMPDIR", temporary),
        ("LC_ALL", "C".into()),
        ("LIBCAMERA_LOG_NO_COLOR", "1".into()),
        ("GST_DEBUG_NO_COLOR", "1".into()),
    ]
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use super::*;
    use crate::clock::BootClock;

    fn shell(script: &str, frames: Frames) -> (Child, File) {
        let arguments = ["-c".into(), script.into()];
        let (child, from) = Child::start(Path::new("/bin/sh"), &arguments, frames, Arc::new(BootClock)).unwrap();
        (child, File::from(from))
    }

    fn whole(mut from: File) -> String {
        let mut text = String::new();
        from.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn frames_come_through_one_pipe_and_messages_through_another() {
        let (mut child, from) = shell("echo frame; echo message >&2", Frames::StandardOutput);
        assert_eq!(whole(from), "frame\n");
        assert!(child.end().unwrap().success());
        assert_eq!(child.said(), "message");
        let (mut child, from) = shell("echo noise; echo frame >&3; echo message >&2", Frames::Apart);
        assert_eq!(whole(from), "frame\n");
        assert!(child.end().unwrap().success());
        assert_eq!(child.said(), "noise\nmessage");
    }

    #[test]
    fn a_child_inherits_nothing_but_its_pipes() {
        let kept = File::open("/").unwrap();
        let inherited = rustix::io::dup(&kept).unwrap();
        fcntl_setfd(&inherited, FdFlags::empty()).unwrap();
        let script = "for fd in /proc/self/fd/*; do echo ${fd##*/}; done";
        let (_child, from) = shell(script, Frames::StandardOutput);
        let open = whole(from);
        let count = open.lines().filter(|number| number.parse::<i32>().is_ok_and(|number| number > 2)).count();
        assert!(count <= 1, "the shell's own look at the folder is all there is besides: {open}");
    }

    #[test]
    fn a_child_that_will_not_end_is_killed_with_all_that_it_started() {
        let (mut child, mut from) = shell("trap '' INT TERM; sleep 1000 & echo $!; wait", Frames::StandardOutput);
        let mut number = [0; 16];
        let read = from.read(&mut number).unwrap();
        let grandchild = std::str::from_utf8(&number[..read]).unwrap().trim().parse().unwrap();
        let status = child.end().unwrap();
        assert!(!status.success());
        drop(child);
        // The pipe ends when nobody is left who could write to it.
        assert_eq!(whole(from), "");
        let gone = rustix::process::test_kill_process(Pid::from_raw(grandchild).unwrap());
        let state = std::fs::read_to_string(format!("/proc/{grandchild}/stat")).unwrap_or_default();
        assert!(gone.is_err() || state.contains(") Z "), "{state}");
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error_at_once() {
        let started = Child::start(Path::new("/no/such/program"), &[], Frames::Apart, Arc::new(BootClock));
        assert_eq!(started.err().map(|error| error.kind()), Some(io::ErrorKind::NotFound));
    }

    #[test]
    fn a_child_that_prints_without_end_is_not_waited_for() {
        let (mut child, _from) = shell("while :; do echo a line of noise >&2; done", Frames::StandardOutput);
        child.listen();
        assert!(child.said().len() <= super::super::said::KEPT);
    }
}

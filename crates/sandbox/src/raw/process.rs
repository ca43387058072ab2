//! Processes: cloning into namespaces, signal dispositions, keyrings, the landlock version.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sched::CloneFlags;
use nix::sys::signal::{SigHandler, Signal, signal};

/// `LANDLOCK_CREATE_RULESET_VERSION`, from `linux/landlock.h`.
const LANDLOCK_VERSION: libc::c_ulong = 1;

/// `fork(2)` with flags: `None` in the child, its process id in the caller.
///
/// The system call is used directly because the C library's `clone` wants a stack for the child, while a child with its
/// own copy of the memory can go on with the caller's.
pub(crate) fn clone_process(flags: CloneFlags) -> io::Result<Option<i32>> {
    let flags = libc::c_ulong::try_from(flags.bits() | libc::SIGCHLD).map_err(io::Error::other)?;
    let none: libc::c_ulong = 0;
    // SAFETY: without CLONE_VM the child has its own copy of the memory and with no stack given it goes on with its copy
    // of the caller's. The starter has one thread, so no lock can be held by a thread that the child lacks. The unused
    // arguments are zero, which makes their order, the only difference between architectures, irrelevant.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, none, none, none, none) };
    cloned(pid)
}

/// The same, with the child born in the version 2 control group of this folder (clone3(2), since Linux 5.7). With
/// `CLONE_PARENT` the signal of its end is the caller's own.
pub(crate) fn clone_process_into(flags: CloneFlags, group: BorrowedFd<'_>) -> io::Result<Option<i32>> {
    let flags = u64::try_from(flags.bits()).map_err(io::Error::other)?;
    let arguments = CloneArguments {
        flags: flags | INTO_CGROUP,
        cgroup: u64::try_from(group.as_raw_fd()).map_err(io::Error::other)?,
        ..CloneArguments::default()
    };
    // SAFETY: as in clone_process; the kernel reads as many bytes of the structure as it is told, and writes none, because
    // no flag asks it to.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArguments>()) };
    cloned(pid)
}

/// Stack of a process that has its memory lent: what the last steps of a worker need, several times over. Pages that are not
/// touched cost nothing.
const LENT_STACK: usize = 1 << 20;

/// Runs `child` in a process that shares the caller's memory, while the caller waits until it has executed a program or ended
/// (`vfork(2)`): no page is copied, and none on the first write. What `child` returns is its exit code; its own are
/// descriptors, credentials and filters, as after a fork. It is given what to call when all that is left is to execute.
///
/// A process that is killed half-way may leave the common memory in any state; then the caller ends as well, at once.
pub(crate) fn clone_lending_memory(mut child: impl FnMut(&dyn Fn()) -> i32) -> io::Result<i32> {
    let is_consistent = AtomicBool::new(false);
    let be_consistent = || is_consistent.store(true, Ordering::Release);
    let mut stack = vec![0; LENT_STACK];
    let run = Box::new(|| {
        let code = child(&be_consistent);
        be_consistent();
        code as isize
    });
    let flags = CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK;
    // SAFETY: the caller goes on only when the child no longer uses the common memory, so that the child is to the caller
    // what a call of a function is; it runs on a stack of its own, which lives longer. The starter has one thread.
    let pid = unsafe { nix::sched::clone(run, &mut stack, flags, Some(libc::SIGCHLD)) }?;
    if !is_consistent.load(Ordering::Acquire) {
        // SAFETY: ends the process without touching its memory.
        unsafe { libc::_exit(KILLED) }
    }
    Ok(pid.as_raw())
}

/// Exit code after SIGKILL, as shells have it.
const KILLED: i32 = 128 + libc::SIGKILL;

fn cloned(pid: libc::c_long) -> io::Result<Option<i32>> {
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => i32::try_from(pid).map(Some).map_err(io::Error::other),
    }
}

/// `CLONE_INTO_CGROUP`, from `linux/sched.h`.
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct clone_args`, from `linux/sched.h`, as of Linux 5.7.
#[repr(C)]
#[derive(Debug, Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Gives every signal its default disposition: ignored signals would stay ignored across exec.
pub(crate) fn reset_signals() {
    for each in Signal::iterator().filter(|each| !matches!(each, Signal::SIGKILL | Signal::SIGSTOP)) {
        // SAFETY: the default disposition runs no handler of ours.
        let _ = unsafe { signal(each, SigHandler::SigDfl) };
    }
}

/// Leaves the session keyring of whoever started the core for an empty one (keyctl(2), `KEYCTL_JOIN_SESSION_KEYRING`).
/// A kernel without keyrings has none to leave.
pub(crate) fn leave_keyring() {
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    let (no_name, none): (libc::c_long, libc::c_long) = (0, 0);
    // SAFETY: with a null name the kernel makes an anonymous keyring; no memory of this process is touched.
    unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, no_name, none, none, none) };
}

/// The version of landlock's interface that the kernel offers.
pub(crate) fn landlock_abi() -> io::Result<libc::c_long> {
    let (no_attributes, no_size): (libc::c_ulong, libc::c_ulong) = (0, 0);
    // SAFETY: with the version flag the kernel requires a null pointer and a zero size, and only returns a number.
    let abi = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, no_attributes, no_size, LANDLOCK_VERSION) };
    if abi < 0 { Err(io::Error::last_os_error()) } else { Ok(abi) }
}

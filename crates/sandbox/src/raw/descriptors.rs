//! Descriptors by number.

use std::fs;
use std::io;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd, RawFd};

/// Takes ownership of a descriptor that this process was started with.
///
/// Such a descriptor lacks close-on-exec, which everything that Rust opens has; it is set here, so that neither a
/// descriptor of the process's own nor one that was adopted before can be adopted.
///
/// # Errors
/// No descriptor is open under that number (`EBADF`), or not one to be adopted (`EBUSY`).
pub(crate) fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD only asks for the flags of a number.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    if flags & libc::FD_CLOEXEC != 0 {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    // SAFETY: F_SETFD only sets the flags of an open number.
    if unsafe { libc::fcntl(number, libc::F_SETFD, flags | libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, came from outside, and was not adopted before: nothing in this process owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Moves a descriptor to this number, across exec; whatever had the number is closed.
///
/// For a process that is about to exec and whose descriptors at such numbers are in nobody's hands any more.
pub(crate) fn place(descriptor: OwnedFd, number: RawFd) -> io::Result<()> {
    let source = descriptor.into_raw_fd();
    // SAFETY: plain numbers; the source was owned until now and is closed right after.
    let placed = unsafe { libc::dup2(source, number) };
    let result = if placed < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
    // SAFETY: ownership was given up above, and the copy has another number.
    unsafe { libc::close(source) };
    result
}

/// Closes every descriptor of the process but these.
///
/// For a process that is about to exec, or that from then on uses only the kept ones and never returns to code that owns
/// another.
pub(crate) fn close_all_except(keep: &[RawFd]) -> io::Result<()> {
    let mut keep: Vec<RawFd> = keep.to_vec();
    keep.sort_unstable();
    let mut first = 0;
    for number in keep.iter().copied().filter(|number| *number >= 0) {
        if number > first && !close_range(first, number - 1) {
            return close_listed(&keep);
        }
        first = number + 1;
    }
    if close_range(first, RawFd::MAX) { Ok(()) } else { close_listed(&keep) }
}

/// `close_range(2)`, since Linux 5.9.
fn close_range(first: RawFd, last: RawFd) -> bool {
    let no_flags: libc::c_long = 0;
    // SAFETY: plain numbers; what is closed is in nobody's hands by the caller's contract.
    unsafe { libc::syscall(libc::SYS_close_range, libc::c_long::from(first), libc::c_long::from(last), no_flags) == 0 }
}

/// The same for an older kernel. Needs `/proc`.
fn close_listed(keep: &[RawFd]) -> io::Result<()> {
    let listed: Vec<RawFd> = fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| !keep.contains(number))
        .collect();
    for number in listed {
        // SAFETY: as above. The listing's own descriptor is closed already; closing its number again does nothing.
        unsafe { libc::close(number) };
    }
    Ok(())
}

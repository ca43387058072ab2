//! What a probe needs that no safe interface offers: descriptors by number and bare system calls.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, RawFd};

/// Whether this number is an open descriptor.
pub fn is_open(number: RawFd) -> bool {
    // SAFETY: F_GETFD only reports.
    unsafe { libc::fcntl(number, libc::F_GETFD) >= 0 }
}

/// Takes over a descriptor that the test passed and nothing else in the probe uses.
pub fn passed(number: RawFd) -> File {
    // SAFETY: see above; reading from a number that is not open fails.
    unsafe { File::from_raw_fd(number) }
}

/// Makes a system call with nothing but zeros.
pub fn call_with_zeros(number: libc::c_long) -> io::Result<()> {
    let zero: libc::c_long = 0;
    // SAFETY: with null pointers and zero lengths none of the calls made here touches memory of this process.
    let answer = unsafe { libc::syscall(number, zero, zero, zero, zero, zero, zero) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

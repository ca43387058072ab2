//! How a worker ended, in a form to act on and in a sentence to read.

use std::fmt;

use nix::sys::signal::Signal;
use rustix::process::WaitStatus;
use serde::{Deserialize, Serialize};

/// The end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It returned, with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl Status {
    /// The end that a wait reported; `None` for a process that only stopped.
    pub(crate) fn from_wait(status: WaitStatus) -> Option<Self> {
        status.exit_status().map(Self::Code).or(status.terminating_signal().map(Self::Signal))
    }
}

/// What is known of the memory at a worker's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemoryVerdict {
    /// Nothing was killed for want of memory.
    Unremarkable,
    /// The kernel killed a process because the worker's own limit was reached.
    LimitReached,
    /// The kernel killed a process because the host, or a control group above, ran out.
    HostExhausted,
    /// Memory is limited by allocation, not by use: an abort may have been a refused allocation.
    Unknown,
}

/// How a worker ended. Displays as a sentence without a full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Code or signal of the worker.
    pub status: Status,
    /// The worker was ended because it reached its own memory limit.
    pub memory_exceeded: bool,
    worker: String,
    limit_bytes: Option<u64>,
    verdict: MemoryVerdict,
}

impl Exit {
    pub(crate) fn new(worker: &str, status: Status, limit_bytes: Option<u64>, verdict: MemoryVerdict) -> Self {
        let killed = matches!(status, Status::Signal(_));
        Self {
            status,
            memory_exceeded: killed && verdict == MemoryVerdict::LimitReached,
            worker: worker.to_owned(),
            limit_bytes,
            verdict,
        }
    }

    /// The worker returned with code 0.
    pub fn is_success(&self) -> bool {
        self.status == Status::Code(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let worker = &self.worker;
        if self.memory_exceeded {
            let limit = self.limit_bytes.map(mebibytes).unwrap_or_default();
            return write!(f, "worker {worker} was killed because it reached its memory limit of {limit}");
        }
        match self.status {
            Status::Code(code) => write!(f, "worker {worker} exited with code {code}")?,
            Status::Signal(number) => write!(f, "worker {worker} was killed by {}", signal_name(number))?,
        }
        match (self.verdict, self.status, self.limit_bytes) {
            (MemoryVerdict::HostExhausted, Status::Signal(_), _) => {
                f.write_str(", because the host or a control group above the worker's ran out of memory")
            }
            (MemoryVerdict::LimitReached, Status::Code(_), Some(limit)) => {
                write!(f, " after a process of it was killed at the memory limit of {}", mebibytes(limit))
            }
            (MemoryVerdict::Unknown, Status::Signal(libc::SIGABRT), Some(limit)) => write!(
                f,
                ", possibly because it asked for more than its memory limit of {} (here held by RLIMIT_DATA)",
                mebibytes(limit)
            ),
            _ => Ok(()),
        }
    }
}

/// A number of bytes as people read it.
pub(crate) fn mebibytes(bytes: u64) -> String {
    const MEBIBYTE: u64 = 1 << 20;
    if bytes.is_multiple_of(MEBIBYTE) {
        return format!("{} MiB", bytes / MEBIBYTE);
    }
    let tenths = bytes.saturating_mul(10) / MEBIBYTE;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

fn signal_name(number: i32) -> String {
    match Signal::try_from(number) {
        Ok(signal) => format!("{signal} (signal {number})"),
        Err(_) => format!("signal {number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(status: Status, verdict: MemoryVerdict) -> String {
        Exit::new("inference", status, Some(64 << 20), verdict).to_string()
    }

    #[test]
    fn each_end_describes_itself() {
        use MemoryVerdict::*;
        use Status::*;
        let cases = [
            (Code(3), Unremarkable, "worker inference exited with code 3"),
            (Signal(11), Unremarkable, "worker inference was killed by SIGSEGV (signal 11)"),
            (Signal(9), LimitReached, "worker inference was killed because it reached its memory limit of 64 MiB"),
            (
                Signal(9),
                HostExhausted,
                "worker inference was killed by SIGKILL (signal 9), because the host or a control group above the \
                 worker's ran out of memory",
            ),
            (
                Code(1),
                LimitReached,
                "worker inference exited with code 1 after a process of it was killed at the memory limit of 64 MiB",
            ),
        ];
        for (status, verdict, expected) in cases {
            assert_eq!(sentence(status, verdict), expected);
        }
    }

    #[test]
    fn only_a_kill_at_the_own_limit_counts_as_exceeding_it() {
        let exceeded = |status, verdict| Exit::new("w", status, None, verdict).memory_exceeded;
        assert!(exceeded(Status::Signal(9), MemoryVerdict::LimitReached));
        assert!(!exceeded(Status::Signal(9), MemoryVerdict::HostExhausted));
        assert!(!exceeded(Status::Code(0), MemoryVerdict::LimitReached));
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!(mebibytes(64 << 20), "64 MiB");
        assert_eq!(mebibytes(16_000 * 1024), "15.6 MiB");
    }
}

//! What the kernel says of the core and its workers, from /proc.

use std::fs;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A process tree deeper than this is none of ours.
const DEPTH: usize = 4;

/// The core's own process.
#[derive(Debug)]
pub(super) struct OwnProcess {
    /// Resident memory in bytes.
    pub(super) memory: u64,
    pub(super) threads: u64,
    pub(super) descriptors: u64,
    pub(super) processor_time: Duration,
}

/// Reads what the core uses; what cannot be read is 0.
pub(super) fn own() -> OwnProcess {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    OwnProcess {
        memory: kibibytes(&status, "VmRSS:"),
        threads: number(&status, "Threads:"),
        // One of them is the directory itself.
        descriptors: fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count().saturating_sub(1) as u64),
        processor_time: Duration::new(spent.tv_sec.unsigned_abs(), u32::try_from(spent.tv_nsec).unwrap_or(0)),
    }
}

/// Resident memory, in bytes, of the process `pid` and its children: a worker's first process only waits for the second.
/// `None` where there is no such process any more.
pub(super) fn tree_memory(pid: i32) -> Option<u64> {
    memory_to_depth(pid, DEPTH)
}

fn memory_to_depth(pid: i32, depth: usize) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let own = kibibytes(&status, "VmRSS:");
    if depth == 0 {
        return Some(own);
    }
    // Not every kernel lists children; then the first process is all that is known.
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    Some(own + children.filter_map(|child| memory_to_depth(child, depth - 1)).sum::<u64>())
}

fn kibibytes(status: &str, key: &str) -> u64 {
    number(status, key) * 1024
}

fn number(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_what_this_process_uses() {
        let own = own();
        assert!(own.memory > 1 << 20 && own.threads >= 1 && own.descriptors >= 3, "{own:?}");
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(tree_memory(pid).unwrap() > 1 << 20);
        assert_eq!(tree_memory(i32::MAX), None);
    }
}

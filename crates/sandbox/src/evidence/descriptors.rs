//! The descriptors that a worker started with.
//!
//! Only a descriptor without close-on-exec can have been inherited; the loader and the program open theirs with it.

use std::fs;
use std::os::fd::RawFd;

use crate::containment::Finding;

/// `O_CLOEXEC` in the octal flags of `/proc/<pid>/fdinfo/<n>`; the same on x86_64, aarch64 and arm.
const CLOSE_ON_EXEC: u32 = 0o2_000_000;

/// Holds when nothing but the standard three and the targets was inherited.
pub(super) fn judge(pid: i32, targets: &[RawFd]) -> Finding {
    let inherited = match inherited(pid) {
        Ok(inherited) => inherited,
        Err(error) => return Finding::Absent(format!("/proc/{pid}/fdinfo could not be read: {error}")),
    };
    let intended = |number: &RawFd| (0..=2).contains(number) || targets.contains(number);
    let strays: Vec<String> = inherited.iter().filter(|number| !intended(number)).map(RawFd::to_string).collect();
    if strays.is_empty() {
        return Finding::Holds(format!("{} passed on purpose, beside 0 to 2", passed(targets)));
    }
    Finding::Absent(format!("descriptors {} were not meant for it", strays.join(", ")))
}

fn passed(targets: &[RawFd]) -> usize {
    targets.iter().filter(|number| **number > 2).count()
}

fn inherited(pid: i32) -> std::io::Result<Vec<RawFd>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        let entry = entry?;
        // The worker may close one while it is being listed.
        let Ok(text) = fs::read_to_string(entry.path()) else { continue };
        if let (Some(number), false) = (number(&entry), closes_on_exec(&text)) {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn number(entry: &fs::DirEntry) -> Option<RawFd> {
    entry.file_name().to_str()?.parse().ok()
}

fn closes_on_exec(fdinfo: &str) -> bool {
    let flags = fdinfo.lines().find_map(|line| line.strip_prefix("flags:"));
    flags.and_then(|octal| u32::from_str_radix(octal.trim(), 8).ok()).is_some_and(|flags| flags & CLOSE_ON_EXEC != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_on_exec_is_read_from_octal_flags() {
        assert!(closes_on_exec("pos:\t0\nflags:\t02000002\nmnt_id:\t9\n"));
        assert!(!closes_on_exec("pos:\t0\nflags:\t0100002\n"));
        assert!(!closes_on_exec(""));
    }

    #[test]
    fn the_own_process_has_its_standard_descriptors() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(inherited(own).unwrap().len() <= fs::read_dir("/proc/self/fd").unwrap().count());
    }
}

//! The folders of control groups left behind by a core that was killed.
//!
//! A folder's name says whose it is: `margay.<process id>.<start time>.<worker>`. The start time, in clock ticks after boot,
//! keeps a process id that was used again from protecting them.

use std::fs;
use std::path::Path;
use std::process;

use super::group::remove_folder;

const PREFIX: &str = "margay.";

/// The name of a folder of this process.
pub(super) fn folder_name(worker: &str) -> String {
    let pid = process::id();
    format!("{PREFIX}{pid}.{}.{worker}", start_time(pid).unwrap_or(0))
}

/// Removes the folders whose core no longer runs. A folder that still has processes is refused by the kernel and stays.
pub(super) fn sweep(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name.to_str().and_then(owner).is_some_and(|(pid, started)| start_time(pid) != Some(started)) {
            remove_folder(&entry.path());
        }
    }
}

fn owner(name: &str) -> Option<(u32, u64)> {
    let mut parts = name.strip_prefix(PREFIX)?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Field 22 of `/proc/<pid>/stat`; the second field is in parentheses and may contain anything.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_folders_of_a_core_that_is_gone_are_swept() {
        let directory = tempfile::tempdir().unwrap();
        let own = folder_name("inference.0");
        let reused = format!("{PREFIX}{}.1.inference.0", process::id());
        for name in [own.as_str(), &reused, "margay.4194305.17.capture.3", "user.slice", "margay.x.y"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        sweep(directory.path());
        let mut left: Vec<_> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let mut expected = [own.as_str(), "margay.x.y", "user.slice"];
        expected.sort_unstable();
        assert_eq!(left, expected);
    }
}

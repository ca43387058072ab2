//! Folders that a killed core left behind, recognised by their names.
//!
//! `margay.<process id>.<start time>.<worker>`: the start time, in clock ticks after boot, keeps a process id that was used
//! again from protecting them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::OnceLock;

const PREFIX: &str = "margay.";

/// The name of a folder of this process.
pub(crate) fn folder_name(worker: &str) -> String {
    static STARTED: OnceLock<u64> = OnceLock::new();
    let pid = process::id();
    format!("{PREFIX}{pid}.{}.{worker}", STARTED.get_or_init(|| start_time(pid).unwrap_or(0)))
}

/// The folders in this one whose process no longer runs.
pub(crate) fn left_in(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_str().is_some_and(is_left)).map(|entry| entry.path())
}

fn is_left(name: &str) -> bool {
    owner(name).is_some_and(|(pid, started)| start_time(pid) != Some(started))
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
    fn only_the_folders_of_a_core_that_is_gone_are_left_over() {
        let directory = tempfile::tempdir().unwrap();
        let reused = format!("{PREFIX}{}.1.inference.0", process::id());
        let gone = format!("{PREFIX}4194305.17.capture.3");
        for name in [folder_name("inference.0").as_str(), &reused, &gone, "user.slice", "margay.x.y"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        let mut left: Vec<PathBuf> = left_in(directory.path()).collect();
        left.sort();
        let mut expected = [directory.path().join(&reused), directory.path().join(&gone)];
        expected.sort();
        assert_eq!(left, expected);
    }

    #[test]
    fn a_folder_that_does_not_exist_holds_none() {
        assert_eq!(left_in(Path::new("/nonexistent")).count(), 0);
    }
}

//! One control group of one worker: its limits, its members, its counters.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::home::Place;
use super::{Controller, Version};
use crate::exit::MemoryVerdict;
use crate::leftover;
use crate::plan::Cpu;

/// A folder of a control group hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    version: Version,
    directory: PathBuf,
}

impl Group {
    /// Makes an empty group for a worker.
    pub(super) fn create(place: &Place, worker: &str) -> Result<Self, String> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let directory = place.directory.join(leftover::folder_name(&format!("{worker}.{number}")));
        fs::create_dir(&directory).map_err(|error| format!("creating {} failed: {error}", directory.display()))?;
        Ok(Self { version: place.version, directory })
    }

    /// Its folder.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether it was made in this place.
    pub(super) fn is_in(&self, place: &Path) -> bool {
        self.directory.parent() == Some(place)
    }

    /// Whether it is of version 2.
    pub(super) fn is_unified(&self) -> bool {
        self.version == Version::Two
    }

    /// Its folder, for a process to be born in it.
    pub(super) fn folder(&self) -> io::Result<OwnedFd> {
        Ok(File::open(&self.directory)?.into())
    }

    /// The file into which a process of version 1 writes itself.
    pub(super) fn tasks(&self) -> io::Result<OwnedFd> {
        Ok(OpenOptions::new().write(true).open(self.directory.join("tasks"))?.into())
    }

    /// Moves a process into it.
    pub(super) fn enter(&self, process: i32) -> Result<(), String> {
        self.write("cgroup.procs", &process.to_string())
    }

    /// The file of a controller's limit.
    pub(super) fn limit_file(&self, controller: Controller) -> PathBuf {
        self.directory.join(self.version.limit_file(controller))
    }

    /// Kills its members.
    pub(super) fn kill_members(&self) {
        kill_members_of(&self.directory);
    }

    /// Ends its members.
    pub(super) fn end_members(&self) {
        end_members_of(&self.directory);
    }

    /// Sets a controller's limit.
    pub(super) fn set_limit(&self, controller: Controller, limit: u64) -> Result<(), String> {
        self.write(self.version.limit_file(controller), &limit.to_string())?;
        if controller == Controller::Memory {
            let (name, value) = self.version.swap_limit(limit);
            // Absent when the kernel does not account swap; then there is none to limit, or none that can be.
            let _ = self.write(name, &value);
        }
        Ok(())
    }

    /// Sets its share of the processors.
    pub(super) fn set_cpu(&self, cpu: Cpu) -> Result<(), String> {
        self.version.cpu_settings(cpu).iter().try_for_each(|(name, value)| self.write(name, value))
    }

    /// The share of the processors as the kernel has it: each file with what it holds.
    pub fn cpu_in_force(&self, cpu: Cpu) -> io::Result<Vec<(&'static str, String)>> {
        let read = |(name, _)| Ok((name, fs::read_to_string(self.directory.join(name))?.trim().to_owned()));
        self.version.cpu_settings(cpu).into_iter().map(read).collect()
    }

    fn write(&self, name: &str, value: &str) -> Result<(), String> {
        let file = self.directory.join(name);
        fs::write(&file, value).map_err(|error| format!("writing {} failed: {error}", file.display()))
    }

    /// The limit as the kernel has it, for the containment table.
    pub fn limit_in_force(&self, controller: Controller) -> io::Result<String> {
        Ok(fs::read_to_string(self.directory.join(self.version.limit_file(controller)))?.trim().to_owned())
    }

    /// Whether a process belongs to this group.
    pub fn contains(&self, process: i32) -> io::Result<bool> {
        Ok(self.members()?.contains(&process))
    }

    /// The processes in it.
    pub fn members(&self) -> io::Result<Vec<i32>> {
        let members = fs::read_to_string(self.directory.join("cgroup.procs"))?;
        Ok(members.lines().filter_map(|line| line.trim().parse().ok()).collect())
    }

    /// Memory that its members use now, in bytes.
    pub fn memory(&self) -> Option<u64> {
        let file = match self.version {
            Version::One => "memory.usage_in_bytes",
            Version::Two => "memory.current",
        };
        self.read_counter(file, None)
    }

    /// The most of it; version 2 tells it since Linux 5.19.
    pub fn memory_peak(&self) -> Option<u64> {
        let file = match self.version {
            Version::One => "memory.max_usage_in_bytes",
            Version::Two => "memory.peak",
        };
        self.read_counter(file, None)
    }

    /// How often a process or thread was refused for want of room.
    pub fn refused_processes(&self) -> Option<u64> {
        self.read_counter("pids.events", Some("max"))
    }

    /// Whether the kernel killed for want of memory, and whose limit it was.
    pub(super) fn memory_verdict(&self, limit: u64) -> MemoryVerdict {
        let (kills, limit_reached) = match self.version {
            Version::One => (self.counter("memory.oom_control", Some("oom_kill")), self.peak_reaches(limit)),
            Version::Two => {
                (self.counter("memory.events", Some("oom_kill")), self.counter("memory.events", Some("oom")) > 0)
            }
        };
        match (kills, limit_reached) {
            (0, _) => MemoryVerdict::Unremarkable,
            (_, true) => MemoryVerdict::LimitReached,
            (_, false) => MemoryVerdict::HostExhausted,
        }
    }

    /// Version 1 has a count of refusals, too, but not every kernel counts the one that kills. An allocation of several
    /// pages is refused a little below the limit.
    fn peak_reaches(&self, limit: u64) -> bool {
        const SLACK: u64 = 256 << 10;
        let peak = self.counter("memory.max_usage_in_bytes", None);
        let peak_with_swap = self.counter("memory.memsw.max_usage_in_bytes", None);
        peak.max(peak_with_swap).saturating_add(SLACK) >= limit
    }

    fn counter(&self, file: &str, key: Option<&str>) -> u64 {
        self.read_counter(file, key).unwrap_or(0)
    }

    fn read_counter(&self, file: &str, key: Option<&str>) -> Option<u64> {
        read_counter(&fs::read_to_string(self.directory.join(file)).ok()?, key)
    }

    /// Removes the folder. The kernel refuses for a moment after the last process has gone.
    pub(super) fn remove(&self) {
        remove_folder(&self.directory);
    }
}

fn read_counter(text: &str, key: Option<&str>) -> Option<u64> {
    let Some(key) = key else { return text.trim().parse().ok() };
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Ends the members of the group in `directory`. Gives up on what the kernel does not let go of.
pub(super) fn end_members_of(directory: &Path) {
    const ATTEMPTS: u32 = 50;
    const PAUSE: Duration = Duration::from_millis(2);
    for _ in 0..ATTEMPTS {
        if kill_members_of(directory) == 0 {
            return;
        }
        thread::sleep(PAUSE);
    }
}

/// Kills the members of the group in `directory`, which can start no others from here on; how many there were.
fn kill_members_of(directory: &Path) -> usize {
    // Absent where this hierarchy does not limit processes.
    let _ = OpenOptions::new().write(true).open(directory.join("pids.max")).and_then(|mut file| file.write_all(b"0"));
    let members = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    let members: Vec<i32> = members.lines().filter_map(|line| line.trim().parse().ok()).collect();
    for member in members.iter().copied().filter_map(Pid::from_raw) {
        // It may have ended meanwhile.
        let _ = kill_process(member, Signal::KILL);
    }
    members.len()
}

/// Removes an empty group; gives up quietly, because the next start of a core sweeps what is left.
pub(super) fn remove_folder(directory: &Path) {
    const ATTEMPTS: u32 = 50;
    const PAUSE: Duration = Duration::from_millis(2);
    for _ in 0..ATTEMPTS {
        match fs::remove_dir(directory) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => thread::sleep(PAUSE),
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_by_their_whole_name() {
        let events = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 1\noom_group_kill 0\n";
        assert_eq!(read_counter(events, Some("oom")), Some(3));
        assert_eq!(read_counter(events, Some("oom_kill")), Some(1));
        assert_eq!(read_counter(events, Some("oom_killed")), None);
        assert_eq!(read_counter("17\n", None), Some(17));
    }

    /// A folder with the files of a group, as the kernel would show them after the worker's end.
    fn verdict(version: Version, files: &[(&str, &str)]) -> MemoryVerdict {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, text)| fs::write(folder.path().join(name), text).unwrap());
        Group { version, directory: folder.path().to_owned() }.memory_verdict(64 << 20)
    }

    #[test]
    fn a_kill_is_laid_to_the_limit_only_when_the_limit_was_reached() {
        let one = |kills: &str, peak: &str| {
            let control = format!("oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n");
            verdict(Version::One, &[("memory.oom_control", &control), ("memory.max_usage_in_bytes", peak)])
        };
        assert_eq!(one("0", "67108864"), MemoryVerdict::Unremarkable);
        assert_eq!(one("1", "67108864"), MemoryVerdict::LimitReached);
        assert_eq!(one("1", "1048576"), MemoryVerdict::HostExhausted);
        let two = |events: &str| verdict(Version::Two, &[("memory.events", events)]);
        assert_eq!(two("oom 0\noom_kill 0\n"), MemoryVerdict::Unremarkable);
        assert_eq!(two("oom 1\noom_kill 1\n"), MemoryVerdict::LimitReached);
        assert_eq!(two("oom 0\noom_kill 1\n"), MemoryVerdict::HostExhausted);
    }

    #[test]
    fn a_missing_file_of_an_old_kernel_counts_nothing() {
        assert_eq!(verdict(Version::One, &[]), MemoryVerdict::Unremarkable);
    }
}

//! A control group for each worker: its memory and process limits, and the count of what the kernel killed for them.
//!
//! Version 1 and version 2, also side by side ("hybrid"). Only two controllers are used; there is no dependency on systemd
//! beyond `Delegate=yes` in the core's unit. Where no group can be made, [`Groups::process_limits`] says which limits of
//! `setrlimit(2)` take over.

mod home;
mod mounts;
mod sweep;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

pub(crate) use home::Home;

use crate::exit::MemoryVerdict;
use crate::order::ProcessLimits;
use crate::plan::Plan;

/// A resource that a control group limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Controller {
    Memory,
    Pids,
}

impl Controller {
    /// Its name in the kernel.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
        }
    }
}

/// The two forms of the kernel's interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

impl Version {
    /// The file that holds a controller's limit.
    pub fn limit_file(self, controller: Controller) -> &'static str {
        match (self, controller) {
            (Self::One, Controller::Memory) => "memory.limit_in_bytes",
            (Self::Two, Controller::Memory) => "memory.max",
            (_, Controller::Pids) => "pids.max",
        }
    }

    /// Swap would turn a memory limit into a slow disk; the file that rules it, and its value for this limit.
    fn swap_limit(self, memory: u64) -> (&'static str, String) {
        match self {
            Self::One => ("memory.memsw.limit_in_bytes", memory.to_string()),
            Self::Two => ("memory.swap.max", "0".to_owned()),
        }
    }
}

/// One worker's group under one controller. Removed with [`Groups`].
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub version: Version,
    pub directory: PathBuf,
    pub limit: u64,
}

/// A controller's group, no group because the plan has no limit, or the reason why none could be made.
#[derive(Debug, Clone)]
pub(crate) enum Seat {
    Taken(Group),
    NotAsked,
    Refused { limit: u64, why: String },
}

impl Seat {
    fn group(&self) -> Option<&Group> {
        match self {
            Self::Taken(group) => Some(group),
            _ => None,
        }
    }

    fn refused_limit(&self) -> Option<u64> {
        match self {
            Self::Refused { limit, .. } => Some(*limit),
            _ => None,
        }
    }
}

/// The control groups of one worker; removed when dropped, which needs the worker to be gone.
#[derive(Debug)]
pub(crate) struct Groups {
    pub memory: Seat,
    pub pids: Seat,
}

impl Groups {
    /// Makes the groups that the plan's limits call for and moves a process into them; what it starts, follows.
    pub fn enter(plan: &Plan, process: u32) -> Self {
        let memory = match plan.memory_bytes {
            None => Seat::NotAsked,
            Some(limit) => seat(plan, Controller::Memory, limit, process),
        };
        let pids = match plan.pids {
            None => Seat::NotAsked,
            Some(limit) => seat(plan, Controller::Pids, u64::from(limit), process),
        };
        Self { memory, pids }
    }

    /// The limits that the process has to carry itself.
    pub fn process_limits(&self) -> ProcessLimits {
        ProcessLimits { data: self.memory.refused_limit(), processes: self.pids.refused_limit() }
    }

    /// What the kernel counted about memory, to be asked when the worker is gone.
    pub fn memory_verdict(&self) -> MemoryVerdict {
        match &self.memory {
            Seat::Taken(group) => group.memory_verdict(),
            Seat::NotAsked => MemoryVerdict::Unremarkable,
            Seat::Refused { .. } => MemoryVerdict::Unknown,
        }
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for group in [&self.memory, &self.pids].into_iter().filter_map(Seat::group) {
            group.remove();
        }
    }
}

fn seat(plan: &Plan, controller: Controller, limit: u64, process: u32) -> Seat {
    let refused = |why: String| Seat::Refused { limit, why };
    let place = match Home::claimed().place(controller) {
        Ok(place) => place,
        Err(why) => return refused(why.clone()),
    };
    match Group::create(place, controller, limit, plan) {
        Ok(group) => match group.enter(process) {
            Ok(()) => Seat::Taken(group),
            Err(error) => {
                group.remove();
                refused(format!("moving the worker into {} failed: {error}", group.directory.display()))
            }
        },
        Err((path, error)) => refused(format!("writing {} failed: {error}", path.display())),
    }
}

impl Group {
    fn create(
        place: &home::Place,
        controller: Controller,
        limit: u64,
        plan: &Plan,
    ) -> Result<Self, (PathBuf, io::Error)> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = sweep::folder_name(&format!("{}.{number}", plan.name));
        let group = Self { version: place.version, directory: place.directory.join(name), limit };
        fs::create_dir(&group.directory).map_err(|error| (group.directory.clone(), error))?;
        group.set_limit(controller).inspect_err(|_| group.remove())?;
        Ok(group)
    }

    fn set_limit(&self, controller: Controller) -> Result<(), (PathBuf, io::Error)> {
        let file = self.directory.join(self.version.limit_file(controller));
        fs::write(&file, self.limit.to_string()).map_err(|error| (file, error))?;
        if controller == Controller::Memory {
            let (name, value) = self.version.swap_limit(self.limit);
            // Absent when the kernel does not account swap; then there is none to limit, or none that can be.
            let _ = fs::write(self.directory.join(name), value);
        }
        Ok(())
    }

    fn enter(&self, process: u32) -> io::Result<()> {
        fs::write(self.directory.join("cgroup.procs"), process.to_string())
    }

    /// The limit as the kernel has it, for the containment table.
    pub fn limit_in_force(&self, controller: Controller) -> io::Result<String> {
        Ok(fs::read_to_string(self.directory.join(self.version.limit_file(controller)))?.trim().to_owned())
    }

    /// Whether a process belongs to this group.
    pub fn contains(&self, process: i32) -> io::Result<bool> {
        let members = fs::read_to_string(self.directory.join("cgroup.procs"))?;
        Ok(members.lines().any(|line| line.trim().parse() == Ok(process)))
    }

    fn memory_verdict(&self) -> MemoryVerdict {
        let (kills, limit_reached) = match self.version {
            Version::One => (self.counter("memory.oom_control", Some("oom_kill")), self.peak_is_at_limit()),
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
    fn peak_is_at_limit(&self) -> bool {
        const SLACK: u64 = 256 << 10;
        let peak = self.counter("memory.max_usage_in_bytes", None);
        let peak_with_swap = self.counter("memory.memsw.max_usage_in_bytes", None);
        peak.max(peak_with_swap).saturating_add(SLACK) >= self.limit
    }

    fn counter(&self, file: &str, key: Option<&str>) -> u64 {
        let text = fs::read_to_string(self.directory.join(file)).unwrap_or_default();
        read_counter(&text, key).unwrap_or(0)
    }

    /// Removes the folder. The kernel refuses for a moment after the last process has gone.
    fn remove(&self) {
        remove_folder(&self.directory);
    }
}

fn read_counter(text: &str, key: Option<&str>) -> Option<u64> {
    let Some(key) = key else { return text.trim().parse().ok() };
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Removes an empty group; gives up quietly, because the next start of a core sweeps what is left.
fn remove_folder(directory: &Path) {
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

    #[test]
    fn a_missing_file_of_an_old_kernel_counts_nothing() {
        let group = Group { version: Version::One, directory: "/nonexistent".into(), limit: 1 };
        assert_eq!(group.memory_verdict(), MemoryVerdict::Unremarkable);
    }
}

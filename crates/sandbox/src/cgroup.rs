//! A control group for each worker: its memory and process limits, and the count of what the kernel killed for them.
//!
//! Version 1 and version 2, also side by side ("hybrid"). Three controllers are used, that of the processors where a plan asks
//! for it; there is no dependency on systemd beyond `Delegate=yes` in the core's unit. Where no group can be made,
//! [`Groups::process_limits`] says which limits of `setrlimit(2)` take over.

mod group;
mod home;
mod mounts;

pub(crate) use group::Group;
pub(crate) use home::Home;

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::exit::MemoryVerdict;
use crate::order::ProcessLimits;
use crate::plan::{Cpu, Plan};
use crate::sandboxed::Usage;

/// A resource that a control group limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Controller {
    Memory,
    Pids,
    Cpu,
}

impl Controller {
    /// Its name in the kernel.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
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
            (Self::One, Controller::Cpu) => "cpu.cfs_quota_us",
            (Self::Two, Controller::Cpu) => "cpu.max",
        }
    }

    /// The files that rule a share of the processors, with what they are to hold (cgroup-v2.rst, "CPU"; sched-bwc.rst).
    fn cpu_settings(self, cpu: Cpu) -> Vec<(&'static str, String)> {
        /// Microseconds over which a quota is counted: the kernel's default.
        const PERIOD: u64 = 100_000;
        let quota = |quota: u16| u64::from(quota) * PERIOD / 100;
        match self {
            Self::One => {
                // 1024 is what version 2 calls 100; the least is 2.
                let shares = cpu.weight.map(|weight| (u64::from(weight) * 1024 / 100).max(2));
                let shares = shares.map(|shares| ("cpu.shares", shares.to_string()));
                let period = cpu.quota.map(|_| ("cpu.cfs_period_us", PERIOD.to_string()));
                let most = cpu.quota.map(|most| ("cpu.cfs_quota_us", quota(most).to_string()));
                [shares, period, most].into_iter().flatten().collect()
            }
            Self::Two => {
                let weight = cpu.weight.map(|weight| ("cpu.weight", weight.to_string()));
                let most = cpu.quota.map(|most| ("cpu.max", format!("{} {PERIOD}", quota(most))));
                [weight, most].into_iter().flatten().collect()
            }
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

/// Where a limit is kept: in a control group, nowhere because the plan has none, or nowhere for this reason.
#[derive(Debug, Clone)]
pub(crate) enum Seat {
    Taken { group: Group, limit: u64 },
    NotAsked,
    Refused { limit: u64, why: String },
}

impl Seat {
    fn group(&self) -> Option<&Group> {
        match self {
            Self::Taken { group, .. } => Some(group),
            Self::NotAsked | Self::Refused { .. } => None,
        }
    }

    /// Gives the seat up if it is in this group.
    fn refuse(&mut self, of: &Group, why: &str) {
        if let Self::Taken { group, limit } = self
            && group == of
        {
            *self = Self::Refused { limit: *limit, why: why.to_owned() };
        }
    }

    fn refused_limit(&self) -> Option<u64> {
        match self {
            Self::Refused { limit, .. } => Some(*limit),
            Self::Taken { .. } | Self::NotAsked => None,
        }
    }
}

/// The control groups of one worker; removed when dropped, which needs the worker to be gone.
#[derive(Debug)]
pub(crate) struct Groups {
    pub memory: Seat,
    pub pids: Seat,
    /// Where the share of the processors is kept, if the plan has one, or why nowhere.
    pub cpu: Option<Result<Group, String>>,
    /// One for each hierarchy: version 2 keeps both limits in one group, because a process is in one only.
    made: Vec<Group>,
}

impl Groups {
    /// Makes the groups that the plan's limits call for, with the limits set and nobody inside.
    pub fn make(plan: &Plan) -> Self {
        let mut groups = Self { memory: Seat::NotAsked, pids: Seat::NotAsked, cpu: None, made: Vec::new() };
        if let Some(limit) = plan.memory_bytes {
            groups.memory = groups.seat(plan, Controller::Memory, limit);
        }
        if let Some(limit) = plan.pids {
            groups.pids = groups.seat(plan, Controller::Pids, u64::from(limit));
        }
        if plan.cpu.is_asked() {
            let group = groups.group_for(plan, Controller::Cpu);
            groups.cpu = Some(group.and_then(|group| group.set_cpu(plan.cpu).map(|()| group)));
        }
        groups
    }

    /// The folder of the one that a process can be born in.
    pub fn birthplace(&self) -> Option<OwnedFd> {
        self.made.iter().find(|group| group.is_unified())?.folder().ok()
    }

    /// The files by which a process gets into the others by itself; none where one of them cannot be opened.
    pub fn tasks(&self) -> Vec<OwnedFd> {
        let files: io::Result<_> = self.made.iter().filter(|group| !group.is_unified()).map(Group::tasks).collect();
        files.unwrap_or_default()
    }

    /// Takes note of the groups that `process` is in by itself, and moves it into the others; what it starts, follows. A
    /// group that it cannot be moved into limits nothing.
    pub fn entered(&mut self, process: i32, born_inside: bool, tasks: &[bool]) {
        let mut tasks = tasks.iter();
        for group in self.made.clone() {
            let is_inside = if group.is_unified() { born_inside } else { tasks.next() == Some(&true) };
            if is_inside {
                continue;
            }
            if let Err(why) = group.enter(process) {
                self.memory.refuse(&group, &why);
                self.pids.refuse(&group, &why);
                if self.cpu.as_ref().is_some_and(|seat| seat.as_ref().is_ok_and(|seated| *seated == group)) {
                    self.cpu = Some(Err(why));
                }
            }
        }
    }

    /// The limits that the process has to carry itself.
    pub fn process_limits(&self) -> ProcessLimits {
        ProcessLimits { data: self.memory.refused_limit(), processes: self.pids.refused_limit() }
    }

    /// The file that holds the limit on processes.
    pub fn process_limit_file(&self) -> Option<PathBuf> {
        match &self.pids {
            Seat::Taken { group, .. } => Some(group.limit_file(Controller::Pids)),
            Seat::NotAsked | Seat::Refused { .. } => None,
        }
    }

    /// Kills whatever is in the groups now, and lets nothing more come.
    pub fn kill_members(&self) {
        self.made.iter().for_each(Group::kill_members);
    }

    /// Ends whatever is in the groups.
    pub fn end_members(&self) {
        self.made.iter().for_each(Group::end_members);
    }

    /// What the kernel counted about memory, to be asked when the worker is gone.
    pub fn memory_verdict(&self) -> MemoryVerdict {
        match &self.memory {
            Seat::Taken { group, limit } => group.memory_verdict(*limit),
            Seat::NotAsked => MemoryVerdict::Unremarkable,
            Seat::Refused { .. } => MemoryVerdict::Unknown,
        }
    }

    /// What the members use now, and what they were refused.
    pub fn usage(&self) -> Usage {
        let memory = self.memory.group();
        Usage {
            memory: memory.and_then(Group::memory),
            memory_peak: memory.and_then(Group::memory_peak),
            refused_processes: self.pids.group().and_then(Group::refused_processes),
        }
    }

    /// The processes in them.
    pub fn members(&self) -> Option<Vec<i32>> {
        self.made.first()?.members().ok()
    }

    fn seat(&mut self, plan: &Plan, controller: Controller, limit: u64) -> Seat {
        let seated = self.group_for(plan, controller).and_then(|group| {
            group.set_limit(controller, limit)?;
            Ok(group)
        });
        match seated {
            Ok(group) => Seat::Taken { group, limit },
            Err(why) => Seat::Refused { limit, why },
        }
    }

    fn group_for(&mut self, plan: &Plan, controller: Controller) -> Result<Group, String> {
        let place = Home::claimed().place(controller).as_ref().map_err(String::clone)?;
        if let Some(group) = self.made.iter().find(|group| group.is_in(&place.directory)) {
            return Ok(group.clone());
        }
        let group = Group::create(place, &plan.name)?;
        self.made.push(group.clone());
        Ok(group)
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        self.made.iter().for_each(Group::remove);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::home::Place;
    use super::*;

    /// Groups for memory in one folder and for processes in another, which stand in for two hierarchies of version 1.
    fn groups(folder: &std::path::Path) -> Groups {
        let made = ["memory", "pids"].map(|name| {
            fs::create_dir(folder.join(name)).unwrap();
            Group::create(&Place { version: Version::One, directory: folder.join(name) }, "worker").unwrap()
        });
        let [memory, pids] = made.clone();
        Groups {
            memory: Seat::Taken { group: memory, limit: 1 << 20 },
            pids: Seat::Taken { group: pids, limit: 5 },
            cpu: None,
            made: made.to_vec(),
        }
    }

    #[test]
    fn a_process_is_moved_only_into_the_groups_that_it_did_not_enter_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let mut groups = groups(folder.path());
        let members = |group: &Group| fs::read_to_string(group.directory().join("cgroup.procs")).ok();
        groups.entered(4711, false, &[true, false]);
        let made = groups.made.clone();
        assert_eq!((members(&made[0]), members(&made[1]).as_deref()), (None, Some("4711")));
        assert_eq!(groups.process_limits(), ProcessLimits::default());
        fs::remove_file(made[1].directory().join("cgroup.procs")).unwrap();
    }

    #[test]
    fn where_a_process_can_neither_enter_nor_be_moved_the_process_limit_takes_over() {
        let folder = tempfile::tempdir().unwrap();
        let mut groups = groups(folder.path());
        fs::remove_dir(groups.made[1].directory()).unwrap();
        groups.entered(4711, false, &[true]);
        assert_eq!(groups.process_limits(), ProcessLimits { data: None, processes: Some(5) });
        assert_eq!(groups.process_limit_file(), None);
    }
}

//! Where the workers' control groups are made: as near to the core's own group as the kernel's rules allow.
//!
//! Version 1: inside the core's own group. Version 2 forbids a group that has both processes and limited children
//! (cgroup-v2.rst, "No Internal Process Constraint"), so the core first steps down into a leaf of its own, `margay-core`;
//! that is what systemd's `Delegate=yes` foresees. When the core's group is not its alone (a terminal's session), the
//! workers' groups become its siblings.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::OnceLock;

use rustix::fs::{Access, access, statfs};

use super::group::{end_members_of, remove_folder};
use super::mounts::{Hierarchy, hierarchies};
use super::{Controller, Version};
use crate::leftover;

/// The leaf that the core moves into under version 2.
const CORE_LEAF: &str = "margay-core";

/// `CGROUP2_SUPER_MAGIC`, from `linux/magic.h`.
const CGROUP2_MAGIC: u64 = 0x6367_7270;

/// A folder in which groups can be made, or why there is none.
pub(crate) type PlaceOrWhy = Result<Place, String>;

/// A folder in which groups with one controller can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub version: Version,
    pub directory: PathBuf,
}

/// The places for the controllers.
#[derive(Debug)]
pub(crate) struct Home {
    memory: PlaceOrWhy,
    pids: PlaceOrWhy,
    cpu: PlaceOrWhy,
}

impl Home {
    /// Claims the places, once for the life of the process: under version 2 this may move the core into its leaf, and it
    /// removes what a killed core left behind.
    pub fn claimed() -> &'static Self {
        static HOME: OnceLock<Home> = OnceLock::new();
        HOME.get_or_init(|| {
            let home = Self::find(claim_unified);
            for place in [&home.memory, &home.pids, &home.cpu].into_iter().flatten() {
                // Nothing outlives the core that started it, not even where both were killed at once.
                for folder in leftover::left_in(&place.directory) {
                    end_members_of(&folder);
                    remove_folder(&folder);
                }
            }
            home
        })
    }

    /// Finds the places without changing anything. What it finds may still turn out to be refused.
    pub fn survey() -> Self {
        Self::find(|unified| {
            let parent = unified.own.parent().filter(|_| unified.own != unified.mount_point);
            if writable(&unified.own) || parent.is_some_and(writable) {
                return Ok(unified.own.clone());
            }
            Err(format!("{} is not writable", unified.own.display()))
        })
    }

    /// Whether one of the places is of version 2.
    pub fn has_unified(&self) -> bool {
        [&self.memory, &self.pids, &self.cpu].into_iter().flatten().any(|place| place.version == Version::Two)
    }

    /// The place for a controller's groups.
    pub fn place(&self, controller: Controller) -> &PlaceOrWhy {
        match controller {
            Controller::Memory => &self.memory,
            Controller::Pids => &self.pids,
            Controller::Cpu => &self.cpu,
        }
    }

    fn find(claim: impl Fn(&Hierarchy) -> Result<PathBuf, String>) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let found = hierarchies(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"));
        let unified = found.iter().find(|hierarchy| hierarchy.version == Version::Two && is_unified(hierarchy));
        let legacy = |controller| found.iter().find(|hierarchy| hierarchy.has(controller));
        let provided = |controller: Controller| {
            unified.filter(|hierarchy| lists(&hierarchy.own.join("cgroup.controllers"), controller))
        };
        let wanted =
            provided(Controller::Memory).or_else(|| provided(Controller::Pids)).or_else(|| provided(Controller::Cpu));
        let base = wanted.map(claim);
        let place = |controller| match (legacy(controller), provided(controller), &base) {
            (Some(hierarchy), _, _) => legacy_place(hierarchy),
            (None, Some(_), Some(Ok(directory))) => unified_place(directory, controller),
            (None, Some(_), Some(Err(why))) => Err(why.clone()),
            _ => Err(format!("the kernel offers no {} control group here", controller.name())),
        };
        Self { memory: place(Controller::Memory), pids: place(Controller::Pids), cpu: place(Controller::Cpu) }
    }
}

fn is_unified(hierarchy: &Hierarchy) -> bool {
    statfs(&hierarchy.mount_point).is_ok_and(|found| found.f_type as u64 == CGROUP2_MAGIC)
}

fn legacy_place(hierarchy: &Hierarchy) -> PlaceOrWhy {
    let directory = hierarchy.own.clone();
    if writable(&directory) {
        return Ok(Place { version: Version::One, directory });
    }
    Err(format!("{} is not writable", directory.display()))
}

/// The survey names the core's own group, which passes its controllers on only when the core claims it.
fn unified_place(directory: &Path, controller: Controller) -> PlaceOrWhy {
    let files = ["cgroup.subtree_control", "cgroup.controllers"].map(|name| directory.join(name));
    if files.iter().any(|file| lists(file, controller)) {
        return Ok(Place { version: Version::Two, directory: directory.to_owned() });
    }
    Err(format!("{} is not enabled in {}", controller.name(), directory.display()))
}

/// The group of version 2 whose children the workers' groups become.
fn claim_unified(unified: &Hierarchy) -> Result<PathBuf, String> {
    let own = &unified.own;
    let parent = own.parent().filter(|_| *own != unified.mount_point);
    if own.file_name().is_some_and(|name| name == CORE_LEAF)
        && let Some(parent) = parent
    {
        return enable(parent);
    }
    if enable(own).is_ok() {
        return Ok(own.clone());
    }
    let stepped_down = step_down(own).and_then(|()| enable(own));
    match (stepped_down, parent) {
        (Ok(base), _) => Ok(base),
        (Err(_), Some(parent)) => enable(parent),
        (Err(why), None) => Err(why),
    }
}

/// Moves the core, if it is alone in its group, into a leaf below it.
fn step_down(own: &Path) -> Result<(), String> {
    let failed =
        |what: &str, path: &Path, why: &dyn std::fmt::Display| format!("{what} {} failed: {why}", path.display());
    let members_file = own.join("cgroup.procs");
    let members = fs::read_to_string(&members_file).map_err(|error| failed("reading", &members_file, &error))?;
    let me = process::id();
    if members.lines().any(|line| line.trim().parse() != Ok(me)) {
        return Err(format!("{} holds other processes than the core", own.display()));
    }
    let leaf = own.join(CORE_LEAF);
    match fs::create_dir(&leaf) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(failed("creating", &leaf, &error));
        }
        _ => {}
    }
    let procs = leaf.join("cgroup.procs");
    fs::write(&procs, me.to_string()).map_err(|error| failed("writing", &procs, &error))
}

/// Lets the children of a group have the controllers, as far as the group has them itself. The kernel refuses that of the
/// processors where a process of real time runs (cgroup-v2.rst, "CPU"): few plans ask for it, and they learn of it.
fn enable(directory: &Path) -> Result<PathBuf, String> {
    if !writable(directory) {
        return Err(format!("{} is not writable", directory.display()));
    }
    let switch = directory.join("cgroup.subtree_control");
    for controller in [Controller::Memory, Controller::Pids, Controller::Cpu] {
        if lists(&switch, controller) || !lists(&directory.join("cgroup.controllers"), controller) {
            continue;
        }
        let written = fs::write(&switch, format!("+{}", controller.name()));
        if controller != Controller::Cpu {
            written.map_err(|error| format!("writing {} failed: {error}", switch.display()))?;
        }
    }
    Ok(directory.to_owned())
}

fn lists(file: &Path, controller: Controller) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text.split_whitespace().any(|name| name == controller.name()))
}

fn writable(directory: &Path) -> bool {
    access(directory, Access::WRITE_OK).is_ok()
}

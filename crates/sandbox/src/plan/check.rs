//! The rules that a plan has to keep.
//!
//! Each rule stands where breaking it would turn the launcher, which is privileged, against the host: a destination
//! outside the new root, a mount point inside a bound folder, a device that is not one.

use std::path::{Component, Path, PathBuf};

use thiserror::Error;

use super::{Access, GroupRule, Network, PlanParts, Program, Tree};

/// Longest name: with a prefix and a counter it still fits `HOST_NAME_MAX` (64).
const LONGEST_NAME: usize = 48;

/// Least memory that a limit may leave: below it no program starts, and the failure would not name its cause.
const LEAST_MEMORY: u64 = 4 << 20;

/// Mount points are made in the private layer.
const LEAST_WRITABLE: u64 = 64 << 10;

/// The launcher, PID 1 and the worker exist at the same moment.
const LEAST_PROCESSES: u64 = 3;

/// Folders of the new root that the launcher fills itself.
const RESERVED: [&str; 4] = ["/proc", "/dev", TEMPORARY, "/program"];

/// The one of them in which something of the host may appear all the same, such as a service's socket.
const TEMPORARY: &str = "/tmp";

/// The other one: V1's functions may be granted the host's shared memory, at its own place (B-04).
const SHARED_MEMORY: &str = "/dev/shm";

/// Why a plan is refused.
#[derive(Debug, Error)]
pub enum PlanError {
    /// The name would not do as a host name and a folder name.
    #[error("worker name {name:?} is not 1 to {LONGEST_NAME} characters of a-z, 0-9 and '-', starting with a letter")]
    Name {
        /// The name as given.
        name: String,
    },
    /// An argument, a variable or a path contains a zero byte, or a variable's name a `=`.
    #[error("worker {worker}: {what} cannot be passed to a program: {text:?}")]
    Text {
        /// The worker's name.
        worker: String,
        /// Which part.
        what: &'static str,
        /// Its text.
        text: String,
    },
    /// A path is relative, is the root itself, or steps upwards.
    #[error("worker {worker}: {what} {path:?} is not an absolute path below / without '..'")]
    Path {
        /// The worker's name.
        worker: String,
        /// Which part.
        what: &'static str,
        /// The path as given.
        path: PathBuf,
    },
    /// A destination lies in or around a folder that every sandbox has of its own.
    #[error("worker {worker}: {path:?} collides with {reserved}, which every sandbox has of its own")]
    Reserved {
        /// The worker's name.
        worker: String,
        /// The destination, or the library.
        path: PathBuf,
        /// The folder it collides with.
        reserved: &'static str,
    },
    /// Two destinations are the same, or one lies in the other: mounting would create files in the outer source.
    #[error("worker {worker}: destination {inner:?} lies in destination {outer:?}")]
    Nested {
        /// The worker's name.
        worker: String,
        /// The outer destination.
        outer: PathBuf,
        /// The one inside it.
        inner: PathBuf,
    },
    /// A device path is not under `/dev` (B-03).
    #[error("worker {worker}: device {path:?} is not below /dev")]
    Device {
        /// The worker's name.
        worker: String,
        /// The path as given.
        path: PathBuf,
    },
    /// The plan asks for what takes namespaces, and for none.
    #[error("worker {worker}: in the host's own tree there is no {what}")]
    Shared {
        /// The worker's name.
        worker: String,
        /// What it asks for.
        what: &'static str,
    },
    /// A limit that no worker could live with.
    #[error("worker {worker}: {what} is {actual}, the least is {least}")]
    Limit {
        /// The worker's name.
        worker: String,
        /// Which limit.
        what: &'static str,
        /// As given.
        actual: u64,
        /// The least that is accepted.
        least: u64,
    },
}

pub(super) fn check(parts: &PlanParts) -> Result<(), PlanError> {
    check_name(&parts.name)?;
    check_texts(parts)?;
    check_limits(parts)?;
    if let Program::Path(path) = &parts.program {
        check_path(parts, "program", path)?;
    }
    if parts.folder != Path::new("/") {
        check_path(parts, "folder", &parts.folder)?;
    }
    if let Tree::Host(tree) = &parts.tree {
        for hidden in &tree.hidden {
            check_path(parts, "hidden path", hidden)?;
        }
    }
    if parts.tree == Tree::Shared {
        check_shared(parts)?;
    }
    for library in &parts.libraries {
        check_path(parts, "library", library)?;
        if let Some(reserved) = RESERVED.into_iter().find(|folder| library.starts_with(folder)) {
            return Err(PlanError::Reserved { worker: parts.name.clone(), path: library.clone(), reserved });
        }
    }
    for device in &parts.devices {
        check_path(parts, "device", &device.path)?;
        if !device.path.starts_with("/dev") || device.path == Path::new("/dev") {
            return Err(PlanError::Device { worker: parts.name.clone(), path: device.path.clone() });
        }
    }
    check_destinations(parts)
}

/// What only namespaces give.
fn check_shared(parts: &PlanParts) -> Result<(), PlanError> {
    let refuse = |what| Err(PlanError::Shared { worker: parts.name.clone(), what });
    if parts.network == Network::None {
        return refuse("network of the worker's own");
    }
    if !parts.devices.is_empty() {
        return refuse("device of the worker's own");
    }
    match parts.binds.iter().any(|bind| bind.access == Access::ReadWrite) {
        true => refuse("writable bind"),
        false => Ok(()),
    }
}

fn check_name(name: &str) -> Result<(), PlanError> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    if starts_well && name.len() <= LONGEST_NAME && name.chars().all(allowed) {
        return Ok(());
    }
    Err(PlanError::Name { name: name.to_owned() })
}

fn check_texts(parts: &PlanParts) -> Result<(), PlanError> {
    let refuse = |what, text: &str| Err(PlanError::Text { worker: parts.name.clone(), what, text: text.to_owned() });
    for argument in &parts.arguments {
        if argument.contains('\0') {
            return refuse("argument", argument);
        }
    }
    for (name, value) in &parts.environment {
        if name.is_empty() || name.contains(['\0', '=']) {
            return refuse("environment variable", name);
        }
        if value.contains('\0') {
            return refuse("value of an environment variable", value);
        }
    }
    for rule in group_rules(parts) {
        if let GroupRule::Name(name) = rule
            && (name.is_empty() || name.contains('\0'))
        {
            return refuse("group name", name);
        }
    }
    Ok(())
}

fn group_rules(parts: &PlanParts) -> impl Iterator<Item = &GroupRule> {
    let of_binds = parts.binds.iter().map(|bind| &bind.group);
    let of_devices = parts.devices.iter().map(|device| &device.group);
    of_binds.chain(of_devices).chain(&parts.groups)
}

fn check_limits(parts: &PlanParts) -> Result<(), PlanError> {
    let limits = [
        ("memory_bytes", parts.memory_bytes, LEAST_MEMORY),
        ("pids", parts.pids.map(u64::from), LEAST_PROCESSES),
        ("cpu.weight", parts.cpu.weight.map(u64::from), 1),
        ("cpu.quota", parts.cpu.quota.map(u64::from), 1),
        ("open_files", parts.open_files, 16),
        ("temporary_bytes", Some(parts.temporary_bytes), 4096),
        ("writable_bytes", writable(parts), LEAST_WRITABLE),
    ];
    for (what, limit, least) in limits {
        if let Some(actual) = limit.filter(|actual| *actual < least) {
            return Err(PlanError::Limit { worker: parts.name.clone(), what, actual, least });
        }
    }
    Ok(())
}

fn writable(parts: &PlanParts) -> Option<u64> {
    match &parts.tree {
        Tree::Bare | Tree::Shared => None,
        Tree::Host(tree) => Some(tree.writable_bytes),
    }
}

fn check_path(parts: &PlanParts, what: &'static str, path: &Path) -> Result<(), PlanError> {
    let mut components = path.components();
    let plain = components.next() == Some(Component::RootDir)
        && components.clone().next().is_some()
        && components.all(|part| matches!(part, Component::Normal(_)))
        && !path.as_os_str().as_encoded_bytes().contains(&0);
    if plain {
        return Ok(());
    }
    Err(PlanError::Path { worker: parts.name.clone(), what, path: path.to_owned() })
}

fn check_destinations(parts: &PlanParts) -> Result<(), PlanError> {
    let mut destinations: Vec<&Path> = Vec::new();
    for bind in &parts.binds {
        check_path(parts, "source", &bind.source)?;
        check_path(parts, "destination", &bind.destination)?;
        if let Some(reserved) = RESERVED.into_iter().find(|folder| overlaps(&bind.destination, Path::new(folder))) {
            return Err(PlanError::Reserved { worker: parts.name.clone(), path: bind.destination.clone(), reserved });
        }
        destinations.push(&bind.destination);
    }
    destinations.extend(parts.devices.iter().map(|device| device.path.as_path()));
    destinations.sort_unstable();
    for pair in destinations.windows(2) {
        if pair[1].starts_with(pair[0]) {
            return Err(PlanError::Nested {
                worker: parts.name.clone(),
                outer: pair[0].to_owned(),
                inner: pair[1].to_owned(),
            });
        }
    }
    Ok(())
}

fn overlaps(destination: &Path, reserved: &Path) -> bool {
    let lies_in = destination.starts_with(reserved);
    let has_a_place = reserved == Path::new(TEMPORARY) || destination.starts_with(SHARED_MEMORY);
    reserved.starts_with(destination) || lies_in && !has_a_place
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Bind, Device, HostTree, Plan};
    use super::*;

    proptest! {
        #[test]
        fn an_accepted_destination_stays_below_the_new_root(path in r"[/.a-z]{0,24}") {
            if let Ok(plan) = Plan::new(with_destinations(&[&path])) {
                let destination = &plan.binds[0].destination;
                prop_assert!(destination.is_absolute());
                prop_assert!(destination.components().skip(1).all(|part| matches!(part, Component::Normal(_))));
                let mut closed = RESERVED.iter().filter(|folder| **folder != TEMPORARY);
                let shared = destination.starts_with(SHARED_MEMORY);
                prop_assert!(closed.all(|folder| shared || !destination.starts_with(folder)));
                prop_assert!(destination != Path::new(TEMPORARY));
            }
        }
    }

    fn parts() -> PlanParts {
        PlanParts { name: "inference".to_owned(), ..PlanParts::default() }
    }

    fn with_destinations(destinations: &[&str]) -> PlanParts {
        let binds = destinations.iter().map(|path| Bind::read_only("/srv/model", *path)).collect();
        PlanParts { binds, ..parts() }
    }

    fn refused(parts: PlanParts) -> String {
        Plan::new(parts).expect_err("the plan breaks a rule").to_string()
    }

    #[test]
    fn a_plan_survives_its_own_json() {
        let device = Device { path: "/dev/video0".into(), access: Default::default(), group: GroupRule::OwnerOfSource };
        let plan = Plan::new(PlanParts {
            devices: vec![device],
            memory_bytes: Some(64 << 20),
            ..with_destinations(&["/greengrass-machine-learning/model"])
        })
        .unwrap();
        let json = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan);
    }

    #[test]
    fn deserializing_checks_too() {
        assert!(serde_json::from_str::<Plan>(r#"{"name":"Not A Name"}"#).is_err());
        assert!(serde_json::from_str::<Plan>(r#"{"name":"fine","unknown":1}"#).is_err());
    }

    #[test]
    fn names_that_are_no_host_names_are_refused() {
        for name in ["", "-x", "Upper", "a/b", "a.b", &"a".repeat(49)] {
            let error = refused(PlanParts { name: name.to_owned(), ..PlanParts::default() });
            assert!(error.starts_with("worker name"), "{error}");
        }
    }

    #[test]
    fn destinations_stay_below_the_new_root_and_apart() {
        for path in ["model", "/", "/a/../etc", "/proc/x", "/dev", "/tmp", "/program"] {
            refused(with_destinations(&[path]));
        }
        refused(with_destinations(&["/model", "/model"]));
        refused(with_destinations(&["/model", "/other", "/model/inner"]));
        assert!(Plan::new(with_destinations(&["/model", "/model-two"])).is_ok());
        assert!(Plan::new(with_destinations(&["/tmp/socket"])).is_ok(), "the sandbox's own /tmp can hold one");
        assert!(Plan::new(with_destinations(&["/dev/shm"])).is_ok(), "shared memory may be the host's");
        refused(with_destinations(&["/dev/shm2"]));
    }

    #[test]
    fn a_path_between_two_nested_ones_does_not_hide_them() {
        refused(with_destinations(&["/a", "/a!", "/a/b"]));
    }

    #[test]
    fn a_device_is_below_dev() {
        for path in ["/dev", "/etc/passwd", "/dev/../etc/passwd", "dev/null"] {
            let device = Device { path: path.into(), access: Default::default(), group: GroupRule::None };
            refused(PlanParts { devices: vec![device], ..parts() });
        }
    }

    #[test]
    fn limits_that_nothing_can_live_with_are_refused() {
        refused(PlanParts { memory_bytes: Some(1024), ..parts() });
        refused(PlanParts { pids: Some(1), ..parts() });
    }

    #[test]
    fn what_a_host_tree_hides_is_named_by_absolute_paths() {
        let tree = |hidden: &str, writable_bytes| {
            Tree::Host(HostTree { hidden: vec![hidden.into()], writable_bytes, read_only: false })
        };
        refused(PlanParts { tree: tree("greengrass", 1 << 20), ..parts() });
        refused(PlanParts { tree: tree("/greengrass/../etc", 1 << 20), ..parts() });
        refused(PlanParts { tree: tree("/greengrass", 1), ..parts() });
        refused(PlanParts { folder: "lambda".into(), ..parts() });
        let plan = Plan::new(PlanParts { tree: tree("/greengrass", 1 << 20), folder: "/lambda".into(), ..parts() });
        assert!(plan.is_ok());
    }

    #[test]
    fn the_hosts_own_tree_has_nothing_of_the_workers_own() {
        let shared = |parts: PlanParts| PlanParts { tree: Tree::Shared, network: Network::Host, ..parts };
        assert!(Plan::new(shared(with_destinations(&["/models/a"]))).is_ok());
        refused(PlanParts { network: Network::None, ..shared(parts()) });
        let device = Device { path: "/dev/video0".into(), access: Default::default(), group: GroupRule::None };
        refused(shared(PlanParts { devices: vec![device], ..parts() }));
        let writable = Bind { access: Access::ReadWrite, ..Bind::read_only("/srv/data", "/data") };
        refused(shared(PlanParts { binds: vec![writable], ..parts() }));
    }

    #[test]
    fn texts_with_a_zero_byte_are_refused() {
        refused(PlanParts { arguments: vec!["a\0b".to_owned()], ..parts() });
        refused(PlanParts { environment: [("A=B".to_owned(), String::new())].into(), ..parts() });
    }
}

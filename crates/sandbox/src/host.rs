//! What this host offers to sandboxes, found without starting one.
//!
//! For a check before deployment. It says what to expect; what a worker really got is in its
//! [`Containment`](crate::Containment).

use std::fs;

use crate::cgroup::{Controller, Home};
use crate::containment::Finding;
use crate::launcher::seccomp_supported;
use crate::order::Confinement;
use crate::raw;

/// `CAP_SYS_ADMIN`, the capability that namespaces need (`linux/capability.h`).
const CAP_SYS_ADMIN: u32 = 21;

/// What this host offers to sandboxes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// How far a worker can be contained, if nothing that cannot be foreseen refuses it.
    pub confinement: Confinement,
    /// Whether namespaces can be had, and how.
    pub namespaces: Finding,
    /// Whether system calls can be filtered.
    pub seccomp: Finding,
    /// Whether landlock is there.
    pub landlock: Finding,
    /// Whether memory can be limited by a control group.
    pub memory: Finding,
    /// Whether processes can be limited by a control group.
    pub pids: Finding,
}

impl Host {
    /// Looks at the kernel's own descriptions; starts and changes nothing.
    pub fn probe() -> Self {
        let (confinement, namespaces) = namespaces();
        let home = Home::survey();
        let place = |controller| match home.place(controller) {
            Ok(place) => Finding::Holds(format!("control groups below {}", place.directory.display())),
            Err(why) => Finding::Absent(why.clone()),
        };
        Self {
            confinement,
            namespaces,
            seccomp: seccomp(),
            landlock: landlock(),
            memory: place(Controller::Memory),
            pids: place(Controller::Pids),
        }
    }
}

/// The confinement to try first.
pub(crate) fn strongest() -> Confinement {
    namespaces().0
}

fn namespaces() -> (Confinement, Finding) {
    if let Some(missing) = ["mnt", "pid", "ipc", "uts", "net"].into_iter().find(|kind| !in_kernel(kind)) {
        let why = format!("the kernel is built without {missing} namespaces");
        return (Confinement::Process, Finding::Absent(why));
    }
    if may_administer() {
        return (Confinement::Privileged, Finding::Holds("with the core's own privileges".to_owned()));
    }
    match user_namespaces_forbidden() {
        Some(why) => (Confinement::Process, Finding::Absent(why)),
        None => (Confinement::UserNamespace, Finding::Holds("inside a user namespace".to_owned())),
    }
}

fn in_kernel(kind: &str) -> bool {
    fs::symlink_metadata(format!("/proc/self/ns/{kind}")).is_ok()
}

fn may_administer() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask >> CAP_SYS_ADMIN & 1 == 1)
}

/// The switches by which distributions forbid user namespaces to ordinary users.
fn user_namespaces_forbidden() -> Option<String> {
    if !in_kernel("user") {
        return Some("the core is not root, and the kernel is built without user namespaces".to_owned());
    }
    let switches = [
        ("/proc/sys/user/max_user_namespaces", "0"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0"),
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"),
    ];
    let forbids = |(path, value): &(&str, &str)| fs::read_to_string(path).is_ok_and(|found| found.trim() == *value);
    let (path, value) = switches.into_iter().find(forbids)?;
    Some(format!("the core is not root, and {path} is {value}"))
}

fn seccomp() -> Finding {
    let listed = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").is_ok();
    let mode_shown = fs::read_to_string("/proc/self/status").is_ok_and(|status| status.contains("\nSeccomp:"));
    match (seccomp_supported(), listed || mode_shown) {
        (Ok(()), true) => Finding::Holds("filters by system call".to_owned()),
        (Ok(()), false) => Finding::Absent("the kernel is built without seccomp".to_owned()),
        (Err(why), _) => Finding::Absent(why),
    }
}

fn landlock() -> Finding {
    match raw::landlock_abi() {
        Ok(abi) => Finding::Holds(format!("interface {abi}")),
        Err(error) => Finding::Absent(format!("the kernel refuses it: {error}")),
    }
}

//! Who the sandbox runs as, and that it can never become more.

use std::fs;
use std::path::Path;

use nix::sys::prctl::{set_dumpable, set_no_new_privs};
use nix::unistd::{Gid, Uid, getegid, geteuid, setgroups, setresgid, setresuid};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_capabilities_secure_bits,
};

use crate::order::{Confinement, During, Failure, Order, Step};
use crate::plan::{Account, Tree};

/// More than any kernel has (41 in Linux 6.x); the set is 64 bits wide.
const MOST_CAPABILITIES: u32 = 64;

/// Maps the plan's user and group, inside the user namespace, to the core's own outside. An ordinary user may map nothing
/// else (user_namespaces(7)), and has to give up `setgroups` first.
pub(super) fn map_user(order: &Order, core: Account) -> Result<(), Failure> {
    let account = order.plan.account;
    let write = |path: &str, text: String| fs::write(path, text).during_at(Step::MapUser, Path::new(path));
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/uid_map", format!("{} {} 1", account.uid, core.uid))?;
    write("/proc/self/gid_map", format!("{} {} 1", account.gid, core.gid))
}

/// The user and group of this process, to be asked before a user namespace hides them.
pub(super) fn own_account() -> Account {
    Account { uid: geteuid().as_raw(), gid: getegid().as_raw() }
}

/// Whether this process, and so the core, may look at any other (`CAP_SYS_PTRACE`).
pub(super) fn may_trace() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_PTRACE))
}

/// Changes to the plan's user where that is possible, empties every capability set, and shuts the ways back.
///
/// Without namespaces each step is tried and its refusal ignored: the containment table is read back from the worker.
pub(super) fn drop_privileges(order: &Order) -> Result<(), Failure> {
    let strict = order.confinement.has_namespaces() || order.plan.tree == Tree::Shared;
    let check = |result: Result<(), Failure>| if strict { result } else { Ok(()) };
    check(lock_secure_bits())?;
    check(empty_bounding_set())?;
    // Not in kernels before 4.3, which then have no such set either.
    let _ = clear_ambient_capability_set();
    if order.confinement != Confinement::UserNamespace {
        check(change_user(order.plan.account, &order.groups))?;
    }
    give_up()?;
    // The worker, which has the same user, must not trace PID 1. Executing a program makes the worker dumpable again.
    set_dumpable(false).during(Step::Privileges)
}

/// The same for a process that looks around in a sandbox: nothing that is inside may get more out of it than it has.
pub(super) fn become_visitor(account: Account, groups: &[u32]) -> Result<(), Failure> {
    lock_secure_bits()?;
    empty_bounding_set()?;
    // Not in kernels before 4.3, which then have no such set either.
    let _ = clear_ambient_capability_set();
    change_user(account, groups)?;
    give_up()
}

fn give_up() -> Result<(), Failure> {
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
        .during(Step::Privileges)?;
    set_no_new_privs().during(Step::Privileges)
}

/// Keeps, of the core's privileges, the right to end the worker's processes. PID 1 of a worker without a PID namespace
/// stays another user than the worker's, which otherwise could end it first and live on.
pub(super) fn keep_only_kill() -> Result<(), Failure> {
    let kill = CapabilitySet::KILL;
    set_capabilities(None, CapabilitySets { effective: kill, permitted: kill, inheritable: CapabilitySet::empty() })
        .during(Step::Privileges)?;
    set_no_new_privs().during(Step::Privileges)?;
    set_dumpable(false).during(Step::Privileges)
}

/// User id 0 shall mean nothing, also after an exec, and no ambient capability shall be raised (capabilities(7)).
fn lock_secure_bits() -> Result<(), Failure> {
    let bits = CapabilitiesSecureBits::NO_ROOT
        | CapabilitiesSecureBits::NO_ROOT_LOCKED
        | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
        | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
    set_capabilities_secure_bits(bits).during(Step::Privileges)
}

fn empty_bounding_set() -> Result<(), Failure> {
    for number in 0..MOST_CAPABILITIES {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
            Err(rustix::io::Errno::INVAL) => break,
            other => other.during(Step::Privileges)?,
        }
    }
    Ok(())
}

fn change_user(account: Account, groups: &[u32]) -> Result<(), Failure> {
    let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
    setgroups(&groups).during(Step::Privileges)?;
    setresgid(gid, gid, gid).during(Step::Privileges)?;
    setresuid(uid, uid, uid).during(Step::Privileges)
}

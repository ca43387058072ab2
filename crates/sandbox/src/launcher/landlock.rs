//! A second lock on files: what the worker may do below which path, whatever the mounts and modes say.
//!
//! With a file tree of its own this repeats what the mounts do, which is its point. Without one it is the only thing that
//! hides the core's keys from a worker of the same user. It also keeps the worker from TCP ports and from signalling
//! anything outside, where the kernel knows how (interface 4 and 6).

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, LandlockStatus, RestrictionStatus, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, make_bitflags, path_beneath_rules,
};

use super::program::Resolved;
use crate::containment::Finding;
use crate::order::Order;
use crate::plan::{Access, Calls, Content};

/// The newest interface whose rights are used here; older kernels enforce what they know of them.
const KNOWN_INTERFACE: ABI = ABI::V6;

/// Of the host's, what the C library and processor detection read.
const HOST_READABLE: [&str; 4] = ["/etc/ld.so.cache", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu"];

/// Of the host's, what every program may use.
const HOST_DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// A path and what may be done below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Allowance {
    pub path: PathBuf,
    pub grant: Grant,
}

/// What may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grant {
    Read,
    Execute,
    ReadWrite,
    /// Everything but making device nodes: the tree is the worker's own.
    Own,
    /// The same for what is made anew, but nothing that is there already is written to: around folders that are `Own`.
    Frame,
    Device(Access),
}

impl Grant {
    fn rights(self) -> BitFlags<AccessFs> {
        let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
        match self {
            Self::Read => read,
            Self::Execute => read | AccessFs::Execute,
            Self::ReadWrite => {
                AccessFs::from_all(KNOWN_INTERFACE) & !make_bitflags!(AccessFs::{Execute | MakeChar | MakeBlock})
            }
            Self::Own => AccessFs::from_all(KNOWN_INTERFACE) & !make_bitflags!(AccessFs::{MakeChar | MakeBlock}),
            Self::Frame => Self::Own.rights() & !make_bitflags!(AccessFs::{WriteFile | Truncate | IoctlDev}),
            Self::Device(Access::ReadOnly) => make_bitflags!(AccessFs::{ReadFile | IoctlDev}),
            Self::Device(Access::ReadWrite) => make_bitflags!(AccessFs::{ReadFile | WriteFile | IoctlDev}),
        }
    }
}

/// What a worker that shares the host's file tree needs of it.
pub(super) fn of_host(order: &Order, program: &Resolved) -> Vec<Allowance> {
    let plan = &order.plan;
    let allow = |path: &Path, grant| Allowance { path: path.to_owned(), grant };
    let mut allowances: Vec<Allowance> = program.needs.iter().map(|path| allow(path, Grant::Execute)).collect();
    allowances.extend(HOST_READABLE.map(|path| allow(Path::new(path), Grant::Read)));
    allowances.extend(HOST_DEVICES.map(|path| allow(Path::new(path), Grant::Device(Access::ReadWrite))));
    allowances.extend(plan.devices.iter().map(|device| allow(&device.path, Grant::Device(device.access))));
    allowances.extend(plan.binds.iter().map(|bind| {
        let grant = match (bind.access, bind.content) {
            (Access::ReadWrite, _) => Grant::ReadWrite,
            (Access::ReadOnly, Content::Code) => Grant::Execute,
            (Access::ReadOnly, Content::Data) => Grant::Read,
        };
        allow(&bind.source, grant)
    }));
    if let Some(scratch) = &order.resource_prefix {
        allowances.push(allow(scratch, Grant::Read));
        allowances.push(allow(&crate::scratch::temporary_below(scratch), Grant::ReadWrite));
    }
    allowances
}

/// Restricts this process and what it executes. Paths that do not exist are passed over: nothing is allowed there. TCP is
/// left to functions.
pub(super) fn restrict<'a>(allowances: impl Iterator<Item = &'a Allowance>, calls: Calls) -> Finding {
    match try_restrict(allowances, calls) {
        Ok(status) => describe(&status, calls),
        Err(error) => Finding::Absent(format!("the kernel refused the rules: {error}")),
    }
}

fn try_restrict<'a>(
    allowances: impl Iterator<Item = &'a Allowance>,
    calls: Calls,
) -> Result<RestrictionStatus, RulesetError> {
    let files = Ruleset::default().handle_access(AccessFs::from_all(KNOWN_INTERFACE))?;
    let handled = match calls {
        Calls::Worker => files.handle_access(AccessNet::from_all(KNOWN_INTERFACE))?,
        Calls::Function => files,
    };
    let mut rules = handled.scope(Scope::from_all(KNOWN_INTERFACE))?.create()?;
    for allowance in allowances {
        rules = rules.add_rules(path_beneath_rules([&allowance.path], allowance.grant.rights()))?;
    }
    rules.restrict_self()
}

fn describe(status: &RestrictionStatus, calls: Calls) -> Finding {
    let interface = match status.landlock {
        LandlockStatus::NotEnabled => return Finding::Absent("not enabled in this kernel".to_owned()),
        LandlockStatus::NotImplemented => {
            return Finding::Absent("not in this kernel (5.13 or later has it)".to_owned());
        }
        LandlockStatus::Available { effective_abi, .. } => effective_abi as i32,
    };
    let wanted = KNOWN_INTERFACE as i32;
    match status.ruleset {
        RulesetStatus::FullyEnforced => {
            let ports = if calls == Calls::Worker { " TCP ports," } else { "" };
            Finding::Holds(format!("files,{ports} signals (interface {interface})"))
        }
        RulesetStatus::PartiallyEnforced => {
            Finding::Holds(format!("what interface {interface} knows of the {wanted} that are used"))
        }
        RulesetStatus::NotEnforced => Finding::Absent(format!("not enforced (interface {interface})")),
    }
}

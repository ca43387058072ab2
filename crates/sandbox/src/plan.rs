//! What a worker may see and use: pure data, checked before anything runs.
//!
//! A [`Plan`] can only be had through [`Plan::new`] or deserialization, and both check it; the launcher, which runs with
//! the core's privileges, therefore never meets a path it would have to judge. Resolving names to what exists on the
//! host is not done here: the plan does no I/O.

mod check;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use check::PlanError;

/// The user and group that a worker runs as when its plan names none: Linux's overflow ids (`nobody`), which own nothing.
const UNPRIVILEGED_ID: u32 = 65_534;

/// The size of a worker's `/tmp` when its plan names none. It counts against the worker's memory limit.
const DEFAULT_TEMPORARY_BYTES: u64 = 16 << 20;

/// A checked plan. Dereferences to its [`PlanParts`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PlanParts", into = "PlanParts")]
pub struct Plan(PlanParts);

impl Plan {
    /// Checks the parts.
    ///
    /// # Errors
    /// [`PlanError`] names the first part that breaks a rule.
    pub fn new(parts: PlanParts) -> Result<Self, PlanError> {
        check::check(&parts)?;
        Ok(Self(parts))
    }
}

impl Deref for Plan {
    type Target = PlanParts;

    fn deref(&self) -> &PlanParts {
        &self.0
    }
}

impl TryFrom<PlanParts> for Plan {
    type Error = PlanError;

    fn try_from(parts: PlanParts) -> Result<Self, PlanError> {
        Self::new(parts)
    }
}

impl From<Plan> for PlanParts {
    fn from(plan: Plan) -> Self {
        plan.0
    }
}

/// The parts of a plan, to be filled in with `..PlanParts::default()`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlanParts {
    /// Names the worker in logs, as its host name and in its control group: `[a-z0-9-]`, at most 48 characters.
    pub name: String,
    /// The program to run.
    pub program: Program,
    /// Its arguments, without the program's own name.
    pub arguments: Vec<String>,
    /// Its whole environment; nothing is inherited. `AWS_GG_RESOURCE_PREFIX` is added by the launcher (B-14).
    pub environment: BTreeMap<String, String>,
    /// Files and folders of the host that appear inside.
    pub binds: Vec<Bind>,
    /// Shared libraries of the host that [`Program::This`] loads while it runs, by absolute path: their folders appear
    /// inside at the same place, and the folders in which distributions keep what they need in turn, all read-only.
    pub libraries: Vec<PathBuf>,
    /// Device nodes of the host that appear inside, at the same path.
    pub devices: Vec<Device>,
    /// The user and group of the worker. Has an effect only when the core may change its user.
    pub account: Account,
    /// More supplementary groups, beside those that binds and devices ask for.
    pub groups: Vec<GroupRule>,
    /// The most memory the worker may use, in bytes, its `/tmp` included. `None`: no limit.
    pub memory_bytes: Option<u64>,
    /// Its share of the processors.
    pub cpu: Cpu,
    /// The most processes and threads the worker may have. PID 1 counts as one; at least 3. `None`: no limit.
    pub pids: Option<u32>,
    /// The most descriptors a process of the worker may have open. `None`: the core's own limit.
    pub open_files: Option<u64>,
    /// The size of the worker's own `/tmp`, in bytes.
    pub temporary_bytes: u64,
    /// What the worker sees of the network.
    pub network: Network,
    /// What the worker may do with a listening socket that it is given.
    pub listeners: Listeners,
    /// What lies around the binds and devices.
    pub tree: Tree,
    /// Which system calls the program may make.
    pub calls: Calls,
    /// The folder that the program starts in, absolute and inside.
    pub folder: PathBuf,
}

impl Default for PlanParts {
    fn default() -> Self {
        Self {
            name: String::new(),
            program: Program::This,
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            binds: Vec::new(),
            libraries: Vec::new(),
            devices: Vec::new(),
            account: Account::default(),
            groups: Vec::new(),
            memory_bytes: None,
            cpu: Cpu::default(),
            pids: None,
            open_files: None,
            temporary_bytes: DEFAULT_TEMPORARY_BYTES,
            network: Network::None,
            listeners: Listeners::None,
            tree: Tree::Bare,
            calls: Calls::Worker,
            folder: PathBuf::from("/"),
        }
    }
}

/// What lies around the binds and devices of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tree {
    /// Nothing but what the program needs in order to run.
    #[default]
    Bare,
    /// The host's own root below a private layer that takes what is written. Only where the core runs as root.
    Host(HostTree),
    /// The host's own, with every right of the worker's user: no namespace at all, which V1 calls `NoContainer`. Each bind
    /// is a link below `AWS_GG_RESOURCE_PREFIX` (B-14). Only where the core runs as root.
    Shared,
}

/// The host's root as users' functions see it (B-13): what is written stays in the sandbox and ends with it. Mounts below
/// the root do not come along; `/proc`, `/dev`, `/run` and `/tmp` are the sandbox's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostTree {
    /// Folders of the host that are empty inside, and files that cannot be read, by absolute path without symbolic links.
    /// What does not exist is passed over.
    pub hidden: Vec<PathBuf>,
    /// How much may be written, in bytes. It counts against the worker's memory limit.
    pub writable_bytes: u64,
    /// Whether nothing may be written, but to `/tmp`, `/run`, `/dev/shm` and binds.
    #[serde(default)]
    pub read_only: bool,
}

/// A share of the processors, kept by a control group; what is not said is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cpu {
    /// Its weight against others when together they want more than there is: 1 to 10000; others have 100.
    pub weight: Option<u16>,
    /// The most it may use, in hundredths of one processor.
    pub quota: Option<u16>,
}

impl Cpu {
    /// Whether anything is said.
    pub fn is_asked(self) -> bool {
        self.weight.is_some() || self.quota.is_some()
    }
}

/// Which system calls a worker's program may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Calls {
    /// What a program needs that decodes, computes, and talks over descriptors that it was given.
    #[default]
    Worker,
    /// What users' programs need as well: sockets of the internet, modes, links, sessions, limits of their own.
    Function,
}

/// The program of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Program {
    /// The program that launches, seen inside as `/program`, with exactly the libraries that it has loaded.
    #[default]
    This,
    /// An ELF program of the host, at its own path, with the host's library folders (read-only). In a [`Tree::Host`] any
    /// program, by its path inside.
    Path(PathBuf),
}

/// A file or folder of the host that appears inside the sandbox. Mounts below a folder do not come along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bind {
    /// Absolute path on the host; symbolic links are followed as `named_by` allows.
    pub source: PathBuf,
    /// Absolute path inside; its folders are made.
    pub destination: PathBuf,
    /// What may be done with it.
    #[serde(default)]
    pub access: Access,
    /// Whether code may run from it.
    #[serde(default)]
    pub content: Content,
    /// The group it adds to the worker (B-06).
    #[serde(default)]
    pub group: GroupRule,
    /// Whose path the source is.
    #[serde(default)]
    pub named_by: NamedBy,
}

impl Bind {
    /// Data to be read and nothing else: a model, a folder of pictures.
    pub fn read_only(source: impl Into<PathBuf>, destination: impl Into<PathBuf>) -> Self {
        Self {
            source: source.into(),
            destination: destination.into(),
            access: Access::ReadOnly,
            content: Content::Data,
            group: GroupRule::None,
            named_by: NamedBy::Core,
        }
    }
}

/// Who named the source of a bind, which decides how far its path is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NamedBy {
    /// The core: the path is followed wherever it leads.
    #[default]
    Core,
    /// A group document. Symbolic links on the way count only if root or the core's user made them; a source in what the
    /// tree hides is refused, and what it hides inside the source is hidden there, too.
    Group,
}

/// A device node under `/dev` (B-03).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Absolute path on the host and inside.
    pub path: PathBuf,
    /// What may be done with it. A read-only mount does not keep anybody from writing to a device: `ReadOnly` holds
    /// through the node's own permissions and, where the kernel has it, landlock.
    #[serde(default)]
    pub access: Access,
    /// The group it adds to the worker (B-06).
    #[serde(default)]
    pub group: GroupRule,
}

/// What may be done with a bind or a device: `ro` or `rw`, as in a resource access policy (B-07).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Access {
    /// Read only. Writing to a bind fails with `EROFS`, whoever owns the file.
    #[default]
    #[serde(rename = "ro")]
    ReadOnly,
    /// Read and write, as far as the worker's user and groups allow.
    #[serde(rename = "rw")]
    ReadWrite,
}

/// Whether code may run from a bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// Mounted `noexec`.
    #[default]
    Data,
    /// A program or a shared library.
    Code,
}

/// The group that a resource adds to the worker's supplementary groups (B-06, B-15).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupRule {
    /// None.
    #[default]
    None,
    /// `AutoAddGroupOwner`: the group that owns the source on the host.
    OwnerOfSource,
    /// `GroupOwner` of a local resource: a group of the host by name.
    Name(String),
    /// `GroupOwner` of a machine learning resource: a group id.
    Id(u32),
}

/// A user and a group of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Default for Account {
    fn default() -> Self {
        Self { uid: UNPRIVILEGED_ID, gid: UNPRIVILEGED_ID }
    }
}

/// What a worker sees of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// A network namespace of its own, in which even the loopback interface is down.
    #[default]
    None,
    /// The host's. The system calls of a [`Calls::Worker`] are still limited to Unix sockets.
    Host,
}

/// What a worker may do with a listening socket that it is given. It can never make one: connections come in through a
/// socket that the core has bound, and nothing goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Listeners {
    /// Nothing.
    #[default]
    None,
    /// Take connections from it, also from within a network namespace of its own.
    Accept,
}

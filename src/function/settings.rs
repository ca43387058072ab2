//! Everything that running a function takes, from the group document and the host.

use std::path::PathBuf;

use margay_sandbox::Account;

use super::code::Places;
use crate::credentials::Lease;
use crate::group::{Function, IsolationMode, LEAST_MEMORY, LogLevel, Resource};

/// A function as it is to run. Two that are equal are the same function: a deployment lets it go on.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// What the group document says of it.
    pub function: Function,
    /// The folder of its code.
    pub code: PathBuf,
    /// The resources that are attached to it.
    pub resources: Vec<Attached>,
    /// Whom it runs as, where the core may change its user.
    pub account: Account,
    /// What the core says to every function of it: the region, the thing, the group.
    pub environment: Vec<(&'static str, String)>,
    /// Files and folders of the host that no function may see.
    pub hidden: Vec<PathBuf>,
    /// The modules of [`super::install_modules`], on the host.
    pub modules: PathBuf,
    /// Its log.
    pub log: PathBuf,
    /// The disk that its log may take, in bytes.
    pub log_space: u64,
    /// What is below this level is not logged.
    pub log_level: LogLevel,
}

/// A resource that is attached to a function.
#[derive(Debug, Clone, PartialEq)]
pub struct Attached {
    /// What the group document says of it.
    pub resource: Resource,
    /// Whether the function may write to it.
    pub writable: bool,
    /// Where its files are, if it is a model package that is installed.
    pub package: Option<PathBuf>,
}

/// What a function is started with to reach the core, drawn anew at each start of the function.
#[derive(Debug, Clone)]
pub(super) struct Access {
    /// Its way to credentials, and the token that it shows the daemon interface.
    pub(super) lease: Lease,
}

/// The memory of a function that names none; V1's default is 16 MB.
const DEFAULT_MEMORY: u64 = 16 << 20;

impl Settings {
    /// Its ARN.
    pub fn arn(&self) -> &str {
        self.function.arn.as_str()
    }

    /// Whether it runs in a container.
    pub fn is_contained(&self) -> bool {
        self.function.isolation == IsolationMode::GreengrassContainer
    }

    /// Where it finds code.
    pub fn places(&self) -> Places {
        if self.is_contained() {
            return Places::contained();
        }
        Places { code: self.code.clone(), modules: self.modules.clone() }
    }

    /// Its memory limit, in bytes; none without a container.
    pub fn memory_limit(&self) -> Option<u64> {
        let memory = match self.function.memory {
            None => DEFAULT_MEMORY,
            // The group document's reader has said so.
            Some(memory) if memory.bytes() < LEAST_MEMORY => memory.bytes() * 1024,
            Some(memory) => memory.bytes(),
        };
        self.is_contained().then_some(memory)
    }
}

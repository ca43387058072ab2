//! `runtime`: V1's settings of the daemon.

use std::time::Duration;

use crate::document::{Object, Unknown};

/// V1's default of `maxWorkItemCount`.
const WORK_ITEMS: u64 = 1024;
/// More could not be held in memory by any core.
const WORK_ITEMS_LIMIT: u64 = 1_000_000;
/// V1's default of `postStartHealthCheckTimeout`, in milliseconds.
const HEALTH_CHECK_MS: u64 = 30_000;

/// V1's settings of the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    /// Work items that wait at most; more are ignored (`maxWorkItemCount`).
    pub max_work_item_count: usize,
    /// How long a start may take until it counts as failed (`postStartHealthCheckTimeout`).
    pub health_check_timeout: Duration,
    /// Whether systemd owns the control groups (`cgroup.useSystemd`); found out if not said.
    pub use_systemd: Option<bool>,
    /// Whether a function may run with user or group 0 (`allowFunctionsToRunAsRoot`).
    pub allow_functions_to_run_as_root: bool,
}

impl Runtime {
    pub(super) fn read(mut runtime: Object<'_>) -> Self {
        let work_items = runtime.field("maxWorkItemCount").integer(1..=WORK_ITEMS_LIMIT, "items");
        let health_check =
            runtime.field("postStartHealthCheckTimeout").integer(1..=u64::from(u32::MAX), "milliseconds");
        let mut cgroup = runtime.field("cgroup").section();
        let use_systemd = cgroup.field("useSystemd").yes_no();
        cgroup.finish(Unknown::Warn);
        let as_root = runtime.field("allowFunctionsToRunAsRoot").yes_no();
        runtime.finish(Unknown::Warn);
        Self {
            max_work_item_count: usize::try_from(work_items.unwrap_or(WORK_ITEMS)).unwrap_or(usize::MAX),
            health_check_timeout: Duration::from_millis(health_check.unwrap_or(HEALTH_CHECK_MS)),
            use_systemd,
            allow_functions_to_run_as_root: as_root.unwrap_or(false),
        }
    }
}

//! Limits that the process carries itself (setrlimit(2)).

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::order::{During, Failure, Order, Step};

/// Sets the plan's limits. Never above the hard limit that the core itself has.
pub(super) fn apply(order: &Order) -> Result<(), Failure> {
    // A core file would hold pictures and the model, and would be written outside the sandbox.
    lower(Resource::RLIMIT_CORE, 0)?;
    let limits = [
        (Resource::RLIMIT_NOFILE, order.plan.open_files),
        (Resource::RLIMIT_DATA, order.process_limits.data),
        (Resource::RLIMIT_NPROC, order.process_limits.processes),
    ];
    for (resource, limit) in limits {
        if let Some(limit) = limit {
            lower(resource, limit)?;
        }
    }
    Ok(())
}

fn lower(resource: Resource, limit: u64) -> Result<(), Failure> {
    let (_, hard) = getrlimit(resource).during(Step::Limits)?;
    // The type is 32 bits wide on a 32-bit system; a limit that does not fit is none.
    let limit = limit.try_into().unwrap_or(hard).min(hard);
    setrlimit(resource, limit, limit).during(Step::Limits)
}

//! Limits that the process carries itself (setrlimit(2)).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::order::{During, Failure, Order, Step};

/// Sets the plan's limits. Never above the hard limit that the core itself has.
pub(super) fn apply(order: &Order) -> Result<(), Failure> {
    let limits = [
        // A core file would hold pictures and the model, and would be written outside the sandbox.
        (Resource::Core, Some(0)),
        (Resource::Nofile, order.plan.open_files),
        (Resource::Data, order.process_limits.data),
        (Resource::Nproc, order.process_limits.processes),
    ];
    for (resource, limit) in limits {
        if let Some(limit) = limit {
            let limit = getrlimit(resource).maximum.map_or(limit, |hard| limit.min(hard));
            setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) }).during(Step::Limits)?;
        }
    }
    Ok(())
}

//! Limits that the process carries itself (setrlimit(2)).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::order::{During, Failure, Order, Step};

/// Sets the limits of the whole sandbox.
pub(super) fn apply(order: &Order) -> Result<(), Failure> {
    // A core file would hold pictures and the model, and would be written outside the sandbox.
    lower(Resource::Core, Some(0))?;
    // Real time and a higher priority would take the processor from the core and its classifiers.
    lower(Resource::Rtprio, Some(0))?;
    lower(Resource::Nice, Some(0))?;
    lower(Resource::Data, order.process_limits.data)?;
    lower(Resource::Nproc, order.process_limits.processes)
}

/// Sets the limit on descriptors, when those that may lie above it have been placed.
pub(super) fn limit_open_files(limit: Option<u64>) -> Result<(), Failure> {
    lower(Resource::Nofile, limit)
}

/// Never above the hard limit that the core itself has.
fn lower(resource: Resource, limit: Option<u64>) -> Result<(), Failure> {
    let Some(limit) = limit else { return Ok(()) };
    let limit = getrlimit(resource).maximum.map_or(limit, |hard| limit.min(hard));
    setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) }).during(Step::Limits)
}

//! Functions of the group, and the machine learning connectors that serve them.

use super::catalogue as is;
use crate::app::status::CoreStatus;
use crate::function::{FunctionState, FunctionStatus, FunctionWorker};
use crate::metrics::Exposition;

/// Every state, so that each shows as 0 or 1.
const STATES: [(FunctionState, &str); 5] = [
    (FunctionState::Ready, "ready"),
    (FunctionState::Running, "running"),
    (FunctionState::Waiting, "waiting"),
    (FunctionState::CrashLoop, "crash_loop"),
    (FunctionState::Broken, "broken"),
];

pub(super) fn functions(text: &mut Exposition, status: &CoreStatus) {
    let all: Vec<(&str, &FunctionStatus)> =
        status.functions.iter().map(|function| (label(&function.arn), function)).collect();
    let mut states = text.family(&is::FUNCTION_STATE);
    for (name, function) in &all {
        for (state, called) in STATES {
            states.count(&[name, called], u64::from(function.state == state));
        }
    }
    let mut workers = text.family(&is::FUNCTION_WORKERS);
    for (name, function) in &all {
        workers.count(&[name], function.workers.len() as u64);
    }
    let mut memory = text.family(&is::FUNCTION_MEMORY);
    for (name, function) in &all {
        memory.count(&[name], function.workers.iter().filter_map(|worker| worker.memory).sum());
    }
    let mut refused = text.family(&is::FUNCTION_PROCESSES_REFUSED);
    for (name, function) in &all {
        refused.count(&[name], function.workers.iter().map(|worker: &FunctionWorker| worker.refused_processes).sum());
    }
    let mut invocations = text.family(&is::FUNCTION_INVOCATIONS);
    for (name, function) in &all {
        invocations
            .count(&[name, "succeeded"], function.succeeded)
            .count(&[name, "failed"], function.failed.saturating_sub(function.timed_out))
            .count(&[name, "timed_out"], function.timed_out)
            .count(&[name, "refused"], function.refused);
    }
    let mut starts = text.family(&is::FUNCTION_STARTS);
    for (name, function) in &all {
        starts.count(&[name], function.starts);
    }
    let mut crashes = text.family(&is::FUNCTION_CRASHES);
    for (name, function) in &all {
        crashes
            .count(&[name, "out_of_memory"], function.out_of_memory)
            .count(&[name, "other"], function.crashes.saturating_sub(function.out_of_memory));
    }
}

pub(super) fn connectors(text: &mut Exposition, status: &CoreStatus) {
    let mut requests = text.family(&is::SERVICE_REQUESTS);
    for service in &status.services {
        requests
            .count(&[&service.name, "answered"], service.answered)
            .count(&[&service.name, "refused"], service.refused)
            .count(&[&service.name, "timed_out"], service.timed_out)
            .count(&[&service.name, "failed"], service.failed)
            .count(&[&service.name, "busy"], service.busy);
    }
    let mut starts = text.family(&is::SERVICE_STARTS);
    for service in &status.services {
        starts.count(&[&service.name], service.starts);
    }
    let mut samples = text.family(&is::FEEDBACK_SAMPLES);
    if let Some(feedback) = &status.feedback {
        samples
            .count(&["uploaded"], feedback.uploaded)
            .count(&["not_used"], feedback.not_used)
            .count(&["throttled"], feedback.throttled)
            .count(&["failed"], feedback.failed)
            .count(&["dropped"], feedback.dropped);
    }
    let mut waiting = text.family(&is::FEEDBACK_WAITING);
    if let Some(feedback) = &status.feedback {
        waiting.count(&[], feedback.waiting);
    }
    let mut bytes = text.family(&is::FEEDBACK_BYTES);
    if let Some(feedback) = &status.feedback {
        bytes.count(&[], feedback.waiting_bytes);
    }
}

/// Name and version, which tell the functions of a group apart.
fn label(arn: &str) -> &str {
    arn.split_once(":function:").map_or(arn, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_called_by_name_and_version_and_its_states_as_the_status_calls_them() {
        assert_eq!(label("arn:aws:lambda:eu-central-1:123456789012:function:count:1"), "count:1");
        for (state, called) in STATES {
            assert_eq!(serde_json::to_value(state).unwrap(), called);
        }
    }
}

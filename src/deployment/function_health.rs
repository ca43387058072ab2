//! Whether the functions of a group that has just been activated stay up: a long-lived one that ends again and again
//! without having done anything is the new group's fault, unless it did so before.

use std::collections::BTreeSet;

use crate::function::{FunctionState, FunctionStatus};

/// Watches functions from a group's activation on.
#[derive(Debug)]
pub(super) struct FunctionWatch {
    /// Those that crashed in the group before.
    excused: BTreeSet<String>,
}

impl FunctionWatch {
    /// Watches functions that stood like this in the group `before`.
    pub(super) fn after(before: &[FunctionStatus]) -> Self {
        let crashed = before.iter().filter(|function| function.state == FunctionState::CrashLoop);
        Self { excused: crashed.map(|function| function.arn.clone()).collect() }
    }

    /// What is wrong with a function as they stand `now`.
    pub(super) fn judge(&self, now: &[FunctionStatus]) -> Option<String> {
        let crashing = |function: &&FunctionStatus| {
            function.pinned && function.state == FunctionState::CrashLoop && !self.excused.contains(&function.arn)
        };
        let function = now.iter().find(crashing)?;
        let reason = function.last_error.as_deref().unwrap_or("it did not say why");
        Some(format!(
            "function {}: it ended {} times without having done anything: {reason}",
            function.arn, function.crashes
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(arn: &str, pinned: bool, state: &str) -> FunctionStatus {
        let status = serde_json::json!({"arn": arn, "state": state, "pinned": pinned, "workers": [], "succeeded": 0,
            "failed": 0, "timed_out": 0, "refused": 0, "starts": 5, "crashes": 5, "out_of_memory": 0,
            "last_error": "exited with code 3"});
        serde_json::from_value(status).expect("a status")
    }

    #[test]
    fn only_a_long_lived_function_that_begins_to_crash_is_held_against_the_group() {
        let watch = FunctionWatch::after(&[function("a", true, "crash_loop"), function("b", true, "running")]);
        let crashing = [function("a", true, "crash_loop"), function("b", true, "crash_loop")];
        let why = watch.judge(&crashing).expect("b");
        assert!(why.contains("function b") && why.contains("5 times") && why.contains("code 3"), "{why}");
        assert_eq!(watch.judge(&crashing[..1]), None, "it crashed before");
        assert_eq!(watch.judge(&[function("c", false, "crash_loop"), function("d", true, "broken")]), None);
    }
}

//! The fuzz target for group documents: any bytes, read as `group.json` is. A fuzzer, a kept corpus or a test that
//! mutates documents calls it.

use super::check_group;
use crate::problem::{Problem, Problems};

/// More than a document has rules to break; the list of problems is bounded where it is collected.
const PROBLEMS: usize = 1000;

/// Reads `bytes` as a group document with its connectors. Returns whether it can be deployed.
///
/// # Panics
/// Where it is refused without an error, accepted with one, or where a problem names no rule, no remedy or no place, or
/// cannot be read.
pub fn fuzz_group_document(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let outcome = check_group(&text, None);
    let problems: &Problems = match &outcome {
        Ok(accepted) => &accepted.warnings,
        Err(problems) => problems,
    };
    assert_eq!(problems.refuse(), outcome.is_err(), "an error and nothing else refuses");
    assert!(problems.iter().count() <= PROBLEMS, "the list of problems is bounded");
    problems.iter().for_each(assert_readable);
    outcome.is_ok()
}

fn assert_readable(problem: &Problem) {
    assert!(!problem.rule.is_empty() && !problem.hint.is_empty(), "{problem:?}");
    let of_the_whole = ["is ", "has "].iter().any(|start| problem.rule.starts_with(start));
    assert!(!problem.path.is_empty() || of_the_whole, "no place: {problem:?}");
    let line = problem.to_string();
    assert!(line.len() < 4096 && !line.chars().any(char::is_control), "{line:?}");
}

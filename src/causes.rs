//! An error and its causes in words.

/// An error and its causes in one line, for a log, a status, or a message that crosses a process boundary.
pub fn explain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

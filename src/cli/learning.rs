//! The machine learning connectors in `margay status`.

use crate::feedback::FeedbackStatus;
use crate::inference_service::ServiceStatus;

/// The counts that are not zero, and the first in any case.
fn counts(all: &[(u64, &str)]) -> String {
    let shown = all.iter().enumerate().filter(|(place, (count, _))| *place == 0 || *count > 0);
    shown.map(|(_, (count, what))| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
}

/// What a local inference service does.
pub(super) fn service_lines(service: &ServiceStatus) -> Vec<String> {
    let ServiceStatus { name, engine, answered, refused, timed_out, failed, busy, starts, .. } = service;
    let said = counts(&[
        (*answered, "answered"),
        (*refused, "refused"),
        (*timed_out, "timed out"),
        (*failed, "failed"),
        (*busy, "turned away"),
        (starts.saturating_sub(1), "restarts"),
    ]);
    let engine = engine.as_deref().unwrap_or("no worker");
    let mut lines = vec![format!("service      {name}: {said}; {engine}")];
    lines.extend(service.last_error.iter().map(|error| format!("             the last error: {error}")));
    lines
}

/// What becomes of samples.
pub(super) fn feedback_lines(feedback: &FeedbackStatus) -> Vec<String> {
    let said = counts(&[
        (feedback.uploaded, "uploaded"),
        (feedback.not_used, "not used"),
        (feedback.throttled, "throttled"),
        (feedback.failed, "failed"),
        (feedback.dropped, "dropped for want of room"),
        (feedback.waiting, "waiting"),
    ]);
    let bytes = if feedback.waiting > 0 { format!(" with {} bytes", feedback.waiting_bytes) } else { String::new() };
    let mut lines = vec![format!("feedback     {said}{bytes}")];
    lines.extend(feedback.trouble.iter().map(|trouble| format!("             samples wait: {trouble}")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_said_and_what_did_not_is_not() {
        let mut feedback = FeedbackStatus { uploaded: 2, waiting: 3, waiting_bytes: 4096, ..FeedbackStatus::default() };
        feedback.trouble = Some("no network".to_owned());
        let expected = ["feedback     2 uploaded, 3 waiting with 4096 bytes", "             samples wait: no network"];
        assert_eq!(feedback_lines(&feedback), expected);
        assert_eq!(feedback_lines(&FeedbackStatus::default()), ["feedback     0 uploaded"]);
    }
}

//! How the connector stands: what became of requests and samples, and what waits.

use std::sync::PoisonError;

use serde::{Deserialize, Serialize};

use super::Feedback;
use crate::metrics::Counter;

/// What became of samples since the core started: received = uploaded + not used + throttled + failed + dropped +
/// what waits now, less what waited at the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedbackStatus {
    /// The connector of the group that runs; `None` where it has none and samples of an earlier one wait.
    pub connector: Option<String>,
    /// Requests.
    pub received: u64,
    /// Samples that S3 has.
    pub uploaded: u64,
    /// Those that the strategy did not choose.
    pub not_used: u64,
    /// Requests beyond the limit.
    pub throttled: u64,
    /// Samples that S3 or the disk refused.
    pub failed: u64,
    /// Samples for which there was no room, or none any more.
    pub dropped: u64,
    /// Samples that wait on the disk.
    pub waiting: u64,
    /// What these count for.
    pub waiting_bytes: u64,
    /// What keeps them from being uploaded, or kept.
    pub trouble: Option<String>,
}

/// What became of requests and samples since the core started.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) received: Counter,
    pub(super) uploaded: Counter,
    pub(super) not_used: Counter,
    pub(super) throttled: Counter,
    pub(super) failed: Counter,
    pub(super) dropped: Counter,
}

impl Feedback {
    /// How it stands; `None` where the group has no connector and nothing waits.
    pub fn status(&self) -> Option<FeedbackStatus> {
        let settings = self.0.settings.read().unwrap_or_else(PoisonError::into_inner).clone();
        let trouble = self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Held until all is read, so that a sample that is given up is counted once.
        let shelf = self.shelf();
        let (waiting, waiting_bytes, broken) = match shelf.as_ref() {
            Ok(shelf) => (shelf.len() as u64, shelf.bytes(), None),
            Err(why) => (0, 0, Some(why.clone())),
        };
        if settings.is_none() && waiting == 0 {
            return None;
        }
        let counts = &self.0.counts;
        Some(FeedbackStatus {
            connector: settings.map(|settings| settings.arn.to_string()),
            received: counts.received.get(),
            uploaded: counts.uploaded.get(),
            not_used: counts.not_used.get(),
            throttled: counts.throttled.get(),
            failed: counts.failed.get(),
            dropped: counts.dropped.get(),
            waiting,
            waiting_bytes,
            trouble: broken.or(trouble),
        })
    }
}

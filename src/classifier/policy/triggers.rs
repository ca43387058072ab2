//! Requests for one message each: who asks waits for the first frame that is captured after the request came.

use std::collections::VecDeque;
use std::time::Duration;

/// Requests that wait at a time; more are refused.
pub const MAX_TRIGGERS: usize = 16;

/// The longest id, in characters.
pub const MAX_TRIGGER_ID: usize = 128;

/// A request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trigger {
    /// What the answer repeats, 1 to [`MAX_TRIGGER_ID`] characters, if who asks gave anything.
    pub id: Option<String>,
}

/// Why a request is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TriggerError {
    /// As many wait as may.
    #[error("{MAX_TRIGGERS} requests wait for a frame already; ask again when they are answered")]
    TooMany,
    /// The classifier has been shut down.
    #[error("the classifier has been shut down")]
    ShutDown,
}

/// Those that wait, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Triggers(VecDeque<(Duration, Trigger)>);

impl Triggers {
    pub(super) fn ask(&mut self, trigger: Trigger, now: Duration) -> Result<(), TriggerError> {
        if self.0.len() >= MAX_TRIGGERS {
            return Err(TriggerError::TooMany);
        }
        self.0.push_back((now, trigger));
        Ok(())
    }

    /// Whether a frame captured at `captured` answers any.
    pub(super) fn any_for(&self, captured: Duration) -> bool {
        self.0.front().is_some_and(|(asked, _)| *asked <= captured)
    }

    /// Those that a frame captured at `captured` answers: all, or `one_only`.
    pub(super) fn answer(&mut self, captured: Duration, one_only: bool) -> Vec<Trigger> {
        let mut answered = Vec::new();
        while (!one_only || answered.is_empty())
            && self.any_for(captured)
            && let Some((_, trigger)) = self.0.pop_front()
        {
            answered.push(trigger);
        }
        answered
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

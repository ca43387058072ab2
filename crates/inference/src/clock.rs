//! The clock behind the stage timings: monotonic, injected, never a calendar.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Time elapsed since some fixed moment; it never goes backwards.
pub trait MonotonicClock: Debug + Send {
    /// Time since the clock's own beginning.
    fn now(&self) -> Duration;
}

/// `CLOCK_MONOTONIC`, counted from the creation of this value.
#[derive(Debug, Clone, Copy)]
pub struct ProcessClock {
    start: Instant,
}

impl ProcessClock {
    /// A clock that begins now.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }
}

impl MonotonicClock for ProcessClock {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

//! Progress of long work on one line of the terminal; silent where nobody looks.

use std::io::Write;
use std::time::{Duration, Instant};

use super::output;

/// No more often than this is the line redrawn.
const INTERVAL: Duration = Duration::from_millis(100);

/// A line that is redrawn in place.
#[derive(Debug)]
pub(super) struct Progress {
    shown: bool,
    drawn: Option<Instant>,
}

impl Progress {
    /// A line on standard error, if that is a terminal.
    pub(super) fn new() -> Self {
        Self { shown: output::is_watched(), drawn: None }
    }

    /// Redraws the line with `text`.
    pub(super) fn show(&mut self, text: &str) {
        if !self.shown || self.drawn.is_some_and(|drawn| drawn.elapsed() < INTERVAL) {
            return;
        }
        self.drawn = Some(Instant::now());
        let _ = write!(std::io::stderr().lock(), "\r\x1b[2K{text}");
    }

    /// Clears the line.
    pub(super) fn clear(&mut self) {
        if self.drawn.take().is_some() {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[2K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

//! What is measured, and the text in which Prometheus reads it (exposition format 0.0.4).
//!
//! The writer is ours: the format is a dozen lines to write, most of what is exported is read from its owners at the
//! moment of asking rather than registered in advance, and the crate that is kept best, `prometheus-client`, writes
//! OpenMetrics only. Prometheus' own parser reads it back in `tests/promises/metrics.rs`.
//!
//! It knows no metric by name and does no I/O; `app` has the catalogue and serves it.

mod counter;
mod exposition;
mod histogram;

pub use counter::Counter;
pub use exposition::{CONTENT_TYPE, Exposition, Samples};
pub use histogram::Histogram;

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, until the core starts anew.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Durations, counted by upper bounds.
    Histogram,
}

impl Kind {
    /// The word for it after `# TYPE`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric with all its labels' values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// Its name, unit included.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// Its labels, in the order in which their values are given.
    pub labels: &'static [&'static str],
    /// What it says, in a line.
    pub help: &'static str,
}

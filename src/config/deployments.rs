//! `margay.deployments`: how careful a core is with a new group.

use std::time::Duration;

use crate::document::{Object, Unknown};

/// `healthWindowSeconds` by default: a worker that runs out of memory has mostly done so by then.
const HEALTH_WINDOW: Duration = Duration::from_secs(60);

/// An hour is longer than anybody waits for a deployment.
const LONGEST_WINDOW: u64 = 3600;

/// How careful a core is with a new group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deployments {
    /// How long a new group must be well before it is confirmed (`healthWindowSeconds`); 0 confirms it at once.
    pub health_window: Duration,
}

impl Deployments {
    pub(super) fn read(mut section: Object<'_>) -> Self {
        let window = section.field("healthWindowSeconds").integer(0..=LONGEST_WINDOW, "seconds");
        section.finish(Unknown::Refuse);
        Self { health_window: window.map_or(HEALTH_WINDOW, Duration::from_secs) }
    }
}

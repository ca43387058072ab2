//! `margay.jobs`: deployments by AWS IoT Jobs.

use crate::document::{Object, Unknown};

/// What Jobs takes as a step timeout, in minutes.
const STEP_TIMEOUTS: std::ops::RangeInclusive<u64> = 1..=10_080;
/// An hour: a core without a network for longer is not there.
const STEP_TIMEOUT: u16 = 60;

/// How the core takes part in AWS IoT Jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jobs {
    /// Minutes after which the cloud gives a job in progress up of which it hears nothing (`stepTimeoutInMinutes`).
    pub step_timeout: u16,
}

impl Jobs {
    /// `None` unless `enabled` is `true`: a device's policy of V1 does not allow the topics of Jobs.
    pub(super) fn read(mut section: Object<'_>) -> Option<Self> {
        let enabled = section.field("enabled").boolean().unwrap_or(false);
        let step_timeout = section.field("stepTimeoutInMinutes").integer(STEP_TIMEOUTS, "minutes");
        section.finish(Unknown::Refuse);
        let step_timeout = step_timeout.and_then(|minutes| u16::try_from(minutes).ok()).unwrap_or(STEP_TIMEOUT);
        enabled.then_some(Self { step_timeout })
    }
}

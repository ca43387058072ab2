//! The cloud's own time: the machine's, plus an offset that tests set. Expiry, the skew of signatures and the `Date`
//! header follow it; TLS does not, because certificates are checked by the machine's clock on both sides.

use std::sync::{Arc, Mutex};

use time::{Duration, OffsetDateTime};

use crate::lock::lock;

/// A clock shared by all services of one cloud.
#[derive(Debug, Clone, Default)]
pub(crate) struct CloudClock {
    offset: Arc<Mutex<Duration>>,
}

impl CloudClock {
    /// The time the cloud believes it is.
    pub(crate) fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc() + *lock(&self.offset)
    }

    /// Moves the cloud's time to the machine's plus `offset`.
    pub(crate) fn set_offset(&self, offset: Duration) {
        *lock(&self.offset) = offset;
    }
}

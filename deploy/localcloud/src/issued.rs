//! The temporary credentials that were handed out, so that S3 can tell its own from strangers'.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use time::OffsetDateTime;

use crate::error::CloudError;
use crate::lock::lock;
use crate::random;

/// How many credentials are remembered; the oldest are forgotten, and then unknown to S3.
const REMEMBERED: usize = 4096;

/// Length of a session token before Base64. AWS's are of this order, and clients have been known to cut them off.
const TOKEN_BYTES: usize = 600;

/// One set of temporary credentials.
pub(crate) struct IssuedCredential {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
    pub(crate) session_token: String,
    pub(crate) expires: OffsetDateTime,
}

impl fmt::Debug for IssuedCredential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("IssuedCredential")
            .field("access_key_id", &self.access_key_id)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// All credentials of one cloud; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct IssuedCredentials {
    all: Arc<Mutex<VecDeque<Arc<IssuedCredential>>>>,
    /// Handed out instead of own ones.
    foreign: Arc<Mutex<Option<Arc<IssuedCredential>>>>,
}

impl IssuedCredentials {
    /// Makes credentials that expire `lifetime` after `now`.
    pub(crate) fn issue(&self, now: OffsetDateTime, lifetime: Duration) -> Result<Arc<IssuedCredential>, CloudError> {
        if let Some(foreign) = lock(&self.foreign).clone() {
            return Ok(foreign);
        }
        let credential = Arc::new(IssuedCredential {
            access_key_id: format!("ASIA{}", random::key_characters(16)?),
            secret_access_key: random::base64_of(30, "a secret access key")?,
            session_token: random::base64_of(TOKEN_BYTES, "a session token")?,
            expires: (now + lifetime).replace_nanosecond(0).unwrap_or(now),
        });
        let mut all = lock(&self.all);
        if all.len() == REMEMBERED {
            all.pop_front();
        }
        all.push_back(Arc::clone(&credential));
        Ok(credential)
    }

    pub(crate) fn find(&self, access_key_id: &str) -> Option<Arc<IssuedCredential>> {
        lock(&self.all).iter().rev().find(|credential| credential.access_key_id == access_key_id).cloned()
    }

    /// Makes the provider hand out `credential` from now on, which another service has issued and this one takes too.
    pub(crate) fn hand_out(&self, credential: IssuedCredential) {
        let credential = Arc::new(credential);
        lock(&self.all).push_back(Arc::clone(&credential));
        *lock(&self.foreign) = Some(credential);
    }

    /// Forgets everything that was handed out, as if the role had been deleted.
    pub(crate) fn forget_all(&self) {
        lock(&self.all).clear();
    }
}

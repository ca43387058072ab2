//! Temporary AWS credentials for the device certificate: fetched from the AWS IoT credentials provider, kept in memory
//! only, renewed ahead of expiry, and handed to functions by the token exchange endpoint (B-11).
//!
//! Expiry is counted on CLOCK_BOOTTIME from the provider's own `Date`, so a wrong system clock neither keeps dead
//! credentials nor throws good ones away. Credentials that are still valid are served while the provider is down, and
//! a provider that refuses is asked again only after a pause that fits the refusal.
//!
//! Refuses to write a secret anywhere but a function's own token into that function's own file. Serves [`s3`](crate::s3) and the functions' AWS SDKs.

mod answer;
pub mod diagnosis;
mod error;
mod lease;
pub mod namespace;
mod provider;
mod roles;
mod state;
pub mod token_exchange;
mod tokens;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use time::OffsetDateTime;

use crate::secret::Secret;
pub use error::{CredentialsError, Refusal};
pub use lease::{Lease, TokenFileError};
pub use provider::{CredentialsProvider, ProviderSettings, ProviderState};
pub use roles::Roles;
pub use tokens::{MAX_HOLDERS, TokenError, TokenRegistry};

/// Temporary credentials of the role behind the role alias.
#[derive(Clone)]
pub struct Credentials {
    /// The access key's id; not a secret, it stands in every signed request.
    pub access_key_id: String,
    /// Signs requests.
    pub secret_access_key: Secret,
    /// Proves that the key is temporary and for whom.
    pub session_token: Secret,
    /// The end of their life, as the provider wrote it.
    pub expiration: OffsetDateTime,
    /// The end of their life on CLOCK_BOOTTIME.
    pub expires_at: Duration,
}

impl Credentials {
    /// Whether they are still valid at `boottime`.
    pub fn is_valid_at(&self, boottime: Duration) -> bool {
        boottime < self.expires_at
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &self.access_key_id)
            .field("expiration", &self.expiration)
            .finish_non_exhaustive()
    }
}

//! Who may ask the token exchange endpoint: one token of 256 bits for each function or connector.
//!
//! The registry keeps only SHA-256 digests of its tokens. A presented token's digest is compared with all of them in a
//! time that depends on their number alone.

use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::secret::Secret;

/// The most holders at one time; a group has at most this many functions and connectors together.
pub const MAX_HOLDERS: usize = 256;

/// Why no token could be issued.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The kernel gave no random bytes.
    #[error("drawing random bytes for the token of {holder}")]
    NoRandomness {
        /// Whom the token was for.
        holder: String,
        /// What the kernel said.
        #[source]
        source: getrandom::Error,
    },
    /// Too many tokens are out.
    #[error("issuing a token for {holder}: {MAX_HOLDERS} holders already have one")]
    TooMany {
        /// Whom the token was for.
        holder: String,
    },
}

#[derive(Debug)]
struct Holder {
    digest: [u8; 32],
    name: String,
}

/// The tokens that are out, and who holds them.
#[derive(Debug, Default)]
pub struct TokenRegistry {
    holders: Mutex<Vec<Holder>>,
}

impl TokenRegistry {
    /// No tokens.
    pub fn new() -> Self {
        Self::default()
    }

    /// Issues a token for `holder` (a function or connector ARN); a token it had before is revoked.
    ///
    /// # Errors
    /// When the kernel gives no random bytes, or [`MAX_HOLDERS`] tokens are out.
    pub fn issue(&self, holder: &str) -> Result<Secret, TokenError> {
        let mut random = [0; 32];
        getrandom::fill(&mut random)
            .map_err(|source| TokenError::NoRandomness { holder: holder.to_owned(), source })?;
        let token = random.iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        });
        let mut holders = self.holders();
        holders.retain(|known| known.name != holder);
        if holders.len() >= MAX_HOLDERS {
            return Err(TokenError::TooMany { holder: holder.to_owned() });
        }
        holders.push(Holder { digest: digest(&token), name: holder.to_owned() });
        Ok(Secret::new(token))
    }

    /// Revokes the token of `holder`, if it has one.
    pub fn revoke(&self, holder: &str) {
        self.holders().retain(|known| known.name != holder);
    }

    /// Who holds `token`.
    pub fn holder_of(&self, token: &str) -> Option<String> {
        let presented = digest(token);
        let mut found = None;
        for holder in self.holders().iter() {
            if bool::from(holder.digest.ct_eq(&presented)) {
                found = Some(holder.name.clone());
            }
        }
        found
    }

    fn holders(&self) -> MutexGuard<'_, Vec<Holder>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_holder_has_one_token_of_256_bits_until_it_is_revoked() {
        let registry = TokenRegistry::new();
        let first = registry.issue("function-a").unwrap();
        let other = registry.issue("function-b").unwrap();
        assert_eq!(first.expose().len(), 64);
        assert_ne!(first.expose(), other.expose());
        assert_eq!(registry.holder_of(first.expose()).as_deref(), Some("function-a"));

        let second = registry.issue("function-a").unwrap();
        assert_eq!(registry.holder_of(first.expose()), None, "a new token revokes the old one");
        registry.revoke("function-a");
        assert_eq!(registry.holder_of(second.expose()), None);
        assert_eq!(registry.holder_of(other.expose()).as_deref(), Some("function-b"));
    }

    #[test]
    fn neither_debug_nor_memory_of_the_registry_holds_a_token() {
        let registry = TokenRegistry::new();
        let token = registry.issue("function-a").unwrap();
        assert!(!format!("{registry:?}").contains(token.expose()));
        assert_eq!(registry.holder_of(""), None);
    }

    #[test]
    fn the_number_of_tokens_is_bounded() {
        let registry = TokenRegistry::new();
        for n in 0..MAX_HOLDERS {
            registry.issue(&n.to_string()).unwrap();
        }
        assert!(matches!(registry.issue("one more"), Err(TokenError::TooMany { .. })));
        registry.issue("0").unwrap();
    }
}

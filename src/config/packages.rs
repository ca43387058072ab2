//! `margay.packages`: whose packages the core takes, and how much room they may take.

use crate::document::{Object, Unknown};
use crate::package::{MAX_TRUSTED_KEYS, SignaturePolicy, TrustedKey};

const POLICIES: [(&str, SignaturePolicy); 3] =
    [("off", SignaturePolicy::Off), ("preferred", SignaturePolicy::Preferred), ("required", SignaturePolicy::Required)];

/// The least quota: the smallest useful model takes this much. And the most: more than any disk has.
const QUOTA_RANGE: std::ops::RangeInclusive<u64> = 1 << 20..=1 << 50;

/// Which signatures packages need, and what they may take of the disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packages {
    /// Whether they need one (`signatures`; by default `off`).
    pub signatures: SignaturePolicy,
    /// Whose signatures are good (`publicKeys`).
    pub public_keys: Vec<TrustedKey>,
    /// The most bytes that the store of models may hold (`quotaBytes`); without it, what the disk has.
    pub quota: Option<u64>,
}

impl Packages {
    pub(super) fn read(mut section: Object<'_>) -> Self {
        let policy = section.field("signatures");
        let signatures = policy.choice(&POLICIES).unwrap_or_default();
        let field = section.field("publicKeys");
        let elements = field.elements();
        let public_keys: Vec<TrustedKey> = elements.iter().filter_map(|element| element.parsed()).collect();
        if elements.len() > MAX_TRUSTED_KEYS {
            field.refuse(format!("names at most {MAX_TRUSTED_KEYS} keys"), "take out those that sign nothing any more");
        }
        if signatures != SignaturePolicy::Off && elements.is_empty() {
            policy.refuse("needs keys to check signatures with", "write publicKeys, or leave signatures out");
        }
        let quota = section.field("quotaBytes").integer(QUOTA_RANGE, "bytes");
        section.finish(Unknown::Refuse);
        Self { signatures, public_keys, quota }
    }

    /// The policy's name in the configuration.
    pub fn policy_name(&self) -> &'static str {
        POLICIES.iter().find(|(_, policy)| *policy == self.signatures).map_or("off", |(name, _)| name)
    }
}

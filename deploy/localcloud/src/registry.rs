//! The certificates that are registered, and the thing or viewer each is attached to. As at AWS IoT, a certificate is
//! known by the SHA-256 of its DER bytes, and one that the authority signed but nobody registered opens nothing.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

use crate::lock::lock;

/// What AWS IoT calls `certificateId`: the SHA-256 of the certificate's DER bytes, in 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CertificateId(String);

impl CertificateId {
    pub(crate) fn of(der: &[u8]) -> Self {
        Self(hex(&Sha256::digest(der)))
    }

    /// The 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CertificateId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Lower-case hexadecimal digits of `bytes`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut digits, byte| {
        for nibble in [byte >> 4, byte & 15] {
            digits.push(char::from_digit(u32::from(nibble), 16).expect("a nibble is below 16"));
        }
        digits
    })
}

/// Whom a registered certificate speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Principal {
    /// A thing: gets credentials, and acts within the things' topic policy.
    Thing(String),
    /// A viewer: subscribes only.
    Viewer(String),
}

impl Principal {
    /// The name, which is also the certificate's common name.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Thing(name) | Self::Viewer(name) => name,
        }
    }

    /// What the broker calls it: a thing and a viewer of one name are two users.
    pub(crate) fn user(&self) -> String {
        match self {
            Self::Thing(name) => format!("thing/{name}"),
            Self::Viewer(name) => format!("viewer/{name}"),
        }
    }

    /// Whom the broker calls `user`.
    pub(crate) fn of_user(user: &str) -> Option<Self> {
        match user.split_once('/')? {
            ("thing", name) => Some(Self::Thing(name.to_owned())),
            ("viewer", name) => Some(Self::Viewer(name.to_owned())),
            _ => None,
        }
    }
}

/// The registered certificates of one cloud; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Registry {
    certificates: Arc<Mutex<HashMap<CertificateId, Principal>>>,
}

impl Registry {
    pub(crate) fn register(&self, certificate: CertificateId, principal: Principal) {
        lock(&self.certificates).insert(certificate, principal);
    }

    /// Forgets the certificate. Connections that it opened stay.
    pub(crate) fn revoke(&self, certificate: &CertificateId) {
        lock(&self.certificates).remove(certificate);
    }

    pub(crate) fn principal(&self, certificate: &CertificateId) -> Option<Principal> {
        lock(&self.certificates).get(certificate).cloned()
    }
}

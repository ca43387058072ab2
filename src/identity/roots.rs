//! The certificate authorities that servers' certificates must chain to.
//!
//! The core trusts the file named by `crypto.caPath` alone for its own cloud endpoints. For S3 the guide wants "the
//! system trust store" (guide line 946), which is added with [`Roots::with_system`].

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;

use super::error::{FileRole, IdentityError};
use super::pem;

/// Where Linux distributions keep the bundle of public authorities; the first that exists is used.
const SYSTEM_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A set of trusted authorities; never empty.
#[derive(Debug, Clone)]
pub struct Roots {
    store: Arc<RootCertStore>,
}

impl Roots {
    /// Trusts every certificate in the PEM file at `path`.
    ///
    /// # Errors
    /// When the file cannot be read, or a certificate in it is not one.
    pub fn from_file(path: &Path) -> Result<Self, IdentityError> {
        Self { store: Arc::new(RootCertStore::empty()) }.with_file(path)
    }

    /// Trusts the certificates in the PEM file at `path` as well.
    ///
    /// # Errors
    /// As for [`Roots::from_file`].
    pub fn with_file(mut self, path: &Path) -> Result<Self, IdentityError> {
        let store = Arc::make_mut(&mut self.store);
        for certificate in pem::certificates(FileRole::Authorities, path)? {
            store.add(certificate).map_err(|_| IdentityError::NotACertificate { path: path.to_owned() })?;
        }
        Ok(self)
    }

    /// Trusts the system's public authorities as well. A host without a bundle adds none; a certificate of the
    /// bundle that cannot be parsed is passed over, as every TLS library does.
    pub fn with_system(mut self) -> Self {
        let bundle = SYSTEM_BUNDLES.iter().map(Path::new).find(|path| path.exists());
        if let Some(certificates) = bundle.and_then(|path| pem::certificates(FileRole::Authorities, path).ok()) {
            Arc::make_mut(&mut self.store).add_parsable_certificates(certificates);
        }
        self
    }

    /// How many authorities are trusted.
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Never true; here for symmetry with [`Roots::len`].
    pub fn is_empty(&self) -> bool {
        self.store.is_empty()
    }

    pub(super) fn store(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.store)
    }
}

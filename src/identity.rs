//! Who this core is: its X.509 certificate chain, its private key, and the authorities it trusts.
//!
//! Everything is read once, checked as far as a device can check it alone, and then only lent out as rustls client
//! configurations. Nothing is installed globally; the private key leaves this module only inside rustls.
//!
//! Serves [`http`](crate::http) (credentials provider, S3) and [`mqtt`](crate::mqtt).

mod error;
mod pem;
mod roots;
mod server_trust;
mod validity;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::CryptoProvider;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use time::OffsetDateTime;

use crate::clock::{Clock, Floor, FloorReason};
pub use error::{FileRole, IdentityError};
pub use roots::Roots;
use validity::Validity;

/// Where the three files are (`crypto.caPath`, `crypto.principals.IoTCertificate` of config.json).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The device certificate, PEM, optionally followed by its intermediates.
    pub certificate: PathBuf,
    /// The private key, PEM: PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub private_key: PathBuf,
    /// The authorities that sign the servers' certificates, PEM.
    pub ca: PathBuf,
}

/// A device certificate with its key and the authorities it trusts.
#[derive(Clone)]
pub struct Identity {
    certified_key: Arc<CertifiedKey>,
    roots: Roots,
    validity: Validity,
    files: IdentityFiles,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads and checks the files.
    ///
    /// # Errors
    /// Names the file and the remedy when one is missing, unreadable or not PEM, or when the key is not the
    /// certificate's.
    pub fn load(files: &IdentityFiles) -> Result<Self, IdentityError> {
        let chain = pem::certificates(FileRole::Certificate, &files.certificate)?;
        let key = pem::private_key(&files.private_key)?;
        let roots = Roots::from_file(&files.ca)?;
        let validity = Validity::of(&chain[0])
            .ok_or_else(|| IdentityError::NotACertificate { path: files.certificate.clone() })?;
        let certified_key = CertifiedKey::from_der(chain, key, &provider()).map_err(|source| match source {
            rustls::Error::InconsistentKeys(_) => IdentityError::KeyMismatch {
                certificate: files.certificate.clone(),
                private_key: files.private_key.clone(),
            },
            source @ rustls::Error::InvalidCertificate(_) => {
                IdentityError::UnsupportedCertificate { path: files.certificate.clone(), source }
            }
            source => IdentityError::UnsupportedKey { path: files.private_key.clone(), source },
        })?;
        Ok(Self { certified_key: Arc::new(certified_key), roots, validity, files: files.clone() })
    }

    /// Checks the certificate's validity period against `clock`, and raises the clock's floor to its beginning.
    ///
    /// # Errors
    /// [`IdentityError::Expired`] when the certificate ended before the present, as far as the clock knows it.
    pub fn check_validity(&self, clock: &dyn Clock) -> Result<(), IdentityError> {
        let present = clock.verification_time().moment();
        if self.validity.not_after < present {
            return Err(IdentityError::Expired {
                path: self.files.certificate.clone(),
                not_after: self.validity.not_after,
                present,
            });
        }
        let issued = Floor { moment: self.validity.not_before, reason: FloorReason::DeviceCertificate };
        clock.reckoning().raise_floor(issued);
        Ok(())
    }

    /// When the device certificate ends.
    pub fn not_after(&self) -> OffsetDateTime {
        self.validity.not_after
    }

    /// The authorities this core trusts.
    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// A client configuration that shows this identity (mutual TLS) and judges the server by this identity's roots
    /// and by `clock`. `alpn` lists protocol names in order of preference; empty for none.
    pub fn client_config(&self, alpn: &[&[u8]], clock: Arc<dyn Clock>) -> Arc<ClientConfig> {
        let mut config = server_trust::client_builder(&self.roots, clock)
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&self.certified_key))));
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config)
    }
}

impl Roots {
    /// A client configuration that shows no identity, for servers that want none (S3).
    pub fn client_config(&self, clock: Arc<dyn Clock>) -> Arc<ClientConfig> {
        Arc::new(server_trust::client_builder(self, clock).with_no_client_auth())
    }
}

/// The one provider of cryptography.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

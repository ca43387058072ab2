//! Reads PEM files (RFC 7468) with a size limit, and says what a file holds when it does not hold what was wanted.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::error::{FileRole, IdentityError};

/// The largest file read, in bytes. Debian's bundle of all public authorities is about a quarter of it.
const MAX_FILE: u64 = 1024 * 1024;

/// Reads at least one certificate.
pub(super) fn certificates(role: FileRole, path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let content = read(role, path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(IdentityError::WrongContent {
            role,
            path: path.to_owned(),
            found: describe(&content),
            wanted: "-----BEGIN CERTIFICATE-----",
        }),
    }
}

/// Reads the first private key.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, IdentityError> {
    let role = FileRole::PrivateKey;
    let content = read(role, path)?;
    warn_if_public(path);
    PrivateKeyDer::from_pem_slice(&content).map_err(|_| IdentityError::WrongContent {
        role,
        path: path.to_owned(),
        found: describe(&content),
        wanted: "an unencrypted -----BEGIN PRIVATE KEY-----, RSA PRIVATE KEY or EC PRIVATE KEY",
    })
}

/// A key that every user of the device can read proves nothing about the device.
fn warn_if_public(path: &Path) {
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o007 != 0 {
        tracing::warn!(path = %path.display(), "every user can read the private key; set its mode to 0600");
    }
}

fn read(role: FileRole, path: &Path) -> Result<Vec<u8>, IdentityError> {
    let unreadable = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => IdentityError::Missing { role, path: path.to_owned() },
        _ => IdentityError::Unreadable { role, path: path.to_owned(), source },
    };
    let mut content = Vec::new();
    File::open(path).map_err(unreadable)?.take(MAX_FILE + 1).read_to_end(&mut content).map_err(unreadable)?;
    if content.len() as u64 > MAX_FILE {
        return Err(IdentityError::TooLarge { role, path: path.to_owned(), limit: MAX_FILE });
    }
    Ok(content)
}

fn describe(content: &[u8]) -> &'static str {
    let holds = |label: &[u8]| content.windows(label.len()).any(|window| window == label);
    if content.iter().all(u8::is_ascii_whitespace) {
        "is empty"
    } else if holds(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || holds(b"Proc-Type: 4,ENCRYPTED") {
        "holds an encrypted private key, and the core has no passphrase"
    } else if holds(b"PRIVATE KEY-----") {
        "holds a private key"
    } else if holds(b"-----BEGIN PUBLIC KEY-----") {
        "holds a public key"
    } else if holds(b"-----BEGIN CERTIFICATE REQUEST-----") {
        "holds a certificate request, not the certificate that was issued for it"
    } else if holds(b"-----BEGIN CERTIFICATE-----") {
        "holds a certificate, or a damaged one"
    } else if holds(b"-----BEGIN ") {
        "holds PEM of another kind"
    } else if content.first() == Some(&0x30) {
        "looks like DER; convert it with openssl's -inform der -outform pem"
    } else {
        "is not PEM"
    }
}

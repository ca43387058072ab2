//! What can be wrong with the identity's files, in words that say what to do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use time::OffsetDateTime;

/// What a file is for; named in every error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileRole {
    /// The device certificate.
    Certificate,
    /// The device's private key.
    PrivateKey,
    /// The certificate authorities.
    Authorities,
}

impl FileRole {
    /// The key of config.json that names the file.
    pub fn config_key(self) -> &'static str {
        match self {
            Self::Certificate => "crypto.principals.IoTCertificate.certificatePath",
            Self::PrivateKey => "crypto.principals.IoTCertificate.privateKeyPath",
            Self::Authorities => "crypto.caPath",
        }
    }
}

impl fmt::Display for FileRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "device certificate",
            Self::PrivateKey => "private key",
            Self::Authorities => "certificate authorities",
        })
    }
}

/// Why the identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// No such file.
    #[error("reading the {role}: {path} does not exist; put the file there or correct {} in config.json", role.config_key())]
    Missing {
        /// What the file is for.
        role: FileRole,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file exists but cannot be read.
    #[error(
        "reading the {role} from {path}; the user that runs the core needs read permission on the file and its directories"
    )]
    Unreadable {
        /// What the file is for.
        role: FileRole,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The file is larger than any PEM file of its kind.
    #[error("reading the {role}: {path} is larger than {limit} bytes, which no PEM file of this kind is")]
    TooLarge {
        /// What the file is for.
        role: FileRole,
        /// The file.
        path: PathBuf,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The file holds no PEM item of the kind wanted.
    #[error("reading the {role}: {path} {found}; expected {wanted}")]
    WrongContent {
        /// What the file is for.
        role: FileRole,
        /// The file.
        path: PathBuf,
        /// What it holds, as far as can be told.
        found: &'static str,
        /// The PEM labels wanted.
        wanted: &'static str,
    },
    /// The PEM item is not an X.509 certificate.
    #[error("reading {path}: its first PEM item is not a readable X.509 certificate; fetch the certificate again")]
    NotACertificate {
        /// The file.
        path: PathBuf,
    },
    /// The certificate is of a kind that TLS here cannot use.
    #[error(
        "using the certificate in {path}; it must be X.509 version 3, which openssl x509 -req makes only with extensions: add -copy_extensions copy, and to the request -addext extendedKeyUsage=clientAuth"
    )]
    UnsupportedCertificate {
        /// The file.
        path: PathBuf,
        /// What rustls said.
        #[source]
        source: rustls::Error,
    },
    /// The key is of a kind that TLS here cannot use.
    #[error("using the private key in {path}; RSA of 2048 bits or more, EC P-256, P-384 and Ed25519 keys work")]
    UnsupportedKey {
        /// The file.
        path: PathBuf,
        /// What rustls said.
        #[source]
        source: rustls::Error,
    },
    /// The key belongs to another certificate.
    #[error(
        "the private key in {private_key} does not belong to the certificate in {certificate}; the two files come from different downloads"
    )]
    KeyMismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        private_key: PathBuf,
    },
    /// The device certificate has ended.
    #[error("the device certificate in {path} expired on {}, and today is at least {}; issue a new certificate for this thing", not_after.date(), present.date())]
    Expired {
        /// The file.
        path: PathBuf,
        /// The certificate's end.
        not_after: OffsetDateTime,
        /// The present, as the clock judges certificates.
        present: OffsetDateTime,
    },
}

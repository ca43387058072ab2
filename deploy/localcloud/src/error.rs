//! What can go wrong while the local cloud is set up or provisions a device. What a client is told over the wire is
//! not here: those answers belong to the service that gives them.

use std::io;
use std::path::PathBuf;

/// A failure of the cloud itself, as opposed to an answer it gives.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    /// A key pair or certificate could not be made.
    #[error("issuing the certificate of {subject}")]
    Issue {
        /// Common name that was asked for.
        subject: String,
        /// What the certificate library said.
        #[source]
        source: rcgen::Error,
    },
    /// A name that AWS IoT would not accept as a thing name.
    #[error("{name:?} is no thing name: 1 to 128 of letters, digits, `:`, `_` and `-`")]
    Name {
        /// The name as given.
        name: String,
    },
    /// A server's or a client verifier's TLS configuration was refused.
    #[error("preparing TLS for {service}")]
    Tls {
        /// The service that would have used it.
        service: &'static str,
        /// What rustls said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file of a certificate or key could not be written.
    #[error("writing {path}")]
    Write {
        /// The file, or the directory that was to hold it.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A port could not be taken.
    #[error("listening for {service} on 127.0.0.1:{port}")]
    Listen {
        /// The service that would have listened.
        service: &'static str,
        /// The port asked for; 0 where any would do.
        port: u16,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The broker behind the TLS front did not start.
    #[error("starting the broker")]
    Broker {
        /// What the broker said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The system's random numbers could not be read.
    #[error("reading random bytes for {purpose}")]
    Random {
        /// What they were for.
        purpose: &'static str,
        /// What the system said.
        #[source]
        source: getrandom::Error,
    },
}

//! How a connection ends, in words of our own: the library has a family of errors for each version of MQTT.

use std::error::Error;
use std::io;

use async_http_proxy::HttpError;
use rumqttc::TlsError;

/// Why a connection did not come about, or ended.
#[derive(Debug, thiserror::Error)]
pub(in crate::mqtt) enum WireError {
    /// Something took longer than it may.
    #[error("no answer in time")]
    TimedOut,
    /// The proxy on the way did not let us through.
    #[error("the proxy on the way failed")]
    Proxy { fault: ProxyFault, source: Box<dyn Error + Send + Sync> },
    /// TLS failed, or ended with an alert.
    #[error(transparent)]
    Tls(rustls::Error),
    /// The network failed.
    #[error(transparent)]
    Io(io::Error),
    /// CONNACK with another code than success.
    #[error("the broker does not admit this client")]
    Refused(Refusal),
    /// The other end closed without a word.
    #[error("the connection was closed by the peer")]
    Closed,
    /// The broker said that it closes, and why (MQTT 5).
    #[error("the broker closed the connection: {reason}")]
    Dismissed {
        /// Another connection uses the client id.
        taken_over: bool,
        /// The reason code's name.
        reason: String,
    },
    /// A message is larger than the broker takes (MQTT 5).
    #[error("the broker takes packets of at most {limit} bytes")]
    TooLarge {
        /// In bytes.
        limit: u32,
    },
    /// A packet from the broker is larger than any that is read.
    #[error("the broker sent a packet of {actual} bytes, and at most {limit} are read")]
    Oversized {
        /// In bytes.
        limit: usize,
        /// In bytes.
        actual: usize,
    },
    /// The other end does not keep to the protocol, or the library lost track.
    #[error(transparent)]
    Broken(Box<dyn Error + Send + Sync>),
}

/// Why the broker does not admit a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::mqtt) enum Refusal {
    ProtocolVersion,
    ClientId,
    Unavailable,
    UserName,
    NotAuthorised,
    Other(String),
}

/// Why there is no way through the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::mqtt) enum ProxyFault {
    /// It was not reached, or hung up.
    Unreachable,
    /// TLS with the proxy itself failed.
    Tls,
    /// It answered CONNECT with this HTTP status.
    Status(u16),
    /// Its answer is none to CONNECT.
    Answer,
}

/// TLS wraps its errors and alerts in those of the stream.
pub(super) fn from_io(error: io::Error) -> WireError {
    match error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
        Some(cause) => WireError::Tls(cause.clone()),
        None => WireError::Io(error),
    }
}

pub(super) fn from_tls(error: TlsError) -> WireError {
    match error {
        TlsError::TLS(cause) => WireError::Tls(cause),
        TlsError::Io(cause) => from_io(cause),
        other => WireError::Broken(Box::new(other)),
    }
}

impl WireError {
    /// Whether the other side ended the connection, as far as this side can see.
    pub(in crate::mqtt) fn is_close(&self) -> bool {
        match self {
            Self::Closed | Self::Dismissed { .. } | Self::TooLarge { .. } => true,
            Self::Tls(cause) => matches!(cause, rustls::Error::AlertReceived(_)),
            Self::Io(cause) => crate::mqtt::connect_error::is_end(cause),
            Self::TimedOut | Self::Proxy { .. } | Self::Refused(_) | Self::Oversized { .. } | Self::Broken(_) => false,
        }
    }
}

/// The library gives its error for proxies no name: what is below it is looked at.
pub(super) fn from_proxy(error: impl Error + Send + Sync + 'static) -> WireError {
    let mut fault = ProxyFault::Answer;
    let mut next: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(cause) = next {
        if cause.is::<TlsError>() {
            fault = ProxyFault::Tls;
            break;
        }
        if let Some(answer) = cause.downcast_ref::<HttpError>() {
            fault = match answer {
                HttpError::HttpCode200(status) => ProxyFault::Status(*status),
                HttpError::IoError(_) | HttpError::EndOfFile => ProxyFault::Unreachable,
                _ => ProxyFault::Answer,
            };
            break;
        }
        if cause.is::<io::Error>() {
            fault = ProxyFault::Unreachable;
        }
        next = cause.source();
    }
    WireError::Proxy { fault, source: Box::new(error) }
}

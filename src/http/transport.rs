//! Turns the nested errors of reqwest, hyper, rustls and the kernel into one cause that an operator can act on.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::{AlertDescription, CertificateError, InvalidMessage};
use rustls_pki_types::InvalidDnsNameError;

/// No answer came, or it broke off.
///
/// Cloneable, so that one failed request can answer everybody who waited for it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("no answer from {endpoint}{}: {cause}", shown(via.as_ref()))]
pub struct TransportError {
    /// `host:port`.
    pub endpoint: String,
    /// `host:port` of the proxy in between, if there is one.
    pub via: Option<String>,
    /// What most likely went wrong.
    pub cause: TransportCause,
    #[source]
    source: Arc<reqwest::Error>,
}

/// The likely cause of a [`TransportError`]; its text says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportCause {
    /// The host name has no address.
    NameUnknown,
    /// Nothing listens there.
    Refused,
    /// No route to the host.
    Unreachable,
    /// Silence.
    TimedOut,
    /// The connection was closed or reset by the peer.
    Interrupted,
    /// The server's certificate chains to no trusted authority.
    ServerUntrusted,
    /// The server's certificate is for other names.
    ServerNameMismatch,
    /// The server's certificate had ended at the time the device believes it is.
    ServerExpired,
    /// The server's certificate begins later than the time the device believes it is.
    ServerNotYetValid,
    /// The server refused the device certificate, with this TLS alert.
    DeviceRefused(AlertDescription),
    /// The server does not speak TLS on this port, or no version in common.
    NotTls,
    /// The TLS handshake failed otherwise.
    Handshake,
    /// The proxy wants a user name and password, or others.
    ProxyUnauthorised,
    /// The proxy could not be reached, or did not open a way to the server.
    ProxyFailed,
    /// None of these.
    Unclassified,
}

fn shown(via: Option<&String>) -> String {
    via.map_or_else(String::new, |via| format!(" through the proxy {via}"))
}

impl fmt::Display for TransportCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NameUnknown => "its name has no address; check the endpoint in config.json, then the network and DNS",
            Self::Refused => "the connection was refused; check the port, and that nothing in between blocks it",
            Self::Unreachable => "there is no route to it; check the network",
            Self::TimedOut => "it kept silent; check the network, and that no firewall drops packets to this port",
            Self::Interrupted => "the connection was closed in the middle",
            Self::ServerUntrusted => {
                "its certificate is signed by no authority in crypto.caPath; endpoint and root CA must match (ATS endpoints need Amazon Root CA 1)"
            }
            Self::ServerNameMismatch => "its certificate is for other names; check the endpoint in config.json",
            Self::ServerExpired => "its certificate has expired, or the device's clock is ahead",
            Self::ServerNotYetValid => "its certificate is not valid yet, so the device's clock is behind",
            Self::DeviceRefused(alert) => return refused(*alert, f),
            Self::NotTls => "it does not speak TLS on this port, or no version that the core accepts (1.2, 1.3)",
            Self::Handshake => "the TLS handshake failed",
            Self::ProxyUnauthorised => {
                "the proxy asks for a user name and password (407); check coreThing.networkProxy or HTTPS_PROXY"
            }
            Self::ProxyFailed => {
                "the proxy cannot be reached or opens no way to the server; check coreThing.networkProxy or HTTPS_PROXY, and that the proxy allows CONNECT to this host"
            }
            Self::Unclassified => "the request failed",
        })
    }
}

fn refused(alert: AlertDescription, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(match alert {
        AlertDescription::CertificateExpired => "it says that the device certificate has expired; issue a new one",
        AlertDescription::CertificateRevoked => "it says that the device certificate was revoked; issue a new one",
        AlertDescription::UnknownCA | AlertDescription::CertificateUnknown => {
            "it does not know the device certificate; register and activate it there"
        }
        AlertDescription::CertificateRequired => {
            "it got no device certificate that it accepts; check that the certificate is registered and active there"
        }
        _ => "it refused the device certificate; check that it is registered and active there",
    })
}

impl TransportError {
    /// Classifies `source`, which came from a request to `url`.
    pub(crate) fn new(url: &reqwest::Url, source: reqwest::Error) -> Self {
        let host = url.host_str().unwrap_or("?");
        let endpoint = match url.port_or_known_default() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let cause = if source.is_timeout() { TransportCause::TimedOut } else { classify(&source) };
        // The URL is already in `endpoint`; a signed one must not be printed.
        Self { endpoint, via: None, cause, source: Arc::new(source.without_url()) }
    }

    /// Notes the proxy in between. Where there was none in the way, nobody blames one.
    pub(super) fn through(mut self, via: Option<String>) -> Self {
        let connecting =
            matches!(self.cause, TransportCause::Refused | TransportCause::Unreachable | TransportCause::NameUnknown);
        if via.is_some() && connecting {
            // With a proxy in between, only the proxy is looked up and connected to.
            self.cause = TransportCause::ProxyFailed;
        }
        Self { via, ..self }
    }
}

fn classify(source: &reqwest::Error) -> TransportCause {
    let mut next: Option<&(dyn Error + 'static)> = Some(source);
    let mut resolving = false;
    let mut found = None;
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return of_tls(tls);
        }
        if error.is::<InvalidDnsNameError>() {
            return TransportCause::NameUnknown;
        }
        // Only the texts of hyper-util's errors name the failed step.
        match error.to_string().as_str() {
            "dns error" => resolving = true,
            "tunnel error: proxy authorization required" => return TransportCause::ProxyUnauthorised,
            "tunnel error: unsuccessful" | "tunnel error: unexpected end of file" => {
                return TransportCause::ProxyFailed;
            }
            _ => {}
        }
        next = error.source();
        if let Some(io) = error.downcast_ref::<io::Error>() {
            found = found.or_else(|| of_io(io));
            // io::Error::source() skips the error it wraps.
            next = io.get_ref().map(|wrapped| wrapped as &(dyn Error + 'static));
        }
    }
    match found {
        _ if resolving => TransportCause::NameUnknown,
        Some(cause) => cause,
        None if !source.is_connect() && (source.is_body() || source.is_decode() || source.is_request()) => {
            TransportCause::Interrupted
        }
        None => TransportCause::Unclassified,
    }
}

fn of_io(error: &io::Error) -> Option<TransportCause> {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Some(TransportCause::Refused),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => {
            Some(TransportCause::Unreachable)
        }
        io::ErrorKind::TimedOut => Some(TransportCause::TimedOut),
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::NotConnected
        | io::ErrorKind::UnexpectedEof => Some(TransportCause::Interrupted),
        _ => None,
    }
}

fn of_tls(error: &rustls::Error) -> TransportCause {
    use rustls::Error as Tls;
    match error {
        Tls::InvalidCertificate(reason) => of_certificate(reason),
        Tls::AlertReceived(alert) => of_alert(*alert),
        Tls::InvalidMessage(InvalidMessage::InvalidContentType) | Tls::PeerIncompatible(_) => TransportCause::NotTls,
        _ => TransportCause::Handshake,
    }
}

fn of_certificate(reason: &CertificateError) -> TransportCause {
    match reason {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => TransportCause::ServerExpired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            TransportCause::ServerNotYetValid
        }
        // An authority of the same name with another key: the certificate of a re-created private authority.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => TransportCause::ServerUntrusted,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            TransportCause::ServerNameMismatch
        }
        _ => TransportCause::Handshake,
    }
}

fn of_alert(alert: AlertDescription) -> TransportCause {
    match alert {
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied
        | AlertDescription::DecryptError
        | AlertDescription::NoCertificate
        | AlertDescription::CertificateRequired => TransportCause::DeviceRefused(alert),
        AlertDescription::ProtocolVersion => TransportCause::NotTls,
        _ => TransportCause::Handshake,
    }
}

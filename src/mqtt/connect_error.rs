//! Why a connection to the broker did not come about, in words that an operator can act on: what was tried, on what,
//! what came back, what to do next.

use std::error::Error;
use std::io;

use rumqttc::{ConnectReturnCode, ConnectionError, StateError, TlsError};
use rustls::CertificateError;

use super::connection::{BrokerAddress, ConnectionSettings};

/// Why the broker could not be reached, was not trusted, or did not admit us.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The host name has no address.
    #[error(
        "looking up the MQTT broker {broker}: the name was not resolved; check coreThing.iotHost, the DNS server and \
         the network"
    )]
    NameNotResolved {
        /// Where to connect was tried.
        broker: BrokerAddress,
        /// What the resolver answered.
        source: io::Error,
    },
    /// TCP did not connect.
    #[error("connecting to the MQTT broker {broker}: {hint}")]
    Unreachable {
        /// Where to connect was tried.
        broker: BrokerAddress,
        /// What it probably means, and what to look at.
        hint: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
    /// No admission in time.
    #[error(
        "connecting to the MQTT broker {broker}: no answer within {seconds} s; a firewall may drop port {port} (443 \
         is the alternative: iotMqttPort)",
        port = broker.port
    )]
    TimedOut {
        /// Where to connect was tried.
        broker: BrokerAddress,
        /// The limit.
        seconds: u64,
    },
    /// The broker's certificate does not prove that it is the broker.
    #[error(
        "checking the certificate of the MQTT broker {broker}: it is not signed by an authority in the root CA file, \
         or is for another name; an endpoint with -ats needs Amazon's root CA 1, one without it the VeriSign root (A-12)"
    )]
    BrokerNotTrusted {
        /// Where to connect was tried.
        broker: BrokerAddress,
        /// What is wrong with the certificate.
        source: rustls::Error,
    },
    /// The broker's certificate is not valid at this device's time.
    #[error(
        "checking the certificate of the MQTT broker {broker}: it is not valid at this device's time; check the clock \
         (date -u) and the time service first, then the broker's certificate"
    )]
    ClockNotValid {
        /// Where to connect was tried.
        broker: BrokerAddress,
        /// The two times that do not agree.
        source: rustls::Error,
    },
    /// The broker refused the device's certificate.
    #[error(
        "presenting the device certificate to the MQTT broker {broker}: it was refused; check that it is registered, \
         active and not expired, and that the private key belongs to it"
    )]
    CertificateRefused {
        /// Where to connect was tried.
        broker: BrokerAddress,
        /// The alert that came back.
        source: rustls::Error,
    },
    /// TLS failed in another way.
    #[error(
        "agreeing on TLS with the MQTT broker {broker}: the handshake failed; on port 443 AWS IoT Core wants ALPN \
         x-amzn-mqtt-ca, and a proxy in between may not speak TLS"
    )]
    Tls {
        /// Where to connect was tried.
        broker: BrokerAddress,
        /// What failed.
        source: rustls::Error,
    },
    /// CONNACK with another code than success.
    #[error("asking the MQTT broker {broker} to admit client {client_id}: {code}; {hint}")]
    NotAdmitted {
        /// Where to connect was tried.
        broker: BrokerAddress,
        /// As whom.
        client_id: String,
        /// The code's meaning (MQTT 3.1.1, table 3.1).
        code: &'static str,
        /// What to look at.
        hint: &'static str,
    },
    /// The broker hung up instead of sending CONNACK.
    #[error(
        "asking the MQTT broker {broker} to admit client {client_id}: it closed the connection without an answer; check \
         that the certificate is active and that its policy allows iot:Connect for this client id"
    )]
    ClosedBeforeAdmission {
        /// Where to connect was tried.
        broker: BrokerAddress,
        /// As whom.
        client_id: String,
        /// How the connection ended.
        source: Box<dyn Error + Send + Sync>,
    },
    /// What answered does not speak MQTT 3.1.1.
    #[error("asking the MQTT broker {broker} to admit client {client_id}: the answer was not MQTT 3.1.1's CONNACK")]
    NotMqtt {
        /// Where to connect was tried.
        broker: BrokerAddress,
        /// As whom.
        client_id: String,
        /// What was wrong with it.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl ConnectError {
    /// Whether trying again may help although nobody changes anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NameNotResolved { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::ClockNotValid { .. }
            | Self::ClosedBeforeAdmission { .. } => true,
            Self::NotAdmitted { code, .. } => *code == SERVER_UNAVAILABLE,
            Self::BrokerNotTrusted { .. }
            | Self::CertificateRefused { .. }
            | Self::Tls { .. }
            | Self::NotMqtt { .. } => false,
        }
    }

    /// What the library's `error`, met before CONNACK, means.
    pub(super) fn new(error: ConnectionError, settings: &ConnectionSettings) -> Self {
        let broker = settings.broker.clone();
        if let Some(source) = tls_cause(&error) {
            return Self::from_tls(source.clone(), broker);
        }
        match error {
            ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => {
                Self::TimedOut { broker, seconds: settings.connect_timeout.as_secs().max(1) }
            }
            ConnectionError::ConnectionRefused(code) => Self::not_admitted(code, settings),
            // The resolver's errors carry a text and no error number; the kernel's always have one.
            ConnectionError::Io(source) if source.raw_os_error().is_none() => Self::NameNotResolved { broker, source },
            ConnectionError::Io(source) => Self::Unreachable { broker, hint: reach_hint(&source), source },
            error if is_close(&error) => {
                Self::ClosedBeforeAdmission { broker, client_id: settings.client_id.clone(), source: root(error) }
            }
            error => Self::NotMqtt { broker, client_id: settings.client_id.clone(), source: root(error) },
        }
    }

    fn from_tls(source: rustls::Error, broker: BrokerAddress) -> Self {
        match &source {
            rustls::Error::InvalidCertificate(
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. },
            ) => Self::ClockNotValid { broker, source },
            rustls::Error::InvalidCertificate(_) => Self::BrokerNotTrusted { broker, source },
            rustls::Error::AlertReceived(alert) if refuses_certificate(*alert) => {
                Self::CertificateRefused { broker, source }
            }
            _ => Self::Tls { broker, source },
        }
    }

    fn not_admitted(code: ConnectReturnCode, settings: &ConnectionSettings) -> Self {
        let (code, hint) = match code {
            ConnectReturnCode::Success => ("accepted", "the broker contradicts itself"),
            ConnectReturnCode::RefusedProtocolVersion => ("unacceptable protocol version", "it must speak MQTT 3.1.1"),
            ConnectReturnCode::BadClientId => ("client identifier rejected", "the broker does not take this client id"),
            ConnectReturnCode::ServiceUnavailable => (SERVER_UNAVAILABLE, "it will be tried again"),
            ConnectReturnCode::BadUserNamePassword => ("bad user name or password", "margay sends neither"),
            ConnectReturnCode::NotAuthorized => {
                ("not authorised", "the certificate's policy must allow iot:Connect for this client id")
            }
        };
        Self::NotAdmitted { broker: settings.broker.clone(), client_id: settings.client_id.clone(), code, hint }
    }
}

const SERVER_UNAVAILABLE: &str = "server unavailable";

fn reach_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "nothing listens there; check host and port (iotHost, iotMqttPort)",
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
            "there is no route; check the network cable, Wi-Fi and default gateway"
        }
        io::ErrorKind::TimedOut => "no answer; a firewall may drop the port (443 is the alternative: iotMqttPort)",
        _ => "the connection could not be made; check the network",
    }
}

/// The alerts (RFC 8446, section 6.2) by which a server refuses a client's certificate, or the proof that its key
/// belongs to it.
fn refuses_certificate(alert: rustls::AlertDescription) -> bool {
    use rustls::AlertDescription as Alert;
    matches!(
        alert,
        Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::CertificateRequired
            | Alert::NoCertificate
            | Alert::DecryptError
    )
}

/// The TLS error somewhere below `error`, if there is one.
pub(super) fn tls_cause(error: &ConnectionError) -> Option<&rustls::Error> {
    match error {
        ConnectionError::Tls(TlsError::TLS(cause)) => Some(cause),
        _ => io_cause(error)?.get_ref()?.downcast_ref(),
    }
}

/// The I/O error below `error`, if there is one.
pub(super) fn io_cause(error: &ConnectionError) -> Option<&io::Error> {
    match error {
        ConnectionError::Io(cause)
        | ConnectionError::Tls(TlsError::Io(cause))
        | ConnectionError::MqttState(StateError::Io(cause) | StateError::Deserialization(rumqttc::Error::Io(cause))) => {
            Some(cause)
        }
        _ => None,
    }
}

/// What is at the bottom of `error`: the library's own layers repeat their causes' texts.
pub(super) fn root(error: ConnectionError) -> Box<dyn Error + Send + Sync> {
    match error {
        ConnectionError::Io(cause)
        | ConnectionError::Tls(TlsError::Io(cause))
        | ConnectionError::MqttState(StateError::Io(cause) | StateError::Deserialization(rumqttc::Error::Io(cause))) => {
            Box::new(cause)
        }
        ConnectionError::MqttState(StateError::Deserialization(cause)) => Box::new(cause),
        ConnectionError::MqttState(cause) => Box::new(cause),
        other => Box::new(other),
    }
}

/// Whether the other side ended the connection, as far as this side can see.
pub(super) fn is_close(error: &ConnectionError) -> bool {
    if matches!(error, ConnectionError::MqttState(StateError::ConnectionAborted)) {
        return true;
    }
    if matches!(tls_cause(error), Some(rustls::Error::AlertReceived(_))) {
        return true;
    }
    io_cause(error).is_some_and(|cause| {
        matches!(
            cause.kind(),
            io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof
        )
    })
}

#[cfg(test)]
mod tests;

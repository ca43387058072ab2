//! Why a connection to the broker did not come about, in words that an operator can act on: what was tried, on what,
//! what came back, what to do next.

use std::error::Error;
use std::io;

use rustls::CertificateError;

use super::connection::{BrokerAddress, ConnectionSettings};
use super::wire::{ProxyFault, Refusal, WireError};

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
    /// The proxy wants a user name and password, or others.
    #[error(
        "connecting to the MQTT broker {broker} through the proxy {proxy}: it asks for a user name and password (407); \
         check proxy.username and proxy.password of coreThing.networkProxy, or HTTPS_PROXY"
    )]
    ProxyUnauthorised {
        /// Where to connect was tried.
        broker: BrokerAddress,
        /// `host:port` of the proxy.
        proxy: String,
    },
    /// The proxy opens no way to the broker.
    #[error("connecting to the MQTT broker {broker} through the proxy {proxy}: {hint}")]
    ProxyFailed {
        /// Where to connect was tried.
        broker: BrokerAddress,
        /// `host:port` of the proxy.
        proxy: String,
        /// What came back, and what to look at.
        hint: String,
        /// What the library says.
        source: Box<dyn Error + Send + Sync>,
    },
    /// CONNACK with another code than success.
    #[error("asking the MQTT broker {broker} to admit client {client_id}: {code}; {hint}")]
    NotAdmitted {
        /// Where to connect was tried.
        broker: BrokerAddress,
        /// As whom.
        client_id: String,
        /// The code's meaning (MQTT 3.1.1, table 3.1; MQTT 5, section 3.2.2.2).
        code: String,
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
    /// What answered does not speak MQTT.
    #[error("asking the MQTT broker {broker} to admit client {client_id}: the answer was not MQTT's CONNACK")]
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
            | Self::ProxyFailed { .. }
            | Self::ClosedBeforeAdmission { .. } => true,
            Self::NotAdmitted { code, .. } => code == SERVER_UNAVAILABLE,
            Self::ProxyUnauthorised { .. }
            | Self::BrokerNotTrusted { .. }
            | Self::CertificateRefused { .. }
            | Self::Tls { .. }
            | Self::NotMqtt { .. } => false,
        }
    }

    /// One word for the kind of error, as the ledger of ended connections counts it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NameNotResolved { .. } => "name_not_resolved",
            Self::Unreachable { .. } => "unreachable",
            Self::TimedOut { .. } => "connect_timed_out",
            Self::BrokerNotTrusted { .. } => "broker_not_trusted",
            Self::ClockNotValid { .. } => "clock_not_valid",
            Self::CertificateRefused { .. } => "certificate_refused",
            Self::Tls { .. } => "tls_failed",
            Self::ProxyUnauthorised { .. } => "proxy_unauthorised",
            Self::ProxyFailed { .. } => "proxy_failed",
            Self::NotAdmitted { .. } => "not_admitted",
            Self::ClosedBeforeAdmission { .. } => "closed_before_admission",
            Self::NotMqtt { .. } => "not_mqtt",
        }
    }

    /// What `error`, met before CONNACK, means.
    pub(super) fn new(error: WireError, settings: &ConnectionSettings) -> Self {
        let broker = settings.broker.clone();
        let client_id = settings.client_id.clone();
        match error {
            WireError::Tls(source) => Self::from_tls(source, broker),
            WireError::Proxy { fault, source } => Self::from_proxy(fault, source, settings),
            WireError::TimedOut => Self::TimedOut { broker, seconds: settings.connect_timeout.as_secs().max(1) },
            WireError::Refused(code) => Self::not_admitted(code, settings),
            // The resolver's errors carry a text and no error number; the kernel's always have one.
            WireError::Io(source) if source.raw_os_error().is_none() && !is_end(&source) => {
                Self::NameNotResolved { broker, source }
            }
            WireError::Io(source) if !is_end(&source) => {
                Self::Unreachable { broker, hint: reach_hint(&source), source }
            }
            error if error.is_close() => Self::ClosedBeforeAdmission { broker, client_id, source: root(error) },
            error => Self::NotMqtt { broker, client_id, source: root(error) },
        }
    }

    fn from_proxy(fault: ProxyFault, source: Box<dyn Error + Send + Sync>, settings: &ConnectionSettings) -> Self {
        let broker = settings.broker.clone();
        let tunnel = settings.tunnel.as_ref();
        let proxy = tunnel.map_or_else(String::new, |tunnel| format!("{}:{}", tunnel.host, tunnel.port));
        let hint = match fault {
            ProxyFault::Status(407) => return Self::ProxyUnauthorised { broker, proxy },
            ProxyFault::Status(status) => format!(
                "it answered CONNECT with {status}; it must allow CONNECT to {broker} (many allow port 443 only: iotMqttPort)"
            ),
            ProxyFault::Unreachable => {
                "it cannot be reached or hung up; check coreThing.networkProxy or HTTPS_PROXY".to_owned()
            }
            ProxyFault::Tls => {
                "TLS with the proxy itself failed; its certificate must be signed by an authority in the root CA file"
                    .to_owned()
            }
            ProxyFault::Answer => {
                "what answers there is no HTTP proxy; check coreThing.networkProxy or HTTPS_PROXY".to_owned()
            }
        };
        Self::ProxyFailed { broker, proxy, hint, source }
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

    fn not_admitted(code: Refusal, settings: &ConnectionSettings) -> Self {
        let (code, hint) = match code {
            Refusal::ProtocolVersion => {
                ("unacceptable protocol version".to_owned(), "it speaks another version of MQTT: margay.mqtt.version")
            }
            Refusal::ClientId => ("client identifier rejected".to_owned(), "the broker does not take this client id"),
            Refusal::Unavailable => (SERVER_UNAVAILABLE.to_owned(), "it will be tried again"),
            Refusal::UserName => ("bad user name or password".to_owned(), "margay sends neither"),
            Refusal::NotAuthorised => {
                ("not authorised".to_owned(), "the certificate's policy must allow iot:Connect for this client id")
            }
            Refusal::Other(code) => (code, "the broker's own documentation says what it means"),
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

/// What is at the bottom of `error`.
pub(super) fn root(error: WireError) -> Box<dyn Error + Send + Sync> {
    match error {
        WireError::Io(cause) => Box::new(cause),
        WireError::Tls(cause) => Box::new(cause),
        WireError::Broken(cause) => cause,
        other => Box::new(other),
    }
}

/// Whether the kernel or TLS tells of a connection's end, and not of one that was not made.
pub(super) fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
    )
}

#[cfg(test)]
mod tests;

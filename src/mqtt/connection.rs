//! Where the broker is, and as whom to go there.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::ClientConfig;

use crate::http::Tunnel;
use crate::name::Host;
use crate::topic::Topic;

pub use crate::config::ProtocolVersion;

/// Longest time for name, TCP, TLS and CONNACK together.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// V1's `coreThing.keepAlive` when nothing is said.
pub const DEFAULT_KEEP_ALIVE: Duration = Duration::from_secs(600);

/// A broker's host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerAddress {
    /// The name that the broker's certificate must be valid for.
    pub host: Host,
    /// The TCP port: 8883, or 443 with the protocol name `x-amzn-mqtt-ca` in the TLS configuration.
    pub port: u16,
}

impl fmt::Display for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// What one MQTT connection needs.
#[derive(Clone)]
pub struct ConnectionSettings {
    /// Where to connect.
    pub broker: BrokerAddress,
    /// The client identifier; no other connection to the broker may use it.
    pub client_id: String,
    /// Certificate, key, roots and, on port 443, the ALPN protocol name.
    pub tls: Arc<ClientConfig>,
    /// Time after which a silent connection is probed, and as much again until it counts as lost. Whole seconds, at
    /// least one.
    pub keep_alive: Duration,
    /// Longest time until the broker admitted the connection. Whole seconds, at least one.
    pub connect_timeout: Duration,
    /// The version of MQTT.
    pub version: ProtocolVersion,
    /// The proxy on the way, if there is one.
    pub tunnel: Option<Tunnel>,
    /// Whether the broker keeps subscriptions and what came for them while the client is away.
    pub persistent: bool,
    /// What the broker publishes when the connection ends without a DISCONNECT.
    pub last_will: Option<Will>,
}

/// A message that the broker keeps for the case that the connection is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// Where it goes.
    pub topic: Topic,
    /// What it says.
    pub payload: Bytes,
    /// Whether the broker keeps it for later subscribers.
    pub retain: bool,
}

impl ConnectionSettings {
    /// Settings with the default times.
    pub fn new(broker: BrokerAddress, client_id: impl Into<String>, tls: Arc<ClientConfig>) -> Self {
        Self {
            broker,
            client_id: client_id.into(),
            tls,
            keep_alive: DEFAULT_KEEP_ALIVE,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            version: ProtocolVersion::default(),
            tunnel: None,
            persistent: false,
            last_will: None,
        }
    }
}

impl fmt::Debug for ConnectionSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionSettings")
            .field("broker", &self.broker)
            .field("client_id", &self.client_id)
            .field("keep_alive", &self.keep_alive)
            .field("connect_timeout", &self.connect_timeout)
            .field("version", &self.version)
            .field("tunnel", &self.tunnel)
            .field("persistent", &self.persistent)
            .field("last_will", &self.last_will)
            .finish_non_exhaustive()
    }
}

//! An MQTT client for tests: rumqttc, with what happens to it as values instead of callbacks.

use std::sync::Arc;
use std::time::Duration;

use margay_localcloud::{DeviceFiles, LocalCloud};
use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, Packet, QoS, SubscribeReasonCode, TlsConfiguration,
    Transport,
};

use crate::https;

/// Longer than anything here takes; reached only by a failure.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Client {
    pub requests: AsyncClient,
    events: EventLoop,
}

/// How a test's client connects.
pub struct Options<'a> {
    pub client_id: &'a str,
    pub clean: bool,
    pub alpn: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    pub fn new(client_id: &'a str) -> Self {
        Self { client_id, clean: true, alpn: None }
    }

    pub fn persistent(client_id: &'a str) -> Self {
        Self { client_id, clean: false, alpn: None }
    }
}

impl Client {
    /// Connects, and says whether the broker had kept a session.
    pub async fn connect(
        cloud: &LocalCloud,
        files: &DeviceFiles,
        options: Options<'_>,
    ) -> Result<(Self, bool), ConnectionError> {
        let mut config = https::config(cloud.ca(), Some(files));
        config.alpn_protocols = options.alpn.map(<[u8]>::to_vec).into_iter().collect();
        let mut mqtt = MqttOptions::new(options.client_id, "localhost", cloud.mqtt_port());
        mqtt.set_transport(Transport::Tls(TlsConfiguration::Rustls(Arc::new(config))));
        mqtt.set_clean_session(options.clean);
        let (requests, events) = AsyncClient::new(mqtt, 1000);
        let mut client = Self { requests, events };
        loop {
            if let Event::Incoming(Packet::ConnAck(ack)) = client.next().await? {
                return Ok((client, ack.session_present));
            }
        }
    }

    /// The next event; the connection's end is an error.
    pub async fn next(&mut self) -> Result<Event, ConnectionError> {
        tokio::time::timeout(PATIENCE, self.events.poll()).await.expect("the broker says nothing any more")
    }

    /// What the broker answers to a subscription at QoS 1.
    pub async fn subscribe(&mut self, filter: &str) -> SubscribeReasonCode {
        self.requests.subscribe(filter, QoS::AtLeastOnce).await.unwrap();
        loop {
            if let Event::Incoming(Packet::SubAck(ack)) = self.next().await.unwrap() {
                return ack.return_codes[0];
            }
        }
    }

    /// Publishes at QoS 1, and returns at the acknowledgement or the connection's end.
    pub async fn publish(&mut self, topic: &str, payload: &str) -> Result<(), ConnectionError> {
        self.requests.publish(topic, QoS::AtLeastOnce, false, payload).await.unwrap();
        loop {
            if let Event::Incoming(Packet::PubAck(_)) = self.next().await? {
                return Ok(());
            }
        }
    }

    /// The next message: topic and payload.
    pub async fn message(&mut self) -> (String, String) {
        loop {
            if let Event::Incoming(Packet::Publish(publish)) = self.next().await.unwrap() {
                return (publish.topic, String::from_utf8(publish.payload.to_vec()).unwrap());
            }
        }
    }
}

//! One MQTT connection, from nothing to its end, through rumqttc.
//!
//! A connection is never reused: after an error both halves are dropped, because the library's own replay forgets
//! messages when the session was lost and may wait for ever after a packet-id collision (bytebeamio/rumqtt#1056). Its
//! window of packet ids is far wider than the number of messages on their way, so that ids do not collide.
//!
//! `Receiver::next` must be polled to its end: dropped half way, it may have taken a message and not written it.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use rumqttc::{
    AsyncClient, ClientError, ConnectionError, Event, EventLoop, Incoming, MqttOptions, NetworkOptions, Outgoing, QoS,
    SubscribeReasonCode, TlsConfiguration, Transport,
};

use super::connection::ConnectionSettings;
use super::message::{MAX_PAYLOAD_BYTES, Received};
use crate::topic::{self, Topic, TopicFilter};

/// Packet ids before they are used again. The library keeps one slot for each.
const PACKET_IDS: u16 = 2000;

/// Fixed header, lengths and packet id of a PUBLISH (MQTT 3.1.1, section 3.3), rounded up.
const PACKET_OVERHEAD_BYTES: usize = 64;

/// A packet identifier, unique among the messages on their way on one connection.
pub(super) type PacketId = u16;

/// What happened on the connection.
#[derive(Debug)]
pub(super) enum WireEvent {
    /// CONNACK with success.
    Admitted,
    /// The longest waiting message got this packet id and is being written.
    Sent(PacketId),
    /// PUBACK.
    Acknowledged(PacketId),
    /// A message for one of our subscriptions; it has been acknowledged.
    Received(Received),
    /// SUBACK: whether each filter was granted.
    Subscribed(Vec<bool>),
    /// DISCONNECT has been written: the broker may now close.
    Farewell,
    /// Nothing that matters above.
    Other,
}

/// The half that takes requests. They wait in a bounded channel until the connection takes them.
#[derive(Debug)]
pub(super) struct Sender {
    client: AsyncClient,
}

/// The half that drives the connection.
pub(super) struct Receiver {
    events: EventLoop,
    /// What the library had understood when the connection failed: acknowledgements read together with the end.
    last: VecDeque<Event>,
    failed: Option<Box<ConnectionError>>,
}

/// A new connection; it is opened by the first [`Receiver::next`]. At most `requests` wait to be written.
pub(super) fn open(settings: &ConnectionSettings, requests: usize) -> (Sender, Receiver) {
    let broker = &settings.broker;
    let mut options = MqttOptions::new(&settings.client_id, broker.host.as_str(), broker.port);
    let largest = MAX_PAYLOAD_BYTES + topic::MAX_BYTES + PACKET_OVERHEAD_BYTES;
    options
        .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(settings.tls.clone())))
        .set_clean_session(true)
        .set_keep_alive(settings.keep_alive.max(Duration::from_secs(1)))
        .set_max_packet_size(largest, largest)
        .set_inflight(PACKET_IDS);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(settings.connect_timeout.as_secs().max(1));
    let (client, mut events) = AsyncClient::new(options, requests);
    events.set_network_options(network);
    (Sender { client }, Receiver { events, last: VecDeque::new(), failed: None })
}

impl Sender {
    /// Asks for `payload` to be published with QoS 1. Waits while the channel is full.
    pub(super) async fn publish(&self, topic: &Topic, payload: Bytes) -> Result<(), ClientError> {
        self.client.publish_bytes(topic.as_str(), QoS::AtLeastOnce, false, payload).await
    }

    /// Asks for a subscription with QoS 1.
    pub(super) async fn subscribe(&self, filter: &TopicFilter) -> Result<(), ClientError> {
        self.client.subscribe(filter.as_str(), QoS::AtLeastOnce).await
    }

    /// Asks for a DISCONNECT after all that was asked for before.
    pub(super) async fn disconnect(&self) -> Result<(), ClientError> {
        self.client.disconnect().await
    }
}

impl Receiver {
    /// What happens next. After an error there is nothing more.
    pub(super) async fn next(&mut self) -> Result<WireEvent, Box<ConnectionError>> {
        if self.failed.is_none() {
            match self.events.poll().await {
                Ok(event) => return Ok(translate(event)),
                Err(error) => {
                    self.last = self.events.state.events.drain(..).collect();
                    self.failed = Some(Box::new(error));
                }
            }
        }
        match self.last.pop_front() {
            Some(event) => Ok(translate(event)),
            None => Err(self.failed.take().unwrap_or(Box::new(ConnectionError::RequestsDone))),
        }
    }
}

fn translate(event: Event) -> WireEvent {
    match event {
        Event::Incoming(Incoming::ConnAck(_)) => WireEvent::Admitted,
        Event::Outgoing(Outgoing::Publish(id)) => WireEvent::Sent(id),
        Event::Incoming(Incoming::PubAck(ack)) => WireEvent::Acknowledged(ack.pkid),
        Event::Outgoing(Outgoing::Disconnect) => WireEvent::Farewell,
        Event::Incoming(Incoming::Publish(message)) => WireEvent::Received(Received {
            topic: message.topic,
            payload: message.payload,
            duplicate: message.dup,
            retained: message.retain,
        }),
        Event::Incoming(Incoming::SubAck(answer)) => WireEvent::Subscribed(
            answer.return_codes.iter().map(|code| *code != SubscribeReasonCode::Failure).collect(),
        ),
        _ => WireEvent::Other,
    }
}

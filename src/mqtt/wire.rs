//! One MQTT connection, from nothing to its end, through rumqttc: in version 3.1.1 or 5, which look the same from above.
//!
//! A connection is never reused: after an error both halves are dropped, because the library's own replay forgets
//! messages when the session was lost and may wait for ever after a packet-id collision (bytebeamio/rumqtt#1056). Its
//! window of packet ids is far wider than the number of messages on their way, so that ids do not collide.
//!
//! `Receiver::next` must be polled to its end: dropped half way, it may have taken a message and not written it.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::connection::{ConnectionSettings, ProtocolVersion};
use super::message::{MAX_PAYLOAD_BYTES, Received};
use crate::topic::{self, Topic, TopicFilter};

pub(super) use error::{ProxyFault, Refusal, WireError};

mod error;
mod proxy;
mod v3;
mod v5;

/// Packet ids before they are used again. The library keeps one slot for each.
const PACKET_IDS: u16 = 2000;

/// Fixed header, lengths, properties and packet id of a PUBLISH (MQTT 3.1.1, section 3.3), rounded up.
const PACKET_OVERHEAD_BYTES: usize = 64;

/// The largest packet that is sent, in bytes; in MQTT 5 the broker is told to send no larger one.
const LARGEST_PACKET: usize = MAX_PAYLOAD_BYTES + topic::MAX_BYTES + PACKET_OVERHEAD_BYTES;

/// The largest packet that is read, in bytes. In MQTT 3.1.1 a broker cannot be told how much is taken, and to hang up on
/// a message would have it sent again on every connection; so what is too large to be routed is read, acknowledged and
/// refused, up to this size.
const LARGEST_READ: usize = 1024 * 1024;

/// AWS IoT Core keeps a persistent session for an hour by default.
const SESSION_EXPIRY: Duration = Duration::from_secs(3600);

/// The library refuses shorter ones in MQTT 5.
const LEAST_KEEP_ALIVE: Duration = Duration::from_secs(5);

/// A packet identifier, unique among the messages on their way on one connection.
pub(super) type PacketId = u16;

/// What is promised of a message (MQTT 3.1.1, section 4.3). QoS 2 is not: AWS IoT Core does not know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quality {
    /// QoS 0: sent once, confirmed by nobody.
    AtMostOnce,
    /// QoS 1: the broker acknowledges it.
    AtLeastOnce,
}

/// How a message is published.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    pub(super) quality: Quality,
    /// Whether the broker keeps it for later subscribers.
    pub(super) retain: bool,
}

impl Manner {
    /// QoS 1, not retained: what the spool sends.
    pub(super) const SPOOLED: Self = Self { quality: Quality::AtLeastOnce, retain: false };
}

/// What happened on the connection.
#[derive(Debug)]
pub(super) enum WireEvent {
    /// CONNACK with success, and how many unacknowledged messages the broker takes at a time, where it says so (MQTT 5).
    Admitted { receive_maximum: Option<u16> },
    /// The longest waiting message got this packet id and is being written.
    Sent(PacketId),
    /// PUBACK.
    Acknowledged(PacketId),
    /// PUBACK with a reason for which the message will never be taken (MQTT 5).
    Refused(PacketId, &'static str),
    /// The longest waiting SUBSCRIBE or UNSUBSCRIBE got this packet id and is being written.
    Asking(PacketId),
    /// SUBACK: whether each filter was granted.
    Subscribed(PacketId, Vec<bool>),
    /// UNSUBACK.
    Unsubscribed(PacketId),
    /// A message for one of our subscriptions; its acknowledgement is on its way.
    Received(Received),
    /// DISCONNECT has been written: the broker may now close.
    Farewell,
    /// Nothing that matters above.
    Other,
}

/// The half that takes requests. They wait in a bounded channel until the connection takes them.
#[derive(Debug)]
pub(super) enum Sender {
    V3(v3::Client),
    V5(v5::Client),
}

/// The connection takes no more requests: the receiver is about to report why.
#[derive(Debug)]
pub(super) struct Ended;

/// The half that drives the connection.
pub(super) struct Receiver {
    library: Library,
    /// What the library had understood when the connection failed: acknowledgements read together with the end.
    last: VecDeque<WireEvent>,
    failed: Option<Box<WireError>>,
}

enum Library {
    V3(Box<v3::Events>),
    V5(Box<v5::Events>),
}

/// A failed poll: why, and what had been understood by then.
type Failed = (WireError, VecDeque<WireEvent>);

/// A new connection; it is opened by the first [`Receiver::next`]. At most `requests` wait to be written.
pub(super) fn open(settings: &ConnectionSettings, requests: usize) -> (Sender, Receiver) {
    let (sender, library) = match settings.version {
        ProtocolVersion::V311 => {
            let (client, events) = v3::open(settings, requests);
            (Sender::V3(client), Library::V3(events))
        }
        ProtocolVersion::V5 => {
            let (client, events) = v5::open(settings, requests);
            (Sender::V5(client), Library::V5(events))
        }
    };
    (sender, Receiver { library, last: VecDeque::new(), failed: None })
}

impl Sender {
    /// Asks for `payload` to be published. Waits while the channel is full.
    pub(super) async fn publish(&self, topic: &Topic, payload: Bytes, manner: Manner) -> Result<(), Ended> {
        match self {
            Self::V3(client) => v3::publish(client, topic, payload, manner).await,
            Self::V5(client) => v5::publish(client, topic, payload, manner).await,
        }
    }

    /// Asks for a subscription, with QoS 1 or with QoS 0.
    pub(super) async fn subscribe(&self, filter: &TopicFilter, at_least_once: bool) -> Result<(), Ended> {
        match self {
            Self::V3(client) => v3::subscribe(client, filter, at_least_once).await,
            Self::V5(client) => v5::subscribe(client, filter, at_least_once).await,
        }
    }

    /// Asks for the end of a subscription.
    pub(super) async fn unsubscribe(&self, filter: &TopicFilter) -> Result<(), Ended> {
        match self {
            Self::V3(client) => client.unsubscribe(filter.as_str()).await.map_err(|_| Ended),
            Self::V5(client) => client.unsubscribe(filter.as_str()).await.map_err(|_| Ended),
        }
    }

    /// Asks for a DISCONNECT after all that was asked for before.
    pub(super) async fn disconnect(&self) -> Result<(), Ended> {
        match self {
            Self::V3(client) => client.disconnect().await.map_err(|_| Ended),
            Self::V5(client) => client.disconnect().await.map_err(|_| Ended),
        }
    }
}

impl Receiver {
    /// What happens next. After an error there is nothing more.
    pub(super) async fn next(&mut self) -> Result<WireEvent, Box<WireError>> {
        if self.failed.is_none() {
            let polled = match &mut self.library {
                Library::V3(events) => v3::poll(events).await,
                Library::V5(events) => v5::poll(events).await,
            };
            match polled {
                Ok(event) => return Ok(event),
                Err((error, last)) => {
                    self.last = last;
                    self.failed = Some(Box::new(error));
                }
            }
        }
        match self.last.pop_front() {
            Some(event) => Ok(event),
            None => Err(self.failed.take().unwrap_or(Box::new(WireError::Closed))),
        }
    }
}

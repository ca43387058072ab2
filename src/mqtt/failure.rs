//! Why the link has no connection at the moment, in words that an operator can act on.

use std::error::Error;
use std::time::Duration;

use super::connect_error::ConnectError;
use super::connection::BrokerAddress;
use crate::topic::Topic;

/// Why the last connection ended or did not come about. The link keeps trying after each of them.
#[derive(Debug, thiserror::Error)]
pub enum LinkFailure {
    /// The broker was not reached, not trusted, or did not admit us.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The broker ended an admitted connection.
    #[error(
        "the MQTT broker {broker} closed the connection of client {client_id} with {unacknowledged} messages under way"
    )]
    ClosedByBroker {
        /// The other end.
        broker: BrokerAddress,
        /// As whom we were connected.
        client_id: String,
        /// Messages sent on the connection and not acknowledged; they are sent again.
        unacknowledged: usize,
        /// How the connection ended.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The broker keeps ending connections shortly after admitting them.
    #[error(
        "the MQTT broker {broker} closed the connection of client {client_id} within seconds of admitting it, {times} \
         times in a row; another device may be using the same client id: each connection of one ends the other's (A-21)"
    )]
    ClientIdInUse {
        /// The other end.
        broker: BrokerAddress,
        /// As whom we were connected.
        client_id: String,
        /// Such ends in a row.
        times: u32,
    },
    /// The broker said that another connection uses the client id (MQTT 5).
    #[error(
        "the MQTT broker {broker} ended the connection of client {client_id}, because another one uses the same client \
         id ({times} times now): two devices have the same thing name or coreThing.coreClientId; give each a thing and \
         a certificate of its own (A-21)"
    )]
    SessionTakenOver {
        /// The other end.
        broker: BrokerAddress,
        /// As whom we were connected.
        client_id: String,
        /// Such ends since the start.
        times: u32,
    },
    /// The broker closes on subscriptions or requests.
    #[error(
        "the MQTT broker {broker} closes the connection on {requests}; they are left out for 10 minutes; allow \
         iot:Subscribe, iot:Receive and iot:Publish for them in the device's policy"
    )]
    RequestsRefused {
        /// The other end.
        broker: BrokerAddress,
        /// Topics and filters.
        requests: String,
    },
    /// The broker closes when a certain message is sent.
    #[error(
        "the MQTT broker {broker} closed the connection {times} times while a message on {topic} was alone on its way; \
         the device's policy may not allow iot:Publish on this topic"
    )]
    PublishSuspected {
        /// The other end.
        broker: BrokerAddress,
        /// Where the message was to go.
        topic: Topic,
        /// Closes with a message on the topic alone on its way.
        times: u32,
    },
    /// The broker closes when a certain message is sent, and takes others.
    #[error(
        "the MQTT broker {broker} refuses messages on {topic}: it closes the connection on them and takes others; \
         {aside}; allow iot:Publish on this topic in the device's policy, or change the subscription"
    )]
    PublishRefused {
        /// The other end.
        broker: BrokerAddress,
        /// Where the message was to go.
        topic: Topic,
        /// What has been set aside, and for how long.
        aside: String,
    },
    /// The oldest message on its way was not acknowledged in time.
    #[error(
        "the MQTT broker {broker} did not acknowledge a message on {topic} within {} s; the network may be too slow or gone",
        after.as_secs_f32()
    )]
    NotAcknowledged {
        /// The other end.
        broker: BrokerAddress,
        /// Where the oldest unacknowledged message was to go.
        topic: Topic,
        /// How long it was waited for.
        after: Duration,
    },
    /// The network failed under an admitted connection, or the other end fell silent.
    #[error("the connection to the MQTT broker {broker} was lost; check the network")]
    Interrupted {
        /// The other end.
        broker: BrokerAddress,
        /// What was noticed.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The broker sent what is too large to be read.
    #[error(
        "the MQTT broker {broker} sent a message of {actual} bytes, and at most {limit} are read; if it comes again, the \
         session is given up with what it holds; have its sender publish at most 131072 bytes, or limit the broker's \
         message size"
    )]
    MessageTooLarge {
        /// The other end.
        broker: BrokerAddress,
        /// The most that is read, in bytes.
        limit: usize,
        /// What came, in bytes.
        actual: usize,
    },
    /// The program failed while it served the connection.
    #[error("serving the connection to the MQTT broker {broker}: an internal error; please report it with the log")]
    Internal {
        /// The other end.
        broker: BrokerAddress,
    },
}

impl LinkFailure {
    /// Whether trying again may help although nobody changes anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_retryable(),
            Self::PublishRefused { .. }
            | Self::PublishSuspected { .. }
            | Self::ClientIdInUse { .. }
            | Self::SessionTakenOver { .. }
            | Self::RequestsRefused { .. } => false,
            Self::ClosedByBroker { .. }
            | Self::NotAcknowledged { .. }
            | Self::Interrupted { .. }
            | Self::MessageTooLarge { .. }
            | Self::Internal { .. } => true,
        }
    }
    /// One word for the kind of failure, as the link's history counts it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Connect(error) => error.kind(),
            Self::ClosedByBroker { .. } => "closed_by_broker",
            Self::ClientIdInUse { .. } => "client_id_in_use",
            Self::SessionTakenOver { .. } => "session_taken_over",
            Self::RequestsRefused { .. } => "requests_refused",
            Self::PublishSuspected { .. } => "publish_suspected",
            Self::PublishRefused { .. } => "publish_refused",
            Self::NotAcknowledged { .. } => "not_acknowledged",
            Self::Interrupted { .. } => "interrupted",
            Self::MessageTooLarge { .. } => "message_too_large",
            Self::Internal { .. } => "internal",
        }
    }
}

//! One message on a connection of its own: `margay publish`.
//!
//! It is tried once: a person who waits sees at once why the broker does not take it.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;

use super::connect_error::{self, ConnectError};
use super::connection::{BrokerAddress, ConnectionSettings};
use super::wire::{self, Manner, Receiver, WireEvent};
use crate::topic::Topic;

pub use super::wire::Quality;

/// Requests that wait at a time: PUBLISH, DISCONNECT.
const REQUESTS: usize = 2;

/// How long the broker may take to close, once it has everything: what it had not read yet would be lost with the
/// connection.
const FAREWELL: Duration = Duration::from_secs(2);

/// What is published.
#[derive(Debug, Clone)]
pub struct Single {
    /// On which topic.
    pub topic: Topic,
    /// What it says; at most [`MAX_PAYLOAD_BYTES`](super::message::MAX_PAYLOAD_BYTES) bytes.
    pub payload: Bytes,
    /// Whether the broker is to confirm it.
    pub quality: Quality,
    /// Whether the broker keeps it for later subscribers. With an empty payload it forgets what it kept (MQTT 3.1.1,
    /// section 3.3.1.3).
    pub retain: bool,
}

/// Why a message did not get to the broker.
#[derive(Debug, thiserror::Error)]
pub enum SingleError {
    /// The broker was not reached, not trusted, or did not admit us.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// PUBACK with a reason for which it will never be taken (MQTT 5).
    #[error("the MQTT broker {broker} refuses it: {reason}")]
    Refused {
        /// The other end.
        broker: BrokerAddress,
        /// Its reason.
        reason: &'static str,
    },
    /// The broker hung up instead of sending PUBACK, as AWS IoT Core does where a policy does not allow the topic.
    #[error("the MQTT broker {broker} closed the connection instead of acknowledging it")]
    Closed {
        /// The other end.
        broker: BrokerAddress,
        /// How the connection ended.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// Connects, publishes and takes leave. When this returns, the broker has acknowledged the message, or, with
/// [`Quality::AtMostOnce`], has been sent it.
///
/// # Errors
/// Every [`SingleError`].
pub async fn publish(settings: ConnectionSettings, message: Single) -> Result<(), SingleError> {
    let (sender, mut receiver) = wire::open(&settings, REQUESTS);
    be_admitted(&settings, &mut receiver).await?;
    let manner = Manner { quality: message.quality, retain: message.retain };
    // A refused request means that the receiver is about to report why.
    let _ = sender.publish(&message.topic, message.payload, manner).await;
    if message.quality == Quality::AtLeastOnce {
        be_acknowledged(&settings, &mut receiver).await?;
    }
    let _ = sender.disconnect().await;
    take_leave(&settings, &mut receiver, message.quality).await
}

async fn be_admitted(settings: &ConnectionSettings, receiver: &mut Receiver) -> Result<(), SingleError> {
    loop {
        match receiver.next().await {
            Ok(WireEvent::Admitted { .. }) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(ConnectError::new(*error, settings).into()),
        }
    }
}

async fn be_acknowledged(settings: &ConnectionSettings, receiver: &mut Receiver) -> Result<(), SingleError> {
    let broker = settings.broker.clone();
    loop {
        match receiver.next().await {
            Ok(WireEvent::Acknowledged(_)) => return Ok(()),
            Ok(WireEvent::Refused(_, reason)) => return Err(SingleError::Refused { broker, reason }),
            Ok(_) => {}
            Err(error) => return Err(SingleError::Closed { broker, source: connect_error::root(*error) }),
        }
    }
}

/// Waits until DISCONNECT is written and the broker closes. What is not to be acknowledged is delivered by that alone.
async fn take_leave(
    settings: &ConnectionSettings,
    receiver: &mut Receiver,
    quality: Quality,
) -> Result<(), SingleError> {
    let mut said = quality == Quality::AtLeastOnce;
    let closing = async {
        loop {
            match receiver.next().await {
                Ok(WireEvent::Farewell) => said = true,
                Ok(_) => {}
                Err(error) => return connect_error::root(*error),
            }
        }
    };
    match tokio::time::timeout(FAREWELL, closing).await {
        Ok(source) if !said => Err(SingleError::Closed { broker: settings.broker.clone(), source }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;

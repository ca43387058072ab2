//! A subscriber of its own: `margay subscribe`, the demo and whoever wants to see what arrives.
//!
//! One connection, one filter, QoS 1. It ends with the connection; coming back is the caller's decision.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;

use super::connect_error::{self, ConnectError};
use super::connection::{BrokerAddress, ConnectionSettings};
use super::message::Received;
use super::wire::{self, Receiver, Sender, WireEvent};
use crate::topic::TopicFilter;

/// Requests that wait at a time: SUBSCRIBE, DISCONNECT.
const REQUESTS: usize = 2;

/// Why there is nothing (more) to see.
#[derive(Debug, thiserror::Error)]
pub enum ViewerError {
    /// The broker was not reached, not trusted, or did not admit us.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// SUBACK with failure.
    #[error(
        "subscribing client {client_id} to {filter} at the MQTT broker {broker}: it was refused; the certificate's \
         policy must allow iot:Subscribe for this filter and iot:Receive for its topics"
    )]
    SubscriptionRefused {
        /// The other end.
        broker: BrokerAddress,
        /// As whom.
        client_id: String,
        /// What was asked for.
        filter: TopicFilter,
    },
    /// The broker hung up instead of sending SUBACK, as AWS IoT Core does on filters that a policy does not allow.
    #[error(
        "subscribing client {client_id} to {filter} at the MQTT broker {broker}: it closed the connection; the \
         certificate's policy may not allow iot:Subscribe for this filter"
    )]
    ClosedOnSubscribe {
        /// The other end.
        broker: BrokerAddress,
        /// As whom.
        client_id: String,
        /// What was asked for.
        filter: TopicFilter,
        /// How the connection ended.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The connection ended while messages were awaited.
    #[error("waiting for messages on {filter} from the MQTT broker {broker}: the connection ended")]
    Ended {
        /// The other end.
        broker: BrokerAddress,
        /// What was subscribed to.
        filter: TopicFilter,
        /// How the connection ended.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl ViewerError {
    /// Whether trying again may help although nobody changes anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_retryable(),
            Self::Ended { .. } => true,
            Self::SubscriptionRefused { .. } | Self::ClosedOnSubscribe { .. } => false,
        }
    }
}

/// A standing subscription.
pub struct Viewer {
    settings: ConnectionSettings,
    filter: TopicFilter,
    sender: Sender,
    receiver: Receiver,
    /// Messages that came before SUBACK (MQTT 3.1.1, section 3.8.4, allows it).
    early: VecDeque<Received>,
}

impl fmt::Debug for Viewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Viewer").field("settings", &self.settings).field("filter", &self.filter).finish_non_exhaustive()
    }
}

impl Viewer {
    /// Connects and subscribes to `filter` with QoS 1. When this returns, the broker has granted it.
    ///
    /// # Errors
    /// Every [`ViewerError`] but [`ViewerError::Ended`].
    pub async fn connect(settings: ConnectionSettings, filter: TopicFilter) -> Result<Self, ViewerError> {
        let (sender, receiver) = wire::open(&settings, REQUESTS);
        let mut viewer = Self { settings, filter, sender, receiver, early: VecDeque::new() };
        viewer.be_admitted().await?;
        // A refused request means that the receiver is about to report why.
        let _ = viewer.sender.subscribe(&viewer.filter, true).await;
        viewer.be_granted().await?;
        Ok(viewer)
    }

    async fn be_admitted(&mut self) -> Result<(), ViewerError> {
        loop {
            match self.receiver.next().await {
                Ok(WireEvent::Admitted { .. }) => return Ok(()),
                Ok(_) => {}
                Err(error) => return Err(ConnectError::new(*error, &self.settings).into()),
            }
        }
    }

    async fn be_granted(&mut self) -> Result<(), ViewerError> {
        let broker = self.settings.broker.clone();
        let client_id = self.settings.client_id.clone();
        loop {
            let filter = self.filter.clone();
            match self.receiver.next().await {
                Ok(WireEvent::Subscribed(_, granted)) if granted.iter().all(|granted| *granted) => {
                    return Ok(());
                }
                Ok(WireEvent::Subscribed(..)) => {
                    return Err(ViewerError::SubscriptionRefused { broker, client_id, filter });
                }
                Ok(WireEvent::Received(message)) => self.early.push_back(message),
                Ok(_) => {}
                Err(error) => {
                    let source = connect_error::root(*error);
                    return Err(ViewerError::ClosedOnSubscribe { broker, client_id, filter, source });
                }
            }
        }
    }

    /// Waits for the next message. Not cancel-safe: if the future is dropped, a message may be lost.
    ///
    /// # Errors
    /// [`ViewerError::Ended`]; after it there is nothing more.
    pub async fn next(&mut self) -> Result<Received, ViewerError> {
        if let Some(message) = self.early.pop_front() {
            return Ok(message);
        }
        loop {
            match self.receiver.next().await {
                Ok(WireEvent::Received(message)) => return Ok(message),
                Ok(_) => {}
                Err(error) => {
                    return Err(ViewerError::Ended {
                        broker: self.settings.broker.clone(),
                        filter: self.filter.clone(),
                        source: connect_error::root(*error),
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;

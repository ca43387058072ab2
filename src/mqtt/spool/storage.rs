//! Where the bodies of accepted messages lie. A storage for files is a second variant with the same three operations.

use std::collections::HashMap;

use super::StorageType;
use crate::mqtt::message::{Message, MessageId};

/// The bodies of the messages that the spool's index names.
#[derive(Debug)]
pub(super) enum Storage {
    /// *Accepted* means: in this process's memory. It outlives every loss of the connection, not the process.
    Memory(HashMap<MessageId, Message>),
}

impl Storage {
    /// An empty storage of the type that the settings name.
    pub(super) fn open(storage: StorageType) -> Self {
        match storage {
            StorageType::Memory => Self::Memory(HashMap::new()),
        }
    }

    /// Keeps `message` until it is removed. When this returns, the message is as safe as the type promises.
    pub(super) fn put(&mut self, message: Message) {
        match self {
            Self::Memory(bodies) => drop(bodies.insert(message.id, message)),
        }
    }

    /// A copy of message `id`; its payload is shared, not copied.
    pub(super) fn get(&self, id: MessageId) -> Option<Message> {
        match self {
            Self::Memory(bodies) => bodies.get(&id).cloned(),
        }
    }

    /// Forgets message `id`.
    pub(super) fn remove(&mut self, id: MessageId) -> Option<Message> {
        match self {
            Self::Memory(bodies) => bodies.remove(&id),
        }
    }
}

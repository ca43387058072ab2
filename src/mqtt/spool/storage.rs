//! Where the bodies of accepted messages lie: in memory, or in files with what is not written yet in memory.

use std::collections::HashMap;
use std::io;
use std::time::Instant;

use super::files::Files;
use super::totals::Fate;
use super::worth::Worth;
use crate::mqtt::message::{Message, MessageId};

/// The bodies of the messages that the spool's index names.
#[derive(Debug)]
pub(super) enum Storage {
    /// *Accepted* means: in this process's memory. It outlives every loss of the connection, not the process.
    Memory(HashMap<MessageId, Message>),
    /// *Accepted* means: on the disk, or in memory where the disk fails, and then the core says so.
    Files(Box<Files>),
}

/// What is left of a message that was removed.
#[derive(Debug)]
pub(super) struct Removed {
    pub(super) tag: u64,
    pub(super) accepted: Instant,
    /// Whether it counted as accepted before.
    pub(super) counted: bool,
}

impl Storage {
    /// Keeps `message` until it is removed. Whether it counts as accepted at once: else when a batch with it is
    /// settled.
    pub(super) fn put(&mut self, message: Message, worth: Worth) -> bool {
        match self {
            Self::Memory(bodies) => {
                bodies.insert(message.id, message);
                true
            }
            Self::Files(files) => files.put(message, worth),
        }
    }

    /// A copy of message `id`.
    ///
    /// # Errors
    /// It is on the disk and cannot be read.
    pub(super) fn get(&mut self, id: MessageId) -> io::Result<Option<Message>> {
        match self {
            // Its payload is shared, not copied.
            Self::Memory(bodies) => Ok(bodies.get(&id).cloned()),
            Self::Files(files) => files.get(id),
        }
    }

    /// Forgets message `id`, which met its fate at `now`.
    pub(super) fn remove(&mut self, id: MessageId, fate: Fate, now: Instant) -> Option<Removed> {
        match self {
            Self::Memory(bodies) => {
                let Message { tag, accepted, .. } = bodies.remove(&id)?;
                Some(Removed { tag, accepted, counted: true })
            }
            Self::Files(files) => files.remove(id, fate, now),
        }
    }

    pub(super) fn files(&self) -> Option<&Files> {
        match self {
            Self::Memory(_) => None,
            Self::Files(files) => Some(files),
        }
    }

    pub(super) fn files_mut(&mut self) -> Option<&mut Files> {
        match self {
            Self::Memory(_) => None,
            Self::Files(files) => Some(files),
        }
    }
}

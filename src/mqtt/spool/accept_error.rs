//! Why the spool does not take a message.

use crate::topic::Topic;

/// Why a message was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// The payload is over [`MAX_PAYLOAD_BYTES`](crate::mqtt::message::MAX_PAYLOAD_BYTES): AWS IoT Core would close the connection on it.
    #[error("accepting a message on {topic}: its payload has {actual} bytes, the broker takes {limit}")]
    TooLarge {
        /// Where the message was to go.
        topic: Topic,
        /// The most bytes of a payload.
        limit: usize,
        /// The bytes it has.
        actual: usize,
    },
    /// All the room is taken by messages in flight.
    #[error(
        "accepting a message on {topic}: messages in flight fill {in_use} of the spool's {limit} bytes; make \
         GG_CONFIG_MAX_SIZE_BYTES larger or messages smaller"
    )]
    NoRoom {
        /// Where the message was to go.
        topic: Topic,
        /// The spool's limit in bytes.
        limit: usize,
        /// Bytes held by messages in flight.
        in_use: usize,
    },
    /// More waits to be written to the disk than memory is meant to hold: messages come faster than the disk takes them.
    #[error("accepting a message on {topic}: the disk does not keep up with the spool; offer it again in a moment")]
    DiskBusy {
        /// Where the message was to go.
        topic: Topic,
    },
    /// The link is being drained, or has stopped.
    #[error("accepting a message on {topic}: the cloud link is shutting down")]
    Closed {
        /// Where the message was to go.
        topic: Topic,
    },
}

impl AcceptError {
    /// Whether the same message may be taken later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::NoRoom { .. } | Self::DiskBusy { .. })
    }
}

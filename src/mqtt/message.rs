//! One message on its way to the cloud, what is known about it when it has arrived, and one that comes from there.

use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::topic::Topic;

/// The largest payload, in bytes: AWS IoT Core's limit of 128 KB.
pub const MAX_PAYLOAD_BYTES: usize = 128 * 1024;

/// What a message costs in the spool beyond its topic and payload, in bytes: about what its places in the indexes take,
/// so that many small messages cannot fill the memory.
pub const OVERHEAD_BYTES: usize = 128;

/// A message's number: counted up in the order of acceptance, from 1, within one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub(super) u64);

impl MessageId {
    /// The number itself.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// An accepted message.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its number.
    pub id: MessageId,
    /// Where it goes.
    pub topic: Topic,
    /// What it says.
    pub payload: Bytes,
    /// What the caller gave with it.
    pub tag: u64,
    /// When it was accepted.
    pub accepted: Instant,
}

/// The bytes of the spool's limit that a message uses up.
pub(super) fn cost(topic: &Topic, payload: &Bytes) -> usize {
    topic.as_str().len() + payload.len() + OVERHEAD_BYTES
}

/// A message that the broker acknowledged: it has taken over the responsibility for it (MQTT 3.1.1, section 4.3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// The message.
    pub id: MessageId,
    /// What the caller gave with it: [`Link::accept_tagged`](super::link::Link::accept_tagged); 0 otherwise.
    pub tag: u64,
    /// From acceptance to acknowledgement, as this process saw it.
    pub after: Duration,
    /// How often it was sent: more than once means that subscribers may have seen it more than once.
    pub times_sent: u32,
}

/// A message that the broker sent for a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The topic it was published on.
    pub topic: String,
    /// Its payload, as it was published.
    pub payload: Bytes,
    /// The broker may have sent it before (MQTT-3.3.1-1).
    pub duplicate: bool,
    /// It was kept by the broker from before the subscription (MQTT-3.3.1-8).
    pub retained: bool,
}

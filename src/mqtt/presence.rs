//! Whether the core is there, as it tells its broker: a message at each connection, one when it leaves, and a last will
//! for when it can say nothing any more.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::connection::Will;
use crate::topic::Topic;

/// What a message about the core's presence tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The link is connected.
    Online,
    /// The core stops in good order.
    Stopping,
    /// The connection was lost: said by the broker, as our last will.
    Lost,
}

/// Writes the document for an event, on the link's task: it must return at once.
pub type Writer = Arc<dyn Fn(Event) -> Bytes + Send + Sync>;

/// How the core tells that it is there.
#[derive(Clone)]
pub struct Presence {
    /// Where it is told.
    pub topic: Topic,
    /// Whether the broker keeps the last word for later subscribers.
    pub retain: bool,
    /// What is said.
    pub document: Writer,
}

impl Presence {
    pub(super) fn will(&self) -> Will {
        Will { topic: self.topic.clone(), payload: (self.document)(Event::Lost), retain: self.retain }
    }

    pub(super) fn errand(&self, event: Event) -> Errand {
        Errand { topic: self.topic.clone(), payload: (self.document)(event), retain: self.retain }
    }
}

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presence").field("topic", &self.topic).field("retain", &self.retain).finish_non_exhaustive()
    }
}

/// A message that is worth something only now: sent at once or not at all, and never kept in the spool.
#[derive(Debug, Clone)]
pub(super) struct Errand {
    pub(super) topic: Topic,
    pub(super) payload: Bytes,
    pub(super) retain: bool,
}

//! Why a message goes nowhere, or not to all.

use std::error::Error;
use std::sync::Arc;

use super::endpoint::Endpoint;
use crate::topic::{Topic, TopicError};

/// Why a message goes nowhere.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RouteError {
    /// The topic is none.
    #[error("routing a message from {source_endpoint}: its topic cannot be used")]
    Topic {
        /// Who sent it.
        source_endpoint: Endpoint,
        /// What is wrong with the topic.
        #[source]
        error: TopicError,
    },
    /// The payload is over [`MAX_PAYLOAD_BYTES`](super::MAX_PAYLOAD_BYTES).
    #[error("routing a message from {source_endpoint} on {topic}: its payload has {actual} bytes, {limit} are allowed")]
    PayloadTooLarge {
        /// Who sent it.
        source_endpoint: Endpoint,
        /// Where it was published.
        topic: Topic,
        /// The most bytes allowed.
        limit: usize,
        /// The bytes it has.
        actual: usize,
    },
    /// No subscription has this source and selects this topic.
    #[error(
        "routing a message from {source_endpoint} on {topic}: no subscription of the group has this source and selects \
         this topic; add one and deploy the group"
    )]
    NoRoute {
        /// Who sent it.
        source_endpoint: Endpoint,
        /// Where it was published.
        topic: Topic,
    },
    /// Under `AllOrError`: one target could not take the message, so none got it. The SDKs call it `AGAIN`.
    #[error(
        "routing a message from {source_endpoint} on {topic}: {target} cannot take it, so nobody got it; try again later"
    )]
    PutOff {
        /// Who sent it.
        source_endpoint: Endpoint,
        /// Where it was published.
        topic: Topic,
        /// The target.
        target: Endpoint,
        /// Why not.
        #[source]
        why: Missed,
    },
}

impl RouteError {
    /// Whether the same message may be routed later although nobody changes anything.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::PutOff { .. })
    }
}

/// Why a target did not get a message.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Missed {
    /// Its queue has no room for these bytes.
    #[error("its queue is full: {in_use} of {limit} bytes wait")]
    QueueFull {
        /// The most bytes that may wait.
        limit: usize,
        /// The bytes that do.
        in_use: usize,
    },
    /// As many messages wait in the queues of all targets as may (`runtime.maxWorkItemCount`).
    #[error("{limit} messages wait in the core, which is runtime.maxWorkItemCount of config.json")]
    TooManyWaiting {
        /// The most messages that may wait.
        limit: usize,
    },
    /// Nobody receives for it: it does not run.
    #[error("it does not run")]
    NotRunning,
    /// The cloud's spool did not take it.
    #[error(transparent)]
    Cloud(Arc<dyn Error + Send + Sync>),
}

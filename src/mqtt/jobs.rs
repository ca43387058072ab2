//! AWS IoT Jobs on the wire: topics and JSON of the developer guide's "Jobs device MQTT API". What goes up from here are
//! words of our own, [`Said`] and [`Ask`].
//!
//! Requests are errands: they are worth something only on the connection that stands. Serves [`jobs`](crate::jobs),
//! which decides.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::mpsc;

use super::link::{Link, LinkSubscription, SendError};
use super::message::Received;
use crate::name::ThingName;
use crate::topic::Topic;

mod wire;

/// What the link asks for, below the thing's topics of Jobs.
const FILTERS: [&str; 5] =
    ["notify-next", "start-next/accepted", "start-next/rejected", "+/update/accepted", "+/update/rejected"];

/// How many of a connection's subscriptions Jobs take.
pub const FILTER_COUNT: usize = FILTERS.len();

/// Messages of Jobs that wait to be read; requests are one at a time, so that few come.
const INBOX: usize = 64;

/// What is told of a job in progress: names of `[a-zA-Z0-9:_-]`, values of at most [`MAX_DETAIL`] characters.
pub type Details = BTreeMap<String, String>;

/// The most characters of a value in [`Details`].
pub const MAX_DETAIL: usize = 1024;

/// How a job stands on this thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Being worked on.
    InProgress,
    /// Done.
    Succeeded,
    /// Not done, and will not be.
    Failed,
    /// Refused before anything was done.
    Rejected,
    /// Ended by the cloud: cancelled, timed out, removed, or a status that this version does not know.
    Ended,
}

impl Status {
    /// Whether nothing can change it any more.
    pub fn is_terminal(self) -> bool {
        self != Self::InProgress
    }
}

/// A job that the cloud wants done.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// Its id: at most 64 of `[a-zA-Z0-9_-]`.
    pub job_id: String,
    /// What is to be done, unchecked.
    pub document: Value,
    /// Counts its changes.
    pub version: i64,
}

/// What a core asks of Jobs.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// The job in progress, or else the next that waits, which is then in progress.
    StartNext {
        /// Minutes within which its status must change.
        step_timeout: u16,
    },
    /// Take note of how a job stands.
    Update {
        /// The job.
        job_id: String,
        /// How it stands.
        status: Status,
        /// What there is to tell.
        details: Details,
        /// The version that is known here.
        expected_version: i64,
        /// Minutes within which its status must change again.
        step_timeout: u16,
    },
}

/// What Jobs says.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// The job to work on was started, or there is none.
    Started(Option<Offer>),
    /// An update was noted; the job has this version now.
    Updated {
        /// The request's number.
        token: u64,
        /// The version after it.
        version: Option<i64>,
    },
    /// A request was rejected.
    Rejected {
        /// The request's number, if the answer has it.
        token: Option<u64>,
        /// Why.
        why: Why,
        /// What the cloud says of it.
        message: String,
    },
    /// The next job is another one than before: its id, or none is left.
    NextChanged(Option<String>),
}

/// Why a request was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The version that is known here is not the current one; the current one and its status.
    VersionMismatch {
        /// The current version.
        version: i64,
        /// The current status.
        status: Status,
    },
    /// The job is at its end, or not there.
    Over,
    /// Too many requests, or something that passes.
    Later,
    /// The request itself is wrong.
    Wrong,
}

/// The topics of one thing, and what comes on them.
#[derive(Debug)]
pub struct JobsChannel {
    prefix: String,
    inbox: mpsc::Receiver<Received>,
    tokens: u64,
}

impl JobsChannel {
    /// The channel of `thing`, and what the link must ask for.
    pub fn new(thing: &ThingName) -> (Self, Vec<LinkSubscription>) {
        let (sender, inbox) = mpsc::channel(INBOX);
        let prefix = format!("$aws/things/{thing}/jobs/");
        let subscriptions = FILTERS.iter().filter_map(|filter| {
            let filter = format!("{prefix}{filter}").parse().ok()?;
            Some(LinkSubscription { filter, inbox: sender.clone() })
        });
        let subscriptions = subscriptions.collect();
        (Self { prefix, inbox, tokens: fastrand::u64(..1 << 32) << 16 }, subscriptions)
    }

    /// Sends a request on the connection that stands; gives its number, with which it is answered.
    ///
    /// # Errors
    /// Every [`SendError`]; nothing was sent.
    pub fn ask(&mut self, link: &Link, ask: &Ask) -> Result<u64, SendError> {
        self.tokens += 1;
        let (what, payload) = wire::request(ask, self.tokens);
        let Ok(topic) = format!("{}{what}", self.prefix).parse::<Topic>() else { return Err(SendError::NotConnected) };
        link.send(topic, Bytes::from(payload))?;
        Ok(self.tokens)
    }

    /// What Jobs says next; what is none of its answers is passed over. `None` when the link is gone. Cancel-safe.
    pub async fn next(&mut self) -> Option<Said> {
        loop {
            let message = self.inbox.recv().await?;
            let Some(what) = message.topic.strip_prefix(&self.prefix) else { continue };
            match wire::said(what, &message.payload) {
                Some(said) => return Some(said),
                None => tracing::warn!(topic = message.topic, "a message of AWS IoT Jobs is not understood"),
            }
        }
    }
}

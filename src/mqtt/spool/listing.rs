//! What `margay spool show` and the status say of the spool.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Spool;
use super::aside::Aside;
use super::files::Files;
use super::record::Record;
use super::segment::{self, Item};

/// The most topics that a listing names.
const MAX_TOPICS: usize = 1000;

/// How the spool stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolState {
    /// The folder of its files; `None` where it is in memory.
    pub folder: Option<PathBuf>,
    /// Bytes of the limit in use.
    pub used_bytes: u64,
    /// The limit, in bytes.
    pub limit_bytes: u64,
    /// Messages that are in memory only.
    pub in_memory: u64,
    /// Files, and the bytes in them.
    pub segments: u64,
    /// Bytes of all files.
    pub disk_bytes: u64,
    /// Damaged places found at the start.
    pub damaged: u64,
    /// Why nothing can be written at the moment.
    pub trouble: Option<String>,
    /// What was found at the start that an operator should know.
    pub notes: Vec<String>,
}

/// The spool's content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolListing {
    /// How it stands.
    pub state: SpoolState,
    /// Messages waiting to be sent for the first time.
    pub queued: u64,
    /// Messages sent and not acknowledged.
    pub in_flight: u64,
    /// The queued messages by topic, at most 1000 topics.
    pub topics: Vec<TopicListing>,
    /// What was set aside, oldest first.
    pub aside: Vec<AsideEntry>,
}

/// The queued messages of one topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicListing {
    /// The topic.
    pub topic: String,
    /// Messages.
    pub messages: u64,
    /// Bytes of the limit that they use.
    pub bytes: u64,
    /// When the oldest was accepted, in milliseconds since 1970 by the device's clock; `None` where that is not kept.
    pub oldest_ms: Option<i64>,
}

/// Something set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsideEntry {
    /// The file.
    pub path: PathBuf,
    /// Its length in bytes.
    pub bytes: u64,
    /// The topic of the message in it; `None` for bytes of a damaged segment.
    pub topic: Option<String>,
}

impl Spool {
    /// How it stands.
    pub fn state(&self) -> SpoolState {
        let (used_bytes, limit_bytes) = (self.counters().spool_bytes, self.limit_bytes as u64);
        let common = SpoolState {
            used_bytes,
            limit_bytes,
            damaged: self.damaged,
            notes: self.notes.clone(),
            ..SpoolState::default()
        };
        let Some(files) = self.storage.files() else {
            return SpoolState { in_memory: (self.queued.len() + self.in_flight.len()) as u64, ..common };
        };
        let (segments, disk_bytes) = files.on_disk();
        SpoolState {
            folder: Some(files.folder().to_owned()),
            in_memory: files.volatile().count() as u64,
            segments: segments as u64,
            disk_bytes,
            trouble: files.trouble().map(str::to_owned),
            ..common
        }
    }

    /// What it holds.
    pub fn listing(&mut self) -> SpoolListing {
        let mut topics: Vec<(TopicListing, super::MessageId)> = Vec::new();
        let mut positions = std::collections::HashMap::new();
        for (id, queued) in self.queued.iter() {
            if positions.len() == MAX_TOPICS && !positions.contains_key(&queued.topic) {
                continue;
            }
            let position = *positions.entry(queued.topic.clone()).or_insert_with(|| {
                let topic = queued.topic.to_string();
                topics.push((TopicListing { topic, messages: 0, bytes: 0, oldest_ms: None }, id));
                topics.len() - 1
            });
            topics[position].0.messages += 1;
            topics[position].0.bytes += queued.cost as u64;
        }
        let dated = |(listing, first): (TopicListing, super::MessageId)| TopicListing {
            oldest_ms: self.storage.files_mut().and_then(|files| files.enqueued_ms(first)),
            ..listing
        };
        let topics = topics.into_iter().map(dated).collect();
        let aside = self.storage.files().map(aside).unwrap_or_default();
        let counters = self.counters();
        SpoolListing {
            state: self.state(),
            queued: counters.queued + counters.committing,
            in_flight: counters.in_flight,
            topics,
            aside,
        }
    }
}

fn aside(files: &Files) -> Vec<AsideEntry> {
    let entries = Aside::within(files.folder()).entries();
    let listed = entries.into_iter().map(|entry| {
        let bytes = std::fs::read(&entry.path).unwrap_or_default();
        let first = segment::items(&bytes).ok().and_then(|mut items| items.next());
        let topic = match first {
            Some(Item::Record(Record::Message(message), _)) => Some(message.topic.to_string()),
            _ => None,
        };
        AsideEntry { path: entry.path, bytes: entry.bytes, topic }
    });
    listed.collect()
}

//! The spool on disk as its committer sees it: open, take a batch, settle it.
//!
//! ```text
//! loop: wait until a batch is due → take it (lock) → Journal::commit (no lock) → settle it (lock) → tell who waits
//! ```

use std::io;
use std::sync::{Arc, Condvar};
use std::time::Instant;

use super::Spool;
use super::files::{Due, Files};
use super::journal::{Batch, CommitError, Committed, Journal};
use super::recovery::{self, Recovered, SpoolOpenError};
use super::settings::{SpoolSettings, StorageType};
use super::storage::Storage;
use super::totals::Fate;
use crate::clock::Clock;
use crate::mqtt::message::MessageId;

/// The smallest and the largest segment, in bytes; between them it is an eighth of the spool.
const SEGMENT_BYTES: std::ops::RangeInclusive<usize> = 64 * 1024..=1024 * 1024;

/// A message counts as accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The message.
    pub id: MessageId,
    /// The caller's number.
    pub tag: u64,
    /// What it rests on.
    pub kept: Kept,
}

/// Where an accepted message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// On the disk, synced.
    OnDisk,
    /// In memory: that is its storage, or the disk fails.
    InMemory,
    /// Gone before it had to be written: the broker has it, or it was given up and counted.
    Delivered,
}

impl Spool {
    /// A spool with what its files hold, and the journal that writes to them; without a journal in memory.
    ///
    /// # Errors
    /// [`SpoolOpenError`]: the folder cannot be used, or another process uses it.
    pub fn open(
        settings: &SpoolSettings,
        clock: Arc<dyn Clock>,
        now: Instant,
    ) -> Result<(Self, Option<Journal>), SpoolOpenError> {
        let mut spool = Self::new(settings);
        let StorageType::FileSystem(folder) = settings.storage() else { return Ok((spool, None)) };
        let segment_bytes = (spool.limit_bytes / 8).clamp(*SEGMENT_BYTES.start(), *SEGMENT_BYTES.end()) as u64;
        let (journal, recovered) = recovery::open(folder, segment_bytes)?;
        let files = Files::new(folder, (segment_bytes, spool.limit_bytes), &recovered, clock, now);
        spool.storage = Storage::Files(Box::new(files));
        let Recovered { live, totals, damaged, notes, .. } = recovered;
        (spool.totals, spool.damaged, spool.notes) = (totals, damaged, notes);
        for (id, found) in live {
            spool.queued.push(id, found.topic, found.cost, found.worth);
        }
        while spool.queued.bytes() > spool.limit_bytes {
            let Some(dropped) = spool.makes_room() else { break };
            spool.give_up(dropped, recovery::OVER_THE_LIMIT, now);
        }
        Ok((spool, Some(journal)))
    }

    /// Notes for the operator: the files could not be used, and why.
    pub(in crate::mqtt) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Collects word of accepted messages for [`take_news`](Self::take_news).
    pub(in crate::mqtt) fn collect_news(&mut self) {
        self.news = Some(Vec::new());
    }

    /// The messages that came to count as accepted since the last call.
    pub(in crate::mqtt) fn take_news(&mut self) -> Vec<Accepted> {
        self.news.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Rung when a batch may have become due; `None` in memory.
    pub(in crate::mqtt) fn bell(&self) -> Option<Arc<Condvar>> {
        self.storage.files().map(Files::bell)
    }

    /// When the next batch is to be taken.
    pub(in crate::mqtt) fn due(&self, now: Instant) -> Due {
        self.storage.files().map_or(Due::Never, |files| files.due(now))
    }

    /// Whether anything is not written yet.
    pub(in crate::mqtt) fn has_unwritten(&self) -> bool {
        self.storage.files().is_some_and(Files::has_work)
    }

    /// Whether the disk failed at the last attempt.
    pub(in crate::mqtt) fn is_in_trouble(&self) -> bool {
        self.storage.files().is_some_and(|files| files.trouble().is_some())
    }

    /// Acknowledgements that still take up the window, because they are not written.
    pub(in crate::mqtt) fn held_acknowledgements(&self) -> usize {
        self.storage.files().map_or(0, Files::held)
    }

    /// The window is full of acknowledgements that are not written: writes them now.
    pub(in crate::mqtt) fn hurry(&mut self) {
        if let Some(files) = self.storage.files_mut() {
            files.hurry();
        }
    }

    /// What is to be written now; with `all`, whatever is not written. Nothing in memory.
    pub fn take_batch(&mut self, now: Instant, all: bool) -> Batch {
        let ledger = self.totals;
        self.storage.files_mut().map_or_else(Batch::default, |files| files.take_batch(ledger, now, all))
    }

    /// A batch was written, or not.
    pub fn settle(&mut self, outcome: Result<Committed, CommitError>, now: Instant) {
        let Some(files) = self.storage.files_mut() else { return };
        let (accepted, kept) = match &outcome {
            Ok(committed) => (files.settle(committed), Kept::OnDisk),
            Err(error) => (files.settle_failed(error, now), Kept::InMemory),
        };
        for (id, tag) in accepted {
            self.count_accepted(id, tag, kept);
        }
        if let Err(error) = outcome
            && matches!(error.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        {
            self.make_room_on_disk(now);
        }
    }

    /// The disk is full: the oldest segment goes, and what is queued in it.
    fn make_room_on_disk(&mut self, now: Instant) {
        let Some(ids) = self.storage.files_mut().and_then(Files::give_up_oldest) else { return };
        tracing::warn!(messages = ids.len(), "the disk is full: the oldest messages of the spool make room");
        for id in ids {
            let in_flight = self.in_flight.contains_key(&id);
            if in_flight && self.storage.files_mut().is_some_and(|files| files.take_back(id)) {
                continue;
            }
            self.end_flight(id);
            self.give_up(id, if in_flight { Fate::Damaged } else { Fate::DiskUnavailable }, now);
        }
    }

    /// Whether memory may hold one more message of `cost` until it is written. While the disk fails the oldest messages
    /// that are in memory only make room.
    pub(super) fn has_memory_for(&mut self, cost: usize) -> bool {
        while self.storage.files().is_some_and(|files| files.memory_is_full(cost)) {
            let Some(files) = self.storage.files().filter(|files| files.trouble().is_some()) else { return false };
            let oldest = files.volatile().map(|(id, _)| id).find(|id| self.queued.contains(*id));
            let Some(oldest) = oldest else { return false };
            self.give_up(oldest, Fate::DiskUnavailable, Instant::now());
        }
        true
    }

    /// The tags of the queued messages, oldest first.
    #[cfg(test)]
    pub(in crate::mqtt) fn queued_tags(&self) -> Vec<u64> {
        self.queued.iter().filter_map(|(id, _)| self.storage.files()?.tag(id)).collect()
    }

    /// The messages taken and not accepted yet.
    pub(super) fn committing(&self) -> Vec<MessageId> {
        let volatile = self.storage.files().into_iter().flat_map(Files::volatile);
        volatile.filter(|(_, counted)| !counted).map(|(id, _)| id).collect()
    }
}

//! The index of the spool on disk, and what is still to be written: what the committer's thread takes, in batches.
//!
//! A message is *volatile* until a batch with it is settled; then its body is on the disk only. Removed before it was
//! taken for a batch, it is never written: while the cloud is there and near, the disk has nothing to do.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar};
use std::time::{Duration, Instant};

use super::journal::{Batch, COMMIT_COUNT, COMMIT_INTERVAL, CommitError, Committed, Place, Reader};
use super::record::Stored;
use super::recovery::Recovered;
use super::segments::Segments;
use super::settings::DEFAULT_MAX_SIZE_BYTES;
use super::storage::Removed;
use super::totals::{Fate, Totals};
use super::worth::Worth;
use crate::clock::Clock;
use crate::mqtt::message::{self, Message, MessageId};

/// So many bytes are written without waiting for more.
const COMMIT_BYTES: usize = 256 * 1024;

/// Acknowledgements not yet written after which they are, without waiting: each holds a place in the window.
const HELD_ACKNOWLEDGEMENTS: usize = 8;

/// How long after a failure the disk is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// How often the ledger is written where nothing else is.
const LEDGER_INTERVAL: Duration = Duration::from_secs(10);

/// The most messages moved out of the oldest segment with one batch.
const MAX_MOVED: usize = 512;

/// A message that is not known to be on the disk.
#[derive(Debug)]
struct Volatile {
    stored: Stored,
    accepted: Instant,
    cost: usize,
    /// A batch with it was begun: its record may be on the disk.
    attempted: bool,
    /// It counts as accepted.
    counted: bool,
}

/// A message on the disk.
#[derive(Debug)]
struct Kept {
    place: Place,
    tag: u64,
    accepted: Instant,
}

/// What is to be done when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::mqtt) enum Due {
    Now,
    At(Instant),
    Never,
}

/// The disk takes nothing at the moment.
#[derive(Debug)]
struct Trouble {
    text: String,
    retry: Instant,
}

/// Index, and orders for the committer.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    memory_limit: usize,
    volatile: BTreeMap<MessageId, Volatile>,
    volatile_bytes: usize,
    /// Volatile messages that no batch has taken yet, and their bytes.
    fresh: (usize, usize),
    kept: HashMap<MessageId, Kept>,
    segments: Segments,
    reader: Reader,
    done: Vec<(MessageId, Fate)>,
    /// Acknowledgements that are not written yet, and those of them that a batch has taken.
    held: (usize, usize),
    aside: Vec<Stored>,
    evict: Vec<u64>,
    ledger_due: bool,
    ledger_taken: Option<Instant>,
    hurry: bool,
    since: Option<Instant>,
    batch_done: Vec<(MessageId, Fate)>,
    trouble: Option<Trouble>,
    bell: Arc<Condvar>,
    clock: Arc<dyn Clock>,
}

impl Files {
    pub(super) fn new(
        folder: &Path,
        (segment_bytes, limit): (u64, usize),
        recovered: &Recovered,
        clock: Arc<dyn Clock>,
        now: Instant,
    ) -> Self {
        let mut files = Self {
            folder: folder.to_owned(),
            memory_limit: limit.min(DEFAULT_MAX_SIZE_BYTES),
            volatile: BTreeMap::new(),
            volatile_bytes: 0,
            fresh: (0, 0),
            kept: HashMap::with_capacity(recovered.live.len()),
            segments: Segments::new(segment_bytes, &recovered.segments),
            reader: Reader::default(),
            done: Vec::new(),
            held: (0, 0),
            aside: Vec::new(),
            evict: Vec::new(),
            ledger_due: false,
            ledger_taken: None,
            hurry: false,
            since: None,
            batch_done: Vec::new(),
            trouble: None,
            bell: Arc::new(Condvar::new()),
            clock,
        };
        for (id, found) in &recovered.live {
            files.keep(*id, Kept { place: found.place, tag: found.tag, accepted: now });
        }
        files
    }

    /// Where the files are.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Rung when there is something to write.
    pub(super) fn bell(&self) -> Arc<Condvar> {
        self.bell.clone()
    }

    pub(super) fn put(&mut self, message: Message, worth: Worth) -> bool {
        let cost = message::cost(&message.topic, &message.payload);
        let Message { id, topic, payload, tag, accepted } = message;
        let enqueued_ms = i64::try_from(self.clock.now().unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX);
        let stored = Stored { id, topic, payload, tag, enqueued_ms, worth };
        let counted = self.trouble.is_some();
        self.volatile_bytes += cost;
        self.fresh = (self.fresh.0 + 1, self.fresh.1 + cost);
        self.volatile.insert(id, Volatile { stored, accepted, cost, attempted: false, counted });
        self.begin_waiting(accepted, self.fresh.0 >= COMMIT_COUNT || self.fresh.1 >= COMMIT_BYTES);
        counted
    }

    fn begin_waiting(&mut self, now: Instant, enough: bool) {
        if self.since.is_none() {
            self.since = Some(now);
            self.bell.notify_one();
        } else if enough {
            self.bell.notify_one();
        }
    }

    pub(super) fn get(&mut self, id: MessageId) -> io::Result<Option<Message>> {
        if let Some(Volatile { stored, accepted, .. }) = self.volatile.get(&id) {
            return Ok(Some(message(stored.clone(), *accepted)));
        }
        let Some(Kept { place, accepted, .. }) = self.kept.get(&id) else { return Ok(None) };
        Ok(Some(message(self.reader.read(&self.folder, *place)?, *accepted)))
    }

    pub(super) fn remove(&mut self, id: MessageId, fate: Fate, now: Instant) -> Option<Removed> {
        if let Some(volatile) = self.volatile.remove(&id) {
            self.volatile_bytes -= volatile.cost;
            if volatile.attempted {
                self.order_done(id, fate, now);
            } else {
                self.fresh = (self.fresh.0.saturating_sub(1), self.fresh.1.saturating_sub(volatile.cost));
                self.ledger_due = true;
            }
            let (tag, accepted, counted) = (volatile.stored.tag, volatile.accepted, volatile.counted);
            return Some(Removed { tag, accepted, counted });
        }
        let Kept { place, tag, accepted } = self.kept.remove(&id)?;
        self.segments.release(place);
        if self.segments.contains(place.segment) {
            self.order_done(id, fate, now);
        }
        Some(Removed { tag, accepted, counted: true })
    }

    fn order_done(&mut self, id: MessageId, fate: Fate, now: Instant) {
        self.done.push((id, fate));
        if fate == Fate::Delivered {
            self.held.0 += 1;
        }
        self.begin_waiting(now, self.is_urgent() || self.done.len() >= COMMIT_COUNT);
    }

    /// Acknowledgements that take up the window because a restart would not know of them; none while the disk fails.
    pub(super) fn held(&self) -> usize {
        if self.trouble.is_some() { 0 } else { self.held.0 }
    }

    /// Writes acknowledgements without waiting for more.
    pub(super) fn hurry(&mut self) {
        self.hurry = true;
        self.bell.notify_one();
    }

    fn is_urgent(&self) -> bool {
        self.held.0 - self.held.1 >= HELD_ACKNOWLEDGEMENTS || (self.hurry && self.held.0 > self.held.1)
    }

    fn messages_due(&self, now: Instant) -> bool {
        let waited = self.since.is_some_and(|since| now >= since + COMMIT_INTERVAL);
        self.fresh.0 >= COMMIT_COUNT || self.fresh.1 >= COMMIT_BYTES || waited
    }

    /// When a batch is to be taken.
    pub(super) fn due(&self, now: Instant) -> Due {
        if let Some(trouble) = &self.trouble {
            return if now >= trouble.retry { Due::Now } else { Due::At(trouble.retry) };
        }
        if !self.evict.is_empty() || self.is_urgent() || self.messages_due(now) || self.done.len() >= COMMIT_COUNT {
            return Due::Now;
        }
        self.since.map_or(Due::Never, |since| Due::At(since + COMMIT_INTERVAL))
    }

    /// Whether something waits to be written.
    pub(super) fn has_work(&self) -> bool {
        !self.volatile.is_empty() || !self.done.is_empty() || !self.aside.is_empty() || self.ledger_due
    }

    /// Takes what is to be written now; `ledger` is the spool's.
    pub(super) fn take_batch(&mut self, ledger: Totals, now: Instant, all: bool) -> Batch {
        let everything = all || self.trouble.is_some() || self.messages_due(now);
        let ledger = self.ledger_after(ledger, everything);
        let mut batch = Batch { ledger, done: std::mem::take(&mut self.done), ..Batch::default() };
        self.batch_done.clone_from(&batch.done);
        self.held.1 = self.held.0;
        self.hurry = false;
        batch.delete = self.segments.unneeded();
        if !everything {
            // Only what the window waits for: fresh messages may be acknowledged before they must be written.
            self.since = self.since.filter(|_| self.fresh.0 > 0);
            return batch;
        }
        self.since = None;
        self.fresh = (0, 0);
        batch.messages = self.volatile.values().map(|volatile| volatile.stored.clone()).collect();
        self.volatile.values_mut().for_each(|volatile| volatile.attempted = true);
        batch.aside = std::mem::take(&mut self.aside);
        batch.evict = std::mem::take(&mut self.evict);
        let recent = self.ledger_taken.is_some_and(|taken| now < taken + LEDGER_INTERVAL);
        if recent && !all && self.trouble.is_none() && batch.is_empty() {
            return batch;
        }
        batch.ledger_due = std::mem::take(&mut self.ledger_due);
        self.ledger_taken = if batch.ledger_due { Some(now) } else { self.ledger_taken };
        batch.moved = self.moves();
        batch
    }

    /// The ledger as it will be on the disk behind a batch with every volatile message, or with none.
    fn ledger_after(&self, ledger: Totals, everything: bool) -> Totals {
        match self.volatile.first_key_value() {
            Some((first, _)) if !everything => Totals { last_id: first.get() - 1, ..ledger },
            _ => {
                let uncounted = self.volatile.values().filter(|volatile| !volatile.counted).count() as u64;
                Totals { accepted: ledger.accepted + uncounted, ..ledger }
            }
        }
    }

    /// The messages of a segment that is to be emptied.
    fn moves(&self) -> Vec<(MessageId, Place)> {
        let Some(emptied) = self.segments.to_be_emptied() else { return Vec::new() };
        let of_it = self.kept.iter().filter(|(_, kept)| kept.place.segment == emptied);
        let mut moves: Vec<_> = of_it.map(|(id, kept)| (*id, kept.place)).collect();
        moves.sort_unstable_by_key(|(id, _)| *id);
        moves.truncate(MAX_MOVED);
        moves
    }

    /// The batch was written. Gives the messages that count as accepted now, with their tags.
    pub(super) fn settle(&mut self, committed: &Committed) -> Vec<(MessageId, u64)> {
        self.forget(&committed.deleted);
        self.held = (self.held.0 - self.held.1, 0);
        self.batch_done.clear();
        self.trouble = None;
        self.segments.write(committed.segment, committed.length);
        let mut accepted = Vec::new();
        for (id, place) in &committed.places {
            if let Some(volatile) = self.volatile.remove(id) {
                self.volatile_bytes -= volatile.cost;
                let (tag, counted) = (volatile.stored.tag, volatile.counted);
                self.keep(*id, Kept { place: *place, tag, accepted: volatile.accepted });
                if !counted {
                    accepted.push((*id, tag));
                }
            } else if let Some(moved) = self.kept.remove(id) {
                self.segments.release(moved.place);
                self.keep(*id, Kept { place: *place, ..moved });
            }
            // Else it was removed while it was written, and word of its end is in the next batch.
        }
        accepted
    }

    /// The batch was not written: it goes on in memory. Gives the messages that count as accepted nevertheless.
    pub(super) fn settle_failed(&mut self, error: &CommitError, now: Instant) -> Vec<(MessageId, u64)> {
        self.forget(&error.deleted);
        self.segments.leave_active();
        let mut done = std::mem::take(&mut self.batch_done);
        done.append(&mut self.done);
        self.done = done;
        self.held.1 = 0;
        self.ledger_due = true;
        let text = format!("{error}: {}", error.source);
        if self.trouble.is_none() {
            tracing::error!("{text}; messages wait in memory until the disk works again");
        }
        self.trouble = Some(Trouble { text, retry: now + RETRY_INTERVAL });
        let uncounted = self.volatile.iter_mut().filter(|(_, volatile)| !volatile.counted);
        uncounted
            .map(|(id, volatile)| {
                volatile.counted = true;
                (*id, volatile.stored.tag)
            })
            .collect()
    }

    fn forget(&mut self, gone: &[u64]) {
        self.segments.forget(gone);
        self.reader.close(gone);
    }

    /// On a full disk: the oldest segment, to be deleted, and the messages in it.
    pub(super) fn give_up_oldest(&mut self) -> Option<BTreeSet<MessageId>> {
        let oldest = self.segments.numbers().find(|number| !self.evict.contains(number))?;
        self.evict.push(oldest);
        if let Some(trouble) = &mut self.trouble {
            trouble.retry -= RETRY_INTERVAL;
        }
        Some(self.kept.iter().filter(|(_, kept)| kept.place.segment == oldest).map(|(id, _)| *id).collect())
    }

    /// Takes message `id`, whose segment is to be deleted, back into memory. Whether it could be read.
    pub(super) fn take_back(&mut self, id: MessageId) -> bool {
        let Some(Kept { place, accepted, .. }) = self.kept.get(&id) else { return false };
        let (place, accepted) = (*place, *accepted);
        let Ok(stored) = self.reader.read(&self.folder, place) else { return false };
        self.kept.remove(&id);
        self.segments.release(place);
        let cost = message::cost(&stored.topic, &stored.payload);
        self.volatile_bytes += cost;
        self.volatile.insert(id, Volatile { stored, accepted, cost, attempted: true, counted: true });
        true
    }

    /// Copies message `id` into the folder of things set aside, with the next batch.
    pub(super) fn set_aside(&mut self, id: MessageId) {
        if let Ok(Some(message)) = self.get(id) {
            let Message { id, topic, payload, tag, .. } = message;
            let enqueued_ms = i64::try_from(self.clock.now().unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX);
            self.aside.push(Stored { id, topic, payload, tag, enqueued_ms, worth: Worth::Ordinary });
        }
    }

    #[cfg(test)]
    pub(super) fn tag(&self, id: MessageId) -> Option<u64> {
        self.kept.get(&id).map(|kept| kept.tag)
    }

    /// When message `id` was accepted, in milliseconds since 1970.
    pub(super) fn enqueued_ms(&mut self, id: MessageId) -> Option<i64> {
        if let Some(volatile) = self.volatile.get(&id) {
            return Some(volatile.stored.enqueued_ms);
        }
        let place = self.kept.get(&id)?.place;
        Some(self.reader.read(&self.folder, place).ok()?.enqueued_ms)
    }

    /// Whether one more message of `cost` would be more than memory is meant to hold.
    pub(super) fn memory_is_full(&self, cost: usize) -> bool {
        self.volatile_bytes + cost > self.memory_limit
    }

    /// The messages that are in memory only, oldest first; whether each counts as accepted.
    pub(super) fn volatile(&self) -> impl Iterator<Item = (MessageId, bool)> {
        self.volatile.iter().map(|(id, volatile)| (*id, volatile.counted))
    }

    /// Why the disk takes nothing at the moment.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_ref().map(|trouble| trouble.text.as_str())
    }

    /// Segments and the bytes in them.
    pub(super) fn on_disk(&self) -> (usize, u64) {
        (self.segments.numbers().count(), self.segments.bytes())
    }

    fn keep(&mut self, id: MessageId, kept: Kept) {
        self.segments.keep(kept.place);
        self.kept.insert(id, kept);
    }
}

fn message(stored: Stored, accepted: Instant) -> Message {
    let Stored { id, topic, payload, tag, .. } = stored;
    Message { id, topic, payload, tag, accepted }
}

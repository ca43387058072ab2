//! The writing side of the spool on disk: appends batches to the active segment, syncs them, deletes segments.
//!
//! It decides nothing: which messages, when, and what to do about a disk that fails is said by the spool. After an
//! error it leaves the segment that it was writing and begins a new one, because what the kernel kept of a failed write
//! or sync is not known.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::aside::Aside;
use super::record::{self, Nonce, Stored};
use super::segment;
use super::totals::{Fate, Totals};
use crate::mqtt::message::MessageId;

/// The longest that a message, or word of its end, waits for others to be synced with.
pub const COMMIT_INTERVAL: Duration = Duration::from_millis(50);

/// As many messages, or words of their end, are synced without waiting for more.
pub const COMMIT_COUNT: usize = 64;

/// A buffer that grew beyond this is given back.
const BUFFER_KEPT: usize = 512 * 1024;

/// Where a message's record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) offset: u32,
    pub(super) length: u32,
}

/// What is to be written together.
#[derive(Debug, Default)]
pub struct Batch {
    /// Segments that go before anything is written: the disk is full.
    pub(super) evict: Vec<u64>,
    pub(super) messages: Vec<Stored>,
    /// Messages of a segment that is to go.
    pub(super) moved: Vec<(MessageId, Place)>,
    pub(super) done: Vec<(MessageId, Fate)>,
    pub(super) ledger: Totals,
    /// Whether the ledger does not follow from the records.
    pub(super) ledger_due: bool,
    /// Segments of which nothing is needed, from the oldest on.
    pub(super) delete: Vec<u64>,
    pub(super) aside: Vec<Stored>,
}

impl Batch {
    /// Whether there is nothing to write or to delete.
    pub(in crate::mqtt) fn is_empty(&self) -> bool {
        let Self { evict, messages, moved, done, ledger: _, ledger_due, delete, aside } = self;
        let lists = [evict.len(), messages.len(), moved.len(), done.len(), delete.len(), aside.len()];
        !ledger_due && lists.iter().all(|length| *length == 0)
    }
}

/// A batch was written; where it has messages, it was synced as well.
#[derive(Debug)]
pub struct Committed {
    pub(super) segment: u64,
    /// The segment's length, in bytes.
    pub(super) length: u64,
    pub(super) places: Vec<(MessageId, Place)>,
    pub(super) deleted: Vec<u64>,
}

/// A batch was not written.
#[derive(Debug, thiserror::Error)]
#[error("writing the spool {}", path.display())]
pub struct CommitError {
    /// The file or folder.
    pub path: PathBuf,
    /// Segments that are gone nevertheless.
    pub(super) deleted: Vec<u64>,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// What the journal has done since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Bytes written to segments, headers included.
    pub bytes: u64,
    /// Syncs of segments.
    pub syncs: u64,
}

#[derive(Debug)]
struct Active {
    number: u64,
    file: File,
    nonce: Nonce,
    length: u64,
    /// Whether it has a ledger yet.
    has_ledger: bool,
}

/// The files, open for writing; holds the lock.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    _lock: File,
    segment_bytes: u64,
    active: Option<Active>,
    next: u64,
    aside: Aside,
    buffer: Vec<u8>,
    unsynced: usize,
    unsynced_since: Option<Instant>,
    written: Written,
}

impl Journal {
    pub(super) fn new(folder: &Path, lock: File, segment_bytes: u64, next: u64) -> Self {
        Self {
            folder: folder.to_owned(),
            _lock: lock,
            segment_bytes,
            active: None,
            next,
            aside: Aside::within(folder),
            buffer: Vec::new(),
            unsynced: 0,
            unsynced_since: None,
            written: Written::default(),
        }
    }

    /// Writes `batch`; with a message in it everything up to here is synced before this returns.
    ///
    /// # Errors
    /// [`CommitError`]: nothing of the batch may be relied on, and some of it may be on the disk.
    pub fn commit(&mut self, batch: &Batch, now: Instant) -> Result<Committed, CommitError> {
        let mut deleted = Vec::new();
        let committed = self.write(batch, now, &mut deleted);
        committed.map_err(|(path, source)| {
            self.leave_segment();
            CommitError { path, deleted, source }
        })
    }

    fn write(
        &mut self,
        batch: &Batch,
        now: Instant,
        deleted: &mut Vec<u64>,
    ) -> Result<Committed, (PathBuf, io::Error)> {
        self.delete(&batch.evict, deleted)?;
        for message in &batch.aside {
            self.set_aside(message);
        }
        self.make_active().map_err(|error| (self.folder.clone(), error))?;
        let Some(active) = &mut self.active else { return Err((self.folder.clone(), io::ErrorKind::NotFound.into())) };
        let path = segment_path(&self.folder, active.number);
        self.buffer.clear();
        let places = encode(batch, active, &self.folder, &mut self.buffer).map_err(|error| (path.clone(), error))?;
        active.file.write_all_at(&self.buffer, active.length).map_err(|error| (path.clone(), error))?;
        active.length += self.buffer.len() as u64;
        active.has_ledger = true;
        self.written.bytes += self.buffer.len() as u64;
        let (segment, length) = (active.number, active.length);
        self.unsynced += batch.done.len();
        self.unsynced_since = self.unsynced_since.or(Some(now)).filter(|_| self.unsynced > 0);
        if !places.is_empty() || self.unsynced >= COMMIT_COUNT || self.sync_due().is_some_and(|due| due <= now) {
            self.sync().map_err(|error| (path, error))?;
        }
        self.delete(&batch.delete, deleted)?;
        self.buffer.shrink_to(BUFFER_KEPT);
        Ok(Committed { segment, length, places, deleted: std::mem::take(deleted) })
    }

    /// When what is written must be synced.
    pub(in crate::mqtt) fn sync_due(&self) -> Option<Instant> {
        self.unsynced_since.map(|since| since + COMMIT_INTERVAL)
    }

    /// Syncs what is written.
    ///
    /// # Errors
    /// What the system said; the active segment is then left.
    pub fn sync(&mut self) -> io::Result<()> {
        (self.unsynced, self.unsynced_since) = (0, None);
        let Some(active) = &self.active else { return Ok(()) };
        self.written.syncs += 1;
        active.file.sync_data().inspect_err(|_| self.active = None)
    }

    /// What has been written since the journal was opened.
    pub fn written(&self) -> Written {
        self.written
    }

    fn make_active(&mut self) -> io::Result<()> {
        if self.active.as_ref().is_some_and(|active| active.length < self.segment_bytes) {
            return Ok(());
        }
        self.sync()?;
        let number = self.next;
        let path = segment_path(&self.folder, number);
        let mut nonce = Nonce::default();
        getrandom::fill(&mut nonce).map_err(io::Error::other)?;
        let mut file = File::options().write(true).create_new(true).open(&path)?;
        self.next += 1;
        let header = segment::header(nonce);
        let begun = file.write_all(&header).and_then(|()| sync_folder(&self.folder));
        if let Err(error) = begun {
            // Empty files must not heap up while the disk is full.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        self.written.bytes += header.len() as u64;
        self.active = Some(Active { number, file, nonce, length: header.len() as u64, has_ledger: false });
        Ok(())
    }

    /// Cuts off what a failed write may have left, as far as the disk allows it, and writes there no more.
    fn leave_segment(&mut self) {
        (self.unsynced, self.unsynced_since) = (0, None);
        let Some(active) = self.active.take() else { return };
        let cut = active.file.set_len(active.length);
        if cut.is_ok() && active.length <= segment::HEADER_BYTES as u64 {
            let _ = fs::remove_file(segment_path(&self.folder, active.number));
        }
    }

    /// One at a time, oldest first: a younger segment may hold the only word that a message of an older one is done.
    fn delete(&self, segments: &[u64], deleted: &mut Vec<u64>) -> Result<(), (PathBuf, io::Error)> {
        for number in segments {
            let path = segment_path(&self.folder, *number);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err((path, error)),
                _ => sync_folder(&self.folder).map_err(|error| (self.folder.clone(), error))?,
            }
            deleted.push(*number);
        }
        Ok(())
    }

    fn set_aside(&self, message: &Stored) {
        let mut bytes = segment::header(Nonce::default());
        record::write_message(&mut bytes, Nonce::default(), message);
        if let Err(error) = self.aside.keep(&format!("{:016x}.spool", message.id.get()), &bytes) {
            tracing::warn!(id = %message.id, topic = %message.topic, %error, "a refused message could not be set aside");
        }
    }
}

/// Puts the batch's records into `out`; gives where its messages will lie.
fn encode(batch: &Batch, active: &Active, folder: &Path, out: &mut Vec<u8>) -> io::Result<Vec<(MessageId, Place)>> {
    let mut places = Vec::with_capacity(batch.messages.len() + batch.moved.len());
    let mut put = |out: &mut Vec<u8>, message: &Stored| {
        let start = out.len();
        record::write_message(out, active.nonce, message);
        let offset = u32::try_from(active.length + start as u64).map_err(io::Error::other)?;
        let length = u32::try_from(out.len() - start).map_err(io::Error::other)?;
        places.push((message.id, Place { segment: active.number, offset, length }));
        Ok::<(), io::Error>(())
    };
    let mut reader = Reader::default();
    for (_, place) in &batch.moved {
        // What cannot be read is found out again, and counted, when its turn comes to be sent.
        if let Ok(message) = reader.read(folder, *place) {
            put(out, &message)?;
        }
    }
    for message in &batch.messages {
        put(out, message)?;
    }
    let mut done = batch.done.clone();
    done.sort_by_key(|(_, fate)| *fate);
    for same in done.chunk_by(|one, next| one.1 == next.1) {
        let ids: Vec<MessageId> = same.iter().map(|(id, _)| *id).collect();
        record::write_done(out, active.nonce, same[0].1, &ids);
    }
    if batch.ledger_due || !active.has_ledger {
        record::write_ledger(out, active.nonce, &batch.ledger);
    }
    Ok(places)
}

/// Reads single messages back; keeps the last segment open.
#[derive(Debug, Default)]
pub(super) struct Reader {
    open: Option<(u64, File, Nonce)>,
}

impl Reader {
    /// Lets go of these segments: while one is open, the room that it took is not free.
    pub(super) fn close(&mut self, gone: &[u64]) {
        self.open.take_if(|(segment, ..)| gone.contains(segment));
    }

    /// The message at `place`.
    pub(super) fn read(&mut self, folder: &Path, place: Place) -> io::Result<Stored> {
        if self.open.as_ref().is_none_or(|(segment, ..)| *segment != place.segment) {
            let file = File::open(segment_path(folder, place.segment))?;
            let mut header = [0; segment::HEADER_BYTES];
            file.read_exact_at(&mut header, 0)?;
            let nonce = segment::nonce(&header).map_err(|_| damaged())?;
            self.open = Some((place.segment, file, nonce));
        }
        let Some((_, file, nonce)) = &self.open else { return Err(damaged()) };
        let mut bytes = vec![0; place.length as usize];
        file.read_exact_at(&mut bytes, u64::from(place.offset))?;
        match record::read(&bytes, *nonce) {
            Some((record::Record::Message(message), _)) => Ok(message),
            _ => Err(damaged()),
        }
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the record is damaged")
}

/// The file of a segment. Names sort by age.
pub(super) fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:016x}.spool"))
}

/// Makes names in `folder` durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

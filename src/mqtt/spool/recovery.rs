//! Opening the spool's folder: what was accepted and not done with is found again, in order.
//!
//! A torn end is cut off. A damaged place is skipped, counted and kept in the folder of things set aside. A segment of a
//! later version is renamed and left for that version.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::aside::Aside;
use super::journal::{Journal, Place, segment_path};
use super::record::Record;
use super::segment::{self, Item, Unreadable};
use super::totals::{Fate, Totals};
use super::worth::Worth;
use crate::mqtt::message::{MessageId, OVERHEAD_BYTES};
use crate::topic::Topic;

/// No segment is longer, in bytes: what lies behind is damaged, whatever it is.
const MAX_SEGMENT: u64 = 64 * 1024 * 1024;

/// Why the spool's files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolOpenError {
    /// Another process has them open.
    #[error("opening the spool {}: another process uses it; is `margay run` running?", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder or a file in it cannot be used.
    #[error("opening the spool: {} cannot be used; it must be on a disk that works, and belong to the core's user", path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A message that is to be sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) topic: Topic,
    pub(super) tag: u64,
    pub(super) cost: usize,
    pub(super) worth: Worth,
    pub(super) place: Place,
}

/// What was in the folder.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    pub(super) live: BTreeMap<MessageId, Found>,
    pub(super) totals: Totals,
    /// Segments and their lengths in bytes.
    pub(super) segments: BTreeMap<u64, u64>,
    /// Damaged places.
    pub(super) damaged: u64,
    /// What an operator should know.
    pub(super) notes: Vec<String>,
    /// A damaged place lies between the last message and the next.
    gap: bool,
}

/// A segment that is read.
struct Source<'a> {
    folder: &'a Path,
    number: u64,
    newest: bool,
    bytes: &'a [u8],
}

/// Opens `folder`, making it where there is none.
pub(super) fn open(folder: &Path, segment_bytes: u64) -> Result<(Journal, Recovered), SpoolOpenError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| SpoolOpenError::Io { path, source }
    };
    fs::create_dir_all(folder).map_err(failed(folder))?;
    let lock = lock(folder)?;
    let mut recovered = Recovered::default();
    let mut numbers = segments(folder).map_err(failed(folder))?;
    numbers.sort_unstable();
    for number in &numbers {
        let path = segment_path(folder, *number);
        let newest = Some(number) == numbers.last();
        recovered.read_segment(folder, *number, newest).map_err(failed(&path))?;
    }
    recovered.totals.balance(recovered.live.len() as u64);
    for note in &recovered.notes {
        tracing::warn!("{note}");
    }
    let next = numbers.last().map_or(1, |last| last + 1);
    Ok((Journal::new(folder, lock, segment_bytes, next), recovered))
}

fn lock(folder: &Path) -> Result<File, SpoolOpenError> {
    let path = folder.join("lock");
    let io = |source| SpoolOpenError::Io { path: path.clone(), source };
    let lock = File::options().create(true).truncate(false).write(true).open(&path).map_err(io)?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(SpoolOpenError::InUse { folder: folder.to_owned() }),
        Err(errno) => Err(io(errno.into())),
    }
}

fn segments(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let digits = name.to_str().and_then(|name| name.strip_suffix(".spool"));
        numbers
            .extend(digits.filter(|digits| digits.len() == 16).and_then(|digits| u64::from_str_radix(digits, 16).ok()));
    }
    // The number after it must be one, too.
    numbers.retain(|number| *number < u64::MAX);
    Ok(numbers)
}

impl Recovered {
    fn read_segment(&mut self, folder: &Path, number: u64, newest: bool) -> io::Result<()> {
        let path = segment_path(folder, number);
        let mut bytes = Vec::new();
        File::open(&path)?.take(MAX_SEGMENT).read_to_end(&mut bytes)?;
        let source = Source { folder, number, newest, bytes: &bytes };
        match segment::items(&bytes) {
            Ok(items) => self.take_items(items, &source),
            Err(Unreadable::Unfinished) => fs::remove_file(&path),
            Err(Unreadable::Version(version)) => self.leave_for_later(&path, version),
            Err(Unreadable::Damaged) => {
                self.keep_aside(&source, 0..bytes.len());
                fs::remove_file(&path)
            }
        }
    }

    fn take_items(&mut self, items: segment::Items<'_>, source: &Source<'_>) -> io::Result<()> {
        let mut length = source.bytes.len();
        for item in items {
            match item {
                Item::Record(record, range) => self.take(record, source.number, &range),
                Item::Torn(range) if source.newest => {
                    let path = segment_path(source.folder, source.number);
                    self.notes.push(format!(
                        "the spool's last write was cut off: the last {} bytes of {} are dropped; nothing in them counted as accepted",
                        range.len(),
                        path.display()
                    ));
                    length = range.start;
                    File::options().write(true).open(&path)?.set_len(range.start as u64)?;
                }
                Item::Damaged(range) | Item::Torn(range) => self.keep_aside(source, range),
            }
        }
        self.segments.insert(source.number, length as u64);
        Ok(())
    }

    fn take(&mut self, record: Record, segment: u64, range: &Range<usize>) {
        match record {
            Record::Message(message) => {
                if let Some(new @ 1..) = message.id.get().checked_sub(self.totals.last_id) {
                    // Ids are given one by one: those between were accepted, and stood in the damaged place.
                    let accepted = if std::mem::take(&mut self.gap) { new } else { 1 };
                    self.totals.last_id = message.id.get();
                    self.totals.accepted = self.totals.accepted.saturating_add(accepted);
                }
                // Segments have at most 64 MiB.
                let place = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
                let place = Place { segment, offset: place(range.start), length: place(range.len()) };
                let cost = message.topic.as_str().len() + message.payload.len() + OVERHEAD_BYTES;
                let (topic, tag, worth) = (message.topic, message.tag, message.worth);
                let topic = self
                    .live
                    .last_key_value()
                    .map(|(_, last)| &last.topic)
                    .filter(|last| **last == topic)
                    .cloned()
                    .unwrap_or(topic);
                self.live.insert(message.id, Found { topic, tag, cost, worth, place });
            }
            Record::Done(fate, ids) => {
                for id in ids {
                    self.live.remove(&id);
                    self.totals.count(fate);
                }
            }
            Record::Ledger(totals) => (self.totals, self.gap) = (totals, false),
        }
    }

    fn leave_for_later(&mut self, path: &Path, version: u32) -> io::Result<()> {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".version-{version}"));
        fs::rename(path, &name)?;
        self.notes.push(format!(
            "{} was written by a later version of this program, in format {version}; it is kept as {}: to have its messages sent, run that version and rename it back; else remove it",
            path.display(),
            Path::new(&name).display()
        ));
        Ok(())
    }

    fn keep_aside(&mut self, source: &Source<'_>, range: Range<usize>) {
        self.damaged += 1;
        self.gap = true;
        let (name, bytes) = (format!("{:016x}-{}.damaged", source.number, range.start), &source.bytes[range.clone()]);
        let kept = match Aside::within(source.folder).keep(&name, bytes) {
            Ok(()) => "they are set aside".to_owned(),
            Err(error) => format!("they could not be set aside: {error}"),
        };
        self.notes.push(format!(
            "{} bytes of {} at {} are damaged and skipped; {kept}; if this happens again, the disk is failing",
            range.len(),
            segment_path(source.folder, source.number).display(),
            range.start
        ));
    }
}

/// The fate of a message that recovery itself gives up.
pub(super) const OVER_THE_LIMIT: Fate = Fate::SpoolFull;

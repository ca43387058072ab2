//! Samples that wait for S3, each two files of a folder: `NUMBER.sample` with its bytes and `NUMBER.json` with the rest,
//! which is written last. A sample without its document was never taken.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::CONNECTOR;
use super::sample::{FORMAT, Sample};
use crate::disk;

/// The most samples that wait, whatever they take.
const MOST: usize = 4096;

/// What a sample takes beside its bytes: its document and two entries of the folder, roughly.
const OVERHEAD: u64 = 1024;

/// No document is larger, in bytes.
const DOCUMENT_LIMIT: u64 = 256 << 10;

/// The samples that wait, oldest first.
#[derive(Debug)]
pub(super) struct Shelf {
    folder: PathBuf,
    /// What each counts for.
    waiting: BTreeMap<u64, u64>,
    bytes: u64,
    next: u64,
    /// Being uploaded: it is not given up for others.
    in_hand: Option<u64>,
}

impl Shelf {
    /// What waits in `folder`, which is made with the first sample. What a crash left unfinished is removed; documents that
    /// cannot be read, or of a newer version, stay as they are and do not count.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let mut shelf = Self { folder: folder.to_owned(), waiting: BTreeMap::new(), bytes: 0, next: 1, in_hand: None };
        let mut samples = Vec::new();
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(shelf),
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            let number = path.file_stem().and_then(|stem| u64::from_str_radix(stem.to_str()?, 16).ok());
            let (Some(number), Some(kind)) = (number, path.extension().and_then(|kind| kind.to_str())) else {
                continue;
            };
            shelf.next = shelf.next.max(number.saturating_add(1));
            match kind {
                "json" => shelf.take_over(number),
                "sample" => samples.push(number),
                "new" => remove(&path)?,
                _ => {}
            }
        }
        for number in samples.into_iter().filter(|number| !shelf.path(*number, "json").exists()) {
            remove(&shelf.path(number, "sample"))?;
        }
        Ok(shelf)
    }

    fn take_over(&mut self, number: u64) {
        match self.read(number) {
            Ok(sample) => self.count(number, cost(&sample)),
            Err(error) => {
                tracing::warn!(connector = CONNECTOR, path = %self.path(number, "json").display(), %error, "a sample is passed over");
            }
        }
    }

    fn count(&mut self, number: u64, cost: u64) {
        self.waiting.insert(number, cost);
        self.bytes += cost;
    }

    /// What all of them count for, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether there is a place for `sample` within `room` bytes for all of them.
    pub(super) fn has_room(&self, sample: &Sample, room: u64) -> bool {
        self.waiting.len() < MOST && self.bytes + cost(sample) <= room
    }

    /// Keeps a sample; on return a power cut does not undo it.
    pub(super) fn put(&mut self, sample: &Sample, content: &[u8]) -> io::Result<u64> {
        let number = self.next;
        self.next += 1;
        let (bytes, document) = (self.path(number, "sample"), self.path(number, "json"));
        let text = serde_json::to_vec(sample).map_err(io::Error::other)?;
        if text.len() as u64 > DOCUMENT_LIMIT {
            return Err(io::Error::other(format!("prediction and metadata are over {DOCUMENT_LIMIT} bytes")));
        }
        disk::create_directories(&self.folder)?;
        let kept = disk::replace_private(&bytes, &self.path(number, "new"), content)
            .and_then(|()| disk::replace_private(&document, &self.path(number, "new"), &text));
        if let Err(error) = kept {
            for kind in ["new", "json", "sample"] {
                // What the disk does not give up now goes at the next start.
                let _ = remove(&self.path(number, kind));
            }
            return Err(error);
        }
        self.count(number, cost(sample));
        Ok(number)
    }

    /// The oldest one.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.waiting.keys().next().copied()
    }

    /// Takes the oldest one in hand.
    pub(super) fn take(&mut self) -> Option<u64> {
        self.in_hand = self.oldest();
        self.in_hand
    }

    /// Lets go of what was taken in hand; it waits again.
    pub(super) fn release(&mut self) {
        self.in_hand = None;
    }

    /// The oldest one that is not in hand.
    pub(super) fn expendable(&self) -> Option<u64> {
        self.waiting.keys().copied().find(|number| Some(*number) != self.in_hand)
    }

    /// The document of sample `number`.
    pub(super) fn read(&self, number: u64) -> io::Result<Sample> {
        let path = self.path(number, "json");
        if path.metadata()?.len() > DOCUMENT_LIMIT {
            return Err(io::Error::other("its document is too large"));
        }
        let sample: Sample = serde_json::from_slice(&fs::read(&path)?).map_err(io::Error::other)?;
        if sample.format != FORMAT {
            return Err(io::Error::other(format!("its format is {}, and this Margay knows {FORMAT}", sample.format)));
        }
        Ok(sample)
    }

    /// The file with the bytes of sample `number`.
    pub(super) fn content(&self, number: u64) -> PathBuf {
        self.path(number, "sample")
    }

    /// Forgets a sample. Its document goes first: without it, the rest is nothing.
    pub(super) fn remove(&mut self, number: u64) -> io::Result<()> {
        self.bytes -= self.waiting.remove(&number).unwrap_or_default();
        self.in_hand.take_if(|taken| *taken == number);
        remove(&self.path(number, "json"))?;
        remove(&self.path(number, "sample"))
    }

    fn path(&self, number: u64, kind: &str) -> PathBuf {
        self.folder.join(format!("{number:016x}.{kind}"))
    }
}

fn cost(sample: &Sample) -> u64 {
    sample.bytes + OVERHEAD
}

fn remove(path: &Path) -> io::Result<()> {
    match disk::remove_tree(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;
    use crate::disk::crash;

    fn sample(id: &str, content: &[u8]) -> Sample {
        Sample {
            format: FORMAT,
            id: id.to_owned(),
            connector: "arn".to_owned(),
            config_id: "c1".to_owned(),
            bucket: "bucket".to_owned(),
            key: id.to_owned(),
            content_type: "image/png".to_owned(),
            prediction: serde_json::json!([0.5, 0.5]),
            metadata: serde_json::Map::new(),
            bytes: content.len() as u64,
        }
    }

    #[test]
    fn samples_outlast_a_restart_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let mut shelf = Shelf::open(folder.path()).unwrap();
        let first = shelf.put(&sample("a", b"one"), b"one").unwrap();
        let second = shelf.put(&sample("b", b"two"), b"two").unwrap();
        let reopened = Shelf::open(folder.path()).unwrap();
        assert_eq!((reopened.len(), reopened.bytes()), (2, shelf.bytes()));
        assert_eq!(reopened.oldest(), Some(first));
        assert_eq!(reopened.read(second).unwrap(), sample("b", b"two"));
        assert_eq!(fs::read(reopened.content(second)).unwrap(), b"two");
        shelf.remove(first).unwrap();
        let mut reopened = Shelf::open(folder.path()).unwrap();
        assert_eq!(reopened.take(), Some(second));
        assert_eq!(reopened.expendable(), None, "what is being uploaded is not given up");
        reopened.release();
        assert_eq!(reopened.expendable(), Some(second));
        assert!(reopened.put(&sample("c", b""), b"").unwrap() > second, "no number comes again");
    }

    #[test]
    fn a_crash_anywhere_leaves_a_whole_sample_or_none() {
        for changes in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let mut shelf = Shelf::open(folder.path()).unwrap();
            shelf.put(&sample("a", b"one"), b"one").unwrap();
            crash::after(changes, ErrorKind::Other);
            let kept = shelf.put(&sample("b", b"two"), b"two").is_ok();
            let crashed = crash::over();
            let reopened = Shelf::open(folder.path()).unwrap();
            assert!(reopened.len() == 2 || (!kept && reopened.len() == 1), "after {changes} changes");
            for number in reopened.waiting.keys() {
                let document = reopened.read(*number).unwrap();
                assert_eq!(fs::read(reopened.content(*number)).unwrap().len() as u64, document.bytes);
            }
            let files = fs::read_dir(folder.path()).unwrap().count();
            assert_eq!(files, 2 * reopened.len(), "nothing unfinished stays");
            if !crashed {
                assert!(changes > 5);
                return;
            }
        }
        panic!("no run went through");
    }

    #[test]
    fn what_cannot_be_read_is_passed_over_and_left() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("0000000000000001.json", "{}"), ("0000000000000002.json", "half"), ("notes.txt", "")] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let newer = Sample { format: FORMAT + 1, ..sample("n", b"") };
        fs::write(folder.path().join("0000000000000003.json"), serde_json::to_vec(&newer).unwrap()).unwrap();
        let shelf = Shelf::open(folder.path()).unwrap();
        assert_eq!((shelf.len(), shelf.bytes(), shelf.next), (0, 0, 4));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
    }

    #[test]
    fn room_is_bytes_and_a_number() {
        let folder = tempfile::tempdir().unwrap();
        let mut shelf = Shelf::open(folder.path()).unwrap();
        let one = sample("a", b"one");
        assert!(shelf.has_room(&one, cost(&one)));
        assert!(!shelf.has_room(&one, cost(&one) - 1));
        shelf.put(&one, b"one").unwrap();
        assert!(!shelf.has_room(&one, 2 * cost(&one) - 1));
    }
}

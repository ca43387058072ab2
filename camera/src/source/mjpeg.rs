//! A Motion-JPEG file as a source.

use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::config::MjpegFileSource;
use super::error::{SkipReason, SourceError};
use super::jpeg::{Found, MjpegScanner};
use super::limits::{MOST_ITEM_BYTES, MOST_ITEMS};
use super::pacer::Pacer;
use super::shuffle::permutation;
use super::still::{self, Opened};
use super::{FrameSource, Next};
use crate::clock::{Clock, nanoseconds};
use crate::format::PixelFormat;
use crate::frame::{Capture, TimestampSource};

/// What is read from the file at once.
const BUFFER: usize = 64 << 10;

/// The pictures of a file, each an item; damaged ones are counted as well.
#[derive(Debug)]
pub(super) struct MjpegFile {
    path: PathBuf,
    repeat: bool,
    file: BufReader<File>,
    scanner: MjpegScanner,
    pacer: Pacer,
    item: u64,
    pictures: u64,
    ended: bool,
    shuffled: Option<Shuffled>,
}

/// The pictures of a file in another order.
#[derive(Debug)]
struct Shuffled {
    seed: u64,
    round: u64,
    /// Where each picture begins, with its number in the file.
    places: Vec<(u64, u64)>,
    order: Vec<usize>,
    next: usize,
}

impl Shuffled {
    fn new(seed: u64, places: Vec<(u64, u64)>) -> Self {
        let order = permutation(places.len(), seed, 0);
        Self { seed, round: 0, places, order, next: 0 }
    }

    /// The next picture's number and place; after the last, from another order where that is asked.
    fn next(&mut self, repeat: bool) -> Option<(u64, u64)> {
        if self.next == self.order.len() && repeat {
            self.round += 1;
            self.order = permutation(self.places.len(), self.seed, self.round);
            self.next = 0;
        }
        let place = *self.places.get(*self.order.get(self.next)?)?;
        self.next += 1;
        Some(place)
    }
}

impl MjpegFile {
    pub(super) fn open(config: &MjpegFileSource, clock: Arc<dyn Clock>) -> Result<Self, SourceError> {
        let pacer = Pacer::new(config.frames_per_second, clock)?;
        let path = config.path.clone();
        let file = match still::open(&path) {
            Ok(Opened { file, .. }) => file,
            Err(SkipReason::Unreadable { source, .. }) => return Err(SourceError::unreadable(&path, "file", source)),
            Err(_) => return Err(SourceError::WrongKind { path, expected: "file" }),
        };
        let file = BufReader::with_capacity(BUFFER, file);
        let repeat = config.repeat;
        let scanner = new_scanner();
        let mut film = Self { path, repeat, file, scanner, pacer, item: 0, pictures: 0, ended: false, shuffled: None };
        if let Some(seed) = config.shuffled {
            film.shuffled = Some(Shuffled::new(seed, film.places()?));
        }
        Ok(film)
    }

    /// Reads the whole file for where its pictures are; an item's number is its place, damaged ones counted.
    fn places(&mut self) -> Result<Vec<(u64, u64)>, SourceError> {
        let (mut places, mut picture) = (Vec::new(), Vec::new());
        for item in 0.. {
            match self.scan(&mut picture)? {
                Found::Picture { at, .. } if places.len() < MOST_ITEMS => places.push((item, at)),
                Found::Picture { .. } => {
                    return Err(SourceError::TooManyItems { path: self.path.clone(), most: MOST_ITEMS });
                }
                Found::Damaged { .. } => {}
                Found::End => break,
            }
        }
        if places.is_empty() {
            return Err(SourceError::Empty { path: self.path.clone(), wanted: "JPEG picture" });
        }
        Ok(places)
    }

    /// The next picture in the other order.
    fn jump(&mut self, into: &mut Vec<u8>) -> Result<Found, SourceError> {
        let next = self.shuffled.as_mut().and_then(|shuffled| shuffled.next(self.repeat));
        let Some((item, at)) = next else { return Ok(Found::End) };
        self.file.seek(SeekFrom::Start(at)).map_err(|source| SourceError::unreadable(&self.path, "file", source))?;
        self.scanner = new_scanner();
        self.item = item;
        self.scan(into)
    }

    /// Finds the next picture, from the start again after the last one where that is asked. A file without any picture
    /// is not begun again: that would go on for ever.
    fn find(&mut self, into: &mut Vec<u8>) -> Result<Found, SourceError> {
        let found = self.scan(into)?;
        if found != Found::End || !self.repeat || self.pictures == 0 {
            return Ok(found);
        }
        self.file.rewind().map_err(|source| SourceError::unreadable(&self.path, "file", source))?;
        self.scanner = new_scanner();
        (self.item, self.pictures) = (0, 0);
        self.scan(into)
    }

    fn scan(&mut self, into: &mut Vec<u8>) -> Result<Found, SourceError> {
        let found = self.scanner.next(&mut self.file, into);
        found.map_err(|source| SourceError::unreadable(&self.path, "file", source))
    }

    fn end(&mut self) -> Result<Next, SourceError> {
        if self.pictures == 0 {
            return Err(SourceError::Empty { path: self.path.clone(), wanted: "JPEG picture" });
        }
        self.ended = true;
        Ok(Next::End)
    }
}

impl FrameSource for MjpegFile {
    fn next(&mut self, timeout: Duration, into: &mut Vec<u8>) -> Result<Next, SourceError> {
        if self.ended {
            return Ok(Next::End);
        }
        let Some(now) = self.pacer.wait(timeout) else { return Ok(Next::Idle) };
        let found = if self.shuffled.is_some() { self.jump(into)? } else { self.find(into)? };
        let item = self.item;
        self.item += 1;
        match found {
            Found::Picture { width, height, .. } => {
                self.pictures += 1;
                Ok(Next::Frame(jpeg_capture(now, width, height, item)))
            }
            Found::Damaged { at, fault } => {
                let why = SkipReason::Damaged { path: self.path.clone(), at, fault };
                Ok(Next::Skipped { item, why })
            }
            Found::End => self.end(),
        }
    }
}

fn new_scanner() -> MjpegScanner {
    MjpegScanner::new(usize::try_from(MOST_ITEM_BYTES).unwrap_or(usize::MAX))
}

fn jpeg_capture(now: Duration, width: u32, height: u32, item: u64) -> Capture {
    Capture {
        captured_ns: nanoseconds(now),
        timestamp_source: TimestampSource::Replay,
        format: PixelFormat::Jpeg,
        width,
        height,
        stride: 0,
        region: None,
        item,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::clock::SteppedClock;
    use crate::picture;

    const SECOND: Duration = Duration::from_secs(1);

    fn jpeg(width: u16) -> Vec<u8> {
        picture::files::jpeg(width, 8)
    }

    fn open(content: &[u8], repeat: bool) -> (TempDir, MjpegFile) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("film.mjpeg");
        fs::write(&path, content).unwrap();
        let config = MjpegFileSource { path, frames_per_second: 5.0, repeat, shuffled: None };
        (folder, MjpegFile::open(&config, Arc::new(SteppedClock::default())).unwrap())
    }

    /// What the source says next, in short, and the bytes.
    fn next(source: &mut MjpegFile) -> (String, Vec<u8>) {
        let mut bytes = Vec::new();
        let told = match source.next(SECOND, &mut bytes).unwrap() {
            Next::Frame(capture) => {
                capture.check(bytes.len()).unwrap();
                format!("{}:{}", capture.item, capture.width)
            }
            Next::Skipped { item, why } => format!("{item}:{why}"),
            Next::Idle => "idle".into(),
            Next::End => "end".into(),
        };
        (told, bytes)
    }

    #[test]
    fn the_pictures_of_a_file_come_as_they_lie_in_it() {
        let (one, two) = (jpeg(16), jpeg(24));
        let (_folder, mut source) = open(&[&one[..], &two].concat(), false);
        assert_eq!(next(&mut source), ("0:16".into(), one));
        assert_eq!(next(&mut source), ("1:24".into(), two));
        assert_eq!(next(&mut source).0, "end");
        assert_eq!(next(&mut source).0, "end");
    }

    #[test]
    fn a_truncated_tail_is_counted_and_told() {
        let whole = jpeg(16);
        let (folder, mut source) = open(&[&whole[..], &whole[..50]].concat(), false);
        next(&mut source);
        let path = folder.path().join("film.mjpeg");
        let told = format!("1:the picture at byte {} of {} is damaged", whole.len(), path.display());
        assert_eq!(next(&mut source).0, told);
        assert_eq!(next(&mut source).0, "end");
    }

    #[test]
    fn a_repeated_file_begins_again() {
        let (_folder, mut source) = open(&[jpeg(16), jpeg(24)].concat(), true);
        let told: Vec<_> = (0..5).map(|_| next(&mut source).0).collect();
        assert_eq!(told, ["0:16", "1:24", "0:16", "1:24", "0:16"]);
    }

    #[test]
    fn a_shuffled_file_has_each_whole_picture_once_a_round() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("film.mjpeg");
        let mut film: Vec<Vec<u8>> = (1..=6).map(|number| jpeg(8 * number)).collect();
        film[2].truncate(40);
        film[2].push(0);
        fs::write(&path, film.concat()).unwrap();
        let play = |shuffled| {
            let config = MjpegFileSource { path: path.clone(), frames_per_second: 5.0, repeat: true, shuffled };
            let mut source = MjpegFile::open(&config, Arc::new(SteppedClock::default())).unwrap();
            let count = source.shuffled.as_ref().unwrap().places.len();
            let mut round = || (0..count).map(|_| next(&mut source).0).collect::<Vec<_>>();
            [round(), round()]
        };
        let [first, second] = play(Some(3));
        assert_eq!([first.clone(), second.clone()], play(Some(3)));
        let sorted = |mut round: Vec<String>| {
            round.sort();
            round
        };
        assert!(first != second && sorted(first.clone()) == sorted(second));
        assert!(first.len() >= 4 && sorted(first.clone()).windows(2).all(|pair| pair[0] != pair[1]), "{first:?}");
    }

    #[test]
    fn a_file_without_pictures_is_an_error_however_often_it_is_repeated() {
        let (_folder, mut source) = open(b"no film", true);
        let told = source.next(SECOND, &mut Vec::new());
        assert!(matches!(told, Err(SourceError::Empty { wanted: "JPEG picture", .. })), "{told:?}");
    }

    #[test]
    fn a_file_that_is_missing_or_no_file_is_refused() {
        let folder = TempDir::new().unwrap();
        let open = |path| {
            let config = MjpegFileSource { path, frames_per_second: 5.0, repeat: false, shuffled: None };
            MjpegFile::open(&config, Arc::new(SteppedClock::default())).unwrap_err()
        };
        assert!(matches!(open(folder.path().join("film.mjpeg")), SourceError::Missing { .. }));
        assert!(matches!(open(folder.path().into()), SourceError::WrongKind { expected: "file", .. }));
    }
}

//! A folder of images as a source.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::config::{FolderOrder, FolderSource};
use super::error::SourceError;
use super::listing::images_in;
use super::pacer::Pacer;
use super::shuffle::permutation;
use super::still::{self, Still};
use super::{FrameSource, Next};
use crate::clock::{Clock, nanoseconds};
use crate::frame::{Capture, TimestampSource};

/// How long a folder that is empty, or gone, is left alone before it is listed again.
const RELIST_PAUSE: Duration = Duration::from_secs(1);

/// The images of a folder, one after the other. An item's number is its place in the listing.
#[derive(Debug)]
pub(super) struct Folder {
    config: FolderSource,
    pacer: Pacer,
    images: Vec<PathBuf>,
    /// In which order they come, where it is another than that of the listing.
    order: Option<Vec<usize>>,
    /// How many have come.
    next: usize,
    /// How often the folder has begun again.
    round: u64,
    /// The bytes of a file that has to be decoded.
    file: Vec<u8>,
}

impl Folder {
    /// Lists the folder. An empty one is an error, unless it is to be repeated: then images may come later.
    pub(super) fn open(config: &FolderSource, clock: Arc<dyn Clock>) -> Result<Self, SourceError> {
        let pacer = Pacer::new(config.frames_per_second, clock)?;
        let images = images_in(&config.path, config.order, config.pattern.as_ref())?;
        if images.is_empty() && !config.repeat {
            return Err(SourceError::Empty { path: config.path.clone(), wanted: "JPEG, PNG or BMP files" });
        }
        let order = None;
        let mut folder = Self { config: config.clone(), pacer, images, order, next: 0, round: 0, file: Vec::new() };
        folder.arrange();
        Ok(folder)
    }

    fn arrange(&mut self) {
        self.order = match self.config.order {
            FolderOrder::Shuffled { seed } => Some(permutation(self.images.len(), seed, self.round)),
            FolderOrder::Natural | FolderOrder::Modified => None,
        };
    }

    /// Begins again. A folder that cannot be listed now, or is empty now, is tried again after a pause.
    fn relist(&mut self) -> Result<(), SourceError> {
        self.next = 0;
        self.images.clear();
        self.round += 1;
        let listed = images_in(&self.config.path, self.config.order, self.config.pattern.as_ref());
        if listed.as_ref().map_or(true, Vec::is_empty) {
            self.pacer.put_off(RELIST_PAUSE);
        }
        self.images = listed?;
        self.arrange();
        Ok(())
    }
}

impl FrameSource for Folder {
    fn next(&mut self, timeout: Duration, into: &mut Vec<u8>) -> Result<Next, SourceError> {
        if self.next >= self.images.len() && !self.config.repeat {
            return Ok(Next::End);
        }
        let Some(now) = self.pacer.wait(timeout) else { return Ok(Next::Idle) };
        if self.next >= self.images.len() {
            self.relist()?;
        }
        let place = self.order.as_ref().map_or(Some(self.next), |order| order.get(self.next).copied());
        let Some((place, path)) = place.and_then(|place| Some((place, self.images.get(place)?))) else {
            return Ok(Next::Idle);
        };
        let item = place as u64;
        self.next += 1;
        Ok(match still::read(path, &mut self.file, into) {
            Ok(still) => Next::Frame(capture(now, &still, item)),
            Err(why) => Next::Skipped { item, why },
        })
    }
}

fn capture(now: Duration, still: &Still, item: u64) -> Capture {
    let &Still { format, width, height, stride } = still;
    Capture {
        captured_ns: nanoseconds(now),
        timestamp_source: TimestampSource::Replay,
        format,
        width,
        height,
        stride,
        region: None,
        item,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use tempfile::TempDir;

    use super::*;
    use crate::clock::SteppedClock;
    use crate::picture::files::{bmp, jpeg, png, png_of};
    use crate::source::SkipReason;

    const SECOND: Duration = Duration::from_secs(1);

    fn folder_source(path: &Path, repeat: bool) -> FolderSource {
        FolderSource { path: path.into(), frames_per_second: 1.0, repeat, order: FolderOrder::Natural, pattern: None }
    }

    fn open(path: &Path, repeat: bool) -> Result<Folder, SourceError> {
        Folder::open(&folder_source(path, repeat), Arc::new(SteppedClock::default()))
    }

    /// An image file as wide as its number, so that frames tell which file they come from.
    fn add(folder: &Path, name: &str, width: u16) {
        let file = match name.rsplit_once('.') {
            Some((_, "png")) => png(width.into(), 1),
            Some((_, "bmp")) => bmp(width.into(), 1),
            _ => jpeg(width, 1),
        };
        fs::write(folder.join(name), file).unwrap();
    }

    /// What the source says next, in short: a frame by its width, anything else by its kind.
    fn next(source: &mut Folder) -> String {
        match source.next(SECOND, &mut Vec::new()) {
            Ok(Next::Frame(capture)) => format!("{}:{}", capture.item, capture.width),
            Ok(Next::Skipped { item, .. }) => format!("{item}:skipped"),
            Ok(Next::Idle) => "idle".into(),
            Ok(Next::End) => "end".into(),
            Err(error) => error.to_string(),
        }
    }

    fn take<const N: usize>(source: &mut Folder) -> [String; N] {
        std::array::from_fn(|_| next(source))
    }

    #[test]
    fn files_come_in_natural_order_and_then_the_folder_ends() {
        let folder = TempDir::new().unwrap();
        for (name, width) in [("f10.png", 3), ("f2.BMP", 2), ("f1.jpg", 1)] {
            add(folder.path(), name, width);
        }
        fs::write(folder.path().join("labels.txt"), "no image").unwrap();
        let mut source = open(folder.path(), false).unwrap();
        assert_eq!(take(&mut source), ["0:1", "1:2", "2:3", "end", "end"]);
    }

    #[test]
    fn a_file_that_cannot_be_used_is_counted_and_the_folder_goes_on() {
        let folder = TempDir::new().unwrap();
        for (name, width) in [("1.png", 1), ("2.png", 2), ("4.png", 4)] {
            add(folder.path(), name, width);
        }
        fs::write(folder.path().join("3.png"), "no image").unwrap();
        let mut source = open(folder.path(), false).unwrap();
        fs::remove_file(folder.path().join("2.png")).unwrap();
        assert_eq!(take(&mut source), ["0:1", "1:skipped", "2:skipped", "3:4", "end"]);
    }

    #[test]
    fn a_repeated_folder_is_listed_anew_each_time() {
        let folder = TempDir::new().unwrap();
        add(folder.path(), "1.png", 1);
        let mut source = open(folder.path(), true).unwrap();
        assert_eq!(take(&mut source), ["0:1", "0:1"]);
        add(folder.path(), "0.png", 7);
        assert_eq!(take(&mut source), ["0:7", "1:1", "0:7"]);
    }

    #[test]
    fn a_repeated_folder_waits_for_its_first_image() {
        let folder = TempDir::new().unwrap();
        let mut source = open(folder.path(), true).unwrap();
        assert_eq!(take(&mut source), ["idle", "idle"]);
        add(folder.path(), "1.png", 1);
        assert_eq!(next(&mut source), "0:1");
    }

    #[test]
    fn a_folder_that_goes_away_is_told_and_one_that_comes_back_is_used() {
        let parent = TempDir::new().unwrap();
        let folder = parent.path().join("mounted");
        fs::create_dir(&folder).unwrap();
        add(&folder, "1.png", 1);
        let mut source = open(&folder, true).unwrap();
        assert_eq!(next(&mut source), "0:1");
        fs::rename(&folder, parent.path().join("away")).unwrap();
        let gone = source.next(SECOND, &mut Vec::new()).unwrap_err();
        assert!(matches!(gone, SourceError::Missing { .. }) && gone.is_retryable());
        fs::rename(parent.path().join("away"), &folder).unwrap();
        assert_eq!(next(&mut source), "0:1");
    }

    #[test]
    fn a_folder_that_is_missing_empty_or_no_folder_says_what_to_do() {
        let folder = TempDir::new().unwrap();
        let missing = folder.path().join("frames");
        let told = open(&missing, true).unwrap_err().to_string();
        let expected =
            format!("{} does not exist: create it, or name another in the source's \"path\"", missing.display());
        assert_eq!(told, expected);
        let empty = open(folder.path(), false).unwrap_err();
        assert!(matches!(empty, SourceError::Empty { .. }), "{empty}");
        add(folder.path(), "1.png", 1);
        fs::write(folder.path().join("labels.txt"), "no image").unwrap();
        let file = open(&folder.path().join("labels.txt"), true).unwrap_err();
        assert!(matches!(file, SourceError::WrongKind { expected: "folder", .. }), "{file}");
    }

    #[test]
    fn one_file_is_a_folder_of_one() {
        let folder = TempDir::new().unwrap();
        add(folder.path(), "1.png", 1);
        add(folder.path(), "2.png", 2);
        let mut source = open(&folder.path().join("2.png"), false).unwrap();
        assert_eq!(take(&mut source), ["0:2", "end"]);
        let mut source = open(&folder.path().join("2.png"), true).unwrap();
        assert_eq!(take(&mut source), ["0:2", "0:2"]);
    }

    #[test]
    fn a_pattern_chooses_among_the_images() {
        let folder = TempDir::new().unwrap();
        for (name, width) in [("gate-1.jpg", 1), ("gate-2.png", 2), ("door-1.jpg", 3)] {
            add(folder.path(), name, width);
        }
        let pattern = Some("gate-*".parse().unwrap());
        let config = FolderSource { pattern, ..folder_source(folder.path(), false) };
        let mut source = Folder::open(&config, Arc::new(SteppedClock::default())).unwrap();
        assert_eq!(take(&mut source), ["0:1", "1:2", "end"]);
    }

    #[test]
    fn shuffled_files_come_once_a_round_in_an_order_that_comes_again() {
        let folder = TempDir::new().unwrap();
        for width in 1..=8 {
            add(folder.path(), &format!("{width}.png"), width);
        }
        let rounds = |seed| {
            let order = FolderOrder::Shuffled { seed };
            let config = FolderSource { order, ..folder_source(folder.path(), true) };
            let mut source = Folder::open(&config, Arc::new(SteppedClock::default())).unwrap();
            [take::<8>(&mut source), take::<8>(&mut source)]
        };
        let [first, second] = rounds(1);
        assert_eq!([first.clone(), second.clone()], rounds(1));
        assert!(first != second && first != rounds(2)[0]);
        let mut sorted = first;
        sorted.sort();
        assert_eq!(sorted, std::array::from_fn(|place| format!("{place}:{}", place + 1)));
    }

    #[test]
    fn the_oldest_file_comes_first_where_that_is_asked() {
        let folder = TempDir::new().unwrap();
        for (name, width, age) in [("1.png", 1, 10), ("2.png", 2, 30), ("3.png", 3, 20)] {
            add(folder.path(), name, width);
            let file = fs::File::options().write(true).open(folder.path().join(name)).unwrap();
            file.set_modified(std::time::SystemTime::UNIX_EPOCH + 1000 * SECOND - age * SECOND).unwrap();
        }
        let config = FolderSource { order: FolderOrder::Modified, ..folder_source(folder.path(), false) };
        let mut source = Folder::open(&config, Arc::new(SteppedClock::default())).unwrap();
        assert_eq!(take(&mut source), ["0:2", "1:3", "2:1", "end"]);
    }

    #[test]
    fn a_part_of_a_file_is_never_taken_for_its_image() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("1.png");
        let pixels: Vec<u8> = (0..150).collect();
        fs::write(&path, png_of(50, 1, png::ColorType::Rgb, &pixels)).unwrap();
        let whole = fs::read(&path).unwrap();
        let mut source = open(folder.path(), true).unwrap();
        for written in 0..whole.len() {
            fs::write(&path, &whole[..written]).unwrap();
            let mut bytes = Vec::new();
            match source.next(SECOND, &mut bytes).unwrap() {
                Next::Skipped { why: SkipReason::Undecodable { .. } | SkipReason::NotAnImage { .. }, .. } => {}
                // All pixels were there, and only the file's own end was missing.
                Next::Frame(_) => assert_eq!(bytes, pixels, "{written} of {}", whole.len()),
                other => panic!("{written} of {}: {other:?}", whole.len()),
            }
        }
    }
}

//! The last date a server confirmed, kept on disk, so that a device without a clock cell starts near the present.
//!
//! The file holds one line, seconds since 1970 in decimal. It only ever raises the clock's floor; a missing, foreign
//! or damaged file is as good as none, because the floor then is the release date.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use time::OffsetDateTime;

use super::{Clock, Floor, FloorReason};

/// How often the file is written at most: flash wears, and an hour is enough to judge certificates by.
pub const WRITE_INTERVAL: Duration = Duration::from_secs(3600);

/// The longest content that is read, in bytes; a 64-bit number with its sign and line end is shorter.
const MAX_CONTENT: u64 = 32;

/// Why the date could not be kept.
#[derive(Debug, thiserror::Error)]
#[error("keeping the last good date in {path}")]
pub struct LastGoodError {
    /// The file.
    pub path: PathBuf,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}

/// The file, and when it was last written.
#[derive(Debug)]
pub struct LastGood {
    path: PathBuf,
    /// CLOCK_BOOTTIME of the last write by this run.
    written: Mutex<Option<Duration>>,
}

impl LastGood {
    /// Uses the file at `path`; its directory is made when it is first written.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), written: Mutex::new(None) }
    }

    /// Raises `clock`'s floor to the date on disk. Returns that date, if there is one.
    pub fn recall(&self, clock: &dyn Clock) -> Option<OffsetDateTime> {
        let moment = read(&self.path)?;
        clock.reckoning().raise_floor(Floor { moment, reason: FloorReason::LastGood });
        Some(moment)
    }

    /// Writes the clock's present, if a server has confirmed it and the last write is [`WRITE_INTERVAL`] ago.
    /// Returns whether it wrote.
    ///
    /// # Errors
    /// When the file cannot be replaced; the old one is then untouched.
    pub fn keep(&self, clock: &dyn Clock) -> Result<bool, LastGoodError> {
        let mut written = self.written.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let boottime = clock.boottime();
        let due = written.is_none_or(|last| boottime.saturating_sub(last) >= WRITE_INTERVAL);
        if !due || !clock.reckoning().is_confirmed() {
            return Ok(false);
        }
        replace(&self.path, clock.now()).map_err(|source| LastGoodError { path: self.path.clone(), source })?;
        *written = Some(boottime);
        Ok(true)
    }
}

fn read(path: &Path) -> Option<OffsetDateTime> {
    let mut content = String::new();
    File::open(path).ok()?.take(MAX_CONTENT).read_to_string(&mut content).ok()?;
    OffsetDateTime::from_unix_timestamp(content.trim_end().parse().ok()?).ok()
}

fn replace(path: &Path, moment: OffsetDateTime) -> io::Result<()> {
    let temporary = path.with_extension("new");
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut file = File::create(&temporary)?;
    writeln!(file, "{}", moment.unix_timestamp())?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{FixedClock, RELEASE_DATE, VerificationTime};

    #[test]
    fn a_restarted_device_in_1970_begins_where_the_last_run_ended() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("var/state/last-good-time");
        let present = RELEASE_DATE + time::Duration::days(300);

        let first = FixedClock::at(OffsetDateTime::UNIX_EPOCH);
        first.learn(present);
        assert!(LastGood::new(&path).keep(&first).unwrap());

        let second = FixedClock::at(OffsetDateTime::UNIX_EPOCH);
        assert_eq!(LastGood::new(&path).recall(&second), Some(present));
        assert_eq!(second.verification_time(), VerificationTime::AtLeast(present));
        assert_eq!(second.now(), present);
    }

    #[test]
    fn it_is_written_once_an_hour_and_only_when_a_server_confirmed_it() {
        let directory = tempfile::tempdir().unwrap();
        let kept = LastGood::new(directory.path().join("last-good-time"));
        let clock = FixedClock::at(RELEASE_DATE + time::Duration::days(1));
        assert!(!kept.keep(&clock).unwrap());
        clock.learn(clock.system());
        assert!(kept.keep(&clock).unwrap());
        clock.advance(WRITE_INTERVAL - Duration::from_secs(1));
        assert!(!kept.keep(&clock).unwrap());
        clock.advance(Duration::from_secs(1));
        assert!(kept.keep(&clock).unwrap());
    }

    #[test]
    fn a_damaged_file_is_as_good_as_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("last-good-time");
        let clock = FixedClock::at(RELEASE_DATE);
        for content in ["", "tomorrow", "99999999999999999999999999999999999", "-5", "\u{0}\u{0}"] {
            fs::write(&path, content).unwrap();
            LastGood::new(&path).recall(&clock);
            assert_eq!(clock.reckoning().floor().moment, RELEASE_DATE, "{content:?}");
        }
    }
}

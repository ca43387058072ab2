//! A log file in V1's line format, `[time][LEVEL]-source,text` (A-43, contract E3), that never takes more of the disk than
//! it is given (E1): at half of that the file becomes `NAME.log.1`, in the place of the one before.
//!
//! Functions' logs and the core's own are such files. Nothing here logs, so that a disk that refuses is not told to itself.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use time::OffsetDateTime;

use crate::clock::Clock;
use crate::group::LogLevel;

/// The most of one line, in bytes: the least that a file holds.
pub const MAX_LINE: u64 = 4096;

/// What a level is called: in the file by its first name here.
const LEVELS: [(&str, LogLevel); 7] = [
    ("DEBUG", LogLevel::Debug),
    ("INFO", LogLevel::Info),
    ("WARN", LogLevel::Warn),
    ("WARNING", LogLevel::Warn),
    ("ERROR", LogLevel::Error),
    ("FATAL", LogLevel::Fatal),
    ("CRITICAL", LogLevel::Fatal),
];

/// The level that is called `name`, here or by Python's logging.
pub fn level_named(name: &str) -> Option<LogLevel> {
    LEVELS.iter().find(|(known, _)| *known == name).map(|(_, level)| *level)
}

/// A log file, opened with its first line.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    /// Bytes of one file; two of them are kept.
    limit: u64,
    level: LogLevel,
    clock: Arc<dyn Clock>,
    file: Mutex<Option<(File, u64)>>,
}

impl LogFile {
    /// A log at `path` that takes at most `space` bytes and drops what is below `level`.
    pub fn new(path: PathBuf, space: u64, level: LogLevel, clock: Arc<dyn Clock>) -> Self {
        Self { path, limit: (space / 2).max(MAX_LINE), level, clock, file: Mutex::new(None) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a line, if its level is not below the log's.
    ///
    /// # Errors
    /// The disk refuses; the line is lost.
    pub fn write(&self, level: LogLevel, source: &str, text: &str) -> io::Result<()> {
        if level < self.level {
            return Ok(());
        }
        let time = timestamp(self.clock.now());
        let mut line =
            format!("[{time}][{}]-{},{}", name(level), source.escape_debug(), text.trim_end().escape_debug());
        let whole = usize::try_from(MAX_LINE).unwrap_or(usize::MAX) - 1;
        line.truncate(line.floor_char_boundary(whole));
        line.push('\n');
        self.append(line.as_bytes())
    }

    fn append(&self, line: &[u8]) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.is_none() {
            *file = Some(open(&self.path)?);
        }
        let full = file.as_ref().is_some_and(|(_, written)| written + line.len() as u64 > self.limit);
        if full {
            *file = None;
            fs::rename(&self.path, self.path.with_extension("log.1"))?;
            *file = Some(open(&self.path)?);
        }
        if let Some((open, written)) = file.as_mut() {
            open.write_all(line)?;
            *written += line.len() as u64;
        }
        Ok(())
    }
}

/// Reading needs the core's user, as in V1.
fn open(path: &Path) -> io::Result<(File, u64)> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
    }
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let written = file.metadata()?.len();
    Ok((file, written))
}

fn name(level: LogLevel) -> &'static str {
    LEVELS.iter().find(|(_, known)| *known == level).map_or("INFO", |(name, _)| name)
}

/// UTC with milliseconds, always three digits of them, as V1 wrote it.
fn timestamp(instant: OffsetDateTime) -> String {
    let at = instant.to_offset(time::UtcOffset::UTC);
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second, millisecond) = at.to_hms_milli();
    format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z", u8::from(month))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn a_log_keeps_to_its_space_and_to_its_level() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("user/eu-central-1/123456789012/count.log");
        let log = |space| LogFile::new(path.clone(), space, LogLevel::Info, Arc::new(SystemClock::new()));
        let first = log(16 << 10);
        for _ in 0..4000 {
            first.write(LogLevel::Info, "stdout:", &"x".repeat(100)).unwrap();
        }
        first.write(LogLevel::Debug, "stdout:", "not this").unwrap();
        first.write(LogLevel::Error, "count.py:3", "this\n").unwrap();
        let both = || [&path, &path.with_extension("log.1")].map(|path| fs::read_to_string(path).unwrap());
        let [now, before] = both();
        assert!(now.len() + before.len() <= 16 << 10, "{} + {}", now.len(), before.len());
        assert!(now.ends_with("][ERROR]-count.py:3,this\n") && !now.contains("not this"), "{now}");
        // The next core finds a file, and has less room for it.
        log(8 << 10).write(LogLevel::Info, "stdout:", &"y".repeat(100_000)).unwrap();
        let [now, _] = both();
        assert_eq!(now.len() as u64, MAX_LINE, "a new file with one line, cut");
    }

    #[test]
    fn levels_are_called_as_v1_called_them() {
        let all = [LogLevel::Debug, LogLevel::Info, LogLevel::Warn, LogLevel::Error, LogLevel::Fatal];
        assert_eq!(all.map(name), ["DEBUG", "INFO", "WARN", "ERROR", "FATAL"]);
        assert_eq!(level_named("WARNING"), Some(LogLevel::Warn));
    }

    #[test]
    fn the_time_has_milliseconds_as_v1_wrote_it() {
        let at = OffsetDateTime::from_unix_timestamp_nanos(1_500_544_918_006_999_000).unwrap();
        assert_eq!(timestamp(at), "2017-07-20T10:01:58.006Z");
        assert_eq!(timestamp(OffsetDateTime::UNIX_EPOCH), "1970-01-01T00:00:00.000Z");
    }
}

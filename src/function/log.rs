//! A function's log at V1's place and in its line format (A-43, contract E2, E3):
//! `var/log/user/REGION/ACCOUNT/NAME.log`, `[time][LEVEL]-source,text`. It never takes more of the disk than the group's
//! logger gives it: at half of that the file becomes `NAME.log.1`, in the place of the one before.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::group::LogLevel;
use crate::payload;

/// A line is cut at this many bytes.
const MAX_LINE: u64 = 4096;

/// What a function may print at a stroke, and in a second from then on, in bytes. One that prints more waits: its pipe is
/// full, and the core's time goes to others.
const BURST: f64 = (1 << 20) as f64;
const BYTES_A_SECOND: f64 = (256 << 10) as f64;

/// Not worth waking up for less.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);

/// How often it is said of a function that it prints too fast.
const REMINDER: Duration = Duration::from_secs(60);

/// What a level is called.
const LEVELS: [(&str, LogLevel); 7] = [
    ("DEBUG", LogLevel::Debug),
    ("INFO", LogLevel::Info),
    ("WARN", LogLevel::Warn),
    ("WARNING", LogLevel::Warn),
    ("ERROR", LogLevel::Error),
    ("CRITICAL", LogLevel::Fatal),
    ("FATAL", LogLevel::Fatal),
];

/// The log of one function.
#[derive(Debug)]
pub(super) struct FunctionLog {
    path: PathBuf,
    /// Bytes of one file; two of them are kept.
    limit: u64,
    level: LogLevel,
    clock: Arc<dyn Clock>,
    file: Mutex<Option<(File, u64)>>,
}

impl FunctionLog {
    /// A log at `path` that takes at most `space` bytes and drops what is below `level`.
    pub(super) fn new(path: PathBuf, space: u64, level: LogLevel, clock: Arc<dyn Clock>) -> Self {
        Self { path, limit: (space / 2).max(MAX_LINE), level, clock, file: Mutex::new(None) }
    }

    /// Writes a line. A disk that refuses costs the line, and is said in the core's own log.
    pub(super) fn write(&self, level: LogLevel, source: &str, text: &str) {
        if level < self.level {
            return;
        }
        let time = payload::timestamp(self.clock.now());
        let line = format!("[{time}][{}]-{},{}\n", name(level), source.escape_debug(), text.trim_end().escape_debug());
        if let Err(error) = self.append(line.as_bytes()) {
            tracing::debug!(path = %self.path.display(), %error, "a line of a function's log is lost");
        }
    }

    fn append(&self, line: &[u8]) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let full = file.as_ref().is_some_and(|(_, written)| written + line.len() as u64 > self.limit);
        if full {
            *file = None;
            fs::rename(&self.path, self.path.with_extension("log.1"))?;
        }
        if file.is_none() {
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

/// A line that names its level itself, as V1's logging does, `[LEVEL]-source,text`; otherwise `level` and `source`.
fn split<'l>(line: &'l str, level: LogLevel, source: &'l str) -> (LogLevel, &'l str, &'l str) {
    let own = line.strip_prefix('[').and_then(|rest| rest.split_once("]-")).and_then(|(said, rest)| {
        let level = LEVELS.iter().find(|(name, _)| *name == said)?.1;
        let (source, text) = rest.split_once(',')?;
        Some((level, source, text))
    });
    own.unwrap_or((level, source, line))
}

/// How fast a function prints.
#[derive(Debug)]
struct Pace {
    /// Bytes that it may print now.
    left: f64,
    at: Instant,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { left: BURST, at: now }
    }

    /// It has printed so many bytes; how long it has to wait for the next.
    fn count(&mut self, bytes: usize, now: Instant) -> Option<Duration> {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.left = (self.left + passed * BYTES_A_SECOND).min(BURST) - bytes as f64;
        (self.left < 0.0).then(|| Duration::from_secs_f64(-self.left / BYTES_A_SECOND))
    }
}

/// Puts what a function prints into its log, line by line, until it closes its end. `(level, source)` are those of lines
/// that do not name their own; `floods` hears of one that prints too fast, once in a while.
pub(super) async fn forward(
    from: pipe::Receiver,
    log: Arc<FunctionLog>,
    (level, source): (LogLevel, &'static str),
    floods: impl Fn(String),
) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    let (mut pace, mut said) = (Pace::new(Instant::now()), None::<Instant>);
    loop {
        line.clear();
        match (&mut from).take(MAX_LINE).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                let (level, source, text) = split(&text, level, source);
                log.write(level, source, text);
                let Some(wait) = pace.count(line.len(), Instant::now()) else { continue };
                if said.is_none_or(|at| at.elapsed() >= REMINDER) {
                    said = Some(Instant::now());
                    let limit = BYTES_A_SECOND / 1024.0;
                    floods(format!("it prints faster than {limit} KiB a second, and waits"));
                }
                tokio::time::sleep(wait.max(SHORTEST_WAIT)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn a_log_keeps_to_its_space_and_to_its_level() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("user/eu-central-1/123456789012/count.log");
        let log = FunctionLog::new(path.clone(), 16 << 10, LogLevel::Info, Arc::new(SystemClock::new()));
        for _ in 0..4000 {
            log.write(LogLevel::Info, "stdout:", &"x".repeat(100));
        }
        log.write(LogLevel::Debug, "stdout:", "not this");
        log.write(LogLevel::Error, "count.py:3", "this\n");
        let [now, before] = [&path, &path.with_extension("log.1")].map(|path| fs::read_to_string(path).unwrap());
        assert!(now.len() + before.len() <= 16 << 10, "{} + {}", now.len(), before.len());
        assert!(now.ends_with("][ERROR]-count.py:3,this\n") && !now.contains("not this"), "{now}");
        assert!(now.starts_with("[20"), "{now}");
    }

    #[test]
    fn a_function_may_print_much_at_once_and_little_for_ever() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert_eq!(pace.count(1 << 20, start), None);
        let wait = pace.count(256 << 10, start).unwrap();
        assert!((0.99..1.01).contains(&wait.as_secs_f64()), "{wait:?}");
        assert_eq!(pace.count(256 << 10, start + Duration::from_secs(2)), None, "it has waited");
        assert_eq!(pace.count(1 << 20, start + Duration::from_secs(3600)), None);
    }

    #[test]
    fn a_line_may_name_its_own_level() {
        let split = |line| split(line, LogLevel::Info, "stdout:");
        assert_eq!(split("[WARNING]-a.py:7,hot, very"), (LogLevel::Warn, "a.py:7", "hot, very"));
        assert_eq!(split("[OTHER]-a,b"), (LogLevel::Info, "stdout:", "[OTHER]-a,b"));
        assert_eq!(split("plain"), (LogLevel::Info, "stdout:", "plain"));
    }
}

//! A function's log at V1's place (A-43, contract E2), `var/log/user/REGION/ACCOUNT/NAME.log`: what it prints, and what
//! the core says of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::group::LogLevel;
use crate::log_file::{self, LogFile, MAX_LINE};

/// What a function may print at a stroke, and in a second from then on, in bytes. One that prints more waits: its pipe is
/// full, and the core's time goes to others.
const BURST: f64 = (1 << 20) as f64;
const BYTES_A_SECOND: f64 = (256 << 10) as f64;

/// Not worth waking up for less.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);

/// How often it is said of a function that it prints too fast.
const REMINDER: Duration = Duration::from_secs(60);

/// The log of one function.
#[derive(Debug)]
pub(super) struct FunctionLog(LogFile);

impl FunctionLog {
    /// A log at `path` that takes at most `space` bytes and drops what is below `level`.
    pub(super) fn new(path: PathBuf, space: u64, level: LogLevel, clock: Arc<dyn Clock>) -> Self {
        Self(LogFile::new(path, space, level, clock))
    }

    /// Writes a line. A disk that refuses costs the line, and is said in the core's own log.
    pub(super) fn write(&self, level: LogLevel, source: &str, text: &str) {
        if let Err(error) = self.0.write(level, source, text) {
            tracing::debug!(path = %self.0.path().display(), %error, "a line of a function's log is lost");
        }
    }
}

/// A line that names its level itself, as V1's logging does, `[LEVEL]-source,text`; otherwise `level` and `source`.
fn split<'l>(line: &'l str, level: LogLevel, source: &'l str) -> (LogLevel, &'l str, &'l str) {
    let own = line.strip_prefix('[').and_then(|rest| rest.split_once("]-")).and_then(|(said, rest)| {
        let level = log_file::level_named(said)?;
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

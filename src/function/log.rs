//! A function's log at V1's place (A-43, contract E2), `var/log/user/REGION/ACCOUNT/NAME.log`: what it prints, and what
//! the core says of it.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe;

use crate::clock::Clock;
use crate::group::LogLevel;
use crate::log_file::{self, LogFile, MAX_LINE};

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

/// Puts what a function prints into its log, line by line, until it closes its end.
pub(super) async fn forward(from: pipe::Receiver, log: Arc<FunctionLog>, level: LogLevel, source: &'static str) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut from).take(MAX_LINE).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                let (level, source, text) = split(&text, level, source);
                log.write(level, source, text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_may_name_its_own_level() {
        let split = |line| split(line, LogLevel::Info, "stdout:");
        assert_eq!(split("[WARNING]-a.py:7,hot, very"), (LogLevel::Warn, "a.py:7", "hot, very"));
        assert_eq!(split("[OTHER]-a,b"), (LogLevel::Info, "stdout:", "[OTHER]-a,b"));
        assert_eq!(split("plain"), (LogLevel::Info, "stdout:", "plain"));
    }
}

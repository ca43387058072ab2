//! Standard output and standard error, written to so that a closed pipe is an error and not a panic.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

/// Prints a line on standard output.
pub(super) fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Prints one JSON document on a line of its own.
pub(super) fn json<T: Serialize>(document: &T) -> io::Result<()> {
    line(&serde_json::to_string(document)?)
}

/// Prints a line on standard error. Nobody can be told when that fails.
pub(super) fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Whether a person looks at standard error.
pub(super) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

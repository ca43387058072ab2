//! Reading a document's file, of which no more is read than a parser would take.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::problem::{Document, Problems};

/// Why a document's file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be opened or read, or is not UTF-8.
    #[error("reading {document} at {}", path.display())]
    Read {
        /// Which document.
        document: Document,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The document is refused.
    #[error("{document} at {} is refused; `margay check` lists what to mend", path.display())]
    Refused {
        /// Which document.
        document: Document,
        /// The file.
        path: PathBuf,
        /// Every problem of the document.
        source: Problems,
    },
}

/// Reads the file `path` as text, up to one byte more than `limit`, so that [`parse`](super::parse) sees that it is too
/// large.
///
/// # Errors
/// [`LoadError::Read`].
pub fn read_file(document: Document, path: &Path, limit: usize) -> Result<String, LoadError> {
    read_bounded(path, limit).map_err(|source| LoadError::Read { document, path: path.to_owned(), source })
}

fn read_bounded(path: &Path, limit: usize) -> io::Result<String> {
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

//! Which kind of archive a package is, and every reason to refuse one (B-10, V9).

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::error::StoreError;
use crate::document::printable;
use crate::package::PathError;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// A local file header; an archive without files begins with the end record.
const ZIP_MAGICS: [[u8; 4]; 2] = [*b"PK\x03\x04", *b"PK\x05\x06"];

/// The two kinds of packages that the guide allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveKind {
    /// `.tar.gz`, also called `.tgz`.
    TarGz,
    /// `.zip`.
    Zip,
}

impl ArchiveKind {
    const NAMES: [(&'static str, Self); 3] = [(".tar.gz", Self::TarGz), (".tgz", Self::TarGz), (".zip", Self::Zip)];

    fn of_name(name: &str) -> Option<Self> {
        let lower = name.to_ascii_lowercase();
        Self::NAMES.into_iter().find(|(suffix, _)| lower.ends_with(suffix)).map(|(_, kind)| kind)
    }

    pub(super) fn of_content(start: &[u8]) -> Option<Self> {
        if start.starts_with(&GZIP_MAGIC) {
            Some(Self::TarGz)
        } else if ZIP_MAGICS.iter().any(|magic| start.starts_with(magic)) {
            Some(Self::Zip)
        } else {
            None
        }
    }

    /// `.tar.gz` or `.zip`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TarGz => ".tar.gz",
            Self::Zip => ".zip",
        }
    }
}

/// A package as it came, before anything in it is believed.
#[derive(Debug)]
pub(super) struct Archive<'a> {
    path: &'a Path,
    name: &'a str,
    kind: ArchiveKind,
}

impl<'a> Archive<'a> {
    /// The archive at `path`. On its kind `name`, under which it was offered, and its first bytes must agree.
    pub(super) fn recognise(path: &'a Path, name: &'a str) -> Result<Self, StoreError> {
        let refuse = |source| StoreError::Archive { archive: name.to_owned(), source };
        let kind = ArchiveKind::of_name(name).ok_or_else(|| refuse(ArchiveError::UnknownName))?;
        let archive = Self { path, name, kind };
        let mut start = Vec::new();
        let read = archive.open().and_then(|file| {
            file.take(4).read_to_end(&mut start).map_err(|source| ArchiveError::Unreadable { source })
        });
        read.map_err(refuse)?;
        let found = ArchiveKind::of_content(&start);
        if found == Some(kind) {
            return Ok(archive);
        }
        Err(refuse(ArchiveError::UnlikeName { named: kind.as_str(), found: found.map(ArchiveKind::as_str) }))
    }

    pub(super) fn kind(&self) -> ArchiveKind {
        self.kind
    }

    /// Opens the archive's file.
    pub(super) fn open(&self) -> Result<File, ArchiveError> {
        File::open(self.path).map_err(|source| ArchiveError::Unreadable { source })
    }

    /// Names the archive in an error.
    pub(super) fn refused(&self, source: ArchiveError) -> StoreError {
        StoreError::Archive { archive: self.name.to_owned(), source }
    }
}

/// Why an archive is refused. Names of entries are shown shortened and escaped.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The archive's own file could not be read.
    #[error("its file cannot be read")]
    Unreadable {
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The name does not say which kind it is.
    #[error("a package is a .tar.gz or a .zip, and its name ends otherwise")]
    UnknownName,
    /// The content is not what the name says.
    #[error("its name says {named}, its content is {}", found.unwrap_or("neither .tar.gz nor .zip"))]
    UnlikeName {
        /// The kind that the name says.
        named: &'static str,
        /// The kind that the content is, if it is one.
        found: Option<&'static str>,
    },
    /// The archive is damaged.
    #[error("it is damaged at {at}; upload it again")]
    Damaged {
        /// Where: an entry's name or a part of the archive.
        at: String,
        /// What the reader said.
        #[source]
        source: io::Error,
    },
    /// An entry's name reaches outside, or cannot be a path in a package.
    #[error("the path of its entry {entry:?} {source}")]
    Path {
        /// The entry's name.
        entry: String,
        /// The rule that it breaks; its text belongs to this sentence.
        source: PathError,
    },
    /// An entry is neither a file nor a directory.
    #[error("its entry {entry:?} is {kind}, and a package holds only files and directories")]
    Kind {
        /// The entry's name.
        entry: String,
        /// What it is.
        kind: &'static str,
    },
    /// Two entries want the same path.
    #[error("its entry {entry:?} comes twice, or is a file and a directory")]
    Duplicate {
        /// The entry's name.
        entry: String,
    },
    /// A limit is exceeded.
    #[error("it has more than {limit} {of}")]
    Limit {
        /// What is limited, with its unit.
        of: &'static str,
        /// The limit.
        limit: u64,
    },
    /// It uses a feature of its format that packages may not use.
    #[error("its entry {entry:?} uses {feature}, which packages may not")]
    Feature {
        /// The entry's name.
        entry: String,
        /// The feature.
        feature: &'static str,
    },
    /// There is no file in it.
    #[error("there is no file in it")]
    Empty,
}

/// How long a shown name is at most, and what a reader says, in characters.
const SHOWN: usize = 80;
const QUOTED: usize = 200;

/// An entry's name as errors show it.
pub(super) fn shown(name: &[u8]) -> String {
    printable(&String::from_utf8_lossy(name).chars().take(SHOWN).collect::<String>())
}

/// The error of an archive that cannot be read at `at`. What the reader says may quote the archive, at length.
pub(super) fn damaged(at: &str, source: io::Error) -> ArchiveError {
    let words = source.to_string();
    let short: String = words.chars().take(QUOTED).collect();
    let plain = printable(&short);
    let source = if plain == words { source } else { io::Error::new(source.kind(), plain) };
    ArchiveError::Damaged { at: at.to_owned(), source }
}

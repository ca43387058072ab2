//! What can go wrong on the disk, with the path and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use super::archive::ArchiveError;
use super::room::QuotaExceeded;
use super::space::NoSpace;
use crate::package::{PackagePath, Sha256Digest};

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk refused.
    #[error("{doing} {}", path.display())]
    Io {
        /// What was being done, as a participle.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// There is not enough space.
    #[error(transparent)]
    DiskFull(#[from] NoSpace),
    /// The store may not hold that much.
    #[error(transparent)]
    Quota(#[from] QuotaExceeded),
    /// The archive breaks a rule.
    #[error("unpacking the package {archive}")]
    Archive {
        /// The archive's name.
        archive: String,
        /// Which rule.
        #[source]
        source: ArchiveError,
    },
    /// Another process has the store open.
    #[error("opening the store {}: another process has it open; stop the other `margay run`", path.display())]
    Busy {
        /// The store.
        path: PathBuf,
    },
    /// A newer version of Margay wrote the store.
    #[error("opening the store {}: its layout is version {found}, and this Margay knows up to {known}; install the newer Margay again, or point writeDirectory elsewhere", path.display())]
    NewerLayout {
        /// The store.
        path: PathBuf,
        /// The version on disk.
        found: u32,
        /// The newest version known.
        known: u32,
    },
    /// A newer version of Margay wrote a document of the store.
    #[error("opening {}: its format is version {found}, and this Margay knows up to {known}; install the newer Margay again, or point writeDirectory elsewhere", path.display())]
    NewerDocument {
        /// The file.
        path: PathBuf,
        /// The version on disk.
        found: u64,
        /// The newest version known.
        known: u32,
    },
    /// The directory holds something, but not a store.
    #[error("opening the store {}: its file `format` is not Margay's; point writeDirectory at an empty directory", path.display())]
    NotAStore {
        /// The directory.
        path: PathBuf,
    },
    /// A document of the store cannot be read.
    #[error("reading {}; remove the file, and the next deployment writes it again", path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// Where the JSON is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A file of a package is not what its manifest says.
    #[error("the package's manifest names {file} with digest {expected}, and the file {}", describe(actual.as_ref()))]
    FileDigest {
        /// The file.
        file: PackagePath,
        /// The manifest's digest.
        expected: Sha256Digest,
        /// The file's digest; none if there is no such file.
        actual: Option<Sha256Digest>,
    },
    /// The model is not installed, or no longer whole.
    #[error("the model {digest} is not in the store; deploy it again")]
    NotInstalled {
        /// The archive's digest.
        digest: Sha256Digest,
    },
    /// The source says that nothing changed, but nothing is installed to which that could apply.
    #[error("the source says that the package has not changed, and none is installed")]
    NothingFetched,
    /// The thread that worked on the store ended early.
    #[error("the thread that worked on the store ended early")]
    Aborted(#[from] tokio::task::JoinError),
}

fn describe(actual: Option<&Sha256Digest>) -> String {
    actual.map_or_else(|| "is missing".to_owned(), |digest| format!("has {digest}"))
}

impl StoreError {
    /// Wraps an error of the disk with what was being done to `path`.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull(NoSpace::found_while_writing(path, None))
            }
            _ => Self::Io { doing, path: path.to_owned(), source },
        }
    }

    /// Whether the same call may succeed later without a change to the package: a full or failing disk may be mended, and another
    /// deployment that holds room ends.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Io { .. }
            | Self::DiskFull(_)
            | Self::Quota(_)
            | Self::Busy { .. }
            | Self::NotInstalled { .. }
            | Self::Aborted(_) => true,
            Self::Archive { source, .. } => matches!(source, ArchiveError::Unreadable { .. }),
            Self::NewerLayout { .. }
            | Self::NewerDocument { .. }
            | Self::NotAStore { .. }
            | Self::Document { .. }
            | Self::FileDigest { .. }
            | Self::NothingFetched => false,
        }
    }
}

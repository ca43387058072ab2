//! Unfinished things with unused names, removed when dropped. What a crash leaves behind is swept by the next
//! [`Store::open`](super::Store::open), except in the system's temporary directory, which the system cleans.

use std::path::{Path, PathBuf};

use super::error::StoreError;
use super::installed::PACKAGE;
use crate::disk;

/// Names are drawn until one is unused; ten collisions of 64 bits mean that something else is wrong.
const ATTEMPTS: u32 = 10;

/// A path of its own, with whatever lies there.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// A new, empty directory in `parent`.
    pub(super) fn directory_within(parent: &Path) -> Result<Self, StoreError> {
        let mut attempt = 1;
        loop {
            let path = unused(parent);
            match disk::create_directory(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(StoreError::io("making the temporary directory", &path)(error)),
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.path.exists()
            && let Err(error) = disk::remove_tree(&self.path)
        {
            tracing::debug!(path = %self.path.display(), %error, "a temporary directory stays behind");
        }
    }
}

/// An unused path in `parent`.
pub(super) fn unused(parent: &Path) -> PathBuf {
    parent.join(format!("margay-{:016x}", fastrand::u64(..)))
}

/// A path for a download, with whatever has been downloaded to it.
#[derive(Debug)]
pub struct DownloadPath {
    path: PathBuf,
    _directory: Scratch,
}

impl DownloadPath {
    pub(super) fn within(parent: &Path) -> Result<Self, StoreError> {
        let directory = Scratch::directory_within(parent)?;
        Ok(Self { path: directory.path().join("archive"), _directory: directory })
    }

    /// The path; nothing lies there at first.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A package unpacked for as long as this lives.
#[derive(Debug)]
pub struct Unpacked {
    package: PathBuf,
    _directory: Scratch,
}

impl Unpacked {
    pub(super) fn new(directory: Scratch) -> Self {
        Self { package: directory.path().join(PACKAGE), _directory: directory }
    }

    /// The package's top directory.
    pub fn path(&self) -> &Path {
        &self.package
    }
}

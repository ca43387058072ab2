//! Writes an archive's entries into a fresh directory, under limits. What kind of archive they come from is the
//! business of [`tar_gz`](super::tar_gz) and [`zip_file`](super::zip_file).
//!
//! The directory is made by this process and holds nothing but what this process wrote: no link is ever created in
//! it, so a checked path cannot lead outside. Owners and times of the archive are ignored, and of modes everything but
//! whether a file may be executed; files are 0644 or 0755, directories 0755.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::archive::{self, ArchiveError, shown};
use super::error::StoreError;
use super::installed::Shape;
use super::room::Booking;
use super::space;
use crate::disk::{self, FillError};
use crate::package::{PackagePath, Sha256Digest};

const FILE_MODE: u32 = 0o644;
const PROGRAM_MODE: u32 = 0o755;

/// The permissions to execute (stat(2)).
const EXECUTE: u32 = 0o111;

/// A function brings what it depends on: boto3 alone has 2,000 files. AWS Lambda bounds the bytes, to 250 MB, and not the
/// files.
const CODE_ENTRIES: u64 = 32 * 1024;
/// Packages of Node lie in one another.
const CODE_DEPTH: u64 = 32;

/// What an archive may ask of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Files and directories.
    pub entries: u64,
    /// Bytes of all files together.
    pub bytes: u64,
    /// Bytes of all files for each byte of the archive, beyond [`Limits::free_bytes`].
    pub ratio: u64,
    /// Bytes that any archive may unpack to, however well it is compressed.
    pub free_bytes: u64,
    /// Parts of a path.
    pub depth: u64,
}

impl Default for Limits {
    /// Ten times the largest model of the guide (ResNet-50, 200 MB); quantised weights compress by less than ten.
    fn default() -> Self {
        Self { entries: 4096, bytes: 2 << 30, ratio: 100, free_bytes: 64 << 20, depth: 16 }
    }
}

impl Limits {
    /// These limits for an archive of `shape`.
    pub(super) fn of(self, shape: Shape) -> Self {
        match shape {
            Shape::Model => self,
            Shape::Code => Self { entries: self.entries.max(CODE_ENTRIES), depth: self.depth.max(CODE_DEPTH), ..self },
        }
    }
}

/// An unpacked file, as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) bytes: u64,
    pub(super) sha256: Sha256Digest,
}

/// Why unpacking stopped: the archive's fault, or the disk's.
#[derive(Debug)]
pub(super) enum UnpackError {
    Archive(ArchiveError),
    Disk(StoreError),
}

impl From<ArchiveError> for UnpackError {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

/// A directory being filled.
#[derive(Debug)]
pub(super) struct Unpacker {
    root: PathBuf,
    limits: Limits,
    /// Bytes that may still be written.
    budget: u64,
    allowance: u64,
    room: Booking,
    entries: u64,
    directories: BTreeSet<PathBuf>,
    files: BTreeMap<PackagePath, Written>,
}

impl Unpacker {
    /// Fills `root`, which exists and is empty, from an archive of `archive_bytes`; what it takes is booked in `room`.
    pub(super) fn new(root: &Path, archive_bytes: u64, limits: &Limits, room: Booking) -> Self {
        let allowance = archive_bytes.saturating_mul(limits.ratio).max(limits.free_bytes).min(limits.bytes);
        Self {
            root: root.to_owned(),
            limits: *limits,
            budget: allowance,
            allowance,
            room,
            entries: 0,
            directories: BTreeSet::from([root.to_owned()]),
            files: BTreeMap::new(),
        }
    }

    /// Refuses early what the archive itself says is too large for the limits, the quota or the disk.
    pub(super) fn expect(&mut self, bytes: u64) -> Result<(), UnpackError> {
        if bytes > self.allowance {
            return Err(self.too_large().into());
        }
        self.room.grow_to(bytes).map_err(UnpackError::Disk)?;
        space::check(&self.root, bytes).map_err(|full| UnpackError::Disk(full.into()))
    }

    /// Counts an entry of the archive, whatever it is.
    pub(super) fn count(&mut self) -> Result<(), ArchiveError> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(ArchiveError::Limit { of: "entries", limit: self.limits.entries });
        }
        Ok(())
    }

    /// Makes a directory; one that is there already is fine.
    pub(super) fn directory(&mut self, path: &PackagePath) -> Result<(), UnpackError> {
        self.check_depth(path)?;
        self.directories_down_to(path.as_str(), path)
    }

    /// Writes a file with `content` to its end; of `mode` it keeps whether the file may be executed.
    pub(super) fn file(&mut self, path: &PackagePath, mode: u32, content: &mut dyn Read) -> Result<(), UnpackError> {
        self.check_depth(path)?;
        if let Some((parent, _)) = path.as_str().rsplit_once('/') {
            self.directories_down_to(parent, path)?;
        }
        let target = self.root.join(path.as_str());
        let mut file = disk::create_file(&target, if mode & EXECUTE == 0 { FILE_MODE } else { PROGRAM_MODE })
            .map_err(|error| obstacle(error, path, &target))?;
        let mut digest = Sha256::new();
        // One byte more than allowed, to tell the limit from the end.
        let mut bounded = content.take(self.budget.saturating_add(1));
        let (room, mut written) = (&mut self.room, self.allowance - self.budget);
        let seen = |piece: &[u8]| {
            digest.update(piece);
            written += piece.len() as u64;
            // More than the archive announced, or its start: some kinds announce only their last part.
            room.grow_to(written)
        };
        let bytes = disk::fill(&mut file, &mut bounded, seen).map_err(|error| match error {
            FillError::Reading(source) => UnpackError::Archive(damaged(path, source)),
            FillError::Writing(source) => UnpackError::Disk(StoreError::io("writing", &target)(source)),
            FillError::Refused(error) => UnpackError::Disk(error),
        })?;
        self.budget = self.budget.checked_sub(bytes).ok_or_else(|| self.too_large())?;
        let sha256 = Sha256Digest::from_bytes(digest.finalize().into());
        self.files.insert(path.clone(), Written { bytes, sha256 });
        Ok(())
    }

    /// Syncs every directory and gives the files.
    pub(super) fn finish(self) -> Result<BTreeMap<PackagePath, Written>, StoreError> {
        for directory in &self.directories {
            disk::sync_directory(directory).map_err(StoreError::io("syncing", directory))?;
        }
        Ok(self.files)
    }

    fn too_large(&self) -> ArchiveError {
        ArchiveError::Limit { of: "bytes when unpacked", limit: self.allowance }
    }

    fn check_depth(&self, path: &PackagePath) -> Result<(), ArchiveError> {
        let depth = path.as_str().split('/').count() as u64;
        if depth > self.limits.depth {
            return Err(ArchiveError::Limit { of: "parts in a path", limit: self.limits.depth });
        }
        Ok(())
    }

    fn directories_down_to(&mut self, directory: &str, entry: &PackagePath) -> Result<(), UnpackError> {
        let mut path = self.root.clone();
        for part in directory.split('/') {
            path.push(part);
            if !self.directories.contains(&path) {
                disk::create_directory(&path).map_err(|error| obstacle(error, entry, &path))?;
                self.directories.insert(path.clone());
            }
        }
        Ok(())
    }
}

/// What is in the way can only be an earlier entry of the same archive.
fn obstacle(error: io::Error, entry: &PackagePath, path: &Path) -> UnpackError {
    match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
            ArchiveError::Duplicate { entry: shown(entry.as_str().as_bytes()) }.into()
        }
        _ => UnpackError::Disk(StoreError::io("making", path)(error)),
    }
}

/// The error of an entry whose content cannot be read.
fn damaged(entry: &PackagePath, source: io::Error) -> ArchiveError {
    archive::damaged(&shown(entry.as_str().as_bytes()), source)
}

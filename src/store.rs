//! The models on this device: unpacked once, named by the digest of their archive, swapped by one rename (B-12, B-13).
//!
//! ```text
//! <store>/format                      the layout's version; an older binary refuses a newer layout
//! <store>/lock                        held by the process that has the store open
//! <store>/models/sha256-<hex>/        installed.json, and package/ with the files
//! <store>/resources/<id>.json         what a machine learning resource runs now, and what it ran before
//! <store>/tmp/                        whatever is unfinished; swept when the store is opened
//! ```
//!
//! A model becomes visible by the rename that publishes its directory, after every file in it was written and fsynced:
//! power may fail at any step and leaves either the whole model or none. Refuses archives that reach outside their
//! directory or grow without bounds. Serves [`deployment`](crate::deployment); knows no network and no model format.

mod archive;
mod entry;
mod error;
mod installed;
mod inventory;
mod layout;
mod record;
mod scratch;
pub mod space;
mod tar_gz;
mod unpack;
mod zip_file;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::disk;
use crate::name::{ResourceId, S3Uri};
use crate::package::Sha256Digest;
use archive::Archive;
pub use archive::{ArchiveError, ArchiveKind};
pub use error::StoreError;
pub use installed::InstalledModel;
pub use inventory::{Kept, Use, inventory};
use layout::Layout;
pub use record::{Record, Release};
use scratch::Scratch;
pub use scratch::{DownloadPath, Unpacked};
pub use unpack::Limits;

/// What is known of an archive that has just been downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// Its size in bytes.
    pub bytes: u64,
    /// Its digest, computed while it came.
    pub sha256: Sha256Digest,
    /// The version of the object it came from (`ETag`), to ask later whether there is another.
    pub etag: Option<String>,
}

/// What [`Store::prune`] removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Models.
    pub models: u64,
    /// Bytes of their files.
    pub bytes: u64,
}

/// The store, opened by this process alone.
#[derive(Debug)]
pub struct Store {
    layout: Layout,
    limits: Limits,
}

impl Store {
    /// Opens the store in `directory`, which is made if it is not there, and removes what an earlier run left unfinished.
    ///
    /// # Errors
    /// When another process has it open, when a newer version of Margay wrote it, or when the disk refuses.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let layout = Layout::open(directory)?;
        Ok(Self { layout, limits: Limits::default() })
    }

    /// The same with other limits for archives.
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// A fresh path for a download, in the store's own file system. What lies there is removed when it is dropped.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn download_path(&self) -> Result<DownloadPath, StoreError> {
        DownloadPath::within(&self.layout.temporary())
    }

    /// Unpacks the archive at `download`, which came from `origin`, and publishes it under its digest. If that digest
    /// is installed already and whole, nothing is unpacked. Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// When the archive breaks a rule, the disk is full or refuses. Nothing in the store changes then.
    pub fn install(
        &self,
        download: DownloadPath,
        origin: &S3Uri,
        fetched: &Download,
    ) -> Result<InstalledModel, StoreError> {
        let release =
            Release { digest: fetched.sha256, origin: origin.clone(), etag: fetched.etag.clone(), signed_by: None };
        if let Some(installed) = self.find(&release)? {
            return Ok(installed);
        }
        let archive = Archive::recognise(download.path(), origin.key())?;
        let staging = Scratch::directory_within(&self.layout.temporary())?;
        let package = installed::stage(staging.path(), &archive, &self.limits)?;
        let home = self.layout.model(&fetched.sha256);
        if home.exists() {
            // Not whole, or `find` would have returned it.
            disk::remove_tree(&home).map_err(StoreError::io("removing the damaged", &home))?;
        }
        disk::publish(staging.path(), &home).map_err(StoreError::io("publishing", &home))?;
        tracing::info!(digest = %fetched.sha256, %origin, files = package.files(), bytes = package.bytes(), "model installed");
        self.find(&release)?.ok_or(StoreError::NotInstalled { digest: fetched.sha256 })
    }

    /// What `resource` runs now, if its model is installed and whole.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn current(&self, resource: &ResourceId) -> Result<Option<InstalledModel>, StoreError> {
        match self.record(resource)?.current {
            Some(release) => self.find(&release),
            None => Ok(None),
        }
    }

    /// What `resource` ran before, if its model is still installed and whole.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn previous(&self, resource: &ResourceId) -> Result<Option<InstalledModel>, StoreError> {
        match self.record(resource)?.previous {
            Some(release) => self.find(&release),
            None => Ok(None),
        }
    }

    /// Records `model` as what `resource` runs; what it ran becomes the previous one. Both stay through
    /// [`Store::prune`].
    ///
    /// # Errors
    /// When the record cannot be replaced; the old one then stands.
    pub fn set_current(&self, resource: &ResourceId, model: &InstalledModel) -> Result<(), StoreError> {
        let record = self.record(resource)?.followed_by(model.release().clone());
        record.write(&self.layout.record(resource))
    }

    /// The model of `release`, if it is installed and whole.
    ///
    /// # Errors
    /// When its document cannot be read.
    pub fn installed(&self, release: &Release) -> Result<Option<InstalledModel>, StoreError> {
        self.find(release)
    }

    /// Makes `records` all that is known of resources, and removes every model that none of them names.
    ///
    /// # Errors
    /// When a record cannot be read, replaced or removed; models are removed only after every record stands.
    pub fn settle(&self, records: &BTreeMap<ResourceId, Record>) -> Result<Pruned, StoreError> {
        for (resource, wanted) in records {
            let path = self.layout.record(resource);
            if Record::read(&path).ok().as_ref() != Some(wanted) {
                wanted.write(&path)?;
            }
        }
        let wanted: BTreeSet<_> = records.keys().map(|resource| self.layout.record(resource)).collect();
        for path in self.layout.records()?.into_iter().filter(|path| !wanted.contains(path)) {
            disk::remove_tree(&path).map_err(StoreError::io("removing", &path))?;
        }
        self.prune()
    }

    /// Makes the previous model of `resource` the current one again, and the other way round. Returns it, if there
    /// was one.
    ///
    /// # Errors
    /// When the record cannot be read or replaced.
    pub fn roll_back(&self, resource: &ResourceId) -> Result<Option<InstalledModel>, StoreError> {
        let Some(previous) = self.previous(resource)? else { return Ok(None) };
        self.set_current(resource, &previous)?;
        Ok(Some(previous))
    }

    /// Removes every model that no resource runs or ran before.
    ///
    /// # Errors
    /// When a record cannot be read, in which case nothing is removed, or the disk refuses.
    pub fn prune(&self) -> Result<Pruned, StoreError> {
        let mut kept = Vec::new();
        for path in self.layout.records()? {
            let record = Record::read(&path)?;
            kept.extend([record.current, record.previous].into_iter().flatten().map(|release| release.digest));
        }
        let mut pruned = Pruned::default();
        for (digest, home) in self.layout.models()? {
            if kept.contains(&digest) {
                continue;
            }
            pruned.bytes += InstalledModel::bytes_in(&home);
            pruned.models += 1;
            // Out of sight first: a half-removed directory must not lie under its digest.
            let grave = Scratch::directory_within(&self.layout.temporary())?;
            let moved = grave.path().join("model");
            disk::publish(&home, &moved).map_err(StoreError::io("removing", &home))?;
        }
        Ok(pruned)
    }

    fn record(&self, resource: &ResourceId) -> Result<Record, StoreError> {
        Record::read(&self.layout.record(resource))
    }

    fn find(&self, release: &Release) -> Result<Option<InstalledModel>, StoreError> {
        InstalledModel::open(&self.layout.model(&release.digest), release)
    }
}

/// Unpacks the archive at `path` into a temporary directory, to look at a package without installing it.
///
/// # Errors
/// When the archive breaks a rule, or the disk refuses.
pub fn unpack_for_a_look(path: &Path) -> Result<Unpacked, StoreError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let archive = Archive::recognise(path, &name)?;
    let scratch = Scratch::directory_within(&std::env::temp_dir())?;
    installed::stage(scratch.path(), &archive, &Limits::default())?;
    Ok(Unpacked::new(scratch))
}

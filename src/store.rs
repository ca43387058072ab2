//! The models on this device: unpacked once, named by the digest of their archive, swapped by one rename (B-12, B-13).
//!
//! ```text
//! <store>/format                      the layout's version; an older binary refuses a newer layout
//! <store>/lock                        held by the process that has the store open
//! <store>/models/sha256-<hex>/        installed.json, package/ with the files, and compiled, what a worker made of the model
//! <store>/resources/<id>.json         what a machine learning resource runs now, and what it ran before
//! <store>/tmp/                        whatever is unfinished; swept when the store is opened
//! ```
//!
//! A model becomes visible by the rename that publishes its directory, after every file in it was written and fsynced:
//! power may fail at any step and leaves either the whole model or none. Refuses archives that reach outside their
//! directory or grow without bounds. Serves [`deployment`](crate::deployment); knows no network and no model format.

mod archive;
mod compiled;
mod entry;
mod error;
mod format;
mod fuzz;
mod installed;
mod inventory;
mod layout;
mod record;
mod room;
mod scratch;
pub mod space;
mod tar_gz;
mod unpack;
mod zip_file;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::disk;
use crate::name::{Origin, ResourceId};
use crate::package::Sha256Digest;
use archive::Archive;
pub use archive::{ArchiveError, ArchiveKind};
pub use compiled::CompiledPlace;
pub use error::StoreError;
pub use fuzz::fuzz_package;
pub use installed::{InstalledModel, Shape};
pub use inventory::{Kept, Use, inventory};
use layout::Layout;
pub use record::{Record, Release};
use room::Room;
pub use room::{Admission, Pruned, QuotaExceeded};
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

/// The store, opened by this process alone.
#[derive(Debug)]
pub struct Store {
    layout: Layout,
    limits: Limits,
    room: Arc<Room>,
}

impl Store {
    /// Opens the store in `directory`, which is made if it is not there, and removes what an earlier run left unfinished.
    ///
    /// # Errors
    /// When another process has it open, when a newer version of Margay wrote it, or when the disk refuses.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let layout = Layout::open(directory)?;
        Ok(Self { layout, limits: Limits::default(), room: Room::new(directory, None) })
    }

    /// The same with other limits for archives.
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The same, holding at most `quota` bytes: the models, what is downloaded and what is unpacked.
    pub fn with_quota(mut self, quota: Option<u64>) -> Self {
        self.room = Room::new(self.layout.root(), quota);
        self
    }

    /// A fresh path for a download, in the store's own file system. What lies there is removed when it is dropped.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn download_path(&self) -> Result<DownloadPath, StoreError> {
        DownloadPath::within(&self.layout.temporary(), Admission::to(&self.room))
    }

    /// Unpacks the archive at `download`, which came from `origin`, and publishes it under its digest. If that digest
    /// is installed already and whole, nothing is unpacked. Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// When the archive breaks a rule, the disk is full or refuses, or the quota does. Nothing that is whole changes then.
    pub fn install(
        &self,
        download: DownloadPath,
        origin: impl Into<Origin>,
        fetched: &Download,
    ) -> Result<InstalledModel, StoreError> {
        self.install_as(Shape::Model, download, origin.into(), fetched)
    }

    /// [`Store::install`] for an archive of another shape. One that is installed already keeps the shape that it has.
    ///
    /// # Errors
    /// As for [`Store::install`].
    pub fn install_as(
        &self,
        shape: Shape,
        download: DownloadPath,
        origin: Origin,
        fetched: &Download,
    ) -> Result<InstalledModel, StoreError> {
        let name = origin.name();
        let release = Release { digest: fetched.sha256, origin, etag: fetched.etag.clone(), signed_by: None };
        if let Some(installed) = self.find(&release)? {
            return Ok(installed);
        }
        download.admission().ask(fetched.bytes)?;
        let archive = Archive::recognise(download.path(), &name)?;
        let _pin = self.room.pin(&fetched.sha256);
        let home = self.layout.model(&fetched.sha256);
        if home.exists() {
            // Not whole, or `find` would have returned it.
            disk::remove_tree(&home).map_err(StoreError::io("removing the damaged", &home))?;
        }
        let staging = Scratch::directory_within(&self.layout.temporary())?;
        let package = installed::stage(staging.path(), &archive, (&self.limits.of(shape), shape), self.room.book())?;
        disk::publish(staging.path(), &home).map_err(StoreError::io("publishing", &home))?;
        let origin = &release.origin;
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
        for path in layout::records_in(self.layout.root())?.into_iter().filter(|path| !wanted.contains(path)) {
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

    /// Removes every model that no resource runs or ran before, and that nobody works with: an [`InstalledModel`] keeps
    /// its files for as long as it lives.
    ///
    /// # Errors
    /// When a record cannot be read, in which case nothing is removed, or the disk refuses.
    pub fn prune(&self) -> Result<Pruned, StoreError> {
        self.room.collect()
    }

    /// Where the compiled artefact of `model` lies, or would.
    pub fn compiled(&self, model: &InstalledModel) -> CompiledPlace {
        CompiledPlace::new(&self.layout.model(&model.digest()), self.layout.temporary(), self.room.clone())
    }

    fn record(&self, resource: &ResourceId) -> Result<Record, StoreError> {
        Record::read(&self.layout.record(resource))
    }

    fn find(&self, release: &Release) -> Result<Option<InstalledModel>, StoreError> {
        let pin = self.room.pin(&release.digest);
        Ok(InstalledModel::open(&self.layout.model(&release.digest), release)?.map(|model| model.kept_by(pin)))
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
    let unbounded = Room::new(scratch.path(), None).book();
    installed::stage(scratch.path(), &archive, (&Limits::default(), Shape::Model), unbounded)?;
    Ok(Unpacked::new(scratch))
}

//! What a deployment leaves on the disk: the confirmed group, the group document's file, the history, and only those
//! packages that are needed.
//!
//! The order matters. A package is protected before the group that needs it is written, and collected only after no
//! group names it; `active.json` is the one step between the old group and the new one.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{Engine, FILE, Task, Wanted};
use crate::deployment::report::{Failure, FailureKind};
use crate::deployment::request::Kind;
use crate::deployment::runner::Runner;
use crate::deployment::shelf::{Confirmed, Past, Pending, ShelfError, file_digest};
use crate::deployment::version::GroupVersion;
use crate::disk;
use crate::group;
use crate::name::ResourceId;
use crate::problem::Document;
use crate::store::{Record, Release};

impl<R: Runner> Engine<R> {
    /// What was confirmed last, as it can run; without the packages that are damaged.
    pub(super) fn confirmed_version(&self) -> Option<GroupVersion> {
        let confirmed = self.active.current.as_ref()?;
        let mut group = GroupVersion::read(&confirmed.document, &self.parts.config)
            .inspect_err(|problems| tracing::error!(%problems, "the confirmed group is refused by this configuration"))
            .ok()?;
        for (resource, release) in &confirmed.packages {
            if let Some(staged) = self.parts.stager.installed(release, group.purpose_of(resource)) {
                group.packages.insert(resource.clone(), staged);
            }
        }
        Some(group)
    }

    /// `group` with the packages that its resources ran last: those of a device that ran before there were records of
    /// deployments.
    pub(super) fn with_current(&self, mut group: GroupVersion) -> GroupVersion {
        for (resource, _) in group.sources() {
            if let Some(staged) = self.parts.stager.current(&resource, group.purpose_of(&resource)) {
                group.packages.insert(resource, staged);
            }
        }
        group
    }

    /// Keeps what is asked for, so that a start after a power cut carries on with it.
    pub(super) fn keep_pending(&self, task: &Task) -> Result<(), Failure> {
        let (request, created) = (task.request.clone(), task.created.clone());
        let attempts = task.attempts + 1;
        let pending = Pending { id: request.id, source: request.source, order: request.order, created, attempts };
        self.shelf.put_pending(&pending).map_err(storage)
    }

    /// `group` is what a starting core runs from now on.
    pub(super) fn confirm(&mut self, task: &Task, group: &GroupVersion) -> Result<(), Failure> {
        for (resource, staged) in &group.packages {
            self.parts.store.set_current(resource, &staged.installed).map_err(storage)?;
        }
        let kind = task.request.order.kind();
        let confirmed = Confirmed {
            id: task.request.id.clone(),
            kind,
            source: task.request.source.clone(),
            document: group.document.to_string(),
            packages: group.releases(),
            confirmed: self.now(),
        };
        let mut active = self.active.clone();
        let replaced = active.current.replace(confirmed);
        active.previous = match kind {
            Kind::ResetDeployment | Kind::ForceResetDeployment => None,
            // What runs again does not become its own predecessor.
            _ if replaced.as_ref().is_some_and(|replaced| is_same(replaced, group)) => active.previous,
            Kind::NewDeployment | Kind::Redeployment => replaced,
        };
        // A look at the packages says nothing of the file, which somebody may be editing.
        if !task.quiet {
            // An edit made meanwhile is an order of its own, which is still to be carried out.
            active.file = self.edited_since(task).unwrap_or_else(|| self.file_text().as_deref().map(file_digest));
        }
        if let Err(error) = self.shelf.activate(&active) {
            // The new group may stand there all the same, when only the folder could not be synced.
            let _ = self.shelf.activate(&self.active);
            return Err(storage(error));
        }
        self.active = active;
        self.board.set_confirmed(self.active.current.clone());
        self.show_in_file(task, group);
        Ok(())
    }

    fn show_in_file(&self, task: &Task, group: &GroupVersion) {
        if !task.quiet {
            self.board.set_warning(None);
            if self.edited_since(task).is_none() {
                self.write_file(&group.document);
            }
        }
    }

    /// What the file was when `task` was made of it, if it is something else now.
    fn edited_since(&self, task: &Task) -> Option<Option<String>> {
        let now = self.file_text().as_deref().map(file_digest);
        (task.file.is_some() && now.is_some() && task.file != now).then(|| task.file.clone())
    }

    /// What runs was asked for again: another kind of deployment, or another version of the same package's object, is
    /// written down; otherwise nothing is.
    pub(super) fn confirm_again(&mut self, task: &Task, group: &GroupVersion) -> Result<(), Failure> {
        let Some(current) = &self.active.current else { return Ok(()) };
        let kind = task.request.order.kind();
        if current.kind == kind && current.packages == group.releases() {
            self.show_in_file(task, group);
            return Ok(());
        }
        self.confirm(task, group)
    }

    /// Remembers how a deployment ended, and collects what nobody needs any more. What fails here is mended by the next
    /// deployment.
    pub(super) fn conclude(&mut self, wanted: Option<Wanted>, remember: bool) {
        let report = self.board.latest().borrow().clone();
        if let Some(report) = report.filter(|_| remember) {
            let document = wanted.as_ref().map(|wanted| wanted.group.document.to_string());
            let confirmed = self.active.current.as_ref().filter(|current| current.id == report.id);
            let packages =
                confirmed.map(|current| current.packages.clone()).unwrap_or_else(|| self.packages_of(&report));
            if let Err(error) = self.shelf.remember(&Past { report, document, packages }) {
                tracing::error!(%error, "the deployment is missing in the history");
            }
        }
        if let Err(error) = self.shelf.clear_pending() {
            tracing::error!(%error, "the deployment will be tried again at the next start");
        }
        match self.parts.store.settle(&self.records()) {
            Ok(pruned) if pruned.models > 0 => {
                tracing::info!(models = pruned.models, bytes = pruned.bytes, "old models were removed");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "old models could not be removed"),
        }
        self.board.end(remember);
    }

    /// The file is not looked at again before somebody changes it.
    pub(super) fn pass_file_over(&mut self) {
        self.active.file = self.file_text().as_deref().map(file_digest);
        if let Err(error) = self.shelf.activate(&self.active) {
            tracing::error!(%error, "the group document's file will be deployed again at the next start");
        }
    }

    /// The packages of a deployment that ended without being confirmed as it stands: those that run, if they are its.
    fn packages_of(&self, report: &crate::deployment::report::Report) -> BTreeMap<ResourceId, Release> {
        let same = report.packages == self.running.package_versions();
        if same { self.running.releases() } else { BTreeMap::new() }
    }

    /// What the store is to know of resources.
    fn records(&self) -> BTreeMap<ResourceId, Record> {
        let mut records: BTreeMap<ResourceId, Record> = BTreeMap::new();
        for (resource, release) in self.active.current.iter().flat_map(|current| &current.packages) {
            records.entry(resource.clone()).or_default().current = Some(release.clone());
        }
        for (resource, release) in self.active.previous.iter().flat_map(|previous| &previous.packages) {
            let record = records.entry(resource.clone()).or_default();
            if record.current.as_ref().is_none_or(|current| current.digest != release.digest) {
                record.previous = Some(release.clone());
            }
        }
        records
    }

    fn file_text(&self) -> Option<String> {
        let path = &self.parts.config.directories.group_document;
        crate::document::read_file(Document::Group, path, group::SIZE_LIMIT).ok()
    }

    /// Writes what is deployed where V1's daemon wrote it; a core whose file cannot be written knows by its
    /// digest that the file is no order.
    fn write_file(&self, document: &str) {
        if self.file_text().as_deref() == Some(document) {
            return;
        }
        let path = &self.parts.config.directories.group_document;
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        let mode = fs::metadata(&path).map_or(0o600, |metadata| metadata.permissions().mode() & 0o777);
        let temporary = path.with_extension("margay-new");
        let _ = fs::remove_file(&temporary);
        let folder = path.parent().map_or(Ok(()), disk::create_directories);
        let written = folder.and_then(|()| disk::replace_with_mode(&path, &temporary, document.as_bytes(), mode));
        if let Err(error) = written {
            tracing::warn!(path = %path.display(), %error, "{FILE} does not show what is deployed");
        }
    }
}

/// Whether a confirmed group is the document and the packages of `group`.
fn is_same(confirmed: &Confirmed, group: &GroupVersion) -> bool {
    let digests = |packages: &BTreeMap<ResourceId, Release>| -> Vec<_> {
        packages.iter().map(|(resource, release)| (resource.clone(), release.digest)).collect()
    };
    *confirmed.document == *group.document && digests(&confirmed.packages) == digests(&group.releases())
}

fn storage(error: impl Into<StorageError>) -> Failure {
    Failure::new(FailureKind::Storage, crate::causes::explain(&error.into()))
}

/// The disk refused what was to be recorded.
#[derive(Debug, thiserror::Error)]
enum StorageError {
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}

//! What deployments leave on the disk, each file replaced in one step and marked with its format's version:
//!
//! ```text
//! active.json                what runs, and what ran before: group document, package versions
//! pending.json               the deployment that is under way, or is to begin with the next start
//! history/<number>.json      the latest deployments, with their documents, oldest first
//! ```
//!
//! `active.json` alone decides what a starting core runs: a power cut leaves the old group or the new one. The folder
//! is for the core's user only, because parameters in a document may be secret.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::report::Report;
use super::request::{DeploymentId, Kind, Order};
use crate::disk;
use crate::name::ResourceId;
use crate::package::Sha256Digest;
use crate::store::Release;

/// The version of all three formats.
const FORMAT: u32 = 1;

/// Deployments that are remembered.
const HISTORY: usize = 20;

/// Unfinished files begin with this.
const UNFINISHED: &str = "margay-";

/// A group that was confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    /// The deployment that brought it.
    pub id: DeploymentId,
    /// Of which kind that was; a redeployment keeps its packages until another deployment.
    pub kind: Kind,
    /// On whose behalf.
    pub source: String,
    /// The group document.
    pub document: String,
    /// By resource, the packages that it runs with.
    pub packages: BTreeMap<ResourceId, Release>,
    /// When it was confirmed, RFC 3339.
    pub confirmed: String,
}

/// What runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Active {
    /// What a starting core runs.
    pub current: Option<Confirmed>,
    /// What ran before, whose packages are kept.
    pub previous: Option<Confirmed>,
    /// The digest of the group document's file when this was written: another one is an order to deploy it.
    pub file: Option<String>,
}

/// A deployment that is not finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Its id.
    pub id: DeploymentId,
    /// On whose behalf.
    pub source: String,
    /// What is to be deployed.
    #[serde(flatten)]
    pub order: Order,
    /// When it was asked for, RFC 3339.
    pub created: String,
    /// How often a core has begun with it.
    pub attempts: u32,
}

/// A deployment that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// How it ended.
    pub report: Report,
    /// The group document, for another deployment of the same; none where it was never read.
    pub document: Option<String>,
    /// By resource, the packages that it had.
    pub packages: BTreeMap<ResourceId, Release>,
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    format: u32,
    #[serde(flatten)]
    content: T,
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// Why the shelf could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
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
    /// A file is not what was written.
    #[error("reading {}: it is damaged; remove it, and deploy again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// A newer version of Margay wrote the file.
    #[error("reading {}: its format is {found}, and this Margay knows up to {FORMAT}; install the newer Margay again, or remove the file and deploy again", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
}

/// The folder of deployments.
#[derive(Debug, Clone)]
pub struct Shelf {
    folder: PathBuf,
}

impl Shelf {
    /// The shelf in `folder`, which need not exist yet.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Makes the folder, and removes what an earlier run left unfinished. For the core alone.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn prepare(&self) -> Result<(), ShelfError> {
        let history = self.history_folder();
        disk::create_directories(&history).map_err(io_error("making", &history))?;
        let private = fs::Permissions::from_mode(0o700);
        fs::set_permissions(&self.folder, private).map_err(io_error("closing to others", &self.folder))?;
        for folder in [&self.folder, &history] {
            for path in children(folder)? {
                if name_of(&path).starts_with(UNFINISHED) {
                    disk::remove_tree(&path).map_err(io_error("sweeping", &path))?;
                }
            }
        }
        Ok(())
    }

    /// What runs; nothing on a device that never ran anything.
    ///
    /// # Errors
    /// The file cannot be read, is damaged, or of a newer format.
    pub fn active(&self) -> Result<Active, ShelfError> {
        Ok(read(&self.folder.join("active.json"))?.unwrap_or_default())
    }

    /// Replaces what runs.
    ///
    /// # Errors
    /// The disk refuses; what was written before stands.
    pub fn activate(&self, active: &Active) -> Result<(), ShelfError> {
        self.write(&self.folder.join("active.json"), active)
    }

    /// The deployment that is not finished, if there is one.
    ///
    /// # Errors
    /// As for [`Shelf::active`].
    pub fn pending(&self) -> Result<Option<Pending>, ShelfError> {
        read(&self.folder.join("pending.json"))
    }

    /// Keeps `pending` for the next start; it takes the place of another one.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn put_pending(&self, pending: &Pending) -> Result<(), ShelfError> {
        self.write(&self.folder.join("pending.json"), pending)
    }

    /// Nothing is pending any more.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn clear_pending(&self) -> Result<(), ShelfError> {
        let path = self.folder.join("pending.json");
        if !path.exists() {
            return Ok(());
        }
        disk::remove_tree(&path).and_then(|()| disk::sync_directory(&self.folder)).map_err(io_error("removing", &path))
    }

    /// The latest deployments, oldest first. One that cannot be read is left out, and said in the log.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn history(&self) -> Result<Vec<Past>, ShelfError> {
        let readable = self.numbered()?.into_iter().filter_map(|(_, path)| match read::<Past>(&path) {
            Ok(past) => past,
            Err(error) => {
                tracing::warn!(%error, "a deployment of the history is left out");
                None
            }
        });
        Ok(readable.collect())
    }

    /// Adds a deployment to the history, from which the oldest make room.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn remember(&self, past: &Past) -> Result<(), ShelfError> {
        let numbered = self.numbered()?;
        let next = numbered.last().map_or(1, |(number, _)| number + 1);
        self.write(&self.history_folder().join(format!("{next:08}.json")), past)?;
        let surplus = (numbered.len() + 1).saturating_sub(HISTORY);
        for (_, path) in numbered.into_iter().take(surplus) {
            disk::remove_tree(&path).map_err(io_error("removing", &path))?;
        }
        Ok(())
    }

    fn history_folder(&self) -> PathBuf {
        self.folder.join("history")
    }

    fn numbered(&self) -> Result<Vec<(u64, PathBuf)>, ShelfError> {
        let number = |path: &Path| name_of(path).strip_suffix(".json")?.parse().ok();
        let mut numbered: Vec<(u64, PathBuf)> = children(&self.history_folder())?
            .into_iter()
            .filter_map(|path| number(&path).map(|number| (number, path)))
            .collect();
        numbered.sort();
        Ok(numbered)
    }

    fn write<T: Serialize>(&self, path: &Path, content: &T) -> Result<(), ShelfError> {
        let damaged = |source| ShelfError::Damaged { path: path.to_owned(), source };
        let text = serde_json::to_vec_pretty(&Versioned { format: FORMAT, content }).map_err(damaged)?;
        if !self.folder.exists() {
            disk::create_directories(&self.folder).map_err(io_error("making", &self.folder))?;
        }
        let temporary = self.folder.join(format!("{UNFINISHED}{:016x}", fastrand::u64(..)));
        disk::replace_private(path, &temporary, &text).map_err(io_error("writing", path))
    }
}

/// The digest by which a group document's file is recognised.
pub(super) fn file_digest(text: &str) -> String {
    Sha256Digest::of(text.as_bytes()).to_string()
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ShelfError> {
    let content = match fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("reading", path)(error)),
    };
    let damaged = |source| ShelfError::Damaged { path: path.to_owned(), source };
    let Format { format: found } = serde_json::from_slice(&content).map_err(damaged)?;
    if found > FORMAT {
        return Err(ShelfError::Newer { path: path.to_owned(), found });
    }
    let versioned: Versioned<T> = serde_json::from_slice(&content).map_err(damaged)?;
    Ok(Some(versioned.content))
}

fn children(folder: &Path) -> Result<Vec<PathBuf>, ShelfError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_error("listing", folder)(error)),
    };
    let paths: io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    paths.map_err(io_error("listing", folder))
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ShelfError {
    move |source| ShelfError::Io { doing, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::crash;

    fn past(id: &str) -> Past {
        let id: DeploymentId = id.parse().unwrap();
        let report = Report::new(id, Kind::NewDeployment, "test".to_owned(), "1970-01-01T00:00:00Z".to_owned());
        Past { report, document: Some("{}".to_owned()), packages: BTreeMap::new() }
    }

    fn active(document: &str) -> Active {
        let current = Confirmed {
            id: "a".parse().unwrap(),
            kind: Kind::NewDeployment,
            source: "test".to_owned(),
            document: document.to_owned(),
            packages: BTreeMap::new(),
            confirmed: "1970-01-01T00:00:00Z".to_owned(),
        };
        Active { current: Some(current), previous: None, file: None }
    }

    #[test]
    fn the_history_keeps_the_latest_twenty_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::at(folder.path());
        shelf.prepare().unwrap();
        for number in 0..25 {
            shelf.remember(&past(&format!("d{number}"))).unwrap();
        }
        let ids: Vec<String> = shelf.history().unwrap().iter().map(|past| past.report.id.to_string()).collect();
        let expected: Vec<String> = (5..25).map(|number| format!("d{number}")).collect();
        assert_eq!(ids, expected);
    }

    #[test]
    fn wherever_the_power_goes_the_old_group_or_the_new_one_is_active() {
        for changes in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let shelf = Shelf::at(folder.path().join("deployments"));
            shelf.prepare().unwrap();
            shelf.activate(&active("old")).unwrap();
            crash::after(changes, io::ErrorKind::Other);
            let written = shelf.activate(&active("new"));
            crash::over();
            let cut = written.is_err();
            let found = shelf.active().unwrap();
            assert!(found == active("old") || found == active("new"), "change {changes}: {found:?}");
            shelf.prepare().unwrap();
            let left: Vec<_> = children(&folder.path().join("deployments")).unwrap();
            assert_eq!(left.len(), 2, "only active.json and the history: {left:?}");
            if !cut {
                assert!(changes > 3);
                return;
            }
        }
        panic!("the last change was never reached");
    }

    #[test]
    fn a_newer_format_is_refused_and_a_damaged_file_named() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::at(folder.path());
        fs::write(folder.path().join("active.json"), r#"{"format": 2, "nobody": "knows"}"#).unwrap();
        assert!(matches!(shelf.active(), Err(ShelfError::Newer { found: 2, .. })));
        fs::write(folder.path().join("active.json"), "{").unwrap();
        assert!(matches!(shelf.active(), Err(ShelfError::Damaged { .. })));
    }
}

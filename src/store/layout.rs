//! Where things lie in a store, which version of that this is, and who may change it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::error::StoreError;
use super::scratch::unused;
use crate::disk;
use crate::name::ResourceId;
use crate::package::Sha256Digest;

/// The version of the layout that this binary reads and writes.
const VERSION: u32 = 1;

/// An open store's directories; holds the lock.
#[derive(Debug)]
pub(super) struct Layout {
    root: PathBuf,
    _lock: File,
}

impl Layout {
    pub(super) fn open(root: &Path) -> Result<Self, StoreError> {
        disk::create_directories(root).map_err(StoreError::io("making", root))?;
        let lock = lock(root)?;
        let layout = Self { root: root.to_owned(), _lock: lock };
        layout.check_version()?;
        layout.sweep()?;
        for directory in [layout.root.join("models"), layout.root.join("resources"), layout.temporary()] {
            disk::create_directories(&directory).map_err(StoreError::io("making", &directory))?;
        }
        disk::sync_directory(root).map_err(StoreError::io("syncing", root))?;
        Ok(layout)
    }

    pub(super) fn temporary(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub(super) fn model(&self, digest: &Sha256Digest) -> PathBuf {
        self.root.join("models").join(directory_name(digest))
    }

    pub(super) fn record(&self, resource: &ResourceId) -> PathBuf {
        self.root.join("resources").join(format!("{resource}.json"))
    }

    /// Every model's digest and directory; names that are no digests are left alone.
    pub(super) fn models(&self) -> Result<Vec<(Sha256Digest, PathBuf)>, StoreError> {
        models_in(&self.root)
    }

    /// Every resource's record.
    pub(super) fn records(&self) -> Result<Vec<PathBuf>, StoreError> {
        records_in(&self.root)
    }

    fn check_version(&self) -> Result<(), StoreError> {
        let path = self.root.join("format");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let temporary = unused(&self.root);
                let content = format!("{VERSION}\n");
                return disk::replace(&path, &temporary, content.as_bytes()).map_err(StoreError::io("writing", &path));
            }
            Err(error) => return Err(StoreError::io("reading", &path)(error)),
        };
        match text.trim_end().parse::<u32>() {
            Ok(found) if found > VERSION => {
                Err(StoreError::NewerLayout { path: self.root.clone(), found, known: VERSION })
            }
            Ok(1..) => Ok(()),
            _ => Err(StoreError::NotAStore { path: self.root.clone() }),
        }
    }

    /// Removes what earlier runs left unfinished.
    fn sweep(&self) -> Result<(), StoreError> {
        let temporary = self.temporary();
        if temporary.exists() {
            disk::remove_tree(&temporary).map_err(StoreError::io("sweeping", &temporary))?;
        }
        for path in children(&self.root)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with("margay-") {
                disk::remove_tree(&path).map_err(StoreError::io("sweeping", &path))?;
            }
        }
        Ok(())
    }
}

/// [`Layout::models`] of a store that may be open elsewhere.
pub(super) fn models_in(root: &Path) -> Result<Vec<(Sha256Digest, PathBuf)>, StoreError> {
    let of_path = |path: PathBuf| Some((digest_of(path.file_name()?.to_str()?)?, path));
    Ok(children(&root.join("models"))?.into_iter().filter_map(of_path).collect())
}

/// [`Layout::records`] of a store that may be open elsewhere.
pub(super) fn records_in(root: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut records = children(&root.join("resources"))?;
    records.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    Ok(records)
}

/// `sha256-<hex>`.
fn directory_name(digest: &Sha256Digest) -> String {
    digest.to_string().replace(':', "-")
}

fn digest_of(directory_name: &str) -> Option<Sha256Digest> {
    directory_name.strip_prefix("sha256-")?.parse().ok()
}

fn lock(root: &Path) -> Result<File, StoreError> {
    let path = root.join("lock");
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(StoreError::io("opening", &path))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::Busy { path: root.to_owned() }),
        Err(errno) => Err(StoreError::io("locking", &path)(errno.into())),
    }
}

fn children(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let list = || -> io::Result<Vec<PathBuf>> { fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect() };
    let mut paths = list().map_err(StoreError::io("listing", directory))?;
    paths.sort();
    Ok(paths)
}

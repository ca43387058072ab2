//! Writing what was planned: into a folder beside its final name, which it takes in one step when everything is in it.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::Value;
use tempfile::TempDir;

use super::Order;
use super::plan::{CONFIG_FILE, Deposit, PACKAGES, Plan};
use super::settings::GROUP_FILE;
use crate::store::{Download, Store, StoreError};

/// The report's file in the output.
pub const REPORT_FILE: &str = "report.txt";
/// The store in the output: `deployment/mlmodel` of the write directory that the configuration has by default.
const STORE: &str = "ggc/deployment/mlmodel";

/// Mode of both documents: a proxy's password and functions' variables may stand in them.
const DOCUMENT_MODE: u32 = 0o600;

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Something is there already.
    #[error("{} exists: name another folder, or move it away", path.display())]
    Exists {
        /// The output.
        path: PathBuf,
    },
    /// The output would lie in what is only read.
    #[error("{} lies in {}, of which nothing is changed: name a folder elsewhere", path.display(), root.display())]
    InSource {
        /// The output.
        path: PathBuf,
        /// The source.
        root: PathBuf,
    },
    /// The disk refuses.
    #[error("writing {}", path.display())]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A package does not go into the store.
    #[error("putting the package of {resource} into the store")]
    Store {
        /// The resource.
        resource: String,
        /// Why not.
        #[source]
        source: Box<StoreError>,
    },
}

impl WriteError {
    fn disk(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Disk { path: path.to_owned(), source }
    }
}

/// Where `output` will be, without links; it must not exist, nor lie in anything that `order` reads.
///
/// # Errors
/// It does, or the folder that it is to lie in is not there.
pub fn output_of(order: &Order, output: &Path) -> Result<PathBuf, WriteError> {
    let name = output.file_name().ok_or_else(|| WriteError::Exists { path: output.to_owned() })?;
    let parent = output.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let path = fs::canonicalize(parent).map_err(WriteError::disk(parent))?.join(name);
    if fs::symlink_metadata(&path).is_ok() {
        return Err(WriteError::Exists { path });
    }
    for root in [&order.root, &order.definitions].into_iter().flatten() {
        let root = fs::canonicalize(root).map_err(WriteError::disk(root))?;
        if path.starts_with(&root) {
            return Err(WriteError::InSource { path, root });
        }
    }
    Ok(path)
}

/// Writes `plan` to `output`, which [`output_of`] has given, with `report` beside the documents.
///
/// # Errors
/// Then `output` is not there.
pub fn write(plan: &Plan, output: &Path, report: &str) -> Result<(), WriteError> {
    let parent = output.parent().unwrap_or(Path::new("/"));
    let stage = TempDir::with_prefix_in(".margay-import-", parent).map_err(WriteError::disk(parent))?;
    let at = |name: &str| stage.path().join(name);
    // Workers of the core read models as another user.
    fs::set_permissions(stage.path(), Permissions::from_mode(0o755)).map_err(WriteError::disk(stage.path()))?;
    if let Some(config) = &plan.config {
        write_file(&at(CONFIG_FILE), pretty(config).as_bytes(), DOCUMENT_MODE)?;
    }
    write_file(&at(GROUP_FILE), pretty(&plan.group).as_bytes(), DOCUMENT_MODE)?;
    write_file(&at(REPORT_FILE), report.as_bytes(), 0o644)?;
    if !plan.deposits.is_empty() {
        fs::create_dir(at(PACKAGES)).map_err(WriteError::disk(&at(PACKAGES)))?;
        let store = Store::open(&at(STORE)).map_err(|source| stored("all resources", source))?;
        for deposit in &plan.deposits {
            keep(deposit, &at(PACKAGES))?;
            put(deposit, &store)?;
        }
        sync(&at(PACKAGES))?;
    }
    sync(stage.path())?;
    match renameat_with(CWD, stage.path(), CWD, output, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        Err(rustix::io::Errno::EXIST) => return Err(WriteError::Exists { path: output.to_owned() }),
        // File systems and kernels that cannot promise it: looked before, and rename(2) replaces no folder that holds anything.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            fs::rename(stage.path(), output).map_err(WriteError::disk(output))?
        }
        Err(errno) => return Err(WriteError::disk(output)(errno.into())),
    }
    // Gone from its old name: there is nothing to remove any more.
    let _ = stage.keep();
    sync(parent)
}

fn pretty(document: &Value) -> String {
    format!("{document:#}\n")
}

fn write_file(path: &Path, content: &[u8], mode: u32) -> Result<(), WriteError> {
    let write = || -> io::Result<()> {
        let mut file = File::create_new(path)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().map_err(WriteError::disk(path))
}

/// Keeps the archive itself, to be pushed to a bucket.
fn keep(deposit: &Deposit, folder: &Path) -> Result<(), WriteError> {
    let path = folder.join(&deposit.file);
    let copy = || -> io::Result<()> {
        fs::copy(&deposit.archive, &path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o644))?;
        File::open(&path)?.sync_all()
    };
    copy().map_err(WriteError::disk(&path))
}

/// Makes the package the current one of its resource, without a version of S3, so that whatever lies there is fetched.
fn put(deposit: &Deposit, store: &Store) -> Result<(), WriteError> {
    let failed = |source| stored(deposit.resource.as_str(), source);
    let download = store.download_path().map_err(failed)?;
    fs::copy(&deposit.archive, download.path()).map_err(WriteError::disk(download.path()))?;
    let fetched = Download { bytes: deposit.bytes, sha256: deposit.digest, etag: None };
    let installed = store.install(download, &deposit.origin, &fetched).map_err(failed)?;
    store.set_current(&deposit.resource, &installed).map_err(failed)
}

fn stored(resource: &str, source: StoreError) -> WriteError {
    WriteError::Store { resource: resource.to_owned(), source: source.into() }
}

fn sync(folder: &Path) -> Result<(), WriteError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(WriteError::disk(folder))
}

//! What stands in for the worker's own file tree where it has none: a folder of symbolic links.
//!
//! The guide's rule for functions without a container (B-14): each resource is linked into a working directory, whose path
//! is in `AWS_GG_RESOURCE_PREFIX`; inside a container the variable is `/`. A worker that opens
//! [`resource_path`]`(destination)` is right in both cases.

use std::env;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::leftover;
use crate::plan::Plan;

/// The variable that holds the prefix of every destination path (B-14).
pub const RESOURCE_PREFIX: &str = "AWS_GG_RESOURCE_PREFIX";

/// The folder of the working directory that stands in for `/tmp`.
const TEMPORARY: &str = "tmp";

/// Where a worker finds the resource with this destination path.
pub fn resource_path(destination: &Path) -> PathBuf {
    let prefix = env::var_os(RESOURCE_PREFIX).map_or_else(|| PathBuf::from("/"), PathBuf::from);
    prefix.join(destination.strip_prefix("/").unwrap_or(destination))
}

/// A working directory, removed when dropped.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Makes the directory with a link for each bind. A worker of another user can read it and write its `tmp`.
    pub fn create(plan: &Plan) -> io::Result<Self> {
        sweep(&env::temp_dir());
        let scratch = Self(make_folder(&plan.name)?);
        for bind in &plan.binds {
            let link = scratch.0.join(bind.destination.strip_prefix("/").unwrap_or(&bind.destination));
            if let Some(folder) = link.parent() {
                fs::create_dir_all(folder)?;
            }
            symlink(&bind.source, &link)?;
        }
        scratch.add_temporary(plan)?;
        Ok(scratch)
    }

    fn add_temporary(&self, plan: &Plan) -> io::Result<()> {
        let temporary = self.temporary();
        // There already where something is linked below it.
        fs::create_dir_all(&temporary)?;
        fs::set_permissions(&temporary, Permissions::from_mode(0o700))?;
        // Refused to a core that may not change the worker's user either; then the folder is the worker's already.
        let _ = chown(&temporary, Some(plan.account.uid), Some(plan.account.gid));
        Ok(())
    }

    /// The value of [`RESOURCE_PREFIX`].
    pub fn path(&self) -> &Path {
        &self.0
    }

    fn temporary(&self) -> PathBuf {
        temporary_below(&self.0)
    }
}

/// A new folder in the host's temporary folder, where anybody may have taken the name first.
fn make_folder(worker: &str) -> io::Result<PathBuf> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    const ATTEMPTS: u32 = 100;
    let mut result = Err(io::Error::from(io::ErrorKind::AlreadyExists));
    for _ in 0..ATTEMPTS {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(leftover::folder_name(&format!("{worker}.{number}")));
        result = DirBuilder::new().mode(0o711).create(&path).map(|()| path);
        match &result {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            _ => break,
        }
    }
    result
}

/// Removes what a killed core of this user left.
fn sweep(temporary: &Path) {
    let own = nix::unistd::geteuid().as_raw();
    let is_own = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|found| found.is_dir() && found.uid() == own);
    for folder in leftover::left_in(temporary).filter(is_own) {
        // Another core may be sweeping, too.
        let _ = fs::remove_dir_all(folder);
    }
}

/// The stand-in for `/tmp` in a working directory.
pub(crate) fn temporary_below(scratch: &Path) -> PathBuf {
    scratch.join(TEMPORARY)
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is swept by the next one.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Bind, PlanParts};

    #[test]
    fn each_bind_is_linked_below_the_prefix_and_the_links_go_with_the_scratch() {
        let model = tempfile::tempdir().unwrap();
        fs::write(model.path().join("model.onnx"), "model").unwrap();
        let plan = Plan::new(PlanParts {
            name: "scratch".to_owned(),
            binds: vec![Bind::read_only(model.path(), "/greengrass-machine-learning/model")],
            ..PlanParts::default()
        })
        .unwrap();
        let scratch = Scratch::create(&plan).unwrap();
        let linked = scratch.path().join("greengrass-machine-learning/model/model.onnx");
        assert_eq!(fs::read(&linked).unwrap(), b"model");
        let path = scratch.path().to_owned();
        drop(scratch);
        assert!(!path.exists());
        assert!(model.path().join("model.onnx").exists(), "removing the links leaves what they point to");
    }

    #[test]
    fn without_the_variable_a_destination_is_itself() {
        assert_eq!(resource_path(Path::new("/models/a")), Path::new("/models/a"));
    }
}

//! Free space, asked for before it is needed.

use std::fmt;
use std::path::{Path, PathBuf};

/// There is not enough space in a file system.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct NoSpace {
    /// A path in the file system.
    pub path: PathBuf,
    /// What is needed, in bytes, where that is known.
    pub needed: Option<u64>,
    /// What an ordinary user may still write, in bytes.
    pub free: u64,
}

impl fmt::Display for NoSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the file system of {} is full: ", self.path.display())?;
        if let Some(needed) = self.needed {
            write!(f, "{} needed, ", mebibytes(needed))?;
        }
        write!(f, "{} free; remove files there, or point writeDirectory at a larger disk", mebibytes(self.free))
    }
}

/// `bytes` as people read them, to one decimal place: nobody needs the last byte of a full disk.
pub fn mebibytes(bytes: u64) -> String {
    let tenths = u128::from(bytes) * 10 / (1024 * 1024);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

impl NoSpace {
    /// The error for a write to `path` that failed for want of space.
    pub(crate) fn found_while_writing(path: &Path, needed: Option<u64>) -> Self {
        Self { path: path.to_owned(), needed, free: free(path).unwrap_or(0) }
    }
}

/// Checks that `needed` bytes can be written below `path`, whose nearest existing ancestor is asked.
///
/// # Errors
/// When they cannot. A file system that does not tell counts as large enough.
pub fn check(path: &Path, needed: u64) -> Result<(), NoSpace> {
    match free(path) {
        Some(free) if free < needed => Err(NoSpace { path: path.to_owned(), needed: Some(needed), free }),
        _ => Ok(()),
    }
}

/// What an ordinary user may still write below `path`, in bytes; `None` where the file system does not tell.
pub fn free(path: &Path) -> Option<u64> {
    let existing = path.ancestors().find(|ancestor| ancestor.exists())?;
    let file_system = rustix::fs::statvfs(existing).ok()?;
    file_system.f_bavail.checked_mul(file_system.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_disk_has_is_refused_with_both_figures() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(check(&directory.path().join("not/yet/there"), 1), Ok(()));
        let error = check(directory.path(), u64::MAX).unwrap_err();
        assert_eq!(error.needed, Some(u64::MAX));
        assert!(error.free > 0);
        assert!(error.to_string().contains("17592186044415.9 MiB needed"), "{error}");
    }
}

//! Opens what is going to be mounted, and says where it really is.
//!
//! A path of the core's own is followed as it is. A path of a group document may lead through folders that a function
//! writes to: there a symbolic link counts only if root or the core's own user made it, so that no function can make the
//! core mount, at its next start, what the group document does not name.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, open, openat, readlinkat};

use crate::plan::NamedBy;
use crate::walk::Walk;

/// Opens `path` without reading it.
///
/// # Errors
/// What the kernel says; `EACCES` for a link that is not to be trusted.
pub(crate) fn open_source(path: &Path, named_by: NamedBy) -> io::Result<OwnedFd> {
    match named_by {
        NamedBy::Core => Ok(open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?),
        NamedBy::Group => walk(path),
    }
}

/// The path of an opened source, with every link followed.
pub(crate) fn real_path(source: &OwnedFd) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{}", source.as_raw_fd()))
}

/// Part by part, each opened in its folder, so that nobody can exchange one that was looked at.
fn walk(path: &Path) -> io::Result<OwnedFd> {
    let mut walk = Walk::along(path);
    let mut folders = vec![root()?];
    while let Some(part) = walk.next_part() {
        if part == ".." {
            // The root is its own parent.
            if folders.len() > 1 {
                folders.pop();
            }
            continue;
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = match folders.last() {
            Some(folder) => openat(folder, &part, flags, Mode::empty())?,
            None => openat(CWD, &part, flags, Mode::empty())?,
        };
        let described = fstat(&found)?;
        if FileType::from_raw_mode(described.st_mode) != FileType::Symlink {
            folders.push(found);
            continue;
        }
        if described.st_uid != 0 && described.st_uid != geteuid().as_raw() {
            return Err(io::Error::from_raw_os_error(libc::EACCES));
        }
        let target = readlinkat(&found, "", Vec::new())?;
        let target = Path::new(OsStr::from_bytes(target.as_bytes()));
        if target.is_absolute() {
            folders.truncate(1);
        }
        walk.follow(target)?;
    }
    folders.pop().ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
}

fn root() -> io::Result<OwnedFd> {
    Ok(open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{lchown, symlink};

    use super::*;

    fn opened(path: &Path) -> io::Result<PathBuf> {
        open_source(path, NamedBy::Group).and_then(|source| real_path(&source))
    }

    #[test]
    fn links_of_root_and_of_the_core_are_followed_and_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().canonicalize().unwrap().join(name);
        fs::create_dir_all(at("data/inner")).unwrap();
        symlink("data", at("link")).unwrap();
        symlink("../data/./inner", at("data/up")).unwrap();
        symlink("loop", at("loop")).unwrap();
        assert_eq!(opened(&at("link/inner")).unwrap(), at("data/inner"));
        assert_eq!(opened(&at("link/up")).unwrap(), at("data/inner"));
        assert_eq!(opened(&at("loop")).unwrap_err().raw_os_error(), Some(libc::ELOOP));
        assert_eq!(opened(&at("absent")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(opened(Path::new("/")).unwrap(), Path::new("/"));
        // Only root can give a link away, and an ordinary user's core owns what it may make.
        if lchown(at("link"), Some(65_534), None).is_ok() {
            assert_eq!(opened(&at("link/inner")).unwrap_err().raw_os_error(), Some(libc::EACCES));
            let by_core = open_source(&at("link/inner"), NamedBy::Core);
            assert!(by_core.is_ok(), "what the core names itself is followed");
        }
    }
}

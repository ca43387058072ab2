//! Every change that matters on the disk, so that each can be ordered, synced, and made to fail in tests. The store
//! and the deployments go through it.
//!
//! Nothing here decides anything. A function that returns has put its effect where a power cut does not undo it, as
//! far as the kernel and the disk keep their promises (fsync(2)).

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

const DIRECTORY_MODE: u32 = 0o755;

/// Makes `path` and its missing parents.
pub(crate) fn create_directories(path: &Path) -> io::Result<()> {
    crash_point()?;
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)
}

/// Makes `path`, which must not exist.
pub(crate) fn create_directory(path: &Path) -> io::Result<()> {
    crash_point()?;
    DirBuilder::new().mode(DIRECTORY_MODE).create(path)?;
    // The mode above is subject to the umask, and a sandboxed worker must be able to read.
    fs::set_permissions(path, Permissions::from_mode(DIRECTORY_MODE))
}

/// Opens a new file for writing; `path` must not exist.
pub(crate) fn create_file(path: &Path, mode: u32) -> io::Result<File> {
    crash_point()?;
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    Ok(file)
}

/// Copies `content` into `file` to its end and syncs it; returns the bytes copied. `seen` is shown every piece.
pub(crate) fn fill(file: &mut File, content: &mut dyn Read, mut seen: impl FnMut(&[u8])) -> Result<u64, FillError> {
    let mut buffer = vec![0; 128 * 1024];
    let mut copied = 0;
    loop {
        let length = match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(FillError::Reading(error)),
        };
        crash_point().and_then(|()| file.write_all(&buffer[..length])).map_err(FillError::Writing)?;
        seen(&buffer[..length]);
        copied += length as u64;
    }
    crash_point().and_then(|()| file.sync_all()).map_err(FillError::Writing)?;
    Ok(copied)
}

/// Which side of [`fill`] failed.
#[derive(Debug)]
pub(crate) enum FillError {
    Reading(io::Error),
    Writing(io::Error),
}

/// Makes the entries of directory `path` durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    crash_point()?;
    File::open(path)?.sync_all()
}

/// Renames `from` to `to` in one step and makes that durable. Both are in one file system.
pub(crate) fn publish(from: &Path, to: &Path) -> io::Result<()> {
    crash_point()?;
    fs::rename(from, to)?;
    sync_directory(parent(to))
}

/// Puts `content` at `path`, replacing what was there in one step, by way of the unused path `temporary`.
pub(crate) fn replace(path: &Path, temporary: &Path, content: &[u8]) -> io::Result<()> {
    replace_with_mode(path, temporary, content, 0o644)
}

/// The same with any mode.
pub(crate) fn replace_with_mode(path: &Path, temporary: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = create_file(temporary, mode)?;
    crash_point()?;
    file.write_all(content)?;
    crash_point()?;
    file.sync_all()?;
    publish(temporary, path)
}

/// The same for what only the core's user may read.
pub(crate) fn replace_private(path: &Path, temporary: &Path, content: &[u8]) -> io::Result<()> {
    replace_with_mode(path, temporary, content, 0o600)
}

/// Removes a directory with all it holds, or a file.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    crash_point()?;
    match fs::symlink_metadata(path)?.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(not(any(test, debug_assertions)))]
fn crash_point() -> io::Result<()> {
    Ok(())
}

#[cfg(all(debug_assertions, not(test)))]
use power::crash_point;

/// Power cuts for tests of the whole program: with `MARGAY_TEST_POWER_CUT=N` it kills itself before its Nth change to
/// the disk. Programs that are built without debug assertions, as packages are, have no such thing.
#[cfg(all(debug_assertions, not(test)))]
mod power {
    use std::io;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static CHANGES: AtomicU64 = AtomicU64::new(0);

    pub(super) fn crash_point() -> io::Result<()> {
        static CUT: OnceLock<Option<u64>> = OnceLock::new();
        let cut = CUT.get_or_init(|| std::env::var("MARGAY_TEST_POWER_CUT").ok()?.parse().ok());
        if *cut == Some(CHANGES.fetch_add(1, Ordering::Relaxed) + 1) {
            // Nothing of this process gets another turn, as in a power cut.
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) use crash::crash_point;

/// Power cuts for tests: from a chosen change on, this thread changes nothing more, not even to clean up.
#[cfg(test)]
pub(crate) mod crash {
    use std::cell::Cell;
    use std::io;

    thread_local! {
        static REMAINING: Cell<Option<(u32, io::ErrorKind)>> = const { Cell::new(None) };
    }

    /// Lets `changes` more changes succeed on this thread; every later one fails with `kind`.
    pub(crate) fn after(changes: u32, kind: io::ErrorKind) {
        REMAINING.set(Some((changes, kind)));
    }

    /// Back to normal. Returns whether any change was made to fail.
    pub(crate) fn over() -> bool {
        REMAINING.take().is_some_and(|(remaining, _)| remaining == 0)
    }

    pub(crate) fn crash_point() -> io::Result<()> {
        match REMAINING.get() {
            None => Ok(()),
            Some((0, kind)) => Err(kind.into()),
            Some((remaining, kind)) => {
                REMAINING.set(Some((remaining - 1, kind)));
                Ok(())
            }
        }
    }
}

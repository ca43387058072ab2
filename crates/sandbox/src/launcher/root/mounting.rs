//! One file, folder or device of the host on its way into the new tree.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sys::statvfs::{FsFlags, statvfs};
use rustix::fs::{FileType, fstat};

use super::make_folder;
use crate::launcher::landlock::Grant;
use crate::order::{During, Failure, Step};
use crate::plan::{Access, NamedBy};
use crate::source::{open_source, real_path};

/// What is mounted, which decides how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Code(Access),
    Data(Access),
    StandardDevice,
    Device(Access),
}

impl Kind {
    /// The flags of the mount. A device node is useless on a mount without devices; that its mount is read-only keeps
    /// its owner and mode from being changed, not its data from being written.
    fn flags(self) -> MsFlags {
        let read_only = |access| match access {
            Access::ReadOnly => MsFlags::MS_RDONLY,
            Access::ReadWrite => MsFlags::empty(),
        };
        let guarded = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        match self {
            Self::Code(access) => guarded | read_only(access),
            Self::Data(access) => guarded | MsFlags::MS_NOEXEC | read_only(access),
            Self::StandardDevice | Self::Device(_) => MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY,
        }
    }

    /// The same for landlock.
    pub fn grant(self) -> Grant {
        match self {
            Self::Code(Access::ReadOnly) => Grant::Execute,
            Self::Data(Access::ReadOnly) => Grant::Read,
            Self::Code(Access::ReadWrite) | Self::Data(Access::ReadWrite) => Grant::ReadWrite,
            Self::StandardDevice => Grant::Device(Access::ReadWrite),
            Self::Device(access) => Grant::Device(access),
        }
    }

    fn is_device(self) -> bool {
        matches!(self, Self::StandardDevice | Self::Device(_))
    }
}

/// An opened source and where it goes.
#[derive(Debug)]
pub(super) struct Mounting {
    source: OwnedFd,
    path: PathBuf,
    is_folder: bool,
    /// Where a group document's source really is; the core's own are not looked at.
    pub real: Option<PathBuf>,
    pub destination: PathBuf,
    pub kind: Kind,
}

impl Mounting {
    /// Opens a source of the core's. A device has to be one (B-03).
    pub fn open(path: &Path, destination: &Path, kind: Kind) -> Result<Self, Failure> {
        Self::open_named(path, destination, kind, NamedBy::Core)
    }

    /// Opens a source without reading it.
    pub fn open_named(path: &Path, destination: &Path, kind: Kind, named_by: NamedBy) -> Result<Self, Failure> {
        let source = open_source(path, named_by).during_at(Step::OpenSource, path)?;
        let real = match named_by {
            NamedBy::Core => None,
            NamedBy::Group => Some(real_path(&source).during_at(Step::OpenSource, path)?),
        };
        let found = FileType::from_raw_mode(fstat(&source).during_at(Step::OpenSource, path)?.st_mode);
        let is_device = matches!(found, FileType::CharacterDevice | FileType::BlockDevice);
        if kind.is_device() && !is_device {
            return Err(Failure { step: Step::OpenSource, path: Some(path.to_owned()), errno: libc::ENODEV });
        }
        let is_folder = found == FileType::Directory;
        Ok(Self { source, path: path.to_owned(), is_folder, real, destination: destination.to_owned(), kind })
    }

    /// Makes the mount point `target` and mounts there.
    pub fn attach(&self, target: &Path) -> Result<(), Failure> {
        if self.is_folder {
            make_folder(target)?;
        } else {
            make_folder(target.parent().unwrap_or(target))?;
            File::create(target).during_at(Step::Mount, &self.destination)?;
        }
        let source = format!("/proc/self/fd/{}", self.source.as_raw_fd());
        mount(Some(source.as_str()), target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .during_at(Step::Mount, &self.path)?;
        // A bind takes its flags only in a second step, which inside a user namespace may not lift any that it came with.
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | self.kind.flags() | inherited(target)?;
        mount(None::<&str>, target, None::<&str>, flags, None::<&str>).during_at(Step::Mount, &self.path)
    }
}

/// The flags that the mount of the source has.
fn inherited(target: &Path) -> Result<MsFlags, Failure> {
    let found = statvfs(target).during_at(Step::Mount, target)?.flags();
    let pairs = [
        (FsFlags::ST_RDONLY, MsFlags::MS_RDONLY),
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ];
    Ok(pairs.into_iter().filter(|(found_flag, _)| found.contains(*found_flag)).map(|(_, flag)| flag).collect())
}

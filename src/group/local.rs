//! Local resources: files, folders and devices of the host (B-02 to B-06).

use std::path::{Path, PathBuf};

use crate::document::{Object, Unknown};

use super::path::{absolute, destination};

/// The one part of `/dev` that is a volume (B-04).
const SHARED_MEMORY: &str = "/dev/shm";

/// A file or folder of the host that appears inside a container (B-02).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalVolume {
    /// Where it is on the host.
    pub source: PathBuf,
    /// Where it appears in the container.
    pub destination: PathBuf,
    /// The group whose permissions the process gets as well.
    pub group_owner: GroupOwner,
}

/// A device file of the host (B-03). It appears in the container where it is on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalDevice {
    /// The device file.
    pub source: PathBuf,
    /// The group whose permissions the process gets as well.
    pub group_owner: GroupOwner,
}

/// The Linux group that is added to a process for a local resource (B-06).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupOwner {
    /// None.
    None,
    /// The one that owns the resource (`AutoAddGroupOwner`); a `GroupOwner` beside it is ignored (V7).
    Automatic,
    /// The one of this name.
    Named(String),
}

impl LocalVolume {
    /// Whether it is part of the host's `/proc`, which can be granted for reading only (B-05).
    pub fn is_proc(&self) -> bool {
        self.source.starts_with("/proc")
    }

    /// Whether it is the host's shared memory, which can be granted for reading and writing only (B-04).
    pub fn is_shared_memory(&self) -> bool {
        self.source.starts_with(SHARED_MEMORY)
    }

    pub(super) fn read(mut object: Object<'_>) -> Option<Self> {
        let field = object.field("SourcePath").required("write the path on the host");
        let source = absolute(&field).filter(|source| {
            let unsupported = unsupported_volume(source);
            if let Some(folder) = unsupported {
                let rule = format!("is under {folder}, which volume resources do not support");
                field.refuse(rule, "mount the directory in a different folder, and use that folder as the resource");
            }
            unsupported.is_none()
        });
        let destination = destination(&object.field("DestinationPath").required("write the path in the container"));
        let group_owner = read_group_owner(&mut object);
        object.finish(Unknown::Warn);
        Some(Self { source: source?, destination: destination?, group_owner })
    }
}

/// The folder under which a volume's source is not supported (B-02, V2).
fn unsupported_volume(source: &Path) -> Option<&'static str> {
    if source.starts_with(SHARED_MEMORY) {
        return None;
    }
    ["/sys", "/dev", "/var"].into_iter().find(|folder| source.starts_with(folder))
}

impl LocalDevice {
    pub(super) fn read(mut object: Object<'_>) -> Option<Self> {
        let field = object.field("SourcePath").required("write the path of the device file");
        let source = absolute(&field).filter(|source| {
            let device = source.starts_with("/dev") && source != Path::new("/dev");
            let device = device && !source.starts_with(SHARED_MEMORY);
            if !device {
                let rule = "can refer only to a character device or block device under /dev";
                field.refuse(rule, "for files and folders use LocalVolumeResourceData");
            }
            device
        });
        let group_owner = read_group_owner(&mut object);
        object.finish(Unknown::Warn);
        Some(Self { source: source?, group_owner })
    }
}

fn read_group_owner(object: &mut Object<'_>) -> GroupOwner {
    let mut setting = object.field("GroupOwnerSetting").section();
    let automatic = setting.field("AutoAddGroupOwner").boolean().unwrap_or(false);
    let named = setting.field("GroupOwner").text().filter(|name| !name.is_empty());
    setting.finish(Unknown::Warn);
    match named {
        _ if automatic => GroupOwner::Automatic,
        Some(name) => GroupOwner::Named(name.to_owned()),
        None => GroupOwner::None,
    }
}

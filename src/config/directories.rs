//! Where the core reads and writes: V1's `writeDirectory` and Margay's paths beside it.

use std::path::{Path, PathBuf};

use crate::document::{Field, Object};

use super::path;

/// `sockaddr_un` has 108 bytes for a path and its terminating zero (unix(7)).
const SOCKET_PATH_LIMIT: usize = 107;

/// What the control socket's name ends with, in the place of the status socket's ending.
const CONTROL: &str = "control";

/// Where the core reads and writes. The names under the write directory are V1's (A-16, B-13).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directories {
    /// V1's greengrass-root, which may be read-only.
    pub root: PathBuf,
    /// Everything that the core writes is under it (`writeDirectory`; by default `ggc` in the root).
    pub write: PathBuf,
    /// What must outlast a restart: the spool, the last good time (`margay.stateDirectory`; by default `var/state`).
    pub state: PathBuf,
    /// The group document (`margay.group`; by default `deployment/group/group.json`).
    pub group_document: PathBuf,
    /// The socket that `margay status` asks (`margay.statusSocket`; by default `socket/status.sock`).
    pub status_socket: PathBuf,
}

impl Directories {
    /// The installed models.
    pub fn models(&self) -> PathBuf {
        self.write.join("deployment/mlmodel")
    }

    /// The unpacked code of the function `arn` (B-13).
    pub fn function_code(&self, arn: &str) -> PathBuf {
        self.write.join("deployment/lambda").join(arn)
    }

    /// The records of deployments.
    pub fn deployments(&self) -> PathBuf {
        self.write.join("deployment/deployments")
    }

    /// The messages that wait for the cloud, where the group keeps them on disk.
    pub fn spool(&self) -> PathBuf {
        self.state.join("spool")
    }

    /// The engines that were chosen by measurement, a file a package.
    pub fn tunings(&self) -> PathBuf {
        self.state.join("tuning")
    }

    /// The socket on which `margay deploy` gives its orders, beside that of the status.
    pub fn control_socket(&self) -> PathBuf {
        self.status_socket.with_extension(CONTROL)
    }

    /// V1's log files.
    pub fn logs(&self) -> PathBuf {
        self.write.join("var/log")
    }

    pub(super) fn read(top: &mut Object<'_>, margay: &mut Object<'_>, root: &Path) -> Option<Self> {
        let write_field = top.field("writeDirectory");
        let write = match write_field.is_present() {
            true => write_directory(&write_field),
            false => Some(root.join("ggc")),
        };
        let state = path::read(&margay.field("stateDirectory"), root);
        let group = path::read(&margay.field("group"), root);
        let socket_field = margay.field("statusSocket");
        let socket = path::read(&socket_field, root);
        let write = write?;
        let status_socket = socket.unwrap_or_else(|| write.join("socket/status.sock"));
        let length = status_socket.with_extension(CONTROL).as_os_str().len().max(status_socket.as_os_str().len());
        if length > SOCKET_PATH_LIMIT {
            let rule = format!("is the path of a socket, of at most {SOCKET_PATH_LIMIT} bytes, and has {length}");
            socket_field.refuse(rule, "name a shorter path, such as /run/margay/status.sock");
        }
        Some(Self {
            root: root.to_owned(),
            state: state.unwrap_or_else(|| write.join("var/state")),
            group_document: group.unwrap_or_else(|| write.join("deployment/group/group.json")),
            status_socket,
            write,
        })
    }
}

fn write_directory(field: &Field<'_>) -> Option<PathBuf> {
    let path = field.text()?;
    if !path.starts_with('/') || path.contains('\0') {
        field.refuse("is an absolute path", "write a path that begins with /");
        return None;
    }
    Some(PathBuf::from(path))
}

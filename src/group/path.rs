//! Absolute paths in a group document.

use std::path::{Component, Path, PathBuf};

use crate::document::Field;

/// A full path (L9402): absolute, without `.` and `..`, so that what it begins with is where it leads. Repeated and
/// trailing slashes are dropped.
pub(super) fn absolute(field: &Field<'_>) -> Option<PathBuf> {
    let text = field.text()?;
    let plain = text.split('/').all(|component| !matches!(component, "." | ".."));
    if !text.starts_with('/') || !plain || text.contains('\0') {
        field.refuse("is a full path: absolute, and without . and ..", "write the path from / on");
        return None;
    }
    Some(Path::new(text).components().collect())
}

/// Where something is to appear inside a container: a full path, neither the root nor in `/proc`, which every container
/// has of its own (B-05).
pub(super) fn destination(field: &Field<'_>) -> Option<PathBuf> {
    let path = absolute(field)?;
    if path.starts_with("/proc") {
        field.refuse("is in /proc, which the container has of its own", "name another path, such as /host-proc");
        return None;
    }
    if path.components().eq([Component::RootDir]) {
        field.refuse("is the container's root", "name a folder in it");
        return None;
    }
    Some(path)
}

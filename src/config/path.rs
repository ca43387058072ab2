//! Paths in the configuration: plain, or as file URIs.

use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;

use crate::document::Field;

/// Where a file URI points to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FileUri {
    /// `file:///absolute/path`, the form that the guide asks for.
    Absolute(PathBuf),
    /// `file://certs/core.crt`: the guide's HSM example writes paths relative to `$ROOT` this way.
    RelativeToRoot(PathBuf),
}

/// Reads a `file://` URI; `None` if `text` is none, or holds no path.
pub(super) fn file_uri(text: &str) -> Option<FileUri> {
    let rest = text.strip_prefix("file://")?;
    let path = percent_decode_str(rest).decode_utf8().ok()?;
    let path = path.strip_prefix("localhost").filter(|rest| rest.starts_with('/')).unwrap_or(&path);
    if path.is_empty() || path.contains('\0') || path.ends_with('/') {
        return None;
    }
    let path = PathBuf::from(path);
    Some(if path.is_absolute() { FileUri::Absolute(path) } else { FileUri::RelativeToRoot(path) })
}

/// The file that a `file://` URI in `field` names; warns about the relative form.
pub(super) fn resolve_file_uri(field: &Field<'_>, text: &str, root: &Path) -> Option<PathBuf> {
    match file_uri(text) {
        Some(FileUri::Absolute(path)) => Some(path),
        Some(FileUri::RelativeToRoot(path)) => {
            let path = root.join(path);
            let rule = "has two slashes after file:, and is read as relative to the greengrass root";
            field.warn(rule, format!("write file://{} with three slashes", path.display()));
            Some(path)
        }
        None => {
            field.refuse("is a file URI that names no file", "write file:///absolute/path/to/file");
            None
        }
    }
}

/// A path of Margay's additions: absolute, relative to `root`, or a file URI.
pub(super) fn read(field: &Field<'_>, root: &Path) -> Option<PathBuf> {
    let text = field.text()?;
    if text.starts_with("file:") {
        return resolve_file_uri(field, text, root);
    }
    if text.is_empty() || text.contains('\0') || text.contains("://") {
        field.refuse("is a path", "write an absolute path, or one relative to the greengrass root");
        return None;
    }
    Some(root.join(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_uri_is_absolute_with_three_slashes_and_relative_with_two() {
        let absolute = |path: &str| Some(FileUri::Absolute(PathBuf::from(path)));
        assert_eq!(file_uri("file:///greengrass/certs/a.pem"), absolute("/greengrass/certs/a.pem"));
        assert_eq!(file_uri("file://localhost/etc/a.pem"), absolute("/etc/a.pem"));
        assert_eq!(file_uri("file:///with%20space"), absolute("/with space"));
        let relative = FileUri::RelativeToRoot(PathBuf::from("certs/core.crt"));
        assert_eq!(file_uri("file://certs/core.crt"), Some(relative));
        for none in ["file:/a", "/a", "https://a", "file://", "file:///", "file:///dir/", "file:///%00", "file:///%ff"]
        {
            assert_eq!(file_uri(none), None, "{none}");
        }
    }
}

//! Reading the configuration's file: bounded, and with the greengrass root found from where it stands.

use std::io;
use std::path::{Path, PathBuf};

use crate::document::{LoadError, read_file};
use crate::problem::{Accepted, Document};

use super::{Config, SIZE_LIMIT};

/// Where V1 has its configuration.
pub const DEFAULT_PATH: &str = "/greengrass/config/config.json";

/// Reads and validates the configuration in the file `path`.
///
/// # Errors
/// If the file cannot be read, is not UTF-8, or says something that is refused.
pub fn load(path: &Path) -> Result<Accepted<Config>, LoadError> {
    let text = read_file(Document::Config, path, SIZE_LIMIT)?;
    let unreadable = |source| LoadError::Read { document: Document::Config, path: path.to_owned(), source };
    let root = root_of(path).map_err(unreadable)?;
    let refused = |source| LoadError::Refused { document: Document::Config, path: path.to_owned(), source };
    Config::parse(&text, &root).map_err(refused)
}

/// The greengrass root that a configuration belongs to: the parent of its `config` folder, or the folder that it
/// stands in. Always absolute.
///
/// # Errors
/// If `path` is empty, or relative and the current directory is gone.
pub fn root_of(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let in_config = folder.file_name().is_some_and(|name| name == "config");
    let root = if in_config { folder.parent().unwrap_or(folder) } else { folder };
    Ok(root.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_above_the_config_folder_as_v1_lays_it_out() {
        let root = |path: &str| root_of(Path::new(path)).expect("a root");
        assert_eq!(root("/greengrass/config/config.json"), Path::new("/greengrass"));
        assert_eq!(root("/etc/margay/config.json"), Path::new("/etc/margay"));
        assert_eq!(root("/config.json"), Path::new("/"));
        assert!(root("config.json").is_absolute());
    }

    #[test]
    fn a_missing_and_an_endless_file_are_refused_with_their_path() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = folder.path().join("config.json");
        let error = load(&missing).expect_err("nothing is there");
        assert!(matches!(&error, LoadError::Read { path, .. } if *path == missing), "{error:?}");
        let endless = load(Path::new("/dev/zero")).expect_err("reading ends at the limit");
        assert!(matches!(endless, LoadError::Refused { .. }), "{endless:?}");
    }
}

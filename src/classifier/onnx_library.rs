//! Where ONNX Runtime's shared library is on this host. Nothing is loaded here: only a worker does that, in its sandbox.

use std::fs;
use std::path::{Path, PathBuf};

/// What the library's file name begins with; versions follow it, as in the wheels of PyPI.
const NAME: &str = "libonnxruntime.so";

/// The environment variable that names the library or its folder.
pub const VARIABLE: &str = "MARGAY_ONNXRUNTIME";

/// Folders where packages and people put libraries.
const FOLDERS: [&str; 5] =
    ["/usr/local/lib", "/opt/onnxruntime/lib", "/usr/lib", "/usr/lib64", "/usr/lib/ARCH-linux-gnu"];

/// No library was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LibraryError {
    /// The path that was given leads to none.
    #[error("there is no {NAME}* at {}: name the library, or the folder that holds it", path.display())]
    Absent {
        /// What was given.
        path: PathBuf,
    },
    /// None of the usual places has one.
    #[error("no {NAME}* in {}: install ONNX Runtime (pip install onnxruntime) and name its library or folder", folders.join(", "))]
    NotInstalled {
        /// Where was looked.
        folders: Vec<String>,
    },
}

/// The library that was asked for: at `named`, or where the environment says. `None` where neither names one.
///
/// # Errors
/// [`LibraryError::Absent`].
pub fn asked_for(named: Option<&Path>) -> Result<Option<PathBuf>, LibraryError> {
    let variable = std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    named.map(Path::to_owned).or(variable).map(|path| find(Some(&path))).transpose()
}

/// The library at `named`, a file or the folder that holds it; without a name, in the usual folders.
///
/// # Errors
/// [`LibraryError`] says where was looked.
pub fn find(named: Option<&Path>) -> Result<PathBuf, LibraryError> {
    if let Some(path) = named {
        let absent = || LibraryError::Absent { path: path.to_owned() };
        let found = if path.is_dir() { newest(path) } else { path.is_file().then(|| path.to_owned()) };
        return found.and_then(|path| path.canonicalize().ok()).ok_or_else(absent);
    }
    let folders: Vec<String> = FOLDERS.map(|folder| folder.replace("ARCH", std::env::consts::ARCH)).into();
    let found = folders.iter().find_map(|folder| newest(Path::new(folder)));
    found.and_then(|path| path.canonicalize().ok()).ok_or(LibraryError::NotInstalled { folders })
}

/// The newest library of a folder, by the numbers of its name.
fn newest(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?;
    let versions = entries.filter_map(Result::ok).filter_map(|entry| {
        let name = entry.file_name();
        let version = name.to_str()?.strip_prefix(NAME)?;
        let numbers: Option<Vec<u32>> = version.split('.').skip(1).map(|number| number.parse().ok()).collect();
        (version.is_empty() || version.starts_with('.')).then_some((numbers?, entry.path()))
    });
    versions.filter(|(_, path)| path.is_file()).max().map(|(_, path)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_of_a_folder_is_taken_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert!(matches!(find(Some(folder.path())), Err(LibraryError::Absent { .. })));
        for name in ["libonnxruntime.so.1.9.0", "libonnxruntime.so.1.20.1", "libonnxruntime.so.x", "libonnxruntime.so2"]
        {
            fs::write(at(name), "").unwrap();
        }
        fs::write(at("libonnxruntime_providers_shared.so"), "").unwrap();
        let expected = at("libonnxruntime.so.1.20.1").canonicalize().unwrap();
        assert_eq!(find(Some(folder.path())).unwrap(), expected);
        assert_eq!(find(Some(&at("libonnxruntime.so.1.20.1"))).unwrap(), expected);
        let error = find(Some(Path::new("/nowhere/lib.so"))).unwrap_err().to_string();
        assert!(error.contains("/nowhere/lib.so") && error.contains("folder"), "{error}");
    }
}

//! The directory with what must outlast a restart: which version of its files this is, and what an earlier run left
//! unfinished there. The files themselves are their modules'; docs/state.md lists them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The version of the directory's files that this binary reads and writes. The first Margay wrote no version, and the
/// same files.
const VERSION: u32 = 1;

/// The file with the version; V1 keeps files of its own beside it.
const FILE: &str = "margay-format";

/// Files that are replaced by way of a temporary one beside them, which a power cut may leave behind.
const TEMPORARY: [&str; 3] = ["last-good-time.new", "page-token.new", "margay-format.new"];

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A newer version of Margay wrote it.
    #[error("opening the state directory {}: its files are version {found}, and this Margay knows up to {VERSION}; install the newer Margay again, or point margay.stateDirectory elsewhere", path.display())]
    Newer {
        /// The directory.
        path: PathBuf,
        /// The version on disk.
        found: u32,
    },
    /// Its version cannot be told.
    #[error("opening the state directory {}: its file {FILE} is not Margay's; remove that file, or point margay.stateDirectory elsewhere", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
}

/// Checks the version of `directory`, and removes what an earlier run left unfinished. A directory that cannot be
/// written is used as it is: what cannot be kept there is reported by whoever tries.
///
/// # Errors
/// A version that this binary does not know. Nothing is changed then.
pub fn open(directory: &Path) -> Result<(), StateError> {
    let text = match fs::read_to_string(directory.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => String::new(),
        Err(_) => return prepare(directory, true),
        Ok(text) => text,
    };
    match text.trim_end().parse::<u32>() {
        Ok(found) if found > VERSION => Err(StateError::Newer { path: directory.to_owned(), found }),
        Ok(1..) => prepare(directory, false),
        _ => Err(StateError::Foreign { path: directory.to_owned() }),
    }
}

fn prepare(directory: &Path, is_unversioned: bool) -> Result<(), StateError> {
    for name in TEMPORARY {
        match fs::remove_file(directory.join(name)) {
            Ok(()) => tracing::debug!(name, "an unfinished file of an earlier run was removed"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(name, %error, "an unfinished file of an earlier run stays behind"),
        }
    }
    if is_unversioned && let Err(error) = write(directory) {
        tracing::warn!(directory = %directory.display(), %error, "the version of the state directory was not kept");
    }
    Ok(())
}

fn write(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let path = directory.join(FILE);
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    writeln!(file, "{VERSION}")?;
    file.sync_all()?;
    fs::rename(&temporary, &path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_the_first_version_is_taken_over_and_swept() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("var/state");
        open(&directory).unwrap();
        assert_eq!(fs::read_to_string(directory.join(FILE)).unwrap(), "1\n");
        for name in TEMPORARY {
            fs::write(directory.join(name), "half").unwrap();
        }
        fs::write(directory.join("last-good-time"), "1790000000\n").unwrap();
        open(&directory).unwrap();
        let mut left: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["last-good-time", FILE]);
    }

    #[test]
    fn a_newer_or_foreign_version_is_refused_and_nothing_is_changed() {
        for (content, word) in
            [("2\n", "install the newer Margay again"), ("yes", "is not Margay's"), ("0", "remove that file")]
        {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(FILE), content).unwrap();
            fs::write(folder.path().join(TEMPORARY[0]), "half").unwrap();
            let error = open(folder.path()).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("margay.stateDirectory"), "{error}");
            assert!(folder.path().join(TEMPORARY[0]).exists());
            assert_eq!(fs::read_to_string(folder.path().join(FILE)).unwrap(), content);
        }
    }
}

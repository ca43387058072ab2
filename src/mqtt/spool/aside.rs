//! What is not to be sent and not to be lost without a trace: messages that the broker closes the connection on, and bytes
//! of damaged segments. A folder that forgets its oldest files when it has too many, or too large ones.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The most files.
pub const MAX_FILES: usize = 64;

/// The most bytes of all files together.
pub const MAX_BYTES: u64 = 1024 * 1024;

/// The folder.
#[derive(Debug)]
pub(super) struct Aside {
    folder: PathBuf,
}

/// One file in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

impl Aside {
    pub(super) fn within(spool: &Path) -> Self {
        Self { folder: spool.join("aside") }
    }

    /// Keeps `bytes` under `name`, as long as there is room. Names sort by age.
    pub(super) fn keep(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let bytes = &bytes[..bytes.len().min(usize::try_from(MAX_BYTES / 2).unwrap_or(usize::MAX))];
        File::create(self.folder.join(name))?.write_all(bytes)?;
        self.forget_the_oldest()
    }

    fn forget_the_oldest(&self) -> io::Result<()> {
        let entries = self.entries();
        let (mut files, mut bytes) = (entries.len(), entries.iter().map(|entry| entry.bytes).sum::<u64>());
        for entry in entries {
            if files <= MAX_FILES && bytes <= MAX_BYTES {
                break;
            }
            fs::remove_file(&entry.path)?;
            files -= 1;
            bytes -= entry.bytes;
        }
        Ok(())
    }

    /// What is there, oldest first; nothing where the folder cannot be read.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let read = |entry: io::Result<fs::DirEntry>| {
            let entry = entry.ok()?;
            Some(Entry { path: entry.path(), bytes: entry.metadata().ok()?.len() })
        };
        let mut entries: Vec<Entry> = fs::read_dir(&self.folder).into_iter().flatten().filter_map(read).collect();
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_stays_small_and_forgets_the_oldest_first() {
        let spool = tempfile::tempdir().unwrap();
        let aside = Aside::within(spool.path());
        for index in 0..MAX_FILES + 3 {
            aside.keep(&format!("{index:016x}.spool"), b"x").unwrap();
        }
        let entries = aside.entries();
        assert_eq!(entries.len(), MAX_FILES);
        assert!(entries[0].path.ends_with("0000000000000003.spool"));
        for index in 0..4 {
            aside.keep(&format!("f{index}.damaged"), &vec![0; 10 * 1024 * 1024]).unwrap();
        }
        let entries = aside.entries();
        assert!(entries.iter().map(|entry| entry.bytes).sum::<u64>() <= MAX_BYTES, "{entries:?}");
        assert!(entries.last().unwrap().path.ends_with("f3.damaged"));
    }
}

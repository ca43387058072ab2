//! A folder that somebody else made, read and never written: every file is a plain file inside the folder, of a bounded
//! size, whatever links, pipes or loops lie there.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// Folders below one another in a model's folder.
const DEPTH_LIMIT: usize = 8;
/// Entries of one folder, and of a model's folder with all below it.
pub(super) const ENTRY_LIMIT: usize = 4096;

/// Why a part of the source cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// Nothing is there, or a link leads nowhere.
    #[error("{} is not there", path.display())]
    Missing {
        /// What was looked for.
        path: PathBuf,
    },
    /// The system does not let it be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A link leads out of the folder.
    #[error("{} leads to {}, out of {}: put a copy there in place of the link", path.display(), target.display(), root.display())]
    Outside {
        /// The link, or something below it.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
        /// The folder that was to be read.
        root: PathBuf,
    },
    /// It is not what belongs there.
    #[error("{} is {kind}", path.display())]
    Kind {
        /// Which one.
        path: PathBuf,
        /// What it is, and what belongs there.
        kind: &'static str,
    },
    /// It is larger than anything that belongs there.
    #[error("{} has more than {limit} {of}", path.display())]
    TooLarge {
        /// Which one.
        path: PathBuf,
        /// The most that is read.
        limit: u64,
        /// Of what.
        of: &'static str,
    },
    /// It is no text.
    #[error("{} is not UTF-8", path.display())]
    NotText {
        /// Which file.
        path: PathBuf,
    },
}

/// A file of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// Relative to the folder that was listed, `/`-separated.
    pub(super) name: String,
    /// Where it is, without links.
    pub(super) path: PathBuf,
    /// Its size.
    pub(super) bytes: u64,
}

/// The folder.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    root: PathBuf,
}

impl Tree {
    /// The folder at `root`, which may itself be reached by links.
    pub(super) fn open(root: &Path) -> Result<Self, TreeError> {
        let resolved = fs::canonicalize(root).map_err(|source| unreadable(root, source))?;
        if !resolved.is_dir() {
            return Err(TreeError::Kind { path: root.to_owned(), kind: "no folder" });
        }
        Ok(Self { root: resolved })
    }

    /// The folder, without links.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where `inner` is, without links; it stays inside.
    pub(super) fn resolve(&self, inner: &Path) -> Result<PathBuf, TreeError> {
        let path = self.root.join(inner);
        let target = fs::canonicalize(&path).map_err(|source| unreadable(&path, source))?;
        if target.starts_with(&self.root) {
            return Ok(target);
        }
        Err(TreeError::Outside { path, target, root: self.root.clone() })
    }

    /// The text of a file of at most `limit` bytes, and what the system says of the file.
    pub(super) fn text(&self, inner: &Path, limit: usize) -> Result<(String, Metadata), TreeError> {
        let path = self.resolve(inner)?;
        let (file, metadata) = open_file(&path)?;
        let mut bytes = Vec::new();
        let limit = limit as u64;
        file.take(limit + 1).read_to_end(&mut bytes).map_err(|source| unreadable(&path, source))?;
        if bytes.len() as u64 > limit {
            return Err(TreeError::TooLarge { path, limit, of: "bytes" });
        }
        let text = String::from_utf8(bytes).map_err(|_| TreeError::NotText { path })?;
        Ok((text, metadata))
    }

    /// Names of what is in a folder, in order; a folder that is not there is empty.
    pub(super) fn names(&self, inner: &Path) -> Result<Vec<String>, TreeError> {
        let path = match self.resolve(inner) {
            Ok(path) => path,
            Err(TreeError::Missing { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(&path).map_err(|source| unreadable(&path, source))? {
            let entry = entry.map_err(|source| unreadable(&path, source))?;
            if names.len() == ENTRY_LIMIT {
                return Err(TreeError::TooLarge { path, limit: ENTRY_LIMIT as u64, of: "entries" });
            }
            let name = entry.file_name().into_string();
            names.push(name.map_err(|_| TreeError::NotText { path: entry.path() })?);
        }
        names.sort();
        Ok(names)
    }

    /// Every file below a folder. Links to files inside are followed, links to folders are refused: they may loop.
    pub(super) fn files_below(&self, folder: &Path) -> Result<Vec<Listed>, TreeError> {
        let mut listed = Vec::new();
        let mut pending = vec![(String::new(), 0)];
        let mut seen = 0;
        while let Some((below, depth)) = pending.pop() {
            for name in self.names(&folder.join(&below))? {
                let name = if below.is_empty() { name } else { format!("{below}/{name}") };
                let shown = self.root.join(folder).join(&name);
                seen += 1;
                if seen > ENTRY_LIMIT || depth > DEPTH_LIMIT {
                    let (limit, of) = if depth > DEPTH_LIMIT {
                        (DEPTH_LIMIT as u64, "folders below one another")
                    } else {
                        (ENTRY_LIMIT as u64, "entries")
                    };
                    return Err(TreeError::TooLarge { path: self.root.join(folder), limit, of });
                }
                let path = self.resolve(&folder.join(&name))?;
                let metadata = fs::symlink_metadata(&path).map_err(|source| unreadable(&path, source))?;
                let is_link = fs::symlink_metadata(&shown).is_ok_and(|metadata| metadata.is_symlink());
                if metadata.is_dir() && is_link {
                    return Err(TreeError::Kind {
                        path: shown,
                        kind: "a link to a folder, and a model's folder has none",
                    });
                }
                if metadata.is_dir() {
                    pending.push((name, depth + 1));
                } else if metadata.is_file() {
                    listed.push(Listed { name, path, bytes: metadata.len() });
                } else {
                    return Err(TreeError::Kind { path: shown, kind: "neither a file nor a folder" });
                }
            }
        }
        listed.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(listed)
    }
}

/// Opens a plain file: never follows a link that came in since it was resolved, never waits for the other end of a pipe.
pub(super) fn open_file(path: &Path) -> Result<(File, Metadata), TreeError> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = file.map_err(|source| unreadable(path, source))?;
    let metadata = file.metadata().map_err(|source| unreadable(path, source))?;
    if !metadata.is_file() {
        return Err(TreeError::Kind { path: path.to_owned(), kind: "no file" });
    }
    Ok((file, metadata))
}

/// What is unusual about who may do what with a file that only root should write; `None` where nothing is.
pub(super) fn oddity(metadata: &Metadata) -> Option<String> {
    let mode = metadata.permissions().mode() & 0o7777;
    let owner = metadata.uid();
    let own = rustix::process::geteuid().as_raw();
    if mode & 0o002 != 0 {
        Some(format!("every user can write it (mode {mode:04o}): look whether somebody did"))
    } else if owner != 0 && owner != own {
        Some(format!("it belongs to user {owner}, not to root: look whether that user changed it"))
    } else {
        None
    }
}

fn unreadable(path: &Path, source: io::Error) -> TreeError {
    let path = path.to_owned();
    if source.kind() == io::ErrorKind::NotFound {
        TreeError::Missing { path }
    } else {
        TreeError::Unreadable { path, source }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree() -> (tempfile::TempDir, Tree) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("model/deep")).unwrap();
        fs::write(folder.path().join("model/a.onnx"), b"a").unwrap();
        fs::write(folder.path().join("model/deep/b.txt"), b"bb").unwrap();
        let tree = Tree::open(folder.path()).unwrap();
        (folder, tree)
    }

    fn model() -> &'static Path {
        Path::new("model")
    }

    #[test]
    fn files_are_listed_with_links_that_stay_inside() {
        let (folder, tree) = tree();
        symlink("a.onnx", folder.path().join("model/link.onnx")).unwrap();
        let listed = tree.files_below(model()).unwrap();
        let names: Vec<&str> = listed.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["a.onnx", "deep/b.txt", "link.onnx"]);
        assert_eq!(listed[2].path, listed[0].path);
        assert_eq!(listed[1].bytes, 2);
        assert!(tree.names(Path::new("nothing")).unwrap().is_empty());
    }

    #[test]
    fn a_link_that_leads_out_loops_or_leads_nowhere_is_named() {
        let (folder, tree) = tree();
        for (target, expected) in [("/etc/passwd", "out of"), ("loop", "cannot be read"), ("gone", "is not there")] {
            let link = folder.path().join("model/loop");
            symlink(target, &link).unwrap();
            let error = tree.files_below(model()).unwrap_err().to_string();
            assert!(error.contains("model/loop") && error.contains(expected), "{error}");
            assert!(tree.text(Path::new("model/loop"), 10).is_err());
            fs::remove_file(link).unwrap();
        }
        symlink("..", folder.path().join("model/up")).unwrap();
        let error = tree.files_below(model()).unwrap_err().to_string();
        assert!(error.contains("model/up is a link to a folder"), "{error}");
    }

    #[test]
    fn what_is_too_large_too_deep_or_no_file_is_named_and_nothing_waits_for_a_pipe() {
        let (folder, tree) = tree();
        let error = tree.text(Path::new("model/deep/b.txt"), 1).unwrap_err().to_string();
        assert!(error.ends_with("b.txt has more than 1 bytes"), "{error}");
        let pipe = folder.path().join("model/pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(tree.text(Path::new("model/pipe"), 10).unwrap_err().to_string().contains("is no file"));
        assert!(tree.files_below(model()).unwrap_err().to_string().contains("neither a file nor a folder"));
        fs::remove_file(pipe).unwrap();
        fs::create_dir_all(folder.path().join("model").join("d/".repeat(12))).unwrap();
        assert!(tree.files_below(model()).unwrap_err().to_string().contains("folders below one another"));
        fs::write(folder.path().join("model/latin"), [0xe4]).unwrap();
        assert!(tree.text(Path::new("model/latin"), 10).unwrap_err().to_string().contains("not UTF-8"));
    }

    #[test]
    fn a_file_that_everybody_may_write_is_odd() {
        let (folder, _) = tree();
        let path = folder.path().join("model/a.onnx");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(oddity(&fs::metadata(&path).unwrap()), None);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(oddity(&fs::metadata(&path).unwrap()).unwrap().contains("0666"));
    }
}

//! A model package as it lies unpacked in a directory: finds its manifest, or derives one for a V1 package, and reads
//! its labels. It never opens the model file; that is the inference worker's, in its sandbox.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use margay_inference::Labels;

use crate::package::{LabelSource, Manifest, PackageError};

/// The manifest's file name in a package.
pub const MANIFEST: &str = "model.toml";

/// No manifest or label file is larger, in bytes.
const MAX_TEXT: u64 = 1024 * 1024;

/// A package that has been looked at.
#[derive(Debug)]
pub struct ModelDirectory {
    /// Its manifest, written or derived.
    pub manifest: Manifest,
    /// One label a class.
    pub labels: Labels,
    /// The model file.
    pub model: PathBuf,
}

/// Why a directory is not a usable package.
#[derive(Debug, thiserror::Error)]
pub enum ModelDirectoryError {
    /// A file or the directory could not be read.
    #[error("reading {}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A manifest or label file is too large to be one.
    #[error("{} is over the limit of {MAX_TEXT} bytes for a manifest or a label file", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The manifest, or the labels, break the package format (docs/package-format.md).
    #[error("the package in {}", path.display())]
    Package {
        /// The directory.
        path: PathBuf,
        /// Which rules.
        #[source]
        source: PackageError,
    },
}

impl ModelDirectory {
    /// Looks at the package in `directory`.
    ///
    /// # Errors
    /// [`ModelDirectoryError`], which names the file and the rule.
    pub fn open(directory: &Path) -> Result<Self, ModelDirectoryError> {
        let broken = |source| ModelDirectoryError::Package { path: directory.to_owned(), source };
        let written = directory.join(MANIFEST);
        let manifest = if written.exists() {
            Manifest::parse(&read_text(&written)?).map_err(broken)?
        } else {
            Manifest::for_v1(&file_names(directory)?).map_err(broken)?
        };
        let labels = match manifest.labels() {
            LabelSource::File(file) => {
                manifest.parse_labels(&read_text(&directory.join(file.as_str()))?).map_err(broken)?
            }
            LabelSource::Inline(labels) => labels.clone(),
        };
        let model = directory.join(manifest.model_file());
        Ok(Self { manifest, labels, model })
    }
}

fn file_names(directory: &Path) -> Result<Vec<String>, ModelDirectoryError> {
    let failed = |source| ModelDirectoryError::Read { path: directory.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn read_text(path: &Path) -> Result<String, ModelDirectoryError> {
    let failed = |source| ModelDirectoryError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(MAX_TEXT + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_TEXT {
        return Err(ModelDirectoryError::TooLarge { path: path.to_owned() });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_or_label_file_that_is_too_large_or_no_text_is_refused_by_name() {
        let large = vec![b'x'; usize::try_from(MAX_TEXT).unwrap() + 1];
        for (content, word) in [(large.as_slice(), "over the limit of 1048576 bytes"), (b"\xff\xfe", "reading")] {
            let package = tempfile::tempdir().unwrap();
            fs::write(package.path().join(MANIFEST), content).unwrap();
            let error = ModelDirectory::open(package.path()).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains(MANIFEST), "{error}");

            fs::remove_file(package.path().join(MANIFEST)).unwrap();
            fs::write(package.path().join("net.onnx"), "").unwrap();
            fs::write(package.path().join("synset.txt"), content).unwrap();
            let error = ModelDirectory::open(package.path()).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("synset.txt"), "{error}");
        }
    }
}

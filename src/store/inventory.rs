//! What a store holds, looked at without opening it, so that a running core is not disturbed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::error::StoreError;
use super::installed::InstalledModel;
use super::layout::{has_known_version, models_in, records_in};
use super::record::{Record, Release};
use crate::package::Sha256Digest;

/// What a resource has to do with a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Use {
    /// It runs the model.
    Current(String),
    /// It ran the model before, and would go back to it.
    Previous(String),
}

/// A model of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Digest of its archive.
    pub digest: String,
    /// The package's directory.
    pub directory: PathBuf,
    /// Bytes of its files.
    pub bytes: u64,
    /// Who needs it; nobody: the next collection removes it.
    pub uses: Vec<Use>,
    /// Where it came from, if a resource needs it.
    pub origin: Option<String>,
    /// The key that signed it, where that was asked for.
    pub signed_by: Option<String>,
    /// What is wrong with its files, once they have been looked at.
    pub damage: Option<String>,
}

/// Every model in the store in `directory`, by digest. With `thorough`, every file is read and compared with what was
/// unpacked, which finds what a failing disk has changed.
///
/// # Errors
/// When a directory or a record cannot be read, or a newer version of Margay wrote them.
pub fn inventory(directory: &Path, thorough: bool) -> Result<Vec<Kept>, StoreError> {
    has_known_version(directory)?;
    let mut uses: BTreeMap<String, (Vec<Use>, Release)> = BTreeMap::new();
    for path in records_in(directory)? {
        let resource = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let Record { current, previous } = Record::read(&path)?;
        let current = current.map(|release| (Use::Current(resource.clone()), release));
        let previous = previous.map(|release| (Use::Previous(resource.clone()), release));
        for (used, release) in current.into_iter().chain(previous) {
            let entry = uses.entry(release.digest.to_string()).or_insert_with(|| (Vec::new(), release));
            entry.0.push(used);
        }
    }
    let kept = models_in(directory)?.into_iter().map(|(digest, home)| {
        let (uses, release) = uses.remove(&digest.to_string()).unzip();
        look(digest, &home, uses.unwrap_or_default(), release, thorough)
    });
    Ok(kept.collect())
}

fn look(digest: Sha256Digest, home: &Path, uses: Vec<Use>, release: Option<Release>, thorough: bool) -> Kept {
    let (origin, signed_by) = match &release {
        Some(release) => (Some(release.origin.to_string()), release.signed_by.clone()),
        None => (None, None),
    };
    let damage = release.filter(|_| thorough).and_then(|release| match InstalledModel::open(home, &release) {
        Ok(Some(model)) => model.check_content().err().map(|error| error.to_string()),
        Ok(None) => Some("files are missing, or of another size than they were unpacked with".to_owned()),
        Err(error) => Some(error.to_string()),
    });
    let bytes = InstalledModel::bytes_in(home);
    Kept { digest: digest.to_string(), directory: home.to_owned(), bytes, uses, origin, signed_by, damage }
}

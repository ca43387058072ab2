//! What a machine learning resource runs, and what it ran before: one small JSON document each, replaced in one step.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::format;
use super::scratch::Scratch;
use crate::disk;
use crate::name::Origin;
use crate::package::Sha256Digest;

/// The version of the document.
const FORMAT: u32 = 1;

/// One version of a package: what it is, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct Release {
    /// The archive's digest.
    pub digest: Sha256Digest,
    /// Where the archive came from.
    pub origin: Origin,
    /// The object's version there.
    pub etag: Option<String>,
    /// Number of the key that signed the archive, where that was asked for.
    pub signed_by: Option<String>,
}

/// What a resource runs, and what it ran before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// What it runs.
    pub current: Option<Release>,
    /// What it ran before.
    pub previous: Option<Release>,
}

#[derive(Serialize, Deserialize)]
struct Document {
    format: u32,
    current: Option<Fields>,
    previous: Option<Fields>,
}

#[derive(Serialize, Deserialize)]
struct Fields {
    digest: String,
    origin: String,
    etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signed_by: Option<String>,
}

impl Record {
    /// Reads the document at `path`; a missing one is a resource that never ran.
    pub(super) fn read(path: &Path) -> Result<Self, StoreError> {
        let content = match fs::read(path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(StoreError::io("reading", path)(error)),
        };
        format::check(path, &content, FORMAT)?;
        let wrong = |source| StoreError::Document { path: path.to_owned(), source };
        let document: Document = serde_json::from_slice(&content).map_err(wrong)?;
        let release = |fields: Option<Fields>| fields.map(Release::try_from).transpose();
        let read = || Ok(Self { current: release(document.current)?, previous: release(document.previous)? });
        read().map_err(|problem: String| wrong(<serde_json::Error as serde::de::Error>::custom(problem)))
    }

    /// The record after `next` became current. What runs again does not become its own predecessor.
    pub(super) fn followed_by(self, next: Release) -> Self {
        let previous = match self.current {
            Some(current) if current.digest != next.digest => Some(current),
            _ => self.previous.filter(|previous| previous.digest != next.digest),
        };
        Self { current: Some(next), previous }
    }

    /// Replaces the document at `path`.
    pub(super) fn write(&self, path: &Path) -> Result<(), StoreError> {
        let fields = |release: &Option<Release>| release.as_ref().map(Fields::from);
        let document = Document { format: FORMAT, current: fields(&self.current), previous: fields(&self.previous) };
        // Strings and numbers only, which always serialise.
        let content = serde_json::to_vec_pretty(&document).unwrap_or_default();
        let directory = path.parent().and_then(Path::parent).unwrap_or(path).join("tmp");
        let scratch = Scratch::directory_within(&directory)?;
        disk::replace(path, &scratch.path().join("record"), &content).map_err(StoreError::io("writing", path))
    }
}

impl From<Release> for Fields {
    fn from(release: Release) -> Self {
        Self::from(&release)
    }
}

impl From<&Release> for Fields {
    fn from(release: &Release) -> Self {
        Self {
            digest: release.digest.to_string(),
            origin: release.origin.to_string(),
            etag: release.etag.clone(),
            signed_by: release.signed_by.clone(),
        }
    }
}

impl TryFrom<Fields> for Release {
    type Error = String;

    fn try_from(fields: Fields) -> Result<Self, String> {
        Ok(Self {
            digest: fields.digest.parse().map_err(|error| format!("`digest` {error}"))?,
            origin: fields.origin.parse().map_err(|error| format!("`origin`: {error}"))?,
            etag: fields.etag,
            signed_by: fields.signed_by,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(content: &str) -> Release {
        let origin = "s3://greengrass-models/model.zip".parse().unwrap();
        Release { digest: Sha256Digest::of(content.as_bytes()), origin, etag: None, signed_by: None }
    }

    #[test]
    fn the_previous_model_is_the_last_other_one() {
        let (a, b) = (release("a"), release("b"));
        let record = Record::default().followed_by(a.clone());
        assert_eq!((record.current.clone(), record.previous.clone()), (Some(a.clone()), None));
        let again = record.followed_by(a.clone());
        assert_eq!(again.previous, None, "the same model deployed twice has no predecessor");
        let record = again.followed_by(b.clone());
        assert_eq!((record.current.clone(), record.previous.clone()), (Some(b.clone()), Some(a.clone())));
        let same = record.followed_by(b.clone());
        assert_eq!(same.previous, Some(a.clone()));
        let back = same.followed_by(a.clone());
        assert_eq!((back.current, back.previous), (Some(a), Some(b)));
    }
}

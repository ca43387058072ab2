//! An installed model: its directory, its files, and the document that says what was unpacked.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::archive::{Archive, ArchiveError, ArchiveKind};
use super::error::StoreError;
use super::record::Release;
use super::room::{Booking, Pin};
use super::unpack::{Limits, UnpackError, Unpacker, Written};
use super::{compiled, format, tar_gz, zip_file};
use crate::disk;
use crate::name::{Origin, S3Uri};
use crate::package::{PackagePath, Sha256Digest};

/// The directory of the package's files, beside the document.
pub(super) const PACKAGE: &str = "package";
/// The document.
const DOCUMENT: &str = "installed.json";
/// The version of the document.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Document {
    format: u32,
    files: BTreeMap<String, FileFields>,
}

#[derive(Serialize, Deserialize)]
struct FileFields {
    bytes: u64,
    sha256: String,
}

/// A model in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledModel {
    release: Release,
    directory: PathBuf,
    files: BTreeMap<PackagePath, Written>,
    _pin: Pin,
}

impl InstalledModel {
    /// The model in `home`, if it is there and whole: every file has the size that it was unpacked with.
    pub(super) fn open(home: &Path, release: &Release) -> Result<Option<Self>, StoreError> {
        let document = home.join(DOCUMENT);
        let content = match fs::read(&document) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("reading", &document)(error)),
        };
        format::check(&document, &content, FORMAT)?;
        let directory = home.join(PACKAGE);
        let model =
            files(&content).map(|files| Self { release: release.clone(), directory, files, _pin: Pin::default() });
        let whole = model.filter(InstalledModel::has_its_sizes);
        if whole.is_none() {
            tracing::warn!(model = %home.display(), "an installed model is damaged and counts as not installed");
        }
        Ok(whole)
    }

    /// The same, kept in the store by `pin`.
    pub(super) fn kept_by(self, pin: Pin) -> Self {
        Self { _pin: pin, ..self }
    }

    /// The directory with the package's files: what is mounted at the resource's destination path.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The digest of the archive, which names the model in the store and in predictions.
    pub fn digest(&self) -> Sha256Digest {
        self.release.digest
    }

    /// Where the archive came from.
    pub fn origin(&self) -> &Origin {
        &self.release.origin
    }

    /// The version of the object, if the archive came from `uri` and its server named versions.
    pub fn etag_of(&self, uri: &S3Uri) -> Option<&str> {
        self.release.etag.as_deref().filter(|_| self.release.origin == *uri)
    }

    /// Number of the key that signed the archive, where a signature was asked for when it came.
    pub fn signed_by(&self) -> Option<&str> {
        self.release.signed_by.as_deref()
    }

    /// The same, with the key that signed it; the next [`Store::set_current`](super::Store::set_current) keeps it.
    #[must_use]
    pub fn with_signer(mut self, key: Option<String>) -> Self {
        self.release.signed_by = key;
        self
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.values().map(|written| written.bytes).sum()
    }

    /// Checks the digests that the package's manifest promises against those that were unpacked. Reads nothing.
    ///
    /// # Errors
    /// [`StoreError::FileDigest`] for the first file that is missing or other.
    pub fn check_manifest(&self, promised: &BTreeMap<PackagePath, Sha256Digest>) -> Result<(), StoreError> {
        for (file, expected) in promised {
            let actual = self.files.get(file).map(|written| written.sha256);
            if actual != Some(*expected) {
                return Err(StoreError::FileDigest { file: file.clone(), expected: *expected, actual });
            }
        }
        Ok(())
    }

    /// Reads every file again and compares it with what was unpacked: finds what a failing disk has changed.
    ///
    /// # Errors
    /// [`StoreError::FileDigest`] for the first file that differs.
    pub fn check_content(&self) -> Result<(), StoreError> {
        for (file, written) in &self.files {
            let path = self.directory.join(file.as_str());
            let actual = digest_of(&path).map_err(StoreError::io("reading", &path))?;
            if actual != Some(written.sha256) {
                return Err(StoreError::FileDigest { file: file.clone(), expected: written.sha256, actual });
            }
        }
        Ok(())
    }

    /// Which version it is, and where it came from.
    pub fn release(&self) -> &Release {
        &self.release
    }

    /// Bytes of the files of the model in `home`, as its document says, and of its compiled artefact; 0 if it does not.
    pub(super) fn bytes_in(home: &Path) -> u64 {
        let files = fs::read(home.join(DOCUMENT)).ok().and_then(|content| files(&content));
        files.map_or(0, |files| files.values().map(|written| written.bytes).sum::<u64>() + compiled::bytes_in(home))
    }

    /// Refuses the model in `home` if a newer version of Margay wrote its document.
    pub(super) fn check_format(home: &Path) -> Result<(), StoreError> {
        let document = home.join(DOCUMENT);
        // What cannot be read counts as not installed, later.
        fs::read(&document).map_or(Ok(()), |content| format::check(&document, &content, FORMAT))
    }

    fn has_its_sizes(&self) -> bool {
        self.files.iter().all(|(file, written)| {
            fs::symlink_metadata(self.directory.join(file.as_str()))
                .is_ok_and(|metadata| metadata.is_file() && metadata.len() == written.bytes)
        })
    }
}

/// What an archive's top is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The files themselves, or the one folder that holds them (B-12, V11).
    Model,
    /// What a function's handler names from there on: a folder may be a Python package.
    Code,
}

/// Unpacks `archive` into `home`/package and writes the document beside it; everything is synced on return.
pub(super) fn stage(
    home: &Path,
    archive: &Archive<'_>,
    (limits, shape): (&Limits, Shape),
    room: Booking,
) -> Result<Staged, StoreError> {
    let unpacked = home.join("unpacked");
    disk::create_directory(&unpacked).map_err(StoreError::io("making", &unpacked))?;
    let files = unpack(archive, &unpacked, limits, room).map_err(|error| match error {
        UnpackError::Archive(source) => archive.refused(source),
        UnpackError::Disk(error) => error,
    })?;
    if files.is_empty() {
        return Err(archive.refused(ArchiveError::Empty));
    }
    let (top, files) = match shape {
        Shape::Model => without_parent(&unpacked, files)?,
        Shape::Code => (unpacked.clone(), files),
    };
    let package = home.join(PACKAGE);
    disk::publish(&top, &package).map_err(StoreError::io("naming", &package))?;
    if top != unpacked {
        disk::remove_tree(&unpacked).map_err(StoreError::io("removing", &unpacked))?;
    }
    let document = home.join(DOCUMENT);
    disk::replace(&document, &home.join("document"), &describe(&files))
        .map_err(StoreError::io("writing", &document))?;
    Ok(Staged { files })
}

/// What [`stage`] wrote.
pub(super) struct Staged {
    files: BTreeMap<PackagePath, Written>,
}

impl Staged {
    pub(super) fn files(&self) -> usize {
        self.files.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.files.values().map(|written| written.bytes).sum()
    }
}

type Files = BTreeMap<PackagePath, Written>;

fn unpack(archive: &Archive<'_>, into: &Path, limits: &Limits, room: Booking) -> Result<Files, UnpackError> {
    let file = archive.open()?;
    let bytes = file.metadata().map_err(|source| ArchiveError::Unreadable { source })?.len();
    let mut unpacker = Unpacker::new(into, bytes, limits, room);
    match archive.kind() {
        ArchiveKind::TarGz => tar_gz::unpack(file, &mut unpacker)?,
        ArchiveKind::Zip => zip_file::unpack(file, limits.entries, &mut unpacker)?,
    }
    unpacker.finish().map_err(UnpackError::Disk)
}

/// A package whose only entry at the top is a directory is that directory: tar packages have one by the guide's rule,
/// zip packages by its examples have none (B-12, V11), and the files are to lie in the destination path itself.
fn without_parent(unpacked: &Path, files: Files) -> Result<(PathBuf, Files), StoreError> {
    let tops: std::collections::BTreeSet<_> =
        files.keys().map(|path| path.as_str().split('/').next().unwrap_or_default().to_owned()).collect();
    let parent = match tops.iter().next() {
        Some(only) if tops.len() == 1 => only,
        _ => return Ok((unpacked.to_owned(), files)),
    };
    let mut moved = Files::new();
    for (path, written) in &files {
        let rest = path.as_str().strip_prefix(parent.as_str()).and_then(|rest| rest.strip_prefix('/'));
        match rest.and_then(|rest| rest.parse().ok()) {
            Some(path) => moved.insert(path, *written),
            None => return Ok((unpacked.to_owned(), files)),
        };
    }
    Ok((unpacked.join(parent), moved))
}

fn describe(files: &Files) -> Vec<u8> {
    let fields = |written: &Written| FileFields { bytes: written.bytes, sha256: written.sha256.to_string() };
    let files = files.iter().map(|(path, written)| (path.to_string(), fields(written))).collect();
    // Strings and numbers only, which always serialise.
    serde_json::to_vec_pretty(&Document { format: FORMAT, files }).unwrap_or_default()
}

fn files(document: &[u8]) -> Option<Files> {
    let document: Document = serde_json::from_slice(document).ok()?;
    let file = |(path, fields): (String, FileFields)| {
        Some((path.parse().ok()?, Written { bytes: fields.bytes, sha256: fields.sha256.parse().ok()? }))
    };
    document.files.into_iter().map(file).collect()
}

fn digest_of(path: &Path) -> io::Result<Option<Sha256Digest>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Some(Sha256Digest::from_bytes(digest.finalize().into()))),
            length => digest.update(&buffer[..length]),
        }
    }
}

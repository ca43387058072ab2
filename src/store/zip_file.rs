//! Reads a `.zip`: stored and deflated files, in the order of its central directory.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use zip::ZipArchive;
use zip::read::ZipFile;
use zip::result::ZipError;

use super::archive::{self, ArchiveError, shown};
use super::entry::path_of;
use super::unpack::{UnpackError, Unpacker};

/// Offset of the total number of entries in the end record (PKWARE APPNOTE, section 4.3.16).
const TOTAL_ENTRIES: usize = 10;
/// The end record without its comment, and the longest comment.
const END_RECORD: u64 = 22;
const MAX_COMMENT: u64 = 0xffff;

/// Unix file types in the upper half of the external attributes (stat(2)).
const TYPE_MASK: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;

/// Unpacks `archive` into `into`, which allows `max_entries`.
pub(super) fn unpack(mut archive: File, max_entries: u64, into: &mut Unpacker) -> Result<(), UnpackError> {
    let limit = ArchiveError::Limit { of: "entries", limit: max_entries };
    // The reader allocates for each entry that the central directory has, so their number is looked at before.
    let announced = announced_entries(&mut archive).map_err(|source| damaged("its end record", source))?;
    if announced > max_entries {
        return Err(limit.into());
    }
    let mut zip = ZipArchive::new(BufReader::new(archive)).map_err(|error| at("its directory", error))?;
    if zip.len() as u64 > max_entries {
        return Err(limit.into());
    }
    if zip.has_overlapping_files().map_err(|error| at("its directory", error))? {
        return Err(ArchiveError::Feature { entry: String::new(), feature: "files that share their bytes" }.into());
    }
    let bytes = zip.decompressed_size().map_or(0, |bytes| u64::try_from(bytes).unwrap_or(u64::MAX));
    into.expect(bytes)?;
    for index in 0..zip.len() {
        into.count()?;
        let name = shown(zip.name_for_index(index).unwrap_or_default().as_bytes());
        let mut file = zip.by_index(index).map_err(|error| match error {
            ZipError::UnsupportedArchive(feature) => ArchiveError::Feature { entry: name, feature }.into(),
            error => at(&name, error),
        })?;
        place(&mut file, into)?;
    }
    Ok(())
}

fn place(file: &mut ZipFile<'_, BufReader<File>>, into: &mut Unpacker) -> Result<(), UnpackError> {
    let name = file.name().as_bytes().to_vec();
    let kind = match file.unix_mode().map(|mode| mode & TYPE_MASK) {
        None | Some(0) => {
            if file.is_dir() {
                DIRECTORY
            } else {
                REGULAR
            }
        }
        Some(kind) => kind,
    };
    match (kind, path_of(&name)?) {
        (REGULAR | DIRECTORY, None) => Ok(()),
        (DIRECTORY, Some(path)) if file.is_dir() => into.directory(&path),
        (REGULAR, Some(path)) if !file.is_dir() => into.file(&path, file.unix_mode().unwrap_or(0), file),
        _ => Err(ArchiveError::Kind { entry: shown(&name), kind: describe(kind) }.into()),
    }
}

fn describe(kind: u32) -> &'static str {
    match kind {
        0o120_000 => "a symbolic link",
        0o060_000 | 0o020_000 => "a device",
        0o010_000 => "a pipe",
        0o140_000 => "a socket",
        REGULAR | DIRECTORY => "a file named as a directory, or the other way round",
        _ => "of an unknown type",
    }
}

/// What the end record says; 0xffff means a zip64 archive with at least as many.
fn announced_entries(archive: &mut File) -> io::Result<u64> {
    let length = archive.seek(SeekFrom::End(0))?;
    archive.seek(SeekFrom::Start(length.saturating_sub(END_RECORD + MAX_COMMENT)))?;
    let mut tail = Vec::new();
    archive.take(END_RECORD + MAX_COMMENT).read_to_end(&mut tail)?;
    archive.seek(SeekFrom::Start(0))?;
    let record = tail.windows(4).rposition(|window| window == b"PK\x05\x06").map(|start| &tail[start..]);
    match record.and_then(|record| record.get(TOTAL_ENTRIES..TOTAL_ENTRIES + 2)) {
        Some(field) => Ok(u64::from(u16::from_le_bytes([field[0], field[1]]))),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn at(place: &str, error: ZipError) -> UnpackError {
    damaged(place, error.into())
}

fn damaged(place: &str, source: io::Error) -> UnpackError {
    archive::damaged(place, source).into()
}

//! Reads a `.tar.gz`: POSIX ustar with the extensions that GNU tar, bsdtar and Python write for long names.
//!
//! The entries are taken raw, so that long names are read under a limit of ours; the tar crate would otherwise read a
//! name of any length into memory.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use flate2::read::MultiGzDecoder;
use tar::{Archive, Entry, EntryType, PaxExtensions};

use super::archive::{self, ArchiveError, shown};
use super::entry::path_of;
use super::unpack::{UnpackError, Unpacker};

/// The longest extension header read, in bytes: a path and a few times and numbers.
const MAX_EXTENSION: u64 = 16 * 1024;

/// The most that may follow the end of the tar: padding to the record size, which GNU tar lets users choose.
const MAX_PADDING: u64 = 1 << 20;

/// Unpacks `archive` into `into`.
pub(super) fn unpack(mut archive: File, into: &mut Unpacker) -> Result<(), UnpackError> {
    let announced = announced_bytes(&mut archive).map_err(|source| damaged("its end", source))?;
    into.expect(announced)?;
    let mut tar = Archive::new(MultiGzDecoder::new(BufReader::new(archive)));
    let mut long_name = None;
    let mut last = "its start".to_owned();
    for entry in tar.entries().map_err(|source| damaged(&last, source))?.raw(true) {
        let mut entry = entry.map_err(|source| damaged(&last, source))?;
        into.count()?;
        let kind = entry.header().entry_type();
        if let Role::Next(name) = role(kind, &mut entry)? {
            long_name = name.or(long_name);
            continue;
        }
        let name = long_name.take().unwrap_or_else(|| entry.header().path_bytes().into_owned());
        last = shown(&name);
        // What has no readable mode is no program.
        let mode = entry.header().mode().unwrap_or(0);
        place(kind, (&name, mode), &mut entry, into)?;
    }
    let padding = io::copy(&mut tar.into_inner().take(MAX_PADDING + 1), &mut io::sink());
    match padding.map_err(|source| damaged("its end", source))? {
        0..=MAX_PADDING => Ok(()),
        _ => Err(ArchiveError::Limit { of: "bytes after the end of the tar", limit: MAX_PADDING }.into()),
    }
}

/// The size before compression that a gzip ends with (RFC 1952, ISIZE). With the tar's own blocks it is a little more
/// than the files have; of more than 4 GiB only the remainder is told.
fn announced_bytes(archive: &mut File) -> io::Result<u64> {
    let mut size = [0; 4];
    if archive.metadata()?.len() < size.len() as u64 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    archive.seek(SeekFrom::End(-4))?;
    archive.read_exact(&mut size)?;
    archive.rewind()?;
    Ok(u32::from_le_bytes(size).into())
}

fn place(
    kind: EntryType,
    (name, mode): (&[u8], u32),
    entry: &mut impl Read,
    into: &mut Unpacker,
) -> Result<(), UnpackError> {
    let is_directory = kind.is_dir() || (kind.is_file() && name.ends_with(b"/"));
    if !is_directory && !kind.is_file() && !kind.is_contiguous() {
        return Err(ArchiveError::Kind { entry: shown(name), kind: describe(kind) }.into());
    }
    match path_of(name)? {
        None => Ok(()),
        Some(path) if is_directory => into.directory(&path),
        Some(path) => into.file(&path, mode, entry),
    }
}

/// What an entry is for.
enum Role {
    /// A file, a directory or whatever else has a place.
    Itself,
    /// Describes the next entry: its name, where it brings one.
    Next(Option<Vec<u8>>),
}

/// Tells what an entry is for; one that describes the next is read to its end.
fn role(kind: EntryType, entry: &mut Entry<'_, impl Read>) -> Result<Role, ArchiveError> {
    match kind {
        EntryType::GNULongName => {
            let mut name = content(entry)?;
            name.truncate(name.iter().position(|&byte| byte == 0).unwrap_or(name.len()));
            Ok(Role::Next(Some(name)))
        }
        EntryType::XHeader => pax_path(&content(entry)?).map(Role::Next),
        EntryType::XGlobalHeader => content(entry).map(|_| Role::Next(None)),
        _ => Ok(Role::Itself),
    }
}

/// The `path` of a pax header (POSIX pax, "extended header"). A `size` there would mean more than 8 GiB, and the
/// `GNU.sparse` keys a file that is not what its bytes say.
fn pax_path(header: &[u8]) -> Result<Option<Vec<u8>>, ArchiveError> {
    let mut path = None;
    for record in PaxExtensions::new(header) {
        let record = record.map_err(|source| archive::damaged("a pax header", source))?;
        match record.key_bytes() {
            b"path" => path = Some(record.value_bytes().to_vec()),
            b"size" => return Err(feature(&path, "a pax size")),
            key if key.starts_with(b"GNU.sparse.") => return Err(feature(&path, "sparse files")),
            _ => {}
        }
    }
    Ok(path)
}

fn feature(path: &Option<Vec<u8>>, feature: &'static str) -> ArchiveError {
    ArchiveError::Feature { entry: shown(path.as_deref().unwrap_or_default()), feature }
}

fn content(entry: &mut Entry<'_, impl Read>) -> Result<Vec<u8>, ArchiveError> {
    let mut content = Vec::new();
    let read = entry.take(MAX_EXTENSION + 1).read_to_end(&mut content);
    let read = read.map_err(|source| archive::damaged("an extension header", source))?;
    if read as u64 > MAX_EXTENSION {
        return Err(ArchiveError::Limit { of: "bytes in an extension header", limit: MAX_EXTENSION });
    }
    Ok(content)
}

fn damaged(at: &str, source: io::Error) -> UnpackError {
    archive::damaged(at, source).into()
}

fn describe(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Link => "a hard link",
        EntryType::Symlink => "a symbolic link",
        EntryType::GNULongLink => "a link with a long target",
        EntryType::Char | EntryType::Block => "a device",
        EntryType::Fifo => "a pipe",
        EntryType::GNUSparse => "a sparse file",
        _ => "of an unknown type",
    }
}

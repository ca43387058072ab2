//! The one line of an ELF file that matters here: which dynamic loader it asks for (elf(5), `PT_INTERP`).

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const MAGIC: &[u8] = b"\x7fELF";
const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
const INTERPRETER: u32 = 3;

/// Program headers and loader paths longer than this are no real program's.
const LONGEST_PART: u64 = 64 << 10;

/// The loader of a program; `None` for a static one.
///
/// # Errors
/// `InvalidData` (reported as `ENOEXEC`) when the file is not an ELF program of this machine's byte order: a script, for
/// example, whose interpreter has to be the plan's program.
pub(super) fn interpreter(program: &Path) -> io::Result<Option<PathBuf>> {
    find_interpreter(&mut File::open(program)?)
}

fn find_interpreter(file: &mut (impl Read + Seek)) -> io::Result<Option<PathBuf>> {
    let mut header = [0; 64];
    let length = read_up_to(file, &mut header)?;
    let header = header.get(..length).unwrap_or_default();
    let layout = Layout::of(header).ok_or_else(not_executable)?;
    let table = layout.table(header).ok_or_else(not_executable)?;
    let headers = read_part(file, table.offset, u64::from(table.entry) * u64::from(table.count))?;
    let entries = headers.chunks_exact(usize::from(table.entry).max(1));
    let wanted = entries.filter_map(|entry| layout.segment(entry)).find(|segment| segment.kind == INTERPRETER);
    let Some(segment) = wanted else { return Ok(None) };
    let text = read_part(file, segment.offset, segment.length)?;
    let path = text.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(Some(PathBuf::from(OsStr::from_bytes(path))))
}

/// Where the fields are: the two word sizes differ.
#[derive(Debug, Clone, Copy)]
struct Layout {
    is_64_bit: bool,
}

#[derive(Debug)]
struct Table {
    offset: u64,
    entry: u16,
    count: u16,
}

#[derive(Debug)]
struct Segment {
    kind: u32,
    offset: u64,
    length: u64,
}

impl Layout {
    fn of(header: &[u8]) -> Option<Self> {
        let little = header.get(5) == Some(&LITTLE_ENDIAN);
        let same_order = little == cfg!(target_endian = "little");
        (header.starts_with(MAGIC) && same_order).then(|| Self { is_64_bit: header.get(4) == Some(&CLASS_64) })
    }

    fn table(self, header: &[u8]) -> Option<Table> {
        let (offset, entry, count) =
            if self.is_64_bit { (long(header, 32)?, 54, 56) } else { (u64::from(word(header, 28)?), 42, 44) };
        Some(Table { offset, entry: half(header, entry)?, count: half(header, count)? })
    }

    fn segment(self, entry: &[u8]) -> Option<Segment> {
        let kind = word(entry, 0)?;
        if self.is_64_bit {
            return Some(Segment { kind, offset: long(entry, 8)?, length: long(entry, 32)? });
        }
        Some(Segment { kind, offset: u64::from(word(entry, 4)?), length: u64::from(word(entry, 16)?) })
    }
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn read_part(file: &mut (impl Read + Seek), offset: u64, length: u64) -> io::Result<Vec<u8>> {
    if length > LONGEST_PART {
        return Err(not_executable());
    }
    let mut part = Vec::new();
    file.seek(SeekFrom::Start(offset))?;
    file.take(length).read_to_end(&mut part)?;
    Ok(part)
}

fn read_up_to(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..])? {
            0 => break,
            more => length += more,
        }
    }
    Ok(length)
}

fn not_executable() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOEXEC)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_behind_a_magic_number_make_the_parser_panic(
            class in 1_u8..=2,
            rest in vec(any::<u8>(), 0..200),
            offset in 0_u8..=255,
        ) {
            let mut bytes = [MAGIC, &[class, LITTLE_ENDIAN]].concat();
            bytes.extend(rest);
            // Half of the files get a table that lies inside them.
            if let (0..=127, Some(low)) = (offset, bytes.get_mut(32)) {
                *low = offset;
                bytes.get_mut(33..40).into_iter().flatten().for_each(|high| *high = 0);
            }
            let _ = find_interpreter(&mut Cursor::new(bytes));
        }
    }

    #[test]
    fn the_loader_of_this_test_exists() {
        let own = std::env::current_exe().unwrap();
        if let Some(loader) = interpreter(&own).unwrap() {
            assert!(loader.is_absolute() && loader.exists(), "{}", loader.display());
        }
    }

    #[test]
    fn a_script_and_a_stub_are_not_executable() {
        for bytes in [&b"#!/bin/sh\n"[..], b"", b"\x7fELF", b"\x7fELF\x02\x01\x01"] {
            let error = find_interpreter(&mut Cursor::new(bytes)).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ENOEXEC));
        }
    }

    #[test]
    fn a_program_header_table_beyond_reason_is_refused() {
        let mut header = [0xff; 64];
        header[..6].copy_from_slice(b"\x7fELF\x02\x01");
        assert!(find_interpreter(&mut Cursor::new(header)).is_err());
    }
}

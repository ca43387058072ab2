//! A segment: one file of the spool, records one after the other behind a header.
//!
//! ```text
//! "MGYSPOOL" | version u32 | nonce 8 bytes | crc32 of these u32      twice, so that one flipped bit costs no segment
//! record, record …
//! ```
//!
//! Whatever bytes a file holds, reading it gives records that were written and says which ranges are none: it never
//! panics, and takes no longer than the file is long for each damaged place.

use std::ops::Range;

use super::record::{self, Nonce, Record};

const MAGIC: [u8; 8] = *b"MGYSPOOL";

/// The version of the format that this program writes and reads.
pub(super) const VERSION: u32 = 1;

const ONE_HEADER: usize = 24;

/// Both headers, in bytes.
pub(super) const HEADER_BYTES: usize = 2 * ONE_HEADER;

/// Why a file is no segment to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It is shorter than a header: a power cut came while it was made, and nothing in it was ever promised.
    Unfinished,
    /// A later version of the program wrote it.
    Version(u32),
    /// Both headers are damaged.
    Damaged,
}

/// The header of a new segment.
pub(super) fn header(nonce: Nonce) -> Vec<u8> {
    let mut one = Vec::with_capacity(HEADER_BYTES);
    one.extend_from_slice(&MAGIC);
    one.extend_from_slice(&VERSION.to_le_bytes());
    one.extend_from_slice(&nonce);
    one.extend_from_slice(&crc32fast::hash(&one).to_le_bytes());
    one.repeat(2)
}

/// The nonce of the segment that begins with `bytes`.
pub(super) fn nonce(bytes: &[u8]) -> Result<Nonce, Unreadable> {
    for header in bytes.chunks_exact(ONE_HEADER).take(2) {
        let (fields, sum) = header.split_at(ONE_HEADER - 4);
        if fields[..8] == MAGIC && sum == crc32fast::hash(fields).to_le_bytes() {
            return match (version(fields), <Nonce>::try_from(&fields[12..20])) {
                (VERSION, Ok(nonce)) => Ok(nonce),
                (later, _) if later > VERSION => Err(Unreadable::Version(later)),
                _ => Err(Unreadable::Damaged),
            };
        }
    }
    // A later version may have another header behind the same beginning.
    match bytes.starts_with(&MAGIC) && bytes.len() >= ONE_HEADER {
        true if version(bytes) > VERSION => Err(Unreadable::Version(version(bytes))),
        _ if bytes.len() < HEADER_BYTES => Err(Unreadable::Unfinished),
        _ => Err(Unreadable::Damaged),
    }
}

fn version(header: &[u8]) -> u32 {
    u32::from_le_bytes([header[8], header[9], header[10], header[11]])
}

/// Something in a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A record and where it lies.
    Record(Record, Range<usize>),
    /// Bytes that are no record, with one behind them.
    Damaged(Range<usize>),
    /// Bytes that are no record, up to the end: what a power cut leaves of an unfinished write.
    Torn(Range<usize>),
}

/// Walks through a segment.
#[derive(Debug)]
pub(super) struct Items<'a> {
    bytes: &'a [u8],
    nonce: Nonce,
    at: usize,
}

/// The items of the segment `bytes`.
pub(super) fn items(bytes: &[u8]) -> Result<Items<'_>, Unreadable> {
    let nonce = nonce(bytes)?;
    Ok(Items { bytes, nonce, at: HEADER_BYTES.min(bytes.len()) })
}

impl Iterator for Items<'_> {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        let (start, end) = (self.at, self.bytes.len());
        if start >= end {
            return None;
        }
        if let Some((record, length)) = record::read(&self.bytes[start..], self.nonce) {
            self.at += length;
            return Some(Item::Record(record, start..self.at));
        }
        let next = record::find(self.bytes, start + 1, self.nonce);
        self.at = next.unwrap_or(end);
        Some(if next.is_some() { Item::Damaged(start..self.at) } else { Item::Torn(start..end) })
    }
}

#[cfg(test)]
mod tests;

//! Numbers and lists in an artefact: little-endian, every read bounded by what is left.

use std::ops::Range;

/// Something in the recipe that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at} of what follows the header")]
pub struct Malformed {
    /// What is wrong.
    pub what: &'static str,
    /// Where.
    pub at: usize,
}

/// Bytes of a count, and of a range.
pub(super) const COUNT: usize = 4;
pub(super) const RANGE: usize = 16;

/// What is left to read.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// An error about what was just read.
    pub(super) fn error(&self, what: &'static str) -> Malformed {
        Malformed { what, at: self.at }
    }

    pub(super) fn slice(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (slice, rest) = self.bytes.split_at_checked(length).ok_or(self.error("the end"))?;
        (self.bytes, self.at) = (rest, self.at + length);
        Ok(slice)
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let slice = self.slice(N)?;
        slice.try_into().map_err(|_| self.error("the end"))
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        self.bytes().map(|[byte]| byte)
    }

    pub(super) fn flag(&mut self) -> Result<bool, Malformed> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.error("neither yes nor no")),
        }
    }

    pub(super) fn word(&mut self) -> Result<u32, Malformed> {
        self.bytes().map(u32::from_le_bytes)
    }

    pub(super) fn long(&mut self) -> Result<u64, Malformed> {
        self.bytes().map(u64::from_le_bytes)
    }

    pub(super) fn float(&mut self) -> Result<f32, Malformed> {
        self.bytes().map(f32::from_le_bytes)
    }

    /// A number that was written by [`put_count`].
    pub(super) fn size(&mut self) -> Result<usize, Malformed> {
        self.word().map(|word| word as usize)
    }

    /// A number of things to follow, of which each takes a byte at least.
    pub(super) fn count(&mut self, most: usize) -> Result<usize, Malformed> {
        let count = self.size()?;
        if count > most || count > self.bytes.len() { Err(self.error("too many")) } else { Ok(count) }
    }

    pub(super) fn floats(&mut self) -> Result<Vec<f32>, Malformed> {
        let count = self.count(usize::MAX)?;
        let bytes = self.slice(count.checked_mul(4).ok_or(self.error("too many"))?)?;
        Ok(bytes.as_chunks().0.iter().copied().map(f32::from_le_bytes).collect())
    }

    pub(super) fn sizes(&mut self) -> Result<Vec<usize>, Malformed> {
        let count = self.count(usize::MAX)?;
        let bytes = self.slice(count.checked_mul(4).ok_or(self.error("too many"))?)?;
        Ok(bytes.as_chunks().0.iter().map(|&word| u32::from_le_bytes(word) as usize).collect())
    }

    pub(super) fn range(&mut self) -> Result<Range<usize>, Malformed> {
        let ends = [self.long()?, self.long()?].map(usize::try_from);
        match ends {
            [Ok(start), Ok(end)] => Ok(start..end),
            _ => Err(self.error("too large")),
        }
    }
}

/// Counts, lengths and numbers of values are below 2³²: the limits of networks are.
pub(super) fn put_count(to: &mut Vec<u8>, count: usize) {
    to.extend((count as u32).to_le_bytes());
}

pub(super) fn put_sizes(to: &mut Vec<u8>, sizes: &[usize]) {
    put_count(to, sizes.len());
    sizes.iter().for_each(|&size| put_count(to, size));
}

pub(super) fn put_floats(to: &mut Vec<u8>, floats: &[f32]) {
    put_count(to, floats.len());
    floats.iter().for_each(|float| to.extend(float.to_le_bytes()));
}

pub(super) fn put_range(to: &mut Vec<u8>, range: Range<usize>) {
    to.extend((range.start as u64).to_le_bytes());
    to.extend((range.end as u64).to_le_bytes());
}

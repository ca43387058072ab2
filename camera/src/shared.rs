//! Bytes of a frame where they lie: in memory of this process, or in memory that others may change meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What shared bytes are read by: a machine word, which every supported processor can load from read-only memory in
/// one piece.
pub(crate) const WORD: usize = size_of::<usize>();

/// Bytes that another process or a device may change while they are read. Each machine word read is of one moment; no
/// more is promised, and nothing here refers to them as plain bytes.
#[derive(Debug, Clone, Copy)]
pub struct SharedBytes<'a> {
    words: &'a [AtomicUsize],
    length: usize,
}

impl<'a> SharedBytes<'a> {
    /// The first `length` bytes of `words`; fewer where there are not as many.
    #[must_use]
    pub fn new(words: &'a [AtomicUsize], length: usize) -> Self {
        let length = length.min(words.len().saturating_mul(WORD));
        Self { words: &words[..length.div_ceil(WORD)], length }
    }

    /// How many bytes there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The words that hold the bytes, the last of them perhaps only in part.
    pub(crate) const fn words(&self) -> &'a [AtomicUsize] {
        self.words
    }

    /// The first bytes, zeros where there are fewer.
    #[must_use]
    pub fn first<const N: usize>(&self) -> [u8; N] {
        let mut first = [0; N];
        let there = self.length.min(N);
        for (at, byte) in first.iter_mut().enumerate().take(there) {
            *byte = self.words[at / WORD].load(Ordering::Relaxed).to_ne_bytes()[at % WORD];
        }
        first
    }

    /// Replaces what is in `into` by a copy of the bytes.
    pub fn copy_to(&self, into: &mut Vec<u8>) {
        into.clear();
        into.reserve(self.words.len() * WORD);
        for word in self.words {
            into.extend_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        into.truncate(self.length);
    }
}

/// The bytes of a frame.
#[derive(Debug, Clone, Copy)]
pub enum FrameBytes<'a> {
    /// In memory of this process.
    Own(&'a [u8]),
    /// In memory that others may change.
    Shared(SharedBytes<'a>),
}

impl FrameBytes<'_> {
    /// How many bytes there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::Own(bytes) => bytes.len(),
            Self::Shared(bytes) => bytes.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Replaces what is in `into` by a copy of the bytes.
    pub fn copy_to(&self, into: &mut Vec<u8>) {
        match self {
            Self::Own(bytes) => {
                into.clear();
                into.extend_from_slice(bytes);
            }
            Self::Shared(bytes) => bytes.copy_to(into),
        }
    }
}

impl<'a> From<&'a [u8]> for FrameBytes<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Own(bytes)
    }
}

impl<'a> From<&'a Vec<u8>> for FrameBytes<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self::Own(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for FrameBytes<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Own(bytes)
    }
}

#[cfg(test)]
pub(crate) mod memory {
    use super::*;

    /// Memory that holds `bytes`.
    pub(crate) fn holding(bytes: &[u8]) -> Vec<AtomicUsize> {
        let words = bytes.chunks(WORD).map(|chunk| {
            let mut word = [0; WORD];
            word[..chunk.len()].copy_from_slice(chunk);
            AtomicUsize::new(usize::from_ne_bytes(word))
        });
        words.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_bytes_are_copied_to_the_byte() {
        let bytes: Vec<u8> = (1..=21).collect();
        let words = memory::holding(&bytes);
        for length in [0, 1, 7, 8, 9, 20, 21] {
            let shared = SharedBytes::new(&words, length);
            let mut copy = b"what was here before".to_vec();
            shared.copy_to(&mut copy);
            assert_eq!((copy.as_slice(), shared.len()), (&bytes[..length], length));
        }
        assert_eq!(SharedBytes::new(&words, 10).first::<3>(), [1, 2, 3]);
        assert_eq!(SharedBytes::new(&words, 2).first::<3>(), [1, 2, 0]);
    }

    #[test]
    fn a_length_beyond_the_memory_is_cut() {
        let words = memory::holding(&[1; WORD]);
        assert_eq!(SharedBytes::new(&words, usize::MAX).len(), WORD);
    }
}

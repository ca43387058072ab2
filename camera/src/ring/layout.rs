//! Where everything lies in the ring's memory. All numbers are 32-bit words in the machine's byte order: both sides
//! run on the same machine, and 32 bits are what every processor can load from read-only memory in one piece.
//!
//! | offset | what | written by |
//! |---|---|---|
//! | 0 | magic, version, geometry, first sequence | [`super::create`], once |
//! | 128 | `published`: how many frames | the writer, for each frame |
//! | 256 | `signal`: counts up when something happened; waited on (futex) | the writer, for each frame and at the end |
//! | 260 | `end`: 0, or the code of an [`super::EndReason`] | the writer, once |
//! | 264 | `claimed`: 0, or 1 once a writer has mapped the ring | the writer, once |
//! | 384 | slot 0: [`LINE`] bytes of words, then the frame's bytes | the writer |
//! | … | slot 1 and so on, each at a multiple of [`LINE`] | the writer |
//!
//! What is written at different times, or by different sides, lies [`LINE`] bytes apart.

use super::RingGeometry;

/// What two words must be apart so that writing one does not slow down reading the other: two cache lines, because
/// x86 fetches them in pairs.
pub(super) const LINE: usize = 128;

/// Two words that every ring begins with: "MRGY", "RING".
pub(super) const MAGIC: [u32; 2] = [u32::from_ne_bytes(*b"MRGY"), u32::from_ne_bytes(*b"RING")];
/// The version of this layout; a reader or writer of another refuses the ring.
pub(super) const VERSION: u32 = 1;

/// Offsets of the header's words.
pub(super) const MAGIC_AT: [usize; 2] = [0, 4];
pub(super) const VERSION_AT: usize = 8;
pub(super) const SLOTS_AT: usize = 12;
pub(super) const SLOT_BYTES_AT: usize = 16;
pub(super) const FIRST_SEQUENCE_AT: usize = 20;

/// Offsets of the words that change.
pub(super) const PUBLISHED_AT: usize = LINE;
pub(super) const SIGNAL_AT: usize = 2 * LINE;
pub(super) const END_AT: usize = SIGNAL_AT + 4;
pub(super) const CLAIMED_AT: usize = SIGNAL_AT + 8;

/// Where the first slot begins.
pub(super) const HEADER_BYTES: usize = 3 * LINE;

/// The bytes of a whole ring.
pub(super) fn ring_bytes(geometry: &RingGeometry) -> u64 {
    HEADER_BYTES as u64 + u64::from(geometry.slots) * slot_stride(geometry)
}

/// From the start of a slot to that of the next.
fn slot_stride(geometry: &RingGeometry) -> u64 {
    LINE as u64 + u64::from(geometry.slot_bytes).next_multiple_of(LINE as u64)
}

/// Where the parts of one slot lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SlotLayout {
    start: usize,
}

impl SlotLayout {
    /// The slot of the ring's `ordinal`-th frame, counted from 0. The geometry has been checked.
    pub(super) fn of(geometry: &RingGeometry, ordinal: u32) -> Self {
        let slot = u64::from(ordinal % geometry.slots);
        let start = HEADER_BYTES as u64 + slot * slot_stride(geometry);
        let start = usize::try_from(start).expect("a checked ring is at most 1 GiB long");
        Self { start }
    }

    /// Where the slot begins.
    #[cfg(test)]
    pub(super) fn start(self) -> usize {
        self.start
    }

    /// The ordinal plus one of the frame that the writer last began to write here.
    pub(super) fn begun(self) -> usize {
        self.start
    }

    /// The words that describe the frame ([`super::slot`]).
    pub(super) fn description(self) -> usize {
        self.start + 4
    }

    /// The frame's bytes.
    pub(super) fn payload(self) -> usize {
        self.start + LINE
    }
}

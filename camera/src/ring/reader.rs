//! The reader's side of a ring: it copies frames out, notices what was overwritten, and believes nothing it reads.

use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use rustix::fd::AsFd;
use rustix::time::{ClockId, clock_gettime};
use thiserror::Error;

use super::geometry::RingGeometry;
use super::header::Header;
use super::layout::{self, SlotLayout};
use super::mapping::{Mapping, ReadOnly};
use super::memory::RingError;
use super::slot;
use super::writer::EndReason;
use crate::clock::since;
use crate::frame::{Capture, FrameFault, FrameMeta};

/// A reader of a ring; there may be any number, in any process.
#[derive(Debug)]
pub struct RingReader {
    memory: Mapping<ReadOnly>,
    header: Header,
}

/// What came of waiting for a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// There is a newer frame; this is the newest.
    Frame(u64),
    /// No frame will follow, and there is none that is newer.
    Closed(EndReason),
    /// The time was up.
    TimedOut,
}

impl RingReader {
    /// Maps a ring for reading, whoever made it, and checks its header.
    ///
    /// # Errors
    /// [`RingError::NotSealed`] or [`RingError::Header`] for what is no ring, [`RingError::Map`] where the kernel
    /// refuses.
    pub fn map(ring: impl AsFd) -> Result<Self, RingError> {
        let memory = Mapping::<ReadOnly>::new(ring)?;
        let header = Header::read(&memory).map_err(RingError::Header)?;
        Ok(Self { memory, header })
    }

    /// The size of the ring.
    #[must_use]
    pub fn geometry(&self) -> RingGeometry {
        self.header.geometry
    }

    /// The number that the ring's first frame has or will have.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.header.first_sequence
    }

    /// The number of the newest frame; `None` while there is none.
    #[must_use]
    pub fn head(&self) -> Option<u64> {
        self.newest(self.published())
    }

    /// The number of the oldest frame that was not overwritten yet; `None` while there is none. The writer may be
    /// about to overwrite just this one.
    #[must_use]
    pub fn oldest(&self) -> Option<u64> {
        let published = self.published();
        let kept = published.min(self.header.geometry.slots);
        (kept > 0).then(|| self.first() + u64::from(published - kept))
    }

    /// Why no frame will follow; `None` as long as one may. A writer that was killed says nothing.
    #[must_use]
    pub fn end(&self) -> Option<EndReason> {
        EndReason::from_code(self.acquire(layout::END_AT))
    }

    /// Copies frame `sequence` into `into` and describes it. `into` takes the frame's length; its memory is used again.
    ///
    /// # Errors
    /// [`ReadError::NotYet`], [`ReadError::Overwritten`], or [`ReadError::Malformed`] for a frame that is there but
    /// must not be used. `into` is empty then.
    pub fn read_into(&self, sequence: u64, into: &mut Vec<u8>) -> Result<FrameMeta, ReadError> {
        let outcome = self.copy_frame(sequence, into);
        if outcome.is_err() {
            into.clear();
        }
        outcome
    }

    /// Waits until there is a frame newer than `than` (`None`: any frame), the ring has ended, or `timeout` has passed.
    pub fn wait_newer(&self, than: Option<u64>, timeout: Duration) -> Wait {
        let deadline = monotonic().saturating_add(timeout);
        loop {
            // Taken before looking: if something happens afterwards the word has changed and the wait returns at once.
            let signal = self.acquire(layout::SIGNAL_AT);
            // Before the head: a writer publishes and then ends.
            let end = self.end();
            match self.head() {
                Some(head) if than.is_none_or(|than| head > than) => return Wait::Frame(head),
                _ => {}
            }
            if let Some(reason) = end {
                return Wait::Closed(reason);
            }
            let left = deadline.saturating_sub(monotonic());
            if left.is_zero() {
                return Wait::TimedOut;
            }
            self.memory.wait(layout::SIGNAL_AT, signal, left);
        }
    }

    fn copy_frame(&self, sequence: u64, into: &mut Vec<u8>) -> Result<FrameMeta, ReadError> {
        let ordinal = self.ordinal(sequence)?;
        let slot = SlotLayout::of(&self.header.geometry, ordinal);
        // A sequence lock, the reader's half. The frame is published, and so all of it is seen, or something newer;
        // whatever newer the copy has met, `begun` shows that it was begun.
        let words = std::array::from_fn(|word| self.memory.load(slot.description() + 4 * word));
        let copied = self.copy_payload(slot, &words, into);
        fence(Ordering::Acquire);
        if self.memory.load(slot.begun()) != ordinal + 1 {
            return Err(ReadError::Overwritten { sequence });
        }
        // Only now is it known that the words were of one frame, and so what is wrong with them is wrong with it.
        let capture = copied.and_then(|()| describe(&words, into.len()));
        let capture = capture.map_err(|fault| ReadError::Malformed { sequence, fault })?;
        Ok(FrameMeta::new(sequence, &capture, slot::bytes_used(&words)))
    }

    /// Copies as many bytes as the words say, if a slot has so many.
    fn copy_payload(&self, slot: SlotLayout, words: &slot::Words, into: &mut Vec<u8>) -> Result<(), MalformedFrame> {
        let (bytes, limit) = (slot::bytes_used(words), self.header.geometry.slot_bytes);
        if bytes > limit {
            return Err(MalformedFrame::Length { bytes, limit });
        }
        into.resize(bytes as usize, 0);
        self.memory.copy_out(slot.payload(), into);
        Ok(())
    }

    /// The place of a frame in this ring, if it can still be there.
    fn ordinal(&self, sequence: u64) -> Result<u32, ReadError> {
        let published = self.published();
        let overwritten = ReadError::Overwritten { sequence };
        let ordinal = sequence.checked_sub(self.first()).ok_or(overwritten)?;
        let ordinal = u32::try_from(ordinal).map_err(|_| ReadError::NotYet { sequence })?;
        if ordinal >= published {
            return Err(ReadError::NotYet { sequence });
        }
        if published - ordinal > self.header.geometry.slots {
            return Err(overwritten);
        }
        Ok(ordinal)
    }

    fn newest(&self, published: u32) -> Option<u64> {
        published.checked_sub(1).map(|newest| self.first() + u64::from(newest))
    }

    fn published(&self) -> u32 {
        self.acquire(layout::PUBLISHED_AT)
    }

    /// Loads a word such that what was stored before it is seen as well. A relaxed load and a fence, because only
    /// relaxed loads are promised to work on read-only memory.
    fn acquire(&self, offset: usize) -> u32 {
        let value = self.memory.load(offset);
        fence(Ordering::Acquire);
        value
    }
}

/// What the words of a slot say about its `bytes` bytes, if they can be true.
fn describe(words: &slot::Words, bytes: usize) -> Result<Capture, MalformedFrame> {
    let capture = slot::decode(words).ok_or(MalformedFrame::Code)?;
    capture.check(bytes).map_err(MalformedFrame::Description)?;
    Ok(capture)
}

fn monotonic() -> Duration {
    since(clock_gettime(ClockId::Monotonic))
}

/// A frame was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It was not published yet.
    #[error("frame {sequence} was not published yet")]
    NotYet {
        /// The frame asked for.
        sequence: u64,
    },
    /// It is gone: later frames were written over it, or it lay in an earlier ring.
    #[error("frame {sequence} was overwritten")]
    Overwritten {
        /// The frame asked for.
        sequence: u64,
    },
    /// It is there, but what its writer says of it cannot be. It counts as captured and must be skipped.
    #[error("frame {sequence} is malformed")]
    Malformed {
        /// The frame asked for.
        sequence: u64,
        /// What is wrong with it.
        #[source]
        fault: MalformedFrame,
    },
}

/// What is wrong with a frame that a writer published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MalformedFrame {
    /// It claims more bytes than a slot has.
    #[error("it claims {bytes} bytes where a slot has {limit}")]
    Length {
        /// Bytes claimed.
        bytes: u32,
        /// Bytes of a slot.
        limit: u32,
    },
    /// It names a pixel format, or a kind of time, that does not exist.
    #[error("it names an unknown pixel format or kind of time")]
    Code,
    /// Its description does not fit its bytes.
    #[error(transparent)]
    Description(FrameFault),
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use proptest::prelude::*;

    use super::*;
    use crate::format::PixelFormat;
    use crate::frame::TimestampSource;
    use crate::ring::{RingWriter, create};

    const GEOMETRY: RingGeometry = RingGeometry { slots: 2, slot_bytes: 200 };
    const IMAGE: Capture = Capture {
        captured_ns: 0,
        timestamp_source: TimestampSource::Arrival,
        format: PixelFormat::Rgb24,
        width: 8,
        height: 8,
        stride: 24,
        region: None,
        item: 0,
    };

    /// A ring with one frame, its reader, and the memory as the writer's process could write it.
    fn ring() -> (File, RingReader) {
        let memory = create(GEOMETRY, 0).unwrap();
        let reader = RingReader::map(&memory).unwrap();
        RingWriter::map(&memory).unwrap().publish(&IMAGE, &[5; 192]).unwrap();
        (File::from(memory), reader)
    }

    fn scribble(memory: &File, offset: usize, word: u32) {
        memory.write_all_at(&word.to_ne_bytes(), offset as u64).unwrap();
    }

    #[test]
    fn a_frame_whose_description_lies_is_refused() {
        let description = SlotLayout::of(&GEOMETRY, 0).description();
        for (word, value) in [(0, 201), (0, u32::MAX), (0, 191), (0, 0), (3, 5), (4, 6), (5, 9), (7, 23), (8, 1)] {
            let (memory, reader) = ring();
            let mut bytes = Vec::new();
            reader.read_into(0, &mut bytes).unwrap();
            scribble(&memory, description + 4 * word, value);
            let outcome = reader.read_into(0, &mut bytes);
            assert!(matches!(outcome, Err(ReadError::Malformed { sequence: 0, .. })), "{word} {value}: {outcome:?}");
            assert!(bytes.is_empty() && bytes.capacity() <= 400, "{word} {value}");
        }
    }

    #[test]
    fn a_frame_that_is_being_written_is_not_read() {
        let (memory, reader) = ring();
        scribble(&memory, SlotLayout::of(&GEOMETRY, 0).begun(), 3);
        assert_eq!(reader.read_into(0, &mut Vec::new()), Err(ReadError::Overwritten { sequence: 0 }));
    }

    #[test]
    fn a_geometry_that_changes_under_a_reader_changes_nothing_for_it() {
        let (memory, reader) = ring();
        scribble(&memory, layout::SLOTS_AT, u32::MAX);
        scribble(&memory, layout::SLOT_BYTES_AT, u32::MAX);
        assert_eq!(reader.geometry(), GEOMETRY);
        assert_eq!(reader.read_into(0, &mut Vec::new()).unwrap().bytes_used, 192);
    }

    #[test]
    fn a_head_that_lies_finds_no_frame() {
        let (memory, reader) = ring();
        scribble(&memory, layout::PUBLISHED_AT, u32::MAX);
        let head = reader.head().unwrap();
        assert_eq!(reader.wait_newer(Some(0), Duration::ZERO), Wait::Frame(head));
        let outcome = reader.read_into(head, &mut Vec::new());
        assert_eq!(outcome, Err(ReadError::Overwritten { sequence: head }));
    }

    proptest! {
        #[test]
        fn a_writer_that_scribbles_anywhere_cannot_hurt_a_reader(
            words in prop::collection::vec((0_usize..288, prop_oneof![0_u32..10, any::<u32>()]), 0..40),
            sequences in prop::collection::vec(prop_oneof![0_u64..5, any::<u64>()], 1..5),
        ) {
            let (memory, reader) = ring();
            for (word, value) in words {
                scribble(&memory, (4 * word) % (layout::ring_bytes(&GEOMETRY) as usize), value);
            }
            let mut bytes = Vec::new();
            for sequence in sequences.into_iter().chain(reader.head()) {
                match reader.read_into(sequence, &mut bytes) {
                    Ok(meta) => prop_assert_eq!(meta.bytes_used as usize, bytes.len()),
                    Err(_) => prop_assert!(bytes.is_empty()),
                }
                prop_assert!(bytes.capacity() <= 400);
            }
            reader.wait_newer(reader.head(), Duration::ZERO);
            prop_assert!(reader.oldest() <= reader.head());
        }
    }
}

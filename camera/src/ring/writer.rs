//! The writer's side of a ring: it publishes frames, one after the other, and never waits for a reader.

use std::sync::atomic::{Ordering, fence};

use rustix::fd::AsFd;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::header::Header;
use super::layout::{self, SlotLayout};
use super::mapping::{Mapping, ReadWrite};
use super::memory::RingError;
use super::slot;
use crate::frame::{Capture, FrameFault};
use crate::shared::FrameBytes;

/// How many frames a ring takes at most: at 30 a second they last for four and a half years.
const MOST_FRAMES: u32 = u32::MAX - 1;

/// The one writer of a ring.
#[derive(Debug)]
pub struct RingWriter {
    memory: Mapping<ReadWrite>,
    header: Header,
    /// How many frames were published. Kept here as well: the shared word is for others.
    published: u32,
    ended: bool,
}

impl RingWriter {
    /// Maps a ring for writing. A ring takes one writer in its life, so that a reader never sees two at once.
    ///
    /// # Errors
    /// [`RingError::Map`] with `EPERM` for a sealed ring, [`RingError::SecondWriter`] for one that had a writer, and
    /// [`RingError::NotSealed`] or [`RingError::Header`] for what is no ring.
    pub fn map(ring: impl AsFd) -> Result<Self, RingError> {
        let memory = Mapping::<ReadWrite>::new(ring)?;
        let header = Header::read(&memory).map_err(RingError::Header)?;
        if memory.swap(layout::CLAIMED_AT, 1) != 0 {
            return Err(RingError::SecondWriter);
        }
        Ok(Self { memory, header, published: 0, ended: false })
    }

    /// The most bytes that a frame may have.
    #[must_use]
    pub fn slot_bytes(&self) -> u32 {
        self.header.geometry.slot_bytes
    }

    /// Publishes a frame over the oldest one, wakes the readers that wait, and returns the frame's number.
    ///
    /// # Errors
    /// [`PublishError`]; nothing was published then, and the ring is as it was.
    pub fn publish<'a>(&mut self, capture: &Capture, bytes: impl Into<FrameBytes<'a>>) -> Result<u64, PublishError> {
        let bytes = bytes.into();
        let bytes_used = self.admit(capture, bytes.len())?;
        let ordinal = self.published;
        let slot = SlotLayout::of(&self.header.geometry, ordinal);
        // A sequence lock, the writer's half: whoever reads any of the stores below the fence is bound to see `begun`
        // as well (fence to fence), and whoever sees the frame as published sees them all.
        self.memory.store(slot.begun(), ordinal + 1);
        fence(Ordering::Release);
        let words = slot::encode(capture, bytes_used);
        for (at, word) in (slot.description()..).step_by(4).zip(words) {
            self.memory.store(at, word);
        }
        match bytes {
            FrameBytes::Own(bytes) => self.memory.copy_in(slot.payload(), bytes),
            FrameBytes::Shared(bytes) => self.memory.copy_across(slot.payload(), bytes),
        }
        self.published = ordinal + 1;
        self.memory.publish(layout::PUBLISHED_AT, self.published);
        self.signal();
        Ok(self.header.first_sequence + u64::from(ordinal))
    }

    /// Tells the readers that no frame will follow, and why. What was published can still be read.
    pub fn close(mut self, reason: EndReason) {
        self.end(reason);
    }

    fn admit(&self, capture: &Capture, bytes: usize) -> Result<u32, PublishError> {
        let limit = self.slot_bytes();
        let length = u32::try_from(bytes).ok().filter(|&length| length <= limit);
        let length = length.ok_or(PublishError::TooLarge { bytes, limit })?;
        capture.check(bytes).map_err(PublishError::Frame)?;
        if self.published >= MOST_FRAMES {
            return Err(PublishError::Exhausted { frames: MOST_FRAMES });
        }
        Ok(length)
    }

    fn end(&mut self, reason: EndReason) {
        if !self.ended {
            self.ended = true;
            self.memory.publish(layout::END_AT, reason.code());
            self.signal();
        }
    }

    /// Counts the signal up, after everything stored so far, and wakes who waits on it.
    fn signal(&self) {
        let signal = self.memory.load(layout::SIGNAL_AT).wrapping_add(1);
        self.memory.publish(layout::SIGNAL_AT, signal);
        self.memory.wake_all(layout::SIGNAL_AT);
    }
}

/// A writer that goes without closing tells the readers so; one that is killed cannot.
impl Drop for RingWriter {
    fn drop(&mut self) {
        self.end(EndReason::Abandoned);
    }
}

/// Why no frame will follow in a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The source has delivered everything it had.
    SourceEnded,
    /// The source failed.
    SourceFailed,
    /// The writer was asked to stop.
    Stopped,
    /// The ring took as many frames as a ring can; the next ones need a new ring.
    Exhausted,
    /// The writer went without a word.
    Abandoned,
    /// The writer gave a reason that this program does not know.
    Unknown,
}

impl EndReason {
    const ALL: [Self; 6] =
        [Self::SourceEnded, Self::SourceFailed, Self::Stopped, Self::Exhausted, Self::Abandoned, Self::Unknown];

    /// The number that stands for the reason in shared memory; 0 stands for "not ended".
    const fn code(self) -> u32 {
        self as u32 + 1
    }

    /// The reason that a number from shared memory stands for; `None` while the ring has not ended.
    pub(super) fn from_code(code: u32) -> Option<Self> {
        let known = Self::ALL.into_iter().find(|reason| reason.code() == code);
        (code != 0).then(|| known.unwrap_or(Self::Unknown))
    }
}

/// A frame was not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// It has more bytes than a slot.
    #[error("cannot publish a frame of {bytes} bytes: the ring's slots have {limit}")]
    TooLarge {
        /// Bytes of the frame.
        bytes: usize,
        /// Bytes of a slot.
        limit: u32,
    },
    /// Its description does not fit its bytes.
    #[error("cannot publish a frame that does not fit its description")]
    Frame(#[source] FrameFault),
    /// The ring took as many frames as a ring can: close it with [`EndReason::Exhausted`] and go on in a new one.
    #[error("cannot publish more than {frames} frames into one ring")]
    Exhausted {
        /// How many frames were published.
        frames: u32,
    },
}

impl PublishError {
    /// Whether a later frame may be published although this one was not.
    #[must_use]
    pub fn concerns_this_frame_only(&self) -> bool {
        matches!(self, Self::TooLarge { .. } | Self::Frame(_))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::format::PixelFormat;
    use crate::frame::{FrameMeta, TimestampSource};
    use crate::ring::{ReadError, RingGeometry, RingReader, Wait, create};

    const JPEG: Capture = Capture {
        captured_ns: 7,
        timestamp_source: TimestampSource::Arrival,
        format: PixelFormat::Jpeg,
        width: 0,
        height: 0,
        stride: 0,
        region: None,
        item: 9,
    };

    fn ring(slots: u32, slot_bytes: u32, first: u64) -> (RingWriter, RingReader) {
        let ring = create(RingGeometry { slots, slot_bytes }, first).unwrap();
        (RingWriter::map(&ring).unwrap(), RingReader::map(&ring).unwrap())
    }

    #[test]
    fn frames_of_every_length_come_out_as_they_went_in() {
        let (mut writer, reader) = ring(2, 100, 40);
        let mut read = vec![1; 200];
        for length in 1..=100_u8 {
            let bytes: Vec<u8> = (0..length).map(|byte| byte ^ length).collect();
            let sequence = writer.publish(&JPEG, &bytes).unwrap();
            assert_eq!(sequence, 39 + u64::from(length));
            let meta = reader.read_into(sequence, &mut read).unwrap();
            assert_eq!(meta, FrameMeta::new(sequence, &JPEG, length.into()));
            assert_eq!(read, bytes);
        }
    }

    #[test]
    fn a_ring_keeps_as_many_frames_as_it_has_slots() {
        let (mut writer, reader) = ring(4, 10, 100);
        for _ in 0..10 {
            writer.publish(&JPEG, b"frame").unwrap();
        }
        assert_eq!((reader.first(), reader.oldest(), reader.head()), (100, Some(106), Some(109)));
        let mut bytes = Vec::new();
        for sequence in [0, 99, 100, 105] {
            assert_eq!(reader.read_into(sequence, &mut bytes), Err(ReadError::Overwritten { sequence }));
        }
        for sequence in 106..110 {
            assert_eq!(reader.read_into(sequence, &mut bytes).unwrap().sequence, sequence);
        }
        for sequence in [110, u64::MAX] {
            assert_eq!(reader.read_into(sequence, &mut bytes), Err(ReadError::NotYet { sequence }));
            assert!(bytes.is_empty(), "no bytes of another frame are left in the buffer");
        }
    }

    #[test]
    fn what_cannot_be_published_leaves_the_ring_as_it_was() {
        let (mut writer, reader) = ring(2, 10, 0);
        assert_eq!(writer.publish(&JPEG, &[0; 11]), Err(PublishError::TooLarge { bytes: 11, limit: 10 }));
        assert_eq!(writer.publish(&JPEG, &[]), Err(PublishError::Frame(FrameFault::Empty)));
        let image = Capture { format: PixelFormat::Gray8, width: 4, height: 4, stride: 4, ..JPEG };
        let refused = writer.publish(&image, &[0; 10]).unwrap_err();
        assert!(refused.concerns_this_frame_only(), "{refused:?}");
        assert_eq!(reader.head(), None);
        writer.published = MOST_FRAMES;
        let refused = writer.publish(&JPEG, &[0; 10]).unwrap_err();
        assert_eq!(refused, PublishError::Exhausted { frames: MOST_FRAMES });
        assert!(!refused.concerns_this_frame_only());
    }

    #[test]
    fn the_last_frame_that_a_ring_takes_can_be_read() {
        let (mut writer, reader) = ring(3, 10, super::super::header::MOST_SEQUENCE);
        writer.published = MOST_FRAMES - 1;
        let sequence = writer.publish(&JPEG, b"last").unwrap();
        assert_eq!(reader.head(), Some(sequence));
        let mut bytes = Vec::new();
        assert_eq!(reader.read_into(sequence, &mut bytes).unwrap().sequence, sequence);
        assert_eq!(bytes, b"last");
    }

    #[test]
    fn the_end_comes_after_the_last_frame() {
        let (mut writer, reader) = ring(2, 10, 5);
        writer.publish(&JPEG, b"last").unwrap();
        writer.close(EndReason::SourceEnded);
        assert_eq!(reader.wait_newer(None, Duration::ZERO), Wait::Frame(5));
        assert_eq!(reader.wait_newer(Some(5), Duration::MAX), Wait::Closed(EndReason::SourceEnded));
        assert_eq!(reader.end(), Some(EndReason::SourceEnded));
    }

    #[test]
    fn a_writer_that_is_dropped_says_that_it_was() {
        let (writer, reader) = ring(2, 10, 0);
        assert_eq!(reader.wait_newer(None, Duration::from_millis(1)), Wait::TimedOut);
        drop(writer);
        assert_eq!(reader.wait_newer(None, Duration::MAX), Wait::Closed(EndReason::Abandoned));
    }

    #[test]
    fn every_reason_is_found_again_by_its_code() {
        for reason in EndReason::ALL {
            assert_eq!(EndReason::from_code(reason.code()), Some(reason));
        }
        assert_eq!(EndReason::from_code(0), None);
        assert_eq!(EndReason::from_code(u32::MAX), Some(EndReason::Unknown));
    }
}

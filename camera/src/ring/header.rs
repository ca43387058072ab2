//! The words that a ring begins with: written once, and checked by everybody who maps the ring, whoever gave it.

use thiserror::Error;

use super::geometry::{GeometryFault, RingGeometry};
use super::layout;
use super::mapping::{Access, Mapping, ReadWrite};

/// The highest first sequence of a ring: leaves room for a ring's frames, of which there are at most 2³².
pub(super) const MOST_SEQUENCE: u64 = u64::MAX >> 1;

/// What the header says. Taken once: the writer could change the memory later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Size of the ring, checked.
    pub(super) geometry: RingGeometry,
    /// The number of the ring's first frame.
    pub(super) first_sequence: u64,
}

impl Header {
    /// Writes the header into fresh memory.
    pub(super) fn write(&self, memory: &Mapping<ReadWrite>) {
        memory.store(layout::MAGIC_AT[0], layout::MAGIC[0]);
        memory.store(layout::MAGIC_AT[1], layout::MAGIC[1]);
        memory.store(layout::VERSION_AT, layout::VERSION);
        memory.store(layout::SLOTS_AT, self.geometry.slots);
        memory.store(layout::SLOT_BYTES_AT, self.geometry.slot_bytes);
        let [low, high] = halves(self.first_sequence);
        memory.store(layout::FIRST_SEQUENCE_AT, low);
        memory.store(layout::FIRST_SEQUENCE_AT + 4, high);
    }

    /// Reads the header and checks all of it against the limits and the length of the memory.
    pub(super) fn read<A: Access>(memory: &Mapping<A>) -> Result<Self, HeaderFault> {
        let length = memory.bytes() as u64;
        if memory.bytes() < layout::HEADER_BYTES {
            return Err(HeaderFault::Length { length, expected: layout::HEADER_BYTES as u64 });
        }
        if layout::MAGIC_AT.map(|at| memory.load(at)) != layout::MAGIC {
            return Err(HeaderFault::Magic);
        }
        let version = memory.load(layout::VERSION_AT);
        if version != layout::VERSION {
            return Err(HeaderFault::Version { version, known: layout::VERSION });
        }
        let geometry =
            RingGeometry { slots: memory.load(layout::SLOTS_AT), slot_bytes: memory.load(layout::SLOT_BYTES_AT) };
        geometry.check().map_err(HeaderFault::Geometry)?;
        let expected = layout::ring_bytes(&geometry);
        if length != expected {
            return Err(HeaderFault::Length { length, expected });
        }
        let [low, high] = [layout::FIRST_SEQUENCE_AT, layout::FIRST_SEQUENCE_AT + 4].map(|at| memory.load(at));
        let first_sequence = whole([low, high]);
        if first_sequence > MOST_SEQUENCE {
            return Err(HeaderFault::FirstSequence { first_sequence });
        }
        Ok(Self { geometry, first_sequence })
    }
}

/// The low and the high half of a number.
pub(super) const fn halves(number: u64) -> [u32; 2] {
    [number as u32, (number >> 32) as u32]
}

/// The number whose low and high half are given.
pub(super) const fn whole([low, high]: [u32; 2]) -> u64 {
    (high as u64) << 32 | low as u64
}

/// Memory that is no ring, or none that this program can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HeaderFault {
    /// It does not begin with a ring's first words.
    #[error("the memory does not begin as a ring does")]
    Magic,
    /// It was made by another version of Margay.
    #[error("the ring has layout version {version}, this program knows {known}")]
    Version {
        /// The version found.
        version: u32,
        /// The version known here.
        known: u32,
    },
    /// Its geometry is outside the limits.
    #[error("the ring's header gives an impossible size")]
    Geometry(#[source] GeometryFault),
    /// Its length is not what its geometry takes.
    #[error("the memory has {length} bytes where the ring takes {expected}")]
    Length {
        /// Bytes of the memory.
        length: u64,
        /// Bytes that the ring takes.
        expected: u64,
    },
    /// Its first sequence leaves no room for frames.
    #[error("the ring's first sequence {first_sequence} is too high")]
    FirstSequence {
        /// The number found.
        first_sequence: u64,
    },
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use proptest::prelude::*;
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

    use super::*;
    use crate::ring::{RingError, RingReader, RingWriter, create};

    /// Memory of `length` bytes that begins with `words`, as a hostile process could make it.
    fn memory(words: &[u32], length: u64) -> File {
        let memory = memfd_create("hostile", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        let memory = File::from(memory);
        memory.set_len(length).unwrap();
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let bytes = &bytes[..bytes.len().min(length.try_into().unwrap())];
        memory.write_all_at(bytes, 0).unwrap();
        fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW).unwrap();
        memory
    }

    fn check(words: &[u32], length: u64, expected: HeaderFault) {
        let memory = memory(words, length);
        let fault = |outcome: Result<(), RingError>| match outcome {
            Err(RingError::Header(fault)) => fault,
            other => panic!("{other:?}"),
        };
        assert_eq!(fault(RingReader::map(&memory).map(drop)), expected);
        assert_eq!(fault(RingWriter::map(&memory).map(drop)), expected);
    }

    #[test]
    fn hostile_headers_are_refused_by_reader_and_writer() {
        let [one, two] = layout::MAGIC;
        let length = layout::ring_bytes(&RingGeometry { slots: 2, slot_bytes: 100 });
        let header = |slots, slot_bytes| [one, two, layout::VERSION, slots, slot_bytes, 0, 0];
        check(&[two, one], length, HeaderFault::Magic);
        check(&[], length, HeaderFault::Magic);
        check(&[one, two, 7], length, HeaderFault::Version { version: 7, known: layout::VERSION });
        check(&header(2, 100), length - 1, HeaderFault::Length { length: length - 1, expected: length });
        check(&header(3, 100), length, HeaderFault::Length { length, expected: length + 256 });
        let smallest = layout::HEADER_BYTES as u64;
        check(&header(2, 100), smallest - 1, HeaderFault::Length { length: smallest - 1, expected: smallest });
        check(&header(2, 100), 0, HeaderFault::Length { length: 0, expected: smallest });
        for (slots, slot_bytes) in [(0, 100), (1, 100), (u32::MAX, 100), (2, 0), (2, u32::MAX), (1024, 256 << 20)] {
            let fault = RingGeometry { slots, slot_bytes }.check().unwrap_err();
            check(&header(slots, slot_bytes), length, HeaderFault::Geometry(fault));
        }
        let first_sequence = u64::MAX;
        check(
            &[one, two, layout::VERSION, 2, 100, u32::MAX, u32::MAX],
            length,
            HeaderFault::FirstSequence { first_sequence },
        );
    }

    proptest! {
        #[test]
        fn whatever_the_header_says_a_ring_that_is_accepted_is_as_long_as_it_says(
            slots in prop_oneof![0_u32..6, any::<u32>()],
            slot_bytes in prop_oneof![0_u32..300, any::<u32>()],
            first in any::<[u32; 2]>(),
            length in prop_oneof![0_u64..3000, (3_u64..25).prop_map(|lines| 128 * lines)],
        ) {
            let words = [layout::MAGIC[0], layout::MAGIC[1], layout::VERSION, slots, slot_bytes, first[0], first[1]];
            let geometry = RingGeometry { slots, slot_bytes };
            let valid = geometry.check().is_ok() && layout::ring_bytes(&geometry) == length && first[1] < 1 << 31;
            prop_assert_eq!(RingReader::map(memory(&words, length)).is_ok(), valid);
        }
    }

    #[test]
    fn the_geometry_and_the_first_sequence_reach_the_reader() {
        let geometry = RingGeometry { slots: 3, slot_bytes: 1000 };
        let ring = create(geometry, 0x1_2345_6789).unwrap();
        let reader = RingReader::map(&ring).unwrap();
        assert_eq!((reader.geometry(), reader.first()), (geometry, 0x1_2345_6789));
        assert_eq!((reader.head(), reader.oldest(), reader.end()), (None, None, None));
    }
}

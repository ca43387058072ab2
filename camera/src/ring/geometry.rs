//! How many frames a ring holds and how large they may be, within limits that hold for every ring.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::layout;

/// The size of a ring. Memory is only taken for the parts of slots that were once written, so generous slots cost
/// nothing as long as the frames are small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RingGeometry {
    /// How many frames the ring holds: [`RingGeometry::SLOTS`].
    pub slots: u32,
    /// The bytes that a frame may have: [`RingGeometry::SLOT_BYTES`].
    pub slot_bytes: u32,
}

impl RingGeometry {
    /// Least and most slots. Two, because in one the reader would always meet the writer.
    pub const SLOTS: (u32, u32) = (2, 1024);
    /// Least and most bytes of a slot.
    pub const SLOT_BYTES: (u32, u32) = (1, 256 << 20);
    /// The most bytes a whole ring may have, so that it can be mapped on a 32-bit machine.
    pub const MOST_BYTES: u64 = 1 << 30;

    /// Checks the geometry against the limits.
    ///
    /// # Errors
    /// [`GeometryFault`], with the number and its limits.
    pub fn check(&self) -> Result<(), GeometryFault> {
        let Self { slots, slot_bytes } = *self;
        let within = |value: u32, (least, most): (u32, u32)| (least..=most).contains(&value);
        if !within(slots, Self::SLOTS) {
            let (least, most) = Self::SLOTS;
            return Err(GeometryFault::Slots { slots, least, most });
        }
        if !within(slot_bytes, Self::SLOT_BYTES) {
            let (least, most) = Self::SLOT_BYTES;
            return Err(GeometryFault::SlotBytes { slot_bytes, least, most });
        }
        match layout::ring_bytes(self) {
            bytes if bytes > Self::MOST_BYTES => Err(GeometryFault::Total { bytes, most: Self::MOST_BYTES }),
            _ => Ok(()),
        }
    }
}

/// A ring of that size is not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GeometryFault {
    /// Too few or too many slots.
    #[error("a ring has {least} to {most} slots, not {slots}")]
    Slots {
        /// Slots asked for.
        slots: u32,
        /// The fewest allowed.
        least: u32,
        /// The most allowed.
        most: u32,
    },
    /// Slots too small or too large.
    #[error("a slot has {least} to {most} bytes, not {slot_bytes}")]
    SlotBytes {
        /// Bytes asked for.
        slot_bytes: u32,
        /// The fewest allowed.
        least: u32,
        /// The most allowed.
        most: u32,
    },
    /// All of it together is too much.
    #[error("the ring would take {bytes} bytes of address space, the limit is {most}")]
    Total {
        /// Bytes that it would take.
        bytes: u64,
        /// The most allowed.
        most: u64,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_outside_the_limits_are_refused() {
        let check = |slots, slot_bytes| RingGeometry { slots, slot_bytes }.check();
        assert_eq!(check(2, 1), Ok(()));
        assert_eq!(check(8, 4 << 20), Ok(()));
        assert!(matches!(check(1, 1), Err(GeometryFault::Slots { slots: 1, least: 2, most: 1024 })));
        assert!(matches!(check(1025, 1), Err(GeometryFault::Slots { .. })));
        assert!(matches!(check(2, 0), Err(GeometryFault::SlotBytes { .. })));
        assert!(matches!(check(2, (256 << 20) + 1), Err(GeometryFault::SlotBytes { .. })));
        assert!(matches!(check(1024, 2 << 20), Err(GeometryFault::Total { .. })));
    }

    proptest! {
        #[test]
        fn every_slot_of_an_accepted_ring_lies_inside_it_apart_from_the_others(
            geometry in (2_u32..=1024).prop_flat_map(|slots| {
                (1..(1_u32 << 30) / slots - 300).prop_map(move |slot_bytes| RingGeometry { slots, slot_bytes })
            }),
        ) {
            prop_assume!(geometry.check().is_ok());
            let bytes = layout::ring_bytes(&geometry);
            prop_assert!(bytes <= RingGeometry::MOST_BYTES);
            let slots: Vec<_> = (0..geometry.slots).map(|ordinal| layout::SlotLayout::of(&geometry, ordinal)).collect();
            for pair in slots.windows(2) {
                prop_assert!(pair[0].payload() + geometry.slot_bytes as usize <= pair[1].start());
            }
            prop_assert!(slots[0].start() >= layout::HEADER_BYTES);
            prop_assert!((slots[slots.len() - 1].payload() + geometry.slot_bytes as usize) as u64 <= bytes);
            prop_assert_eq!(layout::SlotLayout::of(&geometry, geometry.slots), slots[0]);
        }
    }
}

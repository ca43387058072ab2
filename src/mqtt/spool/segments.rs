//! The segments on the disk: what each still holds, which may be deleted, and which is to be emptied.

use std::collections::BTreeMap;

use super::journal::Place;

/// More segments than these are merged, however small they are.
const MAX_SEGMENTS: usize = 64;

/// What a segment holds.
#[derive(Debug, Default, Clone, Copy)]
struct Usage {
    bytes: u64,
    live: u64,
    live_bytes: u64,
}

/// Every segment by its number, which is its age.
#[derive(Debug)]
pub(super) struct Segments {
    segment_bytes: u64,
    all: BTreeMap<u64, Usage>,
    active: Option<u64>,
}

impl Segments {
    /// Segments of these lengths, in which nothing is known to be needed yet.
    pub(super) fn new(segment_bytes: u64, lengths: &BTreeMap<u64, u64>) -> Self {
        let usage = |(number, bytes): (&u64, &u64)| (*number, Usage { bytes: *bytes, ..Usage::default() });
        Self { segment_bytes, all: lengths.iter().map(usage).collect(), active: None }
    }

    /// Segment `number` is the active one, and has `length` bytes.
    pub(super) fn write(&mut self, number: u64, length: u64) {
        self.active = Some(number);
        self.all.entry(number).or_default().bytes = length;
    }

    /// Nothing more is written to the active segment.
    pub(super) fn leave_active(&mut self) {
        self.active = None;
    }

    /// The message at `place` is needed.
    pub(super) fn keep(&mut self, place: Place) {
        let usage = self.all.entry(place.segment).or_default();
        usage.live += 1;
        usage.live_bytes += u64::from(place.length);
    }

    /// The message at `place` is needed no longer.
    pub(super) fn release(&mut self, place: Place) {
        if let Some(usage) = self.all.get_mut(&place.segment) {
            usage.live -= 1;
            usage.live_bytes -= u64::from(place.length);
        }
    }

    /// Segments that are deleted.
    pub(super) fn forget(&mut self, gone: &[u64]) {
        for number in gone {
            self.all.remove(number);
        }
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        self.all.contains_key(&number)
    }

    /// Every segment, oldest first.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.all.keys().copied()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.all.values().map(|usage| usage.bytes).sum()
    }

    /// The segments that may be deleted, from the oldest on.
    pub(super) fn unneeded(&self) -> Vec<u64> {
        let others = self.all.iter().filter(|(number, _)| Some(**number) != self.active);
        others.take_while(|(_, usage)| usage.live == 0).map(|(number, _)| *number).collect()
    }

    /// The oldest segment in which something is needed, where the disk holds much that is not.
    pub(super) fn to_be_emptied(&self) -> Option<u64> {
        let live: u64 = self.all.values().map(|usage| usage.live_bytes).sum();
        let crowded = self.bytes() > 2 * live + 2 * self.segment_bytes || self.all.len() > MAX_SEGMENTS;
        let oldest = self.all.iter().find(|(_, usage)| usage.live > 0).map(|(number, _)| *number)?;
        (crowded && Some(oldest) != self.active).then_some(oldest)
    }
}

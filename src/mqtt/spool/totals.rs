//! The part of the ledger that outlasts a restart, and what can become of a message.

use crate::mqtt::counters::Dropped;

/// What became of a message that is in the spool no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    /// The broker acknowledged it.
    Delivered,
    /// The spool was full.
    SpoolFull,
    /// The broker refuses its topic.
    TopicRefused,
    /// The disk was full, or took nothing.
    DiskUnavailable,
    /// Its record could not be read.
    Damaged,
    /// Somebody cleared the spool.
    Cleared,
}

impl Fate {
    const ALL: [Self; 6] =
        [Self::Delivered, Self::SpoolFull, Self::TopicRefused, Self::DiskUnavailable, Self::Damaged, Self::Cleared];

    /// Its number in records; once given, a number keeps its meaning.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Delivered => 0,
            Self::SpoolFull => 1,
            Self::TopicRefused => 2,
            Self::DiskUnavailable => 3,
            Self::Damaged => 4,
            Self::Cleared => 5,
        }
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|fate| fate.code() == code)
    }
}

/// What was ever accepted, and what became of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// The last id given.
    pub(super) last_id: u64,
    /// Messages accepted.
    pub(super) accepted: u64,
    /// Messages delivered.
    pub(super) delivered: u64,
    /// Messages given up.
    pub(super) dropped: Dropped,
}

/// How many numbers a ledger has on disk.
const NUMBERS: usize = 8;

impl Totals {
    /// One message more has met this fate.
    pub(super) fn count(&mut self, fate: Fate) {
        let counter = match fate {
            Fate::Delivered => &mut self.delivered,
            Fate::SpoolFull => &mut self.dropped.spool_full,
            Fate::TopicRefused => &mut self.dropped.topic_refused,
            Fate::DiskUnavailable => &mut self.dropped.disk_unavailable,
            Fate::Damaged => &mut self.dropped.damaged,
            Fate::Cleared => &mut self.dropped.cleared,
        };
        *counter = counter.saturating_add(1);
    }

    pub(super) fn numbers(&self) -> [u64; NUMBERS] {
        let dropped = &self.dropped;
        [
            self.last_id,
            self.accepted,
            self.delivered,
            dropped.spool_full,
            dropped.topic_refused,
            dropped.disk_unavailable,
            dropped.damaged,
            dropped.cleared,
        ]
    }

    pub(super) fn from_numbers(numbers: &[u64]) -> Option<Self> {
        let [last_id, accepted, delivered, spool_full, topic_refused, disk_unavailable, damaged, cleared] =
            *<&[u64; NUMBERS]>::try_from(numbers).ok()?;
        let dropped = Dropped { spool_full, topic_refused, disk_unavailable, damaged, cleared };
        Some(Self { last_id, accepted, delivered, dropped })
    }

    /// Makes the sum right for a spool in which `live` messages were found: what is missing was damaged, and what is
    /// there although it counted as delivered will be delivered again.
    pub(super) fn balance(&mut self, live: u64) {
        let accounted = self.delivered.saturating_add(self.dropped.total()).saturating_add(live);
        match self.accepted.checked_sub(accounted) {
            Some(missing) => self.dropped.damaged = self.dropped.damaged.saturating_add(missing),
            None => {
                self.delivered = self.delivered.saturating_sub(accounted - self.accepted);
                self.accepted = self.delivered.saturating_add(self.dropped.total()).saturating_add(live);
            }
        }
    }
}

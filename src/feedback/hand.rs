//! The requests that are worked on, of which a connector takes only so many at a time.

use std::collections::BTreeSet;

use super::Feedback;

/// The requests that are worked on: received, and not through their first attempt to be uploaded.
#[derive(Debug, Default)]
pub(super) struct Hand {
    arriving: usize,
    pub(super) fresh: BTreeSet<u64>,
    /// S3 is out of reach: samples wait from the start.
    pub(super) outage: bool,
}

/// A request that is being taken; dropped, its place is free.
#[derive(Debug)]
pub(super) struct Arriving(Feedback);

impl Drop for Arriving {
    fn drop(&mut self) {
        self.0.hand().arriving -= 1;
    }
}

impl Feedback {
    /// A place among the requests that are worked on, if there is one.
    pub(super) fn begin(&self, limit: u16) -> Option<Arriving> {
        let mut hand = self.hand();
        if hand.arriving + hand.fresh.len() >= usize::from(limit) {
            return None;
        }
        hand.arriving += 1;
        Some(Arriving(self.clone()))
    }
}

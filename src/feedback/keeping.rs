//! Samples onto the disk, within what messages leave of the spool's limit: the oldest make room.

use super::hand::Arriving;
use super::messages::Reason;
use super::sample::Sample;
use super::{CONNECTOR, Feedback};

/// How much of the spool's limit is in use, and the limit, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// What messages take.
    pub used: u64,
    /// What messages and samples may take together.
    pub limit: u64,
}

/// Tells the [`Budget`] now.
pub type BudgetOf = Box<dyn Fn() -> Budget + Send + Sync>;

/// Why a sample is not on the disk.
enum NotKept {
    NoRoom(Reason),
    Disk(Reason),
}

impl Feedback {
    /// Puts the sample on the disk, in the place of older ones where there is no other.
    pub(super) fn keep(&self, sample: &Sample, content: &[u8], arriving: Arriving) {
        let outcome = self.put(sample, content);
        match outcome {
            Ok(number) => {
                let mut hand = self.hand();
                if !hand.outage {
                    hand.fresh.insert(number);
                }
                drop(hand);
                drop(arriving);
                self.0.arrived.notify_one();
            }
            Err(NotKept::NoRoom(reason)) => {
                self.0.counts.dropped.count();
                self.tell_failure(sample, &reason);
            }
            Err(NotKept::Disk(reason)) => {
                self.0.counts.failed.count();
                self.tell_failure(sample, &reason);
            }
        }
    }

    fn put(&self, sample: &Sample, content: &[u8]) -> Result<u64, NotKept> {
        let room = self.room();
        loop {
            {
                let mut shelf = self.shelf();
                let shelf = shelf.as_mut().map_err(|why| NotKept::Disk(disk(why)))?;
                if shelf.has_room(sample, room) {
                    return shelf.put(sample, content).map_err(|error| NotKept::Disk(disk(&error.to_string())));
                }
            }
            if sample.bytes > room || !self.give_up_oldest() {
                let message = format!(
                    "the sample has {} bytes, and messages leave {room} bytes of the spool's limit for samples \
                     (GG_CONFIG_MAX_SIZE_BYTES)",
                    sample.bytes
                );
                return Err(NotKept::NoRoom(Reason { error: "NoRoom".to_owned(), message }));
            }
        }
    }

    /// What messages leave for samples.
    fn room(&self) -> u64 {
        let Budget { used, limit } = (self.0.budget)();
        limit.saturating_sub(used)
    }

    /// Gives up samples, the oldest first, until the others fit what messages leave.
    pub(super) fn make_room(&self) {
        let is_over = || self.shelf().as_ref().is_ok_and(|shelf| shelf.bytes() > self.room());
        while is_over() && self.give_up_oldest() {}
    }

    /// Gives up the oldest sample that is not being uploaded; false where there is none.
    fn give_up_oldest(&self) -> bool {
        let given_up = {
            let mut shelf = self.shelf();
            let Ok(shelf) = shelf.as_mut() else { return false };
            let Some(number) = shelf.expendable() else { return false };
            let sample = shelf.read(number);
            if let Err(error) = shelf.remove(number) {
                tracing::warn!(connector = CONNECTOR, number, %error, "a sample that was given up stays on the disk");
            }
            self.hand().fresh.remove(&number);
            // Before anybody can see that it waits no more.
            self.0.counts.dropped.count();
            sample
        };
        if let Ok(sample) = given_up {
            let message = "the sample made room for messages or newer samples: the spool's limit \
                           (GG_CONFIG_MAX_SIZE_BYTES) is for both";
            self.tell_failure(&sample, &Reason { error: "NoRoom".to_owned(), message: message.to_owned() });
        }
        true
    }
}

fn disk(error: &str) -> Reason {
    Reason { error: "OSError".to_owned(), message: format!("the sample could not be kept on the disk: {error}") }
}

//! The ledger of a camera's frames: every frame that was captured is inferred, or dropped for one reason of a closed
//! list. It is kept by the core from its workers' accounts, and an account that does not follow on the last one is
//! refused, so that the sum cannot be right by accident.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::message::{Account, Outcome};

/// Why a captured frame was not classified. The list is closed: a frame that fits none of these is a bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// A newer frame had arrived when the worker was free: the newest wins.
    Superseded,
    /// The ring's slot was reused before the worker had copied it.
    Overwritten,
    /// No inference worker was ready.
    NoWorker,
    /// The frame's bytes could not be decoded.
    Undecodable,
    /// The engine failed on the frame.
    InferenceFailed,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [Self; 5] =
        [Self::Superseded, Self::Overwritten, Self::NoWorker, Self::Undecodable, Self::InferenceFailed];

    /// The reason as JSON and metrics name it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Superseded => "superseded",
            Self::Overwritten => "overwritten",
            Self::NoWorker => "no_worker",
            Self::Undecodable => "undecodable",
            Self::InferenceFailed => "inference_failed",
        }
    }

    /// The reason as the status tells it to people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Superseded => "superseded",
            Self::Overwritten => "overwritten",
            Self::NoWorker => "without a worker",
            Self::Undecodable => "undecodable",
            Self::InferenceFailed => "failed in the engine",
        }
    }
}

/// What became of the frames of one camera since the core started.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// The number of the first frame that is not accounted for; equally, how many are.
    next: u64,
    /// Frames classified.
    inferred: u64,
    /// Frames dropped, by reason.
    dropped: BTreeMap<DropReason, u64>,
}

/// An account that cannot be entered.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an account of frames {from} to {through} does not follow on the ledger, whose next frame is {next}")]
pub struct LedgerError {
    /// The account's first frame.
    pub from: u64,
    /// The account's last frame.
    pub through: u64,
    /// The frame that was due.
    pub next: u64,
}

impl Ledger {
    /// The number of the first frame not yet accounted for.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Frames classified.
    pub fn inferred(&self) -> u64 {
        self.inferred
    }

    /// Frames dropped for `reason`.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped.get(&reason).copied().unwrap_or(0)
    }

    /// The reasons for which frames were dropped, with their number.
    pub fn drops(&self) -> impl Iterator<Item = (DropReason, u64)> {
        self.dropped.iter().map(|(reason, count)| (*reason, *count))
    }

    /// Enters a worker's account.
    ///
    /// # Errors
    /// The account does not start at [`Ledger::next`], or ends before it starts.
    pub fn enter(&mut self, account: &Account) -> Result<(), LedgerError> {
        let Account { from, through, ref outcome } = *account;
        if from != self.next || through < from || through == u64::MAX {
            return Err(LedgerError { from, through, next: self.next });
        }
        self.drop_frames(DropReason::Superseded, through - from);
        match outcome {
            Outcome::Inferred(_) => self.inferred += 1,
            Outcome::Overwritten => self.drop_frames(DropReason::Overwritten, 1),
            Outcome::Undecodable { .. } => self.drop_frames(DropReason::Undecodable, 1),
            Outcome::InferenceFailed { .. } => self.drop_frames(DropReason::InferenceFailed, 1),
        }
        self.next = through + 1;
        Ok(())
    }

    /// Enters the frames before `frame` that nobody has accounted for: they went by while no worker was ready.
    pub fn nobody_served_before(&mut self, frame: u64) {
        let missed = frame.saturating_sub(self.next);
        self.drop_frames(DropReason::NoWorker, missed);
        self.next += missed;
    }

    /// Whether the columns add up to the frames accounted for.
    pub fn adds_up(&self) -> bool {
        self.inferred + self.dropped.values().sum::<u64>() == self.next
    }

    fn drop_frames(&mut self, reason: DropReason, frames: u64) {
        if frames > 0 {
            *self.dropped.entry(reason).or_default() += frames;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(from: u64, through: u64) -> Account {
        Account { from, through, outcome: Outcome::Overwritten }
    }

    #[test]
    fn every_frame_of_an_account_has_one_column() {
        let mut ledger = Ledger::default();
        ledger.enter(&account(0, 4)).unwrap();
        ledger.nobody_served_before(7);
        assert_eq!(ledger.dropped(DropReason::Superseded), 4);
        assert_eq!(ledger.dropped(DropReason::Overwritten), 1);
        assert_eq!(ledger.dropped(DropReason::NoWorker), 2);
        assert_eq!(ledger.next(), 7);
        assert!(ledger.adds_up());
    }

    #[test]
    fn an_account_with_a_gap_an_overlap_or_no_frames_is_refused() {
        let mut ledger = Ledger::default();
        ledger.enter(&account(0, 4)).unwrap();
        for refused in [account(6, 6), account(4, 5), account(5, 4), account(5, u64::MAX)] {
            let before = ledger.clone();
            assert!(ledger.enter(&refused).is_err(), "{refused:?}");
            assert_eq!(ledger.next(), before.next());
        }
    }

    #[test]
    fn frames_already_accounted_for_are_not_counted_as_missed() {
        let mut ledger = Ledger::default();
        ledger.enter(&account(0, 4)).unwrap();
        ledger.nobody_served_before(3);
        assert_eq!(ledger.dropped(DropReason::NoWorker), 0);
        assert_eq!(ledger.next(), 5);
    }
}

//! What a policy decided, counted: every classified frame once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::payload::Reason;

/// Why a classified frame was not published. The list is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Withheld {
    /// The label that holds was said before (`on-change`).
    Unchanged,
    /// The interval is not over (`on-interval`).
    NotDue,
    /// Nobody asked (`on-trigger`).
    NotAsked,
    /// The lists leave none of its labels.
    Label,
    /// No label holds that is sure enough (`PublishThreshold`, `Smoothing`).
    Unsure,
    /// The last message is too recent (`MaxMessagesPerSecond`).
    Rate,
}

impl Withheld {
    /// Every reason.
    pub const ALL: [Self; 6] = [Self::Unchanged, Self::NotDue, Self::NotAsked, Self::Label, Self::Unsure, Self::Rate];

    /// The reason as JSON and metrics name it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::NotDue => "not_due",
            Self::NotAsked => "not_asked",
            Self::Label => "label",
            Self::Unsure => "unsure",
            Self::Rate => "rate",
        }
    }

    /// The reason as the status tells it to people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::NotDue => "within the interval",
            Self::NotAsked => "not asked for",
            Self::Label => "without an allowed label",
            Self::Unsure => "not sure enough",
            Self::Rate => "over the rate",
        }
    }
}

/// What a policy decided since it began. `inferred = published + Σ withheld`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyCounters {
    /// Frames published.
    pub published: u64,
    /// The same by what for.
    pub by_reason: BTreeMap<Reason, u64>,
    /// Frames not published, by why.
    pub withheld: BTreeMap<Withheld, u64>,
    /// Requests taken.
    pub triggers_taken: u64,
    /// Requests answered: each by a message of its own.
    pub triggers_answered: u64,
    /// Requests that wait for a frame.
    pub triggers_waiting: u64,
    /// Requests not taken: too many waited, or they were not understood.
    pub triggers_refused: u64,
}

impl PolicyCounters {
    /// Frames decided on.
    pub fn decided(&self) -> u64 {
        self.published + self.withheld.values().sum::<u64>()
    }
}

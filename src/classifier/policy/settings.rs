//! What a policy is told, checked by the connector that reads it.

use std::time::Duration;

use super::labels::LabelRule;

/// Classes that the worker reports where more than those of a message matter: a class below it has less than 1/33.
const CLASSES_THAT_MATTER: usize = 32;

/// When a classified frame is due to be published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum When {
    /// Always.
    #[default]
    EveryFrame,
    /// When another label holds than the one said last, or when one holds again.
    OnChange,
    /// Once in this time.
    OnInterval(Duration),
    /// When somebody asks.
    OnTrigger,
}

/// How the labels of several frames make one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Smoothing {
    /// Each frame speaks for itself.
    #[default]
    None,
    /// The label that is first on most of the last frames, this many.
    Majority(usize),
    /// The label of the best average, in which a frame's weight falls by (n−1)/(n+1) with each that follows, for this n:
    /// the frames' centre of mass is that of the last n.
    Exponential(usize),
}

/// Everything that a policy goes by.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicySettings {
    /// When a frame is due.
    pub when: When,
    /// How many classes a message tells.
    pub top_k: usize,
    /// Which labels may be said.
    pub labels: LabelRule,
    /// How several frames make one label.
    pub smoothing: Smoothing,
    /// By how much another label must be better than the one that holds, and how far that one may fall below
    /// `publish_threshold` before it is given up; 0 to 1.
    pub hysteresis: f32,
    /// The least score of a label that is said; 0 to 1.
    pub publish_threshold: f32,
    /// The longest silence while frames come.
    pub heartbeat: Option<Duration>,
    /// The least time between the frames of two messages.
    pub least_gap: Option<Duration>,
}

impl PolicySettings {
    /// Every frame, with up to `top_k` classes.
    pub fn every_frame(top_k: usize) -> Self {
        Self {
            when: When::EveryFrame,
            top_k,
            labels: LabelRule::default(),
            smoothing: Smoothing::None,
            hysteresis: 0.0,
            publish_threshold: 0.0,
            heartbeat: None,
            least_gap: None,
        }
    }

    /// How many classes of a frame the policy wants to see.
    pub fn classes(&self) -> usize {
        let more =
            !self.labels.is_empty() || matches!(self.smoothing, Smoothing::Exponential(_)) || self.hysteresis > 0.0;
        if more { self.top_k.max(CLASSES_THAT_MATTER) } else { self.top_k }
    }

    /// Whether messages tell the stable label beside the frame's own classes.
    pub(super) fn tells_stable(&self) -> bool {
        self.smoothing != Smoothing::None || self.hysteresis > 0.0
    }
}

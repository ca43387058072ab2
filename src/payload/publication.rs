//! Why a frame is told of, and what holds over several: the words of a classifier's policy.

use serde::{Deserialize, Serialize};

/// What a message is published for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Every frame is.
    EveryFrame,
    /// Another label holds than was said last, or one holds again.
    Change,
    /// The interval is over.
    Interval,
    /// Somebody asked on the trigger topic.
    Trigger,
    /// Nothing else was said for the heartbeat's time.
    Heartbeat,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 5] = [Self::EveryFrame, Self::Change, Self::Interval, Self::Trigger, Self::Heartbeat];

    /// The reason as JSON and metrics name it.
    pub fn label(self) -> &'static str {
        match self {
            Self::EveryFrame => "every_frame",
            Self::Change => "change",
            Self::Interval => "interval",
            Self::Trigger => "trigger",
            Self::Heartbeat => "heartbeat",
        }
    }
}

/// Why this frame is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// What for.
    pub reason: Reason,
    /// Classified frames of this camera since the message before it that were not published.
    pub withheld: u64,
}

/// The label that holds over several frames.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stable {
    /// The label.
    pub label: String,
    /// Its index in the label file.
    pub class: u32,
    /// 0 to 1: its share of the last frames (majority), its average probability (exponential), or its probability in
    /// this frame.
    pub score: f32,
    /// Frames for which it has held, this one included.
    pub frames: u64,
}

/// The request that a message answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// As the request gave it.
    pub id: String,
}

//! Scores of labels over several frames: votes, or averages in which the past fades.

use std::collections::{BTreeMap, VecDeque};

use super::settings::Smoothing;
use crate::payload::Ranked;

/// Labels whose averages are kept; the least are forgotten.
const MOST_LABELS: usize = 256;

/// An average below it is forgotten: it is no probability that matters.
const LEAST_AVERAGE: f32 = 1e-4;

/// A label's score on the frames so far, 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Score {
    pub(super) class: u32,
    pub(super) score: f32,
}

/// The memory of past frames.
#[derive(Debug)]
pub(super) enum Smoother {
    /// Only the last frame.
    Latest(BTreeMap<String, Score>),
    /// The best label of each of the last frames; one that left none votes for none.
    Votes { frames: usize, votes: VecDeque<Option<(String, u32)>> },
    /// Averages, and the weight of a new frame.
    Averages { weight: f32, scores: BTreeMap<String, Score>, begun: bool },
}

impl Smoother {
    pub(super) fn new(smoothing: Smoothing) -> Self {
        match smoothing {
            Smoothing::None => Self::Latest(BTreeMap::new()),
            Smoothing::Majority(frames) => Self::Votes { frames: frames.max(1), votes: VecDeque::new() },
            #[allow(clippy::cast_precision_loss, reason = "at most a thousand frames")]
            Smoothing::Exponential(frames) => {
                Self::Averages { weight: 2.0 / (frames.max(1) as f32 + 1.0), scores: BTreeMap::new(), begun: false }
            }
        }
    }

    pub(super) fn forget(&mut self) {
        match self {
            Self::Latest(scores) => scores.clear(),
            Self::Votes { votes, .. } => votes.clear(),
            Self::Averages { scores, begun, .. } => {
                scores.clear();
                *begun = false;
            }
        }
    }

    /// Takes the classes of the next frame, most probable first.
    pub(super) fn see(&mut self, classes: &[Ranked]) {
        match self {
            Self::Latest(scores) => {
                let score = |class: &Ranked| Score { class: class.class, score: class.probability };
                *scores = classes.iter().rev().map(|class| (class.label.clone(), score(class))).collect();
            }
            Self::Votes { frames, votes } => {
                if votes.len() >= *frames {
                    votes.pop_front();
                }
                votes.push_back(classes.first().map(|class| (class.label.clone(), class.class)));
            }
            Self::Averages { weight, scores, begun } => {
                // The first frame is its own average: nothing was seen before it.
                let weight = if std::mem::replace(begun, true) { *weight } else { 1.0 };
                average(scores, classes, weight);
            }
        }
    }

    /// The scores of all labels now.
    pub(super) fn scores(&self) -> BTreeMap<String, Score> {
        match self {
            Self::Latest(scores) | Self::Averages { scores, .. } => scores.clone(),
            Self::Votes { frames, votes } => count(votes, *frames),
        }
    }
}

fn average(scores: &mut BTreeMap<String, Score>, classes: &[Ranked], weight: f32) {
    for score in scores.values_mut() {
        score.score *= 1.0 - weight;
    }
    for class in classes {
        let score = scores.entry(class.label.clone()).or_insert(Score { class: class.class, score: 0.0 });
        score.class = class.class;
        score.score += weight * class.probability;
    }
    scores.retain(|_, score| score.score >= LEAST_AVERAGE);
    while scores.len() > MOST_LABELS {
        let least = scores.iter().min_by(|(_, one), (_, other)| one.score.total_cmp(&other.score));
        let Some(least) = least.map(|(label, _)| label.clone()) else { return };
        scores.remove(&least);
    }
}

/// Each label's share of the votes so far.
#[allow(clippy::cast_precision_loss, reason = "at most a thousand frames")]
fn count(votes: &VecDeque<Option<(String, u32)>>, frames: usize) -> BTreeMap<String, Score> {
    let mut scores: BTreeMap<String, Score> = BTreeMap::new();
    let share = 1.0 / frames.min(votes.len()).max(1) as f32;
    for (label, class) in votes.iter().flatten() {
        let score = scores.entry(label.clone()).or_insert(Score { class: *class, score: 0.0 });
        score.class = *class;
        score.score += share;
    }
    scores
}

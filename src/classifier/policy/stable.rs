//! The label that holds: the best over several frames, given up only for one that is better by a margin.

use super::settings::PolicySettings;
use super::smoothing::Smoother;
use crate::payload::{Ranked, Stable};

/// Rounding of sums of shares and averages: what differs by less is equal.
const EQUAL: f32 = 1e-5;

/// The label that holds, and whether it is sure enough to be said.
#[derive(Debug)]
pub(super) struct Steady {
    smoother: Smoother,
    hysteresis: f32,
    least: f32,
    holding: Option<Stable>,
    sure: bool,
}

impl Steady {
    pub(super) fn new(settings: &PolicySettings) -> Self {
        Self {
            smoother: Smoother::new(settings.smoothing),
            hysteresis: settings.hysteresis,
            least: settings.publish_threshold,
            holding: None,
            sure: false,
        }
    }

    /// Another model's scores say nothing about the next frame; the label that holds goes on until another is better.
    pub(super) fn forget(&mut self) {
        self.smoother.forget();
    }

    /// Takes the classes of the next frame, most probable first.
    pub(super) fn see(&mut self, classes: &[Ranked]) {
        self.smoother.see(classes);
        let scores = self.smoother.scores();
        let better = |one: f32, other: f32| one > other + EQUAL;
        // Among equals the frame's own order decides, then the alphabet.
        let rank = |label: &str| classes.iter().position(|class| class.label == label).unwrap_or(usize::MAX);
        let best = scores.iter().reduce(|best, one| {
            let ahead = better(one.1.score, best.1.score);
            let level = !better(best.1.score, one.1.score) && rank(one.0) < rank(best.0);
            if ahead || level { one } else { best }
        });
        let Some((label, best)) = best else {
            (self.holding, self.sure) = (None, false);
            return;
        };
        let holding = self.holding.take();
        let kept = holding.filter(|held| {
            let score = scores.get(&held.label).map_or(0.0, |score| score.score);
            held.label == *label || !better(best.score, score + self.hysteresis)
        });
        let (label, frames) = kept.map_or((label.clone(), 0), |held| (held.label, held.frames));
        let score = scores.get(&label).map_or(0.0, |score| score.score);
        let class = scores.get(&label).map_or(best.class, |score| score.class);
        let margin = if frames > 0 && self.sure { self.hysteresis } else { 0.0 };
        self.sure = !better(self.least - margin, score);
        self.holding = Some(Stable { label, class, score: score.clamp(0.0, 1.0), frames: frames.saturating_add(1) });
    }

    /// The label that holds.
    pub(super) fn label(&self) -> Option<&str> {
        self.holding.as_ref().map(|stable| stable.label.as_str())
    }

    /// The same with its score and how long it has held.
    pub(super) fn stable(&self) -> Option<Stable> {
        self.holding.clone()
    }

    /// Whether a label holds and is sure enough to be said.
    pub(super) fn is_sure(&self) -> bool {
        self.sure && self.holding.is_some()
    }

    /// Whether `said` still holds surely.
    pub(super) fn holds(&self, said: Option<&str>) -> bool {
        self.is_sure() && said == self.label()
    }
}

//! How near the answers of a quantised model come to those of the float one.

use std::path::PathBuf;

use serde::Serialize;

/// The pictures with the largest differences that are told.
const TOLD: usize = 5;

/// What both models say of a picture.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answers {
    /// The picture.
    pub picture: PathBuf,
    /// The float model's first class, among all its outputs.
    pub float_class: usize,
    /// Its probability.
    pub float_probability: f32,
    /// The quantised model's first class.
    pub int8_class: usize,
    /// Its probability.
    pub int8_probability: f32,
    /// The largest difference of the probabilities of any class.
    pub difference: f32,
    /// The output of the class that the picture's folder is named after.
    pub truth: Option<usize>,
}

impl Answers {
    /// Compares the probabilities of all outputs; `offset` of them, the first ones, are never an answer.
    pub(super) fn of(picture: PathBuf, float: &[f32], int8: &[f32], offset: usize, truth: Option<usize>) -> Self {
        let first = |all: &[f32]| {
            let classes = offset..all.len();
            // Of equal ones the first, as everywhere.
            let best = classes.rev().max_by(|&a, &b| all[a].total_cmp(&all[b])).unwrap_or(offset);
            (best, all.get(best).copied().unwrap_or(0.0))
        };
        let ((float_class, float_probability), (int8_class, int8_probability)) = (first(float), first(int8));
        let difference = float.iter().zip(int8).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        Self { picture, float_class, float_probability, int8_class, int8_probability, difference, truth }
    }

    fn agree(&self) -> bool {
        self.float_class == self.int8_class
    }
}

/// Over all pictures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// How many there were.
    pub pictures: usize,
    /// On how many both name the same class first.
    pub agreeing: usize,
    /// The share of those.
    pub agreement: f64,
    /// The mean over the pictures of their largest differences.
    pub mean_difference: f64,
    /// The largest difference.
    pub max_difference: f32,
    /// Pictures whose folder is named after a label.
    pub labelled: usize,
    /// Of those, how many the float model names rightly.
    pub float_right: usize,
    /// And how many the quantised one does.
    pub int8_right: usize,
    /// Those with another class, or the largest differences, worst first.
    pub worst: Vec<Answers>,
}

impl Comparison {
    pub(super) fn of(mut answers: Vec<Answers>) -> Self {
        let pictures = answers.len();
        let agreeing = answers.iter().filter(|answer| answer.agree()).count();
        let sum: f64 = answers.iter().map(|answer| f64::from(answer.difference)).sum();
        let right =
            |class: fn(&Answers) -> usize| answers.iter().filter(|answer| answer.truth == Some(class(answer))).count();
        let (float_right, int8_right) = (right(|answer| answer.float_class), right(|answer| answer.int8_class));
        let labelled = answers.iter().filter(|answer| answer.truth.is_some()).count();
        let max_difference = answers.iter().map(|answer| answer.difference).fold(0.0, f32::max);
        answers.sort_by(|a, b| a.agree().cmp(&b.agree()).then(b.difference.total_cmp(&a.difference)));
        answers.truncate(TOLD);
        let share = |part: f64| if pictures == 0 { 0.0 } else { part / pictures as f64 };
        Self {
            pictures,
            agreeing,
            agreement: share(agreeing as f64),
            mean_difference: share(sum),
            max_difference,
            labelled,
            float_right,
            int8_right,
            worst: answers,
        }
    }

    /// Whether this is nearer to the float model than another comparison of the same pictures.
    pub(super) fn is_better_than(&self, other: &Self) -> bool {
        let more = self.agreeing.cmp(&other.agreeing);
        more.then(other.mean_difference.total_cmp(&self.mean_difference)).is_gt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(float: &[f32], int8: &[f32], truth: Option<usize>) -> Answers {
        Answers::of("a.jpg".into(), float, int8, 0, truth)
    }

    #[test]
    fn what_is_compared_is_counted_and_the_worst_come_first() {
        let comparison = Comparison::of(vec![
            answers(&[0.9, 0.1], &[0.8, 0.2], Some(0)),
            answers(&[0.6, 0.4], &[0.4, 0.6], Some(1)),
            answers(&[0.1, 0.9], &[0.1, 0.9], None),
        ]);
        assert_eq!((comparison.pictures, comparison.agreeing), (3, 2));
        assert_eq!((comparison.labelled, comparison.float_right, comparison.int8_right), (2, 1, 2));
        assert!((comparison.mean_difference - 0.1).abs() < 1e-6 && (comparison.max_difference - 0.2).abs() < 1e-6);
        assert_eq!(comparison.worst[0].int8_class, 1);
    }

    #[test]
    fn agreement_counts_before_nearness() {
        let near = Comparison::of(vec![answers(&[0.51, 0.49], &[0.49, 0.51], None)]);
        let far = Comparison::of(vec![answers(&[0.6, 0.4], &[0.9, 0.1], None)]);
        assert!(far.is_better_than(&near) && !near.is_better_than(&far) && !near.is_better_than(&near));
    }

    #[test]
    fn outputs_without_a_label_are_no_answer() {
        let found = Answers::of("a.jpg".into(), &[0.9, 0.04, 0.06], &[0.9, 0.06, 0.04], 1, None);
        assert_eq!((found.float_class, found.int8_class), (2, 1));
    }
}

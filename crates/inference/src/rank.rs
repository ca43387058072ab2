//! From the numbers an engine returned to ranked classes: dequantise, softmax, top k.

use crate::spec::output::{OutputKind, OutputSpec, Quantisation};

/// How far outside 0..1 a declared probability may lie: the rounding of a float softmax.
const PROBABILITY_SLACK: f32 = 1e-3;

/// A class and its probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranked {
    /// Index of the label.
    pub class: u32,
    /// 0 to 1.
    pub probability: f32,
}

/// Numbers that cannot be ranked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RankError {
    /// A number is not finite: the model diverged, or the input specification is wrong for it.
    #[error("the model returned {value} for output {index}: check input.scale, input.mean and input.std")]
    NotFinite {
        /// Index in the model's output.
        index: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// A declared probability is none.
    #[error("the model returned {value} for output {index}, which is no probability: set output.kind to \"logits\"")]
    NotAProbability {
        /// Index in the model's output.
        index: usize,
        /// The value, outside 0 to 1.
        value: f32,
    },
}

/// Turns raw outputs into probabilities, in place, as the specification says.
///
/// # Errors
/// [`RankError`] when a number is not finite, or is declared a probability and is none.
pub fn to_probabilities(spec: &OutputSpec, values: &mut [f32]) -> Result<(), RankError> {
    if let Some(quantisation) = spec.quantisation {
        dequantise(quantisation, values);
    }
    check_finite(values)?;
    match spec.kind {
        OutputKind::Logits => softmax(values),
        OutputKind::Probabilities => check_probabilities(values)?,
    }
    Ok(())
}

/// Replaces stored integers (held exactly in `f32`) by the real values they stand for.
pub fn dequantise(quantisation: Quantisation, values: &mut [f32]) {
    let zero = quantisation.zero_point as f32;
    for value in values {
        *value = (*value - zero) * quantisation.scale;
    }
}

/// Softmax in place. The largest value is subtracted first, so that no finite logits overflow.
pub fn softmax(values: &mut [f32]) {
    let largest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for value in values.iter_mut() {
        *value = (*value - largest).exp();
        sum += *value;
    }
    for value in values {
        *value /= sum;
    }
}

/// The `k` most probable classes, best first, equal probabilities by class index, without the first `offset` outputs.
/// `into` is cleared first, and keeps its capacity.
pub fn top_k(probabilities: &[f32], offset: usize, k: usize, into: &mut Vec<Ranked>) {
    into.clear();
    let labelled = probabilities.get(offset..).unwrap_or_default();
    let k = k.min(labelled.len());
    if k == 0 {
        return;
    }
    for (class, &probability) in (0u32..).zip(labelled) {
        if into.len() == k && into[k - 1].probability >= probability {
            continue;
        }
        let place = into.partition_point(|better| better.probability >= probability);
        into.truncate(k - 1);
        into.insert(place, Ranked { class, probability });
    }
}

fn check_finite(values: &[f32]) -> Result<(), RankError> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(RankError::NotFinite { index, value: values[index] }),
        None => Ok(()),
    }
}

fn check_probabilities(values: &[f32]) -> Result<(), RankError> {
    let allowed = -PROBABILITY_SLACK..=1.0 + PROBABILITY_SLACK;
    match values.iter().position(|value| !allowed.contains(value)) {
        Some(index) => Err(RankError::NotAProbability { index, value: values[index] }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranked(probabilities: &[f32], offset: usize, k: usize) -> Vec<Ranked> {
        let mut into = Vec::new();
        top_k(probabilities, offset, k, &mut into);
        into
    }

    fn classes(probabilities: &[f32], offset: usize, k: usize) -> Vec<u32> {
        ranked(probabilities, offset, k).iter().map(|ranked| ranked.class).collect()
    }

    #[test]
    fn equal_probabilities_rank_by_class_index() {
        assert_eq!(classes(&[0.1, 0.3, 0.3, 0.3], 0, 2), [1, 2]);
        assert_eq!(classes(&[0.25; 4], 0, 4), [0, 1, 2, 3]);
    }

    #[test]
    fn the_background_is_never_reported_and_classes_are_counted_after_it() {
        assert_eq!(classes(&[0.9, 0.02, 0.08], 1, 5), [1, 0]);
        assert_eq!(classes(&[0.9], 1, 5), Vec::<u32>::new());
    }

    #[test]
    fn a_byte_of_153_is_a_probability_of_about_0_6() {
        let mut values = [153.0, 0.0];
        to_probabilities(&OutputSpec::u8_probabilities(), &mut values).unwrap();
        assert_eq!(values, [153.0 / 256.0, 0.0]);
    }

    #[test]
    fn outputs_that_are_no_numbers_are_refused() {
        let error = to_probabilities(&OutputSpec::logits(), &mut [0.0, f32::NAN]).unwrap_err();
        assert!(matches!(error, RankError::NotFinite { index: 1, .. }));
        let error = to_probabilities(&OutputSpec::logits(), &mut [f32::INFINITY]).unwrap_err();
        assert!(matches!(error, RankError::NotFinite { index: 0, .. }));
    }

    #[test]
    fn logits_declared_as_probabilities_are_refused_with_the_remedy() {
        let spec = OutputSpec { kind: OutputKind::Probabilities, ..OutputSpec::logits() };
        let error = to_probabilities(&spec, &mut [0.5, 13.25]).unwrap_err();
        assert!(error.to_string().contains("output.kind"), "{error}");
    }

    proptest! {
        #[test]
        fn softmax_makes_a_distribution_and_keeps_the_order(
            logits in prop::collection::vec(-1e4f32..1e4, 1..300)
        ) {
            let mut probabilities = logits.clone();
            softmax(&mut probabilities);
            prop_assert!((probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-4);
            prop_assert!(probabilities.iter().all(|p| (0.0..=1.0).contains(p)));
            for (a, b) in logits.iter().zip(&probabilities).zip(logits.iter().zip(&probabilities).skip(1)) {
                prop_assert!((a.0 - b.0) * (a.1 - b.1) >= 0.0);
            }
        }

        #[test]
        fn top_k_is_the_head_of_a_stable_sort(
            probabilities in prop::collection::vec((0u8..20).prop_map(|n| f32::from(n) / 20.0), 0..200),
            offset in 0usize..3, k in 0usize..20,
        ) {
            let mut sorted: Vec<(usize, f32)> =
                probabilities.iter().copied().skip(offset).enumerate().collect();
            sorted.sort_by(|a, b| b.1.total_cmp(&a.1));
            let expected: Vec<u32> = sorted.iter().take(k).map(|(class, _)| *class as u32).collect();
            prop_assert_eq!(classes(&probabilities, offset, k), expected);
        }

        #[test]
        fn no_output_of_a_model_can_make_ranking_panic(
            bits in prop::collection::vec(any::<u32>(), 0..64), k in 0usize..80, offset in 0u32..20,
        ) {
            let mut values: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
            let spec = OutputSpec { index_offset: offset, ..OutputSpec::logits() };
            if to_probabilities(&spec, &mut values).is_ok() {
                prop_assert!(ranked(&values, offset as usize, k).len() <= k);
            }
        }
    }
}

//! Which samples are uploaded: the four strategies of the ML Feedback connector (B-33).
//!
//! Where the guide's words and its worked examples disagree, the examples hold: a confidence or a margin *at* the
//! threshold is used, and the entropy is the plain one in nats, not normalised.

use serde_json::Value;

/// How samples are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Strategy {
    /// `RANDOM_SAMPLING`: that share of all samples, whatever the prediction.
    Random {
        /// From 0 to 1.
        rate: f64,
    },
    /// `LEAST_CONFIDENCE`: the best probability is at most the threshold.
    LeastConfidence {
        /// From 0 to 1.
        threshold: f64,
    },
    /// `MARGIN`: the two best probabilities are at most so far apart.
    Margin {
        /// From 0 to 1.
        threshold: f64,
    },
    /// `ENTROPY`: the entropy is above the threshold.
    Entropy {
        /// In nats, at least 0.
        threshold: f64,
    },
}

/// A prediction from which a strategy can tell nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SamplingError {
    /// It is neither a list of numbers nor an object of numbers.
    #[error(
        "ModelPrediction is no list of numbers and no dictionary of numbers, and {strategy} decides by its probabilities"
    )]
    NotProbabilities {
        /// The strategy's name.
        strategy: &'static str,
    },
    /// It has too few.
    #[error("ModelPrediction has {actual} probabilities, and {strategy} needs at least {least}")]
    TooFew {
        /// The strategy's name.
        strategy: &'static str,
        /// How many it has.
        actual: usize,
        /// How many it takes.
        least: usize,
    },
}

impl Strategy {
    /// As the configuration names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Random { .. } => "RANDOM_SAMPLING",
            Self::LeastConfidence { .. } => "LEAST_CONFIDENCE",
            Self::Margin { .. } => "MARGIN",
            Self::Entropy { .. } => "ENTROPY",
        }
    }

    /// Whether the sample with this prediction is used; `draw` is a random number from 0 up to 1, without 1.
    ///
    /// # Errors
    /// [`SamplingError`]: the strategy rests on probabilities, and the prediction has none.
    pub fn uses(self, prediction: &Value, draw: f64) -> Result<bool, SamplingError> {
        match self {
            Self::Random { rate } => Ok(draw < rate),
            Self::LeastConfidence { threshold } => {
                let [best, _] = self.two_best(prediction, 1)?;
                Ok(best <= threshold)
            }
            Self::Margin { threshold } => {
                let [best, second] = self.two_best(prediction, 2)?;
                Ok(best - second <= threshold)
            }
            Self::Entropy { threshold } => Ok(entropy(&self.probabilities(prediction, 1)?) > threshold),
        }
    }

    fn two_best(self, prediction: &Value, least: usize) -> Result<[f64; 2], SamplingError> {
        let mut probabilities = self.probabilities(prediction, least)?;
        probabilities.sort_by(|a, b| b.total_cmp(a));
        Ok([probabilities[0], probabilities.get(1).copied().unwrap_or_default()])
    }

    /// The numbers of a list, or the values of an object. The guide allows both and says nothing of what a dictionary
    /// holds: probabilities by their class, here.
    fn probabilities(self, prediction: &Value, least: usize) -> Result<Vec<f64>, SamplingError> {
        let numbers: Option<Vec<f64>> = match prediction {
            Value::Array(numbers) => numbers.iter().map(Value::as_f64).collect(),
            Value::Object(classes) => classes.values().map(Value::as_f64).collect(),
            _ => None,
        };
        let numbers = numbers.ok_or(SamplingError::NotProbabilities { strategy: self.name() })?;
        if numbers.len() < least {
            return Err(SamplingError::TooFew { strategy: self.name(), actual: numbers.len(), least });
        }
        Ok(numbers)
    }
}

/// In nats. A probability of 0 adds nothing.
fn entropy(probabilities: &[f64]) -> f64 {
    probabilities.iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum()
}

#[cfg(test)]
mod tests {
    use proptest::proptest;
    use serde_json::json;

    use super::*;

    fn uses(strategy: Strategy, prediction: &Value) -> bool {
        strategy.uses(prediction, 0.5).expect("it has probabilities")
    }

    #[test]
    fn the_three_worked_examples_of_the_guide_v17() {
        assert!(uses(Strategy::LeastConfidence { threshold: 0.6 }, &json!([0.2, 0.2, 0.4, 0.2])));
        assert!(uses(Strategy::Margin { threshold: 0.02 }, &json!([0.3, 0.35, 0.34, 0.01])));
        let example = [0.5, 0.25, 0.25];
        assert!(uses(Strategy::Entropy { threshold: 0.75 }, &json!(example)));
        assert_eq!(format!("{:.5}", entropy(&example)), "1.03972");
    }

    #[test]
    fn at_the_threshold_confidence_and_margin_are_used_and_entropy_is_not_b_33() {
        assert!(uses(Strategy::LeastConfidence { threshold: 0.4 }, &json!([0.4, 0.6e-1])));
        assert!(!uses(Strategy::LeastConfidence { threshold: 0.399 }, &json!([0.1, 0.4])));
        assert!(uses(Strategy::Margin { threshold: 0.25 }, &json!([0.25, 0.5])));
        assert!(!uses(Strategy::Margin { threshold: 0.24 }, &json!([0.25, 0.5])));
        assert!(!uses(Strategy::Entropy { threshold: 0.0 }, &json!([1.0, 0.0])));
        // Normalised it would be 1; as it is, the guide's own example threshold of 2 makes sense for many classes only.
        assert!(!uses(Strategy::Entropy { threshold: 1.0 }, &json!([0.5, 0.5])));
        assert!(uses(Strategy::Entropy { threshold: 2.0 }, &json!(vec![0.1; 10])));
    }

    #[test]
    fn chance_takes_draws_below_the_rate_and_disregards_the_prediction() {
        let strategy = Strategy::Random { rate: 0.5 };
        assert_eq!(strategy.uses(&json!("anything"), 0.499), Ok(true));
        assert_eq!(strategy.uses(&json!([]), 0.5), Ok(false));
        assert_eq!(Strategy::Random { rate: 0.0 }.uses(&json!([1.0]), 0.0), Ok(false));
        assert_eq!(Strategy::Random { rate: 1.0 }.uses(&json!([1.0]), 0.999_999), Ok(true));
    }

    #[test]
    fn a_dictionary_gives_the_probabilities_of_its_classes() {
        let margin = Strategy::Margin { threshold: 0.1 };
        assert!(uses(margin, &json!({ "cat": 0.5, "dog": 0.45, "owl": 0.05 })));
        let refused = margin.uses(&json!({ "prediction": [[14, 0.9]] }), 0.0).unwrap_err();
        assert!(refused.to_string().contains("MARGIN decides by its probabilities"), "{refused}");
        let few = margin.uses(&json!([1.0]), 0.0).unwrap_err();
        assert_eq!(few.to_string(), "ModelPrediction has 1 probabilities, and MARGIN needs at least 2");
        assert!(Strategy::Entropy { threshold: 0.0 }.uses(&json!([]), 0.0).is_err());
    }

    proptest! {
        #[test]
        fn no_prediction_breaks_a_strategy(numbers in proptest::collection::vec(proptest::num::f64::ANY, 0..8), draw in 0.0..1.0f64) {
            for strategy in [Strategy::LeastConfidence { threshold: 0.5 }, Strategy::Margin { threshold: 0.5 }, Strategy::Entropy { threshold: 0.5 }] {
                let _ = strategy.uses(&json!(numbers), draw);
            }
        }
    }
}

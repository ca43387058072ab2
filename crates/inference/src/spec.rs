//! What a model expects and what it returns, as plain data that can be validated, stored and sent.
//!
//! A package's manifest is turned into a [`ModelSpec`] by the core; the inference worker receives it over IPC and
//! validates it again, because it did not see where it came from. Nothing here opens a file.

pub mod output;

use margay_frontend::InputSpec;
pub use margay_frontend::{SpecProblem, input};
use serde::{Deserialize, Serialize};

use output::OutputSpec;

/// The whole description of a classifier's tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// The single image input.
    pub input: InputSpec,
    /// The single vector of class scores.
    pub output: OutputSpec,
}

impl ModelSpec {
    /// Checks every rule and reports every breach, not just the first.
    ///
    /// # Errors
    /// [`SpecError`] with one [`SpecProblem`] for each rule that does not hold.
    pub fn validate(&self) -> Result<(), SpecError> {
        let mut problems = Vec::new();
        self.input.collect_problems(&mut problems);
        self.output.collect_problems(&mut problems);
        if problems.is_empty() { Ok(()) } else { Err(SpecError { problems }) }
    }
}

/// A specification that cannot be used, with everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the model's specification is not usable: {}", join(problems))]
pub struct SpecError {
    /// At least one problem, in the order of the fields.
    pub problems: Vec<SpecProblem>,
}

fn join(problems: &[SpecProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::input::ResizeRule;
    use super::output::Quantisation;
    use super::*;

    fn imagenet() -> ModelSpec {
        ModelSpec { input: InputSpec::imagenet(224), output: OutputSpec::logits() }
    }

    #[test]
    fn the_presets_are_valid() {
        imagenet().validate().unwrap();
        let quantised = ModelSpec { input: InputSpec::u8_nhwc(128), output: OutputSpec::u8_probabilities() };
        quantised.validate().unwrap();
    }

    #[test]
    fn every_broken_rule_is_reported_at_once() {
        let mut spec = imagenet();
        spec.input.width = 0;
        spec.input.std[1] = 0.0;
        spec.input.mean[2] = f32::NAN;
        spec.input.resize = ResizeRule::ShortSide { short_side: 100 };
        spec.output.quantisation = Some(Quantisation { scale: -1.0, zero_point: 0 });
        let error = spec.validate().unwrap_err();
        let fields: Vec<_> = error.problems.iter().map(|problem| problem.field).collect();
        assert_eq!(
            fields,
            ["input.width", "input.mean", "input.std", "input.resize.short_side", "output.quantisation.scale"]
        );
    }

    #[test]
    fn a_byte_tensor_takes_no_mean_and_no_scale() {
        let mut spec = ModelSpec { input: InputSpec::u8_nhwc(128), output: OutputSpec::u8_probabilities() };
        spec.input.mean = [0.5; 3];
        let error = spec.validate().unwrap_err();
        assert_eq!(error.problems.len(), 1, "{error}");
        assert_eq!(error.problems[0].field, "input.mean");
    }

    #[test]
    fn a_specification_survives_json() {
        let spec = imagenet();
        let text = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<ModelSpec>(&text).unwrap(), spec);
    }
}

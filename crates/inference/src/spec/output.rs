//! The score side of a specification: what the numbers mean and which class the first one belongs to.

use serde::{Deserialize, Serialize};

use super::SpecProblem;

/// Largest number of leading outputs that belong to no label.
pub const MAX_INDEX_OFFSET: u32 = 16;

/// What the model's numbers are, after dequantisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputKind {
    /// Unbounded scores: softmax turns them into probabilities.
    Logits,
    /// Probabilities already, each 0 to 1.
    Probabilities,
}

/// Affine quantisation of an integer output: `real = (stored − zero_point) × scale`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantisation {
    /// Real value of one step.
    pub scale: f32,
    /// Stored value that means zero.
    pub zero_point: i32,
}

/// What a model's output vector means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputSpec {
    /// Logits or probabilities.
    pub kind: OutputKind,
    /// Needed when the model returns integers, and refused when it returns floats.
    #[serde(default)]
    pub quantisation: Option<Quantisation>,
    /// Leading outputs that have no label, such as the background of 1001-class models. They take part in softmax,
    /// are never reported, and a reported class is the output's index less this offset.
    #[serde(default)]
    pub index_offset: u32,
}

impl OutputSpec {
    /// Float logits, one for each label.
    #[must_use]
    pub fn logits() -> Self {
        Self { kind: OutputKind::Logits, quantisation: None, index_offset: 0 }
    }

    /// Byte probabilities in steps of 1/256 after a background class, as quantised TensorFlow classifiers return them.
    #[must_use]
    pub fn u8_probabilities() -> Self {
        let quantisation = Some(Quantisation { scale: 1.0 / 256.0, zero_point: 0 });
        Self { kind: OutputKind::Probabilities, quantisation, index_offset: 1 }
    }

    pub(super) fn collect_problems(&self, problems: &mut Vec<SpecProblem>) {
        if let Some(quantisation) = self.quantisation {
            if !(quantisation.scale.is_finite() && quantisation.scale > 0.0) {
                let rule = "must be a finite number above 0";
                problems.push(SpecProblem::new("output.quantisation.scale", quantisation.scale, rule));
            }
            if !(-128..=255).contains(&quantisation.zero_point) {
                let rule = "must be -128 to 255, the values of a byte";
                problems.push(SpecProblem::new("output.quantisation.zero_point", quantisation.zero_point, rule));
            }
        }
        if self.index_offset > MAX_INDEX_OFFSET {
            let rule = format!("must be 0 to {MAX_INDEX_OFFSET}");
            problems.push(SpecProblem::new("output.index_offset", self.index_offset, rule));
        }
    }
}

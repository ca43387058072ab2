//! Golden samples: pictures that a package brings along, with the class the model must find on them.

use crate::pipeline::{ClassifyError, Pipeline, Prediction};
use margay_frontend::still::{Still, StillError};

/// A picture and what the model must say about it.
#[derive(Debug, Clone)]
pub struct GoldenSample {
    /// Name of the picture, for errors.
    pub name: String,
    /// Bytes of the JPEG, PNG or BMP file.
    pub picture: Vec<u8>,
    /// Class that must come first.
    pub class: u32,
    /// The least probability it must have, 0 to 1.
    pub minimum_probability: f32,
    /// The most it may have: 1, or less where the packer knows its probability to a tolerance.
    pub maximum_probability: f32,
}

/// A model that does not pass its own package's sample.
#[derive(Debug, thiserror::Error)]
pub enum GoldenError {
    /// The picture cannot be read.
    #[error("the golden sample {name} cannot be read")]
    Picture {
        /// The sample.
        name: String,
        /// Why.
        #[source]
        source: StillError,
    },
    /// The model cannot classify it.
    #[error("the golden sample {name} cannot be classified")]
    Classify {
        /// The sample.
        name: String,
        /// Why.
        #[source]
        source: ClassifyError,
    },
    /// The model has no class at all.
    #[error("the golden sample {name} got no prediction")]
    Nothing {
        /// The sample.
        name: String,
    },
    /// Another class came first, or the right one with another probability.
    #[error(
        "the golden sample {name} should be class {expected_class} with {minimum_probability} to {maximum_probability}, \
         but the model says {class} ({label}) with {probability}: check the [input] section and the order of the labels \
         against the model's training"
    )]
    Missed {
        /// The sample.
        name: String,
        /// Class that should have come first.
        expected_class: u32,
        /// Its least probability.
        minimum_probability: f32,
        /// Its greatest.
        maximum_probability: f32,
        /// Class that came first.
        class: u32,
        /// Its label.
        label: String,
        /// Its probability.
        probability: f32,
    },
}

/// Classifies a golden sample and returns the probability of its class.
///
/// # Errors
/// [`GoldenError`] when the picture cannot be read or classified, or the answer is not the expected one.
pub fn verify(pipeline: &mut Pipeline, sample: GoldenSample) -> Result<f32, GoldenError> {
    let GoldenSample { name, picture, class: expected_class, minimum_probability, maximum_probability } = sample;
    let still = match Still::from_bytes(picture) {
        Ok(still) => still,
        Err(source) => return Err(GoldenError::Picture { name, source }),
    };
    let found = match pipeline.classify(&still.frame(), 1) {
        Ok(classification) => classification.predictions.into_iter().next(),
        Err(source) => return Err(GoldenError::Classify { name, source }),
    };
    let Some(Prediction { label, class, probability }) = found else { return Err(GoldenError::Nothing { name }) };
    if class == expected_class && (minimum_probability..=maximum_probability).contains(&probability) {
        return Ok(probability);
    }
    let label = label.to_string();
    Err(GoldenError::Missed {
        name,
        expected_class,
        minimum_probability,
        maximum_probability,
        class,
        label,
        probability,
    })
}

//! Golden samples: labelled pictures that the packer trusts the model with, and how far it may be trusted.

use std::path::{Path, PathBuf};

use margay_inference::Labels;

use super::{PackError, Stage};
use crate::classifier::one_shot::OneShot;
use crate::package::{Golden, PackagePath};
use crate::units::Probability;

/// How far below the measured probability a device may stay: engines and JPEG decoders round differently.
const ALLOWANCE: f32 = 0.15;

/// A picture and the label that it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// A JPEG, PNG or BMP file.
    pub picture: PathBuf,
    /// The label, or the number of its class.
    pub label: String,
}

/// How a sample did when it was packed.
#[derive(Debug, Clone)]
pub struct Measured {
    /// The picture as the packer named it.
    pub picture: PathBuf,
    /// What the model says.
    pub label: String,
    /// How sure it is.
    pub probability: f32,
    /// What the package will ask of every device.
    pub golden: Golden,
}

/// A picture that cannot be a golden sample.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// The argument is not `PICTURE=LABEL`.
    #[error("{text:?} is no golden sample: write PICTURE=LABEL")]
    Syntax {
        /// What was written.
        text: String,
    },
    /// The label is none of the package's.
    #[error("{label:?}, the label of {}, is not in the label file{}", picture.display(), hint(near))]
    UnknownLabel {
        /// The picture.
        picture: PathBuf,
        /// What was written.
        label: String,
        /// Labels that hold those words.
        near: Vec<String>,
    },
    /// The model sees something else: it is fed wrongly, or the picture is a bad choice.
    #[error(
        "{} shows {expected:?}, but the model says {found:?} with {probability:.2}: check --preset, --mean, --std and \
         the order of the labels, or choose another picture",
        picture.display()
    )]
    Missed {
        /// The picture.
        picture: PathBuf,
        /// The packer's label.
        expected: String,
        /// The model's.
        found: String,
        /// How sure it is.
        probability: f32,
    },
}

fn hint(near: &[String]) -> String {
    match near {
        [] => ": write one of its lines, or the number of its class from 0".to_owned(),
        near => format!(": do you mean {}?", near.join(", or ")),
    }
}

impl std::str::FromStr for Sample {
    type Err = SampleError;

    fn from_str(text: &str) -> Result<Self, SampleError> {
        match text.rsplit_once('=') {
            Some((picture, label)) if !picture.is_empty() && !label.trim().is_empty() => {
                Ok(Self { picture: picture.into(), label: label.trim().to_owned() })
            }
            _ => Err(SampleError::Syntax { text: text.to_owned() }),
        }
    }
}

impl Sample {
    /// The class that is meant: a label, whole and in any case, or its number.
    pub(super) fn class(&self, labels: &Labels) -> Result<u32, SampleError> {
        let wanted = self.label.to_lowercase();
        let position = labels.iter().position(|label| label.to_lowercase() == wanted);
        let number = self.label.parse::<usize>().ok().filter(|&class| class < labels.count());
        match position.or(number) {
            Some(class) => Ok(u32::try_from(class).unwrap_or(u32::MAX)),
            None => Err(SampleError::UnknownLabel {
                picture: self.picture.clone(),
                label: self.label.clone(),
                near: labels
                    .iter()
                    .filter(|label| label.to_lowercase().contains(&wanted))
                    .take(3)
                    .map(|label| format!("{label:?}"))
                    .collect(),
            }),
        }
    }

    /// Where the picture lies in the package: its own name as far as that is plain, and a number that keeps it apart.
    pub(super) fn place(&self, number: usize) -> Result<PackagePath, PackError> {
        let name = self.picture.file_name().unwrap_or_default().to_string_lossy();
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
        let name: String = name.chars().map(plain).rev().take(64).collect::<Vec<_>>().into_iter().rev().collect();
        super::place(&format!("golden/{number:02}-{name}"))
    }
}

/// Classifies a sample, and decides what every device will have to reach.
pub(super) async fn measure(
    worker: &OneShot,
    sample: &Sample,
    class: u32,
    image: PackagePath,
    stage: &Stage,
) -> Result<Measured, PackError> {
    let staged: &Path = &stage.path().join(image.as_str());
    let result = worker.classify(staged, 1).await?;
    let Some(best) = result.predictions.first() else {
        return Err(missed(sample, "nothing", 0.0).into());
    };
    if best.class != class {
        return Err(missed(sample, &best.label, best.probability).into());
    }
    let least = least_probability(best.probability);
    let golden = Golden { label: Some(best.label.clone()), ..Golden::at_least(image, class, least) };
    Ok(Measured { picture: sample.picture.clone(), label: best.label.clone(), probability: best.probability, golden })
}

fn missed(sample: &Sample, found: &str, probability: f32) -> SampleError {
    let (picture, expected) = (sample.picture.clone(), sample.label.clone());
    SampleError::Missed { picture, expected, found: found.to_owned(), probability }
}

/// The measured probability less an allowance, but no less than half of it, in hundredths.
pub(super) fn least_probability(measured: f32) -> Probability {
    let least = (measured - ALLOWANCE).max(measured / 2.0);
    Probability::new((least * 100.0).floor() / 100.0).unwrap_or(Probability::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(text: &str) -> Sample {
        text.parse().unwrap()
    }

    #[test]
    fn a_sample_is_written_as_picture_and_label() {
        let Sample { picture, label } = sample("a=b/photo.jpg=tench, Tinca tinca");
        assert_eq!((picture.to_str(), label.as_str()), (Some("a=b/photo.jpg"), "tench, Tinca tinca"));
        for text in ["photo.jpg", "=stop", "photo.jpg= "] {
            text.parse::<Sample>().unwrap_err();
        }
    }

    #[test]
    fn a_label_is_found_whole_in_any_case_or_by_number() {
        let labels = Labels::new(["stop", "give way", "speed limit 30", "speed limit 50"]).unwrap();
        assert_eq!(sample("a.jpg=Give Way").class(&labels).unwrap(), 1);
        assert_eq!(sample("a.jpg=2").class(&labels).unwrap(), 2);
        let error = sample("a.jpg=speed").class(&labels).unwrap_err().to_string();
        assert!(error.contains("do you mean \"speed limit 30\", or \"speed limit 50\"?"), "{error}");
        let error = sample("a.jpg=4").class(&labels).unwrap_err().to_string();
        assert!(error.contains("write one of its lines"), "{error}");
    }

    #[test]
    fn a_device_may_be_a_little_less_sure_than_the_packer() {
        assert_eq!(least_probability(0.99).get(), 0.84);
        assert_eq!(least_probability(0.2).get(), 0.1);
        assert_eq!(least_probability(0.0).get(), 0.0);
    }

    #[test]
    fn a_picture_of_any_name_has_a_place_of_its_own() {
        let place = sample("/photos/été à deux.JPG=stop").place(7).unwrap();
        assert_eq!(place.as_str(), "golden/07--t----deux.JPG");
    }
}

//! `[[golden]]`: pictures with the class that the model must find on them.

use super::{MAX_GOLDEN, PackagePath};
use crate::document::{Field, Object, Unknown};
use crate::units::Probability;

/// The least probability asked of a golden sample that names none.
pub const DEFAULT_MINIMUM_PROBABILITY: f32 = 0.5;

/// A golden sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Golden {
    /// The JPEG, PNG or BMP file.
    pub image: PackagePath,
    /// The class that must come first, an index into the labels.
    pub class: u32,
    /// The label that the class must have; finds labels in another order than the model's.
    pub label: Option<String>,
    /// The least probability it must have.
    pub minimum_probability: Probability,
    /// The most it may have: 1, unless the packer gave a tolerance.
    pub maximum_probability: Probability,
}

impl Golden {
    /// A sample that must reach a probability.
    #[must_use]
    pub fn at_least(image: PackagePath, class: u32, minimum_probability: Probability) -> Self {
        Self { image, class, label: None, minimum_probability, maximum_probability: Probability::ONE }
    }
}

/// Reads the list; samples with a mistake are noted and left out.
pub(super) fn read(manifest: &mut Object<'_>) -> Vec<Golden> {
    let field = manifest.field("golden");
    let samples = field.objects();
    if samples.len() > MAX_GOLDEN {
        field.refuse(format!("has at most {MAX_GOLDEN} samples"), "keep those that tell most");
        return Vec::new();
    }
    samples.into_iter().filter_map(read_sample).collect()
}

fn read_sample(mut sample: Object<'_>) -> Option<Golden> {
    let image = sample.field("image").required("name a JPEG, PNG or BMP file of the package").parsed();
    let class = sample.field("class").required("give the index of its class").integer(0..=u64::from(u32::MAX), "");
    let label = sample.field("label").text().map(str::to_owned);
    let expected = read_expected(&mut sample);
    sample.finish(Unknown::Refuse);
    let (minimum_probability, maximum_probability) = expected?;
    Some(Golden { image: image?, class: u32::try_from(class?).ok()?, label, minimum_probability, maximum_probability })
}

/// The least and the greatest probability: `minimum_probability`, or `probability` give or take `tolerance`.
fn read_expected(sample: &mut Object<'_>) -> Option<(Probability, Probability)> {
    let (least, middle, tolerance) =
        (sample.field("minimum_probability"), sample.field("probability"), sample.field("tolerance"));
    let read = |field: &Field<'_>| probability(field.number(), |rule| field.refuse(rule, "write such a number"));
    match (least.is_present(), middle.is_present() || tolerance.is_present()) {
        (false, false) => Some((Probability::new(DEFAULT_MINIMUM_PROBABILITY).ok()?, Probability::ONE)),
        (true, false) => Some((read(&least)?, Probability::ONE)),
        (false, true) => {
            let middle = read(&middle.required("give the probability that was measured"))?.get();
            let tolerance = read(&tolerance.required("say how far a device may be from it, such as 0.05"))?.get();
            let bound = |value: f32| Probability::new(value.clamp(0.0, 1.0)).ok();
            Some((bound(middle - tolerance)?, bound(middle + tolerance)?))
        }
        (true, true) => {
            least.refuse("stands alone, or probability and tolerance do", "leave one of the two out");
            None
        }
    }
}

/// A number that is to be a probability; `refuse` is told the rule where it is none.
pub(super) fn probability(number: Option<f64>, refuse: impl FnOnce(String)) -> Option<Probability> {
    Probability::new(number? as f32).map_err(|error| refuse(error.to_string())).ok()
}

//! `[[golden]]`: pictures with the class that the model must find on them.

use super::{MAX_GOLDEN, PackagePath};
use crate::document::{Object, Unknown};
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
    /// The least probability it must have.
    pub minimum_probability: Probability,
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
    let field = sample.field("minimum_probability");
    let minimum_probability = if field.is_present() {
        probability(field.number(), |rule| field.refuse(rule, "write such a number"))
    } else {
        Probability::new(DEFAULT_MINIMUM_PROBABILITY).ok()
    };
    sample.finish(Unknown::Refuse);
    Some(Golden { image: image?, class: u32::try_from(class?).ok()?, minimum_probability: minimum_probability? })
}

/// A number that is to be a probability; `refuse` is told the rule where it is none.
pub(super) fn probability(number: Option<f64>, refuse: impl FnOnce(String)) -> Option<Probability> {
    Probability::new(number? as f32).map_err(|error| refuse(error.to_string())).ok()
}

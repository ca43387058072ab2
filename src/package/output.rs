//! `[output]`: what the model's numbers mean.

use margay_inference::spec::output::MAX_INDEX_OFFSET;
use margay_inference::{OutputKind, OutputSpec, Quantisation};

use crate::document::{Field, Object, Unknown};

const KINDS: &[(&str, OutputKind)] = &[("logits", OutputKind::Logits), ("probabilities", OutputKind::Probabilities)];

/// Reads the section. What it returns has the right types; its values are checked with the whole specification.
pub(super) fn read(manifest: &mut Object<'_>) -> Option<OutputSpec> {
    let mut section = manifest.field("output").required("add [output] with kind").object()?;
    let kind = section.field("kind").required("write \"logits\" or \"probabilities\"").choice(KINDS);
    let quantisation = section.field("quantisation");
    let quantised = quantisation.is_present();
    let quantisation = read_quantisation(&quantisation);
    let offset = section.field("index_offset");
    let index_offset = if offset.is_present() { offset.integer(0..=u64::from(MAX_INDEX_OFFSET), "") } else { Some(0) };
    section.finish(Unknown::Refuse);
    if quantised && quantisation.is_none() {
        return None;
    }
    Some(OutputSpec { kind: kind?, quantisation, index_offset: u32::try_from(index_offset?).ok()? })
}

fn read_quantisation(field: &Field<'_>) -> Option<Quantisation> {
    let mut section = field.object()?;
    let scale = section.field("scale").required("give the real value of one step").number();
    let zero_point = section.field("zero_point");
    let stored = if zero_point.is_present() { whole(&zero_point) } else { Some(0) };
    section.finish(Unknown::Refuse);
    Some(Quantisation { scale: scale? as f32, zero_point: stored? })
}

/// A whole number, which may be negative.
fn whole(field: &Field<'_>) -> Option<i32> {
    let number = field.number()?;
    if number.fract() == 0.0 && number.abs() <= f64::from(i32::MAX) {
        return Some(number as i32);
    }
    field.refuse("is a whole number from -128 to 255", "write the stored value that means zero");
    None
}

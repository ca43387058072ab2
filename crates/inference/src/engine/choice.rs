//! Which engine runs a model, and how that is settled where nobody says.

use std::path::Path;

use margay_frontend::decode::Decoder;
use margay_frontend::frame::FrameView;
use margay_frontend::prepare::Preparer;

use super::compiled::CompiledEngine;
use super::tract::TractEngine;
use super::{Engine, LoadError};
use crate::spec::ModelSpec;

/// The engine that a package asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EngineChoice {
    /// The compiled engine where it covers the model and computes what tract computes; tract otherwise.
    #[default]
    Auto,
    /// tract.
    Tract,
    /// The compiled engine; a model that it does not cover is refused. tract is not loaded at all.
    Compiled,
}

/// Largest difference from tract's scores that counts as agreement, as a part of the largest score. Sums are taken in
/// another order, which shows in the sixth digit or the seventh.
const AGREEMENT: f32 = 1e-4;

/// Sides of the picture that both engines are tried on; it is brought to the model's size like any other.
const PROBE: usize = 64;

/// Loads a model on the engine of choice.
///
/// # Errors
/// [`LoadError`], as for the engine's own `load`; [`LoadError::Declined`] where the compiled engine was asked for and
/// does not cover the model.
pub(crate) fn load(path: &Path, spec: &ModelSpec, choice: EngineChoice) -> Result<Box<dyn Engine>, LoadError> {
    match choice {
        EngineChoice::Tract => Ok(Box::new(TractEngine::load(path, spec)?)),
        EngineChoice::Compiled => match CompiledEngine::load(path, spec)? {
            Ok(engine) => Ok(Box::new(engine)),
            Err(declined) => Err(LoadError::Declined { path: path.to_owned(), declined }),
        },
        EngineChoice::Auto => {
            let mut tract = TractEngine::load(path, spec)?;
            if let Ok(mut compiled) = CompiledEngine::load(path, spec)?
                && agree(&mut tract, &mut compiled, spec)
            {
                return Ok(Box::new(compiled));
            }
            Ok(Box::new(tract))
        }
    }
}

/// Whether two engines give the same scores for a picture of coloured noise.
fn agree(reference: &mut dyn Engine, engine: &mut dyn Engine, spec: &ModelSpec) -> bool {
    let mut state = 1_u32;
    let pixels: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(3 * PROBE * PROBE)
    .collect();
    let (mut decoder, mut preparer) = (Decoder::new(), Preparer::new(&spec.input));
    let Ok(image) = decoder.decode(&FrameView::rgb24(PROBE as u32, PROBE as u32, &pixels)) else { return false };
    let Ok(tensor) = preparer.prepare(&image) else { return false };
    let (mut expected, mut found) = (Vec::new(), Vec::new());
    if reference.run(tensor, &mut expected).is_err() || engine.run(tensor, &mut found).is_err() {
        return false;
    }
    are_near(&expected, &found)
}

/// Whether all scores are numbers, and no two further apart than [`AGREEMENT`] says.
fn are_near(expected: &[f32], found: &[f32]) -> bool {
    let largest = expected.iter().fold(0.0_f32, |largest, score| largest.max(score.abs()));
    let is_near = |(expected, found): (&f32, &f32)| {
        expected.is_finite() && found.is_finite() && (expected - found).abs() <= AGREEMENT * largest
    };
    expected.len() == found.len() && expected.iter().zip(found).all(is_near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_agree_but_for_rounding() {
        assert!(are_near(&[100.0, -3.0], &[100.001, -3.005]));
        assert!(!are_near(&[100.0, -3.0], &[100.0, -3.02]));
        assert!(!are_near(&[1.0], &[1.0, 2.0]));
        assert!(!are_near(&[f32::NAN], &[f32::NAN]) && !are_near(&[1.0], &[f32::INFINITY]));
        assert!(are_near(&[0.0], &[0.0]));
    }
}

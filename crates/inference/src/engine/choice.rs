//! Which engine runs a model, and how that is settled where nobody says.

use std::path::Path;

use margay_frontend::decode::Decoder;
use margay_frontend::frame::FrameView;
use margay_kernels::Options;

use super::compiled::CompiledEngine;
use super::compiled::artefact::{ArtefactKey, KeptArtefact, Unusable};
use super::execution::{EngineChoice, Execution};
use super::onnx_runtime::OnnxRuntimeEngine;
use super::tract::TractEngine;
use super::{Engine, LoadError, preparer_for};
use crate::spec::ModelSpec;

/// Largest difference from tract's scores that counts as agreement, as a part of the largest score. Sums are taken in
/// another order, which shows in the sixth digit or the seventh.
const AGREEMENT: f32 = 1e-4;

/// Steps by which a quantised model's scores may differ from tract's: at most, and on average. A step is a 255th of the
/// span of the scores. tract computes the conversions between bytes in floats, so that now and then a byte is another one,
/// which layers behind it multiply; the compiled engine gives ONNX Runtime's bytes.
const STEPS: [f32; 2] = [48.0, 12.0];

/// Sides of the picture that both engines are tried on; it is brought to the model's size like any other.
const PROBE: usize = 64;

/// A model that was loaded.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) engine: Box<dyn Engine>,
    /// Why what was kept of it at an earlier start was not used.
    pub(crate) passed_over: Option<Unusable>,
}

impl From<Box<dyn Engine>> for Loaded {
    fn from(engine: Box<dyn Engine>) -> Self {
        Self { engine, passed_over: None }
    }
}

/// What is kept of a model between starts.
#[derive(Debug)]
pub struct Keeping {
    /// The digest of the package.
    pub key: ArtefactKey,
    /// What an earlier start kept.
    pub kept: Option<KeptArtefact>,
}

/// Loads a model on the engine of choice; on the compiled one from what was kept of it, where that is usable.
///
/// # Errors
/// [`LoadError`], as for the engine's own `load`; [`LoadError::Declined`] where the compiled engine was asked for and
/// does not cover the model.
pub(crate) fn load(
    path: &Path,
    spec: &ModelSpec,
    execution: &Execution,
    keeping: Option<&Keeping>,
) -> Result<Loaded, LoadError> {
    let may_be_compiled = matches!(execution.engine, EngineChoice::Auto | EngineChoice::Compiled);
    let kept = keeping.and_then(|keeping| Some((keeping.kept.as_ref()?, &keeping.key)));
    let passed_over = match kept.filter(|_| may_be_compiled) {
        Some((kept, key)) => match load_kept(kept, key, spec, execution) {
            Ok(engine) => return Ok(Loaded::from(Box::new(engine) as Box<dyn Engine>)),
            Err(unusable) => Some(unusable),
        },
        None => None,
    };
    let engine = load_anew(path, spec, execution, keeping.is_some())?;
    Ok(Loaded { engine, passed_over })
}

fn options(execution: &Execution) -> Options {
    Options { threads: execution.threads, ..Options::default() }
}

fn load_kept(
    kept: &KeptArtefact,
    key: &ArtefactKey,
    spec: &ModelSpec,
    execution: &Execution,
) -> Result<CompiledEngine, Unusable> {
    let load =
        if execution.engine == EngineChoice::Auto { CompiledEngine::load_agreed } else { CompiledEngine::load_kept };
    load(kept, key, spec, options(execution))
}

fn load_anew(
    path: &Path,
    spec: &ModelSpec,
    execution: &Execution,
    is_to_keep: bool,
) -> Result<Box<dyn Engine>, LoadError> {
    let compile = if is_to_keep { CompiledEngine::load_to_keep } else { CompiledEngine::load_with };
    match execution.engine {
        EngineChoice::Tract => Ok(Box::new(TractEngine::load(path, spec)?)),
        EngineChoice::Compiled => match compile(path, spec, options(execution))? {
            Ok(engine) => Ok(Box::new(engine)),
            Err(declined) => Err(LoadError::Declined { path: path.to_owned(), declined }),
        },
        EngineChoice::OnnxRuntime(provider) => Ok(Box::new(OnnxRuntimeEngine::load(path, spec, provider, execution)?)),
        EngineChoice::Auto => {
            let mut tract = TractEngine::load(path, spec)?;
            if let Ok(mut compiled) = compile(path, spec, options(execution))?
                && agree(&mut tract, &mut compiled, spec)
            {
                compiled.set_agreed();
                return Ok(Box::new(compiled));
            }
            Ok(Box::new(tract))
        }
    }
}

/// Whether two engines give the same scores for a picture of coloured noise, each in the form in which it is to get pictures.
fn agree(reference: &mut dyn Engine, engine: &mut CompiledEngine, spec: &ModelSpec) -> bool {
    let mut state = 1_u32;
    let pixels: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(3 * PROBE * PROBE)
    .collect();
    let mut decoder = Decoder::new();
    let Ok(image) = decoder.decode(&FrameView::rgb24(PROBE as u32, PROBE as u32, &pixels)) else { return false };
    let (mut expected, mut found) = (Vec::new(), Vec::new());
    let run = |engine: &mut dyn Engine, scores: &mut Vec<f32>| {
        let mut preparer = preparer_for(engine, &spec.input);
        preparer.prepare(&image).is_ok_and(|tensor| engine.run(tensor, scores).is_ok())
    };
    if !run(reference, &mut expected) || !run(engine, &mut found) {
        return false;
    }
    if engine.is_quantised() { are_steps_apart(&expected, &found) } else { are_near(&expected, &found) }
}

/// Whether all scores are numbers, and no further apart than [`STEPS`] says.
fn are_steps_apart(expected: &[f32], found: &[f32]) -> bool {
    let all = || expected.iter().chain(found);
    if expected.len() != found.len() || all().any(|score| !score.is_finite()) {
        return false;
    }
    let (least, greatest) =
        expected.iter().fold((f32::MAX, f32::MIN), |(least, greatest), &score| (least.min(score), greatest.max(score)));
    // Scores that are bytes are whole steps themselves.
    let is_whole = all().all(|score| score.fract() == 0.0);
    let step = ((greatest - least) / 255.0).max(if is_whole { 1.0 } else { f32::MIN_POSITIVE });
    let apart = expected.iter().zip(found).map(|(expected, found)| (expected - found).abs() / step);
    let (most, sum) = apart.fold((0.0_f32, 0.0), |(most, sum), apart| (most.max(apart), sum + apart));
    most <= STEPS[0] && sum <= STEPS[1] * expected.len() as f32
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

    #[test]
    fn quantised_scores_agree_but_for_some_steps() {
        let expected: Vec<f32> = (0..=255).map(|step| step as f32 / 10.0).collect();
        let moved = |by: f32| expected.iter().map(|score| score + by).collect::<Vec<f32>>();
        assert!(are_steps_apart(&expected, &moved(1.1)) && !are_steps_apart(&expected, &moved(1.3)));
        let mut one = expected.clone();
        one[7] += 4.7;
        assert!(are_steps_apart(&expected, &one));
        one[7] += 0.2;
        assert!(!are_steps_apart(&expected, &one));
        let backwards: Vec<f32> = expected.iter().rev().copied().collect();
        assert!(!are_steps_apart(&expected, &backwards));
        assert!(are_steps_apart(&[3.0, 3.0], &[4.0, 3.0]) && !are_steps_apart(&[3.0], &[f32::NAN]));
        assert!(are_steps_apart(&[3.5, 3.5], &[3.5, 3.5]) && !are_steps_apart(&[3.5, 3.5], &[3.6, 3.5]));
    }
}

//! Whether two engines compute the same of a model: their scores for a picture of noise, and by how much these differ.

use margay_frontend::decode::Decoder;
use margay_frontend::frame::FrameView;

use super::{Engine, preparer_for};
use crate::spec::input::InputSpec;

/// Largest difference from the reference's scores that counts as agreement, as a part of the largest score. Sums are taken
/// in another order, which shows in the sixth digit or the seventh.
const AGREEMENT: f32 = 1e-4;

/// Steps by which a quantised model's scores may differ from tract's: at most, and on average. A step is a 255th of the
/// span of the scores. tract computes the conversions between bytes in floats, so that now and then a byte is another one,
/// which layers behind it multiply; the compiled engine gives ONNX Runtime's bytes.
const STEPS: [f32; 2] = [48.0, 12.0];

/// Sides of the picture that both engines are tried on; it is brought to the model's size like any other.
const PROBE: usize = 64;

/// How the scores of two engines for the same picture differ by more than they may.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub(super) enum Disagreement {
    /// One has none, or another number of them, or some are no numbers.
    #[error("their scores for a picture of noise cannot be compared")]
    Incomparable,
    /// Scores that are floats.
    #[error(
        "the largest difference between their scores for a picture of noise is {:.3} % of the largest score, and {} % are allowed",
        100.0 * part,
        100.0 * AGREEMENT
    )]
    Part {
        /// The largest difference, as a part of the reference's largest score.
        part: f32,
    },
    /// Scores of a quantised model.
    #[error(
        "the largest difference between their scores for a picture of noise is {most:.1} steps, and {mean:.1} on average, \
         of which {} and {} are allowed; a step is a 255th of the scores' span",
        STEPS[0],
        STEPS[1]
    )]
    Steps {
        /// The largest difference, in steps.
        most: f32,
        /// The average difference, in steps.
        mean: f32,
    },
}

/// Whether two engines give the same scores for a picture of coloured noise, each in the form in which it is to get
/// pictures; scores of a quantised model may differ by a few [`STEPS`].
pub(super) fn check(
    reference: &mut dyn Engine,
    engine: &mut dyn Engine,
    is_quantised: bool,
    input: &InputSpec,
) -> Result<(), Disagreement> {
    let pixels = noise();
    let frame = FrameView::rgb24(PROBE as u32, PROBE as u32, &pixels);
    let mut decoder = Decoder::new();
    let image = decoder.decode(&frame).map_err(|_| Disagreement::Incomparable)?;
    let scores = |engine: &mut dyn Engine| {
        let mut scores = Vec::new();
        let mut preparer = preparer_for(engine, input);
        let tensor = preparer.prepare(&image).map_err(|_| Disagreement::Incomparable)?;
        engine.run(tensor, &mut scores).map_err(|_| Disagreement::Incomparable)?;
        Ok(scores)
    };
    let (expected, found) = (scores(reference)?, scores(engine)?);
    let is_finite = expected.iter().chain(&found).all(|score| score.is_finite());
    if expected.len() != found.len() || !is_finite {
        return Err(Disagreement::Incomparable);
    }
    if is_quantised { are_steps_apart(&expected, &found) } else { are_near(&expected, &found) }
}

/// RGB pixels of a picture with [`PROBE`] rows and columns, the same at every call.
fn noise() -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(3 * PROBE * PROBE).collect()
}

/// Whether as many numbers are no further apart than [`STEPS`] says.
fn are_steps_apart(expected: &[f32], found: &[f32]) -> Result<(), Disagreement> {
    let (least, greatest) =
        expected.iter().fold((f32::MAX, f32::MIN), |(least, greatest), &score| (least.min(score), greatest.max(score)));
    // Scores that are bytes are whole steps themselves.
    let is_whole = expected.iter().chain(found).all(|score| score.fract() == 0.0);
    let step = ((greatest - least) / 255.0).max(if is_whole { 1.0 } else { f32::MIN_POSITIVE });
    let apart = expected.iter().zip(found).map(|(expected, found)| (expected - found).abs() / step);
    let (most, sum) = apart.fold((0.0_f32, 0.0), |(most, sum), apart| (most.max(apart), sum + apart));
    let mean = sum / expected.len().max(1) as f32;
    if most <= STEPS[0] && mean <= STEPS[1] { Ok(()) } else { Err(Disagreement::Steps { most, mean }) }
}

/// Whether as many numbers are no further apart than [`AGREEMENT`] says.
fn are_near(expected: &[f32], found: &[f32]) -> Result<(), Disagreement> {
    let largest = expected.iter().fold(0.0_f32, |largest, score| largest.max(score.abs()));
    let apart = expected.iter().zip(found).fold(0.0_f32, |most, (expected, found)| most.max((expected - found).abs()));
    if apart <= AGREEMENT * largest { Ok(()) } else { Err(Disagreement::Part { part: apart / largest }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineError;
    use margay_frontend::tensor::InputTensor;

    /// Answers every picture with the same scores.
    #[derive(Debug)]
    struct Constant(Vec<f32>);

    impl Engine for Constant {
        fn name(&self) -> &str {
            "constant"
        }

        fn outputs(&self) -> usize {
            self.0.len()
        }

        fn run(&mut self, _: &InputTensor, output: &mut Vec<f32>) -> Result<(), EngineError> {
            output.clone_from(&self.0);
            Ok(())
        }
    }

    fn compare(expected: &[f32], found: &[f32], is_quantised: bool) -> Result<(), Disagreement> {
        let [mut reference, mut engine] = [expected, found].map(|scores| Constant(scores.to_vec()));
        check(&mut reference, &mut engine, is_quantised, &InputSpec::imagenet(8))
    }

    #[test]
    fn scores_agree_but_for_rounding_and_the_largest_difference_is_told() {
        let near = |expected: &[f32], found: &[f32]| compare(expected, found, false);
        assert_eq!(near(&[100.0, -3.0], &[100.001, -3.005]), Ok(()));
        let told = near(&[100.0, -3.0, 1.0], &[100.0, -3.02, 13.5]).unwrap_err();
        assert_eq!(told, Disagreement::Part { part: 0.125 });
        let words = told.to_string();
        assert!(words.contains("12.500 % of the largest score") && words.contains("0.01 % are"), "{words}");
        assert_eq!(near(&[0.0], &[0.0]), Ok(()));
        for (expected, found) in [(&[1.0][..], &[1.0, 2.0][..]), (&[f32::NAN], &[f32::NAN]), (&[1.0], &[f32::INFINITY])]
        {
            assert_eq!(near(expected, found), Err(Disagreement::Incomparable));
        }
    }

    #[test]
    fn quantised_scores_agree_but_for_some_steps_and_the_largest_difference_is_told() {
        let expected: Vec<f32> = (0..=255).map(|step| step as f32 / 10.0).collect();
        let steps = |found: &[f32]| compare(&expected, found, true);
        let moved = |by: f32| expected.iter().map(|score| score + by).collect::<Vec<f32>>();
        assert!(steps(&moved(1.1)).is_ok() && steps(&moved(1.3)).is_err());
        let mut one = expected.clone();
        one[7] += 4.7;
        assert_eq!(steps(&one), Ok(()));
        one[7] += 0.2;
        let words = steps(&one).unwrap_err().to_string();
        assert!(words.contains("is 49.0 steps, and 0.2 on average, of which 48 and 12 are allowed"), "{words}");
        let backwards: Vec<f32> = expected.iter().rev().copied().collect();
        assert!(matches!(steps(&backwards), Err(Disagreement::Steps { most, .. }) if most > 254.0));
        let apart = |expected: &[f32], found: &[f32]| compare(expected, found, true);
        assert_eq!(apart(&[3.0, 3.0], &[4.0, 3.0]), Ok(()));
        assert_eq!(apart(&[3.0], &[f32::NAN]), Err(Disagreement::Incomparable));
        assert!(apart(&[3.5, 3.5], &[3.5, 3.5]).is_ok() && apart(&[3.5, 3.5], &[3.6, 3.5]).is_err());
    }
}

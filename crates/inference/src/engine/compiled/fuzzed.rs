//! The fuzz target of everything between a hostile file and its scores.

use std::path::Path;

use margay_frontend::InputSpec;
use margay_frontend::tensor::InputTensor;
use margay_kernels::Options;

use super::{CompiledEngine, Engine};
use crate::engine::onnx::OnnxFile;
use crate::spec::ModelSpec;
use crate::spec::output::OutputSpec;

/// Sides of a picture that are tried.
const SIDES: std::ops::RangeInclusive<usize> = 1..=64;

/// Memory of a program that is small enough to be interpreted, in bytes.
const INTERPRETED: usize = 256 << 10;

/// Largest difference from the interpreter, as a part of the largest score: of approximated reciprocals.
const APART: f32 = 1e-4;

/// Reads, compiles and runs a model; says whether it ran. A small one is interpreted as well, every access checked.
///
/// # Panics
/// The kernels compute other numbers than the interpreter, or the interpreter met an access outside the step's memory:
/// errors of the engine, whatever the file.
#[must_use]
pub fn fuzz_model(data: &[u8]) -> bool {
    let Ok(file) = OnnxFile::decode(Path::new("model.onnx"), data) else { return false };
    let inputs = file.inputs();
    let axes = inputs.first().and_then(|input| input.shape.as_deref()).unwrap_or_default();
    let sides: Vec<usize> = axes.iter().skip(2).filter_map(|axis| axis.fixed()).collect();
    let [height, width] = sides[..] else { return false };
    if !SIDES.contains(&height) || !SIDES.contains(&width) {
        return false;
    }
    let input = InputSpec { height: height as u32, width: width as u32, ..InputSpec::imagenet(1) };
    let spec = ModelSpec { input, output: OutputSpec::logits() };
    let options = Options { poisons: true, ..Options::default() };
    let Ok(mut engine) = CompiledEngine::compile(&file, &spec, options) else { return false };
    let Some([picture, pixels]) = noise(&spec.input) else { return false };
    let (mut found, mut again) = (Vec::new(), Vec::new());
    if engine.run(&picture, &mut found).is_err() {
        return false;
    }
    let is_same = engine.run(&pixels, &mut again).is_ok() && are_identical(&found, &again);
    assert!(is_same, "of pixels {again:?} are not {found:?}");
    if engine.bytes() <= INTERPRETED
        && let Ok(mut interpreter) = CompiledEngine::compile(&file, &spec, Options { checks: true, ..options })
    {
        let mut expected = Vec::new();
        let is_same = interpreter.run(&pixels, &mut expected).is_ok() && are_same(&found, &expected);
        assert!(is_same, "{found:?} are not the interpreter's {expected:?}");
    }
    true
}

/// Noise in the layout of channels first, as floats and as their pixels.
pub(super) fn noise(spec: &InputSpec) -> Option<[InputTensor; 2]> {
    let shape = spec.shape();
    let pixels: Vec<u8> = (0..shape.iter().product()).map(|place: usize| (place * 7919 % 251) as u8).collect();
    let planes = pixels.chunks((pixels.len() / 3).max(1)).zip(spec.scalings());
    let floats = planes.flat_map(|(plane, scaling)| plane.iter().map(move |&pixel| scaling.apply(pixel)));
    Some([InputTensor::from_f32(shape, floats.collect())?, InputTensor::from_pixels(spec, pixels)?])
}

/// Whether all numbers are the same, or none.
pub(super) fn are_identical(found: &[f32], expected: &[f32]) -> bool {
    let is_same = |(found, expected): (&f32, &f32)| {
        found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan())
    };
    found.len() == expected.len() && found.iter().zip(expected).all(is_same)
}

/// Whether all numbers are equal but for rounding. Weights of a damaged file may be so large that rounding decides between
/// a number and none: then nothing can be said.
fn are_same(found: &[f32], expected: &[f32]) -> bool {
    let largest = expected.iter().fold(1.0_f32, |largest, score| largest.max(score.abs()));
    let is_near = |(found, expected): (&f32, &f32)| (found - expected).abs() <= APART * largest;
    let is_number = found.iter().chain(expected).all(|score| score.abs() < f32::MAX / 2.0);
    found.len() == expected.len() && (!is_number || found.iter().zip(expected).all(is_near))
}

//! Quantised networks on the compiled engine, against what ONNX Runtime computes.

use std::fs;
use std::path::{Path, PathBuf};

use margay_inference::decode::Decoder;
use margay_inference::engine::compiled::CompiledEngine;
use margay_inference::engine::onnx::OnnxFile;
use margay_inference::prepare::Preparer;
use margay_inference::{
    Engine, EngineChoice, InputSpec, InputTensor, Labels, ModelSpec, OutputSpec, Pipeline, TensorData,
};
use margay_kernels::{ByteIsa, Options};

use crate::networks::Random;
use crate::{networks, shared};

/// Sides of the small networks' pictures, and their scores.
const SIDE: u32 = 21;
const CLASSES: usize = 10;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/golden").join(name)
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

/// The model on instruction sets, with one thread and two.
fn engines(path: &Path, spec: &ModelSpec, isas: &[ByteIsa]) -> Vec<(String, CompiledEngine)> {
    let file = OnnxFile::read(path).unwrap();
    let all = isas.iter().flat_map(|&byte_isa| [(byte_isa, 1), (byte_isa, 2)]);
    all.map(|(byte_isa, threads)| {
        let options = Options { byte_isa, threads, poisons: true, ..Options::default() };
        let engine = CompiledEngine::compile(&file, spec, options).unwrap_or_else(|declined| panic!("{declined}"));
        assert!(engine.is_quantised());
        (format!("{}, {byte_isa}, {threads} threads", path.display()), engine)
    })
    .collect()
}

/// Largest difference.
fn apart(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(found, expected)| (found - expected).abs()).fold(0.0, f32::max)
}

fn first(scores: &[f32]) -> usize {
    (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap()
}

/// The scores of these are floats, computed from bytes whose every step shows in the second digit.
#[test]
fn small_networks_give_the_bytes_of_onnx_runtime() {
    let spec = networks::spec(SIDE, SIDE);
    for name in ["qdq-unsigned", "qdq-signed", "qdq-by-tensor", "qoperator", "qdq-pyramid"] {
        let vectors = floats(&fs::read(golden(&format!("{name}.bin"))).unwrap());
        for (what, mut engine) in engines(&golden(&format!("{name}.onnx")), &spec, &ByteIsa::available()) {
            for pair in vectors.chunks_exact(spec.input.shape().iter().product::<usize>() + CLASSES) {
                let (picture, expected) = pair.split_at(pair.len() - CLASSES);
                let picture = InputTensor::from_f32(spec.input.shape(), picture.to_vec()).unwrap();
                let mut found = Vec::new();
                engine.run(&picture, &mut found).unwrap();
                let largest = apart(&found, expected);
                assert!(largest < 1e-5, "{what}: {found:?} is not {expected:?}");
            }
        }
    }
}

#[test]
fn the_bundled_model_runs_compiled_and_agrees_with_tract() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/signs/package-int8/signs-int8.onnx");
    let spec = ModelSpec { input: InputSpec::imagenet(96), output: OutputSpec::logits() };
    let labels = || Labels::new((0..12).map(|class| class.to_string()).collect::<Vec<_>>().iter().map(String::as_str));
    let load = |choice| Pipeline::load(&path, &spec, labels().unwrap(), choice).unwrap();
    assert_eq!(load(EngineChoice::Auto).engine_name(), "compiled");
    assert_eq!(load(EngineChoice::Tract).engine_name(), "tract");
}

/// A step of the last conversion of `mobilenetv2-12-qdq.onnx`; a bias of floats follows.
const MOBILENET_STEP: f32 = 0.095;

#[test]
fn a_real_model_gives_the_reference_scores_to_a_step() {
    let Some(models) = shared::models() else { return };
    let spec = ModelSpec { input: InputSpec::imagenet(224), output: OutputSpec::logits() };
    for (what, mut engine) in engines(&models.join("onnx/mobilenetv2-12-qdq.onnx"), &spec, &[ByteIsa::best()]) {
        for photo in ["coral_cat_720p", "skimage_coffee"] {
            let picture = shared::npy(&models, &format!("{photo}_nchw_f32.npy"));
            let picture = InputTensor::from_f32(spec.input.shape(), picture).unwrap();
            let expected = shared::npy(&models, &format!("{photo}__mobilenetv2-12-qdq.npy"));
            let mut found = Vec::new();
            engine.run(&picture, &mut found).unwrap();
            let largest = apart(&found, &expected);
            assert!(largest <= MOBILENET_STEP, "{what} on {photo}: {largest}");
            assert_eq!(first(&found), first(&expected), "{what} on {photo}");
        }
    }
}

/// The first class of each photograph by ONNX Runtime 1.31, where it leads by enough that rounding in the resizing of the
/// photograph cannot change it (../shared/models/README.md).
#[test]
fn real_models_see_on_photographs_what_onnx_runtime_sees() {
    let Some(models) = shared::models() else { return };
    let imagenet = ModelSpec { input: InputSpec::imagenet(224), output: OutputSpec::logits() };
    let bytes = |side| ModelSpec { input: InputSpec::u8_nhwc(side), output: OutputSpec::u8_probabilities() };
    let mobilenet = [
        ("coral_bird.bmp", 19),
        ("coral_cat_720p.jpg", 285),
        ("coral_dragonfly.bmp", 319),
        ("coral_hot_dog.jpg", 934),
        ("coral_parrot.jpg", 88),
        ("skimage_rocket.jpg", 682),
        ("skimage_chelsea.png", 285),
        ("skimage_coffee.png", 967),
        ("wonnx_pelican.jpg", 144),
        ("wonnx_bald_eagle.jpg", 22),
    ];
    let small =
        [("coral_bird.bmp", 19), ("coral_parrot.jpg", 88), ("skimage_coffee.png", 967), ("skimage_rocket.jpg", 668)];
    let clear = [("coral_bird.bmp", 19), ("coral_parrot.jpg", 88), ("skimage_coffee.png", 967)];
    let models_ = [
        ("mobilenetv2-12-qdq.onnx", imagenet, &mobilenet[..]),
        ("mobilenet_v1_0.25_128_qdq.onnx", bytes(128), &small),
        ("tf2_mobilenet_v2_1.0_224_ptq.onnx", bytes(224), &clear),
    ];
    for (model, spec, photos) in models_ {
        let mut engine = CompiledEngine::load(&models.join("onnx").join(model), &spec, 1).unwrap().unwrap();
        assert!(engine.is_quantised());
        let (mut decoder, mut preparer) = (Decoder::new(), Preparer::new(&spec.input));
        for &(photo, class) in photos {
            let still = shared::photo(&models, photo);
            let tensor = preparer.prepare(&decoder.decode(&still.frame()).unwrap()).unwrap();
            let mut scores = Vec::new();
            engine.run(tensor, &mut scores).unwrap();
            assert_eq!(first(&scores), class + spec.output.index_offset as usize, "{model} on {photo}");
            assert!(matches!(
                (tensor.data(), spec.output.quantisation),
                (TensorData::U8(_), Some(_)) | (TensorData::F32(_), None)
            ));
        }
    }
}

/// A quantised model whose conversions are not what they seem is left to tract, with the operator's name.
#[test]
fn what_is_not_covered_is_named() {
    let spec = networks::spec(SIDE, SIDE);
    let mut file = OnnxFile::read(&golden("qdq-unsigned.onnx")).unwrap();
    let declined = CompiledEngine::compile(
        &file,
        &ModelSpec { output: OutputSpec::u8_probabilities(), ..spec.clone() },
        Options::default(),
    );
    assert!(declined.unwrap_err().reason.contains("not stored as"));
    file = OnnxFile::decode(Path::new("renamed"), &renamed("HardSigmoid", "HardShrinks")).unwrap();
    let declined = CompiledEngine::compile(&file, &spec, Options::default()).unwrap_err();
    assert_eq!((declined.operator.as_str(), declined.reason.as_str()), ("HardShrinks", "the operator is not covered"));
}

/// The unsigned network with an operator by another name of the same length.
fn renamed(from: &str, to: &str) -> Vec<u8> {
    let mut bytes = fs::read(golden("qdq-unsigned.onnx")).unwrap();
    let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    bytes
}

/// Changed bytes make an error, a model that is left to tract, or a result; never a panic, and never a wrong access.
#[test]
fn two_thousand_damaged_quantised_files_are_compiled_or_declined() {
    let names = ["qdq-unsigned", "qdq-signed", "qdq-by-tensor", "qoperator"];
    let files = names.map(|name| fs::read(golden(&format!("{name}.onnx"))).unwrap());
    let (spec, mut random, mut ran) = (networks::spec(SIDE, SIDE), Random::new(78), 0);
    let picture = InputTensor::zeroed(&spec.input);
    for round in 0..2000 {
        let mut file = files[round % files.len()].clone();
        for _ in 0..1 + random.below(8) {
            let place = random.below(file.len() as u64) as usize;
            file[place] = random.below(256) as u8;
        }
        let Ok(file) = OnnxFile::decode(Path::new("model.onnx"), &file) else { continue };
        let Ok(mut engine) = CompiledEngine::compile(&file, &spec, Options::default()) else { continue };
        engine.run(&picture, &mut Vec::new()).unwrap();
        ran += 1;
    }
    assert!(ran > 200, "only {ran} of 2000 damaged files still ran");
}

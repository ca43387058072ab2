//! Pictures of pixels on the compiled engine: the scores of their floats, bit for bit, and floats wherever these are wanted.

use std::fs;
use std::path::{Path, PathBuf};

use margay_inference::decode::Decoder;
use margay_inference::engine::compiled::CompiledEngine;
use margay_inference::engine::onnx::OnnxFile;
use margay_inference::engine::tract::TractEngine;
use margay_inference::prepare::Preparer;
use margay_inference::spec::input::Anchor;
use margay_inference::{
    ColorOrder, Engine, EngineChoice, EngineError, FrameView, InputSpec, InputTensor, KeptArtefact, Labels, Layout,
    ModelSpec, OutputSpec, Pipeline, ResizeRule, TensorData,
};
use margay_kernels::{ByteIsa, Isa, Options};

use crate::compiled::{corpus, random_network};
use crate::networks::{Growing, Random, spec};
use crate::protobuf::{Value, tensor};

const KEY: [u8; 32] = [9; 32];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/golden").join(name)
}

fn bundled(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/signs").join(name)
}

/// Pixels, and the floats that they stand for.
fn pictures(spec: &InputSpec, seed: u64) -> [InputTensor; 2] {
    let (shape, mut random) = (spec.shape(), Random::new(seed));
    let count: usize = shape.iter().product();
    let pixels: Vec<u8> = (0..count).map(|_| random.below(256) as u8).collect();
    let channel = |place: usize| if spec.layout == Layout::Nchw { place / (count / 3) } else { place % 3 };
    let floats = pixels.iter().enumerate().map(|(place, &pixel)| spec.scalings()[channel(place)].apply(pixel));
    let floats = InputTensor::from_f32(shape, floats.collect()).unwrap();
    [InputTensor::from_pixels(spec, pixels).unwrap(), floats]
}

fn bits(engine: &mut dyn Engine, picture: &InputTensor) -> Vec<u32> {
    let mut scores = Vec::new();
    engine.run(picture, &mut scores).unwrap();
    scores.into_iter().map(f32::to_bits).collect()
}

/// Compiled and from its artefact, on every instruction set and one thread or three; a small network by the interpreter, too.
fn check(name: &str, file: &[u8], spec: &ModelSpec, is_small: bool) {
    let file = OnnxFile::decode(Path::new("model.onnx"), file).unwrap();
    let options = Options { poisons: true, ..Options::default() };
    let sets = Isa::available().into_iter().map(|isa| Options { isa, ..options });
    let byte_sets = ByteIsa::available().into_iter().map(|byte_isa| Options { byte_isa, ..options });
    let threaded = Options { threads: 3, ..options };
    let interpreted = is_small.then_some(Options { checks: true, ..options });
    for options in sets.chain(byte_sets).chain([threaded]).chain(interpreted) {
        let mut engine = CompiledEngine::compile_to_keep(&file, spec, options).unwrap();
        let mut artefact = Vec::new();
        engine.take_artefact().unwrap().write(&KEY, &mut artefact).unwrap();
        let mut kept = CompiledEngine::load_kept(&KeptArtefact::of_bytes(&artefact), &KEY, spec, options).unwrap();
        for seed in 0..2 {
            let [pixels, floats] = pictures(&spec.input, seed);
            let expected = bits(&mut engine, &floats);
            for engine in [&mut engine, &mut kept] {
                assert!(engine.takes_pixels());
                assert_eq!(bits(engine, &pixels), expected, "{name}, {options:?}, kept: {}", engine.is_kept());
            }
        }
    }
}

#[test]
fn pixels_give_the_scores_of_the_floats_that_they_stand_for() {
    for (number, (file, spec)) in corpus().enumerate() {
        check(&format!("every operator, {number}"), &file, &spec, true);
    }
    for seed in 0..12 {
        let (network, mut spec) = random_network(seed);
        if seed % 2 == 0 {
            spec.input = InputSpec { color: ColorOrder::Bgr, scale: 1.0, std: [57.0, 58.5, 60.0], ..spec.input };
        }
        check(&format!("network {seed}"), &network.file(14), &spec, false);
    }
    for name in ["qdq-unsigned", "qdq-signed", "qdq-by-tensor", "qoperator"] {
        let file = fs::read(golden(&format!("{name}.onnx"))).unwrap();
        check(name, &file, &spec(21, 21), true);
        // What is rounded lies in the middle between two bytes.
        let halves = InputSpec { mean: [0.5; 3], std: [0.5; 3], ..spec(21, 21).input };
        check(name, &file, &ModelSpec { input: halves, ..spec(21, 21) }, false);
    }
    for name in ["package/signs.onnx", "package-int8/signs-int8.onnx"] {
        let spec = ModelSpec { input: InputSpec::imagenet(96), output: OutputSpec::logits() };
        check(name, &fs::read(bundled(name)).unwrap(), &spec, false);
    }
}

#[test]
fn pixels_may_come_one_after_the_other() {
    for strides in [1, 2] {
        let mut network = Growing::new(10, 11, 14);
        network.graph.inputs = vec![tensor("image", &[1, 11, 14, 3])];
        network.then("Transpose", &[], &[("perm", Value::Ints(&[0, 3, 1, 2]))]);
        network.convolution(16, [3, strides, 1], 1);
        network.head(3);
        let mut spec = spec(11, 14);
        spec.input.layout = Layout::Nhwc;
        check("channels last", &network.file(13), &spec, true);
    }
}

/// Frames of the bundled model through the whole pipeline, and by hand through floats.
#[test]
fn a_pipeline_of_pixels_says_of_frames_what_floats_say() {
    let letterbox = ResizeRule::Letterbox { pad: 114, anchor: Anchor::Center };
    let names: Vec<String> = (0..12).map(|class| class.to_string()).collect();
    for model in ["package/signs.onnx", "package-int8/signs-int8.onnx"] {
        for (resize, color) in [(letterbox, ColorOrder::Bgr), (InputSpec::imagenet(96).resize, ColorOrder::Rgb)] {
            let input = InputSpec { resize, color, ..InputSpec::imagenet(96) };
            let spec = ModelSpec { input, output: OutputSpec::logits() };
            let labels = Labels::new(names.iter().map(String::as_str)).unwrap();
            let mut pipeline = Pipeline::load(&bundled(model), &spec, labels, EngineChoice::Compiled).unwrap();
            let mut engine = CompiledEngine::load(&bundled(model), &spec, 1).unwrap().unwrap();
            let (mut decoder, mut preparer) = (Decoder::new(), Preparer::new(&spec.input));
            for number in 0..5 {
                let jpeg = fs::read(bundled(&format!("frames/frame-{number:03}.jpg"))).unwrap();
                let frame = FrameView::jpeg(&jpeg);
                let need = preparer.need();
                let tensor = preparer.prepare(decoder.open(&frame, &need).unwrap()).unwrap();
                let mut scores = Vec::new();
                engine.run(tensor, &mut scores).unwrap();
                let TensorData::F32(floats) = tensor.data() else { panic!("a specification of floats") };
                let elements: Vec<u8> = floats.iter().flat_map(|float| float.to_le_bytes()).collect();
                assert_eq!(pipeline.run_tensor(&elements).unwrap().0, scores, "floats from outside");
                margay_inference::rank::softmax(&mut scores);
                assert_eq!(pipeline.probabilities(&frame).unwrap().0, scores, "{model}, frame {number}");
            }
        }
    }
}

#[test]
fn an_engine_that_takes_floats_only_refuses_pixels_by_name() {
    let spec = ModelSpec { input: InputSpec::imagenet(96), output: OutputSpec::logits() };
    let mut tract = TractEngine::load(&bundled("package/signs.onnx"), &spec).unwrap();
    assert!(!tract.takes_pixels());
    let [pixels, _] = pictures(&spec.input, 1);
    let error = tract.run(&pixels, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, EngineError::Pixels { engine: "tract" }), "{error}");
}

/// They may look the same, but nobody said that they are to be normalised.
#[test]
fn bytes_of_a_model_of_bytes_are_no_pixels_of_floats() {
    let mut network = Growing::new(3, 8, 8);
    network.convolution(4, [3, 2, 1], 1);
    network.head(3);
    let spec = spec(8, 8);
    let file = OnnxFile::decode(Path::new("model.onnx"), &network.file(13)).unwrap();
    let mut engine = CompiledEngine::compile(&file, &spec, Options::default()).unwrap();
    let bytes = InputTensor::zeroed(&InputSpec { layout: Layout::Nchw, ..InputSpec::u8_nhwc(8) });
    let error = engine.run(&bytes, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, EngineError::Run { engine: "compiled", .. }), "{error}");
}

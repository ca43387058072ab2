//! Float networks that are quantised here: what they become runs on bytes from end to end, and says what ONNX Runtime says of
//! the same file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use margay_inference::engine::compiled::CompiledEngine;
use margay_inference::engine::onnx::OnnxFile;
use margay_inference::quantise::{LayerError, Method, ObserveError, Pass, QuantiseError, Quantiser};
use margay_inference::{
    Engine, EngineChoice, FrameView, InputSpec, InputTensor, Labels, ModelSpec, OutputKind, OutputSpec, Pipeline,
    ResizeRule,
};

use crate::networks::{self, Growing, Random};
use crate::protobuf::Value;

/// Sides of the pictures of the small networks.
const SIDE: usize = 24;

/// Pictures for the ranges of a small network.
const PICTURES: usize = 12;

/// Pixels of a picture with large shapes and some noise, which uses the range that photographs use.
fn picture(random: &mut Random, side: usize) -> Vec<u8> {
    let (low, high) = (random.below(120) as usize, 130 + random.below(120) as usize);
    let (slope, stripe) = (1 + random.below(7) as usize, 3 + random.below(9) as usize);
    let mut pixels = Vec::with_capacity(3 * side * side);
    for y in 0..side {
        for x in 0..side {
            for channel in 0..3 {
                let is_light = (x * slope + y * (channel + 1)) / stripe % 2 == 0;
                let noise = random.below(20) as usize;
                pixels.push((if is_light { high } else { low } + noise).min(255) as u8);
            }
        }
    }
    pixels
}

fn pictures(seed: u64, side: usize) -> Vec<Vec<u8>> {
    let mut random = Random::new(seed);
    (0..PICTURES).map(|_| picture(&mut random, side)).collect()
}

fn frame(pixels: &[u8], side: usize) -> FrameView<'_> {
    FrameView::rgb24(side as u32, side as u32, pixels)
}

/// Shows pictures to a quantiser in the passes that a method needs.
fn calibrate(quantiser: &mut Quantiser, pictures: &[Vec<u8>], side: usize) {
    for pass in [Pass::Extremes, Pass::Counts] {
        for pixels in pictures {
            quantiser.observe(pass, &frame(pixels, side)).unwrap();
        }
    }
}

/// The quantised form of a file.
fn quantised(path: &Path, spec: &ModelSpec, method: Method) -> Result<Vec<u8>, QuantiseError> {
    let side = spec.input.width as usize;
    let mut quantiser = Quantiser::open(path, spec, &[])?;
    calibrate(&mut quantiser, &pictures(3, side), side);
    quantiser.model(method)
}

/// The steps of a compiled model that compute with floats, but for the last ones.
fn names_of_steps(path: &Path, spec: &ModelSpec) -> Vec<String> {
    let mut engine = CompiledEngine::load(path, spec, 1).unwrap().unwrap_or_else(|why| panic!("{why}"));
    assert!(engine.is_quantised(), "{}", path.display());
    let zeros = vec![0.5; spec.input.shape().iter().product()];
    engine.profile(&zeros).unwrap().into_iter().map(|stage| stage.name).collect()
}

fn pipeline(path: &Path, spec: &ModelSpec, classes: usize) -> Pipeline {
    let names: Vec<String> = (0..classes).map(|class| class.to_string()).collect();
    let labels = Labels::new(names.iter().map(String::as_str)).unwrap();
    Pipeline::load(path, spec, labels, EngineChoice::Compiled).unwrap_or_else(|error| panic!("{error}"))
}

fn written(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// A network with one of everything that has a form for bytes, and a softmax that has none.
fn network(seed: u64) -> Vec<u8> {
    let mut net = Growing::new(seed, SIDE, SIDE);
    net.convolution(16, [3, 2, 1], 1);
    net.then("Relu", &[], &[]);
    let before = net.last.clone();
    net.convolution(32, [1, 1, 0], 1);
    let zero = net.constant(&[], &[0.0]);
    let six = net.constant(&[], &[6.0]);
    net.then("Clip", &[&zero, &six], &[]);
    net.convolution(32, [3, 1, 1], 32);
    net.then("Clip", &[&zero, &six], &[]);
    net.convolution(16, [1, 1, 0], 1);
    net.then("Add", &[&before], &[]);
    net.then("MaxPool", &[], &[("kernel_shape", Value::Ints(&[2, 2])), ("strides", Value::Ints(&[2, 2]))]);
    let pooled = net.last.clone();
    net.convolution(16, [1, 1, 0], 1);
    let gated = net.last.clone();
    net.then("Sigmoid", &[], &[]);
    net.then("Mul", &[&gated], &[]);
    let swish = net.last.clone();
    net.push("Concat", &[&pooled, &swish], &[("axis", Value::Int(1))]);
    net.channels = 32;
    net.head(10);
    net.then("Softmax", &[], &[("axis", Value::Int(1))]);
    net.file(13)
}

fn spec() -> ModelSpec {
    let spec = networks::spec(SIDE as u32, SIDE as u32);
    ModelSpec { input: InputSpec { resize: ResizeRule::Squash, ..spec.input }, ..spec }
}

/// What ONNX Runtime says of pictures as floats, for each file of a folder that ends in `-int8.onnx`: the pictures lie beside it
/// as `.in`, the scores come as `.out`. It prints how many convolutions it runs on floats.
const RUN: &str = r#"
import sys, glob, numpy, onnx, onnxruntime as ort
for path in sorted(glob.glob(sys.argv[1] + "/*-int8.onnx")):
    onnx.checker.check_model(path, full_check=True)
    options = ort.SessionOptions()
    options.optimized_model_filepath = path + ".optimised"
    # One level below the highest: that makes a convolution of a batch normalisation, on processors with 8 lanes only.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    # Without VNNI, sums of two products of signed weights saturate unless the library is told to be exact.
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    value = session.get_inputs()[0]
    pictures = numpy.fromfile(path[:-5] + ".in", "<f4").reshape(-1, *value.shape[1:])
    scores = [session.run(None, {value.name: picture[None]})[0].ravel() for picture in pictures]
    numpy.stack(scores).astype("<f4").tofile(path[:-5] + ".out")
    graph = onnx.load(path + ".optimised").graph
    print(path.rsplit("/", 1)[1], sum(node.op_type in ("Conv", "FusedConv") for node in graph.node))
"#;

fn python() -> Option<String> {
    let python = std::env::var("MARGAY_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let found = Command::new(&python).args(["-c", "import onnx, onnxruntime"]).output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    println!("skipped: python clients: pip install onnx onnxruntime; MARGAY_TEST_PYTHON names the interpreter");
    let required = std::env::var("MARGAY_TEST_REQUIRE").is_ok_and(|value| value == "1");
    assert!(!required, "onnx and onnxruntime are absent, and MARGAY_TEST_REQUIRE is 1");
    None
}

fn run_python(python: &str, arguments: &[&str]) -> String {
    let output = Command::new(python).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Writes tensors for ONNX Runtime, as the compiled engine will be given them.
fn tensors(path: &Path, spec: &ModelSpec, seed: u64) -> Vec<Vec<f32>> {
    let mut random = Random::new(seed);
    let count: usize = spec.input.shape().iter().product();
    let all: Vec<Vec<f32>> = (0..4).map(|_| random.floats(count, 2.0)).collect();
    fs::write(path.with_extension("in"), all.iter().flatten().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())
        .unwrap();
    all
}

/// The largest difference from ONNX Runtime's scores, as a part of the largest score.
fn apart(path: &Path, spec: &ModelSpec, pictures: &[Vec<f32>]) -> f32 {
    let expected = fs::read(path.with_extension("out")).unwrap();
    let expected: Vec<f32> = expected.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
    let mut engine = CompiledEngine::load(path, spec, 1).unwrap().unwrap_or_else(|why| panic!("{why}"));
    let mut largest = 0.0_f32;
    for (picture, expected) in pictures.iter().zip(expected.chunks(engine.outputs())) {
        let mut found = Vec::new();
        engine.run(&InputTensor::from_f32(spec.input.shape(), picture.clone()).unwrap(), &mut found).unwrap();
        let greatest = expected.iter().fold(0.0_f32, |greatest, score| greatest.max(score.abs()));
        let gap = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0_f32, f32::max);
        largest = largest.max(gap / greatest);
    }
    largest
}

#[test]
fn a_network_of_everything_runs_on_bytes_and_says_what_the_floats_said() {
    let folder = tempfile::tempdir().unwrap();
    let float = written(folder.path(), "net.onnx", &network(5));
    let spec = ModelSpec { output: OutputSpec { kind: OutputKind::Probabilities, ..OutputSpec::logits() }, ..spec() };
    for method in Method::ALL {
        let bytes = quantised(&float, &spec, method).unwrap();
        assert_eq!(bytes, quantised(&float, &spec, method).unwrap(), "the same pictures give the same file");
        let path = written(folder.path(), "net-int8.onnx", &bytes);
        let steps = names_of_steps(&path, &spec);
        // But for the picture, the head's scores and their softmax.
        let of_bytes = steps
            .iter()
            .filter(|name| ["Byte", "quantised", "Table"].iter().any(|of_bytes| name.starts_with(of_bytes)))
            .count();
        assert_eq!(steps.len(), of_bytes + 2, "{steps:?}");
        let (mut reference, mut found) = (pipeline(&float, &spec, 10), pipeline(&path, &spec, 10));
        for pixels in pictures(77, SIDE) {
            let expected = reference.probabilities(&frame(&pixels, SIDE)).unwrap().0.to_vec();
            let found = found.probabilities(&frame(&pixels, SIDE)).unwrap().0;
            let gap = expected.iter().zip(found).map(|(a, b)| (a - b).abs()).fold(0.0_f32, f32::max);
            assert!(gap < 0.1, "{method}: {expected:?} became {found:?}");
        }
    }
}

#[test]
fn a_member_of_each_family_says_what_onnx_runtime_says_once_it_is_quantised() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/families.py");
    run_python(&python, &[script.to_str().unwrap(), folder.path().to_str().unwrap()]);
    let mut all = Vec::new();
    let entries: Vec<PathBuf> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    for float in entries.iter().filter(|path| path.extension().is_some_and(|end| end == "onnx")) {
        let file = OnnxFile::read(float).unwrap();
        let sides: Vec<u32> = file.inputs()[0]
            .shape
            .iter()
            .flatten()
            .skip(2)
            .filter_map(|axis| axis.fixed())
            .map(|side| side as u32)
            .collect();
        let input =
            InputSpec { height: sides[0], width: sides[1], resize: ResizeRule::Squash, ..InputSpec::imagenet(1) };
        let spec = ModelSpec { input, output: OutputSpec::logits() };
        let name = format!("{}-int8.onnx", float.file_stem().unwrap().to_str().unwrap());
        let bytes = match quantised(float, &spec, Method::MinMax) {
            // What older sets resize by is another operator in 13.
            Err(QuantiseError::Upgrade { operator, opset: ..=10, .. })
                if ["Upsample", "Resize"].contains(&operator.as_str()) =>
            {
                continue;
            }
            bytes => bytes.unwrap_or_else(|error| panic!("{name}: {error}")),
        };
        let path = written(folder.path(), &name, &bytes);
        let pictures = tensors(&path, &spec, 31);
        all.push((path, spec, pictures));
    }
    let words = run_python(&python, &["-c", RUN, folder.path().to_str().unwrap()]);
    assert_eq!(all.len(), 26);
    for (path, spec, pictures) in &all {
        let name = path.file_name().unwrap().to_str().unwrap();
        let largest = apart(path, spec, pictures);
        let steps = names_of_steps(path, spec);
        // Floats between conversions are rounded in another order, and then now and then to another byte.
        let of_floats = ["pointwise", "pooling", "resizing", "layer normalisation", "attention"];
        let has_floats = steps.iter().any(|step| {
            of_floats.iter().any(|of_floats| step.starts_with(of_floats)) && !step.starts_with("resizing of bytes")
        });
        let tolerance = if has_floats { 0.02 } else { 1e-5 };
        assert!(largest < tolerance, "{name}: {largest} with {steps:?}");
        assert!(words.contains(&format!("{name} 0\n")), "ONNX Runtime runs convolutions on floats:\n{words}");
    }
}

#[test]
fn what_cannot_be_quantised_is_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let float = written(folder.path(), "net.onnx", &network(5));
    let twice = written(folder.path(), "twice.onnx", &quantised(&float, &spec(), Method::MinMax).unwrap());
    let error = Quantiser::open(&twice, &spec(), &[]).unwrap_err();
    assert!(matches!(&error, QuantiseError::Already { operator, .. } if operator == "QuantizeLinear"), "{error}");

    let error = Quantiser::open(&float, &spec(), &["t9999".to_owned()]).unwrap_err();
    assert!(matches!(&error, QuantiseError::UnknownNode { .. }), "{error}");
    let error = Quantiser::open(&float, &spec(), &[]).unwrap().model(Method::MinMax).unwrap_err();
    assert!(matches!(error, QuantiseError::NoPictures), "{error}");

    let mut net = Growing::new(1, SIDE, SIDE);
    net.then("Sigmoid", &[], &[]);
    net.then("GlobalAveragePool", &[], &[]);
    net.then("Flatten", &[], &[("axis", Value::Int(1))]);
    let plain = written(folder.path(), "plain.onnx", &net.file(13));
    let error = Quantiser::open(&plain, &spec(), &[]).unwrap_err();
    assert!(matches!(error, QuantiseError::Nothing), "{error}");
}

#[test]
fn what_is_no_number_stops_the_calibration_and_a_broken_picture_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut net = Growing::new(4, SIDE, SIDE);
    net.convolution(8, [3, 2, 1], 1);
    let huge = net.constant(&[], &[3e38]);
    net.then("Mul", &[&huge], &[]);
    net.then("Relu", &[], &[]);
    net.convolution(8, [3, 2, 1], 1);
    net.head(4);
    let float = written(folder.path(), "net.onnx", &net.file(13));
    let mut quantiser = Quantiser::open(&float, &spec(), &[]).unwrap();
    let error = quantiser.observe(Pass::Extremes, &FrameView::jpeg(b"no picture")).unwrap_err();
    assert!(matches!(error, ObserveError::Decode(_)), "{error}");
    let error = quantiser.observe(Pass::Extremes, &frame(&pictures(1, SIDE)[0], SIDE)).unwrap_err();
    assert!(matches!(&error, ObserveError::Model(QuantiseError::NotFinite { .. })), "{error}");
}

#[test]
fn layers_that_are_to_stay_floats_do_and_the_others_tell_what_they_lose() {
    let folder = tempfile::tempdir().unwrap();
    let float = written(folder.path(), "net.onnx", &network(5));
    let mut quantiser = Quantiser::open(&float, &spec(), &[]).unwrap();
    let whole = quantiser.scope();
    assert!(whole.floats.iter().any(|layer| layer.operator == "Softmax"), "{whole:?}");
    let all = pictures(3, SIDE);
    calibrate(&mut quantiser, &all, SIDE);
    for pixels in &all {
        quantiser.observe(Pass::Layers(Method::MinMax), &frame(pixels, SIDE)).unwrap();
    }
    let layers: Vec<LayerError> = quantiser.layers();
    assert!(layers.len() >= 9, "{layers:?}");
    assert!(layers.is_sorted_by(|a, b| a.sqnr_db <= b.sqnr_db));
    assert!(layers.iter().all(|layer| (15.0..100.0).contains(&layer.sqnr_db)), "{layers:?}");

    let worst = layers.iter().find(|layer| layer.operator == "Conv").unwrap().node.clone();
    let quantiser = Quantiser::open(&float, &spec(), std::slice::from_ref(&worst)).unwrap();
    let scope = quantiser.scope();
    assert_eq!(scope.layers, whole.layers - 1);
    assert!(scope.floats.iter().any(|layer| layer.node == worst && layer.reason.contains("asked for")), "{scope:?}");
}

//! The compiled engine against tract: real networks on photographs, and small ones with every operator that it covers.

use std::fs;
use std::panic::{catch_unwind, resume_unwind};
use std::path::Path;

use margay_inference::decode::Decoder;
use margay_inference::engine::compiled::{CompiledEngine, Declined, fuzz_model};
use margay_inference::engine::onnx::OnnxFile;
use margay_inference::engine::tract::TractEngine;
use margay_inference::prepare::Preparer;
use margay_inference::{Engine, InputSpec, InputTensor, Layout, LoadError, ModelSpec, OutputKind, OutputSpec};
use margay_kernels::Options;

use crate::networks::{Growing, Random, spec};
use crate::protobuf::{Value, tensor};
use crate::shared;
use crate::transformers::transformer;

/// Largest difference from tract, as a part of the largest score: of direct convolutions, and by Winograd's method.
pub const TOLERANCES: [(bool, f32); 2] = [(false, 1e-5), (true, 5e-5)];

fn compile(file: &[u8], spec: &ModelSpec, winograd: bool) -> Result<CompiledEngine, Declined> {
    let file = OnnxFile::decode(Path::new("model.onnx"), file).unwrap();
    CompiledEngine::compile(&file, spec, Options { winograd, ..Options::default() })
}

fn reference(file: &[u8], spec: &ModelSpec) -> TractEngine {
    tract(file, spec).unwrap()
}

fn tract(file: &[u8], spec: &ModelSpec) -> Result<TractEngine, LoadError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    fs::write(&path, file).unwrap();
    TractEngine::load(&path, spec)
}

fn scores(engine: &mut dyn Engine, input: &InputTensor) -> Vec<f32> {
    let mut scores = Vec::new();
    engine.run(input, &mut scores).unwrap();
    scores
}

fn picture(spec: &ModelSpec, seed: u64) -> InputTensor {
    let shape = spec.input.shape();
    InputTensor::from_f32(shape, Random::new(seed).floats(shape.iter().product(), 2.0)).unwrap()
}

/// The largest difference, as a part of the largest score.
pub fn difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(0.0_f32, |scale, value| scale.max(value.abs()));
    let largest = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0_f32, f32::max);
    assert!(found.iter().all(|value| value.is_finite()), "{found:?}");
    largest / scale
}

/// Both engines on three pictures.
pub fn check(name: &str, file: &[u8], spec: &ModelSpec) {
    let mut tract = reference(file, spec);
    for (winograd, tolerance) in TOLERANCES {
        let mut compiled = compile(file, spec, winograd).unwrap_or_else(|declined| panic!("{name}: {declined}"));
        for seed in 0..3 {
            let input = picture(spec, seed);
            let apart = difference(&scores(&mut compiled, &input), &scores(&mut tract, &input));
            assert!(apart <= tolerance, "{name}, picture {seed}, Winograd {winograd}: {apart}");
        }
    }
}

pub fn declined(file: &[u8], spec: &ModelSpec) -> String {
    compile(file, spec, true).unwrap_err().to_string()
}

#[test]
fn real_networks_say_the_same_as_tract_on_every_photograph() {
    let Some(models) = shared::models() else { return };
    let spec = ModelSpec { input: InputSpec::imagenet(224), output: OutputSpec::logits() };
    for model in ["squeezenet1.1_fp32.onnx", "mobilenetv2_fp32.onnx"] {
        let file = fs::read(models.join("onnx").join(model)).unwrap();
        let mut tract = reference(&file, &spec);
        let mut engines = TOLERANCES.map(|(winograd, tolerance)| (compile(&file, &spec, winograd).unwrap(), tolerance));
        let (mut decoder, mut preparer) = (Decoder::new(), Preparer::new(&spec.input));
        for photo in fs::read_dir(models.join("photos")).unwrap() {
            let name = photo.unwrap().file_name().into_string().unwrap();
            let still = shared::photo(&models, &name);
            let input = preparer.prepare(&decoder.decode(&still.frame()).unwrap()).unwrap();
            let expected = scores(&mut tract, input);
            for (compiled, tolerance) in &mut engines {
                let found = scores(compiled, input);
                assert_eq!(first(&found), first(&expected), "{model} on {name}");
                let apart = difference(&found, &expected);
                assert!(apart <= *tolerance, "{model} on {name}: {apart}, not {tolerance}");
            }
        }
    }
}

/// The class of the greatest score.
fn first(scores: &[f32]) -> Option<usize> {
    scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(class, _)| class)
}

#[test]
fn the_bundled_model_says_the_same_as_with_tract() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/signs");
    let file = fs::read(folder.join("package/signs.onnx")).unwrap();
    let spec = ModelSpec { input: InputSpec::imagenet(96), output: OutputSpec::logits() };
    check("signs", &file, &spec);
}

/// A network of random layers of every kind, over odd sizes.
pub fn random_network(seed: u64) -> (Growing, ModelSpec) {
    let mut choice = Random::new(seed.wrapping_add(1000));
    let (height, width) = (9 + choice.below(24) as usize, 9 + choice.below(24) as usize);
    let mut network = Growing::new(seed, height, width);
    network.convolution(8 + choice.below(40) as usize, [3, 1 + choice.below(2) as usize, 1], 1);
    for _ in 0..4 + choice.below(5) {
        random_layer(&mut network, &mut choice);
        random_activation(&mut network, &mut choice);
    }
    network.head(10);
    (network, spec(height as u32, width as u32))
}

fn random_layer(network: &mut Growing, choice: &mut Random) {
    let channels = network.channels;
    let is_large = network.sides.0 > 4 && network.sides.1 > 4;
    match choice.below(12) {
        0 => network.convolution(1 + choice.below(70) as usize, [1, 1, 0], 1),
        1 => network.convolution(1 + choice.below(40) as usize, [3, 1, 1], 1),
        2 => network.convolution(channels, [3, 1 + usize::from(is_large), 1], channels),
        3 => network.convolution(channels, [5, 1, 2], channels),
        4 if is_large => network.convolution(16, [3, 2, choice.below(2) as usize], 1),
        5 => {
            let entry = network.last.clone();
            network.convolution(channels, [3, 1, 1], 1);
            network.then("Add", &[&entry], &[]);
        }
        6 => {
            let entry = network.last.clone();
            network.then("GlobalAveragePool", &[], &[]);
            let sides = std::mem::replace(&mut network.sides, (1, 1));
            network.convolution(channels, [1, 1, 0], 1);
            network.then("Sigmoid", &[], &[]);
            network.then("Mul", &[&entry], &[]);
            network.sides = sides;
        }
        7 => {
            let parameters = ["scale", "shift", "mean"].map(|_| network.weights(&[channels], 0.5));
            let variance = network.constant(&[channels as u64], &vec![0.7; channels]);
            let [scale, shift, mean] = &parameters;
            network.then("BatchNormalization", &[scale, shift, mean, &variance], &[("epsilon", Value::Float(1e-3))]);
        }
        8 => random_resizing(network, choice),
        // A crop: with steps, tract 0.23 computes another network where a convolution comes before (families.py has those).
        9 if is_large => {
            let [starts, ends, axes] = [[1, 0], [i64::MAX, -1], [2, 3]].map(|bounds| network.integers(&bounds));
            network.then("Slice", &[&starts, &ends, &axes], &[]);
            network.sides = (network.sides.0 - 1, network.sides.1 - 1);
        }
        10 => convnext_block(network, choice.below(2) == 0),
        _ => {
            let entry = network.last.clone();
            network.convolution(16 * (1 + choice.below(3) as usize), [1, 1, 0], 1);
            let (left, first) = (network.last.clone(), network.channels);
            network.last = entry;
            network.channels = channels;
            network.convolution(1 + choice.below(30) as usize, [3, 1, 1], 1);
            let right = network.last.clone();
            network.push("Concat", &[&left, &right], &[("axis", Value::Int(1))]);
            network.channels += first;
        }
    }
}

/// Rows and columns to half to twice as many, in a random way.
fn random_resizing(network: &mut Growing, choice: &mut Random) {
    let mut side = |length: usize| length.div_ceil(2) + choice.below(length.min(24) as u64) as usize;
    let (height, width) = (side(network.sides.0), side(network.sides.1));
    let sizes = network.integers(&[1, network.channels as i64, height as i64, width as i64]);
    let mode = ["nearest", "linear"][choice.below(2) as usize];
    let coordinates = ["asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"][choice.below(4) as usize];
    network.then(
        "Resize",
        &["", "", &sizes],
        &[
            ("mode", Value::Text(mode)),
            ("coordinate_transformation_mode", Value::Text(coordinates)),
            ("nearest_mode", Value::Text(["floor", "round_prefer_floor"][choice.below(2) as usize])),
        ],
    );
    network.sides = (height, width);
}

/// A block whose middle has the channels last, with its normalisation and its GELU as operators or spelled out.
fn convnext_block(network: &mut Growing, spelled: bool) {
    let (entry, channels) = (network.last.clone(), network.channels);
    let [scale, shift] = ["scale", "shift"].map(|_| network.weights(&[channels], 0.8));
    let [weights, bias] = [vec![channels, 2 * channels], vec![2 * channels]].map(|shape| network.weights(&shape, 0.2));
    let [back, factors] =
        [vec![2 * channels, channels], vec![channels, 1, 1]].map(|shape| network.weights(&shape, 0.3));
    network.convolution(channels, [7, 1, 3], channels);
    network.then("Transpose", &[], &[("perm", Value::Ints(&[0, 2, 3, 1]))]);
    if spelled {
        let [two, epsilon] = [2.0, 1e-3].map(|number| network.constant(&[], &[number]));
        let means = [("axes", Value::Ints(&[-1])), ("keepdims", Value::Int(1))];
        let x = network.last.clone();
        network.then("ReduceMean", &[], &means);
        let mean = network.last.clone();
        network.push("Sub", &[&x, &mean], &[]);
        let centred = network.last.clone();
        network.then("Pow", &[&two], &[]);
        network.then("ReduceMean", &[], &means);
        network.then("Add", &[&epsilon], &[]);
        network.then("Sqrt", &[], &[]);
        let deviation = network.last.clone();
        network.push("Div", &[&centred, &deviation], &[]);
        network.then("Mul", &[&scale], &[]);
        network.then("Add", &[&shift], &[]);
    } else {
        network.then("LayerNormalization", &[&scale, &shift], &[("epsilon", Value::Float(1e-3))]);
    }
    network.then("MatMul", &[&weights], &[]);
    network.then("Add", &[&bias], &[]);
    let [root, one, half] = [std::f32::consts::SQRT_2, 1.0, 0.5].map(|number| network.constant(&[], &[number]));
    let x = network.last.clone();
    network.then("Div", &[&root], &[]);
    network.then("Erf", &[], &[]);
    network.then("Add", &[&one], &[]);
    network.then("Mul", &[&x], &[]);
    network.then("Mul", &[&half], &[]);
    network.then("MatMul", &[&back], &[]);
    network.then("Transpose", &[], &[("perm", Value::Ints(&[0, 3, 1, 2]))]);
    network.then("Mul", &[&factors], &[]);
    network.then("Add", &[&entry], &[]);
}

fn random_activation(network: &mut Growing, choice: &mut Random) {
    match choice.below(7) {
        0 => network.then("Relu", &[], &[]),
        1 => network.then("LeakyRelu", &[], &[("alpha", Value::Float(0.1))]),
        2 => {
            let (low, high) = (network.constant(&[], &[-0.3]), network.constant(&[], &[6.0]));
            network.then("Clip", &[&low, &high], &[]);
        }
        3 => {
            let entry = network.last.clone();
            network.then("Sigmoid", &[], &[]);
            network.then("Mul", &[&entry], &[]);
        }
        4 => {
            let entry = network.last.clone();
            network.then("HardSigmoid", &[], &[("alpha", Value::Float(1.0 / 6.0)), ("beta", Value::Float(0.5))]);
            network.push("Mul", &[&entry, &network.last.clone()], &[]);
        }
        5 => network.then("HardSwish", &[], &[]),
        _ => {}
    }
}

#[test]
fn random_networks_say_the_same_as_with_tract() {
    let mut compared = 0;
    for seed in 0..40 {
        let (network, spec) = random_network(seed);
        let file = network.file(17);
        // tract refuses some, by an error of its own optimiser.
        if let Err(refused) = tract(&file, &spec) {
            println!("network {seed}: {refused}");
            continue;
        }
        check(&format!("network {seed}"), &file, &spec);
        compared += 1;
    }
    assert!(compared >= 30, "{compared}");
}

#[test]
fn poolings_pads_and_heads_of_every_spelling() {
    let window = |kernel: i64, stride: i64, pads: [i64; 4]| (vec![kernel; 2], vec![stride; 2], pads.to_vec());
    for (operator, (kernel, stride, pads), ceiling) in [
        ("MaxPool", window(3, 2, [0; 4]), 0),
        ("MaxPool", window(3, 2, [1, 1, 1, 1]), 0),
        ("MaxPool", window(3, 2, [0; 4]), 1),
        ("MaxPool", window(2, 2, [0, 0, 1, 1]), 0),
        ("AveragePool", window(3, 1, [1, 1, 1, 1]), 0),
        ("AveragePool", window(2, 2, [0; 4]), 0),
    ] {
        let mut network = Growing::new(5, 12, 15);
        network.convolution(20, [3, 1, 1], 1);
        network.then(
            operator,
            &[],
            &[
                ("kernel_shape", Value::Ints(&kernel)),
                ("strides", Value::Ints(&stride)),
                ("pads", Value::Ints(&pads)),
                ("ceil_mode", Value::Int(ceiling)),
            ],
        );
        network.head(7);
        check(&format!("{operator} {kernel:?} {stride:?} {pads:?} {ceiling}"), &network.file(13), &spec(12, 15));
    }
}

#[test]
fn a_picture_may_be_padded_by_a_node_or_by_an_automatic_rule() {
    let mut network = Growing::new(6, 11, 14);
    let pads = network.integers(&[0, 0, 0, 1, 0, 0, 1, 2]);
    network.then("Pad", &[&pads], &[]);
    network.sides = (12, 17);
    network.convolution(24, [3, 2, 0], 1);
    for rule in ["SAME_UPPER", "SAME_LOWER", "VALID"] {
        let weights = network.weights(&[24, 24, 2, 3], 0.1);
        network.then("Conv", &[&weights], &[("auto_pad", Value::Text(rule)), ("strides", Value::Ints(&[1, 1]))]);
    }
    network.head(5);
    check("pads", &network.file(13), &spec(11, 14));
}

#[test]
fn a_head_may_be_reshaped_reduced_or_multiplied() {
    let mut network = Growing::new(7, 8, 8);
    network.convolution(19, [3, 2, 1], 1);
    network.then("Relu", &[], &[]);
    let shape = network.integers(&[0, -1]);
    network.then("Reshape", &[&shape], &[]);
    let weights = network.weights(&[19 * 16, 9], 0.2);
    network.then("MatMul", &[&weights], &[]);
    let bias = network.weights(&[9], 0.5);
    network.then("Add", &[&bias], &[]);
    network.channels = 9;
    check("reshape", &network.file(13), &spec(8, 8));

    let mut network = Growing::new(8, 8, 8);
    network.convolution(19, [3, 2, 1], 1);
    network.then("ReduceMean", &[], &[("axes", Value::Ints(&[2, 3])), ("keepdims", Value::Int(0))]);
    network.then("Softmax", &[], &[("axis", Value::Int(1))]);
    let output = OutputSpec { kind: OutputKind::Probabilities, ..OutputSpec::logits() };
    check("softmax", &network.file(13), &ModelSpec { output, ..spec(8, 8) });
}

#[test]
fn channels_may_be_shuffled() {
    let mut network = Growing::new(9, 6, 7);
    network.convolution(24, [1, 1, 0], 1);
    let (split, whole) = (network.integers(&[1, 3, 8, 6, 7]), network.integers(&[1, 24, 6, 7]));
    network.then("Reshape", &[&split], &[]);
    network.then("Transpose", &[], &[("perm", Value::Ints(&[0, 2, 1, 3, 4]))]);
    network.then("Reshape", &[&whole], &[]);
    network.convolution(24, [3, 1, 1], 3);
    network.head(4);
    check("shuffle", &network.file(13), &spec(6, 7));
}

#[test]
fn a_model_may_normalise_the_picture_itself_and_take_it_pixel_by_pixel() {
    let mut network = Growing::new(10, 7, 9);
    network.graph.inputs = vec![tensor("image", &[1, 7, 9, 3])];
    network.then("Transpose", &[], &[("perm", Value::Ints(&[0, 3, 1, 2]))]);
    let (mean, deviation) = (network.weights(&[3, 1, 1], 0.5), network.constant(&[1, 3, 1, 1], &[0.5, 0.25, 2.0]));
    network.then("Sub", &[&mean], &[]);
    network.then("Div", &[&deviation], &[]);
    network.convolution(16, [3, 2, 1], 1);
    network.head(3);
    let mut spec = spec(7, 9);
    spec.input.layout = Layout::Nhwc;
    check("channels last", &network.file(13), &spec);
}

#[test]
fn what_is_not_covered_is_named_with_its_operator_and_reason() {
    let mut network = Growing::new(11, 8, 8);
    network.convolution(4, [3, 1, 1], 1);
    network.then("Erf", &[], &[]);
    network.head(3);
    assert_eq!(declined(&network.file(13), &spec(8, 8)), "Erf at `t4`: the operator is not covered");

    let mut network = Growing::new(12, 8, 8);
    network.convolution(4, [3, 1, 1], 1);
    network.then("Relu", &[], &[("novelty", Value::Int(1))]);
    network.head(3);
    assert_eq!(declined(&network.file(13), &spec(8, 8)), "Relu at `t4`: its attribute novelty is not covered");

    let mut network = Growing::new(13, 8, 8);
    network.head(3);
    assert!(declined(&network.file(99), &spec(8, 8)).contains("operator set 99"));
    let bytes = ModelSpec { input: InputSpec::u8_nhwc(8), output: OutputSpec::logits() };
    let mut network = Growing::new(14, 8, 8);
    network.head(3);
    assert_eq!(
        declined(&network.file(13), &bytes),
        "the model: input.element is u8, but the model's input `image` takes float"
    );
}

/// Why a `Resize` with these scales and sizes (an empty list: without) and attributes is left to tract.
fn declined_resizing(scales: &[f32], sizes: &[i64], attributes: &[(&str, Value<'_>)]) -> String {
    let mut network = Growing::new(11, 8, 8);
    network.convolution(4, [3, 1, 1], 1);
    let [mut factors, mut lengths] = [String::new(), String::new()];
    if !scales.is_empty() {
        factors = network.constant(&[scales.len() as u64], scales);
    }
    if !sizes.is_empty() {
        lengths = network.integers(sizes);
    }
    network.then("Resize", &["", &factors, &lengths], attributes);
    network.head(3);
    declined(&network.file(18), &spec(8, 8))
}

#[test]
fn resizings_that_are_not_covered_say_which_value_is_in_the_way() {
    for scale in [1e9, 0.0, -1.0, f32::NAN, f32::INFINITY, 0.1] {
        let text = declined_resizing(&[1.0, 1.0, 2.0, scale], &[], &[]);
        assert!(
            text.contains(&format!("scales has {scale} for a length of 8: lengths must become 1 to 16384")),
            "{text}"
        );
    }
    for size in [0, -1, 1 << 40, i64::MAX, i64::MIN] {
        let text = declined_resizing(&[], &[1, 4, size, 8], &[]);
        assert!(text.contains(&format!("sizes has {size}: a resized length must be 1 to 16384")), "{text}");
    }
    for (scales, sizes, reason) in [
        (&[1.0, 2.0, 1.0, 1.0][..], &[][..], "only rows and columns"),
        (&[], &[2, 4, 8, 8], "only rows and columns"),
        (&[1.0, 1.0, 2.0], &[], "3 scales or sizes for the axes"),
        (&[1.0; 4], &[1, 4, 8, 8], "both scales and sizes, or neither"),
        (&[], &[], "both scales and sizes, or neither"),
    ] {
        let text = declined_resizing(scales, sizes, &[]);
        assert!(text.contains(reason), "{text}");
    }
    for (name, value, reason) in [
        ("mode", Value::Text("cubic"), "its mode cubic is not covered"),
        ("nearest_mode", Value::Text("up"), "its nearest_mode up is not covered"),
        ("antialias", Value::Int(1), "its antialias 1 is not covered"),
        (
            "keep_aspect_ratio_policy",
            Value::Text("not_larger"),
            "its keep_aspect_ratio_policy not_larger is not covered",
        ),
        (
            "coordinate_transformation_mode",
            Value::Text("tf_crop_and_resize"),
            "its coordinate_transformation_mode tf_crop_and_resize is not covered",
        ),
        ("axes", Value::Ints(&[2, 3, 3, 9]), "for the axes [2, 3, 3, 9]"),
        ("novelty", Value::Int(1), "its attribute novelty is not covered"),
    ] {
        let text = declined_resizing(&[1.0, 1.0, 2.0, 2.0], &[], &[(name, value)]);
        assert!(text.contains(reason), "{text}");
    }
}

/// Changed bytes make an error, a model that is left to tract, or a result; never a panic, and never a wrong access.
#[test]
fn ten_thousand_damaged_files_are_compiled_or_declined() {
    let files: Vec<Vec<u8>> = corpus().map(|(file, _)| file).collect();
    let count = if std::env::var_os("MARGAY_TEST_SCALE").is_some() { 10_000 } else { 1_000 };
    let mut ran = 0;
    for round in 0..count {
        let mut random = Random::new(77 + round);
        let file = damaged(&files[round as usize % files.len()], &mut random);
        match catch_unwind(|| fuzz_model(&file)) {
            Ok(good) => ran += u64::from(good),
            Err(panic) => {
                let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("model-{round}.onnx"));
                fs::write(&kept, file).unwrap();
                println!("damaged model {round} broke it: keep {} in tests/models/corpus", kept.display());
                resume_unwind(panic);
            }
        }
    }
    assert!(ran > count / 10 && ran < count * 9 / 10, "{ran} of {count} damaged files ran: the damage is not mixed");
}

/// A file with some bytes changed, a length blown up, a part repeated, or its end cut off.
pub fn damaged(file: &[u8], random: &mut Random) -> Vec<u8> {
    let mut file = file.to_vec();
    let (at, other) = (random.below(file.len() as u64) as usize, random.below(file.len() as u64) as usize);
    match random.below(10) {
        0 => file.truncate(at),
        1 => {
            let part = file[at.min(other)..at.max(other)].to_vec();
            file.splice(at..at, part);
        }
        2 => {
            let length = (1 + random.below(9) as usize).min(file.len() - at);
            file[at..at + length].fill([0xff, 0x7f, 0x80, 0][random.below(4) as usize]);
        }
        _ => {
            for _ in 0..1 + random.below(4) {
                let place = random.below(file.len() as u64) as usize;
                file[place] = random.below(256) as u8;
            }
        }
    }
    file
}

#[test]
fn models_that_once_broke_the_engine_are_read_again() {
    for (file, _) in corpus() {
        assert!(fuzz_model(&file));
    }
}

/// Small networks that use every operator, and kept files, each a case of its own (tests/models/corpus).
pub fn corpus() -> impl Iterator<Item = (Vec<u8>, ModelSpec)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/corpus");
    let kept =
        fs::read_dir(folder).into_iter().flatten().map(|file| (fs::read(file.unwrap().path()).unwrap(), spec(9, 9)));
    let grown = (0..6).map(|seed| {
        let mut network = Growing::new(seed, 9, 9);
        every_operator(&mut network);
        (network.file(17), spec(9, 9))
    });
    let transformers = [false, true].into_iter().map(|spelled| transformer(7, 3, 2, spelled));
    kept.chain(transformers).chain(grown)
}

/// A few channels through most of what is covered: small, so that damage meets structure and not only weights.
fn every_operator(network: &mut Growing) {
    let pads = network.integers(&[0, 0, 0, 0, 0, 0, 1, 1]);
    network.then("Pad", &[&pads], &[]);
    network.sides = (10, 10);
    network.convolution(6, [3, 2, 1], 1);
    network.then("Relu", &[], &[]);
    network.convolution(6, [3, 1, 1], 6);
    let entry = network.last.clone();
    network.convolution(6, [1, 1, 0], 1);
    network.then("Add", &[&entry], &[]);
    let parameters = ["scale", "shift", "mean"].map(|_| network.weights(&[6], 0.5));
    let variance = network.constant(&[6], &[0.7; 6]);
    let [scale, shift, mean] = &parameters;
    network.then("BatchNormalization", &[scale, shift, mean, &variance], &[]);
    let gate = network.last.clone();
    network.then("Sigmoid", &[], &[]);
    network.then("Mul", &[&gate], &[]);
    let (split, whole) = (network.integers(&[1, 2, 3, 5, 5]), network.integers(&[1, 6, 5, 5]));
    network.then("Reshape", &[&split], &[]);
    network.then("Transpose", &[], &[("perm", Value::Ints(&[0, 2, 1, 3, 4]))]);
    network.then("Reshape", &[&whole], &[]);
    let last = network.last.clone();
    network.then("Concat", &[&last], &[("axis", Value::Int(1))]);
    network.channels = 12;
    let [starts, ends, axes, steps] = [[0, 1], [5, 5], [2, 3], [2, 1]].map(|bounds| network.integers(&bounds));
    network.then("Slice", &[&starts, &ends, &axes, &steps], &[]);
    let scales = network.constant(&[4], &[1.0, 1.0, 2.0, 1.5]);
    network.then("Resize", &["", &scales], &[("mode", Value::Text("linear"))]);
    let sizes = network.integers(&[1, 12, 5, 5]);
    network.then("Resize", &["", "", &sizes], &[("nearest_mode", Value::Text("floor"))]);
    network.then("MaxPool", &[], &[("kernel_shape", Value::Ints(&[2, 2])), ("ceil_mode", Value::Int(1))]);
    network.convolution(4, [3, 1, 1], 2);
    network.then("LeakyRelu", &[], &[]);
    convnext_block(network, true);
    convnext_block(network, false);
    network.head(3);
    network.then("Softmax", &[], &[]);
}

#[test]
fn a_network_of_every_operator_says_the_same_as_with_tract() {
    for (number, (file, spec)) in corpus().enumerate() {
        check(&format!("every operator, {number}"), &file, &spec);
    }
}

//! Real models on labelled photographs, against what ONNX Runtime 1.31 says of the same (../shared/models/README.md).

use std::path::Path;

use margay_inference::decode::Decoder;
use margay_inference::engine::tract::TractEngine;
use margay_inference::prepare::Preparer;
use margay_inference::{
    Engine, GoldenError, GoldenSample, InputSpec, InputTensor, LoadError, ModelSpec, OutputSpec, Pipeline, TensorData,
    inspect, verify_golden,
};

use crate::shared;

const SQUEEZENET: &str = "squeezenet1.1_fp32.onnx";
const MOBILENET: &str = "mobilenetv2_fp32.onnx";
const MOBILENET_QDQ: &str = "mobilenetv2-12-qdq.onnx";
const MOBILENET_V1_U8: &str = "mobilenet_v1_0.25_128_qdq.onnx";
const MOBILENET_V2_U8: &str = "tf2_mobilenet_v2_1.0_224_ptq.onnx";
const DETECTOR: &str = "yolox_nano.onnx";

fn imagenet() -> ModelSpec {
    ModelSpec { input: InputSpec::imagenet(224), output: OutputSpec::logits() }
}

fn bytes(size: u32) -> ModelSpec {
    ModelSpec { input: InputSpec::u8_nhwc(size), output: OutputSpec::u8_probabilities() }
}

/// What ONNX Runtime puts first. `None`: two classes are so near each other that rounding decides between them.
type Answer = Option<(u32, f32)>;

const PHOTOS: [&str; 11] = [
    "coral_bird.bmp",
    "coral_cat_720p.jpg",
    "coral_dragonfly.bmp",
    "coral_hot_dog.jpg",
    "coral_parrot.jpg",
    "coral_grace_hopper.bmp",
    "skimage_rocket.jpg",
    "skimage_chelsea.png",
    "skimage_coffee.png",
    "wonnx_pelican.jpg",
    "wonnx_bald_eagle.jpg",
];

/// Every photograph must get the class that ONNX Runtime gives it, with a probability no further off than `slack`.
fn check_photos(model: &str, spec: &ModelSpec, slack: f32, answers: [Answer; 11]) {
    let Some(models) = shared::models() else { return };
    let mut pipeline = shared::pipeline(&models, model, spec);
    for (photo, answer) in PHOTOS.into_iter().zip(answers) {
        let Some((class, probability)) = answer else { continue };
        let found = pipeline.classify(&shared::photo(&models, photo).frame(), 5).unwrap();
        let first = &found.predictions[0];
        assert_eq!(first.class, class, "{model} on {photo}: {found:?}");
        assert!((first.probability - probability).abs() <= slack, "{model} on {photo}: {found:?}");
        assert_eq!(found.predictions.len(), 5);
    }
}

#[test]
fn squeezenet_sees_on_photographs_what_onnx_runtime_sees() {
    check_photos(
        SQUEEZENET,
        &imagenet(),
        0.02,
        [
            Some((19, 0.99)),
            Some((285, 0.66)),
            Some((319, 0.60)),
            Some((934, 0.91)),
            Some((88, 0.99)),
            None,
            Some((657, 0.47)),
            Some((285, 0.55)),
            Some((967, 0.87)),
            Some((144, 0.69)),
            Some((21, 0.36)),
        ],
    );
}

#[test]
fn mobilenet_sees_on_photographs_what_onnx_runtime_sees() {
    check_photos(
        MOBILENET,
        &imagenet(),
        0.02,
        [
            Some((19, 0.99)),
            Some((285, 0.72)),
            Some((319, 0.84)),
            Some((934, 0.74)),
            Some((88, 0.99)),
            Some((457, 0.49)),
            Some((540, 0.35)),
            Some((285, 0.73)),
            Some((967, 0.99)),
            Some((144, 0.99)),
            Some((22, 0.99)),
        ],
    );
}

/// tract computes such a model in floats between its quantisations, which moves the less certain answers.
#[test]
fn a_model_with_quantised_layers_sees_on_photographs_what_onnx_runtime_sees() {
    check_photos(
        MOBILENET_QDQ,
        &imagenet(),
        0.15,
        [
            Some((19, 0.99)),
            Some((285, 0.79)),
            Some((319, 0.81)),
            Some((934, 0.68)),
            Some((88, 0.99)),
            None,
            None,
            Some((285, 0.52)),
            Some((967, 0.99)),
            Some((144, 0.99)),
            Some((22, 0.99)),
        ],
    );
}

#[test]
fn a_model_of_bytes_sees_on_photographs_what_onnx_runtime_sees() {
    check_photos(
        MOBILENET_V1_U8,
        &bytes(128),
        0.06,
        [
            Some((19, 0.60)),
            Some((285, 0.49)),
            Some((300, 0.27)),
            Some((38, 0.34)),
            Some((88, 0.57)),
            Some((400, 0.46)),
            Some((668, 0.62)),
            Some((285, 0.57)),
            Some((967, 0.80)),
            Some((693, 0.32)),
            Some((21, 0.47)),
        ],
    );
}

/// tract on its own refuses this model, over the type of a table it makes itself.
#[test]
fn a_model_that_goes_from_u8_to_i8_sees_on_photographs_what_onnx_runtime_sees() {
    check_photos(
        MOBILENET_V2_U8,
        &bytes(224),
        0.08,
        [
            Some((19, 0.94)),
            Some((285, 0.92)),
            None,
            Some((934, 0.65)),
            Some((88, 0.98)),
            Some((667, 0.57)),
            Some((657, 0.63)),
            Some((285, 0.52)),
            Some((967, 0.80)),
            Some((144, 0.97)),
            Some((21, 0.79)),
        ],
    );
}

/// Largest absolute difference and the mean one.
fn difference(found: &[f32], expected: &[f32]) -> (f32, f32) {
    assert_eq!(found.len(), expected.len());
    let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    (differences.clone().fold(0.0, f32::max), differences.sum::<f32>() / found.len() as f32)
}

fn reference_tensor(models: &Path, photo: &str) -> InputTensor {
    InputTensor::from_f32([1, 3, 224, 224], shared::npy(models, &format!("{photo}_nchw_f32.npy"))).unwrap()
}

#[test]
fn a_float_model_computes_the_reference_logits_to_1e_4() {
    let Some(models) = shared::models() else { return };
    for model in [SQUEEZENET, MOBILENET] {
        let mut engine = TractEngine::load(&models.join("onnx").join(model), &imagenet()).unwrap();
        for photo in ["coral_cat_720p", "skimage_coffee"] {
            let mut logits = Vec::new();
            engine.run(&reference_tensor(&models, photo), &mut logits).unwrap();
            let stem = model.trim_end_matches(".onnx");
            let (largest, _) = difference(&logits, &shared::npy(&models, &format!("{photo}__{stem}.npy")));
            assert!(largest < 1e-4, "{model} on {photo}: {largest}");
        }
    }
}

/// Pillow, which made the references, and our resampler round a byte differently now and then: 1/255 of a channel is
/// 0.0171 to 0.0175 here, and JPEG decoders differ by as much again.
#[test]
fn a_photograph_becomes_the_reference_tensor_but_for_rounding() {
    let Some(models) = shared::models() else { return };
    let (mut decoder, mut preparer) = (Decoder::new(), Preparer::new(&InputSpec::imagenet(224)));
    for (photo, file) in [("coral_cat_720p", "coral_cat_720p.jpg"), ("skimage_coffee", "skimage_coffee.png")] {
        let still = shared::photo(&models, file);
        let tensor = preparer.prepare(&decoder.decode(&still.frame()).unwrap()).unwrap();
        let reference = reference_tensor(&models, photo);
        let (TensorData::F32(found), TensorData::F32(expected)) = (tensor.data(), reference.data()) else {
            panic!("both are float tensors")
        };
        let (largest, mean) = difference(found, expected);
        assert!(largest < 0.06 && mean < 0.006, "{photo}: largest {largest}, mean {mean}");
    }
}

#[test]
fn an_engine_can_be_used_again_and_gives_the_same_answer() {
    let Some(models) = shared::models() else { return };
    let mut pipeline = shared::pipeline(&models, SQUEEZENET, &imagenet());
    let (cat, bird) = (shared::photo(&models, "coral_cat_720p.jpg"), shared::photo(&models, "coral_bird.bmp"));
    let first = pipeline.classify(&cat.frame(), 5).unwrap().predictions;
    assert_ne!(pipeline.classify(&bird.frame(), 5).unwrap().predictions, first);
    assert_eq!(pipeline.classify(&cat.frame(), 5).unwrap().predictions, first);
}

#[test]
fn a_golden_sample_passes_only_with_its_class_and_probability() {
    let Some(models) = shared::models() else { return };
    let mut pipeline = shared::pipeline(&models, SQUEEZENET, &imagenet());
    let sample = |class, minimum_probability| GoldenSample {
        name: "golden/parrot.jpg".to_owned(),
        picture: std::fs::read(models.join("photos/coral_parrot.jpg")).unwrap(),
        class,
        minimum_probability,
        maximum_probability: 1.0,
    };
    assert!(verify_golden(&mut pipeline, sample(88, 0.9)).unwrap() > 0.9);
    for wrong in [sample(89, 0.0), sample(88, 0.9999)] {
        let error = verify_golden(&mut pipeline, wrong).unwrap_err();
        assert!(matches!(&error, GoldenError::Missed { class: 88, .. }), "{error}");
    }
}

#[test]
fn what_does_not_fit_the_specification_is_named() {
    let Some(models) = shared::models() else { return };
    let refusal = |model: &str, spec: &ModelSpec| {
        let error = Pipeline::load(&models.join("onnx").join(model), spec, shared::labels(&models)).unwrap_err();
        assert!(matches!(error, LoadError::Mismatch { .. } | LoadError::Labels(_)), "{error}");
        format!("{error}: {}", std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default())
    };
    let layout = refusal(SQUEEZENET, &bytes(224));
    assert!(layout.contains("input.element is u8, but the model's input `data` takes float"), "{layout}");
    assert!(
        layout.contains("input.layout is nhwc, but the model's input is `data` float [N, 3, 224, 224]"),
        "{layout}"
    );

    let unquantised = ModelSpec { output: OutputSpec::logits(), ..bytes(128) };
    assert!(refusal(MOBILENET_V1_U8, &unquantised).contains("output.quantisation is missing"));

    let detector = ModelSpec { input: InputSpec::imagenet(416), output: OutputSpec::logits() };
    assert!(refusal(DETECTOR, &detector).contains("the output's shape is [1, 3549, 85]"));

    let mut background = bytes(128);
    background.output.index_offset = 0;
    assert!(refusal(MOBILENET_V1_U8, &background).contains("1000 labels for 1001 outputs"));
}

#[test]
fn inspection_counts_operators_and_parameters() {
    let Some(models) = shared::models() else { return };
    let summary = inspect(&models.join("onnx").join(SQUEEZENET)).unwrap();
    assert_eq!(summary.operators["Conv"], 26);
    assert_eq!(summary.operators.values().sum::<usize>(), 65);
    assert_eq!(summary.parameter_bytes, 4_941_984);
    assert_eq!(summary.inputs[0].to_string(), "`data` float [N, 3, 224, 224]");
    let json = serde_json::to_string(&summary).unwrap();
    assert_eq!(serde_json::from_str::<margay_inference::ModelSummary>(&json).unwrap(), summary);
}

//! Real models against what ONNX Runtime 1.31 computes (../shared/models/README.md). What they see on photographs is in
//! the promises, by way of packages.

use std::path::Path;

use margay_inference::decode::Decoder;
use margay_inference::engine::tract::TractEngine;
use margay_inference::prepare::Preparer;
use margay_inference::{
    Engine, EngineChoice, GoldenError, GoldenSample, InputSpec, InputTensor, Jpeg, LoadError, ModelSpec, OutputSpec,
    Pipeline, TensorData, inspect, verify_golden,
};

use crate::shared;

const SQUEEZENET: &str = "squeezenet1.1_fp32.onnx";
const MOBILENET: &str = "mobilenetv2_fp32.onnx";
const MOBILENET_V1_U8: &str = "mobilenet_v1_0.25_128_qdq.onnx";
const DETECTOR: &str = "yolox_nano.onnx";
/// Those that are JPEGs.
const PHOTOGRAPHS: [&str; 6] = [
    "coral_cat_720p.jpg",
    "coral_hot_dog.jpg",
    "coral_parrot.jpg",
    "skimage_rocket.jpg",
    "wonnx_bald_eagle.jpg",
    "wonnx_pelican.jpg",
];

fn imagenet() -> ModelSpec {
    ModelSpec { input: InputSpec::imagenet(224), output: OutputSpec::logits() }
}

fn bytes(size: u32) -> ModelSpec {
    ModelSpec { input: InputSpec::u8_nhwc(size), output: OutputSpec::u8_probabilities() }
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

/// Networks of 224 and of 128 pixels, so that photographs are decoded at a half and at a quarter.
#[test]
fn a_photograph_that_is_decoded_at_reduced_size_is_still_the_same_thing() {
    let Some(models) = shared::models() else { return };
    let whole =
        |spec: &ModelSpec| ModelSpec { input: InputSpec { jpeg: Jpeg::Full, ..spec.input.clone() }, ..spec.clone() };
    let output = OutputSpec { index_offset: 1, ..OutputSpec::u8_probabilities() };
    let bytes = ModelSpec { output, ..bytes(128) };
    for (model, spec) in [(SQUEEZENET, imagenet()), (MOBILENET, imagenet()), (MOBILENET_V1_U8, bytes)] {
        let mut reduced = shared::pipeline(&models, model, &spec);
        let mut full = shared::pipeline(&models, model, &whole(&spec));
        for photo in PHOTOGRAPHS {
            let still = shared::photo(&models, photo);
            let [reduced, full] =
                [&mut reduced, &mut full].map(|pipeline| pipeline.classify(&still.frame(), 2).unwrap().predictions);
            let near = full[0].probability - full[1].probability < 0.02;
            assert!(near || reduced[0].class == full[0].class, "{model}, {photo}: {reduced:?} instead of {full:?}");
        }
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
        let path = models.join("onnx").join(model);
        let error = Pipeline::load(&path, spec, shared::labels(&models), EngineChoice::Auto).unwrap_err();
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

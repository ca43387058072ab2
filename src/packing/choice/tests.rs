use margay_inference::Coverage;
use margay_inference::engine::signature::{Axis, TensorSignature};

use super::*;

/// A tensor; a length of 0 is an open axis.
fn tensor(name: &str, element: &str, shape: &[u64]) -> TensorSignature {
    let axis = |&length: &u64| if length == 0 { Axis::Named("N".to_owned()) } else { Axis::Fixed(length) };
    TensorSignature {
        name: name.to_owned(),
        element: element.to_owned(),
        shape: Some(shape.iter().map(axis).collect()),
    }
}

fn summary(element: &str, shape: &[u64]) -> ModelSummary {
    ModelSummary {
        producer: "test".to_owned(),
        opset: 13,
        inputs: vec![tensor("data", element, shape)],
        outputs: vec![tensor("scores", "float", &[1, 1000])],
        operators: [].into(),
        parameter_bytes: 0,
        scored_by: Some("Gemm".to_owned()),
        quantisation: None,
        multiply_accumulates: None,
        scores: Some(1000),
        compiled: Coverage::Open,
    }
}

fn imagenet() -> Words {
    Words { preset: Some(Preset::Imagenet), ..Words::default() }
}

#[track_caller]
fn refused(words: &Words, summary: &ModelSummary, parts: &[&str]) {
    let problems = choose(words, summary, 1000).unwrap_err();
    let text = problems.join("\n");
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

#[test]
fn the_presets_fit_the_models_that_they_are_for() {
    let spec = choose(&imagenet(), &summary("float", &[0, 3, 224, 224]), 1000).unwrap();
    assert_eq!(spec, ModelSpec { input: InputSpec::imagenet(224), output: OutputSpec::logits() });

    let mut bytes = summary("uint8", &[1, 128, 128, 3]);
    bytes.outputs = vec![tensor("scores", "uint8", &[1, 1001])];
    bytes.scores = Some(1001);
    bytes.quantisation = Some(Quantisation { scale: 1.0 / 256.0, zero_point: 0 });
    let expected = ModelSpec { input: InputSpec::u8_nhwc(128), output: OutputSpec::u8_probabilities() };
    assert_eq!(choose(&Words::default(), &bytes, 1000).unwrap(), expected);
    let words = Words { preset: Some(Preset::U8Nhwc), ..Words::default() };
    assert_eq!(choose(&words, &bytes, 1000).unwrap(), expected);
}

#[test]
fn normalisation_is_never_guessed() {
    let graph = summary("float", &[1, 224, 224, 3]);
    refused(&Words::default(), &graph, &["nothing says how pixels become the floats", "--preset imagenet", "--mean"]);
    let words = Words { scale: Some(1.0 / 127.5), mean: Some([1.0; 3]), ..Words::default() };
    let input = choose(&words, &graph, 1000).unwrap().input;
    assert_eq!((input.layout, input.mean, input.std), (Layout::Nhwc, [1.0; 3], [1.0; 3]));
}

#[test]
fn what_contradicts_the_graph_is_named_with_the_remedy() {
    let nhwc = summary("float", &[1, 224, 224, 3]);
    refused(
        &imagenet(),
        &nhwc,
        &["--preset imagenet feeds nchw", "`data` float [1, 224, 224, 3] is nhwc", "--layout nhwc"],
    );
    let bytes = summary("uint8", &[1, 128, 128, 3]);
    refused(&imagenet(), &bytes, &["--preset imagenet feeds floats", "uint8", "write --preset u8-nhwc"]);
    let float = summary("float", &[1, 3, 224, 224]);
    let words = Words { preset: Some(Preset::U8Nhwc), ..Words::default() };
    refused(&words, &float, &["--preset u8-nhwc feeds bytes", "write --preset imagenet"]);
    let words = Words { size: Some((192, 192)), ..imagenet() };
    refused(&words, &float, &["--size is 192x192", "leave it out"]);
    let words = Words { layout: Some(Layout::Nhwc), ..imagenet() };
    refused(&words, &float, &["--layout is nhwc", "is nchw"]);
    let words = Words { mean: Some([0.0; 3]), ..Words::default() };
    refused(&words, &bytes, &["takes bytes as they are"]);
}

#[test]
fn dynamic_axes_are_asked_for() {
    let open = summary("float", &[0, 3, 0, 0]);
    refused(&imagenet(), &open, &["leaves its size open", "--size"]);
    let words = Words { size: Some((224, 192)), ..imagenet() };
    let input = choose(&words, &open, 1000).unwrap().input;
    assert_eq!((input.width, input.height), (224, 192));
    let all_open = summary("float", &[0, 0, 0, 0]);
    let words = Words { size: Some((224, 224)), mean: Some([0.0; 3]), ..Words::default() };
    refused(&words, &all_open, &["leaves open where its channels are", "--layout nchw"]);
}

#[test]
fn what_is_no_image_classifier_is_refused() {
    refused(&imagenet(), &summary("float", &[1, 128]), &["is no image"]);
    refused(&imagenet(), &summary("float", &[1, 1, 28, 28]), &["is no image of 3 channels"]);
    refused(&imagenet(), &summary("int64", &[1, 3, 28, 28]), &["takes int64"]);
    refused(&imagenet(), &summary("float", &[8, 3, 224, 224]), &["batches of 8", "export it with a batch of 1"]);
    let mut several = summary("float", &[1, 3, 224, 224]);
    several.inputs.push(tensor("mask", "float", &[1]));
    refused(&imagenet(), &several, &["2 inputs (data, mask)"]);
    let mut boxes = summary("float", &[1, 3, 224, 224]);
    boxes.outputs.push(tensor("boxes", "float", &[1, 4]));
    refused(&imagenet(), &boxes, &["2 outputs"]);
}

#[test]
fn a_newer_operator_set_is_refused_with_how_to_export() {
    let newer = ModelSummary { opset: 23, ..summary("float", &[1, 3, 224, 224]) };
    refused(&imagenet(), &newer, &["operator set 23", "opset_version=18"]);
}

#[test]
fn a_softmax_at_the_end_makes_probabilities() {
    let graph = ModelSummary { scored_by: Some("Softmax".to_owned()), ..summary("float", &[1, 3, 224, 224]) };
    assert_eq!(choose(&imagenet(), &graph, 1000).unwrap().output.kind, OutputKind::Probabilities);
    let words = Words { kind: Some(OutputKind::Logits), ..imagenet() };
    refused(&words, &graph, &["ends in a Softmax"]);
}

#[test]
fn a_label_count_that_does_not_fit_is_named_with_both_numbers() {
    let graph = summary("float", &[1, 3, 224, 224]);
    let problems = choose(&imagenet(), &graph, 12).unwrap_err();
    assert!(problems[0].contains("12 labels for 1000 outputs"), "{problems:?}");
    assert_eq!(choose(&imagenet(), &graph, 999).unwrap().output.index_offset, 1);
}

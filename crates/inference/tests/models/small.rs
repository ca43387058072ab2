//! Small models made for a purpose: a classifier that can be reckoned by hand, and those that must be refused.

use std::fs;

use margay_inference::{
    ClassifyError, EngineChoice, FrameView, InputSpec, Labels, LoadError, ModelSpec, OutputKind, OutputSpec, Pipeline,
    ResizeRule, Stage,
};
use proptest::prelude::*;

use crate::protobuf::{Graph, INT8, Message, UINT8, byte, node, tensor, tensor_of, weights};

/// 1 × 1 RGB, its bytes from 0 to 1.
fn spec() -> ModelSpec {
    let input = InputSpec { mean: [0.0; 3], std: [1.0; 3], resize: ResizeRule::Squash, ..InputSpec::imagenet(1) };
    ModelSpec { input, output: OutputSpec::logits() }
}

/// `operator` over a flattened 1 × 3 × 1 × 1 image: its three channels are the three classes.
fn three_classes(operator: &str) -> Graph {
    Graph {
        inputs: vec![tensor("image", &[1, 3, 1, 1])],
        outputs: vec![tensor("classes", &[1, 3])],
        nodes: vec![node("Flatten", &["image"], "flat"), node(operator, &["flat"], "classes")],
        weights: Vec::new(),
    }
}

fn load(file: &[u8], spec: &ModelSpec) -> Result<Pipeline, LoadError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    fs::write(&path, file).unwrap();
    Pipeline::load(&path, spec, Labels::new(["red", "green", "blue"]).unwrap(), EngineChoice::Auto)
}

fn refusal(graph: &Graph) -> LoadError {
    load(&graph.file(), &spec()).unwrap_err()
}

#[test]
fn a_model_whose_classes_are_colours_names_the_colour() {
    let mut pipeline = load(&three_classes("Identity").file(), &spec()).unwrap();
    for (pixel, colour) in [([255, 0, 0], "red"), ([9, 200, 100], "green"), ([0, 1, 2], "blue")] {
        let found = pipeline.classify(&FrameView::rgb24(1, 1, &pixel), 3).unwrap();
        assert_eq!(&*found.predictions[0].label, colour, "{found:?}");
    }
}

#[test]
fn a_model_that_ends_in_softmax_is_declared_to_return_probabilities() {
    let mut spec = spec();
    spec.output.kind = OutputKind::Probabilities;
    let mut pipeline = load(&three_classes("Softmax").file(), &spec).unwrap();
    let found = pipeline.classify(&FrameView::rgb24(1, 1, &[255, 0, 0]), 1).unwrap();
    assert!((found.predictions[0].probability - 0.5761).abs() < 1e-3, "{found:?}");
}

/// A byte in, a byte out, and `nodes` between `real` (the byte as it is) and `scores` (times 256).
fn of_bytes(nodes: Vec<Message>) -> Graph {
    let mut graph = Graph {
        inputs: vec![tensor_of(UINT8, "image", &[1, 1, 1, 3])],
        outputs: vec![tensor_of(UINT8, "classes", &[1, 3])],
        nodes: vec![
            node("Flatten", &["image"], "flat"),
            node("DequantizeLinear", &["flat", "one", "zero"], "real"),
            node("QuantizeLinear", &["scores", "step", "zero"], "classes"),
        ],
        weights: vec![
            weights("one", &[], &[1.0], None),
            weights("step", &[], &[1.0 / 256.0], None),
            byte(UINT8, "zero", 0),
            byte(INT8, "middle", 128),
        ],
    };
    graph.nodes.splice(2..2, nodes);
    graph
}

fn probability_of_green(graph: &Graph, pixel: [u8; 3]) -> f32 {
    let input = InputSpec { resize: ResizeRule::Squash, ..InputSpec::u8_nhwc(1) };
    let output = OutputSpec { index_offset: 0, ..OutputSpec::u8_probabilities() };
    let mut pipeline = load(&graph.file(), &ModelSpec { input, output }).unwrap();
    let found = pipeline.classify(&FrameView::rgb24(1, 1, &pixel), 1).unwrap();
    assert_eq!(&*found.predictions[0].label, "green", "{found:?}");
    found.predictions[0].probability
}

#[test]
fn a_softmax_between_quantisations_is_computed_over_all_classes() {
    let graph = of_bytes(vec![node("Softmax", &["real"], "scores")]);
    // e² ÷ (e² + e + 1), in steps of 1/256.
    assert_eq!(probability_of_green(&graph, [1, 2, 0]), 170.0 / 256.0);
}

#[test]
fn a_model_may_go_from_unsigned_to_signed_bytes() {
    let graph = of_bytes(vec![
        node("QuantizeLinear", &["real", "one", "middle"], "signed"),
        node("DequantizeLinear", &["signed", "one", "middle"], "again"),
        node("Softmax", &["again"], "scores"),
    ]);
    assert_eq!(probability_of_green(&graph, [1, 2, 0]), 170.0 / 256.0);
}

#[test]
fn an_operator_that_tract_does_not_know_is_named_with_model_stage_and_advice() {
    let error = refusal(&three_classes("FrobnicateTheImage"));
    assert!(matches!(error, LoadError::Refused { .. }), "{error}");
    let text = error.to_string();
    for part in ["tract refuses the model", "model.onnx", "at the stage '", "FrobnicateTheImage", "; export it again"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains('\n') && text.len() < 700, "{text}");
}

#[test]
fn weights_in_another_file_are_refused_without_looking_for_it() {
    let mut graph = three_classes("Identity");
    graph.nodes[1] = node("Add", &["flat", "bias"], "classes");
    graph.weights = vec![weights("bias", &[3], &[], Some("/etc/passwd"))];
    let error = refusal(&graph);
    assert!(matches!(error, LoadError::Refused { stage: Stage::Parse, .. }), "{error}");
    assert!(error.to_string().contains("the weights of `bias` are kept in another file"), "{error}");
    graph.weights = vec![weights("bias", &[3], &[0.0, 0.5, 0.0], None)];
    let mut pipeline = load(&graph.file(), &spec()).unwrap();
    let found = pipeline.classify(&FrameView::rgb24(1, 1, &[100, 0, 0]), 1).unwrap();
    assert_eq!(&*found.predictions[0].label, "green");
}

#[test]
fn a_graph_with_loose_ends_is_refused() {
    let mut graph = three_classes("Identity");
    graph.nodes[1] = node("Add", &["flat", "nowhere"], "classes");
    assert!(refusal(&graph).to_string().contains("nothing supplies the tensor `nowhere`"));
    let mut graph = three_classes("Identity");
    graph.outputs = vec![tensor("nowhere", &[1, 3])];
    assert!(matches!(refusal(&graph), LoadError::Refused { stage: Stage::Parse, .. }));
    assert!(matches!(refusal(&Graph::default()), LoadError::Refused { stage: Stage::Parse, .. }));
}

#[test]
fn a_model_with_two_inputs_or_two_outputs_is_no_classifier() {
    let mut graph = three_classes("Identity");
    graph.inputs.push(tensor("second", &[1, 3]));
    graph.nodes[1] = node("Add", &["flat", "second"], "classes");
    assert!(refusal(&graph).to_string().contains("the number of inputs is 2"));
    let mut graph = three_classes("Identity");
    graph.outputs.push(tensor("flat", &[1, 3]));
    assert!(refusal(&graph).to_string().contains("the number of outputs is 2"));
}

#[test]
fn a_model_that_divides_by_zero_makes_no_prediction_and_can_go_on() {
    let mut graph = three_classes("Identity");
    graph.nodes[1] = node("Div", &["flat", "flat"], "classes");
    let mut pipeline = load(&graph.file(), &spec()).unwrap();
    let error = pipeline.classify(&FrameView::rgb24(1, 1, &[0, 1, 2]), 1).unwrap_err();
    assert!(matches!(error, ClassifyError::Rank(_)), "{error}");
    assert!(pipeline.classify(&FrameView::rgb24(1, 1, &[3, 1, 2]), 1).is_ok());
}

proptest! {
    #[test]
    fn a_damaged_model_file_is_loaded_or_refused_but_never_a_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), keep in 0.5f64..1.0,
    ) {
        let mut graph = three_classes("Softmax");
        graph.nodes[1] = node("Add", &["flat", "bias"], "classes");
        graph.weights = vec![weights("bias", &[3], &[0.0, 0.5, 0.0], None)];
        let mut file = graph.file();
        for (place, byte) in damage {
            let place = place.index(file.len());
            file[place] = byte;
        }
        file.truncate((file.len() as f64 * (keep + 0.25)) as usize);
        let _ = load(&file, &spec());
    }
}

//! Foldings, node by node, and damaged files.

use std::path::Path;

use margay_kernels::Quantised;
use tract_onnx::pb::{OperatorSetIdProto, ValueInfoProto};

use super::super::emission::emit;
use super::super::graph::{Names, attribute, node};
use super::super::selection::Selection;
use super::*;

fn value(name: &str) -> ValueInfoProto {
    ValueInfoProto { name: name.to_owned(), ..ValueInfoProto::default() }
}

/// A node with inputs, and an output of its operator's name and a number.
fn operator(name: &str, inputs: &[&str], output: &str) -> NodeProto {
    node(name, inputs.iter().map(|&input| input.to_owned()).collect(), output.to_owned(), String::new())
}

fn file_of(opset: i64, nodes: Vec<NodeProto>, constants: Vec<tract_onnx::pb::TensorProto>) -> OnnxFile {
    let output = nodes.last().unwrap().output[0].clone();
    let graph = GraphProto {
        node: nodes,
        initializer: constants,
        input: vec![value("x")],
        output: vec![value(&output)],
        ..GraphProto::default()
    };
    let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: opset }];
    let proto = ModelProto { graph: Some(graph), opset_import, ..ModelProto::default() };
    OnnxFile { path: "net.onnx".into(), proto, weights: None }
}

fn graph(file: &OnnxFile) -> GraphProto {
    prepare(file).unwrap().graph.unwrap()
}

fn values(graph: &GraphProto, name: &str) -> Vec<f32> {
    Index::of(graph).constant(name).unwrap().floats().unwrap().to_vec()
}

#[test]
fn scales_and_shifts_behind_a_convolution_become_its_weights_and_bias() {
    let nodes = vec![
        operator("Conv", &["x", "w"], "a"),
        operator("BatchNormalization", &["a", "scale", "shift", "mean", "variance"], "b"),
        operator("Mul", &["b", "two"], "c"),
        operator("Identity", &["c"], "d"),
        operator("Relu", &["d"], "y"),
    ];
    let constants = vec![
        floats("w", &[2, 1, 1, 1], &[1.0, 3.0]),
        floats("scale", &[2], &[2.0, 1.0]),
        floats("shift", &[2], &[0.5, -1.0]),
        floats("mean", &[2], &[1.0, 0.0]),
        floats("variance", &[2], &[1.0 - 1e-5, 4.0 - 1e-5]),
        floats("two", &[1, 2, 1, 1], &[2.0, 4.0]),
    ];
    let graph = graph(&file_of(13, nodes, constants));
    let operators: Vec<&str> = graph.node.iter().map(|node| node.op_type.as_str()).collect();
    assert_eq!(operators, ["Conv", "Relu"]);
    let near = |found: Vec<f32>, expected: [f32; 2]| {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4), "{found:?} {expected:?}");
    };
    near(values(&graph, &graph.node[0].input[1]), [4.0, 6.0]);
    near(values(&graph, &graph.node[0].input[2]), [-3.0, -4.0]);
    assert_eq!(graph.initializer.len(), 2, "what nobody reads is gone");
}

#[test]
fn a_convolution_that_somebody_else_reads_keeps_its_weights() {
    let nodes = vec![
        operator("Conv", &["x", "w"], "a"),
        operator("Mul", &["a", "two"], "b"),
        operator("Add", &["a", "b"], "y"),
    ];
    // Two numbers along the last axis are no channels, either.
    for two in [floats("two", &[2, 1, 1], &[2.0; 2]), floats("two", &[2], &[2.0; 2])] {
        let file = file_of(13, nodes.clone(), vec![floats("w", &[2, 1, 1, 1], &[1.0, 3.0]), two]);
        assert_eq!(graph(&file).node, nodes);
    }
}

#[test]
fn zeros_around_a_picture_and_factors_of_a_product_are_taken_in() {
    let mut convolution = operator("Conv", &["padded", "w"], "a");
    convolution.attribute.push(ints_attribute("pads", vec![0, 1, 0, 0]));
    let mut product = operator("Gemm", &["flat", "m", "c"], "y");
    let factor = |name: &str, f: f32| AttributeProto { name: name.to_owned(), f, ..AttributeProto::default() };
    product.attribute = vec![factor("alpha", 2.0), factor("beta", 0.5)];
    let nodes =
        vec![operator("Pad", &["x", "pads"], "padded"), convolution, operator("Flatten", &["a"], "flat"), product];
    let constants = vec![
        super::super::graph::longs("pads", &[0, 0, 1, 2, 0, 0, 3, 4]),
        floats("w", &[1, 1, 1, 1], &[1.0]),
        floats("m", &[1, 2], &[1.0, -1.0]),
        floats("c", &[1, 2], &[4.0, 6.0]),
    ];
    let graph = graph(&file_of(13, nodes, constants));
    let [convolution, _, product] = graph.node.as_slice() else { panic!("{:?}", graph.node) };
    assert_eq!((convolution.input[0].as_str(), ints(convolution, "pads")), ("x", Some(&[1, 3, 3, 4][..])));
    assert_eq!(values(&graph, &product.input[1]), [2.0, -2.0]);
    assert_eq!(values(&graph, &product.input[2]), [2.0, 3.0]);
    assert!(attribute(product, "alpha").is_none());
}

#[test]
fn what_is_out_of_order_or_has_graphs_within_is_refused_by_name() {
    let mut branch = operator("If", &["x"], "y");
    branch.attribute.push(AttributeProto { g: Some(GraphProto::default()), ..AttributeProto::default() });
    for (nodes, word) in [
        (vec![operator("Relu", &["later"], "a"), operator("Relu", &["x"], "later")], "\"later\""),
        (vec![operator("Relu", &["x"], "x")], "computed twice"),
        (vec![branch], "graphs within"),
    ] {
        let error = prepare(&file_of(13, nodes, vec![])).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    let error = prepare(&file_of(22, vec![operator("Relu", &["x"], "y")], vec![])).unwrap_err();
    assert!(matches!(error, QuantiseError::Opset { opset: 22 }), "{error}");
}

#[test]
fn names_that_are_taken_get_a_number() {
    let graph = GraphProto { input: vec![value("a"), value("a_2")], ..GraphProto::default() };
    let mut names = Names::of(&graph);
    assert_eq!([names.fresh("a"), names.fresh("b"), names.fresh("b")], ["a_3", "b", "b_2"]);
}

/// Changed bytes make an error or a model, never a panic. tract is left out: it is tried elsewhere.
#[test]
fn two_thousand_damaged_files_are_refused_or_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/golden/families");
    let mut models: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    models.retain(|path| path.extension().is_some_and(|end| end == "onnx"));
    models.sort();
    let models: Vec<Vec<u8>> = models.iter().map(|path| std::fs::read(path).unwrap()).collect();
    let (mut state, mut written) = (9_u64, 0);
    let mut below = |limit: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % limit
    };
    for round in 0..2000 {
        let mut bytes = models[round % models.len()].clone();
        for _ in 0..1 + below(8) {
            // Where there are fewer weights, more is said.
            let place = if below(2) == 0 { below(bytes.len()) } else { below(bytes.len().min(8000)) };
            bytes[place] = below(256) as u8;
        }
        let Ok(file) = OnnxFile::decode(Path::new("net.onnx"), &bytes) else { continue };
        let Ok(model) = prepare(&file) else { continue };
        let Ok(selection) = Selection::of(model.graph.as_ref().unwrap(), &[]) else { continue };
        let quantised = vec![Quantised { scale: 0.1, zero: 3 }; selection.tensors.len()];
        assert!(!emit(&model, &selection, &quantised).graph.unwrap().node.is_empty());
        written += 1;
    }
    assert!(written > 200, "only {written} of 2000 damaged files were written");
}

//! Which engine `"auto"` takes, and what the operator hears where the engines disagree.

use std::fs;

use margay_inference::{EngineChoice, Labels, ModelSpec, Pipeline};

use crate::networks::{Growing, sliced_with_a_step, square};

/// The model on an engine of choice, with three classes.
fn load((file, spec): &(Vec<u8>, ModelSpec), engine: EngineChoice) -> Pipeline {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    fs::write(&path, file).unwrap();
    Pipeline::load(&path, spec, Labels::new(["a", "b", "c"]).unwrap(), engine).unwrap()
}

#[test]
fn a_model_of_which_tract_gives_other_scores_stays_with_tract_and_the_operator_hears_by_how_much() {
    let model = sliced_with_a_step();
    let pipeline = load(&model, EngineChoice::Auto);
    assert_eq!(pipeline.engine_name(), "tract");
    let remark = pipeline.engine_remark().unwrap();
    for words in [
        "the largest difference",
        " % of the largest score",
        "[model] engine = \"compiled\" or \"tract\"",
        "`margay model verify`",
    ] {
        assert!(remark.contains(words), "{remark}");
    }
    for engine in [EngineChoice::Tract, EngineChoice::Compiled] {
        let pipeline = load(&model, engine);
        assert_eq!((pipeline.engine_name(), pipeline.engine_remark()), (engine.name(), None));
    }
}

#[test]
fn a_model_of_which_the_engines_agree_is_compiled_without_a_word() {
    let mut network = Growing::new(5, 16, 16);
    network.convolution(8, [3, 2, 1], 1);
    network.head(3);
    let pipeline = load(&(network.file(13), square()), EngineChoice::Auto);
    assert_eq!((pipeline.engine_name(), pipeline.engine_remark()), ("compiled", None));
}

//! A small member of each family of classifiers, against ONNX Runtime's scores: four of them kept in `golden/families/`, all of them
//! written by families.py where Python has onnx and onnxruntime.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use margay_inference::engine::compiled::CompiledEngine;
use margay_inference::engine::onnx::OnnxFile;
use margay_inference::{Engine, InputSpec, InputTensor, ModelSpec, OutputSpec};
use margay_kernels::{Isa, Options};

use crate::compiled::{TOLERANCES, difference};
use crate::networks::Random;

/// Numbers of a file that families.py wrote.
fn numbers(path: &Path) -> Vec<f32> {
    let bytes = fs::read(path).unwrap();
    bytes.as_chunks::<4>().0.iter().copied().map(f32::from_le_bytes).collect()
}

/// The model at `path` gives the scores in the file beside it, on every instruction set, with and without Winograd's
/// method, with one thread and two.
fn check(path: &Path) {
    let file = OnnxFile::read(path).unwrap();
    let sides: Vec<usize> = file.inputs()[0].shape.iter().flatten().skip(2).filter_map(|axis| axis.fixed()).collect();
    let input = InputSpec { height: sides[0] as u32, width: sides[1] as u32, ..InputSpec::imagenet(1) };
    let spec = ModelSpec { input, output: OutputSpec::logits() };
    let pixels = 3 * sides[0] * sides[1];
    let name = path.file_stem().unwrap().to_string_lossy();
    let (mut whole, mut lazy) = (Vec::new(), Vec::new());
    let noise = InputTensor::from_f32(spec.input.shape(), Random::new(5).floats(pixels, 2.0)).unwrap();
    CompiledEngine::compile(&file, &spec, Options::default()).unwrap().run(&noise, &mut whole).unwrap();
    CompiledEngine::load(path, &spec, 1).unwrap().unwrap().run(&noise, &mut lazy).unwrap();
    assert_eq!(whole, lazy, "{name}: weights that are read one by one are the same");
    for (isa, threads) in Isa::available().into_iter().flat_map(|isa| [(isa, 1), (isa, 2)]) {
        for (winograd, tolerance) in TOLERANCES {
            let options = Options { isa, threads, winograd, poisons: true, ..Options::default() };
            let mut engine =
                CompiledEngine::compile(&file, &spec, options).unwrap_or_else(|declined| panic!("{name}: {declined}"));
            for (number, case) in numbers(&path.with_extension("f32")).chunks(pixels + engine.outputs()).enumerate() {
                let picture = InputTensor::from_f32(spec.input.shape(), case[..pixels].to_vec()).unwrap();
                let mut scores = Vec::new();
                engine.run(&picture, &mut scores).unwrap();
                let apart = difference(&scores, &case[pixels..]);
                assert!(apart <= tolerance, "{name}, {isa}, {threads} threads, Winograd {winograd}, {number}: {apart}");
            }
        }
    }
}

/// All models of a folder.
fn check_all(folder: &Path) -> usize {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let models: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "onnx")).collect();
    models.iter().for_each(|path| check(path));
    models.len()
}

#[test]
fn kept_members_of_families_say_what_onnx_runtime_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/golden/families");
    assert_eq!(check_all(&folder), 4);
}

#[test]
fn a_member_of_each_family_says_what_onnx_runtime_says() {
    let python = std::env::var("MARGAY_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let found = Command::new(&python).args(["-c", "import onnx, onnxruntime"]).output();
    if !found.is_ok_and(|output| output.status.success()) {
        println!("skipped: python clients: pip install onnx onnxruntime; MARGAY_TEST_PYTHON names the interpreter");
        let required = std::env::var("MARGAY_TEST_REQUIRE").is_ok_and(|value| value == "1");
        assert!(!required, "onnx and onnxruntime are absent, and MARGAY_TEST_REQUIRE is 1");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/families.py");
    let output = Command::new(python).arg(script).arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(check_all(folder.path()), 28);
}

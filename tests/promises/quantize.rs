//! `margay model quantize` makes a package of bytes that answers as its float package does, on every engine, or makes none and
//! says why.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::support::{program, python};

const FLOAT: &str = "models/signs/road-signs-1.0.0.tar.gz";
const FRAMES: &str = "models/signs/frames";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs `margay model quantize` for a package of `from`.
fn quantize(from: &str, output: &Path, more: &[&str]) -> Output {
    program::run(&[&["model", "quantize", from, "--output", text(output), "--json"], more].concat())
}

fn report(output: &Output, code: i32) -> Value {
    program::assert_code(output, code);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The frames in folders that are named after what they show, so many of each.
fn labelled(folder: &Path, each: usize) {
    let truth: BTreeMap<String, String> =
        serde_json::from_str(&fs::read_to_string("models/signs/frames/truth.json").unwrap()).unwrap();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (frame, label) in &truth {
        let count = counts.entry(label).or_default();
        if *count < each {
            *count += 1;
            let class = folder.join(label.replace(' ', "-"));
            fs::create_dir_all(&class).unwrap();
            fs::copy(Path::new(FRAMES).join(frame), class.join(frame)).unwrap();
        }
    }
}

/// The first class of each of some frames, and its probability, by an engine.
fn answers(package: &Path, engine: &[&str]) -> Vec<(String, f64)> {
    let frames: Vec<String> = (0..12).map(|n| format!("{FRAMES}/frame-{:03}.jpg", n * 40)).collect();
    let mut arguments = vec!["classify", "--json", "--top-k", "1", "--model", text(package)];
    arguments.extend(engine.iter().copied().chain(frames.iter().map(String::as_str)));
    let output = program::run(&arguments);
    program::assert_code(&output, 0);
    let lines = String::from_utf8(output.stdout).unwrap();
    let best = |line: &str| serde_json::from_str::<Value>(line).unwrap()["predictions"][0].clone();
    let best = lines.lines().map(best);
    best.map(|best| (best["label"].as_str().unwrap().to_owned(), best["probability"].as_f64().unwrap())).collect()
}

/// Whether the processor multiplies bytes without saturating.
fn has_vnni() -> bool {
    fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains("_vnni"))
}

#[test]
fn the_bundled_package_becomes_one_of_bytes_that_answers_alike_on_every_engine() {
    let folder = tempfile::tempdir().unwrap();
    let validation = folder.path().join("labelled");
    labelled(&validation, 10);
    let output = folder.path().join("int8.tar.gz");
    let options = ["--calibrate", FRAMES, "--pictures", "120", "--validate", text(&validation)];
    let found = report(&quantize(FLOAT, &output, &options), 0);
    let (told, package) = (&found["report"], &found["package"]);
    assert_eq!((&package["name"], &package["version"]), (&Value::from("road-signs-int8"), &Value::from("1.0.0")));
    assert_eq!((&told["calibrated"], &told["passed"]), (&Value::from(120), &Value::from(true)));
    assert_eq!(told["tried"].as_array().unwrap().len(), 3, "every method is tried");
    assert!(told["comparison"]["agreement"].as_f64().unwrap() >= 0.98, "{told}");
    assert_eq!(told["comparison"]["labelled"], 120);
    assert!(told["comparison"]["int8_right"].as_u64().unwrap() >= 108, "{told}");
    assert_eq!(told["speed"]["engines"], serde_json::json!(["compiled", "compiled"]));
    assert_eq!(told["scope"]["floats"], serde_json::json!([]), "everything computes with bytes");
    assert!(told["layers"].as_array().unwrap().len() >= 7, "{told}");
    let bytes = |key: usize| told["model_bytes"][key].as_f64().unwrap();
    assert!(bytes(1) < 0.3 * bytes(0), "{told}");
    assert_eq!(package["golden"].as_array().unwrap().len(), 2);

    program::assert_code(&program::run(&["model", "verify", text(&output)]), 0);
    let float = answers(Path::new(FLOAT), &[]);
    let compiled = answers(&output, &["--engine", "compiled"]);
    assert!(float.iter().zip(&compiled).filter(|(a, b)| a.0 == b.0).count() >= 11, "{float:?} {compiled:?}");
    let apart = |other: &[(String, f64)], most: f64| {
        for ((label, probability), (name, other)) in compiled.iter().zip(other) {
            assert!(label == name && (probability - other).abs() <= most, "{label} {probability}, {name} {other}");
        }
    };
    apart(&answers(&output, &["--engine", "tract"]), 0.1);
    let Some(python) = python::python_with("onnxruntime") else { return };
    let script = "import os, onnxruntime; print(os.path.join(os.path.dirname(onnxruntime.__file__), 'capi'))";
    let library = python::run(&python, script, &[]);
    // Where the processor has AVX2 and no VNNI, the library's sums of two products saturate.
    let most = if std::env::consts::ARCH != "x86_64" || has_vnni() { 1e-4 } else { 0.1 };
    apart(&answers(&output, &["--engine", "onnxruntime", "--onnxruntime", library.trim()]), most);
}

#[test]
fn the_same_pictures_give_the_same_package_and_it_says_where_it_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first.tar.gz", "second.tar.gz"].map(|name| folder.path().join(name));
    let options = ["--calibrate", FRAMES, "--pictures", "24", "--method", "minmax", "--min-agreement", "0.9"];
    let [one, other] = [&first, &second].map(|output| report(&quantize(FLOAT, output, &options), 0));
    assert_eq!(one["package"]["digest"], other["package"]["digest"]);
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(fs::File::open(&first).unwrap()));
    let provenance = archive
        .entries()
        .unwrap()
        .map(Result::unwrap)
        .find(|entry| entry.path().unwrap().ends_with("quantisation.json"));
    let provenance: Value = serde_json::from_reader(provenance.unwrap()).unwrap();
    assert_eq!((&provenance["method"], &provenance["pictures"]), (&Value::from("minmax"), &Value::from(24)));
    assert_eq!(provenance["source"]["name"], "road-signs");
    let known = fs::read_to_string("models/signs/road-signs-1.0.0.tar.gz.sha256").unwrap();
    let digest = provenance["source"]["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
    assert!(known.starts_with(&digest), "{digest}");
}

/// Pictures that are all one grey, from which no range can be learnt.
fn grey(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for number in 0..8 {
        let mut file = b"BM".to_vec();
        for field in [54 + 3 * 64 * 64, 0, 54, 40, 64, 64, (24 << 16) | 1, 0, 3 * 64 * 64_u32, 2835, 2835, 0, 0] {
            file.extend(field.to_le_bytes());
        }
        file.resize(file.len() + 3 * 64 * 64, 128);
        fs::write(folder.join(format!("{number}.bmp")), file).unwrap();
    }
}

/// A package of the float model without golden samples.
fn without_golden(folder: &Path) -> PathBuf {
    let package = folder.join("plain.tar.gz");
    let options = ["--mean", "0.5", "--std", "0.25", "--resize", "short-side:96", "--output", text(&package)];
    let fixed = ["model", "pack", "models/signs/package/signs.onnx", "--labels", "models/signs/package/labels.txt"];
    program::assert_code(&program::run(&[&fixed[..], &options].concat()), 0);
    package
}

#[test]
fn a_model_that_answers_otherwise_is_not_written_unless_it_is_forced() {
    let folder = tempfile::tempdir().unwrap();
    let (pictures, output) = (folder.path().join("grey"), folder.path().join("int8.tar.gz"));
    grey(&pictures);
    let package = without_golden(folder.path());
    let options = ["--calibrate", text(&pictures), "--validate", FRAMES, "--pictures", "40"];
    let run = quantize(text(&package), &output, &options);
    let found = report(&run, 12);
    assert_eq!((&found["report"]["passed"], &found["package"]), (&Value::from(false), &Value::Null));
    let said = String::from_utf8(run.stderr).unwrap();
    assert!(said.contains("--keep-float") && said.contains("0.98"), "{said}");
    assert!(!output.exists());

    let found = report(&quantize(text(&package), &output, &[&options[..], &["--force"]].concat()), 0);
    assert_eq!(found["report"]["passed"], false);
    assert!(output.exists());
}

#[test]
fn what_cannot_be_quantised_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("int8.tar.gz");
    let [few, broken] = ["few", "broken"].map(|name| folder.path().join(name));
    fs::create_dir_all(&few).unwrap();
    fs::copy(Path::new(FRAMES).join("frame-000.jpg"), few.join("0.jpg")).unwrap();
    grey(&broken);
    for number in 0..3 {
        fs::write(broken.join(format!("broken-{number}.jpg")), "no picture").unwrap();
    }
    let int8 = "models/signs/road-signs-int8-1.0.0.tar.gz";
    let cases: [(&str, &[&str], i32, &[&str]); 5] = [
        (FLOAT, &["--calibrate", text(&few)], 8, &["holds 1 pictures", "at least 8"]),
        (FLOAT, &["--calibrate", "/nowhere"], 8, &["/nowhere"]),
        (FLOAT, &["--calibrate", text(&broken)], 8, &["3 of 11 pictures", "broken-0.jpg"]),
        (int8, &["--calibrate", FRAMES], 7, &["quantised already", "give the float model"]),
        (FLOAT, &["--calibrate", FRAMES, "--keep-float", "nothing"], 7, &["\"nothing\"", "to keep in float"]),
    ];
    for (package, options, code, words) in cases {
        let run = quantize(package, &output, options);
        program::assert_code(&run, code);
        let said = String::from_utf8(run.stderr).unwrap();
        assert!(words.iter().all(|word| said.contains(word)) && !said.contains("panicked"), "{said}");
    }
    assert!(!output.exists());
}

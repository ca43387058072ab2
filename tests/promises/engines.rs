//! Engines give one answer, `margay model tune` keeps the fastest on this device, and the core runs what was kept.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::networks::sliced_with_a_step;
use crate::support::device::Device;
use crate::support::{program, python};

const PACKAGE: &str = "models/signs/road-signs-1.0.0.tar.gz";
const PICTURE: &str = "models/signs/frames/frame-000.jpg";

/// The folder of ONNX Runtime's library in PyPI's wheel; `None`, and a line that says so, where it is not installed.
fn library() -> Option<String> {
    let python = python::python_with("onnxruntime")?;
    let script = "import os, onnxruntime; print(os.path.join(os.path.dirname(onnxruntime.__file__), 'capi'))";
    Some(python::run(&python, script, &[]).trim().to_owned())
}

fn predictions(more: &[&str]) -> Value {
    let output = program::run(&[&["classify", "--json", "--model", PACKAGE, PICTURE], more].concat());
    program::assert_code(&output, 0);
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["predictions"].clone()
}

#[test]
fn every_engine_gives_the_same_answer_on_any_number_of_threads() {
    let onnx_runtime = library();
    let expected = predictions(&["--engine", "tract"]);
    let mut cases = vec![("compiled", "1"), ("compiled", "3")];
    if onnx_runtime.is_some() {
        cases.extend([("onnxruntime", "1"), ("onnxruntime", "2")]);
    }
    let folder = onnx_runtime.unwrap_or_else(|| "/".to_owned());
    for (engine, threads) in cases {
        let mut options = vec!["--engine", engine, "--threads", threads];
        if engine == "onnxruntime" {
            options.extend(["--onnxruntime", &folder]);
        }
        let found = predictions(&options);
        for (expected, found) in expected.as_array().unwrap().iter().zip(found.as_array().unwrap()) {
            assert_eq!(expected["label"], found["label"], "{engine}");
            let gap = expected["probability"].as_f64().unwrap() - found["probability"].as_f64().unwrap();
            assert!(gap.abs() < 1e-4, "{engine}: {expected} {found}");
        }
    }
}

#[test]
fn a_library_that_is_absent_or_none_is_named_with_what_to_do() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    // Every sandbox has a /tmp of its own.
    let hidden = tempfile::tempdir_in("/tmp").unwrap();
    let [fake, hidden] = [&folder, &hidden].map(|folder| folder.path().join("libonnxruntime.so"));
    for library in [&fake, &hidden] {
        fs::write(library, "no library").unwrap();
    }
    let [fake, hidden] = [&fake, &hidden].map(|path| path.to_str().unwrap());
    for (path, code, word) in [("/nowhere", 2, "/nowhere"), (fake, 7, "libonnxruntime.so"), (hidden, 10, "/tmp")] {
        let options = ["classify", "--engine", "onnxruntime", "--onnxruntime", path, "--model", PACKAGE, PICTURE];
        let output = program::run(&options);
        program::assert_code(&output, code);
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(message.contains(word) && !message.contains("panicked"), "{message}");
    }
    let output = program::run(&["classify", "--engine", "warp", "--model", PACKAGE, PICTURE]);
    program::assert_code(&output, 2);
    assert!(String::from_utf8_lossy(&output.stderr).contains("compiled, onnxruntime"));
}

#[test]
fn a_provider_that_the_library_lacks_is_replaced_with_a_word() {
    let Some(library) = library() else { return };
    let output = program::run(&[
        "bench",
        "--json",
        "--model",
        PACKAGE,
        "--engines",
        "onnxruntime-acl",
        "--onnxruntime",
        &library,
        "--warm-up",
        "0",
        "--frames",
        "2",
    ]);
    program::assert_code(&output, 0);
    let run = serde_json::from_slice::<Value>(&output.stdout).unwrap()["runs"][0].clone();
    assert_eq!((&run["asked"], &run["engine"]), (&"onnxruntime-acl".into(), &"onnxruntime".into()));
    for words in [run["remark"].as_str().unwrap(), &String::from_utf8_lossy(&output.stderr)] {
        assert!(words.contains("onnxruntime-acl does not work here"), "{words}");
    }
}

/// Every command that an operator has for a package says so, with the largest difference and the two ways out.
#[test]
fn of_a_model_on_which_the_engines_disagree_the_operator_hears_how_far_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let [model, labels, package] = ["model.onnx", "labels.txt", "model.tar.gz"].map(at);
    fs::write(&model, sliced_with_a_step().0).unwrap();
    fs::write(&labels, "a\nb\nc\n").unwrap();
    let pack = ["model", "pack", "--json", &model, "--labels", &labels, "--preset", "imagenet", "--output", &package];
    let inspect = ["model", "inspect", "--json", &package];
    let verify = ["model", "verify", "--json", &package];
    let classify = ["classify", "--json", "--model", &package, PICTURE];
    for command in [&pack[..], &inspect, &verify, &classify] {
        let output = program::run(command);
        program::assert_code(&output, 0);
        let complaint = String::from_utf8(output.stderr).unwrap();
        for words in ["% of the largest score", "[model] engine = \"compiled\" or \"tract\"", "`margay model verify`"] {
            assert!(complaint.contains(words), "{command:?}: {complaint}");
        }
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(command == classify || complaint.contains(document["remark"].as_str().unwrap()), "{document}");
    }
    let output = program::run(&["classify", "--engine", "compiled", "--json", "--model", &package, PICTURE]);
    program::assert_code(&output, 0);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("largest score"));
}

/// Tunes the bundled package, keeping the choice in the device's state.
fn tune(device: &Device, more: &[&str]) -> Value {
    let config = device.config_path();
    let fixed = ["model", "tune", "--json", "--rounds", "1", "--config", config.to_str().unwrap(), PACKAGE];
    let output = program::run(&[&fixed, more].concat());
    program::assert_code(&output, 0);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What is in a measurement, if it ran and may be chosen: its engine, threads and median.
fn eligible(measurement: &Value) -> Option<(String, u64, u64)> {
    let ran = measurement["outcome"]["ran"].as_object().filter(|ran| ran["excluded"].is_null())?;
    let engine = measurement["engine"].as_str().unwrap().to_owned();
    Some((engine, measurement["threads"].as_u64().unwrap(), ran["p50_us"].as_u64().unwrap()))
}

/// Asserts that the choice is the fastest of what was measured on one thread, and gives the engines that ran.
#[track_caller]
fn assert_fastest(tuned: &Value) -> BTreeSet<String> {
    let measurements = tuned["measurements"].as_array().unwrap();
    let ran: Vec<_> = measurements.iter().filter_map(eligible).collect();
    let fastest = ran.iter().map(|(_, _, p50)| *p50).min().unwrap();
    let chosen = ran.iter().find(|(engine, threads, _)| {
        (tuned["choice"]["engine"].as_str(), tuned["choice"]["threads"].as_u64()) == (Some(engine), Some(*threads))
    });
    assert_eq!(chosen.expect("the choice was measured").2, fastest, "{tuned}");
    ran.into_iter().map(|(engine, ..)| engine).collect()
}

#[test]
fn tuning_keeps_the_fastest_of_what_is_here_and_records_what_is_not() {
    let device = Device::new();
    let tuned = tune(&device, &["--threads", "1", "--onnxruntime", "/nowhere"]);
    assert_eq!(assert_fastest(&tuned), BTreeSet::from(["compiled".to_owned(), "tract".to_owned()]));
    let absent = tuned["measurements"].as_array().unwrap().iter().find(|one| one["engine"] == "onnxruntime").unwrap();
    assert!(absent["outcome"]["failed"]["why"].as_str().unwrap().contains("/nowhere"), "{absent}");
    let kept: Value = serde_json::from_slice(&fs::read(tuned["kept"].as_str().unwrap()).unwrap()).unwrap();
    for key in ["format", "digest", "processor", "choice", "reason", "measurements"] {
        assert_eq!(kept[key], tuned[key], "{key}");
    }

    let Some(library) = library() else { return };
    let tuned = tune(&device, &["--threads", "1", "--onnxruntime", &library]);
    assert!(assert_fastest(&tuned).contains("onnxruntime"), "{tuned}");
}

#[test]
fn the_core_runs_what_was_kept_for_the_package_on_its_own_processor_only() {
    let device = Device::new();
    let tuned = tune(&device, &["--threads", "1", "--onnxruntime", "/nowhere"]);
    let kept = PathBuf::from(tuned["kept"].as_str().unwrap());
    // Whatever is faster here: the choice of this test is the one that the core would not make by itself.
    change(&kept, |kept| kept["choice"]["engine"] = "tract".into());
    assert_eq!(engine_of_a_core(&device), "tract");

    change(&kept, |kept| kept["processor"]["name"] = "another board".into());
    assert_eq!(engine_of_a_core(&device), "compiled");
    assert!(device.log().contains("measured on another processor"), "{}", device.log());

    fs::write(&kept, "{").unwrap();
    assert_eq!(engine_of_a_core(&device), "compiled");
}

#[test]
fn a_core_runs_a_model_on_onnx_runtime_in_its_sandbox() {
    let Some(library) = library() else { return };
    let mut device = Device::new();
    device.config["margay"]["onnxRuntime"] = library.clone().into();
    device.parameters["Threads"] = "2".into();
    device.write();
    let tuned = tune(&device, &["--threads", "1"]);
    let kept = Path::new(tuned["kept"].as_str().unwrap());
    // A choice of ONNX Runtime carries its library, as one of another engine does not; which is the faster one here is
    // not for this test to say.
    change(kept, |kept| {
        kept["choice"]["engine"] = "onnxruntime".into();
        kept["choice"]["library"] = Value::Null;
    });
    assert_eq!(engine_of_a_core(&device), "onnxruntime");

    // The configuration leads nowhere: the choice's own library serves.
    device.config["margay"]["onnxRuntime"] = "/nowhere".into();
    device.write();
    let mut files = fs::read_dir(&library).unwrap().map(|entry| entry.unwrap().path());
    let is_it = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("libonnxruntime.so");
    let file = files.find(is_it).expect("the library's file");
    change(kept, |kept| kept["choice"]["library"] = file.to_str().into());
    assert_eq!(engine_of_a_core(&device), "onnxruntime");

    // The library goes away: the model runs on, and the log says on what.
    change(kept, |kept| kept["choice"]["library"] = "/nowhere/libonnxruntime.so".into());
    assert_eq!(engine_of_a_core(&device), "compiled");
    assert!(device.log().contains("the library of the stored choice is gone"), "{}", device.log());
}

/// Changes a kept choice.
fn change(kept: &Path, change: impl FnOnce(&mut Value)) {
    let mut document: Value = serde_json::from_slice(&fs::read(kept).unwrap()).unwrap();
    change(&mut document);
    fs::write(kept, document.to_string()).unwrap();
}

/// Starts a core, waits for frames, and gives the engine that its log names for the model that is ready.
fn engine_of_a_core(device: &Device) -> String {
    let _ = fs::remove_file(device.log_path());
    let mut core = device.start();
    device.wait_for_predictions();
    core.terminate();
    let log = device.log();
    let ready = log.lines().find(|line| line.contains("the model is ready")).unwrap_or_else(|| panic!("{log}"));
    let ready = ready.replace('"', "");
    let engine = ready.split_once("engine=").or_else(|| ready.split_once("engine:")).expect("it names the engine").1;
    engine.split([' ', ',', '}']).next().unwrap().to_owned()
}

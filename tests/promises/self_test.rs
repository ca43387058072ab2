//! A model that is wrong never takes over: the package's own samples, labels and ceiling find it on the device, the
//! deployment says why, and what classified before goes on.

use margay::app::status::CoreStatus;
use margay::deployment::State;

use crate::support::device::{BUCKET, Device, KEY};
use crate::support::package::Package;
use crate::support::program;

/// Deploys `package` over the running bundled one: it must be refused with `words`, and nothing else may change.
#[track_caller]
fn is_refused(package: &Package, words: &[&str]) {
    let device = Device::new();
    let core = device.start();
    let before = device.wait_for("the first deployment", |status| {
        status.cameras[0].deployment.state == State::Deployed && inferred(status) > 0
    });
    let good = before.cameras[0].classifier.as_ref().unwrap().model.clone();
    device.cloud.put_object(BUCKET, KEY, package.pack());
    program::signal(core.pid(), rustix::process::Signal::HUP);
    let failed = device.wait_for("the bad model to be refused", |status| {
        status.cameras[0].deployment.state == State::Failed && status.cameras[0].deployment.failure.is_some()
    });
    let why = failed.cameras[0].deployment.failure.clone().unwrap();
    for word in words {
        assert!(why.contains(word), "{word:?} is not in: {why}");
    }
    let seen = inferred(&failed);
    let after = device.wait_for("classification to go on", |status| inferred(status) > seen + 20);
    assert_eq!(after.cameras[0].classifier.as_ref().unwrap().model, good, "the old model still classifies");
}

fn inferred(status: &CoreStatus) -> u64 {
    status.cameras[0].classifier.as_ref().map_or(0, |classifier| classifier.ledger.inferred())
}

/// The bundled package with its manifest changed; the original must hold `from`.
fn with_manifest(from: &str, to: &str) -> Package {
    let mut package = Package::bundled();
    let manifest = package.manifest();
    assert!(manifest.contains(from), "{from:?} is not in the manifest");
    package.0.insert("model.toml".to_owned(), manifest.replace(from, to).into_bytes());
    package
}

#[test]
fn swapped_labels_are_found() {
    let mut package = with_manifest("class = 0\n", "class = 0\nlabel = \"stop\"\n");
    let labels = String::from_utf8(package.0["labels.txt"].clone()).unwrap();
    let swapped = labels.replace("stop", "?").replace("yield", "stop").replace('?', "yield");
    package.replace("labels.txt", swapped.into_bytes());
    is_refused(&package, &["golden/stop.jpg", "\"stop\"", "yield", "another order"]);
}

#[test]
fn blue_declared_as_red_is_found() {
    let package = with_manifest("color = \"rgb\"", "color = \"bgr\"");
    is_refused(&package, &["golden/", "check the [input] section"]);
}

#[test]
fn a_model_that_is_too_slow_for_its_ceiling_is_found() {
    let package =
        with_manifest("minimum_probability = 0.5\n", "minimum_probability = 0.5\nmaximum_latency_ms = 0.01\n");
    is_refused(&package, &["ms for a frame of 640x480", "0.0 ms", "maximum_latency_ms"]);
}

#[test]
fn a_corrupt_weight_is_found_although_every_digest_is_right() {
    let mut package = Package::bundled();
    let mut model = package.0["signs.onnx"].clone();
    // In the middle of the largest layer's floats, whose bytes are most of the file.
    let middle = (model.len() / 2) & !3;
    for weight in model[middle..middle + 4096].chunks_exact_mut(4) {
        weight.copy_from_slice(&1e30_f32.to_le_bytes());
    }
    package.replace("signs.onnx", model);
    is_refused(&package, &["golden/stop.jpg should be class 0"]);
}

#[test]
fn a_probability_beyond_its_tolerance_is_found() {
    let from = "class = 0\nminimum_probability = 0.8\n";
    let package = with_manifest(from, "class = 0\nprobability = 0.5\ntolerance = 0.05\n");
    is_refused(&package, &["golden/stop.jpg", "0.45 to 0.55"]);
}

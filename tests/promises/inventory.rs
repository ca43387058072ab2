//! What a core keeps can be looked at while it runs, and a disk that changed it is found.

use std::fs;

use margay::deployment::State;
use serde_json::Value;

use crate::support::device::Device;
use crate::support::program;

fn list(device: &Device, more: &[&str], code: i32) -> Vec<Value> {
    let config = device.config_path();
    let output = program::run(&[&["model", "list", "--json", "--config", config.to_str().unwrap()], more].concat());
    program::assert_code(&output, code);
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_models_of_a_running_core_are_listed_and_a_changed_file_is_found() {
    let device = Device::new();
    let mut core = device.start();
    let status = device.wait_for("the deployment", |status| status.cameras[0].deployment.state == State::Deployed);
    let digest = status.cameras[0].classifier.as_ref().unwrap().model.as_ref().unwrap().digest.clone();

    let kept = list(&device, &["--check"], 0);
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0]["digest"], digest);
    assert_eq!(kept[0]["uses"][0]["current"], status.cameras[0].deployment.resource.as_str());
    assert_eq!(kept[0]["damage"], Value::Null);
    let config = device.config_path();
    let collect = program::run(&["model", "gc", "--config", config.to_str().unwrap()]);
    program::assert_code(&collect, 1);

    core.terminate();
    let labels = std::path::Path::new(kept[0]["directory"].as_str().unwrap()).join("package/labels.txt");
    let text = fs::read_to_string(&labels).unwrap().replace("stop", "spot");
    fs::write(&labels, text).unwrap();
    let damaged = list(&device, &["--check"], 7);
    assert!(damaged[0]["damage"].as_str().unwrap().contains("labels.txt"), "{damaged:?}");
    let collect = program::run(&["model", "gc", "--config", config.to_str().unwrap()]);
    program::assert_code(&collect, 0);
    assert_eq!(list(&device, &[], 0).len(), 1, "what runs is never collected");
}

//! What the documents promise: every problem at once, examples that are accepted, secrets that are never shown.

use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::program;

fn check(device: &Device, more: &[&str]) -> (i32, Value) {
    let config = device.config_path();
    let arguments = [&["check", "--json", "--config", config.to_str().unwrap()], more].concat();
    let output = program::run(&arguments);
    let document = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code().unwrap(), document)
}

#[test]
fn check_lists_every_problem_at_once_with_path_value_and_rule() {
    let mut device = Device::new();
    device.config["coreThing"]["keepAlive"] = json!(5);
    device.config["margay"]["credentials"]["roleAlias"] = json!("not an alias");
    device.config["margay"]["colour"] = json!("blue");
    device.write();
    let (code, document) = check(&device, &[]);
    assert_eq!(code, 3);
    assert_eq!(document["accepted"], false);
    for path in ["coreThing.keepAlive", "margay.credentials.roleAlias", "margay.colour"] {
        let problem = document["problems"].as_array().unwrap().iter().find(|problem| problem["path"] == path);
        let problem = problem.unwrap_or_else(|| panic!("no problem at {path}: {document}"));
        assert_eq!(problem["severity"], "error");
        assert!(problem["rule"].as_str().is_some_and(|rule| !rule.is_empty()));
    }
}

#[test]
fn the_shipped_examples_are_accepted() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("config")).unwrap();
    let config = folder.path().join("config/config.json");
    std::fs::copy("deploy/examples/config.json", &config).unwrap();
    let arguments = ["check", "--config", config.to_str().unwrap(), "--group", "deploy/examples/group.json"];
    program::assert_code(&program::run(&arguments), 0);
}

#[test]
fn the_effective_configuration_shows_defaults_and_no_secret() {
    let device = Device::new();
    let (code, document) = check(&device, &[]);
    assert_eq!(code, 0, "{document}");
    assert_eq!(document["effective"]["coreThing"]["keepAlive"], 60);
    let output = program::run(&["check", "--effective", "--config", device.config_path().to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("roleAlias"));
    assert!(!text.contains("PRIVATE KEY"));
}

#[test]
fn check_online_tries_every_step_of_the_main_job() {
    let device = Device::new();
    let output = program::run(&["check", "--online", "--config", device.config_path().to_str().unwrap()]);
    program::assert_code(&output, 0);
    let text = String::from_utf8(output.stdout).unwrap();
    for step in ["identity", "credentials", "package", "model", "camera", "broker"] {
        assert!(text.lines().any(|line| line.starts_with("ok") && line.contains(step)), "{step}:\n{text}");
    }
}

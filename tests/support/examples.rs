//! The examples of deploy/examples, deployed as a user deploys them: the group document edited for the device, the code
//! copied to V1's place, packages from PyPI beside it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::device::{Device, THING};
use super::functions::{arn, bring, code};
use super::program::{self, assert_code};

/// The thing of every example.
const THEIR_THING: &str = "gate-camera";

/// A device that runs nothing yet, whose cloud lets it use the topics of V1's examples as well, and viewers see them.
pub fn device() -> Device {
    let device = Device::in_cloud(|settings| {
        let topics = ["hello/#", "LRA/#", "invoke/#", "/resnet-50/#"].map(str::to_owned);
        settings.thing_policy.publish.extend(topics.clone());
        settings.thing_policy.subscribe.extend(topics.clone());
        settings.viewer_filters.extend(topics);
    });
    fs::write(device.root().join("ggc/deployment/group/group.json"), "{}").unwrap();
    device
}

/// An example's folder.
pub fn folder(example: &str) -> PathBuf {
    Path::new("deploy/examples").join(example)
}

/// Puts the code of an example in the place of function `name`, with modules of `from` beside it.
pub fn put_code(device: &Device, example: &str, name: &str, from: &Path, modules: &[&str]) {
    for entry in fs::read_dir(folder(example).join("code")).unwrap() {
        let file = entry.unwrap().path();
        let copy = code(device, name).join(file.file_name().unwrap());
        fs::copy(file, &copy).unwrap();
        fs::set_permissions(copy, Permissions::from_mode(0o644)).unwrap();
    }
    bring(device, name, from, modules);
}

/// An example's group document for this device: the thing is its own, and each of `edits` takes the place of what the
/// example has.
pub fn group(device: &Device, document: &Path, edits: &[(&str, &str)]) -> PathBuf {
    let text = fs::read_to_string(document).unwrap();
    let edited = edits.iter().fold(text.replace(THEIR_THING, THING), |text, (theirs, ours)| {
        assert!(text.contains(theirs), "{} has no {theirs}", document.display());
        text.replace(theirs, ours)
    });
    let path = device.folder.path().join("example.json");
    fs::write(&path, edited).unwrap();
    path
}

/// Checks and deploys a group document, and waits until it is confirmed.
#[track_caller]
pub fn deploy(device: &Device, group: &Path) {
    let config = device.config_path();
    let (group, config) = (group.to_str().unwrap(), config.to_str().unwrap());
    let checked = program::run(&["check", "--group", group, "--config", config]);
    assert_code(&checked, 0);
    assert!(String::from_utf8_lossy(&checked.stdout).contains("0 errors, 0 warnings"), "{checked:?}");
    wait_for_quiet(device);
    assert_code(&program::run(&["deploy", group, "--wait", "--config", config]), 0);
}

/// Waits until the deployment that the core began with is over: it takes no other meanwhile.
pub fn wait_for_quiet(device: &Device) {
    device.wait_for("the first deployment", |status| {
        status.deployment.as_ref().is_some_and(|report| report.status.is_terminal())
    });
}

/// Sets variables of an example's only function, as an operator would in the document.
pub fn set_variables(group: &Path, variables: &Value) {
    let mut document: Value = serde_json::from_slice(&fs::read(group).unwrap()).unwrap();
    for function in document["FunctionDefinitionVersion"]["Functions"].as_array_mut().unwrap() {
        function["FunctionConfiguration"]["Environment"]["Variables"] = variables.clone();
    }
    fs::write(group, document.to_string()).unwrap();
}

/// A message from the cloud.
pub fn publish(device: &Device, topic: &str, payload: &str) {
    let mut command = program::margay();
    command.args(["publish", "--config"]).arg(device.config_path()).arg(topic).arg(payload);
    assert_code(&command.output().unwrap(), 0);
}

/// The lines of the log of function `name`.
pub fn log(device: &Device, name: &str) -> String {
    let logs = device.root().join("ggc/var/log/user/eu-central-1/123456789012");
    assert!(arn(name).contains(":eu-central-1:123456789012:"));
    fs::read_to_string(logs.join(format!("{name}.log"))).unwrap_or_default()
}

/// The ONNX model of the bundled package with its labels as `synset.txt`, archived by `tar` as the guide has it.
pub fn archived_model(device: &Device) -> Vec<u8> {
    let folder = device.folder.path().join("archive/model");
    fs::create_dir_all(&folder).unwrap();
    fs::copy("models/signs/package/signs.onnx", folder.join("signs.onnx")).unwrap();
    fs::copy("models/signs/package/labels.txt", folder.join("synset.txt")).unwrap();
    let archive = device.folder.path().join("model.tar.gz");
    let mut tar = Command::new("tar");
    tar.arg("-czf").arg(&archive).arg("-C").arg(folder.parent().unwrap()).arg("./model");
    assert!(tar.status().unwrap().success());
    fs::read(archive).unwrap()
}

/// A folder with the package's own two pictures, a stop sign and a limit of 80.
pub fn pictures(device: &Device) -> PathBuf {
    let folder = device.folder.path().join("pictures");
    fs::create_dir(&folder).unwrap();
    for (name, picture) in [("1.jpg", "stop.jpg"), ("2.jpg", "speed-limit-80.jpg")] {
        fs::copy(Path::new("models/signs/package/golden").join(picture), folder.join(name)).unwrap();
    }
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    folder
}

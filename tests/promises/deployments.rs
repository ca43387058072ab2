//! A group is deployed as a whole or not at all: planned without a trace, activated without a lost frame, confirmed only
//! if it is well, and taken back otherwise.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Output;

use margay::app::status::CoreStatus;
use margay::classifier::Role;
use margay::deployment::{Report, State, Status};
use serde_json::{Value, json};

use super::ledger::{film, other_package};
use crate::support::device::{BUCKET, Device, KEY, TOPIC, worker_pid};
use crate::support::package::Package;
use crate::support::viewer::Viewer;
use crate::support::{program, scaled};

const OTHER_KEY: &str = "other.tar.gz";

fn run(device: &Device, arguments: &[&str]) -> Output {
    let config = device.config_path();
    program::run(&[arguments, &["--config", config.to_str().unwrap()]].concat())
}

/// Runs `margay deploy` to its end; it ends with `code`.
#[track_caller]
fn deploy(device: &Device, arguments: &[&str], code: i32) -> String {
    let output = run(device, &[&["deploy"], arguments].concat());
    program::assert_code(&output, code);
    String::from_utf8(output.stdout).unwrap()
}

fn write(device: &Device, name: &str, group: &Value) -> PathBuf {
    let path = device.folder.path().join(name);
    std::fs::write(&path, group.to_string()).unwrap();
    path
}

fn deployments(device: &Device) -> Vec<Report> {
    let output = run(device, &["deployments", "--json"]);
    program::assert_code(&output, 0);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    serde_json::from_value(document["deployments"].clone()).unwrap()
}

/// Waits until the deployment that the core began with is confirmed.
#[track_caller]
fn wait_for_first(device: &Device) -> CoreStatus {
    device.wait_for("the first deployment", |status| is_over(status) && status.link.delivered > 0)
}

fn is_over(status: &CoreStatus) -> bool {
    status.deployment.as_ref().is_some_and(|report| report.status.is_terminal())
}

fn digest(status: &CoreStatus) -> Option<&str> {
    let classifier = status.cameras.first()?.classifier.as_ref()?;
    Some(&classifier.model.as_ref()?.digest)
}

/// A group that takes the other package.
fn other_group(device: &Device) -> Value {
    device.cloud.put_object(BUCKET, OTHER_KEY, other_package());
    let mut group = device.group();
    let resource = &mut group["ResourceDefinitionVersion"]["Resources"][0]["ResourceDataContainer"];
    resource["S3MachineLearningModelResourceData"]["S3Uri"] = format!("s3://{BUCKET}/{OTHER_KEY}").into();
    group
}

#[test]
fn a_group_swapped_at_30_frames_a_second_loses_no_frame_and_every_message_names_its_model() {
    let frames = scaled(240);
    let mut device = Device::new();
    film(&mut device, frames, 30);
    let _core = device.start();
    let mut viewer = Viewer::connect(&device, "swap-viewer", TOPIC);
    let first = digest(&wait_for_first(&device)).unwrap().to_owned();
    let mut group = other_group(&device);
    group["SubscriptionDefinitionVersion"]["Subscriptions"][0]["Subject"] = TOPIC.into();
    let path = write(&device, "other.json", &group);
    let said = deploy(&device, &[path.to_str().unwrap(), "--wait"], 0);
    assert!(said.starts_with("Success"), "{said}");

    let status = super::ledger::assert_exact(&device, frames);
    let second = digest(&status).unwrap().to_owned();
    assert_ne!(first, second);
    let ledger = &status.cameras[0].classifier.as_ref().unwrap().ledger;
    assert_eq!(ledger.drops().filter(|(reason, _)| reason.name() == "without a worker").count(), 0, "{ledger:?}");
    let mut seen = Vec::new();
    while seen.len() as u64 != ledger.inferred() {
        let payload = viewer.next_payload();
        seen.push((payload["frame"].as_u64().unwrap(), payload["model"]["digest"].as_str().unwrap().to_owned()));
    }
    assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0), "frames in order: {seen:?}");
    let swap = seen.iter().position(|(_, model)| *model == second).expect("frames of the second model");
    assert!(swap > 0 && seen[..swap].iter().all(|(_, model)| *model == first), "{seen:?}");
    assert!(seen[swap..].iter().all(|(_, model)| *model == second), "{seen:?}");
}

#[test]
fn a_plan_says_what_would_change_and_changes_nothing() {
    let device = Device::new();
    let _core = device.start();
    wait_for_first(&device);
    let mut group = other_group(&device);
    group["ConnectorDefinitionVersion"]["Connectors"][0]["Parameters"]["TopK"] = "2".into();
    group["SubscriptionDefinitionVersion"]["Subscriptions"][0]["Id"] = "renamed".into();
    group["FunctionDefinitionVersion"]["Functions"] = json!([{
        "Id": "spooler", "FunctionArn": "arn:aws:lambda:::function:GGCloudSpooler:1",
        "FunctionConfiguration": { "Executable": "spooler", "MemorySize": 32768, "Pinned": true, "Timeout": 3,
            "Environment": { "Variables": { "GG_CONFIG_MAX_SIZE_BYTES": "300000" } } } }]);
    let path = write(&device, "planned.json", &group);
    let before = deployments(&device);
    let text = deploy(&device, &[path.to_str().unwrap(), "--plan"], 0);
    for line in [
        "~ connector classifier: Parameters.TopK",
        "~ resource model: ResourceDataContainer.S3MachineLearningModelResourceData.S3Uri",
        "+ subscription renamed",
        "- subscription out",
        "+ function spooler",
        "limit: 2621440 to 300000 bytes",
        "s3://models/other.tar.gz is fetched",
        "road is restarted",
    ] {
        assert!(text.contains(line), "{line:?} is not in:\n{text}");
    }
    let plan: Value = serde_json::from_str(&deploy(&device, &[path.to_str().unwrap(), "--plan", "--json"], 0)).unwrap();
    assert_eq!(plan["packages"][0]["action"], "fetch");
    assert_eq!(plan["classifiers"], json!([{ "camera": "road", "effect": "restart" }]));
    assert_eq!(deployments(&device), before, "a plan is no deployment");
    assert_eq!(std::fs::read_dir(models(&device)).unwrap().count(), 1, "nothing was fetched");
}

#[test]
fn a_model_that_fails_its_own_test_is_refused_with_its_code_and_the_old_one_goes_on() {
    let device = Device::new();
    let _core = device.start();
    let before = wait_for_first(&device);
    let mut package = Package::bundled();
    let labels = String::from_utf8(package.0["labels.txt"].clone()).unwrap();
    package
        .replace("labels.txt", labels.replace("stop", "?").replace("yield", "stop").replace('?', "yield").into_bytes());
    let mut group = other_group(&device);
    group["ConnectorDefinitionVersion"]["Connectors"][0]["Parameters"]["TopK"] = "2".into();
    let manifest = package.manifest().replace("class = 0\n", "class = 0\nlabel = \"stop\"\n");
    package.0.insert("model.toml".to_owned(), manifest.into_bytes());
    device.cloud.put_object(BUCKET, OTHER_KEY, package.pack());
    let path = write(&device, "bad.json", &group);
    let said = deploy(&device, &[path.to_str().unwrap(), "--wait"], 7);
    assert!(said.contains("Failure") && said.contains("golden/stop.jpg"), "{said}");
    let inferred = |status: &CoreStatus| status.cameras[0].classifier.as_ref().unwrap().ledger.inferred();
    let seen = inferred(&device.status().unwrap());
    assert!(seen >= inferred(&before), "the classifier was not touched, although its parameters were to change");
    let after = device.wait_for("classification to go on", |status| inferred(status) > seen + 10);
    assert_eq!(digest(&after), digest(&before));
    assert_eq!(std::fs::read_dir(models(&device)).unwrap().count(), 1, "the refused package is not kept");
}

fn models(device: &Device) -> PathBuf {
    device.root().join("ggc/deployment/mlmodel/models")
}

#[test]
fn a_group_whose_camera_does_not_exist_is_taken_back() {
    let mut device = Device::new();
    device.config["margay"]["deployments"]["healthWindowSeconds"] = 30.into();
    device.write();
    let _core = device.start();
    let before = device.wait_for("the first model", |status| status.link.delivered > 0 && digest(status).is_some());
    // The window of the first deployment must end first: whoever asks meanwhile is told to wait.
    let mut group = other_group(&device);
    group["ResourceDefinitionVersion"]["Resources"][1]["ResourceDataContainer"]["LocalVolumeResourceData"]["SourcePath"] =
        "/nonexistent/camera".into();
    let path = write(&device, "no-camera.json", &group);
    let busy = run(&device, &["deploy", path.to_str().unwrap(), "--wait"]);
    program::assert_code(&busy, 1);
    assert!(String::from_utf8(busy.stderr).unwrap().contains("is under way"));
    device.wait_for("the first deployment", is_over);
    let said = deploy(&device, &[path.to_str().unwrap(), "--wait"], 1);
    assert!(said.contains("Unhealthy") && said.contains("/nonexistent/camera"), "{said}");
    let after = device.wait_for("what ran before", |status| {
        digest(status) == digest(&before) && status.cameras[0].classifier.as_ref().unwrap().ledger.inferred() > 10
    });
    assert_eq!(after.group.unwrap().document, before.group.unwrap().document);
}

#[test]
fn a_model_whose_worker_keeps_dying_within_the_window_is_taken_back() {
    let mut device = Device::new();
    device.config["margay"]["deployments"]["healthWindowSeconds"] = 5.into();
    device.write();
    let _core = device.start();
    let before = wait_for_first(&device);
    let path = write(&device, "other.json", &other_group(&device));
    let id = "crash-loop";
    deploy(&device, &[path.to_str().unwrap(), "--id", id], 0);
    let killed = RefCell::new(BTreeSet::new());
    let failed = device.wait_for("the dying model to be taken back", |status| {
        let other = digest(status).is_some_and(|model| Some(model) != digest(&before));
        if other {
            let pid = worker_pid(status, Role::Inference);
            if killed.borrow_mut().insert(pid) {
                program::signal(pid.cast_unsigned(), rustix::process::Signal::KILL);
            }
        }
        status.deployment.as_ref().is_some_and(|report| report.id.as_str() == id && report.status.is_terminal())
    });
    let report = failed.deployment.unwrap();
    assert_eq!(report.status, Status::Failure);
    let failure = report.failure.unwrap();
    assert!(failure.message.contains("SIGKILL"), "{failure:?}");
    device.wait_for("the old model", |status| digest(status) == digest(&before));
    assert_eq!(deployments(&device).last().unwrap().id.as_str(), id);
}

#[test]
fn an_earlier_group_comes_back_with_its_packages_and_stays_and_a_reset_leaves_nothing() {
    let device = Device::new();
    let mut core = device.start();
    let first = wait_for_first(&device);
    let earlier = first.deployment.as_ref().unwrap().id.clone();
    let path = write(&device, "other.json", &other_group(&device));
    deploy(&device, &[path.to_str().unwrap(), "--wait"], 0);
    let second = device.wait_for("the other model", |status| digest(status) != digest(&first));
    // What was deployed comes back, whatever S3 has now.
    device.cloud.put_object(BUCKET, KEY, b"no longer an archive".to_vec());
    deploy(&device, &["--redeploy", earlier.as_str(), "--wait"], 0);
    device.wait_for("the first model", |status| digest(status) == digest(&first));
    assert_ne!(digest(&second), digest(&first));
    assert_eq!(core.terminate(), Some(0));

    let mut core = device.start();
    device.wait_for("the first model after a restart", |status| {
        digest(status) == digest(&first) && status.cameras[0].deployment.state == State::Deployed
    });
    assert!(deploy(&device, &["--redeploy", "unknown"], 0).contains("Building"));
    device.wait_for("the unknown deployment to be refused", |status| {
        status
            .deployment
            .as_ref()
            .and_then(|report| report.failure.as_ref())
            .is_some_and(|f| f.message.contains("unknown"))
    });
    deploy(&device, &["--reset", "--wait"], 0);
    let empty = device.wait_for("nothing to run", |status| status.cameras.is_empty());
    assert!(empty.group.is_some());
    assert_eq!(core.terminate(), Some(0));
    assert_eq!(std::fs::read_dir(models(&device)).unwrap().count(), 0, "no model is left");
    assert_eq!(std::fs::read_to_string(device.root().join("ggc/deployment/group/group.json")).unwrap(), "{}");
}

#[test]
fn a_broken_file_leaves_what_was_confirmed_and_an_empty_one_stops_it() {
    let device = Device::new();
    let mut core = device.start();
    let first = wait_for_first(&device);
    assert_eq!(core.terminate(), Some(0));
    let file = device.root().join("ggc/deployment/group/group.json");
    std::fs::write(&file, "{ this is no document").unwrap();
    let mut core = device.start();
    let status = device.wait_for("the confirmed group", |status| digest(status) == digest(&first));
    let warned = status.warnings.iter().any(|warning| warning.contains("is not used") && warning.contains("not JSON"));
    assert!(warned, "{:?}", status.warnings);
    assert_eq!(core.terminate(), Some(0));

    std::fs::write(&file, "{}").unwrap();
    let _core = device.start();
    let status = device.wait_for("nothing to run", is_over);
    assert!(status.cameras.is_empty());
    assert_eq!(status.deployment.unwrap().status, Status::Success);
}

#[test]
fn an_edit_of_the_file_during_its_deployment_is_kept_and_deployed_after_it() {
    let mut device = Device::new();
    device.config["margay"]["deployments"] = json!({ "healthWindowSeconds": 3 });
    device.write();
    let core = device.start();
    // The deployment of the first document is watched for its health while the second one is written.
    device.wait_for("predictions within the health window", |status| status.link.delivered > 0 && !is_over(status));
    device.subject = "margay/core-1/elsewhere/#".to_owned();
    device.write();
    program::signal(core.pid(), rustix::process::Signal::HUP);
    device.wait_for("the edited document", |status| is_over(status) && status.router.no_route > 5);
    let file = std::fs::read(device.root().join("ggc/deployment/group/group.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&file).unwrap(), device.group(), "what was written stands");
}

#[test]
fn a_core_that_does_not_run_takes_a_deployment_up_at_its_start() {
    let device = Device::new();
    std::fs::remove_file(device.root().join("ggc/deployment/group/group.json")).unwrap();
    let path = write(&device, "group.json", &device.group());
    let said = deploy(&device, &[path.to_str().unwrap(), "--id", "staged"], 0);
    assert!(said.contains("next start"), "{said}");
    program::assert_code(&run(&device, &["deploy", path.to_str().unwrap(), "--wait"]), 11);
    let _core = device.start();
    let status = device.wait_for("the staged deployment", |status| is_over(status) && status.link.delivered > 0);
    assert_eq!(status.group.unwrap().deployment.as_str(), "staged");
    assert!(is_private(&device.root().join("ggc/deployment/deployments")));
    assert!(is_private(&device.folder.path().join("status.control")));
}

fn is_private(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o077 == 0
}

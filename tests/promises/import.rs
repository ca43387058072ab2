//! A Greengrass V1 device's disk is taken over: what it classified is classified again, on the same topic, without S3;
//! nothing on it changes; and what cannot be taken over is named.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Output;

use margay::deployment::State;
use serde_json::{Value, json};

use crate::protobuf::{Graph, node, tensor};
use crate::support::has_shared_models;
use crate::support::program::{self, Core};
use crate::support::v1_tree::{MODEL, TOPIC, UNCONTAINED, V1Tree};
use crate::support::viewer::Viewer;

/// Predictions that are looked at, and how many must be right: the promise of the demo.
const LOOKED_AT: usize = 40;
const RIGHT: usize = 36;

/// The findings of an import that went well.
#[track_caller]
fn findings(output: &Output) -> Vec<Value> {
    program::assert_code(output, 0);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    document["findings"].as_array().unwrap().clone()
}

/// The first row with that verdict whose subject begins so.
#[track_caller]
fn row<'f>(findings: &'f [Value], verdict: &str, subject: &str) -> &'f Value {
    let is_it =
        |row: &&Value| row["verdict"] == verdict && row["subject"].as_str().is_some_and(|own| own.starts_with(subject));
    findings.iter().find(is_it).unwrap_or_else(|| panic!("no {verdict} about {subject}: {findings:#?}"))
}

/// Runs a command that the report names, with words of the owner in place of those that it leaves to write.
#[track_caller]
fn obey(command: &Value, folder: &Path, own: &[&str]) {
    let words = command.as_str().unwrap().split(' ').skip(1);
    let words = words.filter(|word| !["--preset", "imagenet", "--golden", "PICTURE=LABEL"].contains(word));
    let output = program::margay().args(words).args(own).current_dir(folder).output().unwrap();
    program::assert_code(&output, 0);
}

fn truth() -> Vec<String> {
    let truth: BTreeMap<String, String> =
        serde_json::from_str(&fs::read_to_string("models/signs/frames/truth.json").unwrap()).unwrap();
    truth.into_values().collect()
}

fn check(config: &Path) {
    program::assert_code(&program::run(&["check", "--config", config.to_str().unwrap()]), 0);
}

#[test]
fn what_a_v1_device_classified_is_classified_again_on_its_topic_without_s3() {
    let tree = V1Tree::new();
    let before = tree.snapshot();
    let first = findings(&tree.import(&tree.beside("look"), &["--plan", "--json"]));
    assert!(!tree.beside("look").exists(), "a plan writes nothing");

    // V1's files do not say how pixels are normalised: the report asks, with the command; its owner answers.
    let asked = row(&first, "decision", &format!("model {MODEL}"));
    assert!(asked["says"].as_str().unwrap().contains("nothing says how pixels"), "{asked}");
    let own = ["--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25"];
    obey(&asked["command"], tree.device.folder.path(), &own);

    let out = tree.beside("margay");
    let model = format!("{MODEL}={}", tree.beside(&format!("{MODEL}.tar.gz")).display());
    let rows = findings(&tree.import(&out, &["--model", &model, "--json"]));
    for (verdict, subject) in [
        ("works", "config.json"),
        ("works", "identity"),
        ("works", "model signs-model"),
        ("works", "classifier"),
        ("works", "subscription out"),
        ("will-not", "function signs:1"),
        ("will-not", "function audit:prod"),
        ("will-not", "subscription trigger"),
        ("works", "loggers"),
        ("will-not", "loggers"),
        ("decision", "function audit:prod"),
    ] {
        row(&rows, verdict, subject);
    }
    assert_eq!(tree.snapshot(), before, "nothing on the device's disk has changed");
    check(&out.join("config.json"));

    let mut viewer = Viewer::connect(&tree.device, "subscriber", TOPIC);
    let core = Core::start(&out.join("config.json"), &tree.device.log_path());
    let truth = truth();
    let mut right = 0;
    for _ in 0..LOOKED_AT {
        let prediction = viewer.next_payload();
        assert_eq!(prediction["model"]["name"], "signs");
        let item = prediction["item"].as_u64().unwrap();
        right += usize::from(prediction["predictions"][0]["label"] == truth[usize::try_from(item).unwrap()].as_str());
    }
    assert!(right >= RIGHT, "{right} of {LOOKED_AT} right");
    let status = tree.device.wait_for("the fetch to fail", |status| status.cameras[0].deployment.failure.is_some());
    assert_eq!(status.cameras[0].deployment.state, State::Retrying, "there is no object, and the model runs");

    // Once it is pushed by the command of the report, the deployment is settled, and the model is the same.
    let pushed = rows.iter().find_map(|row| row.get("command").filter(|command| command.to_string().contains("push")));
    obey(pushed.expect("a command that pushes"), tree.device.folder.path(), &[]);
    program::signal(core.pid(), rustix::process::Signal::HUP);
    let settled =
        tree.device.wait_for("the deployment", |status| status.cameras[0].deployment.state == State::Deployed);
    assert_eq!(
        settled.cameras[0].classifier.as_ref().unwrap().model,
        status.cameras[0].classifier.as_ref().unwrap().model
    );
    assert_eq!(tree.snapshot(), before, "nor while the core ran");
}

#[test]
fn a_device_for_which_nobody_has_written_credentials_yet_classifies_too() {
    let mut tree = V1Tree::new();
    let margay = tree.device.config["margay"].as_object_mut().unwrap();
    margay.retain(|key, _| key != "credentials" && key != "s3");
    let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    margay.insert("packages".to_owned(), json!({ "signatures": "required", "publicKeys": [key] }));
    let out = tree.beside("margay");
    let rows = findings(&tree.import(&out, &["--model", &tree.package(), "--json"]));
    let asked = row(&rows, "decision", "margay.credentials");
    assert!(asked["command"].as_str().unwrap().contains("describe-endpoint"), "{asked}");
    let sign = |row: &Value| row["command"].as_str().is_some_and(|command| command.starts_with("margay model sign"));
    assert!(rows.iter().any(sign), "the core asks for signatures, and the owner is told: {rows:#?}");
    check(&out.join("config.json"));
    let mut viewer = Viewer::connect(&tree.device, "subscriber", TOPIC);
    let _core = Core::start(&out.join("config.json"), &tree.device.log_path());
    assert_eq!(viewer.next_payload()["model"]["name"], "road-signs");
}

#[test]
fn the_form_that_v1s_daemon_wrote_is_imported_too() {
    let mut tree = V1Tree::new();
    let api = tree.group.clone();
    let content = |part: &str, list: &str| json!({ "Content": api[part][list] });
    let resources = api["ResourceDefinitionVersion"]["Resources"].as_array().unwrap();
    let resources: Vec<Value> = resources
        .iter()
        .map(|resource| {
            let container = resource["ResourceDataContainer"].as_object().unwrap();
            let (key, data) = container.iter().next().unwrap();
            let kind = if key.starts_with("S3") { "ML_Model.S3_Object" } else { "Local.Volume" };
            json!({ "Id": resource["Id"], "Type": kind, "Data": data })
        })
        .collect();
    let core = &api["CoreDefinitionVersion"]["Cores"][0];
    tree.group = json!({
        "Arn": "arn:aws:greengrass:eu-central-1:123456789012:/greengrass/groups/0a1b/versions/2c3d",
        "Region": "eu-central-1",
        "Cores": [{ "thingArn": core["ThingArn"] }], "Devices": [],
        "GroupDefinitions": {
            "Lambdas": content("FunctionDefinitionVersion", "Functions"),
            "Subscriptions": content("SubscriptionDefinitionVersion", "Subscriptions"),
            "Logging": content("LoggerDefinitionVersion", "Loggers"),
            "Resources": { "Content": resources }
        }
    });
    tree.write();
    let out = tree.beside("margay");
    let rows = findings(&tree.import(&out, &["--model", &tree.package(), "--json"]));
    row(&rows, "works", "classifier");
    // What was written may be moved: it says nothing of where it is.
    let moved = tree.beside("moved");
    fs::rename(&out, &moved).unwrap();
    let out = moved;
    check(&out.join("config.json"));
    let kept = program::run(&["model", "list", "--check", "--config", out.join("config.json").to_str().unwrap()]);
    program::assert_code(&kept, 0);
    assert!(String::from_utf8_lossy(&kept.stdout).contains(&format!("runs for {MODEL}")));
    let group: Value = serde_json::from_slice(&fs::read(out.join("group.json")).unwrap()).unwrap();
    assert_eq!(group["Group"]["Id"], "0a1b");
    let parameters = &group["ConnectorDefinitionVersion"]["Connectors"][0]["Parameters"];
    assert_eq!((&parameters["Topic"], &parameters["CameraResourceId"]), (&json!(TOPIC), &json!("frames")));
}

#[test]
fn definitions_that_the_aws_cli_exported_are_joined_to_one_group() {
    let tree = V1Tree::new();
    let exported = tree.beside("exported");
    fs::create_dir(&exported).unwrap();
    for (part, definition) in tree.group.as_object().unwrap() {
        let file = json!({ "Arn": format!("arn:x:{part}/versions/1"), "Id": "i", "Version": "1",
            "CreationTimestamp": "2019-06-18T16:21:21.763Z", "Definition": definition });
        fs::write(exported.join(format!("{part}.json")), file.to_string()).unwrap();
    }
    let joined = tree.beside("joined");
    let (folder, output) = (exported.to_str().unwrap(), joined.to_str().unwrap());
    let rows = findings(&program::run(&["import", "--definitions", folder, "--output", output, "--json"]));
    row(&rows, "decision", "function signs:1");
    let config = tree.device.config_path();
    let group = joined.join("group.json");
    let arguments = ["check", "--config", config.to_str().unwrap(), "--group", group.to_str().unwrap()];
    program::assert_code(&program::run(&arguments), 0);
    assert!(!joined.join("config.json").exists(), "there was no device to take one from");

    // The same definitions stand in for the disk's group, with everything else of the device.
    let out = tree.beside("margay");
    let more = ["--definitions", folder, "--model", &tree.package(), "--json"];
    row(&findings(&tree.import(&out, &more)), "works", "classifier");
    check(&out.join("config.json"));
}

#[test]
fn v1s_classifier_connector_with_a_camera_becomes_ours_and_other_connectors_are_named() {
    let mut tree = V1Tree::new();
    let arn = |name: &str| format!("arn:aws:greengrass:eu-central-1::/connectors/{name}/versions/2");
    let job = "arn:aws:sagemaker:eu-central-1:123456789012:training-job/signs-2019";
    let resources = tree.group["ResourceDefinitionVersion"]["Resources"].as_array_mut().unwrap();
    resources[0]["ResourceDataContainer"] = json!({ "SageMakerMachineLearningModelResourceData": {
        "SageMakerJobArn": job, "DestinationPath": "/model" } });
    resources[1]["ResourceDataContainer"] = json!({ "LocalDeviceResourceData": {
        "SourcePath": "/dev/video0", "GroupOwnerSetting": { "AutoAddGroupOwner": true } } });
    let functions = tree.group["FunctionDefinitionVersion"]["Functions"].as_array_mut().unwrap();
    functions.truncate(1);
    let access = json!([{ "ResourceId": "frames", "Permission": "rw" }]);
    functions[0]["FunctionConfiguration"]["Environment"]["ResourceAccessPolicies"] = access;
    tree.group["ConnectorDefinitionVersion"] = json!({ "Connectors": [
        { "Id": "v1", "ConnectorArn": arn("ImageClassificationARMv7"), "Parameters": {
            "MLModelDestinationPath": "/model", "MLModelResourceId": MODEL, "MLModelSageMakerJobArn": job,
            "LocalInferenceServiceName": "signs", "LocalInferenceServiceTimeoutSeconds": "10",
            "LocalInferenceServiceMemoryLimitKB": "500000" } },
        { "Id": "odd", "ConnectorArn": arn("NobodyKnowsIt"), "Parameters": {} } ] });
    tree.write();
    let out = tree.beside("margay");
    let rows = findings(&tree.import(&out, &["--model", &tree.package(), "--json"]));
    let says = row(&rows, "works", "classifier")["says"].as_str().unwrap();
    assert!(
        says.contains("ImageClassificationARMv7") && says.contains(TOPIC) && says.contains("camera frames"),
        "{says}"
    );
    row(&rows, "will-not", "connector NobodyKnowsIt");
    check(&out.join("config.json"));
    let group = fs::read_to_string(out.join("group.json")).unwrap();
    assert!(group.contains("s3://sagemaker-eu-central-1-123456789012/signs-2019-margay.tar.gz"), "{group}");
}

#[test]
fn what_v1_could_not_say_becomes_a_snippet_to_edit() {
    let mut tree = V1Tree::new();
    let functions = tree.group["FunctionDefinitionVersion"]["Functions"].as_array_mut().unwrap();
    functions.remove(0);
    tree.group["SubscriptionDefinitionVersion"] = json!({ "Subscriptions": [
        { "Id": "out", "Source": UNCONTAINED, "Subject": "cars/#", "Target": "cloud" }] });
    tree.write();
    let out = tree.beside("margay");
    let rows = findings(&tree.import(&out, &["--model", &tree.package(), "--json"]));
    let offered = row(&rows, "decision", "function audit:prod");
    let snippet = &offered["snippet"];
    assert_eq!(snippet["Connectors"][0]["Parameters"]["MLModelResourceId"], MODEL);

    // Put in as it is, the snippet makes a document that is accepted.
    let path = out.join("group.json");
    let mut group: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for (part, list) in [("Connector", "Connectors"), ("Subscription", "Subscriptions"), ("Resource", "Resources")] {
        let held = &mut group[format!("{part}DefinitionVersion")][list];
        let mut all = held.as_array().cloned().unwrap_or_default();
        all.extend(snippet[list].as_array().unwrap().clone());
        *held = all.into();
    }
    fs::write(&path, group.to_string()).unwrap();
    check(&out.join("config.json"));
}

#[test]
fn a_copy_of_the_disk_on_another_machine_is_imported_with_its_paths_as_they_were() {
    let mut tree = V1Tree::new();
    let copy = tree.beside("copy");
    fs::rename(&tree.root, &copy).unwrap();
    let old = std::mem::replace(&mut tree.root, copy);
    let out = tree.beside("margay");
    let rows = findings(&tree.import(&out, &["--model", &tree.package(), "--json"]));
    let elsewhere = row(&rows, "decision", &old.join("certs").display().to_string());
    assert!(elsewhere["says"].as_str().unwrap().contains("copy/certs"), "{elsewhere}");
    check(&out.join("config.json"));
    let config = fs::read_to_string(out.join("config.json")).unwrap();
    assert!(config.contains(&format!("file://{}/certs", old.display())), "{config}");
}

#[test]
fn models_whose_feeding_is_known_are_packed_without_a_question() {
    // V1's rule: 224 x 224 floats beside a synset.txt. The graph is the mean of each colour.
    let tree = V1Tree::new();
    let folder = "ggc/deployment/mlmodel/3f6c1d5e-8c5b";
    fs::remove_dir_all(tree.root.join(folder)).unwrap();
    let colours = Graph {
        inputs: vec![tensor("image", &[1, 3, 224, 224])],
        outputs: vec![tensor("classes", &[1, 3])],
        nodes: vec![node("GlobalAveragePool", &["image"], "means"), node("Flatten", &["means"], "classes")],
        weights: Vec::new(),
    };
    tree.add(&format!("{folder}/colours.onnx"), &colours.file());
    tree.add(&format!("{folder}/synset.txt"), b"n00000001 red\nn00000002 green\nn00000003 blue\n");
    let rows = findings(&tree.import(&tree.beside("margay"), &["--json"]));
    assert!(row(&rows, "works", &format!("model {MODEL}"))["says"].as_str().unwrap().starts_with("colours v1"));
    let assumed = row(&rows, "decision", &format!("model {MODEL}"))["says"].as_str().unwrap();
    assert!(assumed.contains("ImageNet"), "{assumed}");
    row(&rows, "works", "classifier");

    if !has_shared_models() {
        return;
    }
    fs::remove_dir_all(tree.root.join(folder)).unwrap();
    let bytes = fs::read("../shared/models/onnx/mobilenet_v1_0.25_128_qdq.onnx").unwrap();
    tree.add(&format!("{folder}/mobilenet.onnx"), &bytes);
    tree.add(&format!("{folder}/labels.txt"), &fs::read("../shared/models/labels/synset.txt").unwrap());
    let rows = findings(&tree.import(&tree.beside("bytes"), &["--json"]));
    assert!(row(&rows, "works", &format!("model {MODEL}"))["says"].as_str().unwrap().starts_with("mobilenet v1"));
    let model = rows.iter().filter(|row| row["subject"] == format!("model {MODEL}").as_str());
    assert!(!model.clone().any(|row| row["says"].to_string().contains("ImageNet")), "bytes need no word");
}

#[test]
fn models_that_no_runtime_reads_any_more_say_what_to_convert_and_the_rest_is_imported() {
    let tree = V1Tree::new();
    let folder = tree.root.join("ggc/deployment/mlmodel/3f6c1d5e-8c5b");
    fs::remove_dir_all(&folder).unwrap();
    for file in ["squeezenet_v1.1-0000.params", "squeezenet_v1.1-symbol.json", "synset.txt"] {
        tree.add(&format!("ggc/deployment/mlmodel/3f6c1d5e-8c5b/squeezenet/{file}"), b"x");
    }
    let out = tree.beside("margay");
    let rows = findings(&tree.import(&out, &["--json"]));
    let says = row(&rows, "will-not", &format!("model {MODEL}"))["says"].to_string();
    assert!(says.contains("mxnet.onnx.export_model"), "{says}");
    row(&rows, "decision", "function signs:1");
    check(&out.join("config.json"));

    fs::remove_dir_all(&folder).unwrap();
    symlink("/etc", &folder).unwrap();
    let rows = findings(&tree.import(&tree.beside("other"), &["--json"]));
    row(&rows, "decision", &format!("model {MODEL}"));
    let says = row(&rows, "will-not", "deployment/mlmodel/3f6c1d5e-8c5b")["says"].to_string();
    assert!(says.contains("leads to /etc, out of"), "{says}");
    fs::remove_file(&folder).unwrap();
    tree.add("ggc/deployment/mlmodel/3f6c1d5e-8c5b/a.onnx", b"no model");
    symlink("loop", folder.join("loop")).unwrap();
    let rows = findings(&tree.import(&tree.beside("third"), &["--json"]));
    let says = row(&rows, "will-not", &format!("model {MODEL}"))["says"].to_string();
    assert!(says.contains("3f6c1d5e-8c5b/loop cannot be read"), "{says}");
    fs::remove_file(folder.join("loop")).unwrap();
    fs::OpenOptions::new().write(true).open(folder.join("a.onnx")).unwrap().set_len(1 << 40).unwrap();
    tree.add("ggc/deployment/mlmodel/3f6c1d5e-8c5b/synset.txt", b"a\n");
    let rows = findings(&tree.import(&tree.beside("fourth"), &["--json"]));
    let says = row(&rows, "will-not", &format!("model {MODEL}"))["says"].to_string();
    assert!(says.contains("a.onnx has 1099511627776 bytes, more than the limit"), "{says}");
}

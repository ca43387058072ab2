//! The examples of deploy/examples do what V1's guide shows of them (A-52, B-09, B-23, B-24): each is checked and deployed as
//! its README says.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::examples::{
    archived_model, deploy, device, folder, group, log, pictures, publish, put_code, set_variables,
};
use crate::support::functions::{clients, code, is_root, listens, of};
use crate::support::program;
use crate::support::viewer::Viewer;
use crate::support::{device::BUCKET, skipped};

const SDK: &[&str] = &["greengrasssdk"];

#[test]
fn every_example_is_accepted_without_a_warning() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("config/config.json");
    fs::create_dir(config.parent().unwrap()).unwrap();
    fs::copy("deploy/examples/config.json", &config).unwrap();
    let mut checked = 0;
    for entry in fs::read_dir("deploy/examples").unwrap().map(|entry| entry.unwrap().path()) {
        let documents: Vec<PathBuf> = match entry.is_dir() {
            true => fs::read_dir(&entry).unwrap().map(|file| file.unwrap().path()).collect(),
            false => vec![entry.clone()],
        };
        if entry.is_dir() {
            let map = fs::read_to_string("deploy/examples/README.md").unwrap();
            let name = entry.file_name().unwrap().to_str().unwrap();
            assert!(map.contains(&format!("]({name}/README.md)")), "the map lacks {name}");
            assert!(entry.join("README.md").exists(), "{name} has no README.md");
        }
        for document in documents {
            let name = document.file_name().unwrap().to_str().unwrap();
            if !name.starts_with("group") {
                continue;
            }
            let arguments = ["check", "--config", config.to_str().unwrap(), "--group", document.to_str().unwrap()];
            let output = program::run(&arguments);
            program::assert_code(&output, 0);
            let said = String::from_utf8(output.stdout).unwrap();
            assert!(said.contains("0 errors, 0 warnings"), "{}: {said}", document.display());
            checked += 1;
        }
    }
    assert!(checked >= 9, "{checked} documents");
}

#[test]
fn a_pinned_publisher_says_hello_from_its_start_on() {
    let Some(clients) = clients() else { return };
    let device = device();
    let _core = device.start();
    let mut viewer = Viewer::connect(&device, "functions-viewer", "hello/world");
    put_code(&device, "hello-world", "greengrassHelloWorld", &clients, SDK);
    deploy(&device, &group(&device, &folder("hello-world").join("group.json"), &[]));
    for _ in 0..2 {
        let said = viewer.next_text();
        assert!(said.starts_with("Hello world! Sent from Greengrass Core running on platform: Linux-"), "{said}");
    }
    let status = device.wait_for("the function", |status| of(status, "greengrassHelloWorld").is_some());
    let function = of(&status, "greengrassHelloWorld").unwrap();
    assert_eq!((function.starts, function.succeeded), (1, 0), "nobody invoked it");
}

/// The number at the end of what a counter says.
fn count(said: &Value) -> u64 {
    let message = said["message"].as_str().unwrap();
    message.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn counters_count_in_one_process_if_pinned_and_in_as_many_as_messages_if_not() {
    let Some(clients) = clients() else { return };
    let device = device();
    let _core = device.start();
    let (pinned, demand) = ("greengrassHelloWorldCounter", "greengrassHelloWorldCounterOnDemand");
    for name in [pinned, demand] {
        put_code(&device, "counters", name, &clients, SDK);
    }
    let group = group(&device, &folder("counters").join("group.json"), &[]);
    // The guide's 20 seconds, less patiently.
    set_variables(&group, &serde_json::json!({ "SECONDS": "3" }));
    deploy(&device, &group);
    device.wait_for("functions", listens);
    let mut viewer = Viewer::connect(&device, "functions-viewer", "hello/world/#");
    let mut counted = |topic: &str, times: usize| -> (Vec<u64>, Duration) {
        (0..times).for_each(|_| publish(&device, &format!("hello/world/{topic}/trigger"), "{}"));
        // The trigger is a message below hello/world as well.
        let mut answers = std::iter::repeat_with(|| viewer.next_payload()).filter(|said| said.get("message").is_some());
        let first = count(&answers.next().unwrap());
        let begun = Instant::now();
        let others: Vec<u64> = answers.take(times - 1).map(|said| count(&said)).collect();
        ([vec![first], others].concat(), begun.elapsed())
    };
    let (counts, took) = counted("counter", 3);
    assert_eq!(counts, [1, 2, 3]);
    assert!(took >= Duration::from_secs(5), "one after the other, each in its time: {took:?}");
    let (counts, _) = counted("on-demand", 3);
    assert_eq!(counts, [1, 1, 1], "each in a process of its own, before any was idle again");
    device.wait_for("idle processes", |status| {
        of(status, demand).is_some_and(|function| function.succeeded == 3 && function.workers.iter().all(|w| !w.busy))
    });
    let (counts, _) = counted("on-demand", 1);
    assert_eq!(counts, [2], "one that is idle is used again");
    let status = device.status().unwrap();
    assert_eq!(of(&status, demand).unwrap().starts, 3);
    assert_eq!(of(&status, pinned).unwrap().starts, 1);
}

#[test]
fn the_guides_function_looks_at_its_volume_and_writes_to_it() {
    let Some(clients) = clients() else { return };
    let device = device();
    let _core = device.start();
    let source = device.folder.path().join("LRAtest");
    fs::create_dir(&source).unwrap();
    chown(&source, Some(0), Some(440_119)).unwrap();
    fs::set_permissions(&source, Permissions::from_mode(0o775)).unwrap();
    put_code(&device, "local-resources", "lraTest", &clients, SDK);
    let edits = [("/src/LRAtest", source.to_str().unwrap())];
    deploy(&device, &group(&device, &folder("local-resources").join("group.json"), &edits));
    device.wait_for("the function", listens);
    let mut viewer = Viewer::connect(&device, "functions-viewer", "LRA/test");
    publish(&device, "invoke/LRAFunction", "{}");
    assert_eq!(viewer.next_text(), "Sent from AWS IoT Greengrass Core.");
    let stat = viewer.next_text();
    for part in ["st_mode=16893", "st_uid=0", "st_gid=440119"] {
        assert!(stat.contains(part), "{part}: {stat}");
    }
    assert_eq!(viewer.next_text(), "Successfully write to a file.\n");
    assert_eq!(fs::read_to_string(source.join("test")).unwrap(), "Successfully write to a file.\n");
    assert!(!Path::new("/dest/LRAtest").exists(), "the destination is the function's alone");
    assert_eq!(log(&device, "lraTest"), "", "nothing failed");
}

/// What the classifying examples need of PyPI beside the SDK: the folder, if everything is in it.
fn with_onnx_runtime() -> Option<PathBuf> {
    let folder = clients()?;
    let found = ["onnxruntime", "numpy", "PIL"].iter().all(|module| folder.join(module).is_dir());
    (found || skipped("python models", "pip install onnxruntime pillow")).then_some(folder)
}

/// The libraries of a wheel lie beside it.
fn modules(from: &Path) -> Vec<String> {
    let all = ["greengrasssdk", "onnxruntime", "numpy", "PIL", "numpy.libs", "pillow.libs", "flatbuffers"];
    all.iter().filter(|name| from.join(name).is_dir()).map(|name| (*name).to_owned()).collect()
}

const PREPROCESSING: [(&str, &str); 2] = [("MEAN", "0.5,0.5,0.5"), ("STD", "0.25,0.25,0.25")];

#[test]
fn greengrass_object_classification_reads_the_mounted_model_and_names_what_it_sees() {
    let Some(from) = with_onnx_runtime() else { return };
    let device = device();
    let _core = device.start();
    device.cloud.put_object(BUCKET, "squeezenet.tar.gz", archived_model(&device));
    let modules = modules(&from);
    let modules: Vec<&str> = modules.iter().map(String::as_str).collect();
    put_code(&device, "object-classification", "greengrassObjectClassification", &from, &modules);
    let model = format!("s3://{BUCKET}/squeezenet.tar.gz");
    let pictures = pictures(&device);
    let edits = [
        ("s3://greengrass-models/squeezenet/squeezenet.zip", model.as_str()),
        ("/srv/pictures", pictures.to_str().unwrap()),
    ];
    let group = group(&device, &folder("object-classification").join("group.json"), &edits);
    let mut variables = serde_json::json!({ "INTERVAL": "0.2" });
    PREPROCESSING.iter().for_each(|(name, value)| variables[*name] = Value::from(*value));
    set_variables(&group, &variables);
    let mut viewer = Viewer::connect(&device, "functions-viewer", "hello/world");
    deploy(&device, &group);
    for label in ["stop", "speed limit 80", "stop"] {
        let said = viewer.next_text();
        let best = said.strip_prefix("New Prediction: [(0.").unwrap_or_else(|| panic!("{said}"));
        let first = best.split(')').next().unwrap();
        assert!(first.ends_with(&format!("'{label}'")), "{label}: {said}");
        assert_eq!(said.matches('(').count(), 5, "the five likeliest classes: {said}");
    }
}

#[test]
fn a_message_on_resnet_50_test_is_answered_on_resnet_50_predictions() {
    let Some(from) = with_onnx_runtime() else { return };
    let device = device();
    let _core = device.start();
    device.cloud.put_object(BUCKET, "resnet50.tar.gz", archived_model(&device));
    let modules = modules(&from);
    let modules: Vec<&str> = modules.iter().map(String::as_str).collect();
    put_code(&device, "classification-on-request", "optimizedImageClassification", &from, &modules);
    let model = format!("s3://{BUCKET}/resnet50.tar.gz");
    let pictures = pictures(&device);
    let edits = [
        ("s3://greengrass-models/resnet50/resnet50.zip", model.as_str()),
        ("/srv/pictures", pictures.to_str().unwrap()),
    ];
    let group = group(&device, &folder("classification-on-request").join("group.json"), &edits);
    let variables: Value =
        PREPROCESSING.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
    set_variables(&group, &variables);
    deploy(&device, &group);
    device.wait_for("the function", listens);
    let mut viewer = Viewer::connect(&device, "functions-viewer", "/resnet-50/predictions");
    for (picture, label) in [("stop.jpg", "stop"), ("speed-limit-80.jpg", "speed limit 80")] {
        // The newest picture is the one that is classified.
        fs::copy(Path::new("models/signs/package/golden").join(picture), pictures.join("9.jpg")).unwrap();
        publish(&device, "/resnet-50/test", "{}");
        let said = viewer.next_text();
        let (name, rest) = said.split_once(", probability ").unwrap_or_else(|| panic!("{said}"));
        assert_eq!(name, label, "{said}");
        assert!(rest.starts_with("0.") && rest.contains(", peak memory ") && rest.ends_with(" KB"), "{said}");
    }
    publish(&device, "/resnet-50/test", "take one");
    let status = device.wait_for("a message that is no JSON", |status| {
        of(status, "optimizedImageClassification").is_some_and(|function| function.failed == 1)
    });
    let why = of(&status, "optimizedImageClassification").unwrap().last_error.clone().unwrap();
    assert!(why.contains("the message is not JSON; a function whose EncodingType is binary gets the bytes"), "{why}");
}

#[test]
fn the_classifier_itself_answers_on_request_without_any_code() {
    let device = device();
    let _core = device.start();
    device.cloud.put_object(BUCKET, "resnet50.tar.gz", crate::support::device::PACKAGE);
    let pictures = pictures(&device);
    fs::remove_file(pictures.join("2.jpg")).unwrap();
    let model = format!("s3://{BUCKET}/resnet50.tar.gz");
    let edits = [
        ("s3://greengrass-models/resnet50/resnet50.tar.gz", model.as_str()),
        ("/srv/pictures", pictures.to_str().unwrap()),
    ];
    let document = folder("classification-on-request").join("group-without-code.json");
    let mut viewer = Viewer::connect(&device, "functions-viewer", "/resnet-50/predictions");
    deploy(&device, &group(&device, &document, &edits));
    device.wait_for("subscriptions", |status| status.link.connected && status.link.subscriptions_granted > 0);
    publish(&device, "/resnet-50/test", "{\"id\": \"first\"}");
    let said = viewer.next_payload();
    assert_eq!(said["trigger"]["id"], "first", "{said}");
    assert_eq!(said["predictions"][0]["label"], "stop", "{said}");
}

#[test]
fn a_native_function_passes_on_what_changes() {
    if !is_root() {
        return;
    }
    let built = Path::new(env!("CARGO_BIN_EXE_margay")).with_file_name("examples").join("prediction-changes");
    if !built.exists() {
        skipped("the native function", "cargo build --workspace --example prediction-changes");
        return;
    }
    let device = device();
    let _core = device.start();
    device.cloud.put_object(BUCKET, "signs.tar.gz", crate::support::device::PACKAGE);
    let program = code(&device, "predictionChanges").join("prediction-changes");
    fs::copy(built, &program).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    let model = format!("s3://{BUCKET}/signs.tar.gz");
    let pictures = pictures(&device);
    let edits = [
        ("s3://greengrass-models/road-signs/road-signs-1.0.0.tar.gz", model.as_str()),
        ("/srv/pictures", pictures.to_str().unwrap()),
    ];
    let mut viewer = Viewer::connect(&device, "functions-viewer", "margay/core-1/gate/#");
    deploy(&device, &group(&device, &folder("native-function").join("group.json"), &edits));
    let said: Vec<Value> = (0..3).map(|_| viewer.next_payload()).collect();
    assert_eq!(said[0]["was"], Value::Null, "{said:?}");
    for pair in said.windows(2) {
        assert_eq!(pair[1]["was"], pair[0]["is"], "only what changes leaves the device: {said:?}");
        assert_ne!(pair[1]["is"], pair[1]["was"]);
    }
    assert!(log(&device, "predictionChanges").contains("][INFO]-main.rs,gate shows "));
}

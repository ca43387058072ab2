//! V1's machine learning SDK and its connectors: a function classifies pictures and hands in samples (B-27 to B-34).

use std::fs;
use std::path::Path;

use margay::deployment::{FailureKind, Status};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::device::{BUCKET, Device};
use crate::support::functions::{add, arn, code, connect, has_python, listens, of, send, topic};
use crate::support::package::Package;
use crate::support::program;
use crate::support::viewer::Viewer;

const SERVICE: &str = "arn:aws:greengrass:eu-central-1::/connectors/ImageClassificationx86-64/versions/2";
const FEEDBACK: &str = "arn:aws:greengrass:eu-central-1::/connectors/MLFeedback/versions/1";

/// The class of the picture `stop`, and of `speed-limit-80`.
const STOP: usize = 0;
const EIGHTY: usize = 5;

/// Says something on the function's own topic.
const SAY: &str = r#"
import base64, json
from greengrass_common.env_vars import MY_FUNCTION_ARN, ROUTER_FUNCTION_ARN
from greengrass_ipc_python_sdk.ipc_client import IPCClient

def say(topic, said):
    custom = {"custom": {"source": MY_FUNCTION_ARN, "subject": topic}}
    context = base64.b64encode(json.dumps(custom).encode())
    IPCClient().post_work(ROUTER_FUNCTION_ARN, json.dumps(said), context, "Event")
"#;

/// As the guide's example asks (B-27), and with everything that can be wrong.
const ASKS: &str = r#"
import os
import greengrass_machine_learning_sdk as ml
from say import say

client = ml.client("inference")
feedback = ml.client("feedback")
here = os.environ["LAMBDA_TASK_ROOT"]

def read(name):
    with open(os.path.join(here, name), "rb") as f:
        return bytearray(f.read())

def infer(**changes):
    asked = dict(AlgoType="image-classification", ServiceName="signs", ContentType="image/jpeg", Body=read("stop.jpg"))
    asked.update(changes)
    asked = {name: value for name, value in asked.items() if value is not None}
    resp = client.invoke_inference_service(**asked)
    predictions = resp["Body"].read().decode("utf-8")
    assert predictions[0] == "[" and predictions[-1] == "]" and " " not in predictions, predictions
    return [float(number) for number in predictions[1:-1].split(",")]

def publish(**changes):
    asked = dict(ConfigId="all", ModelInput=b"a sample", ModelPrediction=[0.5, 0.5], Metadata={"some-key": "some value"})
    asked.update(changes)
    feedback.publish(**{name: value for name, value in asked.items() if value is not None})

def fails(call, **changes):
    try:
        return "no exception: {}".format(call(**changes))
    except ml.GreengrassInferenceException as e:
        return 'inference exception {}("{}")'.format(e.__class__.__name__, e)
    except ml.GreengrassDependencyException as e:
        return 'dependency exception {}("{}")'.format(e.__class__.__name__, e)
    except ValueError as e:
        return 'value error {}'.format(e)

def handler(event, context):
    out = context.client_context.custom["subject"].replace("/in", "/out")
    if event.get("only") == "infer":
        return say(out, fails(infer))
    say(out, {
        "jpeg": infer(),
        "png": infer(ContentType="image/png", Body=bytes(read("stop.png"))),
        "eighty": infer(Body=read("eighty.jpg")),
    })
    jpeg = read("stop.jpg")
    say(out, {
        "unknown service": fails(infer, ServiceName="absent"),
        "detection": fails(infer, AlgoType="object-detection"),
        "bitmap": fails(infer, ContentType="image/bmp"),
        "no picture": fails(infer, Body=b"no picture"),
        "half a picture": fails(infer, Body=jpeg[:len(jpeg) // 2]),
        "too large": fails(infer, Body=jpeg + b"\0" * (7 << 20)),
        "a text": fails(infer, Body="text"),
        "no body": fails(infer, Body=None),
        "no service": fails(infer, ServiceName=None),
        "unknown client": fails(ml.client, client_type="detection"),
    })
    say(out, {
        "unknown configuration": fails(publish, ConfigId="absent"),
        "no input": fails(publish, ModelInput=None),
        "a word": fails(publish, ModelPrediction="stop"),
        "not a number": fails(publish, ModelPrediction=[float("nan")]),
        "odd metadata": fails(publish, Metadata={"name": "Gürtel"}),
        "metadata as a list": fails(publish, Metadata=[1]),
        "a sample": fails(publish),
    })
"#;

/// Tells what it hears.
const LISTENS: &str = r#"
from say import say
import os

def handler(event, context):
    say(os.environ["OUT"], {"topic": context.client_context.custom["subject"], "said": event})
"#;

/// A device with the connectors, a function that asks and one that hears what the feedback connector publishes.
fn device(timeout: &str) -> Device {
    let mut device = Device::new();
    let configuration = |more: Value| {
        let mut body = json!({ "s3-bucket-name": BUCKET, "s3-prefix": "fleet/samples", "content-type": "image/jpeg" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let map = json!({
        "all": configuration(json!({ "file-ext": "jpg" })),
        "doubtful": configuration(json!({
            "sampling-strategy": { "strategy-name": "LEAST_CONFIDENCE", "threshold": 0.1 } })),
    });
    device.connectors = vec![
        json!({ "Id": "service", "ConnectorArn": SERVICE, "Parameters": {
            "MLModelDestinationPath": "/models/signs", "MLModelResourceId": "model",
            "MLModelSageMakerJobArn": "arn:aws:sagemaker:eu-central-1:123456789012:training-job:signs",
            "LocalInferenceServiceName": "signs", "LocalInferenceServiceTimeoutSeconds": timeout,
            "LocalInferenceServiceMemoryLimitKB": "262144", "MLFeedbackConnectorConfigId": "doubtful" } }),
        json!({ "Id": "feedback", "ConnectorArn": FEEDBACK, "Parameters": {
            "FeedbackConfigurationMap": map.to_string(), "RequestLimit": "10" } }),
    ];
    add(&mut device, "asks", ASKS, json!({ "Pinned": true, "Timeout": 60 }));
    let variables = json!({ "Variables": { "OUT": format!("{}/out", topic("listens")) } });
    add(&mut device, "listens", LISTENS, json!({ "Pinned": true, "Environment": variables }));
    connect(&mut device, "asks");
    connect(&mut device, "listens");
    device.more_subscriptions.push(json!({ "Id": "feedback", "Source": FEEDBACK, "Target": arn("listens"),
        "Subject": "feedback/message/#" }));
    for name in ["asks", "listens"] {
        fs::write(code(&device, name).join("say.py"), SAY).unwrap();
    }
    let package = Package::bundled();
    for (name, golden) in [("stop.jpg", "golden/stop.jpg"), ("eighty.jpg", "golden/speed-limit-80.jpg")] {
        fs::write(code(&device, "asks").join(name), &package.0[golden]).unwrap();
    }
    fs::copy("tests/support/pictures/stop.png", code(&device, "asks").join("stop.png")).unwrap();
    device.write();
    device
}

/// The class with the highest probability.
#[track_caller]
fn top(said: &Value) -> usize {
    let numbers: Vec<f64> = said.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect();
    let sum: f64 = numbers.iter().sum();
    assert!((sum - 1.0).abs() < 1e-3, "{numbers:?}");
    let best = numbers.iter().copied().fold(f64::MIN, f64::max);
    numbers.iter().position(|number| *number == best).unwrap()
}

#[test]
fn a_function_classifies_a_jpeg_and_a_png_and_hands_in_samples_and_hears_what_is_wrong() {
    if !has_python() {
        return;
    }
    let device = device("30");
    let _core = device.start();
    device.wait_for("functions", listens);
    let mut viewer = Viewer::connect(&device, "sdk-viewer", &format!("{}/out", topic("asks")));
    let mut heard = Viewer::connect(&device, "feedback-viewer", &format!("{}/out", topic("listens")));
    send(&device, "asks", "{}");
    let labels = Package::bundled().0["labels.txt"].iter().filter(|byte| **byte == b'\n').count();
    let said = viewer.next_payload();
    assert_eq!(said["jpeg"].as_array().unwrap().len(), labels, "one for each class: {said}");
    assert_eq!((top(&said["jpeg"]), top(&said["png"]), top(&said["eighty"])), (STOP, STOP, EIGHTY), "{said}");

    let said = viewer.next_payload();
    for (what, expected) in [
        (
            "unknown service",
            "dependency exception GreengrassDependencyException(\"no local inference service is called \"absent\"; there is signs\")",
        ),
        ("detection", "inference exception GreengrassInferenceException(\"AlgoType \"object-detection\""),
        ("bitmap", "inference exception GreengrassInferenceException(\"ContentType \"image/bmp\""),
        ("no picture", "inference exception GreengrassInferenceException(\"the Body, of 10 bytes, is neither"),
        ("half a picture", "inference exception GreengrassInferenceException("),
        ("too large", "inference exception GreengrassInferenceException(\"the input is over 6291456 bytes"),
        ("a text", "value error Body is bytes, not str"),
        ("no body", "value error Body is required"),
        ("no service", "value error ServiceName is required"),
        ("unknown client", "value error client_type is one of feedback, inference, not 'detection'"),
    ] {
        assert!(said[what].as_str().unwrap().starts_with(expected), "{what}: {}", said[what]);
    }
    says_what_is_wrong_with_samples(&viewer.next_payload());

    // What the service classified was too sure for its feedback configuration; the function's own sample was uploaded.
    let statuses = hear(&mut heard, 5);
    let dropped = statuses.iter().filter(|said| said["response"]["status"] == "sample_dropped_by_strategy").count();
    let uploaded = statuses.iter().find(|said| said["response"]["status"] == "success").expect("an upload");
    assert_eq!(dropped, 3, "{statuses:?}");
    let key = format!("fleet/samples/{}.jpg", uploaded["id"].as_str().unwrap());
    assert_eq!(uploaded["response"]["s3_response"]["key"], key);
    assert_eq!(device.cloud.object(BUCKET, &key).as_deref(), Some(&b"a sample"[..]));
    let prediction = statuses.iter().find(|said| said["config-id"] == "all").expect("a prediction");
    assert_eq!(prediction["metadata"]["some-key"], "some value");

    let status = device.wait_for("the connectors' books", |status| {
        status.feedback.as_ref().is_some_and(|feedback| feedback.uploaded == 1 && feedback.waiting == 0)
    });
    let (service, feedback) = (&status.services[0], status.feedback.as_ref().unwrap());
    // Half a picture, no picture, another format, another algorithm.
    assert_eq!((service.answered, service.refused, service.starts), (3, 4, 1), "{service:?}");
    assert_eq!((feedback.received, feedback.not_used, feedback.failed), (4, 3, 0), "{feedback:?}");
    let config = device.config_path();
    let shown = program::run(&["status", "--config", config.to_str().unwrap()]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("service      signs: 3 answered, 4 refused"), "{shown}");
    assert!(shown.contains("feedback     1 uploaded, 3 not used"), "{shown}");
    let log = program::run(&["logs", "ImageClassificationx86-64", "--config", config.to_str().unwrap()]);
    let log = String::from_utf8(log.stdout).unwrap();
    assert!(log.contains("][INFO]-signs,the service runs"), "{log}");
    assert!(log.contains("][INFO]-signs,a request has no prediction"), "{log}");
}

/// What the SDK makes of samples, one of them in order.
#[track_caller]
fn says_what_is_wrong_with_samples(said: &Value) {
    for (what, expected) in [
        ("unknown configuration", "value error ConfigId \"absent\" is no feedback configuration"),
        ("no input", "value error ModelInput is required"),
        ("a word", "value error ModelPrediction is a list or a dict, not str"),
        ("not a number", "value error"),
        ("odd metadata", "value error the value of \"name\" in Metadata"),
        ("metadata as a list", "value error Metadata is a dict, not list"),
        ("a sample", "no exception: None"),
    ] {
        assert!(said[what].as_str().unwrap().starts_with(expected), "{what}: {}", said[what]);
    }
}

/// The next so many messages that the listening function heard.
fn hear(viewer: &mut Viewer<'_>, count: usize) -> Vec<Value> {
    (0..count).map(|_| viewer.next_payload()["said"].clone()).collect()
}

/// The processes of workers for single pictures below the process `core`.
fn service_workers(core: u32) -> Vec<i32> {
    let mut parents = std::collections::BTreeMap::new();
    let mut workers = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let read = |name: &str| fs::read(Path::new("/proc").join(pid.to_string()).join(name)).unwrap_or_default();
        let status = String::from_utf8_lossy(&read("stat")).into_owned();
        let after = status.rsplit(')').next().unwrap_or_default().to_owned();
        parents.insert(pid, after.split_whitespace().nth(1).and_then(|parent| parent.parse::<u32>().ok()).unwrap_or(0));
        if read("cmdline").windows(8).any(|part| part == b"one-shot") {
            workers.push(pid);
        }
    }
    let is_below =
        |pid: &u32| std::iter::successors(Some(*pid), |pid| parents.get(pid).copied()).any(|pid| pid == core);
    workers.into_iter().filter(is_below).map(|pid| i32::try_from(pid).unwrap()).collect()
}

#[test]
fn a_service_that_takes_too_long_is_given_up_after_its_timeout_and_answers_again() {
    if !has_python() {
        return;
    }
    let device = device("2");
    let core = device.start();
    device.wait_for("functions", listens);
    let mut viewer = Viewer::connect(&device, "sdk-viewer", &format!("{}/out", topic("asks")));
    send(&device, "asks", "{\"only\": \"infer\"}");
    assert!(viewer.next_payload().as_str().unwrap().starts_with("no exception: ["));
    let workers = service_workers(core.pid());
    assert!(!workers.is_empty(), "the service has a worker");
    for worker in workers {
        // As one that works without end: whatever it is asked, nothing comes back.
        let _ = rustix::process::kill_process(rustix::process::Pid::from_raw(worker).unwrap(), Signal::STOP);
    }
    send(&device, "asks", "{\"only\": \"infer\"}");
    let said = viewer.next_payload();
    let expected = "inference exception GreengrassInferenceException(\"the service signs had no prediction after 2 s";
    assert!(said.as_str().unwrap().starts_with(expected), "{said}");
    device.wait_for("another worker", |status| status.services[0].starts == 2 && status.services[0].engine.is_some());
    send(&device, "asks", "{\"only\": \"infer\"}");
    assert!(viewer.next_payload().as_str().unwrap().starts_with("no exception: ["));
    let status = device.status().unwrap();
    assert_eq!((status.services[0].answered, status.services[0].timed_out), (2, 1), "{:?}", status.services);
    assert_eq!(of(&status, "asks").unwrap().crashes, 0);
}

#[test]
fn a_service_whose_model_does_not_fit_its_memory_never_takes_the_place_of_one_that_works() {
    if !has_python() {
        return;
    }
    let mut device = device("30");
    let core = device.start();
    device.wait_for("functions", listens);
    device.connectors[0]["Parameters"]["LocalInferenceServiceMemoryLimitKB"] = json!("4096");
    device.write();
    program::signal(core.pid(), Signal::HUP);
    let status = device.wait_for("the failure", |status| {
        status.deployment.as_ref().is_some_and(|report| report.status == Status::Failure)
    });
    let failure = status.deployment.unwrap().failure.unwrap();
    assert_eq!(failure.kind, FailureKind::Model, "{}", failure.message);
    let mut viewer = Viewer::connect(&device, "sdk-viewer", &format!("{}/out", topic("asks")));
    send(&device, "asks", "{\"only\": \"infer\"}");
    assert!(viewer.next_payload().as_str().unwrap().starts_with("no exception: ["));
    assert_eq!(device.status().unwrap().services[0].starts, 1, "the one that ran goes on");
}

#[test]
fn a_package_of_mxnet_is_refused_with_what_to_do_and_no_function_is_needed_for_that() {
    let mut device = Device::new();
    let mut package = Package::bundled();
    package.0 = [("image-classification-0000.params", "weights"), ("image-classification-symbol.json", "{}")]
        .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
        .into();
    device.cloud.put_object(BUCKET, "sagemaker.tar.gz", package.pack());
    device.resources.push(json!({ "Id": "job", "Name": "job", "ResourceDataContainer": {
        "S3MachineLearningModelResourceData": { "S3Uri": format!("s3://{BUCKET}/sagemaker.tar.gz"), "DestinationPath": "/job" } } }));
    device.connectors.push(json!({ "Id": "service", "ConnectorArn": SERVICE, "Parameters": {
        "MLModelDestinationPath": "/job", "MLModelResourceId": "job",
        "MLModelSageMakerJobArn": "arn:aws:sagemaker:eu-central-1:123456789012:training-job/signs",
        "LocalInferenceServiceName": "signs", "LocalInferenceServiceTimeoutSeconds": "10",
        "LocalInferenceServiceMemoryLimitKB": "262144" } }));
    device.write();
    let _core = device.start();
    let status = device.wait_for("the failure", |status| {
        status.deployment.as_ref().is_some_and(|report| report.status == Status::Failure)
    });
    let message = status.deployment.unwrap().failure.unwrap().message;
    for word in ["sagemaker.tar.gz", "MXNet weights", "mxnet.onnx.export_model", "synset.txt"] {
        assert!(message.contains(word), "{message}");
    }
}

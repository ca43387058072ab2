//! The parameters of `MargayImageClassifier` against its group, and what becomes of V1's connectors.

use std::time::Duration;

use margay_camera::source::FolderOrder;
use margay_inference::{Region, Rotation, View};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::image_classifier::{Camera, Command, ImageClassifier, Picture};
use super::*;
use crate::classifier::policy::{PolicySettings, Smoothing, When};
use crate::group::Host;
use crate::problem::Problem;

const CLASSIFIER: &str = "arn:aws:greengrass:us-west-2::/connectors/MargayImageClassifier/versions/1";
const PARAMETERS: &str = "ConnectorDefinitionVersion.Connectors[0].Parameters";

/// A group with a model, a folder, a device and the connector with `parameters`.
fn document(parameters: &Value) -> Value {
    json!({
        "CoreDefinitionVersion": {"Cores": [{"Id": "core", "ThingArn": "arn:aws:iot:us-west-2:123456789012:thing/core-1"}]},
        "ResourceDefinitionVersion": {"Resources": [
            {"Id": "model", "Name": "model", "ResourceDataContainer": {"S3MachineLearningModelResourceData": {
                "S3Uri": "s3://models/squeezenet.tar.gz", "DestinationPath": "/ml_model"}}},
            {"Id": "frames", "Name": "frames", "ResourceDataContainer": {"LocalVolumeResourceData": {
                "SourcePath": "/srv/frames", "DestinationPath": "/frames", "GroupOwnerSetting": {"AutoAddGroupOwner": true}}}},
            {"Id": "camera", "Name": "camera", "ResourceDataContainer": {"LocalDeviceResourceData": {
                "SourcePath": "/dev/video0"}}}
        ]},
        "ConnectorDefinitionVersion": {"Connectors": [{"Id": "c", "ConnectorArn": CLASSIFIER, "Parameters": parameters}]},
        "SubscriptionDefinitionVersion": {"Subscriptions": [
            {"Id": "s", "Source": CLASSIFIER, "Subject": "margay/+/+/predictions", "Target": "cloud"}]}
    })
}

/// The fewest parameters that are accepted.
fn minimal() -> Value {
    json!({"MLModelResourceId": "model", "MLModelDestinationPath": "/ml_model", "CameraResourceId": "frames"})
}

/// `minimal` with `key` set to `value`, or without it.
fn with(key: &str, value: Value) -> Value {
    let mut parameters = minimal();
    parameters[key] = value;
    parameters
}

fn group(document: &Value) -> Group {
    let host = Host { thing_arn: None, allow_functions_to_run_as_root: false, virtual_hosted_s3: true };
    Group::parse(&document.to_string(), host).unwrap_or_else(|problems| panic!("refused:\n{problems}")).document
}

fn read_one(parameters: &Value) -> Result<Accepted<ImageClassifier>, Problems> {
    read(&group(&document(parameters))).map(|mut accepted| Accepted {
        document: accepted.document.image_classifiers.remove(0),
        warnings: accepted.warnings,
    })
}

fn accepted(parameters: &Value) -> ImageClassifier {
    read_one(parameters).unwrap_or_else(|problems| panic!("refused:\n{problems}")).document
}

fn one_error(parameters: &Value) -> Problem {
    let problems = read_one(parameters).expect_err("the parameters are to be refused");
    let found: Vec<Problem> = problems.errors().cloned().collect();
    assert_eq!(found.len(), 1, "{problems}");
    found[0].clone()
}

#[test]
fn defaults_fill_in_what_is_not_said() {
    let accepted = read_one(&minimal()).expect("the fewest parameters");
    assert!(accepted.warnings.is_empty(), "{}", accepted.warnings);
    let classifier = accepted.document;
    assert_eq!(classifier.model_source.to_string(), "s3://models/squeezenet.tar.gz");
    assert_eq!(classifier.topic.as_str(), "margay/core-1/camera/predictions");
    assert_eq!((classifier.policy.top_k, classifier.threshold), (5, None));
    assert_eq!(classifier.frames_per_second.get(), 5.0);
    assert_eq!(classifier.memory_limit.bytes(), 512 << 20);
    assert!(!classifier.repeat);
    let Camera::Volume(volume) = &classifier.camera else { panic!("a folder") };
    assert_eq!(volume.volume.source, std::path::Path::new("/srv/frames"));
    assert_eq!((&volume.pattern, volume.order), (&None, FolderOrder::Natural));
}

#[test]
fn all_parameters_are_read_from_strings() {
    let classifier = accepted(&json!({
        "MLModelResourceId": "model", "MLModelDestinationPath": "/ml_model", "CameraSource": "test-pattern",
        "CameraName": "gate-1", "FramesPerSecond": "0.5", "Topic": "plant/gate", "TopK": "3", "Threshold": "0.25",
        "MemoryLimitKB": "262144", "Repeat": "true", "Threads": "2"
    }));
    assert_eq!(classifier.camera, Camera::TestPattern);
    assert_eq!((classifier.camera_name.as_str(), classifier.topic.as_str()), ("gate-1", "plant/gate"));
    assert_eq!(
        (classifier.policy.top_k, classifier.threshold.map(|t| t.get()), classifier.repeat),
        (3, Some(0.25), true)
    );
    assert_eq!((classifier.memory_limit.bytes(), classifier.threads), (256 << 20, Some(2)));
}

#[test]
fn what_the_parameters_refer_to_is_in_the_group() {
    for (key, value) in [
        ("MLModelResourceId", json!("absent")),
        ("MLModelResourceId", json!("frames")),
        ("MLModelResourceId", json!("a b")),
        ("MLModelResourceId", Value::Null),
        ("MLModelDestinationPath", json!("/other")),
        ("MLModelDestinationPath", Value::Null),
        ("CameraResourceId", json!("absent")),
        ("CameraResourceId", json!("model")),
        ("CameraSource", json!("test-pattern")),
        ("CameraFormat", json!("yuyv")),
        ("CameraWidth", json!("640")),
        ("CameraName", json!("a/b")),
        ("FramesPerSecond", json!("0")),
        ("FramesPerSecond", json!("1001")),
        ("Topic", json!("a/+")),
        ("Topic", json!("$aws/things/x")),
        ("TopK", json!("0")),
        ("Threshold", json!("1.5")),
        ("MemoryLimitKB", json!("100")),
        ("Threads", json!("0")),
        ("Threads", json!("17")),
        ("Repeat", json!("yes")),
        ("HealthDarkBelow", json!("256")),
        ("HealthShare", json!("0")),
        ("HealthSilentSeconds", json!("3601")),
        ("Region", json!("1,2,3")),
        ("Region", json!("0,0,0,480")),
        ("Region", json!("0,0,16384,16385")),
        ("Region", json!("a,0,1,1,1")),
        ("Rotation", json!("45")),
        ("Mirror", json!("left")),
        ("Interval", json!("1")),
        ("Publish", json!("sometimes")),
        ("PublishIntervalSeconds", json!("5")),
        ("PublishThreshold", json!("2")),
        ("HeartbeatSeconds", json!("0")),
        ("MaxMessagesPerSecond", json!("-1")),
        ("AllowLabels", json!("a;;b")),
        ("DenyLabels", json!("")),
        ("Smoothing", json!("median")),
        ("SmoothingFrames", json!("5")),
        ("Hysteresis", json!("1.1")),
        ("TriggerTopic", json!("a/#")),
        ("TriggerTopic", json!("$aws/x")),
        ("TriggerTopic", json!("margay/core-1/camera/predictions")),
        ("ThumbnailPixels", json!("8")),
        ("ThumbnailPixels", json!("641")),
    ] {
        let document = with(key, value);
        let problem = if document[key].is_null() { without(key) } else { one_error(&document) };
        assert_eq!(problem.path, format!("{PARAMETERS}.{key}"));
        assert!(!problem.hint.is_empty());
    }
}

/// The fewest parameters with these.
fn with_all(more: &Value) -> Value {
    let mut parameters = minimal();
    for (key, value) in more.as_object().expect("an object") {
        parameters[key] = value.clone();
    }
    parameters
}

#[test]
fn a_policy_is_read_from_strings() {
    let classifier = accepted(&with_all(&json!({
        "Publish": "on-interval", "PublishIntervalSeconds": "2.5", "PublishThreshold": "0.6", "Hysteresis": "0.1",
        "HeartbeatSeconds": "60", "MaxMessagesPerSecond": "2", "AllowLabels": "cat; tabby, tabby cat ;dog",
        "DenyLabels": "person", "Smoothing": "exponential", "SmoothingFrames": "9", "TriggerTopic": "plant/ask",
        "ThumbnailPixels": "160", "TopK": "3"
    })));
    let policy = &classifier.policy;
    let labels = |set: &std::collections::BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join("|");
    assert_eq!(policy.when, When::OnInterval(Duration::from_millis(2500)));
    assert_eq!(policy.smoothing, Smoothing::Exponential(9));
    assert_eq!(
        (labels(&policy.labels.allow).as_str(), labels(&policy.labels.deny).as_str()),
        ("cat|dog|tabby, tabby cat", "person")
    );
    assert_eq!((policy.publish_threshold, policy.hysteresis, policy.top_k), (0.6, 0.1, 3));
    assert_eq!((policy.heartbeat, policy.least_gap), (Some(Duration::from_secs(60)), Some(Duration::from_millis(500))));
    assert_eq!(classifier.trigger_topic.expect("a topic").as_str(), "plant/ask");
    assert_eq!(classifier.thumbnail, Some(160));
    assert_eq!(accepted(&minimal()).policy, PolicySettings::every_frame(5), "nothing said is what it always was");
    let majority = accepted(&with("Smoothing", json!("majority"))).policy.smoothing;
    assert_eq!(majority, Smoothing::Majority(5));
}

#[test]
fn on_trigger_has_a_topic_of_its_own_and_a_subscription_must_bring_requests() {
    let parameters = with("Publish", json!("on-trigger"));
    let read_with = |subscriptions: Value| {
        let mut document = document(&parameters);
        let all = document["SubscriptionDefinitionVersion"]["Subscriptions"].as_array_mut().expect("a list");
        all.extend(subscriptions.as_array().expect("a list").iter().cloned());
        let mut accepted = read(&group(&document)).expect("accepted");
        (accepted.document.image_classifiers.remove(0), accepted.warnings.to_string())
    };
    let (classifier, warnings) = read_with(json!([]));
    let topic = classifier.trigger_topic.expect("a topic");
    assert_eq!(topic.as_str(), "margay/core-1/camera/trigger");
    assert!(warnings.contains("no subscription brings requests on margay/core-1/camera/trigger"), "{warnings}");
    let from_cloud =
        |subject: &str| json!([{"Id": "ask", "Source": "cloud", "Subject": subject, "Target": CLASSIFIER}]);
    assert_eq!(read_with(from_cloud("margay/core-1/camera/trigger")).1, "");
    let echo = read_with(from_cloud("margay/core-1/#")).1;
    assert!(echo.contains("subscription ask brings the predictions"), "{echo}");
}

#[test]
fn a_subscription_to_a_classifier_that_takes_no_requests_is_warned_about() {
    let mut document = document(&minimal());
    let all = document["SubscriptionDefinitionVersion"]["Subscriptions"].as_array_mut().expect("a list");
    all.push(json!({"Id": "ask", "Source": "cloud", "Subject": "ask", "Target": CLASSIFIER}));
    let warnings = read(&group(&document)).expect("accepted").warnings.to_string();
    assert!(warnings.contains("TriggerTopic") && warnings.contains("its messages are missed"), "{warnings}");
}

#[test]
fn parameters_that_contradict_each_other_are_refused() {
    for (more, key) in [
        (json!({"Publish": "on-interval"}), "PublishIntervalSeconds"),
        (json!({"Publish": "on-change", "PublishIntervalSeconds": "1"}), "PublishIntervalSeconds"),
        (json!({"Smoothing": "none", "SmoothingFrames": "3"}), "SmoothingFrames"),
        (json!({"HeartbeatSeconds": "1", "MaxMessagesPerSecond": "0.5"}), "HeartbeatSeconds"),
        (json!({"AllowLabels": "a;b", "DenyLabels": "b"}), "DenyLabels"),
        (json!({"Topic": "a", "TriggerTopic": "a"}), "TriggerTopic"),
    ] {
        assert_eq!(one_error(&with_all(&more)).path, format!("{PARAMETERS}.{key}"));
    }
    let many = with_all(&json!({"Publish": "x", "Smoothing": "y", "Hysteresis": "z", "ThumbnailPixels": "0",
        "TriggerTopic": "x/+"}));
    assert_eq!(read_one(&many).expect_err("refused").errors().count(), 5, "all at once");
}

#[test]
fn a_camera_that_hangs_upside_down_is_described() {
    let mut parameters = with("Region", json!("320, 0, 640, 480"));
    parameters["Rotation"] = json!("180");
    parameters["Mirror"] = json!("true");
    let view = accepted(&parameters).view;
    let region = Region { x: 320, y: 0, width: 640, height: 480 };
    assert_eq!(view, View { region: Some(region), rotation: Rotation::Half, mirrored: true });
    assert_eq!(accepted(&minimal()).view, View::default());
}

fn without(key: &str) -> Problem {
    let mut parameters = minimal();
    parameters.as_object_mut().expect("an object").remove(key);
    one_error(&parameters)
}

/// The parameters of a camera, with one more.
fn of_device(key: &str, value: Value) -> Value {
    let mut parameters = with("CameraResourceId", json!("camera"));
    parameters[key] = value;
    parameters
}

#[test]
fn a_camera_is_asked_for_what_the_parameters_say() {
    let camera = |parameters: &Value| match accepted(parameters).camera {
        Camera::Device(camera) => {
            let Picture { format, width, height } = camera.picture;
            (format.name(), width, height, camera.device.source)
        }
        other => panic!("{other:?}"),
    };
    let path = std::path::PathBuf::from("/dev/video0");
    assert_eq!(camera(&with("CameraResourceId", json!("camera"))), ("auto", 640, 480, path.clone()));
    let mut asked = of_device("CameraFormat", json!("mjpeg"));
    asked["CameraWidth"] = json!("1920");
    asked["CameraHeight"] = json!("1080");
    assert_eq!(camera(&asked), ("mjpeg", 1920, 1080, path));
    asked["CameraControls"] = json!("brightness=-10, exposure_auto = 1");
    asked["CameraCrop"] = json!("8,4,320,240");
    let Camera::Device(camera) = accepted(&asked).camera else { panic!("a camera") };
    assert_eq!(camera.adjustments.controls, [("brightness".to_owned(), -10), ("exposure_auto".to_owned(), 1)].into());
    assert_eq!(camera.adjustments.crop, Some(margay_camera::Region { x: 8, y: 4, width: 320, height: 240 }));
}

#[test]
fn a_camera_that_no_group_opens_is_warned_about() {
    let warnings = read_one(&with("CameraResourceId", json!("camera"))).expect("accepted").warnings;
    assert!(warnings.to_string().contains("AutoAddGroupOwner"), "{warnings}");
}

#[test]
fn what_no_camera_can_be_asked_for_is_refused() {
    for (key, value) in [
        ("CameraFormat", json!("h264")),
        ("CameraWidth", json!("0")),
        ("CameraHeight", json!("16385")),
        ("CameraHeight", json!("tall")),
        ("CameraControls", json!("brightness")),
        ("CameraControls", json!("=5")),
        ("CameraCrop", json!("0,0,0,5")),
        ("CameraCrop", json!("1,2,3")),
    ] {
        assert_eq!(one_error(&of_device(key, value)).path, format!("{PARAMETERS}.{key}"));
    }
    let problem = one_error(&with("CameraWidth", json!("640")));
    assert_eq!(problem.rule, "is for a camera, and the frames come from elsewhere");
}

/// The fewest parameters with a source that needs no resource, and one more.
fn of_source(source: &str, key: &str, value: Value) -> Value {
    let mut parameters =
        json!({"MLModelResourceId": "model", "MLModelDestinationPath": "/ml_model", "CameraSource": source});
    parameters[key] = value;
    parameters
}

#[test]
fn programs_and_cameras_of_the_network_are_sources() {
    let rpicam = accepted(&of_source("rpicam", "CameraArguments", json!("--hflip --roi '0,0,1,1'")));
    let Camera::Command(camera) = rpicam.camera else { panic!("a command") };
    let arguments = ["--hflip", "--roi", "0,0,1,1"].map(str::to_owned).to_vec();
    assert_eq!(camera.command, Command::Rpicam { sensor: 0, arguments });
    let jetson = accepted(&of_source("jetson", "CameraSensor", json!("1")));
    assert!(matches!(jetson.camera, Camera::Command(camera) if camera.command == Command::Jetson { sensor: 1 }));
    let mut pipeline = of_source("gstreamer", "CameraPipeline", json!("videotestsrc ! videoconvert"));
    pipeline["CommandResourceIds"] = json!("camera, frames");
    let Camera::Command(camera) = accepted(&pipeline).camera else { panic!("a command") };
    assert_eq!(camera.resources.len(), 2);
    let network = accepted(&of_source("http://10.0.0.7:8080/video", "FramesPerSecond", json!("2")));
    assert!(matches!(network.camera, Camera::Network(url) if url.to_string() == "http://10.0.0.7:8080/video"));
}

#[test]
fn what_a_program_cannot_be_asked_for_is_refused_at_its_parameter() {
    for (source, key, value, at) in [
        ("rpicam", "CameraWidth", json!("648"), ""),
        ("rpicam", "CameraFormat", json!("nv12"), "CameraFormat"),
        ("rpicam", "CameraSensor", json!("16"), "CameraSensor"),
        ("rpicam", "CameraArguments", json!("a 'b"), "CameraArguments"),
        ("rpicam", "CameraPipeline", json!("videotestsrc"), "CameraPipeline"),
        ("gstreamer", "CameraName", json!("gate"), "CameraPipeline"),
        ("jetson", "CameraWidth", json!("641"), "CameraWidth"),
        ("jetson", "CameraProgram", json!("gst-launch-1.0"), "CameraProgram"),
        ("jetson", "CommandResourceIds", json!("absent"), "CommandResourceIds"),
        ("jetson", "CommandResourceIds", json!("model"), "CommandResourceIds"),
        ("https://camera/", "CameraName", json!("gate"), "CameraSource"),
        ("http://user:secret@camera/", "CameraName", json!("gate"), "CameraSource"),
        ("webcam", "CameraName", json!("gate"), "CameraSource"),
        ("http://camera/", "CameraWidth", json!("640"), "CameraWidth"),
    ] {
        let parameters = of_source(source, key, value);
        if at.is_empty() {
            accepted(&parameters);
            continue;
        }
        let problem = one_error(&parameters);
        assert_eq!(problem.path, format!("{PARAMETERS}.{at}"), "{problem:?}");
        assert!(!problem.hint.is_empty());
    }
}

#[test]
fn the_files_of_a_folder_can_be_chosen_and_shuffled() {
    let mut parameters = with("CameraFiles", json!("gate-*.jpg"));
    parameters["CameraOrder"] = json!("shuffled");
    parameters["ShuffleSeed"] = json!("7");
    let Camera::Volume(camera) = accepted(&parameters).camera else { panic!("a folder") };
    assert_eq!(camera.pattern.unwrap().to_string(), "gate-*.jpg");
    assert_eq!(camera.order, FolderOrder::Shuffled { seed: 7 });
    for (key, value) in [
        ("CameraFiles", json!("a/b")),
        ("CameraOrder", json!("random")),
        ("ShuffleSeed", json!("7")),
        ("CameraSensor", json!("0")),
    ] {
        assert_eq!(one_error(&with(key, value)).path, format!("{PARAMETERS}.{key}"));
    }
}

#[test]
fn from_when_on_a_camera_is_ill_can_be_said() {
    let mut parameters = with("HealthSilentSeconds", json!("2"));
    parameters["HealthShare"] = json!("80");
    let health = accepted(&parameters).health;
    assert_eq!((health.silent_after.as_secs(), health.share), (2, 80));
    assert_eq!(health.dark_below, crate::classifier::HealthSettings::default().dark_below);
}

#[test]
fn frames_need_a_source() {
    assert_eq!(without("CameraResourceId").rule, "is required where there is no CameraSource");
}

#[test]
fn predictions_that_no_subscription_takes_are_warned_about() {
    let warnings = read_one(&with("Topic", json!("plant/gate"))).expect("accepted").warnings;
    assert!(warnings.to_string().contains("no subscription takes predictions on plant/gate"), "{warnings}");
}

#[test]
fn another_version_of_the_connector_is_refused() {
    let text = document(&minimal())
        .to_string()
        .replace("MargayImageClassifier/versions/1", "MargayImageClassifier/versions/2");
    let problems = read(&group(&serde_json::from_str(&text).expect("JSON"))).expect_err("it is refused");
    let problem = problems.errors().next().expect("an error");
    assert_eq!(problem.path, "ConnectorDefinitionVersion.Connectors[0].ConnectorArn");
}

#[test]
fn workers_take_the_groups_identity_and_never_roots() {
    let with_identity = |identity: Value| {
        let mut document = document(&minimal());
        document["FunctionDefinitionVersion"] = json!({"DefaultConfig": {"Execution": {"RunAs": identity}}});
        read(&group(&document)).expect("accepted").document.image_classifiers.remove(0).run_as
    };
    let ours = with_identity(json!({"Uid": 990, "Gid": "991"}));
    assert_eq!((ours.uid, ours.gid), (Some(990), Some(991)));
    let root = with_identity(json!({"Uid": 0, "Gid": 0}));
    assert_eq!((root.uid, root.gid), (None, None));
}

#[test]
fn v1s_connectors_are_named_as_absent_and_need_a_container() {
    let foreign = |name: &str, isolation: &str| {
        let arn = format!("arn:aws:greengrass:us-west-2::/connectors/{name}/versions/2");
        let mut document = document(&minimal());
        document["ConnectorDefinitionVersion"]["Connectors"] =
            json!([{"Id": "c", "ConnectorArn": arn, "Parameters": {"MLModelSageMakerJobArn": "x"}}]);
        document["SubscriptionDefinitionVersion"] = json!({});
        document["FunctionDefinitionVersion"] = json!({"DefaultConfig": {"Execution": {"IsolationMode": isolation}}});
        read(&group(&document))
    };
    let accepted = foreign("ObjectDetectionx86-64", "GreengrassContainer").expect("accepted");
    assert_eq!(accepted.document, Connectors::default());
    assert!(accepted.warnings.to_string().contains("this version does not have"), "{}", accepted.warnings);
    let refused = foreign("ObjectDetectionx86-64", "NoContainer").expect_err("contract A1");
    assert!(refused.to_string().contains("default isolation is NoContainer"), "{refused}");
    assert!(foreign("IoTSiteWise", "NoContainer").is_ok(), "contract H11");
}

proptest! {
    #[test]
    fn any_parameter_is_accepted_or_refused_with_a_problem(
        key in "MLModelResourceId|MLModelDestinationPath|CameraResourceId|CameraSource|CameraName|FramesPerSecond|Topic|TopK|Threshold|MemoryLimitKB|Repeat|Threads|Publish|PublishIntervalSeconds|PublishThreshold|HeartbeatSeconds|MaxMessagesPerSecond|AllowLabels|DenyLabels|Smoothing|SmoothingFrames|Hysteresis|TriggerTopic|ThumbnailPixels|[a-zA-Z]{1,8}",
        value in "\\PC{0,20}|[0-9.]{0,12}|/[a-z_/]{0,10}|true|false|model|frames|on-change|on-trigger|majority",
    ) {
        if let Err(problems) = read_one(&with(&key, json!(value))) {
            prop_assert!(problems.refuse());
        }
    }
}

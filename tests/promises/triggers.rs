//! Messages from the cloud to a classifier, and between local targets: one on the trigger topic asks for one prediction; what
//! no target takes is counted and shown; what a kept session holds arrives.

use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use margay::app::status::CoreStatus;
use margay::classifier::policy::{PolicyCounters, Withheld};
use margay::deployment::Status;

use crate::support::device::{CONNECTOR, Device, TOPIC};
use crate::support::has_tool;
use crate::support::program::{self, assert_code};
use crate::support::schema::PayloadSchema;
use crate::support::viewer::Viewer;

const TRIGGER: &str = "margay/core-1/road/trigger";

fn margay(device: &Device, arguments: &[&str]) -> Output {
    let (first, rest) = arguments.split_first().unwrap();
    let mut command = program::margay();
    command.arg(first).arg("--config").arg(device.config_path()).args(rest).stdin(Stdio::null());
    command.output().unwrap()
}

fn topics(device: &Device) -> Vec<Value> {
    let output = margay(device, &["topics", "--json"]);
    assert_code(&output, 0);
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A device whose classifier publishes what it is asked for, by the cloud.
fn asked_by_the_cloud() -> Device {
    let mut device = Device::new();
    device.parameters["Publish"] = "on-trigger".into();
    device.more_subscriptions =
        vec![json!({ "Id": "ask", "Source": "cloud", "Target": CONNECTOR, "Subject": TRIGGER })];
    device.write();
    device
}

/// The policy of the only camera, whose decisions account for every classified frame.
fn policy(status: &CoreStatus) -> PolicyCounters {
    let classifier = status.cameras[0].classifier.as_ref().expect("a classifier");
    assert_eq!(classifier.policy.decided(), classifier.ledger.inferred(), "inferred = published + withheld");
    assert!(classifier.ledger.adds_up());
    classifier.policy.clone()
}

fn listens(status: &CoreStatus) -> bool {
    let classifier = status.cameras.first().and_then(|camera| camera.classifier.as_ref());
    let classifies = classifier.is_some_and(|classifier| classifier.ledger.inferred() > 0);
    classifies && status.link.connected && status.link.subscriptions_granted > 0
}

fn deployed(status: &CoreStatus) -> bool {
    status.deployment.as_ref().is_some_and(|report| report.status == Status::Success)
}

fn assert_answers(prediction: &Value, id: &str) {
    PayloadSchema::published().assert_valid(prediction);
    assert_eq!(prediction["publication"]["reason"], "trigger", "{prediction}");
    assert_eq!(prediction["trigger"]["id"], id, "{prediction}");
}

#[test]
fn a_message_from_the_cloud_asks_for_one_prediction_that_repeats_its_id() {
    let device = asked_by_the_cloud();
    let _core = device.start();
    device.wait_for("a core that listens", listens);
    let mut viewer = Viewer::connect(&device, "trigger-viewer", TOPIC);
    for id in ["door 7", "door 8"] {
        assert_code(&margay(&device, &["publish", TRIGGER, &json!({ "id": id }).to_string()]), 0);
        assert_answers(&viewer.next_payload(), id);
    }
    assert_code(&margay(&device, &["publish", TRIGGER, "now, please"]), 0);
    let status = device.wait_for("a refusal", |status| policy(status).triggers_refused == 1);
    let decided = policy(&status);
    assert_eq!((decided.triggers_taken, decided.triggers_answered, decided.published), (2, 2, 2));
    assert!(decided.withheld[&Withheld::NotAsked] > 0 && decided.withheld.len() == 1, "{decided:?}");
    assert_eq!(status.link.accepted, 2, "nothing else left the device: {:?}", status.link);
    assert_eq!(status.router.targets[CONNECTOR].taken, 3);
    assert!(device.log().contains("a request is empty or a JSON object"), "{}", device.log());
}

#[test]
fn another_mqtt_client_asks_and_is_answered() {
    if !has_tool("mosquitto_pub", "mosquitto-clients") {
        return;
    }
    let device = asked_by_the_cloud();
    let _core = device.start();
    device.wait_for("a core that listens", listens);
    let mut viewer = Viewer::connect(&device, "trigger-viewer", TOPIC);
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "localhost", "-p", &device.cloud.mqtt_port().to_string(), "-i", "core-1-mosquitto", "-q", "1"]);
    command.arg("--cafile").arg(&device.files.ca).arg("--cert").arg(&device.files.certificate);
    command.arg("--key").arg(&device.files.private_key).args(["-t", TRIGGER, "-m", "{\"id\": \"m\"}"]);
    assert!(command.status().unwrap().success());
    assert_answers(&viewer.next_payload(), "m");
}

#[test]
fn what_is_asked_while_the_core_is_away_is_answered_where_the_broker_keeps_its_session() {
    let mut device = asked_by_the_cloud();
    device.spooler = Some(json!({ "GG_CONFIG_SUBSCRIPTION_QUALITY": "AtLeastOncePersistent" }));
    device.write();
    let mut core = device.start();
    device.wait_for("a core that listens", listens);
    assert_eq!(core.terminate(), Some(0));
    assert_code(&margay(&device, &["publish", TRIGGER, "{\"id\": \"while away\"}"]), 0);
    let mut viewer = Viewer::connect(&device, "trigger-viewer", TOPIC);
    let _core = device.start();
    assert_answers(&viewer.next_payload(), "while away");
}

#[test]
fn a_deployment_exchanges_what_comes_from_the_cloud_and_what_nobody_takes_is_counted_and_shown() {
    let mut device = asked_by_the_cloud();
    let core = device.start();
    device.wait_for("a core that listens, and its deployment's end", |status| listens(status) && deployed(status));
    // The same subscription, to a classifier that publishes every frame and takes no requests; and predictions go round.
    device.parameters["Publish"] = "every-frame".into();
    device
        .more_subscriptions
        .push(json!({ "Id": "round", "Source": CONNECTOR, "Target": CONNECTOR, "Subject": TOPIC }));
    device.write();
    program::signal(core.pid(), rustix::process::Signal::HUP);
    device.wait_for("predictions that nobody takes", |status| {
        status.router.missed_by_subscription.get("round") > Some(&2)
    });
    assert_code(&margay(&device, &["publish", TRIGGER, "{}"]), 0);
    device
        .wait_for("a request that nobody takes", |status| status.router.missed_by_subscription.get("ask") == Some(&1));
    let ask = topics(&device).into_iter().find(|row| row["subscription"] == "ask").unwrap();
    assert_eq!((&ask["missed"], &ask["target_runs"]), (&json!(1), &json!(false)), "{ask}");
    let table = String::from_utf8(margay(&device, &["topics"]).stdout).unwrap();
    assert!(table.contains("takes no messages: connector MargayImageClassifier"), "{table}");

    device.wait_for("the deployment's end", deployed);
    // Now it takes them: predictions arrive at it as they are, mean nothing there, and requests are answered.
    device.parameters["TriggerTopic"] = TRIGGER.into();
    device.write();
    program::signal(core.pid(), rustix::process::Signal::HUP);
    device.wait_for("a target that takes its own predictions", |status| {
        status.router.targets.get(CONNECTOR).is_some_and(|target| target.taken > 2)
    });
    let mut viewer = Viewer::connect(&device, "trigger-viewer", TOPIC);
    assert_code(&margay(&device, &["publish", TRIGGER, "{\"id\": \"at last\"}"]), 0);
    let answer = std::iter::repeat_with(|| viewer.next_payload()).find(|one| one["publication"]["reason"] == "trigger");
    assert_answers(&answer.unwrap(), "at last");
}

#[test]
fn a_subscription_that_the_broker_refuses_is_said_and_predictions_go_on() {
    let mut device = asked_by_the_cloud();
    device.parameters["Publish"] = "every-frame".into();
    device.parameters["TriggerTopic"] = "elsewhere/trigger".into();
    device.more_subscriptions[0]["Subject"] = "elsewhere/trigger".into();
    device.write();
    let _core = device.start();
    device.wait_for("a refusal", |status| {
        status.link.refused_filters == ["elsewhere/trigger"] && status.link.delivered > 0
    });
    let shown = String::from_utf8(margay(&device, &["status"]).stdout).unwrap();
    assert!(shown.contains("the broker does not grant the subscription to elsewhere/trigger"), "{shown}");
}

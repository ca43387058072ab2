//! Fewer messages than frames, and every frame accounted for: the policy of a classifier over the real camera, model,
//! router and broker.

use base64::Engine as _;
use serde_json::Value;

use margay::classifier::policy::Withheld;

use crate::support::device::{Device, TOPIC};
use crate::support::schema::PayloadSchema;
use crate::support::viewer::Viewer;

/// What a subscriber gets of a device whose connector has these parameters besides the usual ones.
fn messages(parameters: &[(&str, &str)], count: usize) -> Vec<Value> {
    let mut device = Device::new();
    for (name, value) in parameters {
        device.parameters[*name] = (*value).into();
    }
    device.write();
    let mut viewer = Viewer::connect(&device, "policy-viewer", TOPIC);
    let mut core = device.start();
    let schema = PayloadSchema::published();
    let received: Vec<Value> = (0..count).map(|_| viewer.next_payload()).collect();
    received.iter().for_each(|message| schema.assert_valid(message));
    let status = device.wait_for("a published frame", |status| status.cameras[0].classifier.is_some());
    let classifier = status.cameras[0].classifier.as_ref().unwrap();
    assert_eq!(classifier.policy.decided(), classifier.ledger.inferred(), "inferred = published + withheld");
    assert!(classifier.ledger.adds_up());
    core.terminate();
    received
}

fn frame(message: &Value) -> u64 {
    message["frame"].as_u64().unwrap()
}

#[test]
fn on_change_each_message_says_another_label_and_how_many_frames_said_nothing_new() {
    let received = messages(&[("Publish", "on-change"), ("Smoothing", "majority"), ("SmoothingFrames", "3")], 6);
    let labels: Vec<&str> = received.iter().map(|one| one["stable"]["label"].as_str().unwrap()).collect();
    assert!(labels.windows(2).all(|pair| pair[0] != pair[1]), "{labels:?}");
    assert!(received.iter().all(|one| one["publication"]["reason"] == "change"));
    for pair in received.windows(2) {
        let between = frame(&pair[1]) - frame(&pair[0]) - 1;
        let withheld = pair[1]["publication"]["withheld"].as_u64().unwrap();
        assert!(withheld <= between, "{withheld} of the {between} frames between two messages were classified");
    }
}

#[test]
fn a_denied_label_never_leaves_the_device_and_a_pace_is_kept() {
    let mut device = Device::new();
    device.parameters["DenyLabels"] = "stop; yield".into();
    device.parameters["MaxMessagesPerSecond"] = "5".into();
    device.write();
    let mut viewer = Viewer::connect(&device, "policy-viewer", TOPIC);
    let _core = device.start();
    for _ in 0..10 {
        let message = viewer.next_payload();
        let labels = message["predictions"].as_array().unwrap().iter().map(|class| class["label"].as_str().unwrap());
        assert!(labels.clone().all(|label| label != "stop" && label != "yield"), "{message}");
    }
    let status = device.status().unwrap();
    let policy = &status.cameras[0].classifier.as_ref().unwrap().policy;
    assert!(policy.withheld[&Withheld::Rate] > 0, "{policy:?}");
}

#[test]
fn a_message_carries_the_frame_in_small_and_stays_below_the_limit() {
    for message in messages(&[("ThumbnailPixels", "96")], 3) {
        let thumbnail = &message["thumbnail"];
        let jpeg = base64::engine::general_purpose::STANDARD.decode(thumbnail["data"].as_str().unwrap()).unwrap();
        assert!(jpeg.starts_with(&[0xff, 0xd8]) && jpeg.len() <= 24 * 1024);
        let sides = [&thumbnail["width"], &thumbnail["height"]].map(|side| side.as_u64().unwrap());
        assert_eq!(sides.into_iter().max(), Some(96), "{sides:?}");
        assert!(message.to_string().len() <= 128 * 1024);
    }
}

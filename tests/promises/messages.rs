//! Messages by hand: published and received with the device's own identity, beside the core and without disturbing it;
//! what cannot be published is refused with the rule and what to do.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::support::device::{CONNECTOR, Device, TOPIC};
use crate::support::program::{self, assert_code};
use crate::support::relay::ConnectProxy;
use crate::support::viewer::Viewer;

const NOTES: &str = "margay/core-1/notes";

fn margay(device: &Device, arguments: &[&str], input: &[u8]) -> Output {
    let mut command = program::margay();
    let (first, rest) = arguments.split_first().unwrap();
    command.arg(first).arg("--config").arg(device.config_path()).args(rest);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // One that refuses its arguments reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn lines(output: &Output) -> Vec<Value> {
    assert_code(output, 0);
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn what_is_published_by_hand_arrives_and_the_core_keeps_its_connection() {
    let device = Device::new();
    let _core = device.start();
    device.wait_for_predictions();
    let mut viewer = Viewer::connect(&device, "notes-viewer", NOTES);
    let file = device.folder.path().join("message.json");
    std::fs::write(&file, "{\"n\": 3}").unwrap();

    let argument = margay(&device, &["publish", NOTES, "{\"n\": 1}", "--json"], b"");
    assert_code(&argument, 0);
    assert!(argument.stdout.is_empty() && said(&argument).contains("published 8 bytes on margay/core-1/notes"));
    assert_code(&margay(&device, &["publish", NOTES, "-"], b"{\"n\": 2}"), 0);
    assert_code(&margay(&device, &["publish", NOTES, "--file", file.to_str().unwrap()], b""), 0);
    for n in 1..=3 {
        assert_eq!(viewer.next_payload(), json!({ "n": n }));
    }
    let largest = "x".repeat(128 * 1024);
    assert_code(&margay(&device, &["publish", NOTES, "-"], largest.as_bytes()), 0);
    // Another client with the core's id would have thrown it out: it would have had to connect again.
    assert!(!device.log().contains("no connection to the cloud"), "{}", device.log());
}

#[test]
fn predictions_can_be_looked_at_with_a_count_a_timeout_and_as_json() {
    let device = Device::new();
    let _core = device.start();
    device.wait_for_predictions();
    let output = margay(&device, &["subscribe", "--count", "3", "margay/core-1/+/predictions", "--json"], b"");
    let messages = lines(&output);
    assert_eq!(messages.len(), 3);
    for message in messages {
        assert_eq!((message["topic"].as_str(), &message["payload"]["thing"]), (Some(TOPIC), &json!("core-1")));
    }
    let none = margay(&device, &["subscribe", "--timeout", "1", "--count", "5", "margay/core-1/silence"], b"");
    assert_code(&none, 1);
    assert!(said(&none).contains("0 of 5 messages came within 1 s"), "{}", said(&none));
    assert_code(&margay(&device, &["subscribe", "--timeout", "1", "margay/core-1/silence"], b""), 0);
    let refused = margay(&device, &["subscribe", "margay/+/road/#"], b"");
    assert_code(&refused, 9);
    assert!(said(&refused).contains("must allow iot:Subscribe for this filter"), "{}", said(&refused));
    let two = margay(&device, &["subscribe", "--count", "2", TOPIC, "margay/core-1/#"], b"");
    assert_code(&two, 0);
    assert_eq!(two.stdout.iter().filter(|byte| **byte == b'\n').count(), 2);
}

#[test]
fn a_retained_message_is_there_for_who_comes_later_and_quality_0_is_sent_and_no_more() {
    let device = Device::new();
    let kept = margay(&device, &["publish", NOTES, "kept", "--retain"], b"");
    assert_code(&kept, 0);
    assert!(said(&kept).contains("acknowledged by localhost") && said(&kept).contains("to be kept"), "{}", said(&kept));
    let later = margay(&device, &["subscribe", "--count", "1", NOTES, "--json"], b"");
    assert_eq!(lines(&later), [json!({ "topic": NOTES, "text": "kept" })]);
    let mut viewer = Viewer::connect(&device, "notes-viewer", NOTES);
    assert_eq!(viewer.next_text(), "kept");
    let sent = margay(&device, &["publish", NOTES, "{\"n\": 1}", "--qos", "0"], b"");
    assert_code(&sent, 0);
    assert!(said(&sent).contains("sent to localhost"), "{}", said(&sent));
    assert_eq!(viewer.next_payload(), json!({ "n": 1 }));
}

#[test]
fn commands_reach_the_broker_through_the_proxy_of_the_core() {
    let mut device = Device::new();
    let mqtt = device.cloud.mqtt_port();
    let broker = "a1-ats.iot.eu-central-1.amazonaws.com";
    let proxy = device.runtime.block_on(ConnectProxy::start(move |host| host.starts_with(broker).then_some(mqtt)));
    device.config["coreThing"]["networkProxy"] =
        json!({ "proxy": { "url": format!("http://127.0.0.1:{}", proxy.port) } });
    device.config["coreThing"]["iotHost"] = json!(broker);
    device.config["coreThing"]["iotMqttPort"] = json!(443);
    device.config["margay"]["mqtt"] = json!({});
    device.spooler = Some(json!({ "GG_CONFIG_STORAGE_TYPE": "FileSystem" }));
    device.write();
    assert_code(&margay(&device, &["publish", NOTES, "kept", "--retain"], b""), 0);
    let seen = margay(&device, &["subscribe", "--count", "1", NOTES, "--json"], b"");
    assert_eq!(lines(&seen), [json!({ "topic": NOTES, "text": "kept" })]);

    // Predictions of a core that no way led out of, delivered by hand when there is one.
    let unreachable = json!({ "proxy": { "url": "http://127.0.0.1:9" } });
    let way = std::mem::replace(&mut device.config["coreThing"]["networkProxy"], unreachable);
    device.config["margay"]["s3"]["endpoint"] = json!(device.cloud.s3_endpoint());
    device.config["coreThing"]["networkProxy"]["noProxyAddresses"] = json!("localhost");
    device.write();
    let mut core = device.start();
    device.wait_for("predictions that wait", |status| status.link.queued > 3);
    core.terminate();
    device.config["coreThing"]["networkProxy"] = way;
    device.write();
    let mut drain = program::margay();
    drain.args(["spool", "drain", "--config"]).arg(device.config_path());
    let drained = drain.output().unwrap();
    assert_code(&drained, 0);
    assert!(String::from_utf8_lossy(&drained.stdout).contains("everything is delivered"));
    assert_eq!(proxy.asked(), [format!("{broker}:443")]);
}

#[test]
fn what_cannot_be_published_is_refused_with_its_rule_before_anything_is_sent() {
    let device = Device::new();
    device.runtime.block_on(device.cloud.stop_broker());
    let long = "x".repeat(257);
    let folder = device.folder.path().to_str().unwrap();
    for (arguments, input, rule) in [
        (&["publish", "margay/+/notes", "x"][..], &b""[..], "wildcards are for subscribing, a message needs one topic"),
        (&["publish", "margay/#", "x"], b"", "wildcards are for subscribing"),
        (&["publish", "", "x"], b"", "a topic may not be empty"),
        (&["publish", long.as_str(), "x"], b"", "at most 256 bytes, this one has 257"),
        (&["publish", "a\u{1}b", "x"], b"", "control character"),
        (&["publish", "a"], b"", "<MESSAGE>"),
        (&["publish", "a", "x", "--file", "y"], b"", "cannot be used with"),
        (&["publish", "a", "--file", folder], b"", "reading the message from"),
        (&["publish", "a", "{\"n\": }", "--json"], b"", "the message is no JSON; leave out --json"),
        (&["publish", "a", "-", "--json"], b"\xff", "the message is no JSON"),
        (&["publish", "a", "-"], &[b'x'; 128 * 1024 + 1], "more than 131072 bytes (128 KB)"),
        (&["publish", "a", "--file", "/dev/zero"], b"", "more than 131072 bytes (128 KB)"),
        (&["publish", "a", "x", "--timeout", "0"], b"", "1..=3600"),
        (&["publish", "a", "x", "--qos", "2"], b"", "AWS IoT Core has no QoS 2; use 1"),
        (&["publish", "a", "x", "--qos", "once"], b"", "0 or 1"),
        (&["subscribe", "a/b#"], b"", "# must be the whole last level"),
        (&["subscribe", "a+/b"], b"", "+ must be a whole level"),
        (&["subscribe", "a", "--count", "0"], b"", "--count"),
    ] {
        let output = margay(&device, arguments, input);
        assert_code(&output, 2);
        assert!(said(&output).contains(rule), "{arguments:?} says {}", said(&output));
    }
    for command in ["publish", "subscribe"] {
        let mut broken = program::margay();
        broken.arg(command).arg(OsStr::from_bytes(b"a/\xff"));
        let output = broken.output().unwrap();
        assert_code(&output, 2);
        assert!(said(&output).contains("a topic is UTF-8 text"), "{command}: {}", said(&output));
    }
}

#[test]
fn a_broker_that_is_away_is_named_at_once() {
    let device = Device::new();
    device.runtime.block_on(device.cloud.stop_broker());
    let output = margay(&device, &["publish", NOTES, "x", "--timeout", "60"], b"");
    assert_code(&output, 9);
    assert!(said(&output).contains("localhost") && said(&output).contains("iot:Publish"), "{}", said(&output));
}

#[test]
fn the_groups_topics_are_listed_with_live_counters_while_the_core_runs() {
    let mut device = Device::new();
    let before = lines(&margay(&device, &["topics", "--json"], b""));
    let subscription = json!({ "subscription": "out", "source": CONNECTOR, "subject": "margay/core-1/#",
        "target": "cloud", "messages": null, "missed": null, "target_runs": null });
    assert_eq!(before, [subscription]);

    let mut core = device.start();
    device.wait_for_predictions();
    let during = lines(&margay(&device, &["topics", "--json"], b""));
    assert!(during[0]["messages"].as_u64().unwrap() > 0, "{during:?}");
    let table = margay(&device, &["topics"], b"");
    assert_code(&table, 0);
    let text = String::from_utf8(table.stdout).unwrap();
    assert!(text.contains("out           connector MargayImageClassifier  margay/core-1/#  cloud"), "{text}");

    // A new document is taken over by SIGHUP, subscriptions included.
    device.subject = "margay/core-1/elsewhere/#".to_owned();
    device.write();
    program::signal(core.pid(), rustix::process::Signal::HUP);
    device.wait_for("predictions that nobody subscribes to any more", |status| status.router.no_route > 5);
    let after = margay(&device, &["topics"], b"");
    let text = String::from_utf8(after.stdout).unwrap();
    assert!(text.contains("goes nowhere: MargayImageClassifier publishes on margay/core-1/road/predictions"), "{text}");
    assert!(text.contains("without a subscription"), "{text}");
    core.terminate();
}

//! Who is who is decided by certificates, checked with a second MQTT implementation.

use std::process::{Command, Output};

use margay_localcloud::DeviceFiles;

use crate::support::device::{Device, TOPIC};
use crate::support::has_tool;

fn mosquitto_sub(device: &Device, files: &DeviceFiles, topic: &str) -> Output {
    Command::new("mosquitto_sub")
        .args(["-h", "localhost", "-p", &device.cloud.mqtt_port().to_string(), "-q", "1", "-C", "3", "-W", "60"])
        .args(["-t", topic, "--cafile", files.ca.to_str().unwrap()])
        .args(["--cert", files.certificate.to_str().unwrap(), "--key", files.private_key.to_str().unwrap()])
        .output()
        .expect("mosquitto_sub starts")
}

#[test]
fn mosquitto_sub_with_the_viewers_certificate_receives_the_predictions() {
    if !has_tool("mosquitto_sub", "mosquitto-clients") {
        return;
    }
    let device = Device::new();
    let _core = device.start();
    device.wait_for_predictions();
    let viewer = device.cloud.issue_viewer("mosquitto").unwrap();
    let output = mosquitto_sub(&device, &viewer, TOPIC);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 3);
    let schema = crate::support::schema::PayloadSchema::published();
    for line in text.lines() {
        schema.assert_valid(&serde_json::from_str(line).unwrap());
    }
}

#[test]
fn a_client_with_another_certificate_is_refused() {
    if !has_tool("mosquitto_sub", "mosquitto-clients") {
        return;
    }
    let device = Device::new();
    let stranger = device.cloud.issue_unregistered("stranger", &device.folder.path().join("stranger")).unwrap();
    let output = mosquitto_sub(&device, &stranger, TOPIC);
    assert!(!output.status.success(), "{output:?}");
    assert!(output.stdout.is_empty());
}

#[test]
fn the_python_example_receives_the_predictions() {
    let Some(python) = python_with_paho() else { return };
    let device = Device::new();
    let _core = device.start();
    device.wait_for_predictions();
    let viewer = device.cloud.issue_viewer("python").unwrap();
    let output = Command::new(python)
        .args(["docs/examples/subscriber.py", "--host", "localhost", "--count", "2", "--topic", TOPIC])
        .args(["--port", &device.cloud.mqtt_port().to_string(), "--cafile", viewer.ca.to_str().unwrap()])
        .args(["--cert", viewer.certificate.to_str().unwrap(), "--key", viewer.private_key.to_str().unwrap()])
        .output()
        .expect("the example starts");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().filter(|line| line.contains("core-1/road frame")).count(), 2, "{text}");
}

fn python_with_paho() -> Option<String> {
    let python = std::env::var("MARGAY_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let found = Command::new(&python).args(["-c", "import paho.mqtt.client"]).output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    crate::support::skipped("python clients", "pip install paho-mqtt; MARGAY_TEST_PYTHON names the interpreter");
    None
}

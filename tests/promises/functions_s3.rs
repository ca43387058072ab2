//! boto3 as it comes from PyPI, inside a container: the core's credentials, and S3 to read and to write with them.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::s3_peers::has_s3s_fs;
use crate::support::device::{BUCKET, Device};
use crate::support::functions::{add, bring, clients, code, connect, listens, send, topic};
use crate::support::server::{Server, free_port};
use crate::support::viewer::Viewer;

const PEER: &str = r#"
import json, os
import boto3, greengrasssdk
from botocore.config import Config

s3 = boto3.client("s3", config=Config(s3={"addressing_style": "path"}))

def attempt(act):
    try:
        return act()
    except Exception as error:
        return type(error).__name__

def handler(event, context):
    out = context.client_context.custom["subject"].replace("/in", "/out")
    content = bytes(range(256)) * event["blocks"]
    said = {
        "key": boto3.Session().get_credentials().access_key,
        "method": boto3.Session().get_credentials().method,
        "read": s3.get_object(Bucket=event["bucket"], Key=event["there"])["Body"].read().decode(),
        "put": s3.put_object(Bucket=event["bucket"], Key=event["key"], Body=content)["ResponseMetadata"]["HTTPStatusCode"],
        "same": s3.get_object(Bucket=event["bucket"], Key=event["key"])["Body"].read() == content,
        "missing": attempt(lambda: s3.get_object(Bucket=event["bucket"], Key="not there")),
    }
    greengrasssdk.client("iot-data").publish(topic=out, payload=json.dumps(said))
"#;

/// What boto3 comes with.
const MODULES: [&str; 8] =
    ["boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six.py", "greengrasssdk"];

/// A device with the function, whose S3 is where `variables` say.
fn device_with(clients: &std::path::Path, variables: Value) -> Device {
    let mut device = Device::new();
    let more = json!({ "MemorySize": 262_144, "Timeout": 60, "Environment": { "Variables": variables } });
    add(&mut device, "peer", PEER, more);
    bring(&device, "peer", clients, &MODULES);
    // A new file, which other users may read.
    fs::write(code(&device, "peer").join("ca.pem"), fs::read(&device.files.ca).unwrap()).unwrap();
    connect(&mut device, "peer");
    device
}

fn ask(device: &Device, question: &Value) -> Value {
    let mut viewer = Viewer::connect(device, "functions-viewer", &format!("{}/out", topic("peer")));
    send(device, "peer", &question.to_string());
    viewer.next_payload()
}

#[test]
fn boto3_reads_and_writes_s3_from_a_container_with_the_cores_credentials() {
    let Some(clients) = clients() else { return };
    let mut device = device_with(&clients, json!({}));
    // The local cloud takes no checksums in trailers, which newer versions send unless they are told not to.
    let variables = json!({ "AWS_ENDPOINT_URL_S3": device.cloud.s3_endpoint(), "AWS_CA_BUNDLE": "/lambda/ca.pem",
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required" });
    device.functions[0]["FunctionConfiguration"]["Environment"]["Variables"] = variables;
    device.cloud.put_object(BUCKET, "note", "of the cloud");
    device.write();
    let _core = device.start();
    device.wait_for("functions", listens);
    let question = json!({ "bucket": BUCKET, "there": "note", "key": "fleet/result", "blocks": 4096 });
    let said = ask(&device, &question);
    assert_eq!((&said["method"], &said["read"]), (&json!("container-role"), &json!("of the cloud")), "{said}");
    assert_eq!((&said["put"], &said["same"]), (&json!(200), &json!(true)), "{said}");
    assert_eq!(said["missing"], "NoSuchKey", "{said}");
    assert_eq!(device.cloud.object(BUCKET, "fleet/result").unwrap().len(), 256 * 4096);
}

#[test]
fn boto3_reads_and_writes_s3s_fs_from_a_container_which_checks_each_signature() {
    let Some(clients) = clients() else { return };
    if !has_s3s_fs() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join(BUCKET)).unwrap();
    fs::write(root.path().join(BUCKET).join("note"), "of the disk").unwrap();
    let port = free_port();
    let mut command = Command::new("s3s-fs");
    command.args(["--access-key", "AKTEST", "--secret-key", "SKTEST", "--host", "127.0.0.1", "--port"]);
    let _server = Server::start(command.arg(port.to_string()).arg(root.path()), port);
    let endpoint = json!({ "AWS_ENDPOINT_URL_S3": format!("http://127.0.0.1:{port}") });
    let device = device_with(&clients, endpoint);
    device.cloud.hand_out("AKTEST", "SKTEST", "ignored-there");
    device.write();
    let _core = device.start();
    device.wait_for("functions", listens);
    let question = json!({ "bucket": BUCKET, "there": "note", "key": "result", "blocks": 1000 });
    let said = ask(&device, &question);
    assert_eq!((&said["key"], &said["read"]), (&json!("AKTEST"), &json!("of the disk")), "{said}");
    assert_eq!((&said["put"], &said["same"]), (&json!(200), &json!(true)), "{said}");
    assert_eq!(fs::metadata(root.path().join(BUCKET).join("result")).unwrap().len(), 256_000);
}

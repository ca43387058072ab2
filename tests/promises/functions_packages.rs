//! Functions' code from packages: fetched, checked and unpacked by deployments, taken back by them, and kept no longer
//! than somebody needs it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use margay::package::Sha256Digest;
use serde_json::{Value, json};

use crate::support::device::{BUCKET, Device};
use crate::support::functions::{
    add_with_code, arn, connect, has_python, listens, open_to_others, send, topic, zip_of,
};
use crate::support::program::{self, assert_code};
use crate::support::viewer::Viewer;

/// Publishes what it is, by way of a module beside it.
const APP: &str = r#"
import base64, json
from greengrass_ipc_python_sdk.ipc_client import IPCClient
from greengrass_common.env_vars import MY_FUNCTION_ARN, ROUTER_FUNCTION_ARN
from parts import name

def handler(event, context):
    custom = {"custom": {"source": MY_FUNCTION_ARN, "subject": context.client_context.custom["subject"].replace("/in", "/out")}}
    IPCClient().post_work(ROUTER_FUNCTION_ARN, json.dumps({"name": name.NAME}), base64.b64encode(json.dumps(custom).encode()), "Event")
"#;

/// A package whose function says `name`.
fn package(name: &str) -> Vec<u8> {
    let name = format!("NAME = {name:?}\n");
    zip_of(&[("app.py", APP, 0o644), ("parts/__init__.py", "", 0o644), ("parts/name.py", &name, 0o644)])
}

fn answer(device: &Device, name: &str) -> Value {
    let mut viewer = Viewer::connect(device, "functions-viewer", &format!("{}/out", topic(name)));
    send(device, name, "{}");
    viewer.next_payload()["name"].clone()
}

fn margay(device: &Device, arguments: &[&str]) -> Output {
    let config = device.config_path();
    program::run(&[arguments, &["--config", config.to_str().unwrap()]].concat())
}

/// Deploys the device's group as it is now.
#[track_caller]
fn deploy(device: &Device, code: i32) -> String {
    let path = device.folder.path().join("wanted.json");
    fs::write(&path, device.group().to_string()).unwrap();
    let output = margay(device, &["deploy", path.to_str().unwrap(), "--wait"]);
    assert_code(&output, code);
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

fn code_in_s3(key: &str, sha256: Option<String>) -> Value {
    let mut code = json!({ "S3Uri": format!("s3://{BUCKET}/{key}") });
    if let Some(sha256) = sha256 {
        code["Sha256"] = sha256.into();
    }
    code
}

fn digest(bytes: &[u8]) -> Option<String> {
    Some(Sha256Digest::of(bytes).to_string())
}

/// The device's one function with other code.
fn with_code(device: &mut Device, code: Value) {
    device.functions[0]["FunctionConfiguration"]["Code"] = code;
}

#[test]
fn code_from_s3_is_deployed_checked_taken_back_and_collected() {
    if !has_python() {
        return;
    }
    let mut device = Device::new();
    device.cloud.put_object(BUCKET, "functions/one.zip", package("one"));
    add_with_code(&mut device, "packed", code_in_s3("functions/one.zip", digest(&package("one"))), "app.handler");
    connect(&mut device, "packed");
    device.write();
    let _core = device.start();
    device.wait_for("functions", listens);
    assert_eq!(answer(&device, "packed"), "one");
    let first = margay(&device, &["deployments", "--json"]).stdout;
    let first: Value = serde_json::from_slice(&first).unwrap();
    let first = first["deployments"][0]["id"].as_str().unwrap().to_owned();

    // What is wrong with a package is said, and nothing that runs is touched.
    device.cloud.put_object(BUCKET, "functions/other.zip", package("other"));
    with_code(&mut device, code_in_s3("functions/other.zip", digest(&package("one"))));
    assert!(deploy(&device, 7).contains("and the group document says sha256:"));
    let handlerless = zip_of(&[("main.py", "", 0o644)]);
    device.cloud.put_object(BUCKET, "functions/handlerless.zip", handlerless);
    with_code(&mut device, code_in_s3("functions/handlerless.zip", None));
    let said = deploy(&device, 7);
    assert!(said.contains(&arn("packed")) && said.contains("has neither the file app.handler nor app.py"), "{said}");
    let climbing = zip_of(&[("app.py", "", 0o644), ("../evil.py", "", 0o644)]);
    device.cloud.put_object(BUCKET, "functions/climbing.zip", climbing);
    with_code(&mut device, code_in_s3("functions/climbing.zip", None));
    assert!(deploy(&device, 7).contains("../evil.py"));
    assert_eq!(answer(&device, "packed"), "one");

    with_code(&mut device, code_in_s3("functions/other.zip", digest(&package("other"))));
    deploy(&device, 0);
    assert_eq!(answer(&device, "packed"), "other");
    assert_code(&margay(&device, &["deploy", "--redeploy", &first, "--wait"]), 0);
    assert_eq!(answer(&device, "packed"), "one");

    device.functions.clear();
    device.more_subscriptions.clear();
    deploy(&device, 0);
    device.parameters["TopK"] = "2".into();
    deploy(&device, 0);
    let kept = margay(&device, &["model", "list", "--json"]).stdout;
    let kept = String::from_utf8(kept).unwrap();
    assert!(kept.contains("road-signs") && !kept.contains("functions/"), "{kept}");
}

const PROGRAM: &str = r#"#!/bin/sh
exec /usr/bin/python3 -c "
import base64, json, os, urllib.request
api = 'http://' + os.environ['AWS_LAMBDA_RUNTIME_API'] + '/2018-06-01/runtime/invocation/'
while True:
    work = urllib.request.urlopen(api + 'next')
    subject = json.loads(work.headers['Lambda-Runtime-Client-Context'])['custom']['subject'].replace('/in', '/out')
    context = base64.b64encode(json.dumps({'custom': {'subject': subject}}).encode()).decode()
    url = 'http://127.0.0.1:' + os.environ['GG_DAEMON_PORT'] + '/2016-11-01/functions/' + os.environ['ROUTER_FUNCTION_ARN']
    headers = {'Authorization': os.environ['AWS_CONTAINER_AUTHORIZATION_TOKEN'], 'X-Amz-Client-Context': context,
               'X-Amz-Invocation-Type': 'Event'}
    name = open('tools/name').read().strip()
    urllib.request.urlopen(urllib.request.Request(url, json.dumps({'name': name}).encode(), headers))
    urllib.request.urlopen(api + work.headers['Lambda-Runtime-Aws-Request-Id'] + '/response', b'{}')
"
"#;

#[test]
fn code_from_a_package_or_a_folder_of_the_device_runs_and_a_program_stays_one() {
    if !has_python() {
        return;
    }
    let mut device = Device::new();
    let package = device.folder.path().join("program.zip");
    let files = [("run", PROGRAM, 0o755), ("tools/name", "program\n", 0o644)];
    fs::write(&package, zip_of(&files)).unwrap();
    let folder = device.folder.path().join("sources");
    fs::create_dir_all(folder.join("parts")).unwrap();
    fs::write(folder.join("app.py"), APP).unwrap();
    fs::write(folder.join("parts/name.py"), "NAME = 'folder'\n").unwrap();
    add_with_code(&mut device, "program", json!({ "SourcePath": package }), "run");
    add_with_code(&mut device, "folder", json!({ "SourcePath": folder }), "app.handler");
    // One that is not to be executed says so.
    let plain = device.folder.path().join("plain.zip");
    fs::write(&plain, zip_of(&[("run", PROGRAM, 0o644)])).unwrap();
    open_to_others(device.folder.path());
    for name in ["program", "folder"] {
        connect(&mut device, name);
    }
    device.write();
    let _core = device.start();
    device.wait_for("functions", listens);
    assert_eq!(answer(&device, "program"), "program");
    assert_eq!(answer(&device, "folder"), "folder");
    with_code(&mut device, json!({ "SourcePath": plain }));
    assert!(deploy(&device, 7).contains("may not be executed"));
    let absent = device.folder.path().join("absent.zip");
    with_code(&mut device, json!({ "SourcePath": absent }));
    assert!(deploy(&device, 6).contains("absent.zip"));
    with_code(&mut device, json!({ "SourcePath": absent, "Sha256": "00" }));
    assert!(deploy(&device, 3).contains("Sha256"));
    fs::set_permissions(device.folder.path(), Permissions::from_mode(0o700)).unwrap();
    assert_eq!(answer(&device, "folder"), "folder", "what is deployed does not depend on the way to it");
}

#[test]
fn a_pinned_function_that_ends_again_and_again_fails_the_deployment_that_brought_it() {
    if !has_python() {
        return;
    }
    let mut device = Device::new();
    device.cloud.put_object(BUCKET, "functions/one.zip", package("one"));
    add_with_code(&mut device, "packed", code_in_s3("functions/one.zip", None), "app.handler");
    device.functions[0]["FunctionConfiguration"]["Pinned"] = true.into();
    connect(&mut device, "packed");
    device.write();
    let mut core = device.start();
    device.wait_for("functions", listens);
    assert_eq!(core.terminate(), Some(0));
    // Longer than the pauses between five starts, on any machine.
    device.config["margay"]["deployments"]["healthWindowSeconds"] = 300.into();
    device.write();
    let _core = device.start();
    device.wait_for("the group of before", |status| status.link.connected && !status.functions.is_empty());
    let crashing = zip_of(&[("app.py", "raise SystemExit(3)\n", 0o644)]);
    device.cloud.put_object(BUCKET, "functions/crashing.zip", crashing);
    with_code(&mut device, code_in_s3("functions/crashing.zip", None));
    let said = deploy(&device, 1);
    assert!(said.contains(&format!("function {}: it ended", arn("packed"))), "{said}");
    assert_eq!(answer(&device, "packed"), "one");
}

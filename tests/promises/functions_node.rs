//! Node handlers (A-28): the device's own interpreter, V1's SDK for Node unmodified, and ours for those that bring none.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::support::device::Device;
use crate::support::functions::{add_with_code, arn, connect, is_root, listens, of, send, topic};
use crate::support::viewer::Viewer;

/// Publishes what it is sent, on which topic, and what two other functions answered.
const CALLER: &str = r#"
const greengrass = require('aws-greengrass-core-sdk');
const iot = new greengrass.IotData();
const lambda = new greengrass.Lambda();

const invoke = (params) => new Promise((resolve, reject) => {
    lambda.invoke(params, (error, data) => (error ? reject(error) : resolve(data)));
});
const publish = (topic, payload) => new Promise((resolve, reject) => {
    iot.publish({ topic, payload, queueFullPolicy: 'AllOrError' }, (error, data) => (error ? reject(error) : resolve(data)));
});

exports.handler = async (event, context) => {
    console.warn('asked for', event.number);
    const subject = context.clientContext.custom.subject;
    const out = subject.replace('/in', '/out');
    const ClientContext = Buffer.from(JSON.stringify({ custom: { from: 'caller' } })).toString('base64');
    const answer = await invoke({ FunctionName: event.double, ClientContext, Payload: JSON.stringify({ number: event.number }) });
    const failed = await invoke({ FunctionName: event.fail, Payload: '{}' });
    const event_only = await invoke({ FunctionName: event.double, InvocationType: 'Event', Payload: '{"number": 1}' });
    let absent = 'invoked';
    try {
        await invoke({ FunctionName: event.absent, Payload: '{}' });
    } catch (error) {
        absent = error.message;
    }
    await publish(out, JSON.stringify({
        subject, arn: context.invokedFunctionArn, left: context.getRemainingTimeInMillis(), name: context.functionName,
        answer: JSON.parse(answer.Payload.toString()), error: failed.FunctionError,
        why: JSON.parse(failed.Payload.toString()), event_only: typeof event_only, absent,
    }));
    await publish(out, Buffer.from([0, 159, 146, 150]));
};
"#;

/// Answers by its callback, and says what it cannot read.
const DOUBLE: &str = r#"
exports.handler = function (event, context, callback) {
    setTimeout(() => callback(null, { number: 2 * event.number, custom: (context.clientContext || {}).custom }), 1);
};
"#;

const FAIL: &str = r#"
exports.handler = async () => {
    throw new RangeError('nothing here');
};
"#;

/// A module of the newer kind.
const MODERN: &str = r#"
export const handler = async (event) => ({ length: event.length, first: event[0] });
"#;

/// The device's Node, which runs functions.
fn has_node() -> bool {
    let found = Path::new("/usr/bin/node").exists() || crate::support::skipped("node functions", "apt install nodejs");
    found && is_root()
}

/// The folder of V1's SDK as npm has it, or nothing.
fn real_sdk(target: &Path) -> Option<PathBuf> {
    let how = "npm pack aws-greengrass-core-sdk@1.7.0; MARGAY_TEST_NODE_SDK names the archive";
    let Some(archive) = std::env::var_os("MARGAY_TEST_NODE_SDK") else {
        crate::support::skipped("V1's SDK for Node", how);
        return None;
    };
    let unpacked = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(target).status().unwrap();
    assert!(unpacked.success());
    Some(target.join("package"))
}

/// A folder for a function, with its module.
fn folder(device: &Device, name: &str, file: &str, text: &str) -> PathBuf {
    let folder = device.folder.path().join(format!("node-{name}"));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(file), text).unwrap();
    folder
}

fn with_functions(sdk: bool) -> Option<Device> {
    let mut device = Device::new();
    for (name, text) in [("caller", CALLER), ("double", DOUBLE), ("fail", FAIL)] {
        let folder = folder(&device, name, "index.js", text);
        if sdk && name == "caller" {
            let package = real_sdk(device.folder.path())?;
            fs::create_dir(folder.join("node_modules")).unwrap();
            fs::rename(package, folder.join("node_modules/aws-greengrass-core-sdk")).unwrap();
        }
        add_with_code(&mut device, name, json!({ "SourcePath": folder }), "index.handler");
        device.functions.last_mut().unwrap()["FunctionConfiguration"]["MemorySize"] = 131_072.into();
    }
    connect(&mut device, "caller");
    device.write();
    Some(device)
}

fn check(device: &Device) {
    let _core = device.start();
    device.wait_for("functions", listens);
    let mut viewer = Viewer::connect(device, "functions-viewer", &format!("{}/out", topic("caller")));
    let question = json!({ "number": 21, "double": arn("double"), "fail": arn("fail"), "absent": arn("absent") });
    send(device, "caller", &question.to_string());
    let said = viewer.next_payload();
    assert_eq!(said["subject"], format!("{}/in", topic("caller")), "{said}");
    assert_eq!((&said["arn"], &said["name"]), (&json!(arn("caller")), &json!("caller")));
    assert!((1..=20_000).contains(&said["left"].as_u64().unwrap()), "{said}");
    assert_eq!(said["answer"], json!({ "number": 42, "custom": { "from": "caller" } }), "{said}");
    assert_eq!(said["error"], "Handled", "{said}");
    assert_eq!(
        (&said["why"]["errorType"], &said["why"]["errorMessage"]),
        (&json!("RangeError"), &json!("nothing here"))
    );
    assert_eq!(said["event_only"], "string");
    assert!(said["absent"].as_str().unwrap().contains("is no function of this group that runs"), "{said}");
    assert_eq!(viewer.next_bytes(), [0, 159, 146, 150]);
    let status = device.wait_for("three functions", |status| {
        let ended = |name| of(status, name).map(|function| (function.succeeded, function.failed));
        [ended("caller"), ended("double"), ended("fail")] == [Some((1, 0)), Some((2, 0)), Some((0, 1))]
    });
    assert!(of(&status, "fail").unwrap().last_error.as_ref().unwrap().contains("RangeError"), "{status:?}");
    let log = fs::read_to_string(device.root().join("ggc/var/log/user/eu-central-1/123456789012/caller.log")).unwrap();
    assert!(log.contains("][WARN]-node,asked for 21\n"), "{log}");
}

#[test]
fn node_handlers_publish_invoke_and_fail_with_our_module() {
    if has_node() {
        check(&with_functions(false).unwrap());
    }
}

#[test]
fn v1s_sdk_for_node_runs_unmodified() {
    if has_node()
        && let Some(device) = with_functions(true)
    {
        check(&device);
    }
}

#[test]
fn node_modules_of_the_newer_kind_take_bytes_and_what_cannot_be_loaded_or_caught_is_named() {
    if !has_node() {
        return;
    }
    let mut device = Device::new();
    let unloadable = "require('no-such-module');\n";
    let uncaught =
        "exports.handler = (event, context, callback) => { setTimeout(() => { throw new Error('late'); }, 1); };\n";
    let silent = "exports.handler = (event, context, callback) => {};\n";
    let files = [
        ("modern", "index.mjs", MODERN),
        ("unloadable", "index.js", unloadable),
        ("uncaught", "index.js", uncaught),
        ("silent", "index.js", silent),
    ];
    for (name, file, text) in files {
        let folder = folder(&device, name, file, text);
        add_with_code(&mut device, name, json!({ "SourcePath": folder }), "index.handler");
        device.functions.last_mut().unwrap()["FunctionConfiguration"]["MemorySize"] = 131_072.into();
        connect(&mut device, name);
    }
    device.functions[0]["FunctionConfiguration"]["EncodingType"] = "binary".into();
    device.write();
    let _core = device.start();
    device.wait_for("functions", listens);
    for (name, ..) in files {
        send(&device, name, "bytes");
    }
    // Only what is JSON reaches a handler of the others.
    for name in ["uncaught", "silent"] {
        send(&device, name, "{}");
    }
    let status = device.wait_for("what became of them", |status| {
        let is =
            |name, wanted: &dyn Fn(&margay::function::FunctionStatus) -> bool| of(status, name).is_some_and(wanted);
        is("modern", &|f| f.succeeded == 1)
            && is("unloadable", &|f| f.crashes > 0)
            && is("uncaught", &|f| f.failed == 2)
            && is("silent", &|f| (f.succeeded, f.failed) == (1, 1))
    });
    let why = |name: &str| of(&status, name).unwrap().last_error.clone().unwrap();
    assert!(why("unloadable").contains("no-such-module"), "{}", why("unloadable"));
    assert!(why("silent").contains("SyntaxError"), "{}", why("silent"));
    let log =
        fs::read_to_string(device.root().join("ggc/var/log/user/eu-central-1/123456789012/uncaught.log")).unwrap();
    assert!(log.contains("Error: late"), "{log}");
}

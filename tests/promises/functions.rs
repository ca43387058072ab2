//! Functions as V1's users brought them: the real greengrasssdk and awslambdaric, unmodified, in containers.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use margay::function::FunctionState;
use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::functions::{
    add, arn, bring, clients, code, connect, has_python, is_root, listens, of, runtime_client, send, topic,
};
use crate::support::program::{self, assert_code};
use crate::support::viewer::Viewer;

/// Publishes what it is sent, what topic it came on, and what two other functions answered.
const CALLER: &str = r#"
import base64, json, logging
import greengrasssdk

iot = greengrasssdk.client("iot-data")
functions = greengrasssdk.client("lambda")
logger = logging.getLogger()

def handler(event, context):
    logger.warning("asked for %s", event["number"])
    subject = context.client_context.custom["subject"]
    out = subject.replace("/in", "/out")
    context64 = base64.b64encode(json.dumps({"custom": {"from": "caller"}}).encode())
    answer = functions.invoke(FunctionName=event["double"], ClientContext=context64,
                              Payload=json.dumps({"number": event["number"]}))
    failed = functions.invoke(FunctionName=event["fail"], Payload=b"{}")
    try:
        functions.invoke(FunctionName="arn:aws:lambda:eu-central-1:123456789012:function:absent:1", Payload=b"{}")
        absent = "invoked"
    except Exception as error:
        absent = str(error)
    try:
        iot.publish(topic=out, payload=b"x" * 200000)
        large = "published"
    except Exception as error:
        large = str(error)
    iot.publish(topic=out, queueFullPolicy="AllOrException", payload=json.dumps({
        "subject": subject, "arn": context.invoked_function_arn, "answer": json.loads(answer["Payload"].read()),
        "error": failed["FunctionError"], "why": json.loads(failed["Payload"])["errorMessage"],
        "absent": absent, "large": large}))
    iot.publish(topic=out, payload=bytes([0, 159, 146, 150]))
    return {}
"#;

const DOUBLE: &str = r#"
def handler(event, context):
    return {"number": 2 * event["number"], "custom": context.client_context.custom}
"#;

const FAIL: &str = r#"
def handler(event, context):
    raise KeyError("nothing here")
"#;

#[test]
fn greengrasssdk_publishes_reads_its_topic_and_invokes_other_functions_with_their_errors() {
    let Some(clients) = clients() else { return };
    let mut device = Device::new();
    add(&mut device, "caller", CALLER, json!({ "Pinned": true }));
    bring(&device, "caller", &clients, &["greengrasssdk"]);
    add(&mut device, "double", DOUBLE, json!({}));
    add(&mut device, "fail", FAIL, json!({}));
    connect(&mut device, "caller");
    device.write();
    let _core = device.start();
    device.wait_for("functions", listens);
    let mut viewer = Viewer::connect(&device, "functions-viewer", &format!("{}/out", topic("caller")));
    send(&device, "caller", &json!({ "number": 21, "double": arn("double"), "fail": arn("fail") }).to_string());
    let said = viewer.next_payload();
    assert_eq!(said["subject"], format!("{}/in", topic("caller")), "{said}");
    assert_eq!(said["arn"], arn("caller"));
    assert_eq!(said["answer"], json!({ "number": 42, "custom": { "from": "caller" } }));
    assert_eq!((&said["error"], &said["why"]), (&json!("Handled"), &json!("'nothing here'")));
    assert!(said["absent"].as_str().unwrap().contains("is no function of this group that runs"), "{said}");
    assert!(said["large"].as_str().unwrap().contains("413"), "{said}");
    assert_eq!(viewer.next_bytes(), [0, 159, 146, 150]);
    let status = device.wait_for("three functions", |status| {
        let ended = |name| of(status, name).map(|function| (function.succeeded, function.failed));
        [ended("caller"), ended("double"), ended("fail")] == [Some((1, 0)), Some((1, 0)), Some((0, 1))]
    });
    assert!(of(&status, "fail").unwrap().last_error.as_ref().unwrap().contains("KeyError"), "{status:?}");
    let log = fs::read_to_string(device.root().join("ggc/var/log/user/eu-central-1/123456789012/caller.log")).unwrap();
    assert!(log.contains("][WARN]-app.py:10,asked for 21\n"), "{log}");
    let config = device.config_path();
    let config = config.to_str().unwrap();
    let shown = program::run(&["logs", "caller", "--config", config]);
    assert_code(&shown, 0);
    assert!(String::from_utf8(shown.stdout).unwrap().contains("asked for 21"));
    assert_code(&program::run(&["logs", "absent", "--config", config]), 1);
    let table = String::from_utf8(program::run(&["functions", "--config", config]).stdout).unwrap();
    assert!(table.contains("function:caller:1: running, pinned; 1 succeeded, 0 failed"), "{table}");
    assert!(table.contains("KeyError"), "{table}");
}

/// Hands bytes that are no text to another function, and does not wait for it.
const HANDER: &str = r#"
import base64, json, os
import greengrasssdk

def handler(event, context):
    assert isinstance(event, bytes), type(event)
    custom = {"custom": {"subject": context.client_context.custom["subject"].replace("/in", "/out")}}
    greengrasssdk.client("lambda").invoke(
        FunctionName=os.environ["TAKER"], InvocationType="Event", Payload=event + bytes([0, 159, 146, 150]),
        ClientContext=base64.b64encode(json.dumps(custom).encode()))
"#;

const TAKER: &str = r#"
import greengrasssdk

def handler(event, context):
    greengrasssdk.client("iot-data").publish(topic=context.client_context.custom["subject"], payload=event[::-1])
"#;

#[test]
fn greengrasssdk_hands_bytes_to_a_function_that_takes_them_as_they_are_without_waiting() {
    let Some(clients) = clients() else { return };
    let mut device = Device::new();
    let binary = |variables: Value| json!({ "EncodingType": "binary", "Environment": { "Variables": variables } });
    add(&mut device, "hander", HANDER, binary(json!({ "TAKER": arn("taker") })));
    add(&mut device, "taker", TAKER, binary(json!({})));
    for name in ["hander", "taker"] {
        bring(&device, name, &clients, &["greengrasssdk"]);
    }
    connect(&mut device, "hander");
    let subject = format!("{}/#", topic("hander"));
    device
        .more_subscriptions
        .push(json!({ "Id": "taken", "Source": arn("taker"), "Target": "cloud", "Subject": subject }));
    device.write();
    let _core = device.start();
    device.wait_for("functions", listens);
    let mut viewer = Viewer::connect(&device, "functions-viewer", &format!("{}/out", topic("hander")));
    send(&device, "hander", "ab");
    assert_eq!(viewer.next_bytes(), [150, 146, 159, 0, b'b', b'a']);
    device.wait_for("both", |status| {
        ["hander", "taker"].into_iter().all(|name| of(status, name).is_some_and(|f| (f.succeeded, f.failed) == (1, 0)))
    });
}

const LAMBDA: &str = r#"
import json
import greengrasssdk

def handler(event, context):
    custom = context.client_context.custom
    greengrasssdk.client("iot-data").publish(topic=custom["subject"].replace("/in", "/out"), payload=json.dumps({
        "event": event, "id": context.aws_request_id, "left": context.get_remaining_time_in_millis(),
        "name": context.function_name, "memory": context.memory_limit_in_mb}))
"#;

#[test]
fn awslambdaric_runs_handlers_unmodified_and_says_when_one_cannot_be_loaded() {
    let Some(clients) = clients() else { return };
    let mut device = Device::new();
    let native = runtime_client(&clients);
    let modules = ["greengrasssdk", "awslambdaric", "snapshot_restore_py.py", "simplejson", native.as_str()];
    for (name, text) in [("lambda", LAMBDA), ("unloadable", "import no_such_module\n")] {
        add(&mut device, name, text, json!({ "Timeout": 20 }));
        bring(&device, name, &clients, &modules);
        connect(&mut device, name);
    }
    device.write();
    let _core = device.start();
    device.wait_for("functions", listens);
    let mut viewer = Viewer::connect(&device, "functions-viewer", &format!("{}/out", topic("lambda")));
    for number in 0..2_u64 {
        send(&device, "lambda", &json!({ "straße": number }).to_string());
        let said = viewer.next_payload();
        assert_eq!((&said["event"]["straße"], &said["name"]), (&json!(number), &json!("lambda")), "{said}");
        assert_eq!(said["memory"], "64", "{said}");
        let left = said["left"].as_u64().unwrap();
        assert!((1..=20_000).contains(&left), "{said}");
        // It publishes before it returns; until then a second message would start a second process.
        device.wait_for("its return", |status| of(status, "lambda").is_some_and(|lambda| lambda.succeeded > number));
    }
    send(&device, "unloadable", "{}");
    let status = device.wait_for("a handler that cannot be loaded", |status| {
        of(status, "unloadable").is_some_and(|function| function.crashes > 0)
    });
    let why = of(&status, "unloadable").unwrap().last_error.clone().unwrap();
    assert!(why.contains("loading the handler failed: Runtime.ImportModuleError"), "{why}");
    let lambda = of(&status, "lambda").unwrap();
    assert_eq!((lambda.succeeded, lambda.starts), (2, 1), "the second message found the process of the first");
}

const COUNTER: &str = r#"
import json, time
from greengrass_ipc_python_sdk.ipc_client import IPCClient
from greengrass_common.env_vars import MY_FUNCTION_ARN, ROUTER_FUNCTION_ARN
import base64

count = 0

def handler(event, context):
    global count
    count += 1
    custom = {"custom": {"source": MY_FUNCTION_ARN, "subject": context.client_context.custom["subject"].replace("/in", "/out")}}
    time.sleep(event["seconds"])
    IPCClient().post_work(ROUTER_FUNCTION_ARN, json.dumps({"count": count, "seconds": event["seconds"]}),
                          base64.b64encode(json.dumps(custom).encode()), "Event")
"#;

#[test]
fn a_pinned_function_counts_its_messages_one_after_the_other_and_an_on_demand_one_in_parallel() {
    if !has_python() {
        return;
    }
    let mut device = Device::new();
    add(&mut device, "pinned", COUNTER, json!({ "Pinned": true, "Timeout": 25 }));
    add(&mut device, "demand", COUNTER, json!({ "Timeout": 25 }));
    connect(&mut device, "pinned");
    connect(&mut device, "demand");
    device.write();
    let _core = device.start();
    device.wait_for("functions", listens);
    for name in ["pinned", "demand"] {
        let mut viewer = Viewer::connect(&device, "functions-viewer", &format!("{}/out", topic(name)));
        for _ in 0..3 {
            send(&device, name, "{\"seconds\": 2}");
        }
        let counts: Vec<Value> = (0..3).map(|_| viewer.next_payload()["count"].clone()).collect();
        let expected = if name == "pinned" { json!([1, 2, 3]) } else { json!([1, 1, 1]) };
        assert_eq!(json!(counts), expected, "{name}");
        // One that is idle is taken again (A-52).
        send(&device, name, "{\"seconds\": 0}");
        let again = viewer.next_payload()["count"].clone();
        assert_eq!(again, if name == "pinned" { 4 } else { 2 }, "{name}");
    }
}

#[test]
fn a_function_without_code_is_named_and_comes_to_life_when_its_code_is_deployed() {
    if !has_python() {
        return;
    }
    let mut device = Device::new();
    add(&mut device, "late", COUNTER, json!({ "Pinned": true }));
    connect(&mut device, "late");
    fs::remove_dir_all(code(&device, "late")).unwrap();
    device.write();
    let core = device.start();
    let status = device.wait_for("a broken function beside a classifier", |status| {
        status.link.delivered > 0
            && of(status, "late").is_some_and(|function| function.state == FunctionState::Broken)
            && status.deployment.as_ref().is_some_and(|report| report.status == margay::deployment::Status::Success)
    });
    let why = of(&status, "late").unwrap().last_error.clone().unwrap();
    assert!(why.contains("its code is not on this device") && why.contains("function:late:1"), "{why}");
    fs::write(code(&device, "late").join("app.py"), COUNTER).unwrap();
    device.subject = "margay/core-1/road/#".to_owned();
    device.write();
    program::signal(core.pid(), rustix::process::Signal::HUP);
    device.wait_for("the function", |status| {
        of(status, "late").is_some_and(|function| function.state == FunctionState::Running)
    });
}

/// Publishes as its first act, sooner than any interpreter could.
const EARLY: &str = "#!/bin/bash
exec 3<>/dev/tcp/${AWS_LAMBDA_RUNTIME_API/://}
printf 'POST /2016-11-01/functions/arn:aws:lambda:::function:GGRouter HTTP/1.1\\r\\nHost: core\\r\\nAuthorization: %s\\r\\n\
X-Amz-Client-Context: %s\\r\\nX-Amz-Invocation-Type: Event\\r\\nContent-Length: 5\\r\\n\\r\\nearly' \\
    \"$AWS_CONTAINER_AUTHORIZATION_TOKEN\" \"$CONTEXT\" >&3
exec sleep 1000
";

#[test]
fn what_a_pinned_function_publishes_as_its_first_act_goes_where_subscriptions_say() {
    if !is_root() {
        return;
    }
    let mut device = Device::new();
    let context = json!({ "custom": { "subject": format!("{}/out", topic("early")) } }).to_string();
    let variables = json!({ "Variables": { "CONTEXT": STANDARD.encode(context) } });
    add(&mut device, "early", EARLY, json!({ "Pinned": true, "Environment": variables }));
    connect(&mut device, "early");
    // They come after it in the group: there is much to do before the subscriptions.
    for number in 0..1000 {
        add(&mut device, &format!("later-{number}"), "#!/bin/sh\nexit 0\n", json!({}));
    }
    device.write();
    let _core = device.start();
    let status = device.wait_for("the message", |status| {
        status.router.subscriptions.get("early-out").is_some_and(|messages| *messages > 0) || status.router.no_route > 0
    });
    assert_eq!(status.router.no_route, 0, "{status:?}");
}

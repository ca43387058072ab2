//! Functions that take all they can, side by side with a classifier and a function that only answers: each is limited and
//! named, the classifier's ledger stays exact, and the other function answers every time.

use std::fs;
use std::path::{Path, PathBuf};

use margay::app::status::CoreStatus;
use margay::function::FunctionStatus;
use serde_json::json;

use crate::support::device::Device;
use crate::support::emulated;
use crate::support::functions::{add, connect, has_python, listens, of, send, topic};
use crate::support::program;
use crate::support::viewer::Viewer;

/// What a function publishes with.
const PUBLISH: &str = r#"
import base64, json, os, signal, sys, time
from greengrass_ipc_python_sdk.ipc_client import IPCClient
from greengrass_common.env_vars import MY_FUNCTION_ARN, ROUTER_FUNCTION_ARN

client = IPCClient()

def publish(topic, payload):
    custom = {"custom": {"source": MY_FUNCTION_ARN, "subject": topic}}
    client.post_work(ROUTER_FUNCTION_ARN, payload, base64.b64encode(json.dumps(custom).encode()), "Event")
"#;

/// Each hostile function's name, and what it does from its start on.
const HOSTILE: [(&str, &str); 7] = [
    (
        "forks",
        "
def handler(event, context):
    pass
children = 0
while True:
    try:
        if os.fork() == 0:
            signal.pause()
    except OSError as error:
        print('no more processes:', error, flush=True)
        time.sleep(1)
",
    ),
    (
        "fills",
        "
def handler(event, context):
    pass
number = 0
while True:
    try:
        with open('/var/tmp/%d' % number, 'wb') as file:
            for _ in range(16):
                file.write(bytes(1 << 20))
        number += 1
    except OSError as error:
        print('the disk is full:', error, flush=True)
        time.sleep(1)
",
    ),
    (
        "stubborn",
        "
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def handler(event, context):
    pass
while True:
    time.sleep(1)
",
    ),
    (
        "logs",
        "
def handler(event, context):
    pass
while True:
    print('all work and no play makes this a dull function')
",
    ),
    (
        "publishes",
        "
def handler(event, context):
    pass
number = 0
while True:
    try:
        publish('margay/core-1/functions/publishes/out/%d' % (number % 8), 'x' * 1000)
    except Exception as error:
        print('refused:', error, flush=True)
        time.sleep(0.1)
    number += 1
",
    ),
    (
        "large",
        "
def handler(event, context):
    pass
while True:
    try:
        publish('margay/core-1/functions/large/out', b'x' * (128 * 1024 + 1))
        print('it was published', flush=True)
    except Exception as error:
        print('refused:', error, flush=True)
    time.sleep(1)
",
    ),
    (
        "allocates",
        "
def handler(event, context):
    pass
all = []
while True:
    all.append(bytearray(1 << 20))
",
    ),
];

/// Answers what it is asked.
const CALM: &str = "
def handler(event, context):
    publish(context.client_context.custom['subject'].replace('/in', '/out'), json.dumps(event))
";

/// The names and programs of the hostile functions that are run: on an emulated processor not those that never pause, beside
/// which nothing else comes to its end there.
fn hostile() -> impl Iterator<Item = (&'static str, &'static str)> {
    let busy = |name: &str| ["logs", "publishes"].contains(&name);
    HOSTILE.into_iter().filter(move |(name, _)| !(emulated() && busy(name)))
}

fn log(device: &Device, name: &str) -> Vec<PathBuf> {
    let folder = device.root().join("ggc/var/log/user/eu-central-1/123456789012");
    [format!("{name}.log"), format!("{name}.log.1")].map(|file| folder.join(file)).to_vec()
}

/// Whether a function's log says so.
fn says(device: &Device, name: &str, text: &str) -> bool {
    log(device, name).iter().any(|path| fs::read_to_string(path).is_ok_and(|log| log.contains(text)))
}

fn inferred(status: &CoreStatus) -> u64 {
    let classifier = status.cameras[0].classifier.as_ref().expect("a classifier");
    assert!(classifier.ledger.adds_up(), "captured = inferred + dropped by reason: {classifier:?}");
    classifier.ledger.inferred()
}

/// Says how each stands, and that it is within its memory and its log's space.
fn assert_limited(device: &Device, status: &CoreStatus) {
    for (name, _) in hostile() {
        let function = of(status, name).unwrap();
        println!(
            "hostile: {name}: {}, {} ends, {} out of memory, {:?}",
            function.state.name(),
            function.crashes,
            function.out_of_memory,
            function.workers.first().map(|w| (w.memory, w.refused_processes))
        );
        for worker in &function.workers {
            assert!(worker.memory <= worker.memory_limit, "{name}: {worker:?}");
        }
        let bytes: u64 = log(device, name).iter().filter_map(|path| Some(path.metadata().ok()?.len())).sum();
        assert!(bytes <= 128 << 10, "{name}: {bytes} bytes of log");
    }
}

#[test]
fn what_hostile_functions_do_is_limited_and_named_and_nobody_else_notices() {
    if !has_python() {
        return;
    }
    let mut device = Device::new();
    for (name, text) in hostile() {
        // 256 processes take more than that; their number is what shall stop them.
        let memory = if name == "forks" { 1 << 20 } else { 131_072 };
        add(&mut device, name, &format!("{PUBLISH}{text}"), json!({ "Pinned": true, "MemorySize": memory }));
        connect(&mut device, name);
    }
    add(&mut device, "calm", &format!("{PUBLISH}{CALM}"), json!({ "Pinned": true }));
    connect(&mut device, "calm");
    device.write();
    let mut core = device.start();
    device.wait_for("functions", |status| listens(status) && !status.cameras.is_empty() && status.link.delivered > 0);
    let status = device.wait_for("what becomes of each", |status| {
        let is = |name, wanted: &dyn Fn(&FunctionStatus) -> bool| of(status, name).is_some_and(wanted);
        is("forks", &|f| f.workers.iter().any(|worker| worker.refused_processes > 0))
            && is("allocates", &|f| f.out_of_memory > 0)
            && says(&device, "fills", "No space left on device")
            && says(&device, "forks", "no more processes")
            && says(&device, "large", "413")
            && (emulated()
                || is("logs", &|f| {
                    f.last_error.as_ref().is_some_and(|why| why.contains("prints faster than 256 KiB a second"))
                }))
    });
    let why = of(&status, "allocates").unwrap().last_error.clone().unwrap();
    assert!(why.contains("reached its memory limit of 128 MiB"), "told apart from an end: {why}");
    assert!(!says(&device, "large", "it was published"));
    let before = inferred(&status);
    let mut viewer = Viewer::connect(&device, "functions-viewer", &format!("{}/out", topic("calm")));
    for number in 0..5 {
        send(&device, "calm", &json!({ "number": number }).to_string());
        assert_eq!(viewer.next_payload()["number"], json!(number), "the other function answers");
    }
    let status = device.wait_for("more frames", |status| inferred(status) > before + 20);
    let dropped = |reason: &str| status.link.dropped.get(reason).copied().unwrap_or(0);
    println!(
        "hostile: {} frames, {} delivered, {} dropped as spool_full",
        inferred(&status),
        status.link.delivered,
        dropped("spool_full")
    );
    assert_limited(&device, &status);
    let config = device.config_path();
    let table = String::from_utf8(program::run(&["functions", "--config", config.to_str().unwrap()]).stdout).unwrap();
    assert!(table.contains("processes refused, it has as many as it may"), "{table}");
    assert!(table.contains("out of memory") && table.contains("reached its memory limit"), "{table}");
    let stays: Vec<i32> = status.functions.iter().flat_map(|f| &f.workers).map(|worker| worker.pid).collect();
    assert_eq!(core.terminate(), Some(0));
    for pid in stays {
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "process {pid} outlived the core");
    }
}

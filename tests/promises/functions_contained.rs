//! What functions see and can do, and what becomes of those that misbehave: each named and limited, and the classifier
//! beside them goes on.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use margay::app::status::CoreStatus;
use margay::function::FunctionState;
use margay_sandbox::Aspect;
use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::functions::{add, arn, connect, explorer, has_python, is_root, listens, of, send, topic, volume};
use crate::support::program;
use crate::support::viewer::Viewer;

/// Tries everything in its message, and publishes what came of it.
const EXPLORER: &str = r#"
import socket, urllib.request

def credentials():
    request = urllib.request.Request(os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"],
                                     headers={"Authorization": os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"]})
    return sorted(json.load(urllib.request.urlopen(request, timeout=10)))

def handler(event, context):
    tries = {
        "read": lambda path: open(path).read(),
        "list": lambda path: sorted(os.listdir(path)),
        "write": lambda path: open(path, "w").write("changed"),
        "mknod": lambda path: os.mknod(path, 0o20666, os.makedev(1, 1)),
        "kill": lambda pid: os.kill(pid, 0),
        "unshare": lambda flags: os.unshare(flags) if hasattr(os, "unshare") else "PermissionError",
        "raw": lambda family: str(socket.socket(family, socket.SOCK_RAW, 1)),
        "packet": lambda kind: str(socket.socket(17, kind)),
        "interfaces": lambda _: sorted(name for _, name in socket.if_nameindex()),
        "connect": lambda path: str(socket.socket(socket.AF_UNIX).connect(path)),
        "chown": lambda path: os.chown(path, 0, 0),
        "who": lambda _: [os.getuid(), os.getgid(), os.getcwd()],
        "environment": lambda name: os.environ.get(name),
        "credentials": lambda _: credentials(),
    }
    said = {name: [outcome(lambda: tries[name](object)) for object in objects] for name, objects in event.items()}
    say(said, context)
"#;

/// What the explorer found of `questions`.
fn explore(device: &Device, name: &str, questions: &Value) -> Value {
    let mut viewer = Viewer::connect(device, "functions-viewer", &format!("{}/out", topic(name)));
    send(device, name, &questions.to_string());
    viewer.next_payload()
}

/// A device with an explorer that has two volumes and the classifier's model, beside another function.
fn with_an_explorer() -> Device {
    let mut device = Device::new();
    for name in ["open", "closed"] {
        let folder = device.folder.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("note"), "of the host").unwrap();
        fs::set_permissions(folder.join("note"), Permissions::from_mode(0o666)).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
        let source = folder.clone();
        volume(&mut device, name, &source, &format!("/volumes/{name}"));
    }
    let policies = json!([{ "ResourceId": "open", "Permission": "rw" }, { "ResourceId": "closed", "Permission": "ro" },
        { "ResourceId": "model", "Permission": "ro" }]);
    let environment =
        json!({ "ResourceAccessPolicies": policies, "Variables": { "MINE": "yes", "_HANDLER": "pretended" } });
    add(&mut device, "explorer", &explorer(EXPLORER), json!({ "Environment": environment }));
    add(&mut device, "other", "#!/bin/sh\nexec sleep 1000\n", json!({ "Pinned": true }));
    connect(&mut device, "explorer");
    device.write();
    device
}

#[test]
fn a_function_sees_its_code_and_its_resources_and_nothing_of_the_core() {
    if !has_python() {
        return;
    }
    let device = with_an_explorer();
    let core = device.start();
    device.wait_for("functions", listens);
    let key = device.files.private_key.to_str().unwrap();
    let root = device.root();
    let questions = json!({
        "read": ["/volumes/open/note", "/volumes/closed/note", key, "/proc/1/environ"],
        "list": ["/lambda", "/models/signs", root.to_str().unwrap(), "/run", "/sys"],
        "write": ["/volumes/open/note", "/volumes/closed/note", "/models/signs/model.toml", "/lambda/app.py", "/tmp/x",
            "/margay/python/margay_function.py", "/proc/sys/kernel/hostname"],
        "mknod": ["/tmp/memory"], "kill": [core.pid()], "raw": [2, 10], "packet": [3],
        "connect": [device.folder.path().join("status.sock").to_str().unwrap()], "chown": ["/tmp"], "who": [0],
        "environment": ["AWS_GG_RESOURCE_PREFIX", "MINE", "_HANDLER", "MY_FUNCTION_ARN", "AWS_IOT_THING_NAME"],
        "credentials": [0],
    });
    let found = explore(&device, "explorer", &questions);
    assert_eq!(found["read"], json!(["of the host", "of the host", "FileNotFoundError", "PermissionError"]), "{found}");
    let listed = &found["list"];
    assert_eq!(listed[0], json!(["app.py"]));
    assert!(listed[1].as_array().unwrap().contains(&json!("model.toml")), "{listed}");
    assert_eq!(listed[2], "FileNotFoundError", "the core's folder lies in /tmp, which is the sandbox's own");
    assert_eq!((&listed[3], &listed[4]), (&json!([]), &json!([])), "{listed}");
    assert_eq!(found["write"], json!([7, "OSError", "OSError", "OSError", 7, "OSError", "OSError"]), "{found}");
    assert_eq!(found["mknod"], json!(["PermissionError"]));
    assert_eq!(found["kill"], json!(["ProcessLookupError"]));
    assert_eq!(found["raw"], json!(["PermissionError", "PermissionError"]));
    assert_eq!(found["packet"], json!(["PermissionError"]));
    assert_eq!(found["connect"], json!(["FileNotFoundError"]));
    assert_eq!(found["chown"], json!(["PermissionError"]));
    assert_eq!(found["who"][0][2], "/lambda");
    assert_eq!(found["environment"], json!(["/", "yes", "app.handler", arn("explorer"), "core-1"]));
    assert_eq!(found["credentials"][0], json!(["AccessKeyId", "Expiration", "SecretAccessKey", "Token"]), "{found}");
    assert_eq!(fs::read_to_string(device.folder.path().join("open/note")).unwrap(), "changed");
    let status = device.wait_for("the explorer", |status| of(status, "explorer").is_some_and(|f| f.succeeded == 1));
    let worker = &of(&status, "explorer").unwrap().workers[0];
    for aspect in
        [Aspect::Mount, Aspect::Pid, Aspect::Ipc, Aspect::Capabilities, Aspect::NoNewPrivs, Aspect::Descriptors]
    {
        assert!(worker.containment.holds(aspect), "{aspect}: {}", worker.containment);
    }
    assert!(worker.memory.unwrap() > 0 && worker.memory <= worker.memory_peak, "{worker:?}");
}

#[test]
fn a_function_can_have_no_network_but_the_core_a_read_only_root_and_a_share_of_the_processors() {
    if !has_python() {
        return;
    }
    let mut device = Device::new();
    let variables = json!({ "MARGAY_NETWORK": "none", "MARGAY_ROOT": "read-only", "MARGAY_CPU_QUOTA": "50" });
    add(&mut device, "alone", &explorer(EXPLORER), json!({ "Environment": { "Variables": variables } }));
    connect(&mut device, "alone");
    device.write();
    let _core = device.start();
    device.wait_for("functions", listens);
    let found = explore(
        &device,
        "alone",
        &json!({ "interfaces": [0], "credentials": [0],
        "write": ["/var/tmp/x", "/tmp/x"], "environment": ["MARGAY_NETWORK"] }),
    );
    let interfaces = found["interfaces"][0].as_array().unwrap();
    assert!(
        interfaces.contains(&json!("lo")) && !interfaces.iter().any(|name| name.as_str().unwrap().starts_with("eth"))
    );
    assert_eq!(found["credentials"][0], json!(["AccessKeyId", "Expiration", "SecretAccessKey", "Token"]), "{found}");
    let status = device.wait_for("the function", |status| of(status, "alone").is_some_and(|f| f.succeeded == 1));
    assert_eq!(found["write"], json!(["OSError", 7]), "{found}");
    assert_eq!(found["environment"], json!([null]));
    let containment = &of(&status, "alone").unwrap().workers[0].containment;
    assert!(containment.holds(Aspect::Net));
    let cpu = containment.finding(Aspect::Cpu).expect("a share of the processors").detail();
    assert!(cpu.contains("50000") || cpu.contains("no cpu control group"), "{cpu}");
}

/// What crashes takes its time: a loop of crashes before the deployment has succeeded would fail it, as it should.
const HOSTILE: [(&str, &str); 4] = [
    ("crashes", "#!/bin/sh\necho going down >&2\nsleep 2\nexit 3\n"),
    ("forks", "#!/bin/sh\nwhile :; do sleep 1000 & done\n"),
    ("floods", "#!/bin/sh\nwhile :; do echo all work and no play makes this a dull function; done\n"),
    ("stubborn", "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 1; done\n"),
];

const GREEDY: &str = "
def handler(event, context):
    return len(bytearray(1 << 30))
";

const SLOW: &str = "
import time

def handler(event, context):
    time.sleep(1000)
";

fn classifies_on(status: &CoreStatus, beyond: u64) -> bool {
    let classifier = status.cameras[0].classifier.as_ref().expect("a classifier");
    assert!(classifier.ledger.adds_up());
    classifier.ledger.inferred() > beyond
}

#[test]
fn functions_that_misbehave_are_named_and_limited_while_the_classifier_goes_on() {
    if !has_python() {
        return;
    }
    let mut device = Device::new();
    for (name, text) in HOSTILE {
        add(&mut device, name, text, json!({ "Pinned": true, "MemorySize": 32768 }));
    }
    add(&mut device, "greedy", GREEDY, json!({}));
    add(&mut device, "slow", SLOW, json!({ "Timeout": 1 }));
    connect(&mut device, "greedy");
    connect(&mut device, "slow");
    device.write();
    let mut core = device.start();
    device.wait_for("functions", |status| listens(status) && !status.cameras.is_empty());
    send(&device, "greedy", "{}");
    send(&device, "slow", "{}");
    let status = device.wait_for("what became of them", |status| {
        let is =
            |name, wanted: &dyn Fn(&margay::function::FunctionStatus) -> bool| of(status, name).is_some_and(wanted);
        is("crashes", &|f| f.state == FunctionState::CrashLoop)
            && is("greedy", &|f| f.out_of_memory == 1 && f.failed == 1)
            && is("slow", &|f| f.timed_out == 1 && f.failed == 1)
            && is("floods", &|f| f.state == FunctionState::Running)
            && ["forks", "floods", "stubborn"].iter().all(|name| is(name, &|f| !f.workers.is_empty()))
    });
    let why = |name: &str| of(&status, name).unwrap().last_error.clone().unwrap();
    assert!(why("crashes").contains("exited with code 3"), "{}", why("crashes"));
    assert!(why("greedy").contains("reached its memory limit of 64 MiB"), "{}", why("greedy"));
    assert!(why("slow").contains("longer than its Timeout of 1 s"), "{}", why("slow"));
    let pids = |name: &str| of(&status, name).unwrap().workers.iter().map(|worker| worker.pid).collect::<Vec<_>>();
    let before = status.cameras[0].classifier.as_ref().unwrap().ledger.inferred();
    let status = device.wait_for("more frames", |status| classifies_on(status, before + 40));
    assert!(status.link.delivered > 0);
    let logs = device.root().join("ggc/var/log/user/eu-central-1/123456789012");
    let floods: u64 =
        ["floods.log", "floods.log.1"].iter().filter_map(|name| Some(logs.join(name).metadata().ok()?.len())).sum();
    assert!((1..=128 << 10).contains(&floods), "{floods} bytes of log");
    let all: Vec<i32> = ["forks", "floods", "stubborn"].into_iter().flat_map(pids).collect();
    assert!(all.len() >= 3, "{all:?}");
    assert_eq!(core.terminate(), Some(0));
    for pid in all {
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "process {pid} outlived the core");
    }
}

#[test]
fn nothing_of_a_function_outlives_a_core_that_is_killed() {
    if !is_root() {
        return;
    }
    let mut device = Device::new();
    add(
        &mut device,
        "stays",
        "#!/bin/sh\ntrap '' TERM\nsleep 1000 &\nwhile :; do sleep 1; done\n",
        json!({ "Pinned": true }),
    );
    device.write();
    let core = device.start();
    let status = device.wait_for("the function", |status| of(status, "stays").is_some_and(|f| !f.workers.is_empty()));
    let pid = of(&status, "stays").unwrap().workers[0].pid;
    program::signal(core.pid(), rustix::process::Signal::KILL);
    program::wait_until_gone(&[pid]);
}

/// Two threads that ask for work at any time, as runtimes with several handlers do; each says who got what.
const TWO_AT_A_TIME: &str = r#"#!/usr/bin/python3
import base64, http.client, json, os, threading
host = os.environ["AWS_LAMBDA_RUNTIME_API"]
both = threading.Barrier(2)

def work():
    api = http.client.HTTPConnection(host)
    both.wait()
    while True:
        api.request("GET", "/2018-06-01/runtime/invocation/next")
        response = api.getresponse()
        number = json.loads(response.read())["number"]
        subject = json.loads(response.headers["Lambda-Runtime-Client-Context"])["custom"]["subject"].replace("/in", "/out")
        context = base64.b64encode(json.dumps({"custom": {"subject": subject}}).encode()).decode()
        api.request("POST", "/2016-11-01/functions/" + os.environ["ROUTER_FUNCTION_ARN"], json.dumps({"number": number}),
                    {"Authorization": os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"], "X-Amz-Client-Context": context,
                     "X-Amz-Invocation-Type": "Event"})
        api.getresponse().read()
        api.request("POST", "/2018-06-01/runtime/invocation/" + response.headers["Lambda-Runtime-Aws-Request-Id"] + "/response", "{}")
        api.getresponse().read()

threading.Thread(target=work).start()
work()
"#;

#[test]
fn a_runtime_that_asks_for_work_twice_at_a_time_gets_one_piece_after_the_other() {
    if !has_python() {
        return;
    }
    let mut device = Device::new();
    add(&mut device, "two", TWO_AT_A_TIME, json!({ "Pinned": true }));
    connect(&mut device, "two");
    device.write();
    let _core = device.start();
    device.wait_for("functions", listens);
    let mut viewer = Viewer::connect(&device, "functions-viewer", &format!("{}/out", topic("two")));
    for number in 0..6 {
        send(&device, "two", &json!({ "number": number }).to_string());
    }
    let numbers: Vec<Value> = (0..6).map(|_| viewer.next_payload()["number"].clone()).collect();
    assert_eq!(json!(numbers), json!([0, 1, 2, 3, 4, 5]));
    let status = device.wait_for("six answers", |status| of(status, "two").is_some_and(|f| f.succeeded == 6));
    assert_eq!(of(&status, "two").unwrap().starts, 1);
}

//! Functions without a container (A-32, B-42): a process of the host with the user, the paths and the resources that the
//! guide gives it, and all the same without privileges, and gone with everything it started when it is to be.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use margay::app::status::CoreStatus;
use margay::function::FunctionState;
use margay_sandbox::Aspect;
use serde_json::{Value, json};

use crate::support::device::{BUCKET, Device, KEY};
use crate::support::functions::{
    add_uncontained, arn, code, connect, explorer, has_python, is_root, listens, of, open_to_others, send, topic,
};
use crate::support::program;
use crate::support::viewer::Viewer;

/// Says who and where it is, and what it may read.
const EXPLORER: &str = r#"
def handler(event, context):
    status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
    said = {
        "who": [os.getuid(), os.getgid(), sorted(os.getgroups()), os.getcwd()],
        "read": [outcome(lambda: open(path).read()) for path in event.get("read", [])],
        "model": outcome(lambda: sorted(os.listdir(os.environ["AWS_GG_RESOURCE_PREFIX"] + "/models/extra"))),
        "model_write": outcome(lambda: open(os.environ["AWS_GG_RESOURCE_PREFIX"] + "/models/extra/x", "w")),
        "prefix": os.environ["AWS_GG_RESOURCE_PREFIX"], "mine": os.environ.get("MINE"),
        "memory": os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"), "root": os.environ["LAMBDA_TASK_ROOT"],
        "capabilities": [status["CapEff"], status["CapBnd"]], "no_new_privs": status["NoNewPrivs"],
    }
    say(said, context)
"#;

/// A group of the host that is not the function's.
const OWNER: u32 = 12_344;

/// A model resource that a function without a container may have (B-15).
fn add_model(device: &mut Device) {
    device.resources.push(json!({ "Id": "extra", "Name": "extra", "ResourceDataContainer": {
        "S3MachineLearningModelResourceData": { "S3Uri": format!("s3://{BUCKET}/{KEY}"), "DestinationPath": "/models/extra",
            "OwnerSetting": { "GroupOwner": OWNER.to_string(), "GroupPermission": "ro" } } } }));
}

fn explore(device: &Device, name: &str, questions: &Value) -> Value {
    let mut viewer = Viewer::connect(device, "functions-viewer", &format!("{}/out", topic(name)));
    send(device, name, &questions.to_string());
    viewer.next_payload()
}

#[test]
fn a_function_without_a_container_has_the_hosts_paths_its_own_user_and_its_model_by_the_prefix() {
    if !has_python() {
        return;
    }
    let mut device = Device::new();
    add_model(&mut device);
    let note = device.folder.path().join("note");
    fs::write(&note, "of the host").unwrap();
    let environment = json!({ "ResourceAccessPolicies": [{ "ResourceId": "extra" }], "Variables": { "MINE": "yes" },
        "Execution": { "RunAs": { "Uid": "12345", "Gid": "12346" } } });
    add_uncontained(&mut device, "plain", &explorer(EXPLORER), json!({ "Environment": environment }));
    connect(&mut device, "plain");
    device.write();
    let _core = device.start();
    device.wait_for("functions", listens);
    let found = explore(&device, "plain", &json!({ "read": [note, device.files.private_key] }));
    let folder = code(&device, "plain");
    assert_eq!(found["who"], json!([12345, 12346, [OWNER], folder]), "{found}");
    assert_eq!(found["root"], json!(folder));
    assert_eq!(found["read"], json!(["of the host", "PermissionError"]), "{found}");
    assert!(found["model"].as_array().unwrap().contains(&json!("model.toml")), "{found}");
    assert_eq!(found["model_write"], "PermissionError");
    assert_eq!((&found["mine"], &found["memory"]), (&json!("yes"), &json!("")));
    assert_eq!(found["capabilities"], json!(["0000000000000000", "0000000000000000"]), "{found}");
    assert_eq!(found["no_new_privs"], "1");
    let prefix = PathBuf::from(found["prefix"].as_str().unwrap());
    assert!(prefix != Path::new("/") && prefix.join("models/extra/model.toml").exists(), "{found}");
    let status = device.wait_for("the function", |status| of(status, "plain").is_some_and(|f| f.succeeded == 1));
    let worker = &of(&status, "plain").unwrap().workers[0];
    assert_eq!((worker.uid, worker.memory_limit), (Some(12345), None), "{worker:?}");
    for aspect in [Aspect::User, Aspect::Capabilities, Aspect::NoNewPrivs, Aspect::Pids, Aspect::Descriptors] {
        assert!(worker.containment.holds(aspect), "{aspect}: {}", worker.containment);
    }
    assert!(!worker.containment.holds(Aspect::Mount), "what is not there is not claimed: {}", worker.containment);
    let config = device.config_path();
    let table = program::run(&["functions", "--config", config.to_str().unwrap()]).stdout;
    assert!(String::from_utf8(table).unwrap().contains("no limit"));
}

#[test]
fn a_function_runs_as_root_only_where_config_json_allows_it_and_has_no_capability_then() {
    if !has_python() {
        return;
    }
    let mut device = Device::new();
    device.config["runtime"]["allowFunctionsToRunAsRoot"] = "yes".into();
    let environment = json!({ "Execution": { "RunAs": { "Uid": "0", "Gid": "0" } } });
    add_uncontained(&mut device, "root", &explorer(EXPLORER), json!({ "Environment": environment }));
    connect(&mut device, "root");
    device.write();
    let _core = device.start();
    device.wait_for("functions", listens);
    let found = explore(&device, "root", &json!({}));
    assert_eq!((&found["who"][0], &found["who"][1]), (&json!(0), &json!(0)), "{found}");
    assert_eq!(found["capabilities"], json!(["0000000000000000", "0000000000000000"]), "{found}");
    device.config["runtime"]["allowFunctionsToRunAsRoot"] = "no".into();
    device.write();
    let checked = program::run(&["check", "--config", device.config_path().to_str().unwrap()]);
    let said = String::from_utf8([checked.stdout, checked.stderr].concat()).unwrap();
    let text = format!("[{}] are configured to run as root but Greengrass is not configured", arn("root"));
    assert!(said.contains(&text), "{said}");
}

#[test]
fn a_function_whose_user_cannot_enter_the_folder_of_its_code_is_broken_and_says_so() {
    if !has_python() {
        return;
    }
    let mut device = Device::new();
    let environment = json!({ "Execution": { "RunAs": { "Uid": "12345", "Gid": "12346" } } });
    add_uncontained(&mut device, "kept-out", &explorer(EXPLORER), json!({ "Environment": environment }));
    fs::set_permissions(code(&device, "kept-out"), Permissions::from_mode(0o700)).unwrap();
    device.write();
    let _core = device.start();
    let status = device.wait_for("the refusal", |status| {
        let why = of(status, "kept-out").and_then(|function| function.last_error.clone());
        why.is_some_and(|why| why.contains("may not enter"))
    });
    assert_eq!(of(&status, "kept-out").unwrap().state, FunctionState::Broken);
    assert!(status.cameras[0].classifier.is_some(), "the classifier runs");
}

/// Leaves a child in a session of its own that heeds no signal, and one that `nohup` keeps; V1 would let both live on.
fn leaver(list: &Path) -> String {
    format!(
        "#!/bin/sh\nsetsid sh -c 'trap \"\" HUP TERM INT; (sh -c \"echo \\$\\$ >> {0}; exec sleep 1000\" &); echo $$ >> {0}; \
         exec sleep 1000' >/dev/null 2>&1 &\nnohup sh -c 'echo $$ >> {0}; exec sleep 1000' >/dev/null 2>&1 &\n\
         trap '' TERM\nwhile :; do sleep 1; done\n",
        list.display()
    )
}

/// A device whose function has left three processes, and their numbers.
fn with_a_leaver() -> (Device, program::Core, Vec<String>) {
    let mut device = Device::new();
    let folder = device.folder.path().join("list");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
    let list = folder.join("pids");
    add_uncontained(&mut device, "leaver", &leaver(&list), json!({ "Pinned": true }));
    device.write();
    let core = device.start();
    let numbers = || fs::read_to_string(&list).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>();
    device.wait_for("three processes", |status| !status.functions.is_empty() && numbers().len() == 3);
    (device, core, numbers())
}

#[test]
fn what_a_function_without_a_container_started_ends_with_it_and_with_a_killed_core() {
    if !is_root() {
        return;
    }
    let (mut device, core, pids) = with_a_leaver();
    assert!(pids.iter().all(program::lives), "{pids:?}");
    device.functions.clear();
    device.write();
    program::signal(core.pid(), rustix::process::Signal::HUP);
    device.wait_for("the end of the function", |status: &CoreStatus| status.functions.is_empty());
    program::wait_until_gone(&pids);
    drop(core);

    let (_device, core, pids) = with_a_leaver();
    program::signal(core.pid(), rustix::process::Signal::KILL);
    program::wait_until_gone(&pids);
}

/// Kills whatever it may, its parent first: that parent is what ends it with the core.
const KILLER: &str = "#!/bin/sh\nkill -KILL $PPID 2>/dev/null && echo ended >&2\nwhile :; do sleep 1; done\n";

#[test]
fn a_function_without_a_container_cannot_end_what_watches_over_it() {
    if !is_root() {
        return;
    }
    let mut device = Device::new();
    add_uncontained(&mut device, "killer", KILLER, json!({ "Pinned": true }));
    open_to_others(device.folder.path());
    device.write();
    let core = device.start();
    let status = device.wait_for("the function", |status| of(status, "killer").is_some_and(|f| !f.workers.is_empty()));
    let pid = of(&status, "killer").unwrap().workers[0].pid.to_string();
    // It has tried by the time that it sleeps.
    let status = device.wait_for("its loop", |_| {
        fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).is_ok_and(|children| !children.is_empty())
    });
    let function = of(&status, "killer").unwrap();
    assert_eq!((function.starts, function.crashes, &function.last_error), (1, 0, &None), "it ended its parent");
    program::signal(core.pid(), rustix::process::Signal::KILL);
    program::wait_until_gone(&[pid]);
}

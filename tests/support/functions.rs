//! Users' functions on a device: their code at V1's place, their entries in the group, what became of them.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use margay::app::status::CoreStatus;
use margay::deployment::Status;
use margay::function::FunctionStatus;
use serde_json::{Value, json};

use super::device::Device;
use super::program::{self, assert_code};

/// Topics of the device's own, which the cloud lets it use.
pub fn topic(name: &str) -> String {
    format!("margay/core-1/functions/{name}")
}

/// A function's ARN.
pub fn arn(name: &str) -> String {
    format!("arn:aws:lambda:eu-central-1:123456789012:function:{name}:1")
}

/// The folder of a function's code, made if it is not there.
pub fn code(device: &Device, name: &str) -> PathBuf {
    let folder = device.root().join("ggc/deployment/lambda").join(arn(name));
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Adds a function with `text` as its only file: a program if it begins with `#!`, else the Python module `app`, whose
/// handler is `handler`. `more` is merged into its configuration.
pub fn add(device: &mut Device, name: &str, text: &str, more: Value) {
    let program = text.starts_with("#!");
    let file = code(device, name).join(if program { "run" } else { "app.py" });
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(if program { 0o755 } else { 0o644 })).unwrap();
    let mut configuration = json!({ "Executable": if program { "run" } else { "app.handler" }, "MemorySize": 65536,
        "Timeout": 20, "Pinned": false, "Environment": { "AccessSysfs": false } });
    for (key, value) in more.as_object().unwrap() {
        configuration[key] = value.clone();
    }
    device.functions.push(json!({ "Id": name, "FunctionArn": arn(name), "FunctionConfiguration": configuration }));
}

/// A Python module that ends with `text`, which may call `outcome` for what came of an attempt, and `say` to publish an
/// object on the function's own topic.
pub fn explorer(text: &str) -> String {
    const BEGINNING: &str = r#"
import base64, json, os
from greengrass_ipc_python_sdk.ipc_client import IPCClient
from greengrass_common.env_vars import MY_FUNCTION_ARN, ROUTER_FUNCTION_ARN

def outcome(attempt):
    try:
        return attempt()
    except BaseException as error:
        return type(error).__name__

def say(said, context):
    custom = {"custom": {"source": MY_FUNCTION_ARN, "subject": context.client_context.custom["subject"].replace("/in", "/out")}}
    IPCClient().post_work(ROUTER_FUNCTION_ARN, json.dumps(said), base64.b64encode(json.dumps(custom).encode()), "Event")
"#;
    format!("{BEGINNING}{text}")
}

/// Adds the volume `source` as a resource, at `destination`.
pub fn volume(device: &mut Device, id: &str, source: &Path, destination: &str) {
    device.resources.push(json!({ "Id": id, "Name": id, "ResourceDataContainer": { "LocalVolumeResourceData": {
        "SourcePath": source, "DestinationPath": destination, "GroupOwnerSetting": { "AutoAddGroupOwner": true } } } }));
}

/// Adds a function without a container, by the rules that hold there: no memory limit (contract G3).
pub fn add_uncontained(device: &mut Device, name: &str, text: &str, more: Value) {
    add(device, name, text, more);
    let configuration = &mut device.functions.last_mut().unwrap()["FunctionConfiguration"];
    configuration.as_object_mut().unwrap().remove("MemorySize");
    configuration["Environment"]["Execution"]["IsolationMode"] = "NoContainer".into();
    open_to_others(device.folder.path());
}

/// Lets other users through a folder of the test, to what they may read in it.
pub fn open_to_others(folder: &Path) {
    fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
}

/// Adds a function whose code is where `code` says, with the handler `executable`.
pub fn add_with_code(device: &mut Device, name: &str, code: Value, executable: &str) {
    device.functions.push(json!({ "Id": name, "FunctionArn": arn(name), "FunctionConfiguration": {
        "Executable": executable, "Code": code, "MemorySize": 65536, "Timeout": 20, "Pinned": false } }));
}

/// A zip of files with their modes.
pub fn zip_of(files: &[(&str, &str, u32)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content, mode) in files {
        let options = zip::write::SimpleFileOptions::default().unix_permissions(*mode);
        writer.start_file(*name, options).unwrap();
        writer.write_all(content.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// Lets messages of the cloud on `topic(name)/in` reach the function, and its own on `topic(name)/#` the cloud.
pub fn connect(device: &mut Device, name: &str) {
    let topics = topic(name);
    device.more_subscriptions.extend([
        json!({ "Id": format!("{name}-in"), "Source": "cloud", "Target": arn(name), "Subject": format!("{topics}/in") }),
        json!({ "Id": format!("{name}-out"), "Source": arn(name), "Target": "cloud", "Subject": format!("{topics}/#") }),
    ]);
}

/// A message to the function by way of the cloud.
pub fn send(device: &Device, name: &str, payload: &str) {
    let mut command = program::margay();
    command.args(["publish", "--config"]).arg(device.config_path()).arg(format!("{}/in", topic(name))).arg(payload);
    assert_code(&command.output().unwrap(), 0);
}

/// A function's status.
pub fn of<'s>(status: &'s CoreStatus, name: &str) -> Option<&'s FunctionStatus> {
    let arn = arn(name);
    status.functions.iter().find(|function| function.arn == arn)
}

/// Whether the core listens to the cloud and has deployed its group.
pub fn listens(status: &CoreStatus) -> bool {
    let deployed = status.deployment.as_ref().is_some_and(|report| report.status == Status::Success);
    deployed && status.link.connected && status.link.subscriptions_granted > 0 && !status.functions.is_empty()
}

/// The device's Python, which runs functions.
pub fn has_python() -> bool {
    let found = Path::new("/usr/bin/python3").exists() || super::skipped("python functions", "apt install python3");
    found && is_root()
}

/// A layer over the host's root takes a core that runs as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root() || super::skipped("functions", "run the tests as root")
}

/// The folder with the real clients from PyPI, for the device's Python.
pub fn clients() -> Option<PathBuf> {
    if !is_root() {
        return None;
    }
    let how = "pip install greengrasssdk==1.6.1 awslambdaric==4.2.2; MARGAY_TEST_PYTHON names the interpreter, of the \
               same version as /usr/bin/python3";
    let python = std::env::var("MARGAY_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let ask = "import sys, importlib.util as u; s = u.find_spec('awslambdaric'); t = u.find_spec('greengrasssdk'); \
               print(s and t and s.submodule_search_locations[0].rsplit('/', 1)[0], sys.version_info[:2])";
    let answer = |interpreter: &str, script: &str| {
        let output = Command::new(interpreter).args(["-c", script]).output().ok()?;
        Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
    };
    let version = answer("/usr/bin/python3", "import sys; print(sys.version_info[:2])").unwrap_or_default();
    let found =
        answer(&python, ask).and_then(|said| said.split_once(" (").map(|(f, v)| (f.to_owned(), format!("({v}"))));
    match found {
        Some((folder, theirs)) if folder.starts_with('/') && theirs == version => Some(PathBuf::from(folder)),
        _ => {
            super::skipped("python clients", how);
            None
        }
    }
}

/// Puts modules of `from` into a function's package, as `pip install -t` does.
pub fn bring(device: &Device, name: &str, from: &Path, modules: &[&str]) {
    for module in modules {
        let copied = Command::new("cp").arg("-r").arg(from.join(module)).arg(code(device, name)).status().unwrap();
        assert!(copied.success(), "{module}");
    }
}

/// The native part of awslambdaric, whose name has the interpreter's.
pub fn runtime_client(from: &Path) -> String {
    let names = fs::read_dir(from).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.into_iter().find(|name| name.starts_with("runtime_client")).expect("the native client")
}

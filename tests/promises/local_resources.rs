//! What the device tester checked of local resources (contract F2): files, folders and devices of many owners are
//! allowed or denied to functions in containers as the group says (B-01 to B-08), and a group that grants what its
//! function would not get is refused, in the guide's words.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, makedev, mknodat};
use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::examples::wait_for_quiet;
use crate::support::functions::{add, arn, connect, explorer, has_python, listens, send, topic};
use crate::support::program::{self, assert_code};
use crate::support::viewer::Viewer;

/// Reads, lists and writes what its message names; says whom it runs as.
const TOUCH: &str = r#"
import errno

def attempt(what, path):
    try:
        return what(path)
    except OSError as error:
        return errno.errorcode[error.errno]

def read(path):
    with open(path, "rb") as file:
        return file.read(16).decode("latin-1")

def write(path):
    with open(path, "ab", 0) as file:
        return file.write(b"!")

def handler(event, context):
    tries = {"read": read, "write": write, "list": lambda path: len(os.listdir(path)),
             "mknod": lambda path: os.mknod(path, 0o20666, os.makedev(1, 5))}
    said = {name: {path: attempt(tries[name], path) for path in paths} for name, paths in event.items()}
    said["who"] = [os.getuid(), os.getgid(), sorted(os.getgroups())]
    say(said, context)
"#;

/// A user and a group that no host has by name, for functions.
const USER: u32 = 440_001;
const GROUP: u32 = 440_002;

/// The group `video` of every Debian and its relatives.
const VIDEO: u32 = 44;

fn touch(device: &Device, name: &str, questions: &Value) -> Value {
    let mut viewer = Viewer::connect(device, "functions-viewer", &format!("{}/out", topic(name)));
    send(device, name, &questions.to_string());
    viewer.next_payload()
}

/// One way in which a folder may lie on the host and be granted.
struct Row {
    owner: (u32, u32),
    mode: u32,
    setting: Value,
    permission: &'static str,
}

fn row(owner: (u32, u32), mode: u32, setting: Value, permission: &'static str) -> Row {
    Row { owner, mode, setting, permission }
}

fn automatic() -> Value {
    json!({ "AutoAddGroupOwner": true, "GroupOwner": "" })
}

fn named(group: &str) -> Value {
    json!({ "AutoAddGroupOwner": false, "GroupOwner": group })
}

fn none() -> Value {
    json!({})
}

/// What the function's user may do.
fn allowed() -> Vec<Row> {
    vec![
        row((0, 0), 0o755, none(), "ro"),
        row((0, 0), 0o777, none(), "rw"),
        row((0, GROUP), 0o750, none(), "ro"),
        row((0, GROUP), 0o770, none(), "rw"),
        row((USER, 0), 0o700, none(), "rw"),
        row((0, VIDEO), 0o770, automatic(), "rw"),
        row((0, VIDEO), 0o750, automatic(), "ro"),
        row((0, VIDEO), 0o770, named("video"), "rw"),
        // Beside AutoAddGroupOwner a name is ignored (V7).
        row((0, VIDEO), 0o770, json!({ "AutoAddGroupOwner": true, "GroupOwner": "no-such-group" }), "rw"),
    ]
}

/// What it may not do, and the groups that the refusal lists.
fn denied() -> Vec<(Row, &'static str)> {
    vec![
        (row((0, 0), 0o755, none(), "rw"), "440002"),
        (row((0, 0), 0o750, none(), "ro"), "440002"),
        (row((0, 0), 0o744, none(), "ro"), "440002"),
        (row((0, GROUP), 0o750, none(), "rw"), "440002"),
        (row((0, VIDEO), 0o770, none(), "ro"), "440002"),
        (row((0, VIDEO), 0o750, automatic(), "rw"), "440002 video"),
        (row((0, VIDEO), 0o770, named("audio"), "ro"), "440002 audio"),
        // The owner has what the owner has, whatever its group has.
        (row((USER, VIDEO), 0o070, automatic(), "ro"), "440002 video"),
    ]
}

/// Puts the folder of `row` on the host, with a note of the same owner in it.
fn put(folder: &Path, row: &Row) {
    fs::create_dir(folder).unwrap();
    let note = folder.join("note");
    fs::write(&note, "note").unwrap();
    for (path, mode) in [(note.as_path(), row.mode & 0o666), (folder, row.mode)] {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        chown(path, Some(row.owner.0), Some(row.owner.1)).unwrap();
    }
}

fn volume(id: &str, source: &Path, destination: &str, setting: &Value) -> Value {
    json!({ "Id": id, "Name": id, "ResourceDataContainer": { "LocalVolumeResourceData": {
        "SourcePath": source, "DestinationPath": destination, "GroupOwnerSetting": setting } } })
}

fn device_resource(id: &str, source: &Path, setting: &Value) -> Value {
    json!({ "Id": id, "Name": id, "ResourceDataContainer": { "LocalDeviceResourceData": {
        "SourcePath": source, "GroupOwnerSetting": setting } } })
}

/// Adds the function, as [`USER`] and [`GROUP`], with these resources and permissions.
fn grant(device: &mut Device, name: &str, resources: &[(Value, &str)], environment: Value) {
    let policies: Vec<Value> = resources
        .iter()
        .map(|(resource, permission)| json!({ "ResourceId": resource["Id"], "Permission": permission }))
        .collect();
    let mut all = json!({ "ResourceAccessPolicies": policies,
        "Execution": { "IsolationMode": "GreengrassContainer", "RunAs": { "Uid": USER, "Gid": GROUP } } });
    for (key, value) in environment.as_object().unwrap() {
        all[key] = value.clone();
    }
    add(device, name, &explorer(TOUCH), json!({ "Environment": all }));
    connect(device, name);
    device.resources.extend(resources.iter().map(|(resource, _)| resource.clone()));
}

/// Deploys the device's group as it is now, and gives what is said of it.
#[track_caller]
fn deploy(device: &Device, code: i32) -> String {
    wait_for_quiet(device);
    let path = device.folder.path().join("next.json");
    fs::write(&path, device.group().to_string()).unwrap();
    let config = device.config_path();
    let output = program::run(&["deploy", path.to_str().unwrap(), "--wait", "--config", config.to_str().unwrap()]);
    assert_code(&output, code);
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn files_of_many_owners_are_allowed_or_refused_at_deployment_as_the_group_grants_them() {
    if !has_python() {
        return;
    }
    let mut device = Device::new();
    let core = device.start();
    device.wait_for_predictions();
    for (number, (row, groups)) in denied().into_iter().enumerate() {
        let folder = device.folder.path().join(format!("denied-{number}"));
        put(&folder, &row);
        grant(&mut device, "touch", &[(volume("v", &folder, "/v", &row.setting), row.permission)], json!({}));
        let said = deploy(&device, 3);
        let text = format!(
            "group config is invalid: 440001 or [{groups}] don't have {} permission on the file: {}",
            row.permission,
            folder.display()
        );
        assert!(said.contains(&text), "{said}\nwanted: {text}");
        device.functions.clear();
        device.more_subscriptions.clear();
        device.resources.clear();
    }
    let rows = allowed();
    let folders: Vec<PathBuf> = (0..rows.len()).map(|n| device.folder.path().join(format!("allowed-{n}"))).collect();
    let granted = rows.iter().zip(&folders).enumerate().map(|(number, (row, folder))| {
        put(folder, row);
        (volume(&format!("v{number}"), folder, &format!("/volumes/{number}"), &row.setting), row.permission)
    });
    let granted: Vec<(Value, &str)> = granted.collect();
    grant(&mut device, "touch", &granted, json!({}));
    deploy(&device, 0);
    device.wait_for("the function", listens);
    let notes: Vec<String> = (0..rows.len()).map(|number| format!("/volumes/{number}/note")).collect();
    let new: Vec<String> = (0..rows.len()).map(|number| format!("/volumes/{number}/new")).collect();
    let found = touch(&device, "touch", &json!({ "read": notes, "write": new }));
    assert_eq!(found["who"], json!([USER, GROUP, [VIDEO]]), "its own group, and the one that resources add");
    for (number, (row, folder)) in rows.iter().zip(&folders).enumerate() {
        assert_eq!(found["read"][&notes[number]], "note", "row {number}: {found}");
        let written = &found["write"][&new[number]];
        if row.permission == "ro" {
            assert_eq!(written, "EROFS", "row {number}: {found}");
            assert!(!folder.join("new").exists());
        } else {
            assert_eq!(written, 1, "row {number}: {found}");
            let there = fs::metadata(folder.join("new")).unwrap();
            assert_eq!((there.uid(), there.gid()), (USER, GROUP), "what it writes is its own, on the host too");
        }
    }
    drop(core);
}

/// A device node of the test's own, gone with it.
struct Node(PathBuf);

impl Node {
    /// A node of `/dev/zero`, or nothing where the host gives none.
    fn new(name: &str, owner: (u32, u32), mode: u32) -> Option<Self> {
        let path = Path::new("/dev").join(format!("margay-test-{}-{name}", std::process::id()));
        let made = mknodat(rustix::fs::CWD, &path, FileType::CharacterDevice, Mode::empty(), makedev(1, 5));
        if made.is_err() {
            crate::support::skipped("devices", "run the tests where root may make device nodes");
            return None;
        }
        let node = Self(path);
        chown(&node.0, Some(owner.0), Some(owner.1)).unwrap();
        fs::set_permissions(&node.0, Permissions::from_mode(mode)).unwrap();
        Some(node)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn a_device_is_there_for_the_function_that_it_is_granted_to_and_for_no_other() {
    if !has_python() {
        return;
    }
    let node = |name: &str| Node::new(name, (0, VIDEO), 0o660);
    let (Some(both), Some(read), Some(kept)) = (node("both"), node("read"), node("kept")) else { return };
    let mut device = Device::new();
    let _core = device.start();
    device.wait_for_predictions();
    grant(&mut device, "touch", &[(device_resource("both", &both.0, &none()), "rw")], json!({}));
    let said = deploy(&device, 3);
    let text = format!("440001 or [440002] don't have rw permission on the file: {}", both.path());
    assert!(said.contains(&text), "{said}");
    assert!(said.contains("crw-rw---- of root and group video: set GroupOwnerSetting.AutoAddGroupOwner"), "{said}");
    device.functions.clear();
    device.more_subscriptions.clear();
    device.resources.clear();

    let granted = [
        (device_resource("both", &both.0, &automatic()), "rw"),
        (device_resource("read", &read.0, &automatic()), "ro"),
    ];
    grant(&mut device, "touch", &granted, json!({}));
    grant(&mut device, "stranger", &[], json!({}));
    deploy(&device, 0);
    device.wait_for("the functions", listens);
    let questions = json!({ "read": [both.path(), read.path(), kept.path()], "write": [both.path(), read.path()],
        "mknod": ["/dev/own", "/tmp/own"] });
    let found = touch(&device, "touch", &questions);
    assert_eq!(
        (&found["read"][both.path()], &found["read"][read.path()]),
        (&json!("\0".repeat(16)), &json!("\0".repeat(16)))
    );
    assert_eq!(found["write"][both.path()], 1);
    assert_eq!(found["write"][read.path()], "EACCES", "whatever its mode says");
    assert_eq!(found["read"][kept.path()], "ENOENT", "one that nobody grants is not there");
    assert!(found["mknod"].as_object().unwrap().values().all(|said| said == "EPERM" || said == "EACCES"), "{found}");
    let found = touch(&device, "stranger", &questions);
    assert!(found["read"].as_object().unwrap().values().all(|said| said == "ENOENT"), "{found}");
}

#[test]
fn proc_is_granted_for_reading_shared_memory_for_writing_and_sys_by_its_switch() {
    if !has_python() {
        return;
    }
    let mut device = Device::new();
    let shared = format!("/dev/shm/margay-test-{}", std::process::id());
    let host_proc = volume("proc", Path::new("/proc"), "/host-proc", &none());
    let memory = volume("memory", Path::new("/dev/shm"), "/dev/shm", &none());
    grant(&mut device, "touch", &[(host_proc, "ro"), (memory, "rw")], json!({ "AccessSysfs": true }));
    grant(&mut device, "stranger", &[], json!({}));
    device.write();
    fs::write(&shared, "of the host").unwrap();
    fs::set_permissions(&shared, Permissions::from_mode(0o666)).unwrap();
    let _core = device.start();
    device.wait_for("the functions", listens);
    let questions = json!({ "read": ["/host-proc/1/comm", &shared], "list": ["/sys/class", "/dev/shm"],
        "write": ["/host-proc/sys/kernel/hostname", &shared, "/sys/kernel/uevent_helper"] });
    let found = touch(&device, "touch", &questions);
    let there = fs::read_to_string(&shared).unwrap();
    let first = fs::read_to_string("/proc/1/comm").unwrap();
    let unseen = touch(&device, "stranger", &questions);
    fs::remove_file(&shared).unwrap();
    assert_eq!(found["read"]["/host-proc/1/comm"], first, "the host's processes, not the container's: {found}");
    assert_eq!((&found["read"][&shared], &found["write"][&shared]), (&json!("of the host"), &json!(1)), "{found}");
    assert_eq!(there, "of the host!", "the host sees what the function writes");
    assert!(found["list"]["/sys/class"].as_u64().unwrap() > 0, "{found}");
    for path in ["/host-proc/sys/kernel/hostname", "/sys/kernel/uevent_helper"] {
        let refused = found["write"][path].as_str().unwrap();
        assert!(["EROFS", "EACCES", "ENOENT"].contains(&refused), "{path}: {found}");
    }
    assert_eq!(unseen["read"]["/host-proc/1/comm"], "ENOENT");
    assert_eq!(unseen["list"], json!({ "/sys/class": "ENOENT", "/dev/shm": 0 }), "its own, and empty");
}

#[test]
fn a_source_that_is_not_there_and_a_group_that_is_not_are_named_before_anything_changes() {
    if !has_python() {
        return;
    }
    let mut device = Device::new();
    let _core = device.start();
    let before = device.wait_for_predictions();
    let absent = device.folder.path().join("absent");
    let granted = [
        (volume("absent", &absent, "/v", &none()), "ro"),
        (volume("other", Path::new("/usr"), "/w", &named("no-such-group")), "ro"),
    ];
    grant(&mut device, "touch", &granted, json!({}));
    let said = deploy(&device, 3);
    assert!(said.contains("group config is invalid:\n    "), "{said}");
    let text =
        format!("the file {} of resource absent cannot be granted to {}: No such file", absent.display(), arn("touch"));
    assert!(said.contains(&text), "{said}");
    assert!(said.contains("resource other names the GroupOwner \"no-such-group\""), "{said}");
    let after = device.wait_for("predictions beyond", |status| status.link.delivered > before.link.delivered + 5);
    assert!(after.functions.is_empty(), "the group before it runs on");
}

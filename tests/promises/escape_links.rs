//! Link games: what a function leaves on its volume does not make the core mount, at the function's next start, what the
//! group document does not name; and no program of a function becomes the core's own.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::Path;

use margay::function::FunctionState;
use serde_json::json;

use crate::support::device::Device;
use crate::support::functions::{add, connect, explorer, has_python, is_root, listens, of, send, topic, volume};
use crate::support::viewer::Viewer;

/// Reads what it is told to.
const READER: &str = r#"
def attempt(path):
    try:
        return sorted(os.listdir(path)) if os.path.isdir(path) else open(path).read()
    except OSError as error:
        return type(error).__name__

def handler(event, context):
    found = [attempt(path) for path in event] + [os.getgroups()]
    say(found, context)
"#;

/// A device whose function `name` has the volume `source` at `/volumes/it`, to read.
fn with_volume(device: &mut Device, name: &str, source: &Path) {
    volume(device, name, source, "/volumes/it");
    let policies = json!([{ "ResourceId": name, "Permission": "ro" }]);
    add(device, name, &explorer(READER), json!({ "Environment": { "ResourceAccessPolicies": policies } }));
    connect(device, name);
}

#[test]
fn a_link_that_a_function_left_in_the_place_of_a_volume_is_not_followed() {
    if !has_python() {
        return;
    }
    let mut device = Device::below(Path::new("/opt"));
    let folder = device.folder.path().canonicalize().unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    let data = folder.join("data");
    fs::create_dir(&data).unwrap();
    // As a function with the volume `data` could leave it: a link to what only some group may read.
    symlink("/etc", data.join("swapped")).unwrap();
    lchown(data.join("swapped"), Some(65_534), Some(65_534)).unwrap();
    symlink(&data, folder.join("of-the-administrator")).unwrap();
    fs::write(data.join("note"), "of the host").unwrap();
    // Every one of these passes the check of permissions at deployment (B-08).
    fs::set_permissions(folder.join("greengrass/certs"), Permissions::from_mode(0o755)).unwrap();
    with_volume(&mut device, "swapped", &data.join("swapped"));
    with_volume(&mut device, "keys", &folder.join("greengrass/certs"));
    with_volume(&mut device, "linked", &folder.join("of-the-administrator"));
    with_volume(&mut device, "around", &folder);
    device.write();
    let _core = device.start();
    device.wait_for("functions", listens);
    for name in ["linked", "around"] {
        let mut viewer = Viewer::connect(&device, "functions-viewer", &format!("{}/out", topic(name)));
        let key = device.files.private_key.canonicalize().unwrap();
        let inside = Path::new("/volumes/it").join(key.strip_prefix(&folder).unwrap());
        send(
            &device,
            name,
            &json!(["/volumes/it/note", inside, "/volumes/it/data/note", "/volumes/it/status.sock"]).to_string(),
        );
        let found = viewer.next_payload();
        match name {
            "linked" => assert_eq!(found[0], "of the host", "a link of root is followed: {found}"),
            _ => {
                assert_eq!(found[1], "FileNotFoundError", "what is hidden is hidden in a volume around it: {found}");
                assert_eq!(found[2], "of the host", "{found}");
                assert_eq!(found[3], "PermissionError", "{found}");
            }
        }
    }
    for (name, path) in [("swapped", data.join("swapped")), ("keys", folder.join("greengrass/certs"))] {
        send(&device, name, "[]");
        let status = device.wait_for("a refusal", |status| of(status, name).is_some_and(|f| f.last_error.is_some()));
        let why = of(&status, name).unwrap().last_error.clone().unwrap();
        let named = path.to_str().unwrap();
        assert!(why.contains(named) && why.contains("ermission denied"), "{name}: {why}");
    }
}

#[test]
fn a_program_that_would_become_the_cores_own_is_not_started() {
    if !is_root() {
        return;
    }
    let mut device = Device::new();
    add(&mut device, "pretender", "#!/proc/self/exe\n", json!({ "Pinned": true }));
    device.write();
    let _core = device.start();
    let status = device.wait_for("a refusal", |status| of(status, "pretender").is_some_and(|f| f.last_error.is_some()));
    let function = of(&status, "pretender").unwrap();
    let why = function.last_error.clone().unwrap();
    assert!(why.contains("could not execute /lambda/run: Permission denied"), "{why}");
    assert_ne!(function.state, FunctionState::Running);
}

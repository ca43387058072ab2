//! The escape suite: a function of a running core tries to get out of its sandbox, by everything in `escape/attempts.py`.
//! Every attempt is refused, each for a reason that is listed here; the table is printed. Once as the unprivileged user
//! that functions have by default, once as root, where the configuration allows that.

use std::fs::{self, Permissions};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use margay::app::status::CoreStatus;
use margay_sandbox::Aspect;
use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::functions::{add, code, connect, has_python, listens, of, send, topic, volume};
use crate::support::program::Core;
use crate::support::viewer::Viewer;

const ATTEMPTS: &str = include_str!("escape/attempts.py");

/// A function that has a secret, and sits at its interface.
const NEIGHBOUR: &str = "
def handler(event, context):
    return {}
";

/// How an attempt may end, by the beginning of its name: the first that fits holds. What a call that is on no list gets is
/// `EPERM`; what lies outside the tree is not there; what is inside is guarded by its mount, its owner or landlock.
const REFUSALS: &[(&str, &[&str])] = &[
    ("the model: remounting it read-write", &["EPERM"]),
    ("the model: mount_setattr", &["EPERM"]),
    ("the model: unmounting it", &["EPERM"]),
    ("the model: mounting over it", &["EPERM"]),
    // Where the file is another user's, its mode says no before the mount does.
    ("the model: opening a file for writing", &["EROFS", "EACCES"]),
    ("the model: ", &["EROFS"]),
    ("its code: ", &["EROFS", "EACCES"]),
    ("mounts: ", &["EPERM"]),
    ("devices: mknod", &["EPERM"]),
    ("devices: a node that the volume has", &["EACCES"]),
    ("devices: opening ", &["ENOENT"]),
    ("devices: writing to one granted for reading", &["EACCES"]),
    ("devices: truncating /dev", &["EACCES"]),
    ("keys: by way of PID 1's root", &["EACCES", "ENOENT", "EPERM"]),
    ("keys: open_by_handle_at", &["EPERM"]),
    ("keys: the core's socket", &["ECONNREFUSED", "EACCES", "ENOENT"]),
    ("keys: the host's shadow file for writing", &["EACCES"]),
    ("keys: ", &["ENOENT", "EACCES"]),
    ("others: processes in /proc", &["none"]),
    ("others: writing to PID 1's memory", &["EROFS", "ENOENT", "EACCES"]),
    ("others: PID 1's", &["ENOENT", "EACCES", "EPERM"]),
    ("others: process_vm", &["EPERM"]),
    ("others: ptrace", &["EPERM"]),
    ("others: pidfd_getfd", &["EPERM"]),
    ("others: kcmp", &["EPERM"]),
    ("others: a function's work over loopback", &["ECONNRESET"]),
    ("others: a message in a function's name", &["ECONNRESET"]),
    ("others: an abstract socket of the host", &["EPERM"]),
    ("others: ", &["ENOENT"]),
    ("signals: SIGKILL and SIGSTOP to PID 1", &["EPERM", "without effect"]),
    ("signals: ", &["ESRCH"]),
    ("users: a set-user-ID program", &["runs as before"]),
    ("users: ", &["EPERM"]),
    ("namespaces: clone3", &["ENOSYS"]),
    ("namespaces: ", &["EPERM"]),
    ("network: ", &["EPERM"]),
    ("keyring: ", &["EPERM"]),
    ("kernel: writing /proc/sys/", &["EROFS", "EACCES", "ENOENT"]),
    ("kernel: /proc/", &["EROFS", "EACCES", "EPERM", "ENOENT"]),
    ("kernel: its own OOM score", &["EROFS", "EACCES"]),
    ("kernel: writing to /sys", &["EROFS", "EACCES", "ENOENT"]),
    ("kernel: /sys/power", &["EROFS", "EACCES", "ENOENT"]),
    ("kernel: ", &["EPERM"]),
    ("cgroups: ", &["ENOENT", "EROFS", "EACCES"]),
    ("links: a hard link between two volumes", &["EXDEV", "EPERM"]),
    ("links: a hard link", &["EXDEV", "ENOENT", "EPERM", "EACCES"]),
    ("links: moving a file out of a read-only volume", &["EXDEV", "EROFS"]),
    ("links: writing to a read-only volume", &["EROFS"]),
    ("links: a file of the host beside the volume", &["ENOENT", "EACCES"]),
    ("links: ", &["ENOENT", "EACCES"]),
    ("calls: 32-bit ones", &["SIGSYS"]),
    ("calls: ", &["EPERM"]),
    ("descriptors: typing into a terminal", &["EPERM"]),
    ("descriptors: ", &["none"]),
    ("program: PID 1's executable", &["EACCES", "ENOENT", "EPERM"]),
    ("program: its own executable for writing", &["ETXTBSY", "EACCES"]),
    ("program: margay itself for writing", &["EACCES", "ENOENT", "ETXTBSY"]),
    ("limits: more descriptors than given", &["ValueError", "EPERM"]),
    ("limits: real-time scheduling", &["EPERM"]),
    ("limits: a higher priority", &["EACCES", "EPERM"]),
    ("limits: more than 256 processes", &["EAGAIN"]),
    ("limits: more than its", &["ENOSPC"]),
];

/// What root may do to files of its own layer, which no other function and not the host sees.
const ROOT_IN_ITS_LAYER: &[(&str, &[&str])] = &[
    ("keys: the host's shadow file for writing", &["allowed"]),
    ("links: a file of the host beside the volume", &["allowed"]),
    // A copy of the host's file in its own layer: the host's is looked at below.
    ("program: margay itself for writing", &["allowed", "ETXTBSY", "ENOENT", "ENOSPC"]),
    // Its user's own file on a volume that the group document lets it write.
    ("users: chown to root", &["EPERM", "allowed"]),
];

/// Whether an attempt that ended so was refused.
fn is_refusal(name: &str, outcome: &str, as_root: bool) -> bool {
    let fits = |rows: &[(&str, &[&str])]| {
        let row = rows.iter().find(|(beginning, _)| name.starts_with(beginning));
        row.map(|(_, outcomes)| {
            outcomes.iter().any(|allowed| outcome == *allowed || outcome.starts_with(&format!("{allowed}:")))
        })
    };
    if as_root && let Some(fits) = fits(ROOT_IN_ITS_LAYER) {
        return fits;
    }
    fits(REFUSALS).unwrap_or_else(|| panic!("the attempt {name:?} is not listed"))
}

/// A device with an attacker, its volumes and its neighbour, where sandboxes show the host: not in `/tmp`.
struct Arena {
    device: Device,
    _core: Option<Core>,
    abstract_name: String,
    _listener: UnixListener,
}

/// A copy of the device's Python that is set-user-ID root.
fn set_user_id_python(path: &Path) {
    fs::copy(Path::new("/usr/bin/python3").canonicalize().unwrap(), path).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o4755)).unwrap();
    assert_eq!(path.metadata().unwrap().mode() & 0o4000, 0o4000);
}

impl Arena {
    fn new(as_root: bool) -> Self {
        let mut device = Device::below(Path::new("/opt"));
        let folder = device.folder.path().to_owned();
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        fs::write(folder.join("beside"), "of the host").unwrap();
        for name in ["open", "closed"] {
            let source = folder.join(name);
            fs::create_dir(&source).unwrap();
            fs::set_permissions(&source, Permissions::from_mode(0o777)).unwrap();
            fs::write(source.join("note"), "of the host").unwrap();
            fs::set_permissions(source.join("note"), Permissions::from_mode(0o666)).unwrap();
            volume(&mut device, name, &source, &format!("/volumes/{name}"));
        }
        let open = folder.join("open");
        symlink(&device.files.private_key, open.join("key-link")).unwrap();
        symlink(format!("../../../../../..{}", device.files.private_key.display()), open.join("up-link")).unwrap();
        symlink("/proc/1/root", open.join("root-link")).unwrap();
        set_user_id_python(&open.join("root-python"));
        set_user_id_python(&folder.join("root-python"));
        let made =
            Command::new("mknod").args(["-m", "666"]).arg(open.join("zero")).args(["c", "1", "5"]).status().unwrap();
        assert!(made.success(), "mknod");
        device
            .resources
            .push(json!({ "Id": "zero", "Name": "zero", "ResourceDataContainer": { "LocalDeviceResourceData": {
            "SourcePath": "/dev/zero", "GroupOwnerSetting": { "AutoAddGroupOwner": true } } } }));
        let policies = json!([{ "ResourceId": "open", "Permission": "rw" }, { "ResourceId": "closed", "Permission": "ro" },
            { "ResourceId": "model", "Permission": "ro" }, { "ResourceId": "zero", "Permission": "ro" }]);
        let mut environment = json!({ "ResourceAccessPolicies": policies, "AccessSysfs": true });
        if as_root {
            environment["Execution"] =
                json!({ "IsolationMode": "GreengrassContainer", "RunAs": { "Uid": 0, "Gid": 0 } });
            device.config["runtime"]["allowFunctionsToRunAsRoot"] = "yes".into();
        }
        let memory = json!({ "Environment": environment, "MemorySize": 262_144, "Timeout": 120 });
        add(&mut device, "attacker", ATTEMPTS, memory);
        let secret = json!({ "Pinned": true, "Environment": { "Variables": { "SECRET": "of the neighbour" } } });
        add(&mut device, "neighbour", NEIGHBOUR, secret);
        connect(&mut device, "attacker");
        device.write();
        let abstract_name = format!("margay-escape-{}-{as_root}", std::process::id());
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&abstract_name).unwrap()).unwrap();
        Self { device, _core: None, abstract_name, _listener: listener }
    }

    /// Runs the attacker; the attempts and how they ended, and the status after it.
    fn run(&mut self) -> (Vec<(String, String)>, CoreStatus) {
        let core = self.device.start();
        let status = self.device.wait_for("both functions", |status| {
            listens(status) && of(status, "neighbour").is_some_and(|function| !function.workers.is_empty())
        });
        let neighbour = of(&status, "neighbour").unwrap().workers[0].pid;
        let questions = self.questions(core.pid(), neighbour);
        self._core = Some(core);
        let mut viewer = Viewer::connect(&self.device, "functions-viewer", &format!("{}/out", topic("attacker")));
        send(&self.device, "attacker", &questions.to_string());
        let found = viewer.next_payload();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let outcomes = found.as_array().unwrap().iter().map(|row| (text(&row[0]), text(&row[1]))).collect();
        let status =
            self.device.wait_for("the attacker", |status| of(status, "attacker").is_some_and(|f| f.succeeded == 1));
        (outcomes, status)
    }

    fn questions(&self, core: u32, neighbour: i32) -> Value {
        let folder = self.device.folder.path();
        json!({
            "model": "/models/signs", "key": self.device.files.private_key, "config": self.device.config_path(),
            "socket": folder.join("status.sock"), "other_code": code(&self.device, "neighbour").join("app.py"),
            "core": core, "neighbour": neighbour, "interface": interface(neighbour), "abstract": self.abstract_name,
            "set_user_id": folder.join("root-python"), "outside": folder.join("greengrass/config/config.json"),
            "beside": folder.join("beside"), "program": env!("CARGO_BIN_EXE_margay"), "groups": groups(neighbour),
        })
    }
}

/// Where the core listens for a function, from the function's environment.
fn interface(pid: i32) -> Value {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
    let text = String::from_utf8(environment).unwrap();
    assert!(text.contains("SECRET=of the neighbour"), "the neighbour has what is looked for");
    let address = text.split('\0').find_map(|line| line.strip_prefix("AWS_LAMBDA_RUNTIME_API=")).unwrap();
    let (host, port) = address.split_once(':').unwrap();
    json!([host, port.parse::<u16>().unwrap()])
}

/// Files of control groups that would loosen a limit, at their places on the host.
fn groups(pid: i32) -> Vec<PathBuf> {
    let membership = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let of = |controller: &str, mount: &str, file: &str| {
        let line = membership
            .lines()
            .find(|line| line.split(':').nth(1).is_some_and(|names| names.split(',').any(|n| n == controller)))?;
        let path = line.splitn(3, ':').nth(2)?.trim_start_matches('/').to_owned();
        Some(Path::new("/sys/fs/cgroup").join(mount).join(path).join(file))
    };
    let files = [
        of("memory", "memory", "memory.limit_in_bytes"),
        of("pids", "pids", "pids.max"),
        of("", "", "memory.max"),
        of("", "", "cgroup.procs"),
    ];
    files.into_iter().flatten().chain([PathBuf::from("/sys/fs/cgroup/cgroup.procs")]).collect()
}

fn assert_nothing_gets_out(as_root: bool) {
    let mut arena = Arena::new(as_root);
    let program = Path::new(env!("CARGO_BIN_EXE_margay"));
    let before = program.metadata().unwrap();
    let (outcomes, status) = arena.run();
    let folder = arena.device.folder.path();
    let worker = &of(&status, "attacker").unwrap().workers[0];
    let landlock = worker.containment.finding(Aspect::Landlock).unwrap().detail().to_owned();
    println!("escape: as {} on this host; landlock: {landlock}", if as_root { "root" } else { "nobody" });
    let mut through = Vec::new();
    for (name, outcome) in &outcomes {
        // Landlock's scopes of signals and abstract sockets are as old as its interface 6, Linux 6.12.
        let excused = name == "others: an abstract socket of the host" && !landlock.contains("(interface");
        let refused = excused || is_refusal(name, outcome, as_root);
        println!("escape: {} {name:<58} {outcome}", if refused { "refused" } else { "THROUGH" });
        if !refused {
            through.push(format!("{name}: {outcome}"));
        }
    }
    println!("escape: {} attempts, {} went through", outcomes.len(), through.len());
    assert!(through.is_empty(), "{through:#?}");
    assert!(outcomes.len() >= 120, "{} attempts", outcomes.len());
    let after = program.metadata().unwrap();
    assert_eq!((before.mode(), before.size(), before.mtime_nsec()), (after.mode(), after.size(), after.mtime_nsec()));
    assert_eq!(fs::read_to_string(folder.join("beside")).unwrap(), "of the host");
    assert_eq!(fs::read_to_string(folder.join("closed/note")).unwrap(), "of the host");
    for entry in fs::read_dir(folder.join("open")).unwrap() {
        let entry = entry.unwrap();
        let mode = fs::symlink_metadata(entry.path()).unwrap().mode();
        assert!(entry.file_name() == "root-python" || mode & 0o6000 == 0, "{:?} is set-user-ID", entry.path());
    }
    assert!(of(&status, "neighbour").unwrap().workers[0].containment.holds(Aspect::Mount), "{status:?}");
}

#[test]
fn nothing_gets_out_of_a_functions_sandbox() {
    if has_python() {
        assert_nothing_gets_out(false);
    }
}

#[test]
fn nothing_gets_out_of_the_sandbox_of_a_function_that_may_be_root() {
    if has_python() {
        assert_nothing_gets_out(true);
    }
}

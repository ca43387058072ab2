//! A program in the host's root below a private layer: it reads what the host has, writes to nobody but itself, and does
//! not see what is hidden. That takes a core that runs as root; to others the launch says so.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use margay_sandbox::{Access, Bind, Calls, Content, HostTree, LaunchError, Plan, PlanParts, Program, Tree, launch};
use tempfile::TempDir;

use crate::passes::Promise;
use crate::support::{Answers, arguments, ask};

pub const PROMISES: &[Promise] = &[
    (
        "what_is_hidden_is_not_there_and_what_is_written_stays_inside",
        what_is_hidden_is_not_there_and_what_is_written_stays_inside,
    ),
    (
        "a_link_on_the_way_to_a_mount_point_leads_nowhere_on_the_host",
        a_link_on_the_way_to_a_mount_point_leads_nowhere_on_the_host,
    ),
    ("a_read_only_root_takes_nothing_but_in_its_own_folders", a_read_only_root_takes_nothing_but_in_its_own_folders),
];

/// A folder that is not in `/tmp`, which every sandbox has of its own.
fn folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("margay-tree-").tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
    fs::write(folder.path().join("shown"), "shown").unwrap();
    fs::create_dir(folder.path().join("secret")).unwrap();
    fs::write(folder.path().join("secret/key"), "key").unwrap();
    fs::write(folder.path().join("secret-file"), "key").unwrap();
    symlink("/etc", folder.path().join("elsewhere")).unwrap();
    folder
}

/// A probe in the host's tree, with the test's own program at `/lambda`.
fn parts(folder: &Path, questions: &[&str]) -> PlanParts {
    let own = std::env::current_exe().unwrap();
    let program = Path::new("/lambda").join(own.file_name().unwrap());
    let code = Bind { content: Content::Code, ..Bind::read_only(own.parent().unwrap(), "/lambda") };
    let hidden = vec![folder.join("secret"), folder.join("secret-file"), folder.join("absent")];
    PlanParts {
        name: "probe".to_owned(),
        program: Program::Path(program),
        arguments: arguments(questions),
        binds: vec![code],
        tree: Tree::Host(HostTree { hidden, writable_bytes: 2 << 20, read_only: false }),
        calls: Calls::Function,
        folder: PathBuf::from("/lambda"),
        ..PlanParts::default()
    }
}

/// What the probe found; nothing for an ordinary user, to whom the launch has to say why.
fn explored(parts: PlanParts) -> Option<Answers> {
    match launch(&Plan::new(parts.clone()).unwrap(), Vec::new()) {
        Err(LaunchError::NoTree { why, .. }) => {
            assert!(!nix::unistd::geteuid().is_root(), "{why}");
            None
        }
        _ => Some(ask(parts).0),
    }
}

fn what_is_hidden_is_not_there_and_what_is_written_stays_inside() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let _listener = UnixListener::bind(folder.path().join("socket")).unwrap();
    fs::set_permissions(folder.path().join("socket"), Permissions::from_mode(0o777)).unwrap();
    let questions = [
        format!("read:{}", at("shown")),
        format!("read:{}", at("secret/key")),
        format!("list:{}", at("secret")),
        format!("read:{}", at("secret-file")),
        format!("create:{}", at("new")),
        format!("write:{}", at("shown")),
        format!("connect:{}", at("socket")),
        "write:/proc/sys/kernel/hostname".to_owned(),
        format!("fill:{}", at("large")),
        "list:/run".to_owned(),
    ];
    let questions: Vec<&str> = questions.iter().map(String::as_str).collect();
    let Some(answers) = explored(parts(folder.path(), &questions)) else { return };
    let said: Vec<&str> = questions.iter().map(|question| answers.to(question)).collect();
    assert_eq!(said[..4], ["shown", "ENOENT", "", "EACCES"], "{answers:?}");
    assert_eq!(said[4], "done");
    // The file belongs to the core's user; where the worker has one of its own, it may not write it at all.
    assert!(["done", "EACCES"].contains(&said[5]), "{answers:?}");
    assert_eq!(said[6], "ECONNREFUSED", "a socket of the host is none inside: {answers:?}");
    assert!(["EACCES", "EROFS", "ENOENT"].contains(&said[7]), "{answers:?}");
    assert_eq!(said[8], "ENOSPC", "{answers:?}");
    assert_eq!(said[9], "");
    assert!(!folder.path().join("new").exists() && !folder.path().join("large").exists());
    assert_eq!(fs::read_to_string(folder.path().join("shown")).unwrap(), "shown");
}

fn a_read_only_root_takes_nothing_but_in_its_own_folders() {
    let folder = folder();
    let created = format!("create:{}", folder.path().join("new").display());
    let questions =
        [created.as_str(), "create:/etc/margay-new", "create:/tmp/new", "create:/run/new", "create:/dev/shm/new"];
    let mut parts = parts(folder.path(), &questions);
    if let Tree::Host(tree) = &mut parts.tree {
        tree.read_only = true;
    }
    let Some(answers) = explored(parts) else { return };
    let said = questions.map(|question| answers.to(question));
    assert_eq!(said[1..], ["EROFS", "done", "done", "done"], "{answers:?}");
    // The folder of the test lies in the host's /tmp, of which nothing is there.
    assert!(["EROFS", "ENOENT"].contains(&said[0]), "{answers:?}");
}

fn a_link_on_the_way_to_a_mount_point_leads_nowhere_on_the_host() {
    let folder = folder();
    fs::create_dir(folder.path().join("volume")).unwrap();
    fs::write(folder.path().join("volume/note"), "note").unwrap();
    let destination = folder.path().join("elsewhere/margay-volume");
    let bind = Bind { access: Access::ReadOnly, ..Bind::read_only(folder.path().join("volume"), &destination) };
    let question = format!("read:{}/note", destination.display());
    let mut parts = parts(folder.path(), &[&question, "read:/etc/margay-volume/note"]);
    parts.binds.push(bind);
    let Some(answers) = explored(parts) else { return };
    assert_eq!((answers.to(&question), answers.to("read:/etc/margay-volume/note")), ("note", "note"));
    assert!(!Path::new("/etc/margay-volume").exists(), "the mount point was made on the host");
}

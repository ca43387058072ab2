//! The file tree: what is there, what is not, and what cannot be changed.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};

use margay_sandbox::{
    Access, Aspect, Bind, Confinement, Device, GroupRule, LaunchError, Plan, PlanParts, Program, launch,
};
use nix::unistd::geteuid;

use crate::passes::{Promise, skipped};
use crate::support::{Fixture, MODEL, Probe, ask};

pub const PROMISES: &[Promise] = &[
    ("a_model_can_be_read_and_writing_it_fails", a_model_can_be_read_and_writing_it_fails),
    ("keys_and_the_cores_files_are_out_of_sight", keys_and_the_cores_files_are_out_of_sight),
    ("the_tree_holds_what_the_plan_names_and_nothing_else", the_tree_holds_what_the_plan_names_and_nothing_else),
    ("only_what_is_bound_writable_can_be_written", only_what_is_bound_writable_can_be_written),
    ("data_cannot_be_executed", data_cannot_be_executed),
    ("the_own_tmp_is_small", the_own_tmp_is_small),
    ("a_group_opens_what_it_owns", a_group_opens_what_it_owns),
    ("a_missing_source_is_named_and_leaves_nothing_behind", a_missing_source_is_named_and_leaves_nothing_behind),
    ("a_file_is_no_device", a_file_is_no_device),
    ("a_program_of_the_host_finds_its_libraries", a_program_of_the_host_finds_its_libraries),
];

fn a_model_can_be_read_and_writing_it_fails() {
    let fixture = Fixture::new();
    let read = format!("resource:{MODEL}/model.onnx");
    let write = format!("write-resource:{MODEL}/model.onnx");
    let create = format!("create-resource:{MODEL}/new");
    let (answers, confinement) = ask(fixture.parts(&[&read, &write, &create]));
    assert_eq!(answers.to(&read), "the model");
    let refusal = if confinement.has_namespaces() { "EROFS" } else { "EACCES" };
    assert_eq!(answers.to(&write), refusal);
    assert_eq!(answers.to(&create), refusal);
    assert_eq!(fs::read(fixture.path().join("model/model.onnx")).unwrap(), b"the model");
}

fn keys_and_the_cores_files_are_out_of_sight() {
    let fixture = Fixture::new();
    let key = format!("read:{}/private.key", fixture.path().display());
    let beside = format!("resource:{MODEL}/../private.key");
    let (answers, confinement) = ask(fixture.parts(&[&key, &beside, "read:/etc/passwd"]));
    let refusal = if confinement.has_namespaces() { "ENOENT" } else { "EACCES" };
    assert_eq!(answers.to(&key), refusal);
    assert_eq!(answers.to(&beside), refusal);
    assert_eq!(answers.to("read:/etc/passwd"), refusal);
}

fn the_tree_holds_what_the_plan_names_and_nothing_else() {
    let fixture = Fixture::new();
    let (answers, confinement) = ask(fixture.parts(&["list:/", "list:/dev", "list:/proc", "create:/new", "list:/etc"]));
    if !confinement.has_namespaces() {
        assert_eq!(answers.to("list:/"), "EACCES");
        return;
    }
    for name in answers.to("list:/").split(' ') {
        let known = ["dev", "etc", "greengrass-machine-learning", "lib", "lib64", "proc", "program", "tmp", "usr"];
        assert!(known.contains(&name), "{name} in {}", answers.to("list:/"));
    }
    assert_eq!(answers.to("list:/dev"), "full null random urandom zero");
    assert_eq!(answers.to("create:/new"), "EROFS");
    // PID 1 is hidden, except from a worker whose group is root's (proc(5), hidepid and gid).
    for process in answers.to("list:/proc").split(' ').filter(|name| name.parse::<u32>().is_ok()) {
        assert!(["1", "2"].contains(&process), "another's process: {process}");
    }
    assert!(["ENOENT", "ld.so.cache"].contains(&answers.to("list:/etc")), "{}", answers.to("list:/etc"));
}

fn only_what_is_bound_writable_can_be_written() {
    let fixture = Fixture::new();
    let shared = fixture.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, Permissions::from_mode(0o777)).unwrap();
    let mut parts = fixture.parts(&["create-resource:/shared/new", "create:/tmp/new"]);
    parts.binds.push(Bind { access: Access::ReadWrite, ..Bind::read_only(&shared, "/shared") });
    let (answers, confinement) = ask(parts);
    assert_eq!(answers.to("create-resource:/shared/new"), "done");
    assert_eq!(fs::read(shared.join("new")).unwrap(), b"changed");
    let own_tmp = if confinement.has_namespaces() { "done" } else { "EACCES" };
    assert_eq!(answers.to("create:/tmp/new"), own_tmp);
}

fn data_cannot_be_executed() {
    let fixture = Fixture::new();
    let program = fixture.path().join("model/program");
    fs::copy("/bin/true", &program).unwrap();
    let question = format!("execute:{MODEL}/program");
    let (answers, confinement) = ask(fixture.parts(&[&question]));
    let refusal = if confinement.has_namespaces() { "EACCES" } else { "ENOENT" };
    assert_eq!(answers.to(&question), refusal);
}

fn the_own_tmp_is_small() {
    let fixture = Fixture::new();
    let (answers, confinement) =
        ask(PlanParts { temporary_bytes: 1 << 20, ..fixture.parts(&["fill:/tmp/file", "create:/tmp/small"]) });
    if confinement.has_namespaces() {
        assert_eq!(answers.to("fill:/tmp/file"), "ENOSPC");
    }
}

fn a_group_opens_what_it_owns() {
    if !geteuid().is_root() {
        assert!(skipped("group owner", "run as root"));
        return;
    }
    let fixture = Fixture::new();
    let guarded = fixture.path().join("guarded");
    fs::write(&guarded, "for the group").unwrap();
    if chown(&guarded, Some(0), Some(44)).is_err() {
        assert!(skipped("group owner", "let root give files away"));
        return;
    }
    fs::set_permissions(&guarded, Permissions::from_mode(0o640)).unwrap();
    let question = "resource:/guarded";
    let read = |group: GroupRule| {
        let bind = Bind { group, ..Bind::read_only(&guarded, "/guarded") };
        ask(PlanParts { binds: vec![bind], ..fixture.parts(&[question, "field:Groups"]) })
    };
    let (with_group, confinement) = read(GroupRule::OwnerOfSource);
    if confinement != Confinement::Privileged {
        assert!(skipped("group owner", "let root mount"));
        return;
    }
    assert_eq!(with_group.to(question), "for the group");
    assert_eq!(with_group.to("field:Groups"), "44");
    assert_eq!(read(GroupRule::None).0.to(question), "EACCES");
}

fn a_missing_source_is_named_and_leaves_nothing_behind() {
    let fixture = Fixture::new();
    let parts = PlanParts { binds: vec![Bind::read_only("/nowhere/model", MODEL)], ..fixture.parts(&[]) };
    let launched = launch(&Plan::new(parts).unwrap(), Vec::new());
    match launched {
        Ok(sandboxed) => assert_eq!(sandboxed.confinement(), Confinement::Process),
        Err(error) => {
            assert!(matches!(error, LaunchError::SetUp { .. }), "{error:?}");
            assert!(error.to_string().contains("open /nowhere/model"), "{error}");
        }
    }
}

fn a_file_is_no_device() {
    let fixture = Fixture::new();
    let folder = Device { path: "/dev/fd".into(), access: Access::ReadOnly, group: GroupRule::None };
    let launched = launch(&Plan::new(PlanParts { devices: vec![folder], ..fixture.parts(&[]) }).unwrap(), Vec::new());
    match launched {
        Ok(sandboxed) => assert!(!sandboxed.containment().holds(Aspect::Mount)),
        Err(error) => assert!(error.to_string().contains("/dev/fd"), "{error}"),
    }
}

fn a_program_of_the_host_finds_its_libraries() {
    let fixture = Fixture::new();
    let parts = PlanParts {
        program: Program::Path("/bin/cat".into()),
        arguments: vec![format!("{MODEL}/model.onnx")],
        ..fixture.parts(&[])
    };
    let mut probe = Probe::start(parts, Vec::new());
    if probe.sandboxed.confinement().has_namespaces() {
        assert_eq!(probe.line(), "the model");
        assert!(probe.finish().1.is_success());
    }
}

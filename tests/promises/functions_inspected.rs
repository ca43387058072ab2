//! Looking inside: `margay exec` runs a command in a function's sandbox, and `margay functions` counts the memory of
//! everything that a function has started.

use std::process::Output;

use serde_json::json;

use crate::support::device::Device;
use crate::support::functions::{add, arn, is_root, of};
use crate::support::program::{self, assert_code};

/// A process that has little, and a child that has much.
const FAMILY: &str = "#!/bin/sh
head -c 40000000 /dev/zero > /tmp/much
sleep 1000 &
exec sleep 1000
";

fn exec(device: &Device, arguments: &[&str]) -> Output {
    let config = device.config_path();
    let mut all = vec!["exec", "--config", config.to_str().unwrap()];
    all.extend(arguments);
    program::run(&all)
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_command_runs_in_a_functions_sandbox_as_the_function_or_as_root() {
    if !is_root() {
        return;
    }
    let mut device = Device::new();
    let variables = json!({ "ResourceAccessPolicies": [{ "ResourceId": "model", "Permission": "ro" }],
        "Variables": { "MINE": "yes" } });
    add(&mut device, "family", FAMILY, json!({ "Pinned": true, "MemorySize": 131_072, "Environment": variables }));
    add(&mut device, "idle", "#!/bin/sh\nexit 0\n", json!({}));
    device.write();
    let _core = device.start();
    let status = device.wait_for("what it wrote", |status| {
        of(status, "family").is_some_and(|f| f.workers.iter().any(|worker| worker.memory > Some(40_000_000)))
    });
    let worker = &of(&status, "family").unwrap().workers[0];
    assert!(worker.memory_peak.is_none_or(|peak| Some(peak) >= worker.memory), "{worker:?}");
    let inside = "id -u; pwd; echo $MINE; ls /models/signs/model.toml; ls -d /proc/[0-9]*; touch /models/signs/x || echo refused";
    let output = exec(&device, &["family", "--", "/bin/sh", "-c", inside]);
    assert_code(&output, 0);
    let text = said(&output);
    let uid = worker.uid.unwrap().to_string();
    assert!(text.starts_with(&format!("{uid}\n/lambda\nyes\n/models/signs/model.toml\n")), "{text}");
    assert!(!text.contains(&format!("/proc/{}", worker.pid)) && text.contains("refused"), "{text}");
    let output = exec(&device, &["family", "--", "grep", "-E", "^(CapEff|NoNewPrivs|Seccomp):", "/proc/self/status"]);
    assert_eq!(said(&output).split_whitespace().collect::<Vec<_>>()[1..4], ["0000000000000000", "NoNewPrivs:", "1"]);
    let output = exec(&device, &[&arn("family"), "--root", "--", "id", "-u"]);
    assert_eq!(said(&output), "0\n");
    let output = exec(&device, &["family", "--pid", &worker.pid.to_string(), "--", "/bin/sh", "-c", "exit 7"]);
    assert_code(&output, 7);
}

#[test]
fn a_function_that_does_not_run_or_is_not_there_is_named() {
    if !is_root() {
        return;
    }
    let mut device = Device::new();
    add(&mut device, "idle", "#!/bin/sh\nexit 0\n", json!({}));
    device.write();
    let _core = device.start();
    device.wait_for("the function", |status| of(status, "idle").is_some());
    let refused = |arguments: &[&str]| {
        let output = exec(&device, arguments);
        assert_code(&output, 1);
        String::from_utf8(output.stderr).unwrap()
    };
    let why = refused(&["idle", "--", "true"]);
    assert!(why.contains("function:idle:1 is not running (ready)"), "{why}");
    let why = refused(&["absent", "--", "true"]);
    assert!(why.contains("has no function absent; it has arn:aws:lambda"), "{why}");
    assert_code(&exec(&device, &["idle"]), 2);
}

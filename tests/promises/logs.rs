//! The core's own log is where V1's operators and their scripts look for it, in V1's line format (A-43, contract E1 to E3).

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::support::device::Device;
use crate::support::program::{self, assert_code};

/// `[2026-11-29T11:03:00.212Z][INFO]-engine.rs:74,text`.
fn is_v1s(line: &str) -> bool {
    let Some((time, rest)) = line.strip_prefix('[').and_then(|line| line.split_once("][")) else { return false };
    let Some((level, rest)) = rest.split_once("]-") else { return false };
    let source = rest.split(',').next().unwrap_or_default();
    let number = source.rsplit_once(".rs:").is_some_and(|(_, line)| line.parse::<u32>().is_ok());
    time.len() == 24 && time.ends_with('Z') && ["INFO", "WARN", "ERROR"].contains(&level) && number
}

#[test]
fn the_core_logs_to_v1s_runtime_log_in_v1s_line_format() {
    let device = Device::new();
    let mut core = device.start_with(&[("RUST_LOG", "off")]);
    device.wait_for("the first deployment", |status| {
        status.deployment.as_ref().is_some_and(|report| report.status.is_terminal())
    });
    let path = device.root().join("ggc/var/log/system/runtime.log");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("the deployment succeeded id="), "{text}");
    assert!(text.lines().all(is_v1s), "{text}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "as in V1, for the core's user only");
    assert_eq!(device.log(), "", "standard error has a level of its own");
    let config = device.config_path();
    let shown = program::run(&["logs", "--system", "--config", config.to_str().unwrap()]);
    assert_code(&shown, 0);
    assert_eq!(String::from_utf8(shown.stdout).unwrap(), text);
    assert_eq!(core.terminate(), Some(0));
    assert!(fs::read_to_string(&path).unwrap().ends_with(",stopping\n"));
}

#[test]
fn what_keeps_a_core_from_running_is_in_v1s_crash_log() {
    let mut device = Device::new();
    device.spooler = Some(json!({ "GG_CONFIG_MAX_SIZE_BYTES": 1000 }));
    device.write();
    let config = device.config_path();
    assert_code(&program::run(&["run", "--config", config.to_str().unwrap()]), 3);
    let text = fs::read_to_string(device.root().join("ggc/var/log/crash.log")).unwrap();
    assert!(text.contains("][FATAL]-margay,"), "{text}");
    assert!(text.contains("Spool size should be at least 262144 bytes."), "{text}");
}

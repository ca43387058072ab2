//! A device whose clock is decades off still gets its credentials and its model, and stamps predictions rightly.

use std::process::Stdio;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::support::device::{Device, TOPIC};
use crate::support::viewer::Viewer;
use crate::support::{has_tool, program};

/// Runs the real program under `faketime`; the cloud keeps the true time.
fn predictions_are_stamped_with_the_true_time(pretended: &str) {
    if !has_tool("faketime", "faketime") {
        return;
    }
    let device = Device::new();
    let mut viewer = Viewer::connect(&device, "clock-viewer", TOPIC);
    let started = OffsetDateTime::now_utc();
    let log = std::fs::File::create(device.log_path()).unwrap();
    let mut core = std::process::Command::new("faketime")
        .args(["-f", pretended, env!("CARGO_BIN_EXE_margay"), "run", "--config"])
        .arg(device.config_path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();

    let payload = viewer.next_payload();
    let status = device.wait_for_predictions();
    program::signal(status.pid, rustix::process::Signal::TERM);
    core.wait().unwrap();

    let captured = OffsetDateTime::parse(payload["captured_at"].as_str().unwrap(), &Rfc3339).unwrap();
    assert_eq!(payload["clock"], "server");
    let slack = time::Duration::minutes(1);
    assert!(captured > started - slack && captured < OffsetDateTime::now_utc() + slack, "{captured}");
    let correction = time::Duration::milliseconds(status.clock.correction_ms);
    assert!(correction.abs() > time::Duration::days(3000), "the clock was really off: {correction}");
}

#[test]
fn in_1970_credentials_model_and_predictions_come_as_ever() {
    predictions_are_stamped_with_the_true_time("@1970-01-02 00:00:00");
}

#[test]
fn ten_years_ahead_credentials_model_and_predictions_come_as_ever() {
    predictions_are_stamped_with_the_true_time("+3650d");
}

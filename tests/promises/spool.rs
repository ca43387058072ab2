//! With `FileSystem` what was accepted outlasts the core, and `margay spool` shows, sends and gives up what waits.

use serde_json::{Value, json};

use crate::support::device::{Device, TOPIC};
use crate::support::program;

fn device() -> Device {
    let mut device = Device::new();
    device.spooler = Some(json!({ "GG_CONFIG_STORAGE_TYPE": "FileSystem", "MARGAY_WHEN_FULL": "DropRepeats" }));
    device.write();
    device
}

fn spool(device: &Device, action: &str) -> std::process::Output {
    program::run(&["spool", action, "--json", "--config", device.config_path().to_str().unwrap()])
}

fn answer(device: &Device, action: &str) -> Value {
    let output = spool(device, action);
    program::assert_code(&output, 0);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn predictions_that_waited_outlast_a_killed_core_and_are_delivered_later() {
    let device = device();
    let mut core = device.start();
    device.wait_for_predictions();
    device.runtime.block_on(device.cloud.stop_broker());
    let status = device
        .wait_for("predictions on the disk", |status| status.link.queued >= 40 && status.link.spool.disk_bytes > 0);
    assert!(status.link.spool.folder.is_some() && status.link.spool.trouble.is_none(), "{:?}", status.link.spool);
    let asked = answer(&device, "show");
    assert!(asked["queued"].as_u64().unwrap() >= 40, "{asked}");
    assert_eq!(asked["topics"][0]["topic"], TOPIC);
    core.kill();

    let found = answer(&device, "show");
    // What waited for its commit when the core was asked counts as accepted nowhere.
    let accepted = asked["queued"].as_u64().unwrap() - asked["state"]["in_memory"].as_u64().unwrap();
    assert!(found["queued"].as_u64().unwrap() >= accepted, "{found}, but earlier {asked}");
    assert!(found["topics"][0]["oldest_ms"].as_i64().unwrap() > 1_700_000_000_000, "{found}");
    let unsent = program::run(&[
        "spool",
        "drain",
        "--seconds",
        "1",
        "--json",
        "--config",
        device.config_path().to_str().unwrap(),
    ]);
    program::assert_code(&unsent, 9);

    device.runtime.block_on(device.cloud.start_broker()).unwrap();
    assert_eq!(answer(&device, "drain")["left"], 0);
    assert_eq!(answer(&device, "show")["queued"], 0);

    // The books go on where they were.
    let _core = device.start();
    let status = device.wait_for("the link", |status| status.link.connected && status.link.delivered > 0);
    let link = status.link;
    assert!(link.accepted > found["queued"].as_u64().unwrap(), "{link:?}");
    let dropped: u64 =
        link.dropped.iter().filter(|(reason, _)| *reason != "not_accepted").map(|(_, count)| count).sum();
    assert_eq!(link.accepted, link.delivered + link.queued + link.in_flight + dropped, "{link:?}");
}

#[test]
fn what_waits_can_be_given_up_with_the_core_running_and_without() {
    let device = device();
    let mut core = device.start();
    device.wait_for_predictions();
    device.runtime.block_on(device.cloud.stop_broker());
    device.wait_for("predictions that wait", |status| status.link.queued >= 20);
    assert!(answer(&device, "clear")["cleared"].as_u64().unwrap() >= 20);
    device.wait_for("word of it", |status| status.link.dropped["cleared"] >= 20);
    device.wait_for("more that wait", |status| status.link.queued >= 5);
    core.kill();
    assert!(answer(&device, "clear")["cleared"].as_u64().unwrap() >= 5);
    assert_eq!(answer(&device, "show")["queued"], 0);
}

#[test]
fn without_a_spool_on_disk_there_is_nothing_to_show() {
    let device = Device::new();
    assert_eq!(answer(&device, "show")["queued"], 0);
    assert_eq!(answer(&device, "drain")["left"], 0);
}

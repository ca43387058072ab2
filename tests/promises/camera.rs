//! A camera of the kernel, from its device node through its sandbox to predictions. `tests/vm/camera.sh` runs this in a
//! virtual machine, where a camera can be pulled out.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use margay::app::status::CoreStatus;
use margay::classifier::{CaptureState, ClassifierStatus, Condition, Role};

use crate::support::device::{Device, worker_pid};
use crate::support::skipped_unless_set;

const DRIVER: &str = "/sys/bus/platform/drivers/vivid";

/// The group that owns cameras on Debian.
const VIDEO: u32 = 44;

/// What udev does with a camera's node.
fn hand_to_group(node: &Path) {
    std::os::unix::fs::chown(node, None, Some(VIDEO)).unwrap();
    fs::set_permissions(node, fs::Permissions::from_mode(0o660)).unwrap();
}

fn classifier(status: &CoreStatus) -> Option<&ClassifierStatus> {
    status.cameras[0].classifier.as_ref()
}

#[test]
fn a_camera_is_classified_in_its_sandbox_and_again_after_it_was_pulled_out() {
    let Some(node) = skipped_unless_set("MARGAY_TEST_VIVID", "tests/vm/camera.sh") else { return };
    hand_to_group(&node);
    let mut device = Device::new();
    device.camera.clone_from(&node);
    device.parameters["FramesPerSecond"] = "5".into();
    device.parameters["HealthSilentSeconds"] = "2".into();
    device.write();
    let _core = device.start();
    let status = device.wait_for_predictions();
    sees_only_its_camera(worker_pid(&status, Role::Capture), &node);

    fs::write(Path::new(DRIVER).join("unbind"), "vivid.0").unwrap();
    let status = device.wait_for("the camera's loss to be noticed", |status| {
        classifier(status).is_some_and(|camera| camera.capture == CaptureState::Restarting)
    });
    let reason = classifier(&status).unwrap().restarts.capture_reason.clone().unwrap();
    assert!(reason.contains("unplugged") || reason.contains("/dev/video"), "{reason}");

    device.wait_for("its silence to be noticed", |status| {
        classifier(status).is_some_and(|camera| camera.health.conditions == [Condition::Silent])
    });

    fs::write(Path::new(DRIVER).join("bind"), "vivid.0").unwrap();
    hand_to_group(&node);
    let before = classifier(&status).unwrap().ledger.inferred();
    let status = device.wait_for("predictions of the camera that came back", |status| {
        classifier(status).is_some_and(|camera| camera.ledger.inferred() > before + 2)
    });
    assert!(classifier(&status).unwrap().ledger.adds_up(), "{status:?}");
    device.wait_for("the camera to be well again", |status| {
        classifier(status).is_some_and(|camera| camera.health.conditions.is_empty())
    });
}

/// The worker has the camera's node, its group, and no other node of the host.
fn sees_only_its_camera(pid: i32, node: &Path) {
    let devices = fs::read_dir(format!("/proc/{pid}/root/dev")).unwrap();
    let devices: BTreeSet<String> = devices.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let name = node.file_name().unwrap().to_str().unwrap();
    let expected = ["full", name, "null", "random", "urandom", "zero"].map(str::to_owned);
    assert_eq!(devices, BTreeSet::from(expected));
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let groups = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap();
    let group = fs::metadata(node).unwrap().gid().to_string();
    assert!(groups.split_whitespace().any(|owned| owned == group), "{groups}");
}

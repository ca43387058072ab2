//! An outage of the broker loses nothing that was accepted and fits the spool, and the core says what is going on.

use crate::support::device::{Device, TOPIC};
use crate::support::program;
use crate::support::viewer::Viewer;

#[test]
fn every_accepted_prediction_arrives_after_the_broker_was_away_and_lost_its_sessions() {
    let device = Device::new();
    let mut core = device.start();
    device.wait_for_predictions();

    let before = device.status().unwrap().link;
    device.runtime.block_on(device.cloud.stop_broker());
    device
        .wait_for("predictions that wait for the broker", |status| !status.link.connected && status.link.queued >= 40);
    let trouble = device.status().unwrap().link.trouble.expect("the core says what is wrong");
    assert!(trouble.contains("localhost"), "{trouble}");
    device.runtime.block_on(device.cloud.start_broker()).unwrap();
    // The new broker knows nobody: who was subscribed must come again, as after a power cut.
    let mut viewer = Viewer::connect(&device, "outage-viewer", TOPIC);
    device.wait_for("the backlog to be delivered", |status| status.link.delivered > before.accepted + 40);

    assert_eq!(core.terminate(), Some(0));
    let log = device.log();
    assert!(!log.contains("were not delivered before the end"), "{log}");
    assert!(viewer.next_payload()["frame"].is_u64());
}

#[test]
fn the_books_of_the_link_balance_and_a_full_spool_drops_the_oldest_and_counts_them() {
    let mut device = Device::new();
    device.spooler = Some(serde_json::json!({ "GG_CONFIG_MAX_SIZE_BYTES": "262144" }));
    device.parameters["FramesPerSecond"] = "200".into();
    device.write();
    let _core = device.start();
    device.wait_for_predictions();
    device.runtime.block_on(device.cloud.stop_broker());
    let status = device.wait_for("a full spool", |status| status.link.dropped["spool_full"] > 20);
    let link = &status.link;
    let accounted = link.delivered + link.queued + link.in_flight + link.dropped["spool_full"];
    assert_eq!(link.accepted, accounted + link.dropped["topic_refused"], "{link:?}");

    device.runtime.block_on(device.cloud.start_broker()).unwrap();
    device.wait_for("an empty spool", |status| status.link.connected && status.link.queued == 0);
}

#[test]
fn a_core_without_its_cloud_classifies_with_the_model_it_has() {
    let device = Device::new();
    let mut core = device.start();
    device.wait_for("the deployment to be recorded", |status| {
        status.link.delivered > 0 && status.cameras[0].deployment.state == margay::deployment::State::Deployed
    });
    core.kill();

    device.runtime.block_on(device.cloud.stop_broker());
    device.cloud.delete_object(crate::support::device::BUCKET, crate::support::device::KEY);
    let _core = device.start();
    let status = device.wait_for("classification without the cloud", |status| {
        status.cameras[0].classifier.as_ref().is_some_and(|classifier| classifier.ledger.inferred() > 20)
            && status.cameras[0].deployment.failure.is_some()
    });
    assert!(status.cameras[0].deployment.failure.as_ref().unwrap().contains("NoSuchKey"), "{status:?}");
}

#[test]
fn a_topic_that_no_subscription_selects_does_not_leave_the_device() {
    let mut device = Device::new();
    device.subject = "margay/core-1/other/#".to_owned();
    device.write();
    let _core = device.start();
    let status = device.wait_for("predictions without a route", |status| status.router.no_route > 10);
    assert_eq!(status.link.accepted, 0);
    program::assert_code(&program::run(&["check", "--config", device.config_path().to_str().unwrap()]), 0);
}

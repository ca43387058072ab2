//! What the core tells the cloud of itself, and as whom: its presence, and a certificate that was renewed under it.

use serde_json::json;

use crate::support::device::{Device, THING};
use crate::support::schema::PayloadSchema;
use crate::support::viewer::Viewer;

#[test]
fn whoever_watches_the_status_topic_sees_the_core_come_be_lost_and_leave() {
    for version in ["3.1.1", "5"] {
        let mut device = Device::new();
        device.config["margay"]["mqtt"]["status"] = json!("published");
        device.config["margay"]["mqtt"]["version"] = json!(version);
        device.write();
        let mut viewer = Viewer::connect(&device, "watcher", &format!("margay/{THING}/status"));
        let mut core = device.start();
        let schema = PayloadSchema::status();
        let mut expect = |state: &str, reason: &str| {
            let document = viewer.next_payload();
            schema.assert_valid(&document);
            assert_eq!((&document["state"], &document["reason"]), (&json!(state), &json!(reason)), "{document}");
        };
        expect("online", "connected");
        device.wait_for_predictions();
        assert_eq!(core.terminate(), Some(0));
        expect("offline", "stopped");

        let mut core = device.start();
        expect("online", "connected");
        core.kill();
        expect("offline", "connection_lost");
    }
}

#[test]
fn a_renewed_certificate_is_used_at_the_next_connection_without_a_restart() {
    let device = Device::new();
    let _core = device.start();
    device.wait_for_predictions();
    let new = device.cloud.provision_thing(THING, &device.folder.path().join("renewed")).unwrap();
    std::fs::rename(&new.private_key, &device.files.private_key).unwrap();
    std::fs::rename(&new.certificate, &device.files.certificate).unwrap();
    device.cloud.revoke(&device.files.certificate_id);
    // The files are looked at every two seconds; until then a connection with the old certificate is turned away.
    device.cloud.disconnect_clients_of(THING);
    let before = device.status().unwrap().link.delivered;
    let status = device.wait_for("a connection with the new certificate", |status| {
        status.link.connected && status.link.connections > 1
    });
    assert_eq!(status.link.dropped.values().sum::<u64>(), 0, "{:?}", status.link);
    device.wait_for("predictions on it", |status| status.link.delivered > before + 10);
}

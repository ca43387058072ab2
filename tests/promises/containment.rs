//! What holds a worker is seen from inside it and from outside it.

use std::fs;

use margay::classifier::Role;
use margay_sandbox::Aspect;

use crate::support::device::{Device, worker_pid};
use crate::support::program;

/// A field of /proc/<pid>/status.
fn proc_status(pid: i32, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("{field}:"))).unwrap();
    line.split_once(':').unwrap().1.trim().to_owned()
}

#[test]
fn every_worker_runs_without_a_capability_and_with_only_its_own_descriptors() {
    let device = Device::new();
    let _core = device.start();
    let status = device.wait_for_predictions();
    for role in [Role::Capture, Role::Inference] {
        let pid = worker_pid(&status, role);
        for set in ["CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"] {
            assert_eq!(proc_status(pid, set), "0000000000000000", "{role:?} {set}");
        }
        assert_eq!(proc_status(pid, "NoNewPrivs"), "1");
        let worker = status.cameras[0].classifier.as_ref().unwrap().workers.iter().find(|w| w.role == role).unwrap();
        assert!(worker.containment.holds(Aspect::Descriptors), "{}", worker.containment);
    }
}

#[test]
fn the_status_table_says_of_each_aspect_whether_it_holds_and_why_not() {
    let device = Device::new();
    let _core = device.start();
    let status = device.wait_for_predictions();
    for worker in &status.cameras[0].classifier.as_ref().unwrap().workers {
        assert_eq!(worker.containment.rows().len(), 13);
        for (aspect, reason) in worker.containment.absent() {
            assert!(!reason.is_empty(), "{aspect} does not hold and nobody knows why");
        }
    }
    let config = device.config_path();
    let output = program::run(&["status", "--containment", "--config", config.to_str().unwrap()]);
    program::assert_code(&output, 0);
    assert!(String::from_utf8(output.stdout).unwrap().contains("no_new_privs"));
}

#[test]
fn a_worker_over_its_memory_limit_is_ended_alone_and_the_core_says_why() {
    let mut device = Device::new();
    let folder = device.folder.path().join("pictures");
    fs::create_dir(&folder).unwrap();
    for number in 1..8 {
        fs::copy("models/signs/frames/frame-000.jpg", folder.join(format!("{number}.jpg"))).unwrap();
    }
    // Decoded, it needs 67 MB: more than the whole worker may have.
    let (width, height) = (5000, 4500);
    let black = vec![0; usize::from(width) * usize::from(height) * 3];
    let encoder = jpeg_encoder::Encoder::new_file(folder.join("9.jpg"), 90).unwrap();
    encoder.encode(&black, width, height, jpeg_encoder::ColorType::Rgb).unwrap();
    device.camera = folder;
    device.parameters["MemoryLimitKB"] = "40960".into();
    device.write();
    let _core = device.start();
    let status = device.wait_for("the limit to be met and predictions after it", |status| {
        status.cameras[0].classifier.as_ref().is_some_and(|classifier| {
            let refused = classifier.ledger.drops().any(|(reason, count)| reason.name() == "undecodable" && count > 1);
            (classifier.restarts.inference > 1 || refused) && classifier.ledger.inferred() > 10
        })
    });
    let classifier = status.cameras[0].classifier.as_ref().unwrap();
    assert_eq!(classifier.restarts.capture, 0, "only the worker over its limit is ended");
    assert!(classifier.ledger.adds_up() && status.link.connected, "{status:?}");
    let Some(reason) = classifier.restarts.inference_reason.clone() else {
        // Without a control group the allocation is refused, and a decoder that takes the refusal drops the frame.
        return;
    };
    assert!(reason.contains("memory") || reason.contains("SIGABRT"), "{reason}");
}

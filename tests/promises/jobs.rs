//! A job of AWS IoT Jobs brings a core a new group: confirmed it succeeded, rolled back it failed, refused it was
//! rejected. The real program against the local cloud.

use margay::app::status::CoreStatus;
use margay::deployment::State;
use margay_localcloud::{Execution, JobStatus};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::device::{BUCKET, Device, THING};
use crate::support::program;

/// A device that takes part in Jobs, and is satisfied with a new group soon.
fn device() -> Device {
    let mut device = Device::new();
    device.config["margay"]["jobs"] = json!({ "enabled": true });
    device.config["margay"]["deployments"] = json!({ "healthWindowSeconds": 1 });
    device.write();
    device
}

/// Stores `group` in S3 and creates a job that deploys it.
fn roll_out(device: &Device, job: &str, group: &Value) {
    let text = group.to_string();
    let digest: String = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
    let key = format!("fleet/{job}.json");
    device.cloud.put_object(BUCKET, &key, text);
    let document = json!({ "margay": { "operation": "deploy", "group": {
        "s3Uri": format!("s3://{BUCKET}/{key}"), "sha256": digest } } });
    device.cloud.create_job(job, &document, &[THING]);
}

fn end(device: &Device, job: &str) -> Execution {
    device.wait_for("the end of the job", |_| {
        device.cloud.job_execution(THING, job).is_some_and(|execution| execution.status.is_terminal())
    });
    device.cloud.job_execution(THING, job).unwrap()
}

#[test]
fn a_job_deploys_a_group_and_tells_what_became_of_it() {
    let mut device = device();
    let _core = device.start();
    device.wait_for_predictions();

    device.parameters["CameraName"] = json!("gate");
    roll_out(&device, "second-camera-name", &device.group());
    let done = end(&device, "second-camera-name");
    assert_eq!(done.status, JobStatus::Succeeded, "{done:?}");
    assert_eq!(
        (done.details["deployment"].as_str(), done.details["packages"].as_str()),
        ("second-camera-name", "road-signs 1.0.0")
    );
    let status = device.wait_for("the new group", |status| status.cameras[0].topic.contains("/gate/"));
    assert_eq!(status.jobs.unwrap().taken_on, 1);

    // A package that is none: what runs goes on, and the job says why.
    device.cloud.put_object(BUCKET, "broken.tar.gz", "no archive");
    let mut broken = device.group();
    broken["ResourceDefinitionVersion"]["Resources"][0]["ResourceDataContainer"]["S3MachineLearningModelResourceData"]
        ["S3Uri"] = json!(format!("s3://{BUCKET}/broken.tar.gz"));
    roll_out(&device, "broken", &broken);
    let failed = end(&device, "broken");
    assert_eq!(failed.status, JobStatus::Failed, "{failed:?}");
    assert!(failed.details["error"].contains("broken.tar.gz"), "{failed:?}");

    let mut refused = device.group();
    refused["ConnectorDefinitionVersion"]["Connectors"][0]["Parameters"]["TopK"] = json!("none");
    roll_out(&device, "refused", &refused);
    let refused = end(&device, "refused");
    assert_eq!(refused.status, JobStatus::Rejected, "{refused:?}");
    assert!(refused.details["error"].contains("TopK"), "{refused:?}");

    let before = device.status().unwrap().link.delivered;
    let after = device.wait_for("predictions", |status| status.link.delivered > before);
    assert!(after.cameras[0].topic.contains("/gate/"));
}

#[test]
fn a_job_cancelled_while_its_group_is_watched_takes_the_group_back() {
    let mut device = device();
    {
        let mut core = device.start();
        device.wait_for_predictions();
        let is_confirmed = |status: &CoreStatus| status.cameras[0].deployment.state == State::Deployed;
        device.wait_for("a confirmed group to go back to", is_confirmed);
        core.terminate();
    }
    // Long enough for the watch to be still on when the job is cancelled.
    device.config["margay"]["deployments"] = json!({ "healthWindowSeconds": 600 });
    device.write();
    let _core = device.start();
    device.wait_for_predictions();

    device.parameters["CameraName"] = json!("gate");
    roll_out(&device, "to-be-cancelled", &device.group());
    device.wait_for("the new group to be watched", |status| {
        let told = device.cloud.job_execution(THING, "to-be-cancelled").map(|execution| execution.details);
        let confirming = told.is_some_and(|told| told.get("step").is_some_and(|step| step == "confirming"));
        confirming && status.cameras[0].topic.contains("/gate/")
    });
    device.cloud.cancel_job("to-be-cancelled", true);
    device.wait_for("the old group", |status| status.cameras[0].topic.contains("/road/"));
    assert_eq!(device.cloud.job_execution(THING, "to-be-cancelled").unwrap().status, JobStatus::Canceled);
    let config = device.config_path();
    device.wait_for("the end of its deployment", |_| {
        let shown = program::run(&["deployments", "--config", config.to_str().unwrap()]);
        String::from_utf8_lossy(&shown.stdout).contains("its job was cancelled or timed out")
    });

    let before = device.status().unwrap().link.delivered;
    device.wait_for("predictions of the old group", |status| status.link.delivered > before);
}

#[test]
fn a_document_with_another_digest_is_not_deployed() {
    let device = device();
    let _core = device.start();
    device.wait_for_predictions();
    device.cloud.put_object(BUCKET, "fleet/group.json", "{}");
    let document = json!({ "margay": { "operation": "deploy", "group": {
        "s3Uri": format!("s3://{BUCKET}/fleet/group.json"), "sha256": "0".repeat(64) } } });
    device.cloud.create_job("forged", &document, &[THING]);
    let failed = end(&device, "forged");
    assert_eq!(failed.status, JobStatus::Failed);
    assert!(failed.details["error"].contains("another digest"), "{failed:?}");
}

//! What is wrong is said: what was tried, on what, what came back and what to do; with a documented exit code. What
//! worked before goes on working.

use margay::app::status::CoreStatus;
use margay::classifier::CaptureState;
use margay::deployment::State;
use margay_localcloud::{Lasting, S3Fault};
use serde_json::json;

use crate::support::device::{BUCKET, Device, KEY, PACKAGE};
use crate::support::package::Package;
use crate::support::{has_shared_models, program};

/// `margay check --online` ends with `code`, and its message holds every one of `words`.
#[track_caller]
fn check_fails(device: &Device, code: i32, words: &[&str]) {
    let output = program::run(&["check", "--online", "--config", device.config_path().to_str().unwrap()]);
    program::assert_code(&output, code);
    let message = String::from_utf8(output.stderr).unwrap();
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
}

fn deploy(device: &Device, package: impl Into<Vec<u8>>) {
    device.cloud.put_object(BUCKET, KEY, package.into());
}

#[test]
fn a_certificate_that_the_cloud_does_not_know_is_refused_with_what_to_do() {
    let mut device = Device::new();
    let stranger = device.cloud.issue_unregistered("core-1", &device.folder.path().join("stranger")).unwrap();
    let principal = &mut device.config["crypto"]["principals"]["IoTCertificate"];
    principal["certificatePath"] = format!("file://{}", stranger.certificate.display()).into();
    principal["privateKeyPath"] = format!("file://{}", stranger.private_key.display()).into();
    device.write();
    check_fails(&device, 5, &["core-1", "localhost", "403", "active and attached"]);
}

#[test]
fn a_key_of_another_certificate_is_named_with_both_files() {
    let mut device = Device::new();
    let other = device.cloud.issue_viewer("other").unwrap();
    device.config["crypto"]["principals"]["IoTCertificate"]["privateKeyPath"] =
        format!("file://{}", other.private_key.display()).into();
    device.write();
    check_fails(&device, 4, &[other.private_key.to_str().unwrap(), device.files.certificate.to_str().unwrap()]);
}

#[test]
fn an_unknown_role_alias_is_refused_with_the_clouds_words() {
    let mut device = Device::new();
    device.config["margay"]["credentials"]["roleAlias"] = json!("SomebodyElsesRole");
    device.write();
    check_fails(&device, 5, &["SomebodyElsesRole", "Access Denied", "iot:AssumeRoleWithCertificate"]);
}

#[test]
fn what_s3_refuses_or_does_not_have_is_named_by_bucket_and_key() {
    let device = Device::new();
    device.cloud.delete_object(BUCKET, KEY);
    check_fails(&device, 6, &[BUCKET, KEY, "404", "NoSuchKey"]);
    deploy(&device, PACKAGE);
    device.cloud.faults().s3(S3Fault::Status(403), Lasting::UntilCleared);
    check_fails(&device, 6, &[BUCKET, KEY, "403", "s3:GetObject"]);
}

#[test]
fn a_truncated_a_corrupt_and_a_foreign_archive_are_refused() {
    let device = Device::new();
    deploy(&device, &PACKAGE[..PACKAGE.len() / 2]);
    check_fails(&device, 6, &["unpacking the package"]);
    let mut corrupt = PACKAGE.to_vec();
    let middle = corrupt.len() / 2;
    corrupt[middle] ^= 0xff;
    deploy(&device, corrupt);
    check_fails(&device, 6, &["unpacking the package"]);
    deploy(&device, b"this is no archive".to_vec());
    check_fails(&device, 6, &[KEY]);
}

#[test]
fn a_file_with_another_digest_than_the_manifest_says_is_refused() {
    let device = Device::new();
    let mut package = Package::bundled();
    package.0.insert("labels.txt".to_owned(), b"tampered\n".to_vec());
    deploy(&device, package.pack());
    check_fails(&device, 6, &["labels.txt", "digest"]);
}

#[test]
fn labels_that_do_not_fit_the_model_are_refused_with_both_counts() {
    let device = Device::new();
    let mut package = Package::bundled();
    package.replace("labels.txt", b"stop\nyield\n".to_vec());
    deploy(&device, package.pack());
    check_fails(&device, 7, &["2", "12"]);
}

#[test]
fn a_model_that_the_runtime_cannot_read_is_refused_with_its_reason() {
    let device = Device::new();
    let mut package = Package::bundled();
    let half = package.0["signs.onnx"].len() / 2;
    let cut = package.0["signs.onnx"][..half].to_vec();
    package.replace("signs.onnx", cut);
    deploy(&device, package.pack());
    check_fails(&device, 7, &["signs.onnx"]);
}

#[test]
fn a_model_of_another_kind_than_its_manifest_says_is_refused_with_field_and_value() {
    if !has_shared_models() {
        return;
    }
    let device = Device::new();
    let mut package = Package::bundled();
    let other = std::fs::read("../shared/models/onnx/tf2_mobilenet_v2_1.0_224_ptq.onnx").unwrap();
    package.replace("signs.onnx", other);
    deploy(&device, package.pack());
    check_fails(&device, 7, &["signs.onnx", "input"]);
}

#[test]
fn a_model_that_misses_its_golden_sample_never_classifies() {
    let device = Device::new();
    let mut package = Package::bundled();
    let other_sign = package.0["golden/speed-limit-80.jpg"].clone();
    package.replace("golden/stop.jpg", other_sign);
    deploy(&device, package.pack());
    check_fails(&device, 7, &["golden/stop.jpg"]);
}

#[test]
fn a_folder_that_is_not_there_is_named_and_the_core_waits_for_it() {
    let mut device = Device::new();
    let folder = device.folder.path().join("pictures");
    let there = std::mem::replace(&mut device.camera, folder.clone());
    device.write();
    check_fails(&device, 8, &[folder.to_str().unwrap(), "SourcePath"]);

    let _core = device.start();
    let status = device.wait_for("the missing folder to be noticed", |status| {
        classifier_of(status).is_some_and(|classifier| classifier.restarts.capture_reason.is_some())
    });
    let reason = classifier_of(&status).unwrap().restarts.capture_reason.clone().unwrap();
    assert!(reason.contains("pictures"), "{reason}");
    std::os::unix::fs::symlink(there, folder).unwrap();
    device.wait_for_predictions();
}

#[test]
fn an_unreadable_picture_is_counted_and_passed_over() {
    let mut device = Device::new();
    let folder = device.folder.path().join("pictures");
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy("models/signs/frames/frame-000.jpg", folder.join("1.jpg")).unwrap();
    std::fs::write(folder.join("2.jpg"), b"\xff\xd8 this is no picture").unwrap();
    device.camera = folder.clone();
    device.write();
    let _core = device.start();
    device.wait_for("the bad picture to be counted", |status| {
        classifier_of(status).is_some_and(|classifier| {
            let undecodable =
                classifier.ledger.drops().any(|(reason, count)| reason.name() == "undecodable" && count > 0);
            (undecodable || classifier.skipped > 0) && classifier.ledger.inferred() > 0
        })
    });

    let package = device.folder.path().join("package.tar.gz");
    std::fs::write(&package, PACKAGE).unwrap();
    let bad = folder.join("2.jpg");
    let output = program::run(&["classify", "--model", package.to_str().unwrap(), bad.to_str().unwrap()]);
    program::assert_code(&output, 8);
    assert!(String::from_utf8(output.stderr).unwrap().contains("2.jpg"));
}

#[test]
fn a_topic_that_the_broker_refuses_is_said_and_does_not_block_the_others() {
    let device = Device::new();
    device.cloud.faults().refuse_topic("margay/core-1/road/predictions");
    let _core = device.start();
    let status = device.wait_for("the refused topic to be noticed", |status| {
        status.link.dropped["topic_refused"] > 0 || status.link.trouble.is_some()
    });
    assert_eq!(status.link.delivered, 0);
    device.cloud.faults().clear();
    device.wait_for_predictions();
}

#[test]
fn a_bad_package_changes_nothing_of_what_runs_and_the_deployment_says_why() {
    let device = Device::new();
    let core = device.start();
    let before = device.wait_for("the first deployment", deployed);
    let good = classifier_of(&before).unwrap().model.clone();

    let mut package = Package::bundled();
    package.replace("labels.txt", b"stop\nyield\n".to_vec());
    deploy(&device, package.pack());
    program::signal(core.pid(), rustix::process::Signal::HUP);
    let status = device.wait_for("the bad deployment to fail", |status| {
        status.cameras[0].deployment.state == State::Failed && status.cameras[0].deployment.failure.is_some()
    });
    let inferred = classifier_of(&status).unwrap().ledger.inferred();
    let after = device.wait_for("classification to go on", |status| {
        classifier_of(status).is_some_and(|classifier| classifier.ledger.inferred() > inferred + 20)
    });
    assert_eq!(classifier_of(&after).unwrap().model, good);
    assert_eq!(classifier_of(&after).unwrap().capture, CaptureState::Capturing);

    deploy(&device, Package::bundled().pack());
    program::signal(core.pid(), rustix::process::Signal::HUP);
    device.wait_for("the mended deployment", |status| deployed(status) && classifier_of(status).unwrap().model != good);
}

fn deployed(status: &CoreStatus) -> bool {
    status.cameras[0].deployment.state == State::Deployed && status.link.delivered > 0
}

fn classifier_of(status: &CoreStatus) -> Option<&margay::classifier::ClassifierStatus> {
    status.cameras[0].classifier.as_ref()
}

//! Every captured frame is classified or dropped for a reason of a closed list, whatever dies meanwhile.

use margay::app::status::CoreStatus;
use margay::classifier::{CaptureState, ClassifierStatus, Role};

use super::sources::{children_running, fake_rpicam};
use crate::support::device::{Device, PACKAGE, worker_pid};
use crate::support::{program, scaled};

fn classifier(status: &CoreStatus) -> &ClassifierStatus {
    status.cameras[0].classifier.as_ref().unwrap()
}

/// A file of `frames` pictures, played once.
pub fn film(device: &mut Device, frames: u64, frames_per_second: u32) {
    let pictures: Vec<Vec<u8>> = {
        let mut paths: Vec<_> = std::fs::read_dir(&device.camera).unwrap().map(|e| e.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "jpg"));
        paths.sort();
        paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
    };
    let film: Vec<u8> = pictures.iter().cycle().take(usize::try_from(frames).unwrap()).flatten().copied().collect();
    device.camera = device.folder.path().join("film.mjpeg");
    std::fs::write(&device.camera, film).unwrap();
    device.parameters["Repeat"] = "false".into();
    device.parameters["FramesPerSecond"] = frames_per_second.to_string().into();
    device.write();
}

/// Waits for the film's end and checks every column.
pub fn assert_exact(device: &Device, frames: u64) -> CoreStatus {
    let status = device.wait_for("the end of the film", |status| {
        let classifier = classifier(status);
        classifier.capture == CaptureState::Ended && classifier.ledger.next() == frames
    });
    let classifier = classifier(&status);
    assert_eq!(classifier.captured, frames);
    assert!(classifier.ledger.adds_up(), "{:?}", classifier.ledger);
    status
}

#[test]
fn every_frame_of_a_film_has_one_column_across_a_swap_of_the_model() {
    let frames = scaled(400);
    let mut device = Device::new();
    film(&mut device, frames, 60);
    let core = device.start();
    device.wait_for("the first model at work", |status| classifier(status).ledger.inferred() > 20);

    let first = device.wait_for_predictions().cameras[0].classifier.as_ref().unwrap().model.clone().unwrap();
    device.cloud.put_object(crate::support::device::BUCKET, crate::support::device::KEY, other_package());
    program::signal(core.pid(), rustix::process::Signal::HUP);

    let swapped = device.wait_for("the second model at work", |status| {
        classifier(status).model.as_ref().is_some_and(|model| model.digest != first.digest)
    });
    assert_eq!(swapped.cameras[0].classifier.as_ref().unwrap().restarts.inference, 0);
    let status = assert_exact(&device, frames);
    let ledger = &classifier(&status).ledger;
    assert_eq!(ledger.drops().filter(|(reason, _)| reason.name() == "without a worker").count(), 0, "{ledger:?}");
}

#[test]
fn after_either_worker_is_killed_predictions_resume_and_the_ledger_adds_up() {
    let mut device = Device::new();
    device.parameters["FramesPerSecond"] = "60".into();
    device.write();
    let _core = device.start();
    for role in [Role::Inference, Role::Capture] {
        let before = device.wait_for("predictions", |status| {
            classifier(status).ledger.inferred() > 0
                && classifier(status).capture == CaptureState::Capturing
                && classifier(status).workers.len() == 2
        });
        let inferred = classifier(&before).ledger.inferred();
        program::signal(worker_pid(&before, role).cast_unsigned(), rustix::process::Signal::KILL);
        let after = device.wait_for("predictions after a kill", |status| {
            let classifier = classifier(status);
            let restarts = match role {
                Role::Capture => classifier.restarts.capture,
                _ => classifier.restarts.inference,
            };
            restarts == 1 && classifier.ledger.inferred() > inferred + 20
        });
        let classifier = classifier(&after);
        assert!(classifier.ledger.adds_up(), "{:?}", classifier.ledger);
        let reason = match role {
            Role::Capture => &classifier.restarts.capture_reason,
            _ => &classifier.restarts.inference_reason,
        };
        assert!(reason.as_deref().is_some_and(|reason| reason.contains("SIGKILL")), "{reason:?}");
    }
}

#[test]
fn with_the_broker_away_the_camera_lost_and_the_model_swapped_every_frame_has_one_column() {
    let mut device = Device::new();
    let folder = device.folder.path().join("pictures");
    std::fs::create_dir(&folder).unwrap();
    for number in 0..30 {
        let name = format!("frame-{number:03}.jpg");
        std::fs::copy(std::path::Path::new("models/signs/frames").join(&name), folder.join(&name)).unwrap();
    }
    device.camera.clone_from(&folder);
    // A program that dies after a while by itself, too.
    let camera = fake_rpicam(&mut device, "for round in 1 2 3 4 5 6 7 8 9 10; do show; done");
    let _core = device.start();
    device.wait_for("the first model at work", |status| classifier(status).ledger.inferred() > 20);
    let first = classifier(&device.status().unwrap()).model.clone().unwrap();

    // All three at once.
    device.runtime.block_on(device.cloud.stop_broker());
    let worker = worker_pid(&device.status().unwrap(), Role::Capture);
    for child in children_running(worker, camera.to_str().unwrap()) {
        program::signal(child.cast_unsigned(), rustix::process::Signal::KILL);
    }
    device.cloud.put_object(crate::support::device::BUCKET, crate::support::device::KEY, other_package());
    program::signal(_core.pid(), rustix::process::Signal::HUP);
    device.wait_for("another model, and the camera again", |status| {
        let classifier = classifier(status);
        let swapped = classifier.model.as_ref().is_some_and(|model| model.digest != first.digest);
        swapped && classifier.restarts.capture > 0 && classifier.capture == CaptureState::Capturing
    });
    let frames = scaled(120);
    device.wait_for("frames in number, none of them delivered", |status| {
        classifier(status).captured >= frames && status.link.queued > 20
    });
    device.runtime.block_on(device.cloud.start_broker()).unwrap();

    // No frame comes any more, so that the books can be closed.
    std::fs::write(folder.join("stop"), "").unwrap();
    let status = device.wait_for("the books to be closed", |status| {
        let classifier = classifier(status);
        let link = &status.link;
        let settled = classifier.ledger.next() == classifier.captured && link.queued + link.in_flight == 0;
        settled && children_idle(worker_pid_of(status))
    });
    let classifier = classifier(&status);
    let dropped: u64 = classifier.ledger.drops().map(|(_, count)| count).sum();
    assert_eq!(classifier.captured, classifier.ledger.inferred() + dropped, "{:?}", classifier.ledger);
    assert_eq!(
        status.link.accepted,
        status.link.delivered + status.link.dropped.values().sum::<u64>(),
        "{:?}",
        status.link
    );
}

/// The capture worker, if one lives.
fn worker_pid_of(status: &CoreStatus) -> Option<i32> {
    classifier(status).workers.iter().find(|worker| worker.role == Role::Capture).map(|worker| worker.pid)
}

/// Whether the fake camera has come to its stop.
fn children_idle(worker: Option<i32>) -> bool {
    worker.is_none_or(|worker| !children_running(worker, "sleep\x001000").is_empty())
}

/// The bundled package with another digest: the same archive, compressed differently.
pub fn other_package() -> Vec<u8> {
    use std::io::{Read, Write};
    let mut tar = Vec::new();
    flate2::read::GzDecoder::new(PACKAGE).read_to_end(&mut tar).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    encoder.write_all(&tar).unwrap();
    encoder.finish().unwrap()
}

//! Frames of programs and of the network, from a real child and a real socket through the sandbox to predictions.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use margay::app::status::CoreStatus;
use margay::classifier::{CaptureState, ClassifierStatus, Condition, Role};

use crate::support::device::{Device, worker_pid};
use crate::support::schema::PayloadSchema;
use crate::support::viewer::Viewer;
use crate::support::{has_tool, program};

fn classifier(status: &CoreStatus) -> &ClassifierStatus {
    status.cameras[0].classifier.as_ref().unwrap()
}

/// A program called `rpicam-vid` in the device's folder. `show` shows the pictures once, at about thirty a second; the
/// group lends it the folder that it finds them in.
pub fn fake_rpicam(device: &mut Device, script: &str) -> PathBuf {
    let program = device.folder.path().join("rpicam-vid");
    let text = format!(
        "#!/bin/sh\nshow() {{ for picture in /camera/road/*.jpg; do\n[ -e /camera/road/stop ] && exec sleep 1000\n\
         cat $picture; sleep 0.03; done; }}\n{script}\n"
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let parameters = device.parameters.as_object_mut().unwrap();
    parameters.remove("CameraResourceId");
    parameters.insert("CameraSource".into(), "rpicam".into());
    parameters.insert("CameraFormat".into(), "mjpeg".into());
    parameters.insert("FramesPerSecond".into(), "100".into());
    parameters.insert("CameraProgram".into(), program.to_str().unwrap().into());
    parameters.insert("CommandResourceIds".into(), "camera".into());
    device.write();
    program
}

/// The children of a process that run `program`.
pub fn children_running(parent: i32, program: &str) -> Vec<i32> {
    let listed = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    listed
        .filter(|pid: &i32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let is_child = status.lines().any(|line| line == format!("PPid:\t{parent}"));
            is_child && String::from_utf8_lossy(&command).contains(program)
        })
        .collect()
}

#[test]
fn a_program_is_a_camera_in_the_sandbox_of_its_worker_and_started_again_when_it_dies() {
    let mut device = Device::new();
    let program = fake_rpicam(&mut device, "while :; do show; done");
    let mut core = device.start();
    let status = device.wait_for_predictions();
    let worker = worker_pid(&status, Role::Capture);
    let name = program.to_str().unwrap();
    let children = children_running(worker, name);
    assert_eq!(children.len(), 1, "the program is the worker's child");
    is_contained_as(children[0], worker);

    let before = classifier(&status).ledger.inferred();
    program::signal(children[0].cast_unsigned(), rustix::process::Signal::KILL);
    let status = device.wait_for("predictions after the program was killed", |status| {
        classifier(status).restarts.capture == 1 && classifier(status).ledger.inferred() > before + 20
    });
    let reason = classifier(&status).restarts.capture_reason.clone().unwrap();
    assert!(reason.contains("rpicam-vid ended (signal 9"), "{reason}");
    assert!(classifier(&status).ledger.adds_up());

    let children = children_running(worker_pid(&status, Role::Capture), name);
    assert_eq!(core.terminate(), Some(0));
    for child in children {
        let state = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        assert!(state.is_empty() || state.contains(") Z "), "nothing is left behind: {state}");
    }
}

/// The child sees what the worker sees, holds nothing, and is under the same system-call list.
fn is_contained_as(child: i32, worker: i32) {
    let field = |pid: i32, name: &str| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line =
            status.lines().find_map(|line| line.strip_prefix(&format!("{name}:")).map(str::trim).map(str::to_owned));
        line.unwrap()
    };
    for name in ["CapEff", "CapBnd", "NoNewPrivs", "Seccomp", "Uid", "Gid", "Groups"] {
        assert_eq!(field(child, name), field(worker, name), "{name}");
    }
    assert_eq!((field(child, "CapBnd").as_str(), field(child, "NoNewPrivs").as_str()), ("0000000000000000", "1"));
    for space in ["mnt", "net", "pid", "ipc", "user"] {
        let of = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/{space}")).unwrap();
        assert_eq!(of(child), of(worker), "{space}");
    }
    let open: Vec<_> = fs::read_dir(format!("/proc/{child}/fd")).unwrap().filter_map(Result::ok).collect();
    let foreign = open.iter().filter_map(|entry| fs::read_link(entry.path()).ok()).filter(|link| {
        let link = link.to_string_lossy();
        link.starts_with("socket:") || link.contains("memfd")
    });
    assert_eq!(foreign.count(), 0, "neither the core's channel nor the ring is the child's");
}

#[test]
fn the_words_of_a_program_without_a_camera_reach_the_operator_and_health_says_silent() {
    let mut device = Device::new();
    fake_rpicam(&mut device, "echo 'ERROR: *** no cameras available ***' >&2; exit 255");
    device.parameters["HealthSilentSeconds"] = "1".into();
    device.write();
    let _core = device.start();
    let status = device.wait_for("a camera that is known to be silent", |status| {
        let classifier = status.cameras.first().and_then(|camera| camera.classifier.as_ref());
        classifier.is_some_and(|camera| camera.health.conditions == [Condition::Silent] && camera.restarts.capture > 1)
    });
    let reason = classifier(&status).restarts.capture_reason.clone().unwrap();
    assert!(reason.contains("no camera is there") && reason.contains("exit code 255"), "{reason}");
    let config = device.config_path();
    let shown = program::run(&["status", "--config", config.to_str().unwrap()]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("health       road is silent") && shown.contains("no camera is there"), "{shown}");
}

/// A camera of the network: serves the pictures of the bundled package to whoever connects, as long as `serve` says.
struct NetworkCamera {
    url: String,
    served: Arc<AtomicU64>,
}

impl NetworkCamera {
    fn start(pictures: Vec<Vec<u8>>, most: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/video", listener.local_addr().unwrap());
        let served = Arc::new(AtomicU64::new(0));
        let count = served.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                count.fetch_add(1, Ordering::Relaxed);
                let _ = serve(stream, &pictures, most);
            }
        });
        Self { url, served }
    }
}

fn serve(mut stream: TcpStream, pictures: &[Vec<u8>], most: u64) -> std::io::Result<()> {
    let mut request = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    while request.read_line(&mut line)? > 2 {
        line.clear();
    }
    stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=b\r\n\r\n")?;
    for picture in pictures.iter().cycle().take(usize::try_from(most).unwrap()) {
        stream.write_all(
            format!("--b\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", picture.len()).as_bytes(),
        )?;
        stream.write_all(picture)?;
        stream.write_all(b"\r\n")?;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn network(device: &mut Device, url: &str) {
    let parameters = device.parameters.as_object_mut().unwrap();
    parameters.remove("CameraResourceId");
    parameters.insert("CameraSource".into(), url.into());
    parameters.insert("FramesPerSecond".into(), "100".into());
    device.write();
}

fn pictures() -> Vec<Vec<u8>> {
    (0..10).map(|number| fs::read(format!("models/signs/frames/frame-{number:03}.jpg")).unwrap()).collect()
}

#[test]
fn a_camera_of_the_network_is_classified_by_workers_without_a_network() {
    let camera = NetworkCamera::start(pictures(), 100);
    let mut device = Device::new();
    network(&mut device, &camera.url);
    let _core = device.start();
    let status = device.wait_for_predictions();
    let worker = worker_pid(&status, Role::Capture);
    let interfaces = fs::read_to_string(format!("/proc/{worker}/net/dev")).unwrap();
    let own = fs::read_link(format!("/proc/{worker}/ns/net")).unwrap() != fs::read_link("/proc/self/ns/net").unwrap();
    assert!(!own || interfaces.lines().count() == 3, "nothing but a loopback that is down: {interfaces}");
    // It hangs up after a hundred pictures; the core connects again.
    let status = device.wait_for("predictions after the camera hung up", |status| {
        classifier(status).restarts.capture >= 1 && classifier(status).ledger.inferred() > 100
    });
    let reason = classifier(&status).restarts.capture_reason.clone().unwrap();
    assert!(reason.contains("ended its stream"), "{reason}");
    assert!(camera.served.load(Ordering::Relaxed) >= 2 && classifier(&status).ledger.adds_up());
}

#[test]
fn a_camera_that_goes_black_and_comes_back_is_told_to_whoever_subscribed() {
    let mut black = Vec::new();
    jpeg_encoder::Encoder::new(&mut black, 90).encode(&[0; 64 * 64 * 3], 64, 64, jpeg_encoder::ColorType::Rgb).unwrap();
    let dark = std::iter::repeat_n(black, 150);
    let film: Vec<Vec<u8>> = pictures().into_iter().cycle().take(100).chain(dark).collect();
    let camera = NetworkCamera::start(film, u64::from(u32::MAX));
    let mut device = Device::new();
    network(&mut device, &camera.url);
    device.parameters["HealthAfterSeconds"] = "1".into();
    device.parameters["HealthFrozenSeconds"] = "0".into();
    device.write();
    let mut viewer = Viewer::connect(&device, "health-viewer", "margay/core-1/road/health");
    let _core = device.start();
    let schema = PayloadSchema::health();
    let ill = viewer.next_payload();
    schema.assert_valid(&ill);
    assert_eq!((ill["state"].as_str(), &ill["conditions"]), (Some("ill"), &serde_json::json!(["black"])));
    let well = viewer.next_payload();
    schema.assert_valid(&well);
    assert_eq!((well["state"].as_str(), &well["conditions"]), (Some("well"), &serde_json::json!([])));
    let status = device.status().unwrap();
    assert!(classifier(&status).health.begun[&Condition::Black] >= 1);
    assert_eq!(classifier(&status).capture, CaptureState::Capturing);
}

#[test]
fn a_pipeline_of_gstreamer_is_a_camera() {
    if !has_tool("gst-launch-1.0", "gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good") {
        return;
    }
    for (pipeline, format) in [
        ("videotestsrc is-live=true ! videoconvert", "nv12"),
        ("videotestsrc is-live=true ! video/x-raw,width=640,height=480 ! jpegenc", "mjpeg"),
    ] {
        let mut device = Device::new();
        let parameters = device.parameters.as_object_mut().unwrap();
        parameters.remove("CameraResourceId");
        parameters.insert("CameraSource".into(), "gstreamer".into());
        parameters.insert("CameraPipeline".into(), pipeline.into());
        parameters.insert("CameraFormat".into(), format.into());
        device.write();
        let _core = device.start();
        let status = device.wait_for("predictions of a pipeline", |status| status.link.delivered > 20);
        assert!(classifier(&status).ledger.adds_up());
        assert_eq!(classifier(&status).restarts.capture, 0, "{:?}", classifier(&status).restarts);
    }
}

#[test]
fn the_pipeline_for_a_jetson_is_one_but_for_nvidias_elements() {
    if !has_tool("gst-launch-1.0", "gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good") {
        return;
    }
    let pipeline = margay_camera::source::jetson_pipeline(0, 640, 480)
        .replace("nvarguscamerasrc sensor-id=0", "videotestsrc is-live=true")
        .replace("(memory:NVMM)", "")
        .replace("nvvidconv", "videoconvert ! videoscale");
    let output = program::run(&["camera", "probe", "gstreamer", "--pipeline", &pipeline, "--frames", "10", "--json"]);
    program::assert_code(&output, 0);
    let seen: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((seen["fourcc"].as_str(), seen["width"].as_u64()), (Some("NV12"), Some(640)), "{seen}");
    // The real one needs elements that are not here, and says so.
    let output = program::run(&["camera", "probe", "jetson"]);
    program::assert_code(&output, 8);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("nvarguscamerasrc") && said.contains("not installed"), "{said}");
}

#[test]
fn every_source_can_be_probed_watched_and_taken_a_picture_of() {
    let camera = NetworkCamera::start(pictures(), 1000);
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("picture.png");
    for source in [camera.url.as_str(), "models/signs/frames", "test-pattern"] {
        let output = program::run(&["camera", "probe", source, "--frames", "5", "--json"]);
        program::assert_code(&output, 0);
        let seen: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(seen["frames"], 5, "{source}: {seen}");
        let output = program::run(&["camera", "snap", source, "--skip", "1", "-o", picture.to_str().unwrap()]);
        program::assert_code(&output, 0);
        assert!(fs::read(&picture).unwrap().starts_with(b"\x89PNG"), "{source}");
        fs::remove_file(&picture).unwrap();
    }
    let output = program::run(&["camera", "watch", "models/signs/frames", "--seconds", "2", "--json"]);
    program::assert_code(&output, 0);
    let lines = String::from_utf8(output.stdout).unwrap();
    let line: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert!(line["frames"].as_u64().unwrap() > 0 && line["look"]["mean"].is_u64(), "{line}");
    let output = program::run(&["camera", "watch", "rpicam", "--program", "/no/such/program", "--seconds", "1"]);
    program::assert_code(&output, 8);
    assert!(String::from_utf8(output.stderr).unwrap().contains("cannot run /no/such/program"));
}

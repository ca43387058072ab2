//! The page shows what is there, to those who have its token, and disturbs nobody.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use margay::app::status::CoreStatus;
use margay::classifier::{CaptureState, ClassifierStatus, Role};
use margay::deployment::Status;
use margay_sandbox::Aspect;
use serde_json::Value;

use crate::support::browser::Browser;
use crate::support::device::{Device, worker_pid};
use crate::support::page::Page;
use crate::support::{has_tool, program};

/// Looks at the page, of which four of five have to show the right label. The model is right on nine of ten of all
/// pictures, but its mistakes do not lie evenly, and half of the pictures are seen.
const LOOKS: usize = 30;
const RIGHT: usize = 24;

fn device() -> Device {
    let mut device = Device::new();
    Page::configure(&mut device);
    device
}

fn classifier(status: &CoreStatus) -> &ClassifierStatus {
    status.cameras[0].classifier.as_ref().unwrap()
}

fn viewer_pid(status: &CoreStatus) -> i32 {
    status.page.as_ref().unwrap().worker.as_ref().unwrap().pid
}

#[test]
fn only_the_token_opens_the_page_and_only_under_its_own_name() {
    let device = device();
    let _core = device.start();
    device.wait_for_predictions();
    let page = Page::of(&device);
    let host = format!("127.0.0.1:{}", page.port);
    let with_token = format!("/?token={}", page.token);

    let welcome = page.ask("GET", &with_token, &[("Host", &host)]);
    assert_eq!(welcome.status, 200);
    let cookie = &welcome.headers["set-cookie"];
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    for path in ["/", "/page.css", "/page.js", "/icon.svg", "/state", "/frame"] {
        let answer = page.ask("GET", path, &[("Host", &host), ("Cookie", cookie)]);
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.headers["cache-control"], "no-store", "{path}");
        assert!(answer.headers["content-security-policy"].starts_with("default-src 'self';"), "{path}");
        assert!(!answer.headers.keys().any(|name| name.starts_with("access-control")), "{path}: {answer:?}");
        let head = page.ask("HEAD", path, &[("Host", &host), ("Cookie", cookie)]);
        assert!(head.status == 200 && head.body.is_empty(), "{path}");

        assert_eq!(page.ask("GET", path, &[("Host", &host)]).status, 403, "{path} without the token");
        let guess = format!("margay-page-{}={}", page.port, "0".repeat(64));
        assert_eq!(page.ask("GET", path, &[("Host", &host), ("Cookie", &guess)]).status, 403, "{path}");
        for foreign in ["evil.example", &format!("evil.example:{}", page.port), "127.0.0.1"] {
            let answer = page.ask("GET", path, &[("Host", foreign), ("Cookie", cookie)]);
            assert_eq!(answer.status, 421, "{path} as {foreign}");
        }
        assert_eq!(page.ask("POST", path, &[("Host", &host), ("Cookie", cookie)]).status, 405, "{path}");
    }
    assert_eq!(page.ask("GET", "/?token=wrong", &[("Host", &host)]).status, 403);
    assert_eq!(page.get("/etc/passwd").status, 404);
    assert_eq!(page.get("/frame?camera=1").status, 404);
}

#[test]
fn the_token_is_where_only_the_cores_user_finds_it() {
    let device = device();
    let mut core = device.start();
    device.wait_for_predictions();
    let page = Page::of(&device);
    let kept = device.root().join("ggc/var/state/page-token");
    assert_eq!(fs::metadata(kept).unwrap().permissions().mode() & 0o777, 0o600);

    let config = device.config_path();
    for arguments in [vec!["status"], vec!["status", "--json"], vec!["status", "--containment"]] {
        let output = program::run(&[&arguments[..], &["--config", config.to_str().unwrap()]].concat());
        program::assert_code(&output, 0);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(&format!("http://127.0.0.1:{}/", page.port)) && !text.contains(&page.token), "{text}");
    }
    assert!(!device.log().contains(&page.token));

    core.terminate();
    let _core = device.start();
    device.wait_for_predictions();
    assert_eq!(Page::of(&device).token, page.token, "a bookmark outlives a restart");
}

#[test]
fn without_being_asked_for_there_is_no_page() {
    let device = Device::new();
    let _core = device.start();
    let status = device.wait_for_predictions();
    assert!(status.page.is_none());
    let output = program::run(&["status", "--page", "--config", device.config_path().to_str().unwrap()]);
    program::assert_code(&output, 1);
}

#[test]
fn a_port_that_is_taken_costs_the_page_and_nothing_else() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut device = device();
    device.config["margay"]["page"]["port"] = port.into();
    device.write();
    let _core = device.start();
    let status = device.wait_for_predictions();
    assert!(status.page.is_none());
    assert!(status.warnings.iter().any(|warning| warning.contains(&format!("127.0.0.1:{port}"))), "{status:?}");
}

#[test]
fn the_demo_names_its_page_unless_told_not_to() {
    for (more, named) in [(&[][..], true), (&["--no-page"][..], false)] {
        let output = program::run(&[&["demo", "--json", "--frames", "2"], more].concat());
        program::assert_code(&output, 0);
        let narration = String::from_utf8(output.stderr).unwrap();
        assert_eq!(narration.contains("\npage         http://127.0.0.1:"), named, "{narration}");
    }
}

#[test]
fn those_who_connect_and_say_nothing_keep_nobody_out() {
    let device = device();
    let _core = device.start();
    device.wait_for_predictions();
    let page = Page::of(&device);
    let mut idle = Vec::new();
    for _ in 0..200 {
        let mut stream = page.connect();
        // One that has been ended already cannot be written to.
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: 127");
        idle.push(stream);
    }
    assert_eq!(page.get("/state").status, 200);
    assert_eq!(page.get("/frame").status, 200);
    // The oldest made room, and the last few are ended when they have had their time.
    assert!(idle.first_mut().unwrap().read(&mut [0; 1]).map_or(true, |read| read == 0));
    let late = idle.last_mut().unwrap().read(&mut [0; 1]);
    assert!(late.as_ref().map_or(true, |read| *read == 0), "{late:?}");

    // What is no request at all gets no further than the parser.
    let mut random = fastrand::Rng::with_seed(7);
    for length in 0..200 {
        let garbage: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
        let mut stream = page.connect();
        let _ = stream.write_all(&garbage).and_then(|()| stream.write_all(b"\r\n\r\n"));
    }
    // A request that does not end is ended, too.
    let mut endless = page.connect();
    let line = format!("X: {}\r\n", "x".repeat(8000));
    endless.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    while endless.write_all(line.as_bytes()).is_ok() {}
    assert_eq!(page.get("/state").status, 200);
    let page = device.status().unwrap().page.unwrap();
    assert_eq!((page.restarts, page.restart_reason), (0, None), "nobody has brought the viewer down");
}

#[test]
fn a_camera_without_predictions_is_still_seen() {
    let device = device();
    let _core = device.start();
    let status = device.wait_for_predictions();
    let page = Page::of(&device);
    let with = page.get("/frame");
    assert!(with.headers.contains_key("margay-prediction"), "{:?}", with.headers);
    let init = worker_pid(&status, Role::Inference);
    let children = fs::read_to_string(format!("/proc/{init}/task/{init}/children")).unwrap_or_default();
    let worker: u32 = children.split_whitespace().next().map_or(init.cast_unsigned(), |pid| pid.parse().unwrap());
    program::signal(worker, rustix::process::Signal::STOP);
    let mut answer = with;
    while answer.headers.contains_key("margay-prediction") {
        answer = page.get(&format!("/frame?after={}", answer.frame()));
    }
    let next = page.get(&format!("/frame?after={}", answer.frame()));
    assert!(next.frame() > answer.frame());
    program::signal(worker, rustix::process::Signal::CONT);
    let mut answer = next;
    while !answer.headers.contains_key("margay-prediction") {
        answer = page.get(&format!("/frame?after={}", answer.frame()));
    }
}

#[test]
fn the_viewer_is_contained_like_any_worker() {
    let device = device();
    let _core = device.start();
    let status = device.wait_for("predictions and a viewer", |status| {
        status.link.delivered > 0 && status.page.as_ref().is_some_and(|page| page.worker.is_some())
    });
    let viewer = status.page.as_ref().unwrap().worker.as_ref().unwrap();
    assert_eq!(viewer.role, Role::Viewer);
    let inference = classifier(&status).workers.iter().find(|worker| worker.role == Role::Inference).unwrap();
    for (aspect, finding) in inference.containment.rows() {
        assert_eq!(viewer.containment.holds(*aspect), finding.holds(), "{aspect}: {}", viewer.containment);
    }
    assert!(viewer.containment.holds(Aspect::Descriptors), "{}", viewer.containment);
}

#[test]
fn a_viewer_that_dies_comes_back_and_no_frame_is_lost_by_it() {
    let frames = 900_u64;
    let mut device = device();
    film(&mut device, 900);
    let _core = device.start();
    let first = device.wait_for("predictions", |status| classifier(status).ledger.inferred() > 10);
    let page = Page::of(&device);
    let instance = page.get("/state").json()["instance"].clone();
    assert_eq!(page.get("/frame").status, 200);
    program::signal(viewer_pid(&first).cast_unsigned(), rustix::process::Signal::KILL);

    // The same address, the same cookie: browsers wait in the core's own socket meanwhile.
    device.wait_for("another viewer", |status| {
        let page = status.page.as_ref().unwrap();
        page.restarts == 1 && page.worker.as_ref().is_some_and(|worker| worker.pid != viewer_pid(&first))
    });
    let news = page.get("/state").json();
    assert_ne!(news["instance"], instance);
    let seen = page.get("/frame").frame();
    assert!(page.get(&format!("/frame?after={seen}")).frame() > seen, "the picture goes on");

    let status = device.wait_for("the end of the film", |status| {
        classifier(status).capture == CaptureState::Ended && classifier(status).ledger.next() == frames
    });
    let ended = classifier(&status);
    assert!(ended.ledger.adds_up() && ended.captured == frames, "{ended:?}");
    assert_eq!((ended.restarts.capture, ended.restarts.inference), (0, 0));
    assert_eq!(ended.ledger.drops().filter(|(reason, _)| reason.name() == "without a worker").count(), 0);
    let reason = status.page.unwrap().restart_reason.unwrap();
    assert!(reason.contains("SIGKILL"), "{reason}");
}

#[test]
fn a_camera_that_restarts_is_seen_again() {
    let device = device();
    let _core = device.start();
    let status = device.wait_for_predictions();
    let page = Page::of(&device);
    page.get("/frame").frame();
    program::signal(worker_pid(&status, Role::Capture).cast_unsigned(), rustix::process::Signal::KILL);
    let status = device.wait_for("frames of a new ring", |status| {
        classifier(status).restarts.capture == 1 && classifier(status).capture == CaptureState::Capturing
    });
    let restarted_at = classifier(&status).captured;
    let mut frame = 0;
    while frame <= restarted_at {
        frame = page.get(&format!("/frame?after={frame}")).frame();
    }
}

#[test]
fn raw_pixels_are_shown_as_a_bitmap_and_a_jpeg_as_it_is() {
    let device = device();
    let core = device.start();
    device.wait_for_predictions();
    let answer = Page::of(&device).get("/frame");
    assert_eq!(answer.headers["content-type"], "image/jpeg");
    let item: usize = answer.headers["margay-item"].parse().unwrap();
    let file = fs::read(device.camera.join(format!("frame-{:03}.jpg", item % 60))).unwrap();
    assert!(answer.body == file, "the bytes of the camera, unchanged");
    drop(core);

    let mut device = device;
    device.parameters.as_object_mut().unwrap().remove("CameraResourceId");
    device.parameters["CameraSource"] = "test-pattern".into();
    device.write();
    let _core = device.start();
    device.wait_for("the drawn picture in the place of the folder", |status| {
        status.deployment.as_ref().is_some_and(|report| report.status == Status::Success) && status.link.delivered > 0
    });
    let answer = Page::of(&device).get("/frame");
    assert_eq!(answer.headers["content-type"], "image/bmp");
    assert_eq!(answer.body.len(), 54 + 640 * 480 * 3);
}

#[test]
fn a_browser_sees_the_picture_move_with_its_right_label() {
    if !has_tool("chromium", "chromium") {
        return;
    }
    let mut device = device();
    device.parameters["FramesPerSecond"] = "5".into();
    device.write();
    let mut core = device.start();
    device.wait_for_predictions();
    let mut browser = Browser::start();
    browser.dress((1440, 1100), "light");
    browser.open(&Page::of(&device).address);
    browser.wait_for("a live picture", "document.getElementById('view')?.dataset.state", |state| state == "live");
    assert_eq!(browser.look("location.search"), "", "the token does not stay in the address");

    let looks = looks(&mut browser);
    let (first, last) = (&looks[0], &looks[LOOKS - 1]);
    assert!(last["frame"].as_u64() > first["frame"].as_u64());
    assert_ne!(first["pixels"], last["pixels"], "the picture itself changes");
    let truth = truth();
    let right = |shift: usize| {
        let items = looks.iter().cycle().skip(shift).map(|look| look["item"].as_u64().unwrap() % 60);
        looks.iter().zip(items).filter(|(look, item)| look["label"] == truth[item]).count()
    };
    assert!(right(0) >= RIGHT, "{} of {LOOKS} right: {looks:?}", right(0));
    assert!(right(LOOKS / 2) < RIGHT, "against another picture's truth the same check fails");

    let facts =
        "['thing','link','captured','delivered','p50-total'].map(id => document.getElementById(id).textContent)";
    let facts = browser.look(facts);
    assert_eq!(facts[0], "core-1 · road");
    assert_eq!(facts[1], "connected");
    assert!(facts.as_array().unwrap().iter().all(|fact| fact.as_str().is_some_and(|text| !text.is_empty())), "{facts}");
    browser.wait_for("the history", "document.querySelectorAll('#strip li').length", |n| n.as_u64() > Some(10));
    assert_eq!(browser.look("document.querySelectorAll('#workers li').length"), 3);

    keep("page-light.png", &browser.screenshot());
    browser.dress((1440, 1100), "dark");
    keep("page-dark.png", &browser.screenshot());
    browser.dress((375, 812), "light");
    let width = browser.wait_for("a phone's width", "document.documentElement.scrollWidth", |width| !width.is_null());
    assert_eq!(width, 375, "nothing sticks out on a phone");
    keep("page-phone.png", &browser.screenshot());
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);

    core.kill();
    browser.wait_for("word of the silence", "document.getElementById('view').dataset.state", |s| s == "stalled");
    browser.wait_for("word of the core's end", "document.getElementById('link').textContent", |text| {
        text == "the core does not answer"
    });
}

#[test]
fn a_browser_sees_the_link_go_and_come_back_while_the_picture_goes_on() {
    if !has_tool("chromium", "chromium") {
        return;
    }
    let device = device();
    let _core = device.start();
    device.wait_for_predictions();
    let mut browser = Browser::start();
    browser.dress((900, 900), "dark");
    browser.open(&Page::of(&device).address);
    let link = "document.getElementById('link')?.textContent";
    browser.wait_for("a link", link, |text| text == "connected");
    device.runtime.block_on(device.cloud.stop_broker());
    browser.wait_for("word of the outage", link, |text| text == "offline");
    let spool = "document.getElementById('link').dataset.more";
    browser
        .wait_for("word of the spool", spool, |text| text.as_str().is_some_and(|text| text.ends_with(" in the spool")));
    browser.wait_for("a picture that goes on", "document.getElementById('view').dataset.state", |s| s == "live");
    keep("page-offline.png", &browser.screenshot());
    device.runtime.block_on(device.cloud.start_broker()).unwrap();
    browser.wait_for("the link again", link, |text| text == "connected");
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

/// What the page shows at moments with different frames: frame, item, the label in large letters, and the picture. A busy
/// machine classifies only some frames; the page says so of the others.
fn looks(browser: &mut Browser) -> Vec<Value> {
    let mut looks: Vec<Value> = Vec::new();
    while looks.len() < LOOKS {
        let last = looks.last().map_or(Value::Null, |look| look["frame"].clone());
        let look = "(() => { const view = document.getElementById('view'); return { \
                    frame: Number(view.dataset.frame), item: Number(view.dataset.item), \
                    label: document.getElementById('label').textContent, \
                    pixels: document.getElementById('picture').toDataURL() }; })()";
        let is_another = |look: &Value| look["frame"] != last && look["label"] != "no prediction";
        looks.push(browser.wait_for("another frame with its prediction", look, is_another));
    }
    looks
}

/// What the pictures show, by their place in the folder.
fn truth() -> BTreeMap<u64, String> {
    let truth: BTreeMap<String, String> =
        serde_json::from_str(include_str!("../../models/signs/frames/truth.json")).unwrap();
    truth.into_values().enumerate().map(|(item, label)| (item as u64, label)).collect()
}

fn keep(name: &str, screenshot: &[u8]) {
    fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name), screenshot).unwrap();
}

/// A file of `frames` pictures, played once at 60 frames a second.
fn film(device: &mut Device, frames: usize) {
    let pictures: Vec<Vec<u8>> =
        (0..60).map(|number| fs::read(device.camera.join(format!("frame-{number:03}.jpg"))).unwrap()).collect();
    let film: Vec<u8> = pictures.iter().cycle().take(frames).flatten().copied().collect();
    device.camera = device.folder.path().join("film.mjpeg");
    fs::write(&device.camera, film).unwrap();
    device.parameters["Repeat"] = "false".into();
    device.parameters["FramesPerSecond"] = "60".into();
    device.write();
}

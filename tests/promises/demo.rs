//! `margay demo` shows the main job from end to end, and what it shows is true.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::schema::PayloadSchema;
use crate::support::{has_tool, program};

/// What the issue of the first release promises: of 40 pictures, at least 36 named rightly.
const FRAMES: usize = 40;
const RIGHT: usize = 36;

/// The demo's lines: each a payload with the truth beside it.
fn demo() -> Vec<Value> {
    let output = program::run(&["demo", "--frames", &FRAMES.to_string(), "--json"]);
    program::assert_code(&output, 0);
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn label(line: &Value) -> &str {
    line["predictions"][0]["label"].as_str().unwrap()
}

fn right<'a>(lines: &'a [Value], truth: impl Iterator<Item = &'a str>) -> usize {
    lines.iter().zip(truth).filter(|(line, truth)| label(line) == *truth).count()
}

fn truths(lines: &[Value]) -> impl Iterator<Item = &str> + Clone {
    lines.iter().map(|line| line["truth"].as_str().unwrap())
}

#[test]
fn the_demo_publishes_valid_payloads_that_name_what_is_in_the_pictures() {
    let lines = demo();
    assert_eq!(lines.len(), FRAMES);

    let schema = PayloadSchema::published();
    for line in &lines {
        let mut payload = line.clone();
        payload.as_object_mut().unwrap().remove("truth");
        schema.assert_valid(&payload);
    }

    let frames: Vec<u64> = lines.iter().map(|line| line["frame"].as_u64().unwrap()).collect();
    assert!(frames.is_sorted_by(|a, b| a < b), "frame numbers go up: {frames:?}");

    let found = right(&lines, truths(&lines));
    assert!(found >= RIGHT, "{found} of {FRAMES} right");

    // The same check on shuffled truth fails: it is the model that knows, not the check.
    let shuffled = truths(&lines).cycle().skip(FRAMES / 2 + 1).take(FRAMES);
    let by_chance = right(&lines, shuffled);
    assert!(by_chance < RIGHT, "{by_chance} of {FRAMES} right against shuffled truth");
}

#[test]
fn the_command_that_the_demo_names_receives_the_same_predictions() {
    if !has_tool("mosquitto_sub", "mosquitto-clients") {
        return;
    }
    let mut demo = program::margay()
        .args(["demo", "--json", "--fps", "20"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let narration = BufReader::new(demo.stderr.take().unwrap());
    let mut shown = BufReader::new(demo.stdout.take().unwrap()).lines();
    let mut named = narration.lines().map_while(Result::ok);
    let command = named.find_map(|line| line.strip_prefix("subscribe    ").map(str::to_owned)).unwrap();

    // The demo's first prediction tells that its core publishes.
    let first: Value = serde_json::from_str(&shown.next().unwrap().unwrap()).unwrap();
    let received = Command::new("sh").args(["-c", &format!("{command} -C 3 -W 60")]).output().unwrap();
    assert!(received.status.success(), "{command}: {received:?}");
    let received: Vec<Value> =
        String::from_utf8(received.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(received.len(), 3);
    for payload in received {
        assert!(payload["frame"].as_u64() > first["frame"].as_u64());
        let mut same = shown.by_ref().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        let mut same = same.find(|line| line["frame"] == payload["frame"]).unwrap();
        same.as_object_mut().unwrap().remove("truth");
        assert_eq!(same, payload);
    }
    program::signal(demo.id(), rustix::process::Signal::TERM);
    assert_eq!(demo.wait().unwrap().code(), Some(0));
}

#[test]
fn a_demo_that_is_killed_leaves_no_core_behind() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("demo");
    let mut demo = program::margay()
        .args(["demo", "--json", "--dir", dir.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(demo.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let core = margay::app::status::ask(&dir.join("status.sock")).unwrap();
    demo.kill().unwrap();
    demo.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while Path::new(&format!("/proc/{}/exe", core.pid)).exists() {
        assert!(Instant::now() < deadline, "the core, pid {}, outlives its demo", core.pid);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_payload_that_breaks_the_schema_is_noticed() {
    let schema = PayloadSchema::published();
    assert!(!schema.allows(&serde_json::json!({ "schema": "margay.prediction/2" })));
}

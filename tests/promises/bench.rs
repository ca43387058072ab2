//! `margay bench` measures what it says: so many frames, every stage, on the pictures given; clocks are not judged here.

use serde_json::Value;

use crate::support::program;

const PACKAGE: &str = "models/signs/road-signs-1.0.0.tar.gz";

fn bench(more: &[&str]) -> Value {
    let output = program::run(&[&["bench", "--json", "--model", PACKAGE, "--warm-up", "2"], more].concat());
    program::assert_code(&output, 0);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_stage_of_every_frame_is_in_the_report() {
    let report = bench(&["--frames", "30"]);
    assert_eq!(report["frames"], 30);
    assert_eq!(report["model"], "road-signs");
    assert_eq!(report["pictures"], "the package's 2 golden samples");
    assert!(report["threads"].as_u64().unwrap() >= 1);
    assert!(report["cold_start_us"].as_u64().unwrap() > 0);
    assert!(report["rss_bytes"].as_u64().unwrap() >= report["pss_bytes"].as_u64().unwrap());
    let of = |stage: &str, key: &str| report[stage][key].as_u64().unwrap();
    for stage in ["decode", "resize", "inference", "postprocess", "total"] {
        let times = ["min", "p50", "p90", "p99", "max"].map(|key| of(stage, key));
        assert!(times.is_sorted(), "{stage}: {times:?}");
    }
    assert!(of("total", "min") >= of("inference", "min"), "the whole is no less than its part: {report}");
    assert!(of("inference", "min") > 0 && of("decode", "min") > 0, "{report}");
}

#[test]
fn the_bundled_model_needs_no_name() {
    let output = program::run(&["bench", "--json", "--warm-up", "0", "--frames", "1"]);
    program::assert_code(&output, 0);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["model"], &report["frames"]), (&"road-signs".into(), &1.into()));
}

#[test]
fn pictures_can_be_given_and_one_that_is_none_is_named() {
    let report = bench(&["--frames", "3", "models/signs/frames/frame-000.jpg"]);
    assert_eq!(report["pictures"], "1 given");
    let output = program::run(&["bench", "--model", PACKAGE, "Cargo.toml"]);
    program::assert_code(&output, 8);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("Cargo.toml") && message.contains("JPEG, PNG or BMP"), "{message}");
}

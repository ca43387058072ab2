//! `margay bench` measures what it says: so many frames, every stage, on the pictures and engines given; clocks are not
//! judged here.

use serde_json::Value;

use crate::support::program;
use crate::support::schema::PayloadSchema;

const PACKAGE: &str = "models/signs/road-signs-1.0.0.tar.gz";

fn bench(more: &[&str]) -> Value {
    let output = program::run(&[&["bench", "--json", "--model", PACKAGE, "--warm-up", "2"], more].concat());
    program::assert_code(&output, 0);
    let report = serde_json::from_slice(&output.stdout).unwrap();
    PayloadSchema::bench().assert_valid(&report);
    report
}

#[test]
fn every_stage_of_every_frame_is_in_the_report() {
    let report = bench(&["--frames", "30"]);
    assert_eq!(report["model"], "road-signs");
    assert_eq!(report["pictures"], "the package's 2 golden samples");
    let run = &report["runs"][0];
    assert_eq!(run["frames"], 30);
    assert!(run["worker_threads"].as_u64().unwrap() >= 1);
    assert!(run["cold_start_us"].as_u64().unwrap() > 0);
    assert!(run["rss_bytes"].as_u64().unwrap() >= run["pss_bytes"].as_u64().unwrap());
    let of = |stage: &str, key: &str| run["stages"][stage][key].as_u64().unwrap();
    for stage in ["decode", "resize", "inference", "postprocess", "total"] {
        let times = ["min", "p50", "p90", "p95", "p99", "p99_9", "max"].map(|key| of(stage, key));
        assert!(times.is_sorted(), "{stage}: {times:?}");
    }
    assert!(of("total", "min") >= of("inference", "min"), "the whole is no less than its part: {report}");
    assert!(of("inference", "min") > 0 && of("decode", "min") > 0, "{report}");
    let times: Vec<u64> = run["times"]["total"].as_array().unwrap().iter().map(|time| time.as_u64().unwrap()).collect();
    assert_eq!((times.len(), times.iter().min().copied()), (30, Some(of("total", "min"))));
}

#[test]
fn the_warm_up_ends_within_its_limit_and_says_whether_windows_agreed() {
    let report = bench(&["--frames", "1", "--stable-within", "100"]);
    let warm_up = &report["runs"][0]["warm_up"];
    assert_eq!(warm_up["window"], 2);
    let windows = warm_up["medians"].as_array().unwrap().len() as u64;
    assert!(windows >= 3 || warm_up["stable"] == false, "{warm_up}");
    assert!(warm_up["frames"].as_u64().unwrap() >= 2 * windows, "{warm_up}");
}

#[test]
fn the_bundled_model_needs_no_name() {
    let output = program::run(&["bench", "--json", "--warm-up", "0", "--frames", "1"]);
    program::assert_code(&output, 0);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["model"], &report["runs"][0]["frames"]), (&"road-signs".into(), &1.into()));
}

#[test]
fn engines_and_threads_are_measured_each_with_each_and_an_earlier_run_is_compared_with() {
    let folder = tempfile::tempdir().unwrap();
    let (before, page) = (folder.path().join("before.json"), folder.path().join("report.html"));
    let report = bench(&["--frames", "40", "--engines", "tract,compiled", "--threads", "1,2"]);
    let runs: Vec<_> = report["runs"].as_array().unwrap().iter().map(|run| (&run["engine"], &run["threads"])).collect();
    assert_eq!(runs.len(), 3, "tract has one thread: {runs:?}");
    assert_eq!(runs[2], (&"compiled".into(), &2.into()));
    std::fs::write(&before, report.to_string()).unwrap();

    let again = ["--frames", "40", "--engines", "tract", "--threads", "1"];
    let options = ["--compare", before.to_str().unwrap(), "--html", page.to_str().unwrap()];
    let compared = bench(&[&again[..], &options].concat());
    let comparisons = compared["comparisons"].as_array().unwrap();
    assert_eq!(comparisons.len(), 2, "{comparisons:?}");
    for comparison in comparisons {
        let of = |key: &str| comparison[key].as_f64().unwrap();
        assert!(of("low") <= of("ratio") && of("ratio") <= of("high"), "{comparison}");
    }
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("Distribution of latency") && page.contains("of the time") && !page.contains("http"));
}

#[test]
fn pictures_can_be_given_and_one_that_is_none_is_named() {
    let report = bench(&["--frames", "3", "models/signs/frames/frame-000.jpg"]);
    assert_eq!(report["pictures"], "1 given");
    let output = program::run(&["bench", "--model", PACKAGE, "Cargo.toml"]);
    program::assert_code(&output, 8);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("Cargo.toml") && message.contains("JPEG, PNG or BMP"), "{message}");
    let output = program::run(&["bench", "--compare", "Cargo.toml"]);
    program::assert_code(&output, 2);
    assert!(String::from_utf8_lossy(&output.stderr).contains("no report of `margay bench --json`"));
}

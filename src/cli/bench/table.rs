//! The measurement as a table for a terminal.

use std::io;

use super::super::output;
use super::report::{Comparison, Report, Run};
use crate::classifier::one_shot::bench::{STABLE_WINDOWS, STAGES};
use crate::statistics::Distribution;

pub(super) fn show(report: &Report, earlier: Option<&Report>) -> io::Result<()> {
    output::line(&format!("model       {} {}", report.model, report.version))?;
    output::line(&format!("device      {}", report.processor))?;
    output::line(&format!("pictures    {}", report.pictures))?;
    for run in &report.runs {
        show_run(run)?;
    }
    if report.runs.len() > 1 {
        show_matrix(report)?;
    }
    if let Some(earlier) = earlier {
        show_comparisons(report, earlier)?;
    }
    if report.build == "debug" {
        output::complain("this is a debug build: its figures say nothing about a device; cargo build --release");
    }
    Ok(())
}

fn show_run(run: &Run) -> io::Result<()> {
    output::line("")?;
    output::line(&format!("{}; {} frames after {}", run.label(), run.frames, warm_up(run)))?;
    output::line("milliseconds       min       p50       p90       p95       p99     p99.9       max")?;
    for stage in STAGES {
        output::line(&row(stage, run.stage(stage)))?;
    }
    output::line(&format!("frames/s    {:.1}, {} thread(s) in the worker", run.frames_per_second, run.worker_threads))?;
    output::line(&format!(
        "cold start  {:.1} ms to the first answer, sandbox included",
        run.cold_start_us as f64 / 1e3
    ))?;
    if let (Some(rss), Some(pss)) = (run.rss_bytes, run.pss_bytes) {
        output::line(&format!("memory      {:.1} MiB RSS, {:.1} MiB PSS", mebibytes(rss), mebibytes(pss)))?;
    }
    if !run.warm_up.stable {
        output::complain(&format!(
            "{}: the medians of {STABLE_WINDOWS} windows never agreed in {:.1} s: the device is busy or changes its clock; \
             measure again, or allow more with --stable-within or --warm-up-limit",
            run.label(),
            run.warm_up.took_ms as f64 / 1e3
        ));
    }
    Ok(())
}

/// How the warm-up went, in words.
pub(super) fn warm_up(run: &Run) -> String {
    let warm_up = &run.warm_up;
    match (warm_up.window, warm_up.stable) {
        (0, _) => "none".to_owned(),
        (_, true) => format!("{} of warming up, then stable", warm_up.frames),
        (_, false) => format!("{} of warming up, never stable", warm_up.frames),
    }
}

fn row(name: &str, times: Distribution) -> String {
    let Distribution { min, p50, p90, p95, p99, p99_9, max } = times;
    let milliseconds = [min, p50, p90, p95, p99, p99_9, max].map(|time| format!("{:>10.3}", time as f64 / 1e3));
    format!("{name:<12}{}", milliseconds.concat())
}

fn show_matrix(report: &Report) -> io::Result<()> {
    output::line("")?;
    output::line("engine                     inference p50       p99   frame p50       p99   frames/s   RSS MiB")?;
    for run in &report.runs {
        let (inference, total) = (run.stage("inference"), run.stage("total"));
        let times = [inference.p50, inference.p99, total.p50, total.p99].map(|time| time as f64 / 1e3);
        output::line(&format!(
            "{:<27}{:>13.3}{:>10.3}{:>12.3}{:>10.3}{:>11.1}{:>10.1}",
            run.label(),
            times[0],
            times[1],
            times[2],
            times[3],
            run.frames_per_second,
            mebibytes(run.rss_bytes.unwrap_or_default())
        ))?;
    }
    Ok(())
}

fn show_comparisons(report: &Report, earlier: &Report) -> io::Result<()> {
    output::line("")?;
    output::line(&format!("against     {} {}, Margay {}", earlier.model, earlier.version, earlier.margay))?;
    for difference in differences(report, earlier) {
        output::complain(&difference);
    }
    if report.comparisons.is_empty() {
        output::complain("the earlier run has none of these engines on as many threads: nothing to compare");
    }
    for comparison in &report.comparisons {
        output::line(&sentence(comparison))?;
    }
    Ok(())
}

/// What makes a comparison say less than it seems to.
pub(super) fn differences(report: &Report, earlier: &Report) -> Vec<String> {
    let pairs = [
        ("model", format!("{} {}", report.model, report.version), format!("{} {}", earlier.model, earlier.version)),
        ("device", report.processor.to_string(), earlier.processor.to_string()),
        ("build", report.build.clone(), earlier.build.clone()),
        ("pictures", report.pictures.clone(), earlier.pictures.clone()),
    ];
    let other = pairs.into_iter().filter(|(_, now, before)| now != before);
    other.map(|(what, now, before)| format!("another {what} than in the earlier run: {now}, then {before}")).collect()
}

/// A comparison in words.
pub(super) fn sentence(comparison: &Comparison) -> String {
    let Comparison { engine, threads, stage, ratio, verdict } = comparison;
    format!(
        "{:<27}{stage:<12}{:.3} of the time ({:.3} to {:.3}): {verdict}",
        format!("{engine}, {threads} thread(s)"),
        ratio.ratio,
        ratio.low,
        ratio.high
    )
}

/// Bytes in MiB.
pub(super) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::{report, run};
    use super::*;

    #[test]
    fn what_differs_between_two_runs_is_told() {
        let now = report(vec![run("tract", &[1])]);
        assert!(differences(&now, &now).is_empty());
        let mut other = now.clone();
        other.version = "2.0.0".into();
        let found = differences(&now, &other);
        assert!(found.len() == 1 && found[0].contains("another model") && found[0].contains("2.0.0"), "{found:?}");
    }

    #[test]
    fn a_warm_up_that_never_settled_is_called_so() {
        let mut run = run("tract", &[1]);
        (run.warm_up.window, run.warm_up.frames) = (20, 60);
        assert_eq!(warm_up(&run), "60 of warming up, then stable");
        run.warm_up.stable = false;
        assert!(warm_up(&run).contains("never stable"));
        run.warm_up.window = 0;
        assert_eq!(warm_up(&run), "none");
    }
}

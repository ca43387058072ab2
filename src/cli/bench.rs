//! `margay bench`: how fast a model is on this device, and what it takes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::exit::{Code, Failed, OrFail};
use super::{model, output, progress};
use crate::classifier::one_shot::bench::{BenchOrder, BenchResult, Distribution, MAX_FRAMES, MAX_WARM_UP};
use crate::classifier::one_shot::{MAX_PICTURES, OneShot};

/// Measure a model on this device: latency by stage, frames a second, cold start, memory.
///
/// Without --model it is the bundled one. The model runs in its sandbox, frame after frame, over the pictures given, or the
/// package's golden samples, or a stand-in of 640x480. Percentiles are by nearest rank. What else runs on the device is measured with it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:  margay bench\n           margay bench --model squeezenet.tar.gz --frames 1000 --json photo.jpg"
)]
pub(super) struct Arguments {
    /// The package: a .tar.gz or .zip, or the directory that it unpacks to
    #[cfg_attr(feature = "demo", arg(long, value_name = "PACKAGE"))]
    #[cfg_attr(not(feature = "demo"), arg(long, value_name = "PACKAGE", required = true))]
    model: Option<PathBuf>,
    /// Pictures to take in turn: JPEG, PNG or BMP files
    #[arg(value_name = "PICTURE", num_args = 0..=MAX_PICTURES)]
    pictures: Vec<PathBuf>,
    /// Frames before the measurement
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=i64::from(MAX_WARM_UP)))]
    warm_up: u32,
    /// Frames measured
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_FRAMES)))]
    frames: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Everything that one run found.
#[derive(Debug, Serialize)]
struct Report {
    model: String,
    version: String,
    engine: String,
    /// The processor by its own name.
    processor: String,
    cores: usize,
    architecture: &'static str,
    margay: &'static str,
    /// `release` or `debug`; the figures of a debug build say nothing about a device.
    build: &'static str,
    pictures: String,
    warm_up: u32,
    /// Sandbox, load, golden samples and first frame, in microseconds.
    cold_start_us: u64,
    #[serde(flatten)]
    result: BenchResult,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().or_fail(Code::Failure)?;
    runtime.block_on(async {
        let package = open(arguments.model.as_deref())?;
        let start = Instant::now();
        let worker = package.load(&crate::classifier::Running::default()).await?;
        let cold_start = start.elapsed();
        let (pictures, described) = pictures(arguments, &package);
        for picture in &pictures {
            worker.add_picture(picture).await.or_fail(Code::Source)?;
        }
        let result = measure(arguments, &worker).await?;
        let report = report(arguments, &package, &worker, (described, cold_start), result);
        if arguments.json { output::json(&report) } else { show(&report) }.or_fail(Code::Failure)
    })
}

/// The package that is named, or the bundled one.
fn open(path: Option<&Path>) -> Result<model::Package, Failed> {
    match path {
        Some(path) => model::Package::open(path),
        #[cfg(feature = "demo")]
        None => {
            let folder = tempfile::tempdir().or_fail(Code::Failure)?;
            let archive = folder.path().join(super::demo::PACKAGE_NAME);
            std::fs::write(&archive, super::demo::PACKAGE).or_fail(Code::Failure)?;
            // Opening unpacks it elsewhere; the archive is done with then.
            model::Package::open(&archive)
        }
        #[cfg(not(feature = "demo"))]
        None => Err(Failed::new(Code::Usage, anyhow::anyhow!("name a package with --model"))),
    }
}

/// The pictures to take, and what they are called in the report.
fn pictures(arguments: &Arguments, package: &model::Package) -> (Vec<PathBuf>, String) {
    if !arguments.pictures.is_empty() {
        return (arguments.pictures.clone(), format!("{} given", arguments.pictures.len()));
    }
    match package.golden_pictures() {
        golden if golden.is_empty() => (golden, "a stand-in of 640x480 RGB".to_owned()),
        golden => {
            let described = format!("the package's {} golden samples", golden.len());
            (golden, described)
        }
    }
}

async fn measure(arguments: &Arguments, worker: &OneShot) -> Result<BenchResult, Failed> {
    let order = BenchOrder { warm_up: arguments.warm_up, frames: arguments.frames };
    let mut line = progress::Progress::new();
    let told = |done: u32| line.show(&format!("{done} of {} frames", order.frames));
    worker.bench(order, told).await.or_fail(Code::Model)
}

fn report(
    arguments: &Arguments,
    package: &model::Package,
    worker: &OneShot,
    (pictures, cold_start): (String, Duration),
    result: BenchResult,
) -> Report {
    let (name, version) = package.name_and_version();
    Report {
        model: name.to_owned(),
        version: version.to_owned(),
        engine: worker.engine.clone(),
        processor: processor(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        architecture: std::env::consts::ARCH,
        margay: env!("CARGO_PKG_VERSION"),
        build: if cfg!(debug_assertions) { "debug" } else { "release" },
        pictures,
        warm_up: arguments.warm_up,
        cold_start_us: u64::try_from(cold_start.as_micros()).unwrap_or(u64::MAX),
        result,
    }
}

/// The processor's own name, or on Arm the board's.
fn processor() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = |key: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let board = || std::fs::read_to_string("/proc/device-tree/model").ok();
    let name = named("model name").or_else(board).or_else(|| named("Hardware")).unwrap_or_else(|| "unknown".to_owned());
    name.trim_end_matches('\0').to_owned()
}

fn show(report: &Report) -> std::io::Result<()> {
    let result = &report.result;
    output::line(&format!("model       {} {}, {}", report.model, report.version, report.engine))?;
    output::line(&format!("device      {}, {} cores, {}", report.processor, report.cores, report.architecture))?;
    output::line(&format!("pictures    {}; {} frames after {}", report.pictures, result.frames, report.warm_up))?;
    output::line("")?;
    output::line("milliseconds       min       p50       p90       p99       max")?;
    let stages = [
        ("decode", result.decode),
        ("resize", result.resize),
        ("inference", result.inference),
        ("postprocess", result.postprocess),
        ("total", result.total),
    ];
    for (name, times) in stages {
        output::line(&row(name, times))?;
    }
    output::line("")?;
    output::line(&format!("frames/s    {:.1}, on {} thread(s)", result.frames_per_second, result.threads))?;
    output::line(&format!(
        "cold start  {:.1} ms to the first answer, sandbox included",
        report.cold_start_us as f64 / 1e3
    ))?;
    if let (Some(rss), Some(pss)) = (result.rss_bytes, result.pss_bytes) {
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        output::line(&format!("memory      {:.1} MiB RSS, {:.1} MiB PSS", mebibytes(rss), mebibytes(pss)))?;
    }
    if report.build == "debug" {
        output::complain("this is a debug build: its figures say nothing about a device; cargo build --release");
    }
    Ok(())
}

fn row(name: &str, times: Distribution) -> String {
    let Distribution { min, p50, p90, p99, max } = times;
    let milliseconds = [min, p50, p90, p99, max].map(|time| format!("{:>10.3}", time as f64 / 1e3));
    format!("{name:<12}{}", milliseconds.concat())
}

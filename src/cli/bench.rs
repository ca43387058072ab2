//! `margay bench`: how fast a model is on this device, and what it takes; engine by engine, and against an earlier run.

mod plot;
mod report;
mod table;
mod web_page;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use margay_inference::EngineChoice;

use self::report::{Comparison, Report, Run};
use super::engine::{self, EngineArguments, LibraryArguments};
use super::exit::{Code, Failed, OrFail};
use super::{model, output, progress};
use crate::classifier::Running;
use crate::classifier::one_shot::bench::{BenchOrder, BenchResult, Laps, MAX_FRAMES, MAX_WINDOW};
use crate::classifier::one_shot::{MAX_PICTURES, OneShot};

/// Measure a model on this device: latency by stage, frames a second, cold start, memory.
///
/// Without --model it is the bundled one. The model runs in its sandbox, frame after frame, over the pictures given, or the
/// package's golden samples, or a stand-in of 640x480. It is warmed until the medians of three windows agree. Percentiles
/// are by nearest rank. What else runs on the device is measured with it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:  margay bench\n           margay bench --engines tract,compiled,onnxruntime --threads 1,2 --html report.html\n           margay bench --json > before.json; …; margay bench --compare before.json\n           margay bench --model squeezenet.tar.gz --frames 1000 --json photo.jpg"
)]
pub(super) struct Arguments {
    /// The package: a .tar.gz or .zip, or the directory that it unpacks to
    #[cfg_attr(feature = "demo", arg(long, value_name = "PACKAGE"))]
    #[cfg_attr(not(feature = "demo"), arg(long, value_name = "PACKAGE", required = true))]
    model: Option<PathBuf>,
    /// Pictures to take in turn: JPEG, PNG or BMP files
    #[arg(value_name = "PICTURE", num_args = 0..=MAX_PICTURES)]
    pictures: Vec<PathBuf>,
    /// Engines to measure one after the other [default: what would run the package]
    #[arg(long, value_name = "ENGINE,…", value_delimiter = ',')]
    engines: Vec<EngineChoice>,
    /// Numbers of threads to measure with each engine that has threads [default: what leaves a core for the rest]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = engine::threads)]
    threads: Vec<usize>,
    #[command(flatten)]
    library: LibraryArguments,
    /// Frames of a window of the warm-up; 0 leaves it out
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=i64::from(MAX_WINDOW)))]
    warm_up: u32,
    /// How far the medians of three windows may lie apart, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=100))]
    stable_within: u8,
    /// The longest warm-up of an engine, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    warm_up_limit: u64,
    /// Frames measured with each engine
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_FRAMES)))]
    frames: u32,
    /// Compare with an earlier run's JSON: ratios of medians with their 95 % intervals
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Write the report as a web page that needs nothing else
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print JSON (docs/bench.schema.json)
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().or_fail(Code::Failure)?;
    // An earlier run that cannot be read is better known before a long measurement.
    let earlier = arguments.compare.as_deref().map(|path| report::read(path).or_fail(Code::Usage)).transpose()?;
    runtime.block_on(async {
        let package = open(arguments.model.as_deref())?;
        let (pictures, described) = pictures(arguments, &package);
        let mut report = Report::new(package.name_and_version(), package.digest(), described);
        for running in arguments.matrix(&package)? {
            report.runs.push(measure(arguments, &package, &running, &pictures).await?);
        }
        if let Some(earlier) = &earlier {
            report.comparisons = Comparison::between(&report, earlier);
        }
        if let Some(path) = &arguments.html {
            std::fs::write(path, web_page::of(&report))
                .with_context(|| format!("writing {}", path.display()))
                .or_fail(Code::Failure)?;
        }
        if arguments.json { output::json(&report) } else { table::show(&report, earlier.as_ref()) }
            .or_fail(Code::Failure)
    })
}

impl Arguments {
    /// Every engine with every number of threads, each that differs once.
    fn matrix(&self, package: &model::Package) -> Result<Vec<Running>, Failed> {
        let engines: Vec<Option<EngineChoice>> =
            if self.engines.is_empty() { vec![None] } else { self.engines.iter().copied().map(Some).collect() };
        let threads: Vec<Option<usize>> =
            if self.threads.is_empty() { vec![None] } else { self.threads.iter().copied().map(Some).collect() };
        let mut runnings: Vec<Running> = Vec::new();
        for engine in engines {
            for threads in &threads {
                let options = EngineArguments::new(engine, *threads, self.library.clone());
                let mut running = options.running(package.digest())?;
                running.threads = if running.engine.is_threaded() { running.threads } else { 1 };
                if !runnings.contains(&running) {
                    runnings.push(running);
                }
            }
        }
        Ok(runnings)
    }
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

async fn measure(
    arguments: &Arguments,
    package: &model::Package,
    running: &Running,
    pictures: &[PathBuf],
) -> Result<Run, Failed> {
    let start = Instant::now();
    let worker = package.load_aloud(running).await?;
    let cold_start = start.elapsed();
    for picture in pictures {
        worker.add_picture(picture).await.or_fail(Code::Source)?;
    }
    let (result, laps) = frames(arguments, &worker).await?;
    Ok(Run::new(running, &worker, cold_start, result, &laps))
}

async fn frames(arguments: &Arguments, worker: &OneShot) -> Result<(BenchResult, Laps), Failed> {
    let order = BenchOrder {
        window: arguments.warm_up,
        bound: f64::from(arguments.stable_within) / 100.0,
        limit_ms: u64::try_from(Duration::from_secs(arguments.warm_up_limit).as_millis()).unwrap_or(u64::MAX),
        frames: arguments.frames,
    };
    let mut line = progress::Progress::new();
    let told = |done: u32| line.show(&format!("{done} of {} frames on {}", order.frames, worker.engine));
    worker.bench(order, told).await.or_fail(Code::Model)
}

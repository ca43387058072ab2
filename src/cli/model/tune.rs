//! `margay model tune`: which engine runs a package best on this device, measured and kept for the core.

use std::path::{Path, PathBuf};

use margay_inference::EngineChoice;
use serde::Serialize;

use super::super::engine::{LibraryArguments, of_the_core, threads};
use super::super::exit::{Code, Failed, OrFail};
use super::super::{check, output, progress};
use super::Package;
use crate::causes::explain;
use crate::classifier::Running;
use crate::classifier::one_shot::OneShot;
use crate::classifier::one_shot::bench::BenchOrder;
use crate::classifier::one_shot::scores::Scored;
use crate::classifier::processor::Processor;
use crate::classifier::running::{cores, default_threads};
use crate::classifier::tuning::selection::{self, Selected};
use crate::classifier::tuning::{self, Choice, Measurement, Outcome, Tuning};
use crate::config;
use crate::packing::TRIAL_MEMORY;
use crate::statistics::{Distribution, median};
use crate::store::inventory;

/// Frames of a window of the warm-up, and the longest warm-up of an engine in a round, in milliseconds.
const WARM_UP: (u32, u64) = (5, 1500);

/// Time that is measured of an engine in a round, in microseconds, and the frames that it is made of at least and most.
const ROUND_US: u32 = 400_000;
const ROUND_FRAMES: (u32, u32) = (10, 400);

/// The most threads that are tried where nobody says.
const MOST_TRIED_THREADS: usize = 4;

/// The engine that the others are held against: it runs every model, and reads it itself.
const REFERENCE: EngineChoice = EngineChoice::Tract;

/// Measure which engine runs a package best on this device, and have the core run it so.
///
/// tract, the compiled engine and ONNX Runtime, where its library is found, are measured on the package's golden samples,
/// in turn and in rounds. The fastest that passes the samples and gives the same probabilities within 0.05 is kept for the
/// package's digest on this processor; the core takes it when it next loads the package. One core is left for capture and
/// uplink, and another thread has to save a tenth.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:  margay model tune road-signs-1.0.0.tar.gz\n           margay model tune    # every package that the core runs\n           margay model tune --dry-run --onnxruntime /opt/onnxruntime/lib package.tar.gz"
)]
pub(super) struct Arguments {
    /// The package's archive, as it was deployed [default: every package that the core runs]
    #[arg(value_name = "PACKAGE")]
    packages: Vec<PathBuf>,
    /// The core's config.json, which says where the choice is kept
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    #[command(flatten)]
    library: LibraryArguments,
    /// Numbers of threads to try, all of which may be chosen [default: up to the cores, of which one is left free]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = threads)]
    threads: Vec<usize>,
    /// Rounds in which the engines take turns
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Measure and say what would be chosen; keep nothing
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON document a package
    #[arg(long)]
    json: bool,
}

/// What came of a package, as printed.
#[derive(Debug, Serialize)]
struct Tuned<'a> {
    model: &'a str,
    version: &'a str,
    #[serde(flatten)]
    tuning: &'a Tuning,
    /// Where the choice is kept.
    kept: Option<PathBuf>,
}

/// A package to be tuned, by the digest under which the core knows it.
struct Subject {
    package: Package,
    digest: Option<String>,
}

pub(super) async fn run(arguments: &Arguments) -> Result<(), Failed> {
    let folder = arguments.folder()?;
    for subject in arguments.subjects()? {
        let Subject { package, digest } = &subject;
        let tuning = tune(arguments, package, digest.as_deref().unwrap_or_default()).await?;
        let kept = match (&folder, digest) {
            (Some(folder), Some(_)) => Some(tuning::write(folder, &tuning).or_fail(Code::Failure)?),
            (_, None) => {
                output::complain("not kept: a core knows a package by its archive's digest; name the archive");
                None
            }
            (None, _) => None,
        };
        let (model, version) = package.name_and_version();
        let tuned = Tuned { model, version, tuning: &tuning, kept };
        if arguments.json { output::json(&tuned) } else { show(&tuned) }.or_fail(Code::Failure)?;
    }
    Ok(())
}

impl Arguments {
    /// Where choices are kept; `None` where nothing is to be kept, or there is no core.
    fn folder(&self) -> Result<Option<PathBuf>, Failed> {
        if self.dry_run {
            return Ok(None);
        }
        if !self.config.exists() && self.config == Path::new(config::DEFAULT_PATH) {
            output::complain(&format!(
                "the choice will not be kept: there is no core's configuration at {}; name one with --config",
                self.config.display()
            ));
            return Ok(None);
        }
        Ok(Some(check::load(&self.config)?.directories.tunings()))
    }

    fn subjects(&self) -> Result<Vec<Subject>, Failed> {
        if !self.packages.is_empty() {
            let open = |path: &PathBuf| {
                let package = Package::open(path)?;
                let digest = package.digest().map(str::to_owned);
                Ok(Subject { package, digest })
            };
            return self.packages.iter().map(open).collect();
        }
        let config = check::load(&self.config)?;
        let kept = inventory(&config.directories.models(), false).or_fail(Code::Failure)?;
        let used = kept.into_iter().filter(|model| !model.uses.is_empty());
        let subjects: Result<Vec<_>, Failed> = used
            .map(|model| {
                Ok(Subject { package: Package::open(&model.directory.join("package"))?, digest: Some(model.digest) })
            })
            .collect();
        subjects.and_then(|subjects| {
            if subjects.is_empty() {
                return Err(Failed::new(Code::Model, anyhow::anyhow!("the core runs no package yet: name one")));
            }
            Ok(subjects)
        })
    }

    /// The threads to try, and the most that may be chosen.
    fn threads(&self) -> (Vec<usize>, usize) {
        if self.threads.is_empty() {
            let most = cores().min(MOST_TRIED_THREADS);
            return ((1..=most).collect(), default_threads(cores()));
        }
        (self.threads.clone(), self.threads.iter().copied().max().unwrap_or(1))
    }
}

/// What was found of one engine on so many threads, round by round.
struct Candidate {
    running: Running,
    /// The median and the 99th percentile of each round, in microseconds.
    rounds: Vec<(u32, u32)>,
    rss_bytes: Option<u64>,
    probabilities: Vec<Vec<f32>>,
    failure: Option<String>,
}

async fn tune(arguments: &Arguments, package: &Package, digest: &str) -> Result<Tuning, Failed> {
    let (threads, most_threads) = arguments.threads();
    let (mut candidates, absent) = candidates(arguments, package, &threads).await;
    let mut line = progress::Progress::new();
    for round in 1..=arguments.rounds {
        for candidate in candidates.iter_mut().filter(|candidate| candidate.failure.is_none()) {
            let Running { engine, threads, .. } = &candidate.running;
            line.show(&format!("round {round} of {}: {engine}, {threads} thread(s)", arguments.rounds));
            if let Err(why) = candidate.measure(package).await {
                candidate.failure = Some(why);
            }
        }
    }
    line.clear();
    let reference = candidates.iter().find(|candidate| candidate.failure.is_none()).map(|c| c.probabilities.clone());
    let mut measurements: Vec<Measurement> =
        candidates.iter().map(|candidate| candidate.measurement(reference.as_deref().unwrap_or_default())).collect();
    measurements.extend(absent);
    selection::exclude(&mut measurements, most_threads);
    let Some(Selected { engine, threads, reason }) = selection::select(&measurements) else {
        let failures = measurements.iter().map(|measurement| format!("\n  {}", sentence(measurement)));
        let error = anyhow::anyhow!("no engine runs the package:{}", failures.collect::<String>());
        return Err(Failed::new(Code::Model, error));
    };
    let is_chosen = |candidate: &&Candidate| candidate.running.engine == engine;
    let library = candidates.iter().find(is_chosen).and_then(|candidate| candidate.running.library.clone());
    let choice = Choice { engine, threads, library };
    Ok(Tuning::new(digest, Processor::here(), choice, reason, measurements))
}

/// What is to be measured, tract first, and what cannot be.
async fn candidates(
    arguments: &Arguments,
    package: &Package,
    threads: &[usize],
) -> (Vec<Candidate>, Option<Measurement>) {
    let mut engines = vec![(REFERENCE, None), (EngineChoice::Compiled, None)];
    let mut absent = None;
    match library(arguments, package).await {
        Ok((library, found)) => engines.extend(found.into_iter().map(|engine| (engine, Some(library.clone())))),
        Err(why) => {
            let engine = EngineChoice::OnnxRuntime(margay_inference::Provider::Cpu);
            absent = Some(Measurement { engine, threads: 1, outcome: Outcome::Failed { why } });
        }
    }
    let mut candidates = Vec::new();
    for (engine, library) in engines {
        let threads = if engine.is_threaded() { threads } else { &[1] };
        candidates.extend(threads.iter().map(|&threads| {
            let running = Running { engine, threads, library: library.clone(), may_fall_back: false };
            Candidate { running, rounds: Vec::new(), rss_bytes: None, probabilities: Vec::new(), failure: None }
        }));
    }
    (candidates, absent)
}

/// ONNX Runtime's library and what it offers, or why it offers nothing.
async fn library(arguments: &Arguments, package: &Package) -> Result<(PathBuf, Vec<EngineChoice>), String> {
    let library = match arguments.library.asked_for().map_err(words)? {
        Some(library) => library,
        None => match of_the_core(&arguments.config).library {
            Some(library) => library,
            None => arguments.library.find().map_err(words)?,
        },
    };
    let found = OneShot::providers(&library, &package.directory, TRIAL_MEMORY).await;
    found.map(|engines| (library, engines)).map_err(|error| explain(&error))
}

/// A failure in one line.
fn words(failed: Failed) -> String {
    failed.error.map_or_else(String::new, |error| format!("{error:#}"))
}

impl Candidate {
    /// One round: the package is loaded, which tries its golden samples, and its frames are timed.
    async fn measure(&mut self, package: &Package) -> Result<(), String> {
        let worker = package.load(&self.running).await.map_err(words)?;
        if let Some(remark) = &worker.remark {
            return Err(remark.clone());
        }
        let pictures = package.golden_pictures();
        if self.probabilities.is_empty() {
            self.probabilities = probabilities(&worker, &pictures).await?;
        }
        for picture in &pictures {
            worker.add_picture(picture).await.map_err(|error| explain(&error))?;
        }
        let (window, limit_ms) = WARM_UP;
        let trial = BenchOrder { window, bound: 0.1, limit_ms, frames: ROUND_FRAMES.0 };
        let (_, laps) = worker.bench(trial, |_| {}).await.map_err(|error| explain(&error))?;
        let frames = (ROUND_US / median(laps.of("total")).max(1)).clamp(ROUND_FRAMES.0, ROUND_FRAMES.1);
        let order = BenchOrder { window: 0, frames, ..trial };
        let (result, laps) = worker.bench(order, |_| {}).await.map_err(|error| explain(&error))?;
        let Distribution { p50, p99, .. } = Distribution::of(laps.of("inference"));
        let narrow = |time: u64| u32::try_from(time).unwrap_or(u32::MAX);
        self.rounds.push((narrow(p50), narrow(p99)));
        self.rss_bytes = self.rss_bytes.max(result.rss_bytes);
        Ok(())
    }

    fn measurement(&self, reference: &[Vec<f32>]) -> Measurement {
        let Running { engine, threads, .. } = self.running;
        let outcome = match &self.failure {
            Some(why) => Outcome::Failed { why: why.clone() },
            None => Outcome::Ran {
                p50_us: self.median_of(|(p50, _)| *p50),
                p99_us: self.median_of(|(_, p99)| *p99),
                rss_bytes: self.rss_bytes,
                difference: difference(reference, &self.probabilities),
                excluded: None,
            },
        };
        Measurement { engine, threads, outcome }
    }

    fn median_of(&self, take: impl Fn(&(u32, u32)) -> u32) -> u64 {
        u64::from(median(&self.rounds.iter().map(take).collect::<Vec<_>>()))
    }
}

/// The probabilities of every class for each picture, or for a picture that stands in.
async fn probabilities(worker: &OneShot, pictures: &[PathBuf]) -> Result<Vec<Vec<f32>>, String> {
    let mut encoded = Vec::new();
    for picture in pictures {
        encoded.push(std::fs::read(picture).map_err(|error| format!("reading {}: {error}", picture.display()))?);
    }
    if encoded.is_empty() {
        encoded.push(stand_in());
    }
    let mut all = Vec::new();
    for picture in encoded {
        let scores = worker.scores(Scored::Picture, &picture).await.map_err(|error| explain(&error))?;
        all.push(scores.outputs);
    }
    Ok(all)
}

/// A picture of coloured noise, as a BMP file of 64 x 64 pixels.
fn stand_in() -> Vec<u8> {
    const SIDE: u32 = 64;
    let pixels = 3 * SIDE * SIDE;
    let mut file = b"BM".to_vec();
    for field in [54 + pixels, 0, 54, 40, SIDE, SIDE, (24 << 16) | 1, 0, pixels, 2835, 2835, 0, 0] {
        file.extend(field.to_le_bytes());
    }
    let mut state = 1_u32;
    file.extend((0..pixels).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    }));
    file
}

/// The largest difference between two sets of probabilities; no number where they are not of the same classes.
fn difference(reference: &[Vec<f32>], found: &[Vec<f32>]) -> f32 {
    if reference.len() != found.len() || reference.iter().zip(found).any(|(a, b)| a.len() != b.len()) {
        return f32::NAN;
    }
    let pairs = reference.iter().flatten().zip(found.iter().flatten());
    pairs
        .map(|(a, b)| (a - b).abs())
        .fold(0.0_f32, |most, gap| if gap.is_nan() || most.is_nan() { f32::NAN } else { most.max(gap) })
}

fn show(tuned: &Tuned<'_>) -> std::io::Result<()> {
    let Tuned { model, version, tuning, kept } = tuned;
    output::line(&format!("model       {model} {version}"))?;
    output::line(&format!("device      {}", tuning.processor))?;
    for measurement in &tuning.measurements {
        output::line(&format!("  {}", sentence(measurement)))?;
    }
    let Choice { engine, threads, .. } = &tuning.choice;
    output::line(&format!("chosen      {engine}, {threads} thread(s): {}", tuning.reason))?;
    match kept {
        Some(path) => {
            output::line(&format!("kept        {}; the core takes it when it next loads the package", path.display()))
        }
        None => output::line("kept        nowhere"),
    }
}

/// A measurement on one line.
fn sentence(measurement: &Measurement) -> String {
    let label = format!("{}, {} thread(s)", measurement.engine, measurement.threads);
    match &measurement.outcome {
        Outcome::Failed { why } => format!("{label:<32}does not run it: {why}"),
        Outcome::Ran { p50_us, p99_us, rss_bytes, difference, excluded } => {
            let memory =
                rss_bytes.map_or_else(String::new, |bytes| format!(", {:.1} MiB", bytes as f64 / f64::from(1 << 20)));
            let excluded = excluded.as_ref().map_or_else(String::new, |why| format!("; not chosen: {why}"));
            let (p50, p99) = (*p50_us as f64 / 1e3, *p99_us as f64 / 1e3);
            format!("{label:<32}{p50:>9.3} ms (p99 {p99:.3}){memory}, differs by {difference:.6}{excluded}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_compared_class_by_class() {
        let reference = vec![vec![0.5, 0.5], vec![1.0, 0.0]];
        assert_eq!(difference(&reference, &reference), 0.0);
        assert_eq!(difference(&reference, &[vec![0.5, 0.5], vec![0.75, 0.25]]), 0.25);
        assert!(difference(&reference, &reference[..1]).is_nan());
        assert!(difference(&reference, &[vec![0.5], vec![1.0, 0.0]]).is_nan());
        assert!(difference(&reference, &[vec![f32::NAN, 0.5], vec![1.0, 0.0]]).is_nan());
    }

    #[test]
    fn the_stand_in_is_a_picture() {
        let still = margay_inference::Still::from_bytes(stand_in()).unwrap();
        assert_eq!((still.frame().width, still.frame().height), (64, 64));
    }
}

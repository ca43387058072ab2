//! The document of a measurement, as `--json` prints it and `--compare` reads it: docs/bench.schema.json.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::classifier::Running;
use crate::classifier::one_shot::OneShot;
use crate::classifier::one_shot::bench::{BenchResult, Laps, STAGES, WarmUp};
use crate::classifier::processor::Processor;
use crate::statistics::{Distribution, Ratio, thinned};

/// The version of the document that this program writes and reads.
const FORMAT: u32 = 1;

/// No document that is read is larger, in bytes.
const MAX_BYTES: u64 = 64 << 20;

/// Times of single frames that a document keeps of a run, at most.
const MOST_TIMES: usize = 2000;

/// The stages whose single times are kept: enough for comparing and drawing.
const KEPT: [&str; 2] = ["inference", "total"];

/// Everything that was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Report {
    format: u32,
    /// Name of the model.
    pub(super) model: String,
    pub(super) version: String,
    /// Digest of the package's archive; `None` for a directory.
    pub(super) digest: Option<String>,
    pub(super) processor: Processor,
    /// Version of Margay.
    pub(super) margay: String,
    /// `release` or `debug`; the figures of a debug build say nothing about a device.
    pub(super) build: String,
    pub(super) pictures: String,
    pub(super) runs: Vec<Run>,
    /// Against an earlier run, where one was given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) comparisons: Vec<Comparison>,
}

/// One engine on so many threads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Run {
    /// The engine that was asked for.
    pub(super) asked: String,
    /// The engine that ran.
    pub(super) engine: String,
    /// Threads of the engine.
    pub(super) threads: usize,
    /// That something else ran than was asked for, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) remark: Option<String>,
    /// Sandbox, load, golden samples and first frame, in microseconds.
    pub(super) cold_start_us: u64,
    pub(super) warm_up: WarmUp,
    pub(super) frames: u32,
    /// Frames by the time they took, with nothing between them.
    pub(super) frames_per_second: f64,
    /// In microseconds, by stage.
    pub(super) stages: BTreeMap<String, Distribution>,
    /// Threads of the whole worker.
    pub(super) worker_threads: u32,
    pub(super) rss_bytes: Option<u64>,
    pub(super) pss_bytes: Option<u64>,
    /// Times of single frames, in microseconds and in order: every so many-th, by stage.
    pub(super) times: BTreeMap<String, Vec<u32>>,
}

/// A run against the earlier run of the same engine and threads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Comparison {
    pub(super) engine: String,
    pub(super) threads: usize,
    pub(super) stage: String,
    /// Ratio of the medians, this run's to the earlier one's, with its 95 % interval.
    #[serde(flatten)]
    pub(super) ratio: Ratio,
    pub(super) verdict: String,
}

/// Why an earlier run cannot be compared with.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("reading {}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} is no report of `margay bench --json`", path.display())]
    Malformed {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("{} is over the limit of {MAX_BYTES} bytes for a report", path.display())]
    TooLarge { path: PathBuf },
    #[error("{} has the format {found}, and this Margay knows {FORMAT}: measure again, or use the Margay that wrote it", path.display())]
    Format { path: PathBuf, found: u32 },
}

impl Report {
    pub(super) fn new((name, version): (&str, &str), digest: Option<&str>, pictures: String) -> Self {
        Self {
            format: FORMAT,
            model: name.to_owned(),
            version: version.to_owned(),
            digest: digest.map(str::to_owned),
            processor: Processor::here(),
            margay: env!("CARGO_PKG_VERSION").to_owned(),
            build: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
            pictures,
            runs: Vec::new(),
            comparisons: Vec::new(),
        }
    }
}

impl Run {
    pub(super) fn new(
        running: &Running,
        worker: &OneShot,
        cold_start: Duration,
        result: BenchResult,
        laps: &Laps,
    ) -> Self {
        let seconds = laps.of("total").iter().map(|time| f64::from(*time)).sum::<f64>() / 1e6;
        Self {
            asked: running.engine.to_string(),
            engine: worker.engine.clone(),
            threads: running.threads,
            remark: worker.remark.clone(),
            cold_start_us: u64::try_from(cold_start.as_micros()).unwrap_or(u64::MAX),
            warm_up: result.warm_up,
            frames: result.frames,
            frames_per_second: if seconds > 0.0 { f64::from(result.frames) / seconds } else { 0.0 },
            stages: STAGES.iter().map(|stage| ((*stage).to_owned(), Distribution::of(laps.of(stage)))).collect(),
            worker_threads: result.threads,
            rss_bytes: result.rss_bytes,
            pss_bytes: result.pss_bytes,
            times: KEPT.iter().map(|stage| ((*stage).to_owned(), thinned(laps.of(stage), MOST_TIMES))).collect(),
        }
    }

    /// What tables call it.
    pub(super) fn label(&self) -> String {
        let threads = if self.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", self.threads) };
        match self.remark {
            Some(_) => format!("{} for {}, {threads}", self.engine, self.asked),
            None => format!("{}, {threads}", self.engine),
        }
    }

    /// The distribution of a stage; zeros for one that the document lacks.
    pub(super) fn stage(&self, name: &str) -> Distribution {
        self.stages.get(name).copied().unwrap_or_default()
    }

    /// Single times of a stage, in order.
    pub(super) fn times(&self, stage: &str) -> &[u32] {
        self.times.get(stage).map_or(&[], Vec::as_slice)
    }
}

impl Comparison {
    /// Every run that has an earlier one of the same engine and threads, by the model alone and by the whole frame.
    pub(super) fn between(report: &Report, earlier: &Report) -> Vec<Self> {
        let pairs = report.runs.iter().filter_map(|run| {
            let same = |other: &&Run| (&other.engine, other.threads) == (&run.engine, run.threads);
            Some((run, earlier.runs.iter().find(same)?))
        });
        pairs.flat_map(|(run, before)| KEPT.iter().filter_map(|stage| Self::of(run, before, stage))).collect()
    }

    fn of(run: &Run, before: &Run, stage: &str) -> Option<Self> {
        let ratio = Ratio::of_medians(run.times(stage), before.times(stage))?;
        let (engine, verdict) = (run.engine.clone(), ratio.verdict().to_owned());
        Some(Self { engine, threads: run.threads, stage: stage.to_owned(), ratio, verdict })
    }
}

/// Reads an earlier run's document.
pub(super) fn read(path: &Path) -> Result<Report, ReadError> {
    let io = |source| ReadError::Io { path: path.to_owned(), source };
    let malformed = |source| ReadError::Malformed { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)).map_err(io)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(ReadError::TooLarge { path: path.to_owned() });
    }
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    let Head { format } = serde_json::from_slice(&bytes).map_err(malformed)?;
    if format != FORMAT {
        return Err(ReadError::Format { path: path.to_owned(), found: format });
    }
    serde_json::from_slice(&bytes).map_err(malformed)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A run of one engine whose frames took so long.
    pub(crate) fn run(engine: &str, times: &[u32]) -> Run {
        let distribution = Distribution::of(times);
        Run {
            asked: "auto".into(),
            engine: engine.into(),
            threads: 1,
            remark: None,
            cold_start_us: 1,
            warm_up: WarmUp { stable: true, ..WarmUp::default() },
            frames: times.len() as u32,
            frames_per_second: 1.0,
            stages: STAGES.iter().map(|stage| ((*stage).to_owned(), distribution)).collect(),
            worker_threads: 1,
            rss_bytes: Some(1),
            pss_bytes: None,
            times: KEPT.iter().map(|stage| ((*stage).to_owned(), times.to_vec())).collect(),
        }
    }

    pub(crate) fn report(runs: Vec<Run>) -> Report {
        Report { runs, ..Report::new(("road-signs", "1.0.0"), None, "1 given".into()) }
    }

    #[test]
    fn runs_are_compared_with_those_of_the_same_engine_only() {
        let old = report(vec![run("tract", &[100; 50]), run("compiled", &[50; 50])]);
        let new = report(vec![run("compiled", &[40; 50]), run("onnxruntime", &[30; 50])]);
        let comparisons = Comparison::between(&new, &old);
        assert_eq!(comparisons.len(), 2, "the model alone, and the whole frame");
        for comparison in &comparisons {
            assert_eq!((comparison.engine.as_str(), comparison.verdict.as_str()), ("compiled", "faster"));
            assert!((comparison.ratio.ratio - 0.8).abs() < 1e-9);
        }
    }

    #[test]
    fn what_is_written_is_read_and_what_is_none_of_ours_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("before.json");
        let written = report(vec![run("tract", &[1, 2, 3])]);
        std::fs::write(&path, serde_json::to_vec(&written).unwrap()).unwrap();
        assert_eq!(read(&path).unwrap(), written);
        for (content, word) in [("{\"format\": 9}", "has the format 9"), ("[]", "no report"), ("", "no report")] {
            std::fs::write(&path, content).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("before.json"), "{error}");
        }
        assert!(matches!(read(Path::new("/nowhere/before.json")), Err(ReadError::Io { .. })));
    }
}

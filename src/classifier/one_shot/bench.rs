//! How fast a model is on this device: the worker's own measurement, stage by stage, with nothing between two frames
//! but the next one.

use std::fs;
use std::time::{Duration, Instant};

use margay_inference::{FrameView, Pipeline, StageTimings, Still};
use serde::{Deserialize, Serialize};

/// The most frames measured in one run: their times are kept.
pub const MAX_FRAMES: u32 = 1_000_000;

/// The most frames run before the measurement.
pub const MAX_WARM_UP: u32 = 100_000;

/// Width and height of the picture that stands in where there is none, in pixels: a common camera's.
const STAND_IN: (u32, u32) = (640, 480);

/// How long the worker measures between two words about its progress.
const WORD_EVERY: Duration = Duration::from_millis(200);

/// What is to be measured.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct BenchOrder {
    /// Frames before the measurement, while caches and branch predictors fill.
    pub warm_up: u32,
    /// Frames measured, at least 1.
    pub frames: u32,
}

/// The distribution of one stage's time, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distribution {
    /// The fastest frame.
    pub min: u64,
    /// Half of the frames took no longer.
    pub p50: u64,
    /// Nine in ten took no longer.
    pub p90: u64,
    /// 99 in a hundred took no longer.
    pub p99: u64,
    /// The slowest frame.
    pub max: u64,
}

impl Distribution {
    /// Percentiles by nearest rank: each is a time that a frame took.
    #[must_use]
    pub fn of(mut times: Vec<u64>) -> Self {
        times.sort_unstable();
        let at = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100).max(1);
            times.get(rank - 1).copied().unwrap_or_default()
        };
        Self { min: at(0), p50: at(50), p90: at(90), p99: at(99), max: at(100) }
    }
}

/// What the worker measured of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct BenchResult {
    /// Frames measured.
    pub frames: u32,
    /// Frame to RGB.
    pub decode: Distribution,
    /// RGB to tensor.
    pub resize: Distribution,
    /// Tensor to raw outputs.
    pub inference: Distribution,
    /// Raw outputs to ranked predictions.
    pub postprocess: Distribution,
    /// The whole frame.
    pub total: Distribution,
    /// Frames by the time they took, with nothing between them.
    pub frames_per_second: f64,
    /// Threads of the worker while it ran.
    pub threads: u32,
    /// Resident memory of the worker, in bytes; `None` where the kernel does not say.
    pub rss_bytes: Option<u64>,
    /// The same with shared pages divided among those who share them.
    pub pss_bytes: Option<u64>,
}

/// Runs the measurement over `pictures` in turn, or over a stand-in where there are none. `tell` hears, now and then,
/// how many frames are done.
///
/// # Errors
/// Why a picture cannot be classified.
pub fn run(
    pipeline: &mut Pipeline,
    pictures: &[Still],
    order: BenchOrder,
    mut tell: impl FnMut(u32),
) -> Result<BenchResult, String> {
    let stand_in = stand_in();
    let frames: Vec<FrameView<'_>> = if pictures.is_empty() {
        vec![FrameView::rgb24(STAND_IN.0, STAND_IN.1, &stand_in)]
    } else {
        pictures.iter().map(Still::frame).collect()
    };
    let mut frames = frames.iter().cycle();
    let mut classify = |pipeline: &mut Pipeline| -> Result<(StageTimings, u64), String> {
        let frame = frames.next().ok_or("there is no picture")?;
        let start = Instant::now();
        let classification = pipeline.classify(frame, 5).map_err(|error| crate::classifier::explain(&error))?;
        let total = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        Ok((classification.timings, total))
    };
    for _ in 0..order.warm_up.min(MAX_WARM_UP) {
        classify(pipeline)?;
    }
    let mut laps = Laps::default();
    let mut word = Instant::now();
    for done in 1..=order.frames.clamp(1, MAX_FRAMES) {
        laps.enter(classify(pipeline)?);
        if word.elapsed() >= WORD_EVERY {
            tell(done);
            word = Instant::now();
        }
    }
    Ok(laps.result())
}

/// A picture without a flat area, which would decode and resize no faster but tell a cache too little.
fn stand_in() -> Vec<u8> {
    let (width, height) = STAND_IN;
    (0..height).flat_map(|y| (0..width).flat_map(move |x| [x as u8, y as u8, (x ^ y) as u8])).collect()
}

/// Every frame's times.
#[derive(Debug, Default)]
struct Laps {
    decode: Vec<u64>,
    resize: Vec<u64>,
    inference: Vec<u64>,
    postprocess: Vec<u64>,
    total: Vec<u64>,
}

impl Laps {
    fn enter(&mut self, (stages, total): (StageTimings, u64)) {
        self.decode.push(stages.decode_us);
        self.resize.push(stages.resize_us);
        self.inference.push(stages.inference_us);
        self.postprocess.push(stages.postprocess_us);
        self.total.push(total);
    }

    fn result(self) -> BenchResult {
        let frames = u32::try_from(self.total.len()).unwrap_or(u32::MAX);
        let seconds = self.total.iter().sum::<u64>() as f64 / 1e6;
        let memory = fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
        BenchResult {
            frames,
            decode: Distribution::of(self.decode),
            resize: Distribution::of(self.resize),
            inference: Distribution::of(self.inference),
            postprocess: Distribution::of(self.postprocess),
            total: Distribution::of(self.total),
            frames_per_second: if seconds > 0.0 { f64::from(frames) / seconds } else { 0.0 },
            threads: fs::read_dir("/proc/self/task").map_or(1, |tasks| tasks.count() as u32),
            rss_bytes: kilobytes(&memory, "Rss:"),
            pss_bytes: kilobytes(&memory, "Pss:"),
        }
    }
}

/// The field of smaps_rollup (proc(5)), in bytes.
fn kilobytes(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_frames_took() {
        let times: Vec<u64> = (1..=200).rev().collect();
        assert_eq!(Distribution::of(times), Distribution { min: 1, p50: 100, p90: 180, p99: 198, max: 200 });
        assert_eq!(Distribution::of(vec![7]), Distribution { min: 7, p50: 7, p90: 7, p99: 7, max: 7 });
        assert_eq!(Distribution::of(Vec::new()), Distribution::default());
    }

    #[test]
    fn memory_is_read_from_the_kernels_words() {
        let text =
            "00400000-7ffc [rollup]\nRss:               20480 kB\nPss:                1024 kB\nPss_Dirty: 1 kB\n";
        assert_eq!(kilobytes(text, "Rss:"), Some(20_971_520));
        assert_eq!(kilobytes(text, "Pss:"), Some(1_048_576));
        assert_eq!(kilobytes("", "Rss:"), None);
    }
}

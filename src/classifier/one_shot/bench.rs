//! How fast a model is on this device: the worker's own measurement, stage by stage, with nothing between two frames
//! but the next one. Every frame's times cross in memory that the asking process made: they are more than a message.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use margay_inference::{FrameView, Pipeline, StageTimings, Still};
use serde::{Deserialize, Serialize};

use crate::statistics::{agree, median};

/// The most frames measured in one run: their times are kept.
pub const MAX_FRAMES: u32 = 1_000_000;

/// The most frames of a window of the warm-up.
pub const MAX_WINDOW: u32 = 100_000;

/// Windows whose medians have to agree before the measurement begins.
pub const STABLE_WINDOWS: usize = 3;

/// The medians of the warm-up that are told, the last ones.
const TOLD_WINDOWS: usize = 100;

/// Width and height of the picture that stands in where there is none, in pixels: a common camera's.
const STAND_IN: (u32, u32) = (640, 480);

/// How long the worker measures between two words about its progress.
const WORD_EVERY: Duration = Duration::from_millis(200);

/// Bytes of a frame's times in the shared memory: one little-endian u32 a stage.
const FRAME_BYTES: usize = 4 * STAGES.len();

/// The stages, in the order of a frame's times.
pub const STAGES: [&str; 5] = ["decode", "resize", "inference", "postprocess", "total"];

/// What is to be measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BenchOrder {
    /// Frames of a window of the warm-up; 0 leaves it out.
    pub window: u32,
    /// How far the medians of [`STABLE_WINDOWS`] windows may lie apart, as a part of their middle.
    pub bound: f64,
    /// The longest that the warm-up may take, in milliseconds; the measurement then begins all the same.
    pub limit_ms: u64,
    /// Frames measured, at least 1.
    pub frames: u32,
}

/// How the warm-up went.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WarmUp {
    /// Frames of a window.
    pub window: u32,
    /// Frames in all.
    pub frames: u32,
    /// Median time of a frame in each window, the last hundred, in microseconds.
    pub medians: Vec<u32>,
    /// Whether the last windows agreed. If they never did, the figures tell of a device that was busy, or not at a
    /// steady clock.
    pub stable: bool,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// What the worker measured of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BenchResult {
    /// Frames measured; as many are in the shared memory.
    pub frames: u32,
    /// What came before.
    pub warm_up: WarmUp,
    /// Threads of the worker while it ran.
    pub threads: u32,
    /// Resident memory of the worker, in bytes; `None` where the kernel does not say.
    pub rss_bytes: Option<u64>,
    /// The same with shared pages divided among those who share them.
    pub pss_bytes: Option<u64>,
}

/// Every frame's times by stage, in microseconds, in the order in which the frames were taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Laps {
    /// As [`STAGES`] names them.
    pub stages: [Vec<u32>; STAGES.len()],
}

impl Laps {
    /// The times of the stage with this name; none for a name that is no stage.
    #[must_use]
    pub fn of(&self, stage: &str) -> &[u32] {
        STAGES.iter().position(|name| *name == stage).map_or(&[], |at| &self.stages[at])
    }

    fn enter(&mut self, (stages, total): (StageTimings, u64)) {
        let times = [stages.decode_us, stages.resize_us, stages.inference_us, stages.postprocess_us, total];
        for (series, time) in self.stages.iter_mut().zip(times) {
            series.push(u32::try_from(time).unwrap_or(u32::MAX));
        }
    }

    fn write(&self, memory: &mut File) -> io::Result<()> {
        let frames = self.stages[0].len();
        let mut bytes = Vec::with_capacity(frames * FRAME_BYTES);
        for frame in 0..frames {
            bytes.extend(self.stages.iter().flat_map(|series| series[frame].to_le_bytes()));
        }
        memory.write_all(&bytes)
    }

    /// Reads the times of so many frames.
    pub(super) fn read(memory: &mut File, frames: u32) -> io::Result<Self> {
        let mut bytes = vec![0; frames as usize * FRAME_BYTES];
        memory.rewind()?;
        memory.read_exact(&mut bytes)?;
        let mut laps = Self::default();
        for frame in bytes.as_chunks::<FRAME_BYTES>().0 {
            for (series, time) in laps.stages.iter_mut().zip(frame.as_chunks().0) {
                series.push(u32::from_le_bytes(*time));
            }
        }
        Ok(laps)
    }
}

/// Runs the measurement over `pictures` in turn, or over a stand-in where there are none, and writes every frame's times
/// into the descriptor that came along. `tell` hears, now and then, how many frames are done.
///
/// # Errors
/// Why a picture cannot be classified, or the times cannot be written.
pub(super) fn run(
    pipeline: &mut Pipeline,
    pictures: &[Still],
    order: BenchOrder,
    descriptors: Vec<OwnedFd>,
    mut tell: impl FnMut(u32),
) -> Result<BenchResult, String> {
    let wanted = descriptors.into_iter().next().ok_or("the measurement came without memory for its times")?;
    let stand_in = stand_in();
    let frames: Vec<FrameView<'_>> = if pictures.is_empty() {
        vec![FrameView::rgb24(STAND_IN.0, STAND_IN.1, &stand_in)]
    } else {
        pictures.iter().map(Still::frame).collect()
    };
    let mut frames = frames.iter().cycle();
    let mut classify = || -> Result<(StageTimings, u64), String> {
        let frame = frames.next().ok_or("there is no picture")?;
        let start = Instant::now();
        let classification = pipeline.classify(frame, 5).map_err(|error| crate::causes::explain(&error))?;
        let total = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        Ok((classification.timings, total))
    };
    let warm_up = warm_up(order, &mut classify)?;
    let mut laps = Laps::default();
    let mut word = Instant::now();
    for done in 1..=order.frames.clamp(1, MAX_FRAMES) {
        laps.enter(classify()?);
        if word.elapsed() >= WORD_EVERY {
            tell(done);
            word = Instant::now();
        }
    }
    laps.write(&mut File::from(wanted)).map_err(|error| format!("writing the times: {error}"))?;
    Ok(result(&laps, warm_up))
}

/// Runs windows of frames until their medians agree, or the time is up.
fn warm_up(
    order: BenchOrder,
    classify: &mut impl FnMut() -> Result<(StageTimings, u64), String>,
) -> Result<WarmUp, String> {
    let start = Instant::now();
    let mut warm_up = WarmUp { window: order.window.min(MAX_WINDOW), stable: order.window == 0, ..WarmUp::default() };
    let limit = Duration::from_millis(order.limit_ms);
    let mut times = Vec::new();
    while !warm_up.stable && start.elapsed() < limit {
        times.clear();
        while times.len() < warm_up.window as usize && start.elapsed() < limit {
            let (_, total) = classify()?;
            times.push(u32::try_from(total).unwrap_or(u32::MAX));
        }
        warm_up.frames = warm_up.frames.saturating_add(times.len() as u32);
        if times.len() == warm_up.window as usize {
            warm_up.medians.push(median(&times));
            warm_up.stable = agree(&warm_up.medians, STABLE_WINDOWS, order.bound);
        }
    }
    warm_up.medians.drain(..warm_up.medians.len().saturating_sub(TOLD_WINDOWS));
    warm_up.took_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(warm_up)
}

/// A picture without a flat area, which would decode and resize no faster but tell a cache too little.
fn stand_in() -> Vec<u8> {
    let (width, height) = STAND_IN;
    (0..height).flat_map(|y| (0..width).flat_map(move |x| [x as u8, y as u8, (x ^ y) as u8])).collect()
}

fn result(laps: &Laps, warm_up: WarmUp) -> BenchResult {
    let memory = fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    BenchResult {
        frames: u32::try_from(laps.stages[0].len()).unwrap_or(u32::MAX),
        warm_up,
        threads: fs::read_dir("/proc/self/task").map_or(1, |tasks| tasks.count() as u32),
        rss_bytes: kilobytes(&memory, "Rss:"),
        pss_bytes: kilobytes(&memory, "Pss:"),
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
    fn memory_is_read_from_the_kernels_words() {
        let text =
            "00400000-7ffc [rollup]\nRss:               20480 kB\nPss:                1024 kB\nPss_Dirty: 1 kB\n";
        assert_eq!(kilobytes(text, "Rss:"), Some(20_971_520));
        assert_eq!(kilobytes(text, "Pss:"), Some(1_048_576));
        assert_eq!(kilobytes("", "Rss:"), None);
    }

    #[test]
    fn every_frames_times_cross_the_memory_as_they_are() {
        let mut laps = Laps::default();
        for frame in 0..3 {
            let stages = StageTimings { decode_us: frame, resize_us: 10, inference_us: 1 << 40, postprocess_us: 7 };
            laps.enter((stages, 100 + frame));
        }
        let mut memory = tempfile::tempfile().unwrap();
        laps.write(&mut memory).unwrap();
        assert_eq!(Laps::read(&mut memory, 3).unwrap(), laps);
        assert_eq!(
            (laps.of("total"), laps.of("inference")[0], laps.of("sleep")),
            (&[100, 101, 102][..], u32::MAX, &[][..])
        );
        assert!(Laps::read(&mut memory, 4).is_err(), "a worker that says more than it wrote");
    }

    #[test]
    fn the_warm_up_ends_when_windows_agree_or_the_time_is_up() {
        let order = BenchOrder { window: 2, bound: 0.05, limit_ms: 60_000, frames: 1 };
        let mut totals = [900, 900, 500, 500, 101, 101, 100, 100, 102, 102, 1].into_iter();
        let warmed = warm_up(order, &mut || Ok((StageTimings::default(), totals.next().unwrap()))).unwrap();
        assert_eq!((warmed.frames, warmed.stable, warmed.medians), (10, true, vec![900, 500, 101, 100, 102]));
        let mut frame = 0;
        let mut unsteady = || {
            frame += 1;
            Ok((StageTimings::default(), if frame % 4 < 2 { 100 } else { 900 }))
        };
        let warmed = warm_up(BenchOrder { limit_ms: 5, window: 1, ..order }, &mut unsteady).unwrap();
        assert!(!warmed.stable && warmed.medians.len() <= TOLD_WINDOWS);
        let none = warm_up(BenchOrder { window: 0, ..order }, &mut unsteady).unwrap();
        assert_eq!((none.frames, none.stable), (0, true));
    }
}

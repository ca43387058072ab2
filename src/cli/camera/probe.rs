//! `margay camera probe`.

use std::path::Path;
use std::time::Duration;

use margay_camera::clock::{BootClock, Clock};
use margay_camera::v4l2::{Camera, Control, FormatWish, Interval, Lost, Negotiated};
use margay_camera::{Capture, TimestampSource};
use serde_json::json;

use super::shown;
use super::source::{self, Asked, Given};
use crate::cli::exit::{Code, Failed, OrFail};
use crate::cli::output;

/// Stream a few frames from a source and say what came: format, rate, timestamps, losses.
///
/// What is asked for is what the connector asks for by default; the camera gives the nearest it has.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:  margay camera probe /dev/video0\n          margay camera probe /dev/video0 --format mjpeg --width 1280 --height 720 --json\n          margay camera probe rpicam\nExit codes: 0 frames came; 8 the camera cannot be opened, has no such format, or delivers nothing"
)]
pub(super) struct Arguments {
    #[command(flatten)]
    asked: Asked,
    /// auto, raw, mjpeg, yuyv, uyvy, nv12, nv21, yuv420, rgb24, bgr24 or grey
    #[arg(long, default_value = "auto", value_parser = super::format)]
    format: FormatWish,
    /// How many frames to take
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    frames: u32,
    /// Stop after this many seconds, however few frames have come
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was seen.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    frames: u32,
    /// The first frame's time.
    first: Option<Duration>,
    /// From the first frame's time to the last one's.
    span: Duration,
    /// The largest time from capture to arrival.
    oldest: Duration,
    timestamps: Option<TimestampSource>,
    lost: Lost,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failed> {
    match arguments.asked.device() {
        Some(path) => probe_device(path, arguments),
        None => probe_source(arguments),
    }
}

fn probe_device(path: &Path, arguments: &Arguments) -> Result<(), Failed> {
    let mut camera = super::open_device(path, &arguments.asked, arguments.format).or_fail(Code::Source)?;
    let seen = watch(&mut camera, arguments)?;
    let negotiated = camera.negotiated();
    let controls = Camera::controls(path).or_fail(Code::Source)?;
    if arguments.json {
        let (identity, Lost { missed, damaged, passed_over }) = (camera.identity(), seen.lost);
        return output::json(&json!({
            "path": path, "name": identity.name, "driver": identity.driver, "bus": identity.bus,
            "fourcc": negotiated.fourcc, "width": negotiated.width, "height": negotiated.height,
            "stride": negotiated.stride, "frames_per_second_set": negotiated.interval.map(Interval::rate),
            "frames": seen.frames, "frames_per_second": seen.rate(), "timestamps": seen.timestamps,
            "oldest_at_arrival_ms": seen.oldest.as_secs_f64() * 1000.0,
            "controls": controls, "missed": missed, "damaged": damaged, "passed_over": passed_over,
        }))
        .or_fail(Code::Failure);
    }
    output::line(&format!("camera      {}", shown(camera.identity()))).or_fail(Code::Failure)?;
    for line in lines(negotiated, &seen).into_iter().chain(controls.iter().map(control_line)) {
        output::line(&line).or_fail(Code::Failure)?;
    }
    Ok(())
}

fn control_line(control: &Control) -> String {
    let Control { name, least, most, step, default, .. } = control;
    format!("control     {name}: {least} to {most} in steps of {step}, at first {default}")
}

/// The same for a source that is no device: what it says of itself is what its frames say.
fn probe_source(arguments: &Arguments) -> Result<(), Failed> {
    let config = arguments.asked.config(arguments.format).or_fail(Code::Usage)?;
    let mut source = margay_camera::source::open(&config).or_fail(Code::Source)?;
    let end = BootClock.boottime() + Duration::from_secs(arguments.seconds);
    let (mut seen, mut bytes, mut skipped) = (Seen::default(), Vec::new(), 0);
    let mut last = None;
    while seen.frames < arguments.frames && BootClock.boottime() < end {
        match source::next(source.as_mut(), &mut bytes).or_fail(Code::Source)? {
            Given::Frame(capture) => {
                seen.take(&capture);
                last = Some((capture, bytes.len()));
            }
            Given::Skipped(items, _) => skipped += items,
            Given::Nothing => {}
        }
    }
    let Some((capture, length)) = last else {
        return Err(Failed::new(Code::Source, anyhow::anyhow!("no frame came within {} s", arguments.seconds)));
    };
    let Capture { format, width, height, .. } = capture;
    let fourcc = String::from_utf8_lossy(&format.fourcc()).into_owned();
    if arguments.json {
        return output::json(&json!({
            "source": arguments.asked.source, "fourcc": fourcc, "width": width, "height": height, "bytes": length,
            "frames": seen.frames, "frames_per_second": seen.rate(), "timestamps": seen.timestamps, "skipped": skipped,
        }))
        .or_fail(Code::Failure);
    }
    let measured = seen.rate().map_or("too few frames to tell".to_owned(), |rate| format!("{rate:.2} fps"));
    for line in [
        format!("source      {}", arguments.asked.source),
        format!("format      {fourcc} {width}x{height}, {length} bytes"),
        format!("rate        measured {measured} over {} frames", seen.frames),
        format!("timestamps  {}", stands_for(seen.timestamps)),
        format!("skipped     {skipped}"),
    ] {
        output::line(&line).or_fail(Code::Failure)?;
    }
    Ok(())
}

/// Takes frames until there are enough or the time is over.
fn watch(camera: &mut Camera, arguments: &Arguments) -> Result<Seen, Failed> {
    const PATIENCE: Duration = Duration::from_millis(250);
    let end = BootClock.boottime() + Duration::from_secs(arguments.seconds);
    let mut seen = Seen::default();
    while seen.frames < arguments.frames && BootClock.boottime() < end {
        let Some(shot) = camera.next(PATIENCE).or_fail(Code::Source)? else { continue };
        seen.take(&shot.capture);
    }
    seen.lost = camera.lost();
    Ok(seen)
}

impl Seen {
    fn take(&mut self, capture: &Capture) {
        let taken = Duration::from_nanos(capture.captured_ns);
        self.frames += 1;
        self.span = taken.saturating_sub(*self.first.get_or_insert(taken));
        self.oldest = self.oldest.max(BootClock.boottime().saturating_sub(taken));
        self.timestamps = Some(capture.timestamp_source);
    }

    /// Frames a second; `None` where too few came.
    fn rate(&self) -> Option<f64> {
        (self.frames > 1 && !self.span.is_zero()).then(|| f64::from(self.frames - 1) / self.span.as_secs_f64())
    }
}

fn lines(negotiated: &Negotiated, seen: &Seen) -> Vec<String> {
    let Negotiated { fourcc, width, height, stride, interval, .. } = negotiated;
    let rows = if *stride > 0 { format!(", rows of {stride} bytes") } else { String::new() };
    let set = interval.map_or("not told".to_owned(), |interval| format!("{:.2} fps", interval.rate()));
    let measured = seen.rate().map_or("too few frames to tell".to_owned(), |rate| format!("{rate:.2} fps"));
    let Lost { missed, damaged, passed_over } = seen.lost;
    vec![
        format!("format      {fourcc} {width}x{height}{rows}"),
        format!("rate        set {set}; measured {measured} over {} frames", seen.frames),
        format!("timestamps  {}", stands_for(seen.timestamps)),
        format!("age         {:.1} ms at most, from that time to arrival", seen.oldest.as_secs_f64() * 1000.0),
        format!("lost        {missed} missed, {damaged} damaged, {passed_over} passed over for newer ones"),
    ]
}

fn stands_for(timestamps: Option<TimestampSource>) -> &'static str {
    match timestamps {
        Some(TimestampSource::KernelStartOfExposure) => "the driver's, at the start of exposure",
        Some(TimestampSource::KernelEndOfFrame) => "the driver's, when the last byte had arrived",
        Some(TimestampSource::KernelUnknown) => "the driver's, at a moment that it does not tell",
        Some(TimestampSource::Arrival) => "ours, at arrival: there are no others, or they make no sense",
        Some(TimestampSource::Replay) => "ours: the pictures are stored or drawn",
        None => "none",
    }
}

#[cfg(test)]
mod tests {
    use margay_camera::PixelFormat;
    use margay_camera::v4l2::FourCc;

    use super::*;

    #[test]
    fn what_was_seen_is_told_in_lines() {
        let negotiated = Negotiated {
            fourcc: FourCc::try_from("YUYV".to_owned()).unwrap(),
            format: PixelFormat::Yuyv,
            width: 640,
            height: 480,
            stride: 1280,
            interval: Some(Interval { numerator: 1, denominator: 30 }),
        };
        let seen = Seen {
            frames: 61,
            first: None,
            span: Duration::from_secs(2),
            oldest: Duration::from_micros(12_340),
            timestamps: Some(TimestampSource::KernelEndOfFrame),
            lost: Lost { missed: 3, ..Lost::default() },
        };
        assert_eq!(
            lines(&negotiated, &seen),
            [
                "format      YUYV 640x480, rows of 1280 bytes",
                "rate        set 30.00 fps; measured 30.00 fps over 61 frames",
                "timestamps  the driver's, when the last byte had arrived",
                "age         12.3 ms at most, from that time to arrival",
                "lost        3 missed, 0 damaged, 0 passed over for newer ones",
            ]
        );
        let one = Seen { frames: 1, span: Duration::ZERO, ..seen };
        assert_eq!(one.rate(), None);
    }
}

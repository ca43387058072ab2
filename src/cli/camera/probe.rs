//! `margay camera probe`.

use std::time::Duration;

use margay_camera::clock::{BootClock, Clock};
use margay_camera::v4l2::{Camera, FormatWish, Interval, Lost, Negotiated};
use margay_camera::{Capture, TimestampSource};
use serde_json::json;

use super::{Asked, shown};
use crate::cli::exit::{Code, Failed, OrFail};
use crate::cli::output;

/// Stream a few frames from a camera and say what came: format, rate, timestamps, losses.
///
/// What is asked for is what the connector asks for by default; the camera gives the nearest it has.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:  margay camera probe /dev/video0\n          margay camera probe /dev/video0 --format mjpeg --width 1280 --height 720 --json\nExit codes: 0 frames came; 8 the camera cannot be opened, has no such format, or delivers nothing"
)]
pub(super) struct Arguments {
    #[command(flatten)]
    asked: Asked,
    /// auto, raw, mjpeg, yuyv, uyvy, nv12, rgb24 or grey
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
#[derive(Debug, PartialEq)]
struct Seen {
    frames: u32,
    /// From the first frame's time to the last one's.
    span: Duration,
    /// The largest time from capture to arrival.
    oldest: Duration,
    timestamps: Option<TimestampSource>,
    lost: Lost,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failed> {
    let mut camera = arguments.asked.open(arguments.format).or_fail(Code::Source)?;
    let seen = watch(&mut camera, arguments)?;
    let negotiated = camera.negotiated();
    if arguments.json {
        let (identity, Lost { missed, damaged, passed_over }) = (camera.identity(), seen.lost);
        return output::json(&json!({
            "path": arguments.asked.device, "name": identity.name, "driver": identity.driver, "bus": identity.bus,
            "fourcc": negotiated.fourcc, "width": negotiated.width, "height": negotiated.height,
            "stride": negotiated.stride, "frames_per_second_set": negotiated.interval.map(Interval::rate),
            "frames": seen.frames, "frames_per_second": seen.rate(), "timestamps": seen.timestamps,
            "oldest_at_arrival_ms": seen.oldest.as_secs_f64() * 1000.0,
            "missed": missed, "damaged": damaged, "passed_over": passed_over,
        }))
        .or_fail(Code::Failure);
    }
    output::line(&format!("camera      {}", shown(camera.identity()))).or_fail(Code::Failure)?;
    for line in lines(negotiated, &seen) {
        output::line(&line).or_fail(Code::Failure)?;
    }
    Ok(())
}

/// Takes frames until there are enough or the time is over.
fn watch(camera: &mut Camera, arguments: &Arguments) -> Result<Seen, Failed> {
    const PATIENCE: Duration = Duration::from_millis(250);
    let end = BootClock.boottime() + Duration::from_secs(arguments.seconds);
    let nothing = Duration::ZERO;
    let mut seen = Seen { frames: 0, span: nothing, oldest: nothing, timestamps: None, lost: Lost::default() };
    let mut first = None;
    while seen.frames < arguments.frames && BootClock.boottime() < end {
        let Some(shot) = camera.next(PATIENCE).or_fail(Code::Source)? else { continue };
        let Capture { captured_ns, timestamp_source, .. } = shot.capture;
        let taken = Duration::from_nanos(captured_ns);
        seen.frames += 1;
        seen.span = taken.saturating_sub(*first.get_or_insert(taken));
        seen.oldest = seen.oldest.max(BootClock.boottime().saturating_sub(taken));
        seen.timestamps = Some(timestamp_source);
    }
    seen.lost = camera.lost();
    Ok(seen)
}

impl Seen {
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
        Some(TimestampSource::Arrival) => "ours, at arrival: the driver's make no sense",
        Some(TimestampSource::Replay) | None => "none",
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

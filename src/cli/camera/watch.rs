//! `margay camera watch`.

use std::time::Duration;

use margay_camera::clock::{BootClock, Clock};
use margay_camera::source::FrameSource;
use margay_camera::v4l2::FormatWish;
use margay_camera::{Capture, FrameMeta};
use serde_json::json;

use super::source::{Asked, Given, next};
use crate::backoff::Backoff;
use crate::causes::explain;
use crate::classifier::{Glance, Look, Shades};
use crate::cli::exit::{Code, Failed, OrFail};
use crate::cli::output;

/// Between two lines.
const LINE: Duration = Duration::from_secs(1);

/// Pauses before a source that failed is opened again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Watch a source: a line each second, and what becomes of it when it is pulled out and comes back.
///
/// A line has the frames of that second, their format, the mean luma (0 black, 255 white) and how much of the picture is
/// dark (below 20) and bright (above 245), in percent.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:  margay camera watch /dev/video0\n          margay camera watch rpicam --seconds 10 --json\n          margay camera watch http://camera.local/video\nExit codes: 0 at least one frame came; 8 none did"
)]
pub(super) struct Arguments {
    #[command(flatten)]
    asked: Asked,
    /// auto, raw, mjpeg, or a format of the camera such as yuyv or nv12
    #[arg(long, default_value = "auto", value_parser = super::format)]
    format: FormatWish,
    /// Stop after this many seconds; by default at Ctrl-C
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
    /// Print JSON, a document a line
    #[arg(long)]
    json: bool,
}

/// What came since the last line.
#[derive(Debug, Default)]
struct Second {
    frames: u64,
    skipped: u64,
    last: Option<Capture>,
    bytes: usize,
    look: Option<Look>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failed> {
    // What cannot be meant is refused before anything is waited for.
    arguments.asked.config(arguments.format).or_fail(Code::Usage)?;
    let end = arguments.seconds.map(|seconds| BootClock.boottime() + Duration::from_secs(seconds));
    let mut pauses = Backoff::new(PAUSE.0, PAUSE.1);
    let mut frames = 0;
    while end.is_none_or(|end| BootClock.boottime() < end) {
        let watched = arguments.asked.open(arguments.format).and_then(|mut source| {
            pauses.reset();
            watch(source.as_mut(), arguments, end, &mut frames)
        });
        if let Err(error) = watched {
            tell_failure(&error, arguments.json)?;
            let pause = BootClock.boottime() + pauses.next();
            BootClock.wait_until(end.map_or(pause, |end| pause.min(end)));
        }
    }
    if frames == 0 { Err(Failed::said(Code::Source)) } else { Ok(()) }
}

/// Watches until the time is over, or the source fails.
fn watch(
    source: &mut dyn FrameSource,
    arguments: &Arguments,
    end: Option<Duration>,
    frames: &mut u64,
) -> anyhow::Result<()> {
    let mut glance = Glance::new(Shades { dark_below: 20, bright_above: 245 });
    let (mut second, mut bytes) = (Second::default(), Vec::new());
    let mut due = BootClock.boottime() + LINE;
    loop {
        let given = next(source, &mut bytes)?;
        let now = BootClock.boottime();
        match given {
            Given::Frame(capture) => {
                *frames += 1;
                second.frames += 1;
                let meta = FrameMeta::new(*frames, &capture, u32::try_from(bytes.len()).unwrap_or(u32::MAX));
                second.look = glance.look(&meta, &bytes, now).or(second.look);
                (second.last, second.bytes) = (Some(capture), bytes.len());
            }
            Given::Skipped(items, why) => {
                second.skipped += items;
                output::complain(&why);
            }
            Given::Nothing => {}
        }
        if now >= due {
            due = now + LINE;
            print(&std::mem::take(&mut second), arguments.json)?;
        }
        if end.is_some_and(|end| now >= end) {
            return Ok(());
        }
    }
}

fn tell_failure(error: &anyhow::Error, json: bool) -> Result<(), Failed> {
    let why = explain(error.as_ref());
    if json {
        output::json(&json!({ "failed": why })).or_fail(Code::Failure)
    } else {
        output::complain(&why);
        Ok(())
    }
}

fn print(second: &Second, json: bool) -> anyhow::Result<()> {
    if json {
        let format = second.last.map(|capture| capture.format);
        output::json(&json!({
            "frames": second.frames, "skipped": second.skipped, "format": format, "bytes": second.bytes,
            "width": second.last.map(|capture| capture.width), "height": second.last.map(|capture| capture.height),
            "look": second.look,
        }))?;
        return Ok(());
    }
    Ok(output::line(&line(second))?)
}

fn line(second: &Second) -> String {
    let Some(capture) = &second.last else { return "0 frames".to_owned() };
    let fourcc = capture.format.fourcc();
    let mut line = format!(
        "{} frames  {} {}x{}, {} bytes",
        second.frames,
        String::from_utf8_lossy(&fourcc),
        capture.width,
        capture.height,
        second.bytes
    );
    if let Some(look) = &second.look {
        line.push_str(&format!("; luma {}, {} % dark, {} % bright", look.mean, look.dark, look.bright));
    }
    if second.skipped > 0 {
        line.push_str(&format!("; {} skipped", second.skipped));
    }
    line
}

#[cfg(test)]
mod tests {
    use margay_camera::{PixelFormat, TimestampSource};

    use super::*;

    #[test]
    fn a_second_is_a_line() {
        let capture = Capture {
            captured_ns: 0,
            timestamp_source: TimestampSource::Arrival,
            format: PixelFormat::Nv12,
            width: 640,
            height: 480,
            stride: 640,
            region: None,
            item: 0,
        };
        let look = Look { mean: 9, dark: 97, bright: 0, fingerprint: 1, live: true };
        let second = Second { frames: 30, skipped: 2, last: Some(capture), bytes: 460_800, look: Some(look) };
        assert_eq!(line(&second), "30 frames  NV12 640x480, 460800 bytes; luma 9, 97 % dark, 0 % bright; 2 skipped");
        assert_eq!(line(&Second::default()), "0 frames");
    }
}

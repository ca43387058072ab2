//! `margay camera …`: the cameras of this machine, without a core.

mod list;
mod probe;
mod snap;

use std::path::PathBuf;
use std::sync::Arc;

use margay_camera::clock::BootClock;
use margay_camera::source::MOST_FRAMES_PER_SECOND;
use margay_camera::v4l2::{Camera, CameraError, FormatWish, Identity, Wish};

use super::exit::Failed;

/// Look at cameras: which there are, what they deliver, one picture.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    List(list::Arguments),
    Probe(probe::Arguments),
    Snap(snap::Arguments),
}

/// Which camera, and what it is asked for.
#[derive(Debug, clap::Args)]
struct Asked {
    /// The camera: a device node such as /dev/video0, or a link to one under /dev/v4l/by-id
    device: PathBuf,
    /// Width in pixels; the camera gives the nearest it has
    #[arg(long, value_name = "PIXELS", default_value_t = 640, value_parser = clap::value_parser!(u32).range(1..=16_384))]
    width: u32,
    /// Height in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 480, value_parser = clap::value_parser!(u32).range(1..=16_384))]
    height: u32,
    /// Frames a second
    #[arg(long, value_name = "N", default_value_t = 30.0, value_parser = rate)]
    fps: f64,
}

/// A rate that a camera can be asked for.
fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if rate > 0.0 && rate <= MOST_FRAMES_PER_SECOND {
        return Ok(rate);
    }
    Err(format!("give more than 0 and at most {MOST_FRAMES_PER_SECOND}"))
}

/// The name of a format.
fn format(text: &str) -> Result<FormatWish, String> {
    let known = FormatWish::ALL.into_iter().find(|(name, _)| *name == text).map(|(_, format)| format);
    known.ok_or_else(|| format!("write one of {}", FormatWish::ALL.map(|(name, _)| name).join(", ")))
}

impl Asked {
    fn open(&self, format: FormatWish) -> Result<Camera, CameraError> {
        let &Self { width, height, fps, .. } = self;
        Camera::open(&self.device, &Wish { format, width, height, frames_per_second: fps }, Arc::new(BootClock))
    }
}

/// A camera in a few words.
fn shown(identity: &Identity) -> String {
    format!("{} ({}, {})", identity.name, identity.driver, identity.bus)
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failed> {
    match &arguments.command {
        Command::List(arguments) => list::run(arguments),
        Command::Probe(arguments) => probe::run(arguments),
        Command::Snap(arguments) => snap::run(arguments),
    }
}

//! `margay camera …`: cameras and other sources of frames, without a core.

mod list;
mod probe;
mod snap;
mod source;
mod watch;

use std::path::Path;
use std::sync::Arc;

use margay_camera::clock::BootClock;
use margay_camera::source::MOST_FRAMES_PER_SECOND;
use margay_camera::v4l2::{Camera, CameraError, FormatWish, Identity, Wish};

use self::source::Asked;
use super::exit::Failed;

/// Look at cameras and other sources: which there are, what they deliver, one picture.
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
    Watch(watch::Arguments),
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

/// Opens a camera of the kernel.
fn open_device(path: &Path, asked: &Asked, format: FormatWish) -> Result<Camera, CameraError> {
    let &Asked { width, height, fps, .. } = asked;
    Camera::open(path, &Wish { format, width, height, frames_per_second: fps }, Arc::new(BootClock))
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
        Command::Watch(arguments) => watch::run(arguments),
    }
}

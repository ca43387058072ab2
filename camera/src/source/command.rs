//! A program that delivers frames as a source: a child process whose frames come through a pipe.
//!
//! * `child`: the process; `said`: its last words; `complaint`: what they mean
//! * `rpicam`, `gstreamer`: how each program is asked for frames
//! * `words`: options and pipelines as people write them
//!
//! A source of this kind lives as long as its child: one that ends, stalls or writes garbage is ended and told, and
//! whoever opened the source opens it again after a pause.

mod child;
mod complaint;
mod error;
mod gstreamer;
mod rpicam;
mod said;
mod words;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

pub use complaint::Complaint;
pub use error::CommandError;
pub use gstreamer::{GstreamerSource, jetson_pipeline};
pub use rpicam::RpicamSource;
pub use words::{MOST_TEXT, words};

use self::child::{Child, Frames};
use super::framing::{FrameReader, RawShape};
use super::incoming::Incoming;
use super::live::{Live, Turn, check_rate};
use super::{FrameSource, MOST_SIDE, Next, SourceError};
use crate::clock::Clock;
use crate::frame::Capture;

/// Where programs are looked for, as a `PATH`.
pub const SEARCHED: &str = "/usr/local/bin:/usr/bin:/bin";

/// How long the first frame may take: a library has to find its plugins, a sensor its exposure.
const FIRST_FRAME: Duration = Duration::from_secs(20);

/// A program and what it is asked for.
#[derive(Debug)]
struct Order {
    program: PathBuf,
    arguments: Vec<OsString>,
    output: Frames,
    /// The shape of its frames; `None`: JPEG.
    raw: Option<RawShape>,
    /// The most frames a second that are wanted of it.
    rate: f64,
}

/// The frames of a child process. An item's number is its place in the stream.
#[derive(Debug)]
pub(super) struct Command {
    // Before the child, so that a child that waits for its reader is not waited for.
    live: Live<Incoming>,
    child: Child,
    name: String,
    /// The first frame, which was waited for when the child was started.
    first: Option<Capture>,
    clock: Arc<dyn Clock>,
}

/// A program that could be run for frames, and whether it is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// What it is for.
    pub what: &'static str,
    /// Where it is; `None`: it is not installed.
    pub program: Option<PathBuf>,
    /// How it is installed.
    pub how: &'static str,
}

/// The programs that sources run, and whether they are here.
#[must_use]
pub fn programs() -> Vec<Installed> {
    [("rpicam", rpicam::PROGRAMS, rpicam::HOW), ("gstreamer", gstreamer::PROGRAMS, gstreamer::HOW)]
        .into_iter()
        .map(|(what, names, how)| Installed { what, program: names.iter().find_map(|name| search(name)), how })
        .collect()
}

impl Command {
    /// Starts `rpicam-vid` and waits for its first frame.
    pub(super) fn rpicam(config: &RpicamSource, clock: Arc<dyn Clock>) -> Result<Self, SourceError> {
        check_rate(config.frames_per_second)?;
        check_size(config.width, config.height)?;
        Ok(Self::start(rpicam::order(config)?, clock)?)
    }

    /// Starts a pipeline and waits for its first frame.
    pub(super) fn gstreamer(config: &GstreamerSource, clock: Arc<dyn Clock>) -> Result<Self, SourceError> {
        check_rate(config.frames_per_second)?;
        check_size(config.width, config.height)?;
        Ok(Self::start(gstreamer::order(config)?, clock)?)
    }

    fn start(order: Order, clock: Arc<dyn Clock>) -> Result<Self, CommandError> {
        let Order { program, arguments, output, raw, rate } = order;
        let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
        let not_started = |source| CommandError::NotStarted { program: program.clone(), source };
        let (child, from) = Child::start(&program, &arguments, output, clock.clone()).map_err(not_started)?;
        let input = Incoming::new(from).map_err(not_started)?;
        let frames = raw.map_or_else(FrameReader::of_jpeg, FrameReader::of_raw);
        let live = Live::new(input, frames, rate, FIRST_FRAME, clock.clone());
        let mut command = Self { live, child, name, first: None, clock };
        command.wait_for_first()?;
        command.live.expect(rate);
        Ok(command)
    }

    /// A program that cannot have its camera says so by ending; one that can is not told from it before a frame came.
    fn wait_for_first(&mut self) -> Result<(), CommandError> {
        while self.first.is_none() {
            if let Turn::Frame(capture) = self.turn(FIRST_FRAME)? {
                self.first = Some(capture);
            }
        }
        Ok(())
    }

    fn turn(&mut self, timeout: Duration) -> Result<Turn, CommandError> {
        self.child.listen();
        let deadline = self.clock.boottime().saturating_add(timeout);
        let child = &mut self.child;
        let turn = self.live.turn(deadline, &mut || child.listen());
        match turn.map_err(|source| CommandError::Reading { program: self.name.clone(), source })? {
            Turn::Ended { inside } => Err(self.ended(inside)),
            Turn::Stalled(silence) => {
                // What it says when it is told to end belongs to its last words.
                let _ = self.child.end();
                let said = self.child.said();
                Err(CommandError::Stalled {
                    program: self.name.clone(),
                    seconds: silence.as_secs_f64(),
                    complaint: Complaint::of(&said),
                    said: said::last_lines(&said),
                })
            }
            Turn::Garbage { bytes } => {
                let begins = self.live.beginning();
                Err(CommandError::Garbage { program: self.name.clone(), bytes, begins })
            }
            turn => Ok(turn),
        }
    }

    /// How the child ended, `inside` bytes into a frame.
    fn ended(&mut self, inside: usize) -> CommandError {
        let mut how = self.child.end().map_or_else(|error| error.to_string(), shown);
        if inside > 0 {
            how.push_str(&format!(", {inside} bytes into a frame"));
        }
        let said = self.child.said();
        let complaint = Complaint::of(&said);
        CommandError::Ended { program: self.name.clone(), how, complaint, said: said::last_lines(&said) }
    }
}

impl FrameSource for Command {
    fn next(&mut self, timeout: Duration, into: &mut Vec<u8>) -> Result<Next, SourceError> {
        let turn = match self.first.take() {
            Some(capture) => Turn::Frame(capture),
            None => self.turn(timeout)?,
        };
        Ok(self.live.give(turn, into, &self.name))
    }
}

fn shown(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown".to_owned(),
    }
}

/// The first of `names` that is installed, or the program that the settings name.
fn find(
    named: Option<&Path>,
    names: &'static [&'static str],
    programs: &'static str,
    how: &'static str,
) -> Result<PathBuf, CommandError> {
    let found = named.map(Path::to_owned).or_else(|| names.iter().find_map(|name| search(name)));
    found.ok_or(CommandError::NotInstalled { programs, how })
}

fn search(name: &str) -> Option<PathBuf> {
    SEARCHED.split(':').map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
}

fn check_size(width: u32, height: u32) -> Result<(), SourceError> {
    let sides = 1..=MOST_SIDE;
    if sides.contains(&width) && sides.contains(&height) {
        return Ok(());
    }
    Err(SourceError::CameraSize { width, height, most: MOST_SIDE })
}

/// The shape of raw images whose rows the program does not pad.
fn raw_shape(format: crate::PixelFormat, width: u32, height: u32, step: u32) -> Result<RawShape, CommandError> {
    let padded = CommandError::Padded { width, height, step };
    if !width.is_multiple_of(step) || !height.is_multiple_of(2) {
        return Err(padded);
    }
    RawShape::tight(format, width, height).ok_or(padded)
}

#[cfg(test)]
mod tests;

//! What a command line names as a source of frames.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use margay_camera::Capture;
use margay_camera::source::{
    self, FolderOrder, FolderSource, FrameSource, GstreamerSource, HttpSource, MjpegFileSource, Next, RpicamSource,
    SourceConfig, SourceError, TestPatternSource, V4l2Source, jetson_pipeline,
};
use margay_camera::v4l2::{Adjustments, FormatWish};

/// The longest that one attempt to get a frame takes, so that a signal is not kept waiting.
const PATIENCE: Duration = Duration::from_millis(250);

/// Which source, and what it is asked for.
#[derive(Debug, clap::Args)]
pub(super) struct Asked {
    /// The source: a device node such as /dev/video0 or a link to one under /dev/v4l/by-id; rpicam or rpicam:1; jetson or
    /// jetson:1; gstreamer; http://HOST/PATH; a folder, picture or .mjpeg file; test-pattern
    pub(super) source: String,
    /// Width in pixels; a camera gives the nearest it has
    #[arg(long, value_name = "PIXELS", default_value_t = 640, value_parser = clap::value_parser!(u32).range(1..=16_384))]
    pub(super) width: u32,
    /// Height in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 480, value_parser = clap::value_parser!(u32).range(1..=16_384))]
    pub(super) height: u32,
    /// Frames a second
    #[arg(long, value_name = "N", default_value_t = 30.0, value_parser = super::rate)]
    pub(super) fps: f64,
    /// With gstreamer: the pipeline in gst-launch's words, without a sink
    #[arg(long, value_name = "PIPELINE")]
    pub(super) pipeline: Option<String>,
    /// With rpicam, jetson or gstreamer: the program, instead of the one that is installed
    #[arg(long, value_name = "PATH")]
    pub(super) program: Option<PathBuf>,
}

impl Asked {
    /// The device node, where a camera of the kernel is named.
    pub(super) fn device(&self) -> Option<&Path> {
        let path = Path::new(&self.source);
        let is_node = fs::metadata(path).is_ok_and(|found| found.file_type().is_char_device());
        // A node that is not there now is told so by the camera, not taken for a folder.
        (is_node || path.starts_with("/dev")).then_some(path)
    }

    /// The source as it would stand in a document, asked for `format`.
    pub(super) fn config(&self, format: FormatWish) -> anyhow::Result<SourceConfig> {
        let &Self { width, height, fps: frames_per_second, .. } = self;
        if let Some(path) = self.device() {
            let path = path.to_owned();
            let adjustments = Adjustments::default();
            let source = V4l2Source { path, format, width, height, frames_per_second, adjustments };
            return Ok(SourceConfig::V4l2(source));
        }
        let program = self.program.clone();
        let (name, number) = self.numbered()?;
        let pipeline = match name {
            "test-pattern" => {
                let frames = None;
                return Ok(SourceConfig::TestPattern(TestPatternSource { width, height, frames_per_second, frames }));
            }
            "rpicam" => {
                let (camera, arguments) = (number, Vec::new());
                let source = RpicamSource { program, camera, format, width, height, frames_per_second, arguments };
                return Ok(SourceConfig::Rpicam(source));
            }
            "jetson" => jetson_pipeline(number, width, height),
            "gstreamer" => self.pipeline.clone().ok_or_else(|| anyhow::anyhow!("gstreamer needs a --pipeline"))?,
            _ if self.source.contains("://") => {
                let url = self.source.parse().map_err(|error| anyhow::anyhow!("{} {error}", self.source))?;
                return Ok(SourceConfig::HttpMjpeg(HttpSource { url, frames_per_second }));
            }
            _ => return Ok(stored(Path::new(&self.source), frames_per_second)),
        };
        Ok(SourceConfig::Gstreamer(GstreamerSource { program, pipeline, format, width, height, frames_per_second }))
    }

    /// `rpicam:1` as its parts.
    fn numbered(&self) -> anyhow::Result<(&str, u32)> {
        match self.source.split_once(':') {
            Some((name @ ("rpicam" | "jetson"), number)) => {
                let number =
                    number.parse().map_err(|_| anyhow::anyhow!("{}: write a number after the colon", self.source));
                Ok((name, number?))
            }
            _ => Ok((&self.source, 0)),
        }
    }

    /// Opens it.
    pub(super) fn open(&self, format: FormatWish) -> anyhow::Result<Box<dyn FrameSource>> {
        Ok(source::open(&self.config(format)?)?)
    }
}

/// Files, begun again after the last.
fn stored(path: &Path, frames_per_second: f64) -> SourceConfig {
    let path = path.to_owned();
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    if ["mjpeg", "mjpg"].contains(&ending.as_str()) {
        let (repeat, shuffled) = (true, None);
        return SourceConfig::MjpegFile(MjpegFileSource { path, frames_per_second, repeat, shuffled });
    }
    let (order, pattern) = (FolderOrder::Natural, None);
    SourceConfig::Folder(FolderSource { path, frames_per_second, repeat: true, order, pattern })
}

/// What a source gave within a moment.
#[derive(Debug)]
pub(super) enum Given {
    Frame(Capture),
    /// So many items that are no frames, and why.
    Skipped(u64, String),
    Nothing,
}

/// Waits a moment for the next item; a frame's bytes are in `bytes`.
///
/// # Errors
/// The source cannot go on, or has no more.
pub(super) fn next(source: &mut dyn FrameSource, bytes: &mut Vec<u8>) -> Result<Given, SourceError> {
    Ok(match source.next(PATIENCE, bytes)? {
        Next::Frame(capture) => Given::Frame(capture),
        Next::Skipped { why, .. } => Given::Skipped(why.items(), why.to_string()),
        // Sources of the command line begin again.
        Next::Idle | Next::End => Given::Nothing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(source: &str) -> Asked {
        Asked { source: source.to_owned(), width: 640, height: 480, fps: 5.0, pipeline: None, program: None }
    }

    #[test]
    fn every_source_has_a_name_on_the_command_line() {
        let kind = |source: &str| match asked(source).config(FormatWish::Auto).unwrap() {
            SourceConfig::V4l2(_) => "v4l2",
            SourceConfig::Rpicam(source) => ["rpicam 0", "rpicam 1"][source.camera as usize],
            SourceConfig::Gstreamer(source) if source.pipeline.contains("sensor-id=2") => "jetson 2",
            SourceConfig::Gstreamer(_) => "gstreamer",
            SourceConfig::HttpMjpeg(_) => "http",
            SourceConfig::MjpegFile(_) => "film",
            SourceConfig::Folder(_) => "folder",
            SourceConfig::TestPattern(_) => "pattern",
        };
        for (source, expected) in [
            ("/dev/video0", "v4l2"),
            ("rpicam", "rpicam 0"),
            ("rpicam:1", "rpicam 1"),
            ("jetson:2", "jetson 2"),
            ("http://camera/video", "http"),
            ("film.MJPEG", "film"),
            ("pictures", "folder"),
            ("test-pattern", "pattern"),
        ] {
            assert_eq!(kind(source), expected, "{source}");
        }
    }

    #[test]
    fn what_names_no_source_says_why() {
        for (source, expected) in [("gstreamer", "--pipeline"), ("rpicam:x", "a number"), ("rtsp://camera/", "http://")]
        {
            let error = asked(source).config(FormatWish::Auto).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}

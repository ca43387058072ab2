//! Where frames come from: a camera of the kernel's, of another program's or of the network, a folder of images, a
//! Motion-JPEG file, a test pattern.
//!
//! A source delivers one frame at a time into a buffer of the caller's, at its own pace, and never blocks for longer
//! than it is told (reading a file from a disk aside). What is wrong with one item is told as [`Next::Skipped`] and
//! the source goes on; what is wrong with the source is a [`SourceError`].

mod command;
mod config;
mod error;
mod folder;
mod framing;
mod glob;
mod http;
mod incoming;
mod jpeg;
mod limits;
mod listing;
mod live;
mod mjpeg;
mod pacer;
mod pattern;
mod shuffle;
mod still;
mod thinning;
mod v4l2;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

pub use command::{
    CommandError, Complaint, GstreamerSource, Installed, MOST_TEXT, RpicamSource, SEARCHED, jetson_pipeline, programs,
    words,
};
pub use config::{FolderOrder, FolderSource, MjpegFileSource, SourceConfig, TestPatternSource, V4l2Source};
pub use error::{SkipReason, SourceError};
pub use glob::{NamePattern, PatternError};
pub use http::{CONNECTING, HttpError, HttpSource, HttpUrl, UrlError, connect};
pub use jpeg::{DamagedJpeg, Found, MjpegScanner};
pub use limits::{MOST_FRAMES_PER_SECOND, MOST_ITEM_BYTES, MOST_ITEMS, MOST_SIDE};
pub use listing::images_in;
pub use pattern::barcode;

pub(crate) use framing::fuzz as fuzz_framing;
pub(crate) use http::{fuzz_chunked, fuzz_head};

use crate::clock::{BootClock, Clock};
use crate::frame::Capture;
use crate::shared::FrameBytes;

/// Something that delivers frames.
pub trait FrameSource: Send + std::fmt::Debug {
    /// Waits for the next frame, at most `timeout`, and puts its bytes into `into`, whose memory is used again.
    ///
    /// # Errors
    /// [`SourceError`] where the source cannot go on; [`SourceError::is_retryable`] says whether asking again, or
    /// opening it again, may help.
    fn next(&mut self, timeout: Duration, into: &mut Vec<u8>) -> Result<Next, SourceError>;

    /// As [`FrameSource::next`], but gives a frame's bytes to `take` where they lie, so that those of a camera are copied
    /// only once more, to where they are needed. `scratch` is memory for sources that have to make their bytes.
    ///
    /// # Errors
    /// As [`FrameSource::next`].
    fn deliver(
        &mut self,
        timeout: Duration,
        scratch: &mut Vec<u8>,
        take: &mut dyn FnMut(&Capture, FrameBytes<'_>),
    ) -> Result<Next, SourceError> {
        let next = self.next(timeout, scratch)?;
        if let Next::Frame(capture) = &next {
            take(capture, FrameBytes::Own(scratch));
        }
        Ok(next)
    }
}

/// What a source had to say.
#[derive(Debug)]
pub enum Next {
    /// A frame; its bytes are in the buffer.
    Frame(Capture),
    /// An item that is no frame, and why; the source goes on with the next one. It counts as not captured.
    Skipped {
        /// The source's own number for the item.
        item: u64,
        /// What is wrong with it.
        why: SkipReason,
    },
    /// Nothing was due within the timeout.
    Idle,
    /// There is no more, now or later.
    End,
}

/// Opens a source, on this machine's clock.
///
/// # Errors
/// As [`open_with`].
pub fn open(config: &SourceConfig) -> Result<Box<dyn FrameSource>, SourceError> {
    open_with(config, Arc::new(BootClock))
}

/// Opens a source that takes its time from `clock`.
///
/// # Errors
/// [`SourceError`] for numbers outside their limits, for files and folders that are not there, cannot be read or hold
/// nothing, and for cameras and programs that cannot be had or deliver no first frame.
pub fn open_with(config: &SourceConfig, clock: Arc<dyn Clock>) -> Result<Box<dyn FrameSource>, SourceError> {
    Ok(match config {
        SourceConfig::Folder(config) => Box::new(folder::Folder::open(config, clock)?),
        SourceConfig::MjpegFile(config) => Box::new(mjpeg::MjpegFile::open(config, clock)?),
        SourceConfig::TestPattern(config) => Box::new(pattern::TestPattern::open(config, clock)?),
        SourceConfig::V4l2(config) => Box::new(v4l2::V4l2::open(config, clock)?),
        SourceConfig::Rpicam(config) => Box::new(command::Command::rpicam(config, clock)?),
        SourceConfig::Gstreamer(config) => Box::new(command::Command::gstreamer(config, clock)?),
        SourceConfig::HttpMjpeg(config) => {
            let connection = http::connect(&config.url)?;
            Box::new(http::Http::open(config, connection.into(), clock)?)
        }
    })
}

/// Opens a camera of the network over a connection that somebody else has made: whoever has the connection needs no
/// network.
///
/// # Errors
/// [`SourceError`] as of [`open_with`].
pub fn open_connected(
    config: &HttpSource,
    connection: OwnedFd,
    clock: Arc<dyn Clock>,
) -> Result<Box<dyn FrameSource>, SourceError> {
    Ok(Box::new(http::Http::open(config, connection, clock)?))
}

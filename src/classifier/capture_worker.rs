//! The program of the capture worker: frames from one source into the ring, until the core hangs up.
//!
//! It runs in a sandbox with the camera device or the frame folder, without a model, a network or a parser of pictures:
//! alone, or with the one program that delivers the frames as its child. A connection to a camera of the network comes
//! from the core.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use margay_camera::clock::BootClock;
use margay_camera::ring::{EndReason, PublishError, RingError, RingWriter};
use margay_camera::source::{self, FrameSource, Next, SourceConfig, SourceError};

use super::message::{FromCapture, ToCapture};
use crate::causes::explain;
use crate::ipc::{IpcError, Received, Waited, WorkerChannel};

/// How long the worker waits for its task before it gives up on a core that never speaks.
const TASK_TIMEOUT: Duration = Duration::from_secs(30);

/// How long one attempt to get a frame may take before the worker looks at the core again.
const FRAME_TIMEOUT: Duration = Duration::from_millis(250);

/// Why the capture worker ended early.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The channel to the core broke.
    #[error(transparent)]
    Channel(#[from] IpcError),
    /// The core did not say what to capture.
    #[error("no task came from the core within {} s", TASK_TIMEOUT.as_secs())]
    NoTask,
    /// The task came without its ring.
    #[error("the core's task came without the ring's descriptor")]
    NoRing,
    /// The ring's memory could not be mapped.
    #[error("mapping the ring for writing")]
    Ring(#[from] RingError),
    /// The ring takes no more frames.
    #[error("writing a frame into the ring")]
    Publish(#[from] PublishError),
    /// The source failed; the core has been told.
    #[error("capturing")]
    Source(#[from] SourceError),
}

/// Captures until the source ends or the core hangs up. `channel` is the worker's end of the pair.
///
/// # Errors
/// [`CaptureError`]; a failed source is reported to the core first.
pub fn run(channel: &WorkerChannel) -> Result<(), CaptureError> {
    let Task { source, ring, connection } = task(channel)?;
    let mut source = match open(&source, connection) {
        Ok(source) => source,
        Err(error) => return fail(channel, error),
    };
    channel.send(&FromCapture::Capturing)?;
    margay_sandbox::release_start_up_memory();
    capture(channel, source.as_mut(), ring)
}

/// What the core wants captured, and into what.
struct Task {
    source: SourceConfig,
    ring: RingWriter,
    /// To a camera of the network.
    connection: Option<OwnedFd>,
}

fn open(source: &SourceConfig, connection: Option<OwnedFd>) -> Result<Box<dyn FrameSource>, SourceError> {
    match (source, connection) {
        (SourceConfig::HttpMjpeg(camera), Some(connection)) => {
            source::open_connected(camera, connection, Arc::new(BootClock))
        }
        _ => source::open(source),
    }
}

fn task(channel: &WorkerChannel) -> Result<Task, CaptureError> {
    let Waited::Message(Received { message, descriptors }) = channel.receive::<ToCapture>(TASK_TIMEOUT)? else {
        return Err(CaptureError::NoTask);
    };
    let ToCapture::Begin { source } = message;
    let mut descriptors = descriptors.into_iter();
    let ring = descriptors.next().ok_or(CaptureError::NoRing)?;
    Ok(Task { source: as_seen_here(source), ring: RingWriter::map(ring)?, connection: descriptors.next() })
}

/// The source with its paths where this worker finds them: without a file tree of its own, below a prefix (B-14). A
/// device is where it is on the host, and so are programs.
fn as_seen_here(mut source: SourceConfig) -> SourceConfig {
    let path = match &mut source {
        SourceConfig::Folder(folder) => &mut folder.path,
        SourceConfig::MjpegFile(file) => &mut file.path,
        SourceConfig::TestPattern(_)
        | SourceConfig::V4l2(_)
        | SourceConfig::Rpicam(_)
        | SourceConfig::Gstreamer(_)
        | SourceConfig::HttpMjpeg(_) => return source,
    };
    *path = margay_sandbox::resource_path(path);
    source
}

fn capture(channel: &WorkerChannel, source: &mut dyn FrameSource, mut ring: RingWriter) -> Result<(), CaptureError> {
    let mut scratch = Vec::new();
    loop {
        let mut published = Ok(0);
        let next =
            source.deliver(FRAME_TIMEOUT, &mut scratch, &mut |capture, bytes| published = ring.publish(capture, bytes));
        match next {
            Ok(Next::Frame(capture)) => match published {
                Ok(_) => {}
                Err(error) if error.concerns_this_frame_only() => {
                    channel.send(&FromCapture::Skipped { item: capture.item, items: 1, why: explain(&error) })?;
                }
                Err(error) => {
                    ring.close(EndReason::Exhausted);
                    return Err(error.into());
                }
            },
            Ok(Next::Idle) => {}
            Ok(Next::Skipped { item, why }) => {
                channel.send(&FromCapture::Skipped { item, items: why.items(), why: explain(&why) })?;
            }
            Ok(Next::End) => {
                ring.close(EndReason::SourceEnded);
                channel.send(&FromCapture::Ended)?;
                return wait_for_the_core(channel);
            }
            Err(error) => {
                ring.close(EndReason::SourceFailed);
                return fail(channel, error);
            }
        }
        if core_is_gone(channel, Duration::ZERO)? {
            return Ok(());
        }
    }
}

/// The readers still need the ring's end mark, not this process; but its death would look like a failure.
fn wait_for_the_core(channel: &WorkerChannel) -> Result<(), CaptureError> {
    while !core_is_gone(channel, Duration::from_secs(60))? {}
    Ok(())
}

fn core_is_gone(channel: &WorkerChannel, timeout: Duration) -> Result<bool, CaptureError> {
    Ok(matches!(channel.receive::<ToCapture>(timeout)?, Waited::CoreGone))
}

fn fail(channel: &WorkerChannel, error: SourceError) -> Result<(), CaptureError> {
    channel.send(&FromCapture::Failed { why: explain(&error) })?;
    Err(error.into())
}

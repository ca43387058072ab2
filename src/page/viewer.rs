//! The program of the viewer: it serves browsers until the core hangs up.
//!
//! Three kinds of thread share what is to be shown: this one serves on a runtime of its own, one listens to the core,
//! and one for each camera copies frames out of its ring, only while somebody looks.
//!
//! * `board`: what is known, besides pictures
//! * `frames`: pictures, out of a ring; `bitmap`: raw pixels as a browser reads them
//! * `server`: connections; `gate`: who may ask; `answers`: what is answered

mod answers;
mod bitmap;
mod board;
mod frames;
mod gate;
mod server;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use margay_camera::ring::RingReader;

use self::board::Board;
use self::frames::Frames;
use self::gate::Gate;
use super::message::{FromViewer, ToViewer};
use crate::ipc::{IpcError, Received, Waited, WorkerChannel};

/// How long the viewer waits for its task before it gives up on a core that never speaks.
const TASK_TIMEOUT: Duration = Duration::from_secs(30);

/// How long one wait for the core lasts; another follows.
const WAIT: Duration = Duration::from_secs(60);

/// No more cameras than this are shown.
const MAX_CAMERAS: usize = 16;

/// Why the viewer ended early.
#[derive(Debug, thiserror::Error)]
pub enum ViewerError {
    /// The channel to the core broke.
    #[error(transparent)]
    Channel(#[from] IpcError),
    /// The core did not say what to serve.
    #[error("no task came from the core within {} s", TASK_TIMEOUT.as_secs())]
    NoTask,
    /// A message came without its descriptor, or about a camera that was not announced.
    #[error("the core's message {message} cannot be followed")]
    OutOfOrder {
        /// Which message.
        message: &'static str,
    },
    /// A ring's header does not describe the memory that came.
    #[error("mapping the ring")]
    Ring(#[from] margay_camera::ring::RingError),
    /// The runtime, a thread or the listener could not be had.
    #[error("starting to serve")]
    Start(#[source] io::Error),
}

/// What all threads share.
#[derive(Debug)]
struct Shown {
    board: Board,
    cameras: Vec<Frames>,
}

/// Serves until the core hangs up. `channel` is the worker's end of the pair.
///
/// # Errors
/// [`ViewerError`].
pub fn run(channel: WorkerChannel) -> Result<(), ViewerError> {
    let Waited::Message(Received { message, descriptors }) = channel.receive::<ToViewer>(TASK_TIMEOUT)? else {
        return Err(ViewerError::NoTask);
    };
    let ToViewer::Begin { port, token_digest, cameras } = message else {
        return Err(ViewerError::OutOfOrder { message: "before its task" });
    };
    let listener = descriptors.into_iter().next().ok_or(ViewerError::OutOfOrder { message: "without a listener" })?;
    let cameras = cameras.min(MAX_CAMERAS);
    let frames = (0..cameras).map(|_| Frames::default()).collect();
    let shown = Arc::new(Shown { board: Board::new(cameras), cameras: frames });
    for camera in 0..cameras {
        let shown = shown.clone();
        let follow = move || shown.cameras[camera].follow();
        std::thread::Builder::new().name("frames".to_owned()).spawn(follow).map_err(ViewerError::Start)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ViewerError::Start)?;
    let gate = Gate { port, token_digest };
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(TcpListener::from(listener)).map_err(ViewerError::Start)?;
        channel.send(&FromViewer::Serving)?;
        margay_sandbox::release_start_up_memory();
        let told = shown.clone();
        let listening = tokio::task::spawn_blocking(move || listen(&channel, &told));
        tokio::select! {
            ended = listening => ended.map_err(|error| ViewerError::Start(io::Error::other(error)))?,
            () = server::serve(listener, Arc::new(gate), shown) => Ok(()),
        }
    })
}

/// Takes what the core says until it hangs up.
fn listen(channel: &WorkerChannel, shown: &Shown) -> Result<(), ViewerError> {
    loop {
        let Received { message, descriptors } = match channel.receive::<ToViewer>(WAIT)? {
            Waited::Message(received) => received,
            Waited::Nothing => continue,
            Waited::CoreGone => return Ok(()),
        };
        match message {
            ToViewer::Begin { .. } => return Err(ViewerError::OutOfOrder { message: "of a second task" }),
            ToViewer::Ring { camera } => {
                let ring = descriptors.into_iter().next();
                let ring = ring.ok_or(ViewerError::OutOfOrder { message: "of a ring without its memory" })?;
                if let Some(frames) = shown.cameras.get(camera) {
                    frames.take_ring(RingReader::map(ring)?);
                }
            }
            ToViewer::Predicted { camera, prediction } => {
                let prediction = Arc::new(*prediction);
                if let Some(frames) = shown.cameras.get(camera) {
                    frames.predicted(prediction.clone());
                }
                shown.board.predicted(camera, prediction);
            }
            ToViewer::Status { status } => shown.board.status(status),
        }
    }
}

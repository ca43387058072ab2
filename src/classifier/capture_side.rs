//! The capture worker of one camera and the ring it writes: started, watched, restarted with a ring that goes on where
//! the last one ended.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use margay_camera::ring::{self, ReaderHandle, RingGeometry, RingReader};
use margay_camera::source::{HttpUrl, SourceConfig};
use margay_sandbox::Exit;
use tokio::sync::mpsc;

use super::message::{FromCapture, ToCapture};
use super::plan;
use super::settings::Settings;
use super::worker::{Event, Role, SpawnError, Worker, WorkerId};
use crate::backoff::Backoff;

/// Frames that a camera's ring holds. Memory is taken by what is written into them, not by what would fit.
const SLOTS: u32 = 8;

/// Restarts of a failing camera, from the first to the slowest.
const RESTART: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// What the capture side is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaptureState {
    /// Not asked to capture yet.
    Waiting,
    /// A worker is opening the source.
    Starting,
    /// Frames are coming.
    Capturing,
    /// The source has no more frames.
    Ended,
    /// The worker is gone; another is started after a pause.
    Restarting,
}

/// Why a capture worker could not be started.
#[derive(Debug, thiserror::Error)]
pub enum CaptureStartError {
    /// The ring's memory could not be had.
    #[error("making the camera's ring of {SLOTS} frames")]
    Ring(#[from] ring::RingError),
    /// The worker could not be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
}

/// A ring's memory, and the core's view of its header.
#[derive(Debug)]
struct Memory {
    writable: OwnedFd,
    header: RingReader,
    /// What readers may have, once nobody but the capture worker can write the ring.
    sealed: Option<ReaderHandle>,
}

/// The capture half of a classifier.
#[derive(Debug)]
pub(super) struct CaptureSide {
    settings: Settings,
    worker: Option<Worker>,
    memory: Option<Memory>,
    backoff: Backoff,
    pub(super) state: CaptureState,
    pub(super) restarts: u64,
    pub(super) skipped: u64,
    pub(super) last_failure: Option<String>,
}

impl CaptureSide {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            worker: None,
            memory: None,
            backoff: Backoff::new(RESTART.0, RESTART.1),
            state: CaptureState::Waiting,
            restarts: 0,
            skipped: 0,
            last_failure: None,
        }
    }

    /// The worker, while one lives.
    pub(super) fn worker(&self) -> Option<&Worker> {
        self.worker.as_ref()
    }

    /// The number that the next frame of this camera gets; equally, how many were captured.
    pub(super) fn next_frame(&self) -> u64 {
        self.memory.as_ref().map_or(0, |memory| memory.header.head().map_or(memory.header.first(), |head| head + 1))
    }

    /// Whether frames may still come without a restart.
    pub(super) fn is_capturing(&self) -> bool {
        self.state == CaptureState::Capturing
    }

    /// The ring's memory for a reader, once nobody but the capture worker can write it.
    pub(super) fn sealed_ring(&self) -> Option<BorrowedFd<'_>> {
        Some(self.memory.as_ref()?.sealed.as_ref()?.as_fd())
    }

    /// The camera of the network that a worker needs a connection to, if it is one.
    pub(super) fn needs_connection(&self) -> Option<&HttpUrl> {
        match &self.settings.source {
            SourceConfig::HttpMjpeg(camera) => Some(&camera.url),
            _ => None,
        }
    }

    /// Starts a worker on a new ring that goes on after the last frame, with the connection that it needs.
    pub(super) async fn start(
        &mut self,
        id: WorkerId,
        connection: Option<OwnedFd>,
        events: mpsc::Sender<(WorkerId, Event)>,
    ) -> Result<(), CaptureStartError> {
        self.state = CaptureState::Starting;
        let source = self.settings.source.clone();
        let geometry = RingGeometry { slots: SLOTS, slot_bytes: source.slot_bytes() };
        let writable = ring::create(geometry, self.next_frame())?;
        let header = RingReader::map(&writable)?;
        // Made anew each time: what a program needs of the host comes and goes.
        let plan = plan::capture(&self.settings).map_err(SpawnError::Plan)?;
        let worker = Worker::spawn::<FromCapture>(id, Role::Capture, plan, events).await?;
        let descriptors: Vec<BorrowedFd<'_>> =
            std::iter::once(writable.as_fd()).chain(connection.as_ref().map(AsFd::as_fd)).collect();
        worker.order(&ToCapture::Begin { source }, &descriptors).await;
        self.worker = Some(worker);
        self.memory = Some(Memory { writable, header, sealed: None });
        Ok(())
    }

    /// Frames are coming: nobody but the worker that has it mapped may write the ring from now on.
    pub(super) fn seal(&mut self) -> Result<(), ring::RingError> {
        self.state = CaptureState::Capturing;
        self.backoff.reset();
        if let Some(memory) = &mut self.memory {
            memory.sealed = Some(ring::seal_against_new_writers(&memory.writable)?);
        }
        Ok(())
    }

    /// Takes note of a worker's end; the pause before another is due, or `None` when none is.
    pub(super) fn exited(&mut self, exit: &Exit) -> Option<Duration> {
        self.worker = None;
        if self.state == CaptureState::Ended {
            return None;
        }
        self.state = CaptureState::Restarting;
        self.restarts += 1;
        if self.last_failure.is_none() {
            self.last_failure = Some(exit.to_string());
        }
        Some(self.backoff.next())
    }

    /// Takes note that no worker could be started; the pause before the next attempt.
    pub(super) fn failed_to_start(&mut self, why: String) -> Duration {
        self.worker = None;
        self.state = CaptureState::Restarting;
        self.restarts += 1;
        self.last_failure = Some(why);
        self.backoff.next()
    }
}

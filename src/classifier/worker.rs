//! One running worker as the core sees it: a sandboxed process, the channel to it, and a task that turns whatever it
//! says, and its end, into [`Event`]s.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use margay_sandbox::{Containment, Exit, LaunchError, Plan, Sandboxed};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use super::message::{FromCapture, FromInference};
use crate::ipc::{self, CoreChannel, IpcError};

/// The descriptor at which a worker finds its channel to the core.
pub const CHANNEL_FD: i32 = 3;

/// A line of a worker's log is cut at this many bytes.
const MAX_LOG_LINE: u64 = 4096;

/// Tells workers apart over the core's life; never reused.
pub(super) type WorkerId = u64;

/// What a worker is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Frames from a source into the ring.
    Capture,
    /// Frames from the ring to predictions.
    Inference,
    /// Frames from the ring and what the core says to browsers ([`crate::page`]).
    Viewer,
}

impl Role {
    /// As errors and logs name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Capture => "capture worker",
            Self::Inference => "inference worker",
            Self::Viewer => "viewer",
        }
    }
}

/// Something a worker did.
#[derive(Debug)]
pub(super) enum Event {
    /// The capture worker said something.
    Capture(FromCapture),
    /// An inference worker said something.
    Inference(FromInference),
    /// It broke the protocol and was killed; its exit follows.
    Misbehaved(IpcError),
    /// It is gone; nothing follows.
    Exited(Exit),
}

impl From<FromCapture> for Event {
    fn from(message: FromCapture) -> Self {
        Self::Capture(message)
    }
}

impl From<FromInference> for Event {
    fn from(message: FromInference) -> Self {
        Self::Inference(message)
    }
}

/// Why a worker could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// Its channel or log pipe could not be made.
    #[error("making the channel to the {role}")]
    Channel {
        /// Which worker.
        role: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The sandbox's plan breaks a rule.
    #[error("planning the worker's sandbox")]
    Plan(#[from] margay_sandbox::PlanError),
    /// The sandbox could not be set up.
    #[error("starting the {role} in its sandbox")]
    Launch {
        /// Which worker.
        role: &'static str,
        /// Which step failed.
        #[source]
        source: LaunchError,
    },
}

/// A running worker. Dropping it kills the process.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) id: WorkerId,
    role: Role,
    channel: Arc<CoreChannel>,
    sandboxed: Arc<Sandboxed>,
}

impl Worker {
    /// Starts a worker by `plan`; what it does arrives on `events` under `id`.
    pub(super) async fn spawn<M>(
        id: WorkerId,
        role: Role,
        plan: Plan,
        events: mpsc::Sender<(WorkerId, Event)>,
    ) -> Result<Self, SpawnError>
    where
        M: DeserializeOwned + Into<Event> + Send + 'static,
    {
        let channel = |source| SpawnError::Channel { role: role.name(), source };
        let (ours, theirs) = ipc::pair().map_err(channel)?;
        let (log, log_writer) = ipc::log_pipe().map_err(channel)?;
        let ours = Arc::new(CoreChannel::new(ours, role.name()).map_err(channel)?);
        let launched = tokio::task::spawn_blocking(move || {
            margay_sandbox::launch(&plan, vec![(theirs, CHANNEL_FD), (log_writer, 2)])
        });
        let sandboxed = launched
            .await
            .map_err(|error| channel(io::Error::other(error)))?
            .map_err(|source| SpawnError::Launch { role: role.name(), source })?;
        let worker = Self { id, role, channel: ours, sandboxed: Arc::new(sandboxed) };
        tokio::spawn(forward_log(log, role, worker.pid()));
        tokio::spawn(pump::<M>(id, worker.channel.clone(), worker.sandboxed.clone(), events));
        Ok(worker)
    }

    /// Sends an order with descriptors. A worker that cannot take it is dying: its exit says why.
    pub(super) async fn order<T: Serialize>(&self, order: &T, descriptors: &[BorrowedFd<'_>]) {
        if let Err(error) = self.channel.send(order, descriptors).await {
            tracing::debug!(worker = self.role.name(), pid = self.pid(), %error, "an order was not delivered");
        }
    }

    /// The worker's process id on the host.
    pub(super) fn pid(&self) -> i32 {
        self.sandboxed.pid()
    }

    /// What contains it.
    pub(super) fn containment(&self) -> &Containment {
        self.sandboxed.containment()
    }

    /// Ends it at once.
    pub(super) fn kill(&self) {
        self.sandboxed.kill();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Forwards messages until the worker closes its end, then its exit.
async fn pump<M: DeserializeOwned + Into<Event>>(
    id: WorkerId,
    channel: Arc<CoreChannel>,
    sandboxed: Arc<Sandboxed>,
    events: mpsc::Sender<(WorkerId, Event)>,
) {
    loop {
        let event = match channel.receive::<M>().await {
            Ok(Some(received)) => received.message.into(),
            Ok(None) => break,
            Err(error) => {
                sandboxed.kill();
                let _ = events.send((id, Event::Misbehaved(error))).await;
                break;
            }
        };
        if events.send((id, event)).await.is_err() {
            sandboxed.kill();
            break;
        }
    }
    let waited = tokio::task::spawn_blocking(move || sandboxed.wait()).await;
    if let Ok(exit) = waited {
        // The supervisor may be gone already: then nobody needs to know.
        let _ = events.send((id, Event::Exited(exit))).await;
    }
}

/// Puts the worker's standard error into the core's log, line by line.
pub(crate) async fn forward_log(log: pipe::Receiver, role: Role, pid: i32) {
    let mut log = BufReader::new(log);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut log).take(MAX_LOG_LINE).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                tracing::info!(worker = role.name(), pid, "{}", text.trim_end().escape_debug());
            }
        }
    }
}

//! What a running core says of itself, as one JSON document, and the Unix socket on which it says it.
//!
//! Whoever may open the socket may read the status; it holds no secret. The socket belongs to the core's user, mode
//! 0660, and every connection gets one document and is closed.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as BlockingUnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;

use super::credentials::CredentialsStatus;
use crate::classifier::ClassifierStatus;
use crate::deployment::{Confirmed, DeploymentId, Report, State};
use crate::feedback::FeedbackStatus;
use crate::function::FunctionStatus;
use crate::inference_service::ServiceStatus;
use crate::jobs::agent::JobsStatus;
use crate::mqtt::spool::SpoolState;
use crate::package::Sha256Digest;
use crate::page::PageStatus;
use crate::payload::DeviceState;
use crate::router::QueueCounters;

/// How long a reader waits for the core.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// No status is longer, in bytes.
const MAX_STATUS: u64 = 4 * 1024 * 1024;

/// A core at one moment.
#[derive(Debug, Serialize, Deserialize)]
pub struct CoreStatus {
    /// The program's version.
    pub version: String,
    /// The core's process id.
    pub pid: u32,
    /// Seconds since the core started.
    pub uptime_s: u64,
    /// The core's thing name.
    pub thing: String,
    /// What its clock rests on.
    pub clock: ClockStatus,
    /// Its temporary credentials.
    pub credentials: CredentialsStatus,
    /// The link to the cloud.
    pub link: LinkStatus,
    /// Messages by subscription, and those that no subscription wanted.
    pub router: RouterStatus,
    /// How warm the device is, and whether that slows it down; `None` where it does not say.
    #[serde(default)]
    pub device: Option<DeviceState>,
    /// The group that was confirmed last; `None` on a device where none was.
    #[serde(default)]
    pub group: Option<GroupStatus>,
    /// How the latest deployment stands.
    #[serde(default)]
    pub deployment: Option<Report>,
    /// The functions of its group.
    #[serde(default)]
    pub functions: Vec<FunctionStatus>,
    /// Its local inference services.
    #[serde(default)]
    pub services: Vec<ServiceStatus>,
    /// Its feedback connector, or the samples that an earlier one left to be uploaded.
    #[serde(default)]
    pub feedback: Option<FeedbackStatus>,
    /// Its cameras.
    pub cameras: Vec<CameraStatus>,
    /// AWS IoT Jobs; `None` where the core takes no part in them.
    #[serde(default)]
    pub jobs: Option<JobsStatus>,
    /// The page for browsers; `None` where the configuration asks for none.
    pub page: Option<PageStatus>,
    /// Where the metrics are; `None` where the configuration asks for none.
    #[serde(default)]
    pub metrics: Option<String>,
    /// What the group asks for and this version does not do.
    pub warnings: Vec<String>,
}

/// What the core knows of the time.
#[derive(Debug, Serialize, Deserialize)]
pub struct ClockStatus {
    /// The time that the core goes by, RFC 3339.
    pub now: String,
    /// Whether an authenticated server has confirmed it.
    pub confirmed_by_server: bool,
    /// The system's clock plus this is the core's time, in milliseconds.
    pub correction_ms: i64,
}

/// The link to the cloud.
#[derive(Debug, Serialize, Deserialize)]
pub struct LinkStatus {
    /// The broker, `host:port`.
    pub endpoint: String,
    /// Whether it is connected now.
    pub connected: bool,
    /// What keeps it from connecting, and what to do.
    pub trouble: Option<String>,
    /// Messages accepted into the spool.
    pub accepted: u64,
    /// Messages acknowledged by the broker.
    pub delivered: u64,
    /// Messages waiting.
    pub queued: u64,
    /// Messages sent and not acknowledged yet.
    pub in_flight: u64,
    /// Messages dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Connections that the broker admitted.
    #[serde(default)]
    pub connections: u64,
    /// Connections that ended or did not come about, by kind.
    #[serde(default)]
    pub failures: BTreeMap<String, u64>,
    /// The last of them, also while the link is connected again.
    #[serde(default)]
    pub last_failure: Option<String>,
    /// Messages received from the cloud.
    #[serde(default)]
    pub received: u64,
    /// Of these, those that came faster than they were taken.
    #[serde(default)]
    pub not_taken: u64,
    /// SUBSCRIBEs that the broker granted: each filter is asked for on every connection.
    #[serde(default)]
    pub subscriptions_granted: u64,
    /// Subscriptions that the broker does not grant.
    #[serde(default)]
    pub refused_filters: Vec<String>,
    /// Where they wait.
    #[serde(default)]
    pub spool: SpoolState,
}

/// What the router did.
#[derive(Debug, Serialize, Deserialize)]
pub struct RouterStatus {
    /// Messages that each subscription selected, by its id.
    pub subscriptions: BTreeMap<String, u64>,
    /// Messages that no subscription selected.
    pub no_route: u64,
    /// Messages refused for their size or topic.
    pub refused: u64,
    /// Messages under `AllOrError` that went nowhere because one target could not take them.
    #[serde(default)]
    pub put_off: u64,
    /// Messages that a target did not get: it does not run, its queue or the spool is full. Counted for each target.
    #[serde(default)]
    pub missed: u64,
    /// Of `subscriptions`, messages that the target did not get.
    #[serde(default)]
    pub missed_by_subscription: BTreeMap<String, u64>,
    /// The local targets that run, by what a subscription calls them.
    #[serde(default)]
    pub targets: BTreeMap<String, TargetStatus>,
}

/// A local target that takes messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetStatus {
    /// Messages that it has taken.
    pub taken: u64,
    /// Messages that wait for it.
    pub waiting: u64,
    /// Messages that found its queue full.
    pub full: u64,
}

impl TargetStatus {
    pub(super) fn of(queue: &QueueCounters) -> Self {
        Self { taken: queue.taken, waiting: queue.waiting, full: queue.full }
    }
}

/// The group that was confirmed last: what a starting core runs.
#[derive(Debug, Serialize, Deserialize)]
pub struct GroupStatus {
    /// The deployment that brought it.
    pub deployment: DeploymentId,
    /// On whose behalf that was.
    pub source: String,
    /// When it was confirmed, RFC 3339.
    pub confirmed: String,
    /// The digest of the group document.
    pub document: String,
}

impl GroupStatus {
    pub(super) fn of(confirmed: &Confirmed) -> Self {
        Self {
            deployment: confirmed.id.clone(),
            source: confirmed.source.clone(),
            confirmed: confirmed.confirmed.clone(),
            document: Sha256Digest::of(confirmed.document.as_bytes()).to_string(),
        }
    }
}

/// A camera and its model.
#[derive(Debug, Serialize, Deserialize)]
pub struct CameraStatus {
    /// Where its predictions are published.
    pub topic: String,
    /// How the deployment of its model stands.
    pub deployment: DeploymentStatus,
    /// Its workers and frames; `None` once it has been shut down.
    pub classifier: Option<ClassifierStatus>,
}

/// How the deployment of a model stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeploymentStatus {
    /// The model resource in the group document.
    pub resource: String,
    /// Where its package comes from.
    pub source: String,
    /// What the deployment is doing.
    pub state: State,
    /// Why it failed, and what goes on meanwhile.
    pub failure: Option<String>,
}

/// The status socket could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The core could not listen.
    #[error("listening on the status socket {}", path.display())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No core answered.
    #[error("no core answers on {}: is `margay run` running with this configuration?", path.display())]
    NoCore {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What answered is no core of this version.
    #[error("the core on {} gave a status that this version does not understand", path.display())]
    Foreign {
        /// The socket.
        path: PathBuf,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
}

/// Listens on `path`; a socket left by a dead core is replaced.
///
/// # Errors
/// The folder cannot be made or the socket not bound; another core's live socket is not taken over.
pub fn listen(path: &Path) -> Result<UnixListener, StatusError> {
    let failed = |source| StatusError::Listen { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    if path.exists() {
        if BlockingUnixStream::connect(path).is_ok() {
            return Err(failed(io::Error::new(io::ErrorKind::AddrInUse, "another core answers there")));
        }
        std::fs::remove_file(path).map_err(failed)?;
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(failed)?;
    Ok(listener)
}

/// Gives each connection one document, made by `report`.
pub async fn serve<F>(listener: UnixListener, report: impl Fn() -> F)
where
    F: Future<Output = CoreStatus>,
{
    loop {
        let Ok((mut connection, _)) = listener.accept().await else {
            // Out of descriptors: whoever asks will ask again.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(document) = serde_json::to_vec(&report().await) else { continue };
        // A reader that goes away early loses only its own answer; one that hangs holds nobody up for long.
        let _ = tokio::time::timeout(READ_TIMEOUT, connection.write_all(&document)).await;
    }
}

/// Asks the core behind `path`.
///
/// # Errors
/// [`StatusError::NoCore`] and [`StatusError::Foreign`].
pub fn ask(path: &Path) -> Result<CoreStatus, StatusError> {
    let no_core = |source| StatusError::NoCore { path: path.to_owned(), source };
    let connection = BlockingUnixStream::connect(path).map_err(no_core)?;
    connection.set_read_timeout(Some(READ_TIMEOUT)).map_err(no_core)?;
    let mut document = Vec::new();
    connection.take(MAX_STATUS).read_to_end(&mut document).map_err(no_core)?;
    serde_json::from_slice(&document).map_err(|source| StatusError::Foreign { path: path.to_owned(), source })
}

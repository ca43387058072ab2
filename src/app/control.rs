//! The socket on which a running core takes orders: one request a connection, as a line of JSON, answered by one line
//! or, where somebody follows a deployment, by a line for each change.
//!
//! Whoever may open the socket may change what the core runs, so that it belongs to the core's user alone: mode 0600,
//! and the peer must be that user or root.

use std::io::{self, BufRead, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as BlockingUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};

use super::status::{self, StatusError};
use crate::deployment::plan::Plan;
use crate::deployment::{DeploymentId, Deployments, Order, Report, Request, SubmitError};

/// No request is longer, in bytes: a group document of the largest size, with every character escaped.
const MAX_REQUEST: u64 = 8 * 1024 * 1024;

/// No line of an answer is longer, in bytes.
const MAX_ANSWER: u64 = 4 * 1024 * 1024;

/// Requests that are answered at a time.
const CONNECTIONS: usize = 8;

/// How long a peer may take to say its request, and to take a line of its answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked of a core.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Asked {
    /// Deploy something.
    Deploy {
        /// The deployment's id; drawn by the core where there is none.
        id: Option<DeploymentId>,
        /// On whose behalf.
        source: String,
        /// What.
        what: Order,
        /// Answer with each change until the deployment is over, and not only with the first report.
        follow: bool,
    },
    /// Say what deploying this document would change.
    Plan {
        /// The group document.
        document: String,
    },
    /// List the deployments that are remembered.
    List,
}

/// What a core answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// How a deployment stands.
    Report(Box<Report>),
    /// What would change.
    Plan(Plan),
    /// The deployments, oldest first.
    Deployments {
        /// The one that was confirmed last.
        confirmed: Option<DeploymentId>,
        /// All that are remembered.
        deployments: Vec<Report>,
    },
    /// Another deployment is in the way.
    Busy {
        /// Why.
        why: String,
    },
    /// The request cannot be carried out.
    Refused {
        /// Why.
        why: Vec<String>,
    },
}

/// The control socket could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No core answers.
    #[error("no core answers on {}", path.display())]
    NoCore {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// This user may not give orders.
    #[error("this user may not give orders on {}: use the core's user, or root", path.display())]
    Forbidden {
        /// The socket.
        path: PathBuf,
    },
    /// The conversation broke off.
    #[error("talking to the core on {}", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What answered is no core of this version.
    #[error("the core on {} gave an answer that this version does not understand", path.display())]
    Foreign {
        /// The socket.
        path: PathBuf,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
}

/// Listens on `path` for the core's user alone.
///
/// # Errors
/// As for [`status::listen`].
pub fn listen(path: &Path) -> Result<UnixListener, StatusError> {
    let listener = status::listen(path)?;
    let closed = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600));
    closed.map_err(|source| StatusError::Listen { path: path.to_owned(), source })?;
    Ok(listener)
}

/// Answers until dropped.
pub async fn serve(listener: UnixListener, deployments: Deployments) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let Ok((connection, _)) = listener.accept().await else {
            // Out of descriptors: whoever asks will ask again.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let deployments = deployments.clone();
        tokio::spawn(async move {
            if let Err(error) = converse(connection, &deployments).await {
                tracing::debug!(%error, "an order was not heard to its end");
            }
            drop(place);
        });
    }
}

async fn converse(mut connection: UnixStream, deployments: &Deployments) -> io::Result<()> {
    let peer = connection.peer_cred()?.uid();
    if peer != 0 && peer != rustix::process::geteuid().as_raw() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let mut line = String::new();
    let (reader, mut writer) = connection.split();
    let mut bounded = BufReader::new(reader.take(MAX_REQUEST));
    tokio::time::timeout(PATIENCE, bounded.read_line(&mut line)).await??;
    let asked = match serde_json::from_str(&line) {
        Ok(asked) => asked,
        Err(error) => {
            let why = vec![format!("the request is none that this core knows: {error}")];
            return say(&mut writer, &Answer::Refused { why }).await;
        }
    };
    match answer(deployments, asked) {
        Answered::At(once) => say(&mut writer, &once).await,
        Answered::Over(mut report) => loop {
            let now = report.borrow_and_update().clone();
            let over = now.status.is_terminal();
            say(&mut writer, &Answer::Report(Box::new(now))).await?;
            if over || report.changed().await.is_err() {
                return Ok(());
            }
        },
    }
}

enum Answered {
    At(Answer),
    Over(watch::Receiver<Report>),
}

fn answer(deployments: &Deployments, asked: Asked) -> Answered {
    let once = match asked {
        Asked::Deploy { id, source, what, follow } => {
            let request = Request { id: id.unwrap_or_else(DeploymentId::draw), source, order: what };
            match deployments.submit(request) {
                Ok(report) if follow => return Answered::Over(report),
                Ok(report) => Answer::Report(Box::new(report.borrow().clone())),
                Err(error @ SubmitError::Busy { .. }) => Answer::Busy { why: error.to_string() },
                Err(error @ SubmitError::Stopped) => Answer::Refused { why: vec![error.to_string()] },
            }
        }
        Asked::Plan { document } => match deployments.plan(&document) {
            Ok(plan) => Answer::Plan(plan),
            Err(problems) => Answer::Refused { why: problems.errors().map(ToString::to_string).collect() },
        },
        Asked::List => {
            let confirmed = deployments.confirmed().map(|confirmed| confirmed.id);
            Answer::Deployments { confirmed, deployments: deployments.list() }
        }
    };
    Answered::At(once)
}

async fn say(writer: &mut (impl AsyncWriteExt + Unpin), answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    tokio::time::timeout(PATIENCE, writer.write_all(&line)).await?
}

/// A conversation with the core behind a socket.
#[derive(Debug)]
pub struct Conversation {
    path: PathBuf,
    lines: io::BufReader<BlockingUnixStream>,
}

impl Conversation {
    /// Asks the core behind `path`.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn begin(path: &Path, asked: &Asked) -> Result<Self, ControlError> {
        let path = path.to_owned();
        let mut connection = BlockingUnixStream::connect(&path).map_err(|source| match source.kind() {
            io::ErrorKind::PermissionDenied => ControlError::Forbidden { path: path.clone() },
            _ => ControlError::NoCore { path: path.clone(), source },
        })?;
        let broken = |source| ControlError::Broken { path: path.clone(), source };
        let mut line = serde_json::to_vec(asked).map_err(|error| broken(error.into()))?;
        line.push(b'\n');
        connection.set_write_timeout(Some(PATIENCE)).map_err(broken)?;
        connection.write_all(&line).map_err(broken)?;
        Ok(Self { lines: io::BufReader::new(connection), path })
    }

    /// The next answer; `None` when the core has said everything, or is gone.
    ///
    /// # Errors
    /// [`ControlError::Broken`] and [`ControlError::Foreign`].
    pub fn next_answer(&mut self) -> Result<Option<Answer>, ControlError> {
        let path = || self.path.clone();
        let mut line = String::new();
        match (&mut self.lines).take(MAX_ANSWER).read_line(&mut line) {
            Ok(0) => Ok(None),
            Ok(_) => {
                let answer = serde_json::from_str(&line);
                answer.map(Some).map_err(|source| ControlError::Foreign { path: path(), source })
            }
            Err(source) => Err(ControlError::Broken { path: path(), source }),
        }
    }
}

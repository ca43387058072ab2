//! The core's side of the page: it binds the port, keeps a viewer alive and tells it the news.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use margay_sandbox::{Account, Listeners, Network, Plan, PlanParts, Program, Sandboxed};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{broadcast, watch};

use super::feed::{self, Feed, News};
use super::message::{FromViewer, ToViewer};
use super::token::{self, TokenError};
use crate::backoff::Backoff;
use crate::causes::explain;
use crate::classifier::{CHANNEL_FD, Role, SharedRing, SpawnError, WorkerStatus, forward_log};
use crate::ipc::{self, CoreChannel, IpcError};
use crate::secret::Secret;

/// Restarts of a dying viewer, from the first to the slowest.
const RESTART: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// A viewer that takes no news for this long has hung.
const STALL: Duration = Duration::from_secs(10);

/// The viewer's memory limit, in bytes: two decoded frames of 24 megapixels would not fit, two of a camera do.
const MEMORY: u64 = 128 << 20;

/// Processes and threads of the viewer, PID 1 included: two, and one for each camera.
const PIDS: u32 = 32;

/// Descriptors of the viewer: the channel, the log, the listener, a ring for each camera, and its connections.
const OPEN_FILES: u64 = 128;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The port cannot be had.
    #[error("listening for browsers on 127.0.0.1:{port}; choose another margay.page.port, or 0 for any")]
    Port {
        /// The port asked for.
        port: u16,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The token that opens it cannot be had.
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// A camera's present ring, and the one that follows it.
pub type RingSource = watch::Receiver<Option<SharedRing>>;

/// The page at one moment.
#[derive(Debug, Serialize, Deserialize)]
pub struct PageStatus {
    /// Its address, without the token that opens it.
    pub url: String,
    /// The viewer, while one lives.
    pub worker: Option<WorkerStatus>,
    /// How often a viewer was started again.
    pub restarts: u64,
    /// Why it was last started again, or could not be.
    pub restart_reason: Option<String>,
    /// News that viewers were too slow to take.
    pub missed: u64,
}

/// A handle to the page.
#[derive(Debug, Clone)]
pub struct Page(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    listener: TcpListener,
    address: SocketAddr,
    token: Secret,
    news: broadcast::Sender<News>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    viewer: Option<Arc<Sandboxed>>,
    restarts: u64,
    restart_reason: Option<String>,
    missed: u64,
}

impl Page {
    /// Binds 127.0.0.1:`port`, 0 for any free one; the token is kept in `state`. Browsers wait until [`Page::run`].
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(port: u16, state: &Path) -> Result<Self, BindError> {
        let failed = |source| BindError::Port { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let token = token::keep(state)?;
        let inner = Inner { listener, address, token, news: feed::queue(), state: Mutex::default() };
        Ok(Self(Arc::new(inner)))
    }

    /// Where the camera at this place of [`Page::run`]'s list tells of its predictions.
    pub fn feed(&self, camera: usize) -> Feed {
        Feed::new(camera, self.0.news.clone())
    }

    /// Tells the core's status.
    pub fn tell_status(&self, status: Value) {
        // No viewer lives if it fails: nobody needs to know.
        let _ = self.0.news.send(News::Status(Arc::new(status)));
    }

    /// The page at this moment.
    pub fn status(&self) -> PageStatus {
        let state = self.state();
        let worker = state.viewer.as_ref();
        PageStatus {
            url: format!("http://{}/", self.0.address),
            worker: worker.map(|viewer| WorkerStatus::new(Role::Viewer, viewer.pid(), viewer.containment())),
            restarts: state.restarts,
            restart_reason: state.restart_reason.clone(),
            missed: state.missed,
        }
    }

    /// Keeps a viewer alive that shows these cameras, until dropped.
    pub async fn run(self, cameras: Vec<RingSource>) {
        let mut backoff = Backoff::new(RESTART.0, RESTART.1);
        loop {
            let why = match self.start().await {
                Ok(mut viewer) => {
                    let why = self.serve(&mut viewer, cameras.clone(), &mut backoff).await;
                    self.state().viewer = None;
                    viewer.end(why).await
                }
                Err(error) => explain(&error),
            };
            tracing::warn!(why, "the page's viewer is gone; another is started");
            {
                let mut state = self.state();
                state.restarts += 1;
                state.restart_reason = Some(why);
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    async fn start(&self) -> Result<Viewer, SpawnError> {
        let viewer = Viewer::spawn(plan()?).await?;
        self.state().viewer = Some(viewer.sandboxed.clone());
        Ok(viewer)
    }

    /// Tells `viewer` the news until it is gone or hangs; what was wrong, if it is not its own end.
    async fn serve(&self, viewer: &mut Viewer, mut rings: Vec<RingSource>, backoff: &mut Backoff) -> Option<String> {
        let mut news = self.0.news.subscribe();
        rings.iter_mut().for_each(watch::Receiver::mark_changed);
        let begin = ToViewer::Begin {
            port: self.0.address.port(),
            token_digest: token::digest(self.0.token.expose()),
            cameras: rings.len(),
        };
        let mut told = viewer.tell(&begin, &[self.0.listener.as_fd()]).await;
        while told.is_ok() {
            told = tokio::select! {
                said = viewer.channel.receive::<FromViewer>() => match said {
                    Ok(Some(_)) => {
                        backoff.reset();
                        Ok(())
                    }
                    Ok(None) => return None,
                    Err(error) => Err(explain(&error)),
                },
                new = news.recv() => match new {
                    Ok(new) => tell_news(viewer, &mut rings, new).await,
                    Err(broadcast::error::RecvError::Lagged(count)) => {
                        self.state().missed += count;
                        Ok(())
                    }
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
            };
        }
        told.err()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells `new`, and before it of rings that have changed: the core's status comes every second.
async fn tell_news(viewer: &Viewer, rings: &mut [RingSource], new: News) -> Result<(), String> {
    for (camera, ring) in rings.iter_mut().enumerate() {
        if ring.has_changed().unwrap_or(false) {
            let ring = ring.borrow_and_update().clone();
            if let Some(ring) = ring {
                viewer.tell(&ToViewer::Ring { camera }, &[ring.as_fd()]).await?;
            }
        }
    }
    let message = match new {
        News::Predicted { camera, prediction } => {
            ToViewer::Predicted { camera, prediction: Box::new(Arc::unwrap_or_clone(prediction)) }
        }
        News::Status(status) => ToViewer::Status { status: Arc::unwrap_or_clone(status) },
    };
    viewer.tell(&message, &[]).await
}

/// The viewer sees nothing of the host: the rings, the listener and the news come by message.
fn plan() -> Result<Plan, margay_sandbox::PlanError> {
    Plan::new(PlanParts {
        name: "margay-viewer".to_owned(),
        program: Program::This,
        arguments: vec!["worker".to_owned(), "viewer".to_owned()],
        account: Account::default(),
        memory_bytes: Some(MEMORY),
        pids: Some(PIDS),
        open_files: Some(OPEN_FILES),
        network: Network::None,
        listeners: Listeners::Accept,
        ..PlanParts::default()
    })
}

/// A running viewer. Dropping it kills the process.
#[derive(Debug)]
struct Viewer {
    channel: CoreChannel,
    sandboxed: Arc<Sandboxed>,
}

impl Viewer {
    async fn spawn(plan: Plan) -> Result<Self, SpawnError> {
        let role = Role::Viewer.name();
        let failed = |source| SpawnError::Channel { role, source };
        let (ours, theirs) = ipc::pair().map_err(failed)?;
        let (log, log_writer) = ipc::log_pipe().map_err(failed)?;
        let channel = CoreChannel::new(ours, role).map_err(failed)?;
        let launching = move || margay_sandbox::launch(&plan, vec![(theirs, CHANNEL_FD), (log_writer, 2)]);
        let launched = tokio::task::spawn_blocking(launching).await.map_err(|error| failed(io::Error::other(error)))?;
        let sandboxed = Arc::new(launched.map_err(|source| SpawnError::Launch { role, source })?);
        tokio::spawn(forward_log(log, Role::Viewer, sandboxed.pid()));
        Ok(Self { channel, sandboxed })
    }

    async fn tell(&self, message: &ToViewer, descriptors: &[std::os::fd::BorrowedFd<'_>]) -> Result<(), String> {
        match tokio::time::timeout(STALL, self.channel.send(message, descriptors)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(IpcError::TooLarge { actual, .. })) => {
                tracing::debug!(actual, "a message is too large for the page, which goes without");
                Ok(())
            }
            Ok(Err(error)) => Err(explain(&error)),
            Err(_) => Err(format!("it took nothing for {} s", STALL.as_secs())),
        }
    }

    /// Ends it, and says why it ended: `why`, or else how its process did.
    async fn end(self, why: Option<String>) -> String {
        if why.is_some() {
            self.sandboxed.kill();
        }
        let sandboxed = self.sandboxed.clone();
        let exit = tokio::task::spawn_blocking(move || sandboxed.wait()).await;
        let exit = exit.map_or_else(|error| error.to_string(), |exit| exit.to_string());
        why.map_or_else(|| exit.clone(), |why| format!("{why}; {exit}"))
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.sandboxed.kill();
    }
}

//! One process of a function: its sandbox, its interface, what it prints, and its end.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use margay_sandbox::{Exit, LaunchError, Sandboxed, launch_held};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::code::Code;
use super::hub::Hub;
use super::interface::{self, Desk, Said, Work};
use super::listener::{self, FunctionListener, Guard};
use super::log::{FunctionLog, forward};
use super::plan::{self, FunctionPlanError};
use super::settings::{Access, Settings};
use super::status::Present;
use crate::credentials::namespace::{NamespaceError, listen_in};
use crate::credentials::token_exchange::Lender;
use crate::group::LogLevel;
use crate::ipc;

/// Where the interface is in a network namespace of the function's own, where nobody else takes a port.
const OWN_NETWORK_PORT: u16 = 9001;

/// Where credentials are lent there.
pub(super) const OWN_CREDENTIALS_PORT: u16 = 9002;

/// This program, which enters namespaces.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// Something that happened to a process of a function.
#[derive(Debug)]
pub(super) enum Event {
    /// It runs, or why it does not.
    Launched(Result<Worker, StartError>),
    /// It said something.
    Said(Said),
    /// Something to be told of it; it goes on.
    Troubled(String),
    /// It is gone; nothing follows.
    Exited(Exit),
}

/// Why a process of a function did not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    /// Its sandbox cannot be planned.
    #[error(transparent)]
    Plan(#[from] FunctionPlanError),
    /// The sandbox could not be set up.
    #[error("starting it in its sandbox")]
    Launch(#[from] LaunchError),
    /// Its interface could not listen.
    #[error("listening for it")]
    Listen(#[from] io::Error),
    /// Its interface could not listen in its namespace.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
}

/// What every process of a function is started from.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) settings: Arc<Settings>,
    pub(super) code: Code,
    pub(super) access: Access,
    pub(super) lender: Lender,
    pub(super) hub: Hub,
    pub(super) log: Arc<FunctionLog>,
}

/// A running process of a function. Dropped, it is killed with everything that it started.
#[derive(Debug)]
pub(super) struct Worker {
    sandboxed: Arc<Sandboxed>,
    pub(super) work: mpsc::Sender<Work>,
    memory_limit: Option<u64>,
    serving: Vec<AbortHandle>,
}

impl Worker {
    /// Starts process `id`; what it does arrives on `events`.
    pub(super) async fn start(
        id: u64,
        origin: Arc<Origin>,
        events: mpsc::Sender<(u64, Event)>,
    ) -> Result<Self, StartError> {
        let settings = &origin.settings;
        let without_network = plan::is_without_network(settings);
        let on_host = if without_network { None } else { Some(listener::on_host()?) };
        let address = match &on_host {
            Some(listener) => listener.local_addr()?,
            None => SocketAddr::from((Ipv4Addr::LOCALHOST, OWN_NETWORK_PORT)),
        };
        let plan = plan::plan(settings, &origin.code, &origin.access.lease, address)?;
        let (output, output_writer) = ipc::log_pipe()?;
        let (errors, errors_writer) = ipc::log_pipe()?;
        let launched = tokio::task::spawn_blocking(move || {
            let inside = Mutex::new(None);
            // Before its first instruction, so that the function never meets a closed port.
            let prepare = |pid: i32| {
                if without_network {
                    *inside.lock().unwrap_or_else(PoisonError::into_inner) = Some(listen_inside(pid));
                }
            };
            let sandboxed = launch_held(&plan, vec![(output_writer, 1), (errors_writer, 2)], &prepare)?;
            let inside = inside.into_inner().unwrap_or_else(PoisonError::into_inner).transpose()?;
            Ok::<_, StartError>((sandboxed, inside))
        });
        let (sandboxed, inside) = launched.await.map_err(io::Error::other)??;
        let sandboxed = Arc::new(sandboxed);
        let (work, works) = mpsc::channel(1);
        let desk = (settings.arn(), origin.access.lease.token().clone());
        let desk = Arc::new(Desk::new(desk, origin.hub.clone(), works, (id, events.clone())));
        let mut serving = Vec::new();
        let (own, guard) = match inside {
            Some((own, credentials)) => {
                let lender = origin.lender.clone();
                let lending = tokio::spawn(async move {
                    if let Err(error) = lender.serve_on(credentials).await {
                        tracing::warn!(%error, "a function's credentials endpoint ended");
                    }
                });
                serving.push(lending.abort_handle());
                (Some(own), None)
            }
            None => {
                let user = user_of(&sandboxed, settings);
                (on_host, Some(Guard { user, sandbox: Arc::downgrade(&sandboxed) }))
            }
        };
        if let Some(own) = own {
            let serve = interface::serve(FunctionListener::new(own, guard)?, desk);
            serving.push(tokio::spawn(serve).abort_handle());
        }
        for (pipe, level, source) in [(output, LogLevel::Info, "stdout"), (errors, LogLevel::Error, "stderr")] {
            let events = events.clone();
            // One that has no room is full of other news, and hears of this again.
            let floods = move |why| drop(events.try_send((id, Event::Troubled(why))));
            tokio::spawn(forward(pipe, origin.log.clone(), (level, source), floods));
        }
        tokio::spawn(tell_end(id, sandboxed.clone(), events));
        Ok(Self { sandboxed, work, memory_limit: settings.memory_limit(), serving })
    }

    /// For whoever looks at it without keeping it.
    pub(super) fn present(&self, busy: bool) -> Present {
        Present { sandbox: Arc::downgrade(&self.sandboxed), busy, memory_limit: self.memory_limit }
    }

    /// Asks it to end.
    pub(super) fn terminate(&self) {
        self.sandboxed.terminate();
    }

    /// Ends it and everything that it started, at once.
    pub(super) fn kill(&self) {
        self.sandboxed.kill();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
        self.serving.iter().for_each(AbortHandle::abort);
    }
}

/// The user that the host sees: the function's own, unless a user namespace keeps the core's.
fn user_of(sandboxed: &Sandboxed, settings: &Settings) -> u32 {
    match sandboxed.confinement() {
        margay_sandbox::Confinement::Privileged | margay_sandbox::Confinement::Process => settings.account.uid,
        margay_sandbox::Confinement::UserNamespace => rustix::process::geteuid().as_raw(),
    }
}

/// The interface and the credentials endpoint in the network namespace of the process `pid`.
fn listen_inside(pid: i32) -> Result<(TcpListener, TcpListener), NamespaceError> {
    let pid = pid.unsigned_abs();
    let listen = |port| listen_in(Path::new(OWN_PROGRAM), pid, port);
    Ok((listen(OWN_NETWORK_PORT)?, listen(OWN_CREDENTIALS_PORT)?))
}

async fn tell_end(id: u64, sandboxed: Arc<Sandboxed>, events: mpsc::Sender<(u64, Event)>) {
    if let Ok(exit) = tokio::task::spawn_blocking(move || sandboxed.wait()).await {
        // A supervisor that is gone needs no more news.
        let _ = events.send((id, Event::Exited(exit))).await;
    }
}

//! The functions of the group that runs: what a new group leaves as it was goes on, the others are ended and started.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::code::Code;
use super::hub::Hub;
use super::learning::Learning;
use super::log::FunctionLog;
use super::settings::{Access, Settings};
use super::status::{FunctionState, FunctionStatus, Told};
use super::supervisor::{FunctionTarget, Handle, Supervisor};
use super::worker::{OWN_CREDENTIALS_PORT, Origin};
use super::{plan, reach};
use crate::clock::Clock;
use crate::credentials::token_exchange::Lender;
use crate::router::{Endpoint, Inbox, Porter, Router};

/// The functions that run.
#[derive(Debug)]
pub struct Functions {
    hub: Hub,
    lender: Lender,
    clock: Arc<dyn Clock>,
    /// Invocations by other functions that may wait for each.
    work_items: usize,
    running: Mutex<Vec<Running>>,
}

#[derive(Debug)]
struct Running {
    settings: Arc<Settings>,
    handle: Handle,
    /// `None` for one that cannot be started as it is.
    task: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    porter: Option<Porter>,
}

impl Functions {
    /// None yet. `lender` lends credentials to them, `learning` answers their machine learning SDK.
    pub fn new(
        (router, learning): (Arc<Router>, Arc<dyn Learning>),
        lender: Lender,
        clock: Arc<dyn Clock>,
        work_items: usize,
    ) -> Self {
        Self { hub: Hub::new(router, learning), lender, clock, work_items, running: Mutex::default() }
    }

    /// Runs `wanted`, and nothing else. One that cannot run is in the status with its reason, and keeps no other.
    ///
    /// `exchange` puts the subscriptions into place, when every function can be given messages and no new one has begun: what
    /// it publishes as its first act has somewhere to go.
    pub async fn replace(&self, wanted: Vec<Settings>, exchange: impl FnOnce()) {
        let running = std::mem::take(&mut *self.lock());
        let (kept, ended): (Vec<Running>, Vec<Running>) =
            running.into_iter().partition(|running| wanted.contains(&running.settings) && running.task.is_some());
        let mut inboxes = self.end(ended).await;
        let mut now = Vec::with_capacity(wanted.len());
        let mut kept = kept;
        let (begin, begun) = watch::channel(());
        for settings in wanted {
            match kept.iter().position(|running| *running.settings == settings) {
                Some(place) => now.push(kept.swap_remove(place)),
                None => {
                    let inbox = inboxes.remove(settings.arn());
                    now.push(self.start(settings, inbox, begun.clone()));
                }
            }
        }
        *self.lock() = now;
        drop(inboxes);
        exchange();
        drop(begin);
    }

    /// How they stand.
    pub fn status(&self) -> Vec<FunctionStatus> {
        self.lock().iter().map(|running| running.handle.status()).collect()
    }

    /// Ends all of them: SIGTERM, then SIGKILL.
    pub async fn stop(&self) {
        let running = std::mem::take(&mut *self.lock());
        self.end(running).await;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends these side by side; gives what still waits for each.
    async fn end(&self, ended: Vec<Running>) -> HashMap<String, Inbox> {
        let mut ending = JoinSet::new();
        for running in ended {
            let arn = running.settings.arn().to_owned();
            self.hub.leave(&arn);
            self.lender.take_back(&arn);
            ending.spawn(async move {
                if let Some((stop, task)) = running.task {
                    // An error means that the task is over.
                    let _ = stop.send(());
                    let _ = task.await;
                }
                let inbox = match running.porter {
                    Some(porter) => porter.end().await,
                    None => None,
                };
                (arn, inbox)
            });
        }
        let ended = ending.join_all().await;
        ended.into_iter().filter_map(|(arn, inbox)| Some((arn, inbox?))).collect()
    }

    /// It takes messages at once, and starts processes when the sender of `begun` is gone.
    fn start(&self, settings: Settings, inbox: Option<Inbox>, mut begun: watch::Receiver<()>) -> Running {
        let arn = settings.arn().to_owned();
        let (requests, receiver) = mpsc::channel(1);
        let pinned = settings.function.pinned;
        let settings = Arc::new(settings);
        match self.origin(&settings) {
            Ok(origin) => {
                let state = if pinned { FunctionState::Waiting } else { FunctionState::Ready };
                let (tell, status) = watch::channel(Told::idle(FunctionStatus::new(&arn, pinned, state)));
                let handle = Handle::new(&arn, requests, self.work_items, status);
                let supervisor = Supervisor::new(Arc::new(origin), self.clock.clone(), receiver, tell);
                let (stop, stopped) = oneshot::channel();
                let task = tokio::spawn(async move {
                    // Nothing is sent: an error is what ends the wait.
                    let _ = begun.changed().await;
                    supervisor.run(stopped).await;
                });
                self.hub.enter(handle.clone());
                let porter = self.bring_messages(&handle, inbox);
                Running { settings, handle, task: Some((stop, task)), porter }
            }
            Err(why) => {
                tracing::error!(function = arn, "does not run: {why}");
                let mut status = FunctionStatus::new(&arn, pinned, FunctionState::Broken);
                status.last_error = Some(why);
                let (_, status) = watch::channel(Told::idle(status));
                Running { settings, handle: Handle::new(&arn, requests, 0, status), task: None, porter: None }
            }
        }
    }

    /// What its processes are started from, or why there can be none.
    fn origin(&self, settings: &Arc<Settings>) -> Result<Origin, String> {
        if let Some(missing) = plan::missing_package(settings) {
            return Err(format!("its machine learning resource {missing} is not on this device yet"));
        }
        let code = Code::find(&settings.code, settings.function.executable.as_deref(), settings.places())
            .map_err(|error| error.to_string())?;
        if !settings.is_contained() {
            reach::check(&[&code.places.code, &code.places.modules], settings.account)?;
        }
        let lease = match plan::is_without_network(settings) {
            true => self.lender.lend_on(([127, 0, 0, 1], OWN_CREDENTIALS_PORT).into(), settings.arn()),
            false => self.lender.lend(settings.arn()),
        };
        let access = Access { lease: lease.map_err(|error| error.to_string())? };
        let log = FunctionLog::new(settings.log.clone(), settings.log_space, settings.log_level, self.clock.clone());
        Ok(Origin {
            settings: settings.clone(),
            code,
            access,
            lender: self.lender.clone(),
            hub: self.hub.clone(),
            log: Arc::new(log),
        })
    }

    fn bring_messages(&self, handle: &Handle, inbox: Option<Inbox>) -> Option<Porter> {
        let endpoint = Endpoint::Function(handle.arn().to_owned());
        match inbox.map_or_else(|| self.hub.router().attach(endpoint), Ok) {
            Ok(inbox) => Some(Porter::begin(inbox, FunctionTarget(handle.clone()))),
            Err(error) => {
                tracing::error!(%error, "a function receives no messages");
                None
            }
        }
    }
}

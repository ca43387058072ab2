//! The core: its services built from the configuration, its tasks, and their end in good order.

mod camera_health;
mod connector_log;
pub mod control;
pub mod credentials;
mod device_watch;
mod functions;
mod group_runner;
mod heartbeat;
mod inflow;
mod learning;
mod log_line;
pub mod metrics;
mod preview;
mod publishing;
mod reload;
mod report;
mod service_manager;
mod services;
pub mod spool_control;
mod state_directory;
pub mod status;
pub mod system_log;
pub mod trial;
mod triggers;
mod uplink;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use self::functions::FunctionSettings;
use self::group_runner::{GroupRunner, Scene, spool};
use self::learning::MachineLearning;
use self::metrics::DeliveryTimes;
use self::preview::Preview;
use self::report::Report;
use self::service_manager::ServiceManager;
pub use self::services::{Services, ServicesError, connection_as, identity_files};
use self::system_log::SystemLog;
use crate::config::Config;
use crate::credentials::token_exchange::{BindError, Lender, TokenExchange};
use crate::credentials::{Roles, TokenRegistry};
use crate::deployment::{Deployments, Engine, Opening, Parts, Stager};
use crate::feedback::{Budget, Feedback};
use crate::function::{Functions, Learning};
use crate::jobs::GroupDeployer;
use crate::jobs::agent::JobsAgent;
use crate::mqtt::link::{Link, LinkSettings};
use crate::mqtt::spool::SpoolSettingsError;
use crate::problem::Problems;
use crate::router::{CloudOutlet, Message, Missed, Router};
use crate::store::Store;

/// How long the core waits at its end for the broker to acknowledge what is spooled.
const DRAIN: Duration = Duration::from_secs(5);

/// How often the last good time is looked at; it is written once an hour.
const LAST_GOOD_INTERVAL: Duration = Duration::from_secs(60);

/// How long after a connection came up its handshakes and subscriptions are over.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// Why the core does not run.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The device's files or the configuration do not allow to build its services.
    #[error(transparent)]
    Services(#[from] ServicesError),
    /// The store of models cannot be opened.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The state directory is another version's.
    #[error(transparent)]
    State(#[from] state_directory::StateError),
    /// The token exchange endpoint cannot listen.
    #[error(transparent)]
    TokenExchange(#[from] BindError),
    /// What functions need of the core cannot be written.
    #[error(transparent)]
    Modules(#[from] crate::function::ModulesError),
    /// The status socket cannot listen.
    #[error(transparent)]
    Status(#[from] status::StatusError),
    /// The group document's spool settings are impossible.
    #[error(transparent)]
    Spool(#[from] SpoolSettingsError),
    /// Signals cannot be received.
    #[error("listening for signals")]
    Signals(#[source] io::Error),
}

/// Runs the core until SIGTERM or SIGINT. `config` was read from `config_path`, `opening` says what runs first.
///
/// # Errors
/// Only what makes it pointless to run: the documents, the device's files, the store, a socket. Everything that the
/// network or the cloud may mend is retried and shown by `margay status`.
pub async fn run(
    config_path: &Path,
    config: Config,
    (opening, log): (Opening, SystemLog),
    warnings: Problems,
) -> Result<(), AppError> {
    let mut signals = Signals::listen().map_err(AppError::Signals)?;
    let manager = ServiceManager::of_environment();
    let mut core = Core::start(config, (opening, log), &warnings).await?;
    core.watch_identity(config_path);
    manager.ready();
    tokio::select! {
        () = core.obey(&mut signals, &manager) => {}
        () = heartbeat::keep(&manager, || heartbeat::pulse(core.report.clone())) => {}
    }
    manager.stopping();
    core.stop().await;
    Ok(())
}

/// The running parts.
struct Core {
    config: Arc<Config>,
    services: Services,
    link: Link,
    report: Arc<Report>,
    deployments: Deployments,
    tasks: tokio::task::JoinSet<()>,
}

impl Core {
    async fn start(config: Config, first: (Opening, SystemLog), warnings: &Problems) -> Result<Self, AppError> {
        let (opening, log) = first;
        let config = Arc::new(config);
        let services = Services::build(&config)?;
        log.open(&config.directories.logs(), services.clock.clone());
        let store = Arc::new(Store::open(&config.directories.models())?.with_quota(config.packages.quota));
        state_directory::open(&config.directories.state)?;
        let deliveries = Arc::new(DeliveryTimes::new(services.clock.clone()));
        let spooler = &opening.first_group(&config).deployable.group.spooler;
        let mut settings = link_settings(&config, spooler, &services, deliveries.clone())?;
        let jobs_channel = uplink::jobs_channel(&mut settings, &config);
        let link = Link::start(settings);
        let mut tasks = tokio::task::JoinSet::new();
        let preview = Preview::bind(&config);
        let metrics = metrics::Endpoint::bind(&config).await;
        let token_exchange = token_exchange(&config, &services).await?;
        let scene = scene(&config, &services, &link, token_exchange.lender());
        FunctionSettings::new(&config).install_modules()?;
        let runner = GroupRunner::new(&config, (&services, log), link.clone(), preview.clone(), scene.clone());
        let stager = Stager::new(services.s3.clone(), store.clone(), services.provenance.clone());
        let parts = Parts { config: config.clone(), clock: services.clock.clone(), store: store.clone(), stager };
        let (mut engine, deployments) = Engine::new(parts, runner, opening);
        engine.resume().await;
        // Who takes what a kept session sends at once is there now.
        link.open();
        let jobs = jobs_channel.map(|(channel, jobs)| {
            let deployer = Arc::new(GroupDeployer::new(services.s3.clone(), store, deployments.clone()));
            JobsAgent::new(link.clone(), channel, deployer, jobs.step_timeout)
        });
        let listener = status::listen(&config.directories.status_socket)?;
        let orders = control::listen(&config.directories.control_socket())?;
        let unserved = preview.failure().into_iter().chain(metrics.failure());
        let report = Arc::new(Report {
            config: config.clone(),
            started: services.clock.boottime(),
            services: services.clone(),
            link: link.clone(),
            scene,
            deployments: deployments.clone(),
            jobs: jobs.as_ref().map(JobsAgent::status),
            page: preview.clone(),
            deliveries,
            metrics: metrics.url(),
            warnings: warnings.iter().map(ToString::to_string).chain(unserved).collect(),
        });
        preview.start(&mut tasks, report.clone());
        metrics.start(&mut tasks, report.clone());
        tasks.spawn(engine.run());
        if let Some(jobs) = jobs {
            tasks.spawn(jobs.run());
        }
        tasks.spawn(control::serve(orders, deployments.clone()));
        let asked = report.clone();
        tasks.spawn(status::serve(listener, move || asked.clone().now()));
        tasks.spawn(spool_control::serve(spool_control::path(&config), link.clone()));
        tasks.spawn(lend_credentials(token_exchange));
        keep_up(&mut tasks, &report);
        Ok(Self { config, services, link, report, deployments, tasks })
    }

    fn watch_identity(&mut self, config_path: &Path) {
        let config = Config::clone(&self.config);
        self.tasks.spawn(reload::watch(config_path.to_owned(), config, self.services.clone(), self.link.clone()));
    }

    /// Does what signals ask for until one says stop.
    async fn obey(&self, signals: &mut Signals, manager: &ServiceManager) {
        while let Order::DeployAgain = signals.next().await {
            manager.reloading();
            self.deployments.look_at_file();
            manager.ready();
        }
    }

    async fn stop(mut self) {
        tracing::info!("stopping");
        self.report.scene.functions().stop().await;
        self.report.scene.learning().stop();
        for camera in self.report.scene.cameras() {
            camera.classifier.shutdown().await;
        }
        let counters = self.link.drain(DRAIN).await;
        let left = counters.queued + counters.in_flight;
        if left > 0 {
            let kept = if self.link.spool_state().folder.is_some() { "they wait on the disk" } else { "they are lost" };
            tracing::warn!(left, "predictions were not delivered before the end: {kept}");
        }
        self.tasks.shutdown().await;
        // Left behind, the sockets would be replaced at the next start; gone, they tell that no core runs.
        let _ = std::fs::remove_file(&self.config.directories.status_socket);
        let _ = std::fs::remove_file(self.config.directories.control_socket());
        let _ = std::fs::remove_file(spool_control::path(&self.config));
    }
}

/// The link to the cloud, whose acknowledgements are measured by `deliveries`.
fn link_settings(
    config: &Config,
    spooler: &crate::group::Spooler,
    services: &Services,
    deliveries: Arc<DeliveryTimes>,
) -> Result<LinkSettings, SpoolSettingsError> {
    let mut settings = LinkSettings::new(services.connection(config));
    settings.spool = spool(spooler, config)?;
    settings.clock = services.clock.clone();
    settings.closed_at_first = true;
    uplink::configure(&mut settings, config, services, spooler);
    settings.on_acknowledged = Some(Arc::new(move |delivered| deliveries.acknowledged(delivered.tag)));
    Ok(settings)
}

/// What goes on beside the cameras for as long as the core runs.
fn keep_up(tasks: &mut tokio::task::JoinSet<()>, report: &Report) {
    let Report { services, link, scene, .. } = report;
    let (roles, device) = (services.roles.clone(), scene.device().clone());
    tasks.spawn(async move { device.run().await });
    tasks.spawn(async move { roles.run().await });
    let feedback = scene.learning().feedback().clone();
    tasks.spawn(end_pauses(link.clone(), services.roles.clone(), feedback.clone()));
    tasks.spawn(feedback.run());
    tasks.spawn(keep_time(services.clone()));
    tasks.spawn(stay_small(link.clone()));
}

/// The link as the router gives messages to it.
fn to_cloud(link: Link) -> CloudOutlet {
    Box::new(move |message: &Message, mark| {
        let accepted = link.accept_marked(message.topic.clone(), message.payload.clone(), mark);
        accepted.map(drop).map_err(|error| Missed::Cloud(Arc::new(error)))
    })
}

/// What a group's parts run in: the router between them, functions, and what those ask of machine learning.
fn scene(config: &Config, services: &Services, link: &Link, lender: Lender) -> Arc<Scene> {
    let work_items = config.runtime.max_work_item_count;
    let router = Arc::new(Router::new([], work_items, to_cloud(link.clone())));
    let learning = Arc::new(MachineLearning::new(feedback(config, services, link, &router)));
    let asked: (_, Arc<dyn Learning>) = (router.clone(), learning.clone());
    let functions = Functions::new(asked, lender, services.clock.clone(), work_items);
    Arc::new(Scene::new(router, functions, learning))
}

/// Where samples go: they wait below the state directory, in what messages leave of the spool's limit.
fn feedback(config: &Config, services: &Services, link: &Link, router: &Arc<Router>) -> Feedback {
    let link = link.clone();
    let budget = move || {
        let spool = link.spool_state();
        Budget { used: spool.used_bytes, limit: spool.limit_bytes }
    };
    let folder = config.directories.state.join("feedback");
    Feedback::new(&folder, Box::new(budget), services.s3.clone(), router.clone(), services.clock.clone())
}

/// Where functions fetch their credentials, bound.
async fn token_exchange(config: &Config, services: &Services) -> Result<TokenExchange, BindError> {
    let tokens = Arc::new(TokenRegistry::new());
    TokenExchange::bind(config.token_exchange.port, services.roles.clone(), tokens).await
}

async fn lend_credentials(token_exchange: TokenExchange) {
    if let Err(error) = token_exchange.serve().await {
        tracing::error!(%error, "the token exchange endpoint ended");
    }
}

/// A link that came up has had its handshakes, and a core that starts is through with most of what it does once.
async fn stay_small(link: Link) {
    let mut state = link.state();
    while state.wait_for(|state| state.is_connected()).await.is_ok() {
        tokio::time::sleep(SETTLED_AFTER).await;
        margay_sandbox::release_start_up_memory();
        if state.wait_for(|state| !state.is_connected()).await.is_err() {
            return;
        }
    }
}

/// A link that comes up tells that the network is back: credentials and samples need not wait for the end of their pause.
async fn end_pauses(link: Link, credentials: Roles, feedback: Feedback) {
    let mut state = link.state();
    while state.changed().await.is_ok() {
        if state.borrow_and_update().is_connected() {
            credentials.retry_now();
            feedback.retry_now();
        }
    }
}

/// Keeps the time that a server has confirmed for a device that boots without one.
async fn keep_time(services: Services) {
    let mut interval = tokio::time::interval(LAST_GOOD_INTERVAL);
    loop {
        interval.tick().await;
        if let Err(error) = services.last_good.keep(services.clock.as_ref()) {
            tracing::warn!(%error, "the last good time was not kept");
        }
    }
}

enum Order {
    Stop,
    DeployAgain,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Order {
        tokio::select! {
            _ = self.terminate.recv() => Order::Stop,
            _ = self.interrupt.recv() => Order::Stop,
            _ = self.hang_up.recv() => Order::DeployAgain,
        }
    }
}

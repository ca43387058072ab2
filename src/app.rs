//! The core: its services built from the configuration, its tasks, and their end in good order.

pub mod credentials;
mod heartbeat;
mod preview;
mod publishing;
mod reload;
mod report;
mod service_manager;
mod services;
pub mod spool_control;
pub mod status;
pub mod trial;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use self::preview::Preview;
use self::publishing::Publisher;
use self::report::{CameraSources, Report};
use self::service_manager::ServiceManager;
pub use self::services::{Services, ServicesError, connection, identity_files};
use crate::classifier::Classifier;
use crate::config::Config;
use crate::connector::image_classifier::ImageClassifier;
use crate::credentials::token_exchange::TokenExchange;
use crate::credentials::{Roles, TokenRegistry};
use crate::deployment::{Deployment, Stager};
use crate::documents::{self, Deployable};
use crate::group::{self, Party, Spooler, Subscription};
use crate::mqtt::link::{Link, LinkSettings};
use crate::mqtt::spool::{SpoolSettings, SpoolSettingsError, StorageType, WhenFull};
use crate::problem::Problems;
use crate::router::{Endpoint, Route, Router};
use crate::store::Store;

/// How long the core waits at its end for the broker to acknowledge what is spooled.
const DRAIN: Duration = Duration::from_secs(5);

/// How often the last good time is looked at; it is written once an hour.
const LAST_GOOD_INTERVAL: Duration = Duration::from_secs(60);

/// Why the core does not run.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The device's files or the configuration do not allow to build its services.
    #[error(transparent)]
    Services(#[from] ServicesError),
    /// The store of models cannot be opened.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The token exchange endpoint cannot listen.
    #[error(transparent)]
    TokenExchange(#[from] crate::credentials::token_exchange::BindError),
    /// The status socket cannot listen.
    #[error(transparent)]
    Status(#[from] status::StatusError),
    /// A worker's sandbox cannot be planned from the group document.
    #[error("planning the sandbox of the camera")]
    Plan(#[from] margay_sandbox::PlanError),
    /// The group document's spool settings are impossible.
    #[error(transparent)]
    Spool(#[from] SpoolSettingsError),
    /// Signals cannot be received.
    #[error("listening for signals")]
    Signals(#[source] io::Error),
}

/// Runs the core until SIGTERM or SIGINT. `config` was read from `config_path`.
///
/// # Errors
/// Only what makes it pointless to run: the documents, the device's files, the store, a socket. Everything that the
/// network or the cloud may mend is retried and shown by `margay status`.
pub async fn run(
    config_path: &Path,
    config: Config,
    deployable: Deployable,
    warnings: Problems,
) -> Result<(), AppError> {
    let mut signals = Signals::listen().map_err(AppError::Signals)?;
    let manager = ServiceManager::of_environment();
    let mut core = Core::start(config, &deployable, &warnings).await?;
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
    cameras: Vec<Camera>,
    tasks: tokio::task::JoinSet<()>,
}

struct Camera {
    classifier: Classifier,
    resource: crate::name::ResourceId,
    uri: watch::Sender<crate::group::ModelSource>,
}

impl Core {
    async fn start(config: Config, deployable: &Deployable, warnings: &Problems) -> Result<Self, AppError> {
        let config = Arc::new(config);
        let services = Services::build(&config)?;
        let store = Arc::new(Store::open(&config.directories.models())?);
        let mut settings = LinkSettings::new(services.connection(&config));
        settings.spool = spool(&deployable.group.spooler, &config)?;
        settings.clock = services.clock.clone();
        settings.retry_ceiling = config.mqtt.max_retry_interval;
        let link = Link::start(settings);
        let router = Arc::new(Router::new(deployable.group.subscriptions.iter().map(route)));
        let mut tasks = tokio::task::JoinSet::new();
        let stager = Stager::new(services.s3.clone(), store, services.provenance.clone());
        let preview = Preview::bind(&config);
        let mut cameras = Vec::new();
        let mut reported = Vec::new();
        for connector in &deployable.image_classifiers {
            let mut publisher = publisher(&config, &services, &router, &link, connector);
            publisher.page = preview.feed(cameras.len());
            let topic = publisher.topic.clone();
            let classifier =
                Classifier::start(connector.settings(), move |observation| publisher.publish(observation))?;
            let (uri, uri_changes) = watch::channel(connector.model_source.clone());
            let resource = connector.model_resource.clone();
            let deployment = Deployment::new(resource.clone(), uri_changes, stager.clone(), classifier.clone());
            reported.push(CameraSources {
                topic,
                resource: resource.clone(),
                uri: uri.subscribe(),
                progress: deployment.progress(),
                classifier: classifier.clone(),
            });
            tasks.spawn(deployment.run());
            cameras.push(Camera { classifier, resource, uri });
        }
        let token_exchange =
            TokenExchange::bind(config.token_exchange.port, services.roles.clone(), Arc::new(TokenRegistry::new()))
                .await?;
        let listener = status::listen(&config.directories.status_socket)?;
        let report = Arc::new(Report {
            config: config.clone(),
            started: services.clock.boottime(),
            services: services.clone(),
            link: link.clone(),
            router,
            cameras: reported,
            page: preview.clone(),
            warnings: warnings.iter().map(ToString::to_string).chain(preview.failure()).collect(),
        });
        preview.start(&mut tasks, report.clone());
        let asked = report.clone();
        tasks.spawn(status::serve(listener, move || asked.clone().now()));
        tasks.spawn(spool_control::serve(spool_control::path(&config), link.clone()));
        tasks.spawn(lend_credentials(token_exchange));
        let roles = services.roles.clone();
        tasks.spawn(async move { roles.run().await });
        tasks.spawn(end_pauses(link.clone(), services.roles.clone()));
        tasks.spawn(keep_time(services.clone()));
        Ok(Self { config, services, link, report, cameras, tasks })
    }

    fn watch_identity(&mut self, config_path: &Path) {
        let config = Config::clone(&self.config);
        self.tasks.spawn(reload::watch(config_path.to_owned(), config, self.services.clone()));
    }

    /// Does what signals ask for until one says stop.
    async fn obey(&self, signals: &mut Signals, manager: &ServiceManager) {
        while let Order::DeployAgain = signals.next().await {
            manager.reloading();
            self.deploy_again();
            manager.ready();
        }
    }

    /// Reads the group document anew and has every package looked at again. What the document changes beside its
    /// packages takes effect at the next start.
    fn deploy_again(&self) {
        match documents::load_group(&self.config.directories.group_document, Some(&self.config)) {
            Ok(accepted) => {
                for camera in &self.cameras {
                    let wanted = accepted.document.image_classifiers.iter();
                    if let Some(connector) = wanted.into_iter().find(|c| c.model_resource == camera.resource) {
                        camera.uri.send_replace(connector.model_source.clone());
                    }
                }
            }
            Err(error) => tracing::error!(%error, "the new group document is refused; the old one stays in force"),
        }
    }

    async fn stop(mut self) {
        tracing::info!("stopping");
        for camera in &self.cameras {
            camera.classifier.shutdown().await;
        }
        let counters = self.link.drain(DRAIN).await;
        let left = counters.queued + counters.in_flight;
        if left > 0 {
            let kept = if self.link.spool_state().folder.is_some() { "they wait on the disk" } else { "they are lost" };
            tracing::warn!(left, "predictions were not delivered before the end: {kept}");
        }
        self.tasks.shutdown().await;
        // Left behind, the socket would be replaced at the next start; gone, it tells that no core runs.
        let _ = std::fs::remove_file(&self.config.directories.status_socket);
        let _ = std::fs::remove_file(spool_control::path(&self.config));
    }
}

fn publisher(
    config: &Config,
    services: &Services,
    router: &Arc<Router>,
    link: &Link,
    connector: &ImageClassifier,
) -> Publisher {
    let thing = config.core_thing.thing_arn.thing().clone();
    Publisher {
        topic: connector.topic.clone(),
        thing,
        camera: connector.camera_name.to_string(),
        source: Endpoint::Connector(connector.arn.to_string()),
        clock: services.clock.clone(),
        router: router.clone(),
        link: link.clone(),
        page: None,
        novelty: Default::default(),
    }
}

/// A subscription of the group as the router takes it.
fn route(subscription: &Subscription) -> Route {
    Route {
        id: subscription.id.to_string(),
        source: endpoint(&subscription.source),
        target: endpoint(&subscription.target),
        filter: subscription.subject.clone(),
    }
}

fn endpoint(party: &Party) -> Endpoint {
    match party {
        Party::Cloud => Endpoint::Cloud,
        Party::ShadowService => Endpoint::ShadowService,
        Party::Device(arn) => Endpoint::Device(arn.to_string()),
        Party::Function(arn) => Endpoint::Function(arn.to_string()),
        Party::Connector(arn) => Endpoint::Connector(arn.to_string()),
    }
}

/// The group's spooler as the link takes it.
///
/// # Errors
/// [`SpoolSettingsError`]: it is too small.
pub fn spool(spooler: &Spooler, config: &Config) -> Result<SpoolSettings, SpoolSettingsError> {
    let bytes = usize::try_from(spooler.max_size.bytes()).unwrap_or(usize::MAX);
    let storage = match spooler.storage {
        group::Storage::Memory => StorageType::Memory,
        group::Storage::FileSystem => StorageType::FileSystem(config.directories.spool()),
    };
    let when_full = match spooler.when_full {
        group::WhenFull::DropOldest => WhenFull::DropOldest,
        group::WhenFull::DropRepeats => WhenFull::DropRepeats,
    };
    Ok(SpoolSettings::new(bytes, storage)?.when_full(when_full))
}

async fn lend_credentials(token_exchange: TokenExchange) {
    if let Err(error) = token_exchange.serve().await {
        tracing::error!(%error, "the token exchange endpoint ended");
    }
}

/// A link that comes up tells that the network is back: credentials need not wait for the end of their pause.
async fn end_pauses(link: Link, credentials: Roles) {
    let mut state = link.state();
    while state.changed().await.is_ok() {
        if state.borrow_and_update().is_connected() {
            credentials.retry_now();
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

//! Runs the group that is deployed: a classifier for each camera, the subscriptions as the router and as what is asked of
//! the cloud, the limit of the spool. What a new group leaves as it was goes on; messages that wait, for the cloud or for a
//! local target that the new group has too, stay where they are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::camera_health::HealthPublisher;
use super::device_watch::DeviceWatch;
use super::functions::FunctionSettings;
use super::inflow;
use super::learning::MachineLearning;
use super::metrics::FrameTimes;
use super::preview::Preview;
use super::publishing::{Novelty, Publisher};
use super::services::Services;
use super::system_log::SystemLog;
use super::triggers::TriggerTarget;
use crate::backoff::Backoff;
use crate::causes::explain;
use crate::classifier::{ActivationError, Classifier, ClassifierStatus, DeployedModel, Engines, Settings};
use crate::config::Config;
use crate::connector::image_classifier::ImageClassifier;
use crate::deployment::{DeploymentError, GroupVersion, Runner, Staged};
use crate::function::{self, FunctionStatus, Functions};
use crate::group::{self, Party, Spooler, Subscription};
use crate::mqtt::link::Link;
use crate::mqtt::spool::{SpoolSettings, SpoolSettingsError, StorageType, WhenFull};
use crate::router::{Endpoint, Inbox, Porter, Route, Router};

/// Attempts to run a model that ran before, from the first pause to the longest.
const INSIST: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));

/// How long a classifier that is restarting a model may keep a new one waiting, in steps of [`BUSY_PAUSE`].
const BUSY_STEPS: u32 = 1800;

/// Between two attempts to give a busy classifier a model.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// What runs now, for whoever looks.
#[derive(Debug)]
pub(super) struct Scene {
    router: Arc<Router>,
    cameras: Mutex<Vec<Camera>>,
    device: Arc<DeviceWatch>,
    functions: Functions,
    learning: Arc<MachineLearning>,
}

/// A camera that runs.
#[derive(Debug, Clone)]
pub(super) struct Camera {
    pub(super) connector: ImageClassifier,
    pub(super) classifier: Classifier,
    /// Its stages, measured as they pass.
    pub(super) times: Arc<FrameTimes>,
}

impl Scene {
    /// Nothing, with a `router` that knows no subscription yet.
    pub(super) fn new(router: Arc<Router>, functions: Functions, learning: Arc<MachineLearning>) -> Self {
        Self { router, cameras: Mutex::default(), device: Arc::new(DeviceWatch::new()), functions, learning }
    }

    /// The router, which outlives the groups.
    pub(super) fn router(&self) -> &Arc<Router> {
        &self.router
    }

    /// What the device says of itself.
    pub(super) fn device(&self) -> &Arc<DeviceWatch> {
        &self.device
    }

    /// The functions of the group that runs.
    pub(super) fn functions(&self) -> &Functions {
        &self.functions
    }

    /// The machine learning connectors of the group that runs.
    pub(super) fn learning(&self) -> &MachineLearning {
        &self.learning
    }

    /// The cameras of the group that runs.
    pub(super) fn cameras(&self) -> Vec<Camera> {
        self.lock().clone()
    }

    /// Whether `camera` is one of those that run.
    pub(super) fn runs(&self, camera: &Camera) -> bool {
        self.lock().iter().any(|running| running.connector == camera.connector)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Camera>> {
        self.cameras.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The core's runner of groups.
#[derive(Debug)]
pub(super) struct GroupRunner {
    config: Arc<Config>,
    services: Services,
    log: SystemLog,
    link: Link,
    preview: Preview,
    scene: Arc<Scene>,
    insisting: Vec<Insisting>,
    /// Who brings messages to the local targets that run.
    porters: HashMap<Endpoint, Porter>,
    /// How models are run on this device.
    engines: Engines,
}

/// A task that gives a classifier its model until it runs.
#[derive(Debug)]
struct Insisting {
    stop: watch::Sender<bool>,
    tried: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Runner for GroupRunner {
    async fn switch(&mut self, group: &GroupVersion) -> Result<(), DeploymentError> {
        self.check_resources(group)?;
        self.stop_insisting().await;
        // What may fail without a trace comes first: models of services, and of classifiers that go on.
        let services = self.scene.learning.prepare(group, &self.engines).await?;
        for camera in self.scene.cameras() {
            if let Some((_, staged)) =
                wanted(group).find(|(connector, _)| camera.connector.differs_only_in_model_source(connector))
            {
                activate(&camera.classifier, staged).await?;
            }
        }
        for connector in self.replace_classifiers(group).await? {
            let camera = self.scene.cameras().into_iter().find(|camera| camera.connector == connector);
            let staged = group.packages.get(&connector.model_resource);
            if let (Some(camera), Some(staged)) = (camera, staged) {
                activate(&camera.classifier, staged).await?;
            }
        }
        self.scene.learning.replace(services, group);
        self.replace_functions_and_routes(group).await;
        Ok(())
    }

    async fn insist(&mut self, group: &GroupVersion) {
        self.stop_insisting().await;
        if let Err(error) = self.replace_classifiers(group).await {
            tracing::error!(error = explain(&error), "a camera of the group does not run");
        }
        let services = self.scene.learning.prepare_again(group, &self.engines);
        self.scene.learning.replace(services, group);
        self.replace_functions_and_routes(group).await;
        for camera in self.scene.cameras() {
            if let Some(staged) = group.packages.get(&camera.connector.model_resource) {
                self.insisting.push(Insisting::begin(camera.classifier, staged.model.clone()));
            }
        }
    }

    async fn settled(&mut self) {
        for insisting in &mut self.insisting {
            // An error means that the task is over, and so has tried.
            let _ = insisting.tried.wait_for(|tried| *tried).await;
        }
    }

    async fn classifiers(&self) -> Vec<ClassifierStatus> {
        let mut classifiers = Vec::new();
        for camera in self.scene.cameras() {
            classifiers.extend(camera.classifier.status().await);
        }
        classifiers
    }

    fn functions(&self) -> Vec<FunctionStatus> {
        self.scene.functions.status()
    }
}

impl GroupRunner {
    /// Runs nothing yet.
    pub(super) fn new(
        config: &Arc<Config>,
        (services, log): (&Services, SystemLog),
        link: Link,
        preview: Preview,
        scene: Arc<Scene>,
    ) -> Self {
        let (config, services) = (config.clone(), services.clone());
        let engines = Engines::configured(&config);
        Self { config, services, log, link, preview, scene, insisting: Vec::new(), porters: HashMap::new(), engines }
    }

    /// Ends the classifiers that `group` does not go on with, and starts the others that it has, without their models.
    /// Returns those that were started.
    async fn replace_classifiers(&mut self, group: &GroupVersion) -> Result<Vec<ImageClassifier>, DeploymentError> {
        let connectors = &group.deployable.image_classifiers;
        let (kept, ended): (Vec<Camera>, Vec<Camera>) = self.scene.cameras().into_iter().partition(|camera| {
            connectors.iter().any(|connector| camera.connector.differs_only_in_model_source(connector))
        });
        self.scene.lock().retain(|camera| kept.iter().any(|kept| kept.connector == camera.connector));
        // What waits for a target that the new group has too goes to its successor; of others it is counted as abandoned.
        let mut inboxes = HashMap::new();
        for camera in ended {
            tracing::info!(camera = %camera.connector.camera_name, "the classifier ends");
            camera.classifier.shutdown().await;
            let target = connector_endpoint(&camera.connector);
            if let Some(porter) = self.porters.remove(&target)
                && let Some(inbox) = porter.end().await
            {
                inboxes.insert(target, inbox);
            }
        }
        let mut started = Vec::new();
        for (place, connector) in connectors.iter().enumerate() {
            let known = self
                .scene
                .lock()
                .iter_mut()
                .find(|camera| camera.connector.differs_only_in_model_source(connector))
                .map(|camera| {
                    camera.connector = connector.clone();
                });
            if known.is_none() {
                let camera = self.start(connector, place)?;
                self.bring_triggers(&camera, inboxes.remove(&connector_endpoint(connector)));
                self.scene.lock().push(camera);
                started.push(connector.clone());
            }
        }
        Ok(started)
    }

    /// Whether functions would get the files and devices that the group grants them (B-08). Only root's core runs them.
    fn check_resources(&self, group: &GroupVersion) -> Result<(), DeploymentError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        let settings = FunctionSettings::new(&self.config).of_group(group);
        let misses: Vec<function::Miss> = settings.iter().flat_map(function::misses).collect();
        if misses.is_empty() { Ok(()) } else { Err(function::Misses(misses).into()) }
    }

    /// The functions, each as far as it can run, and the subscriptions: none of them keeps a deployment from its end.
    async fn replace_functions_and_routes(&self, group: &GroupVersion) {
        let wanted = FunctionSettings::new(&self.config).of_group(group);
        self.scene.functions.replace(wanted, || self.exchange_routes(group)).await;
    }

    fn start(&self, connector: &ImageClassifier, place: usize) -> Result<Camera, DeploymentError> {
        let times = Arc::new(FrameTimes::new());
        let publisher = Publisher {
            topic: connector.topic.clone(),
            thing: self.config.core_thing.thing_arn.thing().clone(),
            camera: connector.camera_name.to_string(),
            source: connector_endpoint(connector),
            clock: self.services.clock.clone(),
            router: self.scene.router.clone(),
            page: self.preview.feed(place),
            times: times.clone(),
            novelty: Novelty::default(),
            device: self.scene.device.clone(),
        };
        let observe = move |observation| publisher.publish(observation);
        let settings = Settings { engines: self.engines.clone(), ..connector.settings() };
        let classifier = Classifier::start(settings, self.services.clock.clone(), observe)?;
        let health = HealthPublisher {
            thing: self.config.core_thing.thing_arn.thing().clone(),
            camera: connector.camera_name.clone(),
            source: Endpoint::Connector(connector.arn.to_string()),
            clock: self.services.clock.clone(),
            router: self.scene.router.clone(),
        };
        // It ends with the classifier.
        tokio::spawn(health.run(classifier.clone()));
        self.preview.show(place, classifier.ring());
        Ok(Camera { connector: connector.clone(), classifier, times })
    }

    /// Has messages for a classifier brought to it, if it takes any: those of `inbox` first.
    fn bring_triggers(&mut self, camera: &Camera, inbox: Option<Inbox>) {
        let Some(topic) = camera.connector.trigger_topic.clone() else { return };
        let endpoint = connector_endpoint(&camera.connector);
        let inbox = inbox.map_or_else(|| self.scene.router.attach(endpoint.clone()), Ok);
        match inbox {
            Ok(inbox) => {
                let target = TriggerTarget { classifier: camera.classifier.clone(), topic };
                self.porters.insert(endpoint, Porter::begin(inbox, target));
            }
            Err(error) => tracing::error!(%error, "a classifier receives no messages"),
        }
    }

    /// The subscriptions, in the router and at the cloud, and the spool's limit; a subscription that is in both groups goes
    /// on counting.
    fn exchange_routes(&self, group: &GroupVersion) {
        let group = &group.deployable.group;
        self.log.configure(group);
        self.scene.router.replace(group.subscriptions.iter().map(route));
        // Routes first: what comes for a new filter has somewhere to go.
        for filter in self.link.exchange_inflow(inflow::of(group, &self.scene.router)) {
            tracing::error!(%filter, "a connection has no room for this subscription from the cloud; join some with a wildcard");
        }
        match spool(&group.spooler, &self.config) {
            Ok(settings) => self.link.limit_spool(&settings),
            Err(error) => tracing::error!(%error, "the spool keeps its limit"),
        }
    }

    async fn stop_insisting(&mut self) {
        for Insisting { stop, task, .. } in self.insisting.drain(..) {
            stop.send_replace(true);
            // A panic was logged when it happened.
            let _ = task.await;
        }
    }
}

impl Insisting {
    fn begin(classifier: Classifier, model: DeployedModel) -> Self {
        let (stop, mut stopped) = watch::channel(false);
        let (tell, tried) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut pauses = Backoff::new(INSIST.0, INSIST.1);
            loop {
                match give(&classifier, &model).await {
                    Ok(()) | Err(ActivationError::ShutDown) => break,
                    Err(ActivationError::Busy) => {}
                    Err(error) => {
                        tracing::error!(model = ?model.identity, error = explain(&error), "a model that ran does not run; it is tried again");
                        tell.send_replace(true);
                    }
                }
                tokio::select! {
                    () = tokio::time::sleep(pauses.next()) => {}
                    _ = stopped.changed() => break,
                }
            }
            tell.send_replace(true);
        });
        Self { stop, tried, task }
    }
}

/// Gives `classifier` the model, if it does not run it already.
async fn give(classifier: &Classifier, model: &DeployedModel) -> Result<(), ActivationError> {
    let status = classifier.status().await.ok_or(ActivationError::ShutDown)?;
    if status.model.is_some_and(|running| running == *model.identity) {
        return Ok(());
    }
    let loaded = classifier.activate(model.clone()).await?;
    let identity = &model.identity;
    tracing::info!(
        name = identity.name,
        version = identity.version,
        digest = identity.digest,
        engine = loaded.engine,
        load_ms = loaded.load_time.as_millis(),
        from_artefact = loaded.is_kept,
        "the model is ready"
    );
    Ok(())
}

async fn activate(classifier: &Classifier, staged: &Staged) -> Result<(), DeploymentError> {
    for _ in 0..BUSY_STEPS {
        match give(classifier, &staged.model).await {
            Err(ActivationError::Busy) => tokio::time::sleep(BUSY_PAUSE).await,
            Ok(()) => return Ok(()),
            Err(source) => return Err(failed(staged, source)),
        }
    }
    Err(failed(staged, ActivationError::Busy))
}

fn failed(staged: &Staged, source: ActivationError) -> DeploymentError {
    DeploymentError::Activation { uri: staged.installed.origin().clone(), source: Box::new(source) }
}

/// The classifiers of `group` whose package is there.
fn wanted(group: &GroupVersion) -> impl Iterator<Item = (&ImageClassifier, &Staged)> {
    let connectors = group.deployable.image_classifiers.iter();
    connectors.filter_map(|connector| Some((connector, group.packages.get(&connector.model_resource)?)))
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

/// A classifier as subscriptions name it.
fn connector_endpoint(connector: &ImageClassifier) -> Endpoint {
    Endpoint::Connector(connector.arn.to_string())
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
pub(super) fn spool(spooler: &Spooler, config: &Config) -> Result<SpoolSettings, SpoolSettingsError> {
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

//! The main job, tried step by step without a core: `margay check --online`. Each step is the core's own code; nothing
//! is published and nothing of a running core is touched.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::services::{Services, ServicesError};
use margay_camera::source::SourceError;

use crate::classifier::one_shot::{OneShot, OneShotError};
use crate::classifier::{Engines, WorkerIdentity};
use crate::config::Config;
use crate::connector::image_classification::ClassificationService;
use crate::connector::image_classifier::{Camera, ImageClassifier};
use crate::credentials::CredentialsError;
use crate::deployment::{DeploymentError, Purpose, Staged, Stager};
use crate::documents::Deployable;
use crate::group::ModelSource;
use crate::mqtt::link::{Link, LinkSettings, LinkState};
use crate::name::ResourceId;
use crate::payload;
use crate::s3::Progress as Received;
use crate::store::Store;

/// How long the broker may take.
const CONNECT: Duration = Duration::from_secs(30);

/// What is told while the trial goes on.
#[derive(Debug)]
pub enum Told {
    /// A step succeeded.
    Passed(Passed),
    /// So much of a package has arrived.
    Receiving(Received),
}

/// A step that succeeded.
#[derive(Debug)]
pub struct Passed {
    /// Which step.
    pub name: &'static str,
    /// What was found.
    pub detail: String,
}

/// The steps, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The device's files.
    Identity,
    /// Temporary credentials.
    Credentials,
    /// The package from S3.
    Download,
    /// The sandbox for its model.
    Sandbox,
    /// The model itself.
    Model,
    /// The camera.
    Source,
    /// The broker.
    Broker,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Credentials => "credentials",
            Self::Download => "package",
            Self::Sandbox => "sandbox",
            Self::Model => "model",
            Self::Source => "camera",
            Self::Broker => "broker",
        }
    }
}

/// The first step that failed.
#[derive(Debug, thiserror::Error)]
#[error("the step {} failed", step.name())]
pub struct TrialFailure {
    /// Which step.
    pub step: Step,
    /// Why.
    #[source]
    pub cause: TrialError,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The services cannot be built.
    #[error("loading the device's identity")]
    Services(#[from] ServicesError),
    /// No credentials.
    #[error("exchanging the certificate for credentials at {endpoint}")]
    Credentials {
        /// The credentials provider, `host:port`.
        endpoint: String,
        /// What came back.
        #[source]
        source: CredentialsError,
    },
    /// The camera cannot be used.
    #[error("looking at the camera")]
    Camera(#[from] SourceError),
    /// A folder for the trial could not be made.
    #[error("making a folder for the trial")]
    Folder(#[source] std::io::Error),
    /// The store for the trial could not be opened.
    #[error("opening a store for the trial")]
    Store(#[from] crate::store::StoreError),
    /// The package could not be fetched or is out of order.
    #[error("fetching the model")]
    Deployment(#[from] DeploymentError),
    /// The model does not load.
    #[error("loading the model")]
    Model(#[from] OneShotError),
    /// The camera's files are not there.
    #[error("looking for the camera's files at {}: name a folder or file that exists in the resource's SourcePath", path.display())]
    Source {
        /// The path on the host.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The broker did not admit us.
    #[error("connecting to the broker")]
    Broker(#[source] Arc<crate::mqtt::failure::LinkFailure>),
    /// The broker did not answer.
    #[error("no answer from the broker {endpoint} within {} s", CONNECT.as_secs())]
    Silence {
        /// `host:port`.
        endpoint: String,
    },
}

/// Tries the steps in order and tells each that succeeds, and how downloads go.
///
/// # Errors
/// The first step that fails; those after it rest on it.
pub async fn run(
    config: &Config,
    deployable: &Deployable,
    mut tell: impl FnMut(Told) + Send,
) -> Result<(), TrialFailure> {
    let services = Services::build(config).map_err(at(Step::Identity))?;
    let detail = format!("certificate valid until {}", payload::timestamp(services.identity.not_after()));
    tell(passed("identity", detail));
    let credentials = services.credentials.get().await.map_err(|source| {
        let endpoint = config.credentials.as_ref().map_or_else(String::new, |provider| provider.endpoint.to_string());
        at(Step::Credentials)(TrialError::Credentials { endpoint, source })
    })?;
    let detail = format!("credentials until {}", payload::timestamp(credentials.expiration));
    tell(passed("credentials", detail));
    let engines = Engines::configured(config);
    for connector in &deployable.image_classifiers {
        try_model(&services, &engines, &Tried::of_classifier(connector), &mut tell).await?;
        if let Some(found) = look_at_camera(connector).await.map_err(at(Step::Source))? {
            tell(passed("camera", format!("{} is {found}", connector.camera_name)));
        }
    }
    for service in &deployable.services {
        try_model(&services, &engines, &Tried::of_service(service), &mut tell).await?;
    }
    try_broker(config, &services).await?;
    tell(passed("broker", format!("admitted by {}:{}", config.mqtt.host, config.mqtt.port)));
    Ok(())
}

fn passed(name: &'static str, detail: String) -> Told {
    Told::Passed(Passed { name, detail })
}

/// A model that a connector runs.
struct Tried<'g> {
    resource: &'g ResourceId,
    source: &'g ModelSource,
    memory_limit: u64,
    identity: WorkerIdentity,
    threads: Option<usize>,
}

impl<'g> Tried<'g> {
    fn of_classifier(connector: &'g ImageClassifier) -> Self {
        Self {
            resource: &connector.model_resource,
            source: &connector.model_source,
            memory_limit: connector.memory_limit.bytes(),
            identity: connector.identity(),
            threads: connector.threads,
        }
    }

    fn of_service(service: &'g ClassificationService) -> Self {
        let settings = service.settings();
        let (resource, source) = (&service.model_resource, &service.model_source);
        let (memory_limit, identity) = (settings.memory_limit, settings.identity);
        Self { resource, source, memory_limit, identity, threads: None }
    }
}

async fn try_model(
    services: &Services,
    engines: &Engines,
    tried: &Tried<'_>,
    tell: &mut (impl FnMut(Told) + Send),
) -> Result<(), TrialFailure> {
    let folder = TempDir::new().map_err(TrialError::Folder).map_err(at(Step::Download))?;
    let store = Store::open(folder.path()).map_err(at(Step::Download))?;
    let stager = Stager::new(services.s3.clone(), Arc::new(store), services.provenance.clone());
    let staged = stager
        .stage(tried.resource, tried.source, Purpose::Model, |received| {
            tell(Told::Receiving(received));
        })
        .await
        .map_err(at_deployment)?;
    tell(passed("package", format!("{}, {}", tried.source, staged.model.identity.digest)));
    let engine = load(engines, tried, &staged).await?;
    let model = &staged.model.identity;
    tell(passed("model", format!("{} {} runs on {engine}", model.name, model.version)));
    Ok(())
}

/// Looks at what the frames are to come from, without taking any; `None` where they are drawn.
async fn look_at_camera(connector: &ImageClassifier) -> Result<Option<String>, TrialError> {
    match &connector.camera {
        Camera::TestPattern => Ok(None),
        Camera::Volume(camera) => {
            let path = &camera.volume.source;
            std::fs::metadata(path).map_err(|source| TrialError::Source { path: path.to_owned(), source })?;
            Ok(Some(path.display().to_string()))
        }
        Camera::Device(camera) => {
            let path = &camera.device.source;
            let (identity, _) = margay_camera::v4l2::Camera::look(path).map_err(SourceError::from)?;
            Ok(Some(format!("{} at {}", identity.name, path.display())))
        }
        Camera::Command(camera) => {
            let program = camera.find_program().map_err(SourceError::from)?;
            std::fs::metadata(&program).map_err(|source| TrialError::Source { path: program.clone(), source })?;
            Ok(Some(format!("run by {}", program.display())))
        }
        Camera::Network(url) => {
            crate::classifier::connect(url).await.map_err(SourceError::from)?;
            Ok(Some(format!("at {url}, which answers")))
        }
    }
}

async fn load(engines: &Engines, tried: &Tried<'_>, staged: &Staged) -> Result<String, TrialFailure> {
    let running = engines.running(&staged.model.identity.digest, tried.threads);
    let loaded = OneShot::load(&staged.model.directory, tried.memory_limit, tried.identity, &running).await;
    match loaded {
        Ok(worker) => Ok(worker.engine.clone()),
        Err(error @ (OneShotError::Launch(_) | OneShotError::Plan(_) | OneShotError::Channel(_))) => {
            Err(at(Step::Sandbox)(error))
        }
        Err(error) => Err(at(Step::Model)(error)),
    }
}

/// Connects under a client id of its own, so that a running core is not thrown off its connection.
async fn try_broker(config: &Config, services: &Services) -> Result<(), TrialFailure> {
    let mut connection = services.connection(config);
    connection.client_id.push_str("-check");
    let link = Link::start(LinkSettings::new(connection));
    let mut state = link.state();
    let settled = tokio::time::timeout(CONNECT, async {
        state.wait_for(|state| state.is_connected() || state.failure().is_some()).await.map(|state| state.clone())
    })
    .await;
    link.drain(Duration::ZERO).await;
    match settled {
        Ok(Ok(LinkState::Waiting { failure, .. })) => Err(at(Step::Broker)(TrialError::Broker(failure))),
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) | Err(_) => {
            let endpoint = format!("{}:{}", config.mqtt.host, config.mqtt.port);
            Err(at(Step::Broker)(TrialError::Silence { endpoint }))
        }
    }
}

fn at<E: Into<TrialError>>(step: Step) -> impl Fn(E) -> TrialFailure {
    move |cause| TrialFailure { step, cause: cause.into() }
}

/// What is wrong with a package is the package's fault; what keeps it from coming is the download's.
fn at_deployment(error: DeploymentError) -> TrialFailure {
    let step = match error {
        DeploymentError::Untrusted { .. }
        | DeploymentError::Digest { .. }
        | DeploymentError::Code { .. }
        | DeploymentError::Package { .. }
        | DeploymentError::Activation { .. }
        | DeploymentError::Test { .. } => Step::Model,
        DeploymentError::TrainingJob(_)
        | DeploymentError::Download { .. }
        | DeploymentError::Read { .. }
        | DeploymentError::Replaced { .. }
        | DeploymentError::Store { .. } => Step::Download,
        DeploymentError::Resources(_) | DeploymentError::Plan(_) => Step::Sandbox,
    };
    at(step)(error)
}

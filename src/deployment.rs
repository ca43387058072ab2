//! The deployment of a model: what the group asks for is fetched if it changed, tried in a worker, and only then made
//! current. A deployment that fails leaves what classified before in place, says why, and is tried again where that can
//! help.
//!
//! A core that starts without a network runs the current model first and looks for a newer one afterwards.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::backoff::Backoff;
use crate::classifier::model_directory::{ModelDirectory, ModelDirectoryError};
use crate::classifier::{ActivationError, Classifier, DeployedModel};
use crate::group::ModelSource;
use crate::name::{ResourceId, S3Uri};
use crate::payload;
use crate::s3::{DownloadError, Progress as Received, S3Client, TrainingJobError, Wanted};
use crate::store::{InstalledModel, Store, StoreError};

mod provenance;

pub use provenance::{Provenance, ProvenanceError};

/// Attempts to fetch a package, from the first pause to the longest.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// What a deployment is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Getting the package, or looking whether it changed.
    Fetching,
    /// Warming the model in its worker.
    Activating,
    /// The model that the group asks for classifies.
    Deployed,
    /// It failed and will be tried again by itself.
    Retrying,
    /// It failed; a new deployment tries again.
    Failed,
}

/// A deployment at one moment.
#[derive(Debug, Clone)]
pub struct Progress {
    /// What it is doing.
    pub state: State,
    /// Why it failed the last time.
    pub failure: Option<Arc<DeploymentError>>,
}

/// Why a deployment failed.
#[derive(Debug, thiserror::Error)]
pub enum DeploymentError {
    /// The training job that made the package gives none.
    #[error("looking for the package of a training job")]
    TrainingJob(#[from] Box<TrainingJobError>),
    /// The package could not be fetched.
    #[error("fetching the package {uri}")]
    Download {
        /// Where it should be.
        uri: S3Uri,
        /// What came back.
        #[source]
        source: Box<DownloadError>,
    },
    /// The package could not be stored, or is no archive that may be unpacked.
    #[error("storing the package {uri}")]
    Store {
        /// Where it came from.
        uri: S3Uri,
        /// Which file and rule.
        #[source]
        source: Box<StoreError>,
    },
    /// Nobody whom the configuration trusts has signed the package.
    #[error("the package {uri} is not trusted")]
    Untrusted {
        /// Where it came from.
        uri: S3Uri,
        /// Why not.
        #[source]
        source: ProvenanceError,
    },
    /// The package is not what docs/package-format.md asks for.
    #[error("reading the package {uri}")]
    Package {
        /// Where it came from.
        uri: S3Uri,
        /// Which rule.
        #[source]
        source: Box<ModelDirectoryError>,
    },
    /// The model does not run.
    #[error("activating the model of {uri}")]
    Activation {
        /// Where it came from.
        uri: S3Uri,
        /// Why not.
        #[source]
        source: Box<ActivationError>,
    },
}

impl DeploymentError {
    /// Whether the same deployment may succeed later without anybody's help. What is wrong with a package stays wrong.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Download { .. } => true,
            Self::TrainingJob(source) => source.is_retryable(),
            Self::Store { source, .. } => source.is_retryable(),
            Self::Untrusted { source, .. } => source.is_retryable(),
            Self::Package { .. } => false,
            Self::Activation { source, .. } => !matches!(**source, ActivationError::Refused { .. }),
        }
    }
}

/// Fetches packages into the store.
#[derive(Debug, Clone)]
pub struct Stager {
    s3: S3Client,
    store: Arc<Store>,
    provenance: Provenance,
}

/// A package in the store, looked at.
#[derive(Debug, Clone)]
pub struct Staged {
    /// Its place in the store.
    pub installed: InstalledModel,
    /// What a classifier needs of it.
    pub model: DeployedModel,
}

impl Stager {
    /// Fetches with `s3`, keeps in `store`, takes what `provenance` trusts.
    pub fn new(s3: S3Client, store: Arc<Store>, provenance: Provenance) -> Self {
        Self { s3, store, provenance }
    }

    /// The model that `resource` ran with last, if its package is in order.
    pub fn current(&self, resource: &ResourceId) -> Option<Staged> {
        let installed = self.store.current(resource).ok().flatten()?;
        let uri = installed.origin().clone();
        staged(installed, &uri)
            .inspect_err(|error| tracing::warn!(%resource, %error, "the current model is unusable"))
            .ok()
    }

    /// The package that `source` names now, fetched only if the store does not have it yet; `progress` is told of each
    /// piece that arrives.
    ///
    /// # Errors
    /// Nothing in the store changes by a failure.
    pub async fn stage(
        &self,
        resource: &ResourceId,
        source: &ModelSource,
        progress: impl FnMut(Received) + Send,
    ) -> Result<Staged, DeploymentError> {
        let uri = &match source {
            ModelSource::S3(uri) => uri.clone(),
            ModelSource::TrainingJob(job) => self.s3.model_of(job).await.map_err(Box::new)?,
        };
        let known = self.store.current(resource).ok().flatten();
        let download = self.store.download_path().map_err(|source| stored(uri, source))?;
        let etag = known.as_ref().filter(|known| self.provenance.trusts(known)).and_then(|known| known.etag_of(uri));
        let wanted = Wanted { unless_etag: etag, admission: Some(download.admission()), ..Wanted::newest(uri) };
        let fetched = self
            .s3
            .fetch(&wanted, download.path(), progress)
            .await
            .map(|fetched| fetched.map(|fetched| fetched.download))
            .map_err(|source| DeploymentError::Download { uri: uri.clone(), source: source.into() })?;
        let installed = match (fetched, known) {
            (None, Some(known)) => known,
            (Some(fetched), _) => {
                let beside = self.store.download_path().map_err(|source| stored(uri, source))?;
                let signer = self
                    .provenance
                    .check(&self.s3, uri, download.path(), beside.path())
                    .await
                    .map_err(|source| DeploymentError::Untrusted { uri: uri.clone(), source })?;
                let store = self.store.clone();
                let origin = uri.clone();
                let install = move || store.install(download, &origin, &fetched);
                tokio::task::spawn_blocking(install)
                    .await
                    .unwrap_or_else(|e| Err(e.into()))
                    .map_err(|e| stored(uri, e))?
                    .with_signer(signer)
            }
            (None, None) => return Err(stored(uri, StoreError::NothingFetched)),
        };
        staged(installed, uri)
    }

    /// Makes `staged` the current model of `resource`; the one before stays in the store as the previous, and what is
    /// neither makes room.
    ///
    /// # Errors
    /// The record could not be written. Models that could not be removed are only logged.
    pub fn confirm(&self, resource: &ResourceId, staged: &Staged) -> Result<(), StoreError> {
        self.store.set_current(resource, &staged.installed)?;
        match self.store.prune() {
            Ok(pruned) if pruned.models > 0 => {
                tracing::info!(models = pruned.models, bytes = pruned.bytes, "old models were removed");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "old models could not be removed"),
        }
        Ok(())
    }
}

/// Keeps one classifier at the model that the group asks for.
#[derive(Debug)]
pub struct Deployment {
    resource: ResourceId,
    uri: watch::Receiver<ModelSource>,
    stager: Stager,
    classifier: Classifier,
    progress: watch::Sender<Progress>,
    running: Option<String>,
}

impl Deployment {
    /// A deployment of `resource` into `classifier`. It fetches what `uri` says, and looks again whenever that is
    /// written, be it with the same value.
    pub fn new(
        resource: ResourceId,
        uri: watch::Receiver<ModelSource>,
        stager: Stager,
        classifier: Classifier,
    ) -> Self {
        let progress = watch::Sender::new(Progress { state: State::Fetching, failure: None });
        Self { resource, uri, stager, classifier, progress, running: None }
    }

    /// How it stands, now and whenever it changes.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Deploys until dropped.
    pub async fn run(mut self) {
        self.resume().await;
        loop {
            self.deploy_with_retries().await;
            if self.uri.changed().await.is_err() {
                return;
            }
        }
    }

    /// Starts what ran before, so that a device without a network classifies at once.
    async fn resume(&mut self) {
        let Some(staged) = self.stager.current(&self.resource) else { return };
        match self.activate(&staged).await {
            Ok(()) => tracing::info!(model = ?staged.model.identity, "the current model classifies"),
            Err(error) => tracing::warn!(%error, "the current model does not run any more"),
        }
    }

    async fn deploy_with_retries(&mut self) {
        let mut pauses = Backoff::new(RETRY.0, RETRY.1);
        loop {
            let Err(error) = self.deploy().await else {
                self.tell(State::Deployed, None);
                return;
            };
            let error = Arc::new(error);
            let retry = error.is_retryable();
            tracing::error!(resource = %self.resource, error = %crate::classifier::explain(&error), retry, "the deployment failed");
            self.tell(if retry { State::Retrying } else { State::Failed }, Some(error));
            if !retry {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(pauses.next()) => {}
                _ = self.uri.changed() => {}
            }
        }
    }

    async fn deploy(&mut self) -> Result<(), DeploymentError> {
        let source = self.uri.borrow_and_update().clone();
        self.tell(State::Fetching, None);
        let staged = self.stager.stage(&self.resource, &source, |_| {}).await?;
        let uri = staged.installed.origin().clone();
        if self.running.as_deref() != Some(&staged.model.identity.digest) {
            self.tell(State::Activating, None);
            self.activate(&staged)
                .await
                .map_err(|source| DeploymentError::Activation { uri: uri.clone(), source: source.into() })?;
        }
        self.stager.confirm(&self.resource, &staged).map_err(|source| stored(&uri, source))
    }

    async fn activate(&mut self, staged: &Staged) -> Result<(), ActivationError> {
        let loaded = self.classifier.activate(staged.model.clone()).await?;
        let model = &staged.model.identity;
        tracing::info!(
            name = model.name,
            version = model.version,
            digest = model.digest,
            engine = loaded.engine,
            load_ms = loaded.load_time.as_millis(),
            "the model is ready"
        );
        self.running = Some(model.digest.clone());
        Ok(())
    }

    fn tell(&self, state: State, failure: Option<Arc<DeploymentError>>) {
        self.progress.send_modify(|progress| {
            let failure = failure.or_else(|| progress.failure.take().filter(|_| state != State::Deployed));
            *progress = Progress { state, failure };
        });
    }
}

/// Looks at an installed package: its manifest, and the digests that the manifest promises.
fn staged(installed: InstalledModel, uri: &S3Uri) -> Result<Staged, DeploymentError> {
    let package = ModelDirectory::open(installed.directory())
        .map_err(|source| DeploymentError::Package { uri: uri.clone(), source: source.into() })?;
    installed.check_manifest(package.manifest.files()).map_err(|source| stored(uri, source))?;
    let identity = payload::Model {
        name: package.manifest.name().to_owned(),
        version: package.manifest.version().to_owned(),
        digest: installed.digest().to_string(),
    };
    let model = DeployedModel { identity: Arc::new(identity), directory: installed.directory().to_owned() };
    Ok(Staged { installed, model })
}

fn stored(uri: &S3Uri, source: StoreError) -> DeploymentError {
    DeploymentError::Store { uri: uri.clone(), source: source.into() }
}

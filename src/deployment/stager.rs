//! Packages from S3 into the store: fetched if they changed, checked against their signature, unpacked and looked at.
//! Nothing that runs is touched.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::provenance::{Provenance, ProvenanceError};
use super::report::FailureKind;
use crate::classifier::model_directory::{ModelDirectory, ModelDirectoryError};
use crate::classifier::one_shot::OneShotError;
use crate::classifier::{ActivationError, DeployedModel};
use crate::function::{Code, CodeError, Places};
use crate::group::ModelSource;
use crate::name::{Origin, ResourceId, S3Uri};
use crate::package::Sha256Digest;
use crate::payload;
use crate::s3::{DownloadError, Progress as Received, S3Client, TrainingJobError, Wanted};
use crate::store::{Download, InstalledModel, Release, Shape, Store, StoreError};

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
        uri: Origin,
        /// Which file and rule.
        #[source]
        source: Box<StoreError>,
    },
    /// Nobody whom the configuration trusts has signed the package.
    #[error("the package {uri} is not trusted")]
    Untrusted {
        /// Where it came from.
        uri: Origin,
        /// Why not.
        #[source]
        source: ProvenanceError,
    },
    /// The package is not what docs/package-format.md asks for.
    #[error("reading the package {uri}")]
    Package {
        /// Where it came from.
        uri: Origin,
        /// Which rule.
        #[source]
        source: Box<ModelDirectoryError>,
    },
    /// The model does not run.
    #[error("activating the model of {uri}")]
    Activation {
        /// Where it came from.
        uri: Origin,
        /// Why not.
        #[source]
        source: Box<ActivationError>,
    },
    /// The model does not pass in a worker of its own.
    #[error("testing the model of {uri}")]
    Test {
        /// Where it came from.
        uri: Origin,
        /// Why not.
        #[source]
        source: Box<OneShotError>,
    },
    /// The package of an earlier deployment is no longer to be had.
    #[error(
        "the package {uri} has the digest {found} now, and the earlier deployment had {wanted}; deploy it as a new deployment to take the one that is there"
    )]
    Replaced {
        /// Where it came from.
        uri: Origin,
        /// The digest that was deployed.
        wanted: Sha256Digest,
        /// The digest of what is there.
        found: Sha256Digest,
    },
    /// Functions are granted files and devices that they would not get (B-08).
    #[error(transparent)]
    Resources(#[from] crate::function::Misses),
    /// The package of this device could not be read.
    #[error("reading the package {}", path.display())]
    Read {
        /// Where it should be.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The package is another one than the group document means.
    #[error("the package {uri} has the digest {found}, and the group document says {wanted}")]
    Digest {
        /// Where it came from.
        uri: Origin,
        /// What the document says.
        wanted: Sha256Digest,
        /// What it is.
        found: Sha256Digest,
    },
    /// The package does not hold what the function's handler names.
    #[error("the package {uri} is no code of {function}")]
    Code {
        /// Where it came from.
        uri: Origin,
        /// The function.
        function: String,
        /// What is missing.
        #[source]
        source: Box<CodeError>,
    },
    /// A worker's sandbox cannot be planned from the group document.
    #[error("planning the sandbox of the camera")]
    Plan(#[from] margay_sandbox::PlanError),
}

impl DeploymentError {
    /// Whether the same deployment may succeed later without anybody's help. What is wrong with a package stays wrong.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Download { .. } => true,
            Self::Read { source, .. } => source.kind() != io::ErrorKind::NotFound,
            Self::TrainingJob(source) => source.is_retryable(),
            Self::Store { source, .. } => source.is_retryable(),
            Self::Untrusted { source, .. } => source.is_retryable(),
            Self::Package { .. }
            | Self::Replaced { .. }
            | Self::Resources(_)
            | Self::Digest { .. }
            | Self::Code { .. }
            | Self::Plan(_) => false,
            Self::Activation { source, .. } => !matches!(**source, ActivationError::Refused { .. }),
            Self::Test { source, .. } => !matches!(**source, OneShotError::Refused { .. } | OneShotError::Died { .. }),
        }
    }

    /// Which kind of failure it is.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Download { .. } | Self::TrainingJob(_) | Self::Replaced { .. } | Self::Read { .. } => {
                FailureKind::Download
            }
            Self::Store { source, .. } if source.is_retryable() => FailureKind::Storage,
            Self::Store { .. } | Self::Package { .. } | Self::Digest { .. } | Self::Code { .. } => FailureKind::Package,
            Self::Untrusted { .. } => FailureKind::Untrusted,
            Self::Activation { source, .. } => match **source {
                ActivationError::Refused { .. } => FailureKind::Model,
                _ => FailureKind::Sandbox,
            },
            Self::Test { source, .. } => match **source {
                OneShotError::Refused { .. } | OneShotError::Died { .. } => FailureKind::Model,
                _ => FailureKind::Sandbox,
            },
            Self::Resources(_) => FailureKind::GroupDocument,
            Self::Plan(_) => FailureKind::Sandbox,
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

/// What a package is for, which decides what it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// A classifier runs it: it has to be what docs/package-format.md asks for.
    Model,
    /// A function reads its files, whatever they are.
    Files,
    /// It is the code of a function.
    Code {
        /// The function's ARN.
        function: String,
        /// What it has to hold.
        handler: Option<String>,
        /// What it has to be.
        sha256: Option<Sha256Digest>,
    },
}

impl Purpose {
    fn shape(&self) -> Shape {
        match self {
            Self::Model | Self::Files => Shape::Model,
            Self::Code { .. } => Shape::Code,
        }
    }
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
    pub fn current(&self, resource: &ResourceId, purpose: Purpose) -> Option<Staged> {
        let installed = self.store.current(resource).ok().flatten()?;
        let uri = installed.origin().clone();
        staged(&self.store, installed, &uri, &purpose)
            .inspect_err(|error| tracing::warn!(%resource, %error, "the current model is unusable"))
            .ok()
    }

    /// The package of `release`, if it is in the store and in order.
    pub fn installed(&self, release: &Release, purpose: Purpose) -> Option<Staged> {
        let installed = self.store.installed(release).ok().flatten()?;
        staged(&self.store, installed, &release.origin, &purpose)
            .inspect_err(|error| tracing::warn!(origin = %release.origin, %error, "a confirmed model is unusable"))
            .ok()
    }

    /// The very package of an earlier deployment: from the store, or fetched again if it is still what it was.
    ///
    /// # Errors
    /// Nothing in the store changes by a failure.
    pub async fn stage_again(
        &self,
        release: &Release,
        purpose: Purpose,
        progress: impl FnMut(Received) + Send,
    ) -> Result<Staged, DeploymentError> {
        let uri = &release.origin;
        let known = self.store.installed(release).map_err(|source| stored(uri, source))?;
        if let Some(installed) = known.filter(|known| self.provenance.trusts(known)) {
            return staged(&self.store, installed, uri, &purpose);
        }
        let installed = match uri {
            Origin::S3(uri) => self.fetch(uri, None, purpose.shape(), progress).await?,
            Origin::File(path) => Some(self.take(path, purpose.shape()).await?),
        };
        let installed = installed.ok_or_else(|| stored(uri, StoreError::NothingFetched))?;
        if installed.digest() != release.digest {
            let (wanted, found) = (release.digest, installed.digest());
            return Err(DeploymentError::Replaced { uri: uri.clone(), wanted, found });
        }
        staged(&self.store, installed, uri, &purpose)
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
        purpose: Purpose,
        progress: impl FnMut(Received) + Send,
    ) -> Result<Staged, DeploymentError> {
        let uri = &match source {
            ModelSource::S3(uri) => uri.clone(),
            ModelSource::TrainingJob(job) => self.s3.model_of(job).await.map_err(Box::new)?,
            ModelSource::File(path) => {
                let installed = self.take(path, purpose.shape()).await?;
                return staged(&self.store, installed, &path.as_path().into(), &purpose);
            }
        };
        let known = self.store.current(resource).ok().flatten();
        let etag = known.as_ref().filter(|known| self.provenance.trusts(known)).and_then(|known| known.etag_of(uri));
        let fetched = self.fetch(uri, etag, purpose.shape(), progress).await?;
        let installed = fetched.or(known).ok_or_else(|| stored(&uri.into(), StoreError::NothingFetched))?;
        staged(&self.store, installed, &uri.into(), &purpose)
    }

    /// Fetches and installs the package at `uri`; `None` if it still is the version `etag`.
    async fn fetch(
        &self,
        uri: &S3Uri,
        etag: Option<&str>,
        shape: Shape,
        progress: impl FnMut(Received) + Send,
    ) -> Result<Option<InstalledModel>, DeploymentError> {
        let origin = &Origin::from(uri);
        let download = self.store.download_path().map_err(|source| stored(origin, source))?;
        let wanted = Wanted { unless_etag: etag, admission: Some(download.admission()), ..Wanted::newest(uri) };
        let fetched = self
            .s3
            .fetch(&wanted, download.path(), progress)
            .await
            .map(|fetched| fetched.map(|fetched| fetched.download))
            .map_err(|source| DeploymentError::Download { uri: uri.clone(), source: source.into() })?;
        let Some(fetched) = fetched else { return Ok(None) };
        let beside = self.store.download_path().map_err(|source| stored(origin, source))?;
        let signer = self
            .provenance
            .check(&self.s3, uri, download.path(), beside.path())
            .await
            .map_err(|source| DeploymentError::Untrusted { uri: origin.clone(), source })?;
        let (store, from) = (self.store.clone(), origin.clone());
        let installing = tokio::task::spawn_blocking(move || store.install_as(shape, download, from, &fetched));
        let installed = installing.await.unwrap_or_else(|error| Err(error.into()));
        Ok(Some(installed.map_err(|error| stored(origin, error))?.with_signer(signer)))
    }

    /// Installs the package at `path` on this device; one that is in the store already is only read.
    async fn take(&self, path: &Path, shape: Shape) -> Result<InstalledModel, DeploymentError> {
        let (stager, path) = (self.clone(), path.to_owned());
        let taking = tokio::task::spawn_blocking(move || stager.take_now(&path, shape));
        taking.await.unwrap_or_else(|error| Err(DeploymentError::Read { path: PathBuf::new(), source: error.into() }))
    }

    fn take_now(&self, path: &Path, shape: Shape) -> Result<InstalledModel, DeploymentError> {
        let origin = Origin::from(path);
        let read = |source| DeploymentError::Read { path: path.to_owned(), source };
        let store = |source| stored(&origin, source);
        let mut archive = File::open(path).map_err(read)?;
        let bytes = archive.metadata().map_err(read)?.len();
        let download = self.store.download_path().map_err(store)?;
        download.admission().ask(bytes).map_err(store)?;
        let copied = File::create(download.path()).and_then(|mut to| io::copy(&mut archive, &mut to)).map_err(read)?;
        // Of the copy, which nobody changes any more.
        let sha256 = File::open(download.path()).and_then(Sha256Digest::of_reader).map_err(read)?;
        let untrusted = |source| DeploymentError::Untrusted { uri: origin.clone(), source };
        let signer = self.provenance.check_beside(path, download.path()).map_err(untrusted)?;
        let fetched = Download { bytes: copied, sha256, etag: None };
        let installed = self.store.install_as(shape, download, origin.clone(), &fetched).map_err(store)?;
        Ok(installed.with_signer(signer))
    }
}

/// Looks at an installed package: its manifest, and the digests that the manifest promises. Files for a function have
/// no manifest that anybody needs.
fn staged(
    store: &Store,
    installed: InstalledModel,
    uri: &Origin,
    purpose: &Purpose,
) -> Result<Staged, DeploymentError> {
    if let Purpose::Code { .. } = purpose {
        check_code(&installed, uri, purpose)?;
    }
    if *purpose != Purpose::Model {
        let name = uri.name();
        let name = name.rsplit('/').next().unwrap_or(&name).to_owned();
        let identity = payload::Model { name, version: String::new(), digest: installed.digest().to_string() };
        let (directory, compiled) = (installed.directory().to_owned(), store.compiled(&installed));
        let model = DeployedModel { identity: Arc::new(identity), directory, compiled };
        return Ok(Staged { installed, model });
    }
    let package = ModelDirectory::open(installed.directory())
        .map_err(|source| DeploymentError::Package { uri: uri.clone(), source: source.into() })?;
    installed.check_manifest(package.manifest.files()).map_err(|source| stored(uri, source))?;
    let identity = payload::Model {
        name: package.manifest.name().to_owned(),
        version: package.manifest.version().to_owned(),
        digest: installed.digest().to_string(),
    };
    let model = DeployedModel {
        identity: Arc::new(identity),
        directory: installed.directory().to_owned(),
        compiled: store.compiled(&installed),
    };
    Ok(Staged { installed, model })
}

/// Whether a package is what the group document says, and holds what the handler names. An interpreter that the device
/// lacks is not the package's fault.
fn check_code(installed: &InstalledModel, uri: &Origin, purpose: &Purpose) -> Result<(), DeploymentError> {
    let Purpose::Code { function, handler, sha256 } = purpose else { return Ok(()) };
    let found = installed.digest();
    if let Some(wanted) = sha256.filter(|wanted| *wanted != found) {
        return Err(DeploymentError::Digest { uri: uri.clone(), wanted, found });
    }
    match Code::find(installed.directory(), handler.as_deref(), Places::contained()) {
        Ok(_) | Err(CodeError::NoInterpreter { .. }) => Ok(()),
        Err(source) => {
            Err(DeploymentError::Code { uri: uri.clone(), function: function.clone(), source: source.into() })
        }
    }
}

fn stored(uri: &Origin, source: StoreError) -> DeploymentError {
    DeploymentError::Store { uri: uri.clone(), source: source.into() }
}

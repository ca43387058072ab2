//! The cloud as its users hold it: starts the services on one certificate authority, provisions devices, stores
//! objects, and lets tests see and disturb what goes on. Dropping it closes every port and connection.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use crate::authority::{Authority, Issued};
use crate::broker::{Broker, Doorman};
use crate::counters::Counters;
use crate::credentials::CredentialsProvider;
use crate::device::{self, DeviceFiles};
use crate::endpoint::{Endpoint, Service};
use crate::error::CloudError;
use crate::faults::Faults;
use crate::issued::{IssuedCredential, IssuedCredentials};
use crate::jobs::{Execution, JobsService};
use crate::lock::lock;
use crate::policy::TopicPolicy;
use crate::registry::{CertificateId, Principal, Registry};
use crate::s3::{ObjectStore, S3, StoredVersion};
use crate::sagemaker::TrainingJobs;
use crate::settings::Settings;
use crate::tls::ServerTls;

/// A running cloud on 127.0.0.1.
#[derive(Debug)]
pub struct LocalCloud {
    settings: Settings,
    authority: Authority,
    ca: PathBuf,
    registry: Registry,
    issued: IssuedCredentials,
    lifetime: Arc<Mutex<Duration>>,
    role_aliases: Arc<Mutex<Vec<String>>>,
    objects: ObjectStore,
    training_jobs: TrainingJobs,
    jobs: JobsService,
    faults: Faults,
    counters: Counters,
    credentials: Endpoint,
    s3: Endpoint,
    broker: Broker,
}

impl LocalCloud {
    /// Makes the authority, writes its certificate to `root.ca.pem` in the settings' directory, and starts all three
    /// services.
    ///
    /// # Errors
    /// When a directory cannot be written, a fixed port is taken, or a certificate cannot be made.
    pub async fn start(settings: Settings) -> Result<Self, CloudError> {
        let authority = Authority::new()?;
        let ca = write_ca(&settings.dir, &authority)?;
        let tls = ServerTls::new(&authority, &settings.region)?;
        let registry = Registry::default();
        let issued = IssuedCredentials::default();
        let lifetime = Arc::new(Mutex::new(settings.credential_lifetime));
        let role_aliases = Arc::new(Mutex::new(vec![settings.role_alias.clone()]));
        let objects = ObjectStore::default();
        let training_jobs = TrainingJobs::default();
        let faults = Faults::default();
        let counters = Counters::default();

        let provider = CredentialsProvider {
            role_aliases: Arc::clone(&role_aliases),
            lifetime: Arc::clone(&lifetime),
            registry: registry.clone(),
            issued: issued.clone(),
            faults: faults.clone(),
            counters: counters.clone(),
        };
        let service = Service {
            name: "the credentials provider",
            port: settings.ports.credentials,
            tls: tls.credentials,
            router: provider.router(),
        };
        let credentials = Endpoint::start(service, faults.clone()).await?;

        let storage = S3 {
            region: settings.region.clone(),
            readable: settings.readable.clone(),
            writable: settings.writable.clone(),
            objects: objects.clone(),
            training_jobs: training_jobs.clone(),
            issued: issued.clone(),
            faults: faults.clone(),
            counters: counters.clone(),
        };
        let service = Service { name: "S3", port: settings.ports.s3, tls: tls.s3, router: storage.router() };
        let s3 = Endpoint::start(service, faults.clone()).await?;

        let doorman = doorman(&settings, &faults, &counters);
        let jobs = JobsService::new(faults.clone());
        let broker = Broker::start(settings.ports.mqtt, tls.mqtt, registry.clone(), doorman, jobs.clone()).await?;

        Ok(Self {
            settings,
            authority,
            ca,
            registry,
            issued,
            lifetime,
            role_aliases,
            objects,
            training_jobs,
            jobs,
            faults,
            counters,
            credentials,
            s3,
            broker,
        })
    }

    /// Issues and registers a certificate for the thing `name`, and writes its files below `dir`.
    ///
    /// # Errors
    /// When the name is none for a thing, or the files cannot be written.
    pub fn provision_thing(&self, name: &str, dir: &Path) -> Result<DeviceFiles, CloudError> {
        let files = self.issue(name, dir)?;
        self.registry.register(files.certificate_id.clone(), Principal::Thing(name.to_owned()));
        Ok(files)
    }

    /// Issues and registers a certificate that may only subscribe; its files lie in `viewers/<name>` of the settings'
    /// directory.
    ///
    /// # Errors
    /// As [`provision_thing`](Self::provision_thing).
    pub fn issue_viewer(&self, name: &str) -> Result<DeviceFiles, CloudError> {
        let files = self.issue(name, &self.settings.dir.join("viewers").join(name))?;
        self.registry.register(files.certificate_id.clone(), Principal::Viewer(name.to_owned()));
        Ok(files)
    }

    /// Issues a certificate without registering it: TLS accepts it, and nothing else does.
    ///
    /// # Errors
    /// As [`provision_thing`](Self::provision_thing).
    pub fn issue_unregistered(&self, name: &str, dir: &Path) -> Result<DeviceFiles, CloudError> {
        self.issue(name, dir)
    }

    /// Takes a certificate out of the registry. Open connections stay; credentials already given stay valid, as at AWS.
    pub fn revoke(&self, certificate: &CertificateId) {
        self.registry.revoke(certificate);
    }

    /// Stores an object, making its bucket, as the newest version of its key.
    pub fn put_object(&self, bucket: &str, key: &str, bytes: impl Into<Bytes>) -> StoredVersion {
        self.objects.put(bucket, key, bytes.into(), self.faults.now())
    }

    /// Removes all versions of an object.
    pub fn delete_object(&self, bucket: &str, key: &str) {
        self.objects.delete(bucket, key);
    }

    /// Stores an object that its uploader encrypted with a key of their own (SSE-C): nobody can read it without.
    pub fn put_object_with_customer_key(&self, bucket: &str, key: &str, bytes: impl Into<Bytes>) {
        self.put_object(bucket, key, bytes);
        self.objects.lock_with_customer_key(bucket, key);
    }

    /// The newest version of an object, if there is one.
    pub fn object(&self, bucket: &str, key: &str) -> Option<Bytes> {
        self.objects.newest(bucket, key)
    }

    /// Moves a bucket to another region: requests that are signed or addressed for any other are told so.
    pub fn set_bucket_region(&self, bucket: impl Into<String>, region: impl Into<String>) {
        self.objects.set_region(bucket.into(), region.into());
    }

    /// Makes SageMaker know a training job in the cloud's region. A completed one has left its model at `artifacts`.
    pub fn put_training_job(&self, name: impl Into<String>, status: &str, artifacts: Option<&str>) {
        self.training_jobs.put(name.into(), status, artifacts);
    }

    /// Creates a job for `things`: each gets an execution of its own, and is notified.
    pub fn create_job(&self, job_id: &str, document: &serde_json::Value, things: &[&str]) {
        self.jobs.create(things, job_id, document);
    }

    /// Cancels a job where it waits, and by `force` also where it is in progress.
    pub fn cancel_job(&self, job_id: &str, force: bool) {
        self.jobs.cancel(job_id, force);
    }

    /// How a job stands on a thing.
    pub fn job_execution(&self, thing: &str, job_id: &str) -> Option<Execution> {
        self.jobs.execution(thing, job_id)
    }

    /// Makes the credentials provider hand out these credentials, which another server of S3 knows, from now on.
    pub fn hand_out(&self, access_key_id: &str, secret_access_key: &str, session_token: &str) {
        let expires = self.faults.now() + *lock(&self.lifetime);
        self.issued.hand_out(IssuedCredential {
            access_key_id: access_key_id.to_owned(),
            secret_access_key: secret_access_key.to_owned(),
            session_token: session_token.to_owned(),
            expires: expires.replace_nanosecond(0).unwrap_or(expires),
        });
    }

    /// Sets how long credentials given out from now on live.
    pub fn set_credential_lifetime(&self, lifetime: Duration) {
        *lock(&self.lifetime) = lifetime;
    }

    /// Makes the credentials provider know another role alias, whose role may do the same.
    pub fn add_role_alias(&self, name: impl Into<String>) {
        lock(&self.role_aliases).push(name.into());
    }

    /// Makes S3 forget all credentials given out so far: it answers `InvalidAccessKeyId` to them.
    pub fn forget_credentials(&self) {
        self.issued.forget_all();
    }

    /// `host:port` of the credentials provider.
    pub fn credentials_endpoint(&self) -> String {
        format!("localhost:{}", self.credentials.port())
    }

    /// URL of S3 for path-style requests. For virtual-hosted style use the host `<bucket>.s3.localhost` on its port.
    pub fn s3_endpoint(&self) -> String {
        format!("https://localhost:{}", self.s3.port())
    }

    /// Port of S3.
    pub fn s3_port(&self) -> u16 {
        self.s3.port()
    }

    /// Port of the broker, the same for the cloud's whole life.
    pub fn mqtt_port(&self) -> u16 {
        self.broker.port()
    }

    /// The authority's certificate, PEM.
    pub fn ca(&self) -> &Path {
        &self.ca
    }

    /// The role alias that the credentials provider knows.
    pub fn role_alias(&self) -> &str {
        &self.settings.role_alias
    }

    /// The region it plays.
    pub fn region(&self) -> &str {
        &self.settings.region
    }

    /// The ARN of a thing of this account.
    pub fn thing_arn(&self, name: &str) -> String {
        format!("arn:aws:iot:{}:{}:thing/{name}", self.settings.region, self.settings.account)
    }

    /// The switches for misbehaviour.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// What was served so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Cuts every MQTT connection and loses every session. New connections are refused until
    /// [`start_broker`](Self::start_broker). Does nothing while the broker is stopped.
    pub async fn stop_broker(&self) {
        self.broker.stop().await;
    }

    /// Starts the broker again on the same port, with no sessions. Does nothing while it runs.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start_broker(&self) -> Result<(), CloudError> {
        self.broker.run().await
    }

    /// Cuts every MQTT connection and keeps the sessions.
    pub fn disconnect_clients(&self) {
        self.broker.disconnect_clients();
    }

    /// Cuts the MQTT connections of the thing or viewer `name` and keeps the sessions.
    pub fn disconnect_clients_of(&self, name: &str) {
        self.broker.disconnect_clients_of(name);
    }

    /// Stops everything and waits for the broker to end.
    pub async fn shutdown(self) {
        self.broker.stop().await;
    }

    fn issue(&self, name: &str, dir: &Path) -> Result<DeviceFiles, CloudError> {
        if !is_thing_name(name) {
            return Err(CloudError::Name { name: name.to_owned() });
        }
        let issued: Issued = self.authority.issue_client(name)?;
        DeviceFiles::write(dir, &self.authority.certificate_pem(), &issued)
    }
}

fn doorman(settings: &Settings, faults: &Faults, counters: &Counters) -> Doorman {
    let viewers = TopicPolicy { publish: Vec::new(), subscribe: settings.viewer_filters.clone() };
    Doorman::new(settings.thing_policy.clone(), viewers, faults.clone(), counters.clone())
}

fn write_ca(dir: &Path, authority: &Authority) -> Result<PathBuf, CloudError> {
    std::fs::create_dir_all(dir).map_err(|source| CloudError::Write { path: dir.to_owned(), source })?;
    let path = dir.join("root.ca.pem");
    device::write_pem(&path, &authority.certificate_pem())?;
    Ok(path)
}

/// AWS IoT's rule for thing names.
fn is_thing_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":_-".contains(&byte);
    (1..=128).contains(&name.len()) && name.bytes().all(allowed)
}

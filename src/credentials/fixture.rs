//! A local cloud with one provisioned thing, and clients of it, for the tests of this module and of `s3`.

use std::sync::Arc;

use margay_localcloud::{DeviceFiles, LocalCloud, Settings};
use tempfile::TempDir;

use super::{CredentialsProvider, ProviderSettings, Roles};
use crate::clock::{Clock, SystemClock};
use crate::config::CredentialRetry;
use crate::http::{HttpClient, Timeouts};
use crate::identity::{Identity, IdentityFiles};

/// The thing that is provisioned.
pub(crate) const THING: &str = "core-1";

/// A running cloud and a device of it.
pub(crate) struct Fixture {
    pub(crate) cloud: LocalCloud,
    pub(crate) device: DeviceFiles,
    pub(crate) directory: TempDir,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// A cloud whose settings `change` has changed.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = Settings::new(directory.path().join("cloud"));
        change(&mut settings);
        let cloud = LocalCloud::start(settings).await.unwrap();
        let device = cloud.provision_thing(THING, &directory.path().join("certs")).unwrap();
        Self { cloud, device, directory }
    }

    pub(crate) fn identity(&self) -> Identity {
        Identity::load(&identity_files(&self.device)).unwrap()
    }

    /// A provider for the thing, with the right role alias and the machine's clock.
    pub(crate) fn provider(&self) -> CredentialsProvider {
        self.provider_at(Arc::new(SystemClock::new()))
    }

    pub(crate) fn provider_at(&self, clock: Arc<dyn Clock>) -> CredentialsProvider {
        self.provider_with(|_| {}, clock)
    }

    pub(crate) fn provider_with(
        &self,
        change: impl FnOnce(&mut ProviderSettings),
        clock: Arc<dyn Clock>,
    ) -> CredentialsProvider {
        let mut settings = settings(self);
        change(&mut settings);
        CredentialsProvider::new(settings, self.mutual_tls(clock))
    }

    /// The core's role alias alone.
    pub(crate) fn roles_at(&self, clock: Arc<dyn Clock>) -> Roles {
        Roles::new(settings(self), std::collections::BTreeMap::new(), self.mutual_tls(clock))
    }

    /// An HTTPS client that shows the device's certificate.
    pub(crate) fn mutual_tls(&self, clock: Arc<dyn Clock>) -> HttpClient {
        let tls = self.identity().client_config(&[], Arc::clone(&clock));
        HttpClient::new(&tls, Timeouts::default(), clock).unwrap()
    }

    /// An HTTPS client that shows none.
    pub(crate) fn plain_tls(&self, clock: Arc<dyn Clock>) -> HttpClient {
        let tls = self.identity().roots().client_config(Arc::clone(&clock));
        HttpClient::new(&tls, Timeouts::default(), clock).unwrap()
    }
}

/// What the thing asks for, with the right role alias.
pub(crate) fn settings(fixture: &Fixture) -> ProviderSettings {
    ProviderSettings {
        endpoint: fixture.cloud.credentials_endpoint().parse().unwrap(),
        role_alias: fixture.cloud.role_alias().parse().unwrap(),
        thing: THING.parse().unwrap(),
        retry: CredentialRetry::default(),
    }
}

pub(crate) fn identity_files(device: &DeviceFiles) -> IdentityFiles {
    IdentityFiles {
        certificate: device.certificate.clone(),
        private_key: device.private_key.clone(),
        ca: device.ca.clone(),
    }
}

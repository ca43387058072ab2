//! A local cloud with one provisioned thing, and clients of it, for the tests of this module and of `s3`.

use std::sync::Arc;

use margay_localcloud::{DeviceFiles, LocalCloud, Settings};
use tempfile::TempDir;

use super::{CredentialsProvider, ProviderSettings};
use crate::clock::{Clock, SystemClock};
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
        let directory = tempfile::tempdir().unwrap();
        let cloud = LocalCloud::start(Settings::new(directory.path().join("cloud"))).await.unwrap();
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
        let mut settings = ProviderSettings {
            endpoint: self.cloud.credentials_endpoint().parse().unwrap(),
            role_alias: self.cloud.role_alias().parse().unwrap(),
            thing: THING.parse().unwrap(),
        };
        change(&mut settings);
        CredentialsProvider::new(settings, self.mutual_tls(clock))
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

pub(crate) fn identity_files(device: &DeviceFiles) -> IdentityFiles {
    IdentityFiles {
        certificate: device.certificate.clone(),
        private_key: device.private_key.clone(),
        ca: device.ca.clone(),
    }
}

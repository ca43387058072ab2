//! The services that the core and `margay check --online` share, built from the configuration.

use std::sync::Arc;

use rustls::ClientConfig;

use crate::clock::last_good::LastGood;
use crate::clock::{Clock, SystemClock};
use crate::config::{self, Config};
use crate::credentials::{CredentialsProvider, ProviderSettings, Roles};
use crate::deployment::Provenance;
use crate::http::{ClientError, HttpClient, Proxies, ProxyVariableError, Timeouts};
use crate::identity::{Identity, IdentityError, IdentityFiles, Roots};
use crate::mqtt::connection::{BrokerAddress, ConnectionSettings};
use crate::s3::S3Client;

/// The protocol name that AWS IoT asks for on port 443.
const ALPN: &[u8] = b"x-amzn-mqtt-ca";

/// Why the services cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum ServicesError {
    /// The device's files cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The HTTPS clients cannot be built.
    #[error(transparent)]
    Http(#[from] ClientError),
    /// The environment names a proxy that is none.
    #[error(transparent)]
    Proxy(#[from] ProxyVariableError),
    /// config.json names no credentials provider.
    #[error("config.json names no credentials provider: write margay.credentials.endpoint and roleAlias")]
    NoCredentials,
}

/// Identity, clock, credentials and S3.
#[derive(Debug, Clone)]
pub struct Services {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where the last confirmed time is kept for the next start.
    pub last_good: Arc<LastGood>,
    /// The device's identity as it was at the start.
    pub identity: Arc<Identity>,
    /// Temporary credentials of the core's role alias.
    pub credentials: CredentialsProvider,
    /// Those of all role aliases.
    pub roles: Roles,
    /// Models.
    pub s3: S3Client,
    /// Whose models.
    pub provenance: Provenance,
    proxies: Proxies,
    mutual_tls: HttpClient,
    s3_tls: HttpClient,
}

impl Services {
    /// Builds everything; nothing is sent yet.
    ///
    /// # Errors
    /// [`ServicesError`] names the file or the key.
    pub fn build(config: &Config) -> Result<Self, ServicesError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        Self::build_with_clock(config, clock)
    }

    /// The same with another clock.
    ///
    /// # Errors
    /// As for [`Services::build`].
    pub fn build_with_clock(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, ServicesError> {
        let last_good = LastGood::new(config.directories.state.join("last-good-time"));
        last_good.recall(clock.as_ref());
        let identity = Identity::load(&identity_files(config))?;
        identity.check_validity(clock.as_ref())?;
        let provider = config.credentials.as_ref().ok_or(ServicesError::NoCredentials)?;
        let proxies = proxies(config)?;
        let tls = identity.client_config(&[], clock.clone());
        let mutual_tls = HttpClient::through(proxies.clone(), &tls, Timeouts::default(), clock.clone())?;
        let settings = provider_settings(config, provider);
        let roles = Roles::new(settings, provider.function_role_aliases.clone(), mutual_tls.clone());
        let credentials = roles.core().clone();
        let tls = s3_roots(config, &identity)?.client_config(clock.clone());
        let s3_tls = HttpClient::through(proxies.clone(), &tls, Timeouts::default(), clock.clone())?;
        let s3 = S3Client::new(config.s3.clone(), s3_tls.clone(), credentials.clone());
        let provenance = Provenance::new(config.packages.clone());
        let (last_good, identity) = (Arc::new(last_good), Arc::new(identity));
        Ok(Self { clock, last_good, identity, credentials, roles, s3, provenance, proxies, mutual_tls, s3_tls })
    }

    /// Takes certificate, key, authorities, thing, role aliases and the provider's endpoint from `config` and its files
    /// from now on, for credentials and S3. Gives what the MQTT link is to use from its next connection on.
    ///
    /// # Errors
    /// [`ServicesError`]; everything stays as it was.
    pub fn change_identity(&self, config: &Config) -> Result<Arc<ClientConfig>, ServicesError> {
        let identity = Identity::load(&identity_files(config))?;
        identity.check_validity(self.clock.as_ref())?;
        let provider = config.credentials.as_ref().ok_or(ServicesError::NoCredentials)?;
        let s3 = s3_roots(config, &identity)?.client_config(self.clock.clone());
        self.mutual_tls.change_tls(&identity.client_config(&[], self.clock.clone()))?;
        self.s3_tls.change_tls(&s3)?;
        self.roles.change(provider_settings(config, provider), provider.function_role_aliases.clone());
        Ok(identity.client_config(alpn(config), self.clock.clone()))
    }

    /// What a connection to the cloud's broker needs.
    pub fn connection(&self, config: &Config) -> ConnectionSettings {
        let mut settings = connection(config, &self.identity, self.clock.clone(), config.mqtt.client_id.as_str());
        settings.tunnel = self.proxies.tunnel_to(config.mqtt.host.as_str());
        settings
    }
}

fn provider_settings(config: &Config, provider: &config::CredentialsProvider) -> ProviderSettings {
    ProviderSettings {
        endpoint: provider.endpoint.clone(),
        role_alias: provider.role_alias.clone(),
        thing: config.core_thing.thing_arn.thing().clone(),
        retry: provider.retry,
    }
}

/// What a connection of a command of its own needs, as `client_id`: the core's identity, and the way that it takes.
///
/// # Errors
/// [`ServicesError`] names the file or the variable.
pub fn connection_as(config: &Config, client_id: &str) -> Result<ConnectionSettings, ServicesError> {
    let identity = Identity::load(&identity_files(config))?;
    let mut settings = connection(config, &identity, Arc::new(SystemClock::new()), client_id);
    settings.tunnel = proxies(config)?.tunnel_to(config.mqtt.host.as_str());
    Ok(settings)
}

fn proxies(config: &Config) -> Result<Proxies, ProxyVariableError> {
    Proxies::new(config.core_thing.network_proxy.as_ref(), |name| std::env::var(name).ok())
}

fn connection(config: &Config, identity: &Identity, clock: Arc<dyn Clock>, client_id: &str) -> ConnectionSettings {
    let broker = BrokerAddress { host: config.mqtt.host.clone(), port: config.mqtt.port };
    let mut settings = ConnectionSettings::new(broker, client_id, identity.client_config(alpn(config), clock));
    settings.keep_alive = config.mqtt.keep_alive;
    settings.version = config.mqtt.version;
    settings
}

fn alpn(config: &Config) -> &'static [&'static [u8]] {
    if config.mqtt.needs_alpn() { &[ALPN] } else { &[] }
}

/// The device's files as the configuration names them.
pub fn identity_files(config: &Config) -> IdentityFiles {
    IdentityFiles {
        certificate: config.crypto.certificate_path.clone(),
        private_key: config.crypto.private_key_path.clone(),
        ca: config.crypto.ca_path.clone(),
    }
}

/// S3's certificate is signed by a public authority, or by the one that `margay.s3.caPath` names.
fn s3_roots(config: &Config, identity: &Identity) -> Result<Roots, IdentityError> {
    let roots = identity.roots().clone().with_system();
    match &config.s3.ca_path {
        Some(path) => roots.with_file(path),
        None => Ok(roots),
    }
}

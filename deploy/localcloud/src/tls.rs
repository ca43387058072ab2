//! The TLS of the three services: one server certificate for every name they answer to, and, where a device must
//! prove itself, client certificates of the same authority. The provider is named here, not taken from the process,
//! so that no test depends on which one another test installed.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::WebPkiClientVerifier;

use crate::authority::Authority;
use crate::error::CloudError;

/// The protocol that AWS IoT wants named for MQTT on port 443.
const ALPN_AWS_MQTT: &[u8] = b"x-amzn-mqtt-ca";
const ALPN_MQTT: &[u8] = b"mqtt";
const ALPN_HTTP: &[u8] = b"http/1.1";

/// The TLS configurations of one cloud.
#[derive(Debug, Clone)]
pub(crate) struct ServerTls {
    pub(crate) credentials: Arc<ServerConfig>,
    pub(crate) s3: Arc<ServerConfig>,
    pub(crate) mqtt: Arc<ServerConfig>,
}

impl ServerTls {
    /// Issues the server certificate and builds the three configurations.
    pub(crate) fn new(authority: &Authority, region: &str) -> Result<Self, CloudError> {
        Ok(Self {
            credentials: mutual(authority, region, "the credentials provider", &[ALPN_HTTP])?,
            s3: plain(authority, region, "S3", &[ALPN_HTTP])?,
            mqtt: mutual(authority, region, "the broker", &[ALPN_AWS_MQTT, ALPN_MQTT])?,
        })
    }
}

/// Regions that buckets may be moved to.
const OTHER_REGIONS: [&str; 2] = ["us-east-1", "us-west-2"];

/// The names a client may use: loopback's, and AWS's own, for clients that are made to resolve those to loopback.
fn server_names(region: &str) -> Vec<String> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "s3.localhost", "*.s3.localhost"].map(str::to_owned).into();
    for prefix in ["s3", "*.s3", "*.credentials.iot", "*.iot", "api.sagemaker"] {
        names.push(format!("{prefix}.{region}.amazonaws.com"));
    }
    for region in OTHER_REGIONS {
        names.push(format!("*.s3.{region}.amazonaws.com"));
    }
    names
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn mutual(
    authority: &Authority,
    region: &str,
    service: &'static str,
    alpn: &[&[u8]],
) -> Result<Arc<ServerConfig>, CloudError> {
    let tls = tls_error(service);
    let roots = authority.roots().map_err(&tls)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|source| CloudError::Tls { service, source: Box::new(source) })?;
    let identity = authority.issue_server(server_names(region))?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(&tls)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain, identity.key)
        .map_err(&tls)?;
    Ok(offering(config, alpn))
}

fn plain(
    authority: &Authority,
    region: &str,
    service: &'static str,
    alpn: &[&[u8]],
) -> Result<Arc<ServerConfig>, CloudError> {
    let tls = tls_error(service);
    let identity = authority.issue_server(server_names(region))?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(&tls)?
        .with_no_client_auth()
        .with_single_cert(identity.chain, identity.key)
        .map_err(&tls)?;
    Ok(offering(config, alpn))
}

fn offering(mut config: ServerConfig, alpn: &[&[u8]]) -> Arc<ServerConfig> {
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

fn tls_error(service: &'static str) -> impl Fn(rustls::Error) -> CloudError {
    move |source| CloudError::Tls { service, source: Box::new(source) }
}

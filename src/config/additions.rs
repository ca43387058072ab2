//! `margay.credentials` and `margay.tokenExchange`: where the device certificate is exchanged for temporary credentials,
//! and where workers may borrow them; V1 took both from its own cloud. And `margay.page`, the page for browsers, and
//! `margay.metrics`, the numbers for Prometheus.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::arn::FunctionArn;
use crate::document::{Field, Object, Unknown};
use crate::name::{Endpoint, RoleAlias};

/// AWS IoT's credentials provider listens on the HTTPS port.
const CREDENTIALS_PORT: u16 = 443;

/// The AWS IoT credentials provider, or one that answers like it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialsProvider {
    /// Where it is; `aws iot describe-endpoint --endpoint-type iot:CredentialProvider` names it.
    pub endpoint: Endpoint,
    /// The role alias whose role the credentials carry.
    pub role_alias: RoleAlias,
    /// How long the provider is left alone after it refused (`credentialRetryInSec`).
    pub retry: CredentialRetry,
    /// Functions whose credentials carry another role, by ARN (`functionRoleAliases`).
    pub function_role_aliases: BTreeMap<String, RoleAlias>,
}

/// Pauses after the provider's refusals, by class. The names are those of the Greengrass nucleus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CredentialRetry {
    /// After a status of 400 to 499 (`clientError`): an operator may mend it within minutes.
    pub client_error: Duration,
    /// After 500 to 599 (`serverError`): it usually passes by itself.
    pub server_error: Duration,
    /// After anything else (`unknownError`).
    pub unknown_error: Duration,
}

impl Default for CredentialRetry {
    fn default() -> Self {
        Self {
            client_error: Duration::from_secs(120),
            server_error: Duration::from_secs(60),
            unknown_error: Duration::from_secs(300),
        }
    }
}

/// The pauses that may be chosen, in seconds: the longest is a session of twelve hours less five minutes.
const RETRY_RANGE: std::ops::RangeInclusive<u64> = 10..=42_900;

/// In the range of ports that Prometheus keeps for exporters.
const DEFAULT_METRICS_PORT: u16 = 9810;

/// As many as a group has functions.
const ROLE_ALIASES_LIMIT: usize = 256;

impl CredentialsProvider {
    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.endpoint.port_or(CREDENTIALS_PORT)
    }

    pub(super) fn read(margay: &mut Object<'_>) -> Option<Self> {
        let mut credentials = margay.field("credentials").object()?;
        let endpoint = credentials
            .field("endpoint")
            .required("write the host that `aws iot describe-endpoint --endpoint-type iot:CredentialProvider` names")
            .hint("write host or host:port, without a scheme");
        let endpoint = endpoint.parsed::<Endpoint>();
        let role_alias = credentials.field("roleAlias").required("write the role alias that the core may assume");
        let role_alias = role_alias.parsed::<RoleAlias>();
        let retry = CredentialRetry::read(credentials.field("credentialRetryInSec").section());
        let function_role_aliases = read_function_role_aliases(&credentials.field("functionRoleAliases"));
        credentials.finish(Unknown::Refuse);
        Some(Self { endpoint: endpoint?, role_alias: role_alias?, retry, function_role_aliases })
    }
}

impl CredentialRetry {
    fn read(mut section: Object<'_>) -> Self {
        let mut seconds = |key| section.field(key).integer(RETRY_RANGE, "seconds").map(Duration::from_secs);
        let (client, server, unknown) = (seconds("clientError"), seconds("serverError"), seconds("unknownError"));
        section.finish(Unknown::Refuse);
        let default = Self::default();
        Self {
            client_error: client.unwrap_or(default.client_error),
            server_error: server.unwrap_or(default.server_error),
            unknown_error: unknown.unwrap_or(default.unknown_error),
        }
    }
}

fn read_function_role_aliases(field: &Field<'_>) -> BTreeMap<String, RoleAlias> {
    let Some(object) = field.object() else { return BTreeMap::new() };
    let mut aliases = BTreeMap::new();
    for (arn, alias) in object.into_entries() {
        if let Err(error) = arn.parse::<FunctionArn>() {
            alias.refuse(format!("stands under the ARN of a function: {error}"), "write the ARN as the group does");
        }
        if let Some(alias) = alias.parsed::<RoleAlias>() {
            aliases.insert(arn.to_owned(), alias);
        }
    }
    if aliases.len() > ROLE_ALIASES_LIMIT {
        field.refuse(format!("names at most {ROLE_ALIASES_LIMIT} functions"), "let functions share the core's role");
    }
    aliases
}

/// The endpoint on loopback that lends credentials to local code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenExchange {
    /// Its port on 127.0.0.1; 0 lets the system choose one.
    pub port: u16,
}

impl TokenExchange {
    pub(super) fn read(mut section: Object<'_>) -> Self {
        let port = section.field("port").port(0..=u16::MAX);
        section.finish(Unknown::Refuse);
        Self { port: port.unwrap_or(0) }
    }
}

/// The page on loopback that shows the cameras to whoever has its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Its port on 127.0.0.1; 0 lets the system choose one at every start.
    pub port: u16,
}

impl Page {
    /// `None` where the configuration asks for no page.
    pub(super) fn read(margay: &mut Object<'_>) -> Option<Self> {
        let mut page = margay.field("page").object()?;
        let port = page.field("port").port(0..=u16::MAX);
        page.finish(Unknown::Refuse);
        Some(Self { port: port.unwrap_or(0) })
    }
}

/// The metrics on loopback, for whoever is on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metrics {
    /// Their port on 127.0.0.1; 0 lets the system choose one at every start.
    pub port: u16,
}

impl Metrics {
    /// `None` where the configuration asks for none.
    pub(super) fn read(margay: &mut Object<'_>) -> Option<Self> {
        let mut metrics = margay.field("metrics").object()?;
        let port = metrics.field("port").port(0..=u16::MAX);
        metrics.finish(Unknown::Refuse);
        Some(Self { port: port.unwrap_or(DEFAULT_METRICS_PORT) })
    }
}

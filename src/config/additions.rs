//! `margay.credentials`, `margay.tokenExchange` and `margay.page`: where the device certificate is exchanged for temporary credentials,
//! and where workers may borrow them. V1 took both from its own cloud.

use crate::document::{Object, Unknown};
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
}

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
        credentials.finish(Unknown::Refuse);
        Some(Self { endpoint: endpoint?, role_alias: role_alias? })
    }
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

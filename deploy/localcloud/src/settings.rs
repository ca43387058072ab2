//! What a local cloud is started with: where it writes, which account and region it plays, whom it lets do what.

use std::path::PathBuf;
use std::time::Duration;

use crate::policy::{THING_NAME, TopicPolicy};

/// Life of credentials unless told otherwise: the default of an AWS IoT role alias.
const CREDENTIAL_LIFETIME: Duration = Duration::from_secs(3600);

/// Everything that is decided before a [`LocalCloud`](crate::LocalCloud) starts.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Directory for the authority's certificate and the viewers' files; made if absent.
    pub dir: PathBuf,
    /// Region of the credential scope that S3 demands, and of the names in the server certificate.
    pub region: String,
    /// Account number in the thing ARNs given out, 12 digits.
    pub account: String,
    /// The role alias that the credentials provider knows from the start.
    pub role_alias: String,
    /// How long credentials live. AWS allows 900 s to 43 200 s; any value is taken here, so that expiry can be tested.
    pub credential_lifetime: Duration,
    /// What the role may read, as the resource part of an S3 ARN: `bucket/prefix*`, `*` standing for any characters.
    pub readable: Vec<String>,
    /// What the role may write, in the same form.
    pub writable: Vec<String>,
    /// What a thing may do over MQTT.
    pub thing_policy: TopicPolicy,
    /// What a viewer may subscribe to; a viewer never publishes.
    pub viewer_filters: Vec<String>,
    /// Ports to listen on.
    pub ports: Ports,
}

/// Ports on 127.0.0.1; 0 leaves the choice to the kernel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ports {
    /// Credentials provider.
    pub credentials: u16,
    /// S3.
    pub s3: u16,
    /// Broker.
    pub mqtt: u16,
}

impl Settings {
    /// A cloud in eu-central-1 with the role alias `MargayRole`, whose things may publish and subscribe below
    /// `margay/<thing>/` and `$aws/things/<thing>/`, and whose viewers may see everything below `margay/`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let own = vec![format!("margay/{THING_NAME}/#"), format!("$aws/things/{THING_NAME}/#")];
        Self {
            dir: dir.into(),
            region: "eu-central-1".to_owned(),
            account: "123456789012".to_owned(),
            role_alias: "MargayRole".to_owned(),
            credential_lifetime: CREDENTIAL_LIFETIME,
            readable: vec!["*".to_owned()],
            writable: Vec::new(),
            thing_policy: TopicPolicy { publish: own.clone(), subscribe: own },
            viewer_filters: vec!["margay/#".to_owned()],
            ports: Ports::default(),
        }
    }
}

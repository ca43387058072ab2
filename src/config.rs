//! The core's configuration: V1's `config.json` as it is (A-08 to A-16, contract D3), and Margay's additions under the
//! one key `margay`. [`Config::parse`] is pure: it opens no file, resolves no host, and collects every problem before it
//! refuses. What it accepts is valid and complete; every default is filled in.
//!
//! V1 files may hold keys of other versions, so an unknown key of V1's part is a warning; under `margay` it is an error.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::document::{self, Notes, Object, Unknown};
use crate::problem::{Accepted, Document, Problems};

mod additions;
mod core_thing;
mod crypto;
mod deployments;
mod directories;
mod effective;
mod jobs;
mod load;
mod mqtt;
mod packages;
mod path;
mod proxy;
mod runtime;
mod s3;
#[cfg(test)]
mod tests;

pub use additions::{CredentialRetry, CredentialsProvider, Metrics, Page, TokenExchange};
pub use core_thing::CoreThing;
pub use crypto::{Crypto, Pkcs11};
pub use deployments::Deployments;
pub use directories::Directories;
pub use jobs::Jobs;
pub use load::{DEFAULT_PATH, load, root_of};
pub use mqtt::{Mqtt, PresenceSetting, ProtocolVersion};
pub use packages::Packages;
pub use proxy::{NetworkProxy, ProxyScheme};
pub use runtime::Runtime;
pub use s3::{Addressing, S3, S3Endpoint};

/// The largest configuration that is read: a hundred times a large one.
pub const SIZE_LIMIT: usize = 256 * 1024;

/// What an operator tells a core, validated.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Who the core is and where its cloud lives (`coreThing`).
    pub core_thing: CoreThing,
    /// Where its certificates and keys are (`crypto`).
    pub crypto: Crypto,
    /// The link to the cloud's MQTT broker (`coreThing`, `mqttMaxConnectionRetryInterval`, `margay.mqtt`).
    pub mqtt: Mqtt,
    /// V1's settings of the daemon (`runtime`).
    pub runtime: Runtime,
    /// Whether scripts surround an update (`managedRespawn`).
    pub managed_respawn: bool,
    /// Where the core reads and writes (`writeDirectory`, `margay.group`, `margay.stateDirectory`,
    /// `margay.statusSocket`).
    pub directories: Directories,
    /// The credentials provider (`margay.credentials`); without one, nothing can be fetched from S3.
    pub credentials: Option<CredentialsProvider>,
    /// Where models are fetched from (`margay.s3`).
    pub s3: S3,
    /// The local endpoint that lends credentials (`margay.tokenExchange`).
    pub token_exchange: TokenExchange,
    /// Deployments by AWS IoT Jobs (`margay.jobs`); without them nobody deploys from afar.
    pub jobs: Option<Jobs>,
    /// The page for browsers on this machine (`margay.page`); without it there is none.
    pub page: Option<Page>,
    /// The metrics for Prometheus (`margay.metrics`); without it they are served nowhere.
    pub metrics: Option<Metrics>,
    /// Where ONNX Runtime's library is, a file or the folder that holds it (`margay.onnxRuntime`); without it models run
    /// on it only where `margay model tune` found it.
    pub onnx_runtime: Option<PathBuf>,
    /// Whose packages are taken (`margay.packages`).
    pub packages: Packages,
    /// How careful the core is with a new group (`margay.deployments`).
    pub deployments: Deployments,
}

impl Config {
    /// Reads a `config.json`. `root` is V1's greengrass-root, to which relative paths refer.
    ///
    /// # Errors
    /// Every problem of the document, at least one of which refuses it.
    pub fn parse(text: &str, root: &Path) -> Result<Accepted<Self>, Problems> {
        let notes = Notes::of(Document::Config);
        // The guide's own text (contract G1).
        let failure = format!("Failed to parse {}/config/config.json.", root.display());
        let config = document::parse(text, SIZE_LIMIT, &failure, &notes).and_then(|value| read(&value, root, &notes));
        notes.conclude(config)
    }

    /// The configuration with every default filled in and every secret elided, in the shape of `config.json`.
    pub fn effective(&self) -> Value {
        effective::effective(self)
    }
}

fn read(value: &Value, root: &Path, notes: &Notes) -> Option<Config> {
    let mut top = Object::root(value, notes)?;
    let mut core = top.field("coreThing").required("write the object that says who this core is (A-08)").section();
    let mut margay = top.field("margay").section();

    let core_thing = CoreThing::read(&mut core);
    let crypto = if top.has("crypto") {
        core.ignore(&crypto::LEGACY_KEYS);
        Crypto::read(top.field("crypto").section(), root)
    } else {
        Crypto::read_legacy(&mut core, root)
    };
    let mqtt = Mqtt::read(&mut top, &mut core, margay.field("mqtt").section(), core_thing.as_ref());
    let runtime = Runtime::read(top.field("runtime").section());
    let managed_respawn = top.field("managedRespawn").boolean().unwrap_or(false);
    read_ignored_system(&mut top);
    let directories = Directories::read(&mut top, &mut margay, root);
    let credentials = CredentialsProvider::read(&mut margay);
    let s3 = S3::read(margay.field("s3").section(), root, core_thing.as_ref());
    let token_exchange = TokenExchange::read(margay.field("tokenExchange").section());
    let jobs = Jobs::read(margay.field("jobs").section());
    let page = Page::read(&mut margay);
    let metrics = Metrics::read(&mut margay);
    let onnx_runtime = margay.field("onnxRuntime");
    let onnx_runtime = if onnx_runtime.is_present() { path::read(&onnx_runtime, root) } else { None };
    let packages = Packages::read(margay.field("packages").section());
    let deployments = Deployments::read(margay.field("deployments").section());
    core.finish(Unknown::Warn);
    margay.finish(Unknown::Refuse);
    top.finish(Unknown::Warn);

    let (core_thing, crypto, mqtt, directories, s3) = (core_thing?, crypto?, mqtt?, directories?, s3?);
    Some(Config {
        core_thing,
        crypto,
        mqtt,
        runtime,
        managed_respawn,
        directories,
        credentials,
        s3,
        token_exchange,
        jobs,
        page,
        metrics,
        packages,
        onnx_runtime,
        deployments,
    })
}

/// `system.shadowSyncTimeout` (contract G6) belongs to the shadow service, which this version does not have: its value
/// is checked, and used by nobody.
fn read_ignored_system(top: &mut Object<'_>) {
    let mut system = top.field("system").section();
    system.field("shadowSyncTimeout").integer(1..=u64::from(u32::MAX), "seconds");
    system.finish(Unknown::Warn);
}

//! The group document: what is deployed to a core, in the shapes of V1's API (A-02, A-03, contract E7), read and checked
//! by every rule of the guide that needs no file, no account and no network of the host (B-01 to B-08, B-15 to B-17,
//! G3, G4). It refuses with all problems at once.
//!
//! What a connector's parameters mean is `connector`'s; whether a path exists, the deployment's.

use serde_json::Value;

use crate::arn::ThingArn;
use crate::document::{self, Notes, Object, Unknown};
use crate::name::ResourceId;
use crate::problem::{Accepted, Document, Problems};

mod access;
mod code;
mod connectors;
mod execution;
mod function;
mod functions;
mod local;
mod logger;
mod member;
mod model;
mod own;
mod path;
mod placed;
mod resource;
mod spooler;
mod subscription;
#[cfg(test)]
mod tests;

pub use access::{Attachment, Permission};
pub use code::{CodePackage, FunctionCode};
pub use connectors::Connector;
pub use execution::{IsolationMode, RunAs};
pub use function::{Encoding, Function, LEAST_MEMORY};
pub use local::{GroupOwner, LocalDevice, LocalVolume};
pub use logger::{LogComponent, LogLevel, LogTarget, Logger};
pub use member::Member;
pub use model::{ModelOwner, ModelSource, S3Model};
pub use own::{CpuShare, FunctionNetwork, FunctionRoot, Own};
pub use resource::{Resource, ResourceData, Secret};
pub use spooler::{Spooler, Storage, SubscriptionQuality, WhenFull};
pub use subscription::{Party, Subscription};

/// The largest group document that is read: 50 resources, 200 devices and their subscriptions are a tenth of it.
pub const SIZE_LIMIT: usize = 1024 * 1024;

/// What the group's rules ask about the core that reads the document.
#[derive(Debug, Clone, Copy)]
pub struct Host<'a> {
    /// The core's own ARN, where its configuration is readable; the group's one core must have it.
    pub thing_arn: Option<&'a ThingArn>,
    /// Whether functions may run with user or group 0 (`runtime.allowFunctionsToRunAsRoot`, A-31).
    pub allow_functions_to_run_as_root: bool,
    /// Whether S3 is reached over TLS at hosts named after buckets, as at AWS; their names may have no periods then (B-10).
    pub virtual_hosted_s3: bool,
}

/// What is deployed to a core.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The group's id, which V1's cloud gave.
    pub id: Option<String>,
    /// The group's name, for people.
    pub name: Option<String>,
    /// The core; absent only in the empty document `{}`, which deploys nothing.
    pub core: Option<Member>,
    /// The devices that may connect to the core.
    pub devices: Vec<Member>,
    /// How functions run that do not say it themselves.
    pub default_isolation: IsolationMode,
    /// Whom functions run as that do not say it themselves; the core's own workers too.
    pub default_run_as: RunAs,
    /// The users' functions.
    pub functions: Vec<Function>,
    /// How messages wait for the cloud.
    pub spooler: Spooler,
    /// What functions and connectors may be given access to.
    pub resources: Vec<Resource>,
    /// The connectors, in the document's order.
    pub connectors: Vec<Connector>,
    /// Who may send what to whom; everything else is not delivered.
    pub subscriptions: Vec<Subscription>,
    /// What is logged where; V1's defaults if the document has none.
    pub loggers: Vec<Logger>,
}

impl Group {
    /// Reads a group document for the core `host`. The empty object `{}` is a group that deploys nothing: the guide has
    /// an operator write it to recover from a group that does not start (contract G1).
    ///
    /// # Errors
    /// Every problem of the document, at least one of which refuses it.
    pub fn parse(text: &str, host: Host<'_>) -> Result<Accepted<Self>, Problems> {
        let notes = Notes::of(Document::Group);
        let failure = "is not JSON";
        let group = document::parse(text, SIZE_LIMIT, failure, &notes).and_then(|value| read(&value, host, &notes));
        notes.conclude(group)
    }

    /// The resource with the id `id`.
    pub fn resource(&self, id: &ResourceId) -> Option<&Resource> {
        self.resources.iter().find(|resource| resource.id == *id)
    }

    /// The subscriptions whose source is `source`.
    pub fn subscriptions_from<'g>(&'g self, source: &'g Party) -> impl Iterator<Item = &'g Subscription> {
        self.subscriptions.iter().filter(move |subscription| subscription.source == *source)
    }
}

fn read(value: &Value, host: Host<'_>, notes: &Notes) -> Option<Group> {
    let mut top = Object::root(value, notes)?;
    let empty = top.is_empty();
    let mut about = top.field("Group").section();
    let id = about.field("Id").text().map(str::to_owned);
    let name = about.field("Name").text().map(str::to_owned);
    about.finish(Unknown::Warn);

    let core = if empty { None } else { member::read_core(&mut top, host.thing_arn) };
    if empty {
        notes.warning("", None, "is empty: nothing is deployed", "write a group document, or leave it so to recover");
    }
    let devices = member::read_devices(&mut top);
    let resources = resource::read_all(&mut top, host.virtual_hosted_s3);
    let functions = functions::read(&mut top, host.virtual_hosted_s3);
    functions::check(&functions, host, notes);
    access::check(&functions.users, &resources, notes);
    let connectors = connectors::read(&mut top);
    let members = subscription::Members {
        devices: devices.iter().map(|device| device.entity.thing_arn.clone()).collect(),
        functions: functions.declared.clone(),
        connectors: connectors.declared,
    };
    let subscriptions = subscription::read(&mut top, &members);
    let loggers = logger::read(&mut top);
    top.finish(Unknown::Warn);
    Some(Group {
        id,
        name,
        core,
        devices: placed::entities(devices),
        default_isolation: functions.default_isolation,
        default_run_as: functions.default_run_as,
        functions: placed::entities(functions.users),
        spooler: functions.spooler,
        resources: placed::entities(resources.valid),
        connectors: connectors.valid,
        subscriptions,
        loggers,
    })
}

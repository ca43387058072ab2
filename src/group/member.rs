//! Cores and devices: the things that belong to a group.

use crate::arn::{CertificateArn, ThingArn};
use crate::document::{Object, Unknown};
use crate::name::EntityId;

use super::placed::{Placed, read_list, refuse_repeated};

/// A group has up to 200 devices.
const DEVICE_LIMIT: usize = 200;

/// A thing that belongs to the group, as the core or as a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The entity's id.
    pub id: EntityId,
    /// The thing.
    pub thing_arn: ThingArn,
    /// The certificate that is attached to the thing; what the core presents is configured, not deployed.
    pub certificate_arn: Option<CertificateArn>,
    /// Whether the thing's shadow follows the cloud's.
    pub sync_shadow: bool,
}

impl Member {
    fn read(object: &mut Object<'_>) -> Option<Self> {
        let id = object.field("Id").required("write an id").parsed::<EntityId>();
        let thing_arn = object.field("ThingArn").required("write the thing's ARN").parsed::<ThingArn>();
        let certificate_arn = object.field("CertificateArn").parsed::<CertificateArn>();
        let sync_shadow = object.field("SyncShadow").boolean().unwrap_or(false);
        Some(Self { id: id?, thing_arn: thing_arn?, certificate_arn, sync_shadow })
    }
}

/// The one core, which must be `own`.
pub(super) fn read_core(top: &mut Object<'_>, own: Option<&ThingArn>) -> Option<Member> {
    const HINT: &str = "list the core that config.json describes, and no other";
    let mut definition = top.field("CoreDefinitionVersion").required(HINT).section();
    let listed = definition.field("Cores").required(HINT);
    if let Some(count) = listed.count().filter(|count| *count != 1) {
        listed.refuse(format!("has exactly one core, and this one lists {count}"), HINT);
    }
    let mut cores = read_list(&mut definition, "Cores", Member::read);
    definition.finish(Unknown::Warn);
    let Placed { path, entity: core } = if cores.len() == 1 { cores.remove(0) } else { return None };
    if let Some(own) = own.filter(|own| **own != core.thing_arn) {
        let rule = format!("is not this core, whose thingArn in config.json is {own}");
        let shown = format!("\"{}\"", core.thing_arn);
        top.notes().error(&format!("{path}.ThingArn"), Some(shown), rule, "deploy this group to its own core");
    }
    Some(core)
}

/// The devices.
pub(super) fn read_devices(top: &mut Object<'_>) -> Vec<Placed<Member>> {
    let mut definition = top.field("DeviceDefinitionVersion").section();
    let listed = definition.field("Devices");
    let count = listed.count().unwrap_or(0);
    if count > DEVICE_LIMIT {
        listed.refuse(format!("has at most {DEVICE_LIMIT} devices, and this one lists {count}"), "take some out");
    }
    if count > 0 {
        listed.warn("lists devices, and this version has no local MQTT server for them", "connect them to the cloud");
    }
    let devices = read_list(&mut definition, "Devices", Member::read);
    definition.finish(Unknown::Warn);
    refuse_repeated(&devices, ("Id", |device: &Member| Some(&device.id)), top.notes());
    refuse_repeated(&devices, ("ThingArn", |device: &Member| Some(&device.thing_arn)), top.notes());
    devices
}

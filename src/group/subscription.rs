//! Subscriptions: who may send messages to whom, on which topics. What no subscription allows is not delivered.

use std::fmt;

use crate::arn::{ConnectorArn, FunctionArn, ThingArn};
use crate::document::{Field, Object, Unknown};
use crate::name::EntityId;
use crate::topic::TopicFilter;

use super::placed::{Declared, Placed, entities, read_list, refuse_repeated};

/// A group has at most 50 subscriptions whose source is the cloud.
const CLOUD_SOURCE_LIMIT: usize = 50;
const CLOUD: &str = "cloud";
const SHADOW_SERVICE: &str = "GGShadowService";
/// The guide's rule for what a group refers to.
const NOT_A_MEMBER: &str = "All referenced entities must be members of the group";
const PARTY_HINT: &str = "write cloud, GGShadowService, or the ARN of a device, function or connector of the group";
const SUBJECT_HINT: &str = "write a topic, in which + stands for one level and a last # for all that follow";

/// One direction of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The entity's id.
    pub id: EntityId,
    /// Who sends.
    pub source: Party,
    /// Which topics.
    pub subject: TopicFilter,
    /// Who receives.
    pub target: Party,
}

/// An end of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Party {
    /// AWS IoT, written `cloud`.
    Cloud,
    /// The local shadow service, written `GGShadowService`.
    ShadowService,
    /// A device of the group.
    Device(ThingArn),
    /// A function of the group.
    Function(FunctionArn),
    /// A connector of the group.
    Connector(ConnectorArn),
}

impl Party {
    /// Reads one end, whatever it is; `None` if it is nothing that could be a member.
    fn parse(text: &str) -> Option<Self> {
        match text {
            CLOUD => Some(Self::Cloud),
            SHADOW_SERVICE => Some(Self::ShadowService),
            _ => None
                .or_else(|| text.parse().ok().map(Self::Connector))
                .or_else(|| text.parse().ok().map(Self::Function))
                .or_else(|| text.parse().ok().map(Self::Device)),
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cloud => f.write_str(CLOUD),
            Self::ShadowService => f.write_str(SHADOW_SERVICE),
            Self::Device(arn) => arn.fmt(f),
            Self::Function(arn) => arn.fmt(f),
            Self::Connector(arn) => arn.fmt(f),
        }
    }
}

/// The members of a group that a subscription may name, as their ARNs are written.
#[derive(Debug)]
pub(super) struct Members {
    pub(super) devices: Vec<ThingArn>,
    pub(super) functions: Declared<String>,
    pub(super) connectors: Declared<String>,
}

impl Members {
    fn contain(&self, party: &Party) -> bool {
        match party {
            Party::Cloud | Party::ShadowService => true,
            Party::Device(arn) => self.devices.contains(arn),
            Party::Function(arn) => !arn.is_system() && self.functions.contains(arn.as_str()),
            Party::Connector(arn) => self.connectors.contains(&arn.to_string()),
        }
    }
}

pub(super) fn read(top: &mut Object<'_>, members: &Members) -> Vec<Subscription> {
    let mut definition = top.field("SubscriptionDefinitionVersion").section();
    let subscriptions = read_list(&mut definition, "Subscriptions", |object| {
        let id = object.field("Id").required("write an id").parsed::<EntityId>();
        let source = read_party(&object.field("Source").required(PARTY_HINT), members);
        let target_field = object.field("Target").required(PARTY_HINT);
        let target = read_party(&target_field, members);
        if source == Some(Party::Cloud) && target == Some(Party::Cloud) {
            target_field.refuse("is the source as well: each message would come back without end", "name another end");
        }
        let subject = read_subject(&object.field("Subject").required(SUBJECT_HINT), source.as_ref());
        Some(Subscription { id: id?, source: source?, subject: subject?, target: target? })
    });
    let from_cloud = subscriptions.iter().filter(|placed| placed.entity.source == Party::Cloud).count();
    if from_cloud > CLOUD_SOURCE_LIMIT {
        let rule = format!("has at most {CLOUD_SOURCE_LIMIT} subscriptions whose source is cloud, not {from_cloud}");
        definition.field("Subscriptions").refuse(rule, "join some with a wildcard");
    }
    definition.finish(Unknown::Warn);
    refuse_repeated(&subscriptions, ("Id", |subscription: &Subscription| Some(&subscription.id)), top.notes());
    warn_about_repeated(&subscriptions, top);
    entities(subscriptions)
}

fn read_party(field: &Field<'_>, members: &Members) -> Option<Party> {
    let party = Party::parse(field.text()?).filter(|party| members.contain(party));
    match &party {
        None => field.refuse(NOT_A_MEMBER, PARTY_HINT),
        Some(Party::ShadowService) => {
            field.warn("is the local shadow service, which this version does not have", "use the cloud's shadows");
        }
        Some(_) => {}
    }
    party
}

fn read_subject(field: &Field<'_>, source: Option<&Party>) -> Option<TopicFilter> {
    let subject = field.parsed::<TopicFilter>()?;
    if source == Some(&Party::Cloud)
        && let Err(error) = subject.check_aws_levels()
    {
        field.warn(error.to_string(), "use fewer levels if the broker is AWS IoT");
    }
    Some(subject)
}

fn warn_about_repeated(subscriptions: &[Placed<Subscription>], top: &Object<'_>) {
    let route = |placed: &Placed<Subscription>| {
        let Subscription { source, subject, target, .. } = placed.entity.clone();
        (source, subject, target)
    };
    for (position, later) in subscriptions.iter().enumerate() {
        let wanted = route(later);
        if let Some(first) = subscriptions[..position].iter().find(|earlier| route(earlier) == wanted) {
            let rule = format!("says what {} says", first.path);
            top.notes().warning(&later.path, None, rule, "take one of the two out");
        }
    }
}

//! What a group document would change, compared with what runs. Values are not shown: a parameter or a variable may be
//! a secret.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::version::GroupVersion;
use crate::connector::image_classifier::ImageClassifier;
use crate::group::Spooler;

/// The entities of a document: what one is called, and where they are listed.
const SECTIONS: [(&str, &str); 7] = [
    ("core", "/CoreDefinitionVersion/Cores"),
    ("device", "/DeviceDefinitionVersion/Devices"),
    ("function", "/FunctionDefinitionVersion/Functions"),
    ("resource", "/ResourceDefinitionVersion/Resources"),
    ("connector", "/ConnectorDefinitionVersion/Connectors"),
    ("subscription", "/SubscriptionDefinitionVersion/Subscriptions"),
    ("logger", "/LoggerDefinitionVersion/Loggers"),
];

/// Sections that are one thing.
const SINGLE: [(&str, &str); 2] =
    [("group", "/Group"), ("function defaults", "/FunctionDefinitionVersion/DefaultConfig")];

/// What a deployment would change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What the document has that is not there, has no more, or has otherwise.
    pub entities: Vec<EntityChange>,
    /// The packages of the new group, and those that the old one had.
    pub packages: Vec<PackageChange>,
    /// What happens to each camera's classifier.
    pub classifiers: Vec<ClassifierChange>,
}

/// What happens to something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is new.
    Added,
    /// It is otherwise.
    Changed,
    /// It goes.
    Removed,
}

/// An entity of the document that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityChange {
    /// What it is: `resource`, `connector`, `subscription` and so on.
    pub entity: String,
    /// Its id.
    pub id: String,
    /// What happens to it.
    pub change: Change,
    /// The fields that change, as paths within it.
    pub fields: Vec<String>,
}

/// What happens to a resource's package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageChange {
    /// The resource.
    pub resource: String,
    /// Where the new group takes it from; none where it goes.
    pub source: Option<String>,
    /// What runs now, by version and digest.
    pub running: Option<String>,
    /// What will be done.
    pub action: PackageAction,
}

/// What will be done about a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PackageAction {
    /// It is fetched.
    Fetch,
    /// Its source is asked whether it changed; if so, it is fetched.
    LookAgain,
    /// It is kept as the previous one, until the deployment after this.
    Retire,
}

/// What happens to the classifier of a camera.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassifierChange {
    /// The camera's name.
    pub camera: String,
    /// What happens.
    pub effect: Effect,
}

/// What happens to a classifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It is started.
    Start,
    /// It goes on; a new package takes over between two frames.
    GoOn,
    /// It is stopped and started: frames meanwhile are not captured.
    Restart,
    /// It is stopped.
    Stop,
}

impl Plan {
    /// What running `wanted` in the place of `running` would change; `packages` says, by resource, what runs now.
    pub fn between(running: &GroupVersion, packages: &BTreeMap<String, String>, wanted: &GroupVersion) -> Self {
        let document = |group: &GroupVersion| serde_json::from_str::<Value>(&group.document).unwrap_or_default();
        let mut entities = entity_changes(&document(running), &document(wanted));
        entities.extend(spooler_change(&running.deployable.group.spooler, &wanted.deployable.group.spooler));
        Self {
            entities,
            packages: package_changes(running, packages, wanted),
            classifiers: classifier_changes(running, wanted),
        }
    }

    /// Whether the document changes nothing; packages may still have changed at their source.
    pub fn is_empty(&self) -> bool {
        self.entities.is_empty()
    }
}

fn entity_changes(old: &Value, new: &Value) -> Vec<EntityChange> {
    let mut changes = Vec::new();
    for (entity, place) in SINGLE {
        let (old, new) = (old.pointer(place), new.pointer(place));
        changes.extend(change_of(entity, "", old, new));
    }
    for (entity, place) in SECTIONS {
        let (old, new) = (by_id(old.pointer(place)), by_id(new.pointer(place)));
        let ids: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        changes
            .extend(ids.into_iter().filter_map(|id| change_of(entity, id, old.get(id).copied(), new.get(id).copied())));
    }
    changes
}

fn by_id(list: Option<&Value>) -> BTreeMap<String, &Value> {
    let elements = list.and_then(Value::as_array).into_iter().flatten();
    elements.filter_map(|element| Some((element.get("Id")?.as_str()?.to_owned(), element))).collect()
}

fn change_of(entity: &str, id: &str, old: Option<&Value>, new: Option<&Value>) -> Option<EntityChange> {
    let (change, fields) = match (old, new) {
        (None, None) => return None,
        (None, Some(_)) => (Change::Added, Vec::new()),
        (Some(_), None) => (Change::Removed, Vec::new()),
        (Some(old), Some(new)) => {
            let mut fields = Vec::new();
            list_differences(old, new, "", &mut fields);
            if fields.is_empty() {
                return None;
            }
            (Change::Changed, fields)
        }
    };
    Some(EntityChange { entity: entity.to_owned(), id: id.to_owned(), change, fields })
}

/// Adds the paths at which two values differ.
fn list_differences(old: &Value, new: &Value, path: &str, found: &mut Vec<String>) {
    let (Value::Object(old_fields), Value::Object(new_fields)) = (old, new) else {
        if old != new {
            found.push(path.to_owned());
        }
        return;
    };
    let keys: BTreeSet<&String> = old_fields.keys().chain(new_fields.keys()).collect();
    for key in keys {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let (old, new) = (old_fields.get(key), new_fields.get(key));
        list_differences(old.unwrap_or(&Value::Null), new.unwrap_or(&Value::Null), &path, found);
    }
}

/// The spooler's settings hold no secret, and are what an operator looks for.
fn spooler_change(old: &Spooler, new: &Spooler) -> Option<EntityChange> {
    let mut fields = Vec::new();
    if old.max_size != new.max_size {
        fields.push(format!("limit: {} to {} bytes", old.max_size.bytes(), new.max_size.bytes()));
    }
    if old.storage != new.storage {
        fields.push(format!("storage: {:?} to {:?}, at the next start", old.storage, new.storage));
    }
    if old.subscription_quality != new.subscription_quality {
        fields.push(format!("subscriptions: {:?} to {:?}", old.subscription_quality, new.subscription_quality));
    }
    let changed = !fields.is_empty();
    changed.then(|| EntityChange { entity: "spooler".to_owned(), id: String::new(), change: Change::Changed, fields })
}

fn package_changes(
    running: &GroupVersion,
    packages: &BTreeMap<String, String>,
    wanted: &GroupVersion,
) -> Vec<PackageChange> {
    let old: BTreeMap<_, _> = running.sources().into_iter().collect();
    let new: BTreeMap<_, _> = wanted.sources().into_iter().collect();
    let resources: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let change = |resource| {
        let (from, to) = (old.get(resource), new.get(resource));
        let running = packages.get(&resource.to_string()).cloned();
        let action = match to {
            None => PackageAction::Retire,
            Some(_) if from == to && running.is_some() => PackageAction::LookAgain,
            Some(_) => PackageAction::Fetch,
        };
        PackageChange { resource: resource.to_string(), source: to.map(ToString::to_string), running, action }
    };
    resources.into_iter().map(change).collect()
}

fn classifier_changes(running: &GroupVersion, wanted: &GroupVersion) -> Vec<ClassifierChange> {
    let (old, new) = (&running.deployable.image_classifiers, &wanted.deployable.image_classifiers);
    let has = |list: &[ImageClassifier], one: &ImageClassifier| list.iter().any(|c| c.camera_name == one.camera_name);
    let named =
        |connector: &ImageClassifier, effect| ClassifierChange { camera: connector.camera_name.to_string(), effect };
    let ended = old.iter().filter(|connector| !has(new, connector)).map(|connector| named(connector, Effect::Stop));
    let others = new.iter().map(|connector| match () {
        () if running.keeps(connector) => named(connector, Effect::GoOn),
        () if has(old, connector) => named(connector, Effect::Restart),
        () => named(connector, Effect::Start),
    });
    ended.chain(others).collect()
}

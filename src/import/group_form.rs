//! The two forms in which a device may hold its group, made one: definition versions in the shapes of V1's API, which is
//! docs/group-documents.md, and the form that V1's daemon wrote.
//!
//! The guide prints no `group.json` of a device. Its second form is known from public tools that read it: `Arn`, `Region`,
//! `Cores` and `Devices` with `thingArn`, and `GroupDefinitions` with `Lambdas`, `Subscriptions`, `Resources` and `Logging`,
//! each with a list `Content`; resources have `Type` and `Data`. What is not recognised is named, never dropped in silence.

use serde_json::{Map, Value, json};

use super::report::Finding;
use crate::arn::{ConnectorArn, FunctionArn, ThingArn};

/// V1's memory limit of a function that names none, in KB.
const MEMORY_KB: u64 = 16 * 1024;
/// The keys of a function's configuration (contract E7).
const SETTINGS: [&str; 10] = [
    "MemorySize",
    "Pinned",
    "Timeout",
    "EncodingType",
    "Executable",
    "ExecArgs",
    "Environment",
    "AccessSysfs",
    "ResourceAccessPolicies",
    "Execution",
];
/// The guide's names of resources' types (B-08), and the keys of the API.
const TYPES: [(&str, &str); 5] = [
    ("Local.Volume", "LocalVolumeResourceData"),
    ("Local.Device", "LocalDeviceResourceData"),
    ("ML_Model.S3_Object", "S3MachineLearningModelResourceData"),
    ("ML_Model.SageMaker.Job", "SageMakerMachineLearningModelResourceData"),
    ("SecretsManager.Secret", "SecretsManagerSecretResourceData"),
];

/// A group in the API's shapes, and what was set aside on the way.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) document: Value,
    pub(super) findings: Vec<Finding>,
}

/// Brings a group document to the API's shapes.
pub(super) fn joined(value: Value) -> Joined {
    let is_daemons = value.get("GroupDefinitions").is_some();
    if !is_daemons {
        return Joined { document: value, findings: Vec::new() };
    }
    let mut form = Daemons { value: &value, findings: Vec::new() };
    let document = form.translate();
    Joined { document, findings: form.findings }
}

/// The daemon's form while it is translated.
struct Daemons<'v> {
    value: &'v Value,
    findings: Vec<Finding>,
}

impl Daemons<'_> {
    fn translate(&mut self) -> Value {
        let group = self.value.get("Arn").and_then(Value::as_str).and_then(|arn| arn.split('/').nth(3)).unwrap_or("v1");
        let cores = self.things("Cores", "core");
        let devices = self.things("Devices", "device");
        let functions = self.functions();
        let connectors = self.content("Connectors").to_vec();
        let resources: Vec<Value> = self.content("Resources").iter().map(resource).collect();
        let subscriptions = self.subscriptions(&functions, &connectors, &devices);
        let loggers = numbered(self.content("Logging"), "logger");
        self.name_the_rest();
        let mut document = json!({
            "Group": { "Id": group, "Name": group },
            "CoreDefinitionVersion": { "Cores": cores },
            "FunctionDefinitionVersion": { "Functions": functions },
            "ResourceDefinitionVersion": { "Resources": resources },
            "ConnectorDefinitionVersion": { "Connectors": connectors },
            "SubscriptionDefinitionVersion": { "Subscriptions": subscriptions },
            "DeviceDefinitionVersion": { "Devices": devices },
            "LoggerDefinitionVersion": { "Loggers": loggers },
        });
        let default = self.value.pointer("/GroupDefinitions/Lambdas/DefaultConfig");
        if let Some(default) = default {
            document["FunctionDefinitionVersion"]["DefaultConfig"] = default.clone();
        }
        document
    }

    fn content(&self, key: &str) -> &[Value] {
        let list = self.value.pointer(&format!("/GroupDefinitions/{key}/Content")).and_then(Value::as_array);
        list.map_or(&[], Vec::as_slice)
    }

    fn things(&self, key: &str, id: &str) -> Vec<Value> {
        let listed = self.value.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let thing = |entry: &Value| {
            let mut thing = Map::new();
            for (wanted, other) in [
                ("Id", "id"),
                ("ThingArn", "thingArn"),
                ("CertificateArn", "certificateArn"),
                ("SyncShadow", "syncShadow"),
            ] {
                if let Some(found) = entry.get(wanted).or_else(|| entry.get(other)) {
                    thing.insert(wanted.to_owned(), found.clone());
                }
            }
            // The daemon does not keep the form of a certificate's ARN in every version; what the core presents is in
            // config.json anyway.
            let certificate = thing.get("CertificateArn").and_then(Value::as_str);
            if certificate.is_some_and(|arn| arn.parse::<crate::arn::CertificateArn>().is_err()) {
                thing.remove("CertificateArn");
            }
            Value::Object(thing)
        };
        numbered(&listed.iter().map(thing).collect::<Vec<_>>(), id)
    }

    /// The functions; those of V1's own connectors, whose ARNs belong to no account, are set aside.
    fn functions(&mut self) -> Vec<Value> {
        let entries: Vec<Value> = self.content("Lambdas").iter().map(function).collect();
        let (kept, aside): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| text(entry, "FunctionArn").parse::<FunctionArn>().is_ok());
        for entry in aside {
            let subject = format!("function {}", text(&entry, "FunctionArn"));
            let says = "is no function of yours by its ARN: V1's own code for a connector or for the core; left out";
            self.findings.push(Finding::will_not(subject, says));
        }
        numbered(&kept, "function")
    }

    /// The subscriptions between what is left.
    fn subscriptions(&mut self, functions: &[Value], connectors: &[Value], devices: &[Value]) -> Vec<Value> {
        let known = |party: &str| {
            let is_in = |list: &[Value], key: &str| list.iter().any(|entry| text(entry, key) == party);
            matches!(party, "cloud" | "GGShadowService")
                || (party.parse::<FunctionArn>().is_ok() && is_in(functions, "FunctionArn"))
                || (party.parse::<ConnectorArn>().is_ok() && is_in(connectors, "ConnectorArn"))
                || (party.parse::<ThingArn>().is_ok() && is_in(devices, "ThingArn"))
        };
        let (kept, aside): (Vec<Value>, Vec<Value>) = self
            .content("Subscriptions")
            .iter()
            .cloned()
            .partition(|entry| known(text(entry, "Source")) && known(text(entry, "Target")));
        for entry in aside {
            let (source, subject, target) = (text(&entry, "Source"), text(&entry, "Subject"), text(&entry, "Target"));
            let says = format!("from {source} to {target}: one of the two is not in the group any more; left out");
            self.findings.push(Finding::will_not(format!("subscription {subject}"), says));
        }
        numbered(&kept, "subscription")
    }

    /// Names what this translation does not know.
    fn name_the_rest(&mut self) {
        let known = ["Arn", "Region", "Cores", "Devices", "GroupDefinitions"];
        let parts = ["Lambdas", "Subscriptions", "Resources", "Logging", "Connectors"];
        let unknown = |value: Option<&Value>, known: &[&str], prefix: &str| -> Vec<String> {
            let keys = value.and_then(Value::as_object).into_iter().flat_map(Map::keys);
            keys.filter(|key| !known.contains(&key.as_str())).map(|key| format!("{prefix}{key}")).collect()
        };
        let mut rest = unknown(Some(self.value), &known, "");
        rest.extend(unknown(self.value.get("GroupDefinitions"), &parts, "GroupDefinitions."));
        if !rest.is_empty() {
            let says = format!("keys that this version does not know, and leaves out: {}", rest.join(", "));
            self.findings.push(Finding::decision("group.json", says));
        }
    }
}

/// A function in the API's shape, with its settings gathered from wherever the entry has them.
fn function(entry: &Value) -> Value {
    let mut settings = entry.get("FunctionConfiguration").and_then(Value::as_object).cloned().unwrap_or_default();
    let deployed = entry.get("DeploymentConfiguration");
    for key in SETTINGS {
        let found = entry.get(key).or_else(|| deployed.and_then(|deployed| deployed.get(key)));
        if let Some(found) = found.filter(|_| !settings.contains_key(key)) {
            settings.insert(key.to_owned(), found.clone());
        }
    }
    if let Some(handler) = entry.get("Handler").or_else(|| deployed.and_then(|deployed| deployed.get("Handler"))) {
        settings.entry("Executable").or_insert_with(|| handler.clone());
    }
    let isolation = |place: Option<&Value>| place?.get("Execution")?.get("IsolationMode").cloned();
    let settings = Value::Object(settings);
    let isolation = isolation(Some(&settings)).or_else(|| isolation(settings.get("Environment")));
    let contained = isolation.is_none_or(|isolation| isolation == "GreengrassContainer");
    let mut settings = settings;
    if contained && settings.get("MemorySize").is_none() {
        settings["MemorySize"] = json!(MEMORY_KB);
    }
    let mut function = json!({ "FunctionArn": text(entry, "FunctionArn"), "FunctionConfiguration": settings });
    if let Some(id) = entry.get("Id") {
        function["Id"] = id.clone();
    }
    function
}

/// A resource in the API's shape.
fn resource(entry: &Value) -> Value {
    let Some(data) = entry.get("Data") else { return entry.clone() };
    let named = text(entry, "Type");
    let key = TYPES.iter().find(|(name, _)| *name == named).map_or(named, |&(_, key)| key);
    let name = entry.get("Name").or_else(|| entry.get("Id")).cloned().unwrap_or_default();
    json!({ "Id": entry.get("Id"), "Name": name, "ResourceDataContainer": { key: data } })
}

/// The same entries, each with an `Id`.
fn numbered(entries: &[Value], kind: &str) -> Vec<Value> {
    let with_id = |(position, entry): (usize, &Value)| {
        let mut entry = entry.clone();
        if let Some(object) = entry.as_object_mut() {
            object.entry("Id").or_insert_with(|| format!("{kind}-{}", position + 1).into());
        }
        entry
    };
    entries.iter().enumerate().map(with_id).collect()
}

/// A string of an entry; empty where there is none.
pub(super) fn text<'v>(entry: &'v Value, key: &str) -> &'v str {
    entry.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::group::{Group, Host};

    const HOST: Host<'static> =
        Host { thing_arn: None, allow_functions_to_run_as_root: false, virtual_hosted_s3: false };

    fn daemons() -> Value {
        let count = "arn:aws:lambda:eu-central-1:123456789012:function:count:3";
        json!({
            "Arn": "arn:aws:greengrass:eu-central-1:123456789012:/greengrass/groups/0a1b/versions/2c3d",
            "Region": "eu-central-1", "Mystery": 1,
            "Cores": [{ "thingArn": "arn:aws:iot:eu-central-1:123456789012:thing/core-1", "certificateArn": "short" }],
            "Devices": [],
            "GroupDefinitions": {
                "Lambdas": { "Content": [
                    { "FunctionArn": count, "DeploymentConfiguration": { "CodeSize": 5, "Handler": "count.handler" },
                      "Environment": { "ResourceAccessPolicies": [{ "ResourceId": "model", "Permission": "ro" }] } },
                    { "FunctionArn": "arn:aws:lambda:eu-central-1:aws:function:imageClassification:2" } ] },
                "Subscriptions": { "Content": [
                    { "Source": count, "Subject": "cars", "Target": "cloud" },
                    { "Source": "gone", "Subject": "x", "Target": "cloud" } ] },
                "Resources": { "Content": [
                    { "Id": "model", "Type": "ML_Model.S3_Object",
                      "Data": { "S3Uri": "s3://models/m.zip", "DestinationPath": "/m" } } ] },
                "Logging": { "Content": [
                    { "Component": "Lambda", "Level": "INFO", "Type": "FileSystem", "Space": 128 } ] }
            }
        })
    }

    #[test]
    fn the_daemons_form_becomes_a_document_that_is_accepted() {
        let joined = joined(daemons());
        let group = Group::parse(&joined.document.to_string(), HOST).unwrap_or_else(|problems| panic!("{problems}"));
        let group = group.document;
        assert_eq!(group.id.as_deref(), Some("0a1b"));
        assert_eq!(group.functions.len(), 1);
        assert_eq!(group.functions[0].executable.as_deref(), Some("count.handler"));
        assert_eq!(group.functions[0].attachments[0].resource.as_str(), "model");
        assert_eq!((group.subscriptions.len(), group.resources.len(), group.loggers.len()), (1, 1, 1));
        assert!(group.resources[0].model().is_some());
    }

    #[test]
    fn what_is_left_out_is_named() {
        let named: Vec<String> =
            joined(daemons()).findings.iter().map(|row| format!("{} {}", row.subject, row.says)).collect();
        for wanted in ["function:imageClassification:2", "from gone to cloud", "Mystery"] {
            assert!(named.iter().any(|row| row.contains(wanted)), "{wanted}: {named:?}");
        }
    }

    #[test]
    fn a_document_in_the_apis_shapes_stays_as_it_is() {
        let document = json!({ "CoreDefinitionVersion": { "Cores": [] }, "Odd": [1] });
        assert_eq!(joined(document.clone()).document, document);
    }

    /// Whatever JSON, with keys that the translation looks for.
    fn any_json() -> impl Strategy<Value = Value> {
        let key = prop::sample::select(vec![
            "Id",
            "Type",
            "Data",
            "FunctionArn",
            "FunctionConfiguration",
            "DeploymentConfiguration",
            "Environment",
            "Execution",
            "Handler",
            "Source",
            "Target",
            "Subject",
            "thingArn",
            "ResourceAccessPolicies",
        ]);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            Just(Value::from("cloud")),
            Just(Value::from("arn:aws:lambda:eu-central-1:123456789012:function:f:1")),
        ];
        leaf.prop_recursive(4, 32, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..4)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_group_of_a_daemon_breaks_the_translation(parts in prop::collection::vec(any_json(), 6)) {
            let [lambdas, subscriptions, resources, logging, cores, devices] = &parts[..] else { unreachable!() };
            let content = |value: &Value| json!({ "Content": value });
            let value = json!({ "Arn": 5, "Cores": cores, "Devices": devices, "GroupDefinitions": {
                "Lambdas": content(lambdas), "Subscriptions": content(subscriptions),
                "Resources": content(resources), "Logging": content(logging) } });
            let document = joined(value).document;
            prop_assert!(document.is_object());
            let _ = Group::parse(&document.to_string(), HOST);
        }
    }
}

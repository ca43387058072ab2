//! The guide's own documents, its rules B-01 to B-17, G3 and G4 with their texts, and that no document breaks the reader.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::problem::Problem;
use crate::units::ByteSize;

mod access;
mod guide;
mod isolation;
mod membership;
mod permissions;
mod resources;

const THING: &str = "arn:aws:iot:us-west-2:123456789012:thing/core-1";
const FUNCTION: &str = "arn:aws:lambda:us-west-2:123456789012:function:f:1";
const CONNECTOR: &str = "arn:aws:greengrass:us-west-2::/connectors/TwilioNotifications/versions/3";

fn parse_for(document: &Value, allow_functions_to_run_as_root: bool) -> Result<Accepted<Group>, Problems> {
    let thing: ThingArn = THING.parse().expect("a thing ARN");
    Group::parse(
        &document.to_string(),
        Host { thing_arn: Some(&thing), allow_functions_to_run_as_root, virtual_hosted_s3: true },
    )
}

fn parse(document: &Value) -> Result<Accepted<Group>, Problems> {
    parse_for(document, false)
}

fn accepted(document: &Value) -> Group {
    parse(document).unwrap_or_else(|problems| panic!("refused:\n{problems}")).document
}

fn errors(document: &Value) -> Vec<Problem> {
    parse(document).expect_err("the document is to be refused").errors().cloned().collect()
}

/// Asserts that the document is refused for one reason, and gives the path and the rule.
fn one_error(document: &Value) -> (String, String) {
    let found = errors(document);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(!found[0].hint.is_empty());
    (found[0].path.clone(), found[0].rule.clone())
}

/// A group with a core and `parts` beside it.
fn group(parts: Value) -> Value {
    let mut document = json!({"CoreDefinitionVersion": {"Cores": [
        {"Id": "core", "ThingArn": THING, "CertificateArn": "arn:aws:iot:us-west-2:123456789012:cert/0a", "SyncShadow": true}
    ]}});
    for (key, value) in parts.as_object().expect("parts are an object") {
        document[key] = value.clone();
    }
    document
}

fn with_resources(resources: Value) -> Value {
    group(json!({"ResourceDefinitionVersion": {"Resources": resources}}))
}

fn volume(id: &str, source: &str, destination: &str) -> Value {
    json!({"Id": id, "Name": id, "ResourceDataContainer": {"LocalVolumeResourceData": {
        "SourcePath": source, "DestinationPath": destination, "GroupOwnerSetting": {"AutoAddGroupOwner": true, "GroupOwner": ""}
    }}})
}

fn device(id: &str, source: &str) -> Value {
    json!({"Id": id, "Name": id, "ResourceDataContainer": {"LocalDeviceResourceData": {
        "SourcePath": source, "GroupOwnerSetting": {"AutoAddGroupOwner": false, "GroupOwner": "video"}
    }}})
}

fn model(id: &str, destination: &str, owner: Option<Value>) -> Value {
    let mut data = json!({"DestinationPath": destination, "S3Uri": "s3://greengrass-models/model.zip"});
    if let Some(owner) = owner {
        data["OwnerSetting"] = owner;
    }
    json!({"Id": id, "Name": id, "ResourceDataContainer": {"S3MachineLearningModelResourceData": data}})
}

fn owned(id: &str, destination: &str, permission: &str) -> Value {
    model(id, destination, Some(json!({"GroupOwner": "1001", "GroupPermission": permission})))
}

/// A function in a container with `policies`.
fn contained(policies: Value) -> Value {
    json!({"Id": "f", "FunctionArn": FUNCTION, "FunctionConfiguration": {
        "MemorySize": 16384, "Timeout": 3, "Environment": {"ResourceAccessPolicies": policies}
    }})
}

/// A function without a container with `policies`.
fn uncontained(policies: Value) -> Value {
    json!({"Id": "f", "FunctionArn": FUNCTION, "FunctionConfiguration": {
        "Timeout": 3,
        "Environment": {"ResourceAccessPolicies": policies, "Execution": {"IsolationMode": "NoContainer"}}
    }})
}

fn with_function(function: Value, resources: Value) -> Value {
    group(json!({
        "FunctionDefinitionVersion": {"Functions": [function]},
        "ResourceDefinitionVersion": {"Resources": resources}
    }))
}

#[test]
fn every_problem_is_found_in_one_reading_with_its_place() {
    let document = json!({
        "CoreDefinitionVersion": {"Cores": []},
        "ResourceDefinitionVersion": {"Resources": [
            device("a", "/dev/a"), device("b", "/dev/b"), volume("c", "/var/run", "/proc"), {"Id": 5}
        ]},
        "FunctionDefinitionVersion": {"Functions": [contained(json!([{"ResourceId": "zzz", "Permission": "rx"}]))]},
        "ConnectorDefinitionVersion": {"Connectors": [{"Id": "x", "ConnectorArn": "x", "Parameters": {"a": []}}]},
        "SubscriptionDefinitionVersion": {"Subscriptions": [{"Id": "x"}]},
        "LoggerDefinitionVersion": {"Loggers": [{"Id": "x", "Type": "Syslog"}]}
    });
    let found = errors(&document);
    let paths: Vec<&str> = found.iter().map(|problem| problem.path.as_str()).collect();
    for path in [
        "CoreDefinitionVersion.Cores",
        "ResourceDefinitionVersion.Resources[2].ResourceDataContainer.LocalVolumeResourceData.SourcePath",
        "ResourceDefinitionVersion.Resources[2].ResourceDataContainer.LocalVolumeResourceData.DestinationPath",
        "ResourceDefinitionVersion.Resources[3].Id",
        "ResourceDefinitionVersion.Resources[3].Name",
        "ResourceDefinitionVersion.Resources[3].ResourceDataContainer",
        "FunctionDefinitionVersion.Functions[0].FunctionConfiguration.Environment.ResourceAccessPolicies[0].Permission",
        "ConnectorDefinitionVersion.Connectors[0].ConnectorArn",
        "ConnectorDefinitionVersion.Connectors[0].Parameters.a",
        "SubscriptionDefinitionVersion.Subscriptions[0].Source",
        "SubscriptionDefinitionVersion.Subscriptions[0].Target",
        "SubscriptionDefinitionVersion.Subscriptions[0].Subject",
        "LoggerDefinitionVersion.Loggers[0].Type",
        "LoggerDefinitionVersion.Loggers[0].Component",
        "LoggerDefinitionVersion.Loggers[0].Level",
    ] {
        assert!(paths.contains(&path), "{path} is not in {paths:#?}");
    }
}

#[test]
fn a_function_that_is_refused_for_its_name_is_read_to_its_end() {
    let mut function = contained(json!([{"Permission": "ro"}, {"ResourceId": "a b", "Permission": "ro"}]));
    function["Id"] = json!("a b");
    function["FunctionArn"] = json!("f");
    function["FunctionConfiguration"]["MemorySize"] = Value::Null;
    let problems = parse(&with_function(function, json!([]))).expect_err("it is refused");
    assert_eq!(problems.errors().count(), 5, "{problems}");
    assert_eq!(problems.warnings().count(), 0, "{problems}");
}

#[test]
fn what_is_no_json_object_is_refused() {
    for text in ["", "[]", "null", "{", "\u{0}"] {
        let host = Host { thing_arn: None, allow_functions_to_run_as_root: false, virtual_hosted_s3: true };
        assert!(Group::parse(text, host).expect_err("it is refused").refuse(), "{text:?}");
    }
}

#[test]
fn a_document_too_large_or_nested_without_end_is_refused() {
    let host = Host { thing_arn: None, allow_functions_to_run_as_root: false, virtual_hosted_s3: true };
    let large = Group::parse(&" ".repeat(SIZE_LIMIT + 1), host).expect_err("it is too large");
    assert!(large.to_string().contains("is read up to 1048576 bytes"), "{large}");
    for (open, close) in [("[", "]"), ("{\"Group\":", "}")] {
        let text = format!("{}1{}", open.repeat(50_000), close.repeat(50_000));
        let nested = Group::parse(&text, host).expect_err("it is nested without end");
        assert!(nested.to_string().contains("recursion limit"), "{nested}");
    }
}

/// A document with every part, for overwriting.
fn full() -> Value {
    group(json!({
        "Group": {"Id": "g", "Name": "g"},
        "DeviceDefinitionVersion": {"Devices": [{"Id": "d", "ThingArn": format!("{THING}-d")}]},
        "ResourceDefinitionVersion": {"Resources": [
            volume("v", "/src", "/dest"), device("d", "/dev/video0"), owned("m", "/m", "rw")
        ]},
        "FunctionDefinitionVersion": {"Functions": [
            contained(json!([{"ResourceId": "v", "Permission": "rw"}, {"ResourceId": "m"}]))
        ]},
        "ConnectorDefinitionVersion": {"Connectors": [{"Id": "c", "ConnectorArn": CONNECTOR, "Parameters": {"a": "b"}}]},
        "SubscriptionDefinitionVersion": {"Subscriptions": [{"Id": "s", "Source": FUNCTION, "Subject": "a/#", "Target": CONNECTOR}]},
        "LoggerDefinitionVersion": {"Loggers": [{"Id": "l", "Type": "FileSystem", "Component": "Lambda", "Level": "INFO"}]}
    }))
}

/// The pointers of every value in `document`.
fn pointers(document: &Value) -> Vec<String> {
    let below = |(key, value): (String, &Value)| {
        let rest = pointers(value).into_iter().map(|rest| format!("/{key}{rest}")).collect::<Vec<_>>();
        [vec![format!("/{key}")], rest].concat()
    };
    match document {
        Value::Object(entries) => entries.iter().map(|(key, value)| (key.clone(), value)).flat_map(below).collect(),
        Value::Array(items) => {
            items.iter().enumerate().map(|(n, item)| (n.to_string(), item)).flat_map(below).collect()
        }
        _ => Vec::new(),
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        "/[a-z./]{0,12}|(ro|rw|cloud|0|NoContainer)".prop_map(Value::from),
        "(arn:aws:(iot|lambda|greengrass):[a-z0-9:/-]{0,30})|s3://[a-z./]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z]{1,8}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_accepted_or_refused_with_a_problem(document in any_json()) {
        if let Err(problems) = parse(&document) {
            prop_assert!(problems.refuse());
        }
    }

    #[test]
    fn any_value_anywhere_is_accepted_or_refused_with_a_problem(place in any::<prop::sample::Index>(), value in any_json()) {
        let mut document = full();
        let places = pointers(&document);
        *document.pointer_mut(place.get::<String>(&places)).expect("a place in the document") = value;
        if let Err(problems) = parse(&document) {
            prop_assert!(problems.refuse() && problems.iter().all(|problem| !problem.hint.is_empty()));
        }
    }
}

#[test]
fn the_document_for_overwriting_is_accepted_itself() {
    accepted(&full());
}

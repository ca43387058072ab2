//! The parameters of V1's machine learning connectors, by their patterns in the guide (B-30, B-32).

use serde_json::{Value, json};

use super::*;
use crate::feedback::Strategy;
use crate::group::Host;
use crate::problem::Problem;

const PARAMETERS: &str = "ConnectorDefinitionVersion.Connectors[0].Parameters";
const JOB: &str = "arn:aws:sagemaker:us-west-2:123456789012:training-job/MyImageClassifier";

fn arn(name: &str, version: u32) -> String {
    format!("arn:aws:greengrass:us-west-2::/connectors/{name}/versions/{version}")
}

/// The guide's own example (B-30).
fn service() -> Value {
    json!({
        "MLModelDestinationPath": "/path-to-model", "MLModelResourceId": "my-ml-resource",
        "MLModelSageMakerJobArn": "arn:aws:sagemaker:us-west-2:123456789012:training-job:MyImageClassifier",
        "LocalInferenceServiceName": "imageClassification", "LocalInferenceServiceTimeoutSeconds": "10",
        "LocalInferenceServiceMemoryLimitKB": "500000",
    })
}

/// The guide's own example (B-32).
fn feedback() -> Value {
    let strategy = |name: &str, threshold: f64| json!({ "strategy-name": name, "threshold": threshold });
    let map = json!({
        "ConfigID1": { "s3-bucket-name": "my-aws-bucket-random-sampling", "content-type": "image/png", "file-ext": "png",
            "sampling-strategy": { "strategy-name": "RANDOM_SAMPLING", "rate": 0.5 } },
        "ConfigID2": { "s3-bucket-name": "my-aws-bucket-margin-sampling", "content-type": "image/png", "file-ext": "png",
            "sampling-strategy": strategy("MARGIN", 0.4) },
        "ConfigID3": { "s3-bucket-name": "my-aws-bucket-least-confidence-sampling", "content-type": "image/png",
            "file-ext": "png", "sampling-strategy": strategy("LEAST_CONFIDENCE", 0.4) },
        "ConfigID4": { "s3-bucket-name": "my-aws-bucket-entropy-sampling", "content-type": "image/png",
            "file-ext": "png", "sampling-strategy": strategy("ENTROPY", 2.0) },
        "ConfigID5": { "s3-bucket-name": "my-aws-bucket-no-sampling", "s3-prefix": "DeviceA",
            "content-type": "application/json" },
    });
    json!({ "FeedbackConfigurationMap": map.to_string(), "RequestLimit": "10" })
}

fn with(mut parameters: Value, key: &str, value: Value) -> Value {
    parameters[key] = value;
    parameters
}

/// A group with these connectors, each a name, a version and parameters.
fn read_all(connectors: &[(&str, u32, Value)], isolation: &str) -> Result<Accepted<Connectors>, Problems> {
    let entries: Vec<Value> = connectors
        .iter()
        .enumerate()
        .map(|(number, (name, version, parameters))| {
            json!({ "Id": format!("c{number}"), "ConnectorArn": arn(name, *version), "Parameters": parameters })
        })
        .collect();
    let routes: Vec<Value> = connectors
        .iter()
        .filter(|(name, ..)| *name == ml_feedback::NAME)
        .map(|(name, version, _)| {
            json!({ "Id": "s", "Source": arn(name, *version), "Subject": "feedback/message/#", "Target": "cloud" })
        })
        .collect();
    let document = json!({
        "CoreDefinitionVersion": {"Cores": [{"Id": "core", "ThingArn": "arn:aws:iot:us-west-2:123456789012:thing/core-1"}]},
        "FunctionDefinitionVersion": {"DefaultConfig": {"Execution": {"IsolationMode": isolation, "RunAs": {"Uid": 990, "Gid": 0}}}},
        "ResourceDefinitionVersion": {"Resources": [
            {"Id": "my-ml-resource", "Name": "m", "ResourceDataContainer": {"SageMakerMachineLearningModelResourceData": {
                "SageMakerJobArn": JOB, "DestinationPath": "/path-to-model"}}},
            {"Id": "packed", "Name": "p", "ResourceDataContainer": {"S3MachineLearningModelResourceData": {
                "S3Uri": "s3://models/packed.tar.gz", "DestinationPath": "/packed"}}},
            {"Id": "folder", "Name": "f", "ResourceDataContainer": {"LocalVolumeResourceData": {
                "SourcePath": "/srv/frames", "DestinationPath": "/frames"}}}
        ]},
        "ConnectorDefinitionVersion": {"Connectors": entries},
        "SubscriptionDefinitionVersion": {"Subscriptions": routes}
    });
    let host = Host { thing_arn: None, allow_functions_to_run_as_root: false, virtual_hosted_s3: true };
    let group = Group::parse(&document.to_string(), host).unwrap_or_else(|problems| panic!("refused:\n{problems}"));
    read(&group.document)
}

fn read_one(name: &str, version: u32, parameters: Value) -> Result<Accepted<Connectors>, Problems> {
    read_all(&[(name, version, parameters)], "GreengrassContainer")
}

#[track_caller]
fn one_error(name: &str, version: u32, parameters: Value) -> Problem {
    let problems = read_one(name, version, parameters).expect_err("it is to be refused");
    let found: Vec<Problem> = problems.errors().cloned().collect();
    assert_eq!(found.len(), 1, "{problems}");
    found[0].clone()
}

#[test]
fn the_guides_classification_service_is_read_in_every_flavour_and_version_b_30() {
    for name in image_classification::NAMES {
        for version in [1, 2] {
            let parameters = match name {
                "ImageClassificationAarch64JTX2" => with(service(), "GPUAcceleration", json!("CPU")),
                _ => service(),
            };
            let accepted = read_one(name, version, parameters).unwrap_or_else(|problems| panic!("{name}: {problems}"));
            assert!(accepted.warnings.is_empty(), "{name} {version}: {}", accepted.warnings);
            let found = &accepted.document.services[0];
            assert_eq!((found.service.as_str(), found.timeout_seconds), ("imageClassification", 10));
            assert_eq!((found.memory_limit.bytes(), found.feedback.as_deref()), (500_000 * 1024, None));
            assert_eq!(found.model_resource.as_str(), "my-ml-resource");
            let settings = found.settings();
            assert_eq!(settings.destination.to_str(), Some("/path-to-model"));
            assert_eq!(settings.identity.uid, 990);
            assert_ne!(settings.identity.gid, 0, "never root's group");
        }
    }
    let another = one_error("ImageClassificationARMv7", 3, service());
    assert!(another.rule.contains("versions 1 and 2"), "{another}");
}

#[test]
fn version_1s_misprinted_resource_id_is_understood_b_30() {
    let mut parameters = service();
    let id = parameters.as_object_mut().expect("an object").remove("MLModelResourceId").expect("it is there");
    let misprinted = with(parameters.clone(), "MLModelErrorId", id);
    assert!(read_one("ImageClassificationx86-64", 1, misprinted.clone()).is_ok());
    assert_eq!(one_error("ImageClassificationx86-64", 2, misprinted).path, format!("{PARAMETERS}.MLModelResourceId"));
    // The guide's examples write numbers without quotes now and then (contract A1).
    assert!(
        read_one("ImageClassificationx86-64", 2, with(service(), "LocalInferenceServiceTimeoutSeconds", json!(5)))
            .is_ok()
    );
}

#[test]
fn what_breaks_a_pattern_of_the_classification_service_is_refused_by_field_value_and_rule_b_30() {
    for (key, value, rule) in [
        ("MLModelDestinationPath", "", "is not the resource's DestinationPath, /path-to-model"),
        ("MLModelDestinationPath", "/elsewhere", "is not the resource's DestinationPath, /path-to-model"),
        ("MLModelResourceId", "absent", "names no resource of this group"),
        ("MLModelResourceId", "folder", "is a resource of type Local.Volume"),
        ("MLModelSageMakerJobArn", "training-job/x", "training-job/NAME"),
        ("MLModelSageMakerJobArn", "arn:aws:sagemaker:us-west-2:123456789012:training-job/another", "SageMakerJobArn"),
        ("LocalInferenceServiceName", "x", "2 to 63 letters"),
        ("LocalInferenceServiceName", "-name", "2 to 63 letters"),
        ("LocalInferenceServiceName", "my service", "2 to 63 letters"),
        ("LocalInferenceServiceTimeoutSeconds", "0", "[1-9][0-9]*"),
        ("LocalInferenceServiceTimeoutSeconds", "010", "[1-9][0-9]*"),
        ("LocalInferenceServiceTimeoutSeconds", "1.5", "[1-9][0-9]*"),
        ("LocalInferenceServiceTimeoutSeconds", "99999999999999", "[1-9][0-9]*"),
        ("LocalInferenceServiceMemoryLimitKB", "-1", "[1-9][0-9]*"),
        ("MLFeedbackConnectorConfigId", "x", "^[a-zA-Z0-9]"),
        ("MLFeedbackConnectorConfigId", "MyConfig0", "needs the connector MLFeedback"),
    ] {
        let refused = one_error("ImageClassificationx86-64", 2, with(service(), key, json!(value)));
        assert_eq!(refused.path, format!("{PARAMETERS}.{key}"), "{refused}");
        assert!(refused.rule.contains(rule), "{refused}");
        // Long values are shown shortened.
        let beginning: String = value.chars().take(20).collect();
        assert!(refused.value.is_some_and(|shown| shown.contains(&beginning)), "{key}");
    }
    for key in [
        "MLModelDestinationPath",
        "MLModelResourceId",
        "MLModelSageMakerJobArn",
        "LocalInferenceServiceName",
        "LocalInferenceServiceTimeoutSeconds",
        "LocalInferenceServiceMemoryLimitKB",
    ] {
        let mut parameters = service();
        parameters.as_object_mut().expect("an object").remove(key);
        let refused = one_error("ImageClassificationx86-64", 2, parameters);
        assert_eq!((refused.path, refused.rule.as_str()), (format!("{PARAMETERS}.{key}"), "is required"));
    }
}

#[test]
fn the_jetsons_connector_asks_for_its_processor_and_a_small_limit_is_noted_b_30() {
    let jetson = "ImageClassificationAarch64JTX2";
    assert_eq!(one_error(jetson, 2, service()).rule, "is required");
    assert!(one_error(jetson, 2, with(service(), "GPUAcceleration", json!("TPU"))).rule.contains("CPU, GPU"));
    let gpu = read_one(jetson, 2, with(service(), "GPUAcceleration", json!("GPU"))).expect("accepted").warnings;
    assert!(gpu.to_string().contains("margay model tune"), "{gpu}");
    let elsewhere = read_one("ImageClassificationARMv7", 2, with(service(), "GPUAcceleration", json!("GPU")));
    assert!(elsewhere.expect("accepted").warnings.to_string().contains("is not a key"));
    let small = with(service(), "LocalInferenceServiceMemoryLimitKB", json!("1"));
    assert!(
        read_one("ImageClassificationARMv7", 2, small).expect("accepted").warnings.to_string().contains("is little")
    );
}

#[test]
fn a_service_names_a_feedback_configuration_of_the_group_and_no_other_service_b_30() {
    let named = |id: &str| with(service(), "MLFeedbackConnectorConfigId", json!(id));
    let both = |service: Value, version| {
        let connectors = [("MLFeedback", 1, feedback()), ("ImageClassificationx86-64", version, service)];
        read_all(&connectors, "GreengrassContainer")
    };
    let accepted = both(named("ConfigID3"), 2).expect("accepted");
    assert!(accepted.warnings.is_empty(), "{}", accepted.warnings);
    assert_eq!(accepted.document.services[0].feedback.as_deref(), Some("ConfigID3"));
    let refused = both(named("ConfigID9"), 2).expect_err("no such configuration").to_string();
    assert!(refused.contains("is no feedback configuration of the group's MLFeedback connector"), "{refused}");
    let old = both(named("ConfigID3"), 1).expect("accepted");
    assert!(old.document.services[0].feedback.is_none() && old.warnings.to_string().contains("version 2"));

    let packed =
        with(with(service(), "MLModelResourceId", json!("packed")), "MLModelDestinationPath", json!("/packed"));
    let twice = [("ImageClassificationx86-64", 2, service()), ("ImageClassificationARMv7", 2, packed.clone())];
    let refused = read_all(&twice, "GreengrassContainer").expect_err("one name").to_string();
    assert!(refused.contains("is the name of another connector's service"), "{refused}");
    let two =
        [twice[0].clone(), ("ImageClassificationARMv7", 2, with(packed, "LocalInferenceServiceName", json!("second")))];
    assert_eq!(read_all(&two, "GreengrassContainer").expect("accepted").document.services.len(), 2);
}

#[test]
fn the_guides_feedback_configurations_are_read_b_32() {
    let accepted = read_one("MLFeedback", 1, feedback()).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(accepted.warnings.is_empty(), "{}", accepted.warnings);
    let settings = accepted.document.feedback.expect("a feedback connector");
    assert_eq!((settings.limit(), settings.configurations.len()), (10, 5));
    let strategy = |id: &str| settings.configurations[id].strategy;
    assert_eq!(strategy("ConfigID1"), Some(Strategy::Random { rate: 0.5 }));
    assert_eq!(strategy("ConfigID2"), Some(Strategy::Margin { threshold: 0.4 }));
    assert_eq!(strategy("ConfigID3"), Some(Strategy::LeastConfidence { threshold: 0.4 }));
    assert_eq!(strategy("ConfigID4"), Some(Strategy::Entropy { threshold: 2.0 }));
    assert_eq!(strategy("ConfigID5"), None);
    assert_eq!(settings.configurations["ConfigID5"].object("U").expect("a key").key(), "DeviceA/U");
    for (limit, expected) in [("", 999), ("0", 999), ("7", 7), ("999", 999)] {
        let accepted = read_one("MLFeedback", 1, with(feedback(), "RequestLimit", json!(limit))).expect("accepted");
        assert_eq!(accepted.document.feedback.expect("it is there").limit(), expected, "{limit:?}");
    }
}

/// A map with one configuration, changed by `change`.
fn one_configuration(change: impl FnOnce(&mut Value)) -> Value {
    let mut body = json!({ "s3-bucket-name": "My_Bucket.1", "content-type": "image/jpeg", "file-ext": "jpg",
        "sampling-strategy": "{\"strategy-name\": \"MARGIN\", \"threshold\": 0.5}" });
    change(&mut body);
    with(feedback(), "FeedbackConfigurationMap", json!(json!({ "MyConfig0": body }).to_string()))
}

#[test]
fn a_strategy_may_be_a_string_as_the_guide_says_or_an_object_as_it_shows_b_32() {
    let accepted = read_one("MLFeedback", 1, one_configuration(|_| {})).unwrap_or_else(|problems| panic!("{problems}"));
    let settings = accepted.document.feedback.expect("it is there");
    assert_eq!(settings.configurations["MyConfig0"].strategy, Some(Strategy::Margin { threshold: 0.5 }));
}

#[test]
fn what_breaks_a_rule_of_the_feedback_connector_is_refused_by_field_value_and_rule_b_32() {
    type Change = fn(&mut Value);
    let cases: [(&str, &str, Change); 15] = [
        (".s3-bucket-name", "{3,63}", |body| body["s3-bucket-name"] = json!("a/b")),
        (".s3-bucket-name", "{3,63}", |body| body["s3-bucket-name"] = json!("ab")),
        (".s3-bucket-name", "is required", |body| drop(body.as_object_mut().unwrap().remove("s3-bucket-name"))),
        (".content-type", "is no content type", |body| body["content-type"] = json!("jpeg")),
        (".content-type", "is required", |body| drop(body.as_object_mut().unwrap().remove("content-type"))),
        (".s3-prefix", "makes no key", |body| body["s3-prefix"] = json!("a/../b")),
        (".s3-prefix", "makes no key", |body| body["s3-prefix"] = json!("x".repeat(1000))),
        (".file-ext", "is no file extension", |body| body["file-ext"] = json!("j/pg")),
        (".sampling-strategy", "is no JSON object", |body| body["sampling-strategy"] = json!("MARGIN")),
        (".sampling-strategy", "is no object", |body| body["sampling-strategy"] = json!(7)),
        (".sampling-strategy.strategy-name", "is one of RANDOM_SAMPLING", |body| {
            body["sampling-strategy"] = json!({ "strategy-name": "BEST" });
        }),
        (".sampling-strategy.rate", "is required", |body| {
            body["sampling-strategy"] = json!({ "strategy-name": "RANDOM_SAMPLING", "threshold": 0.5 });
        }),
        (".sampling-strategy.rate", "from 0.0 to 1.0", |body| {
            body["sampling-strategy"] = json!({ "strategy-name": "RANDOM_SAMPLING", "rate": 1.5 });
        }),
        (".sampling-strategy.threshold", "from 0.0 to 1.0", |body| {
            body["sampling-strategy"] = json!({ "strategy-name": "LEAST_CONFIDENCE", "threshold": -0.1 });
        }),
        (".sampling-strategy.threshold", "at least 0.0", |body| {
            body["sampling-strategy"] = json!({ "strategy-name": "ENTROPY", "threshold": -1 });
        }),
    ];
    for (path, rule, change) in cases {
        let refused = one_error("MLFeedback", 1, one_configuration(change));
        assert_eq!(refused.path, format!("{PARAMETERS}.FeedbackConfigurationMap.MyConfig0{path}"), "{refused}");
        assert!(refused.rule.contains(rule), "{refused}");
    }
    let map = |text: &str| one_error("MLFeedback", 1, with(feedback(), "FeedbackConfigurationMap", json!(text)));
    let body = "{\"s3-bucket-name\":\"bucket\",\"content-type\":\"image/png\"}";
    for (text, rule) in [
        ("{", "is no JSON object"),
        ("[]", "is no JSON object"),
        ("{} {}", "is no JSON object"),
        ("{}", "has 0 feedback configurations"),
        (format!("{{\"x\":{body}}}").as_str(), "is no id: 2 to 63"),
        ("{\"MyConfig0\":7}", "is no object"),
        (format!("{{\"MyConfig0\":{body},\"MyConfig0\":{body}}}").as_str(), "is there twice"),
    ] {
        let refused = map(text);
        assert!(refused.rule.contains(rule), "{text}: {refused}");
    }
    for limit in ["1000", "-1", "1.0", "ten"] {
        let refused = one_error("MLFeedback", 1, with(feedback(), "RequestLimit", json!(limit)));
        assert!(refused.rule.contains("^$|^[0-9]{1,3}$"), "{refused}");
    }
    assert!(one_error("MLFeedback", 2, feedback()).rule.contains("which has version 1"));
    let mismatched = one_configuration(|body| body["file-ext"] = json!("png"));
    assert!(
        read_one("MLFeedback", 1, mismatched).expect("accepted").warnings.to_string().contains("no usual extension")
    );
}

#[test]
fn machine_learning_connectors_need_a_container_b_29() {
    for connector in [("MLFeedback", 1, feedback()), ("ImageClassificationARMv7", 2, service())] {
        let refused = read_all(&[connector], "NoContainer").expect_err("contract A1").to_string();
        assert!(refused.contains("default isolation is NoContainer"), "{refused}");
    }
}

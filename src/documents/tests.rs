//! The shipped examples, the rules between the two documents, and reading them from files.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;

const ROOT: &str = "/greengrass";
const CONFIG: &str = include_str!("../../deploy/examples/config.json");
const SELF_HOSTED: &str = include_str!("../../deploy/examples/config-self-hosted.json");
const GROUP: &str = include_str!("../../deploy/examples/group.json");
const TEST_PATTERN: &str = include_str!("../../deploy/examples/group-test-pattern.json");

#[test]
fn every_shipped_example_is_accepted_without_a_warning() {
    for config in [CONFIG, SELF_HOSTED] {
        for group in [GROUP, TEST_PATTERN] {
            let report = check(config, Path::new(ROOT), group);
            assert!(report.problems.is_empty(), "{}", report.problems);
            assert_eq!(report.deployable.expect("it is deployable").image_classifiers.len(), 1);
        }
    }
}

#[test]
fn models_in_s3_need_a_credentials_provider() {
    let mut config: serde_json::Value = serde_json::from_str(CONFIG).expect("the example");
    config["margay"] = serde_json::json!({});
    let report = check(&config.to_string(), Path::new(ROOT), GROUP);
    let problem = report.problems.errors().next().expect("it is refused");
    assert_eq!((problem.path.as_str(), problem.document), ("margay.credentials", Document::Config));
    assert!(report.deployable.is_none());
    assert!(check(&config.to_string(), Path::new(ROOT), "{}").deployable.is_some(), "nothing is to be fetched");
}

#[test]
fn the_problems_of_both_documents_and_of_connectors_come_together() {
    let config = CONFIG.replace("600", "5");
    let group = GROUP.replace("/srv/frames/gate", "/sys/frames").replace("\"TopK\": \"5\"", "\"TopK\": \"0\"");
    let report = check(&config, Path::new(ROOT), &group);
    let paths: Vec<&str> = report.problems.errors().map(|problem| problem.path.as_str()).collect();
    assert!(paths.contains(&"coreThing.keepAlive"), "{paths:?}");
    assert!(paths.iter().any(|path| path.ends_with("LocalVolumeResourceData.SourcePath")), "{paths:?}");
    let group = GROUP
        .replace("\"TopK\": \"5\"", "\"TopK\": \"0\"")
        .replace("\"gate-frames\",\n          \"CameraName\"", "\"none\",\n          \"CameraName\"");
    let report = check(CONFIG, Path::new(ROOT), &group);
    assert_eq!(report.problems.errors().count(), 2, "{}", report.problems);
}

#[test]
fn more_subjects_than_a_connection_has_room_for_are_warned_about() {
    let with = |count: usize, jobs: bool| {
        let mut config: serde_json::Value = serde_json::from_str(CONFIG).expect("the example");
        config["margay"]["jobs"] = serde_json::json!({ "enabled": jobs });
        let mut group: serde_json::Value = serde_json::from_str(GROUP).expect("the example");
        group["ConnectorDefinitionVersion"]["Connectors"][0]["Parameters"]["TriggerTopic"] = "in/0".into();
        let connector = group["ConnectorDefinitionVersion"]["Connectors"][0]["ConnectorArn"].clone();
        let subscriptions = group["SubscriptionDefinitionVersion"]["Subscriptions"].as_array_mut().expect("a list");
        subscriptions.extend((0..count).map(|number| {
            serde_json::json!({ "Id": format!("in-{number}"), "Source": "cloud", "Target": connector,
                "Subject": format!("in/{number}") })
        }));
        let report = check(&config.to_string(), Path::new(ROOT), &group.to_string());
        assert!(report.deployable.is_some(), "{}", report.problems);
        report.problems.to_string()
    };
    assert_eq!((with(45, true).as_str(), with(50, false).as_str()), ("", ""));
    let warning = with(46, true);
    assert!(warning.contains("has 46 subjects") && warning.contains("room for 45"), "{warning}");
}

#[test]
fn a_group_of_another_core_is_refused() {
    let report = check(&CONFIG.replace("thing/gate-camera", "thing/other"), Path::new(ROOT), GROUP);
    assert!(report.problems.to_string().contains("is not this core"), "{}", report.problems);
}

#[test]
fn the_files_are_found_from_the_configuration_or_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let config = root.join("config/config.json");
    let group = root.join("ggc/deployment/group/group.json");
    for (path, text) in [(&config, CONFIG), (&group, GROUP)] {
        fs::create_dir_all(path.parent().expect("a folder")).expect("the folder is made");
        fs::write(path, text).expect("the file is written");
    }
    let report = load(&config, None).expect("both are read");
    assert!(report.config.is_some() && report.deployable.is_some(), "{}", report.problems);

    fs::write(&group, "{").expect("the file is written");
    let report = load(&config, None).expect("both are read");
    assert!(report.deployable.is_none() && report.problems.refuse());
    assert!(matches!(load_group(&group, None), Err(LoadError::Refused { .. })));

    let absent = load(&config, Some(&root.join("absent.json"))).expect_err("there is no such file");
    assert!(matches!(absent, LoadError::Read { document: Document::Group, .. }), "{absent:?}");

    fs::write(&config, "{").expect("the file is written");
    let report = load(&config, None).expect("the configuration is read");
    assert!(report.config.is_none() && report.deployable.is_none() && report.problems.refuse());
}

/// Every key in `value`, at any depth.
fn keys(value: &serde_json::Value) -> Vec<String> {
    match value {
        serde_json::Value::Object(entries) => {
            entries.iter().flat_map(|(key, value)| [vec![key.clone()], keys(value)].concat()).collect()
        }
        serde_json::Value::Array(items) => items.iter().flat_map(keys).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn the_reference_documents_name_every_key() {
    let effective = |text: &str| Config::parse(text, Path::new(ROOT)).expect("an example").document.effective();
    let configuration = include_str!("../../docs/configuration.md");
    for key in [CONFIG, SELF_HOSTED].into_iter().flat_map(|text| keys(&effective(text))) {
        assert!(configuration.contains(&key), "docs/configuration.md does not name {key}");
    }
    let groups = include_str!("../../docs/group-documents.md");
    for text in [GROUP, TEST_PATTERN] {
        for key in keys(&serde_json::from_str(text).expect("an example")) {
            assert!(groups.contains(&key), "docs/group-documents.md does not name {key}");
        }
    }
}

proptest! {
    #[test]
    fn a_damaged_example_is_accepted_or_refused_with_a_problem(at in any::<prop::sample::Index>(), byte in "[ -~]") {
        let damaged = |text: &str| {
            let at = at.index(text.len());
            format!("{}{byte}{}", &text[..at], &text[at + 1..])
        };
        let report = check(&damaged(CONFIG), Path::new(ROOT), &damaged(GROUP));
        let accepted = report.config.is_some() && report.deployable.is_some();
        prop_assert_eq!(accepted, !report.problems.refuse());
    }
}

//!

use super::*;

#[test]
fn the_empty_document_deploys_nothing_and_is_accepted_as_the_guide_recovers_g1() {
    let accepted = parse(&json!({})).expect("the empty document");
    assert_eq!(accepted.document.core, None);
    assert_eq!(accepted.warnings.iter().count(), 1);
}

#[test]
fn a_group_has_exactly_one_core_and_it_is_this_one() {
    let none = one_error(&json!({"Group": {"Name": "g"}}));
    assert_eq!(none, ("CoreDefinitionVersion".to_owned(), "is required".to_owned()));
    let core = json!({"Id": "core", "ThingArn": THING});
    let (path, rule) = one_error(&group(json!({"CoreDefinitionVersion": {"Cores": [core, core]}})));
    assert_eq!(path, "CoreDefinitionVersion.Cores");
    assert_eq!(rule, "has exactly one core, and this one lists 2");
    let (_, rule) = one_error(&group(json!({"CoreDefinitionVersion": {"Cores": 5}})));
    assert_eq!(rule, "is a list");
    let other = json!({"Id": "core", "ThingArn": "arn:aws:iot:us-west-2:123456789012:thing/other"});
    let (path, rule) = one_error(&group(json!({"CoreDefinitionVersion": {"Cores": [other]}})));
    assert_eq!(path, "CoreDefinitionVersion.Cores[0].ThingArn");
    assert!(rule.contains(THING), "{rule}");
}

#[test]
fn a_subscription_names_members_of_the_group() {
    let subscriptions = json!([
        {"Id": "1", "Source": FUNCTION, "Subject": "a", "Target": "cloud"},
        {"Id": "2", "Source": "cloud", "Subject": "a", "Target": CONNECTOR},
        {"Id": "3", "Source": "cloud", "Subject": "a", "Target": THING},
        {"Id": "4", "Source": "cloud", "Subject": "a", "Target": "Cloud"},
        {"Id": "5", "Source": "cloud", "Subject": "a", "Target": "arn:aws:lambda:::function:GGCloudSpooler:1"}
    ]);
    let document = group(json!({"SubscriptionDefinitionVersion": {"Subscriptions": subscriptions}}));
    let found = errors(&document);
    assert_eq!(found.len(), 5, "{found:#?}");
    for problem in found {
        assert_eq!(problem.rule, "All referenced entities must be members of the group", "{problem}");
    }
}

#[test]
fn a_subject_is_a_topic_filter_and_the_cloud_is_not_both_ends() {
    let subscription = |source: &str, subject: &str, target: &str| {
        group(json!({"SubscriptionDefinitionVersion": {"Subscriptions": [
            {"Id": "1", "Source": source, "Subject": subject, "Target": target}]}}))
    };
    accepted(&subscription("cloud", "$aws/things/+/shadow/#", "GGShadowService"));
    for subject in ["", "a/#/b", "a+", &"x".repeat(257)] {
        let (path, _) = one_error(&subscription("cloud", subject, "GGShadowService"));
        assert_eq!(path, "SubscriptionDefinitionVersion.Subscriptions[0].Subject", "{subject}");
    }
    let (path, _) = one_error(&subscription("cloud", "a", "cloud"));
    assert!(path.ends_with("Target"));
}

#[test]
fn at_most_fifty_subscriptions_come_from_the_cloud_a_02() {
    let many = |count: usize| {
        let subscription = |n| json!({"Id": format!("s{n}"), "Source": "cloud", "Subject": format!("t/{n}"), "Target": "GGShadowService"});
        let subscriptions: Vec<Value> = (0..count).map(subscription).collect();
        group(json!({"SubscriptionDefinitionVersion": {"Subscriptions": subscriptions}}))
    };
    accepted(&many(50));
    assert_eq!(one_error(&many(51)).0, "SubscriptionDefinitionVersion.Subscriptions");
}

#[test]
fn ids_are_used_once_and_a_connector_has_one_instance_a1() {
    let (path, _) = one_error(&with_resources(json!([device("a", "/dev/a"), device("a", "/dev/b")])));
    assert_eq!(path, "ResourceDefinitionVersion.Resources[1].Id");
    let connectors = json!([
        {"Id": "1", "ConnectorArn": CONNECTOR},
        {"Id": "2", "ConnectorArn": CONNECTOR.replace("versions/3", "versions/2")}
    ]);
    let (path, rule) = one_error(&group(json!({"ConnectorDefinitionVersion": {"Connectors": connectors}})));
    assert_eq!(path, "ConnectorDefinitionVersion.Connectors[1].ConnectorArn");
    assert!(rule.starts_with("is a second instance of TwilioNotifications"), "{rule}");
}

#[test]
fn a_device_limit_of_200_is_kept() {
    let device = |n: usize| json!({"Id": format!("d{n}"), "ThingArn": format!("{THING}-{n}")});
    let devices: Vec<Value> = (0..201).map(device).collect();
    let (path, _) = one_error(&group(json!({"DeviceDefinitionVersion": {"Devices": devices}})));
    assert_eq!(path, "DeviceDefinitionVersion.Devices");
}

//! The guide's example documents, condensed, their placeholders filled in.

use super::*;

#[test]
fn the_local_resources_example_is_accepted_b_01_b_07() {
    let document = group(json!({
        "ResourceDefinitionVersion": {"Resources": [
            {"Id": "data-volume", "Name": "TestDirectory", "ResourceDataContainer": {"LocalVolumeResourceData": {
                "SourcePath": "/src/LRAtest", "DestinationPath": "/dest/LRAtest",
                "GroupOwnerSetting": {"AutoAddGroupOwner": true, "GroupOwner": ""}}}},
            {"Id": "data-device", "Name": "TestCamera", "ResourceDataContainer": {"LocalDeviceResourceData": {
                "SourcePath": "/dev/video0", "GroupOwnerSetting": {"AutoAddGroupOwner": true, "GroupOwner": ""}}}}
        ]},
        "FunctionDefinitionVersion": {"Functions": [{
            "Id": "greengrassLraTest", "FunctionArn": "arn:aws:lambda:us-west-2:012345678901:function:lraTest:1",
            "FunctionConfiguration": {"Pinned": false, "MemorySize": 16384, "Timeout": 30, "Environment": {
                "ResourceAccessPolicies": [
                    {"ResourceId": "data-volume", "Permission": "rw"}, {"ResourceId": "data-device", "Permission": "ro"}
                ], "AccessSysfs": true}}
        }]}
    }));
    let accepted = parse(&document).expect("the guide's example");
    assert!(!accepted.warnings.to_string().contains("does not"), "{}", accepted.warnings);
    let function = &accepted.document.functions[0];
    assert_eq!(function.memory, Some(ByteSize::from_bytes(16 << 20)), "16384 KB are 16 MB (B-07)");
    assert_eq!(function.attachments.len(), 2);
    assert!(function.access_sysfs && !function.pinned);
}

#[test]
fn the_model_permission_examples_are_accepted_in_every_nesting_b_16() {
    let containerized = json!({"Id": "c", "FunctionArn": FUNCTION, "FunctionConfiguration": {
        "Environment": {"ResourceAccessPolicies": [{"ResourceId": "m", "Permission": "ro"}]},
        "MemorySize": 512, "Pinned": true, "Timeout": 5}});
    accepted(&with_function(containerized, json!([model("m", "/local-destination-path", None)])));

    let non_containerized = json!({"Id": "n", "FunctionArn": FUNCTION, "FunctionConfiguration": {
            "Environment": {"Execution": {"IsolationMode": "NoContainer"}},
            "ResourceAccessPolicies": [{"ResourceId": "m"}]},
        "Pinned": true, "Timeout": 5});
    let group = accepted(&with_function(non_containerized, json!([owned("m", "/local-destination-path", "ro")])));
    assert!(group.functions[0].pinned, "beside FunctionConfiguration");
    assert_eq!(group.functions[0].isolation, IsolationMode::NoContainer);

    let both = json!({"Id": "c", "FunctionArn": FUNCTION, "FunctionConfiguration": {"Environment": {
        "ResourceAccessPolicies": [{"ResourceId": "m", "Permission": "ro"}],
        "MemorySize": 512, "Pinned": true, "Timeout": 5}}});
    let group = accepted(&with_function(both, json!([owned("m", "/local-destination-path", "rw")])));
    assert_eq!(group.functions[0].memory, Some(ByteSize::from_kib(512)), "inside Environment");
}

#[test]
fn the_cloudformation_template_is_accepted_with_its_strings_e7() {
    let document = group(json!({
        "CoreDefinitionVersion": {"Cores": [{"Id": "TestCore1", "SyncShadow": "false", "ThingArn": THING,
            "CertificateArn": "arn:aws:iot:us-west-2:123456789012:cert/0a1b"}]},
        "DeviceDefinitionVersion": {"Devices": [{"Id": "TestDevice1", "SyncShadow": "true",
            "ThingArn": "arn:aws:iot:us-west-2:123456789012:thing/TestDevice1"}]},
        "FunctionDefinitionVersion": {
            "DefaultConfig": {"Execution": {"IsolationMode": "GreengrassContainer"}},
            "Functions": [{"Id": "TestLambda1", "FunctionArn": FUNCTION, "FunctionConfiguration": {
                "Pinned": "true", "Executable": "run.exe", "ExecArgs": "argument1", "MemorySize": "512",
                "Timeout": "2000", "EncodingType": "binary",
                "Environment": {"Variables": {"variable1": "value1"}},
                "ResourceAccessPolicies": [
                    {"ResourceId": "ResourceId1", "Permission": "ro"}, {"ResourceId": "ResourceId2", "Permission": "rw"}
                ],
                "AccessSysfs": "false",
                "Execution": {"IsolationMode": "GreengrassContainer", "RunAs": {"Uid": "1", "Gid": "10"}}
            }}]
        },
        "LoggerDefinitionVersion": {"Loggers": [
            {"Id": "TestLogger1", "Type": "AWSCloudWatch", "Component": "GreengrassSystem", "Level": "INFO"}
        ]},
        "ResourceDefinitionVersion": {"Resources": [
            device("ResourceId1", "/dev/TestSource1"), volume("ResourceId2", "/volume/TestSource2", "/volumes/TestDestination2")
        ]},
        "SubscriptionDefinitionVersion": {"Subscriptions": [{"Id": "TestSubscription1",
            "Source": FUNCTION, "Subject": "TestSubjectUpdated", "Target": FUNCTION}]}
    }));
    let group = accepted(&document);
    let function = &group.functions[0];
    assert_eq!((function.run_as.uid, function.run_as.gid), (Some(1), Some(10)));
    assert_eq!(function.variables["variable1"], "value1");
    assert_eq!(function.encoding, Encoding::Binary);
    assert!(group.devices[0].sync_shadow);
    assert_eq!(group.loggers[0].target, LogTarget::CloudWatch);
}

#[test]
fn the_connector_example_is_accepted_with_its_subscriptions() {
    let document = group(json!({
        "FunctionDefinitionVersion": {"Functions": [contained(json!([]))]},
        "ConnectorDefinitionVersion": {"Connectors": [{"Id": "twilio", "ConnectorArn": CONNECTOR,
            "Parameters": {"TWILIO_ACCOUNT_SID": "x", "PublishInterval": 10}}]},
        "SubscriptionDefinitionVersion": {"Subscriptions": [
            {"Id": "TriggerNotification", "Source": FUNCTION, "Subject": "twilio/txt", "Target": CONNECTOR},
            {"Id": "TemperatureInput", "Source": "cloud", "Subject": "temperature/input", "Target": FUNCTION},
            {"Id": "OutputStatus", "Source": CONNECTOR, "Subject": "twilio/message/status", "Target": "cloud"}
        ]}
    }));
    let group = accepted(&document);
    assert_eq!(group.connectors[0].parameters["PublishInterval"], "10");
    assert_eq!(group.connectors[0].place, "ConnectorDefinitionVersion.Connectors[0]");
    let source = Party::Connector(CONNECTOR.parse().expect("a connector ARN"));
    assert_eq!(group.subscriptions_from(&source).count(), 1);
}

#[test]
fn the_spooler_and_ip_detector_examples_are_accepted_a_18_a_23() {
    let document = group(json!({"FunctionDefinitionVersion": {"Functions": [
        {"FunctionArn": "arn:aws:lambda:::function:GGCloudSpooler:1", "Id": "arbitrary-function-id",
         "FunctionConfiguration": {"Environment": {"Variables": {
            "GG_CONFIG_MAX_SIZE_BYTES": "2621440", "GG_CONFIG_STORAGE_TYPE": "FileSystem",
            "GG_CONFIG_SUBSCRIPTION_QUALITY": "AtLeastOncePersistent"}},
            "Executable": "spooler", "MemorySize": 32768, "Pinned": true, "Timeout": 3}},
        {"FunctionArn": "arn:aws:lambda:::function:GGIPDetector:1", "Id": "arbitrary-function-id-2",
         "FunctionConfiguration": {"Pinned": true, "MemorySize": 32768, "Timeout": 3}}
    ]}}));
    let spooler = accepted(&document).spooler;
    assert_eq!((spooler.storage, spooler.max_size.bytes()), (Storage::FileSystem, 2_621_440));
    assert_eq!(spooler.subscription_quality, SubscriptionQuality::AtLeastOncePersistent);
    assert_eq!(accepted(&group(json!({}))).spooler, Spooler::default(), "left out, the defaults are restored");
}

#[test]
fn loggers_default_to_v1s_e1() {
    let loggers = accepted(&group(json!({}))).loggers;
    let expected =
        |component| Logger { target: LogTarget::FileSystem(ByteSize::from_kib(128)), component, level: LogLevel::Info };
    assert_eq!(loggers, [expected(LogComponent::GreengrassSystem), expected(LogComponent::Lambda)]);
}

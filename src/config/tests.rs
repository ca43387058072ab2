//! The guide's own documents, the rules of A-08 to A-16, and that no document breaks the reader.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::problem::Problem;

const ROOT: &str = "/greengrass";

fn parse(document: &Value) -> Result<Accepted<Config>, Problems> {
    Config::parse(&document.to_string(), Path::new(ROOT))
}

fn accepted(document: &Value) -> Accepted<Config> {
    parse(document).unwrap_or_else(|problems| panic!("refused:\n{problems}"))
}

/// The one problem at `path`.
fn refused_at(document: &Value, path: &str) -> Problem {
    let problems = parse(document).expect_err("the document is to be refused");
    let mut at = problems.errors().filter(|problem| problem.path == path).cloned();
    let found = at.next().unwrap_or_else(|| panic!("nothing at {path}:\n{problems}"));
    assert_eq!(at.next(), None, "one problem at {path}");
    found
}

/// The smallest document that is accepted.
fn minimal() -> Value {
    json!({
        "coreThing": {
            "caPath": "root.ca.pem", "certPath": "hash.cert.pem", "keyPath": "hash.private.key",
            "thingArn": "arn:aws:iot:us-west-2:123456789012:thing/core-1",
            "iotHost": "a1b2-ats.iot.us-west-2.amazonaws.com"
        }
    })
}

/// `minimal` with `value` at the JSON pointer `at`.
fn with(at: &str, value: Value) -> Value {
    let mut document = minimal();
    let mut place = &mut document;
    for key in at.split('.') {
        place = &mut place[key];
    }
    *place = value;
    document
}

/// The file that V1's default group creation writes (L1780-1815), its placeholders filled in.
fn guides_default() -> Value {
    json!({
        "coreThing": {
            "caPath": "root.ca.pem", "certPath": "hash.cert.pem", "keyPath": "hash.private.key",
            "thingArn": "arn:aws:iot:us-west-2:123456789012:thing/core-thing-name",
            "iotHost": "host-prefix-ats.iot.us-west-2.amazonaws.com",
            "ggHost": "greengrass-ats.iot.us-west-2.amazonaws.com",
            "keepAlive": 600
        },
        "runtime": {"maxWorkItemCount": 1024, "cgroup": {"useSystemd": "yes"}},
        "managedRespawn": false,
        "crypto": {
            "principals": {
                "SecretsManager": {"privateKeyPath": "file:///greengrass/certs/hash.private.key"},
                "IoTCertificate": {
                    "privateKeyPath": "file:///greengrass/certs/hash.private.key",
                    "certificatePath": "file:///greengrass/certs/hash.cert.pem"
                }
            },
            "caPath": "file:///greengrass/certs/root.ca.pem"
        }
    })
}

#[test]
fn the_guides_default_file_is_accepted_without_a_warning_a_08() {
    let Accepted { document: config, warnings } = accepted(&guides_default());
    assert!(warnings.is_empty(), "{warnings}");
    assert_eq!(config.core_thing.thing_arn.thing().as_str(), "core-thing-name");
    assert_eq!(config.crypto.private_key_path, Path::new("/greengrass/certs/hash.private.key"));
    assert_eq!(config.crypto.ca_path, Path::new("/greengrass/certs/root.ca.pem"));
    assert_eq!(config.runtime.use_systemd, Some(true));
    assert_eq!(config.credentials, None);
}

#[test]
fn v1_6s_example_without_crypto_is_accepted_with_paths_in_the_certs_folder() {
    let document = json!({
        "coreThing": {
            "caPath": "root-ca-pem", "certPath": "cloud-pem-crt", "keyPath": "cloud-pem-key",
            "thingArn": "arn:aws:iot:us-west-2:123456789012:thing/core-thing-name",
            "iotHost": "host-prefix.iot.us-west-2.amazonaws.com",
            "ggHost": "greengrass.iot.us-west-2.amazonaws.com",
            "keepAlive": 600,
            "mqttMaxConnectionRetryInterval": 45
        },
        "runtime": {"cgroup": {"useSystemd": "no"}},
        "managedRespawn": true,
        "writeDirectory": "/write-directory"
    });
    let Accepted { document: config, warnings } = accepted(&document);
    assert_eq!(config.crypto.certificate_path, Path::new("/greengrass/certs/cloud-pem-crt"));
    assert_eq!(config.mqtt.max_retry_interval, Duration::from_secs(45));
    assert_eq!(config.directories.write, Path::new("/write-directory"));
    assert_eq!(config.directories.group_document, Path::new("/write-directory/deployment/group/group.json"));
    assert!(warnings.to_string().contains("is a legacy endpoint"), "A-12: {warnings}");
}

#[test]
fn the_guides_hsm_example_is_understood_and_its_keys_are_refused_clearly_a_10() {
    let mut document = minimal();
    document["crypto"] = json!({
        "PKCS11": {
            "P11Provider": "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
            "slotLabel": "greengrass", "slotUserPin": "1234"
        },
        "principals": {
            "MQTTServerCertificate": {"privateKeyPath": "pkcs11:object=iotkey;type=private"},
            "SecretsManager": {"privateKeyPath": "pkcs11:object=iotkey;type=private"},
            "IoTCertificate": {
                "certificatePath": "file://certs/core.crt",
                "privateKeyPath": "pkcs11:object=iotkey;type=private"
            }
        },
        "caPath": "file://certs/root.ca.pem"
    });
    let problems = parse(&document).expect_err("the key cannot be used");
    assert_eq!(problems.errors().count(), 1, "{problems}");
    let key = refused_at(&document, "crypto.principals.IoTCertificate.privateKeyPath");
    assert!(key.rule.contains("signs with key files only"), "{key}");
    assert_eq!(problems.warnings().filter(|problem| problem.rule.contains("two slashes")).count(), 2);
    assert!(!problems.to_string().contains("1234"));

    document["crypto"]["principals"]["IoTCertificate"]["privateKeyPath"] = json!("file:///key.pem");
    let config = accepted(&document).document;
    assert_eq!(config.crypto.ca_path, Path::new("/greengrass/certs/root.ca.pem"));
    let pkcs11 = config.crypto.pkcs11.as_ref().expect("the module is kept");
    assert_eq!(pkcs11.slot_user_pin.expose(), "1234");
    assert!(!format!("{pkcs11:?}").contains("1234"));
    assert_eq!(config.effective()["crypto"]["PKCS11"]["slotUserPin"], "<elided>");
}

#[test]
fn defaults_are_v1s() {
    let config = accepted(&minimal()).document;
    assert_eq!(config.core_thing.gg_host.as_str(), "greengrass-ats.iot.us-west-2.amazonaws.com");
    assert_eq!((config.core_thing.iot_http_port, config.core_thing.gg_http_port), (8443, 8443));
    assert_eq!(config.core_thing.gg_mqtt_port, 8883);
    assert_eq!(config.mqtt.port, 8883);
    assert!(!config.mqtt.needs_alpn());
    assert_eq!(config.mqtt.client_id.as_str(), "core-1");
    assert_eq!(config.mqtt.keep_alive, Duration::from_secs(600));
    assert_eq!(config.mqtt.max_retry_interval, Duration::from_secs(60));
    assert_eq!(config.runtime.max_work_item_count, 1024);
    assert_eq!(config.runtime.health_check_timeout, Duration::from_secs(30));
    assert!(!config.runtime.allow_functions_to_run_as_root && !config.managed_respawn);
    assert_eq!(config.directories.write, Path::new("/greengrass/ggc"));
    assert_eq!(config.directories.models(), Path::new("/greengrass/ggc/deployment/mlmodel"));
    assert_eq!(config.s3.region.as_str(), "us-west-2");
    assert_eq!(config.s3.addressing, Addressing::Virtual);
    assert_eq!(config.token_exchange.port, 0);
}

#[test]
fn every_range_of_a_08_is_kept() {
    for (path, value) in [
        ("coreThing.keepAlive", json!(29)),
        ("coreThing.keepAlive", json!("1201")),
        ("coreThing.iotMqttPort", json!(1883)),
        ("coreThing.iotHttpPort", json!(8883)),
        ("coreThing.ggHttpPort", json!(80)),
        ("coreThing.ggMqttPort", json!(1023)),
        ("coreThing.ggMqttPort", json!(65536)),
        ("coreThing.coreClientId", json!("")),
        ("coreThing.coreClientId", json!("x".repeat(129))),
        ("coreThing.iotHost", json!("https://a1-ats.iot.us-west-2.amazonaws.com")),
        ("coreThing.thingArn", json!("arn:partition:iot:region:account-id:thing/core-thing-name")),
        ("runtime.maxWorkItemCount", json!(0)),
        ("runtime.postStartHealthCheckTimeout", json!(-1)),
        ("runtime.cgroup.useSystemd", json!("yes/no")),
        ("runtime.allowFunctionsToRunAsRoot", json!("true")),
        ("mqttMaxConnectionRetryInterval", json!(-60)),
        ("managedRespawn", json!("maybe")),
        ("writeDirectory", json!("relative")),
        ("system.shadowSyncTimeout", json!(0)),
        ("margay.credentials", json!("endpoint")),
        ("margay.credentials.endpoint", json!("https://host")),
        ("margay.credentials.roleAlias", json!("a b")),
        ("margay.s3.endpoint", json!("host:9000")),
        ("margay.s3.endpoint", json!("http://10.0.0.1:9000")),
        ("margay.s3.region", json!("US")),
        ("margay.s3.addressing", json!("auto")),
        ("margay.s3.caPath", json!("file:///")),
        ("margay.mqtt.port", json!(0)),
        ("margay.tokenExchange.port", json!(65536)),
        ("margay.page", json!(8080)),
        ("margay.deployments.healthWindowSeconds", json!(3601)),
        ("margay.page.port", json!(65536)),
        ("margay.statusSocket", json!(format!("/{}", "x".repeat(107)))),
        ("margay.group", json!("")),
    ] {
        let problem = refused_at(&with(path, value), path);
        assert!(problem.value.is_some() && !problem.hint.is_empty(), "{problem}");
    }
}

#[test]
fn values_may_be_strings_where_v1_tolerates_them() {
    let config = accepted(&with("coreThing.keepAlive", json!("30"))).document;
    assert_eq!(config.mqtt.keep_alive, Duration::from_secs(30));
    let config = accepted(&with("managedRespawn", json!("true"))).document;
    assert!(config.managed_respawn);
    let config = accepted(&with("coreThing.iotMqttPort", json!("443"))).document;
    assert!(config.mqtt.needs_alpn(), "A-13");
}

#[test]
fn every_problem_is_found_in_one_reading() {
    let document = json!({
        "coreThing": {"thingArn": 5, "keepAlive": 5, "keepAlve": 600},
        "margay": {"credentials": {}, "s3": {"endpoint": "ftp://x"}, "grup": "x"}
    });
    let problems = parse(&document).expect_err("it is refused");
    let paths: Vec<&str> = problems.errors().map(|problem| problem.path.as_str()).collect();
    for path in [
        "coreThing.thingArn",
        "coreThing.iotHost",
        "coreThing.caPath",
        "coreThing.certPath",
        "coreThing.keyPath",
        "coreThing.keepAlive",
        "margay.credentials.endpoint",
        "margay.credentials.roleAlias",
        "margay.s3.endpoint",
        "margay.grup",
    ] {
        assert!(paths.contains(&path), "{path} is not in {paths:?}");
    }
    assert!(problems.warnings().any(|problem| problem.path == "coreThing.keepAlve"));
}

#[test]
fn unknown_keys_warn_in_v1s_part_and_refuse_in_ours() {
    let warnings = accepted(&with("coreThing.futureKey", json!(1))).warnings;
    assert_eq!(warnings.iter().map(|problem| problem.path.as_str()).collect::<Vec<_>>(), ["coreThing.futureKey"]);
    let problem = refused_at(&with("margay.credential", json!({"endpoint": "x"})), "margay.credential");
    assert_eq!(problem.hint, "did you mean credentials?");
}

#[test]
fn the_guides_texts_are_kept_g1() {
    let broken = Config::parse("{", Path::new(ROOT)).expect_err("it is no JSON");
    assert!(broken.to_string().contains("Failed to parse /greengrass/config/config.json."), "{broken}");
    let mut document = guides_default();
    document["crypto"]["caPath"] = json!("https://example.com/ca.pem");
    let scheme = refused_at(&document, "crypto.caPath");
    assert_eq!(scheme.rule, "Error occurred while generating TLS config: ErrUnknownURIScheme");
    let mut document = minimal();
    document["coreThing"]["caPath"] = Value::Null;
    let missing = refused_at(&document, "coreThing.caPath");
    assert_eq!(missing.rule, "The configuration file is missing the CaPath, CertPath or KeyPath.");
}

#[test]
fn our_additions_are_read() {
    let mut document = minimal();
    document["margay"] = json!({
        "group": "group.json",
        "credentials": {"endpoint": "localhost:9443", "roleAlias": "CameraRole"},
        "s3": {"endpoint": "https://localhost:9000", "region": "eu-central-1", "caPath": "file:///tmp/ca.pem"},
        "mqtt": {"host": "localhost", "port": 18883},
        "tokenExchange": {"port": 8090},
        "page": {"port": 8080},
        "statusSocket": "/run/margay.sock",
        "stateDirectory": "/state"
    });
    let config = accepted(&document).document;
    let provider = config.credentials.as_ref().expect("a provider");
    assert_eq!((provider.endpoint.host.as_str(), provider.port()), ("localhost", 9443));
    assert_eq!(config.s3.endpoint.as_ref().map(ToString::to_string).as_deref(), Some("https://localhost:9000"));
    assert_eq!(config.s3.addressing, Addressing::Path);
    assert_eq!((config.mqtt.host.as_str(), config.mqtt.port), ("localhost", 18883));
    assert_eq!(config.directories.group_document, Path::new("/greengrass/group.json"));
    assert_eq!(config.directories.state, Path::new("/state"));
    assert_eq!(config.page, Some(Page { port: 8080 }));
    assert_eq!(accepted(&minimal()).document.page, None, "there is no page unless it is asked for");
}

#[test]
fn the_effective_configuration_reads_back_as_itself() {
    let mut document = guides_default();
    document["coreThing"]["networkProxy"] =
        json!({"noProxyAddresses": "10.0.0.1,[::1]", "proxy": {"url": "http://ann:secret-word@proxy:3128"}});
    document["margay"] = json!({"credentials": {"endpoint": "h", "roleAlias": "r"}, "page": {"port": 8080}});
    let config = accepted(&document).document;
    let effective = config.effective();
    assert!(!effective.to_string().contains("secret-word"));
    let again = accepted(&effective);
    assert!(again.warnings.is_empty(), "{}", again.warnings);
    assert_eq!(again.document.effective(), effective);
}

#[test]
fn pauses_role_aliases_and_bandwidth_are_read_within_their_ranges() {
    let arn = "arn:aws:lambda:us-west-2:123456789012:function:counter:1";
    let document = |pause: Value, alias: &str, bandwidth: u64| {
        let mut document = guides_default();
        document["margay"] = json!({
            "credentials": {"endpoint": "h", "roleAlias": "r", "credentialRetryInSec": {"clientError": pause},
                "functionRoleAliases": {arn: alias}},
            "s3": {"maxBytesPerSecond": bandwidth}
        });
        document
    };
    let config = accepted(&document(json!(10), "counter-role", 65536)).document;
    let provider = config.credentials.as_ref().expect("a provider");
    assert_eq!(provider.retry.client_error.as_secs(), 10);
    assert_eq!((provider.retry.server_error.as_secs(), provider.retry.unknown_error.as_secs()), (60, 300));
    assert_eq!(provider.function_role_aliases[arn].as_str(), "counter-role");
    assert_eq!(config.s3.max_bytes_per_second, Some(65536));
    assert_eq!(accepted(&config.effective()).document.credentials, config.credentials);

    for (refused, path) in [
        (document(json!(9), "r", 65536), "credentialRetryInSec.clientError"),
        (document(json!(42_901), "r", 65536), "credentialRetryInSec.clientError"),
        (document(json!(60), "no alias", 65536), "functionRoleAliases"),
        (document(json!(60), "r", 10), "s3.maxBytesPerSecond"),
    ] {
        let problems = Config::parse(&refused.to_string(), Path::new(ROOT)).expect_err("it is refused").to_string();
        assert!(problems.contains(path), "{problems}");
    }
    let mut no_arn = document(json!(60), "r", 65536);
    no_arn["margay"]["credentials"]["functionRoleAliases"] = json!({"counter": "r"});
    let problems = Config::parse(&no_arn.to_string(), Path::new(ROOT)).expect_err("it is refused").to_string();
    assert!(problems.contains("functionRoleAliases.counter"), "{problems}");
}

#[test]
fn a_document_over_the_limit_is_refused_unread() {
    let text = " ".repeat(SIZE_LIMIT + 1);
    let problems = Config::parse(&text, Path::new(ROOT)).expect_err("it is too large");
    assert!(problems.to_string().contains("is read up to 262144 bytes"), "{problems}");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        "file://[a-z/%]{0,12}|arn:aws:iot:[a-z:0-9/]{0,30}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z]{1,8}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

/// A place in the full document, to be overwritten.
fn any_place() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "coreThing",
        "coreThing.thingArn",
        "coreThing.iotHost",
        "coreThing.keepAlive",
        "coreThing.networkProxy",
        "coreThing.networkProxy.proxy.url",
        "runtime",
        "runtime.cgroup.useSystemd",
        "crypto",
        "crypto.principals",
        "crypto.principals.IoTCertificate.privateKeyPath",
        "margay",
        "margay.s3",
        "margay.s3.endpoint",
        "margay.credentials",
        "writeDirectory",
    ])
}

proptest! {
    #[test]
    fn any_json_is_accepted_or_refused_with_a_problem(document in any_json()) {
        if let Err(problems) = parse(&document) {
            prop_assert!(problems.refuse());
        }
    }

    #[test]
    fn any_value_anywhere_is_accepted_or_refused_with_its_place(place in any_place(), value in any_json()) {
        let mut document = guides_default();
        if let Some((parent, key)) = place.rsplit_once('.') {
            let mut at = &mut document;
            for key in parent.split('.') {
                at = &mut at[key];
            }
            at[key] = value;
        } else {
            document[place] = value;
        }
        match parse(&document) {
            Ok(accepted) => {
                let again = parse(&accepted.document.effective());
                prop_assert!(again.is_ok(), "{:?}", again);
            }
            Err(problems) => prop_assert!(problems.refuse() && problems.errors().all(|problem| !problem.hint.is_empty())),
        }
    }

    #[test]
    fn no_text_breaks_the_reader(text in "\\PC{0,200}") {
        let refused = Config::parse(&text, Path::new(ROOT));
        prop_assert!(refused.is_err());
    }
}

//! V1's `config.json` carried over: its keys stay, its files stay where they are and are named from the root of the file
//! system, and what this core needs beyond it stands under `margay`.

use std::path::Path;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::report::{Finding, quoted};
use crate::config::Config;

/// Where the written configuration looks for the group document, relative to itself.
pub(super) const GROUP_FILE: &str = "group.json";
/// An address that no name service will ever know (RFC 6761), until somebody writes the real one.
const NOWHERE: &str = "write-your-credentials-endpoint.invalid";
/// The role alias beside it.
const ROLE_ALIAS: &str = "write-your-role-alias";

/// What a file URI may not hold as it is.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b'#');

/// V1's configuration, as it stands and as it was understood.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) value: Value,
    pub(super) config: Config,
}

/// The configuration to write, with a row for everything that changed.
pub(super) fn carried_over(
    settings: &Settings,
    additions: Option<&Map<String, Value>>,
    needs_credentials: bool,
    findings: &mut Vec<Finding>,
) -> Value {
    let mut value = settings.value.clone();
    let thing = settings.config.core_thing.thing_arn.thing();
    findings.push(Finding::works("config.json", format!("the core {thing}; its keys are kept as they are")));
    name_files(&mut value, &settings.config, findings);
    if value.as_object_mut().is_some_and(|top| top.remove("writeDirectory").is_some()) {
        let says = "is left out, because V1's own models lie there; this core writes beside its new config.json";
        findings.push(Finding::decision("writeDirectory", says));
    }
    if settings.config.core_thing.network_proxy.is_some() {
        let says = "is used for credentials and S3 as before; MQTT connects directly";
        findings.push(Finding::decision("coreThing.networkProxy", says));
    }
    let margay = margay(&settings.value, additions, needs_credentials, findings);
    value["margay"] = Value::Object(margay);
    value
}

/// Writes the three files of the identity as absolute file URIs under `crypto`, whatever form named them before.
fn name_files(value: &mut Value, config: &Config, findings: &mut Vec<Finding>) {
    let crypto = &config.crypto;
    let files = [
        ("/crypto/caPath", &crypto.ca_path),
        ("/crypto/principals/IoTCertificate/certificatePath", &crypto.certificate_path),
        ("/crypto/principals/IoTCertificate/privateKeyPath", &crypto.private_key_path),
    ];
    if value.get("crypto").is_none_or(Value::is_null) {
        value["crypto"] = json!({ "principals": { "IoTCertificate": {} } });
        let says = "is written from coreThing's caPath, certPath and keyPath, which stood for files in certs";
        findings.push(Finding::works("crypto", says));
    }
    if let Some(core) = value.get_mut("coreThing").and_then(Value::as_object_mut) {
        for legacy in ["caPath", "certPath", "keyPath"] {
            core.remove(legacy);
        }
    }
    for (pointer, path) in files {
        let (parent, key) = pointer.rsplit_once('/').unwrap_or_default();
        if let Some(parent) = value.pointer_mut(parent) {
            parent[key] = Value::String(file_uri(path));
        }
    }
}

fn file_uri(path: &Path) -> String {
    format!("file://{}", utf8_percent_encode(&path.to_string_lossy(), ESCAPED))
}

/// Our own key: what stood there before, what the operator gives, and placeholders where neither names the credentials
/// provider, which V1 took from its cloud.
fn margay(
    value: &Value,
    additions: Option<&Map<String, Value>>,
    needs_credentials: bool,
    findings: &mut Vec<Finding>,
) -> Map<String, Value> {
    let mut margay = value.get("margay").and_then(Value::as_object).cloned().unwrap_or_default();
    for (key, addition) in additions.into_iter().flatten() {
        margay.insert(key.clone(), addition.clone());
    }
    margay.insert("group".to_owned(), GROUP_FILE.into());
    if margay.contains_key("credentials") {
        findings.push(Finding::works("margay.credentials", "the credentials provider is named"));
    } else if needs_credentials {
        margay.insert("credentials".to_owned(), json!({ "endpoint": NOWHERE, "roleAlias": ROLE_ALIAS }));
        let says = "V1's cloud gave credentials for S3; now AWS IoT's provider does, or one of your own. Until both keys \
                    are written the core runs the models that it has, and fetches none (docs/aws.md)";
        findings.push(
            Finding::decision("margay.credentials", says)
                .with_command("aws iot describe-endpoint --endpoint-type iot:CredentialProvider")
                .with_snippet(json!({ "credentials": {
                    "endpoint": "PREFIX.credentials.iot.REGION.amazonaws.com", "roleAlias": "NAME" } })),
        );
    }
    margay
}

/// What to say of a key that others can read, and how to mend it.
pub(super) fn exposed_key(path: &Path, mode: u32) -> Finding {
    let shown = path.display();
    Finding::decision("private key", format!("{shown} can be read by others than its owner (mode {mode:04o})"))
        .with_command(format!("chmod 600 {}", quoted(&shown.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(config: &Value, additions: Option<Value>) -> (Value, Vec<Finding>) {
        let accepted = Config::parse(&config.to_string(), Path::new("/old root")).unwrap_or_else(|e| panic!("{e}"));
        let settings = Settings { value: config.clone(), config: accepted.document };
        let mut findings = Vec::new();
        let additions = additions.and_then(|additions| additions.as_object().cloned());
        let written = carried_over(&settings, additions.as_ref(), true, &mut findings);
        Config::parse(&written.to_string(), Path::new("/new")).unwrap_or_else(|e| panic!("{e}"));
        (written, findings)
    }

    fn core() -> Value {
        json!({ "thingArn": "arn:aws:iot:eu-central-1:123456789012:thing/core-1",
            "iotHost": "a1-ats.iot.eu-central-1.amazonaws.com" })
    }

    #[test]
    fn files_that_were_named_below_the_old_root_are_named_from_the_root_of_the_file_system() {
        let mut legacy = json!({ "coreThing": core(), "crypto": null, "writeDirectory": "/write", "odd": 1 });
        for (key, file) in [("caPath", "root.ca.pem"), ("certPath", "a.cert.pem"), ("keyPath", "a.private.key")] {
            legacy["coreThing"][key] = file.into();
        }
        let (written, findings) = carried(&legacy, None);
        let core = &written["crypto"]["principals"]["IoTCertificate"];
        assert_eq!(core["privateKeyPath"], "file:///old root/certs/a.private.key");
        assert_eq!(written["crypto"]["caPath"], "file:///old root/certs/root.ca.pem");
        assert!(written["coreThing"].get("keyPath").is_none() && written.get("writeDirectory").is_none());
        assert_eq!(written["odd"], 1, "what is unknown is kept");
        assert!(findings.iter().any(|finding| finding.subject == "writeDirectory"));
    }

    #[test]
    fn what_v1_took_from_its_cloud_is_given_or_a_decision() {
        let crypto = json!({ "caPath": "file://certs/ca.pem", "principals": {
            "SecretsManager": { "privateKeyPath": "file:///k" }, "IoTCertificate": {
                "certificatePath": "file:///c/100%25.pem", "privateKeyPath": "file:///c/k.pem" } } });
        let config = json!({ "coreThing": core(), "crypto": crypto });
        let (written, findings) = carried(&config, None);
        assert_eq!(written["crypto"]["caPath"], "file:///old root/certs/ca.pem");
        assert_eq!(written["crypto"]["principals"]["IoTCertificate"]["certificatePath"], "file:///c/100%25.pem");
        assert_eq!(written["crypto"]["principals"]["SecretsManager"]["privateKeyPath"], "file:///k");
        assert!(written["margay"]["credentials"]["endpoint"].as_str().unwrap().ends_with(".invalid"));
        assert!(findings.iter().any(|row| row.command.as_deref().is_some_and(|c| c.contains("describe-endpoint"))));
        let given = json!({ "credentials": { "endpoint": "c.example.com", "roleAlias": "Role" }, "group": "x" });
        let (written, _) = carried(&config, Some(given));
        assert_eq!(written["margay"]["credentials"]["roleAlias"], "Role");
        assert_eq!(written["margay"]["group"], "group.json");
    }
}

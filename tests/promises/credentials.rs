//! Credentials never get stuck, and say what keeps them away.

use std::path::{Path, PathBuf};

use margay_localcloud::{CredentialsFault, Lasting};
use serde_json::{Value, json};

use crate::support::device::{Device, THING};
use crate::support::program::{self, assert_code};
use crate::support::tables;

/// The documentation's table of what can arrive broken, and the tests that it names.
#[test]
fn every_row_of_what_arrives_broken_has_its_test() {
    let (_, table) = include_str!("../../docs/credentials-and-s3.md").split_once("## What arrives broken").unwrap();
    tables::assert_every_row_names_its_test(table);
}

/// `margay credentials --try --json` on the device as configured: its exit code and its document.
fn exchange(device: &Device) -> (Option<i32>, Value) {
    device.write();
    let output = program::run(&["credentials", "--try", "--json", "--config", device.config_path().to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    let document = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}\n{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), document)
}

/// The likeliest cause that the program names for what `change` does to a device.
fn likely_cause(change: impl FnOnce(&mut Device)) -> (String, Value) {
    let mut device = Device::new();
    change(&mut device);
    let (code, document) = exchange(&device);
    assert_eq!(code, Some(5), "{document:#}");
    let causes = document["error"]["likely_causes"].as_array().expect("causes");
    assert!(causes.iter().all(|cause| !cause["advice"].as_str().unwrap().is_empty()));
    (causes[0]["cause"].as_str().unwrap().to_owned(), document)
}

fn uri(path: &Path) -> String {
    format!("file://{}", path.display())
}

#[test]
fn each_way_of_getting_none_has_its_likely_cause() {
    let thing = |device: &mut Device| {
        device.config["coreThing"]["thingArn"] = json!(device.cloud.thing_arn("another-thing"));
    };
    let (cause, document) = likely_cause(thing);
    assert_eq!(cause, "ThingNotAttached");
    assert_eq!(
        (&document["error"]["status"], &document["error"]["body"]),
        (&json!(403), &json!("Invalid thing name passed"))
    );

    let alias = |device: &mut Device| device.config["margay"]["credentials"]["roleAlias"] = json!("Misspelt");
    let (cause, document) = likely_cause(alias);
    assert_eq!(cause, "PolicyLacksAssumeRole", "AWS answers a missing permission and a missing alias alike");
    assert_eq!(document["error"]["likely_causes"][1]["cause"], "WrongAlias");
    assert_eq!(document["error"]["class"], "ProviderRefused");
    assert!(document["next_try_in_s"].as_u64().unwrap() > 100, "{document:#}");

    let (cause, _) = likely_cause(|device| device.cloud.revoke(&device.files.certificate_id));
    assert_eq!(cause, "PolicyLacksAssumeRole");

    let other = Device::new();
    let ca = |device: &mut Device| device.config["crypto"]["caPath"] = json!(uri(&other.files.ca));
    assert_eq!(likely_cause(ca).0, "WrongCa");

    let fault = |device: &mut Device| {
        device.cloud.faults().credentials(CredentialsFault::Status(503), Lasting::UntilCleared);
    };
    assert_eq!(likely_cause(fault).0, "ProviderFault");

    let nobody = |device: &mut Device| device.config["margay"]["credentials"]["endpoint"] = json!("localhost:1");
    assert_eq!(likely_cause(nobody).0, "Network");

    let not_it = |device: &mut Device| {
        device.config["margay"]["credentials"]["endpoint"] = json!(format!("localhost:{}", device.cloud.s3_port()));
    };
    assert_eq!(likely_cause(not_it).0, "WrongAlias", "S3 answers 404 or 403 there");
}

#[test]
fn what_is_explained_holds_no_secret() {
    let device = Device::new();
    device.cloud.hand_out("ASIAKNOWNKEY", "well-known-secret", "well-known-token");
    let _core = device.start();
    device.wait_for("credentials", |status| status.credentials.core.valid_until.is_some());
    let config = device.config_path();
    for command in ["credentials", "status"] {
        for format in [&["--json"][..], &[]] {
            let output = program::run(&[&[command, "--config", config.to_str().unwrap()], format].concat());
            assert_code(&output, 0);
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(text.contains("MargayRole") && !text.contains("well-known"), "{text}");
        }
    }
    let output = program::run(&["credentials", "--config", config.to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    for told in ["ASIAKNOWNKEY", "min left", "last fetch   2", "next try     in"] {
        assert!(text.contains(told), "{told:?} is not in:\n{text}");
    }
    assert!(!device.log().contains("well-known"), "{}", device.log());
}

#[test]
fn a_function_whose_role_cannot_be_had_is_shown_with_its_own_cause() {
    let mut device = Device::new();
    let function = "arn:aws:lambda:eu-central-1:123456789012:function:counter:1";
    device.config["margay"]["credentials"]["functionRoleAliases"] = json!({ function: "Missing" });
    let (code, document) = exchange(&device);
    assert_eq!((code, &document["error"]), (Some(5), &Value::Null), "the core's own are there: {document:#}");
    let role = &document["functions"]["Missing"];
    assert_eq!((&role["functions"], &role["error"]["status"]), (&json!([function]), &json!(403)), "{document:#}");
    let output = program::run(&["credentials", "--try", "--config", device.config_path().to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    for told in
        ["functions    arn:aws:lambda", "role alias   Missing at", "answer       403 \"Access Denied\"", "likely cause"]
    {
        assert!(text.contains(told), "{told:?} is not in:\n{text}");
    }
}

#[test]
fn without_a_core_the_command_says_so_and_can_try_itself() {
    let device = Device::new();
    let output = program::run(&["credentials", "--config", device.config_path().to_str().unwrap()]);
    assert_code(&output, 11);
    let (code, document) = exchange(&device);
    assert_eq!((code, &document["error"]), (Some(0), &Value::Null), "{document:#}");
}

#[test]
fn a_rotated_certificate_and_another_role_alias_are_taken_over_by_the_running_core() {
    let mut device = Device::new();
    device.cloud.add_role_alias("Second");
    let _core = device.start();
    device.wait_for("credentials", |status| status.credentials.core.valid_until.is_some());

    // The certificate first, then its key: in between, the two do not belong together.
    let rotated = device.cloud.provision_thing(THING, &device.folder.path().join("rotated")).unwrap();
    device.cloud.revoke(&device.files.certificate_id);
    replace(&rotated.certificate, &device.files.certificate);
    replace(&rotated.private_key, &device.files.private_key);
    device.wait_for("credentials of the new certificate", |status| {
        let credentials = &status.credentials.core;
        credentials.fetches >= 2 && credentials.error.is_none() && credentials.valid_until.is_some()
    });
    assert!(device.log().contains("the identity was read again"), "{}", device.log());

    device.config["margay"]["credentials"]["roleAlias"] = json!("Second");
    device.write();
    device.wait_for("the other role alias", |status| {
        status.credentials.core.role_alias == "Second" && status.credentials.core.valid_until.is_some()
    });

    // A configuration that cannot be read leaves everything as it is.
    let path: PathBuf = device.config_path();
    std::fs::write(&path, "{").unwrap();
    device.wait_for("the refusal", |_| device.log().contains("is not used"));
    assert_eq!(device.status().unwrap().credentials.core.role_alias, "Second");
}

fn replace(new: &Path, old: &Path) {
    std::fs::rename(new, old).unwrap();
}

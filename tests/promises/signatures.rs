//! Whose models run: packages are signed with `margay model sign`, and a core that asks for signatures takes no other.

use std::fs;
use std::path::{Path, PathBuf};

use margay::app::status::CoreStatus;
use margay::deployment::State;
use serde_json::json;

use crate::support::device::{BUCKET, Device, KEY};
use crate::support::package::Package;
use crate::support::program;

/// A pair of keys made by the program, and the public one as configurations have it.
struct Keys {
    secret: PathBuf,
    public: String,
}

impl Keys {
    fn make(folder: &Path, name: &str) -> Self {
        let path = folder.join(name);
        program::assert_code(&program::run(&["model", "key", path.to_str().unwrap()]), 0);
        let public = fs::read_to_string(path.with_extension("pub")).unwrap();
        Self { secret: path.with_extension("key"), public: public.lines().nth(1).unwrap().to_owned() }
    }

    /// Signs an archive by the program; gives the signature's bytes.
    fn sign(&self, folder: &Path, archive: &[u8]) -> Vec<u8> {
        let path = folder.join("package.tar.gz");
        fs::write(&path, archive).unwrap();
        let output = program::run(&["model", "sign", "--key", self.secret.to_str().unwrap(), path.to_str().unwrap()]);
        program::assert_code(&output, 0);
        fs::read(folder.join("package.tar.gz.minisig")).unwrap()
    }
}

fn signature_key() -> String {
    format!("{KEY}.minisig")
}

fn device_that(policy: &str, keys: &Keys) -> Device {
    let mut device = Device::new();
    device.config["margay"]["packages"] = json!({"signatures": policy, "publicKeys": [keys.public]});
    device.write();
    device
}

fn deployed(status: &CoreStatus) -> bool {
    status.cameras[0].deployment.state == State::Deployed
}

fn failure(status: &CoreStatus) -> String {
    status.cameras[0].deployment.failure.clone().unwrap_or_default()
}

#[test]
fn a_core_that_requires_signatures_runs_what_a_trusted_key_signed_and_nothing_else() {
    let keys = tempfile::tempdir().unwrap();
    let (trusted, stranger) = (Keys::make(keys.path(), "fleet"), Keys::make(keys.path(), "stranger"));
    let device = device_that("required", &trusted);
    let core = device.start();
    let waiting = device.wait_for("the unsigned package to be refused", |status| !failure(status).is_empty());
    assert!(failure(&waiting).contains("margay model sign"), "{}", failure(&waiting));
    assert!(!deployed(&waiting));

    let package = Package::bundled().pack();
    device.cloud.put_object(BUCKET, KEY, package.clone());
    device.cloud.put_object(BUCKET, &signature_key(), stranger.sign(keys.path(), &package));
    program::signal(core.pid(), rustix::process::Signal::HUP);
    let refused =
        device.wait_for("the stranger's signature to be refused", |status| failure(status).contains("publicKeys"));
    assert!(!deployed(&refused));

    device.cloud.put_object(BUCKET, &signature_key(), trusted.sign(keys.path(), &package));
    program::signal(core.pid(), rustix::process::Signal::HUP);
    let running = device.wait_for("the signed package", |status| deployed(status) && status.link.delivered > 0);
    let good = running.cameras[0].classifier.as_ref().unwrap().model.clone();

    let mut other = Package::bundled();
    other.0.insert("README".to_owned(), b"another package under the old signature".to_vec());
    device.cloud.put_object(BUCKET, KEY, other.pack());
    program::signal(core.pid(), rustix::process::Signal::HUP);
    let refused = device.wait_for("the changed package to be refused", |status| failure(status).contains("signed"));
    let delivered = refused.link.delivered;
    let after = device.wait_for("predictions to go on", |status| status.link.delivered > delivered + 20);
    assert_eq!(after.cameras[0].classifier.as_ref().unwrap().model, good, "the signed model still classifies");
}

#[test]
fn where_signatures_are_preferred_an_unsigned_package_runs_and_a_false_signature_does_not() {
    let keys = tempfile::tempdir().unwrap();
    let trusted = Keys::make(keys.path(), "fleet");
    let device = device_that("preferred", &trusted);
    let core = device.start();
    device.wait_for("the unsigned package", |status| deployed(status) && status.link.delivered > 0);

    let mut other = Package::bundled();
    other.0.insert("README".to_owned(), b"another package".to_vec());
    device.cloud.put_object(BUCKET, KEY, other.pack());
    let signature = trusted.sign(keys.path(), &Package::bundled().pack());
    device.cloud.put_object(BUCKET, &signature_key(), signature);
    program::signal(core.pid(), rustix::process::Signal::HUP);
    device.wait_for("the false signature to be refused", |status| failure(status).contains("not what the key"));
}

#[test]
fn a_package_is_pushed_with_its_signature_and_comes_back_the_same() {
    let keys = tempfile::tempdir().unwrap();
    let trusted = Keys::make(keys.path(), "fleet");
    let device = device_that("required", &trusted);
    let archive = Package::bundled().pack();
    let signature = trusted.sign(keys.path(), &archive);
    let (here, config) = (keys.path().join("package.tar.gz"), device.config_path());
    let (here, config) = (here.to_str().unwrap(), config.to_str().unwrap());
    let uri = format!("s3://{BUCKET}/fleet/signs.tar.gz");
    program::assert_code(&program::run(&["model", "push", "--config", config, here, &uri]), 0);
    let again = program::run(&["model", "push", "--config", config, here, &uri]);
    program::assert_code(&again, 6);
    program::assert_code(&program::run(&["model", "push", "--replace", "--config", config, here, &uri]), 0);

    let back = keys.path().join("back.tar.gz");
    let back = back.to_str().unwrap();
    program::assert_code(&program::run(&["model", "pull", "--config", config, "--output", back, &uri]), 0);
    assert_eq!(fs::read(back).unwrap(), archive);
    assert_eq!(fs::read(format!("{back}.minisig")).unwrap(), signature);
    program::assert_code(&program::run(&["model", "verify", "--trust", &trusted.public, back]), 0);
    let nothing = format!("s3://{BUCKET}/fleet/nothing.tar.gz");
    program::assert_code(&program::run(&["model", "pull", "--config", config, "--output", back, &nothing]), 6);
}

#[test]
fn signatures_without_keys_are_a_mistake_in_the_configuration() {
    let mut device = Device::new();
    device.config["margay"]["packages"] = json!({"signatures": "required"});
    device.write();
    let output = program::run(&["check", "--config", device.config_path().to_str().unwrap()]);
    program::assert_code(&output, 3);
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("margay.packages.signatures") && said.contains("publicKeys"), "{said}");
}

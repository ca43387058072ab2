//! What is kept on disk moves with the program: what the first version wrote is taken over, what a newer one wrote is
//! refused and left as it is, what a crash left unfinished is gone at the next start, and all of it is documented.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use margay::app::status::CoreStatus;
use margay::deployment::State;
use margay::package::Sha256Digest;
use margay_localcloud::{Lasting, S3Fault};
use serde_json::{Value, json};

use crate::support::device::{BUCKET, Device, KEY, PACKAGE};
use crate::support::package::Package;
use crate::support::program;

/// What `margay run` writes below the write directory.
fn ggc(device: &Device) -> PathBuf {
    device.root().join("ggc")
}

/// The store as the first version left it: a model, its document, and a record that names no signer; a last good time,
/// and no version beside it.
fn write_as_the_first_version(device: &Device) -> Sha256Digest {
    let digest = Sha256Digest::of(PACKAGE);
    let store = ggc(device).join("deployment/mlmodel");
    let home = store.join("models").join(digest.to_string().replace(':', "-"));
    let mut files = serde_json::Map::new();
    for (name, content) in &Package::bundled().0 {
        let path = home.join("package").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        let fields = json!({"bytes": content.len(), "sha256": Sha256Digest::of(content).to_string()});
        files.insert(name.clone(), fields);
    }
    let installed = json!({"format": 1, "files": files});
    fs::write(home.join("installed.json"), serde_json::to_vec_pretty(&installed).unwrap()).unwrap();
    let release = json!({"digest": digest.to_string(), "origin": format!("s3://{BUCKET}/{KEY}"), "etag": "\"e\""});
    let record = json!({"format": 1, "current": release, "previous": null});
    fs::create_dir_all(store.join("resources")).unwrap();
    fs::write(store.join("resources/model.json"), serde_json::to_vec_pretty(&record).unwrap()).unwrap();
    fs::write(store.join("format"), "1\n").unwrap();
    fs::create_dir_all(ggc(device).join("var/state")).unwrap();
    fs::write(ggc(device).join("var/state/last-good-time"), "1790000000\n").unwrap();
    digest
}

fn is_deployed(status: &CoreStatus) -> bool {
    status.cameras[0].deployment.state == State::Deployed
}

/// Every file and directory below `root`, with the files' content; but for the lock, which says nothing.
fn tree(root: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path));
            found.insert(path, None);
        } else if path.is_file() && !path.ends_with("lock") {
            let content = fs::read(&path).unwrap();
            found.insert(path, Some(content));
        }
    }
    found
}

#[test]
fn a_core_takes_over_what_the_first_version_wrote() {
    let device = Device::new();
    let digest = write_as_the_first_version(&device);
    let state = ggc(&device).join("var/state");
    let store = ggc(&device).join("deployment/mlmodel");
    for unfinished in [store.join("tmp/margay-0/archive"), store.join("margay-1"), state.join("last-good-time.new")] {
        fs::create_dir_all(unfinished.parent().unwrap()).unwrap();
        fs::write(unfinished, "half").unwrap();
    }
    device.cloud.faults().s3(S3Fault::Status(403), Lasting::UntilCleared);
    let mut core = device.start();
    let status = device.wait_for_predictions();
    let model = status.cameras[0].classifier.as_ref().unwrap().model.clone().unwrap();
    assert_eq!(model.digest, digest.to_string(), "nothing came from S3");
    assert_eq!(fs::read_to_string(state.join("margay-format")).unwrap(), "1\n");
    assert!(!store.join("tmp/margay-0").exists() && !store.join("margay-1").exists());
    assert!(!state.join("last-good-time.new").exists());

    device.cloud.faults().clear();
    let mut newer = Package::bundled();
    newer.replace("labels.txt", [newer.0["labels.txt"].as_slice(), b"\n"].concat());
    device.cloud.put_object(BUCKET, KEY, newer.pack());
    program::signal(core.pid(), rustix::process::Signal::HUP);
    device.wait_for("the next package", |status| {
        is_deployed(status) && status.cameras[0].classifier.as_ref().unwrap().model.as_ref() != Some(&model)
    });
    assert_eq!(core.terminate(), Some(0));
    let record: Value = serde_json::from_slice(&fs::read(store.join("resources/model.json")).unwrap()).unwrap();
    assert_ne!(record["current"]["digest"], digest.to_string());
}

/// The document at `path` as a newer version would write it.
fn raise_format(path: &Path) {
    let mut document: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    document["format"] = json!(2);
    document["more"] = json!({"than": ["this", "version", "knows"]});
    fs::write(path, document.to_string()).unwrap();
}

#[test]
fn state_of_a_newer_version_is_refused_with_the_way_back_and_left_as_it_is() {
    let home = format!("models/{}/installed.json", Sha256Digest::of(PACKAGE).to_string().replace(':', "-"));
    for newer in ["deployment/mlmodel/format", "var/state/margay-format", "resources/model.json", &home] {
        let device = Device::new();
        write_as_the_first_version(&device);
        let path = match newer.ends_with(".json") {
            true => ggc(&device).join("deployment/mlmodel").join(newer),
            false => ggc(&device).join(newer),
        };
        match newer.ends_with(".json") {
            true => raise_format(&path),
            false => fs::write(&path, "2\n").unwrap(),
        }
        let before = tree(&ggc(&device).join("deployment"));
        let time = fs::read(ggc(&device).join("var/state/last-good-time")).unwrap();
        let config = device.config_path();
        let output = program::run(&["run", "--config", config.to_str().unwrap()]);
        program::assert_code(&output, 1);
        let message = String::from_utf8(output.stderr).unwrap();
        for word in ["version 2", "knows up to 1", "install the newer Margay again", "Directory elsewhere"] {
            assert!(message.contains(word), "{newer}: {word:?} is not in {message}");
        }
        let mut after = tree(&ggc(&device).join("deployment"));
        // What is opened before the newer file is found makes the directories that it needs.
        for made in ["mlmodel/tmp", "deployments", "deployments/history"] {
            after.remove(&ggc(&device).join("deployment").join(made));
        }
        assert_eq!(after, before, "{newer}");
        assert_eq!(fs::read(ggc(&device).join("var/state/last-good-time")).unwrap(), time);

        let listed = program::run(&["model", "list", "--config", config.to_str().unwrap()]);
        assert_eq!(listed.status.success(), newer.starts_with("var") || newer == home, "{newer}");
    }
}

#[test]
fn every_file_that_a_core_writes_is_in_the_reference() {
    let mut device = Device::new();
    device.config["margay"]["page"] = json!({"port": 0});
    device.write();
    let mut core = device.start();
    device
        .wait_for("deployment and a confirmed clock", |status| is_deployed(status) && status.clock.confirmed_by_server);
    assert_eq!(core.terminate(), Some(0));
    let reference = include_str!("../../docs/state.md");
    let patterns: Vec<&str> = reference
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(pattern, _)| pattern))
        .collect();
    let root = ggc(&device);
    let files = tree(&root).into_iter().filter(|(_, content)| content.is_some());
    let names: Vec<String> =
        files.map(|(path, _)| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned()).collect();
    assert!(names.len() > 5, "{names:?}");
    for name in names {
        assert!(patterns.iter().any(|pattern| matches(pattern, &name)), "docs/state.md does not name {name}");
    }
}

/// Whether `path` is one that `pattern` names, in which capitals stand for any part and `…` for all that follow.
fn matches(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (Some("…"), Some(_)) | (None, None) => return true,
            (Some(wanted), Some(part)) => {
                let (start, end) = wanted.split_once(|c: char| c.is_ascii_uppercase()).unwrap_or((wanted, ""));
                let end = end.trim_start_matches(|c: char| c.is_ascii_uppercase());
                let is_variable = start.len() + end.len() < wanted.len();
                let fits = part.starts_with(start) && part.ends_with(end) && (is_variable || part == wanted);
                if !fits {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

#[test]
fn a_package_beyond_the_quota_is_refused_by_the_core_and_what_runs_goes_on() {
    let mut device = Device::new();
    let kept: u64 = Package::bundled().0.values().map(|content| content.len() as u64).sum();
    device.config["margay"]["packages"] = json!({"quotaBytes": 3 * kept + 300_000});
    device.write();
    let core = device.start();
    let before = device.wait_for("the first deployment", |status| is_deployed(status) && status.link.delivered > 0);
    let good = before.cameras[0].classifier.as_ref().unwrap().model.clone();
    let listed = program::run(&["model", "list", "--config", device.config_path().to_str().unwrap()]);
    program::assert_code(&listed, 0);
    let text = String::from_utf8(listed.stdout).unwrap();
    assert!(text.contains("1 model, ") && text.contains("that margay.packages.quotaBytes allows"), "{text}");

    let mut large = Package::bundled();
    let mut random = fastrand::Rng::with_seed(1);
    let weights = std::iter::repeat_with(|| random.u8(..)).take(usize::try_from(4 * kept).unwrap() + 300_000).collect();
    large.0.insert("more.bin".to_owned(), weights);
    device.cloud.put_object(BUCKET, KEY, large.pack());
    let bytes = device.cloud.counters().served().s3_bytes;
    program::signal(core.pid(), rustix::process::Signal::HUP);
    let status = device.wait_for("the refusal", |status| status.cameras[0].deployment.failure.is_some());
    let failure = status.cameras[0].deployment.failure.clone().unwrap();
    for word in ["margay.packages.quotaBytes", "run for model", "raise quotaBytes", KEY] {
        assert!(failure.contains(word), "{word:?} is not in {failure}");
    }
    let inferred = status.cameras[0].classifier.as_ref().unwrap().ledger.inferred();
    let after = device.wait_for("classification to go on", |status| {
        status.cameras[0].classifier.as_ref().unwrap().ledger.inferred() > inferred + 20
    });
    assert_eq!(after.cameras[0].classifier.as_ref().unwrap().model, good);
    println!("bytes that S3 handed out for the refused package: {}", device.cloud.counters().served().s3_bytes - bytes);
}

#[test]
fn purging_the_debian_package_names_everything_in_the_state_directory() {
    let purge = fs::read_to_string("deploy/debian/postrm").unwrap();
    let reference = fs::read_to_string("docs/state.md").unwrap();
    let rows = reference.lines().filter_map(|line| line.strip_prefix("| `var/state/"));
    let names: BTreeSet<&str> = rows.filter_map(|row| row.split(['/', '`']).next()).collect();
    assert!(names.contains("spool") && names.len() > 4, "{names:?}");
    let forgotten: Vec<_> = names.iter().filter(|name| !purge.contains(&format!("$ggc/var/state/{name}"))).collect();
    assert!(forgotten.is_empty(), "{forgotten:?}");
}

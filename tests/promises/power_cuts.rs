//! The power may go at any step of a deployment: the old group or the new one runs afterwards, never neither, never a
//! mix, and nothing is left behind.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use margay::app::status::CoreStatus;
use margay::deployment::{Active, Shelf, Status};
use serde_json::Value;

use super::ledger::other_package;
use crate::support::device::{BUCKET, Device};
use crate::support::program::{self, Core};
use crate::support::scaled;

/// The power goes before every twelfth change to the disk; a scale of 12 meets them all.
const STEP: u64 = 12;

/// A device that runs one group and has another staged for its next start.
struct Staged {
    device: Device,
    old: String,
    new: String,
    /// The state from which every attempt begins.
    base: PathBuf,
}

impl Staged {
    fn new() -> Self {
        let mut device = Device::new();
        device.config["margay"]["deployments"]["healthWindowSeconds"] = 0.into();
        device.write();
        let mut core = device.start();
        device.wait_for("the old group", is_confirmed);
        assert_eq!(core.terminate(), Some(0));
        let old = active(&device).current.unwrap().document;
        device.cloud.put_object(BUCKET, "other.tar.gz", other_package());
        let mut group = device.group();
        let resource = &mut group["ResourceDefinitionVersion"]["Resources"][0]["ResourceDataContainer"];
        resource["S3MachineLearningModelResourceData"]["S3Uri"] = format!("s3://{BUCKET}/other.tar.gz").into();
        group["ConnectorDefinitionVersion"]["Connectors"][0]["Parameters"]["TopK"] = "2".into();
        let new = group.to_string();
        let path = device.folder.path().join("new.json");
        fs::write(&path, &new).unwrap();
        let config = device.config_path();
        let (path, config) = (path.to_str().unwrap(), config.to_str().unwrap());
        program::assert_code(&program::run(&["deploy", path, "--id", "cut", "--config", config]), 0);
        let base = device.folder.path().join("base");
        copy(&deployment(&device), &base);
        Self { device, old, new, base }
    }

    fn restore(&self) {
        fs::remove_dir_all(deployment(&self.device)).unwrap();
        copy(&self.base, &deployment(&self.device));
    }

    /// Lets a core begin with the staged deployment, and the power go before its change number `change`. Returns whether
    /// it went.
    fn cut_before(&self, change: u64) -> bool {
        let mut core = self.device.start_with(&[("MARGAY_TEST_POWER_CUT", &change.to_string())]);
        while !core.has_ended() {
            if self.device.status().as_ref().is_some_and(is_over) && is_settled(&self.device) {
                return core.terminate().is_none();
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        true
    }

    /// What lies on the disk belongs to one of the two groups, and all of it is there.
    fn assert_old_or_new(&self, change: u64) {
        let current = active(&self.device).current.expect("a group is confirmed");
        let (name, other) =
            if current.document == self.old { ("road-signs", "other") } else { ("other", "road-signs") };
        assert!(current.document == self.old || current.document == self.new, "cut {change}: a third document");
        assert_eq!(current.packages.len(), 1);
        for release in current.packages.values() {
            let origin = release.origin.to_string();
            assert!(origin.contains(name) && !origin.contains(other), "cut {change}: {origin} is of the other group");
            let home = release.digest.to_string().replace(':', "-");
            let files = deployment(&self.device).join("mlmodel/models").join(home);
            assert!(files.join("package/model.toml").exists(), "cut {change}: {} is missing", files.display());
        }
    }

    /// A core that starts again runs one of the two at once, and ends with the new one.
    fn assert_recovers(&self, change: u64) -> BTreeSet<PathBuf> {
        let mut core: Core = self.device.start();
        let first = self.device.wait_for("a model after the cut", |status| digest(status).is_some());
        let confirmed = active(&self.device).current.unwrap();
        let known = [&self.old, &self.new].into_iter().any(|document| *document == confirmed.document);
        assert!(known && digest(&first).is_some(), "cut {change}");
        self.device.wait_for("the new group", |status| {
            is_confirmed(status) && active(&self.device).current.is_some_and(|current| current.document == self.new)
        });
        while !is_settled(&self.device) {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert_eq!(core.terminate(), Some(0));
        let group = fs::read_to_string(self.device.root().join("ggc/deployment/group/group.json")).unwrap();
        assert_eq!(group, self.new, "cut {change}: the file shows what runs");
        listing(&deployment(&self.device))
    }
}

#[test]
fn a_power_cut_at_any_change_to_the_disk_leaves_the_old_group_or_the_new_one_and_nothing_else() {
    let staged = Staged::new();
    let expected = staged.assert_recovers(0);
    let step = (STEP / scaled(1)).max(1);
    // Another phase each time, so that many runs meet every change.
    let phase = u64::from(std::process::id()) % step + 1;
    let mut cuts = 0;
    for change in (phase..).step_by(usize::try_from(step).unwrap()) {
        staged.restore();
        if !staged.cut_before(change) {
            break;
        }
        cuts += 1;
        staged.assert_old_or_new(change);
        let found = staged.assert_recovers(change);
        assert_eq!(found, expected, "cut {change}: what lies on the disk");
    }
    println!("{cuts} cuts, every {step} changes to the disk from {phase}");
    assert!(cuts > 4, "a deployment makes more changes than that");
}

fn deployment(device: &Device) -> PathBuf {
    device.root().join("ggc/deployment")
}

fn active(device: &Device) -> Active {
    Shelf::at(deployment(device).join("deployments")).active().unwrap()
}

fn is_over(status: &CoreStatus) -> bool {
    status.deployment.as_ref().is_some_and(|report| report.status.is_terminal())
}

fn is_confirmed(status: &CoreStatus) -> bool {
    status.deployment.as_ref().is_some_and(|report| report.status == Status::Success) && digest(status).is_some()
}

/// Whether nothing is under way, and nothing unfinished lies about.
fn is_settled(device: &Device) -> bool {
    let unfinished = fs::read_dir(deployment(device).join("mlmodel/tmp")).map_or(0, Iterator::count);
    unfinished == 0 && !deployment(device).join("deployments/pending.json").exists()
}

fn digest(status: &CoreStatus) -> Option<String> {
    Some(status.cameras.first()?.classifier.as_ref()?.model.as_ref()?.digest.clone())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// Every file by its path.
fn listing(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().to_owned());
            }
        }
    }
    found
}

#[test]
fn what_is_on_the_shelf_carries_its_version_and_a_newer_one_is_refused_by_name() {
    let device = Device::new();
    let mut core = device.start();
    device.wait_for("the first group", is_confirmed);
    assert_eq!(core.terminate(), Some(0));
    let path = deployment(&device).join("deployments/active.json");
    let mut document: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(document["format"], 1);
    document["format"] = 2.into();
    fs::write(&path, document.to_string()).unwrap();
    let output = program::run(&["run", "--config", device.config_path().to_str().unwrap()]);
    program::assert_code(&output, 1);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("active.json") && said.contains("format is 2") && said.contains("up to 1"), "{said}");
}

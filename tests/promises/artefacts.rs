//! What a worker compiles of a model is kept beside its package: the next start runs from it, damage of it costs time and
//! nothing else, and it goes with the package.

use std::fs;
use std::path::PathBuf;

use margay::package::Sha256Digest;

use crate::support::device::{BUCKET, Device, KEY, PACKAGE};
use crate::support::package::Package;
use crate::support::program;

/// Where the store has the model of an archive.
fn home(device: &Device, archive: &[u8]) -> PathBuf {
    let digest = Sha256Digest::of(archive).to_string().replace(':', "-");
    device.root().join("ggc/deployment/mlmodel/models").join(digest)
}

/// Starts a core, waits for predictions and, where one is to be written, for the artefact, and stops it; returns its log.
fn run(device: &Device, writes: bool) -> String {
    let _ = fs::remove_file(device.log_path());
    let mut core = device.start();
    device.wait_for_predictions();
    if writes {
        device.wait_for("the artefact", |_| device.log().contains("the compiled model is kept"));
    }
    assert_eq!(core.terminate(), Some(0));
    device.log()
}

/// Whether the log's line about the model that is ready says that it comes from the artefact.
fn is_from_artefact(log: &str) -> bool {
    let ready = log.lines().find(|line| line.contains("the model is ready")).unwrap_or_else(|| panic!("{log}"));
    let ready = ready.replace('"', "").replace(": ", "=").replace(':', "=");
    assert!(ready.contains("from_artefact=true") || ready.contains("from_artefact=false"), "{ready}");
    assert!(ready.contains("compiled"), "{ready}");
    ready.contains("from_artefact=true")
}

#[test]
fn the_second_start_runs_from_the_artefact_that_the_first_one_wrote() {
    let device = Device::new();
    let artefact = home(&device, PACKAGE).join("compiled");
    assert!(!is_from_artefact(&run(&device, true)));
    let first = fs::read(&artefact).unwrap();
    assert!(is_from_artefact(&run(&device, false)));
    assert_eq!(fs::read(&artefact).unwrap(), first, "one that is used stays as it is");

    for damage in [&first[..first.len() - 1], b"", b"no artefact", &[first.as_slice(), b"more"].concat()] {
        fs::write(&artefact, damage).unwrap();
        let log = run(&device, true);
        assert!(!is_from_artefact(&log));
        // One that cannot be mapped is as good as none.
        assert!(damage.is_empty() || log.contains("its artefact is passed over"), "{log}");
        assert!(fs::read(&artefact).unwrap() == first, "it is written again, and the same");
    }
}

#[test]
fn the_artefact_is_counted_and_goes_with_its_package() {
    let device = Device::new();
    let core = device.start();
    device.wait_for("the artefact", |_| device.log().contains("the compiled model is kept"));
    let listed = program::run(&["model", "list", "--json", "--config", device.config_path().to_str().unwrap()]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    let package: u64 = Package::bundled().0.values().map(|content| content.len() as u64).sum();
    let artefact = fs::metadata(home(&device, PACKAGE).join("compiled")).unwrap().len();
    assert!(listed.contains(&(package + artefact).to_string()), "{package} and {artefact} in {listed}");

    // The model that runs and the one before stay; the third one pushes the first out.
    for version in 1..=2_u8 {
        let mut package = Package::bundled();
        let labels = [package.0["labels.txt"].as_slice(), &vec![b'\n'; usize::from(version)]].concat();
        package.replace("labels.txt", labels);
        let archive = package.pack();
        let digest = Sha256Digest::of(&archive).to_string();
        device.cloud.put_object(BUCKET, KEY, archive);
        program::signal(core.pid(), rustix::process::Signal::HUP);
        device.wait_for("the next package", |status| {
            let classifier = status.cameras[0].classifier.as_ref();
            let model = classifier.and_then(|classifier| classifier.model.as_ref());
            status.cameras[0].deployment.state == margay::deployment::State::Deployed
                && model.is_some_and(|model| model.digest == digest)
        });
    }
    device.wait_for("the first model to go", |_| !home(&device, PACKAGE).exists());
}

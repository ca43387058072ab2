//! How much the store may hold: asked before a download and before unpacking, and what gives way to a new model.

use super::*;
use crate::store::QuotaExceeded;

const KIB: usize = 1024;

fn with_quota(directory: &TempDir, kib: usize) -> Store {
    open(directory).with_quota(Some((kib * KIB) as u64))
}

/// Installs a package of `kib` incompressible kibibytes, which differ by `seed`.
fn install(store: &Store, kib: usize, seed: u8) -> Result<InstalledModel, StoreError> {
    let mut content = incompressible(kib * KIB);
    content[0] = seed;
    install_as(store, &sized(&content), "m.tar.gz")
}

fn exceeded(error: StoreError) -> QuotaExceeded {
    match error {
        StoreError::Quota(exceeded) => exceeded,
        error => panic!("expected the quota to refuse, got {error:?}"),
    }
}

#[test]
fn a_download_that_does_not_fit_the_quota_is_refused_with_what_uses_the_room() {
    let directory = tempfile::tempdir().unwrap();
    let store = with_quota(&directory, 400);
    for seed in [1, 2] {
        let model = install(&store, 100, seed).unwrap();
        store.set_current(&resource(), &model).unwrap();
    }
    let download = store.download_path().unwrap();
    download.admission().ask(150 * KIB as u64).unwrap();
    let second = store.download_path().unwrap();
    let error = second.admission().ask(100 * KIB as u64).unwrap_err();
    assert!(error.is_retryable(), "the other download ends");
    let text = error.to_string();
    for word in ["0.3 MiB (margay.packages.quotaBytes)", "run for model", "ran before for model", "raise quotaBytes"] {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
    assert_eq!(exceeded(error).booked, 150 * KIB as u64);
    drop(download);
    second.admission().ask(100 * KIB as u64).unwrap();
}

#[test]
fn a_package_is_refused_before_it_is_unpacked_if_what_it_announces_does_not_fit() {
    let directory = tempfile::tempdir().unwrap();
    let zeros = vec![0; 300 * KIB];
    for (archive, name) in [(sized(&zeros), "m.tar.gz"), (zip(&[("model.onnx", &zeros, 0o644)]), "m.zip")] {
        let store = with_quota(&directory, 200);
        crash::after(7, io::ErrorKind::Other);
        let error = install_as(&store, &archive, name).unwrap_err();
        assert!(!crash::over(), "{name}: nothing of it was written");
        assert!(exceeded(error).needed >= 300 * KIB as u64);
        assert_eq!(fs::read_dir(directory.path().join("tmp")).unwrap().count(), 0);
    }
}

#[test]
fn a_package_that_announces_too_little_is_stopped_at_the_quota() {
    let directory = tempfile::tempdir().unwrap();
    let store = with_quota(&directory, 300);
    // Two gzip members are one tar; the end tells the size of the second only.
    let whole = sized(&incompressible(400 * KIB));
    let mut tar = Vec::new();
    io::Read::read_to_end(&mut flate2::read::GzDecoder::new(whole.as_slice()), &mut tar).unwrap();
    let (first, second) = tar.split_at(tar.len() - 1024);
    let archive = [gzip(&[]), gzip(first), gzip(second)].concat();
    let store = store.with_quota(Some((archive.len() + 100 * KIB) as u64));
    let error = install_as(&store, &archive, "m.tar.gz").unwrap_err();
    assert!(exceeded(error).needed > 0);
    assert_eq!(fs::read_dir(directory.path().join("models")).unwrap().count(), 0);
    assert!(install_as(&store.with_quota(None), &archive, "m.tar.gz").is_ok());
}

#[test]
fn old_models_give_way_but_never_the_current_the_previous_or_one_in_hand() {
    let directory = tempfile::tempdir().unwrap();
    let store = with_quota(&directory, 650);
    let run = |model: &InstalledModel| store.set_current(&resource(), model).unwrap();
    let places: Vec<_> = [1, 2, 3]
        .map(|seed| install(&store, 100, seed).unwrap())
        .iter()
        .inspect(|m| run(m))
        .map(|m| m.directory().to_owned())
        .collect();
    let in_hand = install(&store, 100, 4).unwrap();
    // 400 KiB are kept, and another 200 with their archive do not fit without the first.
    let fifth = install(&store, 150, 5).unwrap();
    let exist: Vec<_> = places.iter().map(|place| place.exists()).collect();
    assert_eq!(exist, [false, true, true]);
    assert!(in_hand.directory().exists() && fifth.directory().exists());
    let refused = exceeded(install(&store, 150, 6).unwrap_err());
    assert_eq!(refused.kept.len(), 4);
    assert_eq!(refused.kept.iter().filter(|(reason, _)| reason == "are being deployed").count(), 2);
    drop((in_hand, fifth));
    install(&store, 150, 6).unwrap();
    assert!(places[1].exists() && places[2].exists());
}

//! Compiled artefacts: replaced whole or not at all, bounded, counted, and gone with their model.

use super::*;
use crate::store::{Admission, CompiledPlace};

const MOST: u64 = 1 << 20;

/// A store with one model, and where its artefact lies.
fn with_model(directory: &TempDir, quota: Option<u64>) -> (Store, InstalledModel, CompiledPlace) {
    let store = open(directory).with_quota(quota);
    let model = install_as(&store, &tar_gz(&[Entry(FILE, "model.onnx", b"model")]), "m.tar.gz").unwrap();
    let place = store.compiled(&model);
    (store, model, place)
}

fn unfinished(directory: &TempDir) -> usize {
    fs::read_dir(directory.path().join("tmp")).unwrap().count()
}

#[test]
fn an_artefact_is_kept_replaced_and_opened() {
    let directory = tempfile::tempdir().unwrap();
    let (_store, _model, place) = with_model(&directory, None);
    assert!(place.open().is_none());
    assert_eq!(place.keep(&mut io::empty(), MOST).unwrap(), 0);
    assert!(place.open().is_none(), "nothing is nothing");
    for content in [vec![1; 300_000], vec![2; 10]] {
        assert_eq!(place.keep(&mut content.as_slice(), MOST).unwrap(), content.len() as u64);
        let mut found = Vec::new();
        io::Read::read_to_end(&mut place.open().unwrap(), &mut found).unwrap();
        assert_eq!(found, content);
    }
    assert_eq!(unfinished(&directory), 0);
}

#[test]
fn one_that_is_too_long_or_breaks_off_with_an_error_leaves_the_earlier_one() {
    struct Breaking;
    impl io::Read for Breaking {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::TimedOut.into())
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let (_store, _model, place) = with_model(&directory, None);
    place.keep(&mut &b"the earlier one"[..], MOST).unwrap();
    place.keep(&mut &[0; 5001][..], 5000).unwrap_err();
    place.keep(&mut io::repeat(0), MOST).unwrap_err();
    place.keep(&mut io::Read::chain(&[1; 100_000][..], Breaking), MOST).unwrap_err();
    assert_eq!(fs::read(place.path()).unwrap(), b"the earlier one");
    assert_eq!(unfinished(&directory), 0);
}

#[test]
fn a_link_or_a_folder_in_its_place_is_not_opened() {
    let directory = tempfile::tempdir().unwrap();
    let (_store, _model, place) = with_model(&directory, None);
    std::os::unix::fs::symlink("/etc/passwd", place.path()).unwrap();
    assert!(place.open().is_none());
    fs::remove_file(place.path()).unwrap();
    fs::create_dir(place.path()).unwrap();
    assert!(place.open().is_none());
}

#[test]
fn the_quota_counts_it_and_refuses_one_that_does_not_fit() {
    let directory = tempfile::tempdir().unwrap();
    let (store, model, place) = with_model(&directory, Some(100_000));
    let room = |bytes: u64| {
        let download = store.download_path().unwrap();
        Admission::ask(download.admission(), bytes)
    };
    room(80_000).unwrap();
    place.keep(&mut &[0; 50_000][..], MOST).unwrap();
    assert!(matches!(room(80_000), Err(StoreError::Quota(_))));
    room(40_000).unwrap();
    assert!(matches!(place.keep(&mut &[0; 60_000][..], MOST), Err(StoreError::Quota(_))));
    assert_eq!(fs::metadata(place.path()).unwrap().len(), 50_000);
    drop(model);
}

#[test]
fn it_goes_with_its_model_and_one_that_comes_too_late_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (store, model, place) = with_model(&directory, None);
    place.keep(&mut &[0; 500][..], MOST).unwrap();
    drop(model);
    assert_eq!(store.prune().unwrap().models, 1);
    assert!(!place.path().exists());
    place.keep(&mut &[0; 500][..], MOST).unwrap_err();
    assert_eq!(fs::read_dir(directory.path().join("models")).unwrap().count(), 0);
    assert_eq!(unfinished(&directory), 0);
}

#[test]
fn a_power_cut_leaves_the_earlier_artefact_or_the_new_one() {
    let directory = in_memory();
    let (_store, _model, place) = with_model(&directory, None);
    let (old, new) = (vec![1; 200_000], vec![2; 300_000]);
    place.keep(&mut old.as_slice(), MOST).unwrap();
    for steps in 0.. {
        crash::after(steps, io::ErrorKind::Other);
        let kept = place.keep(&mut new.as_slice(), MOST);
        let was_cut = crash::over();
        let found = fs::read(place.path()).unwrap();
        assert!(found == old || found == new, "after {steps} steps");
        if !was_cut {
            assert!(kept.is_ok() && found == new);
            break;
        }
    }
}

//! The store on a real disk: what is installed, what is refused, and what a power cut leaves behind.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use tar::{EntryType, Header};
use tempfile::TempDir;

use super::archive::Archive;
use super::room::Room;
use super::{ArchiveError, Download, InstalledModel, Limits, Shape, Store, StoreError, installed, unpack_for_a_look};
use crate::disk::crash;
use crate::name::{ResourceId, S3Uri};
use crate::package::Sha256Digest;

mod compiled;
mod hostile;
mod quota;

/// An entry of a test's tar.
struct Entry<'a>(EntryType, &'a str, &'a [u8]);

const FILE: EntryType = EntryType::Regular;
const DIRECTORY: EntryType = EntryType::Directory;

fn tar_gz(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut tar = Vec::new();
    for Entry(kind, name, content) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        // Written directly: the tar crate refuses to write what a hostile packer writes.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(content.len() as u64);
        header.set_mode(0o4777);
        header.set_cksum();
        tar.extend_from_slice(header.as_bytes());
        tar.extend_from_slice(content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.extend_from_slice(&[0; 1024]);
    gzip(&tar)
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zip(files: &[(&str, &[u8], u32)]) -> Vec<u8> {
    let mut writer = ::zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    for (name, content, mode) in files {
        let options = ::zip::write::SimpleFileOptions::default().unix_permissions(*mode);
        match mode & 0o170_000 {
            0o120_000 => writer.add_symlink(*name, String::from_utf8_lossy(content), options).unwrap(),
            _ if name.ends_with('/') => writer.add_directory(*name, options).unwrap(),
            _ => {
                writer.start_file(*name, options).unwrap();
                writer.write_all(content).unwrap();
            }
        }
    }
    writer.finish().unwrap().into_inner()
}

/// A directory where syncing costs nothing, for tests that install hundreds of times.
fn in_memory() -> TempDir {
    let memory = Path::new("/dev/shm");
    match memory.is_dir() {
        true => tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()).unwrap(),
        false => tempfile::tempdir().unwrap(),
    }
}

fn resource() -> ResourceId {
    "model".parse().unwrap()
}

fn origin(name: &str) -> S3Uri {
    format!("s3://greengrass-models/{name}").parse().unwrap()
}

fn open(directory: &TempDir) -> Store {
    Store::open(directory.path()).unwrap()
}

fn install_as(store: &Store, archive: &[u8], name: &str) -> Result<InstalledModel, StoreError> {
    let download = store.download_path()?;
    fs::write(download.path(), archive).unwrap();
    let fetched =
        Download { bytes: archive.len() as u64, sha256: Sha256Digest::of(archive), etag: Some("\"v1\"".to_owned()) };
    store.install(download, &origin(name), &fetched)
}

fn refused(archive: &[u8], name: &str) -> ArchiveError {
    refused_under(archive, name, Limits::default())
}

fn refused_under(archive: &[u8], name: &str, limits: Limits) -> ArchiveError {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).with_limits(limits);
    let error = install_as(&store, archive, name).unwrap_err();
    assert_eq!(fs::read_dir(directory.path().join("models")).unwrap().count(), 0, "nothing is published");
    assert_eq!(fs::read_dir(directory.path().join("tmp")).unwrap().count(), 0, "nothing is left behind");
    match error {
        StoreError::Archive { archive, source } => {
            assert_eq!(archive, name);
            source
        }
        error => panic!("expected the archive to be refused, got {error:?}"),
    }
}

/// The files below `directory`, with their content.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            assert!(metadata.is_dir() || metadata.is_file(), "{}", path.display());
            let mode = metadata.permissions().mode() & 0o7777;
            assert!(mode == 0o755 || (mode == 0o644 && metadata.is_file()), "{}: {mode:o}", path.display());
            match metadata.is_dir() {
                true => open.push(path),
                false => {
                    let name = path.strip_prefix(directory).unwrap().to_string_lossy().into_owned();
                    found.insert(name, fs::read(&path).unwrap());
                }
            }
        }
    }
    found
}

fn expected(files: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    files.iter().map(|(name, content)| ((*name).to_owned(), content.as_bytes().to_vec())).collect()
}

/// A package of one file.
fn sized(content: &[u8]) -> Vec<u8> {
    tar_gz(&[Entry(FILE, "model.onnx", content)])
}

fn package() -> Vec<u8> {
    tar_gz(&[
        Entry(DIRECTORY, "./signs/", b""),
        Entry(FILE, "./signs/model.onnx", b"weights"),
        Entry(FILE, "./signs/golden/stop.jpg", b"picture"),
    ])
}

#[test]
fn a_package_is_unpacked_without_its_parent_directory_into_a_directory_of_its_digest() {
    let directory = tempfile::tempdir().unwrap();
    let model = install_as(&open(&directory), &package(), "signs.tar.gz").unwrap();
    let name = Sha256Digest::of(&package()).to_string().replace(':', "-");
    assert!(model.directory().starts_with(directory.path().join("models").join(name)));
    assert_eq!(files(model.directory()), expected(&[("model.onnx", "weights"), ("golden/stop.jpg", "picture")]));
    assert_eq!((model.digest(), model.bytes()), (Sha256Digest::of(&package()), 14));
    assert_eq!(fs::read_dir(directory.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn every_way_of_packing_the_same_files_gives_the_same_directory() {
    let wanted = expected(&[("a.params", "1"), ("synset.txt", "2")]);
    let archives: [(&str, Vec<u8>); 6] = [
        (
            "with-parent.tar.gz",
            tar_gz(&[Entry(DIRECTORY, "m/", b""), Entry(FILE, "m/a.params", b"1"), Entry(FILE, "m/synset.txt", b"2")]),
        ),
        // V1 failed on this one (V11): the parent directory has no entry of its own.
        ("unlisted-parent.tar.gz", tar_gz(&[Entry(FILE, "m/a.params", b"1"), Entry(FILE, "m/synset.txt", b"2")])),
        ("flat.tgz", tar_gz(&[Entry(FILE, "a.params", b"1"), Entry(FILE, "./synset.txt", b"2")])),
        ("flat.zip", zip(&[("a.params", b"1", 0o644), ("synset.txt", b"2", 0o600)])),
        ("with-parent.ZIP", zip(&[("m/", b"", 0o755), ("m/a.params", b"1", 0o777), ("m/synset.txt", b"2", 0o644)])),
        (
            "finder.zip",
            zip(&[
                ("m/a.params", b"1", 0o644),
                ("m/synset.txt", b"2", 0o644),
                ("__MACOSX/m/._a.params", b"x", 0o644),
                ("m/.DS_Store", b"x", 0o644),
            ]),
        ),
    ];
    for (name, archive) in archives {
        let directory = tempfile::tempdir().unwrap();
        let model = install_as(&open(&directory), &archive, name).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(files(model.directory()), wanted, "{name}");
    }
}

#[test]
fn long_names_of_gnu_and_pax_are_understood() {
    let long = format!("{}/{}.onnx", "d".repeat(60), "f".repeat(120));
    for pax in [false, true] {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let mut header = if pax { Header::new_ustar() } else { Header::new_gnu() };
        header.set_size(7);
        header.set_mode(0o644);
        if pax {
            builder.append_pax_extensions([("path", long.as_bytes()), ("mtime", b"1.5".as_slice())]).unwrap();
            header.set_path("short").unwrap();
            header.set_cksum();
            builder.append(&header, b"weights".as_slice()).unwrap();
        } else {
            builder.append_data(&mut header, &long, b"weights".as_slice()).unwrap();
        }
        let archive = builder.into_inner().unwrap().finish().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let model = install_as(&open(&directory), &archive, "m.tar.gz").unwrap();
        assert_eq!(files(model.directory()).into_keys().collect::<Vec<_>>(), [format!("{}.onnx", "f".repeat(120))]);
    }
}

#[test]
fn archives_that_reach_outside_are_refused_whole() {
    for name in ["../evil", "/etc/cron.d/evil", "m/../../evil", "m/..", "m//evil", "..\\evil", "m/\u{1b}[2J"] {
        let tar = tar_gz(&[Entry(FILE, "m/model.onnx", b"weights"), Entry(FILE, name, b"evil")]);
        let error = refused(&tar, "m.tar.gz");
        assert!(matches!(error, ArchiveError::Path { .. }), "{name}: {error:?}");
        let error = refused(&zip(&[("m/model.onnx", b"weights", 0o644), (name, b"evil", 0o644)]), "m.zip");
        assert!(matches!(error, ArchiveError::Path { .. }), "{name}: {error:?}");
    }
}

#[test]
fn code_keeps_its_top_and_its_programs_and_nothing_else_of_its_modes() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let archive = zip(&[("run/main", b"#!/bin/sh", 0o4_775), ("run/data", b"1", 0o666)]);
    let download = store.download_path().unwrap();
    fs::write(download.path(), &archive).unwrap();
    let fetched = Download { bytes: archive.len() as u64, sha256: Sha256Digest::of(&archive), etag: None };
    let origin = Path::new("/opt/run.zip").into();
    let installed = store.install_as(Shape::Code, download, origin, &fetched).unwrap();
    let mode = |name: &str| installed.directory().join(name).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("run/main"), mode("run/data")), (0o755, 0o644));
    let again = store.installed(installed.release()).unwrap().unwrap();
    assert_eq!(again.origin().to_string(), "/opt/run.zip");
}

#[test]
fn links_devices_and_pipes_are_refused() {
    for kind in
        [EntryType::Symlink, EntryType::Link, EntryType::Char, EntryType::Block, EntryType::Fifo, EntryType::GNUSparse]
    {
        let error = refused(&tar_gz(&[Entry(FILE, "m/a", b"1"), Entry(kind, "m/b", b"")]), "m.tar.gz");
        assert!(matches!(error, ArchiveError::Kind { .. }), "{kind:?}: {error:?}");
    }
    let linked = zip(&[("m/a", b"1", 0o644), ("m/b", b"/etc/passwd", 0o120_777)]);
    let error = refused(&linked, "m.zip");
    assert!(matches!(error, ArchiveError::Kind { kind: "a symbolic link", .. }), "{error:?}");
}

#[test]
fn an_entry_cannot_replace_an_earlier_one() {
    let twice = [
        tar_gz(&[Entry(FILE, "a", b"1"), Entry(FILE, "./a", b"2")]),
        tar_gz(&[Entry(FILE, "a", b"1"), Entry(DIRECTORY, "a/", b"")]),
        tar_gz(&[Entry(FILE, "a", b"1"), Entry(FILE, "a/b", b"2")]),
        tar_gz(&[Entry(DIRECTORY, "a/", b""), Entry(FILE, "a", b"2")]),
    ];
    for archive in twice {
        let error = refused(&archive, "m.tar.gz");
        assert!(matches!(error, ArchiveError::Duplicate { .. }), "{error:?}");
    }
}

#[test]
fn bombs_are_refused_at_the_limit() {
    let limits = Limits { entries: 20, bytes: 100_000, ratio: 100, free_bytes: 1000, depth: 3 };
    let zeros = vec![0; 90_000];
    let bomb = tar_gz(&[Entry(FILE, "a", &zeros)]);
    assert!(bomb.len() < 800, "{}", bomb.len());
    for (archive, name) in [
        (bomb, "ratio.tar.gz"),
        (zip(&[("a", &zeros, 0o644)]), "ratio.zip"),
        (
            tar_gz(&[Entry(FILE, "a", &incompressible(60_000)), Entry(FILE, "b", &incompressible(60_000))]),
            "bytes.tar.gz",
        ),
        (zip(&[("a", &incompressible(60_000), 0o644), ("b", &incompressible(60_000), 0o644)]), "bytes.zip"),
    ] {
        let error = refused_under(&archive, name, limits);
        assert!(matches!(error, ArchiveError::Limit { of: "bytes when unpacked", .. }), "{name}: {error:?}");
    }
    let names: Vec<_> = (0..21).map(|n| format!("f{n}")).collect();
    let many: Vec<_> = names.iter().map(|name| Entry(FILE, name, b"")).collect();
    assert!(matches!(refused_under(&tar_gz(&many), "m.tar.gz", limits), ArchiveError::Limit { of: "entries", .. }));
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), b"".as_slice(), 0o644)).collect();
    assert!(matches!(refused_under(&zip(&many), "m.zip", limits), ArchiveError::Limit { of: "entries", .. }));
    let deep = tar_gz(&[Entry(FILE, "a/b/c/d", b"")]);
    assert!(matches!(refused_under(&deep, "m.tar.gz", limits), ArchiveError::Limit { of: "parts in a path", .. }));
    let name = tar_gz(&[Entry(EntryType::GNULongName, "././@LongLink", &[b'a'; 20_000]), Entry(FILE, "a", b"")]);
    let error = refused(&name, "m.tar.gz");
    assert!(matches!(error, ArchiveError::Limit { of: "bytes in an extension header", .. }), "{error:?}");
}

fn incompressible(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

#[test]
fn only_tar_gz_and_zip_are_packages_and_their_names_say_so_as_v9_asks() {
    assert!(matches!(refused(&package(), "model.bin"), ArchiveError::UnknownName));
    assert!(matches!(refused(&package(), "model.zip"), ArchiveError::UnlikeName { found: Some(".tar.gz"), .. }));
    assert!(matches!(refused(b"BZh91AY&SY", "model.tar.gz"), ArchiveError::UnlikeName { found: None, .. }));
    assert!(matches!(refused(b"", "model.zip"), ArchiveError::UnlikeName { found: None, .. }));
    let text = refused(b"<html>", "model.zip").to_string();
    assert_eq!(text, "its name says .zip, its content is neither .tar.gz nor .zip");
}

#[test]
fn damaged_archives_are_refused_at_every_length() {
    let directory = in_memory();
    let store = open(&directory);
    let zip_file = zip(&[("a", b"1", 0o644), ("b", &incompressible(500), 0o644)]);
    for (archive, name) in [(package(), "m.tar.gz"), (zip_file, "m.zip")] {
        for length in (4..archive.len()).step_by(5) {
            let error = install_as(&store, &archive[..length], name).unwrap_err();
            assert!(matches!(error, StoreError::Archive { .. }), "{name} cut to {length}: {error:?}");
        }
    }
    assert_eq!(fs::read_dir(directory.path().join("models")).unwrap().count(), 0);
    assert!(matches!(refused(&tar_gz(&[]), "m.tar.gz"), ArchiveError::Empty));
    assert!(matches!(refused(&tar_gz(&[Entry(DIRECTORY, "m/", b"")]), "m.tar.gz"), ArchiveError::Empty));
    assert!(matches!(refused(&zip(&[]), "m.zip"), ArchiveError::Empty));
    assert!(matches!(refused(&gzip(b"not a tar"), "m.tar.gz"), ArchiveError::Damaged { .. } | ArchiveError::Empty));
}

#[test]
fn a_model_that_is_installed_is_not_unpacked_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let first = install_as(&store, &package(), "signs.tar.gz").unwrap();
    let written = fs::metadata(first.directory()).unwrap().modified().unwrap();
    let again = install_as(&store, &package(), "signs-v2.tar.gz").unwrap();
    assert_eq!(again.directory(), first.directory());
    assert_eq!(fs::metadata(again.directory()).unwrap().modified().unwrap(), written);
    assert_eq!(again.etag_of(&origin("signs-v2.tar.gz")), Some("\"v1\""));
    assert_eq!(again.etag_of(&origin("signs.tar.gz")), None, "the version belongs to the other object");
}

#[test]
fn a_model_that_lost_a_file_counts_as_not_installed_and_is_installed_anew() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let model = install_as(&store, &package(), "signs.tar.gz").unwrap();
    store.set_current(&resource(), &model).unwrap();
    fs::write(model.directory().join("model.onnx"), "short").unwrap();
    assert_eq!(store.current(&resource()).unwrap(), None);
    let again = install_as(&store, &package(), "signs.tar.gz").unwrap();
    assert_eq!(files(again.directory())["model.onnx"], b"weights");
    assert_eq!(store.current(&resource()).unwrap(), Some(again));
}

#[test]
fn digests_of_the_manifest_and_of_a_failing_disk_are_compared_file_by_file() {
    let directory = tempfile::tempdir().unwrap();
    let model = install_as(&open(&directory), &package(), "signs.tar.gz").unwrap();
    let promise = |file: &str, content: &[u8]| BTreeMap::from([(file.parse().unwrap(), Sha256Digest::of(content))]);
    model.check_manifest(&promise("model.onnx", b"weights")).unwrap();
    let other = model.check_manifest(&promise("model.onnx", b"other")).unwrap_err();
    assert!(matches!(&other, StoreError::FileDigest { actual: Some(_), .. }) && !other.is_retryable());
    let missing = model.check_manifest(&promise("labels.txt", b"")).unwrap_err();
    assert!(missing.to_string().ends_with("is missing"), "{missing}");

    model.check_content().unwrap();
    fs::write(model.directory().join("model.onnx"), "wEights").unwrap();
    assert!(matches!(model.check_content(), Err(StoreError::FileDigest { .. })));
}

#[test]
fn the_record_survives_a_restart_and_can_be_rolled_back() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (package(), tar_gz(&[Entry(FILE, "model.onnx", b"better")]));
    {
        let store = open(&directory);
        assert_eq!(store.current(&resource()).unwrap(), None);
        for archive in [&old, &new] {
            let model = install_as(&store, archive, "signs.tar.gz").unwrap();
            store.set_current(&resource(), &model).unwrap();
        }
    }
    let store = open(&directory);
    let current = store.current(&resource()).unwrap().unwrap();
    assert_eq!(current.digest(), Sha256Digest::of(&new));
    assert_eq!(current.etag_of(&origin("signs.tar.gz")), Some("\"v1\""));
    assert_eq!(store.previous(&resource()).unwrap().unwrap().digest(), Sha256Digest::of(&old));
    let back = store.roll_back(&resource()).unwrap().unwrap();
    assert_eq!(back.digest(), Sha256Digest::of(&old));
    assert_eq!(store.current(&resource()).unwrap().unwrap(), back);
    assert_eq!(store.previous(&resource()).unwrap().unwrap().digest(), Sha256Digest::of(&new));
}

#[test]
fn models_that_no_resource_needs_are_pruned_and_the_others_stay() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let mut directories = Vec::new();
    let mut worked_with = None;
    for (content, runs) in [("1", true), ("2", true), ("3", true), ("4", false), ("5", false)] {
        let model = install_as(&store, &sized(content.as_bytes()), "m.tar.gz").unwrap();
        if runs {
            store.set_current(&resource(), &model).unwrap();
        }
        directories.push(model.directory().to_owned());
        worked_with = Some(model);
    }
    let left = || directories.iter().map(|directory| directory.exists()).collect::<Vec<_>>();
    let pruned = store.prune().unwrap();
    assert_eq!((pruned.models, pruned.bytes), (2, 2));
    assert_eq!(left(), [false, true, true, false, true], "what is being deployed stays");
    drop(worked_with);
    assert_eq!(store.prune().unwrap().models, 1);
    assert_eq!(left(), [false, true, true, false, false]);
    assert_eq!(fs::read_dir(directory.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn a_store_is_open_in_one_process_and_readable_only_by_binaries_that_know_its_layout() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    assert!(matches!(Store::open(directory.path()), Err(StoreError::Busy { .. })));
    drop(store);
    fs::write(directory.path().join("format"), "2\n").unwrap();
    let error = Store::open(directory.path()).unwrap_err();
    assert!(matches!(error, StoreError::NewerLayout { found: 2, known: 1, .. }));
    assert!(error.to_string().contains("install the newer Margay again"), "{error}");
    fs::write(directory.path().join("format"), "photographs").unwrap();
    assert!(matches!(Store::open(directory.path()), Err(StoreError::NotAStore { .. })));
    fs::write(directory.path().join("format"), "1\n").unwrap();
    open(&directory);
}

#[test]
fn a_damaged_record_is_named_and_not_taken_for_none() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    for content in
        ["", "{", r#"{"format":1,"current":{"digest":"x","origin":"s3://bucket/k","etag":null},"previous":null}"#]
    {
        fs::write(directory.path().join("resources/model.json"), content).unwrap();
        let error = store.current(&resource()).unwrap_err();
        assert!(error.to_string().contains("model.json"), "{error}");
        assert!(store.prune().is_err(), "nothing is pruned by a record that cannot be read");
    }
}

#[test]
fn a_damaged_document_of_a_model_counts_as_not_installed() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let model = install_as(&store, &package(), "signs.tar.gz").unwrap();
    store.set_current(&resource(), &model).unwrap();
    let document = model.directory().with_file_name("installed.json");
    let whole = fs::read(&document).unwrap();
    for content in [b"".as_slice(), b"{", b"[]", &whole[..whole.len() / 2], br#"{"format":1,"files":{"../x":{}}}"#] {
        fs::write(&document, content).unwrap();
        assert_eq!(store.current(&resource()).unwrap(), None);
        let again = install_as(&store, &package(), "signs.tar.gz").unwrap();
        assert_eq!(fs::read(&document).unwrap(), whole);
        again.check_content().unwrap();
    }
}

/// Installs over an older model, with the power cut at every single change to the disk.
#[test]
fn a_power_cut_at_any_step_leaves_the_old_model_or_the_new_one_and_never_half() {
    let new =
        tar_gz(&[Entry(DIRECTORY, "m/", b""), Entry(FILE, "m/model.onnx", b"better"), Entry(FILE, "m/sub/x", b"x")]);
    let mut cuts = 0;
    loop {
        let directory = in_memory();
        let store = open(&directory);
        let old = install_as(&store, &package(), "signs.tar.gz").unwrap();
        store.set_current(&resource(), &old).unwrap();
        drop(store);

        crash::after(cuts, io::ErrorKind::Other);
        let outcome = Store::open(directory.path()).and_then(|store| {
            let model = install_as(&store, &new, "signs.tar.gz")?;
            store.set_current(&resource(), &model)
        });
        let cut = crash::over();
        // A cut that only keeps a temporary file from being removed is no failure.
        assert!(cut || outcome.is_ok(), "cut {cuts}: {outcome:?}");

        let store = open(&directory);
        let current = store.current(&resource()).unwrap().expect("one of the two runs");
        current.check_content().unwrap();
        assert!(outcome.is_err() || current.digest() == Sha256Digest::of(&new), "cut {cuts}");
        assert_eq!(fs::read_dir(directory.path().join("tmp")).unwrap().count(), 0, "cut {cuts}: swept");
        let again = install_as(&store, &new, "signs.tar.gz").unwrap();
        assert_eq!(files(again.directory()), expected(&[("model.onnx", "better"), ("sub/x", "x")]));
        again.check_content().unwrap();
        if !cut {
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 25, "only {cuts} steps were tried");
}

#[test]
fn a_full_disk_is_told_as_such_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let download = store.download_path().unwrap();
    fs::write(download.path(), package()).unwrap();
    let fetched = Download { bytes: 1, sha256: Sha256Digest::of(&package()), etag: None };
    crash::after(5, io::ErrorKind::StorageFull);
    let error = store.install(download, &origin("m.tar.gz"), &fetched).unwrap_err();
    assert!(crash::over());
    assert!(matches!(error, StoreError::DiskFull(_)) && error.is_retryable(), "{error:?}");
    assert!(error.to_string().contains("MiB free"), "{error}");
    assert_eq!(fs::read_dir(directory.path().join("models")).unwrap().count(), 0);
}

#[test]
fn an_archive_that_announces_more_than_the_disk_has_is_refused_before_it_is_unpacked() {
    let directory = tempfile::tempdir().unwrap();
    let huge = Limits { bytes: u64::MAX, free_bytes: u64::MAX, ..Limits::default() };
    let store = open(&directory).with_limits(huge);
    let mut archive = package();
    let length = archive.len();
    archive[length - 4..].copy_from_slice(&u32::MAX.to_le_bytes());
    let error = install_as(&store, &archive, "m.tar.gz").unwrap_err();
    // With 4 GiB free the lie is found at the end of the gzip instead.
    assert!(matches!(error, StoreError::DiskFull(_) | StoreError::Archive { .. }), "{error:?}");
}

#[test]
fn a_look_at_a_package_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("signs.tar.gz");
    fs::write(&path, package()).unwrap();
    let unpacked = unpack_for_a_look(&path).unwrap();
    assert_eq!(files(unpacked.path()).len(), 2);
    let place = unpacked.path().parent().unwrap().to_owned();
    drop(unpacked);
    assert!(!place.exists());
}

/// Unpacks into `directory`, as an installation does before it publishes.
fn stage(directory: &Path, archive: &[u8], name: &str) -> Result<(), StoreError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, archive).unwrap();
    let archive = Archive::recognise(file.path(), name)?;
    installed::stage(directory, &archive, (&Limits::default(), Shape::Model), Room::new(directory, None).book())
        .map(|_| ())
}

proptest! {
    #[test]
    fn no_archive_writes_outside_its_directory(
        names in proptest::collection::vec("[a./\\\\]{1,12}", 1..6),
        kinds in proptest::collection::vec(prop_oneof![Just(FILE), Just(DIRECTORY), Just(EntryType::Symlink)], 6),
    ) {
        let outside = in_memory();
        let directory = outside.path().join("a/a/a/a/a/a/a");
        fs::create_dir_all(&directory).unwrap();
        let entries: Vec<_> = names.iter().zip(kinds).map(|(name, kind)| Entry(kind, name, b"")).collect();
        let _ = stage(&directory, &tar_gz(&entries), "m.tar.gz");
        fs::remove_dir_all(&directory).unwrap();
        prop_assert!(files(outside.path()).is_empty());
    }

    #[test]
    fn no_bytes_break_the_readers(bytes in proptest::collection::vec(any::<u8>(), 0..600), is_zip: bool) {
        let directory = in_memory();
        let (archive, name) = match is_zip {
            true => ([b"PK\x03\x04".as_slice(), &bytes].concat(), "m.zip"),
            false => (gzip(&bytes), "m.tar.gz"),
        };
        let _ = stage(directory.path(), &archive, name);
    }
}

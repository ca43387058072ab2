//! The fuzz target for archives: any bytes, unpacked as a package would be. A fuzzer, a kept corpus or a test that
//! mutates archives calls it.

use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::archive::{Archive, ArchiveKind};
use super::error::StoreError;
use super::installed::{self, Shape};
use super::room::Room;
use super::scratch::Scratch;
use super::unpack::Limits;

/// Small, so that bombs are met without writing much.
const LIMITS: Limits = Limits { entries: 64, bytes: 256 * 1024, ratio: 40, free_bytes: 32 * 1024, depth: 6 };

/// The longest message that an operator can be expected to read, with its causes.
const MESSAGE: usize = 1000;

/// Unpacks `bytes` as a `.zip` if it begins like one, otherwise as a `.tar.gz`, below the system's temporary directory.
/// Returns whether it is a package.
///
/// # Panics
/// Where anything is written beside the staging directory, or in it what is neither a plain file nor a directory or
/// beyond the limits; where a refusal is not the archive's fault, does not name the archive, or cannot be read.
pub fn fuzz_package(bytes: &[u8]) -> bool {
    let outer = Scratch::directory_within(&std::env::temp_dir()).expect("the temporary directory can be written");
    // Deep, so that what climbs out of it still lands where it is found.
    let staging = outer.path().join("1/2/3/4/5/6/7/8/staging");
    fs::create_dir_all(&staging).expect("a directory can be made");
    let path = outer.path().join("archive");
    fs::write(&path, bytes).expect("a file can be written");
    let name = if ArchiveKind::of_content(bytes) == Some(ArchiveKind::Zip) { "m.zip" } else { "m.tar.gz" };

    let room = Room::new(outer.path(), None).book();
    let outcome = Archive::recognise(&path, name)
        .and_then(|archive| installed::stage(&staging, &archive, (&LIMITS, Shape::Model), room));
    let written = look(&staging);
    assert!(written <= LIMITS.bytes + bytes.len() as u64 * LIMITS.ratio, "{written} bytes were written");
    fs::remove_dir_all(&staging).expect("the staging directory is still there");
    assert_eq!(fs::read(&path).expect("the archive is still there"), bytes);
    fs::remove_file(&path).expect("the archive can be removed");
    assert_eq!(look(outer.path()), 0, "nothing was written beside the staging directory");
    match outcome {
        Ok(_) => true,
        Err(error) => {
            assert_readable(&error);
            false
        }
    }
}

/// Bytes of all files below `directory`, which holds files and directories of this process only.
fn look(directory: &Path) -> u64 {
    let mut bytes = 0;
    for entry in fs::read_dir(directory).expect("a directory can be listed") {
        let path = entry.expect("a directory can be listed").path();
        let metadata = fs::symlink_metadata(&path).expect("what is listed is there");
        if metadata.is_dir() {
            bytes += look(&path);
            continue;
        }
        assert!(metadata.is_file(), "{} is no plain file", path.display());
        assert_eq!(metadata.permissions().mode() & 0o7022, 0, "{} has the archive's mode", path.display());
        bytes += metadata.len();
    }
    bytes
}

fn assert_readable(error: &StoreError) {
    let names_it = matches!(error, StoreError::Archive { archive, .. } if !archive.is_empty());
    assert!(names_it, "not the archive's fault: {error:?}");
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    assert!(text.len() <= MESSAGE, "{} bytes of message: {text}", text.len());
    assert!(!text.chars().any(char::is_control), "control characters in {text:?}");
}

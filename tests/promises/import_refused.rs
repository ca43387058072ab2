//! What cannot be taken over of a Greengrass V1 device is refused by name, before anything is written.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use crate::support::program;
use crate::support::v1_tree::V1Tree;

/// Asserts that the import is refused in those words, that nothing is written, and that the disk is as it was.
#[track_caller]
fn refused(tree: &V1Tree, code: i32, words: &[&str]) {
    let before = tree.snapshot();
    let out = tree.beside("margay");
    let output = tree.import(&out, &[]);
    program::assert_code(&output, code);
    let said = String::from_utf8_lossy(&output.stderr);
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
    assert!(!out.exists(), "something was written");
    assert_eq!(tree.snapshot(), before);
}

#[test]
fn a_damaged_disk_is_named_file_by_file_and_nothing_is_written() {
    let mut tree = V1Tree::new();
    let (config, group) = ("config/config.json", "ggc/deployment/group/group.json");
    let both = (tree.config.to_string(), tree.group.to_string());
    let path = |name: &str| tree.root.join(name);
    let restore = || tree.write();

    fs::remove_file(path(config)).unwrap();
    fs::remove_file(path(group)).unwrap();
    refused(&tree, 3, &["config/config.json is not there", "group/group.json is not there"]);
    restore();
    tree.add(config, &both.0.as_bytes()[..both.0.len() / 2]);
    tree.add(group, &both.1.as_bytes()[..both.1.len() / 2]);
    refused(&tree, 3, &["Failed to parse", "group.json is not JSON, or was cut off"]);
    restore();
    tree.add(group, b"{}");
    refused(&tree, 3, &["group.json deploys nothing", "--definitions"]);
    tree.add(group, &vec![b' '; 2 << 20]);
    refused(&tree, 3, &["group.json has more than 1048576 bytes"]);
    tree.add(group, &[b'['; 4096]);
    refused(&tree, 3, &["group.json", "recursion limit"]);
    fs::remove_file(path(group)).unwrap();
    symlink("group.json", path(group)).unwrap();
    refused(&tree, 3, &["group.json cannot be read", "symbolic links"]);
    fs::remove_file(path(group)).unwrap();
    symlink("/etc/hostname", path(group)).unwrap();
    refused(&tree, 3, &["group.json leads to /etc/hostname, out of"]);
    fs::remove_file(path(group)).unwrap();

    let core = tree.group["CoreDefinitionVersion"]["Cores"][0].clone();
    tree.group["CoreDefinitionVersion"]["Cores"].as_array_mut().unwrap().push(core);
    tree.write();
    refused(&tree, 3, &["CoreDefinitionVersion.Cores", "exactly one core, and this one lists 2"]);
}

#[test]
fn an_identity_that_cannot_be_used_is_named_with_its_file() {
    let tree = V1Tree::new();
    let of = |key: &str| -> PathBuf {
        let uri = &tree.config["crypto"]["principals"]["IoTCertificate"][key];
        uri.as_str().unwrap().strip_prefix("file://").unwrap().into()
    };
    let (certificate, key) = (of("certificatePath"), of("privateKeyPath"));
    let kept = fs::read(&certificate).unwrap();
    fs::write(&certificate, b"").unwrap();
    refused(&tree, 4, &[certificate.to_str().unwrap(), "is empty"]);
    fs::write(&certificate, kept).unwrap();
    if !rustix::process::geteuid().is_root() {
        fs::set_permissions(&certificate, fs::Permissions::from_mode(0o000)).unwrap();
        let output = tree.import(&tree.beside("margay"), &[]);
        program::assert_code(&output, 4);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(certificate.to_str().unwrap()) && said.contains("needs read permission"), "{said}");
        fs::set_permissions(&certificate, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let secret = fs::read_to_string(&key).unwrap();
    fs::remove_file(&key).unwrap();
    refused(&tree, 4, &[key.to_str().unwrap(), "does not exist"]);
    fs::create_dir(&key).unwrap();
    refused(&tree, 4, &[key.to_str().unwrap()]);
    fs::remove_dir(&key).unwrap();

    // No part of a key is ever said or copied.
    fs::write(&key, &secret).unwrap();
    let out = tree.beside("margay");
    let output = tree.import(&out, &["--model", &tree.package()]);
    program::assert_code(&output, 0);
    let line = secret.lines().nth(1).unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!said.contains(line) && !said.contains('\x1b'), "colours are for terminals");
    assert!(said.contains("chmod 600") && said.contains("(mode 0644)"), "the key's mode is odd: {said}");
    for document in ["config.json", "group.json"] {
        let mode = fs::metadata(out.join(document)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{document} may hold passwords");
    }
    for file in ["config.json", "group.json", "report.txt"] {
        assert!(!fs::read_to_string(out.join(file)).unwrap().contains(line), "{file}");
    }
}

#[test]
fn nothing_is_overwritten_and_nothing_goes_into_the_source() {
    let tree = V1Tree::new();
    let before = tree.snapshot();
    let inside = tree.root.join("margay");
    let output = tree.import(&inside, &[]);
    program::assert_code(&output, 1);
    assert!(String::from_utf8_lossy(&output.stderr).contains("of which nothing is changed"));
    assert_eq!(tree.snapshot(), before);
    let there = tree.beside("there");
    fs::create_dir(&there).unwrap();
    let output = tree.import(&there, &[]);
    program::assert_code(&output, 1);
    assert!(String::from_utf8_lossy(&output.stderr).contains("exists"));
    assert_eq!(fs::read_dir(&there).unwrap().count(), 0);
    let output = tree.import(&tree.beside("margay"), &["--model", &format!("nobody={}", there.display())]);
    program::assert_code(&output, 3);
    assert!(String::from_utf8_lossy(&output.stderr).contains("nobody, which is no machine learning resource"));
}

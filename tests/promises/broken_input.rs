//! What can arrive broken is listed with what is said of it, and each row has a test that sends it.

use crate::support::device::{BUCKET, Device, KEY};
use crate::support::package::Package;
use crate::support::{program, tables};

#[test]
fn every_row_of_broken_input_has_its_test() {
    tables::assert_every_row_names_its_test(include_str!("../../docs/broken-input.md"));
}

/// `margay check --online` refuses the bundled package as `change` leaves it, with `code`; its message.
fn refused(device: &Device, code: i32, change: impl FnOnce(&mut Package)) -> String {
    let mut package = Package::bundled();
    change(&mut package);
    device.cloud.put_object(BUCKET, KEY, package.pack());
    let output = program::run(&["check", "--online", "--config", device.config_path().to_str().unwrap()]);
    program::assert_code(&output, code);
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_manifest_that_is_no_toml_or_breaks_a_rule_is_refused_with_line_and_key() {
    let device = Device::new();
    let put = |text: String| move |package: &mut Package| drop(package.0.insert("model.toml".to_owned(), text.into()));
    let manifest = Package::bundled().manifest();
    let message = refused(&device, 7, put(format!("{manifest}\n[[[")));
    assert!(message.contains("model.toml") && message.contains("correct line"), "{message}");
    let message = refused(&device, 7, put(manifest.replacen("format = 1", "format = 2", 1)));
    assert!(message.contains("model.toml: format = 2"), "{message}");
    let message = refused(&device, 7, put(manifest.replacen("labels", "lables", 1)));
    assert!(message.contains("lables"), "{message}");
}

#[test]
fn labels_that_are_no_list_are_refused_by_line() {
    let device = Device::new();
    let message = refused(&device, 7, |package| package.replace("labels.txt", b"stop\n\nyield\n".to_vec()));
    assert!(message.contains("line 2"), "{message}");
    let message = refused(&device, 7, |package| package.replace("labels.txt", Vec::new()));
    assert!(message.contains("the file is empty"), "{message}");
}

#[test]
fn a_golden_sample_that_is_no_picture_is_refused_by_name() {
    let device = Device::new();
    let message = refused(&device, 7, |package| package.replace("golden/stop.jpg", b"no picture".to_vec()));
    assert!(message.contains("golden/stop.jpg"), "{message}");
    let message = refused(&device, 6, |package| drop(package.0.remove("golden/stop.jpg")));
    assert!(message.contains("golden/stop.jpg") && message.contains("is missing"), "{message}");
}

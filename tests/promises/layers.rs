//! The house stands on its layers: a module uses only what lies below it, and within a layer what stands to its right.
//! `src/lib.rs` draws the order that this test holds.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules from the top of the house to its bottom. A module may name those after it, not those before it.
/// Modules that share a row may not name one another.
const ORDER: &[&[&str]] = &[
    &["cli"],
    &["app"],
    &["import", "jobs"],
    &["deployment", "packing", "serving"],
    &["documents"],
    &["connector", "page"],
    &["feedback", "inference_service"],
    &["classifier"],
    &["function"],
    &["router"],
    &["mqtt", "s3"],
    &["credentials"],
    &["http"],
    &["identity"],
    &["store", "ipc", "log_file"],
    &["group"],
    &["config"],
    &["package"],
    &["document"],
    &["payload", "topic", "problem"],
    &["arn"],
    &["name"],
    &["units", "secret", "clock", "backoff", "causes", "disk", "metrics", "statistics"],
];

/// Crates that only one place may name, so that what they bring stays behind its edge.
const NAMED_ONLY_BY: &[(&str, &[&str])] = &[
    ("rumqttc", &["src/mqtt"]),
    ("tract_onnx", &["crates/inference/src"]),
    ("ort", &["crates/inference/src/engine/onnx_runtime"]),
    ("aws_sigv4", &["src/s3", "deploy/localcloud/src"]),
    ("margay_localcloud", &["src/cli/demo", "tests", "src/credentials", "src/s3", "src/mqtt", "src/jobs"]),
];

#[test]
fn every_module_imports_downwards_only() {
    let mut offences = Vec::new();
    for file in rust_files(Path::new("src")) {
        let Some(own) = module_of(&file) else { continue };
        let own_row = row(&own).unwrap_or_else(|| panic!("{} is in no layer of this test", file.display()));
        let text = shipped_code(&fs::read_to_string(&file).unwrap());
        for used in crate_paths(&text) {
            match row(&used) {
                Some(used_row) if used == own || used_row > own_row => {}
                Some(_) => offences.push(format!("{}: {own} uses crate::{used}, which stands above", file.display())),
                None => offences.push(format!("{}: crate::{used} is in no layer", file.display())),
            }
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn what_is_behind_an_edge_is_named_only_there() {
    let mut offences = Vec::new();
    for root in [
        "src",
        "camera/src",
        "crates/sandbox/src",
        "crates/frontend/src",
        "crates/inference/src",
        "crates/kernels/src",
        "deploy/localcloud/src",
    ] {
        for file in rust_files(Path::new(root)) {
            let text = shipped_code(&fs::read_to_string(&file).unwrap());
            for (name, places) in NAMED_ONLY_BY {
                let allowed =
                    places.iter().any(|place| file.starts_with(place) || file.with_extension("").starts_with(place));
                if names_crate(&text, name) && !allowed {
                    offences.push(format!("{} names {name}", file.display()));
                }
            }
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn all_but_three_crates_forbid_unsafe_code() {
    for root in [
        "src/lib.rs",
        "src/main.rs",
        "crates/frontend/src/lib.rs",
        "crates/inference/src/lib.rs",
        "deploy/localcloud/src/lib.rs",
    ] {
        let text = fs::read_to_string(root).unwrap();
        assert!(text.contains("#![forbid(unsafe_code)]"), "{root} does not forbid unsafe code");
    }
}

#[test]
fn no_file_is_called_mod_or_utils() {
    for root in ["src", "camera/src", "crates", "deploy", "tests"] {
        for file in rust_files(Path::new(root)) {
            let name = file.file_stem().unwrap().to_string_lossy().into_owned();
            assert!(!["mod", "utils", "util", "helpers", "common"].contains(&name.as_str()), "{}", file.display());
        }
    }
}

/// Whether a path in the code begins with this crate.
fn names_crate(text: &str, name: &str) -> bool {
    let begins = |at: usize| !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    text.match_indices(&format!("{name}::")).any(|(at, _)| begins(at))
}

/// The code without its test modules: tests may reach across the house.
fn shipped_code(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len());
    text[..end].lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn crate_paths(text: &str) -> Vec<String> {
    let mut modules = Vec::new();
    for (start, _) in text.match_indices("crate::") {
        if text[..start].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &text[start + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let inside = group.split('}').next().unwrap_or("");
            modules.extend(inside.split(',').map(|name| first_word(name.trim())));
        } else {
            modules.push(first_word(rest));
        }
    }
    modules.retain(|module| !module.is_empty() && module.starts_with(|c: char| c.is_lowercase()));
    modules
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// `src/mqtt/link.rs` belongs to `mqtt`; the crate's roots belong to none.
fn module_of(file: &Path) -> Option<String> {
    let inside = file.strip_prefix("src").ok()?;
    let first = inside.components().next()?.as_os_str().to_str()?;
    let module = first.strip_suffix(".rs").unwrap_or(first);
    (!["lib", "main"].contains(&module)).then(|| module.to_owned())
}

fn row(module: &str) -> Option<usize> {
    ORDER.iter().position(|row| row.contains(&module))
}

fn rust_files(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

//! What the promises share: the program under test, a device against a local cloud, the payload's schema.

pub mod archives;
pub mod browser;
pub mod device;
pub mod documents;
pub mod examples;
pub mod functions;
pub mod package;
pub mod page;
pub mod program;
pub mod python;
pub mod relay;
pub mod schema;
pub mod server;
pub mod tables;
pub mod v1_tree;
pub mod viewer;

use std::path::Path;

/// Whether `tool` is installed; where it is not, the tier is skipped, or fails under `MARGAY_TEST_REQUIRE=1`.
pub fn has_tool(tool: &str, package: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(tool).exists()));
    found || skipped(tool, &format!("apt install {package}"))
}

/// Whether the real models are beside the repository. They are no part of it and cannot be installed by name, so this
/// tier alone may be absent everywhere.
pub fn has_shared_models() -> bool {
    let found = Path::new("../shared/models/onnx").exists();
    if !found {
        println!("skipped: shared models: put them at ../shared/models");
    }
    found
}

/// Says that a tier is skipped and how to enable it; fails where it is required.
pub fn skipped(tier: &str, how: &str) -> bool {
    assert!(std::env::var_os("MARGAY_TEST_REQUIRE").is_none(), "{tier} is required here: {how}");
    println!("skipped: {tier}: {how}");
    false
}

/// The path in an environment variable that a script sets; without it the tier is the script's.
pub fn skipped_unless_set(variable: &str, script: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os(variable).map(Into::into);
    if path.is_none() {
        println!("skipped: camera machine: {script}");
    }
    path
}

/// Whether the processor is emulated (`tests/vm/functions.sh`): an unoptimised classifier takes all of it at a few frames a
/// second.
pub fn emulated() -> bool {
    std::env::var_os("MARGAY_TEST_EMULATED").is_some()
}

/// `normal`, or the count that `MARGAY_TEST_SCALE` multiplies it to.
pub fn scaled(normal: u64) -> u64 {
    let scale = std::env::var("MARGAY_TEST_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1);
    normal * scale
}

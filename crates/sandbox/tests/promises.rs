//! What a sandbox promises, checked from inside by a program that tries to break it.
//!
//! This program is everything at once: run with `sandbox-launch` it is the launcher, with `probe` the worker, with `core` a
//! core that can be killed; otherwise it runs the tests, as the user it was started by, then (as root) as an ordinary
//! user, then without namespaces.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that fails says so by panicking"
)]

#[path = "promises/descriptors.rs"]
mod descriptors;
#[path = "promises/files.rs"]
mod files;
#[path = "promises/host_tree.rs"]
mod host_tree;
#[path = "promises/life.rs"]
mod life;
#[path = "promises/limits.rs"]
mod limits;
#[path = "promises/passes.rs"]
mod passes;
#[path = "promises/privileges.rs"]
mod privileges;
#[path = "promises/probe.rs"]
mod probe;
#[path = "promises/raw.rs"]
mod raw;
#[path = "promises/support.rs"]
mod support;

use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some(margay_sandbox::LAUNCH_ARGUMENT) => margay_sandbox::launcher_main(),
        Some("probe") => probe::main(&arguments[1..]),
        Some("core") => life::core_main(&arguments[1..]),
        Some("without-namespaces") => passes::without_namespaces(&arguments[1..]),
        _ => passes::run(&arguments),
    }
}

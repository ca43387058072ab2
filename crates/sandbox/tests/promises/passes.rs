//! Runs the tests: once as it is, and again as users for whom less is possible.

use std::env;
use std::ffi::CString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::panic;
use std::process::{Command, ExitCode};
use std::time::Instant;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{execv, getegid, geteuid};

use crate::{descriptors, files, host_tree, life, limits, privileges};

/// The ordinary user of the second pass: any that is neither root nor the sandbox's default.
const ORDINARY: u32 = 65_533;

/// A promise and its check.
pub type Promise = (&'static str, fn());

/// Set for the passes that this program starts, so that they start none.
const INNER_PASS: &str = "MARGAY_SANDBOX_PASS";

pub fn run(arguments: &[String]) -> ExitCode {
    if arguments.iter().any(|argument| argument == "--list") {
        promises().iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let pass = env::var(INNER_PASS).unwrap_or_else(|_| format!("user {}", geteuid()));
    let chosen: Vec<Promise> = promises().into_iter().filter(|(name, _)| is_chosen(name, &filters)).collect();
    let mut failed = run_promises(&pass, &chosen);
    if env::var_os(INNER_PASS).is_none() && !chosen.is_empty() {
        failed |= geteuid().is_root() && !as_ordinary_user(arguments);
        failed |= !in_namespaceless(arguments);
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn promises() -> Vec<Promise> {
    [
        files::PROMISES,
        host_tree::PROMISES,
        privileges::PROMISES,
        descriptors::PROMISES,
        limits::PROMISES,
        life::PROMISES,
    ]
    .concat()
}

fn is_chosen(name: &str, filters: &[&String]) -> bool {
    filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()))
}

fn run_promises(pass: &str, chosen: &[Promise]) -> bool {
    let mut failures = Vec::new();
    for (name, check) in chosen {
        let started = Instant::now();
        let held = panic::catch_unwind(check).is_ok();
        println!(
            "test {pass}: {name} ... {} ({} ms)",
            if held { "ok" } else { "FAILED" },
            started.elapsed().as_millis()
        );
        if !held {
            failures.push(name);
        }
    }
    println!("{pass}: {} passed, {} failed", chosen.len() - failures.len(), failures.len());
    !failures.is_empty()
}

fn as_ordinary_user(arguments: &[String]) -> bool {
    let run = Command::new(env::current_exe().unwrap())
        .args(arguments)
        .env(INNER_PASS, format!("user {ORDINARY}"))
        .env("TMPDIR", "/tmp")
        .current_dir("/")
        .gid(ORDINARY)
        .uid(ORDINARY)
        .status();
    match run {
        Ok(status) => status.success(),
        Err(error) => skipped("ordinary user", &format!("let other users execute this test ({error})")),
    }
}

fn in_namespaceless(arguments: &[String]) -> bool {
    let run = Command::new(env::current_exe().unwrap())
        .arg("without-namespaces")
        .args(arguments)
        .env(INNER_PASS, "without namespaces")
        .status();
    run.unwrap().success()
}

/// A user namespace in which no further one may be made, entered without any capability: a host that forbids all.
pub fn without_namespaces(arguments: &[String]) -> ExitCode {
    let (uid, gid) = (geteuid(), getegid());
    // Not as root, for whom executing would restore the capabilities of the namespace.
    let inside = if uid.is_root() { ORDINARY } else { uid.as_raw() };
    let forbidden = unshare(CloneFlags::CLONE_NEWUSER)
        .map_err(std::io::Error::from)
        .and_then(|()| fs::write("/proc/self/setgroups", "deny"))
        .and_then(|()| fs::write("/proc/self/uid_map", format!("{inside} {uid} 1")))
        .and_then(|()| fs::write("/proc/self/gid_map", format!("{inside} {gid} 1")))
        .and_then(|()| fs::write("/proc/sys/user/max_user_namespaces", "0"));
    if let Err(error) = forbidden {
        let held =
            skipped("no namespaces", &format!("allow user namespaces, so that this test can forbid them ({error})"));
        return if held { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let text = |text: &str| CString::new(text).unwrap();
    let own = env::current_exe().unwrap();
    let all: Vec<CString> = ["promises"].into_iter().chain(arguments.iter().map(String::as_str)).map(text).collect();
    let error = execv(&text(own.to_str().unwrap()), &all).unwrap_err();
    panic!("executing {} again failed: {error}", own.display());
}

/// Says how to enable what could not be checked. False, a failure, when skipping is not allowed; a pass that this program
/// started itself may skip what the first one checks.
pub fn skipped(tier: &str, how: &str) -> bool {
    println!("skipped: {tier}: {how}");
    env::var_os(INNER_PASS).is_some() || env::var_os("MARGAY_TEST_REQUIRE").is_none_or(|value| value != "1")
}

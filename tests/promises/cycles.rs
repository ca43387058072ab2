//! Starting and stopping functions leaves nothing behind: no mount, control group, process, descriptor or file, on the host
//! and in the core. A hundred cycles by default, a thousand with `MARGAY_TEST_SCALE=10`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use margay::app::status::CoreStatus;
use margay::function::FunctionState;
use rustix::process::Signal;
use serde_json::json;

use crate::support::device::Device;
use crate::support::functions::{add, is_root, of};
use crate::support::{program, scaled};

/// Functions that each deployment stops and starts again.
const FUNCTIONS: usize = 20;

/// Cycles of one function by default.
const CYCLES: u64 = 100;

/// What is there at one moment.
#[derive(Debug, PartialEq, Eq)]
struct Inventory {
    /// Mount points of the host and of the core, one by one.
    mounts: Vec<String>,
    core_mounts: Vec<String>,
    /// Control groups of sandboxes, without the numbers that make each one's name its own.
    groups: usize,
    /// Descendants of the core.
    processes: usize,
    /// What the core's descriptors are, each without the number that makes it itself.
    descriptors: Vec<String>,
    /// Files of the core's folders, and leftovers in the host's temporary folder.
    files: BTreeSet<PathBuf>,
}

impl Inventory {
    /// What is there once nothing changes any more: what is being closed is waited for, a leak stays.
    fn settled(core: u32, device: &Device) -> Self {
        let mut last = Self::of(core, device);
        let mut same = 0;
        for _ in 0..100 {
            std::thread::sleep(Duration::from_millis(100));
            let now = Self::of(core, device);
            same = if now == last { same + 1 } else { 0 };
            last = now;
            if same == 10 {
                break;
            }
        }
        last
    }

    fn of(core: u32, device: &Device) -> Self {
        Self {
            mounts: mounts("self"),
            core_mounts: mounts(&core.to_string()),
            groups: groups(Path::new("/sys/fs/cgroup"), core),
            processes: descendants(core),
            descriptors: descriptors(core),
            files: files(core, device),
        }
    }
}

/// Without connections that are up, of which the core keeps as many to the cloud as it needs at a time, and without its own
/// log, which it opens to write. A connection whose other end is gone counts.
fn descriptors(pid: u32) -> Vec<String> {
    let established = established(pid);
    let links = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let targets = links.filter_map(|link| Some(fs::read_link(link.path()).ok()?.to_string_lossy().into_owned()));
    let lasting = targets.filter(|target| !established.contains(target) && !target.ends_with("/system/runtime.log"));
    let mut kinds: Vec<String> = lasting.map(|target| target.replace(|c: char| c.is_ascii_digit(), "")).collect();
    kinds.sort_unstable();
    kinds
}

/// TCP connections that are up, as links of descriptors name them (`/proc/net/tcp`, state 01).
fn established(pid: u32) -> BTreeSet<String> {
    let tables =
        ["tcp", "tcp6"].map(|table| fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default());
    let lines = tables.iter().flat_map(|table| table.lines());
    let columns = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
    let up = columns.filter(|columns| columns.get(3) == Some(&"01"));
    up.filter_map(|columns| Some(format!("socket:[{}]", columns.get(9)?))).collect()
}

fn mounts(pid: &str) -> Vec<String> {
    let table = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    table.lines().filter_map(|line| line.split(' ').nth(4).map(str::to_owned)).collect()
}

/// Groups below `folder` that the core has made for its sandboxes: `margay.PID.…`.
fn groups(folder: &Path, core: u32) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let folders = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let of = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(&format!("margay.{core}."));
    folders.map(|entry| usize::from(of(&entry)) + groups(&entry.path(), core)).sum()
}

/// Without the process that others are made from, which comes and goes: the one that has no child.
fn descendants(pid: u32) -> usize {
    let children = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten().flat_map(|task| {
        let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()
    });
    let count = |child| {
        let (below, arguments) = (descendants(child), fs::read_to_string(format!("/proc/{child}/cmdline")));
        let is_starter = below == 0 && arguments.is_ok_and(|text| text.contains("sandbox-launch"));
        below + usize::from(!is_starter)
    };
    children.map(count).sum()
}

fn files(core: u32, device: &Device) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    collect(&device.root(), &mut found);
    let temporary = fs::read_dir(std::env::temp_dir()).unwrap().flatten().map(|entry| entry.path());
    let prefix = format!("margay.{core}.");
    let own = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
    found.extend(temporary.filter(own));
    found
}

/// Without the records of deployments, of which the core keeps the newest by number and time, and the clock's file, which
/// comes once a server has told the time.
fn collect(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true if path.ends_with("deployment/deployments") => {}
            true => collect(&path, found),
            false if path.ends_with("state/last-good-time") => {}
            false => drop(found.insert(path)),
        }
    }
}

fn name(number: usize) -> String {
    format!("cycle-{number}")
}

/// Half of them end by themselves, the others when they are told to.
fn text(number: usize) -> &'static str {
    match number % 4 {
        0 => "#!/bin/sh\nsleep 1000 & sleep 1000 & exec sleep 1000\n",
        1 => "#!/bin/sh\necho x > /tmp/file; mkfifo /tmp/fifo; exec sleep 1000 3</tmp/file\n",
        2 => "#!/bin/sh\ntrap 'exit 3' TERM\nwhile :; do sleep 1000 & wait; done\n",
        _ => "#!/bin/sh\nexec sleep 1000\n",
    }
}

fn deploy(device: &mut Device, round: usize) {
    for function in &mut device.functions {
        function["FunctionConfiguration"]["Environment"]["Variables"] = json!({ "ROUND": round.to_string() });
    }
    device.write();
}

fn all_run(status: &CoreStatus, round: usize, device: &Device) -> bool {
    (0..FUNCTIONS).all(|number| {
        of(status, &name(number)).is_some_and(|function| {
            function.state == FunctionState::Running
                && function.workers.iter().all(|worker| runs_round(worker.pid, round))
        })
    }) && status.deployment.as_ref().is_some_and(|report| report.status == margay::deployment::Status::Success)
        && device.status().is_some()
}

fn runs_round(pid: i32, round: usize) -> bool {
    fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|text| text.split(|byte| *byte == 0).any(|line| line == format!("ROUND={round}").as_bytes()))
}

#[test]
fn a_thousand_starts_and_stops_leave_nothing_behind() {
    if !is_root() {
        return;
    }
    let mut device = Device::new();
    for number in 0..FUNCTIONS {
        add(&mut device, &name(number), text(number), json!({ "Pinned": true, "MemorySize": 32768 }));
    }
    deploy(&mut device, 0);
    let core = device.start();
    device.wait_for("all functions", |status| all_run(status, 0, &device));
    let rounds = usize::try_from(scaled(CYCLES)).unwrap() / FUNCTIONS;
    let mut before = None;
    for round in 1..=rounds + 1 {
        deploy(&mut device, round);
        program::signal(core.pid(), Signal::HUP);
        device.wait_for("the next round", |status| all_run(status, round, &device));
        if round == 1 {
            before = Some(Inventory::settled(core.pid(), &device));
        }
    }
    let before = before.unwrap();
    let after = Inventory::settled(core.pid(), &device);
    println!(
        "cycles: {} starts and stops; {} mounts, {} groups, {} processes, {} descriptors, {} files before and after",
        rounds * FUNCTIONS,
        before.mounts.len(),
        before.groups,
        before.processes,
        before.descriptors.len(),
        before.files.len()
    );
    assert_eq!(after, before);
}

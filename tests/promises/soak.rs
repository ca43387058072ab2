//! What runs for weeks must not grow: memory, descriptors, threads and disk of a core whose spool is on the disk, whose
//! broker comes and goes and whose workers are killed.
//!
//! Twenty seconds and what is missing to whole rounds of faults by default, ten minutes with `MARGAY_SOAK_SECONDS=600`.
//! The samples are compared window with window, each over as many faults of every kind: time itself decides nothing.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use margay::classifier::Role;
use rustix::process::Signal;
use serde_json::json;

use crate::support::device::{Device, worker_pid};
use crate::support::program;

/// Windows of a run. The first is left out: caches fill, the allocator takes what it will need.
const WINDOWS: usize = 4;

/// Samples between two faults.
const BETWEEN_FAULTS: usize = 8;

/// What the least sample of the last window may have more than the most of those before it, less the first: pages that
/// the allocator had no hole for. A leak of 1 KiB a prediction would be 3 MiB a window of ten minutes.
const MEMORY_SLACK: u64 = 1 << 20;

/// Two segments of the spool, an eighth of its limit each: what its files have beside twice the bytes that wait
/// (docs/spool.md). A short run ends before the first segment is full.
const DISK_SLACK: u64 = 2 * (2_621_440 / 8);

/// What the core uses at one moment.
#[derive(Debug, Clone, Copy)]
struct Sample {
    memory: u64,
    descriptors: u64,
    threads: u64,
    disk: u64,
}

impl Sample {
    fn of(pid: u32, folder: &Path) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let number = |key: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        Self {
            memory: number("VmRSS:") * 1024,
            descriptors: fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64,
            threads: number("Threads:"),
            disk: bytes_below(folder),
        }
    }
}

/// Files come and go while they are counted.
fn bytes_below(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let bytes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    bytes.sum()
}

fn seconds() -> u64 {
    std::env::var("MARGAY_SOAK_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(20)
}

/// One fault of each kind in turn; returns when the core has overcome it.
fn fault(device: &Device, number: usize) {
    match number % 3 {
        0 => {
            device.runtime.block_on(device.cloud.stop_broker());
            device.wait_for("the outage to be noticed", |status| !status.link.connected && status.link.queued > 0);
            device.runtime.block_on(device.cloud.start_broker()).unwrap();
            device.wait_for("the backlog to be delivered", |status| status.link.connected && status.link.queued == 0);
        }
        kind => {
            let role = if kind == 1 { Role::Capture } else { Role::Inference };
            let killed = worker_pid(&device.wait_for("both workers", both_live), role);
            program::signal(killed.cast_unsigned(), Signal::KILL);
            device.wait_for("another worker", |status| both_live(status) && worker_pid(status, role) != killed);
        }
    }
}

fn both_live(status: &margay::app::status::CoreStatus) -> bool {
    status.cameras[0].classifier.as_ref().is_some_and(|classifier| {
        let lives = |role| classifier.workers.iter().any(|worker| worker.role == role);
        lives(Role::Capture) && lives(Role::Inference)
    })
}

fn median(window: &[Sample], of: fn(&Sample) -> u64) -> u64 {
    let mut values: Vec<u64> = window.iter().map(of).collect();
    values.sort_unstable();
    values[values.len() / 2]
}

#[test]
fn a_core_under_faults_does_not_grow() {
    let mut device = Device::new();
    device.config["margay"]["metrics"] = json!({ "port": 0 });
    device.spooler = Some(json!({ "GG_CONFIG_STORAGE_TYPE": "FileSystem" }));
    device.write();
    let core = device.start();
    device.wait_for_predictions();
    let (pid, folder) = (core.pid(), device.root());
    let pause =
        Duration::from_millis(seconds() * 1000 / (WINDOWS * 3 * BETWEEN_FAULTS * 2) as u64).min(Duration::from_secs(1));
    let end = Instant::now() + Duration::from_secs(seconds());
    let (mut samples, mut faults) = (Vec::new(), 0);
    // Whole rounds of all faults, the same number for each window.
    while Instant::now() < end || faults == 0 || faults % (3 * WINDOWS) != 0 {
        fault(&device, faults);
        faults += 1;
        for _ in 0..BETWEEN_FAULTS {
            samples.push(Sample::of(pid, &folder));
            // Between two samples, not for something to happen: what happened is waited for above.
            std::thread::sleep(pause);
        }
    }
    let status = device.wait_for("a status", |_| true);
    let windows: Vec<&[Sample]> = samples.chunks(samples.len() / WINDOWS).take(WINDOWS).collect();
    println!("soak: {} s, {faults} faults, {} predictions delivered", seconds(), status.link.delivered);
    println!("soak: window  memory/KiB  descriptors  threads  disk/KiB (medians)");
    for (number, window) in windows.iter().enumerate() {
        let [memory, disk] = [median(window, |s| s.memory) / 1024, median(window, |s| s.disk) / 1024];
        let (descriptors, threads) = (median(window, |s| s.descriptors), median(window, |s| s.threads));
        println!("soak: {number:>6}  {memory:>10}  {descriptors:>11}  {threads:>7}  {disk:>8}");
    }
    let (last, settled) = (windows[WINDOWS - 1], windows[1..WINDOWS - 1].concat());
    let grows = |of: fn(&Sample) -> u64, slack: u64| {
        let (least, most) = (last.iter().map(of).min().unwrap(), settled.iter().map(of).max().unwrap());
        assert!(least <= most + slack, "{least} at least in the last window, {most} at most before");
    };
    grows(|s| s.descriptors, 0);
    grows(|s| s.threads, 0);
    grows(|s| s.disk, DISK_SLACK);
    grows(|s| s.memory, MEMORY_SLACK);
    assert_eq!(status.link.accepted, status.link.delivered + status.link.queued + status.link.in_flight);
}

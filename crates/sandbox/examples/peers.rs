//! Start-up of a function's sandbox beside fork and exec, bubblewrap and runc: the same program, to its end, in one run.
//!
//! `cargo run --release -p margay-sandbox --example peers -- PATH-OF-MARGAY [ROUNDS [NAME]]`, as root; with a name only the
//! ways that it is part of, for a profiler. Each round starts every one
//! of them once, in an order that changes; what is shown is the median of the ratios within the rounds, with the interval
//! that 95 of 100 resamplings of the rounds give. A peer that is not installed is left out.

#![allow(clippy::print_stdout, reason = "its only purpose")]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use margay_sandbox::{Calls, HostTree, Network, Plan, PlanParts, Program, Tree, launch_from};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// Ends at once.
const PROGRAM: &str = "/bin/true";

/// Resamplings of the rounds.
const RESAMPLINGS: usize = 1000;

/// Mebibytes of the memory limit, and processes.
const LIMITS: (u64, u32) = (64, 256);

/// What is started in each round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    ForkAndExec,
    Sandbox,
    SandboxWithoutNetwork,
    Bubblewrap,
    BubblewrapWithoutNetwork,
    Runc,
}

impl Way {
    const ALL: [Self; 6] = [
        Self::ForkAndExec,
        Self::Sandbox,
        Self::SandboxWithoutNetwork,
        Self::Bubblewrap,
        Self::BubblewrapWithoutNetwork,
        Self::Runc,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::ForkAndExec => "fork and exec",
            Self::Sandbox => "a function's sandbox",
            Self::SandboxWithoutNetwork => "the same, no network",
            Self::Bubblewrap => "bubblewrap",
            Self::BubblewrapWithoutNetwork => "bubblewrap, no network",
            Self::Runc => "runc",
        }
    }

    /// Whether it can be run here.
    fn is_here(self) -> bool {
        match self {
            Self::ForkAndExec | Self::Sandbox | Self::SandboxWithoutNetwork => true,
            Self::Bubblewrap | Self::BubblewrapWithoutNetwork => succeeds(Command::new("bwrap").arg("--version")),
            Self::Runc => succeeds(Command::new("runc").arg("--version")),
        }
    }
}

fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// A function's plan without resources: the host's root below a layer, limits, a function's system calls.
fn plan(network: Network) -> Result<Plan, margay_sandbox::PlanError> {
    Plan::new(PlanParts {
        name: "peer".to_owned(),
        program: Program::Path(PathBuf::from(PROGRAM)),
        memory_bytes: Some(LIMITS.0 << 20),
        pids: Some(LIMITS.1),
        open_files: Some(1024),
        network,
        tree: Tree::Host(HostTree { hidden: vec![PathBuf::from("/root")], writable_bytes: 64 << 20, read_only: false }),
        calls: Calls::Function,
        ..PlanParts::default()
    })
}

/// The same for bubblewrap, which has no limits and no list of calls of its own.
fn bubblewrap(network: bool) -> Command {
    let mut command = Command::new("bwrap");
    command.args(["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--tmpfs", "/run"]);
    command.args(["--tmpfs", "/root", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent"]);
    command.args(["--cap-drop", "ALL", "--new-session"]);
    if !network {
        command.arg("--unshare-net");
    }
    command.arg(PROGRAM);
    command
}

/// The host's root for runc, bound below its bundle: of the root itself it cannot pivot away.
fn root_of_bundle(folder: &Path) -> PathBuf {
    folder.join("rootfs")
}

/// A bundle for runc: its own default specification over the host's root, with the limits and the host's network.
fn bundle(folder: &Path) -> Option<()> {
    let root = root_of_bundle(folder);
    fs::create_dir_all(&root).ok()?;
    succeeds(Command::new("mount").args(["--bind", "/"]).arg(&root)).then_some(())?;
    succeeds(Command::new("runc").arg("spec").current_dir(folder)).then_some(())?;
    let path = folder.join("config.json");
    let mut spec: serde_json::Value = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
    spec["process"]["terminal"] = false.into();
    spec["process"]["args"] = serde_json::json!([PROGRAM]);
    spec["root"] = serde_json::json!({ "path": root, "readonly": true });
    spec["linux"]["resources"]["memory"] = serde_json::json!({ "limit": LIMITS.0 << 20 });
    spec["linux"]["resources"]["pids"] = serde_json::json!({ "limit": LIMITS.1 });
    // The host's root brings its own.
    spec["mounts"].as_array_mut()?.retain(|mount| mount["type"] != "sysfs" && mount["type"] != "cgroup");
    let namespaces = spec["linux"]["namespaces"].as_array_mut()?;
    namespaces.retain(|namespace| namespace["type"] != "network" && namespace["type"] != "cgroup");
    fs::write(&path, serde_json::to_vec(&spec).ok()?).ok()
}

fn start(way: Way, margay: &Path, folder: &Path, number: usize) -> Result<(), String> {
    let sandbox = |network| {
        let plan = plan(network).map_err(|error| error.to_string())?;
        let ended = launch_from(margay, &plan, Vec::new()).map_err(|error| format!("{error:?}"))?.wait();
        ended.is_success().then_some(()).ok_or_else(|| ended.to_string())
    };
    let command = |mut command: Command| {
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status().map_err(|error| error.to_string())?;
        status.success().then_some(()).ok_or_else(|| status.to_string())
    };
    match way {
        Way::ForkAndExec => command(Command::new(PROGRAM)),
        Way::Sandbox => sandbox(Network::Host),
        Way::SandboxWithoutNetwork => sandbox(Network::None),
        Way::Bubblewrap => command(bubblewrap(true)),
        Way::BubblewrapWithoutNetwork => command(bubblewrap(false)),
        Way::Runc => {
            let mut runc = Command::new("runc");
            runc.args(["run", "--bundle"]).arg(folder).arg(format!("margay-peer-{}-{number}", std::process::id()));
            command(runc)
        }
    }
}

fn main() -> Result<(), String> {
    let mut arguments = env::args().skip(1);
    let margay = PathBuf::from(arguments.next().ok_or("the path of the margay program is required")?);
    let rounds: usize = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(200);
    let folder = env::temp_dir().join(format!("margay-peers-{}", std::process::id()));
    let wanted = arguments.next().unwrap_or_default();
    let ways: Vec<Way> = Way::ALL.into_iter().filter(|way| way.name().contains(&wanted) && way.is_here()).collect();
    let ways: Vec<Way> = ways.into_iter().filter(|way| *way != Way::Runc || bundle(&folder).is_some()).collect();
    let mut usable = Vec::new();
    for way in ways {
        match start(way, &margay, &folder, rounds) {
            Ok(()) => usable.push(way),
            Err(why) => println!("left out: {}: {why}", way.name()),
        }
    }
    let mut times = vec![Vec::with_capacity(rounds); usable.len()];
    let mut works = times.clone();
    for round in 0..rounds {
        for place in 0..usable.len() {
            let place = (place + round) % usable.len();
            let (started, work) = (Instant::now(), processor_time()?);
            start(usable[place], &margay, &folder, round)?;
            times[place].push(started.elapsed());
            works[place].push(processor_time()?.saturating_sub(work));
        }
    }
    for (place, way) in usable.iter().enumerate() {
        let (time, work) = (median_time(&times[place]), median_time(&works[place]));
        println!("{:<24} median {time:>8.2?}, processor {work:>8.2?}", way.name());
    }
    for (one, other) in [
        (Way::Sandbox, Way::ForkAndExec),
        (Way::Sandbox, Way::Bubblewrap),
        (Way::Sandbox, Way::Runc),
        (Way::SandboxWithoutNetwork, Way::BubblewrapWithoutNetwork),
    ] {
        let place = |way| usable.iter().position(|usable| *usable == way);
        if let (Some(one_place), Some(other_place)) = (place(one), place(other)) {
            let ratios: Vec<f64> = times[one_place]
                .iter()
                .zip(&times[other_place])
                .map(|(a, b)| a.as_secs_f64() / b.as_secs_f64())
                .collect();
            let (low, high) = interval(&ratios);
            println!("{} over {}: {:.2} ({low:.2} to {high:.2})", one.name(), other.name(), median(ratios));
        }
    }
    // First: what lies below a mount is the host's. Refused where there is none.
    succeeds(Command::new("umount").arg(root_of_bundle(&folder)));
    // Empty folders and a file, never what a mount that stayed would show. What is left is in the temporary folder.
    let _ = fs::remove_file(folder.join("config.json"));
    let _ = fs::remove_dir(root_of_bundle(&folder));
    let _ = fs::remove_dir(&folder);
    Ok(())
}

/// What this process and those that it has waited for have taken of the processors.
fn processor_time() -> Result<Duration, String> {
    let mut sum = Duration::ZERO;
    for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
        let usage = getrusage(who).map_err(|error| error.to_string())?;
        for time in [usage.user_time(), usage.system_time()] {
            sum += Duration::from_micros(u64::try_from(time.num_microseconds()).unwrap_or(0));
        }
    }
    Ok(sum)
}

fn median_time(times: &[Duration]) -> Duration {
    Duration::from_secs_f64(median(times.iter().map(Duration::as_secs_f64).collect()))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The middle 95 of 100 medians of resampled rounds; the draw is the same in every run.
fn interval(ratios: &[f64]) -> (f64, f64) {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut draw = || {
        // xorshift64 (Marsaglia, 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % ratios.len() as u64).unwrap_or(0)
    };
    let mut medians: Vec<f64> =
        (0..RESAMPLINGS).map(|_| median((0..ratios.len()).map(|_| ratios[draw()]).collect())).collect();
    medians.sort_by(f64::total_cmp);
    (medians[RESAMPLINGS * 25 / 1000], medians[RESAMPLINGS * 975 / 1000])
}

//! How long a sandboxed worker takes to start on this host, what holds it, and what its PID 1 costs.
//!
//! `cargo run --release -p margay-sandbox --example start_up [repetitions]`

#![allow(clippy::print_stdout, reason = "its only purpose")]

use std::env;
use std::fs;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use margay_sandbox::{Host, LAUNCH_ARGUMENT, LaunchError, Network, Plan, PlanParts, launch, launcher_main};

const WORKER: &str = "worker";

fn main() -> ExitCode {
    let argument = env::args().nth(1);
    match argument.as_deref() {
        Some(LAUNCH_ARGUMENT) => launcher_main(),
        Some(WORKER) => ExitCode::SUCCESS,
        Some("sleeper") => loop {
            std::thread::park();
        },
        other => match report(other.and_then(|text| text.parse().ok()).unwrap_or(100)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                println!("{error}");
                ExitCode::FAILURE
            }
        },
    }
}

fn report(repetitions: usize) -> Result<(), LaunchError> {
    println!("{:#?}\n", Host::probe());
    let own = env::current_exe().unwrap_or_default();
    let spawn = || {
        // Only the time counts.
        let _ = Command::new(&own).arg(WORKER).status();
    };
    show("fork and exec", measure(repetitions, spawn));
    for (name, parts) in [
        ("sandbox, no limits, host network", PlanParts { network: Network::Host, ..parts(WORKER) }),
        ("sandbox, no limits", parts(WORKER)),
        ("sandbox, memory and pids limits", limited(WORKER)),
    ] {
        let Ok(plan) = Plan::new(parts) else { continue };
        launch(&plan, Vec::new())?.wait();
        show(name, measure(repetitions, || drop(launch(&plan, Vec::new()).map(|worker| worker.wait()))));
        show(&format!("{name}, until it runs"), measure_start(repetitions, &plan)?);
    }
    let Ok(plan) = Plan::new(limited("sleeper")) else { return Ok(()) };
    let sleeper = launch(&plan, Vec::new())?;
    println!("\n{}", sleeper.containment());
    println!("worker: {}", memory(&sleeper.pid().to_string()));
    println!("PID 1:  {}", memory(&parent(sleeper.pid())));
    Ok(())
}

fn parts(argument: &str) -> PlanParts {
    PlanParts { name: "start-up".to_owned(), arguments: vec![argument.to_owned()], ..PlanParts::default() }
}

fn limited(argument: &str) -> PlanParts {
    PlanParts { memory_bytes: Some(64 << 20), pids: Some(16), ..parts(argument) }
}

fn measure(repetitions: usize, action: impl Fn()) -> Vec<Duration> {
    let timed = |_| {
        let started = Instant::now();
        action();
        started.elapsed()
    };
    (0..repetitions).map(timed).collect()
}

/// The time until `launch` returns, without that of the worker's end.
fn measure_start(repetitions: usize, plan: &Plan) -> Result<Vec<Duration>, LaunchError> {
    (0..repetitions)
        .map(|_| {
            let started = Instant::now();
            let worker = launch(plan, Vec::new())?;
            let elapsed = started.elapsed();
            drop(worker);
            Ok(elapsed)
        })
        .collect()
}

fn show(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default();
    println!("{what:<50} least {:>8.2?}   median {:>8.2?}   p95 {:>8.2?}", at(0), at(50), at(95));
}

/// Resident and private memory of a process, in KiB, as the kernel counts it.
fn memory(pid: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let fields =
        text.lines().filter(|line| ["Rss:", "Pss:", "Private_Dirty:"].iter().any(|name| line.starts_with(name)));
    fields.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join(", ")
}

fn parent(pid: i32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap_or_default().trim().to_owned()
}

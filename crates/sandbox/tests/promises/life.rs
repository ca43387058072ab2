//! Beginning and end: exits are told exactly, signals arrive, and nothing outlives the core.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use margay_sandbox::{Plan, PlanParts, Status, launch};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{PidfdFlags, pidfd_open};

use crate::passes::{Promise, skipped};
use crate::support::{Fixture, Probe, arguments};

pub const PROMISES: &[Promise] = &[
    ("exit_codes_and_signals_are_told_exactly", exit_codes_and_signals_are_told_exactly),
    ("terminate_reaches_the_worker", terminate_reaches_the_worker),
    ("a_signal_to_the_first_process_reaches_the_worker", a_signal_to_the_first_process_reaches_the_worker),
    ("kill_and_drop_end_the_worker", kill_and_drop_end_the_worker),
    ("orphans_of_the_worker_are_reaped", orphans_of_the_worker_are_reaped),
    ("a_worker_dies_with_its_core", a_worker_dies_with_its_core),
    ("a_replaced_executable_still_starts_workers", a_replaced_executable_still_starts_workers),
    ("many_threads_may_launch_at_once", many_threads_may_launch_at_once),
    (
        "one_process_makes_all_sandboxes_and_leaves_when_it_is_idle",
        one_process_makes_all_sandboxes_and_leaves_when_it_is_idle,
    ),
];

fn exit_codes_and_signals_are_told_exactly() {
    let fixture = Fixture::new();
    let status = |question: &str| Probe::start(fixture.parts(&[question]), Vec::new()).finish().1.status;
    assert_eq!(status("exit:0"), Status::Code(0));
    assert_eq!(status("exit:213"), Status::Code(213));
    assert_eq!(status("abort"), Status::Signal(libc::SIGABRT));
}

fn terminate_reaches_the_worker() {
    let fixture = Fixture::new();
    let mut probe = Probe::start(fixture.parts(&["await-sigterm"]), Vec::new());
    assert_eq!(probe.line(), "waiting");
    probe.sandboxed.terminate();
    assert_eq!(probe.sandboxed.wait().status, Status::Code(7));
    assert_eq!(probe.sandboxed.wait().status, Status::Code(7), "asking again gives the same answer");
}

fn a_signal_to_the_first_process_reaches_the_worker() {
    let fixture = Fixture::new();
    let mut probe = Probe::start(fixture.parts(&["await-sigterm"]), Vec::new());
    assert_eq!(probe.line(), "waiting");
    let status = fs::read_to_string(format!("/proc/{}/status", probe.sandboxed.pid())).unwrap();
    let first = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap();
    kill(Pid::from_raw(first), Signal::SIGTERM).unwrap();
    assert_eq!(probe.finish().1.status, Status::Code(7));
}

fn kill_and_drop_end_the_worker() {
    let fixture = Fixture::new();
    let sleeping = || {
        let mut probe = Probe::start(fixture.parts(&["sleep"]), Vec::new());
        assert_eq!(probe.line(), "sleeping");
        probe
    };
    let probe = sleeping();
    probe.sandboxed.kill();
    assert_eq!(probe.sandboxed.wait().status, Status::Signal(libc::SIGKILL));
    let probe = sleeping();
    let worker = probe.sandboxed.pid();
    drop(probe);
    assert!(!Path::new(&format!("/proc/{worker}")).exists());
}

fn orphans_of_the_worker_are_reaped() {
    let fixture = Fixture::new();
    let (answers, exit) = Probe::start(fixture.parts(&["reaped"]), Vec::new()).finish();
    assert!(exit.is_success(), "{exit}");
    assert_eq!(answers.to("reaped"), "yes");
}

/// A core of its own: starts a sleeping worker, says its number, and waits to be killed.
pub fn core_main(arguments_: &[String]) -> ExitCode {
    let parts = PlanParts { name: "probe".to_owned(), arguments: arguments(&["sleep"]), ..PlanParts::default() };
    if arguments_.first().is_some_and(|argument| argument == "replaced") {
        fs::remove_file(env::current_exe().unwrap()).unwrap();
    }
    // Launched from a thread that ends at once: the worker must not be bound to that thread's life.
    let launched = thread::spawn(move || launch(&Plan::new(parts).unwrap(), Vec::new())).join().unwrap();
    match launched {
        Ok(sandboxed) => {
            println!("{}", sandboxed.pid());
            loop {
                thread::park();
            }
        }
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Starts a core with a worker; kills the core; waits until the worker is gone.
fn outlive_core(program: &Path, arguments: &[&str]) {
    let mut core = Command::new(program).arg("core").args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(core.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let worker: i32 = line.trim().parse().unwrap_or_else(|_| panic!("the core said {line:?}"));
    let worker = rustix::process::Pid::from_raw(worker).unwrap();
    let Ok(descriptor) = pidfd_open(worker, PidfdFlags::empty()) else {
        core.kill().unwrap();
        core.wait().unwrap();
        assert!(skipped("death of the core", "use a kernel with pidfd_open (5.3)"));
        return;
    };
    core.kill().unwrap();
    core.wait().unwrap();
    let ended =
        poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&rustix::event::Timespec { tv_sec: 20, tv_nsec: 0 }));
    assert_eq!(ended.unwrap(), 1, "the worker outlived its core");
}

fn a_worker_dies_with_its_core() {
    outlive_core(&env::current_exe().unwrap(), &[]);
}

fn a_replaced_executable_still_starts_workers() {
    let fixture = Fixture::new();
    let copy = fixture.path().join("core");
    fs::copy(env::current_exe().unwrap(), &copy).unwrap();
    outlive_core(&copy, &["replaced"]);
    assert!(!copy.exists());
}

fn many_threads_may_launch_at_once() {
    let fixture = Fixture::new();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|code| {
                let fixture = &fixture;
                scope.spawn(move || {
                    let question = format!("exit:{code}");
                    let (_, exit) = Probe::start(fixture.parts(&[&question]), Vec::new()).finish();
                    assert_eq!(exit.status, Status::Code(code));
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// The children of this process that run as `sandbox-launch`, zombies as well: the starter, and PID 1 of each sandbox.
fn children() -> Vec<i32> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let lists = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default());
    let pids: Vec<i32> =
        lists.flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>()).collect();
    let is_launcher = |pid: &i32| {
        let arguments = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        arguments.is_empty() || arguments.contains(margay_sandbox::LAUNCH_ARGUMENT)
    };
    pids.into_iter().filter(is_launcher).collect()
}

fn one_process_makes_all_sandboxes_and_leaves_when_it_is_idle() {
    let fixture = Fixture::new();
    let launch_one = || {
        let (_, exit) = Probe::start(fixture.parts(&["exit:0"]), Vec::new()).finish();
        assert!(exit.is_success(), "{exit}");
        children()
    };
    let first = launch_one();
    assert_eq!(first.len(), 1, "the starter alone: {first:?}");
    assert_eq!(launch_one(), first);
    // Killed by the kernel for want of memory, say: the next worker does not notice.
    kill(Pid::from_raw(first[0]), Signal::SIGKILL).unwrap();
    let second = launch_one();
    assert_eq!(second.len(), 1, "the starter alone: {second:?}");
    assert_ne!(second, first);
    let deadline = Instant::now() + Duration::from_secs(60);
    while !children().is_empty() {
        assert!(Instant::now() < deadline, "{:?} are still there", children());
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(launch_one().len(), 1);
}

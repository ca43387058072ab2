//! Descriptors: the intended ones arrive at their numbers, and no others.

use std::fs::File;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use margay_sandbox::{Aspect, Listeners, PlanParts};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::passes::Promise;
use crate::support::{Fixture, Probe};

pub const PROMISES: &[Promise] = &[
    ("only_intended_descriptors_arrive", only_intended_descriptors_arrive),
    ("descriptors_arrive_at_their_numbers_even_when_these_are_taken", descriptors_arrive_at_their_numbers),
    ("only_a_plan_that_says_so_lets_its_worker_take_connections", only_a_plan_that_says_so_takes_connections),
    ("the_standard_three_are_dev_null_unless_given", the_standard_three_are_dev_null_unless_given),
];

/// A pipe's reading end with this text in it.
fn holding(text: &str) -> OwnedFd {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    File::from(writer).write_all(text.as_bytes()).unwrap();
    reader
}

fn only_intended_descriptors_arrive() {
    let fixture = Fixture::new();
    // One that would survive exec, as a library that forgets O_CLOEXEC would leave it.
    let stray = rustix::io::fcntl_dupfd_cloexec(holding("stray").as_fd(), 50).unwrap();
    rustix::io::fcntl_setfd(&stray, rustix::io::FdFlags::empty()).unwrap();
    let probe = Probe::start(fixture.parts(&["descriptors"]), vec![(holding("a"), 3), (holding("b"), 200)]);
    let (answers, _) = probe.finish();
    assert_eq!(answers.to("descriptors"), "0 1 2 3 200");
    assert!(stray.as_raw_fd() >= 50);
}

fn descriptors_arrive_at_their_numbers() {
    let fixture = Fixture::new();
    // The launcher receives them at low numbers, so that these targets cross.
    let targets = [9, 8, 7, 6, 5, 4, 3];
    let passed = targets.iter().map(|target| (holding(&format!("for {target}")), *target)).collect();
    let questions: Vec<String> = targets.iter().map(|target| format!("descriptor:{target}")).collect();
    let questions: Vec<&str> = questions.iter().map(String::as_str).collect();
    let (answers, exit) = Probe::start(fixture.parts(&questions), passed).finish();
    assert!(exit.is_success(), "{exit}");
    for target in targets {
        assert_eq!(answers.to(&format!("descriptor:{target}")), format!("for {target}"));
    }
}

fn the_standard_three_are_dev_null_unless_given() {
    let fixture = Fixture::new();
    let (answers, _) = Probe::start(fixture.parts(&["descriptor:0"]), Vec::new()).finish();
    assert_eq!(answers.to("descriptor:0"), "");
    let given = vec![(holding("given"), 0)];
    let (answers, _) = Probe::start(fixture.parts(&["descriptor:0"]), given).finish();
    assert_eq!(answers.to("descriptor:0"), "given");
}

/// Connections come in through the core's socket, also from outside of the worker's network namespace.
fn only_a_plan_that_says_so_takes_connections() {
    let fixture = Fixture::new();
    for listeners in [Listeners::Accept, Listeners::None] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let parts = PlanParts { listeners, ..fixture.parts(&["accept:5"]) };
        let probe = Probe::start(parts, vec![(listener.into(), 5)]);
        let filtered = probe.sandboxed.containment().holds(Aspect::Seccomp);
        let (answers, _) = probe.finish();
        let expected = if filtered && listeners == Listeners::None { "EPERM" } else { "done" };
        assert_eq!(answers.to("accept:5"), expected, "{listeners:?}");
    }
}

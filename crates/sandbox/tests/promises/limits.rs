//! Limits: reaching one ends or refuses that worker and no other, and the report says which it was.

use margay_sandbox::{Aspect, Cpu, PlanParts, Status};

use crate::passes::{Promise, skipped};
use crate::support::{Fixture, Probe, ask};

pub const PROMISES: &[Promise] = &[
    ("exceeding_the_memory_limit_kills_that_worker_only_and_says_so", exceeding_the_memory_limit),
    ("staying_below_the_memory_limit_is_unremarkable", staying_below_the_memory_limit_is_unremarkable),
    ("the_memory_limit_is_kept_within_five_percent", the_memory_limit_is_kept_within_five_percent),
    ("threads_are_limited", threads_are_limited),
    ("open_files_are_limited", open_files_are_limited),
    (
        "a_share_of_the_processors_is_kept_where_it_is_asked_for",
        a_share_of_the_processors_is_kept_where_it_is_asked_for,
    ),
];

const LIMIT: u64 = 64 << 20;

fn exceeding_the_memory_limit() {
    let fixture = Fixture::new();
    let limited = |questions: &[&str]| PlanParts { memory_bytes: Some(LIMIT), ..fixture.parts(questions) };
    let mut neighbour = Probe::start(limited(&["await-sigterm"]), Vec::new());
    assert_eq!(neighbour.line(), "waiting");
    let greedy = Probe::start(limited(&["allocate:256"]), Vec::new());
    let memory = greedy.sandboxed.containment().finding(Aspect::Memory).unwrap().clone();
    let (_, exit) = greedy.finish();
    if memory.detail().contains("setrlimit") {
        assert_eq!(exit.status, Status::Signal(libc::SIGABRT));
        assert!(exit.to_string().contains("memory limit of 64 MiB"), "{exit}");
        assert!(skipped("memory control group", "make a memory control group writable for this user"));
    } else {
        assert!(memory.holds(), "{memory:?}");
        assert!(exit.memory_exceeded, "{exit:?}");
        assert_eq!(exit.to_string(), "worker probe was killed because it reached its memory limit of 64 MiB");
    }
    neighbour.sandboxed.terminate();
    assert_eq!(neighbour.finish().1.status, Status::Code(7), "the neighbour was not touched");
}

fn staying_below_the_memory_limit_is_unremarkable() {
    let fixture = Fixture::new();
    let parts = PlanParts { memory_bytes: Some(LIMIT), ..fixture.parts(&["allocate:8", "exit:3"]) };
    let (_, exit) = Probe::start(parts, Vec::new()).finish();
    assert!(!exit.memory_exceeded);
    assert_eq!(exit.to_string(), "worker probe exited with code 3");
}

fn the_memory_limit_is_kept_within_five_percent() {
    let fixture = Fixture::new();
    let limit = 256;
    let mut greedy =
        Probe::start(PlanParts { memory_bytes: Some(limit << 20), ..fixture.parts(&["grow"]) }, Vec::new());
    if greedy.sandboxed.containment().finding(Aspect::Memory).unwrap().detail().contains("setrlimit") {
        return;
    }
    let mut reached = 0;
    while let Ok(count) = greedy.line().parse::<u64>() {
        reached = count;
    }
    assert!(greedy.finish().1.memory_exceeded);
    println!("memory: ended at {reached} of {limit} MiB");
    assert!((limit * 95 / 100..=limit).contains(&reached), "{reached} of {limit} MiB");
}

fn threads_are_limited() {
    let fixture = Fixture::new();
    let parts = PlanParts { pids: Some(12), ..fixture.parts(&["threads:64"]) };
    let probe = Probe::start(parts, Vec::new());
    let by_group = !probe.sandboxed.containment().finding(Aspect::Pids).unwrap().detail().contains("setrlimit");
    let (answers, exit) = probe.finish();
    if by_group {
        let started: u32 = answers.to("threads:64").parse().unwrap();
        assert!((1..12).contains(&started), "{started} threads");
    } else {
        // The limit counts all processes of the user; on a busy host the worker may not get a single thread.
        assert!(exit.is_success(), "{exit}");
    }
}

fn open_files_are_limited() {
    let fixture = Fixture::new();
    let (answers, _) = ask(PlanParts { open_files: Some(32), ..fixture.parts(&["files:64"]) });
    assert_eq!(answers.to("files:64"), "29", "beside the standard three");
}

fn a_share_of_the_processors_is_kept_where_it_is_asked_for() {
    let fixture = Fixture::new();
    let none = Probe::start(fixture.parts(&["threads:1"]), Vec::new());
    assert!(none.sandboxed.containment().finding(Aspect::Cpu).is_none());
    none.finish();
    let cpu = Cpu { weight: Some(50), quota: Some(25) };
    let shared = Probe::start(PlanParts { cpu, ..fixture.parts(&["threads:1"]) }, Vec::new());
    let finding = shared.sandboxed.containment().finding(Aspect::Cpu).unwrap().clone();
    let detail = finding.detail();
    println!("cpu: {detail}");
    if finding.holds() {
        let of_one = ["cpu.shares 512", "cpu.cfs_quota_us 25000"].iter().all(|part| detail.contains(part));
        let of_two = ["cpu.weight 50", "cpu.max 25000 100000"].iter().all(|part| detail.contains(part));
        assert!(of_one || of_two, "{detail}");
    } else {
        // Under version 2 it is the group itself that an ordinary user cannot write.
        assert!(detail.contains("cpu") || detail.contains("is not writable"), "{detail}");
    }
    assert!(shared.finish().1.is_success());
}

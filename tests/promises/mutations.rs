//! Ten thousand archives that no packer wrote and ten thousand group documents bent out of shape: nothing is written
//! where it should not be, memory stays bounded, nothing panics, and every refusal can be read. What once broke a
//! reader is kept in `tests/corpus` and read again at every run.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::process::Command;

use fastrand::Rng;
use margay::documents::fuzz_group_document;
use margay::store::fuzz_package;
use serde_json::Value;

use crate::support::{archives, documents, scaled};

const COUNT: u64 = 10_000;
/// Each input has a generator of its own, seeded by this plus its number, and can be made again alone.
const SEED: u64 = 20_261_121;
/// What the process may grow by while it reads them all, and after the first tenth, in KiB. The tests' own inputs have up
/// to a few MiB.
const GROWTH: [u64; 2] = [64 * 1024, 12 * 1024];
const ALONE: &str = "MARGAY_TEST_ALONE";

/// A fuzz target; it says whether the input is good.
type Target = fn(&[u8]) -> bool;

/// Runs the test `name` in a process of its own, in which memory can be told; says whether this is that process.
fn is_alone(name: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(ALONE, "1");
    if Path::new("/dev/shm").is_dir() {
        // Where syncing costs nothing.
        command.env("TMPDIR", "/dev/shm");
    }
    let output = command.output().unwrap();
    let (said, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    print!("{said}");
    assert!(output.status.success() && said.contains("1 passed"), "{}:\n{said}\n{complaint}", output.status);
    false
}

/// The most memory that this process has had, in KiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Gives `target` what `make` makes for each number, and asserts how many it takes for good, and at what cost of memory.
/// Keeps the input that breaks it.
fn run(name: &str, make: impl Fn(&mut Rng) -> Vec<u8>, target: Target) {
    let (start, count) = (peak(), scaled(COUNT));
    let (mut good, mut warm) = (0, start);
    for number in 0..count {
        let input = make(&mut Rng::with_seed(SEED + number));
        match catch_unwind(AssertUnwindSafe(|| target(&input))) {
            Ok(taken) => good += u64::from(taken),
            Err(panic) => {
                let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{number}"));
                fs::write(&kept, input).unwrap();
                println!("{name} {number} of seed {SEED} broke it: {}; keep it in tests/corpus", kept.display());
                resume_unwind(panic);
            }
        }
        if number == count / 10 {
            warm = peak();
        }
    }
    let grown = [peak() - start, peak() - warm];
    println!("{count} times {name}, seed {SEED}: {good} good; memory grew by {} KiB, then {} KiB", grown[0], grown[1]);
    assert!(good > count / 50 && good < count / 2, "{good} of {count} are good: the mutations are not mixed");
    assert!(grown < GROWTH && grown[1] < GROWTH[1], "memory grew by {grown:?} KiB");
}

#[test]
fn ten_thousand_mutated_archives_write_nothing_outside_and_take_no_memory() {
    if !is_alone("mutations::ten_thousand_mutated_archives_write_nothing_outside_and_take_no_memory") {
        return;
    }
    let make = |random: &mut Rng| {
        let mut archive = if random.bool() { archives::tar_gz(random) } else { archives::zip(random) };
        archives::damage(random, &mut archive);
        archive
    };
    run("archive", make, fuzz_package);
}

#[test]
fn ten_thousand_mutated_group_documents_are_read_or_refused_in_readable_words() {
    if !is_alone("mutations::ten_thousand_mutated_group_documents_are_read_or_refused_in_readable_words") {
        return;
    }
    let examples: Vec<Value> = ["deploy/examples/group.json", "tests/corpus/groups/good-every-part.json"]
        .map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap())
        .into();
    let make = |random: &mut Rng| {
        let mut document = random.choice(&examples).unwrap().clone();
        for _ in 0..random.usize(0..5) {
            documents::bend(random, &mut document);
        }
        let mut bytes = document.to_string().into_bytes();
        if random.u8(..3) == 0 {
            archives::damage(random, &mut bytes);
        }
        bytes
    };
    run("group", make, fuzz_group_document);
}

#[test]
fn what_once_broke_a_reader_is_read_again() {
    let targets: [(&str, Target); 2] =
        [("tests/corpus/packages", fuzz_package), ("tests/corpus/groups", fuzz_group_document)];
    for (folder, target) in targets {
        let files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!files.is_empty(), "{folder} is empty");
        for file in files {
            let is_good = file.file_name().unwrap().to_string_lossy().starts_with("good-");
            assert_eq!(target(&fs::read(&file).unwrap()), is_good, "{}", file.display());
        }
    }
}

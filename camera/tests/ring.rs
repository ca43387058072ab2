//! What the ring promises between threads and between processes.
//!
//! The other processes are this program again, started with [`ROLE`] set and the ring as their standard input.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "what tests share is exempt as tests are")]

use std::io::{BufRead, BufReader, Lines};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use margay_camera::ring::{
    self, EndReason, Exclusion, ReadError, RingError, RingGeometry, RingReader, RingWriter, Wait,
};
use margay_camera::{Capture, PixelFormat, TimestampSource};

/// The variable that makes this program play a part instead of testing.
const ROLE: &str = "MARGAY_CAMERA_TEST_ROLE";
/// What every line of a child begins with, wherever the test harness puts it.
const MARK: &str = "margay:";
/// Longer than any machine takes to wake somebody; whoever waits so long was not woken.
const LONG: Duration = Duration::from_secs(60);
const GEOMETRY: RingGeometry = RingGeometry { slots: 4, slot_bytes: 20_000 };

fn scale() -> u64 {
    std::env::var("MARGAY_TEST_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1)
}

/// The bytes of frame `sequence`: each word tells the frame and its own place, so that no mixture of frames passes.
fn content(sequence: u64) -> Vec<u8> {
    let scatter = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    let length = 1 + scatter(sequence) % u64::from(GEOMETRY.slot_bytes);
    let words = (0..length.div_ceil(8)).flat_map(|place| scatter(sequence ^ scatter(place)).to_le_bytes());
    words.take(length as usize).collect()
}

fn capture(sequence: u64) -> Capture {
    Capture {
        captured_ns: !sequence,
        timestamp_source: TimestampSource::Replay,
        format: PixelFormat::Jpeg,
        width: sequence as u32,
        height: !sequence as u32,
        stride: 0,
        region: None,
        item: sequence << 20,
    }
}

fn publish(writer: &mut RingWriter, expected: u64) {
    assert_eq!(writer.publish(&capture(expected), &content(expected)), Ok(expected));
}

/// What became of a ring's frames for one reader.
#[derive(Debug, Default, Clone, Copy)]
struct Ledger {
    read: u64,
    overwritten: u64,
}

impl Ledger {
    /// Reads one frame, checks all of it, and counts what came of it. `false`: it was not published yet.
    fn take(&mut self, reader: &RingReader, sequence: u64, bytes: &mut Vec<u8>) -> bool {
        match reader.read_into(sequence, bytes) {
            Ok(meta) => {
                assert!(*bytes == content(sequence), "frame {sequence} is torn");
                assert_eq!(meta, margay_camera::FrameMeta::new(sequence, &capture(sequence), bytes.len() as u32));
                self.read += 1;
            }
            Err(ReadError::Overwritten { .. }) => self.overwritten += 1,
            Err(ReadError::NotYet { .. }) => return false,
            Err(other) => panic!("{other:?}"),
        }
        true
    }

    /// Goes through all frames that the ring has or gets, until it ends.
    fn follow(reader: &RingReader) -> (Self, EndReason) {
        let (mut ledger, mut bytes) = (Self::default(), Vec::new());
        let mut next = reader.first();
        loop {
            if ledger.take(reader, next, &mut bytes) {
                next += 1;
                continue;
            }
            match woken(reader, next.checked_sub(1)) {
                Wait::Frame(_) => {}
                Wait::Closed(reason) => return (ledger, reason),
                Wait::TimedOut => panic!("the writer stopped"),
            }
        }
    }
}

/// Waits for a newer frame. A reader that nobody wakes finds the frame as well, but only when its time is up.
fn woken(reader: &RingReader, than: Option<u64>) -> Wait {
    let begun = Instant::now();
    let outcome = reader.wait_newer(than, LONG);
    assert!(begun.elapsed() < LONG, "nobody woke the reader");
    outcome
}

#[test]
fn no_reader_sees_a_torn_frame_and_each_frame_was_read_or_overwritten() {
    let frames = 30_000 * scale();
    let memory = ring::create(GEOMETRY, 0).unwrap();
    let mut writer = RingWriter::map(&memory).unwrap();
    let handle = ring::seal_against_new_writers(&memory).unwrap();
    let reader = || RingReader::map(&handle).unwrap();
    thread::scope(|scope| {
        let followers = [(); 2].map(|()| scope.spawn(|| Ledger::follow(&reader())));
        let chaser = scope.spawn(|| chase_the_oldest(&reader()));
        for sequence in 0..frames {
            publish(&mut writer, sequence);
        }
        writer.close(EndReason::SourceEnded);
        for follower in followers {
            let (ledger, reason) = follower.join().unwrap();
            assert_eq!(reason, EndReason::SourceEnded);
            assert_eq!(ledger.read + ledger.overwritten, frames, "{ledger:?}");
            assert!(ledger.read >= u64::from(GEOMETRY.slots), "the last frames were not overwritten: {ledger:?}");
        }
        let ledger = chaser.join().unwrap();
        assert!(ledger.read > 0, "{ledger:?}");
    });
    assert_eq!(reader().head(), Some(frames - 1));
}

/// Reads, again and again, the frame that the writer is about to write over.
fn chase_the_oldest(reader: &RingReader) -> Ledger {
    let (mut ledger, mut bytes) = (Ledger::default(), Vec::new());
    while reader.end().is_none() {
        if let Some(oldest) = reader.oldest() {
            assert!(ledger.take(reader, oldest, &mut bytes));
        }
    }
    ledger.take(reader, reader.oldest().unwrap(), &mut bytes);
    ledger
}

#[test]
fn a_reader_in_another_process_is_woken_by_each_frame() {
    check_that_each_frame_wakes(Other::start("read", |command| command));
}

#[test]
fn a_reader_in_another_user_namespace_is_woken_by_each_frame() {
    let possible = Command::new("unshare").args(["--user", "--map-root-user", "true"]).output();
    if !possible.is_ok_and(|output| output.status.success()) {
        let how = "unshare(1), and unprivileged user namespaces allowed";
        assert!(std::env::var_os("MARGAY_TEST_REQUIRE").is_none(), "user namespaces are missing: {how}");
        println!("skipped: user namespaces: {how}");
        return;
    }
    check_that_each_frame_wakes(Other::start("read", |mut command| {
        let program = command.get_program().to_owned();
        command = Command::new("unshare");
        command.args(["--user", "--map-root-user"]).arg(program);
        command
    }));
}

fn check_that_each_frame_wakes(start: impl FnOnce(OwnedFd) -> Other) {
    let frames = 300 * scale();
    let memory = ring::create(GEOMETRY, 7).unwrap();
    let mut writer = RingWriter::map(&memory).unwrap();
    let handle = ring::seal_against_new_writers(&memory).unwrap();
    let mut reader = start(handle.into_fd());
    assert_eq!(reader.line(), "ready");
    for sequence in 7..7 + frames {
        publish(&mut writer, sequence);
        assert_eq!(reader.line(), format!("read {sequence}"));
    }
    writer.close(EndReason::Stopped);
    assert_eq!(reader.line(), "Closed(Stopped)");
    reader.finish();
}

#[test]
fn after_a_writer_was_killed_a_new_ring_goes_on_where_it_stopped() {
    let frames = 3_000 * scale();
    let (first, mut writer) = ring_with_writer(0, u64::MAX);
    let (mut ledger, mut bytes) = (Ledger::default(), Vec::new());
    let mut next = 0;
    while next < frames {
        match ledger.take(&first, next, &mut bytes) {
            true => next += 1,
            false => assert!(matches!(woken(&first, next.checked_sub(1)), Wait::Frame(_))),
        }
    }
    writer.kill();
    let head = first.head().unwrap();
    while next <= head {
        assert!(ledger.take(&first, next, &mut bytes));
        next += 1;
    }
    assert_eq!(ledger.read + ledger.overwritten, head + 1);
    assert_eq!((first.head(), first.end()), (Some(head), None), "the dead say nothing");

    let (second, mut writer) = ring_with_writer(head + 1, frames);
    let (later, reason) = Ledger::follow(&second);
    assert_eq!(reason, EndReason::SourceEnded);
    assert_eq!(second.head(), Some(head + frames));
    let captured = head + frames + 1;
    assert_eq!(ledger.read + ledger.overwritten + later.read + later.overwritten, captured);
    writer.finish();
}

/// A sealed ring into which another process writes `frames` frames, and its reader here.
fn ring_with_writer(first: u64, frames: u64) -> (RingReader, Other) {
    let memory = ring::create(GEOMETRY, first).unwrap();
    let mut writer = Other::start(&format!("write {first} {frames}"), |command| command)(memory.try_clone().unwrap());
    assert_eq!(writer.line(), "mapped");
    let handle = ring::seal_against_new_writers(&memory).unwrap();
    (RingReader::map(&handle).unwrap(), writer)
}

#[test]
fn a_reader_process_cannot_map_a_sealed_ring_for_writing() {
    let memory = ring::create(GEOMETRY, 0).unwrap();
    let _writer = RingWriter::map(&memory).unwrap();
    let handle = ring::seal_against_new_writers(&memory).unwrap();
    let sealed = handle.exclusion() == Exclusion::Sealed;
    let mut reader = Other::start("attack", |command| command)(handle.into_fd());
    assert_eq!(reader.line(), "given: refused");
    let reopened = reader.line();
    assert!(!sealed || reopened == "reopened: refused", "{reopened}");
    reader.finish();
}

/// Another process with a part to play.
struct Other {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Other {
    /// A process that plays `role` on the ring it is given; `wrap` may put another program before it.
    fn start(role: &str, wrap: impl FnOnce(Command) -> Command) -> impl FnOnce(OwnedFd) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut command = wrap(Command::new(program));
        command.args(["--exact", "plays_its_part_in_another_process", "--nocapture"]).env(ROLE, role);
        move |ring| {
            let mut child = command.stdin(ring).stdout(Stdio::piped()).spawn().unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            Self { child, lines }
        }
    }

    /// The next line that it says.
    fn line(&mut self) -> String {
        let lines = self.lines.by_ref().map(Result::unwrap);
        lines.filter_map(|line| Some(line.split_once(MARK)?.1.to_owned())).next().expect("the other process goes on")
    }

    fn finish(&mut self) {
        assert!(self.child.wait().unwrap().success());
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        assert!(!self.child.wait().unwrap().success());
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a promise of its own: what the tests above start.
#[test]
fn plays_its_part_in_another_process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let memory = std::io::stdin();
    match role.split(' ').collect::<Vec<_>>()[..] {
        ["read"] => play_reader(memory.as_fd()),
        ["write", first, frames] => play_writer(memory.as_fd(), first.parse().unwrap(), frames.parse().unwrap()),
        ["attack"] => play_attacker(memory.as_fd()),
        _ => panic!("{role}"),
    }
}

fn play_reader(memory: impl AsFd) {
    let reader = RingReader::map(memory).unwrap();
    println!("{MARK}ready");
    let (mut ledger, mut bytes, mut last) = (Ledger::default(), Vec::new(), None);
    loop {
        match woken(&reader, last) {
            Wait::Frame(sequence) => {
                assert!(ledger.take(&reader, sequence, &mut bytes));
                println!("{MARK}read {sequence}");
                last = Some(sequence);
            }
            other => return println!("{MARK}{other:?}"),
        }
    }
}

fn play_writer(memory: impl AsFd, first: u64, frames: u64) {
    let mut writer = RingWriter::map(memory).unwrap();
    println!("{MARK}mapped");
    for sequence in first..first.saturating_add(frames) {
        publish(&mut writer, sequence);
    }
    writer.close(EndReason::SourceEnded);
}

fn play_attacker(memory: impl AsFd) {
    let outcome = |mapped: Result<RingWriter, RingError>| match mapped {
        Err(RingError::Map(_)) => "refused".to_owned(),
        other => format!("{other:?}"),
    };
    println!("{MARK}given: {}", outcome(RingWriter::map(memory)));
    let reopened = std::fs::File::options().read(true).write(true).open("/proc/self/fd/0");
    println!("{MARK}reopened: {}", reopened.map_or("refused".to_owned(), |memory| outcome(RingWriter::map(memory))));
}

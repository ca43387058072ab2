//! The worker of these tests: answers questions about what it can do, each as a line `question = answer`.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use margay_sandbox::resource_path;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

use crate::raw;

pub fn main(questions: &[String]) -> ExitCode {
    for question in questions {
        let (verb, object) = question.split_once(':').unwrap_or((question, ""));
        let answer = match verb {
            "exit" => return ExitCode::from(object.parse::<u8>().unwrap()),
            "await-sigterm" => return await_sigterm(),
            "sleep" => return sleep(),
            "abort" => std::process::abort(),
            "orphan" => return leave_orphan(),
            "grow" => return grow(),
            _ => answer(verb, object),
        };
        println!("{question} = {answer}");
    }
    ExitCode::SUCCESS
}

fn answer(verb: &str, object: &str) -> String {
    match verb {
        "read" => outcome(fs::read_to_string(object)),
        "resource" => outcome(fs::read_to_string(resource_path(Path::new(object)))),
        "write" => outcome(write(Path::new(object), false)),
        "write-resource" => outcome(write(&resource_path(Path::new(object)), false)),
        "create" => outcome(write(Path::new(object), true)),
        "create-resource" => outcome(write(&resource_path(Path::new(object)), true)),
        "fill" => outcome(fs::write(object, vec![1; 4 << 20])),
        "list" => outcome(list(Path::new(object))),
        "execute" => outcome(Command::new(object).status().map(|status| status.to_string())),
        "field" => field(object),
        "descriptors" => open_descriptors(),
        "connect" => outcome(UnixStream::connect(object).map(drop)),
        "accept" => outcome(accept(object.parse().unwrap())),
        "descriptor" => outcome(read_descriptor(object.parse().unwrap())),
        "hostname" => nix::unistd::gethostname().unwrap().into_string().unwrap(),
        "call" => crate::privileges::call(object),
        "allocate" => allocate(object.parse().unwrap()),
        "files" => files(object.parse().unwrap()),
        "threads" => threads(object.parse().unwrap()),
        "reaped" => orphan_is_reaped(),
        "environment" => std::env::var(object).unwrap_or_else(|_| "unset".to_owned()),
        _ => panic!("no such question: {verb}"),
    }
}

/// The value, or the error's number by name.
fn outcome<T: ToOutcome>(result: io::Result<T>) -> String {
    match result {
        Ok(value) => value.to_outcome(),
        Err(error) => error_name(error.raw_os_error().unwrap_or_default()),
    }
}

pub fn error_name(number: i32) -> String {
    format!("{:?}", nix::errno::Errno::from_raw(number))
}

trait ToOutcome {
    fn to_outcome(self) -> String;
}

impl ToOutcome for () {
    fn to_outcome(self) -> String {
        "done".to_owned()
    }
}

impl ToOutcome for String {
    fn to_outcome(self) -> String {
        self.trim_end().replace('\n', " ")
    }
}

fn write(path: &Path, new: bool) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(new).mode(0o666).open(path)?.write_all(b"changed")
}

fn list(folder: &Path) -> io::Result<String> {
    let mut names: Vec<String> = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default()))
        .collect::<io::Result<_>>()?;
    names.sort();
    Ok(names.join(" "))
}

/// A line of `/proc/self/status`.
fn field(name: &str) -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.unwrap_or("absent").trim().to_owned()
}

/// Every open descriptor, found without `/proc`.
fn open_descriptors() -> String {
    (0..1024).filter(|number| raw::is_open(*number)).map(|number| number.to_string()).collect::<Vec<_>>().join(" ")
}

fn read_descriptor(number: i32) -> io::Result<String> {
    let mut text = String::new();
    raw::passed(number).read_to_string(&mut text)?;
    Ok(text)
}

/// Touches this many MiB.
fn allocate(mebibytes: usize) -> String {
    let block = vec![1_u8; mebibytes << 20];
    let touched = block.iter().step_by(4096).fold(0_usize, |sum, byte| sum + usize::from(*byte));
    format!("{touched} pages")
}

/// Touches one MiB more at a time, and says how many it has, until it is ended.
fn grow() -> ExitCode {
    let mut blocks = Vec::new();
    loop {
        blocks.push(vec![1_u8; 1 << 20]);
        say(&blocks.len().to_string());
    }
}

/// Opens files until one is refused, at most this many.
fn files(most: usize) -> String {
    let opened: Vec<_> = (0..most).map_while(|_| fs::File::open("/dev/null").ok()).collect();
    opened.len().to_string()
}

/// Starts threads until one is refused, at most this many.
fn threads(most: usize) -> String {
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let receiver = std::sync::Arc::new(std::sync::Mutex::new(receiver));
    let mut started = Vec::new();
    for _ in 0..most {
        let receiver = receiver.clone();
        let wait = move || {
            let _ = receiver.lock().unwrap().recv();
        };
        match std::thread::Builder::new().stack_size(64 << 10).spawn(wait) {
            Ok(thread) => started.push(thread),
            Err(_) => break,
        }
    }
    drop(sender);
    let count = started.len();
    started.into_iter().for_each(|thread| thread.join().unwrap());
    count.to_string()
}

fn say(line: &str) {
    println!("{line}");
    io::stdout().flush().unwrap();
}

fn await_sigterm() -> ExitCode {
    let signals: SigSet = [Signal::SIGTERM].into_iter().collect();
    signals.thread_block().unwrap();
    say("waiting");
    signals.wait().unwrap();
    ExitCode::from(7)
}

fn sleep() -> ExitCode {
    say("sleeping");
    loop {
        std::thread::park();
    }
}

/// Starts a process that outlives this one, and says its number.
fn leave_orphan() -> ExitCode {
    // Not waited for: that is the point.
    #[allow(clippy::zombie_processes)]
    let child = Command::new(own_program()).args(["probe", "exit:0"]).spawn().unwrap();
    say(&child.id().to_string());
    ExitCode::SUCCESS
}

fn own_program() -> std::path::PathBuf {
    std::env::current_exe().unwrap_or_else(|_| "/program".into())
}

/// Whether an orphan that has ended disappears although this program never waits for it.
fn orphan_is_reaped() -> String {
    let output = Command::new(own_program()).args(["probe", "orphan"]).stderr(Stdio::null()).output().unwrap();
    let orphan: i32 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    for _ in 0..10_000_000 {
        // A zombie still takes signals; only a reaped process does not exist.
        if kill(Pid::from_raw(orphan), None).is_err() {
            return "yes".to_owned();
        }
        std::thread::yield_now();
    }
    "no".to_owned()
}

/// Takes a connection from a listening socket that the test passed.
fn accept(number: i32) -> io::Result<()> {
    TcpListener::from(OwnedFd::from(raw::passed(number))).accept().map(drop)
}

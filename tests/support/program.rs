//! The program under test, run as a user runs it.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// The `margay` program that cargo built for this test.
pub fn margay() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_margay"));
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// Runs `margay` with `arguments` to its end.
pub fn run(arguments: &[&str]) -> Output {
    margay().args(arguments).output().expect("the program starts")
}

/// Asserts that a run ended with `code`, and shows what it said if not.
#[track_caller]
pub fn assert_code(output: &Output, code: i32) {
    assert_eq!(
        output.status.code(),
        Some(code),
        "stdout:\n{}\nstderr:\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A running core, ended when this is dropped.
pub struct Core(Child);

impl Core {
    /// Starts `margay run` with `config`; its log goes to `log`.
    pub fn start(config: &Path, log: &Path) -> Self {
        Self::start_with(config, log, &[])
    }

    /// The same with variables of the environment.
    pub fn start_with(config: &Path, log: &Path, variables: &[(&str, &str)]) -> Self {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut command = margay();
        command.envs(variables.iter().copied()).arg("run").arg("--config").arg(config);
        let child = command.stdout(Stdio::null()).stderr(log).spawn();
        Self(child.expect("the core starts"))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// SIGKILL, as a power cut would.
    pub fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// SIGTERM, and the exit code that it ends with.
    pub fn terminate(&mut self) -> Option<i32> {
        signal(self.pid(), rustix::process::Signal::TERM);
        self.0.wait().unwrap().code()
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends a signal to a process of the test.
pub fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Whether a process lives. A zombie is nobody's any more: whoever has it reaps it when it likes.
pub fn lives(pid: impl std::fmt::Display) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// Waits until none of the processes lives; a signal that was sent is not an end yet.
#[track_caller]
pub fn wait_until_gone<Pid: std::fmt::Display + std::fmt::Debug>(pids: &[Pid]) {
    for _ in 0..3000 {
        if !pids.iter().any(lives) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("some of {pids:?} live on");
}

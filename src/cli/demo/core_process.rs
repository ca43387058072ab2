//! The core of the demo: `margay run` as a process of its own.

use std::fs::File;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use super::provision::Provisioned;

/// The core's log in the demo's directory.
pub(super) const LOG: &str = "core.log";

/// How long the core may take to end by itself.
const STOP: Duration = Duration::from_secs(10);

/// A running core.
#[derive(Debug)]
pub(super) struct CoreProcess {
    child: Mutex<Child>,
    pid: Option<u32>,
}

impl CoreProcess {
    /// Starts this same program as the core.
    pub(super) fn start(provisioned: &Provisioned, folder: &Path) -> anyhow::Result<Self> {
        let log = folder.join(LOG);
        let stderr = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        let program = std::env::current_exe().context("finding this program's own file")?;
        let child = Command::new(&program)
            .args(["run", "--end-with-parent", "--config"])
            .arg(&provisioned.config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .kill_on_drop(true)
            // Ctrl-C is for the demo, which then ends the core in good order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {} run", program.display()))?;
        Ok(Self { pid: child.id(), child: Mutex::new(child) })
    }

    /// Waits for a core that ends although nobody asked it to.
    pub(super) async fn exited(&self) -> String {
        match self.child.lock().await.wait().await {
            Ok(status) => describe(status),
            Err(error) => error.to_string(),
        }
    }

    /// Ends the core by SIGTERM, and by SIGKILL when it takes too long.
    pub(super) async fn stop(self) {
        let mut child = self.child.into_inner();
        if let Some(pid) = self.pid.and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed())) {
            // It may have ended by itself: then there is nothing to do.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        if tokio::time::timeout(STOP, child.wait()).await.is_err() {
            let _ = child.kill().await;
        }
    }
}

fn describe(status: ExitStatus) -> String {
    format!("{status}; its log says why")
}

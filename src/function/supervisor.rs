//! The task that owns one function: it starts processes, gives them work, watches the time, and starts again what ended
//! (A-33, B-42). Everything that can wake it is an invocation, an [`Event`] or a due time.

mod handle;
mod process;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use margay_sandbox::Exit;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

pub(super) use self::handle::{FunctionTarget, Handle};
use self::process::{Process, Stage};
use super::interface::{Said, Work};
use super::invocation::{FunctionError, Invocation, Outcome};
use super::status::{FunctionState, FunctionStatus, Told};
use super::worker::{Event, Origin, StartError, Worker};
use crate::backoff::Backoff;
use crate::causes::explain;
use crate::clock::Clock;

/// Processes of an on-demand function at a time; more invocations wait.
const MAX_PARALLEL: usize = 8;

/// How long an on-demand function's process is kept for the next invocation; the guide sees one reused after 30 seconds.
const IDLE: Duration = Duration::from_secs(60);

/// How long an on-demand function may take to load its handler, beside its `Timeout`. A pinned one may take for ever.
const LOADING: Duration = Duration::from_secs(30);

/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

/// Between two starts of a function that ends by itself, from the first pause to the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(60));

/// A function that ended so often without having done anything is in a crash loop.
const CRASH_LOOP: u32 = 5;

/// A process that lived this long did something, even if nobody invoked it.
const LIVED: Duration = Duration::from_secs(60);

/// Nothing is due before this.
const FAR: Duration = Duration::from_secs(3600);

/// The task's state.
pub(super) struct Supervisor {
    origin: Arc<Origin>,
    clock: Arc<dyn Clock>,
    requests: mpsc::Receiver<Invocation>,
    events: mpsc::Receiver<(u64, Event)>,
    /// Where processes tell.
    told: mpsc::Sender<(u64, Event)>,
    status: watch::Sender<Told>,
    /// Without its workers.
    now: FunctionStatus,
    processes: BTreeMap<u64, Process>,
    waiting: VecDeque<Invocation>,
    last_id: u64,
    pauses: Backoff,
    not_before: Instant,
    failures: u32,
}

impl Supervisor {
    pub(super) fn new(
        origin: Arc<Origin>,
        clock: Arc<dyn Clock>,
        requests: mpsc::Receiver<Invocation>,
        status: watch::Sender<Told>,
    ) -> Self {
        let now = status.borrow().status.clone();
        let (told, events) = mpsc::channel(64);
        Self {
            origin,
            clock,
            requests,
            events,
            told,
            status,
            now,
            processes: BTreeMap::new(),
            waiting: VecDeque::new(),
            last_id: 0,
            pauses: Backoff::new(PAUSES.0, PAUSES.1),
            not_before: Instant::now(),
            failures: 0,
        }
    }

    /// Runs the function until `stop` says so, or is dropped; then ends its processes.
    pub(super) async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        loop {
            self.give_work();
            self.start_what_is_needed();
            self.tell();
            let room = self.waiting.len() < self.room();
            let due = self.next_due();
            tokio::select! {
                biased;
                _ = &mut stop => break,
                Some((id, event)) = self.events.recv() => self.handle(id, event),
                Some(invocation) = self.requests.recv(), if room => self.waiting.push_back(invocation),
                () = tokio::time::sleep_until(due) => self.overdue(),
            }
        }
        self.end().await;
    }

    fn pinned(&self) -> bool {
        self.origin.settings.function.pinned
    }

    /// Invocations that may wait here, beside those in the router's queue.
    fn room(&self) -> usize {
        if self.pinned() { 1 } else { MAX_PARALLEL }
    }

    fn give_work(&mut self) {
        let timeout = self.origin.settings.function.timeout;
        for process in self.processes.values_mut() {
            let (Stage::Idle { .. }, Some(worker)) = (&process.stage, &process.worker) else { continue };
            let Some(Invocation { id, payload, context, reply }) = self.waiting.pop_front() else { return };
            let context = (!context.is_null()).then(|| in_ascii(&context.to_string()));
            let deadline = self.clock.system() + timeout;
            let deadline_ms = deadline.unix_timestamp_nanos() / 1_000_000;
            // There is room: it waits for work. One that died meanwhile says so by its end.
            let _ = worker.work.try_send(Work { id: id.clone(), payload, context, deadline_ms });
            process.stage = Stage::Busy { id, reply, until: Instant::now() + timeout };
        }
    }

    fn start_what_is_needed(&mut self) {
        let starting = self.processes.values().filter(|process| matches!(process.stage, Stage::Loading { .. })).count();
        let live = self.processes.values().filter(|process| !matches!(process.stage, Stage::Ending { .. })).count();
        let wanted = match self.pinned() {
            true => self.processes.is_empty(),
            false => starting < self.waiting.len() && live < MAX_PARALLEL,
        };
        if !wanted || Instant::now() < self.not_before {
            return;
        }
        self.last_id += 1;
        let id = self.last_id;
        self.now.starts += 1;
        let limit = self.origin.settings.function.timeout + LOADING;
        let until = (!self.pinned()).then(|| Instant::now() + limit);
        self.processes.insert(id, Process::new(Stage::Loading { until }));
        let (origin, events) = (self.origin.clone(), self.told.clone());
        tokio::spawn(async move {
            let worker = Worker::start(id, origin, events.clone()).await;
            // Dropped with the event, the worker is killed: a supervisor that is gone leaves nothing behind.
            let _ = events.send((id, Event::Launched(worker))).await;
        });
    }

    fn handle(&mut self, id: u64, event: Event) {
        match event {
            Event::Launched(Ok(worker)) => {
                if let Some(process) = self.processes.get_mut(&id) {
                    if matches!(process.stage, Stage::Ending { .. }) {
                        worker.kill();
                    }
                    process.worker = Some(worker);
                }
            }
            Event::Launched(Err(error)) => self.not_started(id, &error),
            Event::Said(Said::Ready) => {
                if let Some(process) = self.processes.get_mut(&id)
                    && matches!(process.stage, Stage::Loading { .. } | Stage::Done)
                {
                    process.stage = Stage::Idle { since: Instant::now() };
                }
            }
            Event::Said(Said::Done(invocation, outcome)) => self.done(id, &invocation, outcome),
            Event::Said(Said::InitFailed(why)) => {
                self.trouble(format!("loading the handler failed: {why}"));
                if let Some(process) = self.processes.get_mut(&id) {
                    process.reason = Some(format!("loading the handler failed: {why}"));
                }
            }
            Event::Troubled(why) => self.trouble(why),
            Event::Exited(exit) => self.exited(id, &exit),
        }
    }

    fn done(&mut self, id: u64, invocation: &str, outcome: Outcome) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        if !matches!(&process.stage, Stage::Busy { id, .. } if id == invocation) {
            return;
        }
        let Stage::Busy { reply, .. } = std::mem::replace(&mut process.stage, Stage::Done) else { return };
        match &outcome {
            Ok(_) => {
                self.now.succeeded += 1;
                self.failures = 0;
                self.pauses.reset();
            }
            Err(error) => {
                self.now.failed += 1;
                let said = super::interface::message(&error.payload);
                self.trouble(format!("an invocation failed: {said}"));
            }
        }
        Invocation::settle(reply, outcome);
    }

    fn not_started(&mut self, id: u64, error: &StartError) {
        self.processes.remove(&id);
        let why = format!("it does not start: {}", explain(error));
        self.failed_start(&why);
    }

    fn exited(&mut self, id: u64, exit: &Exit) {
        let Some(process) = self.processes.remove(&id) else { return };
        let lived = process.started.elapsed() >= LIVED;
        if exit.memory_exceeded {
            self.now.out_of_memory += 1;
        }
        let how = process.reason.clone().unwrap_or_else(|| exit.to_string());
        match process.stage {
            Stage::Ending { asked: true, .. } => return,
            Stage::Busy { reply, .. } => {
                self.now.failed += 1;
                Invocation::settle(reply, Err(FunctionError::unhandled(&how)));
            }
            _ => {}
        }
        self.now.crashes += 1;
        if lived {
            self.failures = 0;
            self.pauses.reset();
        }
        self.failed_start(&how);
    }

    /// A process ended by itself, or did not begin: the next one waits. What an on-demand function was started for has
    /// failed; a pinned one keeps its messages for the next.
    fn failed_start(&mut self, why: &str) {
        self.failures += 1;
        self.not_before = Instant::now() + self.pauses.next();
        self.trouble(why.to_owned());
        if !self.pinned() && self.processes.is_empty() {
            for Invocation { reply, .. } in self.waiting.drain(..) {
                self.now.failed += 1;
                Invocation::settle(reply, Err(FunctionError::unhandled(why)));
            }
        }
    }

    fn trouble(&mut self, why: String) {
        tracing::warn!(function = self.origin.settings.arn(), "{why}");
        self.origin.log.write(crate::group::LogLevel::Error, "margay", &why);
        self.now.last_error = Some(why);
    }

    fn next_due(&self) -> Instant {
        let pinned = self.pinned();
        let of_processes = self.processes.values().filter_map(|process| process.due(pinned, IDLE));
        let restart = Some(self.not_before).filter(|at| *at > Instant::now());
        of_processes.chain(restart).min().unwrap_or_else(|| Instant::now() + FAR)
    }

    /// Ends what has taken too long.
    fn overdue(&mut self) {
        let now = Instant::now();
        let (pinned, timeout) = (self.pinned(), self.origin.settings.function.timeout);
        let due: Vec<u64> = self
            .processes
            .iter()
            .filter(|(_, process)| process.due(pinned, IDLE).is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            let Some(process) = self.processes.get_mut(&id) else { continue };
            let kill = Some(Instant::now() + GRACE);
            match std::mem::replace(&mut process.stage, Stage::Ending { asked: false, kill: None }) {
                Stage::Busy { reply, .. } => {
                    let why =
                        format!("the handler took longer than its Timeout of {} s and was ended", timeout.as_secs());
                    process.reason = Some(why.clone());
                    process.kill();
                    self.now.timed_out += 1;
                    self.now.last_error = Some(why.clone());
                    self.now.failed += 1;
                    Invocation::settle(reply, Err(FunctionError::unhandled(&why)));
                }
                Stage::Loading { .. } => {
                    process.reason =
                        Some(format!("loading the handler took longer than {} s", (timeout + LOADING).as_secs()));
                    process.kill();
                }
                Stage::Idle { .. } | Stage::Done => {
                    process.stage = Stage::Ending { asked: true, kill };
                    process.terminate();
                }
                Stage::Ending { asked, .. } => {
                    process.stage = Stage::Ending { asked, kill: None };
                    process.kill();
                }
            }
        }
    }

    fn tell(&mut self) {
        let runs = self.processes.values().any(|process| process.worker.is_some());
        self.now.state = match (runs, self.failures) {
            (_, failures) if failures >= CRASH_LOOP => FunctionState::CrashLoop,
            (true, _) => FunctionState::Running,
            (false, 0) if !self.pinned() => FunctionState::Ready,
            (false, _) => FunctionState::Waiting,
        };
        let workers = self.processes.values().filter_map(Process::present).collect();
        self.status.send_replace(Told { status: self.now.clone(), workers });
    }

    /// SIGTERM, and SIGKILL for whoever is still there after a while.
    async fn end(mut self) {
        for process in self.processes.values_mut() {
            let before = std::mem::replace(&mut process.stage, Stage::Ending { asked: true, kill: None });
            if let Stage::Busy { reply, .. } = before {
                Invocation::settle(reply, Err(FunctionError::unhandled("the function is stopped")));
            }
            process.terminate();
        }
        let until = Instant::now() + GRACE;
        while !self.processes.is_empty() {
            match tokio::time::timeout_at(until, self.events.recv()).await {
                Ok(Some((id, event))) => {
                    if matches!(event, Event::Launched(Err(_)) | Event::Exited(_)) {
                        self.processes.remove(&id);
                    } else {
                        self.handle(id, event);
                    }
                }
                // Dropping the processes kills them.
                Ok(None) | Err(_) => return,
            }
        }
    }
}

/// JSON for an HTTP header: everything beyond ASCII, and control characters, as JSON's own escapes.
fn in_ascii(json: &str) -> String {
    let mut units = [0; 2];
    json.chars().fold(String::with_capacity(json.len()), |mut text, character| {
        if character.is_ascii() && !character.is_ascii_control() {
            text.push(character);
        } else {
            text.extend(character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_survives_a_header() {
        let context = serde_json::json!({ "custom": { "subject": "straße/🚦\u{7f}\n" } });
        let text = in_ascii(&context.to_string());
        assert!(text.is_ascii() && !text.contains('\u{7f}'), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), context);
    }
}

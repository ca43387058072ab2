//! The task that owns a service's worker: it gives it one picture after the other, and replaces it.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::{Asked, InferenceError, ServiceSettings, Shared};
use crate::backoff::Backoff;
use crate::causes::explain;
use crate::classifier::one_shot::scores::Scored;
use crate::classifier::one_shot::{OneShot, OneShotError};

/// Pauses before a worker that could not be started is tried again, the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The task that owns the worker.
pub(super) struct Task {
    shared: Arc<Shared>,
    /// Leading outputs that stand for no class.
    offset: usize,
    pauses: Backoff,
    /// When a worker that could not be started is tried again.
    again: Instant,
}

impl Task {
    /// A task without a worker yet, for a model that has `offset` outputs before those of its classes.
    pub(super) fn new(shared: Arc<Shared>, offset: usize) -> Self {
        Self { shared, offset, pauses: Backoff::new(PAUSES.0, PAUSES.1), again: Instant::now() }
    }

    /// A worker whose model is loaded.
    pub(super) async fn load(&self) -> Result<OneShot, OneShotError> {
        let ServiceSettings { package, destination, memory_limit, identity, running, .. } = &self.shared.settings;
        let worker = OneShot::load_at(package, destination, *memory_limit, *identity, running).await?;
        self.shared.counts.starts.count();
        self.shared.runs(Some(worker.engine.clone()));
        if let Some(remark) = &worker.remark {
            let ServiceSettings { connector, name, .. } = &self.shared.settings;
            tracing::warn!(connector, service = name, remark, "the model runs otherwise than was to be expected");
        }
        Ok(worker)
    }

    /// Another worker, if one can be had now.
    pub(super) async fn replace(&mut self) -> Option<OneShot> {
        self.shared.runs(None);
        match self.load().await {
            Ok(worker) => {
                self.pauses.reset();
                Some(worker)
            }
            Err(error) => {
                self.shared.went_wrong(&explain(&error));
                self.again = Instant::now() + self.pauses.next();
                None
            }
        }
    }

    /// Answers until nobody can ask any more.
    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Asked>, first: Option<OneShot>) {
        let mut place = first;
        while let Some(Asked { picture, until, reply }) = requests.recv().await {
            if reply.is_closed() || Instant::now() >= until {
                // Whoever asked has given up, or is about to.
                let _ = reply.send(Err(self.shared.timed_out()));
                continue;
            }
            if place.is_none() && Instant::now() >= self.again {
                place = self.replace().await;
            }
            let Some(worker) = place.take() else {
                let _ = reply.send(Err(self.not_running()));
                continue;
            };
            let outcome = timeout_at(until, worker.scores(Scored::Picture, &picture)).await;
            drop(picture);
            let (answer, kept) = match outcome {
                Ok(Ok(scores)) => (Ok(scores.outputs.into_iter().skip(self.offset).collect()), Some(worker)),
                Ok(Err(OneShotError::Refused { why })) => (Err(InferenceError::Refused { why }), Some(worker)),
                Ok(Err(error)) => (Err(self.failed(&error)), None),
                Err(_) => (Err(self.shared.timed_out()), None),
            };
            // Whoever asked may be gone.
            let _ = reply.send(answer);
            place = match kept {
                Some(worker) => Some(worker),
                None => self.replace().await,
            };
        }
    }

    fn failed(&self, error: &OneShotError) -> InferenceError {
        let ServiceSettings { name, memory_limit, .. } = &self.shared.settings;
        InferenceError::Failed { service: name.clone(), memory_kb: memory_limit / 1024, why: explain(error) }
    }

    fn not_running(&self) -> InferenceError {
        let state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let why = state.last_error.clone().unwrap_or_else(|| "its model is being loaded".to_owned());
        InferenceError::NotRunning { service: self.shared.settings.name.clone(), why }
    }
}

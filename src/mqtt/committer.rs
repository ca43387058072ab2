//! The thread that writes the spool to the disk, so that no task waits for one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::link::{AcceptanceHook, Shared};
use super::spool::{Batch, Due, Journal};

/// The thread's part of the link.
pub(super) struct Committer {
    shared: Arc<Shared>,
    journal: Journal,
    on_accepted: Option<AcceptanceHook>,
}

/// What is to be done next.
enum Work {
    Commit(Box<Batch>),
    Sync,
    End,
}

/// Whatever ends the thread, a panic included, is seen by who waits for it and by the watchdog.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.committed.send_replace(true);
    }
}

impl Committer {
    /// Starts the thread. It ends after [`Shared::end`], when what is left has been written or has failed.
    pub(super) fn start(shared: Arc<Shared>, journal: Journal, on_accepted: Option<AcceptanceHook>) {
        let ended = Ended(shared.clone());
        let committer = Self { shared, journal, on_accepted };
        let started = std::thread::Builder::new().name("spool".into()).stack_size(512 * 1024).spawn(move || {
            // Let go after the journal and its lock.
            let _ended = ended;
            committer.run();
        });
        if let Err(error) = started {
            tracing::error!(%error, "the thread that writes the spool cannot be started: nothing is accepted");
        }
    }

    fn run(mut self) {
        let bell = self.shared.bell.clone().unwrap_or_default();
        loop {
            match self.next(&bell) {
                Work::Commit(batch) => self.commit(&batch),
                Work::Sync => self.sync(),
                Work::End => return self.sync(),
            }
        }
    }

    fn next(&self, bell: &std::sync::Condvar) -> Work {
        let mut spool = self.shared.spool();
        loop {
            let now = Instant::now();
            if self.shared.ending.load(Ordering::SeqCst) {
                // On a disk that fails, once more; what is in flight or queued in memory is lost with the process.
                return match spool.has_unwritten() && !spool.is_in_trouble() {
                    true => Work::Commit(Box::new(spool.take_batch(now, true))),
                    false => Work::End,
                };
            }
            let due = spool.due(now);
            let sync_due = self.journal.sync_due();
            let until = match (due, sync_due) {
                (Due::Now, _) => return Work::Commit(Box::new(spool.take_batch(now, false))),
                (_, Some(sync)) if sync <= now => return Work::Sync,
                (Due::At(at), sync) => Some(sync.map_or(at, |sync| sync.min(at))),
                (Due::Never, sync) => sync,
            };
            spool = match until {
                Some(until) => {
                    let waited = bell.wait_timeout(spool, until.saturating_duration_since(now));
                    waited.unwrap_or_else(std::sync::PoisonError::into_inner).0
                }
                None => bell.wait(spool).unwrap_or_else(std::sync::PoisonError::into_inner),
            };
        }
    }

    fn commit(&mut self, batch: &Batch) {
        // Everything was delivered before it had to be written; a disk in trouble is tried nevertheless.
        let idle = batch.is_empty() && !self.shared.spool().is_in_trouble();
        let outcome = (!idle).then(|| self.journal.commit(batch, Instant::now()));
        let news = {
            let mut spool = self.shared.spool();
            if let Some(outcome) = outcome {
                spool.settle(outcome, Instant::now());
            }
            spool.take_news()
        };
        if let Some(hook) = &self.on_accepted {
            news.iter().for_each(|accepted| hook(accepted));
        }
        self.shared.wake.notify_one();
    }

    fn sync(&mut self) {
        if let Err(error) = self.journal.sync() {
            tracing::warn!(%error, "acknowledgements may not be on the disk: after a power cut some messages are sent again");
        }
    }
}

//! The one task that sends: connection after connection, with pauses that grow while nothing succeeds, learning from
//! the end of each what to tell the operator and which message to distrust.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rumqttc::ConnectionError;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::connect_error::{self, ConnectError};
use super::failure::LinkFailure;
use super::link::{LinkSettings, LinkState, Shared, Stop};
use super::message::MessageId;
use super::session::{Ending, Report, Session, Surroundings};
use super::suspicion::{Suspicion, Verdict};
use crate::backoff::Backoff;
use crate::topic::Topic;

/// A connection that stood this long was a success, whatever ended it.
const STEADY: Duration = Duration::from_secs(10);

/// Closes by the broker within [`STEADY`], in a row and explained by no message, after which another user of the client id is suspected.
const SHORT_LIVED: u32 = 4;

/// The link's task.
pub(super) struct Publisher {
    settings: LinkSettings,
    shared: Arc<Shared>,
    state: watch::Sender<LinkState>,
    stop: watch::Receiver<Stop>,
    suspicion: Suspicion,
    backoff: Backoff,
    /// Closes by the broker within [`STEADY`], in a row, that no message explains.
    short_lived: u32,
}

impl Publisher {
    pub(super) fn new(
        settings: LinkSettings,
        shared: Arc<Shared>,
        state: watch::Sender<LinkState>,
        stop: watch::Receiver<Stop>,
    ) -> Self {
        let backoff = Backoff::new(settings.retry_floor, settings.retry_ceiling);
        Self { settings, shared, state, stop, suspicion: Suspicion::default(), backoff, short_lived: 0 }
    }

    /// Connects again and again until the link is to stop.
    pub(super) async fn run(mut self) {
        while !self.is_done() {
            self.state.send_replace(LinkState::Connecting { attempt: self.backoff.attempts() + 1 });
            let Some(failure) = self.connect_once().await else {
                break;
            };
            self.pause(Arc::new(failure)).await;
        }
        self.shared.spool().close();
        self.state.send_replace(LinkState::Stopped);
    }

    /// One connection; `None` when it ended because the link is to stop.
    async fn connect_once(&mut self) -> Option<LinkFailure> {
        let around = Surroundings {
            settings: &self.settings,
            shared: &self.shared,
            suspicion: &mut self.suspicion,
            state: &self.state,
            stop: self.stop.clone(),
        };
        match contained(Session::run(around)).await {
            Ok(report) => self.learn(report),
            Err(_) => Some(LinkFailure::Internal { broker: self.settings.connection.broker.clone() }),
        }
    }

    async fn pause(&mut self, failure: Arc<LinkFailure>) {
        let delay = self.backoff.next();
        let attempt = self.backoff.attempts();
        tracing::warn!(attempt, retry_in = ?delay, error = &*failure as &dyn std::error::Error, "no connection to the cloud");
        self.state.send_replace(LinkState::Waiting { failure, attempt, retry_in: delay });
        let end = Instant::now() + delay;
        while Instant::now() < end && !self.is_done() {
            let until = match *self.stop.borrow() {
                Stop::Never => end,
                Stop::Drained(at_latest) => end.min(at_latest),
            };
            tokio::select! {
                () = sleep_until(until) => {}
                changed = self.stop.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Whether the link is to stop: nobody holds it, everything is drained, or there is no more time for that.
    fn is_done(&self) -> bool {
        if self.stop.has_changed().is_err() {
            return true;
        }
        match *self.stop.borrow() {
            Stop::Never => false,
            Stop::Drained(at_latest) => Instant::now() >= at_latest || self.shared.spool().is_empty(),
        }
    }

    fn learn(&mut self, report: Report) -> Option<LinkFailure> {
        if report.admitted_for.is_none_or(|stood| stood >= STEADY) {
            self.short_lived = 0;
        }
        let broker = self.settings.connection.broker.clone();
        let failure = match report.ending {
            Ending::Stopped => return None,
            Ending::NotAcknowledged(topic) => {
                LinkFailure::NotAcknowledged { broker, topic, after: self.settings.acknowledgement_timeout }
            }
            Ending::Failed(error) if report.admitted_for.is_none() => {
                ConnectError::new(*error, &self.settings.connection).into()
            }
            Ending::Failed(error) if connect_error::is_close(&error) => {
                self.closed_by_broker(*error, &report.outstanding)
            }
            Ending::Failed(error) => LinkFailure::Interrupted { broker, source: connect_error::root(*error) },
        };
        let succeeded = report.acknowledged > 0 || report.admitted_for.is_some_and(|stood| stood >= STEADY);
        // Two users of one client id throw each other out, however much each gets done: they must not do it faster.
        if succeeded && self.short_lived < SHORT_LIVED {
            self.backoff.reset();
        }
        Some(failure)
    }

    fn closed_by_broker(&mut self, error: ConnectionError, outstanding: &[(MessageId, Topic)]) -> LinkFailure {
        let newest = self.shared.spool().newest_in_flight();
        let verdict = self.suspicion.closed_by_broker(outstanding, newest, Instant::now().into_std());
        let broker = self.settings.connection.broker.clone();
        let client_id = self.settings.connection.client_id.clone();
        match verdict {
            Verdict::Convicted { id, topic, term } => {
                let aside = self.set_aside(id, &topic, term);
                LinkFailure::PublishRefused { broker, topic, aside }
            }
            Verdict::Struck { topic, times } => LinkFailure::PublishSuspected { broker, topic, times },
            Verdict::Unclear => {
                self.short_lived += 1;
                if self.short_lived >= SHORT_LIVED {
                    return LinkFailure::ClientIdInUse { broker, client_id, times: self.short_lived };
                }
                let (unacknowledged, source) = (outstanding.len(), connect_error::root(error));
                LinkFailure::ClosedByBroker { broker, client_id, unacknowledged, source }
            }
        }
    }

    /// Gives up the convicted message, and with a term the topic's others in flight; says so.
    fn set_aside(&mut self, convicted: MessageId, topic: &Topic, term: Option<Duration>) -> String {
        let mut spool = self.shared.spool();
        spool.set_aside(convicted, term.map(|_| topic));
        self.suspicion.settle(spool.oldest_in_flight());
        let aside = match term {
            Some(term) => format!("messages on it are given up for {} s, then one is tried", term.as_secs()),
            None => format!("message {convicted} was given up"),
        };
        tracing::error!(%topic, "the MQTT broker closes the connection on messages on this topic: {aside}");
        aside
    }
}

impl Drop for Publisher {
    /// Whatever ended it: what is not written yet is, and the spool's files are let go.
    fn drop(&mut self) {
        self.shared.end();
    }
}

/// Runs `session` to its end; a panic in it (in the library, or in the acknowledgement hook) ends only it.
async fn contained<T>(session: impl Future<Output = T>) -> Result<T, Box<dyn Any + Send>> {
    let mut session = pin!(session);
    poll_fn(move |context| match catch_unwind(AssertUnwindSafe(|| session.as_mut().poll(context))) {
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

//! The one task that sends: connection after connection, with pauses that grow while nothing succeeds, learning from
//! the end of each what to tell the operator and which message to distrust.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::asides::Asides;
use super::connect_error::{self, ConnectError};
use super::connection::ConnectionSettings;
use super::failure::LinkFailure;
use super::link::{LinkSettings, LinkState, Shared, Stop};
use super::message::MessageId;
use super::pacer::Pacer;
use super::presence::{Errand, Presence};
use super::session::{Ending, Report, Session, Surroundings};
use super::suspicion::{Suspicion, Verdict};
use super::wire::WireError;
use crate::backoff::Backoff;
use crate::topic::Topic;

/// A connection that stood this long was a success, whatever ended it.
const STEADY: Duration = Duration::from_secs(10);

/// Closes by the broker within [`STEADY`], in a row and explained by no message, after which another user of the client id is suspected.
const SHORT_LIVED: u32 = 4;

/// Once another user of the client id is suspected, a connection must stand this long to clear it: the two throw each
/// other out ever more slowly.
const UNDISPUTED: Duration = Duration::from_secs(600);

/// Connections in a row that end with a packet too large to be read, after which the broker is to forget the session: it
/// would send the same message on every connection.
const FORGET_SESSION: u32 = 2;

/// The link's task.
pub(super) struct Publisher {
    settings: LinkSettings,
    shared: Arc<Shared>,
    state: watch::Sender<LinkState>,
    stop: watch::Receiver<Stop>,
    errands: mpsc::Receiver<Errand>,
    suspicion: Suspicion,
    asides: Asides,
    pacer: Pacer,
    backoff: Backoff,
    /// Closes by the broker within [`STEADY`], in a row, that no message explains.
    short_lived: u32,
    /// How often the broker said that another connection uses the client id.
    taken_over: u32,
    /// Connections in a row that ended with a packet that is too large to be read.
    oversized: u32,
}

/// What one connection came to.
enum Outcome {
    /// The link is to stop.
    Stopped,
    /// Another connection is wanted at once.
    Renewed,
    /// It failed, or did not come about.
    Failed(LinkFailure),
}

impl Publisher {
    pub(super) fn new(
        settings: LinkSettings,
        shared: Arc<Shared>,
        state: watch::Sender<LinkState>,
        stop: watch::Receiver<Stop>,
        errands: mpsc::Receiver<Errand>,
    ) -> Self {
        let backoff = Backoff::new(settings.retry_floor, settings.retry_ceiling);
        let pacer = Pacer::new(settings.publishes_per_second);
        Self {
            settings,
            shared,
            state,
            stop,
            errands,
            suspicion: Suspicion::default(),
            asides: Asides::default(),
            pacer,
            backoff,
            short_lived: 0,
            taken_over: 0,
            oversized: 0,
        }
    }

    /// Connects again and again until the link is to stop.
    pub(super) async fn run(mut self) {
        self.be_opened().await;
        while !self.is_done() {
            self.state.send_replace(LinkState::Connecting { attempt: self.backoff.attempts() + 1 });
            match self.connect_once().await {
                Outcome::Stopped => break,
                Outcome::Renewed => tracing::info!("connecting again, for another kind of session"),
                Outcome::Failed(failure) => {
                    self.shared.history().failed(failure.kind(), in_words(&failure));
                    self.pause(Arc::new(failure)).await;
                }
            }
        }
        self.shared.spool().close();
        self.state.send_replace(LinkState::Stopped);
    }

    /// Waits until the link may connect, or is to stop.
    async fn be_opened(&mut self) {
        let mut open = self.shared.open.subscribe();
        while !*open.borrow_and_update() && !self.is_done() {
            let until = match *self.stop.borrow() {
                Stop::Never => None,
                Stop::Drained(at_latest) => Some(at_latest),
            };
            tokio::select! {
                _ = open.changed() => {}
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {}
                changed = self.stop.changed() => if changed.is_err() { return },
            }
        }
    }

    /// One connection, to its end.
    async fn connect_once(&mut self) -> Outcome {
        let session_wanted = self.shared.inlet.at_least_once().unwrap_or(self.settings.connection.persistent);
        let connection = ConnectionSettings {
            persistent: session_wanted && self.oversized < FORGET_SESSION,
            tls: self.shared.tls(),
            last_will: self.settings.presence.as_ref().map(Presence::will),
            ..self.settings.connection.clone()
        };
        let around = Surroundings {
            settings: &self.settings,
            connection: &connection,
            session_wanted,
            shared: &self.shared,
            suspicion: &mut self.suspicion,
            asides: &mut self.asides,
            pacer: &mut self.pacer,
            errands: &mut self.errands,
            state: &self.state,
            stop: self.stop.clone(),
        };
        match contained(Session::run(around)).await {
            Ok(report) => self.learn(report),
            Err(_) => Outcome::Failed(LinkFailure::Internal { broker: self.settings.connection.broker.clone() }),
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

    fn learn(&mut self, report: Report) -> Outcome {
        let steady = if self.short_lived >= SHORT_LIVED { UNDISPUTED } else { STEADY };
        if report.admitted_for.is_none_or(|stood| stood >= steady) {
            self.short_lived = 0;
        }
        let broker = self.settings.connection.broker.clone();
        self.oversized = match &report.ending {
            Ending::Failed(error) if matches!(**error, WireError::Oversized { .. }) => self.oversized + 1,
            // What is not a session's message says nothing about those that the broker keeps.
            _ if report.admitted_for.is_none() => self.oversized,
            _ => 0,
        };
        let failure = match report.ending {
            Ending::Stopped => return Outcome::Stopped,
            Ending::Renewed => return Outcome::Renewed,
            Ending::NotAcknowledged(topic) => {
                LinkFailure::NotAcknowledged { broker, topic, after: self.settings.acknowledgement_timeout }
            }
            Ending::Failed(error) if report.admitted_for.is_none() => {
                ConnectError::new(*error, &self.settings.connection).into()
            }
            Ending::Failed(error) if let WireError::Oversized { limit, actual } = *error => {
                LinkFailure::MessageTooLarge { broker, limit, actual }
            }
            Ending::Failed(error) if error.is_close() => {
                self.closed_by_broker(*error, &report.outstanding, report.unanswered)
            }
            Ending::Failed(error) => LinkFailure::Interrupted { broker, source: connect_error::root(*error) },
        };
        let succeeded = report.acknowledged > 0 || report.admitted_for.is_some_and(|stood| stood >= STEADY);
        // Two users of one client id throw each other out, however much each gets done: they must not do it faster.
        if succeeded && self.short_lived < SHORT_LIVED {
            self.backoff.reset();
        }
        Outcome::Failed(failure)
    }

    fn closed_by_broker(
        &mut self,
        error: WireError,
        outstanding: &[(MessageId, Topic)],
        unanswered: Vec<String>,
    ) -> LinkFailure {
        let now = Instant::now().into_std();
        let verdict = if matches!(error, WireError::Dismissed { taken_over: true, .. }) {
            return self.taken_over();
        } else if unanswered.is_empty() {
            let newest = self.shared.spool().newest_in_flight();
            self.suspicion.closed_by_broker(outstanding, newest, now)
        } else {
            // Messages are above suspicion as long as something else may be the reason.
            let aside = self.asides.closed(unanswered, now);
            if !aside.is_empty() {
                self.short_lived = 0;
                let broker = self.settings.connection.broker.clone();
                return LinkFailure::RequestsRefused { broker, requests: aside.join(", ") };
            }
            Verdict::Unclear
        };
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

    fn taken_over(&mut self) -> LinkFailure {
        self.taken_over += 1;
        self.short_lived += 1;
        let ConnectionSettings { broker, client_id, .. } = self.settings.connection.clone();
        LinkFailure::SessionTakenOver { broker, client_id, times: self.taken_over }
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

/// `failure` with its causes, as `margay status` shows it.
fn in_words(failure: &LinkFailure) -> String {
    let mut text = failure.to_string();
    let mut next = std::error::Error::source(failure);
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
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

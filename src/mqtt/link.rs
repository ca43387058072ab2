//! The link as the rest of the core sees it: hand it messages, look at its state and its ledger, drain it.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rustls::ClientConfig;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use super::committer::Committer;
use super::connection::ConnectionSettings;
use super::counters::LinkCounters;
use super::failure::LinkFailure;
use super::history::History;
use super::inflow::{Inflow, Inlet};
use super::message::{Delivered, MAX_PAYLOAD_BYTES, MessageId, Received};
use super::presence::{Errand, Presence};
use super::publisher::Publisher;
use super::session::MAX_ERRANDS;
use super::spool::{AcceptError, Accepted, Journal, Spool, SpoolListing, SpoolSettings, SpoolState, Worth};
use crate::clock::{Clock, SystemClock};
use crate::topic::{Topic, TopicFilter};

/// Messages on their way at a time; AWS IoT Core allows 100 for a client.
pub const DEFAULT_WINDOW: u16 = 20;

/// The widest window: far below the packet ids that the library uses in turn.
pub const MAX_WINDOW: u16 = 100;

/// Filters of one connection: AWS IoT Core's limit.
pub const MAX_SUBSCRIPTIONS: usize = 50;

/// V1's `mqttMaxConnectionRetryInterval` when nothing is said.
pub const DEFAULT_RETRY_CEILING: Duration = Duration::from_secs(60);

/// Called for each acknowledged message, on the link's task: it must return at once.
pub type AcknowledgementHook = Arc<dyn Fn(&Delivered) + Send + Sync>;

/// What the link asks the broker for on every connection, and where it goes. A full inbox drops what comes, counted.
#[derive(Debug, Clone)]
pub struct LinkSubscription {
    /// What is asked for, with QoS 1.
    pub filter: TopicFilter,
    /// Where messages go; one that comes twice goes there twice.
    pub inbox: mpsc::Sender<Received>,
}

/// Called for each message when it counts as accepted, with the spool on disk on the thread that writes it: it must
/// return soon.
pub type AcceptanceHook = Arc<dyn Fn(&Accepted) + Send + Sync>;

/// How the link behaves.
#[derive(Clone)]
pub struct LinkSettings {
    /// Where to connect, and as whom.
    pub connection: ConnectionSettings,
    /// How much waits while offline.
    pub spool: SpoolSettings,
    /// Messages on their way at a time, 1 to [`MAX_WINDOW`]; others count as the nearest of these.
    pub window: u16,
    /// Shortest wait before connecting again.
    pub retry_floor: Duration,
    /// Longest wait before connecting again (`mqttMaxConnectionRetryInterval`).
    pub retry_ceiling: Duration,
    /// The oldest message on its way must be acknowledged within this time; else the connection counts as lost.
    pub acknowledgement_timeout: Duration,
    /// While one message is suspected of making the broker close: how long a new connection must stand before
    /// it is sent alone.
    pub settling_time: Duration,
    /// Told of each acknowledged message.
    pub on_acknowledged: Option<AcknowledgementHook>,
    /// The most messages of the spool a second; `None` is no limit.
    pub publishes_per_second: Option<NonZeroU32>,
    /// How the core tells that it is there, if it does.
    pub presence: Option<Presence>,
    /// What is asked for beside the inflow, at most [`MAX_SUBSCRIPTIONS`]; more are left out.
    pub subscriptions: Vec<LinkSubscription>,
    /// Whether to connect only after [`Link::open`]: a session that the broker kept sends what it holds at once, and who
    /// takes it must be there by then.
    pub closed_at_first: bool,
    /// Told of each accepted message.
    pub on_accepted: Option<AcceptanceHook>,
    /// When messages were accepted, as their records on disk tell it.
    pub clock: Arc<dyn Clock>,
}

impl LinkSettings {
    /// Settings with every default.
    pub fn new(connection: ConnectionSettings) -> Self {
        Self {
            connection,
            spool: SpoolSettings::default(),
            window: DEFAULT_WINDOW,
            retry_floor: Duration::from_millis(200),
            retry_ceiling: DEFAULT_RETRY_CEILING,
            acknowledgement_timeout: Duration::from_secs(30),
            settling_time: Duration::from_secs(1),
            on_acknowledged: None,
            publishes_per_second: None,
            presence: None,
            subscriptions: Vec::new(),
            closed_at_first: false,
            on_accepted: None,
            clock: Arc::new(SystemClock::new()),
        }
    }
}

impl fmt::Debug for LinkSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkSettings")
            .field("connection", &self.connection)
            .field("spool", &self.spool)
            .field("window", &self.window)
            .field("retry_floor", &self.retry_floor)
            .field("retry_ceiling", &self.retry_ceiling)
            .field("acknowledgement_timeout", &self.acknowledgement_timeout)
            .field("settling_time", &self.settling_time)
            .field("publishes_per_second", &self.publishes_per_second)
            .field("presence", &self.presence)
            .field("subscriptions", &self.subscriptions)
            .field("closed_at_first", &self.closed_at_first)
            .finish_non_exhaustive()
    }
}

/// What the link is doing.
#[derive(Debug, Clone)]
pub enum LinkState {
    /// Trying to be admitted.
    Connecting {
        /// Attempts since the last success, this one included.
        attempt: u32,
    },
    /// Admitted by the broker.
    Connected,
    /// Not connected; trying again after a while.
    Waiting {
        /// Why the last connection ended or did not come about.
        failure: Arc<LinkFailure>,
        /// Attempts since the last success.
        attempt: u32,
        /// How long until the next one.
        retry_in: Duration,
    },
    /// Drained or abandoned: nothing more happens.
    Stopped,
}

impl LinkState {
    /// Whether the broker has admitted us.
    pub fn is_connected(&self) -> bool {
        matches!(self, Self::Connected)
    }

    /// Whether the link has ended.
    pub fn is_stopped(&self) -> bool {
        matches!(self, Self::Stopped)
    }

    /// Why there is no connection, where that is known.
    pub fn failure(&self) -> Option<&LinkFailure> {
        match self {
            Self::Waiting { failure, .. } => Some(failure),
            _ => None,
        }
    }
}

/// Until when the publisher works.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stop {
    /// Without end.
    Never,
    /// Until the spool is empty, at most until then.
    Drained(Instant),
}

/// What the handles and the publisher share.
#[derive(Debug)]
pub(super) struct Shared {
    spool: Mutex<Spool>,
    history: Mutex<History>,
    /// Certificate, key and roots of the next connection.
    tls: Mutex<Arc<ClientConfig>>,
    pub(super) inlet: Inlet,
    /// Whether the link may connect.
    pub(super) open: watch::Sender<bool>,
    /// Something was accepted or written, or the link is to stop.
    pub(super) wake: Notify,
    /// Rung when the committer has something to write.
    pub(super) bell: Option<Arc<Condvar>>,
    /// Nothing more is sent: the committer is to write what is left, and to end.
    pub(super) ending: AtomicBool,
    /// Whether the committer has ended; true from the beginning where there is none.
    pub(super) committed: watch::Sender<bool>,
}

impl Shared {
    /// The spool. Its ledger balances before each release of the lock, also where the holder panicked.
    pub(super) fn spool(&self) -> MutexGuard<'_, Spool> {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tls(&self) -> Arc<ClientConfig> {
        self.tls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets the committer write what is left, and end.
    pub(super) fn end(&self) {
        let _spool = self.spool();
        self.ending.store(true, Ordering::SeqCst);
        if let Some(bell) = &self.bell {
            bell.notify_one();
        }
    }
}

/// Why a message was not sent at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There is no connection; it is worth nothing later.
    #[error("sending at once: the link is not connected to the broker")]
    NotConnected,
    /// Too many wait already.
    #[error("sending at once: {MAX_ERRANDS} messages wait already")]
    Busy,
    /// The broker takes no payload of this size.
    #[error("sending at once: the payload has {actual} bytes, the broker takes {MAX_PAYLOAD_BYTES}")]
    TooLarge {
        /// The bytes it has.
        actual: usize,
    },
}

/// A handle on the link. When the last handle is dropped the link stops without draining.
#[derive(Clone)]
pub struct Link {
    shared: Arc<Shared>,
    state: watch::Receiver<LinkState>,
    stop: watch::Sender<Stop>,
    errands: mpsc::Sender<Errand>,
    on_accepted: Option<AcceptanceHook>,
    /// Filters that the link asks for itself.
    own_filters: Arc<[TopicFilter]>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("shared", &self.shared).field("state", &self.state).finish_non_exhaustive()
    }
}

impl Link {
    /// Starts the publisher task and begins to connect. Must be called within a tokio runtime. A spool on disk whose
    /// files cannot be used is replaced by one in memory, and says so ([`spool_state`](Self::spool_state)).
    pub fn start(mut settings: LinkSettings) -> Self {
        if settings.subscriptions.len() > MAX_SUBSCRIPTIONS {
            tracing::error!(
                asked = settings.subscriptions.len(),
                "a connection has at most {MAX_SUBSCRIPTIONS} subscriptions; the rest is left out"
            );
            settings.subscriptions.truncate(MAX_SUBSCRIPTIONS);
        }
        let (mut spool, journal) = open_spool(&settings);
        if settings.on_accepted.is_some() {
            spool.collect_news();
        }
        let shared = Arc::new(Shared {
            bell: spool.bell(),
            spool: Mutex::new(spool),
            history: Mutex::default(),
            tls: Mutex::new(settings.connection.tls.clone()),
            inlet: Inlet::default(),
            open: watch::Sender::new(!settings.closed_at_first),
            wake: Notify::new(),
            ending: AtomicBool::new(false),
            committed: watch::Sender::new(journal.is_none()),
        });
        let on_accepted = settings.on_accepted.clone();
        let own_filters = settings.subscriptions.iter().map(|subscription| subscription.filter.clone()).collect();
        if let Some(journal) = journal {
            Committer::start(shared.clone(), journal, on_accepted.clone());
        }
        let (errands, errand_receiver) = mpsc::channel(MAX_ERRANDS);
        let (state_sender, state) = watch::channel(LinkState::Connecting { attempt: 1 });
        let (stop, stop_receiver) = watch::channel(Stop::Never);
        let publisher = Publisher::new(settings, shared.clone(), state_sender, stop_receiver, errand_receiver);
        tokio::spawn(publisher.run());
        Self { shared, state, stop, errands, on_accepted, own_filters }
    }

    /// Sends a message on the connection that stands, before those of the spool: QoS 1, not retained, on this connection
    /// or not at all. It is in no ledger; who sends it waits for an answer of its own kind.
    ///
    /// # Errors
    /// Every [`SendError`]; the message is then not sent.
    pub fn send(&self, topic: Topic, payload: Bytes) -> Result<(), SendError> {
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(SendError::TooLarge { actual: payload.len() });
        }
        if !self.state.borrow().is_connected() {
            return Err(SendError::NotConnected);
        }
        self.errands.try_send(Errand { topic, payload, retain: false }).map_err(|_| SendError::Busy)?;
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Lets a link connect that was closed at first.
    pub fn open(&self) {
        self.shared.open.send_replace(true);
    }

    /// Wants `inflow` of the cloud from now on, on the connection that stands and on those to come: what is new in it is
    /// subscribed to before what is gone is given up, where a connection has room for both. Whether the broker is to
    /// keep a session takes another connection, which is made at once. Gives the filters for which a connection has no
    /// room; they are not asked for.
    pub fn exchange_inflow(&self, inflow: Inflow) -> Vec<TopicFilter> {
        let beyond = self.shared.inlet.exchange(inflow, MAX_SUBSCRIPTIONS - self.own_filters.len());
        let wanted = self.shared.inlet.wanted().filters;
        let known = |filter: &str| wanted.keys().chain(self.own_filters.iter()).any(|known| known.as_str() == filter);
        self.shared.history().keep_refused(known);
        self.shared.wake.notify_one();
        beyond
    }

    /// Uses this certificate, key and authorities from the next connection on; the one that stands is left standing.
    pub fn change_tls(&self, tls: Arc<ClientConfig>) {
        *self.shared.tls.lock().unwrap_or_else(PoisonError::into_inner) = tls;
    }

    /// What the link went through.
    pub fn history(&self) -> History {
        self.shared.history().clone()
    }

    /// Takes a message for the cloud: QoS 1, not retained, in order within its topic. It may push out the oldest queued
    /// ones. Never waits. With the spool in memory the message is accepted when this returns; with the spool on disk a
    /// moment later, when it has been synced ([`LinkSettings::on_accepted`] tells).
    ///
    /// # Errors
    /// Every [`AcceptError`]; the message is then not in the spool.
    pub fn accept(&self, topic: Topic, payload: Bytes) -> Result<MessageId, AcceptError> {
        self.accept_marked(topic, payload, (0, Worth::Ordinary))
    }

    /// The same with a number of the caller's own, which comes back with the acknowledgement: for instance the time of
    /// capture.
    ///
    /// # Errors
    /// Every [`AcceptError`]; the message is then not in the spool.
    pub fn accept_tagged(&self, topic: Topic, payload: Bytes, tag: u64) -> Result<MessageId, AcceptError> {
        self.accept_marked(topic, payload, (tag, Worth::Ordinary))
    }

    /// The same with what the message is worth when room is short.
    ///
    /// # Errors
    /// Every [`AcceptError`]; the message is then not in the spool.
    pub fn accept_marked(&self, topic: Topic, payload: Bytes, mark: (u64, Worth)) -> Result<MessageId, AcceptError> {
        let (id, news) = {
            let mut spool = self.shared.spool();
            let id = spool.accept_worth(topic, payload, mark, Instant::now().into_std())?;
            // With a committer, word of accepted messages is its own to give, in order.
            (id, if self.shared.bell.is_none() { spool.take_news() } else { Vec::new() })
        };
        if let Some(hook) = &self.on_accepted {
            news.iter().for_each(|accepted| hook(accepted));
        }
        self.shared.wake.notify_one();
        Ok(id)
    }

    /// Lets as much wait as `settings` say from now on; the oldest queued messages that no longer fit are dropped. Where
    /// messages wait was settled when the link was started.
    pub fn limit_spool(&self, settings: &SpoolSettings) {
        self.shared.spool().limit(settings.max_size_bytes(), Instant::now().into_std());
    }

    /// How the spool stands.
    pub fn spool_state(&self) -> SpoolState {
        self.shared.spool().state()
    }

    /// What the spool holds. Reads a little from the disk.
    pub fn spool_listing(&self) -> SpoolListing {
        self.shared.spool().listing()
    }

    /// Gives up every queued message, counted as cleared; those in flight stay. Returns how many went.
    pub fn clear_spool(&self) -> u64 {
        self.shared.spool().clear()
    }

    /// The last known state, and every change of it.
    pub fn state(&self) -> watch::Receiver<LinkState> {
        self.state.clone()
    }

    /// Whether the link's task is there, and the thread that writes its spool; they end by themselves only when the link
    /// is drained.
    pub fn is_running(&self) -> bool {
        self.state.has_changed().is_ok() && (self.shared.bell.is_none() || !*self.shared.committed.borrow())
    }

    /// The ledger at this moment.
    pub fn counters(&self) -> LinkCounters {
        self.shared.spool().counters()
    }

    /// Takes nothing more, waits until everything accepted is delivered (or given up), at most `patience`, then takes
    /// leave of the broker and stops. Returns the final ledger: what is still queued or in flight in it was not
    /// delivered. Dropping the future does not undo it.
    pub async fn drain(&self, patience: Duration) -> LinkCounters {
        self.shared.spool().close();
        self.stop.send_replace(Stop::Drained(Instant::now() + patience));
        // An error means that the publisher is gone without a word; there is nothing to wait for either.
        let _ = self.state.clone().wait_for(LinkState::is_stopped).await;
        let _ = self.shared.committed.subscribe().wait_for(|committed| *committed).await;
        self.counters()
    }
}

fn open_spool(settings: &LinkSettings) -> (Spool, Option<Journal>) {
    match Spool::open(&settings.spool, settings.clock.clone(), Instant::now().into_std()) {
        Ok(opened) => opened,
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            let note =
                format!("{error}{cause}; until the next start messages wait in memory, and a restart loses them");
            tracing::error!("{note}");
            let mut spool = Spool::new(&settings.spool.in_memory());
            spool.note(note);
            (spool, None)
        }
    }
}

#[cfg(test)]
mod faults;
#[cfg(test)]
mod inflow;
#[cfg(test)]
mod tests;

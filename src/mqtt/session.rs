//! One connection's life: from opening it to the reason for its end.
//!
//! It keeps the map from packet ids to messages (the library does not tell which PUBACK belongs to which publish): ids
//! are given out in the order of sending, one [`WireEvent::Sent`] each. It serves the publisher, which owns everything
//! that outlives a connection.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use rumqttc::ConnectionError;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::flight::{Flight, Limits};
use super::link::{LinkSettings, LinkState, MAX_WINDOW, Shared, Stop};
use super::message::{Message, MessageId};
use super::suspicion::{Pace, Suspicion};
use super::wire::{self, PacketId, Receiver, Sender, WireEvent};
use crate::topic::Topic;

/// Requests that are no messages: the DISCONNECT.
const OTHER_REQUESTS: usize = 1;

/// How long the broker may take to read our DISCONNECT.
const FAREWELL: Duration = Duration::from_secs(2);

/// Later than anything waited for: no deadline.
const FAR: Duration = Duration::from_secs(24 * 3600);

/// Why a connection ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// It was to end.
    Stopped,
    /// The library reported an error.
    Failed(Box<ConnectionError>),
    /// The oldest message on its way, on this topic, was not acknowledged in time.
    NotAcknowledged(Topic),
}

/// What the publisher learns from a connection.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) ending: Ending,
    /// How long it stood after CONNACK; `None` if it was never admitted.
    pub(super) admitted_for: Option<Duration>,
    /// Messages acknowledged on it.
    pub(super) acknowledged: u64,
    /// Messages sent on it and not acknowledged, oldest first.
    pub(super) outstanding: Vec<(MessageId, Topic)>,
}

/// What a session works with and does not own.
pub(super) struct Surroundings<'a> {
    pub(super) settings: &'a LinkSettings,
    pub(super) shared: &'a Shared,
    pub(super) suspicion: &'a mut Suspicion,
    pub(super) state: &'a watch::Sender<LinkState>,
    pub(super) stop: watch::Receiver<Stop>,
}

/// The packet ids in use, and the messages that wait for theirs.
#[derive(Debug, Default)]
struct Packets {
    waiting: VecDeque<MessageId>,
    messages: HashMap<PacketId, MessageId>,
}

/// A connection in progress.
pub(super) struct Session<'a> {
    around: Surroundings<'a>,
    sender: Sender,
    packets: Packets,
    flight: Flight,
    admitted: Option<Instant>,
    acknowledged: u64,
    /// When our DISCONNECT was asked for.
    farewell: Option<Instant>,
}

impl<'a> Session<'a> {
    /// Connects, sends what the spool holds as long as the connection stands, and reports its end.
    pub(super) async fn run(around: Surroundings<'a>) -> Report {
        let settings = around.settings;
        let (sender, receiver) = wire::open(&settings.connection, usize::from(MAX_WINDOW) + OTHER_REQUESTS);
        around.suspicion.begin_connection();
        let limits = Limits {
            messages: usize::from(settings.window.clamp(1, MAX_WINDOW)),
            // Half the spool stays free of messages in flight, so that new ones find queued ones to replace.
            bytes: settings.spool.max_size_bytes() / 2,
        };
        let mut session = Self {
            around,
            sender,
            packets: Packets::default(),
            flight: Flight::new(limits, Instant::now().into_std()),
            admitted: None,
            acknowledged: 0,
            farewell: None,
        };
        let ending = session.serve(receiver).await;
        Report {
            ending,
            admitted_for: session.admitted.map(|admitted| admitted.elapsed()),
            acknowledged: session.acknowledged,
            outstanding: session.flight.into_outstanding(),
        }
    }

    async fn serve(&mut self, mut receiver: Receiver) -> Ending {
        loop {
            let event = {
                // Not to be dropped half way: see `wire`.
                let next = receiver.next();
                tokio::pin!(next);
                loop {
                    tokio::select! {
                        event = &mut next => break event,
                        () = self.around.shared.wake.notified() => {}
                        () = sleep_until(self.next_deadline()) => {}
                        changed = self.around.stop.changed() => if changed.is_err() {
                            return Ending::Stopped;
                        },
                    }
                    if let Some(ending) = self.overdue() {
                        return ending;
                    }
                    self.fill().await;
                }
            };
            match event {
                Ok(WireEvent::Farewell) => return Ending::Stopped,
                Ok(event) => self.take(event),
                Err(_) if self.farewell.is_some() => return Ending::Stopped,
                Err(error) => return Ending::Failed(error),
            }
            self.fill().await;
        }
    }

    fn take(&mut self, event: WireEvent) {
        match event {
            WireEvent::Admitted => self.admit(),
            WireEvent::Sent(packet) => {
                if let Some(id) = self.packets.waiting.pop_front() {
                    self.packets.messages.insert(packet, id);
                }
            }
            WireEvent::Acknowledged(packet) => {
                if let Some(id) = self.packets.messages.remove(&packet) {
                    self.acknowledge(id);
                }
            }
            WireEvent::Farewell | WireEvent::Received(_) | WireEvent::Subscribed(_) | WireEvent::Other => {}
        }
    }

    fn admit(&mut self) {
        let now = Instant::now();
        self.admitted = Some(now);
        if self.around.suspicion.pace() == Pace::Alone {
            self.flight.settle_until((now + self.around.settings.settling_time).into_std());
        }
        self.around.shared.spool().count_connection();
        self.around.state.send_replace(LinkState::Connected);
        tracing::info!(broker = %self.around.settings.connection.broker, "connected to the MQTT broker");
    }

    fn acknowledge(&mut self, id: MessageId) {
        let now = Instant::now().into_std();
        let delivered = self.flight.acknowledged(id, &mut self.around.shared.spool(), self.around.suspicion, now);
        let Some(delivered) = delivered else { return };
        self.acknowledged += 1;
        if let Some(hook) = &self.around.settings.on_acknowledged {
            hook(&delivered);
        }
    }

    /// Sends what may be sent now, and takes leave when nothing is left to be drained.
    async fn fill(&mut self) {
        if self.admitted.is_none() || self.farewell.is_some() {
            return;
        }
        while let Some(message) = self.next_message() {
            self.packets.waiting.push_back(message.id);
            if self.sender.publish(&message.topic, message.payload).await.is_err() {
                // The receiver is about to report why.
                return;
            }
        }
        if self.is_drained() {
            self.farewell = Some(Instant::now());
            // Refused only when the receiver is about to report an end anyway.
            let _ = self.sender.disconnect().await;
        }
    }

    fn next_message(&mut self) -> Option<Message> {
        let now = Instant::now().into_std();
        self.flight.next(&mut self.around.shared.spool(), self.around.suspicion, now)
    }

    /// The next moment at which something is to be done without an event.
    fn next_deadline(&self) -> Instant {
        let now = Instant::now();
        let mut deadline = now + FAR;
        if let Some((_, since)) = self.flight.oldest() {
            deadline = deadline.min(Instant::from_std(since) + self.around.settings.acknowledgement_timeout);
        }
        let settled = Instant::from_std(self.flight.settled());
        if settled > now {
            deadline = deadline.min(settled);
        }
        if let Some(asked) = self.farewell {
            deadline = deadline.min(asked + FAREWELL);
        }
        if let Stop::Drained(at_latest) = *self.around.stop.borrow() {
            deadline = deadline.min(at_latest);
        }
        deadline
    }

    /// Whether the connection is to end now although it has not failed.
    fn overdue(&self) -> Option<Ending> {
        let now = Instant::now();
        let out_of_time = matches!(*self.around.stop.borrow(), Stop::Drained(at_latest) if now >= at_latest);
        let not_needed = self.admitted.is_none() && self.is_drained();
        let farewell_unread = self.farewell.is_some_and(|asked| now >= asked + FAREWELL);
        if out_of_time || not_needed || farewell_unread {
            return Some(Ending::Stopped);
        }
        let (topic, since) = self.flight.oldest()?;
        let waited = now.saturating_duration_since(Instant::from_std(since));
        let overdue = waited >= self.around.settings.acknowledgement_timeout;
        overdue.then(|| Ending::NotAcknowledged(topic.clone()))
    }

    fn is_drained(&self) -> bool {
        matches!(*self.around.stop.borrow(), Stop::Drained(_)) && self.around.shared.spool().is_empty()
    }
}

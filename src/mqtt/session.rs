//! One connection's life: from opening it to the reason for its end.
//!
//! It sends three things: what was asked for beside messages (subscriptions, presence, errands) at once, messages of the
//! spool as the window and the pace allow, and a DISCONNECT. It serves the publisher, which owns everything that
//! outlives a connection.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::asides::Asides;
use super::connection::ConnectionSettings;
use super::flight::{Flight, Limits};
use super::inflow::Asked;
use super::link::{LinkSettings, LinkState, MAX_SUBSCRIPTIONS, MAX_WINDOW, Shared, Stop};
use super::message::{Message, MessageId, Received};
use super::pacer::Pacer;
use super::packets::{Cargo, FilterRequest, Packets};
use super::presence::{Errand, Event as Presence};
use super::suspicion::{Pace, Suspicion};
use super::wire::{self, Manner, PacketId, Quality, Receiver, Sender, WireError, WireEvent};
use crate::topic::Topic;

/// Errands on their way at a time, beside one that takes leave.
pub(super) const MAX_ERRANDS: usize = 16;

/// Requests that may wait to be written: the receiver is not polled while one is handed over.
const REQUESTS: usize = MAX_WINDOW as usize + MAX_SUBSCRIPTIONS + MAX_ERRANDS + 2;

/// How long the broker may take to read our DISCONNECT.
const FAREWELL: Duration = Duration::from_secs(2);

/// Later than anything waited for: no deadline.
const FAR: Duration = Duration::from_secs(24 * 3600);

/// Why a connection ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// It was to end.
    Stopped,
    /// The broker is to keep a session from now on, or none any more, which only another connection can say.
    Renewed,
    /// The connection failed.
    Failed(Box<WireError>),
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
    /// Topics and filters of other requests that were not answered.
    pub(super) unanswered: Vec<String>,
}

/// What a session works with and does not own.
pub(super) struct Surroundings<'a> {
    pub(super) settings: &'a LinkSettings,
    /// Those of this connection.
    pub(super) connection: &'a ConnectionSettings,
    /// Whether a session was wanted that the broker keeps.
    pub(super) session_wanted: bool,
    pub(super) shared: &'a Shared,
    pub(super) suspicion: &'a mut Suspicion,
    pub(super) asides: &'a mut Asides,
    pub(super) pacer: &'a mut Pacer,
    pub(super) errands: &'a mut mpsc::Receiver<Errand>,
    pub(super) state: &'a watch::Sender<LinkState>,
    pub(super) stop: watch::Receiver<Stop>,
}

/// A connection in progress.
pub(super) struct Session<'a> {
    around: Surroundings<'a>,
    sender: Sender,
    packets: Packets,
    asked: Asked,
    flight: Flight,
    admitted: Option<Instant>,
    acknowledged: u64,
    /// Until when the pace holds back the next message.
    paced_until: Option<Instant>,
    /// When our DISCONNECT was asked for.
    farewell: Option<Instant>,
}

impl<'a> Session<'a> {
    /// Connects, sends what the spool holds as long as the connection stands, and reports its end.
    pub(super) async fn run(around: Surroundings<'a>) -> Report {
        let settings = around.settings;
        let (sender, receiver) = wire::open(around.connection, REQUESTS);
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
            asked: Asked::default(),
            flight: Flight::new(limits, Instant::now().into_std()),
            admitted: None,
            acknowledged: 0,
            paced_until: None,
            farewell: None,
        };
        let ending = session.serve(receiver).await;
        Report {
            ending,
            admitted_for: session.admitted.map(|admitted| admitted.elapsed()),
            acknowledged: session.acknowledged,
            unanswered: session.packets.unanswered(),
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
                Ok(event) => self.take(event).await,
                Err(_) if self.farewell.is_some() => return Ending::Stopped,
                Err(error) => return Ending::Failed(error),
            }
            self.fill().await;
        }
    }

    async fn take(&mut self, event: WireEvent) {
        match event {
            WireEvent::Admitted { receive_maximum } => self.admit(receive_maximum).await,
            WireEvent::Sent(packet) => self.packets.sent(packet),
            WireEvent::Acknowledged(packet) => match self.packets.answered(packet) {
                Some(Cargo::Message(id)) => self.acknowledge(id),
                Some(Cargo::Errand(topic, _)) => self.around.asides.answered(topic.as_str()),
                None => {}
            },
            WireEvent::Refused(packet, reason) => self.be_refused(packet, reason),
            WireEvent::Asking(packet) => self.packets.asking(packet),
            WireEvent::Subscribed(packet, granted) => self.subscribed(packet, granted.iter().all(|granted| *granted)),
            WireEvent::Unsubscribed(packet) => self.unsubscribed(packet),
            WireEvent::Received(message) => self.deliver(message),
            WireEvent::Farewell | WireEvent::Other => {}
        }
    }

    async fn admit(&mut self, receive_maximum: Option<u16>) {
        let now = Instant::now();
        self.admitted = Some(now);
        if self.around.suspicion.pace() == Pace::Alone {
            self.flight.settle_until((now + self.around.settings.settling_time).into_std());
        }
        self.flight.take_at_most(receive_maximum.map(usize::from));
        // Errands of an earlier connection are stale: who sent them starts anew at each.
        while self.around.errands.try_recv().is_ok() {}
        self.follow_inflow();
        self.ask_for_filters().await;
        if let Some(presence) = &self.around.settings.presence {
            self.run_errand(presence.errand(Presence::Online)).await;
        }
        self.around.shared.spool().count_connection();
        self.around.state.send_replace(LinkState::Connected);
        tracing::info!(broker = %self.around.connection.broker, "connected to the MQTT broker");
    }

    /// Plans what there is to ask for so that the filters of the link and those of the latest inflow stand.
    fn follow_inflow(&mut self) {
        let mut wanted = self.around.shared.inlet.wanted();
        if !self.around.connection.persistent {
            // A new session holds nothing.
            wanted.stale.clear();
        }
        let fixed = self.around.settings.subscriptions.iter().map(|subscription| subscription.filter.clone());
        self.asked.follow(wanted, fixed);
    }

    /// Asks for what is planned, a connection's worth at a time: requests wait in a bounded channel.
    async fn ask_for_filters(&mut self) {
        let now = Instant::now().into_std();
        while self.packets.request_count() < MAX_SUBSCRIPTIONS
            && let Some(request) = self.asked.next()
        {
            if !self.around.asides.allow(request.filter().as_str(), now) {
                continue;
            }
            self.packets.ask(request.clone());
            // Refused only when the receiver is about to report an end anyway; so everywhere below.
            let _ = match &request {
                FilterRequest::Subscribe { filter, at_least_once } => {
                    self.sender.subscribe(filter, *at_least_once).await
                }
                FilterRequest::Unsubscribe(filter) => self.sender.unsubscribe(filter).await,
            };
        }
    }

    fn subscribed(&mut self, packet: PacketId, granted: bool) {
        let Some(request) = self.packets.told(packet) else { return };
        let filter = request.filter();
        self.around.asides.answered(filter.as_str());
        self.around.shared.history().granted(filter.as_str(), granted);
        if !granted {
            tracing::error!(%filter, "the MQTT broker does not grant the subscription; allow iot:Subscribe for it in the device's policy");
        }
    }

    fn unsubscribed(&mut self, packet: PacketId) {
        let Some(request) = self.packets.told(packet) else { return };
        self.around.asides.answered(request.filter().as_str());
        self.around.shared.inlet.forgotten(request.filter());
    }

    /// Hands a message to whoever asked for its topic; what nobody did is the router's to count.
    fn deliver(&self, message: Received) {
        let topic = message.topic.parse::<Topic>().ok();
        let (mut ours, mut taken) = (false, true);
        for subscription in &self.around.settings.subscriptions {
            if topic.as_ref().is_some_and(|topic| subscription.filter.matches(topic)) {
                ours = true;
                taken &= subscription.inbox.try_send(message.clone()).is_ok();
            }
        }
        {
            let mut history = self.around.shared.history();
            history.received += 1;
            history.not_taken += u64::from(!taken);
        }
        self.around.shared.inlet.take_in(&message, topic.as_ref(), !ours);
    }

    /// The broker refuses one message and keeps the connection (MQTT 5): the message is given up.
    fn be_refused(&mut self, packet: PacketId, reason: &'static str) {
        match self.packets.answered(packet) {
            Some(Cargo::Message(id)) => {
                tracing::error!(%id, reason, "the MQTT broker refuses a message");
                let now = Instant::now().into_std();
                self.flight.refused(id, &mut self.around.shared.spool(), self.around.suspicion, now);
            }
            Some(Cargo::Errand(topic, _)) => {
                tracing::error!(%topic, reason, "the MQTT broker refuses a message");
                self.around.asides.answered(topic.as_str());
            }
            None => return,
        }
        *self.around.shared.history().publishes_refused.entry(reason).or_default() += 1;
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
        if self.asked.version() != self.around.shared.inlet.version() {
            self.follow_inflow();
        }
        self.ask_for_filters().await;
        while self.packets.errand_count() < MAX_ERRANDS
            && let Ok(errand) = self.around.errands.try_recv()
        {
            self.run_errand(errand).await;
        }
        while let Some(message) = self.next_message() {
            self.packets.hand_over(Cargo::Message(message.id));
            if self.sender.publish(&message.topic, message.payload, Manner::SPOOLED).await.is_err() {
                return;
            }
        }
        if self.is_drained() {
            self.farewell = Some(Instant::now());
            if let Some(presence) = &self.around.settings.presence {
                self.run_errand(presence.errand(Presence::Stopping)).await;
            }
            let _ = self.sender.disconnect().await;
        }
    }

    async fn run_errand(&mut self, errand: Errand) {
        let now = Instant::now().into_std();
        if !self.around.asides.allow(errand.topic.as_str(), now) {
            return;
        }
        self.packets.hand_over(Cargo::Errand(errand.topic.clone(), now));
        let manner = Manner { quality: Quality::AtLeastOnce, retain: errand.retain };
        let _ = self.sender.publish(&errand.topic, errand.payload, manner).await;
    }

    fn next_message(&mut self) -> Option<Message> {
        let now = Instant::now().into_std();
        self.paced_until = self.around.pacer.wait(now).map(Instant::from_std);
        if self.paced_until.is_some() {
            return None;
        }
        let message = self.flight.next(&mut self.around.shared.spool(), self.around.suspicion, now)?;
        self.around.pacer.sent(now);
        Some(message)
    }

    /// The next moment at which something is to be done without an event.
    fn next_deadline(&self) -> Instant {
        let now = Instant::now();
        let mut deadline = now + FAR;
        if let Some((_, since)) = self.oldest() {
            deadline = deadline.min(Instant::from_std(since) + self.around.settings.acknowledgement_timeout);
        }
        if let Some(paced_until) = self.paced_until {
            deadline = deadline.min(paced_until);
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
        let session = self.around.shared.inlet.at_least_once();
        if self.admitted.is_some() && session.is_some_and(|kept| kept != self.around.session_wanted) {
            return Some(Ending::Renewed);
        }
        let (topic, since) = self.oldest()?;
        let waited = now.saturating_duration_since(Instant::from_std(since));
        let overdue = waited >= self.around.settings.acknowledgement_timeout;
        overdue.then(|| Ending::NotAcknowledged(topic.clone()))
    }

    /// What has been waiting for its acknowledgement the longest.
    fn oldest(&self) -> Option<(&Topic, std::time::Instant)> {
        [self.flight.oldest(), self.packets.oldest_errand()].into_iter().flatten().min_by_key(|(_, since)| *since)
    }

    fn is_drained(&self) -> bool {
        matches!(*self.around.stop.borrow(), Stop::Drained(_))
            && self.around.shared.spool().is_empty()
            && self.around.errands.is_empty()
    }
}

//! Which message makes the broker close the connection, if one does.
//!
//! MQTT 3.1.1 gives a broker no way to refuse a message but to close the connection (section 3.3.5), and AWS IoT Core
//! does so for a topic that the device's policy does not allow. Sent again first on every new connection, such a
//! message would block the queue for ever. But brokers restart and networks fail too, and a good message must never be
//! given up because it was under way at the wrong moment. So a message is judged like this:
//!
//! 1. The broker closed twice while the same message was the oldest unacknowledged one: from now on messages go out
//!    alone, a while after the connection was admitted ([`Pace::Alone`]).
//! 2. Each close while a message was alone on its way is a strike against it; an acknowledgement clears it.
//! 3. Before a message that has a strike another one goes (the control), preferably on another topic. A strike on a
//!    connection on which a control was acknowledged is proven: the broker takes messages, but not this one. Three
//!    strikes, two of them proven, convict. Without proof a message stays, however many strikes it has.
//! 4. The convicted message is set aside. With the second one on a topic that was not acknowledged in between, so is the
//!    topic, for a minute. After that time one message is tried alone (parole): acknowledged, the topic is free; refused
//!    again, twice the time.
//!
//! It decides and counts; sending, dropping and waiting are done by the session and the publisher.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use super::message::MessageId;
use super::spool::Standing;
use crate::topic::Topic;

/// Closes with the same oldest message on its way, after which messages go out alone.
const SURVIVED_CLOSES: u32 = 2;

/// Strikes that convict.
const STRIKES: u32 = 3;

/// How many of them must have been beside an acknowledged control.
const PROVEN_STRIKES: u32 = 2;

/// Struck messages of one topic after which no further message of it serves as a control: the topic as a whole is
/// suspect, and only messages on other topics can prove anything.
const STRUCK_PER_TOPIC: usize = 3;

/// Struck messages altogether after which only a topic that the broker took lately serves as a control: every control
/// that fails is one more message in flight, which the spool may not replace.
const MAX_STRUCK: usize = 24;

/// How long a topic is set aside at first, and at most.
const FIRST_TERM: Duration = Duration::from_secs(60);
const LONGEST_TERM: Duration = Duration::from_secs(3600);

/// Topics remembered as taken by the broker.
const MAX_TAKEN_LATELY: usize = 16;

/// Topics set aside at a time, and topics with one convicted message. Past that, the one that is free soonest is
/// forgotten, and all of the others.
const MAX_REFUSED_TOPICS: usize = 256;

/// How messages may go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// Several at a time, in order.
    Window,
    /// One at a time, chosen by [`Suspicion::choose`].
    Alone,
}

/// What a close by the broker says about messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Unclear,
    /// A message was alone on its way; for messages on its topic this has happened `times` times.
    Struck { topic: Topic, times: u32 },
    /// The broker refuses this message: give it up. With a term, give up the topic's other messages as well.
    Convicted { id: MessageId, topic: Topic, term: Option<Duration> },
}

#[derive(Debug)]
struct Struck {
    topic: Topic,
    times: u32,
    /// Those of the strikes on connections on which another message was acknowledged.
    proven: u32,
}

#[derive(Debug)]
struct Refused {
    until: Instant,
    term: Duration,
}

/// The state of the search.
#[derive(Debug, Default)]
pub(super) struct Suspicion {
    /// The oldest unacknowledged message at the last close, and how often it was that.
    survivor: Option<(MessageId, u32)>,
    /// Every message in flight up to this one is sent alone.
    suspects_until: Option<MessageId>,
    struck: BTreeMap<MessageId, Struck>,
    refused: HashMap<Topic, Refused>,
    /// The topics acknowledged last, on any connection.
    taken_lately: VecDeque<Topic>,
    /// Whether this connection has brought an acknowledgement.
    control_acknowledged: bool,
    /// Topics with one convicted message and no acknowledgement since.
    convicted: HashSet<Topic>,
}

impl Suspicion {
    pub(super) fn pace(&self) -> Pace {
        if self.suspects_until.is_some() || !self.struck.is_empty() { Pace::Alone } else { Pace::Window }
    }

    /// A new connection begins: nothing has been proved on it.
    pub(super) fn begin_connection(&mut self) {
        self.control_acknowledged = false;
    }

    /// The broker acknowledged message `id`.
    pub(super) fn acknowledged(&mut self, id: MessageId, topic: &Topic) {
        self.control_acknowledged = true;
        if !self.taken_lately.contains(topic) {
            self.taken_lately.truncate(MAX_TAKEN_LATELY - 1);
            self.taken_lately.push_front(topic.clone());
        }
        self.struck.remove(&id);
        self.refused.remove(topic);
        self.convicted.remove(topic);
        self.survivor = self.survivor.filter(|(survivor, _)| *survivor != id);
    }

    /// Ends the search when no suspect is left; `oldest` is the oldest message in flight.
    pub(super) fn settle(&mut self, oldest: Option<MessageId>) {
        if self.struck.is_empty() && oldest.is_none_or(|oldest| Some(oldest) > self.suspects_until) {
            self.suspects_until = None;
        }
    }

    /// The message to send alone next, or `None` when there is no suspect.
    pub(super) fn choose<'a>(
        &self,
        in_flight: impl Iterator<Item = (MessageId, &'a Topic)> + Clone,
        queued: impl Iterator<Item = (MessageId, &'a Topic)> + Clone,
        now: Instant,
    ) -> Option<MessageId> {
        let sent = in_flight.clone().map(|(id, _)| id).take_while(|id| Some(*id) <= self.suspects_until);
        let suspects = sent.chain(self.struck.keys().copied());
        if self.control_acknowledged {
            return suspects.min();
        }
        let times = |id: &MessageId| self.struck.get(id).map_or(0, |struck| struck.times);
        let suspect = suspects.min_by_key(|id| (times(id), *id))?;
        if times(&suspect) == 0 {
            return Some(suspect);
        }
        Some(self.control(in_flight.chain(queued), now).unwrap_or(suspect))
    }

    /// A message that can prove that the broker takes others than the struck ones: on a topic that it took lately, else
    /// on any topic that is not suspect, else on one of which few messages are.
    fn control<'a>(
        &self,
        candidates: impl Iterator<Item = (MessageId, &'a Topic)> + Clone,
        now: Instant,
    ) -> Option<MessageId> {
        let struck_on = |topic: &Topic| self.struck.values().filter(|struck| struck.topic == *topic).count();
        let clean = candidates
            .filter(|(id, topic)| !self.struck.contains_key(id) && self.standing(topic, now) == Standing::Good);
        let mut other_topics = clean.clone().filter(|(_, topic)| struck_on(topic) == 0);
        let proven = other_topics.clone().find(|(_, topic)| self.taken_lately.contains(topic));
        let found = match proven {
            None if self.struck.len() >= MAX_STRUCK => None,
            None => {
                other_topics.next().or_else(|| clean.clone().find(|(_, topic)| struck_on(topic) < STRUCK_PER_TOPIC))
            }
            proven => proven,
        };
        found.map(|(id, _)| id)
    }

    /// The broker closed the connection. `outstanding` was sent on it and not acknowledged, oldest first; `newest` is
    /// the newest message in flight at all.
    pub(super) fn closed_by_broker(
        &mut self,
        outstanding: &[(MessageId, Topic)],
        newest: Option<MessageId>,
        now: Instant,
    ) -> Verdict {
        match (self.pace(), outstanding) {
            (Pace::Alone, [(id, topic)]) => self.strike(*id, topic, now),
            (Pace::Window, [(oldest, _), ..]) => {
                self.watch(*oldest, newest);
                Verdict::Unclear
            }
            _ => Verdict::Unclear,
        }
    }

    fn watch(&mut self, oldest: MessageId, newest: Option<MessageId>) {
        let closes = self.survivor.filter(|(id, _)| *id == oldest).map_or(1, |(_, closes)| closes + 1);
        self.survivor = Some((oldest, closes));
        if closes >= SURVIVED_CLOSES {
            self.survivor = None;
            self.suspects_until = newest.max(Some(oldest));
        }
    }

    fn strike(&mut self, id: MessageId, topic: &Topic, now: Instant) -> Verdict {
        self.suspects_until = self.suspects_until.max(Some(id));
        let struck = self.struck.entry(id).or_insert_with(|| Struck { topic: topic.clone(), times: 0, proven: 0 });
        struck.times = struck.times.saturating_add(1);
        struck.proven += u32::from(self.control_acknowledged);
        if struck.times < STRIKES || struck.proven < PROVEN_STRIKES {
            let on_topic = self.struck.values().filter(|struck| struck.topic == *topic);
            let times = on_topic.fold(0, |times: u32, struck| times.saturating_add(struck.times));
            return Verdict::Struck { topic: topic.clone(), times };
        }
        self.struck.remove(&id);
        let again = self.refused.contains_key(topic) || !self.convicted.insert(topic.clone());
        let term = again.then(|| self.refuse(topic, now));
        if self.convicted.len() > MAX_REFUSED_TOPICS {
            self.convicted.clear();
        }
        Verdict::Convicted { id, topic: topic.clone(), term }
    }

    fn refuse(&mut self, topic: &Topic, now: Instant) -> Duration {
        self.convicted.remove(topic);
        self.struck.retain(|_, struck| struck.topic != *topic);
        let term = self.refused.get(topic).map_or(FIRST_TERM, |before| (before.term * 2).min(LONGEST_TERM));
        if self.refused.len() >= MAX_REFUSED_TOPICS {
            let soonest = self.refused.iter().min_by_key(|(_, refused)| refused.until);
            if let Some(forgotten) = soonest.map(|(topic, _)| topic.clone()) {
                self.refused.remove(&forgotten);
            }
        }
        self.refused.insert(topic.clone(), Refused { until: now + term, term });
        term
    }

    /// What to do with a queued message on `topic`.
    pub(super) fn standing(&self, topic: &Topic, now: Instant) -> Standing {
        match self.refused.get(topic) {
            None => Standing::Good,
            Some(refused) if now < refused.until => Standing::Refused,
            Some(_) => Standing::OnParole,
        }
    }

    /// Message `id` is the first on its topic after the topic's term: one more refusal convicts it.
    pub(super) fn parole(&mut self, id: MessageId, topic: &Topic) {
        self.struck.insert(id, Struck { topic: topic.clone(), times: STRIKES - 1, proven: PROVEN_STRIKES - 1 });
    }

    /// Message `id` is no longer in the spool.
    pub(super) fn forget(&mut self, id: MessageId) {
        self.struck.remove(&id);
    }
}

//! Which messages get through a broker that refuses some by closing, and a network that fails at any moment.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::mqtt::spool::SpoolSettings;
use crate::mqtt::suspicion::Verdict;

/// The network never fails this often while the same message is alone on its way. With one failure more in the same
/// place a message could be convicted wrongly; that is the limit of what can be told apart.
const FAILURES_ALONE: u32 = 2;

fn topic(index: u8) -> Topic {
    format!("topic/{index}").parse().unwrap()
}

/// What the broker refuses.
#[derive(Debug, Clone, Default)]
struct Policy {
    topics: HashSet<u8>,
    messages: HashSet<u64>,
}

impl Policy {
    fn refuses(&self, message: &Message) -> bool {
        self.messages.contains(&message.id.get()) || self.topics.iter().any(|index| topic(*index) == message.topic)
    }
}

/// A link without sockets: everything but waiting is the product's own.
struct World {
    spool: Spool,
    suspicion: Suspicion,
    policy: Policy,
    now: Instant,
    /// Whether the network fails at the n-th sending; no more failures after the last.
    failures: VecDeque<bool>,
    failed_alone: HashMap<MessageId, u32>,
    acknowledged: HashSet<u64>,
    closes: u32,
}

impl World {
    fn new(topics: &[u8], policy: Policy, failures: Vec<bool>) -> Self {
        let now = Instant::now();
        let mut spool = Spool::new(&SpoolSettings::default());
        for index in topics {
            spool.accept(topic(*index), Bytes::from_static(b"{}"), 0, now).unwrap();
        }
        Self {
            spool,
            suspicion: Suspicion::default(),
            policy,
            now,
            failures: failures.into(),
            failed_alone: HashMap::new(),
            acknowledged: HashSet::new(),
            closes: 0,
        }
    }

    /// One connection: sends until the broker or the network ends it, or nothing is left. Whether all is done.
    fn connect(&mut self) -> bool {
        self.suspicion.begin_connection();
        let mut flight = Flight::new(Limits { messages: 5, bytes: 100_000 }, self.now);
        let mut pipe = VecDeque::new();
        loop {
            let pace = self.suspicion.pace();
            while let Some(message) = flight.next(&mut self.spool, &mut self.suspicion, self.now) {
                pipe.push_back(message);
            }
            let Some(message) = pipe.pop_front() else { return self.spool.is_empty() };
            if self.network_fails(&message, pace) || self.policy.refuses(&message) {
                self.close(flight);
                return false;
            }
            flight.acknowledged(message.id, &mut self.spool, &mut self.suspicion, self.now);
            self.acknowledged.insert(message.id.get());
        }
    }

    fn network_fails(&mut self, message: &Message, pace: Pace) -> bool {
        let fails = self.failures.pop_front().unwrap_or(false);
        if !fails || pace == Pace::Window {
            return fails;
        }
        let failed = self.failed_alone.entry(message.id).or_default();
        *failed += 1;
        *failed <= FAILURES_ALONE
    }

    fn close(&mut self, flight: Flight) {
        self.closes += 1;
        let newest = self.spool.newest_in_flight();
        let verdict = self.suspicion.closed_by_broker(&flight.into_outstanding(), newest, self.now);
        if let Verdict::Convicted { id, topic, term } = verdict {
            self.spool.set_aside(id, term.map(|_| &topic));
            self.suspicion.settle(self.spool.oldest_in_flight());
        }
    }

    fn connect_up_to(&mut self, times: u32) -> bool {
        (0..times).any(|_| {
            self.now += Duration::from_millis(1);
            self.connect()
        })
    }
}

#[test]
fn a_refused_topic_costs_its_own_messages_and_few_connections() {
    let topics: Vec<u8> = (0..200).map(|index| u8::from(index % 4 == 0)).collect();
    let policy = Policy { topics: HashSet::from([1]), ..Policy::default() };
    let mut world = World::new(&topics, policy, Vec::new());
    assert!(world.connect_up_to(20));
    assert_eq!(world.acknowledged.len(), 150);
    assert_eq!(world.spool.counters().dropped.topic_refused, 50);
    assert!(world.closes <= 10, "{} connections", world.closes);
}

#[test]
fn a_refused_topic_is_tried_again_after_a_minute_with_one_message() {
    let policy = Policy { topics: HashSet::from([1]), ..Policy::default() };
    let mut world = World::new(&[[1; 3].as_slice(), &[0; 12]].concat(), policy, Vec::new());
    assert!(world.connect_up_to(20));
    let closes = world.closes;
    let offer = |world: &mut World, seconds| {
        world.now += Duration::from_secs(seconds);
        for index in [0, 1, 1, 0] {
            world.spool.accept(topic(index), Bytes::new(), 0, world.now).unwrap();
        }
        assert!(world.connect_up_to(20));
        world.spool.counters().dropped.topic_refused
    };
    assert_eq!(offer(&mut world, 30), 5, "given up without being sent");
    assert_eq!(world.closes, closes);
    assert_eq!(offer(&mut world, 31), 7, "one was tried, the other given up with it");
    assert_eq!(world.closes, closes + 1);
    assert_eq!(offer(&mut world, 61), 9, "the second term is twice as long");
    assert_eq!(world.closes, closes + 1);
    world.policy.topics.clear();
    assert_eq!(offer(&mut world, 60), 9, "mended: tried, taken, and free again");
    assert_eq!(world.closes, closes + 1);
    assert_eq!(offer(&mut world, 0), 9);
}

#[test]
fn with_every_topic_refused_nothing_is_given_up() {
    let topics: Vec<u8> = (0..100).map(|index| index % 3).collect();
    let policy = Policy { topics: HashSet::from([0, 1, 2]), ..Policy::default() };
    let mut world = World::new(&topics, policy, Vec::new());
    assert!(!world.connect_up_to(200));
    assert_eq!(world.spool.counters().dropped.total(), 0);
    assert!(world.spool.counters().in_flight < 20, "the search leaves most messages where they are");
    world.policy.topics.clear();
    assert!(world.connect_up_to(2));
    assert_eq!(world.acknowledged.len(), 100);
}

#[test]
fn many_refused_topics_do_not_hide_one_that_was_taken_before() {
    let topics: Vec<u8> = [100].into_iter().chain(0..60).chain([100, 100, 100]).collect();
    let policy = Policy { topics: (0..60).collect(), ..Policy::default() };
    let mut world = World::new(&topics, policy, Vec::new());
    world.connect_up_to(400);
    assert_eq!(world.acknowledged.len(), 4);
}

proptest! {
    #[test]
    fn good_messages_all_arrive_and_only_refused_ones_are_given_up(
        topics in proptest::collection::vec(0u8..6, 1..60),
        refused_topics in proptest::collection::hash_set(0u8..6, 0..4),
        refused_messages in proptest::collection::hash_set(1u64..60, 0..4),
        failures in proptest::collection::vec(proptest::bool::weighted(0.3), 0..200),
    ) {
        let mut policy = Policy { topics: refused_topics, messages: refused_messages };
        // Two refused messages in a row look like a refused topic; no more than one a topic is told apart for certain.
        let mut seen = HashSet::new();
        policy.messages.retain(|id| topics.get(usize::try_from(*id).unwrap() - 1).is_some_and(|index| seen.insert(*index)));
        let refused = |id: u64| {
            let index = topics[usize::try_from(id).unwrap() - 1];
            policy.messages.contains(&id) || policy.topics.contains(&index)
        };
        let good: HashSet<u64> = (1..=topics.len() as u64).filter(|id| !refused(*id)).collect();
        let mut world = World::new(&topics, policy.clone(), failures);
        world.connect_up_to(600);
        prop_assert!(world.spool.counters().balance());
        prop_assert_eq!(&world.acknowledged, &good);
        let left = world.spool.in_flight().chain(world.spool.queued()).filter(|(id, _)| !refused(id.get())).count();
        prop_assert_eq!(left, 0);
    }
}

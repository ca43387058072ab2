//! The link's promises, against a broker that keeps no sessions and misbehaves in every way that it can.

use std::collections::HashSet;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

use rumqttc::ConnectReturnCode;
use tokio::sync::mpsc;

use super::*;
use crate::mqtt::connect_error::ConnectError;
use crate::mqtt::message::MAX_PAYLOAD_BYTES;
use crate::mqtt::spool::StorageType;
use crate::mqtt::testing_broker::{Admission, Reaction, TestingBroker, scaled};

/// No test waits longer than this for anything; a test that does has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

pub(super) fn topic(text: &str) -> Topic {
    text.parse().unwrap()
}

pub(super) fn number(index: u64) -> Bytes {
    Bytes::from(index.to_string())
}

pub(super) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// The state's next failure that `wanted` recognises.
async fn failure(link: &Link, wanted: impl Fn(&LinkFailure) -> bool) -> Arc<LinkFailure> {
    let mut state = link.state();
    let found = |state: &LinkState| state.failure().is_some_and(&wanted);
    let state = soon("a failure", state.wait_for(found)).await.unwrap().clone();
    match state {
        LinkState::Waiting { failure, .. } => failure,
        other => panic!("no failure: {other:?}"),
    }
}

fn distinct(taken: &[(String, Bytes)]) -> HashSet<(String, Bytes)> {
    taken.iter().cloned().collect()
}

#[tokio::test]
async fn messages_arrive_in_order_and_each_acknowledgement_is_reported_with_its_tag() {
    let broker = TestingBroker::start().await;
    let (sender, mut acknowledged) = mpsc::unbounded_channel();
    let mut settings = broker.link();
    settings.on_acknowledged = Some(Arc::new(move |delivered| {
        let _ = sender.send(delivered.clone());
    }));
    let link = Link::start(settings);
    for index in 0..100 {
        link.accept_tagged(topic("margay/door/predictions"), number(index), 1000 + index).unwrap();
    }
    let counters = link.drain(PATIENCE).await;
    assert_eq!((counters.accepted, counters.delivered, counters.resent), (100, 100, 0));
    assert!(link.state().borrow().is_stopped());
    let taken = broker.taken().borrow().clone();
    assert!(taken.iter().enumerate().all(|(index, (_, payload))| *payload == number(index as u64)));
    for index in 0..100 {
        let delivered = acknowledged.recv().await.unwrap();
        assert_eq!((delivered.id.get(), delivered.tag, delivered.times_sent), (index + 1, 1000 + index, 1));
    }
}

#[tokio::test]
async fn nothing_is_lost_when_the_broker_is_killed_and_forgets_its_sessions() {
    let mut broker = TestingBroker::start().await;
    let (count, kills) = (scaled(2_000), 5);
    // Besides, the broker dies now and then between taking a message over and acknowledging it.
    let died_over = Mutex::new(HashSet::new());
    broker.on_publish(move |publish| {
        let deadly = publish.payload.ends_with(b"77") && died_over.lock().unwrap().insert(publish.payload.clone());
        if deadly { Reaction::TakeAndClose } else { Reaction::Acknowledge }
    });
    let link = Link::start(broker.link());
    let producer = {
        let link = link.clone();
        tokio::spawn(async move {
            for index in 0..count {
                link.accept(topic("margay/door/predictions"), number(index)).unwrap();
                if index % 50 == 0 {
                    tokio::task::yield_now().await;
                }
                assert!(link.counters().balance());
            }
        })
    };
    let mut taken = broker.taken();
    for kill in 1..=kills {
        let threshold = usize::try_from(count * kill / (kills + 1)).unwrap();
        soon("messages", taken.wait_for(|taken| taken.len() >= threshold)).await.unwrap();
        broker.stop().await;
        assert!(link.counters().balance());
        broker.resume().await;
    }
    soon("the producer", producer).await.unwrap();
    let counters = link.drain(PATIENCE).await;
    let taken = broker.taken().borrow().clone();
    let duplicates = taken.len() - distinct(&taken).len();
    let connections = counters.connections;
    println!("{count} messages, {connections} connections: {duplicates} duplicates, {} sent again", counters.resent);
    assert_eq!((counters.accepted, counters.delivered), (count, count));
    assert_eq!(distinct(&taken).len() as u64, count);
    assert!(duplicates as u64 <= counters.resent);
}

#[tokio::test]
async fn a_message_taken_but_not_acknowledged_is_sent_again_and_counted() {
    let broker = TestingBroker::start().await;
    let seen = AtomicU64::new(0);
    broker.on_publish(move |_| match seen.fetch_add(1, Ordering::Relaxed) {
        0 => Reaction::TakeAndClose,
        _ => Reaction::Acknowledge,
    });
    let link = Link::start(broker.link());
    link.accept(topic("a"), number(1)).unwrap();
    let counters = link.drain(PATIENCE).await;
    assert_eq!((counters.delivered, counters.resent, counters.in_flight), (1, 1, 0));
    assert_eq!(broker.taken().borrow().len(), 2);
}

#[tokio::test]
async fn an_acknowledgement_that_arrives_with_the_end_of_the_connection_counts() {
    let broker = TestingBroker::start().await;
    broker.on_publish(|_| Reaction::AcknowledgeAndClose);
    let mut settings = broker.link();
    settings.window = 1;
    let link = Link::start(settings);
    for index in 0..20 {
        link.accept(topic("a"), number(index)).unwrap();
    }
    let counters = link.drain(PATIENCE).await;
    assert_eq!((counters.delivered, counters.dropped.total()), (20, 0));
    assert_eq!(distinct(&broker.taken().borrow()).len(), 20);
}

#[tokio::test]
async fn a_broker_that_never_acknowledges_is_left_and_loses_nothing() {
    let broker = TestingBroker::start().await;
    broker.on_publish(|_| Reaction::Ignore);
    let mut settings = broker.link();
    settings.acknowledgement_timeout = Duration::from_millis(20);
    let link = Link::start(settings);
    for index in 0..50 {
        link.accept(topic("margay/a"), number(index)).unwrap();
    }
    let failure = failure(&link, |failure| matches!(failure, LinkFailure::NotAcknowledged { .. })).await;
    assert!(failure.to_string().contains("did not acknowledge a message on margay/a"), "{failure}");
    let counters = link.counters();
    assert_eq!((counters.in_flight, counters.queued, counters.dropped.total()), (20, 30, 0));
    broker.on_publish(|_| Reaction::Acknowledge);
    assert_eq!(link.drain(PATIENCE).await.delivered, 50);
}

#[tokio::test]
async fn a_refused_topic_is_set_aside_and_does_not_hold_up_the_others() {
    let broker = TestingBroker::start().await;
    broker.on_publish(|publish| match publish.topic.starts_with("secret") {
        true => Reaction::Close,
        false => Reaction::Acknowledge,
    });
    let link = Link::start(broker.link());
    for index in 0..30 {
        link.accept(topic("margay/a"), number(index)).unwrap();
        if index % 3 == 0 {
            link.accept(topic("secret/b"), number(index)).unwrap();
        }
    }
    let failure = failure(&link, |failure| matches!(failure, LinkFailure::PublishRefused { .. })).await;
    assert!(failure.to_string().contains("allow iot:Publish on this topic"), "{failure}");
    let counters = link.drain(PATIENCE).await;
    assert_eq!((counters.delivered, counters.dropped.topic_refused, counters.dropped.spool_full), (30, 10, 0));
    assert!(counters.balance());
    assert_eq!(distinct(&broker.taken().borrow()).len(), 30);
}

#[tokio::test]
async fn when_every_topic_is_refused_nothing_is_given_up_and_all_arrives_once_the_policy_is_mended() {
    let broker = TestingBroker::start().await;
    broker.on_publish(|_| Reaction::Close);
    let link = Link::start(broker.link());
    for index in 0..30 {
        link.accept(topic("margay/a"), number(index)).unwrap();
    }
    let often = |failure: &LinkFailure| matches!(failure, LinkFailure::PublishSuspected { times, .. } if *times >= 10);
    let failure = failure(&link, often).await;
    assert!(failure.to_string().contains("may not allow iot:Publish"), "{failure}");
    assert_eq!(link.counters().dropped.total(), 0);
    broker.on_publish(|_| Reaction::Acknowledge);
    let counters = link.drain(PATIENCE).await;
    assert_eq!((counters.delivered, counters.dropped.total()), (30, 0));
}

#[tokio::test]
async fn one_message_that_the_broker_cannot_take_does_not_take_its_topic_with_it() {
    let broker = TestingBroker::start().await;
    broker.on_publish(|publish| match publish.payload.len() > 1000 {
        true => Reaction::Close,
        false => Reaction::Acknowledge,
    });
    let link = Link::start(broker.link());
    link.accept(topic("margay/a"), Bytes::from(vec![b'x'; 2000])).unwrap();
    for index in 0..30 {
        link.accept(topic("margay/a"), number(index)).unwrap();
    }
    let counters = link.drain(PATIENCE).await;
    assert_eq!((counters.delivered, counters.dropped.topic_refused), (30, 1));
}

#[tokio::test]
async fn being_thrown_out_again_and_again_makes_the_client_id_suspect_and_costs_no_message() {
    let broker = TestingBroker::start().await;
    broker.admission(Admission::AdmitAndClose);
    let link = Link::start(broker.link());
    link.accept(topic("margay/a"), number(1)).unwrap();
    let failure = failure(&link, |failure| matches!(failure, LinkFailure::ClientIdInUse { .. })).await;
    assert!(failure.to_string().contains("using the same client id"), "{failure}");
    broker.admission(Admission::Admit);
    let counters = link.drain(PATIENCE).await;
    assert_eq!((counters.delivered, counters.dropped.total()), (1, 0));
}

#[tokio::test]
async fn a_client_that_is_not_authorised_learns_so_and_is_admitted_once_it_is() {
    let broker = TestingBroker::start().await;
    broker.admission(Admission::Refuse(ConnectReturnCode::NotAuthorized));
    let link = Link::start(broker.link());
    link.accept(topic("a"), number(1)).unwrap();
    let failure = failure(&link, |_| true).await;
    assert!(matches!(*failure, LinkFailure::Connect(ConnectError::NotAdmitted { .. })), "{failure:?}");
    assert!(failure.to_string().contains("must allow iot:Connect"), "{failure}");
    broker.admission(Admission::Admit);
    assert_eq!(link.drain(PATIENCE).await.delivered, 1);
}

#[tokio::test]
async fn offline_the_oldest_messages_make_room_for_new_ones() {
    let mut broker = TestingBroker::start().await;
    let mut settings = broker.link();
    settings.spool = SpoolSettings::new(262_144, StorageType::Memory).unwrap();
    broker.stop().await;
    let link = Link::start(settings);
    for index in 0..100u64 {
        let mut payload = vec![b' '; 10_000];
        payload[..8].copy_from_slice(&index.to_be_bytes());
        link.accept(topic("margay/a"), payload.into()).unwrap();
        assert!(link.counters().balance());
    }
    let offline = link.counters();
    assert_eq!((offline.queued, offline.dropped.spool_full), (25, 75));
    broker.resume().await;
    assert_eq!(link.drain(PATIENCE).await.delivered, 25);
    let taken = broker.taken().borrow().clone();
    assert_eq!(taken[0].1[..8], 75u64.to_be_bytes());
}

#[tokio::test]
async fn a_payload_over_128_kb_is_refused_at_the_door_and_one_of_128_kb_arrives() {
    let broker = TestingBroker::start().await;
    let link = Link::start(broker.link());
    let error = link.accept(topic("a"), vec![0; MAX_PAYLOAD_BYTES + 1].into()).unwrap_err();
    assert!(matches!(error, AcceptError::TooLarge { limit: 131_072, actual: 131_073, .. }));
    link.accept(topic("a"), vec![0; MAX_PAYLOAD_BYTES].into()).unwrap();
    let counters = link.drain(PATIENCE).await;
    assert_eq!((counters.accepted, counters.delivered, counters.refused.too_large), (1, 1, 1));
}

#[tokio::test]
async fn draining_ends_at_its_deadline_and_says_what_is_left() {
    let mut broker = TestingBroker::start().await;
    broker.stop().await;
    let link = Link::start(broker.link());
    for index in 0..3 {
        link.accept(topic("a"), number(index)).unwrap();
    }
    let counters = link.drain(Duration::from_millis(50)).await;
    assert_eq!((counters.queued, counters.delivered), (3, 0));
    assert!(matches!(link.accept(topic("a"), number(4)), Err(AcceptError::Closed { .. })));
    assert_eq!(link.counters().refused.closed, 1);
}

#[tokio::test]
async fn an_idle_link_drains_at_once() {
    let broker = TestingBroker::start().await;
    let link = Link::start(broker.link());
    soon("a connection", link.state().wait_for(LinkState::is_connected)).await.unwrap();
    assert_eq!(soon("the end", link.drain(PATIENCE)).await.connections, 1);
}

#[tokio::test]
async fn the_link_stops_when_nobody_holds_it() {
    let broker = TestingBroker::start().await;
    let link = Link::start(broker.link());
    let mut state = link.state();
    soon("a connection", state.wait_for(LinkState::is_connected)).await.unwrap();
    drop(link);
    soon("the end", state.wait_for(LinkState::is_stopped)).await.unwrap();
}

#[tokio::test]
async fn a_panic_in_the_hook_costs_one_connection_and_no_message() {
    let broker = TestingBroker::start().await;
    let calls = AtomicU64::new(0);
    let mut settings = broker.link();
    settings.on_acknowledged = Some(Arc::new(move |_| {
        assert!(calls.fetch_add(1, Ordering::Relaxed) != 3, "the fourth call fails");
    }));
    let link = Link::start(settings);
    for index in 0..50 {
        link.accept(topic("a"), number(index)).unwrap();
    }
    let counters = link.drain(PATIENCE).await;
    assert_eq!((counters.delivered, counters.connections), (50, 2));
}

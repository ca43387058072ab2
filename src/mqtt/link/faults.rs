//! What a broker may do wrong, and what the link makes of it: nothing is lost, it is counted, and the operator is told.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use rumqttc::SubscribeReasonCode;
use tokio::sync::mpsc;

use super::tests::{PATIENCE, number, soon, topic};
use super::*;
use crate::mqtt::presence::Event;
use crate::mqtt::testing_broker::{Admission, Reaction, TestingBroker};
use crate::mqtt::testing_certificates::Authority;

async fn connected(link: &Link) {
    soon("a connection", link.state().wait_for(LinkState::is_connected)).await.unwrap();
}

/// A link that asks for `filters`, and what it gets.
fn subscribed(mut settings: LinkSettings, filters: &[&str]) -> (Link, mpsc::Receiver<Received>) {
    let (inbox, received) = mpsc::channel(100);
    settings.subscriptions = filters
        .iter()
        .map(|filter| LinkSubscription { filter: filter.parse().unwrap(), inbox: inbox.clone() })
        .collect();
    (Link::start(settings), received)
}

#[tokio::test]
async fn a_broker_that_acknowledges_twice_costs_a_connection_and_no_message() {
    let broker = TestingBroker::start().await;
    broker.on_publish(|publish| match publish.payload.ends_with(b"7") {
        true => Reaction::AcknowledgeTwice,
        false => Reaction::Acknowledge,
    });
    let link = Link::start(broker.link());
    for index in 0..40 {
        link.accept(topic("a"), number(index)).unwrap();
    }
    let counters = link.drain(PATIENCE).await;
    assert_eq!((counters.delivered, counters.dropped.total()), (40, 0));
    let distinct: HashSet<_> = broker.taken().borrow().iter().cloned().collect();
    assert_eq!(distinct.len(), 40);
    assert!(link.history().failures.contains_key("interrupted"), "{:?}", link.history());
}

/// bytebeamio/rumqtt#1056: with one packet id never acknowledged, the library stops at the id's next use and never goes on.
#[tokio::test]
async fn a_packet_id_that_collides_does_not_stop_the_link() {
    let broker = TestingBroker::start().await;
    let first = AtomicU64::new(0);
    broker.on_publish(move |_| match first.fetch_add(1, Ordering::Relaxed) {
        0 => Reaction::Ignore,
        _ => Reaction::Acknowledge,
    });
    let mut settings = broker.link();
    settings.acknowledgement_timeout = Duration::from_secs(2);
    let link = Link::start(settings);
    let count = 5_000;
    for index in 0..count {
        link.accept(topic("a"), number(index)).unwrap();
    }
    let counters = link.drain(PATIENCE).await;
    assert_eq!((counters.delivered, counters.dropped.total()), (count, 0));
    assert_eq!(link.history().failures.get("not_acknowledged"), Some(&1));
}

#[tokio::test]
async fn a_revoked_certificate_is_said_and_its_successor_is_used_without_a_restart() {
    let mut broker = TestingBroker::start().await;
    let link = Link::start(broker.link());
    connected(&link).await;
    broker.stop().await;
    broker.take_only_devices_of(Authority::new());
    broker.resume().await;
    link.accept(topic("a"), number(1)).unwrap();
    let refused = |state: &LinkState| state.failure().is_some_and(|failure| failure.kind() == "certificate_refused");
    soon("a refusal", link.state().wait_for(refused)).await.unwrap();
    assert_eq!(link.counters().dropped.total(), 0);
    link.change_tls(broker.connection().tls);
    connected(&link).await;
    assert_eq!(link.drain(PATIENCE).await.delivered, 1);
    let guests = broker.guests().borrow().clone();
    assert_ne!(guests.first().unwrap().1, guests.last().unwrap().1, "another certificate was shown");
    assert!(link.history().failures["certificate_refused"] >= 1);
}

#[tokio::test]
async fn a_renewed_certificate_leaves_the_connection_that_stands_alone() {
    let broker = TestingBroker::start().await;
    let link = Link::start(broker.link());
    connected(&link).await;
    link.change_tls(broker.connection().tls);
    link.accept(topic("a"), number(1)).unwrap();
    soon("it", broker.taken().wait_for(|taken| taken.len() == 1)).await.unwrap();
    assert_eq!(link.counters().connections, 1);
    broker.cut();
    soon("another", broker.guests().wait_for(|guests| guests.len() == 2)).await.unwrap();
    let guests = broker.guests().borrow().clone();
    assert_ne!(guests[0].1, guests[1].1);
}

#[tokio::test]
async fn subscriptions_come_back_with_every_connection_and_what_comes_twice_is_given_twice() {
    let mut broker = TestingBroker::start().await;
    let (link, mut received) = subscribed(broker.link(), &["jobs/+/update/accepted", "jobs/notify-next"]);
    let mut asked = broker.asked();
    for round in 1..=2 {
        soon("subscriptions", asked.wait_for(|asked| asked.len() == 2 * round)).await.unwrap();
        soon("answers", async {
            while link.history().subscriptions_granted < 2 * round as u64 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        broker.inject("jobs/1/update/accepted", "{}");
        broker.inject("jobs/1/update/accepted", "{}");
        broker.inject("elsewhere", "{}");
        for _ in 0..2 {
            assert_eq!(soon("a message", received.recv()).await.unwrap().topic, "jobs/1/update/accepted");
        }
        if round == 1 {
            broker.stop().await;
            broker.resume().await;
        }
    }
}

#[tokio::test]
async fn a_refused_subscription_is_said_and_predictions_go_on() {
    let broker = TestingBroker::start().await;
    broker.on_subscribe(Some(SubscribeReasonCode::Failure));
    let (link, _received) = subscribed(broker.link(), &["jobs/#"]);
    link.accept(topic("a"), number(1)).unwrap();
    assert_eq!(link.drain(PATIENCE).await.delivered, 1);
    assert!(link.history().refused_filters.contains("jobs/#"));
}

#[tokio::test]
async fn a_broker_that_closes_on_a_subscription_is_not_asked_again_and_predictions_go_on() {
    let broker = TestingBroker::start().await;
    broker.on_subscribe(None);
    let (link, _received) = subscribed(broker.link(), &["jobs/#"]);
    link.accept(topic("a"), number(1)).unwrap();
    let counters = link.drain(PATIENCE).await;
    assert_eq!((counters.delivered, counters.dropped.total()), (1, 0));
    let history = link.history();
    assert_eq!(history.failures.get("requests_refused"), Some(&1), "{history:?}");
    assert!(history.last_failure.unwrap().contains("jobs/#"));
}

#[tokio::test]
async fn an_errand_that_the_policy_forbids_is_left_out_and_predictions_go_on() {
    let broker = TestingBroker::start().await;
    broker.on_publish(|publish| match publish.topic.starts_with("$aws") {
        true => Reaction::Close,
        false => Reaction::Acknowledge,
    });
    let link = Link::start(broker.link());
    for index in 0..20 {
        link.accept(topic("a"), number(index)).unwrap();
    }
    for _ in 0..3 {
        connected(&link).await;
        let mut state = link.state();
        state.mark_unchanged();
        if link.send(topic("$aws/things/device/jobs/get"), Bytes::from_static(b"{}")).is_ok() {
            soon("the end of the connection", state.wait_for(|state| !state.is_connected())).await.unwrap();
        }
    }
    let counters = link.drain(PATIENCE).await;
    assert_eq!((counters.delivered, counters.dropped.total()), (20, 0));
    assert!(link.history().failures["requests_refused"] >= 1);
}

#[tokio::test]
async fn an_errand_is_sent_at_once_or_not_at_all() {
    let mut broker = TestingBroker::start().await;
    broker.stop().await;
    let link = Link::start(broker.link());
    assert_eq!(link.send(topic("a"), Bytes::new()), Err(SendError::NotConnected));
    broker.resume().await;
    connected(&link).await;
    let large = vec![0; MAX_PAYLOAD_BYTES + 1];
    assert_eq!(link.send(topic("a"), large.into()), Err(SendError::TooLarge { actual: MAX_PAYLOAD_BYTES + 1 }));
    link.send(topic("a"), number(1)).unwrap();
    soon("it", broker.taken().wait_for(|taken| taken.len() == 1)).await.unwrap();
    assert_eq!(link.counters().accepted, 0, "it is in no ledger");
}

#[tokio::test]
async fn the_core_tells_that_it_is_there_that_it_leaves_and_leaves_a_last_will() {
    let broker = TestingBroker::start().await;
    let mut settings = broker.link();
    settings.presence = Some(Presence {
        topic: topic("margay/device/status"),
        retain: true,
        document: Arc::new(|event| match event {
            Event::Online => Bytes::from_static(b"online"),
            Event::Stopping => Bytes::from_static(b"stopping"),
            Event::Lost => Bytes::from_static(b"lost"),
        }),
    });
    let link = Link::start(settings);
    connected(&link).await;
    link.accept(topic("a"), number(1)).unwrap();
    link.drain(PATIENCE).await;
    let mut taken = broker.taken();
    let taken = soon("a farewell", taken.wait_for(|taken| taken.len() == 3)).await.unwrap().clone();
    let said: Vec<_> = taken.iter().map(|(_, payload)| payload.as_ref()).collect();
    assert_eq!(said, [b"online".as_ref(), b"1", b"stopping"]);
    let (connect, _) = broker.guests().borrow()[0].clone();
    let will = connect.last_will.unwrap();
    assert_eq!(
        (will.topic.as_str(), will.message.as_ref(), will.retain),
        ("margay/device/status", b"lost".as_ref(), true)
    );
}

#[tokio::test]
async fn a_pace_holds_messages_back_and_loses_none() {
    let broker = TestingBroker::start().await;
    let mut settings = broker.link();
    settings.publishes_per_second = NonZeroU32::new(200);
    let link = Link::start(settings);
    connected(&link).await;
    let begin = Instant::now();
    for index in 0..100 {
        link.accept(topic("a"), number(index)).unwrap();
    }
    assert_eq!(link.drain(PATIENCE).await.delivered, 100);
    // 100 messages, of which a tenth of a second's worth may go at once: no machine is fast enough to be sooner.
    assert!(begin.elapsed() >= Duration::from_millis(350), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_persistent_session_is_asked_for() {
    let broker = TestingBroker::start().await;
    for persistent in [false, true] {
        let mut settings = broker.link();
        settings.connection.persistent = persistent;
        let link = Link::start(settings);
        connected(&link).await;
        assert_eq!(broker.guests().borrow().last().unwrap().0.clean_session, !persistent);
        link.drain(PATIENCE).await;
    }
}

#[tokio::test]
async fn a_suspected_second_user_of_the_client_id_is_still_told_of_while_the_link_is_connected() {
    let broker = TestingBroker::start().await;
    broker.admission(Admission::AdmitAndClose);
    let link = Link::start(broker.link());
    let suspected = |state: &LinkState| state.failure().is_some_and(|failure| failure.kind() == "client_id_in_use");
    soon("the suspicion", link.state().wait_for(suspected)).await.unwrap();
    broker.admission(Admission::Admit);
    connected(&link).await;
    assert!(link.history().last_failure.unwrap().contains("using the same client id"));
}

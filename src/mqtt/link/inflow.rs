//! What comes from the cloud, against a broker that redelivers, forgets, refuses and sends too much.

use rumqttc::SubscribeReasonCode;
use tokio::sync::mpsc;

use super::tests::{PATIENCE, number, soon, topic};
use super::*;
use crate::mqtt::inflow::Intake;
use crate::mqtt::testing_broker::TestingBroker;

/// An inflow, and what it takes in.
fn inflow(filters: &[&str], at_least_once: bool) -> (Inflow, mpsc::UnboundedReceiver<Received>) {
    let (sender, received) = mpsc::unbounded_channel();
    let intake: Intake = Arc::new(move |message| {
        let _ = sender.send(message);
    });
    let filters = filters.iter().map(|text| text.parse().unwrap()).collect();
    (Inflow { filters, at_least_once, intake }, received)
}

async fn asked(broker: &TestingBroker, wanted: &[&str]) {
    let mut requests = broker.requests();
    let said = soon("requests", requests.wait_for(|said| said.len() >= wanted.len())).await.unwrap().clone();
    assert_eq!(said, wanted);
}

#[tokio::test]
async fn what_the_group_wants_is_asked_for_with_its_quality_on_every_connection() {
    for (at_least_once, quality) in [(false, 0), (true, 1)] {
        let broker = TestingBroker::start().await;
        let link = Link::start(broker.link());
        let (inflow, mut received) = inflow(&["in/#", "in/also"], at_least_once);
        assert!(link.exchange_inflow(inflow).is_empty());
        let once = format!("+in/# {quality}");
        soon(
            "a session of the right kind",
            broker
                .guests()
                .wait_for(|guests| guests.last().is_some_and(|(connect, _)| connect.clean_session != at_least_once)),
        )
        .await
        .unwrap();
        let mut requests = broker.requests();
        soon("the filter", requests.wait_for(|said| said.last() == Some(&once))).await.unwrap();
        broker.cut();
        let times = requests.borrow().len();
        soon("the filter again", requests.wait_for(|said| said.len() > times && said.last() == Some(&once)))
            .await
            .unwrap();
        while link.history().subscriptions_granted < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // A broker may send a message twice, and what it believes to be wanted.
        for topic in ["in/a", "in/a", "elsewhere"] {
            broker.inject(topic, "{}");
        }
        for topic in ["in/a", "in/a", "elsewhere"] {
            assert_eq!(soon("a message", received.recv()).await.unwrap().topic, topic);
        }
        soon("acknowledgements", broker.acknowledged().wait_for(|all| all.len() == 3)).await.unwrap();
        link.drain(PATIENCE).await;
    }
}

#[tokio::test]
async fn a_deployment_exchanges_the_filters_on_the_connection_that_stands() {
    let broker = TestingBroker::start().await;
    let link = Link::start(broker.link());
    link.exchange_inflow(inflow(&["a", "b"], false).0);
    asked(&broker, &["+a 0", "+b 0"]).await;
    let (changed, mut received) = inflow(&["b", "c"], false);
    link.exchange_inflow(changed);
    asked(&broker, &["+a 0", "+b 0", "+c 0", "-a"]).await;
    broker.inject("c", "1");
    assert_eq!(soon("a message", received.recv()).await.unwrap().topic, "c");
    assert_eq!(link.counters().connections, 1);
    // Once the broker has said that it is gone, it is not given up again.
    link.exchange_inflow(inflow(&["b"], false).0);
    asked(&broker, &["+a 0", "+b 0", "+c 0", "-a", "-c"]).await;
}

#[tokio::test]
async fn another_kind_of_session_takes_another_connection_and_loses_nothing_on_its_way() {
    let broker = TestingBroker::start().await;
    let link = Link::start(broker.link());
    link.exchange_inflow(inflow(&["a"], false).0);
    asked(&broker, &["+a 0"]).await;
    for index in 0..20 {
        link.accept(topic("out"), number(index)).unwrap();
    }
    link.exchange_inflow(inflow(&["a"], true).0);
    soon("another connection", broker.guests().wait_for(|guests| guests.len() == 2)).await.unwrap();
    let sessions: Vec<_> = broker.guests().borrow().iter().map(|(connect, _)| connect.clean_session).collect();
    assert_eq!(sessions, [true, false]);
    let counters = link.drain(PATIENCE).await;
    assert_eq!((counters.delivered, counters.dropped.total()), (20, 0));
    assert!(link.history().failures.is_empty(), "{:?}", link.history());
}

#[tokio::test]
async fn a_link_that_is_closed_at_first_connects_when_it_is_opened_and_drains_unopened() {
    let broker = TestingBroker::start().await;
    let mut settings = broker.link();
    settings.closed_at_first = true;
    let unopened = Link::start(settings.clone());
    unopened.accept(topic("out"), number(1)).unwrap();
    assert_eq!(unopened.drain(Duration::from_millis(20)).await.queued, 1);
    let link = Link::start(settings);
    link.exchange_inflow(inflow(&["a"], true).0);
    assert!(broker.guests().borrow().is_empty());
    link.open();
    asked(&broker, &["+a 1"]).await;
    assert!(!broker.guests().borrow()[0].0.clean_session);
}

#[tokio::test]
async fn a_refused_filter_of_the_group_is_told_until_no_group_wants_it() {
    let broker = TestingBroker::start().await;
    broker.on_subscribe(Some(SubscribeReasonCode::Failure));
    let link = Link::start(broker.link());
    link.exchange_inflow(inflow(&["secret/#"], false).0);
    while !link.history().refused_filters.contains("secret/#") {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    link.accept(topic("out"), number(1)).unwrap();
    soon("predictions", broker.taken().wait_for(|taken| taken.len() == 1)).await.unwrap();
    link.exchange_inflow(inflow(&[], false).0);
    assert!(link.history().refused_filters.is_empty());
}

#[tokio::test]
async fn a_message_over_the_limit_is_handed_on_to_be_refused_and_one_too_large_to_be_read_is_told() {
    let broker = TestingBroker::start().await;
    let mut settings = broker.link();
    settings.closed_at_first = true;
    let link = Link::start(settings);
    let (wanted, mut received) = inflow(&["in/#"], true);
    link.exchange_inflow(wanted);
    link.open();
    subscribed_on(&link, 1).await;
    broker.inject_bytes("in/large", &vec![b'x'; MAX_PAYLOAD_BYTES + 1]);
    assert_eq!(soon("it", received.recv()).await.unwrap().payload.len(), MAX_PAYLOAD_BYTES + 1);
    let huge = vec![b'x'; 2 * 1024 * 1024];
    for connection in 2..=3 {
        broker.inject_bytes("in/huge", &huge);
        subscribed_on(&link, connection).await;
    }
    let sessions: Vec<_> = broker.guests().borrow().iter().map(|(connect, _)| connect.clean_session).collect();
    assert_eq!(sessions, [false, false, true], "the broker is to forget what it would send for ever");
    assert_eq!(link.history().failures["message_too_large"], 2);
    let last = link.history().last_failure.unwrap();
    assert!(last.contains("at most 1048576 are read"), "{last}");
    broker.inject("in/small", "1");
    assert_eq!(soon("a message", received.recv()).await.unwrap().topic, "in/small");
}

/// Waits until the only filter was granted on as many connections.
async fn subscribed_on(link: &Link, connections: u64) {
    soon("the filter on another connection", async {
        while link.history().subscriptions_granted < connections {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

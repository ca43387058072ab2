//! Messages between local targets, and what waits while one is replaced.

use bytes::Bytes;
use tokio::sync::mpsc;

use super::*;
use crate::mqtt::spool::Worth;
use crate::router::{Endpoint, Missed, Outgoing, QueueFullPolicy, Route, Router};

/// A target that passes on what it gets, when it is let.
struct Recorder(mpsc::Sender<Message>);

impl Target for Recorder {
    async fn take(&mut self, message: Message) {
        let _ = self.0.send(message).await;
    }
}

fn connector() -> Endpoint {
    Endpoint::Connector("classifier".to_owned())
}

fn function() -> Endpoint {
    Endpoint::Function("counter".to_owned())
}

fn router() -> Router {
    let route = |id: &str, source: Endpoint, filter: &str, target: Endpoint| Route {
        id: id.to_owned(),
        source,
        target,
        filter: filter.parse().unwrap(),
    };
    let routes = [
        route("down", Endpoint::Cloud, "gate/#", connector()),
        route("across", connector(), "gate/#", function()),
        route("back", function(), "gate/trigger", connector()),
    ];
    Router::new(routes, 100, Box::new(|_, _| panic!("nothing here is for the cloud")))
}

fn publish(router: &Router, source: &Endpoint, topic: &str, payload: &str) -> Vec<(Endpoint, Missed)> {
    let outgoing = Outgoing {
        source,
        topic,
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        mark: (0, Worth::Ordinary),
        policy: QueueFullPolicy::BestEffort,
    };
    router.publish(outgoing).unwrap().missed
}

#[tokio::test]
async fn messages_go_from_the_cloud_to_a_connector_to_a_function_and_back() {
    let router = router();
    let (sender, mut at_connector) = mpsc::channel(10);
    let _classifier = Porter::begin(router.attach(connector()).unwrap(), Recorder(sender));
    let (sender, mut at_function) = mpsc::channel(10);
    let _counter = Porter::begin(router.attach(function()).unwrap(), Recorder(sender));
    for (source, topic) in
        [(Endpoint::Cloud, "gate/trigger"), (connector(), "gate/predictions"), (function(), "gate/trigger")]
    {
        assert!(publish(&router, &source, topic, "x").is_empty());
        let received = if source == connector() { &mut at_function } else { &mut at_connector };
        assert_eq!(received.recv().await.unwrap().topic.as_str(), topic);
    }
}

#[tokio::test]
async fn what_waits_while_a_target_is_replaced_goes_to_its_successor_in_order() {
    let router = router();
    // A target that is let take one message, and hangs on the second.
    let (sender, mut first) = mpsc::channel(1);
    let porter = Porter::begin(router.attach(connector()).unwrap(), Recorder(sender));
    for number in 0..5 {
        publish(&router, &Endpoint::Cloud, "gate/a", &number.to_string());
    }
    assert_eq!(first.recv().await.unwrap().payload, "0");
    let ending = tokio::spawn(porter.end());
    let mut taken = 1;
    while let Some(message) = first.recv().await {
        assert_eq!(message.payload, taken.to_string());
        taken += 1;
    }
    let inbox = ending.await.unwrap().expect("the inbox");
    assert!(publish(&router, &Endpoint::Cloud, "gate/a", "5").is_empty(), "it is not gone");
    let (sender, mut second) = mpsc::channel(10);
    let _porter = Porter::begin(inbox, Recorder(sender));
    for number in taken..6 {
        assert_eq!(second.recv().await.unwrap().payload, number.to_string());
    }
}

#[tokio::test]
async fn a_subscription_whose_target_does_not_run_counts_what_it_misses() {
    let router = router();
    let missed = publish(&router, &Endpoint::Cloud, "gate/trigger", "x");
    assert!(matches!(missed.as_slice(), [(target, Missed::NotRunning)] if *target == connector()));
    let counters = router.counters();
    let counted: Vec<_> = counters.subscriptions.iter().map(|one| (one.messages, one.missed)).collect();
    assert_eq!((counted, counters.missed), (vec![(1, 1), (0, 0), (0, 0)], 1));
}

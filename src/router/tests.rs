//! The router as its users meet it: deny by default, once to each target, limits, policies, new deployments.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::topic::TopicError;

/// A cloud that keeps what it is given, and can be made to refuse.
#[derive(Debug, Default)]
struct Cloud {
    taken: Mutex<Vec<(Message, u64)>>,
    refuses: AtomicBool,
}

fn classifier() -> Endpoint {
    Endpoint::Connector("arn:aws:greengrass:eu-west-1::/connectors/MargayImageClassifier/versions/1".to_owned())
}

fn function(name: &str) -> Endpoint {
    Endpoint::Function(format!("arn:aws:lambda:eu-west-1:123456789012:function:{name}:3"))
}

fn route(id: &str, source: Endpoint, target: Endpoint, filter: &str) -> Route {
    Route { id: id.to_owned(), source, target, filter: filter.parse().unwrap() }
}

fn routes() -> Vec<Route> {
    vec![
        route("predictions", classifier(), Endpoint::Cloud, "margay/+/door/predictions"),
        route("everything", classifier(), Endpoint::Cloud, "margay/#"),
        route("alarm", classifier(), function("alarm"), "margay/+/door/predictions"),
        route("siren", classifier(), function("siren"), "margay/+/door/predictions"),
        route("commands", Endpoint::Cloud, classifier(), "margay/commands"),
    ]
}

fn router() -> (Arc<Cloud>, Router) {
    let cloud = Arc::new(Cloud::default());
    let given = cloud.clone();
    let outlet = Box::new(move |message: &Message, (tag, _)| {
        if given.refuses.load(Ordering::Relaxed) {
            return Err(Missed::Cloud(Arc::new(std::io::Error::other("the spool is full"))));
        }
        given.taken.lock().unwrap().push((message.clone(), tag));
        Ok(())
    });
    (cloud, Router::new(routes(), 1024, outlet))
}

fn publish(router: &Router, source: &Endpoint, topic: &str, payload: &[u8]) -> Result<Delivery, RouteError> {
    publish_by(QueueFullPolicy::BestEffort, router, source, topic, payload)
}

fn publish_by(
    policy: QueueFullPolicy,
    router: &Router,
    source: &Endpoint,
    topic: &str,
    payload: &[u8],
) -> Result<Delivery, RouteError> {
    router.publish(Outgoing {
        source,
        topic,
        payload: Bytes::copy_from_slice(payload),
        mark: (7, Worth::Ordinary),
        policy,
    })
}

#[test]
fn a_message_reaches_each_target_once_however_many_subscriptions_select_it() {
    let (cloud, router) = router();
    let mut alarm = router.attach(function("alarm")).unwrap();
    let topic: Topic = "margay/hall/door/predictions".parse().unwrap();
    assert_eq!(router.targets(&classifier(), &topic), [Endpoint::Cloud, function("alarm"), function("siren")]);

    let delivery = publish(&router, &classifier(), topic.as_str(), b"{}").unwrap();
    assert_eq!(delivery.reached, [Endpoint::Cloud, function("alarm")]);
    assert!(matches!(&delivery.missed[..], [(target, Missed::NotRunning)] if *target == function("siren")));
    let message = Message { topic, payload: Bytes::from_static(b"{}") };
    assert_eq!(*cloud.taken.lock().unwrap(), [(message.clone(), 7)]);
    assert_eq!([alarm.try_next(), alarm.try_next()], [Some(message), None]);
    assert_eq!(router.counters().missed, 1);
}

#[test]
fn what_no_subscription_names_goes_nowhere() {
    let (cloud, router) = router();
    for (source, topic) in [
        (classifier(), "other/topic"),
        (function("alarm"), "margay/hall/door/predictions"),
        (Endpoint::Device("arn:aws:iot:eu-west-1:123456789012:thing/lamp".to_owned()), "margay/commands"),
    ] {
        let error = publish(&router, &source, topic, b"{}").unwrap_err();
        assert!(matches!(error, RouteError::NoRoute { .. }) && !error.is_retryable(), "{error}");
    }
    router.replace([]);
    assert!(publish(&router, &classifier(), "margay/a", b"").is_err());
    assert_eq!(router.counters().no_route, 4);
    assert!(cloud.taken.lock().unwrap().is_empty());
}

#[test]
fn a_subscription_works_in_one_direction_only() {
    let (_, router) = router();
    let mut commands = router.attach(classifier()).unwrap();
    publish(&router, &Endpoint::Cloud, "margay/commands", b"on").unwrap();
    assert_eq!(commands.try_next().unwrap().payload, "on");
    let back = publish(&router, &classifier(), "margay/commands", b"").unwrap();
    assert_eq!(back.reached, [Endpoint::Cloud], "only by the subscription that selects everything under margay");
    assert_eq!(router.filters_from(&Endpoint::Cloud), ["margay/commands".parse().unwrap()]);
    assert_eq!(router.filters_from(&classifier()).len(), 2, "each filter once");
}

#[test]
fn a_topic_of_257_bytes_and_a_payload_over_128_kb_are_refused_by_name() {
    let (_, router) = router();
    let long = "x".repeat(257);
    assert!(matches!(
        publish(&router, &classifier(), &long, b""),
        Err(RouteError::Topic { error: TopicError::TooLong { limit: 256, actual: 257 }, .. })
    ));
    assert!(matches!(
        publish(&router, &classifier(), "margay/+", b""),
        Err(RouteError::Topic { error: TopicError::Wildcard { .. }, .. })
    ));
    let most = vec![0; MAX_PAYLOAD_BYTES];
    assert!(publish(&router, &classifier(), "margay/a", &most).is_ok());
    let more = vec![0; MAX_PAYLOAD_BYTES + 1];
    assert!(matches!(
        publish(&router, &classifier(), "margay/a", &more),
        Err(RouteError::PayloadTooLarge { limit: 131_072, actual: 131_073, .. })
    ));
    assert_eq!(router.counters().refused, 3);
}

#[test]
fn under_best_effort_a_full_queue_costs_only_its_own_target() {
    let (cloud, router) = router();
    let mut alarm = router.attach(function("alarm")).unwrap();
    let mut siren = router.attach(function("siren")).unwrap();
    let largest = vec![b'x'; MAX_PAYLOAD_BYTES];
    for sent in 0..30 {
        let delivery = publish(&router, &classifier(), "margay/a/door/predictions", &largest).unwrap();
        while siren.try_next().is_some() {}
        assert_eq!(delivery.missed.len(), usize::from(sent >= 19), "{sent}");
    }
    let counters = alarm.counters();
    assert_eq!((counters.accepted, counters.full), (19, 11));
    assert!(counters.bytes <= QUEUE_BYTES as u64);
    assert_eq!(siren.counters().taken, 30);
    assert_eq!(cloud.taken.lock().unwrap().len(), 30);
    assert!(alarm.try_next().is_some());
}

#[test]
fn under_all_or_error_nobody_gets_what_one_cannot_take() {
    let (cloud, router) = router();
    let topic = "margay/a/door/predictions";
    let send = |router: &Router| publish_by(QueueFullPolicy::AllOrError, router, &classifier(), topic, b"{}");
    let mut alarm = router.attach(function("alarm")).unwrap();
    let error = send(&router).unwrap_err();
    assert!(error.is_retryable());
    assert!(matches!(error, RouteError::PutOff { target, why: Missed::NotRunning, .. } if target == function("siren")));

    let mut siren = router.attach(function("siren")).unwrap();
    cloud.refuses.store(true, Ordering::Relaxed);
    assert!(matches!(send(&router), Err(RouteError::PutOff { target: Endpoint::Cloud, .. })));
    assert_eq!([alarm.try_next(), siren.try_next()], [None, None]);
    assert!(cloud.taken.lock().unwrap().is_empty());
    let counters = router.counters();
    assert_eq!((counters.put_off, counters.routed, counters.subscriptions[0].messages), (2, 0, 0));
    assert!(counters.queues.iter().all(|queue| queue.bytes == 0), "the reserved room was given back");

    cloud.refuses.store(false, Ordering::Relaxed);
    assert_eq!(send(&router).unwrap().reached.len(), 3);
    assert!(alarm.try_next().is_some() && siren.try_next().is_some());
}

#[test]
fn the_policy_is_what_the_sdks_write() {
    for (text, policy) in [
        ("", QueueFullPolicy::BestEffort),
        ("BestEffort", QueueFullPolicy::BestEffort),
        ("AllOrError", QueueFullPolicy::AllOrError),
        ("AllOrException", QueueFullPolicy::AllOrError),
    ] {
        assert_eq!(text.parse(), Ok(policy));
    }
    let unknown = "besteffort".parse::<QueueFullPolicy>().unwrap_err();
    assert!(unknown.to_string().contains("queueFullPolicy \"besteffort\" is not supported"), "{unknown}");
}

#[test]
fn a_deployment_exchanges_the_routes_and_drops_nothing_that_waits() {
    let (_, router) = router();
    let mut alarm = router.attach(function("alarm")).unwrap();
    publish(&router, &classifier(), "margay/a/door/predictions", b"1").unwrap();
    let mut next = routes();
    next.retain(|route| route.id != "alarm");
    next[1].filter = "margay/a/#".parse().unwrap();
    next.push(route("late", classifier(), function("alarm"), "late"));
    router.replace(next);
    publish(&router, &classifier(), "margay/a/door/predictions", b"2").unwrap();
    publish(&router, &classifier(), "late", b"3").unwrap();

    assert!(router.attach(function("alarm")).is_err(), "its queue is still the same");
    let waiting: Vec<_> = std::iter::from_fn(|| alarm.try_next()).map(|message| message.payload).collect();
    assert_eq!(waiting, ["1", "3"]);
    let counters = router.counters();
    let seen: Vec<_> = counters.subscriptions.iter().map(|s| (s.route.id.as_str(), s.messages, s.bytes)).collect();
    assert_eq!(
        seen,
        [("predictions", 2, 2), ("everything", 1, 1), ("siren", 2, 2), ("commands", 0, 0), ("late", 1, 1)],
        "one that changed begins anew"
    );
    assert_eq!((counters.routed, counters.no_route), (3, 0));
}

#[test]
fn a_deployment_in_the_middle_of_traffic_loses_no_message() {
    let (_, router) = router();
    let mut alarm = router.attach(function("alarm")).unwrap();
    let done = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut sent = 0_u64;
            while !done.load(Ordering::Relaxed) || sent == 0 {
                let policy = QueueFullPolicy::AllOrError;
                sent += u64::from(publish_by(policy, &router, &classifier(), "margay/a/b", b"").is_ok());
            }
            sent
        });
        for _ in 0..500 {
            router.replace([route("all", classifier(), function("alarm"), "margay/#")]);
            router.replace([route("one", classifier(), function("alarm"), "margay/+/b")]);
            while alarm.try_next().is_some() {}
        }
        done.store(true, Ordering::Relaxed);
        // A sender that has not been able to send yet still wants room, or routes to this target only.
        while !sender.is_finished() {
            while alarm.try_next().is_some() {}
        }
        sender.join().unwrap()
    });
    while alarm.try_next().is_some() {}
    let to_cloud_first = router.counters();
    assert_eq!(to_cloud_first.no_route, 0, "there was a route at every moment");
    let counters = alarm.counters();
    assert!(counters.taken <= sent && counters.accepted == counters.taken, "{counters:?}");
    assert_eq!(to_cloud_first.routed, sent);
}

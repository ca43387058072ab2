//! What `margay subscribe` sees.

use rumqttc::{QoS, SubscribeReasonCode};

use super::*;
use crate::mqtt::testing_broker::TestingBroker;

fn filter() -> TopicFilter {
    "margay/#".parse().unwrap()
}

#[tokio::test]
async fn messages_are_seen_as_they_were_published() {
    let broker = TestingBroker::start().await;
    let mut viewer = Viewer::connect(broker.connection(), filter()).await.unwrap();
    broker.inject("margay/door/predictions", "{\"n\":1}");
    broker.inject("margay/door/predictions", "{\"n\":2}");
    for payload in ["{\"n\":1}", "{\"n\":2}"] {
        let message = viewer.next().await.unwrap();
        assert_eq!((message.topic.as_str(), message.payload.as_ref()), ("margay/door/predictions", payload.as_bytes()));
    }
}

#[tokio::test]
async fn a_refused_subscription_is_an_error_that_names_the_filter_and_the_policy() {
    let broker = TestingBroker::start().await;
    broker.on_subscribe(Some(SubscribeReasonCode::Failure));
    let error = Viewer::connect(broker.connection(), filter()).await.unwrap_err();
    assert!(matches!(error, ViewerError::SubscriptionRefused { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("margay/#") && text.contains("iot:Subscribe"), "{text}");
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn a_broker_that_hangs_up_on_the_subscription_points_at_the_policy() {
    let broker = TestingBroker::start().await;
    broker.on_subscribe(None);
    let error = Viewer::connect(broker.connection(), filter()).await.unwrap_err();
    assert!(matches!(error, ViewerError::ClosedOnSubscribe { .. }), "{error:?}");
}

#[tokio::test]
async fn the_end_of_the_connection_ends_the_view_and_it_can_be_opened_again() {
    let mut broker = TestingBroker::start().await;
    broker.on_subscribe(Some(SubscribeReasonCode::Success(QoS::AtMostOnce)));
    let mut viewer = Viewer::connect(broker.connection(), filter()).await.unwrap();
    broker.stop().await;
    let error = viewer.next().await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    broker.resume().await;
    assert!(Viewer::connect(broker.connection(), filter()).await.is_ok());
}

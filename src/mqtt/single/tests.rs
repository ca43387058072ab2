//! Single messages against brokers that keep them, refuse them and hang up on them.

use margay_localcloud::{LocalCloud, Settings};

use super::*;
use crate::mqtt::against_localcloud;
use crate::mqtt::connection::ProtocolVersion;
use crate::mqtt::testing_broker::{Reaction, TestingBroker};
use crate::mqtt::viewer::Viewer;

fn message(text: &'static str, quality: Quality, retain: bool) -> Single {
    Single {
        topic: "margay/door/notes".parse().unwrap(),
        payload: Bytes::from_static(text.as_bytes()),
        quality,
        retain,
    }
}

#[tokio::test]
async fn a_message_of_either_quality_has_reached_the_broker_when_it_is_said_to_be_published() {
    let broker = TestingBroker::start().await;
    broker.on_publish(|_| Reaction::Acknowledge);
    for (quality, text) in [(Quality::AtLeastOnce, "confirmed"), (Quality::AtMostOnce, "sent")] {
        publish(broker.connection(), message(text, quality, false)).await.unwrap();
        let taken = broker.taken().borrow().last().cloned().expect("a message");
        assert_eq!(taken, ("margay/door/notes".to_owned(), Bytes::from_static(text.as_bytes())));
    }
}

#[tokio::test]
async fn what_is_retained_is_there_for_later_subscribers_until_it_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = LocalCloud::start(Settings::new(folder.path())).await.unwrap();
    let files = cloud.provision_thing("door", &folder.path().join("door")).unwrap();
    for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
        let connection = |client_id: &str| {
            let mut settings = against_localcloud::connection(&cloud, client_id, &files);
            settings.version = version;
            settings
        };
        publish(connection("door-publish-1"), message("kept", Quality::AtLeastOnce, true)).await.unwrap();
        let mut later =
            Viewer::connect(connection("door-subscribe-1"), "margay/door/#".parse().unwrap()).await.unwrap();
        let seen = later.next().await.unwrap();
        assert_eq!((seen.payload.as_ref(), seen.retained), (&b"kept"[..], true));
        drop(later);
        publish(connection("door-publish-1"), message("", Quality::AtLeastOnce, true)).await.unwrap();
        let mut later =
            Viewer::connect(connection("door-subscribe-2"), "margay/door/#".parse().unwrap()).await.unwrap();
        publish(connection("door-publish-1"), message("fresh", Quality::AtMostOnce, false)).await.unwrap();
        let seen = later.next().await.unwrap();
        assert_eq!((seen.payload.as_ref(), seen.retained), (&b"fresh"[..], false));
    }
}

#[tokio::test]
async fn a_broker_that_hangs_up_on_a_message_is_no_success() {
    let broker = TestingBroker::start().await;
    broker.on_publish(|_| Reaction::Close);
    let error = publish(broker.connection(), message("x", Quality::AtLeastOnce, false)).await.unwrap_err();
    assert!(matches!(error, SingleError::Closed { .. }), "{error:?}");
}

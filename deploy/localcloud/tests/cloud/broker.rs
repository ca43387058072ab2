//! The broker: identity, policies, sessions, and its end and return.

use margay_localcloud::DeviceFiles;
use rumqttc::{QoS, SubscribeReasonCode};

use crate::Scene;
use crate::mqtt::{Client, Options};

const GRANTED: SubscribeReasonCode = SubscribeReasonCode::Success(QoS::AtLeastOnce);

/// A cloud with the thing `cat` and the viewer `screen`.
async fn cat_and_screen() -> (Scene, DeviceFiles, DeviceFiles) {
    let scene = Scene::open().await;
    let cat = scene.cloud.provision_thing("cat", &scene.path().join("cat")).unwrap();
    let screen = scene.cloud.issue_viewer("screen").unwrap();
    (scene, cat, screen)
}

async fn connect(scene: &Scene, files: &DeviceFiles, client_id: &str) -> Client {
    Client::connect(&scene.cloud, files, Options::new(client_id)).await.unwrap().0
}

#[tokio::test]
async fn a_viewer_sees_what_a_thing_publishes() {
    let (scene, cat, screen) = cat_and_screen().await;
    let mut viewer = connect(&scene, &screen, "screen-1").await;
    assert_eq!(viewer.subscribe("margay/#").await, GRANTED);
    let mut device = connect(&scene, &cat, "cat").await;
    device.publish("margay/cat/front/predictions", "tabby").await.unwrap();
    assert_eq!(viewer.message().await, ("margay/cat/front/predictions".to_owned(), "tabby".to_owned()));
    let served = scene.cloud.counters().served();
    assert_eq!((served.mqtt_connections, served.publishes, served.subscriptions), (2, 1, 1));
}

#[tokio::test]
async fn a_subscription_that_no_policy_allows_fails_and_the_connection_stays() {
    let (scene, cat, screen) = cat_and_screen().await;
    let mut viewer = connect(&scene, &screen, "screen").await;
    assert_eq!(viewer.subscribe("#").await, SubscribeReasonCode::Failure);
    assert_eq!(viewer.subscribe("margay/+/front").await, GRANTED);
    let mut device = connect(&scene, &cat, "cat").await;
    assert_eq!(device.subscribe("margay/dog/#").await, SubscribeReasonCode::Failure);
    assert_eq!(device.subscribe("$aws/things/cat/jobs/notify").await, GRANTED);
    assert_eq!(scene.cloud.counters().served().subscriptions_refused, 2);
}

#[tokio::test]
async fn publishing_where_no_policy_allows_ends_the_connection_without_an_acknowledgement() {
    let (scene, cat, screen) = cat_and_screen().await;
    let mut device = connect(&scene, &cat, "cat").await;
    assert!(device.publish("margay/dog/front", "not mine").await.is_err());
    let mut viewer = connect(&scene, &screen, "screen").await;
    assert!(viewer.publish("margay/screen/x", "viewers are silent").await.is_err());
    assert_eq!(scene.cloud.counters().served().publishes_refused, 2);
}

#[tokio::test]
async fn a_topic_can_be_refused_and_allowed_again() {
    let (scene, cat, _) = cat_and_screen().await;
    scene.cloud.faults().refuse_topic("margay/cat/#");
    let mut device = connect(&scene, &cat, "cat").await;
    assert_eq!(device.subscribe("margay/cat/commands").await, SubscribeReasonCode::Failure);
    assert!(device.publish("margay/cat/x", "").await.is_err());
    scene.cloud.faults().clear();
    connect(&scene, &cat, "cat").await.publish("margay/cat/x", "").await.unwrap();
}

#[tokio::test]
async fn only_registered_certificates_of_this_authority_get_in() {
    let (scene, _, _) = cat_and_screen().await;
    let unregistered = scene.cloud.issue_unregistered("cat", &scene.path().join("unregistered")).unwrap();
    let elsewhere = Scene::open().await;
    let foreign = elsewhere.cloud.provision_thing("cat", &elsewhere.path().join("cat")).unwrap();
    for files in [&unregistered, &foreign] {
        assert!(Client::connect(&scene.cloud, files, Options::new("cat")).await.is_err());
    }
    let served = scene.cloud.counters().served();
    assert_eq!((served.mqtt_connections, served.mqtt_strangers), (0, 1));
}

#[tokio::test]
async fn a_things_client_id_begins_with_its_name() {
    let (scene, cat, _) = cat_and_screen().await;
    assert!(Client::connect(&scene.cloud, &cat, Options::new("dog")).await.is_err());
    assert!(Client::connect(&scene.cloud, &cat, Options::new("cat-shadow")).await.is_ok());
}

#[tokio::test]
async fn the_port_behind_the_front_lets_nobody_in() {
    let (scene, cat, _) = cat_and_screen().await;
    let _device = connect(&scene, &cat, "cat").await;
    let inner = listeners_of_this_process().into_iter().filter(|port| *port != scene.cloud.mqtt_port());
    for port in inner {
        let mut options = rumqttc::MqttOptions::new("cat", "127.0.0.1", port);
        options.set_credentials("cat", "");
        let (_requests, mut events) = rumqttc::AsyncClient::new(options, 1);
        let polled = tokio::time::timeout(std::time::Duration::from_secs(2), events.poll()).await;
        assert!(!matches!(polled, Ok(Ok(_))), "port {port} took a connection without a certificate");
    }
}

/// Ports of loopback on which sockets of this process listen.
fn listeners_of_this_process() -> Vec<u16> {
    let own: Vec<String> = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row[3] == "0A" && own.iter().any(|inode| inode == row[9]))
        .map(|row| u16::from_str_radix(row[1].rsplit_once(':').unwrap().1, 16).unwrap())
        .collect()
}

#[tokio::test]
async fn the_alpn_of_aws_is_accepted_and_an_unknown_one_is_not() {
    let (scene, cat, _) = cat_and_screen().await;
    let offering = |alpn| Options { client_id: "cat", clean: true, alpn: Some(alpn) };
    assert!(Client::connect(&scene.cloud, &cat, offering(b"x-amzn-mqtt-ca")).await.is_ok());
    assert!(Client::connect(&scene.cloud, &cat, offering(b"h2")).await.is_err());
}

#[tokio::test]
async fn a_persistent_session_keeps_subscriptions_and_messages() {
    let (scene, cat, screen) = cat_and_screen().await;
    let (mut viewer, present) = Client::connect(&scene.cloud, &screen, Options::persistent("screen")).await.unwrap();
    assert!(!present);
    viewer.subscribe("margay/#").await;
    drop(viewer);
    let mut device = connect(&scene, &cat, "cat").await;
    for payload in ["one", "two", "three"] {
        device.publish("margay/cat/x", payload).await.unwrap();
    }
    let (mut viewer, present) = Client::connect(&scene.cloud, &screen, Options::persistent("screen")).await.unwrap();
    assert!(present);
    for payload in ["one", "two", "three"] {
        assert_eq!(viewer.message().await.1, payload);
    }
}

#[tokio::test]
async fn a_session_is_not_handed_to_another_certificate() {
    let (scene, _, screen) = cat_and_screen().await;
    let other = scene.cloud.issue_viewer("other").unwrap();
    let (mut viewer, _) = Client::connect(&scene.cloud, &screen, Options::persistent("shared")).await.unwrap();
    viewer.subscribe("margay/#").await;
    drop(viewer);
    let taken = Client::connect(&scene.cloud, &other, Options::persistent("shared")).await;
    assert!(!taken.is_ok_and(|(_, present)| present), "another's session was resumed");
}

#[tokio::test]
async fn a_stopped_broker_refuses_and_comes_back_on_its_port_without_sessions() {
    let (scene, cat, screen) = cat_and_screen().await;
    let port = scene.cloud.mqtt_port();
    let (mut viewer, _) = Client::connect(&scene.cloud, &screen, Options::persistent("screen")).await.unwrap();
    viewer.subscribe("margay/#").await;
    scene.cloud.stop_broker().await;
    scene.cloud.stop_broker().await;
    assert!(viewer.next().await.is_err(), "the connection outlived the broker");
    assert!(Client::connect(&scene.cloud, &cat, Options::new("cat")).await.is_err());
    scene.cloud.start_broker().await.unwrap();
    scene.cloud.start_broker().await.unwrap();
    assert_eq!(scene.cloud.mqtt_port(), port);
    let (_viewer, present) = Client::connect(&scene.cloud, &screen, Options::persistent("screen")).await.unwrap();
    assert!(!present, "the session outlived the broker");
}

#[tokio::test]
async fn clients_can_be_disconnected_and_keep_their_sessions() {
    let (scene, _, screen) = cat_and_screen().await;
    let (mut viewer, _) = Client::connect(&scene.cloud, &screen, Options::persistent("screen")).await.unwrap();
    viewer.subscribe("margay/#").await;
    scene.cloud.disconnect_clients();
    while viewer.next().await.is_ok() {}
    let (_viewer, present) = Client::connect(&scene.cloud, &screen, Options::persistent("screen")).await.unwrap();
    assert!(present);
}

#[tokio::test]
async fn two_thousand_messages_are_acknowledged_and_delivered_once_and_in_order() {
    let (scene, cat, screen) = cat_and_screen().await;
    let mut viewer = connect(&scene, &screen, "screen").await;
    viewer.subscribe("margay/cat/x").await;
    let mut device = connect(&scene, &cat, "cat").await;
    let publishing = async {
        for number in 0..2000 {
            device.publish("margay/cat/x", &number.to_string()).await.unwrap();
        }
    };
    let viewing = async {
        for number in 0..2000 {
            assert_eq!(viewer.message().await.1, number.to_string());
        }
    };
    tokio::join!(publishing, viewing);
    assert_eq!(scene.cloud.counters().served().publishes, 2000);
}

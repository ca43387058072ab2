//! The link against the local cloud's broker, with the certificates and the policy that the demo uses.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use margay_localcloud::{DeviceFiles, LocalCloud, Settings};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::watch;

use super::connection::{BrokerAddress, ConnectionSettings, ProtocolVersion};
use super::link::{Link, LinkSettings, LinkState};
use super::presence::Presence;
use super::testing_broker::scaled;
use super::viewer::{Viewer, ViewerError};
use crate::topic::Topic;

const PATIENCE: Duration = Duration::from_secs(120);

fn topic(text: &str) -> Topic {
    text.parse().unwrap()
}

pub(super) fn connection(cloud: &LocalCloud, client_id: &str, files: &DeviceFiles) -> ConnectionSettings {
    let certificates =
        |path: &Path| CertificateDer::pem_file_iter(path).unwrap().map(Result::unwrap).collect::<Vec<_>>();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(&files.ca));
    let key = PrivateKeyDer::from_pem_file(&files.private_key).unwrap();
    let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(certificates(&files.certificate), key)
        .unwrap();
    let broker = BrokerAddress { host: "localhost".parse().unwrap(), port: cloud.mqtt_port() };
    ConnectionSettings::new(broker, client_id, Arc::new(tls))
}

/// A link with short times for the thing `door`.
fn settings(cloud: &LocalCloud, directory: &Path) -> LinkSettings {
    let files = cloud.provision_thing("door", directory).unwrap();
    let mut settings = LinkSettings::new(connection(cloud, "door", &files));
    settings.retry_floor = Duration::from_millis(5);
    settings.retry_ceiling = Duration::from_millis(50);
    settings.settling_time = Duration::from_millis(20);
    settings
}

#[tokio::test]
async fn nothing_is_lost_when_the_broker_restarts_without_its_sessions() {
    for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
        let directory = tempfile::tempdir().unwrap();
        let cloud = LocalCloud::start(Settings::new(directory.path())).await.unwrap();
        let (count, restarts) = (scaled(1_000), 5);
        let delivered = watch::Sender::new(0u64);
        let mut watched = delivered.subscribe();
        let mut settings = settings(&cloud, directory.path());
        settings.connection.version = version;
        settings.on_acknowledged = Some(Arc::new(move |_| delivered.send_modify(|delivered| *delivered += 1)));
        let link = Link::start(settings);
        for index in 0..count {
            link.accept(topic("margay/door/hall/predictions"), Bytes::from(index.to_string())).unwrap();
        }
        for restart in 1..=restarts {
            let threshold = count * restart / (restarts + 1);
            let reached = watched.wait_for(|delivered| *delivered >= threshold);
            tokio::time::timeout(PATIENCE, reached).await.expect("deliveries").unwrap();
            cloud.stop_broker().await;
            assert!(link.counters().balance());
            cloud.start_broker().await.unwrap();
        }
        let counters = link.drain(PATIENCE).await;
        println!("{count} messages, {} connections: {} sent again", counters.connections, counters.resent);
        assert_eq!((counters.accepted, counters.delivered, counters.dropped.total()), (count, count, 0));
    }
}

#[tokio::test]
async fn two_devices_with_one_thing_name_are_both_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let cloud = LocalCloud::start(Settings::new(directory.path())).await.unwrap();
    both_are_told(settings(&cloud, directory.path()), "client_id_in_use").await;
}

/// Starts two links with the same `settings`, and waits until both tell of a failure of this `kind`.
pub(super) async fn both_are_told(settings: LinkSettings, kind: &str) {
    let links = [Link::start(settings.clone()), Link::start(settings)];
    for link in &links {
        link.accept(topic("margay/door/hall/predictions"), Bytes::from_static(b"{}")).unwrap();
    }
    let told = async {
        while !links.iter().all(|link| link.history().failures.contains_key(kind)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let told = tokio::time::timeout(PATIENCE, told).await;
    for link in links {
        assert!(told.is_ok(), "no suspicion: {:?}", link.history());
        assert_eq!(link.counters().dropped.total(), 0);
        let last = link.history().last_failure.unwrap();
        assert!(last.contains("the same client id"), "{last}");
    }
}

#[tokio::test]
async fn who_watches_the_status_sees_a_core_come_leave_and_be_lost() {
    let directory = tempfile::tempdir().unwrap();
    let cloud = LocalCloud::start(Settings::new(directory.path())).await.unwrap();
    let files = cloud.issue_viewer("visitor").unwrap();
    let filter = "margay/door/status".parse().unwrap();
    let mut viewer = Viewer::connect(connection(&cloud, "visitor-1", &files), filter).await.unwrap();
    let mut settings = settings(&cloud, directory.path());
    settings.presence = Some(Presence {
        topic: topic("margay/door/status"),
        retain: false,
        document: Arc::new(|event| Bytes::from(format!("{event:?}"))),
    });
    let mut said = Vec::new();
    let mut hear = async |said: &mut Vec<Bytes>| {
        let message = tokio::time::timeout(PATIENCE, viewer.next()).await.expect("a message").unwrap();
        said.push(message.payload);
    };
    let link = Link::start(settings.clone());
    hear(&mut said).await;
    // Cut off without a DISCONNECT: the broker speaks for it.
    cloud.disconnect_clients_of("door");
    hear(&mut said).await;
    hear(&mut said).await;
    link.drain(PATIENCE).await;
    hear(&mut said).await;
    said[1..3].sort();
    assert_eq!(said, ["Online", "Lost", "Online", "Stopping"].map(Bytes::from));
}

#[tokio::test]
async fn a_topic_outside_the_policy_is_set_aside_and_the_others_arrive() {
    let directory = tempfile::tempdir().unwrap();
    let cloud = LocalCloud::start(Settings::new(directory.path())).await.unwrap();
    let link = Link::start(settings(&cloud, directory.path()));
    for index in 0..20 {
        link.accept(topic("margay/door/hall/predictions"), Bytes::from(index.to_string())).unwrap();
        if index % 4 == 0 {
            link.accept(topic("margay/window/hall/predictions"), Bytes::from(index.to_string())).unwrap();
        }
    }
    let counters = link.drain(PATIENCE).await;
    assert_eq!((counters.delivered, counters.dropped.topic_refused), (20, 5));
}

#[tokio::test]
async fn a_viewer_sees_predictions_and_learns_what_it_may_not_see() {
    let directory = tempfile::tempdir().unwrap();
    let cloud = LocalCloud::start(Settings::new(directory.path())).await.unwrap();
    let files = cloud.issue_viewer("visitor").unwrap();
    let as_visitor = connection(&cloud, "visitor-1", &files);
    let refused = Viewer::connect(as_visitor.clone(), "$aws/things/#".parse().unwrap()).await;
    assert!(matches!(refused, Err(ViewerError::SubscriptionRefused { .. })), "{refused:?}");
    let mut viewer = Viewer::connect(as_visitor, "margay/#".parse().unwrap()).await.unwrap();
    let link = Link::start(settings(&cloud, directory.path()));
    let connected = async { link.state().wait_for(LinkState::is_connected).await.map(|_| ()) };
    tokio::time::timeout(PATIENCE, connected).await.expect("a connection").unwrap();
    link.accept(topic("margay/door/hall/predictions"), Bytes::from_static(b"{}")).unwrap();
    let message = tokio::time::timeout(PATIENCE, viewer.next()).await.expect("a message").unwrap();
    assert_eq!(message.topic, "margay/door/hall/predictions");
}

//! The way to the broker: the protocol name on port 443, and proxies with names and passwords.

use std::time::Duration;

use super::connect_error::ConnectError;
use super::connection::{ConnectionSettings, ProtocolVersion};
use super::testing_broker::TestingBroker;
use super::viewer::{Viewer, ViewerError};
use crate::http::testing_proxy::{TestingProxy, Verdict};

const ALPN: &[u8] = b"x-amzn-mqtt-ca";

/// A name that only the proxy knows.
const FAR_AWAY: &str = "broker.example";

async fn reach(settings: ConnectionSettings) -> Result<(), ConnectError> {
    let viewer = tokio::time::timeout(Duration::from_secs(60), Viewer::connect(settings, "#".parse().unwrap())).await;
    match viewer.expect("an answer") {
        Ok(_) => Ok(()),
        Err(ViewerError::Connect(error)) => Err(error),
        Err(other) => panic!("admitted, and then: {other}"),
    }
}

fn speaking(mut settings: ConnectionSettings, protocols: &[&[u8]]) -> ConnectionSettings {
    let mut tls = rustls::ClientConfig::clone(&settings.tls);
    tls.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    settings.tls = tls.into();
    settings
}

#[tokio::test]
async fn a_front_that_serves_several_protocols_is_asked_for_mqtt_by_name() {
    let broker = TestingBroker::start_demanding(ALPN).await;
    reach(speaking(broker.connection(), &[ALPN])).await.unwrap();
    let error = reach(speaking(broker.connection(), &[b"x-amzn-http-ca"])).await.unwrap_err();
    assert!(matches!(error, ConnectError::Tls { .. }), "{error:?}");
    assert!(error.to_string().contains("x-amzn-mqtt-ca"), "{error}");
    let error = reach(speaking(broker.connection(), &[])).await.unwrap_err();
    assert!(matches!(error, ConnectError::ClosedBeforeAdmission { .. }), "{error:?}");
}

/// A proxy that asks for a name and password and knows the way to `broker`.
async fn proxy_to(broker: &TestingBroker) -> TestingProxy {
    let port = broker.port();
    TestingProxy::start(move |target| {
        if target.starts_with(FAR_AWAY) { Verdict::To(port) } else { Verdict::Say("HTTP/1.1 403 Forbidden\r\n\r\n") }
    })
    .await
}

#[tokio::test]
async fn a_broker_behind_a_proxy_is_reached_by_connect_with_name_and_password() {
    let broker = TestingBroker::start_demanding(ALPN).await;
    let proxy = proxy_to(&broker).await;
    let mut settings = speaking(broker.connection(), &[ALPN]);
    settings.broker.host = FAR_AWAY.parse().unwrap();
    settings.tunnel = proxy.setting().tunnel_to(FAR_AWAY);
    let error = reach(settings).await.unwrap_err();
    // The tunnel stands: what fails is the name in the broker's certificate, checked end to end through the proxy.
    assert!(matches!(error, ConnectError::BrokerNotTrusted { .. }), "{error:?}");
    let head = proxy.heard().pop().unwrap();
    assert!(head.starts_with(&format!("CONNECT {FAR_AWAY}:{} HTTP/1.1\r\n", broker.port())), "{head}");
    assert!(head.contains("Proxy-Authorization: Basic TWFyeV9NYWpvcjpwYXNzQHdvcmQxMzU3\r\n"), "{head}");
}

#[tokio::test]
async fn what_passes_a_proxy_is_mqtt_in_both_versions() {
    use margay_localcloud::{LocalCloud, Settings};
    let directory = tempfile::tempdir().unwrap();
    let cloud = LocalCloud::start(Settings::new(directory.path())).await.unwrap();
    let viewer = cloud.issue_viewer("visitor").unwrap();
    let port = cloud.mqtt_port();
    let proxy = TestingProxy::start(move |_| Verdict::To(port)).await;
    for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
        let mut settings = super::against_localcloud::connection(&cloud, "visitor-1", &viewer);
        settings.version = version;
        settings.tunnel = proxy.setting().tunnel_to("a1-ats.iot.eu-central-1.amazonaws.com");
        let viewer = Viewer::connect(settings, "margay/#".parse().unwrap()).await;
        assert!(viewer.is_ok(), "{version:?}: {:?}", viewer.err());
    }
    assert_eq!(proxy.heard().len(), 2);
}

#[tokio::test]
async fn a_proxy_over_tls_is_no_mqtt_server_and_is_offered_no_protocol_name() {
    let broker = TestingBroker::start().await;
    let port = broker.port();
    let (proxy, authority) = TestingProxy::start_with_tls(move |_| Verdict::To(port)).await;
    let mut settings = broker.connection();
    settings.tunnel = proxy.setting().tunnel_to(FAR_AWAY);
    let error = reach(settings.clone()).await.unwrap_err();
    assert!(
        matches!(&error, ConnectError::ProxyFailed { hint, .. } if hint.contains("TLS with the proxy")),
        "{error:?}"
    );
    settings.tls = broker.device_that_also_trusts(&authority);
    reach(speaking(settings, &[ALPN])).await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_a_refusal_and_an_absent_proxy_are_told_apart() {
    let broker = TestingBroker::start().await;
    let mut settings = broker.connection();
    let answers = [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n",
            "user name and password (407)",
        ),
        ("HTTP/1.1 403 Forbidden\r\n\r\n", "answered CONNECT with 403"),
        ("220 mail.example ESMTP\r\n\r\n", "no HTTP proxy"),
        ("", "cannot be reached or hung up"),
    ];
    for (answer, expected) in answers {
        let proxy = TestingProxy::start(move |_| Verdict::Say(answer)).await;
        settings.tunnel = proxy.setting().tunnel_to(FAR_AWAY);
        let error = reach(settings.clone()).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!format!("{error:?} {error}").contains("word1357"), "{error:?}");
    }
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    settings.tunnel.as_mut().unwrap().port = free;
    let error = reach(settings).await.unwrap_err();
    assert!(
        error.to_string().contains(&format!("through the proxy 127.0.0.1:{free}: it cannot be reached")),
        "{error}"
    );
}

#[tokio::test]
async fn hosts_that_are_exempt_are_reached_directly() {
    let broker = TestingBroker::start().await;
    let proxy = proxy_to(&broker).await;
    for host in ["127.0.0.1", "direct.example"] {
        assert_eq!(proxy.setting().tunnel_to(host), None);
    }
    reach(broker.connection()).await.unwrap();
    assert!(proxy.heard().is_empty());
}

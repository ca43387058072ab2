//! What an operator reads when a connection does not come about, from real handshakes that fail.

use rumqttc::ConnectReturnCode;
use tokio::net::TcpListener;

use super::*;
use crate::mqtt::testing_broker::{Admission, TestingBroker};
use crate::mqtt::testing_certificates::Authority;
use crate::mqtt::viewer::{Viewer, ViewerError};

async fn failure(settings: ConnectionSettings) -> ConnectError {
    match Viewer::connect(settings, "#".parse().unwrap()).await {
        Err(ViewerError::Connect(error)) => error,
        other => panic!("expected a refusal: {other:?}"),
    }
}

/// Settings that lead to `port` with certificates of nobody's.
fn to_port(port: u16) -> ConnectionSettings {
    let broker = BrokerAddress { host: "127.0.0.1".parse().unwrap(), port };
    let authority = Authority::new();
    ConnectionSettings::new(broker, "device", authority.client(&authority))
}

fn check(error: &ConnectError, retryable: bool, hint: &str) {
    let text = error.to_string();
    assert!(text.contains(hint), "{text}");
    assert!(text.contains("the MQTT broker 127.0.0.1:"), "says where: {text}");
    assert_eq!(error.is_retryable(), retryable, "{text}");
}

#[tokio::test]
async fn a_broker_of_another_authority_is_not_trusted_and_the_root_ca_is_named() {
    let broker = TestingBroker::start().await;
    let mut settings = broker.connection();
    let (strangers, devices) = (Authority::new(), Authority::new());
    settings.tls = devices.client(&strangers);
    let error = failure(settings).await;
    assert!(matches!(error, ConnectError::BrokerNotTrusted { .. }), "{error:?}");
    check(&error, false, "Amazon's root CA 1");
}

#[tokio::test]
async fn an_expired_broker_certificate_points_at_the_clock_first() {
    let (servers, devices) = (Authority::new(), Authority::new());
    let tls = servers.server(&devices, 2001);
    let broker = TestingBroker::start_with(servers, devices, tls).await;
    let error = failure(broker.connection()).await;
    assert!(matches!(error, ConnectError::ClockNotValid { .. }), "{error:?}");
    check(&error, true, "check the clock");
}

#[tokio::test]
async fn a_refused_device_certificate_is_named_as_the_cause() {
    let servers = Authority::new();
    let tls = servers.server(&Authority::new(), 4000);
    let broker = TestingBroker::start_with(servers, Authority::new(), tls).await;
    let error = failure(broker.connection()).await;
    assert!(matches!(error, ConnectError::CertificateRefused { .. }), "{error:?}");
    check(&error, false, "registered, active and not expired");
}

#[tokio::test]
async fn a_broker_that_hangs_up_before_connack_points_at_the_policy() {
    let broker = TestingBroker::start().await;
    broker.admission(Admission::Close);
    let error = failure(broker.connection()).await;
    assert!(matches!(error, ConnectError::ClosedBeforeAdmission { .. }), "{error:?}");
    check(&error, true, "iot:Connect");
}

#[tokio::test]
async fn each_connack_refusal_is_told_apart() {
    let broker = TestingBroker::start().await;
    for (code, retryable, hint) in [
        (ConnectReturnCode::RefusedProtocolVersion, false, "margay.mqtt.version"),
        (ConnectReturnCode::BadClientId, false, "client identifier rejected"),
        (ConnectReturnCode::ServiceUnavailable, true, "will be tried again"),
        (ConnectReturnCode::BadUserNamePassword, false, "bad user name or password"),
        (ConnectReturnCode::NotAuthorized, false, "iot:Connect for this client id"),
    ] {
        broker.admission(Admission::Refuse(code));
        check(&failure(broker.connection()).await, retryable, hint);
    }
}

#[tokio::test]
async fn a_port_where_nothing_listens_is_told_from_a_lost_network() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    check(&failure(to_port(free)).await, true, "nothing listens there");
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_after_the_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = to_port(listener.local_addr().unwrap().port());
    settings.connect_timeout = std::time::Duration::from_secs(1);
    let error = failure(settings).await;
    check(&error, true, "no answer within 1 s");
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_recognised() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = socket.read(&mut request).await;
        socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let _ = socket.read(&mut request).await;
    });
    let error = failure(to_port(port)).await;
    assert!(matches!(error, ConnectError::Tls { .. }), "{error:?}");
    check(&error, false, "may not speak TLS");
    server.await.unwrap();
}

#[test]
fn a_name_without_an_address_points_at_the_name_and_the_dns_server() {
    let resolver = io::Error::other("failed to lookup address information: Name or service not known");
    let error = ConnectError::new(WireError::Io(resolver), &to_port(8883));
    assert!(matches!(error, ConnectError::NameNotResolved { .. }), "{error:?}");
    check(&error, true, "coreThing.iotHost");
    let unreachable = io::Error::from_raw_os_error(rustix::io::Errno::NETUNREACH.raw_os_error());
    let error = ConnectError::new(WireError::Io(unreachable), &to_port(8883));
    check(&error, true, "there is no route");
}

//! Servers that do not answer as they should, each on a real socket, and the cause that is named for it.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use reqwest::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::testing_proxy::{TestingProxy, Verdict};
use super::{BodyError, HttpClient, Timeouts, TransportCause, TransportError, read_body};
use crate::clock::{Clock, FixedClock, RELEASE_DATE};
use crate::identity::Roots;

const PATIENT: Duration = Duration::from_secs(30);

fn client_at(clock: Arc<dyn Clock>, patience: Duration) -> HttpClient {
    let roots = concat!(env!("CARGO_MANIFEST_DIR"), "/src/identity/testdata/ec.cert.pem");
    let tls = Roots::from_file(roots.as_ref()).unwrap().client_config(clock.clone());
    let timeouts = Timeouts { connect: patience, idle: patience };
    HttpClient::new(&tls, timeouts, clock).unwrap()
}

async fn get(url: &str) -> Result<reqwest::Response, TransportError> {
    get_within(url, PATIENT).await
}

async fn get_within(url: &str, patience: Duration) -> Result<reqwest::Response, TransportError> {
    let client = client_at(Arc::new(FixedClock::at(RELEASE_DATE)), patience);
    client.send(Request::new(Method::GET, url.parse().unwrap())).await
}

/// Answers each connection by `serve`; gives `127.0.0.1:port`.
async fn server<F, S>(serve: S) -> String
where
    F: Future<Output = ()> + Send + 'static,
    S: Fn(TcpStream) -> F + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

async fn says(answer: &'static [u8]) -> String {
    server(move |mut stream| async move {
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(answer).await;
    })
    .await
}

#[tokio::test]
async fn each_way_of_not_answering_has_its_cause() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let silent = server(|stream| async move {
        let _keep_open = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let hangs_up = server(|stream| async move { drop(stream) }).await;
    let plain = says(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    // A label of more than 63 characters: the resolver refuses it without asking anybody.
    let nameless = format!("{}.localhost:1", "a".repeat(64));
    for (url, expected) in [
        (format!("https://{closed}/"), TransportCause::Refused),
        (format!("https://{silent}/"), TransportCause::TimedOut),
        (format!("http://{silent}/"), TransportCause::TimedOut),
        (format!("https://{plain}/"), TransportCause::NotTls),
        (format!("http://{hangs_up}/"), TransportCause::Interrupted),
        (format!("https://{hangs_up}/"), TransportCause::Interrupted),
        (format!("http://{nameless}/"), TransportCause::NameUnknown),
        (format!("https://{nameless}/"), TransportCause::NameUnknown),
    ] {
        let patience = if url.contains(&silent) { Duration::from_millis(100) } else { PATIENT };
        let error = get_within(&url, patience).await.unwrap_err();
        assert_eq!(error.cause, expected, "{url}: {error:?}");
        assert!(url.contains(&error.endpoint), "{error}");
    }
}

#[tokio::test]
async fn an_error_never_shows_the_path_or_query_of_its_request() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = get(&format!("https://{closed}/secret-path?X-Amz-Signature=secret-query")).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
}

#[tokio::test]
async fn a_body_is_read_to_its_limit_and_not_further() {
    let address = says(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789").await;
    let url = format!("http://{address}/");
    assert_eq!(read_body(get(&url).await.unwrap(), 10).await.unwrap(), "0123456789");
    let too_large = read_body(get(&url).await.unwrap(), 9).await;
    assert!(matches!(too_large, Err(BodyError::TooLarge { limit: 9 })));

    let address = says(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n01234").await;
    let broken = read_body(get(&format!("http://{address}/")).await.unwrap(), 10).await.unwrap_err();
    assert!(matches!(&broken, BodyError::Broken(error) if error.cause == TransportCause::Interrupted), "{broken:?}");
}

#[tokio::test]
async fn a_date_from_a_server_that_did_not_prove_who_it_is_teaches_nothing() {
    let address = says(b"HTTP/1.1 200 OK\r\ndate: Sat, 01 Jan 2028 00:00:00 GMT\r\ncontent-length: 0\r\n\r\n").await;
    let clock = Arc::new(FixedClock::at(RELEASE_DATE));
    let request = Request::new(Method::GET, format!("http://{address}/").parse().unwrap());
    let response = client_at(clock.clone(), PATIENT).send(request).await.unwrap();
    assert!(super::date(&response).is_some());
    assert!(!clock.reckoning().is_confirmed());
    assert_eq!(clock.now(), RELEASE_DATE);
}

#[tokio::test]
async fn a_proxy_that_refuses_or_is_not_there_is_blamed_and_not_the_server() {
    let unauthorised =
        TestingProxy::start(|_| Verdict::Say("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")).await;
    let forbidding = TestingProxy::start(|_| Verdict::Say("HTTP/1.1 403 Forbidden\r\n\r\n")).await;
    let silent_end = TestingProxy::start(|_| Verdict::Say("")).await;
    for (proxy, expected) in [
        (&unauthorised, TransportCause::ProxyUnauthorised),
        (&forbidding, TransportCause::ProxyFailed),
        (&silent_end, TransportCause::ProxyFailed),
    ] {
        let error = get_through(proxy.setting(), "https://server.example/").await.unwrap_err();
        assert_eq!(error.cause, expected, "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains("server.example:443 through the proxy 127.0.0.1:") && text.contains("networkProxy"),
            "{text}"
        );
        assert!(!format!("{error:?}").contains("1357"), "{error:?}");
        assert!(proxy.heard()[0].starts_with("CONNECT server.example:443 "), "{:?}", proxy.heard());
        let credentials = "proxy-authorization: Basic TWFyeV9NYWpvcjpwYXNzQHdvcmQxMzU3";
        assert!(proxy.heard()[0].to_lowercase().contains(&credentials.to_lowercase()), "{:?}", proxy.heard());
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let gone = super::Proxies::new(None, |name| (name == "HTTPS_PROXY").then(|| closed.to_string())).unwrap();
    let error = get_through(gone, "https://server.example/").await.unwrap_err();
    assert_eq!(error.cause, TransportCause::ProxyFailed, "{error:?}");
}

#[tokio::test]
async fn an_exempt_host_is_reached_without_the_proxy() {
    let proxy = TestingProxy::start(|_| Verdict::Say("HTTP/1.1 403 Forbidden\r\n\r\n")).await;
    let plain = says(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let response = get_through(proxy.setting(), &format!("http://{plain}/")).await.unwrap();
    assert_eq!(read_body(response, 10).await.unwrap(), "ok");
    assert!(proxy.heard().is_empty());
}

async fn get_through(proxies: super::Proxies, url: &str) -> Result<reqwest::Response, TransportError> {
    let roots = concat!(env!("CARGO_MANIFEST_DIR"), "/src/identity/testdata/ec.cert.pem");
    let clock: Arc<dyn Clock> = Arc::new(FixedClock::at(RELEASE_DATE));
    let tls = Roots::from_file(roots.as_ref()).unwrap().client_config(clock.clone());
    let timeouts = Timeouts { connect: PATIENT, idle: PATIENT };
    let client = HttpClient::through(proxies, &tls, timeouts, clock).unwrap();
    client.send(Request::new(Method::GET, url.parse().unwrap())).await
}

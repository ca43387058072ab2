//! The endpoint as an AWS SDK meets it: real HTTP on loopback, in front of the local cloud's provider.

use std::sync::Arc;

use http::Method;
use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use margay_localcloud::{CredentialsFault, Lasting};
use reqwest::{Request, Response};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::net::TcpStream;

use super::{Lender, PATH, TokenExchange};
use crate::clock::{Clock, SkewedClock, SystemClock};
use crate::credentials::fixture::Fixture;
use crate::credentials::{Roles, TokenRegistry};
use crate::http::listener::MAX_CONNECTIONS;
use crate::secret::Secret;

/// An endpoint, the cloud behind it, and one function with a token.
pub(super) struct Scene {
    pub(super) fixture: Fixture,
    pub(super) uri: String,
    pub(super) token: Secret,
    pub(super) tokens: Arc<TokenRegistry>,
    pub(super) roles: Roles,
    lender: Lender,
}

impl Scene {
    pub(super) async fn start() -> Self {
        Self::at(Arc::new(SystemClock::new())).await
    }

    pub(super) async fn at(clock: Arc<dyn Clock>) -> Self {
        let fixture = Fixture::start().await;
        let tokens = Arc::new(TokenRegistry::new());
        let roles = fixture.roles_at(clock);
        let exchange = TokenExchange::bind(0, roles.clone(), tokens.clone()).await.unwrap();
        let uri = exchange.uri();
        let lender = exchange.lender();
        let token = lender.lend("function-a").unwrap().token().clone();
        tokio::spawn(exchange.serve());
        Self { fixture, uri, token, tokens, roles, lender }
    }

    pub(super) async fn ask(&self, method: Method, uri: &str, token: Option<&str>) -> Response {
        let mut request = Request::new(method, uri.parse().unwrap());
        if let Some(token) = token {
            request.headers_mut().insert(AUTHORIZATION, token.parse().unwrap());
        }
        self.fixture.plain_tls(Arc::new(SystemClock::new())).send(request).await.unwrap()
    }

    pub(super) async fn get(&self) -> Response {
        self.ask(Method::GET, &self.uri, Some(self.token.expose())).await
    }
}

pub(super) async fn json(response: Response) -> serde_json::Value {
    assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

#[tokio::test]
async fn a_function_gets_the_four_fields_that_sdks_read() {
    let scene = Scene::start().await;
    assert!(scene.uri.starts_with("http://127.0.0.1:") && scene.uri.ends_with(PATH));
    let response = scene.get().await;
    assert_eq!(response.status(), 200);
    let document = json(response).await;
    let mut keys: Vec<_> = document.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["AccessKeyId", "Expiration", "SecretAccessKey", "Token"]);
    let expiration = OffsetDateTime::parse(document["Expiration"].as_str().unwrap(), &Rfc3339).unwrap();
    let life = expiration - OffsetDateTime::now_utc();
    assert!(life > time::Duration::minutes(59) && life <= time::Duration::minutes(60), "{life}");
    assert_eq!(expiration.nanosecond(), 0);
}

#[tokio::test]
async fn the_checks_come_in_the_nucleus_order_method_path_token() {
    let scene = Scene::start().await;
    let elsewhere = scene.uri.replace(PATH, "/2016-11-01/credentialprovider");
    let token = scene.token.expose().to_owned();
    for (method, uri, token, status, code) in [
        (Method::POST, &elsewhere, None, 405, "MethodNotAllowed"),
        (Method::PUT, &scene.uri, Some(token.as_str()), 405, "MethodNotAllowed"),
        (Method::GET, &elsewhere, None, 400, "InvalidPath"),
        (Method::GET, &elsewhere, Some(token.as_str()), 400, "InvalidPath"),
        (Method::GET, &scene.uri, None, 403, "AccessDenied"),
        (Method::GET, &scene.uri, Some("wrong"), 403, "AccessDenied"),
        (Method::GET, &scene.uri, Some(""), 403, "AccessDenied"),
    ] {
        let response = scene.ask(method.clone(), uri, token).await;
        assert_eq!(response.status(), status, "{method} {uri}");
        assert_eq!(response.headers().contains_key(ALLOW), status == 405);
        let document = json(response).await;
        assert_eq!(document["code"], code);
        assert!(document["message"].is_string());
    }
    let bearer = format!("Bearer {token}");
    assert_eq!(scene.ask(Method::GET, &scene.uri, Some(&bearer)).await.status(), 403, "the token stands alone");
    assert_eq!(scene.ask(Method::HEAD, &scene.uri, Some(&token)).await.status(), 405);
    assert_eq!(scene.fixture.cloud.counters().served().credentials, 0, "nobody was let through");
}

#[tokio::test]
async fn a_revoked_token_opens_nothing() {
    let scene = Scene::start().await;
    assert_eq!(scene.get().await.status(), 200);
    scene.tokens.revoke("function-a");
    assert_eq!(scene.get().await.status(), 403);
}

#[tokio::test]
async fn a_provider_that_refuses_is_a_503_with_code_message_and_time_to_wait() {
    let scene = Scene::start().await;
    scene.fixture.cloud.faults().credentials(CredentialsFault::Status(403), Lasting::UntilCleared);
    let response = scene.get().await;
    assert_eq!(response.status(), 503);
    let wait: u64 = response.headers()[RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((100..=121).contains(&wait), "{wait}");
    let document = json(response).await;
    assert_eq!(document["code"], "ProviderRefused");
    assert!(document["message"].as_str().unwrap().contains("iot:AssumeRoleWithCertificate"), "{document}");
}

#[tokio::test]
async fn a_provider_that_keeps_silent_is_a_504_before_sdks_give_up() {
    let scene = Scene::start().await;
    scene.fixture.cloud.faults().credentials(CredentialsFault::Hang, Lasting::UntilCleared);
    let response = scene.get().await;
    assert_eq!(response.status(), 504);
    assert_eq!(response.headers()[RETRY_AFTER], "1");
    assert_eq!(json(response).await["code"], "ProviderSlow");
}

#[tokio::test]
async fn the_expiration_is_told_in_the_devices_own_time() {
    let ahead = time::Duration::days(3650);
    let scene = Scene::at(Arc::new(SkewedClock::by(ahead))).await;
    let document = json(scene.get().await).await;
    let expiration = OffsetDateTime::parse(document["Expiration"].as_str().unwrap(), &Rfc3339).unwrap();
    let life = expiration - (OffsetDateTime::now_utc() + ahead);
    assert!((life - time::Duration::hours(1)).abs() < time::Duration::minutes(1), "an SDK would see {life}");
}

#[tokio::test]
async fn neighbours_that_connect_and_say_nothing_do_not_keep_others_out() {
    let scene = Scene::start().await;
    let address = scene.uri.trim_start_matches("http://").trim_end_matches(PATH).to_owned();
    let mut silent = Vec::new();
    for _ in 0..MAX_CONNECTIONS * 3 {
        silent.push(TcpStream::connect(&address).await.unwrap());
    }
    assert_eq!(scene.get().await.status(), 200);
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let fixture = Fixture::start().await;
    let error =
        TokenExchange::bind(port, fixture.roles_at(Arc::new(SystemClock::new())), Arc::default()).await.unwrap_err();
    assert!(error.to_string().contains(&port.to_string()), "{error}");
}

#[tokio::test]
async fn nonsense_from_the_provider_is_a_500_that_does_not_quote_it() {
    let scene = Scene::start().await;
    scene.fixture.cloud.faults().credentials(CredentialsFault::Garbage, Lasting::UntilCleared);
    let response = scene.get().await;
    assert_eq!(response.status(), 500);
    assert!(response.headers().contains_key(RETRY_AFTER));
    let document = json(response).await;
    assert_eq!(document["code"], "ProviderMalformed");
    assert!(!document.to_string().contains("html"), "{document}");
}

#[tokio::test]
async fn another_listener_on_loopback_is_served_and_one_on_another_address_refused() {
    let scene = Scene::start().await;
    let listener = std::net::TcpListener::bind("127.0.0.5:0").unwrap();
    let lease = scene.lender.lend_on(listener.local_addr().unwrap(), "function-b").unwrap();
    let lender = scene.lender.clone();
    tokio::spawn(async move { lender.serve_on(listener).await });
    assert_eq!(scene.ask(Method::GET, lease.uri(), Some(lease.token().expose())).await.status(), 200);
    scene.lender.take_back("function-b");
    assert_eq!(scene.ask(Method::GET, lease.uri(), Some(lease.token().expose())).await.status(), 403);

    let everywhere = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let refused = scene.lender.serve_on(everywhere).await.unwrap_err();
    assert!(refused.to_string().contains("loopback only"), "{refused}");
}

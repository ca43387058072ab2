//! The eighteen cases that the Greengrass nucleus tests its credential handler with, by our answers to them: the same
//! statuses and pauses, and where ours differ the name says how.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::header::RETRY_AFTER;
use margay_localcloud::{CredentialsFault, Lasting};
use time::OffsetDateTime;

use super::PATH;
use super::tests::{Scene, json};
use crate::clock::FixedClock;
use crate::config::CredentialRetry;
use crate::credentials::fixture::settings;
use crate::credentials::{CredentialsProvider, ProviderSettings};
use crate::http::testing_proxy::TestingProxy;

fn clock() -> Arc<FixedClock> {
    Arc::new(FixedClock::at(OffsetDateTime::now_utc()))
}

/// A scene whose provider refuses once with `status`, and that refusal.
async fn refused_once(status: u16) -> (Scene, Arc<FixedClock>) {
    let clock = clock();
    let scene = Scene::at(clock.clone()).await;
    scene.fixture.cloud.faults().credentials(CredentialsFault::Status(status), Lasting::Next(1));
    let response = scene.get().await;
    assert_eq!(response.status(), 503);
    let document = json(response).await;
    assert!(document["message"].as_str().unwrap().contains(&status.to_string()), "{document}");
    (scene, clock)
}

/// The refusal is remembered until just before `seconds`, and the provider is asked again then.
async fn is_remembered_for(status: u16, seconds: u64) {
    let (scene, clock) = refused_once(status).await;
    clock.advance(Duration::from_secs(seconds) - Duration::from_millis(1));
    assert_eq!(scene.get().await.status(), 503, "{status} is remembered");
    assert_eq!(scene.roles.core().state().fetches, 1, "{status}: the provider is left alone");
    clock.advance(Duration::from_millis(1));
    assert_eq!(scene.get().await.status(), 200, "{status} is forgotten");
}

#[tokio::test]
async fn case_01_credentials_are_got_from_the_provider() {
    let scene = Scene::start().await;
    let credentials = scene.roles.core().get().await.unwrap();
    assert!(credentials.access_key_id.starts_with("ASIA"));
}

#[tokio::test]
async fn case_02_the_handler_answers_with_them() {
    let scene = Scene::start().await;
    let document = json(scene.get().await).await;
    let held = scene.roles.core().get().await.unwrap();
    assert_eq!(document["AccessKeyId"], held.access_key_id);
    assert_eq!(document["SecretAccessKey"], held.secret_access_key.expose());
    assert_eq!(document["Token"], held.session_token.expose());
}

#[tokio::test]
async fn case_03_every_other_verb_is_a_405() {
    let scene = Scene::start().await;
    for method in ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let response = scene.ask(method.clone(), &scene.uri, Some(scene.token.expose())).await;
        assert_eq!(response.status(), 405, "{method}");
    }
}

#[tokio::test]
async fn case_04_every_other_path_is_a_400() {
    let scene = Scene::start().await;
    for path in [
        "/",
        "",
        "/2016-11-01/credentialprovider",
        "/2016-11-01/credentialprovider/x",
        "/2016-11-02/credentialprovider/",
    ] {
        let uri = scene.uri.replace(PATH, path);
        assert_eq!(scene.ask(Method::GET, &uri, Some(scene.token.expose())).await.status(), 400, "{path}");
    }
}

#[tokio::test]
async fn case_05_an_unknown_token_is_a_403() {
    let scene = Scene::start().await;
    for token in ["0".repeat(64), "token".to_owned(), scene.token.expose()[..63].to_owned()] {
        assert_eq!(scene.ask(Method::GET, &scene.uri, Some(&token)).await.status(), 403);
    }
}

#[tokio::test]
async fn case_06_no_token_is_a_403() {
    let scene = Scene::start().await;
    assert_eq!(scene.ask(Method::GET, &scene.uri, None).await.status(), 403);
}

#[tokio::test]
async fn case_07_a_token_that_was_taken_back_is_a_403() {
    let scene = Scene::start().await;
    scene.tokens.revoke("function-a");
    assert_eq!(scene.get().await.status(), 403);
}

#[tokio::test]
async fn case_08_credentials_are_kept_and_the_provider_asked_once() {
    let scene = Scene::start().await;
    let first = json(scene.get().await).await;
    assert_eq!(json(scene.get().await).await["AccessKeyId"], first["AccessKeyId"]);
    assert_eq!(scene.fixture.cloud.counters().served().credentials, 1);
}

#[tokio::test]
async fn case_09_credentials_whose_time_is_over_are_replaced() {
    let clock = clock();
    let scene = Scene::at(clock.clone()).await;
    let first = json(scene.get().await).await;
    clock.advance(Duration::from_secs(3601));
    assert_ne!(json(scene.get().await).await["AccessKeyId"], first["AccessKeyId"]);
}

#[tokio::test]
async fn case_10_credentials_of_less_than_five_minutes_are_kept_to_their_end_instead_of_fetched_for_every_request() {
    let scene = Scene::start().await;
    scene.fixture.cloud.set_credential_lifetime(Duration::from_secs(200));
    let first = json(scene.get().await).await;
    assert_eq!(json(scene.get().await).await["AccessKeyId"], first["AccessKeyId"]);
    assert_eq!(scene.fixture.cloud.counters().served().credentials, 1);
}

#[tokio::test]
async fn case_11_credentials_that_have_ended_already_are_a_500() {
    let scene = Scene::start().await;
    scene.fixture.cloud.set_credential_lifetime(Duration::ZERO);
    let response = scene.get().await;
    assert_eq!(response.status(), 500);
    assert_eq!(json(response).await["code"], "ProviderExpired");
}

#[tokio::test]
async fn case_12_a_client_error_is_remembered_for_two_minutes() {
    for status in [400, 403, 404, 429] {
        is_remembered_for(status, 120).await;
    }
}

#[tokio::test]
async fn case_13_a_server_error_is_remembered_for_one_minute() {
    for status in [500, 502, 503] {
        is_remembered_for(status, 60).await;
    }
}

#[tokio::test]
async fn case_14_any_other_status_is_remembered_for_five_minutes() {
    for status in [204, 301, 302] {
        is_remembered_for(status, 300).await;
    }
}

#[tokio::test]
async fn case_15_pauses_are_tunable() {
    let clock = clock();
    let scene = Scene::at(clock.clone()).await;
    let retry = CredentialRetry { client_error: Duration::from_secs(10), ..CredentialRetry::default() };
    scene.roles.change(ProviderSettings { retry, ..settings(&scene.fixture) }, Default::default());
    scene.fixture.cloud.faults().credentials(CredentialsFault::Status(403), Lasting::Next(1));
    let response = scene.get().await;
    assert_eq!(response.headers()[RETRY_AFTER], "11", "a second more than the pause, so that it is over");
    clock.advance(Duration::from_secs(10));
    assert_eq!(scene.get().await.status(), 200);
}

#[tokio::test]
async fn case_16_a_reset_connection_is_tried_again_at_once_and_none_at_all_after_a_second_and_not_five_minutes() {
    let clock = clock();
    let scene = Scene::at(clock.clone()).await;
    let port = scene.fixture.cloud.credentials_endpoint().rsplit_once(':').unwrap().1.parse().unwrap();
    let resets = Arc::new(std::sync::atomic::AtomicU32::new(1));
    let left = resets.clone();
    let front = TestingProxy::start_as_relay(port, move || {
        left.fetch_update(std::sync::atomic::Ordering::SeqCst, std::sync::atomic::Ordering::SeqCst, |n| {
            n.checked_sub(1)
        })
        .is_ok()
    })
    .await;
    // Each with a client of its own, whose connections are new.
    let provider = || {
        let endpoint = format!("localhost:{front}").parse().unwrap();
        let settings = ProviderSettings { endpoint, ..settings(&scene.fixture) };
        CredentialsProvider::new(settings, scene.fixture.mutual_tls(clock.clone()))
    };
    let first = provider();
    first.get().await.expect("one reset is passed over");
    assert_eq!(first.state().failures, 0);

    resets.store(2, std::sync::atomic::Ordering::SeqCst);
    let second = provider();
    second.get().await.unwrap_err();
    let pause = second.state().next_try_in.unwrap();
    assert!(pause >= Duration::from_secs(1) && pause <= Duration::from_secs(2), "{pause:?}");
    clock.advance(pause);
    second.get().await.expect("the connection is back");
}

#[tokio::test]
async fn case_17_an_answer_that_cannot_be_read_is_a_500_without_a_word_of_it() {
    let scene = Scene::start().await;
    scene.fixture.cloud.faults().credentials(CredentialsFault::Garbage, Lasting::Next(1));
    let response = scene.get().await;
    assert_eq!(response.status(), 500);
    let document = json(response).await;
    assert_eq!(document["code"], "ProviderMalformed");
    assert!(!document.to_string().contains("html"), "{document}");
}

#[tokio::test]
async fn case_18_requests_that_come_together_are_one_call_to_the_provider() {
    let scene = Arc::new(Scene::start().await);
    let requests: Vec<_> = (0..16)
        .map(|_| {
            let scene = scene.clone();
            tokio::spawn(async move { json(scene.get().await).await["AccessKeyId"].clone() })
        })
        .collect();
    let mut ids = Vec::new();
    for request in requests {
        ids.push(request.await.unwrap());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(scene.fixture.cloud.counters().served().credentials, 1);
}

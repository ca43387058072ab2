//! The provider against the local cloud: every promise of `credentials`, over real mutual TLS.

use std::sync::Arc;
use std::time::Duration;

use margay_localcloud::{CredentialsFault, Lasting};
use time::OffsetDateTime;

use super::fixture::{Fixture, identity_files, settings};
use super::{CredentialsError, CredentialsProvider, ProviderSettings};
use crate::clock::{Clock, FixedClock, SystemClock};
use crate::http::testing_proxy::{TestingProxy, Verdict};
use crate::http::{HttpClient, Timeouts, TransportCause};
use crate::identity::Identity;

fn refusal(error: CredentialsError) -> super::Refusal {
    match error {
        CredentialsError::Refused { refusal, .. } => refusal,
        error => panic!("expected a refusal, got {error:?}"),
    }
}

fn cause(error: &CredentialsError) -> TransportCause {
    match error {
        CredentialsError::Unreachable { source, .. } => source.cause.clone(),
        error => panic!("expected a transport error, got {error:?}"),
    }
}

#[tokio::test]
async fn the_device_certificate_is_exchanged_for_credentials_once_and_they_are_kept() {
    let fixture = Fixture::start().await;
    let provider = fixture.provider();
    assert!(provider.state().access_key_id.is_none());

    let first = provider.get().await.unwrap();
    let second = provider.get().await.unwrap();

    assert_eq!(first.access_key_id, second.access_key_id);
    assert_eq!(fixture.cloud.counters().served().credentials, 1);
    let state = provider.state();
    assert_eq!(state.access_key_id.as_deref(), Some(first.access_key_id.as_str()));
    assert!(state.expires_in.unwrap() > Duration::from_secs(3500));
    assert_eq!((state.fetches, state.failures), (1, 0));
}

#[tokio::test]
async fn callers_that_come_together_share_one_request() {
    let fixture = Fixture::start().await;
    let provider = fixture.provider();
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let provider = provider.clone();
            tokio::spawn(async move { provider.get().await.unwrap().access_key_id })
        })
        .collect();
    let mut ids = Vec::new();
    for caller in callers {
        ids.push(caller.await.unwrap());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(fixture.cloud.counters().served().credentials, 1);
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_interrupt_the_fetch() {
    let fixture = Fixture::start().await;
    let provider = fixture.provider();
    let mut impatient = Box::pin(provider.get());
    // Polled once, the call has started the fetch; then it is dropped.
    assert!(poll_once(&mut impatient).await.is_none());
    drop(impatient);
    provider.get().await.unwrap();
    assert_eq!(provider.state().fetches, 1);
}

async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|cx| match std::pin::Pin::new(&mut *future).poll(cx) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

#[tokio::test]
async fn a_403_quotes_the_provider_and_names_the_likely_causes() {
    let fixture = Fixture::start().await;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let wrong_alias = fixture.provider_with(|settings| settings.role_alias = "Other".parse().unwrap(), clock.clone());
    let error = wrong_alias.get().await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("403 \"Access Denied\"") && text.contains("iot:AssumeRoleWithCertificate"), "{text}");

    let wrong_thing = fixture.provider_with(|settings| settings.thing = "core-2".parse().unwrap(), clock);
    let refusal = refusal(wrong_thing.get().await.unwrap_err());
    assert_eq!(refusal.message.as_deref(), Some("Invalid thing name passed"));
    assert!(refusal.remedy().contains("thing name"), "{}", refusal.remedy());
}

#[tokio::test]
async fn after_a_refusal_the_provider_is_left_alone_for_the_pause_of_its_class() {
    for (status, pause) in [(400, 120), (403, 120), (500, 60), (503, 60), (302, 300)] {
        let fixture = Fixture::start().await;
        let clock = Arc::new(FixedClock::at(OffsetDateTime::now_utc()));
        let provider = fixture.provider_at(clock.clone());
        fixture.cloud.faults().credentials(CredentialsFault::Status(status), Lasting::Next(1));
        assert_eq!(refusal(provider.get().await.unwrap_err()).status, status);
        clock.advance(Duration::from_secs(pause - 1));
        assert_eq!(refusal(provider.get().await.unwrap_err()).status, status, "remembered");
        assert_eq!(provider.state().fetches, 1, "{status}: not asked again");
        assert_eq!(provider.state().next_try_in, Some(Duration::from_secs(1)));
        clock.advance(Duration::from_secs(1));
        provider.get().await.unwrap();
        assert!(provider.state().error.is_none());
    }
}

#[tokio::test]
async fn credentials_are_served_to_their_end_while_the_provider_is_down_and_renewed_after_it_is_back() {
    let fixture = Fixture::start().await;
    let clock = Arc::new(FixedClock::at(OffsetDateTime::now_utc()));
    let provider = fixture.provider_at(clock.clone());
    let first = provider.get().await.unwrap();

    fixture.cloud.faults().credentials(CredentialsFault::Status(503), Lasting::UntilCleared);
    clock.advance(Duration::from_secs(3590));
    assert_eq!(provider.get().await.unwrap().access_key_id, first.access_key_id, "still valid");
    clock.advance(Duration::from_secs(20));
    assert_eq!(refusal(provider.get().await.unwrap_err()).status, 503, "over");

    fixture.cloud.faults().clear();
    clock.advance(Duration::from_secs(60));
    assert_ne!(provider.get().await.unwrap().access_key_id, first.access_key_id);
}

#[tokio::test]
async fn the_background_task_renews_ahead_of_expiry() {
    let fixture = Fixture::start().await;
    let clock = Arc::new(FixedClock::at(OffsetDateTime::now_utc()));
    let provider = fixture.provider_at(clock.clone());
    let background = tokio::spawn({
        let provider = provider.clone();
        async move { provider.run().await }
    });
    fixture.cloud.counters().wait_until(|served| served.credentials == 1).await;
    let first = provider.get().await.unwrap();
    clock.advance(Duration::from_secs(2600));
    provider.retry_now();
    fixture.cloud.counters().wait_until(|served| served.credentials == 2).await;
    let second = provider.get_other_than(&first).await.unwrap();
    assert_ne!(first.access_key_id, second.access_key_id);
    background.abort();
}

#[tokio::test]
async fn a_service_that_refused_the_credentials_gets_others() {
    let fixture = Fixture::start().await;
    let provider = fixture.provider();
    let first = provider.get().await.unwrap();
    let second = provider.get_other_than(&first).await.unwrap();
    assert_ne!(first.access_key_id, second.access_key_id);
    assert_eq!(provider.get_other_than(&first).await.unwrap().access_key_id, second.access_key_id, "renewed already");
    assert_eq!(provider.state().fetches, 2);
}

#[tokio::test]
async fn a_200_without_credentials_is_refused_without_quoting_it() {
    let fixture = Fixture::start().await;
    fixture.cloud.faults().credentials(CredentialsFault::Garbage, Lasting::Next(1));
    let error = fixture.provider().get().await.unwrap_err();
    assert!(matches!(error, CredentialsError::Malformed { .. }));
    assert!(!error.to_string().contains("html") && error.to_string().contains("iot:CredentialProvider"), "{error}");
}

#[tokio::test]
async fn a_device_that_believes_it_is_1970_or_ten_years_ahead_gets_credentials_of_the_right_age() {
    let fixture = Fixture::start().await;
    for system in [OffsetDateTime::UNIX_EPOCH, OffsetDateTime::now_utc() + time::Duration::days(3650)] {
        let clock = Arc::new(FixedClock::at(system));
        let provider = fixture.provider_at(clock.clone());
        let credentials = provider.get().await.unwrap();
        let life = credentials.expires_at - clock.boottime();
        assert!(life > Duration::from_secs(3590) && life <= Duration::from_secs(3601), "{life:?}");
        assert!((clock.now() - OffsetDateTime::now_utc()).abs() < time::Duration::minutes(1), "the clock has learnt");
    }
}

#[tokio::test]
async fn credentials_that_are_over_on_arrival_are_refused() {
    let fixture = Fixture::start().await;
    fixture.cloud.set_credential_lifetime(Duration::ZERO);
    let error = fixture.provider().get().await.unwrap_err();
    assert!(matches!(error, CredentialsError::AlreadyExpired { .. }), "{error}");
}

#[tokio::test]
async fn connection_failures_are_classified_and_retried_with_growing_pauses() {
    let fixture = Fixture::start().await;
    let refused = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let clock = Arc::new(FixedClock::at(OffsetDateTime::now_utc()));
    let change = |settings: &mut ProviderSettings| settings.endpoint = refused.to_string().parse().unwrap();
    let provider = fixture.provider_with(change, clock.clone());

    assert_eq!(cause(&provider.get().await.unwrap_err()), TransportCause::Refused);
    let pause = provider.state().next_try_in.unwrap();
    assert!(pause >= Duration::from_secs(1) && pause <= Duration::from_secs(2), "{pause:?}");
    for _ in 0..12 {
        clock.advance(provider.state().next_try_in.unwrap());
        provider.get().await.unwrap_err();
    }
    assert!(provider.state().next_try_in.unwrap() <= Duration::from_secs(300));
    assert_eq!(provider.state().failures, 13);
    assert_eq!(provider.state().failures_by_class, [("ProviderUnreachable", 13)].into());
    provider.get().await.unwrap_err();
    assert_eq!(provider.state().fetches, 13, "left alone");
    provider.retry_now();
    provider.get().await.unwrap_err();
    assert_eq!(provider.state().fetches, 14, "the network came back");
}

#[tokio::test]
async fn what_tls_says_is_translated_into_what_to_do() {
    let fixture = Fixture::start().await;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());

    // The server's authority is another one.
    let other = Fixture::start().await;
    let mut files = identity_files(&fixture.device);
    files.ca = other.device.ca.clone();
    let provider = provider_showing(&fixture, &files, clock.clone());
    assert_eq!(cause(&provider.get().await.unwrap_err()), TransportCause::ServerUntrusted);

    // The device's certificate is from another authority.
    let mut files = identity_files(&other.device);
    files.ca = fixture.device.ca.clone();
    let provider = provider_showing(&fixture, &files, clock.clone());
    let error = provider.get().await.unwrap_err();
    assert!(matches!(cause(&error), TransportCause::DeviceRefused(_)), "{error:?}");

    // No certificate at all.
    let settings = settings(&fixture);
    let nameless = CredentialsProvider::new(settings, fixture.plain_tls(clock));
    let error = nameless.get().await.unwrap_err();
    assert!(matches!(cause(&error), TransportCause::DeviceRefused(_)), "{error:?}");
}

fn provider_showing(
    fixture: &Fixture,
    files: &crate::identity::IdentityFiles,
    clock: Arc<dyn Clock>,
) -> CredentialsProvider {
    let tls = Identity::load(files).unwrap().client_config(&[], clock.clone());
    let http = HttpClient::new(&tls, Timeouts::default(), clock).unwrap();
    CredentialsProvider::new(settings(fixture), http)
}

#[tokio::test]
async fn a_certificate_that_was_revoked_keeps_no_way_in_but_its_last_credentials() {
    let fixture = Fixture::start().await;
    let clock = Arc::new(FixedClock::at(OffsetDateTime::now_utc()));
    let provider = fixture.provider_at(clock.clone());
    provider.get().await.unwrap();
    fixture.cloud.revoke(&fixture.device.certificate_id);
    provider.get().await.unwrap();
    clock.advance(Duration::from_secs(3601));
    assert_eq!(refusal(provider.get().await.unwrap_err()).status, 403);
}

#[tokio::test]
async fn no_secret_reaches_debug_or_an_error() {
    let fixture = Fixture::start().await;
    let provider = fixture.provider();
    let credentials = provider.get().await.unwrap();
    let shown = format!("{provider:?} {credentials:?} {:?}", provider.state());
    assert!(!shown.contains(credentials.secret_access_key.expose()));
    assert!(!shown.contains(credentials.session_token.expose()));
}

#[tokio::test]
async fn another_role_alias_thing_or_endpoint_drops_the_credentials_and_every_refusal() {
    let fixture = Fixture::start().await;
    fixture.cloud.add_role_alias("Other");
    let clock = Arc::new(FixedClock::at(OffsetDateTime::now_utc()));
    let provider = fixture.provider_at(clock.clone());
    let first = provider.get().await.unwrap();
    provider.change(ProviderSettings { role_alias: "Other".parse().unwrap(), ..settings(&fixture) });
    assert!(provider.state().access_key_id.is_none(), "nobody gets another role's credentials");
    assert_ne!(provider.get().await.unwrap().access_key_id, first.access_key_id);

    provider.change(ProviderSettings { thing: "core-2".parse().unwrap(), ..settings(&fixture) });
    assert_eq!(refusal(provider.get().await.unwrap_err()).status, 403);
    provider.change(settings(&fixture));
    provider.get().await.expect("the refusal was of the other thing");
}

#[tokio::test]
async fn another_certificate_key_and_authority_are_used_from_the_next_request_on() {
    let fixture = Fixture::start().await;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let http = fixture.mutual_tls(clock.clone());
    let provider = CredentialsProvider::new(settings(&fixture), http.clone());
    let first = provider.get().await.unwrap();

    // The certificate is exchanged for another one of the same thing, as a rotation does, and the old one revoked.
    let folder = fixture.directory.path().join("rotated");
    let rotated = fixture.cloud.provision_thing("core-1", &folder).unwrap();
    fixture.cloud.revoke(&fixture.device.certificate_id);
    let tls = Identity::load(&identity_files(&rotated)).unwrap().client_config(&[], clock.clone());
    http.change_tls(&tls).unwrap();
    provider.change(settings(&fixture));
    assert_eq!(provider.get().await.unwrap().access_key_id, first.access_key_id, "served until they are renewed");
    let background = tokio::spawn({
        let provider = provider.clone();
        async move { provider.run().await }
    });
    fixture.cloud.counters().wait_until(|served| served.credentials == 2).await;
    background.abort();

    // Another authority: the server is not believed any more.
    let other = Fixture::start().await;
    let mut files = identity_files(&rotated);
    files.ca = other.device.ca.clone();
    http.change_tls(&Identity::load(&files).unwrap().client_config(&[], clock)).unwrap();
    provider.change(ProviderSettings { role_alias: "Another".parse().unwrap(), ..settings(&fixture) });
    assert_eq!(cause(&provider.get().await.unwrap_err()), TransportCause::ServerUntrusted);
}

#[tokio::test]
async fn credentials_are_fetched_from_aws_own_names_through_a_proxy() {
    let fixture = Fixture::start().await;
    let port = fixture.cloud.credentials_endpoint().rsplit_once(':').unwrap().1.parse().unwrap();
    let proxy = TestingProxy::start(move |_| Verdict::To(port)).await;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let tls = fixture.identity().client_config(&[], clock.clone());
    let http = HttpClient::through(proxy.setting(), &tls, Timeouts::default(), clock).unwrap();
    let endpoint = "c1x.credentials.iot.eu-central-1.amazonaws.com".parse().unwrap();
    let provider = CredentialsProvider::new(ProviderSettings { endpoint, ..settings(&fixture) }, http);
    provider.get().await.unwrap();
    assert!(proxy.heard()[0].starts_with("CONNECT c1x.credentials.iot.eu-central-1.amazonaws.com:443 HTTP/1.1"));
}

#[tokio::test]
async fn a_proxy_over_tls_is_trusted_by_the_same_authorities() {
    let fixture = Fixture::start().await;
    let port = fixture.cloud.credentials_endpoint().rsplit_once(':').unwrap().1.parse().unwrap();
    let (proxy, authority) = TestingProxy::start_with_tls(move |_| Verdict::To(port)).await;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let endpoint: crate::name::Endpoint = "c1x.credentials.iot.eu-central-1.amazonaws.com".parse().unwrap();
    let through = |files: &crate::identity::IdentityFiles| {
        let tls = Identity::load(files).unwrap().client_config(&[], clock.clone());
        let http = HttpClient::through(proxy.setting(), &tls, Timeouts::default(), clock.clone()).unwrap();
        CredentialsProvider::new(ProviderSettings { endpoint: endpoint.clone(), ..settings(&fixture) }, http)
    };
    let mut files = identity_files(&fixture.device);
    let error = through(&files).get().await.unwrap_err();
    assert_eq!(cause(&error), TransportCause::ServerUntrusted, "{error:?}");
    assert!(proxy.heard().is_empty(), "it was told nothing");

    let both = std::fs::read_to_string(&files.ca).unwrap() + &authority;
    files.ca = fixture.directory.path().join("both.pem");
    std::fs::write(&files.ca, both).unwrap();
    through(&files).get().await.unwrap();
    assert!(proxy.heard()[0].contains("Basic "), "{:?}", proxy.heard());
}

#[tokio::test]
async fn a_service_that_refuses_valid_credentials_takes_them_from_nobody_else_while_the_provider_is_down() {
    let fixture = Fixture::start().await;
    let provider = fixture.provider();
    let first = provider.get().await.unwrap();
    fixture.cloud.faults().credentials(CredentialsFault::Status(503), Lasting::UntilCleared);
    assert_eq!(refusal(provider.get_other_than(&first).await.unwrap_err()).status, 503);
    assert_eq!(provider.get().await.unwrap().access_key_id, first.access_key_id);
}

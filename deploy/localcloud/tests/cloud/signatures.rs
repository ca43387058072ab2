//! Which signatures S3 takes, and what it says to the others.

use std::time::Duration;

use crate::Scene;
use crate::signed::{Get, Keys, code};

async fn scene() -> (Scene, Keys) {
    let scene = Scene::open().await;
    let keys = Keys::of_new_thing(&scene).await;
    scene.cloud.put_object("models", "a", "object");
    (scene, keys)
}

async fn expect(scene: &Scene, get: &Get, keys: &Keys, expected: (u16, &str)) {
    let answer = get.send(scene, keys).await;
    assert_eq!((answer.status, code(&answer)), expected, "{}", answer.text());
}

#[tokio::test]
async fn a_request_without_a_signature_is_denied() {
    let (scene, _) = scene().await;
    let answer = Get::path_style(&scene, "/models/a").send_with(&scene, &[]).await;
    assert_eq!((answer.status, code(&answer)), (403, "AccessDenied"));
}

#[tokio::test]
async fn a_wrong_secret_does_not_match() {
    let (scene, keys) = scene().await;
    let keys = Keys { secret_access_key: "x".repeat(40), ..keys };
    expect(&scene, &Get::path_style(&scene, "/models/a"), &keys, (403, "SignatureDoesNotMatch")).await;
}

#[tokio::test]
async fn a_signature_holds_for_one_object_method_and_header_only() {
    let (scene, keys) = scene().await;
    let get = Get::path_style(&scene, "/models/a").with("range", "bytes=0-1");
    let signature = get.sign(&keys);
    let mut spoilt = [get.clone(), get.clone(), get.clone(), get.clone()];
    spoilt[0].target = "/models/b".to_owned();
    spoilt[1].method = "HEAD";
    spoilt[2].headers[0].1 = "bytes=0-2".to_owned();
    spoilt[3].target = "/models/a?versionId=v1".to_owned();
    for request in &spoilt {
        assert_eq!(request.send_with(&scene, &signature).await.status, 403, "{} {}", request.method, request.target);
    }
    assert_eq!(get.send_with(&scene, &signature).await.text(), "ob");
}

#[tokio::test]
async fn unknown_keys_and_wrong_tokens_are_told_apart() {
    let (scene, keys) = scene().await;
    let get = Get::path_style(&scene, "/models/a");
    let unknown = Keys { access_key_id: "ASIAAAAAAAAAAAAAAAAA".to_owned(), ..keys.clone() };
    expect(&scene, &get, &unknown, (403, "InvalidAccessKeyId")).await;
    let tokenless = Keys { session_token: None, ..keys.clone() };
    expect(&scene, &get, &tokenless, (403, "InvalidAccessKeyId")).await;
    let wrong = Keys { session_token: Some("d3Jvbmc=".to_owned()), ..keys.clone() };
    expect(&scene, &get, &wrong, (400, "InvalidToken")).await;
    scene.cloud.forget_credentials();
    expect(&scene, &get, &keys, (403, "InvalidAccessKeyId")).await;
}

#[tokio::test]
async fn an_expired_token_is_a_400_by_the_clouds_clock() {
    let scene = Scene::with(|settings| settings.credential_lifetime = Duration::from_secs(900)).await;
    let keys = Keys::of_new_thing(&scene).await;
    scene.cloud.put_object("models", "a", "object");
    assert_eq!(Get::path_style(&scene, "/models/a").send(&scene, &keys).await.status, 200);
    scene.cloud.faults().set_clock_offset(time::Duration::seconds(901));
    expect(&scene, &Get::path_style(&scene, "/models/a"), &keys, (400, "ExpiredToken")).await;
}

#[tokio::test]
async fn fifteen_minutes_of_skew_are_taken_and_more_are_not() {
    let (scene, keys) = scene().await;
    for (minutes, expected) in
        [(-14, (200, "")), (14, (200, "")), (-16, (403, "RequestTimeTooSkewed")), (16, (403, "RequestTimeTooSkewed"))]
    {
        let mut get = Get::path_style(&scene, "/models/a");
        get.at += time::Duration::minutes(minutes);
        let answer = get.send(&scene, &keys).await;
        assert_eq!((answer.status, code(&answer)), expected, "{minutes} minutes off");
        if answer.status == 403 {
            assert!(answer.text().contains("<ServerTime>") && answer.header("date").is_some());
        }
    }
}

#[tokio::test]
async fn another_region_or_service_in_the_scope_is_malformed() {
    let (scene, keys) = scene().await;
    let mut region = Get::path_style(&scene, "/models/a");
    region.region = "us-east-1";
    expect(&scene, &region, &keys, (400, "AuthorizationHeaderMalformed")).await;
    assert!(region.send(&scene, &keys).await.text().contains("expecting 'eu-central-1'"));
    let mut service = Get::path_style(&scene, "/models/a");
    service.service = "execute-api";
    expect(&scene, &service, &keys, (400, "AuthorizationHeaderMalformed")).await;
}

#[tokio::test]
async fn a_payload_hash_of_another_body_is_refused() {
    let (scene, keys) = scene().await;
    let mut get = Get::path_style(&scene, "/models/a");
    get.body = b"a body that is not sent";
    expect(&scene, &get, &keys, (400, "XAmzContentSHA256Mismatch")).await;
}

#[tokio::test]
async fn an_amz_header_outside_the_signature_is_refused() {
    let (scene, keys) = scene().await;
    let get = Get::path_style(&scene, "/models/a");
    let mut signature = get.sign(&keys);
    signature.push(("x-amz-request-payer".to_owned(), "requester".to_owned()));
    let answer = get.send_with(&scene, &signature).await;
    assert_eq!((answer.status, code(&answer)), (403, "AccessDenied"));
    assert!(answer.text().contains("<HeadersNotSigned>x-amz-request-payer</HeadersNotSigned>"));
}

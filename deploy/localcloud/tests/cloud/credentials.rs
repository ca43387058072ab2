//! The credentials provider.

use std::time::Duration;

use margay_localcloud::{CredentialsFault, DeviceFiles, Lasting};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::Scene;
use crate::https::{self, Answer};

/// What a device that takes its files from `device` is told.
pub async fn ask(
    scene: &Scene,
    device: Option<&DeviceFiles>,
    alias: &str,
    thing: Option<&str>,
) -> std::io::Result<Answer> {
    let config = https::config(scene.cloud.ca(), device);
    let thing = thing.map(|thing| format!("\r\nx-amzn-iot-thingname: {thing}")).unwrap_or_default();
    let head = format!("GET /role-aliases/{alias}/credentials HTTP/1.1\r\nHost: localhost{thing}");
    https::request(config, "localhost", https::port(&scene.cloud.credentials_endpoint()), &head).await
}

fn expiration(answer: &Answer) -> OffsetDateTime {
    let document: Value = serde_json::from_slice(&answer.body).unwrap();
    OffsetDateTime::parse(document["credentials"]["expiration"].as_str().unwrap(), &Rfc3339).unwrap()
}

#[tokio::test]
async fn a_registered_thing_gets_credentials_in_aws_shape() {
    let scene = Scene::open().await;
    let device = scene.cloud.provision_thing("cat", &scene.path().join("device")).unwrap();
    let answer = ask(&scene, Some(&device), "MargayRole", Some("cat")).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let document: Value = serde_json::from_slice(&answer.body).unwrap();
    let credentials = document["credentials"].as_object().unwrap();
    let mut names: Vec<_> = credentials.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["accessKeyId", "expiration", "secretAccessKey", "sessionToken"]);
    let key = credentials["accessKeyId"].as_str().unwrap();
    assert!(key.len() == 20 && key.starts_with("ASIA"), "{key}");
    assert_eq!(credentials["secretAccessKey"].as_str().unwrap().len(), 40);
    assert!(credentials["expiration"].as_str().unwrap().ends_with('Z'));
    assert_eq!(scene.cloud.counters().served().credentials, 1);
}

#[tokio::test]
async fn the_header_may_be_left_out_but_not_name_another_thing() {
    let scene = Scene::open().await;
    let device = scene.cloud.provision_thing("cat", &scene.path().join("device")).unwrap();
    assert_eq!(ask(&scene, Some(&device), "MargayRole", None).await.unwrap().status, 200);
    let answer = ask(&scene, Some(&device), "MargayRole", Some("dog")).await.unwrap();
    assert_eq!((answer.status, answer.text()), (403, r#"{"message":"Invalid thing name passed"}"#));
}

#[tokio::test]
async fn an_unknown_alias_is_denied_as_at_aws() {
    let scene = Scene::open().await;
    let device = scene.cloud.provision_thing("cat", &scene.path().join("device")).unwrap();
    let answer = ask(&scene, Some(&device), "OtherRole", Some("cat")).await.unwrap();
    assert_eq!((answer.status, answer.text()), (403, r#"{"message":"Access Denied"}"#));
}

#[tokio::test]
async fn who_is_not_a_registered_thing_gets_nothing() {
    let scene = Scene::open().await;
    let stranger = scene.cloud.issue_unregistered("cat", &scene.path().join("stranger")).unwrap();
    let viewer = scene.cloud.issue_viewer("screen").unwrap();
    let revoked = scene.cloud.provision_thing("dog", &scene.path().join("dog")).unwrap();
    scene.cloud.revoke(&revoked.certificate_id);
    for device in [&stranger, &viewer, &revoked] {
        assert_eq!(ask(&scene, Some(device), "MargayRole", None).await.unwrap().status, 403);
    }
    assert_eq!(scene.cloud.counters().served().credentials, 0);
}

#[tokio::test]
async fn without_a_certificate_of_this_authority_there_is_no_connection() {
    let scene = Scene::open().await;
    let elsewhere = Scene::open().await;
    let foreign = elsewhere.cloud.provision_thing("cat", &elsewhere.path().join("device")).unwrap();
    assert!(ask(&scene, None, "MargayRole", None).await.is_err(), "no certificate");
    assert!(ask(&scene, Some(&foreign), "MargayRole", None).await.is_err(), "another authority's certificate");
}

#[tokio::test]
async fn date_and_expiration_follow_the_clouds_clock() {
    let scene = Scene::with(|settings| settings.credential_lifetime = Duration::from_secs(900)).await;
    let device = scene.cloud.provision_thing("cat", &scene.path().join("device")).unwrap();
    scene.cloud.faults().set_clock_offset(time::Duration::days(3650));
    let answer = ask(&scene, Some(&device), "MargayRole", Some("cat")).await.unwrap();
    let date: OffsetDateTime = httpdate::parse_http_date(answer.header("date").unwrap()).unwrap().into();
    let life = expiration(&answer) - date;
    assert!((899..=900).contains(&life.whole_seconds()), "credentials live {life}");
    let ahead = date - OffsetDateTime::now_utc();
    assert_eq!((ahead + time::Duration::hours(1)).whole_days(), 3650);
}

#[tokio::test]
async fn faults_are_served_as_often_as_asked() {
    let scene = Scene::open().await;
    let device = scene.cloud.provision_thing("cat", &scene.path().join("device")).unwrap();
    let faults = scene.cloud.faults();
    faults.credentials(CredentialsFault::Status(503), Lasting::Next(2));
    for expected in [503, 503, 200] {
        assert_eq!(ask(&scene, Some(&device), "MargayRole", None).await.unwrap().status, expected);
    }
    faults.credentials(CredentialsFault::Garbage, Lasting::UntilCleared);
    let answer = ask(&scene, Some(&device), "MargayRole", None).await.unwrap();
    assert!(answer.status == 200 && serde_json::from_slice::<Value>(&answer.body).is_err());
    faults.credentials(CredentialsFault::Hang, Lasting::UntilCleared);
    let hanging = tokio::time::timeout(Duration::from_millis(200), ask(&scene, Some(&device), "MargayRole", None));
    assert!(hanging.await.is_err(), "it answers although it hangs");
}

#[tokio::test]
async fn a_device_ten_years_ahead_still_trusts_the_cloud() {
    let scene = Scene::open().await;
    let device = scene.cloud.provision_thing("cat", &scene.path().join("device")).unwrap();
    let ten_years = Duration::from_secs(3653 * 24 * 3600);
    let config = https::config_at(scene.cloud.ca(), Some(&device), ten_years);
    let port = https::port(&scene.cloud.credentials_endpoint());
    let head = "GET /role-aliases/MargayRole/credentials HTTP/1.1\r\nHost: localhost";
    assert_eq!(https::request(config, "localhost", port, head).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_name_that_is_none_for_a_thing_is_refused() {
    let scene = Scene::open().await;
    for name in ["", "a/b", "..", "cat dog", &"x".repeat(129)] {
        assert!(scene.cloud.provision_thing(name, scene.path()).is_err(), "{name:?}");
    }
}

//! Objects over S3: addressing, ranges, conditions, versions and what faults do to bodies.

use std::time::Duration;

use margay_localcloud::{Lasting, S3Fault};

use crate::Scene;
use crate::signed::{Get, Keys, code};

/// A body in which every position is recognisable.
fn body(length: u32) -> Vec<u8> {
    (0..length).flat_map(|index| index.to_be_bytes()).take(length as usize).collect()
}

#[tokio::test]
async fn an_object_comes_back_whole_in_both_addressing_styles() {
    let scene = Scene::open().await;
    let keys = Keys::of_new_thing(&scene).await;
    let stored = scene.cloud.put_object("models", "dir/a b+c=ü.zip", body(300_000));
    let port = scene.cloud.s3_port();
    for (host, target) in [
        (format!("localhost:{port}"), "/models/dir/a%20b%2Bc%3D%C3%BC.zip"),
        (format!("models.s3.localhost:{port}"), "/dir/a%20b%2Bc%3D%C3%BC.zip"),
        ("models.s3.eu-central-1.amazonaws.com".to_owned(), "/dir/a%20b%2Bc%3D%C3%BC.zip"),
    ] {
        let answer = Get::at_host(&scene, host.clone(), target).send(&scene, &keys).await;
        assert_eq!(answer.status, 200, "{host}: {}", String::from_utf8_lossy(&answer.body));
        assert!(answer.body == body(300_000) && answer.is_complete());
        assert_eq!(answer.header("etag"), Some(stored.etag.as_str()));
        assert_eq!(answer.header("x-amz-version-id"), Some(stored.version_id.as_str()));
        assert_eq!(answer.header("accept-ranges"), Some("bytes"));
    }
    assert_eq!(scene.cloud.counters().served().s3_bytes, 900_000);
}

#[tokio::test]
async fn head_tells_everything_but_the_body() {
    let scene = Scene::open().await;
    let keys = Keys::of_new_thing(&scene).await;
    scene.cloud.put_object("models", "a", body(1000));
    let mut head = Get::path_style(&scene, "/models/a");
    head.method = "HEAD";
    let answer = head.send(&scene, &keys).await;
    assert_eq!((answer.status, answer.header("content-length"), answer.body.len()), (200, Some("1000"), 0));
    head.target = "/models/b".to_owned();
    let answer = head.send(&scene, &keys).await;
    assert_eq!((answer.status, answer.body.len()), (404, 0));
}

#[tokio::test]
async fn a_range_is_answered_with_that_range() {
    let scene = Scene::open().await;
    let keys = Keys::of_new_thing(&scene).await;
    scene.cloud.put_object("models", "a", body(1000));
    let answer = Get::path_style(&scene, "/models/a").with("range", "bytes=990-").send(&scene, &keys).await;
    assert_eq!((answer.status, answer.header("content-range")), (206, Some("bytes 990-999/1000")));
    assert_eq!(answer.body, body(1000)[990..]);
    let answer = Get::path_style(&scene, "/models/a").with("range", "bytes=1000-").send(&scene, &keys).await;
    assert_eq!((answer.status, code(&answer)), (416, "InvalidRange"));
}

#[tokio::test]
async fn conditions_are_evaluated() {
    let scene = Scene::open().await;
    let keys = Keys::of_new_thing(&scene).await;
    let first = scene.cloud.put_object("models", "a", "first");
    let second = scene.cloud.put_object("models", "a", "second");
    for (name, etag, expected) in [
        ("if-none-match", &second.etag, 304),
        ("if-none-match", &first.etag, 200),
        ("if-match", &second.etag, 200),
        ("if-match", &first.etag, 412),
    ] {
        let answer = Get::path_style(&scene, "/models/a").with(name, etag.as_str()).send(&scene, &keys).await;
        assert_eq!(answer.status, expected, "{name}: {etag}");
        if expected == 304 {
            assert!(answer.body.is_empty() && answer.header("etag") == Some(second.etag.as_str()));
        }
    }
}

#[tokio::test]
async fn an_older_version_stays_readable() {
    let scene = Scene::open().await;
    let keys = Keys::of_new_thing(&scene).await;
    let first = scene.cloud.put_object("models", "a", "first");
    scene.cloud.put_object("models", "a", "second");
    let answer =
        Get::path_style(&scene, &format!("/models/a?versionId={}", first.version_id)).send(&scene, &keys).await;
    assert_eq!((answer.status, answer.text()), (200, "first"));
    let answer = Get::path_style(&scene, "/models/a?versionId=none").send(&scene, &keys).await;
    assert_eq!((answer.status, code(&answer)), (404, "NoSuchVersion"));
}

#[tokio::test]
async fn what_is_not_there_or_not_allowed_is_said_in_s3s_words() {
    let scene = Scene::with(|settings| settings.readable = vec!["models/*".to_owned(), "absent/*".to_owned()]).await;
    let keys = Keys::of_new_thing(&scene).await;
    scene.cloud.put_object("models", "a", "");
    scene.cloud.put_object("secrets", "a", "");
    for (target, status, expected) in [
        ("/models/b", 404, "NoSuchKey"),
        ("/absent/a", 404, "NoSuchBucket"),
        ("/secrets/a", 403, "AccessDenied"),
        ("/models/", 501, "NotImplemented"),
        ("/models/%FF", 400, "InvalidURI"),
    ] {
        let answer = Get::path_style(&scene, target).send(&scene, &keys).await;
        assert_eq!((answer.status, code(&answer)), (status, expected), "{target}");
        assert_eq!(answer.header("content-type"), Some("application/xml"));
    }
    for (method, status, expected) in [("PUT", 403, "AccessDenied"), ("DELETE", 405, "MethodNotAllowed")] {
        let mut other = Get::path_style(&scene, "/models/a");
        other.method = method;
        let answer = other.send(&scene, &keys).await;
        assert_eq!((answer.status, code(&answer)), (status, expected), "{method}");
    }
}

#[tokio::test]
async fn a_truncated_body_ends_early_and_the_rest_can_be_fetched() {
    let scene = Scene::open().await;
    let keys = Keys::of_new_thing(&scene).await;
    scene.cloud.put_object("models", "a", body(200_000));
    scene.cloud.faults().s3(S3Fault::Truncate { after: 70_001 }, Lasting::Next(1));
    let first = Get::path_style(&scene, "/models/a").send(&scene, &keys).await;
    assert_eq!((first.status, first.header("content-length"), first.is_complete()), (200, Some("200000"), false));
    assert_eq!(first.body.len(), 70_001);
    let range = format!("bytes={}-", first.body.len());
    let rest = Get::path_style(&scene, "/models/a").with("range", range).send(&scene, &keys).await;
    assert_eq!([first.body, rest.body].concat(), body(200_000));
    scene.cloud.faults().s3(S3Fault::Truncate { after: 0 }, Lasting::Next(1));
    let head_only = Get::path_style(&scene, "/models/a").send(&scene, &keys).await;
    assert_eq!((head_only.status, head_only.body.len(), head_only.is_complete()), (200, 0, false));
}

#[tokio::test]
async fn a_corrupted_body_differs_in_one_byte_under_the_same_etag() {
    let scene = Scene::open().await;
    let keys = Keys::of_new_thing(&scene).await;
    let stored = scene.cloud.put_object("models", "a", body(1000));
    scene.cloud.faults().s3(S3Fault::Corrupt { offset: 500 }, Lasting::Next(1));
    let answer = Get::path_style(&scene, "/models/a").with("range", "bytes=100-").send(&scene, &keys).await;
    let differing: Vec<usize> = (0..900).filter(|&index| answer.body[index] != body(1000)[index + 100]).collect();
    assert_eq!((differing, answer.header("etag")), (vec![400], Some(stored.etag.as_str())));
}

#[tokio::test]
async fn statuses_hangs_and_slowness_can_be_asked_for() {
    let scene = Scene::open().await;
    let keys = Keys::of_new_thing(&scene).await;
    scene.cloud.put_object("models", "a", body(1000));
    let faults = scene.cloud.faults();
    for (fault, status, expected) in [
        (S3Fault::Status(503), 503, "SlowDown"),
        (S3Fault::Status(500), 500, "InternalError"),
        (S3Fault::ExpiredToken, 400, "ExpiredToken"),
    ] {
        faults.s3(fault, Lasting::Next(1));
        let answer = Get::path_style(&scene, "/models/a").send(&scene, &keys).await;
        assert_eq!((answer.status, code(&answer)), (status, expected));
    }
    faults.s3(S3Fault::Slow { bytes_per_second: 10_000 }, Lasting::Next(1));
    assert_eq!(Get::path_style(&scene, "/models/a").send(&scene, &keys).await.body, body(1000));
    faults.s3(S3Fault::Hang, Lasting::Next(1));
    let hanging = tokio::time::timeout(Duration::from_millis(200), async {
        Get::path_style(&scene, "/models/a").send(&scene, &keys).await
    });
    assert!(hanging.await.is_err(), "it answers although it hangs");
}

//! Downloads from the local cloud, which checks signatures as S3 does, and from a scripted server that lies.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use margay_localcloud::{Lasting, S3Fault};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{Download, DownloadError, Problem, Progress, Replace, S3Client, TrainingJobError, UploadError, Wanted};
use crate::clock::{Clock, FixedClock, SkewedClock, SystemClock};
use crate::config::{Addressing, S3, S3Endpoint};
use crate::credentials::fixture::Fixture;
use crate::http::testing_proxy::{TestingProxy, Verdict};
use crate::http::{HttpClient, Timeouts, TransportCause};
use crate::name::S3Uri;
use crate::package::Sha256Digest;
use crate::store::Store;

const BUCKET: &str = "greengrass-models";
const KEY: &str = "signs/model.tar.gz";

/// A cloud, a device, and a client of S3 there.
struct Scene {
    fixture: Fixture,
    client: S3Client,
}

fn uri() -> S3Uri {
    format!("s3://{BUCKET}/{KEY}").parse().unwrap()
}

/// Bytes that are not the same anywhere.
fn content(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(length as u64);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

fn settings(url: &str, addressing: Addressing) -> S3 {
    let (scheme, endpoint) = url.split_once("://").unwrap();
    let endpoint = S3Endpoint { tls: scheme == "https", endpoint: endpoint.parse().unwrap() };
    S3 {
        endpoint: Some(endpoint),
        region: "eu-central-1".parse().unwrap(),
        addressing,
        ca_path: None,
        max_bytes_per_second: None,
    }
}

impl Scene {
    async fn start() -> Self {
        Self::at(Arc::new(SystemClock::new())).await
    }

    /// AWS by its own names, which a proxy leads to the local cloud.
    async fn behind_aws_names() -> (Self, TestingProxy) {
        let fixture = Fixture::start_with(|settings| settings.writable = vec!["*".to_owned()]).await;
        let port = fixture.cloud.s3_port();
        let proxy = TestingProxy::start(move |_| Verdict::To(port)).await;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let tls = fixture.identity().roots().client_config(clock.clone());
        let http = HttpClient::through(proxy.setting(), &tls, Timeouts::default(), clock.clone()).unwrap();
        let settings = S3 { endpoint: None, ..settings("https://unused", Addressing::Virtual) };
        let client = client(&fixture, settings, http, clock);
        (Self { fixture, client }, proxy)
    }

    async fn at(clock: Arc<dyn Clock>) -> Self {
        let fixture = Fixture::start_with(|settings| settings.writable = vec![format!("{BUCKET}/*")]).await;
        let settings = settings(&fixture.cloud.s3_endpoint(), Addressing::Path);
        let client = client(&fixture, settings, fixture.plain_tls(clock.clone()), clock);
        Self { fixture, client }
    }

    fn put(&self, bytes: &[u8]) {
        self.fixture.cloud.put_object(BUCKET, KEY, bytes.to_vec());
    }

    fn fault(&self, fault: S3Fault, lasting: Lasting) {
        self.fixture.cloud.faults().s3(fault, lasting);
    }

    fn target(&self) -> PathBuf {
        self.fixture.directory.path().join("download")
    }

    async fn download(&self) -> Result<Download, DownloadError> {
        self.client.download(&uri(), &self.target(), None, |_| {}).await.map(Option::unwrap)
    }

    /// Downloads and compares the file and its digest with `expected`.
    async fn expect(&self, expected: &[u8]) -> Download {
        let download = self.download().await.unwrap_or_else(|error| panic!("{error:?}"));
        assert_eq!(std::fs::read(self.target()).unwrap(), expected);
        assert_eq!((download.bytes, download.sha256), (expected.len() as u64, Sha256Digest::of(expected)));
        download
    }

    async fn problem(&self) -> (Problem, String) {
        let error = self.download().await.unwrap_err();
        (error.problem().unwrap_or_else(|| panic!("{error:?}")), error.to_string())
    }
}

fn client(fixture: &Fixture, settings: S3, http: HttpClient, clock: Arc<dyn Clock>) -> S3Client {
    let pause = Duration::from_millis(1);
    S3Client::new(settings, http, fixture.provider_at(clock)).with_pauses(pause, pause)
}

#[tokio::test]
async fn an_object_is_downloaded_with_its_digest_and_version() {
    let scene = Scene::start().await;
    let bytes = content(1_000_000);
    scene.put(&bytes);
    let mut heard: Vec<Progress> = Vec::new();
    let target = scene.target();
    let download = scene.client.download(&uri(), &target, None, |progress| heard.push(progress)).await;
    let download = download.unwrap().unwrap();
    assert_eq!(download.sha256, Sha256Digest::of(&bytes));
    assert!(download.etag.is_some());
    assert!(heard.windows(2).all(|pair| pair[0].received < pair[1].received));
    assert_eq!(heard.last(), Some(&Progress { received: 1_000_000, total: Some(1_000_000) }));
}

#[tokio::test]
async fn an_object_that_has_not_changed_is_not_downloaded_again() {
    let scene = Scene::start().await;
    scene.put(&content(1000));
    let etag = scene.expect(&content(1000)).await.etag;
    let served = scene.fixture.cloud.counters().served().s3_bytes;
    let again = scene.client.download(&uri(), &scene.target(), etag.as_deref(), |_| {}).await.unwrap();
    assert_eq!(again, None);
    assert_eq!(scene.fixture.cloud.counters().served().s3_bytes, served);
    scene.put(&content(1001));
    let newer = scene.client.download(&uri(), &scene.target(), etag.as_deref(), |_| {}).await.unwrap();
    assert_eq!(newer.map(|download| download.bytes), Some(1001));
}

#[tokio::test]
async fn keys_with_any_character_are_signed_as_s3_verifies_them() {
    let scene = Scene::start().await;
    for key in ["dir/a b+c=ü.tar.gz", "a//b.zip", "100%.zip", "(1)~_-.!*'.zip", "a?b&c=d#e.zip", "日本/モデル.zip"]
    {
        scene.fixture.cloud.put_object(BUCKET, key, content(10));
        let uri: S3Uri = format!("s3://{BUCKET}/{key}").parse().unwrap();
        let download = scene.client.download(&uri, &scene.target(), None, |_| {}).await;
        assert_eq!(download.unwrap_or_else(|error| panic!("{key}: {error}")).unwrap().bytes, 10, "{key}");
    }
}

#[tokio::test]
async fn virtual_hosted_addresses_are_signed_as_s3_verifies_them() {
    let scene = Scene::start().await;
    scene.put(&content(10));
    let port = scene.fixture.cloud.s3_port();
    let host = format!("{BUCKET}.s3.localhost:{port}");
    if tokio::net::lookup_host(&host).await.is_err() {
        let enable = format!("let *.localhost resolve, e.g. `127.0.0.1 {BUCKET}.s3.localhost` in /etc/hosts");
        assert!(std::env::var_os("MARGAY_TEST_REQUIRE").is_none(), "{enable}");
        println!("skipped: name resolution: {enable}");
        return;
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let settings = settings(&format!("https://s3.localhost:{port}"), Addressing::Virtual);
    let client = client(&scene.fixture, settings, scene.fixture.plain_tls(clock.clone()), clock);
    let download = client.download(&uri(), &scene.target(), None, |_| {}).await.unwrap();
    assert_eq!(download.unwrap().bytes, 10);
}

#[tokio::test]
async fn a_download_that_breaks_off_goes_on_where_it_stopped() {
    let scene = Scene::start().await;
    let bytes = content(3_000_000);
    scene.put(&bytes);
    scene.fault(S3Fault::Truncate { after: 1_000_000 }, Lasting::Next(2));
    scene.expect(&bytes).await;
    let served = scene.fixture.cloud.counters().served();
    // What the dying connection had not delivered is asked for again; what had arrived is not.
    assert!(served.s3_bytes <= 3_500_000, "{} bytes were served for 3,000,000", served.s3_bytes);
    assert_eq!(served.s3, 3);
}

#[tokio::test]
async fn an_object_that_changes_while_it_comes_is_started_over_and_never_mixed() {
    let scene = Scene::start().await;
    let (old, new) = (content(2_000_000), content(2_000_001));
    scene.put(&old);
    scene.fault(S3Fault::Truncate { after: 500_000 }, Lasting::Next(1));
    let mut replaced = false;
    let target = scene.target();
    let replace = |_| {
        if !std::mem::replace(&mut replaced, true) {
            scene.put(&new);
        }
    };
    let download = scene.client.download(&uri(), &target, None, replace).await.unwrap().unwrap();
    assert_eq!(download.sha256, Sha256Digest::of(&new));
    assert_eq!(std::fs::read(&target).unwrap(), new);
}

#[tokio::test]
async fn an_expired_token_is_refreshed_and_the_download_goes_on() {
    let scene = Scene::start().await;
    scene.put(&content(1000));
    scene.fault(S3Fault::ExpiredToken, Lasting::Next(1));
    scene.expect(&content(1000)).await;
    assert_eq!(scene.fixture.cloud.counters().served().credentials, 2);

    scene.fault(S3Fault::ExpiredToken, Lasting::UntilCleared);
    let (problem, text) = scene.problem().await;
    assert_eq!(problem, Problem::CredentialsRefused);
    assert!(text.contains("400 ExpiredToken \"The provided token has expired.\""), "{text}");
    assert_eq!(scene.fixture.cloud.counters().served().credentials, 3, "refreshed once, not in a loop");
}

#[tokio::test]
async fn a_key_that_s3_does_not_know_is_replaced_once() {
    let scene = Scene::start().await;
    scene.put(&content(1000));
    scene.expect(&content(1000)).await;
    scene.fixture.cloud.forget_credentials();
    scene.expect(&content(1000)).await;
}

#[tokio::test]
async fn a_server_whose_clock_differs_is_signed_for_in_its_own_time() {
    let clock = Arc::new(FixedClock::at(OffsetDateTime::now_utc()));
    let scene = Scene::at(clock.clone()).await;
    scene.put(&content(1000));
    scene.expect(&content(1000)).await;
    scene.fixture.cloud.faults().set_clock_offset(time::Duration::minutes(20));
    scene.expect(&content(1000)).await;
    assert!(clock.skew() > time::Duration::minutes(19), "learnt from the answer that complained");
    assert_eq!(scene.fixture.cloud.counters().served().s3_refused, 1);
}

#[tokio::test]
async fn a_device_that_believes_it_is_1970_or_ten_years_ahead_still_gets_its_model() {
    for offset in [OffsetDateTime::UNIX_EPOCH - OffsetDateTime::now_utc(), time::Duration::days(3650)] {
        let scene = Scene::at(Arc::new(SkewedClock::by(offset))).await;
        scene.put(&content(1000));
        scene.expect(&content(1000)).await;
        assert_eq!(scene.fixture.cloud.counters().served().s3_refused, 0, "the provider's date was enough");
    }
}

#[tokio::test]
async fn what_s3_refuses_is_named_with_bucket_key_endpoint_status_and_remedy() {
    let scene = Scene::start().await;
    let (problem, text) = scene.problem().await;
    assert_eq!(problem, Problem::NoSuchBucket);
    assert!(text.contains(&uri().to_string()) && text.contains("404 NoSuchBucket"), "{text}");
    scene.fixture.cloud.put_object(BUCKET, "other", content(1));
    let (problem, text) = scene.problem().await;
    assert_eq!(problem, Problem::NoSuchKey);
    assert!(text.contains("localhost:") && text.contains("S3Uri"), "{text}");

    scene.fault(S3Fault::Status(403), Lasting::Next(1));
    let (problem, text) = scene.problem().await;
    assert_eq!(problem, Problem::AccessDenied);
    assert!(text.contains("403 AccessDenied") && text.contains("s3:GetObject"), "{text}");
}

#[tokio::test]
async fn a_busy_server_is_given_time_and_not_forever() {
    let scene = Scene::start().await;
    scene.put(&content(1000));
    scene.fault(S3Fault::Status(503), Lasting::Next(3));
    scene.expect(&content(1000)).await;
    scene.fault(S3Fault::Status(429), Lasting::UntilCleared);
    let before = scene.fixture.cloud.counters().served().s3_refused;
    assert_eq!(scene.problem().await.0, Problem::Busy);
    assert_eq!(scene.fixture.cloud.counters().served().s3_refused - before, u64::from(super::FRUITLESS_ATTEMPTS));
}

#[tokio::test]
async fn a_silent_server_is_asked_again_after_the_idle_time_and_given_up_in_the_end() {
    let scene = Scene::start().await;
    scene.put(&content(1000));
    let impatient = |idle| {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let tls = scene.fixture.identity().roots().client_config(clock.clone());
        let http = HttpClient::new(&tls, Timeouts { idle, ..Timeouts::default() }, clock.clone()).unwrap();
        client(&scene.fixture, settings(&scene.fixture.cloud.s3_endpoint(), Addressing::Path), http, clock)
    };
    scene.fault(S3Fault::Hang, Lasting::Next(1));
    let download = impatient(Duration::from_secs(2)).download(&uri(), &scene.target(), None, |_| {}).await.unwrap();
    assert_eq!(download.unwrap().bytes, 1000);

    scene.fault(S3Fault::Hang, Lasting::UntilCleared);
    let error = impatient(Duration::from_millis(100)).download(&uri(), &scene.target(), None, |_| {}).await;
    let error = error.unwrap_err();
    assert!(
        matches!(&error, DownloadError::Transport { source, .. } if source.cause == TransportCause::TimedOut),
        "{error:?}"
    );
}

#[tokio::test]
async fn without_credentials_nothing_is_asked_of_s3() {
    let scene = Scene::start().await;
    scene.fixture.cloud.revoke(&scene.fixture.device.certificate_id);
    let error = scene.download().await.unwrap_err();
    assert!(matches!(error, DownloadError::NoCredentials { .. }) && !error.is_retryable(), "{error:?}");
    let served = scene.fixture.cloud.counters().served();
    assert_eq!(served.s3 + served.s3_refused, 0);
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_named() {
    let scene = Scene::start().await;
    let target = scene.fixture.directory.path().join("no/such/directory");
    let error = scene.client.download(&uri(), &target, None, |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("no/such/directory"), "{error}");
}

/// A server on plain HTTP that gives each connection the next answer, whatever is asked, and keeps the requests.
async fn scripted(answers: Vec<Vec<u8>>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let heard = requests.clone();
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            heard.lock().unwrap().push(String::from_utf8(request).unwrap());
            stream.write_all(&answer).await.unwrap();
        }
    });
    (url, requests)
}

fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    let head = head.replace('\n', "\r\n");
    [format!("HTTP/1.1 {head}\r\nconnection: close\r\n\r\n").as_bytes(), body].concat()
}

async fn from_script(answers: Vec<Vec<u8>>) -> (Result<Option<Download>, DownloadError>, Vec<u8>, Vec<String>) {
    let scene = Scene::start().await;
    let (url, requests) = scripted(answers).await;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let http = scene.fixture.plain_tls(clock.clone());
    let client = client(&scene.fixture, settings(&url, Addressing::Path), http, clock);
    let outcome = client.download(&uri(), &scene.target(), None, |_| {}).await;
    let requests = requests.lock().unwrap().clone();
    (outcome, std::fs::read(scene.target()).unwrap(), requests)
}

#[tokio::test]
async fn a_server_without_ranges_sends_the_whole_object_again() {
    let broken = answer("200 OK\ncontent-length: 10", b"01234");
    let whole = answer("200 OK\ncontent-length: 10", b"0123456789");
    let (outcome, file, requests) = from_script(vec![broken, whole]).await;
    assert_eq!(outcome.unwrap().unwrap().sha256, Sha256Digest::of(b"0123456789"));
    assert_eq!(file, b"0123456789");
    assert!(requests[1].contains("range: bytes=5-"), "{}", requests[1]);
}

#[tokio::test]
async fn a_part_that_was_not_asked_for_is_never_mixed_in() {
    for range in ["bytes 4-9/10", "bytes 5-9/11", "5-9/10", "bytes */10", "bytes x-9/10"] {
        let broken = answer("200 OK\ncontent-length: 10\netag: \"v1\"", b"01234");
        let part = answer(&format!("206 Partial Content\ncontent-length: 5\ncontent-range: {range}"), b"56789");
        let (outcome, file, requests) = from_script(vec![broken, part]).await;
        assert!(matches!(outcome, Err(DownloadError::Unexpected { .. })), "{range}: {outcome:?}");
        assert_eq!(file.len(), 5);
        assert!(requests[1].contains("if-match: \"v1\""), "{}", requests[1]);
    }
}

#[tokio::test]
async fn an_object_too_large_for_a_package_is_refused_before_its_first_byte() {
    let huge = answer(&format!("200 OK\ncontent-length: {}", super::MAX_OBJECT + 1), b"x");
    let (outcome, file, _) = from_script(vec![huge]).await;
    assert!(matches!(outcome, Err(DownloadError::TooLarge { actual, .. }) if actual == super::MAX_OBJECT + 1));
    assert_eq!(file, b"");
}

#[tokio::test]
async fn an_object_that_the_store_has_no_room_for_is_refused_before_its_first_byte() {
    let scene = Scene::start().await;
    scene.put(&[7; 5000]);
    let folder = tempfile::tempdir().unwrap();
    let fetch = async |quota| {
        let store = Store::open(folder.path()).unwrap().with_quota(Some(quota));
        let to = store.download_path().unwrap();
        let uri = uri();
        let wanted = Wanted { admission: Some(to.admission()), ..Wanted::newest(&uri) };
        let mut heard = 0;
        let outcome = scene.client.fetch(&wanted, to.path(), |_| heard += 1).await;
        (outcome, heard, std::fs::read(to.path()).unwrap())
    };
    let (outcome, heard, file) = fetch(4999).await;
    let error = outcome.unwrap_err();
    assert!(matches!(&error, DownloadError::NoRoom { bytes: 5000, .. }), "{error:?}");
    assert_eq!((heard, file.len()), (0, 0));
    let (outcome, _, file) = fetch(5000).await;
    assert_eq!(outcome.unwrap().unwrap().download.bytes, 5000);
    assert_eq!(file, [7; 5000]);
}

#[tokio::test]
async fn an_object_of_unknown_length_ends_with_its_answer() {
    let chunked = answer("200 OK\ntransfer-encoding: chunked", b"5\r\n01234\r\n0\r\n\r\n");
    let (outcome, file, _) = from_script(vec![chunked]).await;
    assert_eq!(outcome.unwrap().unwrap().bytes, 5);
    assert_eq!(file, b"01234");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = answer("301 Moved Permanently\nlocation: http://127.0.0.1:1/\ncontent-length: 0", b"");
    let (outcome, _, requests) = from_script(vec![elsewhere]).await;
    assert_eq!(outcome.unwrap_err().problem(), Some(Problem::WrongRegion));
    assert_eq!(requests.len(), 1);
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_an_error_and_not_a_model() {
    let nonsense = vec![b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(); 5];
    let (outcome, file, _) = from_script(nonsense).await;
    assert!(matches!(outcome, Err(DownloadError::Transport { .. })), "{outcome:?}");
    assert_eq!(file, b"");
}

#[tokio::test]
async fn a_bucket_in_another_region_is_found_at_aws_and_remembered() {
    let (scene, proxy) = Scene::behind_aws_names().await;
    scene.put(&content(1000));
    scene.fixture.cloud.set_bucket_region(BUCKET, "us-west-2");
    scene.expect(&content(1000)).await;
    scene.expect(&content(1000)).await;
    let asked: Vec<_> = proxy.heard().iter().map(|head| head.split(' ').nth(1).unwrap().to_owned()).collect();
    let host = |region: &str| format!("{BUCKET}.s3.{region}.amazonaws.com:443");
    assert_eq!(asked[..2], [host("eu-central-1"), host("us-west-2")], "301 with x-amz-bucket-region");
    assert!(!asked[2..].contains(&host("eu-central-1")), "{asked:?}");
    assert_eq!(scene.fixture.cloud.counters().served().s3_refused, 1);
}

#[tokio::test]
async fn a_bucket_that_names_its_region_in_a_400_is_signed_for_there() {
    let scene = Scene::start().await;
    scene.put(&content(1000));
    scene.fixture.cloud.set_bucket_region(BUCKET, "us-east-1");
    scene.expect(&content(1000)).await;
    scene.expect(&content(1000)).await;
    assert_eq!(scene.fixture.cloud.counters().served().s3_refused, 1, "AuthorizationHeaderMalformed, once");
}

#[tokio::test]
async fn a_server_that_sends_from_region_to_region_is_given_up() {
    let away =
        |region: &str| answer(&format!("301 Moved Permanently\nx-amz-bucket-region: {region}\ncontent-length: 0"), b"");
    let (outcome, _, requests) = from_script(vec![away("us-east-1"), away("us-west-2"), away("us-east-1")]).await;
    let text = outcome.unwrap_err().to_string();
    assert!(text.contains("the bucket lies in us-west-2, and this did not help"), "{text}");
    assert_eq!(requests.len(), 2);
    assert!(requests[1].contains("/us-east-1/s3/aws4_request"), "{}", requests[1]);
}

#[tokio::test]
async fn a_version_is_fetched_by_its_id_and_a_known_one_is_not_fetched_again() {
    let scene = Scene::start().await;
    let old = scene.fixture.cloud.put_object(BUCKET, KEY, content(1000));
    let new = scene.fixture.cloud.put_object(BUCKET, KEY, content(2000));
    let uri = uri();
    let fetch = async |wanted: Wanted<'_>| scene.client.fetch(&wanted, &scene.target(), |_| {}).await;

    let pinned = Wanted { version_id: Some(&old.version_id), ..Wanted::newest(&uri) };
    let fetched = fetch(pinned).await.unwrap().unwrap();
    assert_eq!((fetched.download.bytes, fetched.version_id), (1000, Some(old.version_id.clone())));
    let newest = fetch(Wanted::newest(&uri)).await.unwrap().unwrap();
    assert_eq!((newest.download.bytes, newest.version_id.as_ref()), (2000, Some(&new.version_id)));

    let unless = Wanted { unless_version: Some(&new.version_id), ..Wanted::newest(&uri) };
    assert_eq!(fetch(unless).await.unwrap(), None);
    let unless_old = Wanted { unless_version: Some(&old.version_id), ..Wanted::newest(&uri) };
    assert!(fetch(unless_old).await.unwrap().is_some());
    let gone = Wanted { version_id: Some("v9"), ..Wanted::newest(&uri) };
    assert_eq!(fetch(gone).await.unwrap_err().problem(), Some(Problem::NoSuchKey));
}

#[tokio::test]
async fn a_server_that_heeds_no_condition_is_not_read_again() {
    let scene = Scene::start().await;
    let (url, _) = scripted(vec![answer("200 OK\ncontent-length: 5\netag: \"v1\"", b"01234")]).await;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let client =
        client(&scene.fixture, settings(&url, Addressing::Path), scene.fixture.plain_tls(clock.clone()), clock);
    assert_eq!(client.download(&uri(), &scene.target(), Some("\"v1\""), |_| {}).await.unwrap(), None);
}

#[tokio::test]
async fn an_object_with_its_uploaders_key_is_refused_with_the_remedy_b_10() {
    let scene = Scene::start().await;
    scene.fixture.cloud.put_object_with_customer_key(BUCKET, KEY, content(10));
    let (problem, text) = scene.problem().await;
    assert_eq!(problem, Problem::CustomerKey);
    assert!(text.contains("SSE-C") && text.contains("SSE-KMS"), "{text}");
    assert_eq!(scene.fixture.cloud.counters().served().s3_refused, 1, "not asked again");
}

#[tokio::test]
async fn a_servers_retry_after_is_heeded_within_reason() {
    let busy = answer("503 Slow Down\nretry-after: 1\ncontent-length: 0", b"");
    let whole = answer("200 OK\ncontent-length: 2", b"ok");
    let started = std::time::Instant::now();
    let (outcome, _, _) = from_script(vec![busy, whole]).await;
    assert_eq!(outcome.unwrap().unwrap().bytes, 2);
    assert!(started.elapsed() >= Duration::from_secs(1), "the pauses of this client are a millisecond");
}

#[tokio::test]
async fn a_connection_cut_at_twenty_random_offsets_costs_no_byte_twice_but_for_64_kib_a_cut() {
    const CUTS: u64 = 20;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let scene = Scene::start().await;
    let bytes = content(8_000_000);
    scene.put(&bytes);
    // Each request is cut somewhere in what an even share would be, so that all cuts fit the object.
    let share = bytes.len() as u64 / (CUTS + 1);
    let cuts = std::iter::repeat_with(|| S3Fault::Truncate { after: random.u64(1..share) });
    let counters = scene.fixture.cloud.counters();
    scene.fixture.cloud.faults().s3_in_turn(cuts.take(usize::try_from(CUTS).unwrap()));
    scene.expect(&bytes).await;
    let served = counters.served();
    assert_eq!(served.s3, CUTS + 1, "each cut is followed by one request");
    let twice = served.s3_bytes - bytes.len() as u64;
    assert!(twice <= CUTS * 64 * 1024, "{twice} bytes came twice");
    println!("{twice} bytes came twice in {CUTS} cuts of {} bytes", bytes.len());
}

#[tokio::test]
async fn a_file_is_uploaded_in_a_stream_that_s3_checks() {
    let scene = Scene::start().await;
    let source = scene.fixture.directory.path().join("source");
    let bytes = content(3_000_000);
    std::fs::write(&source, &bytes).unwrap();
    let mut heard = Vec::new();
    let uploaded = scene.client.upload(&source, &uri(), Replace::Never, |progress| heard.push(progress.received)).await;
    let uploaded = uploaded.unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!((uploaded.bytes, uploaded.sha256), (3_000_000, Sha256Digest::of(&bytes)));
    assert!(uploaded.etag.is_some() && uploaded.version_id.is_some());
    assert_eq!(scene.fixture.cloud.object(BUCKET, KEY).unwrap(), bytes);
    assert!(!heard.is_empty() && heard.is_sorted(), "{heard:?}");
    scene.expect(&bytes).await;

    let again = scene.client.upload(&source, &uri(), Replace::Never, |_| {}).await.unwrap_err();
    assert!(matches!(again, UploadError::Exists { .. }), "{again:?}");
    std::fs::write(&source, b"").unwrap();
    assert_eq!(scene.client.upload(&source, &uri(), Replace::Allowed, |_| {}).await.unwrap().bytes, 0);
}

#[tokio::test]
async fn an_upload_is_tried_again_where_that_helps_and_refused_where_it_does_not() {
    let scene = Scene::start().await;
    let source = scene.fixture.directory.path().join("source");
    std::fs::write(&source, content(1000)).unwrap();
    for fault in [S3Fault::ExpiredToken, S3Fault::Status(503)] {
        scene.fault(fault, Lasting::Next(1));
        scene.client.upload(&source, &uri(), Replace::Allowed, |_| {}).await.unwrap();
    }
    scene.fixture.cloud.forget_credentials();
    scene.client.upload(&source, &uri(), Replace::Allowed, |_| {}).await.expect("an unknown key is replaced");

    let elsewhere: S3Uri = "s3://another-bucket/key".parse().unwrap();
    let denied = scene.client.upload(&source, &elsewhere, Replace::Allowed, |_| {}).await.unwrap_err();
    assert!(denied.to_string().contains("s3:PutObject") && !denied.is_retryable(), "{denied}");
    let missing = scene.fixture.directory.path().join("missing");
    let error = scene.client.upload(&missing, &uri(), Replace::Allowed, |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
}

#[tokio::test]
async fn a_training_jobs_model_is_found_by_its_arn() {
    let (scene, proxy) = Scene::behind_aws_names().await;
    let cloud = &scene.fixture.cloud;
    cloud.put_training_job("signs", "Completed", Some("s3://greengrass-models/signs/model.tar.gz"));
    cloud.put_training_job("running", "InProgress", None);
    let job = |name: &str| format!("arn:aws:sagemaker:eu-central-1:123456789012:training-job/{name}").parse().unwrap();
    assert_eq!(scene.client.model_of(&job("signs")).await.unwrap(), uri());
    assert!(proxy.heard()[0].starts_with("CONNECT api.sagemaker.eu-central-1.amazonaws.com:443"));
    let running = scene.client.model_of(&job("running")).await.unwrap_err();
    assert!(matches!(&running, TrainingJobError::NotCompleted { status, .. } if status == "InProgress"));
    assert!(running.is_retryable());
    let unknown = scene.client.model_of(&job("unknown")).await.unwrap_err();
    assert!(unknown.to_string().contains("400 ValidationException; check the training job's ARN"), "{unknown}");
    cloud.forget_credentials();
    let refused = scene.client.model_of(&job("signs")).await.unwrap_err();
    assert!(refused.to_string().contains("sagemaker:DescribeTrainingJob"), "{refused}");
}

#[tokio::test]
async fn a_capped_client_takes_its_time_and_gets_every_byte() {
    let scene = Scene::start().await;
    let bytes = content(200_000);
    scene.put(&bytes);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let settings =
        S3 { max_bytes_per_second: Some(400_000), ..settings(&scene.fixture.cloud.s3_endpoint(), Addressing::Path) };
    let client = client(&scene.fixture, settings, scene.fixture.plain_tls(clock.clone()), clock);
    let started = std::time::Instant::now();
    let download = client.download(&uri(), &scene.target(), None, |_| {}).await.unwrap().unwrap();
    assert_eq!(download.sha256, Sha256Digest::of(&bytes));
    assert!(started.elapsed() >= Duration::from_millis(450), "{:?} for half a second's bytes", started.elapsed());
}

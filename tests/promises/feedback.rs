//! Samples on their way to S3: chosen, uploaded with the token's credentials, told of; kept through outages within the
//! spool's limit.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use margay::app::Services;
use margay::clock::SystemClock;
use margay::config;
use margay::feedback::{
    Budget, Configuration, Feedback, FeedbackSettings, FeedbackStatus, METRIC_TOPIC, PREDICTION_TOPIC, Request,
    STATUS_TOPIC, Strategy,
};
use margay::router::{Endpoint, Route, Router};
use margay_localcloud::{Lasting, S3Fault};
use serde_json::{Map, Value, json};

use crate::support::device::Device;
use crate::support::python::{self, python_with};
use crate::support::server::{Server, free_port};

const ARN: &str = "arn:aws:greengrass:eu-central-1::/connectors/MLFeedback/versions/1";

/// A place in the cloud that the device's role may write to.
const BUCKET: &str = "models";

/// How long a test waits for what is to happen.
const PATIENCE: Duration = Duration::from_secs(60);

type Published = Arc<Mutex<Vec<(String, Value)>>>;

/// The connector on a device, without a core; what it publishes goes into a list.
struct Scene {
    device: Device,
    feedback: Feedback,
    published: Published,
    /// What messages take of the spool's limit.
    messages: Arc<AtomicU64>,
    running: Option<tokio::task::JoinHandle<()>>,
}

fn configuration(bucket: &str, strategy: Option<Strategy>) -> Configuration {
    Configuration {
        bucket: bucket.to_owned(),
        content_type: "image/png".to_owned(),
        prefix: Some("fleet/samples".to_owned()),
        extension: Some("png".to_owned()),
        strategy,
    }
}

fn settings(limit: u16) -> FeedbackSettings {
    let configurations = BTreeMap::from([
        ("all".to_owned(), configuration(BUCKET, None)),
        ("doubtful".to_owned(), configuration(BUCKET, Some(Strategy::LeastConfidence { threshold: 0.6 }))),
        ("lost".to_owned(), configuration("no-such-bucket", None)),
    ]);
    FeedbackSettings { arn: ARN.parse().unwrap(), configurations, request_limit: Some(limit) }
}

impl Scene {
    fn new(limit: u64) -> Self {
        Self::on(Device::new(), limit)
    }

    fn on(device: Device, limit: u64) -> Self {
        let (published, messages) = (Published::default(), Arc::new(AtomicU64::new(0)));
        let feedback = Self::connector(&device, &published, (messages.clone(), limit));
        let mut scene = Self { device, feedback, published, messages, running: None };
        scene.start();
        scene
    }

    fn connector(device: &Device, published: &Published, (messages, limit): (Arc<AtomicU64>, u64)) -> Feedback {
        let list = published.clone();
        let route = |topic: &str| Route {
            id: topic.to_owned(),
            source: Endpoint::Connector(ARN.to_owned()),
            target: Endpoint::Cloud,
            filter: topic.parse().unwrap(),
        };
        let outlet = Box::new(move |message: &margay::router::Message, _| {
            let payload = serde_json::from_slice(&message.payload).unwrap();
            list.lock().unwrap().push((message.topic.to_string(), payload));
            Ok(())
        });
        let router = Router::new([STATUS_TOPIC, PREDICTION_TOPIC, METRIC_TOPIC].map(route), 16, outlet);
        let config = config::load(&device.config_path()).unwrap().document;
        let pause = Duration::from_millis(1);
        let s3 = Services::build(&config).unwrap().s3.with_pauses(pause, pause);
        let budget = Box::new(move || Budget { used: messages.load(Ordering::Relaxed), limit });
        let folder = device.folder.path().join("feedback");
        let feedback = Feedback::new(&folder, budget, s3, Arc::new(router), Arc::new(SystemClock::new()));
        feedback.configure(Some(settings(10)));
        feedback
    }

    fn start(&mut self) {
        self.running = Some(self.device.runtime.spawn(self.feedback.clone().run()));
    }

    /// As after a restart: nothing but what is on the disk.
    fn restart(mut self, limit: u64) -> Self {
        if let Some(running) = self.running.take() {
            running.abort();
            let _ = self.device.runtime.block_on(running);
        }
        Self::on(self.device, limit)
    }

    fn take(&self, config_id: &str, input: &[u8], prediction: Value) {
        let taken = self.device.runtime.block_on(self.feedback.take(request(config_id, input, prediction)));
        taken.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Waits until the connector's status is as wanted.
    #[track_caller]
    fn wait_for(&self, what: &str, wanted: impl Fn(&FeedbackStatus) -> bool) -> FeedbackStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.feedback.status().unwrap();
            if wanted(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "waited in vain for {what}: {status:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn on_topic(&self, topic: &str) -> Vec<Value> {
        let published = self.published.lock().unwrap();
        published.iter().filter(|(own, _)| own == topic).map(|(_, payload)| payload.clone()).collect()
    }

    fn metrics(&self) -> Vec<String> {
        let name = |metric: &Value| metric["request"]["metricData"]["metricName"].as_str().unwrap().to_owned();
        self.on_topic(METRIC_TOPIC).iter().map(name).collect()
    }

    fn files(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.device.folder.path().join("feedback"));
        files.into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
    }
}

fn request(config_id: &str, input: &[u8], prediction: Value) -> Request {
    let metadata: Map<String, Value> = json!({ "some-key": "some value" }).as_object().unwrap().clone();
    Request { config_id: config_id.to_owned(), input: Bytes::copy_from_slice(input), prediction, metadata }
}

/// What was received has one fate each; nothing waited at the start.
#[track_caller]
fn balances(status: &FeedbackStatus) {
    let FeedbackStatus { received, uploaded, not_used, throttled, failed, dropped, waiting, .. } = status;
    assert_eq!(*received, uploaded + not_used + throttled + failed + dropped + waiting, "{status:?}");
}

#[test]
fn every_request_has_its_status_and_only_an_upload_a_prediction_v18_v19() {
    let scene = Scene::new(1 << 20);
    scene.take("all", b"a picture", json!([0.5, 0.2, 0.2, 0.1]));
    scene.wait_for("an upload", |status| status.uploaded == 1 && status.waiting == 0);
    let statuses = scene.on_topic(STATUS_TOPIC);
    let (response, id) = (&statuses[0]["response"], statuses[0]["id"].as_str().unwrap());
    let key = format!("fleet/samples/{id}.png");
    assert_eq!(response["status"], "success");
    let answer = &response["s3_response"];
    assert_eq!((&answer["bucket"], &answer["key"]), (&json!(BUCKET), &json!(key)), "{answer}");
    assert_eq!(answer["ResponseMetadata"]["HTTPStatusCode"], 200);
    assert_eq!(answer["ResponseMetadata"]["HTTPHeaders"]["etag"], answer["ETag"]);
    assert_eq!(scene.device.cloud.object(BUCKET, &key).as_deref(), Some(&b"a picture"[..]));
    let predictions = scene.on_topic(PREDICTION_TOPIC);
    assert_eq!(predictions[0]["source-ref"], format!("s3://{BUCKET}/{key}"));
    assert_eq!(predictions[0]["model-prediction"], json!([0.5, 0.2, 0.2, 0.1]));
    assert_eq!(
        (&predictions[0]["config-id"], &predictions[0]["metadata"]["some-key"]),
        (&json!("all"), &json!("some value"))
    );
    assert_eq!(predictions[0]["metadata"]["publish-ts"].as_str().unwrap().len(), 26);
    assert_eq!(scene.metrics(), ["SampleSize", "SampleUploadSuccess", "SampleAndPredictionPublished"]);
    let size = &scene.on_topic(METRIC_TOPIC)[0]["request"]["metricData"];
    assert_eq!((&size["value"], &size["unit"]), (&json!(9), &json!("Bytes")));

    // The strategy of the guide's example takes .4 and leaves .7.
    scene.take("doubtful", b"a sure one", json!([0.1, 0.7, 0.1, 0.1]));
    let dropped = &scene.on_topic(STATUS_TOPIC)[1];
    assert_eq!(dropped["response"], json!({ "status": "sample_dropped_by_strategy" }));
    assert_eq!(scene.metrics().last().unwrap(), "SampleNotUsed");
    scene.take("doubtful", b"a doubtful one", json!([0.2, 0.2, 0.4, 0.2]));
    scene.wait_for("another upload", |status| status.uploaded == 2 && status.waiting == 0);

    // The role may not write there.
    scene.take("lost", b"nowhere to go", json!([1.0]));
    scene.wait_for("a refusal", |status| status.failed == 1 && status.waiting == 0);
    let failed = scene.on_topic(STATUS_TOPIC).pop().unwrap();
    let (id, said) = (failed["id"].as_str().unwrap(), failed["response"]["error_message"].as_str().unwrap());
    assert_eq!((&failed["response"]["status"], &failed["response"]["error"]), (&json!("fail"), &json!("ClientError")));
    let expected = format!(
        "[RequestId: {id}] Failed to upload model input data due to exception. Model prediction will not be published. \
         Exception type: ClientError, error: An error occurred (AccessDenied) when calling the PutObject operation: "
    );
    assert!(said.starts_with(&expected), "{said}");
    assert_eq!(scene.metrics().last().unwrap(), "SampleUploadFailure");
    assert_eq!(scene.on_topic(PREDICTION_TOPIC).len(), 2, "one for each upload");
    balances(&scene.feedback.status().unwrap());
}

#[test]
fn a_request_beyond_the_limit_is_not_even_looked_at_v18() {
    let scene = Scene::new(1 << 20);
    scene.feedback.configure(Some(settings(1)));
    scene.device.cloud.faults().s3(S3Fault::Hang, Lasting::UntilCleared);
    scene.take("all", b"slow", json!([1.0]));
    scene.take("all", b"one too many", json!([1.0]));
    let throttled = scene.on_topic(STATUS_TOPIC).pop().unwrap();
    let said = "Request limit has been reached (max request: 1 ). Dropping request.";
    let expected = json!({ "status": "fail", "error_message": said, "error": "Queue.Full" });
    assert_eq!(throttled["response"], expected);
    assert_eq!(scene.metrics(), ["SampleSize", "ErrorRequestThrottled"]);
    let status = scene.feedback.status().unwrap();
    assert_eq!((status.received, status.throttled, status.waiting), (2, 1, 1), "{status:?}");
    balances(&status);
}

#[test]
fn a_request_that_makes_no_sense_is_refused_with_what_is_wrong_and_counts_nowhere() {
    let scene = Scene::new(1 << 20);
    let refused = |config_id: &str, prediction: Value, metadata: Value| {
        let mut request = request(config_id, b"", prediction);
        request.metadata = metadata.as_object().unwrap().clone();
        scene.device.runtime.block_on(scene.feedback.take(request)).unwrap_err().to_string()
    };
    let unknown = refused("absent", json!([1.0]), json!({}));
    assert!(unknown.contains("ConfigId \"absent\"") && unknown.contains("all, doubtful, lost"), "{unknown}");
    assert!(refused("all", json!("cat"), json!({})).contains("a list of numbers or a dictionary"));
    assert!(refused("doubtful", json!(["cat"]), json!({})).contains("LEAST_CONFIDENCE decides by its probabilities"));
    assert!(refused("all", json!([1.0]), json!({ "name": "Gürtel" })).contains("\"name\""));
    scene.feedback.configure(None);
    assert!(refused("all", json!([1.0]), json!({})).contains("deploy MLFeedback"));
    assert_eq!(scene.feedback.status(), None);
    assert_eq!(scene.files(), Vec::<PathBuf>::new());
}

#[test]
fn samples_outlast_an_outage_and_a_restart_and_are_uploaded_in_their_order() {
    let scene = Scene::new(1 << 20);
    scene.feedback.configure(Some(settings(2)));
    scene.device.cloud.faults().s3(S3Fault::Status(503), Lasting::UntilCleared);
    for number in 0..5 {
        scene.take("all", format!("sample {number}").as_bytes(), json!([1.0]));
        // What waits for S3 is no longer worked on, so the limit of two does not hold it.
        scene.wait_for("the outage to be noticed", |status| status.trouble.is_some());
    }
    let status = scene.wait_for("five that wait", |status| status.waiting == 5);
    assert_eq!((status.throttled, scene.on_topic(STATUS_TOPIC).len()), (0, 0), "nothing is said before it is known");
    balances(&status);

    let scene = scene.restart(1 << 20);
    let status = scene.feedback.status().unwrap();
    assert!(status.waiting == 5 || status.trouble.is_some(), "{status:?}");
    scene.device.cloud.faults().clear();
    // As the link does when it comes up again.
    scene.feedback.retry_now();
    scene.wait_for("the uploads", |status| status.uploaded == 5 && status.waiting == 0);
    let uploaded: Vec<_> = scene.on_topic(PREDICTION_TOPIC);
    let contents = uploaded.iter().map(|prediction| {
        let reference = prediction["source-ref"].as_str().unwrap().to_owned();
        let key = reference.strip_prefix(&format!("s3://{BUCKET}/")).unwrap().to_owned();
        String::from_utf8(scene.device.cloud.object(BUCKET, &key).unwrap().to_vec()).unwrap()
    });
    let contents: Vec<String> = contents.collect();
    assert_eq!(contents, ["sample 0", "sample 1", "sample 2", "sample 3", "sample 4"]);
    assert_eq!(scene.files(), Vec::<PathBuf>::new(), "nothing is left on the disk");
}

#[test]
fn samples_and_messages_share_the_spools_limit_and_the_oldest_samples_make_room() {
    let scene = Scene::new(100_000);
    scene.device.cloud.faults().s3(S3Fault::Status(503), Lasting::UntilCleared);
    for number in 0..8 {
        scene.take("all", &[number; 20_000], json!([f64::from(number)]));
        scene.wait_for("the outage to be noticed", |status| status.trouble.is_some());
    }
    let status = scene.wait_for("four that wait", |status| status.waiting == 4 && status.dropped == 4);
    assert!(status.waiting_bytes <= 100_000, "{status:?}");
    balances(&status);
    let told = scene.on_topic(STATUS_TOPIC);
    assert_eq!(told.len(), 4);
    assert!(told[0]["response"]["error_message"].as_str().unwrap().contains("GG_CONFIG_MAX_SIZE_BYTES"), "{}", told[0]);

    // Messages wait, too: samples give way.
    scene.messages.store(55_000, Ordering::Relaxed);
    let status = scene.wait_for("samples that gave way", |status| status.waiting_bytes <= 45_000);
    assert_eq!((status.waiting, status.dropped), (2, 6));
    // One that fits nowhere is refused, and pushes no other out.
    scene.take("all", &[9; 60_000], json!([9.0]));
    let status = scene.feedback.status().unwrap();
    assert_eq!((status.waiting, status.dropped), (2, 7), "{status:?}");
    let last = scene.on_topic(STATUS_TOPIC).pop().unwrap();
    assert_eq!(last["response"]["error"], "NoRoom");
    assert!(last["response"]["error_message"].as_str().unwrap().contains("60000 bytes"), "{last}");
    balances(&status);
    let bytes: u64 = scene.files().iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(bytes <= 45_000, "{bytes} bytes on the disk");

    scene.device.cloud.faults().clear();
    scene.feedback.retry_now();
    scene.wait_for("the two that were left", |status| status.uploaded == 2 && status.waiting == 0);
    let newest = scene.on_topic(PREDICTION_TOPIC).pop().unwrap();
    assert_eq!(newest["model-prediction"], json!([7.0]));
}

/// Makes the bucket, and prints what boto3 finds of an object.
const BOTO: &str = r#"
import sys, json, boto3
s3 = boto3.client("s3", endpoint_url=sys.argv[1], region_name="eu-central-1", aws_access_key_id="a", aws_secret_access_key="b")
if len(sys.argv) == 2:
    s3.create_bucket(Bucket="models", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
else:
    found = s3.get_object(Bucket="models", Key=sys.argv[2])
    print(json.dumps({"type": found["ContentType"], "metadata": found["Metadata"], "body": found["Body"].read().decode()}))
"#;

#[test]
fn against_moto_a_sample_has_its_type_and_metadata_and_a_missing_bucket_the_guides_words() {
    let Some(python) = python_with("boto3, moto.server; assert moto.__version__.split('.') >= ['5', '2', '5']") else {
        return;
    };
    let port = free_port();
    let mut command = Command::new(&python);
    command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()]);
    let _server = Server::start(&mut command, port);
    let endpoint = format!("http://127.0.0.1:{port}");
    python::run(&python, BOTO, &[&endpoint]);
    let mut device = Device::new();
    device.config["margay"]["s3"] = json!({ "endpoint": endpoint, "addressing": "path", "region": "eu-central-1" });
    device.write();
    let scene = Scene::on(device, 1 << 20);
    scene.take("all", b"a picture", json!({ "cat": 0.9, "dog": 0.1 }));
    scene.wait_for("an upload", |status| status.uploaded == 1 && status.waiting == 0);
    let status = scene.on_topic(STATUS_TOPIC).pop().unwrap();
    let key = status["response"]["s3_response"]["key"].as_str().unwrap().to_owned();
    let found: Value = serde_json::from_str(&python::run(&python, BOTO, &[&endpoint, &key])).unwrap();
    assert_eq!((&found["type"], &found["body"]), (&json!("image/png"), &json!("a picture")));
    assert_eq!(found["metadata"]["some-key"], "some value");
    let published = &scene.on_topic(PREDICTION_TOPIC)[0]["metadata"]["publish-ts"];
    assert_eq!(found["metadata"]["publish-ts"], *published);

    scene.take("lost", b"nowhere to go", json!([1.0]));
    scene.wait_for("a refusal", |status| status.failed == 1 && status.waiting == 0);
    let failed = scene.on_topic(STATUS_TOPIC).pop().unwrap();
    let id = failed["id"].as_str().unwrap();
    let said = format!(
        "[RequestId: {id}] Failed to upload model input data due to exception. Model prediction will not be published. \
         Exception type: NoSuchBucket, error: An error occurred (NoSuchBucket) when calling the PutObject operation: The \
         specified bucket does not exist"
    );
    assert_eq!(
        failed,
        json!({ "response": { "status": "fail", "error_message": said, "error": "NoSuchBucket" }, "id": id })
    );
}

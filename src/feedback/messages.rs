//! What the ML Feedback connector publishes: a status for every request, a prediction for every uploaded sample, metrics
//! (B-34, V18).

use http::HeaderMap;
use serde_json::{Map, Value, json};

use super::sample::Sample;
use crate::s3::Uploaded;

/// Where statuses go.
pub const STATUS_TOPIC: &str = "feedback/message/status";

/// Where predictions go. One table of the guide writes a leading slash; its headings and its samples have none.
pub const PREDICTION_TOPIC: &str = "feedback/message/prediction";

/// Where metrics go, for the CloudWatch Metrics connector or whoever subscribes.
pub const METRIC_TOPIC: &str = "cloudwatch/metric/put";

const NAMESPACE: &str = "GreengrassFeedbackConnector";

/// Why a sample was not uploaded: a name, which stands for V1's exception class, and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reason {
    pub(super) error: String,
    pub(super) message: String,
}

/// A measure of what became of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Metric {
    /// A sample of so many bytes is to be uploaded.
    SampleSize(u64),
    SampleUploadSuccess,
    SampleAndPredictionPublished,
    SampleUploadFailure,
    SampleNotUsed,
    ErrorRequestThrottled,
}

/// The sample was uploaded as `sample` says.
pub(super) fn succeeded(sample: &Sample, uploaded: &Uploaded) -> Value {
    let text = |name: &str| uploaded.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let mut answer = json!({
        "ResponseMetadata": {
            "RequestId": text("x-amz-request-id").unwrap_or_default(),
            "HostId": text("x-amz-id-2").unwrap_or_default(),
            "HTTPStatusCode": uploaded.status,
            "HTTPHeaders": headers(&uploaded.headers),
            "RetryAttempts": uploaded.retries,
        },
        "bucket": sample.bucket,
        "key": sample.key,
    });
    for (field, header) in [
        ("ETag", "etag"),
        ("Expiration", "x-amz-expiration"),
        ("ServerSideEncryption", "x-amz-server-side-encryption"),
        ("VersionId", "x-amz-version-id"),
    ] {
        if let Some(value) = text(header) {
            answer[field] = value.into();
        }
    }
    json!({ "response": { "status": "success", "s3_response": answer }, "id": sample.id })
}

fn headers(headers: &HeaderMap) -> Map<String, Value> {
    let text = |value: &[u8]| Value::from(String::from_utf8_lossy(value));
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes()))).collect()
}

/// The strategy did not choose the sample.
pub(super) fn not_used(id: &str) -> Value {
    json!({ "response": { "status": "sample_dropped_by_strategy" }, "id": id })
}

/// The sample will not be uploaded.
pub(super) fn failed(id: &str, reason: &Reason) -> Value {
    let Reason { error, message } = reason;
    let said = format!(
        "[RequestId: {id}] Failed to upload model input data due to exception. Model prediction will not be published. \
         Exception type: {error}, error: {message}"
    );
    json!({ "response": { "status": "fail", "error_message": said, "error": error }, "id": id })
}

/// More requests than are worked on at a time. The space before the parenthesis is the guide's.
pub(super) fn throttled(id: &str, limit: u16) -> Value {
    let said = format!("Request limit has been reached (max request: {limit} ). Dropping request.");
    json!({ "response": { "status": "fail", "error_message": said, "error": "Queue.Full" }, "id": id })
}

/// What the model made of an uploaded sample.
pub(super) fn prediction(sample: &Sample) -> Value {
    json!({
        "source-ref": format!("s3://{}/{}", sample.bucket, sample.key),
        "model-prediction": sample.prediction,
        "config-id": sample.config_id,
        "metadata": sample.metadata,
    })
}

impl Metric {
    pub(super) fn message(self) -> Value {
        let count = |name| json!({ "value": 1, "unit": "Count", "metricName": name });
        let data = match self {
            Self::SampleSize(bytes) => json!({
                "value": bytes, "unit": "Bytes", "metricName": "SampleSize",
                "dimensions": [{ "name": "TopicName", "value": PREDICTION_TOPIC }],
            }),
            Self::SampleUploadSuccess => count("SampleUploadSuccess"),
            Self::SampleAndPredictionPublished => count("SampleAndPredictionPublished"),
            Self::SampleUploadFailure => count("SampleUploadFailure"),
            Self::SampleNotUsed => count("SampleNotUsed"),
            Self::ErrorRequestThrottled => count("ErrorRequestThrottled"),
        };
        json!({ "request": { "namespace": NAMESPACE, "metricData": data } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::Sha256Digest;

    const ID: &str = "4bf5aeb0-d1e4-4362-5bb4-87c05de78ba3";

    fn sample() -> Sample {
        let metadata = json!({ "publish-ts": "2019-07-11 00:12:48.816752" });
        Sample {
            format: 1,
            id: ID.to_owned(),
            connector: String::new(),
            config_id: "ConfigID2".to_owned(),
            bucket: "greengrass-feedback-connector-data-us-west-2".to_owned(),
            key: "s3-key-prefix/UUID.file_ext".to_owned(),
            content_type: "image/png".to_owned(),
            prediction: json!([0.5, 0.2, 0.2, 0.1]),
            metadata: metadata.as_object().cloned().unwrap_or_default(),
            bytes: 47592,
        }
    }

    #[test]
    fn an_upload_is_told_with_s3s_answer_bucket_and_key_v18() {
        let encrypted = "AES256".parse().expect("a header");
        let headers = HeaderMap::from_iter([
            (http::header::ETAG, "\"b9c4\"".parse().expect("a header")),
            ("x-amz-request-id".parse().expect("a name"), "79104EXAMPLEB723".parse().expect("a header")),
            ("x-amz-server-side-encryption".parse().expect("a name"), encrypted),
        ]);
        let (etag, sha256) = (Some("\"b9c4\"".to_owned()), Sha256Digest::of(b""));
        let uploaded = Uploaded { bytes: 1, sha256, etag, version_id: None, status: 200, headers, retries: 1 };
        let expected = json!({ "response": { "status": "success", "s3_response": {
            "ResponseMetadata": {
                "HostId": "", "RetryAttempts": 1, "HTTPStatusCode": 200, "RequestId": "79104EXAMPLEB723",
                "HTTPHeaders": { "etag": "\"b9c4\"", "x-amz-request-id": "79104EXAMPLEB723",
                    "x-amz-server-side-encryption": "AES256" } },
            "bucket": "greengrass-feedback-connector-data-us-west-2", "key": "s3-key-prefix/UUID.file_ext",
            "ETag": "\"b9c4\"", "ServerSideEncryption": "AES256" } }, "id": ID });
        assert_eq!(succeeded(&sample(), &uploaded), expected);
    }

    #[test]
    fn what_is_not_uploaded_is_told_in_the_guides_words_v18() {
        let dropped = json!({ "response": { "status": "sample_dropped_by_strategy" }, "id": ID });
        assert_eq!(not_used(ID), dropped);
        let reason = Reason {
            error: "NoSuchBucket".to_owned(),
            message:
                "An error occurred (NoSuchBucket) when calling the PutObject operation: The specified bucket does \
                      not exist"
                    .to_owned(),
        };
        let said = "[RequestId: 4bf5aeb0-d1e4-4362-5bb4-87c05de78ba3] Failed to upload model input data due to exception. \
                    Model prediction will not be published. Exception type: NoSuchBucket, error: An error occurred \
                    (NoSuchBucket) when calling the PutObject operation: The specified bucket does not exist";
        let expected =
            json!({ "response": { "status": "fail", "error_message": said, "error": "NoSuchBucket" }, "id": ID });
        assert_eq!(failed(ID, &reason), expected);
        let said = "Request limit has been reached (max request: 10 ). Dropping request.";
        let expected =
            json!({ "response": { "status": "fail", "error_message": said, "error": "Queue.Full" }, "id": ID });
        assert_eq!(throttled(ID, 10), expected);
    }

    #[test]
    fn predictions_and_metrics_are_those_of_the_guide_b_34() {
        let expected = json!({
            "source-ref": "s3://greengrass-feedback-connector-data-us-west-2/s3-key-prefix/UUID.file_ext",
            "model-prediction": [0.5, 0.2, 0.2, 0.1], "config-id": "ConfigID2",
            "metadata": { "publish-ts": "2019-07-11 00:12:48.816752" } });
        assert_eq!(prediction(&sample()), expected);
        let expected = json!({ "request": { "namespace": "GreengrassFeedbackConnector", "metricData": {
            "value": 47592, "unit": "Bytes", "metricName": "SampleSize",
            "dimensions": [{ "name": "TopicName", "value": "feedback/message/prediction" }] } } });
        assert_eq!(Metric::SampleSize(47592).message(), expected);
        let expected = json!({ "request": { "namespace": "GreengrassFeedbackConnector", "metricData": {
            "value": 1, "unit": "Count", "metricName": "ErrorRequestThrottled" } } });
        assert_eq!(Metric::ErrorRequestThrottled.message(), expected);
    }
}

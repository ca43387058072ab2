//! The machine learning SDK's part of the interface, ours alone: V1's is written nowhere.
//!
//! `POST /margay/1/inference/{service}?algorithm=…` with the picture as the body and its type in `Content-Type`; and
//! `POST /margay/1/feedback/{configuration}`, a JSON object of `prediction` and `metadata`, as long as `X-Margay-Head`
//! says, with the sample behind it. Both with the function's token in `Authorization`.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::daemon::check_token;
use super::{Desk, answered, read, refused};
use crate::function::learning::{FeedbackRequest, InferenceRequest, LearningError, MAX_INPUT_BYTES};

/// The largest JSON before a sample, in bytes: what a message may have.
const MAX_HEAD_BYTES: usize = 128 << 10;

/// How long a body may take to arrive.
const BODY_WITHIN: Duration = Duration::from_secs(30);

/// Where the length of the JSON stands.
const HEAD: &str = "x-margay-head";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    prediction: Value,
    #[serde(default)]
    metadata: Map<String, Value>,
}

/// What a request that makes no sense is told.
type Refused = Box<Response>;

/// `POST /margay/1/inference/{service}`.
pub(super) async fn infer(desk: &Desk, service: &str, query: &str, headers: &HeaderMap, body: Body) -> Response {
    if let Err(refusal) = check_token(desk, headers) {
        return *refusal;
    }
    let algorithm = decoded(query.strip_prefix("algorithm=").unwrap_or_default());
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let _place = desk.inputs.acquire().await;
    let body = match arrive(body, MAX_INPUT_BYTES).await {
        Ok(body) => body,
        Err(refusal) => return *refusal,
    };
    let request = InferenceRequest { algorithm, service: decoded(service), content_type, body };
    match desk.hub.learning().infer(request).await {
        Ok(answer) => answered(StatusCode::OK, answer),
        Err(error) => unanswered(&error),
    }
}

/// `POST /margay/1/feedback/{configuration}`.
pub(super) async fn feedback(desk: &Desk, config_id: &str, headers: &HeaderMap, body: Body) -> Response {
    if let Err(refusal) = check_token(desk, headers) {
        return *refusal;
    }
    let _place = desk.inputs.acquire().await;
    let body = match arrive(body, MAX_INPUT_BYTES + MAX_HEAD_BYTES).await {
        Ok(body) => body,
        Err(refusal) => return *refusal,
    };
    let (head, input) = match split(headers, body) {
        Ok(parts) => parts,
        Err(error) => return unanswered(&error),
    };
    let Head { prediction, metadata } = head;
    let request = FeedbackRequest { config_id: decoded(config_id), input, prediction, metadata };
    match desk.hub.learning().take_sample(request).await {
        Ok(()) => answered(StatusCode::ACCEPTED, "{}"),
        Err(error) => unanswered(&error),
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

async fn arrive(body: Body, limit: usize) -> Result<Bytes, Refused> {
    let late = || Box::new(refused(StatusCode::REQUEST_TIMEOUT, "the body came too slowly"));
    match tokio::time::timeout(BODY_WITHIN, read(body, limit)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => Err(Box::new(unanswered(&LearningError::Argument(format!(
            "the input is over {limit} bytes, or broke off"
        ))))),
        Err(_) => Err(late()),
    }
}

fn split(headers: &HeaderMap, body: Bytes) -> Result<(Head, Bytes), LearningError> {
    let length = headers.get(HEAD).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let argument = |text: String| LearningError::Argument(text);
    let length = length.filter(|length| *length <= body.len());
    let length = length.ok_or_else(|| argument(format!("{HEAD} is the length of the JSON before the sample")))?;
    if length > MAX_HEAD_BYTES {
        return Err(argument(format!(
            "ModelPrediction and Metadata have {length} bytes of JSON, and at most {MAX_HEAD_BYTES} are taken"
        )));
    }
    if body.len() - length > MAX_INPUT_BYTES {
        return Err(argument(format!("ModelInput is over {MAX_INPUT_BYTES} bytes")));
    }
    let head = serde_json::from_slice(&body[..length]);
    let head = head.map_err(|error| argument(format!("ModelPrediction and Metadata: {error}")))?;
    Ok((head, body.slice(length..)))
}

fn unanswered(error: &LearningError) -> Response {
    let status = match error {
        LearningError::Argument(_) => StatusCode::BAD_REQUEST,
        LearningError::Inference(_) => StatusCode::UNPROCESSABLE_ENTITY,
        LearningError::Dependency(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut response = refused(status, &error.to_string());
    response.headers_mut().insert("x-margay-error", HeaderValue::from_static(error.kind()));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split_at(length: &str, body: &'static [u8]) -> Result<(Head, Bytes), LearningError> {
        let mut headers = HeaderMap::new();
        headers.insert(HEAD, length.parse().unwrap());
        split(&headers, Bytes::from_static(body))
    }

    #[test]
    fn a_sample_stands_behind_its_prediction() {
        let (head, input) = split_at("20", b"{\"prediction\":[0.5]}\xff\xd8").unwrap();
        assert_eq!((head.prediction, head.metadata.len()), (serde_json::json!([0.5]), 0));
        assert_eq!(&input[..], b"\xff\xd8");
    }

    #[test]
    fn what_is_no_sample_is_refused_by_what_is_wrong() {
        for (length, body, word) in [
            ("3", &b"{}"[..], "x-margay-head"),
            ("-1", b"{}", "x-margay-head"),
            ("2", b"{}", "missing field `prediction`"),
            ("1", b"{}", "ModelPrediction and Metadata"),
            ("32", b"{\"prediction\":[],\"metadata\":\"no\"}", "invalid type"),
            ("26", b"{\"prediction\":[],\"more\":1}", "unknown field"),
        ] {
            let refused = split_at(length, body).unwrap_err();
            assert!(refused.to_string().contains(word), "{refused}");
            assert_eq!(refused.kind(), "Argument");
        }
    }
}

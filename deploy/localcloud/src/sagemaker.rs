//! SageMaker, as far as whoever looks for a model needs it: `DescribeTrainingJob`, signed, in JSON 1.1.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::response::{IntoResponse as _, Json, Response};
use http::StatusCode;
use http::request::Parts;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::issued::IssuedCredentials;
use crate::lock::lock;
use crate::s3::Verifier;

const TARGET: &str = "SageMaker.DescribeTrainingJob";
const BODY_LIMIT: usize = 64 * 1024;

/// The training jobs of one account; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct TrainingJobs {
    all: Arc<Mutex<BTreeMap<String, Value>>>,
}

impl TrainingJobs {
    pub(crate) fn put(&self, name: String, status: &str, artifacts: Option<&str>) {
        let mut description = json!({ "TrainingJobName": name, "TrainingJobStatus": status });
        if let Some(artifacts) = artifacts {
            description["ModelArtifacts"] = json!({ "S3ModelArtifacts": artifacts });
        }
        lock(&self.all).insert(name, description);
    }

    /// Answers one request; `whom` is the region, the credentials known and the time.
    pub(crate) async fn answer(
        &self,
        parts: &Parts,
        body: Body,
        whom: (&str, &IssuedCredentials, OffsetDateTime),
    ) -> Response {
        let (region, issued, now) = whom;
        let body = to_bytes(body, BODY_LIMIT).await.unwrap_or_default();
        let verifier = Verifier { service: "sagemaker", region, issued, now };
        if verifier.verify(parts, &body).is_err() {
            return fault("AccessDeniedException", "the request is not signed as it should be");
        }
        if parts.headers.get("x-amz-target").is_none_or(|target| target != TARGET) {
            return fault("UnknownOperationException", "only DescribeTrainingJob is known");
        }
        let asked = serde_json::from_slice::<Value>(&body).unwrap_or_default();
        let name = asked["TrainingJobName"].as_str().unwrap_or_default().to_owned();
        match lock(&self.all).get(&name) {
            Some(description) => Json(description.clone()).into_response(),
            None => fault("ValidationException", "Requested resource not found."),
        }
    }
}

fn fault(name: &str, message: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "__type": name, "message": message }))).into_response()
}

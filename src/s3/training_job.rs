//! Where a SageMaker training job left its model: `DescribeTrainingJob`, `ModelArtifacts.S3ModelArtifacts` (B-10).
//!
//! SageMaker speaks JSON 1.1 over POST, signed like S3. It is asked in the job's own region.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use reqwest::{Request, Response};
use serde::Deserialize;

use super::S3Client;
use super::sign::{Scope, SignError, SignableBody, sign_request};
use crate::arn::TrainingJobArn;
use crate::credentials::{Credentials, CredentialsError};
use crate::http::{BodyError, TransportError, read_body};
use crate::name::S3Uri;

/// The largest description read, in bytes; hyperparameters, channels and metrics may make one long.
const MAX_DESCRIPTION: usize = 1024 * 1024;

/// Why a training job gives no model.
#[derive(Debug, thiserror::Error)]
pub enum TrainingJobError {
    /// There are no credentials to sign with.
    #[error("asking for the model of the training job {job} without credentials")]
    NoCredentials {
        /// The job.
        job: Box<TrainingJobArn>,
        /// Why.
        #[source]
        source: Box<CredentialsError>,
    },
    /// The request could not be signed.
    #[error("asking for the model of the training job {job}")]
    Unsigned {
        /// The job.
        job: Box<TrainingJobArn>,
        /// Why.
        #[source]
        source: SignError,
    },
    /// SageMaker could not be reached.
    #[error("asking for the model of the training job {job}")]
    Transport {
        /// The job.
        job: Box<TrainingJobArn>,
        /// Why.
        #[source]
        source: Box<TransportError>,
    },
    /// The description broke off or was too long.
    #[error("reading the description of the training job {job}")]
    Body {
        /// The job.
        job: Box<TrainingJobArn>,
        /// Why.
        #[source]
        source: Box<BodyError>,
    },
    /// SageMaker refused.
    #[error("asking for the model of the training job {job}: {endpoint} answered {status} {code}; {remedy}")]
    Refused {
        /// The job.
        job: Box<TrainingJobArn>,
        /// SageMaker's endpoint.
        endpoint: String,
        /// The HTTP status.
        status: u16,
        /// SageMaker's name of the error.
        code: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The job has not ended, or not well.
    #[error("the training job {job} has no model: its status is {status}")]
    NotCompleted {
        /// The job.
        job: Box<TrainingJobArn>,
        /// `InProgress`, `Failed`, `Stopping` or `Stopped`.
        status: String,
    },
    /// The description says nothing that can be used.
    #[error("the description of the training job {job} {what}")]
    Unexpected {
        /// The job.
        job: Box<TrainingJobArn>,
        /// What is odd.
        what: &'static str,
    },
}

impl TrainingJobError {
    /// Whether another attempt after a pause may succeed by itself.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Transport { .. } => true,
            Self::Body { source, .. } => matches!(**source, BodyError::Broken(_)),
            Self::NoCredentials { source, .. } => source.is_retryable(),
            Self::Refused { status, .. } => *status == 429 || *status >= 500,
            Self::NotCompleted { status, .. } => status == "InProgress" || status == "Stopping",
            Self::Unsigned { .. } | Self::Unexpected { .. } => false,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Description {
    training_job_status: String,
    model_artifacts: Option<Artifacts>,
}

#[derive(Deserialize)]
struct Artifacts {
    #[serde(rename = "S3ModelArtifacts")]
    s3_model_artifacts: String,
}

impl S3Client {
    /// The package that the training job `job` left in S3. The role needs `sagemaker:DescribeTrainingJob`.
    ///
    /// # Errors
    /// When SageMaker cannot be asked, refuses, or the job has left no model.
    pub async fn model_of(&self, job: &TrainingJobArn) -> Result<S3Uri, TrainingJobError> {
        let credentials = self.credentials.get().await;
        let credentials = credentials.map_err(|source| TrainingJobError::NoCredentials {
            job: Box::new(job.clone()),
            source: Box::new(source),
        })?;
        match self.describe(job, &credentials).await {
            Err(TrainingJobError::Refused { code, .. }) if is_about_credentials(&code) => {
                let others = self.credentials.get_other_than(&credentials).await;
                let others = others.map_err(|source| TrainingJobError::NoCredentials {
                    job: Box::new(job.clone()),
                    source: Box::new(source),
                })?;
                self.describe(job, &others).await
            }
            outcome => outcome,
        }
    }

    async fn describe(&self, job: &TrainingJobArn, credentials: &Credentials) -> Result<S3Uri, TrainingJobError> {
        let endpoint = format!("api.sagemaker.{}.{}", job.region(), job.partition().dns_suffix());
        let body = serde_json::json!({ "TrainingJobName": job.name() }).to_string();
        let url = format!("https://{endpoint}/").parse();
        let url = url.map_err(|_| unexpected(job, "lies at no address: its region makes no URL"))?;
        let mut request = Request::new(Method::POST, url);
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
        headers.insert("x-amz-target", HeaderValue::from_static("SageMaker.DescribeTrainingJob"));
        let scope = Scope { service: "sagemaker", region: job.region(), now: self.http.clock().now() };
        sign_request(&mut request, credentials, scope, SignableBody::Bytes(body.as_bytes()))
            .map_err(|source| TrainingJobError::Unsigned { job: Box::new(job.clone()), source })?;
        *request.body_mut() = Some(body.into());
        let response = self.http.send(request).await;
        let response = response
            .map_err(|source| TrainingJobError::Transport { job: Box::new(job.clone()), source: source.into() })?;
        artifacts(job, endpoint, response).await
    }
}

async fn artifacts(job: &TrainingJobArn, endpoint: String, response: Response) -> Result<S3Uri, TrainingJobError> {
    let status = response.status().as_u16();
    let body = read_body(response, MAX_DESCRIPTION).await;
    let body = body.map_err(|source| TrainingJobError::Body { job: Box::new(job.clone()), source: source.into() })?;
    if status != 200 {
        let code = code_of(&body);
        let remedy = remedy(&code);
        return Err(TrainingJobError::Refused { job: Box::new(job.clone()), endpoint, status, code, remedy });
    }
    read(job, &body)
}

fn read(job: &TrainingJobArn, body: &[u8]) -> Result<S3Uri, TrainingJobError> {
    let description: Description =
        serde_json::from_slice(body).map_err(|_| unexpected(job, "has no TrainingJobStatus"))?;
    if description.training_job_status != "Completed" {
        let status = description.training_job_status.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
        return Err(TrainingJobError::NotCompleted { job: Box::new(job.clone()), status });
    }
    let artifacts = description.model_artifacts.ok_or_else(|| unexpected(job, "names no ModelArtifacts"))?;
    artifacts.s3_model_artifacts.parse().map_err(|_| unexpected(job, "names model artifacts that are no object in S3"))
}

fn unexpected(job: &TrainingJobArn, what: &'static str) -> TrainingJobError {
    TrainingJobError::Unexpected { job: Box::new(job.clone()), what }
}

/// The error's name, without the namespace that JSON 1.1 puts before it.
fn code_of(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Fault {
        #[serde(rename = "__type", alias = "code")]
        name: String,
    }
    let name = serde_json::from_slice(body).map_or_else(|_| String::new(), |Fault { name }| name);
    name.rsplit('#').next().unwrap_or_default().chars().filter(char::is_ascii_alphanumeric).take(64).collect()
}

fn is_about_credentials(code: &str) -> bool {
    matches!(code, "ExpiredToken" | "ExpiredTokenException" | "UnrecognizedClientException" | "InvalidClientTokenId")
}

fn remedy(code: &str) -> &'static str {
    match code {
        "AccessDeniedException" => {
            "the role behind the role alias needs sagemaker:DescribeTrainingJob on this training job"
        }
        "ValidationException" | "ResourceNotFound" => "check the training job's ARN: name, region and account",
        _ if is_about_credentials(code) => {
            "the credentials provider and SageMaker disagree; check that both are of one account"
        }
        _ => "check the training job's ARN, and the network",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> TrainingJobArn {
        "arn:aws:sagemaker:eu-central-1:123456789012:training-job/signs".parse().unwrap()
    }

    #[test]
    fn a_completed_jobs_model_is_where_it_says() {
        let body = br#"{"TrainingJobName":"signs","TrainingJobStatus":"Completed",
            "ModelArtifacts":{"S3ModelArtifacts":"s3://models/signs/output/model.tar.gz"}}"#;
        assert_eq!(read(&job(), body).unwrap().to_string(), "s3://models/signs/output/model.tar.gz");
    }

    #[test]
    fn a_job_without_a_model_is_named_with_its_status() {
        for (body, expected) in [
            (r#"{"TrainingJobStatus":"InProgress"}"#, "its status is InProgress"),
            (r#"{"TrainingJobStatus":"Failed","FailureReason":"x"}"#, "its status is Failed"),
            (r#"{"TrainingJobStatus":"Completed"}"#, "names no ModelArtifacts"),
            (r#"{"TrainingJobStatus":"Completed","ModelArtifacts":{"S3ModelArtifacts":"/x"}}"#, "no object in S3"),
            ("<html>", "has no TrainingJobStatus"),
        ] {
            let error = read(&job(), body.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(expected) && error.to_string().contains(job().as_str()), "{error}");
            assert_eq!(error.is_retryable(), expected.contains("InProgress"));
        }
    }

    #[test]
    fn an_error_is_named_without_its_namespace() {
        assert_eq!(code_of(br#"{"__type":"com.amazon.coral.service#AccessDeniedException"}"#), "AccessDeniedException");
        assert_eq!(code_of(b"<html>"), "");
    }

    proptest::proptest! {
        #[test]
        fn no_body_breaks_the_reader(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = read(&job(), &body);
            let _ = code_of(&body);
        }
    }
}

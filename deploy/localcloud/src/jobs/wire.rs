//! Jobs' JSON, as the developer guide prints it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::executions::{Change, Execution, JobStatus, Rejection};

/// A request of any kind; each uses some of the keys.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request {
    status: Option<String>,
    status_details: Option<BTreeMap<String, String>>,
    expected_version: Option<Version>,
    step_timeout_in_minutes: Option<i64>,
    include_job_execution_state: Option<bool>,
    include_job_document: Option<bool>,
    pub(super) client_token: Option<String>,
}

/// The guide's examples write the version as a string, the SDKs as a number.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Version {
    Number(i64),
    Text(String),
}

impl Request {
    /// An empty payload is an empty request.
    pub(super) fn parse(payload: &[u8]) -> Result<Self, Rejection> {
        if payload.is_empty() {
            return Ok(Self::default());
        }
        let value: Value =
            serde_json::from_slice(payload).map_err(|error| Rejection::new("InvalidJson", error.to_string()))?;
        serde_json::from_value(value).map_err(|error| Rejection::new("InvalidRequest", error.to_string()))
    }

    pub(super) fn change(&self) -> Result<Change, Rejection> {
        let invalid = |message: String| Rejection::new("InvalidRequest", message);
        let status = self
            .status
            .as_deref()
            .map(|name| JobStatus::parse(name).ok_or_else(|| invalid(format!("{name:?} is no status"))));
        let expected_version = self.expected_version.as_ref().map(|version| match version {
            Version::Number(number) => Ok(*number),
            Version::Text(text) => text.parse().map_err(|_| invalid(format!("{text:?} is no version"))),
        });
        let minutes = self.step_timeout_in_minutes;
        if minutes.is_some_and(|minutes| minutes != -1 && !(1..=10_080).contains(&minutes)) {
            return Err(invalid("stepTimeoutInMinutes is -1 or 1 to 10080".to_owned()));
        }
        if let Some((name, value)) = self.status_details.iter().flatten().find(|(name, value)| !is_detail(name, value))
        {
            return Err(invalid(format!("statusDetails: {name:?} has {} characters", value.chars().count())));
        }
        Ok(Change {
            status: status.transpose()?,
            details: self.status_details.clone(),
            expected_version: expected_version.transpose()?,
            step_timeout_minutes: minutes,
        })
    }

    /// The answer to an update.
    pub(super) fn updated(&self, execution: &Execution) -> Map<String, Value> {
        let mut answer = Map::new();
        if self.include_job_execution_state == Some(true) {
            answer.insert("executionState".to_owned(), state(execution));
        }
        if self.include_job_document == Some(true) {
            answer.insert("jobDocument".to_owned(), execution.document.clone());
        }
        answer
    }

    /// The answer that describes an execution, or tells that there is none.
    pub(super) fn described(&self, execution: Option<&Execution>) -> Map<String, Value> {
        let mut answer = Map::new();
        if let Some(execution) = execution {
            answer.insert("execution".to_owned(), whole(execution, self.include_job_document != Some(false)));
        }
        answer
    }
}

/// The developer guide, "statusDetails": names of 1 to 128 of `[a-zA-Z0-9:_-]`, values of 1 to 1,024 characters.
fn is_detail(name: &str, value: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":_-".contains(&byte);
    (1..=128).contains(&name.len()) && name.bytes().all(allowed) && (1..=1024).contains(&value.chars().count())
}

fn state(execution: &Execution) -> Value {
    json!({
        "status": execution.status.as_str(),
        "statusDetails": execution.details,
        "versionNumber": execution.version,
    })
}

pub(super) fn whole(execution: &Execution, with_document: bool) -> Value {
    let mut value = json!({
        "jobId": execution.job_id,
        "status": execution.status.as_str(),
        "statusDetails": execution.details,
        "queuedAt": execution.queued_at.unix_timestamp(),
        "lastUpdatedAt": execution.updated_at.unix_timestamp(),
        "versionNumber": execution.version,
        "executionNumber": 1,
    });
    if let Some(started) = execution.started_at {
        value["startedAt"] = json!(started.unix_timestamp());
    }
    if with_document {
        value["jobDocument"] = execution.document.clone();
    }
    value
}

pub(super) fn summary(execution: &Execution) -> Value {
    let mut value = whole(execution, false);
    if let Some(entries) = value.as_object_mut() {
        entries.remove("status");
        entries.remove("statusDetails");
    }
    value
}

pub(super) fn rejected(rejection: &Rejection) -> Map<String, Value> {
    let mut answer = Map::new();
    answer.insert("code".to_owned(), json!(rejection.code));
    answer.insert("message".to_owned(), json!(rejection.message));
    if let Some(execution) = &rejection.state {
        answer.insert("executionState".to_owned(), state(execution));
    }
    answer
}

/// `answer` with what every one ends with.
pub(super) fn closed(mut answer: Map<String, Value>, token: Option<&str>, now: OffsetDateTime) -> Vec<u8> {
    answer.insert("timestamp".to_owned(), json!(now.unix_timestamp()));
    if let Some(token) = token {
        answer.insert("clientToken".to_owned(), json!(token));
    }
    Value::Object(answer).to_string().into_bytes()
}

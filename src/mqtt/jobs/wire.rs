//! The JSON of Jobs' requests and answers.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Ask, Offer, Said, Status, Why};

/// Every answer and notification: each uses some of the keys, and new keys may come.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    execution: Option<Execution>,
    execution_state: Option<ExecutionState>,
    code: Option<String>,
    message: Option<String>,
    client_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Execution {
    job_id: String,
    #[serde(default)]
    job_document: Value,
    version_number: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecutionState {
    status: String,
    version_number: i64,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::InProgress | Self::Ended => "IN_PROGRESS",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Rejected => "REJECTED",
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "QUEUED" | "IN_PROGRESS" => Self::InProgress,
            "SUCCEEDED" => Self::Succeeded,
            "FAILED" => Self::Failed,
            "REJECTED" => Self::Rejected,
            _ => Self::Ended,
        }
    }
}

/// What comes behind `…/jobs/`, and the payload.
pub(super) fn request(ask: &Ask, token: u64) -> (String, Vec<u8>) {
    let (what, payload) = match ask {
        Ask::StartNext { step_timeout } => {
            ("start-next".to_owned(), json!({ "stepTimeoutInMinutes": step_timeout, "clientToken": token.to_string() }))
        }
        Ask::Update { job_id, status, details, expected_version, step_timeout } => {
            let mut payload = json!({
                "status": status.as_str(),
                "statusDetails": details,
                "expectedVersion": expected_version,
                "includeJobExecutionState": true,
                "clientToken": token.to_string(),
            });
            if !status.is_terminal() {
                payload["stepTimeoutInMinutes"] = json!(step_timeout);
            }
            (format!("{job_id}/update"), payload)
        }
    };
    (what, payload.to_string().into_bytes())
}

/// What a message behind `…/jobs/` says; `None` if it is no answer.
pub(super) fn said(what: &str, payload: &[u8]) -> Option<Said> {
    let answer: Answer = serde_json::from_slice(payload).ok()?;
    let token = answer.client_token.as_deref().and_then(|token| token.parse().ok());
    match what.rsplit_once('/') {
        None if what == "notify-next" => Some(Said::NextChanged(answer.execution.map(|next| next.job_id))),
        Some(("start-next", "accepted")) => Some(Said::Started(answer.execution.map(|next| Offer {
            job_id: next.job_id,
            document: next.job_document,
            version: next.version_number,
        }))),
        Some((_, "accepted")) => {
            Some(Said::Updated { token: token?, version: answer.execution_state.map(|state| state.version_number) })
        }
        Some((_, "rejected")) => {
            let message = answer.message.clone().unwrap_or_default();
            Some(Said::Rejected { token, why: why(&answer), message })
        }
        _ => None,
    }
}

fn why(answer: &Answer) -> Why {
    match (answer.code.as_deref().unwrap_or_default(), &answer.execution_state) {
        ("VersionMismatch", Some(state)) => {
            Why::VersionMismatch { version: state.version_number, status: Status::parse(&state.status) }
        }
        ("InvalidStateTransition" | "TerminalStateReached" | "ResourceNotFound", _) => Why::Over,
        ("InvalidRequest" | "InvalidJson" | "InvalidTopic", _) => Why::Wrong,
        _ => Why::Later,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_developer_guides_answers_are_understood() {
        let started =
            br#"{"execution":{"jobId":"022","thingName":"MyThing","jobDocument":{"a":1},"status":"IN_PROGRESS",
            "statusDetails":{"k":"v"},"queuedAt":1489123123,"startedAt":1489123123,"lastUpdatedAt":1489123123,
            "versionNumber":7,"executionNumber":1234567890},"timestamp":1489088524,"clientToken":"5"}"#;
        let Some(Said::Started(Some(offer))) = said("start-next/accepted", started) else { panic!("an offer") };
        assert_eq!((offer.job_id.as_str(), offer.version, &offer.document), ("022", 7, &json!({"a": 1})));
        assert_eq!(said("start-next/accepted", br#"{"timestamp":1}"#), Some(Said::Started(None)));
        assert_eq!(said("notify-next", br#"{"timestamp":1}"#), Some(Said::NextChanged(None)));
        let mismatch = br#"{"code":"VersionMismatch","message":"m","clientToken":"9","timestamp":1,
            "executionState":{"status":"CANCELED","statusDetails":{},"versionNumber":12}}"#;
        let expected = Why::VersionMismatch { version: 12, status: Status::Ended };
        let said_of_it = said("022/update/rejected", mismatch);
        assert_eq!(said_of_it, Some(Said::Rejected { token: Some(9), why: expected, message: "m".to_owned() }));
        let noted =
            br#"{"executionState":{"status":"SUCCEEDED","statusDetails":{},"versionNumber":3},"clientToken":"9"}"#;
        assert_eq!(said("022/update/accepted", noted), Some(Said::Updated { token: 9, version: Some(3) }));
    }

    #[test]
    fn what_is_no_answer_is_passed_over() {
        for (what, payload) in
            [("notify-next", "no JSON"), ("notify", "{}"), ("get/accepted", r#"{"clientToken":"x"}"#), ("a/b/c", "{}")]
        {
            assert_eq!(said(what, payload.as_bytes()), None, "{what}");
        }
    }
}
